//! A scratch root with a custodian on it.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procyon::keeper::custodian::control::{self, Control, Order, Status, Tell};
use procyon::settings::Layout;

/// Longer than anything here takes, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct House {
    folder: tempfile::TempDir,
    pub(crate) layout: Layout,
    lines_read: std::cell::Cell<usize>,
}

/// The custodian's process; whatever is left of it and its wards goes with it.
pub(crate) struct Custodian {
    child: Child,
    layout: Layout,
}

impl House {
    /// `keeper` is a shell script that is run in the root as the keeper.
    pub(crate) fn new(keeper: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path()).unwrap();
        for path in [layout.keys(), layout.harddisk(), layout.run(), layout.state()] {
            fs::create_dir(path).unwrap();
        }
        let script = folder.path().join("keeper.sh");
        fs::write(&script, format!("#!/bin/sh\n{keeper}\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("log"), "").unwrap();
        Self { folder, layout, lines_read: std::cell::Cell::new(0) }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_procyon-keeper"));
        command.args(["--custodian", "--root"]).arg(self.folder.path());
        command.arg("--keeper-command").arg(self.folder.path().join("keeper.sh"));
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&self) -> Custodian {
        let mut child = self.command().stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        assert_eq!(line, "listening\n");
        Custodian { child, layout: self.layout.clone() }
    }

    pub(crate) fn control(&self) -> Control {
        Control::connect(&self.layout.custodian_socket()).unwrap().expect("the custodian listens")
    }

    pub(crate) fn ask_raw(&self, control: &Control, order: &Order) {
        control.send(order, &[]).unwrap();
    }

    pub(crate) fn ask(&self, control: &Control, order: &Order) -> Tell {
        self.ask_raw(control, order);
        self.hear(control)
    }

    pub(crate) fn hear(&self, control: &Control) -> Tell {
        let mut set = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(PATIENCE).unwrap();
        assert_eq!(poll(&mut set, timeout), Ok(1), "the custodian says nothing for {PATIENCE:?}");
        control.receive().unwrap().expect("the custodian is there")
    }

    pub(crate) fn status(&self) -> Status {
        match self.ask(&self.control(), &Order::Status) {
            Tell::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Runs a shell script in the root as the agent; the answer, where the event of the start is not one.
    pub(crate) fn start_agent(&self, control: &Control, script: &str) -> Tell {
        self.start_program(control, ["/bin/sh", "-c", script, "agent"].map(OsString::from).into())
    }

    pub(crate) fn start_program(&self, control: &Control, argv: Vec<OsString>) -> Tell {
        let null = fs::File::options().write(true).open("/dev/null").unwrap();
        let command =
            control::Command { argv, env: std::env::vars_os().collect(), directory: self.folder.path().to_owned() };
        control.send(&Order::StartAgent(command), &[null.as_fd(), null.as_fd()]).unwrap();
        loop {
            match self.hear(control) {
                Tell::AgentStarted { .. } => {}
                answer => return answer,
            }
        }
    }

    pub(crate) fn keeper_pid(&self) -> i32 {
        until("a keeper", PATIENCE, || self.status().keeper)
    }

    pub(crate) fn other_keeper_than(&self, old: i32) -> i32 {
        until("another keeper", PATIENCE, || self.status().keeper.filter(|pid| *pid != old))
    }

    pub(crate) fn kill(&self, pid: i32, signal: Signal) {
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// The next whole line of a file in the root, once it is there.
    pub(crate) fn line(&self, file: &str) -> String {
        let index = self.lines_read.replace(self.lines_read.get() + 1);
        until("a line", PATIENCE, || {
            let text = fs::read_to_string(self.folder.path().join(file)).unwrap();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole.split('\n').nth(index).filter(|line| !line.is_empty()).map(str::to_owned)
        })
    }
}

impl Custodian {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        until("the end of the custodian", PATIENCE, || self.child.try_wait().unwrap())
    }
}

impl Drop for Custodian {
    fn drop(&mut self) {
        let status = Control::connect(&self.layout.custodian_socket()).ok().flatten().and_then(|control| {
            control.send(&Order::Status, &[]).ok()?;
            control.receive().ok().flatten()
        });
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(Tell::Status(status)) = status {
            for pid in [status.agent, status.keeper].into_iter().flatten() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

#[expect(clippy::disallowed_methods, reason = "tests read the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since the boot.
pub(crate) fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// When the process began, in seconds since the boot.
pub(crate) fn began(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks: f64 = text.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
    let a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    ticks / f64::from(i32::try_from(a_second).unwrap())
}

/// Looks again and again until there is something, at most for `patience`.
fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::yield_now();
    }
}
