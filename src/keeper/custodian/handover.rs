//! What a custodian leaves to the program that takes its place in the same process: everything it holds, by number.
//!
//! The process stays, so its children stay its children and its orphans come to it; `execve(2)` keeps the descriptors that
//! are not to be closed. Must not know: who asks for it, and when.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::control::Command;
use crate::keeper::deposit::Notice;
use crate::sys::{inherited, memfd};

/// Of the form below. A program that reads another form is not put in place.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handover {
    pub(super) lock: RawFd,
    pub(super) listener: RawFd,
    pub(super) agent: WardLeft,
    pub(super) keeper: WardLeft,
    pub(super) agent_command: Option<CommandLeft>,
    pub(super) controls: Vec<ControlLeft>,
    pub(super) controls_seen: u64,
    /// The connection that is to be told that it has come about.
    pub(super) asked_by: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WardLeft {
    pub(super) pid: Option<i32>,
    pub(super) restarts: u32,
    pub(super) desk: DeskLeft,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeskLeft {
    pub(super) deposits: Vec<DepositLeft>,
    pub(super) socket: Option<RawFd>,
    pub(super) notices: Vec<(u64, Notice)>,
    pub(super) notices_made: u64,
    pub(super) is_ready: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DepositLeft {
    pub(super) key: String,
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Vec<RawFd>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CommandLeft {
    pub(super) command: Command,
    pub(super) stdout: RawFd,
    pub(super) stderr: RawFd,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ControlLeft {
    pub(super) id: u64,
    pub(super) socket: RawFd,
    pub(super) is_watching: bool,
}

impl Handover {
    fn numbers(&self) -> Vec<RawFd> {
        let of_ward = |ward: &WardLeft| -> Vec<RawFd> {
            ward.desk.deposits.iter().flat_map(|deposit| deposit.fds.iter().copied()).chain(ward.desk.socket).collect()
        };
        let mut numbers = vec![self.lock, self.listener];
        numbers.extend(of_ward(&self.agent));
        numbers.extend(of_ward(&self.keeper));
        numbers.extend(self.agent_command.iter().flat_map(|left| [left.stdout, left.stderr]));
        numbers.extend(self.controls.iter().map(|control| control.socket));
        numbers
    }

    /// Becomes `program`, with this for it to read. Comes back only where that is not possible: then nothing has changed.
    pub(super) fn exec(&self, program: &Path, arguments: &[CString]) -> io::Error {
        match self.try_exec(program, arguments) {
            Ok(never) => match never {},
            Err(error) => {
                for number in self.numbers() {
                    // Of descriptors that are ours this cannot fail.
                    let _ = inherited::keep_across_exec(number, false);
                }
                error
            }
        }
    }

    fn try_exec(&self, program: &Path, arguments: &[CString]) -> io::Result<std::convert::Infallible> {
        use std::os::unix::ffi::OsStrExt as _;
        let bytes = postcard::to_stdvec(&(VERSION, self)).map_err(io::Error::other)?;
        let left: OwnedFd = memfd::sealed("procyon-handover", &bytes)?;
        for number in self.numbers() {
            inherited::keep_across_exec(number, true)?;
        }
        inherited::close_on_exec(&left, false)?;
        let text = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::other);
        let program = text(program.as_os_str().as_bytes().to_vec())?;
        let mut words = arguments.to_vec();
        words.extend([text(b"--handover-fd".to_vec())?, text(left.as_raw_fd().to_string().into_bytes())?]);
        // Signals stay blocked across this: one that comes now is read by the next program.
        Ok(nix::unistd::execv(&program, &words)?)
    }

    /// Reads what a predecessor has left under the inherited descriptor `number`.
    pub(super) fn read(number: RawFd) -> io::Result<Self> {
        let left = inherited::take(number)?;
        let bytes = memfd::content(&left)?;
        let (version, rest) = postcard::take_from_bytes::<u32>(&bytes).map_err(io::Error::other)?;
        if version != VERSION {
            return Err(io::Error::other(format!("it is of form {version}, this program reads {VERSION}")));
        }
        postcard::from_bytes(rest).map_err(io::Error::other)
    }
}

pub(super) fn take_all(numbers: &[RawFd]) -> nix::Result<Vec<OwnedFd>> {
    numbers.iter().map(|number| inherited::take(*number)).collect()
}
