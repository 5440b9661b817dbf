//! Seats at consoles: taking one, being heard, leaving; and what all on a console are told.

use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::read;
use tracing::info;

use super::{Driver, Source, moment};
use crate::console::columns::{Condition, Door, Listed};
use crate::console::conserver;
use crate::console::escape::Escape;
use crate::console::outbox::Outbox;
use crate::console::roster::{Mode, Outcome, SEATS_MAX, Seat};
use crate::console::wire;
use crate::container::machine::State;
use crate::container::spec::{ContainerName, Program, RestartPolicy, Terminal};
use crate::keeper::console::{begin, log_what_came};
use crate::keeper::held::Held;
use crate::keeper::protocol::{Answer, Entering, PAGE_BYTES_MAX, encode};
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::sockets::place_of;
use crate::keeper::tape::Origin;
use crate::keeper::viewer::{Manner, Viewer};
use crate::sys::spawn::set_nonblocking;
use crate::sys::{fdpass, local_time, pty};

const TYPED_BYTES_MAX: usize = 4096;
/// As `ctime` writes it.
pub(super) const DATE: &str = "%a %b %e %H:%M:%S %Y";

impl Driver {
    /// A seat in conserver's manner; the client's end of its packet socket.
    pub(super) fn enter(&mut self, slot: u32, entering: Entering) -> Result<OwnedFd, KeeperRefusal> {
        let failed = |error: Errno| KeeperRefusal::System { what: "attaching".into(), reason: error.to_string() };
        let (ours, theirs) = fdpass::pair().map_err(failed)?;
        set_nonblocking(&ours).map_err(failed)?;
        self.make_tape(slot);
        let Some(held) = self.held.get(&slot) else { return Err(KeeperRefusal::Lost) };
        let Some(tape) = &held.console.tape else { return Err(KeeperRefusal::Lost) };
        let lines = usize::from(entering.replay_lines.max(held.spec.console.replay_lines));
        let from = entering.from.unwrap_or_else(|| tape.ring().lines_back(lines));
        let mut words = String::new();
        if !entering.quiet {
            words.push_str(&conserver::greeting(entering.escape));
            words.push_str(&conserver::motd(&held.spec.console.motd));
            if held.machine.process().is_none() {
                words.push_str(&conserver::down(held.spec.name.as_str()));
            }
        }
        let outbox = Outbox::raw(words.into_bytes(), from.min(tape.ring().end()));
        let manner = Manner::Packets(Escape::new(entering.escape));
        let id = self.sit(slot, ours, manner, outbox, &entering)?;
        self.flush_viewer(id);
        Ok(theirs)
    }

    /// A seat for conserver's own client, whose connection the agent hands over when it knows who it is; with what it has
    /// said already.
    pub(super) fn seat_client(
        &mut self,
        slot: u32,
        socket: OwnedFd,
        entering: &Entering,
        typed: &[u8],
    ) -> Result<(), KeeperRefusal> {
        let failed = |error: Errno| KeeperRefusal::System { what: "attaching".into(), reason: error.to_string() };
        set_nonblocking(&socket).map_err(failed)?;
        self.make_tape(slot);
        let Some(held) = self.held.get(&slot) else { return Err(KeeperRefusal::Lost) };
        let Some(tape) = &held.console.tape else { return Err(KeeperRefusal::Lost) };
        let outbox = Outbox::new(Vec::new(), tape.ring().lines_back(usize::from(held.spec.console.replay_lines)));
        let manner = Manner::Wire(Escape::new(entering.escape), wire::Client::default());
        let is_up = held.machine.process().is_some();
        let id = self.sit(slot, socket, manner, outbox, entering)?;
        let answer = wire::answer_to_call(is_up, self.may_write(slot, id), self.writes(slot, id));
        self.words(id, answer);
        self.flush_viewer(id);
        if !typed.is_empty() {
            self.said(id, typed);
        }
        Ok(())
    }

