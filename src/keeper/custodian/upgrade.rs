//! The custodian takes a newer program's shape without ending, then has its wards follow: nothing that runs is touched.

use std::ffi::{CString, OsStr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::process::{Command as Program, Stdio};

use tracing::{info, warn};

use super::control::Tell;
use super::desk::Desk;
use super::driver::{AgentCommand, ControlEnd, Custodian};
use super::handover::{CommandLeft, ControlLeft, Handover, VERSION, WardLeft, take_all};
use super::lock::Lock;
use super::machine::{Input, Life, Machine, Running, Ward};
use super::{CustodianError, Wards};
use crate::settings::Layout;
use crate::sys::inherited;

/// On the command line of a program that takes a custodian's place.
pub const HANDOVER_OPTION: &str = "--handover-fd";
/// The word that makes the program say which form of handover it reads.
pub const ASK_VERSION: &str = "--handover-version";

impl Custodian {
    /// Comes back only with the reason why it could not be.
    pub(super) fn become_the_newer(&mut self, asked_by: u64) -> String {
        let lives = (self.machine.life(Ward::Agent), self.machine.life(Ward::Keeper));
        if self.machine.is_shutting_down()
            || !matches!(lives, (Life::Off | Life::Running { .. }, Life::Running { .. }))
            || !(self.agent.is_quiet() && self.keeper.is_quiet())
        {
            return "agent or keeper are on their way up or down; try again in a moment".into();
        }
        let program = self.wards.custodian.clone();
        match Program::new(&program).arg(ASK_VERSION).stdin(Stdio::null()).output() {
            Ok(said) if String::from_utf8_lossy(&said.stdout).trim() == VERSION.to_string() => {}
            Ok(_) => {
                return format!(
                    "{} reads another form of handover: stop everything and start it anew",
                    program.display()
                );
            }
            Err(error) => return format!("{}: {error}", program.display()),
        }
        let mut words: Vec<CString> = Vec::new();
        let mut arguments = std::env::args_os();
        while let Some(word) = arguments.next() {
            if word == OsStr::new(HANDOVER_OPTION) {
                arguments.next();
            } else if let Ok(word) = CString::new(word.as_bytes()) {
                words.push(word);
            }
        }
        info!(program = %program.display(), "becoming the program that is installed now");
        let error = self.leave(asked_by).exec(&program, &words);
        warn!(%error, "that was not possible: everything goes on as it was");
        format!("{}: {error}", program.display())
    }

    fn leave(&self, asked_by: u64) -> Handover {
        let ward = |ward: Ward, desk: &Desk| WardLeft {
            pid: self.machine.pid(ward),
            restarts: self.machine.restarts(ward),
            desk: desk.leave(),
        };
        Handover {
            lock: self.lock.number(),
            listener: self.listener.as_raw_fd(),
            agent: ward(Ward::Agent, &self.agent),
            keeper: ward(Ward::Keeper, &self.keeper),
            agent_command: self.agent_command.as_ref().map(|agent| CommandLeft {
                command: agent.command.clone(),
                stdout: agent.stdout.as_raw_fd(),
                stderr: agent.stderr.as_raw_fd(),
            }),
            controls: self
                .controls
                .iter()
                .map(|(id, end)| ControlLeft { id: *id, socket: end.socket.as_raw_fd(), is_watching: end.is_watching })
                .collect(),
            controls_seen: self.controls_seen,
            asked_by,
        }
    }

    /// Goes on in the place of the custodian that has left this.
    pub(super) fn resume(layout: &Layout, wards: Wards, number: i32) -> Result<Self, CustodianError> {
        let unread = |error: std::io::Error| CustodianError::Handover { reason: error.to_string() };
        let lost = |error: nix::Error| CustodianError::Handover { reason: error.to_string() };
        let left = Handover::read(number).map_err(unread)?;
        let lock = Lock::inherited(inherited::take(left.lock).map_err(lost)?);
        let listener = UnixListener::from(inherited::take(left.listener).map_err(lost)?);
        let mut custodian = Self::with(layout, wards, lock, listener)?;
        let running = |ward: &WardLeft| ward.pid.map(|pid| Running { pid, restarts: ward.restarts });
        custodian.machine = Machine::resumed(running(&left.agent), running(&left.keeper), super::driver::now());
        custodian.agent.take_up(left.agent.desk).map_err(lost)?;
        custodian.keeper.take_up(left.keeper.desk).map_err(lost)?;
        if let Some(CommandLeft { command, stdout, stderr }) = left.agent_command {
            let stdout = inherited::take(stdout).map_err(lost)?;
            let stderr = inherited::take(stderr).map_err(lost)?;
            custodian.agent_command = Some(AgentCommand { command, stdout, stderr });
        }
        for ControlLeft { id, socket, is_watching } in left.controls {
            let socket = inherited::take(socket).map_err(lost)?;
            custodian.controls.insert(id, ControlEnd { socket, is_watching });
        }
        custodian.controls_seen = left.controls_seen;
        info!(pid = std::process::id(), "goes on as the program that is installed now; keeper and agent follow");
        custodian.tell(left.asked_by, &Tell::Upgraded);
        // Who ended in the meantime is not told of again.
        custodian.reap();
        custodian.feed(Input::Renew);
        Ok(custodian)
    }
}

impl Desk {
    pub(super) fn take_up(&mut self, left: super::handover::DeskLeft) -> nix::Result<()> {
        let socket = left.socket.map(inherited::take).transpose()?;
        let deposits = left
            .deposits
            .into_iter()
            .map(|deposit| Ok((deposit.key, deposit.bytes, take_all(&deposit.fds)?)))
            .collect::<nix::Result<Vec<_>>>()?;
        self.restore(deposits, socket, (left.notices, left.notices_made), left.is_ready);
        Ok(())
    }
}
