//! What is pressed and said at consoles, carried out: conserver's escape sequences and procServ's keys. Whatever acts on
//! the program needs the right to write, and who did it is logged and shown to all.

use tracing::info;

use super::consoles::{DATE, unix_seconds};
use super::{Driver, moment};
use crate::console::conserver::{self, PLAYBACK_LINES, REPLAY_LINES};
use crate::console::escape::{Command, Heard, Span};
use crate::console::keys::Typed;
use crate::console::roster::Wish;
use crate::console::texts::{Child, Facts, Others, RestartMode, Wording};
use crate::console::{columns, wire};
use crate::container::machine::{ExitStatus, Input};
use crate::container::spec::{RestartPolicy, Terminal};
use crate::keeper::console::{facts, keys};
use crate::keeper::protocol::Asker;
use crate::sys::{local_time, pty, spawn};

impl Driver {
    pub(super) fn heard(&mut self, id: u32, slot: u32, heard: Heard) {
        if !self.viewers.contains_key(&id) {
            return;
        }
        match heard {
            Heard::Type(bytes) if self.writes(slot, id) => self.typed(id, slot, &bytes),
            Heard::Type(_) => self.words(id, "[read-only -- use `^Ec?' for help]\r\n"),
            Heard::Echo(bytes) => self.words(id, &String::from_utf8_lossy(&bytes)),
            Heard::Broadcast(text) => {
                let who = self.who(id);
                self.spread(slot, &who, &text);
            }
            Heard::Note(text) => {
                let who = self.who(id);
                if self.may_write(slot, id) {
                    self.note(slot, &format!("{who}: {text}"));
                } else {
                    self.words(id, "[read-only]\r\n");
                }
            }
            Heard::Command(command) => self.command(id, slot, command),
        }
    }

