//! Starts a program in a clean process of its own: own session, fresh signals, only the named descriptors, limits, user.
//!
//! Everything that may allocate, look up or fail slowly is done before; in the new process only system calls run.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;

use super::low::LOW_NUMBERS;
use super::vfork::{self, Given};

/// By the kernel's resource number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub resource: libc::__rlimit_resource_t,
    pub value: u64,
    /// The hard limit stays as it is.
    pub soft_only: bool,
}

/// An account, looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: PathBuf,
    pub shell: PathBuf,
}

/// What to start and with what.
#[derive(Debug)]
pub struct Launch {
    /// Executed in place of the first word, which the program still takes for its name.
    pub program: Option<PathBuf>,
    pub argv: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// The program's terminal is its standard input.
    pub controlling_terminal: bool,
    /// Stay open in the program under the numbers they have here.
    pub inherited: Vec<OwnedFd>,
    /// Appears in the program under this number, which nothing of this process has.
    pub placed: Option<(OwnedFd, RawFd)>,
    /// A memfd into which the child writes its process id before it becomes the program.
    pub record: Option<OwnedFd>,
    /// The folder of the control group that the program is in.
    pub group: Option<OwnedFd>,
    pub account: Option<Account>,
    pub umask: u32,
    pub nice: Option<i32>,
    pub limits: Vec<Limit>,
    pub no_new_privs: bool,
}

/// Starts it; the process id of the new session's leader. An error is the exec's own (`ENOENT`, `EACCES`, ...).
///
/// The calling thread waits until the program has begun, which takes as long as the disk that it is read from. Where all that
/// the program is given stands below [`LOW_NUMBERS`], nothing else of this process is even looked at.
pub fn spawn(launch: &Launch) -> io::Result<i32> {
    let Some(name) = launch.argv.first() else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let program = launch.program.as_ref().map_or(name.as_os_str(), |program| program.as_os_str());
    let argv = launch.argv.iter().map(OsString::as_os_str);
    let env = launch.env.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
    let image = vfork::Image::new(program, argv, env, launch.cwd.as_os_str())?;
    let nothing;
    let stdin = match &launch.stdin {
        Some(stdin) => stdin,
        None => {
            nothing = OwnedFd::from(std::fs::File::open("/dev/null")?);
            &nothing
        }
    };
    let streams = [stdin.as_raw_fd(), launch.stdout.as_raw_fd(), launch.stderr.as_raw_fd()];
    let inside = Inside {
        controlling_terminal: launch.controlling_terminal,
        inherited: launch.inherited.iter().map(AsRawFd::as_raw_fd).collect(),
        placed: launch.placed.as_ref().map(|(from, number)| (from.as_raw_fd(), *number)),
        nice: launch.nice,
        record: launch.record.as_ref().map(AsRawFd::as_raw_fd),
        // Without privileges one can only be who one is, and need not become it.
        account: launch
            .account
            .as_ref()
            .filter(|account| nix::unistd::geteuid().is_root() || account.uid != nix::unistd::geteuid().as_raw()),
        umask: launch.umask,
        limits: &launch.limits,
        no_new_privs: launch.no_new_privs,
    };
    let group = launch.group.as_ref().map(AsRawFd::as_raw_fd);
    let given = streams.iter().chain(&inside.inherited).chain(&inside.record).chain(&group);
    let mut given = given.chain(inside.placed.as_ref().map(|(from, _)| from));
    let few = given.all(|fd| *fd < LOW_NUMBERS);
    // One that is where another is to be put would be lost.
    if streams.iter().all(|fd| *fd > 2) {
        return vfork::start(&image, Given { streams, group, few }, &|| inside.enter());
    }
    let apart = |fd: &OwnedFd| fd.try_clone().map(super::low::high);
    let copies = [apart(stdin)?, apart(&launch.stdout)?, apart(&launch.stderr)?];
    let streams = copies.each_ref().map(AsRawFd::as_raw_fd);
    vfork::start(&image, Given { streams, group, few: false }, &|| inside.enter())
}

struct Inside<'l> {
    controlling_terminal: bool,
    inherited: Vec<RawFd>,
    placed: Option<(RawFd, RawFd)>,
    nice: Option<i32>,
    record: Option<RawFd>,
    account: Option<&'l Account>,
    umask: u32,
    limits: &'l [Limit],
    no_new_privs: bool,
}

