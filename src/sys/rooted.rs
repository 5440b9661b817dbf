//! A process that sees a folder of ours as `/harddisk:`, and then becomes a program of the host.
//!
//! ```text
//!  there already -> a view of the files of its own (as root, or in a user namespace) -> a link in / -> said, and without
//! ```
//! For a process of a single thread that does nothing else.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, geteuid, getgid, getuid};

use super::spawn;

/// How the folder is called.
const HARDDISK: &str = "/harddisk:";

/// What to become.
#[derive(Debug)]
pub struct Rooted {
    /// What `/harddisk:` shows.
    pub harddisk: PathBuf,
    /// An empty folder, for the view to be put together.
    pub stage: PathBuf,
    /// The terminal that the program is to have; without it, standard input and output stay as they are.
    pub terminal: Option<PathBuf>,
    /// The account to become, which only root can.
    pub account: Option<String>,
    /// The command, or an interactive shell.
    pub command: Option<OsString>,
}

impl Rooted {
    /// Becomes the program; returns only with what kept it from that.
    pub fn exec(self) -> io::Error {
        match self.prepare() {
            Ok(mut program) => program.exec(),
            Err(error) => error,
        }
    }

    fn prepare(&self) -> io::Result<Command> {
        if let Some(terminal) = &self.terminal {
            // The first terminal that the leader of a session opens is the one that controls it.
            nix::unistd::setsid()?;
            let terminal = open(terminal, OFlag::O_RDWR, Mode::empty())?;
            nix::unistd::dup2_stdin(&terminal)?;
            nix::unistd::dup2_stdout(&terminal)?;
            nix::unistd::dup2_stderr(&terminal)?;
        }
        if let Err(reason) = self.map() {
            writeln!(
                io::stderr(),
                "% /harddisk: cannot be had here ({reason}); its files are below {}\r",
                self.harddisk.display()
            )?;
        }
        let account = match &self.account {
            Some(name) => spawn::account(name)?,
            None => None,
        };
        let mut home = nix::unistd::User::from_uid(geteuid())?.map(|user| user.dir);
        if let Some(account) = account.filter(|_| geteuid().is_root()) {
            let groups: Vec<Gid> = account.groups.iter().map(|group| Gid::from_raw(*group)).collect();
            nix::unistd::setgroups(&groups)?;
            let gid = Gid::from_raw(account.gid);
            nix::unistd::setresgid(gid, gid, gid)?;
            let uid = Uid::from_raw(account.uid);
            nix::unistd::setresuid(uid, uid, uid)?;
            home = Some(account.home);
        }
        let home = home.filter(|home| home.is_dir()).unwrap_or_else(|| PathBuf::from("/"));
        let shell = Path::new("/bin/bash");
        let has_bash = shell.exists();
        let mut program = Command::new(if has_bash { shell } else { Path::new("/bin/sh") });
        match &self.command {
            Some(command) => program.arg("-c").arg(command),
            // The prompt is ours, and is what the user's own files would change.
            None if has_bash => program.args(["--norc", "--noprofile", "-i"]),
            None => program.arg("-i"),
        };
        program.current_dir(&home).env("HOME", home);
        Ok(program)
    }

    /// Makes `/harddisk:` show the folder.
    fn map(&self) -> Result<(), String> {
        let harddisk = fs::canonicalize(&self.harddisk).map_err(|error| error.to_string())?;
        if fs::canonicalize(HARDDISK).is_ok_and(|there| there == harddisk) {
            return Ok(());
        }
        let viewed = enter_namespace().and_then(|()| self.view(&harddisk));
        let Err(reason) = viewed else { return Ok(()) };
        match std::os::unix::fs::symlink(&harddisk, HARDDISK) {
            Ok(()) => Ok(()),
            Err(link) => Err(format!("no view of its own: {reason}; no link: {link}")),
        }
    }

    /// All that is in `/`, and `harddisk:` beside it.
    fn view(&self, harddisk: &Path) -> io::Result<()> {
        let stage = self.stage.as_path();
        let nothing: Option<&str> = None;
        let bind = |from: &Path, to: &Path| {
            mount(Some(from), to, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing).map_err(io::Error::from)
        };
        // What happens here is not to be seen outside.
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        mount(Some("tmpfs"), stage, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755,size=64k"))?;
        for entry in fs::read_dir("/")? {
            let entry = entry?;
            if entry.file_name() == HARDDISK[1..] {
                continue;
            }
            let (from, to) = (entry.path(), stage.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
            } else if kind.is_dir() {
                fs::create_dir(&to)?;
                bind(&from, &to)?;
            } else if kind.is_file() {
                fs::File::create(&to)?;
                bind(&from, &to)?;
            }
        }
        let to = stage.join(&HARDDISK[1..]);
        fs::create_dir(&to)?;
        bind(harddisk, &to)?;
        nix::unistd::chroot(stage)?;
        Ok(nix::unistd::chdir("/")?)
    }
}

/// A view of mounts of its own: as root, or as root of a user namespace in which the user stays who it is.
fn enter_namespace() -> io::Result<()> {
    if geteuid().is_root() && unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        return Ok(());
    }
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}
