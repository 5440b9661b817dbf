//! What crosses the socket between agent and keeper: one postcard value a frame, descriptors beside it.
//!
//! The agent says [`Down::Hello`] first and is answered by [`Up::Hello`]; then orders go down, each with an id that its
//! one answer repeats, and events come up by themselves. Variants are only ever added at the end.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::exits::ExitRecord;
use super::keeping::Kept;
use super::refusal::KeeperRefusal;
use crate::checksum::Sha256;
use crate::console::columns::Listed;
use crate::console::roster::Wish;
use crate::container::machine::{ExitStatus, RunId};
use crate::container::spec::{ContainerName, ContainerSpec, Floor, LogSpec, RestartPolicy};
use crate::sys::fdpass::FRAME_BYTES_MAX;
use crate::sys::process::Usage;

pub const VERSION: u16 = 5;
/// So that a stray client is told from an agent.
pub const MAGIC: u32 = 0x5072_6f43;

/// A definition must also fit a deposit of the custodian, with its record.
pub const SPEC_BYTES_MAX: usize = 24 * 1024;
/// Lines of standard error that go with an end.
pub const ERROR_LINES_MAX: usize = 10;
pub const ERROR_LINE_BYTES_MAX: usize = 256;
/// What a page of the list may take: the frame, less the envelope.
pub const PAGE_BYTES_MAX: usize = FRAME_BYTES_MAX - 1024;
pub const PAGE_ENTRIES_MAX: usize = 64;
/// What a look at a log returns at most.
pub const TAIL_BYTES_MAX: u32 = 48 * 1024;
/// Files of a shelf whose checksums the keeper passes on to the programs.
pub const CHECKSUMS_MAX: usize = 500;
pub const MEMBERS_ASKED_MAX: usize = 64;
/// Processes of one container that are told of.
pub const MEMBERS_MAX: usize = 64;
pub const COMMAND_BYTES_MAX: usize = 256;
pub const STATUS_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Down {
    Hello {
        magic: u32,
        version: u16,
    },
    Order {
        id: u64,
        order: Order,
    },
    /// This connection is the floor's: as long as it is there, each start of what has a permit is ordered by it. It is told of
    /// what happens on that floor alone.
    Attend {
        floor: Floor,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Activates: freezes the bytes and everything else of the spec. Nothing runs yet.
    Define {
        spec: Box<ContainerSpec>,
    },
    Start {
        name: ContainerName,
    },
    Stop {
        name: ContainerName,
    },
    Kill {
        name: ContainerName,
    },
    Restart {
        name: ContainerName,
    },
    /// Answered when everything is gone.
    Release {
        name: ContainerName,
        grace: Duration,
    },
    /// The checksum that is committed now; with `None` none is, and no further run begins.
    SetExpected {
        name: ContainerName,
        sha256: Option<Sha256>,
    },
    /// The committed checksums of the files beside the script, passed on at each start.
    SetChecksums {
        name: ContainerName,
        checksums: Vec<(String, Sha256)>,
    },
    /// In order of names, from behind `after`.
    List {
        after: Option<ContainerName>,
    },
    /// A stream of what the program prints; with it comes the socket.
    Attach {
        name: ContainerName,
    },
    TailLog {
        name: ContainerName,
        stream: Stream,
        lines: u32,
    },
    /// Ends everything in order, then the keeper. Answered before the keeper goes.
    Shutdown {
        grace: Duration,
    },
    /// A seat at a console; with it comes the packet socket (`console::packet`).
    Console {
        name: ContainerName,
        entry: Box<Entering>,
    },
    /// Consoles and who is on them, in order of names, from behind `after`.
    Consoles {
        after: Option<ContainerName>,
    },
    /// Words for everybody on that console, or on all.
    Broadcast {
        name: Option<ContainerName>,
        who: String,
        text: String,
    },
    /// Ends the attachments of a user on that console, or on all.
    Disconnect {
        name: Option<ContainerName>,
        user: String,
        by: String,
    },
    /// As [`Order::Start`] and so on, with the name of who asks: the record of the run's end will hold it.
    Ask {
        name: ContainerName,
        verb: Verb,
        by: Asker,
    },
    /// Another definition for a container that is there. Restart policy, pace, limits and logs hold at once, all else
    /// from the next start on. A program behind the checksum gate is not exchanged so.
    Update {
        spec: Box<ContainerSpec>,
    },
    /// How its latest runs ended.
    Exits {
        name: ContainerName,
        count: u32,
    },
    /// The processes that belong to each, at most [`MEMBERS_ASKED_MAX`] containers at once.
    Members {
        names: Vec<ContainerName>,
    },
    /// What this host lets the keeper do.
    Abilities,
    /// A seat for conserver's own client, whose connection comes with it; and what it has said behind its call.
    Seat {
        name: ContainerName,
        entry: Box<Entering>,
        said: Vec<u8>,
    },
}

/// Who wants a seat at a console, and how. Whoever holds the keeper's socket answers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entering {
    pub user: String,
    pub host: String,
    pub may_write: bool,
    pub wish: Wish,
    /// Goes on at this offset; else with the last so many lines.
    pub from: Option<u64>,
    pub replay_lines: u16,
    pub escape: [u8; 2],
    /// One who was here before and resumes: nothing is said anew.
    pub quiet: bool,
}

/// What may be asked of a container on somebody's behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    Start,
    Stop,
    Kill,
    Restart,
    /// To every process of the main process's group.
    Signal(i32),
}

/// Who asked, and by which way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    pub who: String,
    pub from: String,
}