    fn command(&mut self, id: u32, slot: u32, command: Command) {
        match command {
            Command::Disconnect => {
                self.words(id, conserver::DISCONNECT);
                self.end_viewer(id, "disconnected");
            }
            Command::Attach => self.wish(id, slot, Wish::Attach),
            Command::Force => self.wish(id, slot, Wish::Force),
            Command::Spy => self.wish(id, slot, Wish::Spy),
            Command::Help => self.words(id, &conserver::help()),
            Command::Who => {
                let Some(listed) = self.listed(slot) else { return };
                let date = |unix_s: u64| local_time::format(i64::try_from(unix_s).unwrap_or(i64::MAX), DATE);
                let here = columns::here(&listed, id, moment().unix_ms / 1000, date).replace('\n', "\r\n");
                self.words(id, &format!("[who {}]\r\n{here}", listed.shown()));
            }
            Command::Hosts => self.list_all(id, slot, "hosts"),
            Command::Group => self.show_list(id, slot, "group", columns::who),
            Command::Examine => self.show_list(id, slot, "examine", |listed, _| columns::places(listed)),
            Command::Info => self.show_list(id, slot, "info", columns::details),
            Command::Version => {
                let version = env!("CARGO_PKG_VERSION");
                self.words(id, &format!("[version `procyon {version}']\r\n"));
            }
            Command::Condition => {
                let condition = self.listed(slot).map_or("down", |listed| listed.condition.word());
                self.words(id, &format!("[{condition}]\r\n"));
            }
            Command::VersionNumber => self.words(id, conserver::VERSION_NUMBER),
            Command::Motd => {
                let motd =
                    self.held.get(&slot).map_or_else(String::new, |held| conserver::motd(&held.spec.console.motd));
                self.words(id, if motd.is_empty() { "[-- MOTD --]\r\n" } else { &motd });
            }
            Command::Replay => {
                let lines = self.viewers.get(&id).map_or(REPLAY_LINES, |viewer| viewer.lines.0);
                self.replay(id, slot, "replay", lines);
            }
            Command::Playback => {
                let lines = self.viewers.get(&id).map_or(PLAYBACK_LINES, |viewer| viewer.lines.1);
                self.replay(id, slot, "playback", lines);
            }
            Command::AskLines(span) => {
                let (replay, playback) = self.viewers.get(&id).map_or((0, 0), |viewer| viewer.lines);
                match span {
                    Span::Replay => self.words(id, &format!("[set replay ({replay}): ")),
                    Span::Playback => self.words(id, &format!("[set playback ({playback}): ")),
                }
            }
            Command::Lines(span, count) => {
                if let Some(viewer) = self.viewers.get_mut(&id) {
                    match span {
                        Span::Replay => viewer.lines.0 = count,
                        Span::Playback => viewer.lines.1 = count,
                    }
                }
            }
            Command::KeepLines(span) => {
                let (replay, playback) = self.viewers.get(&id).map_or((0, 0), |viewer| viewer.lines);
                let count = if span == Span::Replay { replay } else { playback };
                self.words(id, &format!("{count}]\r\n"));
            }
            Command::LastLine => self.replay(id, slot, "^R", 1),
            Command::TaskList => self.words(id, "list]\r\n <undefined>\r\n"),
            Command::Task(b'\r' | b'\n') => self.words(id, "aborted]\r\n"),
            Command::Task(_) => self.words(id, "undefined]\r\n"),
            Command::Down => self.ask_for(id, slot, "line down", |driver| {
                driver.asked_by(id, slot);
                driver.give(slot, Input::Stop);
            }),
            Command::Open => self.ask_for(id, slot, "up", |driver| driver.give(slot, Input::Start)),
            Command::Break(which @ (b'0'..=b'9' | b'a'..=b'z')) => self.send_break(id, slot, which),
            Command::BreakList => {
                let list = self.break_list(slot);
                self.words(id, &list);
            }
            Command::EscapeIs(_) => self.words(id, " ok]\r\n"),
            Command::Suspend => self.have_done(id, wire::SUSPEND),
            Command::GoTo => self.have_done(id, wire::GO_TO),
            Command::Run if self.writes(slot, id) => self.have_done(id, wire::RUN),
            Command::Run => self.words(id, "[read-only]\r\n"),
            Command::FlowControl => self.toggle_flow_control(id, slot),
            Command::ToggleLog => self.words(id, "[logging is always on]\r\n"),
            Command::Abort => self.words(id, "[ignored]\r\n"),
            Command::Break(_) => self.words(id, "aborted]\r\n"),
            Command::Unknown => self.words(id, conserver::UNKNOWN),
        }
    }