    /// Gives somebody a seat and a viewer. What the roster says is told unless it is only what was wished.
    pub(super) fn sit(
        &mut self,
        slot: u32,
        socket: OwnedFd,
        manner: Manner,
        outbox: Outbox,
        entering: &Entering,
    ) -> Result<u32, KeeperRefusal> {
        let failed = |error: Errno| KeeperRefusal::System { what: "attaching".into(), reason: error.to_string() };
        let id = self.fresh_id();
        let now = moment().unix_ms / 1000;
        let Some(held) = self.held.get_mut(&slot) else { return Err(KeeperRefusal::Lost) };
        let seat = Seat {
            id,
            user: entering.user.clone(),
            host: entering.host.clone(),
            // Where there is no terminal there is nothing to type to.
            may_write: entering.may_write && held.spec.terminal == Terminal::Pty,
            mode: Mode::Spy,
            since_unix_s: now,
            typed_unix_s: now,
        };
        let who = seat.who();
        let Some(outcome) = held.console.roster.enter(seat, entering.wish) else {
            return Err(KeeperRefusal::TooManyViewers { count: SEATS_MAX });
        };
        held.console.viewers.push(id);
        if let Some(tape) = &mut held.console.tape {
            tape.set_watched(true);
        }
        let watched = self.watch(&socket, Source::Viewer(id), EpollFlags::EPOLLIN);
        info!(name = %self.held[&slot].spec.name, %who, write = self.held[&slot].console.roster.writes(id), "attached");
        let is_quiet = entering.quiet || !matches!(manner, Manner::Packets(_)) || outcome.answer == "[attached]\r\n";
        self.viewers.insert(id, Viewer::new(slot, socket, manner, outbox, who));
        if let Err(error) = watched {
            self.end_viewer(id, "");
            return Err(failed(error));
        }
        self.tell_outcome(slot, id, &outcome, is_quiet);
        Ok(id)
    }

    /// Only what is shown, from the beginning of what is kept.
    pub(super) fn attach(&mut self, slot: u32) -> Result<OwnedFd, KeeperRefusal> {
        let failed = |error: Errno| KeeperRefusal::System { what: "attaching".into(), reason: error.to_string() };
        let viewers = self.held.get(&slot).map_or(0, |held| held.console.viewers.len());
        if viewers >= SEATS_MAX {
            return Err(KeeperRefusal::TooManyViewers { count: viewers });
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags).map_err(failed)?;
        let id = self.fresh_id();
        self.watch(&ours, Source::Viewer(id), EpollFlags::EPOLLIN).map_err(failed)?;
        self.make_tape(slot);
        let Some(held) = self.held.get_mut(&slot) else { return Err(KeeperRefusal::Lost) };
        let first = held.console.tape.as_ref().map_or(0, |tape| tape.ring().first());
        held.console.viewers.push(id);
        let outbox = Outbox::raw(Vec::new(), first);
        self.viewers.insert(id, Viewer::new(slot, ours, Manner::Stream, outbox, String::new()));
        self.flush_viewer(id);
        Ok(theirs)
    }

