//! A container's console as the keeper holds it: its tape, who is attached, what waits to be typed, where it listens.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::log::{Files, LogFile};
use super::tape::{Origin, Tape};
use crate::console::columns;
use crate::console::keys::{Keys, Program};
use crate::console::roster::{Roster, Rule};
use crate::console::texts::{Facts, RestartMode, Wording};
use crate::container::console::{ActingKeys, ConsoleSpec, ListenerSpec, Sent};
use crate::container::spec::{ContainerSpec, Program as Runs};

/// What waits for a program that does not read; more is lost, and said to be.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// For so long after the kill key the quit key still means what it meant while the program was down.
const QUIT_WINDOW: Duration = Duration::from_secs(15);

/// So long a successor keeps what comes for those who watched.
const RETURN_TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Console {
    /// Made with the first byte, or for the first who attaches.
    pub tape: Option<Tape>,
    pub roster: Roster,
    pub viewers: Vec<u32>,
    pub listeners: Vec<Listener>,
    /// When those that could not be opened are tried again.
    pub try_again: Option<Instant>,
    /// Typed, and not taken by the program yet.
    pub input: VecDeque<u8>,
    pub input_lost: bool,
    pub mode: RestartMode,
    /// When somebody pressed the kill key.
    pub killed_at: Option<Instant>,
    pub breaking: Option<Breaking>,
    /// Somebody watched when the predecessor died: what stands from that offset on is kept for it until then.
    pub awaited: Option<(u64, Instant)>,
    /// Epoll looks for room in the terminal too.
    pub terminal_awaited: bool,
    /// When the next mark of the time is due.
    pub mark_at: Option<Instant>,
}

/// A break sequence that is on its way to the program.
#[derive(Debug)]
pub struct Breaking {
    /// Who waits to hear that it was sent.
    pub viewer: u32,
    pub who: String,
    pub which: u8,
    /// All of it, as lists show it.
    pub shown: String,
    pub rest: VecDeque<Sent>,
    /// When its pause is over.
    pub go_on_at: Option<Instant>,
}

/// A listener as it is wanted, and as it is.
#[derive(Debug)]
pub struct Listener {
    pub spec: ListenerSpec,
    pub socket: Option<OwnedFd>,
    /// By which the loop knows it, while it is open.
    pub door: u32,
    /// Why it is not open.
    pub problem: Option<String>,
}

impl Listener {
    pub fn closed(spec: ListenerSpec) -> Self {
        Self { spec, socket: None, door: 0, problem: None }
    }
}

impl Console {
    pub fn new(spec: &ConsoleSpec) -> Self {
        let rule = if spec.one_writer { Rule::OneWriter } else { Rule::Shared };
        Self {
            tape: None,
            roster: Roster::new(rule),
            viewers: Vec::new(),
            listeners: spec.listeners.iter().cloned().map(Listener::closed).collect(),
            try_again: None,
            input: VecDeque::new(),
            input_lost: false,
            mode: RestartMode::On,
            killed_at: None,
            breaking: None,
            awaited: None,
            terminal_awaited: false,
            mark_at: None,
        }
    }

    /// The tape; true if it is new, so that the custodian has to be given it.
    pub fn tape(&mut self) -> (&mut Tape, bool) {
        let is_new = self.tape.is_none();
        (self.tape.get_or_insert_with(Tape::new), is_new)
    }

    /// What a predecessor has left.
    pub fn adopt(&mut self, tape: Tape, was_watched: bool, now: Instant) {
        let first = tape.ring().first();
        self.awaited = was_watched.then(|| now.checked_add(RETURN_TIME_MAX).map(|until| (first, until))).flatten();
        self.tape = Some(tape);
    }

    /// The offset from which on somebody, present or awaited, still wants what came.
    pub fn awaited_from(&mut self, now: Instant) -> Option<u64> {
        if self.awaited.is_some_and(|(_, until)| until <= now) {
            self.awaited = None;
        }
        self.awaited.map(|(offset, _)| offset)
    }

    /// Whether anything of it found no room.
    pub fn type_in(&mut self, bytes: &[u8]) -> bool {
        let room = INPUT_BYTES_MAX.saturating_sub(self.input.len()).min(bytes.len());
        self.input.extend(&bytes[..room]);
        let newly_lost = room < bytes.len() && !self.input_lost;
        self.input_lost |= room < bytes.len();
        newly_lost
    }

    /// What the keys mean now.
    pub fn program(&self, runs: bool, now: Instant) -> Program {
        let recently = |at: Instant| now.saturating_duration_since(at) < QUIT_WINDOW;
        match (runs, self.killed_at) {
            (false, _) => Program::Down,
            (true, Some(at)) if recently(at) => Program::RunsAfterKill,
            (true, _) => Program::Runs,
        }
    }
}

/// Writes into the log what the tape holds for it. True if the log was put aside, and waits to be packed.
pub fn log_what_came<F: Files>(tape: &mut Tape, log: &mut LogFile<F>, now_ms: u64) -> bool {
    while tape.unlogged() > 0 {
        if let Some(written) = log.about_to_write(now_ms) {
            tape.written_as(written);
        }
        let count = log.append_some(tape.to_log(), now_ms);
        tape.logged(count, log.position());
    }
    log.settle()
}

/// From here on bytes of this origin come.
pub fn begin<F: Files>(tape: &mut Tape, origin: Origin, log: &mut LogFile<F>) {
    tape.begin(origin, log.position_now());
}

pub fn keys(spec: &ConsoleSpec) -> Keys {
    let ActingKeys { kill, toggle, logout } = spec.keys;
    Keys { kill, toggle, logout, ignored: spec.ignored.clone() }
}

/// What procServ's texts speak of.
pub fn facts(spec: &ContainerSpec, server_folder: &str, server_started: &str) -> Facts {
    let command = match &spec.program {
        Runs::Command { argv } => argv.join(" "),
        Runs::Script { device_path, args, .. } => {
            std::iter::once(device_path.as_str()).chain(args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
        }
    };
    Facts {
        wording: Wording::V2_7,
        keys: keys(&spec.console),
        server_pid: std::process::id(),
        server_folder: server_folder.to_owned(),
        child_folder: spec.cwd.display().to_string(),
        name: spec.console.title.clone().unwrap_or_else(|| columns::shown(spec.name.as_str()).to_owned()),
        executed: command.clone(),
        command,
        log_file: None,
        server_started: server_started.to_owned(),
    }
}