    fn have_done(&mut self, id: u32, what: u8) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.tell(what);
        }
    }

    fn wish(&mut self, id: u32, slot: u32, wish: Wish) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let outcome = held.console.roster.wish(id, wish);
        self.tell_outcome(slot, id, &outcome, false);
        self.let_the_next_type(slot);
    }

    fn show_list(&mut self, id: u32, slot: u32, what: &str, print: impl Fn(&[columns::Listed], u64) -> String) {
        let Some(listed) = self.listed(slot) else { return };
        let now = moment().unix_ms / 1000;
        let text = print(&[listed], now).replace('\n', "\r\n");
        self.words(id, &format!("[{what}]\r\n{text}"));
    }

    /// As long as it is short: a client is given no more than fits what waits for it.
    fn list_all(&mut self, id: u32, own: u32, what: &str) {
        let slots: Vec<u32> = self.slots.values().copied().collect();
        let listed: Vec<_> = slots.into_iter().filter_map(|slot| self.listed(slot)).collect();
        let own = self.held.get(&own).map(|held| held.spec.name.as_str());
        let text = columns::hosts(&listed, own).replace('\n', "\r\n");
        self.words(id, &format!("[{what}]\r\n{text}"));
    }

    fn replay(&mut self, id: u32, slot: u32, what: &str, lines: usize) {
        let Some(tape) = self.held.get(&slot).and_then(|held| held.console.tape.as_ref()) else { return };
        let bytes = tape.ring().copy_from(tape.ring().lines_back(lines));
        self.words(id, &format!("[{what}]\r\n"));
        if let Some(viewer) = self.viewers.get_mut(&id) {
            // What is still to come for it comes after that, once more at most.
            viewer.show_again(&bytes);
        }
    }

    /// Something that changes what the program does.
    fn ask_for(&mut self, id: u32, slot: u32, what: &str, carry_out: impl FnOnce(&mut Self)) {
        if !self.may_write(slot, id) {
            return self.words(id, "[read-only]\r\n");
        }
        let who = self.who(id);
        if let Some(held) = self.held.get(&slot) {
            info!(name = %held.spec.name, %who, what, "asked for at the console");
        }
        self.words(id, &format!("[{what}]\r\n"));
        let others = self.held.get(&slot).map(|held| held.console.viewers.clone()).unwrap_or_default();
        for other in others.into_iter().filter(|other| *other != id) {
            self.words(other, &format!("[{what} by {who}]\r\n"));
            self.flush_viewer(other);
        }
        carry_out(self);
    }

    /// Whether ^S and ^Q stop and resume what the terminal shows.
    fn toggle_flow_control(&mut self, id: u32, slot: u32) {
        if !self.writes(slot, id) {
            return self.words(id, "[read-only]\r\n");
        }
        let terminal = self.held.get(&slot).and_then(|held| held.run.as_ref()?.terminal.as_ref());
        let toggled = terminal.and_then(|terminal| pty::toggle_flow_control(terminal).ok());
        self.words(
            id,
            match toggled {
                Some(true) => "[ixon ON]\r\n",
                Some(false) => "[ixon OFF]\r\n",
                None => "[no terminal]\r\n",
            },
        );
    }

    /// The record of the end that follows says who has asked for it, and from where.
    fn asked_by(&mut self, id: u32, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(seat) = held.console.roster.seat(id) else { return };
        let by = Asker { who: seat.user.clone(), from: format!("console, {}", seat.host) };
        if held.machine.process().is_some() {
            held.asked = Some(by);
        }
    }

    /// In the order in which it was typed: what goes to the program goes there before the key behind it acts.
    pub(super) fn keys_pressed(&mut self, id: u32, slot: u32, typed: &[u8]) {
        if !self.writes(slot, id) {
            return;
        }
        let mut to_program = Vec::with_capacity(typed.len());
        for byte in typed {
            let Some(held) = self.held.get(&slot) else { return };
            let program = held.console.program(held.machine.process().is_some(), moment().now);
            let meaning = keys(&held.spec.console).meaning(*byte, program);
            if let Typed::ToProgram(byte) = meaning {
                to_program.push(byte);
                continue;
            }
            self.type_in(slot, &std::mem::take(&mut to_program));
            match meaning {
                Typed::Kill => self.kill_key(id, slot),
                Typed::Toggle => self.toggle_key(id, slot),
                Typed::Start => self.start_key(id, slot),
                Typed::Quit | Typed::QuitAndLogOut => return self.quit_key(id, slot),
                Typed::LogOut => return self.end_viewer(id, ""),
                Typed::ToProgram(_) | Typed::Nothing => {}
            }
        }
        self.type_in(slot, &to_program);
    }

    fn pressed(&self, id: u32, slot: u32, key: &str) {
        if let Some(held) = self.held.get(&slot) {
            info!(name = %held.spec.name, who = self.who(id), key, "a key was pressed at the console");
        }
    }

    fn kill_key(&mut self, id: u32, slot: u32) {
        self.pressed(id, slot, "kill");
        self.asked_by(id, slot);
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.console.killed_at = Some(moment().now);
        if let Some((pid, _)) = held.machine.process() {
            // Nobody there to take it: it has ended, and its end will be seen.
            let _ = spawn::signal_group(pid, libc::SIGKILL);
        }
    }

    fn toggle_key(&mut self, id: u32, slot: u32) {
        self.pressed(id, slot, "toggle");
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.console.mode = held.console.mode.next(Wording::V2_7);
        let mode = held.console.mode;
        let policy = match mode {
            RestartMode::On if held.spec.restart == RestartPolicy::Never => RestartPolicy::Always,
            RestartMode::On => held.spec.restart,
            RestartMode::Off | RestartMode::OneShot => RestartPolicy::Never,
        };
        if let Some(facts) = self.facts(slot) {
            self.say_to_all(slot, &facts.toggled(mode));
        }
        self.give(slot, Input::Policy { policy });
    }

    fn start_key(&mut self, id: u32, slot: u32) {
        self.pressed(id, slot, "start");
        if let Some(held) = self.held.get_mut(&slot) {
            held.console.killed_at = None;
        }
        self.give(slot, Input::Start);
    }

    /// The keeper goes on for the others: to quit is to stay stopped, and to be let go.
    fn quit_key(&mut self, id: u32, slot: u32) {
        self.pressed(id, slot, "quit");
        self.asked_by(id, slot);
        let who = self.who(id);
        self.say_to_all(slot, &format!("\r\n@@@ Stopped by {who}\r\n"));
        self.give(slot, Input::Stop);
        self.end_viewer(id, "");
    }

    pub(super) fn writes(&self, slot: u32, id: u32) -> bool {
        self.held.get(&slot).is_some_and(|held| held.console.roster.writes(id))
    }

    pub(super) fn may_write(&self, slot: u32, id: u32) -> bool {
        let seat = self.held.get(&slot).and_then(|held| held.console.roster.seat(id));
        seat.is_some_and(|seat| seat.may_write)
    }

    pub(super) fn who(&self, id: u32) -> String {
        self.viewers.get(&id).map_or_else(String::new, |viewer| viewer.who.clone())
    }

    pub(super) fn facts(&self, slot: u32) -> Option<Facts> {
        let held = self.held.get(&slot)?;
        Some(facts(&held.spec, &self.root_path.display().to_string(), &self.started))
    }

    /// What a client in procServ's manner reads first.
    pub(super) fn banner(&self, slot: u32, is_user: bool) -> Option<String> {
        let (held, facts) = (self.held.get(&slot)?, self.facts(slot)?);
        let started = held.run.as_ref().map(|run| time_text(run.started_unix_ms)).unwrap_or_default();
        let child = match held.machine.process() {
            Some((pid, _)) => Child::Runs { pid, started: &started },
            None => Child::Down,
        };
        let (users, loggers) = held.console.roster.counts();
        Some(facts.banner(held.console.mode, child, is_user.then_some(Others { users, loggers })))
    }

    /// A terminal shows when its program starts and ends, as procServ does.
    pub(super) fn show_start(&mut self, slot: u32, pid: i32) {
        if let Some(facts) = self.facts(slot).filter(|_| self.has_terminal(slot)) {
            self.say_to_all(slot, &format!("{}{}", facts.starting(), facts.started(pid)));
        }
    }

    pub(super) fn show_end(&mut self, slot: u32, pid: i32, status: ExitStatus) {
        let Some(facts) = self.facts(slot).filter(|_| self.has_terminal(slot)) else { return };
        let Some(mode) = self.held.get(&slot).map(|held| held.console.mode) else { return };
        let now = local_time::format(unix_seconds(), "%c");
        self.say_to_all(slot, &format!("{}{}", Facts::ended(pid, status), facts.down(&now, mode)));
    }

    fn has_terminal(&self, slot: u32) -> bool {
        self.held.get(&slot).is_some_and(|held| held.spec.terminal == Terminal::Pty && held.console.tape.is_some())
    }
}

pub(super) fn time_text(unix_ms: u64) -> String {
    local_time::format(i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX), "%c")
}
