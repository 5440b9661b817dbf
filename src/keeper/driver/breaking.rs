//! Break sequences on their way to a program, with the pauses in them.
//!
//! ```text
//!  idle --^Ecl and a letter--> on its way --pause--> waits --time--> on its way --last piece--> idle, "sent"
//! ```
//! One at a time for each console; what ends its program ends it as well.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Driver, moment};
use crate::console::breaks;
use crate::container::console::Sent;
use crate::keeper::console::Breaking;
use crate::sys::pty;

impl Driver {
    pub(super) fn send_break(&mut self, id: u32, slot: u32, which: u8) {
        if !self.writes(slot, id) {
            return self.words(id, "read-only]\r\n");
        }
        let who = self.who(id);
        let Some(held) = self.held.get_mut(&slot) else { return };
        let configured = held.spec.console.breaks.iter().find(|(letter, _)| *letter == which);
        let sequence = configured.map(|(_, pieces)| pieces.clone()).or_else(|| (which == b'0').then(breaks::plain));
        let Some(sequence) = sequence else { return self.words(id, "undefined]\r\n") };
        if held.console.breaking.is_some() {
            return self.words(id, "another is on its way]\r\n");
        }
        let shown = breaks::shown(&sequence);
        let rest = VecDeque::from(sequence);
        held.console.breaking = Some(Breaking { viewer: id, who, which, shown, rest, go_on_at: None });
        self.go_on_with_break(slot);
    }

    pub(super) fn go_on_with_break_if_due(&mut self, slot: u32, now: Instant) {
        let breaking = self.held.get(&slot).and_then(|held| held.console.breaking.as_ref());
        if breaking.is_some_and(|breaking| breaking.go_on_at.is_some_and(|at| at <= now)) {
            self.go_on_with_break(slot);
        }
    }

    fn go_on_with_break(&mut self, slot: u32) {
        loop {
            let Some(held) = self.held.get_mut(&slot) else { return };
            let Some(breaking) = &mut held.console.breaking else { return };
            breaking.go_on_at = None;
            match breaking.rest.pop_front() {
                Some(Sent::Bytes(bytes)) => self.type_in(slot, &bytes),
                // A pseudo terminal has no line to break: what a break does on a real one, interrupt the foreground, it
                // does here.
                Some(Sent::Break) => {
                    let terminal = held.run.as_ref().and_then(|run| run.terminal.as_ref());
                    if terminal.is_none_or(|terminal| pty::interrupt(terminal).is_err()) {
                        return self.break_over(slot, false);
                    }
                }
                Some(Sent::Pause { millis }) => {
                    breaking.go_on_at = moment().now.checked_add(Duration::from_millis(millis.into()));
                    return self.set_timer(slot);
                }
                None => return self.break_over(slot, true),
            }
        }
    }

    /// It has been sent, or there is nobody any more to take the rest.
    pub(super) fn break_over(&mut self, slot: u32, is_sent: bool) {
        let Some(breaking) = self.held.get_mut(&slot).and_then(|held| held.console.breaking.take()) else { return };
        let Breaking { viewer, who, which, shown, .. } = breaking;
        self.words(viewer, if is_sent { "sent]\r\n" } else { "not sent]\r\n" });
        if is_sent {
            self.mark(slot, &format!("break #{} sent by {who} -- `{shown}'", char::from(which)));
        }
        self.flush_viewer(viewer);
    }

    pub(super) fn break_list(&self, slot: u32) -> String {
        let configured = self.held.get(&slot).map(|held| held.spec.console.breaks.clone()).unwrap_or_default();
        let mut all = BTreeMap::from([(b'0', breaks::plain())]);
        all.extend(configured);
        let line = |(name, pieces): (&u8, &Vec<Sent>)| {
            let (name, pause) = (char::from(*name), breaks::pause(pieces));
            format!(" {name} - {pause}ms, `{}'\r\n", breaks::shown(pieces))
        };
        format!("list]\r\n{}", all.iter().map(line).collect::<String>())
    }
}