    pub(super) fn viewer_ready(&mut self, id: u32, flags: EpollFlags) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        if flags.contains(EpollFlags::EPOLLOUT) && viewer.blocked {
            viewer.blocked = false;
            self.flush_viewer(id);
            if let Some(viewer) = self.viewers.get(&id).filter(|viewer| !viewer.blocked) {
                self.rewatch(&viewer.socket, Source::Viewer(id), EpollFlags::EPOLLIN);
            }
        }
        if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.hear(id);
        }
    }

    fn hear(&mut self, id: u32) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        let mut typed = [0; TYPED_BYTES_MAX];
        let count = match read(&viewer.socket, &mut typed) {
            Ok(0) => return self.end_viewer(id, ""),
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => return,
            Err(_) => return self.end_viewer(id, ""),
        };
        self.said(id, &typed[..count]);
    }

    fn said(&mut self, id: u32, typed: &[u8]) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        let slot = viewer.slot;
        if let Some(held) = self.held.get_mut(&slot) {
            held.console.roster.typed(id, moment().unix_ms / 1000);
        }
        match &mut viewer.manner {
            // Who only watches is not heard.
            Manner::Stream => {}
            Manner::Raw => {
                let typed = typed.to_vec();
                self.typed(id, slot, &typed);
            }
            Manner::Keys(receiver) => {
                let mut answers = Vec::new();
                let typed = receiver.receive(typed, &mut answers);
                viewer.outbox.say(&answers);
                self.keys_pressed(id, slot, &typed);
                self.flush_viewer(id);
            }
            Manner::Packets(escape) => {
                for heard in escape.hear(typed) {
                    self.heard(id, slot, heard);
                }
                self.flush_viewer(id);
            }
            Manner::Wire(_, client) => {
                for said in client.hear(typed) {
                    self.wire_said(id, slot, said);
                }
                self.flush_viewer(id);
            }
        }
    }

    fn wire_said(&mut self, id: u32, slot: u32, said: wire::Said) {
        let may_write = self.writes(slot, id);
        let end = self.held.get(&slot).and_then(|held| held.console.tape.as_ref()).map(|tape| tape.ring().end());
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        match (said, &mut viewer.manner) {
            (wire::Said::Typed(typed), Manner::Wire(escape, _)) => {
                for heard in escape.hear(&typed) {
                    self.heard(id, slot, heard);
                }
            }
            (wire::Said::Printed(bytes), _) => self.typed(id, slot, &bytes),
            (wire::Said::Back, _) => {
                viewer.outbox.seek(end.unwrap_or_default());
                viewer.outbox.say(b" -- attached]\r\n");
            }
            (wire::Said::Runs, _) => viewer.outbox.say(if may_write { b"[rw]\r\n" } else { b"[ro]\r\n" }),
            (wire::Said::Done | wire::Said::Typed(_), _) => {}
        }
    }

    /// To the program, from somebody who may.
    pub(super) fn typed(&mut self, id: u32, slot: u32, bytes: &[u8]) {
        let Some(held) = self.held.get(&slot) else { return };
        if held.console.roster.writes(id) {
            let ignored = &held.spec.console.ignored;
            let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| !ignored.contains(byte)).collect();
            self.type_in(slot, &bytes);
        }
    }

    pub(super) fn words(&mut self, id: u32, words: &str) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.outbox.say(words.as_bytes());
        }
    }

    /// What became of a wish, to everybody it concerns.
    pub(super) fn tell_outcome(&mut self, slot: u32, id: u32, outcome: &Outcome, is_quiet: bool) {
        if !is_quiet {
            self.words(id, &outcome.answer);
        }
        self.tell_others(slot, outcome);
    }

    fn tell_others(&mut self, slot: u32, outcome: &Outcome) {
        for (other, words) in &outcome.others {
            self.words(*other, words);
            if !self.writes(slot, *other)
                && let Some(viewer) = self.viewers.get_mut(other)
            {
                viewer.tell(wire::ABORT);
            }
            self.flush_viewer(*other);
        }
        if let Some(mark) = &outcome.mark {
            self.mark(slot, mark);
        }
    }

    /// Who has waited for it.
    pub(super) fn let_the_next_type(&mut self, slot: u32) {
        let next = self.held.get_mut(&slot).and_then(|held| held.console.roster.promote());
        if let Some(outcome) = next {
            self.tell_others(slot, &outcome);
        }
    }

    /// Into console and log, where that is wanted.
    pub(super) fn mark(&mut self, slot: u32, text: &str) {
        if self.held.get(&slot).is_some_and(|held| held.spec.console.marks) {
            self.note(slot, text);
        }
    }

    /// The next mark of the time is due one span from now.
    pub(super) fn mark_from_now(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if held.spec.console.mark_every.is_some() || held.console.mark_at.is_some() {
            held.console.mark_at = held.spec.console.mark_every.and_then(|every| moment().now.checked_add(every));
            self.set_timer(slot);
        }
    }

    pub(super) fn mark_time_if_due(&mut self, slot: u32, now: Instant) {
        if self.held.get(&slot).is_some_and(|held| held.console.mark_at.is_some_and(|at| at <= now)) {
            self.note(slot, "MARK");
            self.mark_from_now(slot);
        }
    }

    /// A line of the server's in console and log.
    pub(super) fn note(&mut self, slot: u32, text: &str) {
        let date = local_time::format(unix_seconds(), DATE);
        let line = format!("[-- {text} -- {date}]\r\n");
        self.make_tape(slot);
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(tape) = &mut held.console.tape else { return };
        begin(tape, Origin::Output, &mut held.output_log);
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let room = tape.room();
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            tape.came(count);
            rest = &rest[count..];
        }
        if log_what_came(tape, &mut held.output_log, moment().unix_ms) {
            self.workers.pack(held.output_log.path());
        }
        self.flush_viewers(slot);
    }

    /// The server's words for all who watch; not in the log.
    pub(super) fn say_to_all(&mut self, slot: u32, words: &str) {
        let Some(tape) = self.held.get_mut(&slot).and_then(|held| held.console.tape.as_mut()) else { return };
        tape.say(words.as_bytes());
        self.flush_viewers(slot);
    }

    pub(super) fn end_viewer(&mut self, id: u32, why: &str) {
        let Some(mut viewer) = self.viewers.remove(&id) else { return };
        let _ = self.epoll.delete(&viewer.socket);
        let slot = viewer.slot;
        let Some(held) = self.held.get_mut(&slot) else { return };
        // What it has not read yet may still be of interest, for instance why it is let go.
        if let Some(tape) = &held.console.tape {
            viewer.flush(tape.ring());
        }
        if !why.is_empty() {
            viewer.part(why);
        }
        held.console.viewers.retain(|other| *other != id);
        let nobody_left = held.console.viewers.is_empty();
        if let Some(seat) = held.console.roster.leave(id) {
            info!(name = %held.spec.name, who = %seat.who(), "detached");
            if seat.mode == Mode::Write {
                self.mark(slot, &format!("{} detached", seat.who()));
                self.let_the_next_type(slot);
            }
        }
        if nobody_left {
            self.nobody_watches(slot);
        }
    }

    pub(super) fn consoles(&self, after: Option<&ContainerName>) -> (Answer, Vec<OwnedFd>) {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
        for slot in self.slots.range::<ContainerName, _>((from, Bound::Unbounded)).map(|(_, slot)| slot) {
            let Some(held) = self.held.get(slot) else { continue };
            let entry = listed(held, &self.host);
            bytes += encode(&entry).len() + 1;
            if bytes > PAGE_BYTES_MAX && !entries.is_empty() {
                more = true;
                break;
            }
            entries.push(entry);
        }
        (Answer::Consoles { entries, more }, vec![])
    }

    pub(super) fn listed(&self, slot: u32) -> Option<Listed> {
        self.held.get(&slot).map(|held| listed(held, &self.host))
    }

    pub(super) fn broadcast(&mut self, name: Option<&ContainerName>, who: &str, text: &str) -> u32 {
        let clean: String = text.chars().filter(|letter| !letter.is_control()).collect();
        let slots: Vec<u32> = match name {
            Some(name) => self.slots.get(name).copied().into_iter().collect(),
            None => self.slots.values().copied().collect(),
        };
        let mut told = 0;
        for slot in slots {
            let viewers = self.held.get(&slot).map_or(0, |held| held.console.viewers.len());
            if viewers > 0 {
                told += u32::try_from(viewers).unwrap_or(u32::MAX);
                self.spread(slot, who, &clean);
            }
        }
        told
    }

    /// Words for all on that console; its log says so too, where that is wanted.
    pub(super) fn spread(&mut self, slot: u32, who: &str, text: &str) {
        self.say_to_all(slot, &conserver::broadcast(who, text));
        self.mark(slot, &format!("{who} broadcast -- `{text}'"));
    }

    /// Ends the attachments of a user.
    pub(super) fn disconnect(&mut self, name: Option<&ContainerName>, user: &str, by: &str) -> u32 {
        let slots: Vec<u32> = match name {
            Some(name) => self.slots.get(name).copied().into_iter().collect(),
            None => self.slots.values().copied().collect(),
        };
        let mut ended = 0;
        for slot in slots {
            let Some(held) = self.held.get(&slot) else { continue };
            let theirs: Vec<u32> =
                held.console.roster.seats().iter().filter(|seat| seat.user == user).map(|seat| seat.id).collect();
            for id in theirs {
                self.words(id, &format!("[-- Disconnected by admin `{by}' --]\r\n"));
                self.end_viewer(id, "disconnected");
                ended += 1;
            }
        }
        ended
    }
}

