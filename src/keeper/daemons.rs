//! Daemons: what a pid file names, and whether that came of the container's start command.
//!
//! A member is in the container's control group, or carries its mark. One that has overwritten its environment (many do, to
//! show a title) is known by its parent: what was left to our reaper is of the house, and it must have begun with the start.

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::launch;
use crate::sys::tree::{self, Tree};
use crate::sys::{cgroup, process};

/// A pid and a line end.
const PID_FILE_BYTES_MAX: u64 = 64;
/// Clocks of processes are coarser than ours.
const COARSE: Duration = Duration::from_millis(1100);

#[derive(Debug, Clone)]
pub struct Seek {
    pub pid_file: PathBuf,
    pub tree: Tree,
    /// When the start command began.
    pub began_unix_ms: u64,
}

/// A daemon, held by what cannot become another's.
#[derive(Debug)]
pub struct Daemon {
    pub pid: i32,
    /// In ticks since the boot.
    pub start: u64,
    pub pidfd: OwnedFd,
}

/// `None` while the file names nobody, or a stranger.
pub fn find(seek: &Seek) -> Option<Daemon> {
    let pid = read_pid(&seek.pid_file)?;
    // The descriptor first: what is found then is of the very process that is watched.
    let pidfd = process::pidfd_open(pid).ok()?;
    let facts = tree::facts(pid)?;
    let is_grouped = || seek.tree.group.as_ref().is_some_and(|group| cgroup::members(group).contains(&pid));
    let is_member = tree::is_marked(pid, &seek.tree.mark)
        || is_grouped()
        || (is_left_to_us(&facts, seek.began_unix_ms) && !tree::is_marked(pid, &format!("{}=", launch::MARK)));
    is_member.then(|| Daemon { pid, start: facts.start(), pidfd })
}

/// Orphans of the house come to the custodian, or to a keeper that is alone.
fn is_left_to_us(facts: &tree::Facts, began_unix_ms: u64) -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let custodian = nix::unistd::getppid().as_raw();
    let is_ours = facts.parent == own || (custodian > 1 && facts.parent == custodian);
    is_ours && tree::started(facts).is_none_or(|at| at + COARSE >= Duration::from_millis(began_unix_ms))
}

fn read_pid(path: &Path) -> Option<i32> {
    // Non-blocking, so that a FIFO in its place holds nobody up.
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let mut text = String::new();
    file.take(PID_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    let pid: i32 = text.split_ascii_whitespace().next()?.parse().ok()?;
    (pid > 1).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seek(folder: &Path, mark: &str) -> Seek {
        let tree = Tree { mark: mark.to_owned(), leader: None, group: None, known: None };
        Seek { pid_file: folder.join("pid"), tree, began_unix_ms: u64::MAX }
    }

    #[test]
    fn a_pid_file_is_a_hint_and_the_mark_decides() {
        let folder = tempfile::tempdir().unwrap();
        let mark = format!("PROCYON_CONTAINER=d@{}/", std::process::id());
        let marked = |value: &str| {
            let child = std::process::Command::new("sleep").arg("300").env("PROCYON_CONTAINER", value).spawn().unwrap();
            // The kernel lets the parent of a `vfork` go on a moment before it shows the new program's environment.
            while !tree::is_marked(i32::try_from(child.id()).unwrap(), "PROCYON_CONTAINER=") {
                std::thread::yield_now();
            }
            child
        };
        let mut ours = marked(&format!("d@{}/1", std::process::id()));
        let mut foreign = marked("other@1/1");
        let told = |text: String| {
            fs::write(folder.path().join("pid"), text).unwrap();
            find(&seek(folder.path(), &mark)).map(|daemon| daemon.pid)
        };
        assert_eq!(told(format!("{}\n", ours.id())), Some(i32::try_from(ours.id()).unwrap()));
        assert_eq!(told(foreign.id().to_string()), None);
        assert_eq!(told("1".into()), None);
        assert_eq!(told("nonsense".into()), None);
        for child in [&mut ours, &mut foreign] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(told(ours.id().to_string()), None);
    }
}