/// One process of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub pid: i32,
    /// Its words, cut at [`COMMAND_BYTES_MAX`].
    pub command: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Why containers have no control groups of their own; `None` when they have.
    pub no_groups: Option<String>,
    pub can_limit_memory: bool,
    pub can_limit_processes: bool,
    pub can_limit_cpu: bool,
    /// Scripts are kept from writing where they are not meant to.
    pub can_confine: bool,
    /// Who keeps what the next keeper goes on with.
    pub kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    Output,
    Errors,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Up {
    Hello { version: u16, pid: i32 },
    Answer { id: u64, answer: Result<Answer, KeeperRefusal> },
    Event(Event),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    /// One descriptor comes for each entry whose `door` is true, in their order.
    Page {
        entries: Vec<Entry>,
        more: bool,
    },
    /// One descriptor: the stream.
    Attached,
    Log {
        bytes: Vec<u8>,
    },
    Consoles {
        entries: Vec<Listed>,
        more: bool,
    },
    /// How many were concerned.
    Count(u32),
    /// Newest first, as many as fit.
    Exits {
        records: Vec<ExitRecord>,
    },
    /// In the order of the names that were asked.
    Members {
        members: Vec<Vec<Member>>,
    },
    Abilities(Abilities),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub state: ContainerState,
    pub door: bool,
}

/// Events may be thinned out for an agent that reads slowly: then the latest [`Event::Changed`] of each container comes
/// (and [`Event::RunStarted`] again, for the door), while [`Event::Exited`] and [`Event::Mismatch`] may be left out;
/// the state carries what they would have said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Changed(Box<ContainerState>),
    /// One descriptor: the door. May be repeated; the run id tells.
    RunStarted {
        name: ContainerName,
        run: RunId,
        pid: i32,
    },
    Exited(Box<Exited>),
    Mismatch {
        name: ContainerName,
        /// `None`: no checksum is configured.
        expected: Option<Sha256>,
        found: Sha256,
    },
    Released {
        name: ContainerName,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    pub name: ContainerName,
    pub run: RunId,
    pub pid: i32,
    pub status: ExitStatus,
    pub at_unix_ms: u64,
    pub ran: Duration,
    /// Not known for a run that an earlier keeper had started.
    pub usage: Option<Usage>,
    pub error_lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    NotStarted,
    Starting,
    Running,
    StopRequested,
    KillRequested,
    /// Waits for its next restart.
    Backoff,
    Stopped,
    Killed,
    ExitSuccess,
    ExitFailure,
    Mismatch,
}

/// Why the container is in its phase, as a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    None,
    /// The policy does not restart after this end.
    PolicyHolds,
    RetriesSpent {
        retries: u32,
    },
    ChecksumMismatch {
        /// `None`: no checksum is configured.
        expected: Option<Sha256>,
        found: Sha256,
    },
    StartFailed {
        why: KeeperRefusal,
    },
    StartLimit {
        starts: u32,
        within: Duration,
    },
}

/// Everything operational about one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    pub name: ContainerName,
    pub phase: Phase,
    pub reason: Reason,
    pub policy: RestartPolicy,
    pub pid: Option<i32>,
    /// Of the current run, or else of the last.
    pub run: Option<RunId>,
    /// Automatic ones since activation.
    pub restarts: u32,
    pub defined_unix_ms: u64,
    pub started_unix_ms: Option<u64>,
    pub ended_unix_ms: Option<u64>,
    pub last_exit: Option<ExitStatus>,
    pub next_restart_unix_ms: Option<u64>,
    /// Of the frozen bytes.
    pub frozen_sha256: Option<Sha256>,
    pub expected_sha256: Option<Sha256>,
    /// The committed file is another than the frozen one: it runs from the next activation on.
    pub config_pending: bool,
    /// Last lines of standard error of the current run, or else of the last.
    pub error_lines: Vec<String>,
    pub logs: LogSpec,
    /// Bytes of output that could not be written to the log files.
    pub log_bytes_dropped: u64,
    /// It runs, and has said that it serves if it is one that says so.
    pub ready: bool,
    /// What it says of itself (`STATUS=` of `sd_notify`).
    pub status_text: Option<String>,
    /// Its start waits until this is there.
    pub waiting_for: Option<PathBuf>,
    /// What it has printed since it was defined.
    pub output_bytes: u64,
    /// What was typed to it and taken.
    pub input_bytes: u64,
    pub viewers: u32,
    /// Of the viewers, those who only look on.
    pub loggers: u32,
    /// Lines that the system log did not take.
    pub forward_lost: u64,
    /// Its definition has changed since the present run began.
    pub outdated: bool,
    /// What its start command has left, if that is watched.
    pub daemon: Option<i32>,
    /// It has outlived whoever held its streams: what it prints is lost until it is started anew.
    pub console_lost: bool,
}

/// # Panics
/// Never: the types hold nothing that postcard cannot write.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data encodes")
}

/// `None` for bytes that are no such value, or are followed by others.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_order_survives_the_socket() {
        let name = ContainerName::parse("app").unwrap();
        let order = Down::Order { id: 7, order: Order::Release { name, grace: Duration::from_secs(10) } };
        assert_eq!(decode(&encode(&order)), Some(order));
    }

    #[test]
    fn a_name_is_checked_on_arrival() {
        let good = encode(&Down::Order { id: 1, order: Order::Start { name: ContainerName::parse("abc").unwrap() } });
        let bad: Vec<u8> = good.iter().map(|byte| if *byte == b'b' { b'/' } else { *byte }).collect();
        assert_eq!(decode::<Down>(&bad), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode::<Down>(&bytes);
            let _ = decode::<Up>(&bytes);
        }
    }
}