fn listed(held: &Held, host: &str) -> Listed {
    let command = match &held.spec.program {
        Program::Command { argv } => argv.join(" "),
        Program::Script { device_path, .. } => device_path.clone(),
    };
    let terminal = held.run.as_ref().and_then(|run| run.terminal.as_ref());
    let ring = held.console.tape.as_ref().map(|tape| (tape.ring().first(), tape.ring().end()));
    let (first, end) = ring.unwrap_or_default();
    Listed {
        name: held.spec.name.to_string(),
        condition: match held.machine.state() {
            State::Starting => Condition::Init,
            _ if held.machine.process().is_some() => Condition::Up,
            _ => Condition::Down,
        },
        server: host.to_owned(),
        server_pid: i32::try_from(std::process::id()).unwrap_or(0),
        command,
        pid: held.machine.process().map(|(pid, _)| pid),
        terminal: match held.spec.terminal {
            Terminal::Pipes => None,
            Terminal::Pty => Some(terminal.and_then(|fd| pty::slave_path(fd).ok()).unwrap_or_default()),
        },
        seats: held.console.roster.seats().to_vec(),
        log: held.output_log.path().display().to_string(),
        restarts: held.spec.restart != RestartPolicy::Never,
        one_writer: held.spec.console.one_writer,
        doors: held
            .console
            .listeners
            .iter()
            .map(|listener| {
                let place = listener.socket.as_ref().map(|socket| place_of(&listener.spec, socket));
                Door {
                    place: place.unwrap_or_else(|| listener.spec.place.to_string()),
                    speaks: listener.spec.speaks,
                    problem: listener.problem.clone(),
                }
            })
            .collect(),
        first,
        end,
    }
}

pub(super) fn unix_seconds() -> i64 {
    i64::try_from(moment().unix_ms / 1000).unwrap_or(i64::MAX)
}
