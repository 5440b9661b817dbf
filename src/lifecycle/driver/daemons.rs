//! Daemons: what a pid file names, whether that came of the start command, and its end.
//!
//! A member is marked by its environment. One that has overwritten that (many do, to show a title) is known by its
//! parent: what our custodian has taken in is of ours, and it must have begun with the start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::warn;

use super::keeping::container;
use crate::keeper::client::Keeper;
use crate::keeper::launch::{self, RootId};
use crate::lifecycle::definition::ProcessName;
use crate::lifecycle::machine::Job;
use crate::lifecycle::manager::{Input, PidVerdict};
use crate::sys::{process, tree};

/// A pid and a line end.
const PID_FILE_BYTES_MAX: u64 = 64;
/// Clocks of files and of processes are coarser than ours.
const COARSE: Duration = Duration::from_millis(1100);
const KEEPER_TIME_MAX: Duration = Duration::from_secs(1);

pub(super) struct Look {
    pub name: ProcessName,
    pub path: PathBuf,
    pub run_began: Option<Timestamp>,
    pub root: RootId,
}

/// The daemons that are watched, each by one task.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched(Arc<Mutex<BTreeSet<(ProcessName, i32)>>>);

impl Watched {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeSet<(ProcessName, i32)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks in a task of its own, for a file system may hang; the verdict comes as an input, and later on the daemon's end.
pub(super) fn look(look: Look, keeper: Keeper, watched: Watched, inputs: mpsc::Sender<Input>) {
    tokio::spawn(async move {
        let keeper = keeper.pid(KEEPER_TIME_MAX).await;
        let name = look.name.clone();
        let Ok((verdict, pidfd)) = tokio::task::spawn_blocking(move || judge(&look, keeper)).await else { return };
        let daemon = match verdict {
            PidVerdict::Member { pid } => pidfd.map(|pidfd| (pid, pidfd)),
            PidVerdict::Foreign { .. } | PidVerdict::Nothing => None,
        };
        // A lifecycle that is gone waits for nothing.
        let _ = inputs.send(Input::PidFile { name: name.clone(), verdict }).await;
        let Some((pid, pidfd)) = daemon else { return };
        if !watched.with(|watched| watched.insert((name.clone(), pid))) {
            return;
        }
        if let Err(error) = process::wait_for_end(pidfd).await {
            warn!(process = %name, pid, %error, "a daemon cannot be watched: it counts as ended");
        }
        watched.with(|watched| watched.remove(&(name.clone(), pid)));
        let _ = inputs.send(Input::DaemonEnded { name, pid }).await;
    });
}

fn judge(look: &Look, keeper: Option<i32>) -> (PidVerdict, Option<OwnedFd>) {
    let nothing = (PidVerdict::Nothing, None);
    let Some((pid, written)) = read_pid(&look.path) else { return nothing };
    // The descriptor first: what is found then is of the very process that is watched.
    let Ok(pidfd) = process::pidfd_open(pid) else { return nothing };
    let Some(facts) = tree::facts(pid) else { return nothing };
    let mark = launch::mark(&look.root, &container(&look.name, Job::Main));
    let is_member = tree::is_marked(pid, &mark) || (is_taken_in(&facts, keeper, look.run_began) && !is_of_another(pid));
    if is_member {
        return (PidVerdict::Member { pid }, Some(pidfd));
    }
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    let is_fresh = match (written, look.run_began.map(SystemTime::from)) {
        (Some(written), Some(began)) => written + COARSE >= began,
        _ => true,
    };
    (PidVerdict::Foreign { pid, program, is_fresh }, None)
}

/// Whether the process was left to our custodian, and began with the start.
fn is_taken_in(facts: &tree::Facts, keeper: Option<i32>, run_began: Option<Timestamp>) -> bool {
    let custodian = nix::unistd::getppid().as_raw();
    let is_ours = custodian > 1 && facts.parent == custodian || keeper == Some(facts.parent);
    let is_new = match (run_began, tree::started(facts)) {
        (Some(began), Some(started)) => started + COARSE >= duration_since_epoch(began),
        _ => true,
    };
    is_ours && is_new
}

fn duration_since_epoch(at: Timestamp) -> Duration {
    SystemTime::from(at).duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Marked, but not as one of ours.
fn is_of_another(pid: i32) -> bool {
    tree::is_marked(pid, "PROCYON_CONTAINER=")
}

fn read_pid(path: &Path) -> Option<(i32, Option<SystemTime>)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file: File = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let written = file.metadata().ok()?.modified().ok();
    let mut text = String::new();
    file.take(PID_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    let pid: i32 = text.split_ascii_whitespace().next()?.parse().ok()?;
    (pid > 1).then_some((pid, written))
}