impl Inside<'_> {
    #[expect(unsafe_code, reason = "plain system calls between fork and exec")]
    fn enter(&self) -> io::Result<()> {
        // SAFETY: every call takes integers or pointers to memory owned by `self` or the stack; none of them allocates,
        // and this process has a single thread now.
        unsafe {
            if let Some(record) = self.record {
                let pid = libc::getpid().to_ne_bytes();
                libc::pwrite(record, pid.as_ptr().cast(), pid.len(), 0);
            }
            check(libc::setsid())?;
            if self.controlling_terminal {
                check(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
            }
            for signal in 1..=libc::SIGRTMAX() {
                // SIGKILL, SIGSTOP and the two of the C library refuse; that is as it should be.
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()))?;
            let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if score >= 0 {
                libc::write(score, b"0".as_ptr().cast(), 1);
                libc::close(score);
            }
            for limit in self.limits {
                let mut value = libc::rlimit { rlim_cur: limit.value, rlim_max: limit.value };
                if limit.soft_only {
                    check(libc::getrlimit(limit.resource, &raw mut value))?;
                    value.rlim_cur = limit.value.min(value.rlim_max);
                }
                check(libc::setrlimit(limit.resource, &raw const value))?;
            }
            // Whatever this process inherited itself without close-on-exec does not leak into the program.
            let cloexec = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, cloexec);
            for fd in &self.inherited {
                check(libc::fcntl(*fd, libc::F_SETFD, 0))?;
            }
            if let Some((from, number)) = self.placed {
                // dup2 clears close-on-exec.
                check(libc::dup2(from, number))?;
            }
            if let Some(nice) = self.nice {
                check(libc::setpriority(libc::PRIO_PROCESS, 0, nice))?;
            }
            libc::umask(self.umask);
            if let Some(Account { uid, gid, groups, .. }) = self.account {
                // Not the C library's: those change all threads of the process whose memory this is.
                check_long(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
                check_long(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid))?;
                check_long(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid))?;
            }
            if self.no_new_privs {
                check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            }
        }
        Ok(())
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Looks an account up by name. May ask the network where the machine is set up so.
pub fn account(name: &str) -> Result<Option<Account>, Errno> {
    let Some(user) = nix::unistd::User::from_name(name)? else { return Ok(None) };
    let c_name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let groups = nix::unistd::getgrouplist(&c_name, user.gid)?;
    Ok(Some(Account {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
        home: user.dir,
        shell: user.shell,
    }))
}

/// The number of a group.
pub fn group(name: &str) -> Result<Option<u32>, Errno> {
    Ok(nix::unistd::Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// The name of the account that this process has.
pub fn own_account() -> Result<Option<String>, Errno> {
    Ok(nix::unistd::User::from_uid(nix::unistd::geteuid())?.map(|user| user.name))
}

/// Sends a signal to every process of a group.
pub fn signal_group(leader: i32, signal: i32) -> nix::Result<()> {
    let signal = nix::sys::signal::Signal::try_from(signal)?;
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(leader), signal)
}

/// Makes reads of the descriptor return at once.
pub fn set_nonblocking(fd: &OwnedFd) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Gives the object behind the descriptor (a pipe, a terminal) to an account, so that the program can reopen it.
pub fn give_to(fd: &OwnedFd, account: &Account) -> nix::Result<()> {
    nix::unistd::fchown(fd, Some(account.uid.into()), Some(account.gid.into()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    fn said(script: &str, with: impl FnOnce(&mut Launch)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let stderr = writer.try_clone().unwrap();
        let mut launch = Launch {
            program: None,
            argv: ["sh", "-c", script].map(OsString::from).to_vec(),
            env: vec![("WHO".into(), "me".into()), ("PATH".into(), "/usr/bin:/bin".into())],
            cwd: folder.path().canonicalize().unwrap(),
            stdin: None,
            stdout: writer,
            stderr,
            controlling_terminal: false,
            inherited: vec![],
            placed: None,
            record: None,
            group: None,
            account: None,
            umask: 0o027,
            nice: None,
            limits: vec![Limit { resource: libc::RLIMIT_CORE, value: 0, soft_only: false }],
            no_new_privs: true,
        };
        with(&mut launch);
        let path = launch.cwd.display().to_string();
        let pid = spawn(&launch).unwrap();
        drop(launch);
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
        text.replace(&path, "HERE")
    }

    #[test]
    fn the_program_gets_its_environment_its_folder_and_no_foreign_descriptor() {
        // ls itself opens the fourth.
        let text = said("pwd; echo $WHO; umask; ulimit -c; ls /proc/self/fd | wc -l", |_| ());
        assert_eq!(text, "HERE\nme\n0027\n0\n4\n");
    }

    #[test]
    fn the_program_begins_in_its_control_group_or_runs_without() {
        use crate::sys::cgroup::{GroupLimits, Groups};
        let into = |folder: OwnedFd| said("cat /proc/self/cgroup; echo runs", |launch| launch.group = Some(folder));
        let no_group = OwnedFd::from(File::open("/tmp").unwrap());
        assert!(into(no_group).ends_with("runs\n"));
        let id = format!("spawn.{}", std::process::id());
        let groups = match Groups::probe(&id) {
            Ok(groups) => groups,
            Err(why) => return assert!(!why.is_empty(), "a host without groups says why"),
        };
        let text = into(groups.folder_of("x", GroupLimits::default()).unwrap());
        assert!(text.contains(&format!("/procyon-{id}/c-x\n")), "{text}");
        groups.remove("x");
        groups.remove_all();
    }
}
