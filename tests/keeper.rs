//! The keeper as a process of its own, with real children, driven as the agent drives it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use procyon::checksum::Sha256;
use procyon::container::machine::{ExitStatus, RunId};
use procyon::container::spec::{ContainerName, ContainerSpec, Floor, LogSpec, Program, RestartPolicy, Terminal};
use procyon::keeper::client::{Keeper, KeeperEvent};
use procyon::keeper::protocol::{ContainerState, Phase, Reason, Stream};
use procyon::keeper::refusal::KeeperRefusal;
use tokio::sync::mpsc;

/// No step takes so long unless something is broken.
const LIMIT: Duration = Duration::from_secs(20);

#[path = "keeper/permits.rs"]
mod permits;
#[path = "keeper/provision.rs"]
mod provision;
#[path = "keeper/survivors.rs"]
mod survivors;

struct Bench {
    root: tempfile::TempDir,
    process: Child,
    keeper: Keeper,
    events: mpsc::Receiver<KeeperEvent>,
}

impl Bench {
    /// A keeper alone.
    async fn new() -> Self {
        Self::with("--keeper").await
    }

    async fn with(role: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["keys", "harddisk", "run", "state", "config"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let process = begin(root.path(), role);
        let (keeper, events) = Keeper::connect(root.path().join("run/keeper.sock"));
        let mut bench = Self { root, process, keeper, events };
        bench.until_connected().await;
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn shell(&self, name: &str, script: &str) -> ContainerSpec {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let logs = LogSpec::in_dir(self.path("logs").join(name));
        ContainerSpec::new(named(name), Program::Command { argv }, self.path("work"), logs)
    }

    fn script(&self, name: &str, text: &str) -> ContainerSpec {
        let path = self.path(&format!("{name}.py"));
        fs::write(&path, text).unwrap();
        let program = Program::Script {
            device_path: format!("/harddisk:/mirror/script-mgmt/process/{name}.py"),
            path,
            sha256: Sha256::of(text.as_bytes()),
            args: vec!["one".into()],
            interpreter: "/usr/bin/python3".into(),
            library: self.root.path().into(),
        };
        ContainerSpec::new(named(name), program, self.path("work"), LogSpec::in_dir(self.path("logs").join(name)))
    }

    async fn run(&mut self, spec: ContainerSpec) -> ContainerState {
        let name = spec.name.clone();
        self.keeper.define(spec).await.unwrap();
        self.keeper.start(name.clone()).await.unwrap();
        self.until_phase(&name, Phase::Running).await
    }

    /// The first thing that the function finds among the events to come.
    async fn until<T>(&mut self, find: impl Fn(KeeperEvent) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let event = tokio::time::timeout_at(deadline, self.events.recv()).await;
            if let Some(found) = find(event.expect("nothing came in time").expect("the client goes on")) {
                return found;
            }
        }
    }

    async fn until_state(&mut self, name: &ContainerName, is: impl Fn(&ContainerState) -> bool) -> ContainerState {
        self.until(|event| match event {
            KeeperEvent::Changed(state) if state.name == *name && is(&state) => Some(*state),
            _ => None,
        })
        .await
    }

    /// Whatever has changed next.
    async fn until_any(&mut self) -> ContainerState {
        self.until(|event| match event {
            KeeperEvent::Changed(state) => Some(*state),
            _ => None,
        })
        .await
    }

    async fn until_phase(&mut self, name: &ContainerName, phase: Phase) -> ContainerState {
        self.until_state(name, |state| state.phase == phase).await
    }

    /// The process that serves, below the custodian.
    fn keeper_pid(&self) -> i32 {
        let path = format!("/proc/{0}/task/{0}/children", self.process.id());
        fs::read_to_string(path)
            .unwrap()
            .split(' ')
            .find_map(|pid| pid.parse().ok())
            .expect("the custodian has a keeper")
    }

    async fn until_connected(&mut self) -> Vec<ContainerState> {
        self.until(|event| match event {
            KeeperEvent::Connected { containers } => Some(containers.into_iter().map(|(state, _)| state).collect()),
            _ => None,
        })
        .await
    }

    fn log(&self, name: &str, file: &str) -> String {
        fs::read_to_string(self.path("logs").join(name).join(file)).unwrap_or_default()
    }

    async fn until_log(&self, name: &str, file: &str, has: impl Fn(&str) -> bool) -> String {
        let deadline = now() + LIMIT;
        loop {
            let text = self.log(name, file);
            if has(&text) {
                return text;
            }
            assert!(now() < deadline, "the log came to: {text}");
            tokio::task::yield_now().await;
        }
    }
}

fn begin(root: &Path, role: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_procyon-keeper"));
    command.args([role, "--root"]).arg(root).stdin(Stdio::null()).env("PROCYON_LOG", "warn").spawn().unwrap()
}

impl Drop for Bench {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let status = self.process.wait().unwrap();
        if !std::thread::panicking() {
            assert!(status.success(), "the keeper ended with {status}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests measure and bound")]
fn now() -> Instant {
    Instant::now()
}

fn named(name: &str) -> ContainerName {
    ContainerName::parse(name).unwrap()
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_killed_program_is_back_within_fifty_milliseconds() {
    let mut bench = Bench::new().await;
    let first = bench.run(bench.shell("app", "exec sleep 1000")).await;
    let mut took = Vec::new();
    let mut pid = first.pid.unwrap();
    for _ in 0..4 {
        let before = now();
        kill(pid);
        let again = bench.until_state(&first.name, |state| state.pid.is_some_and(|new| new != pid)).await;
        took.push(before.elapsed());
        assert_eq!(again.last_exit, Some(ExitStatus::Signal { number: 9, core: false }));
        pid = again.pid.unwrap();
    }
    took.sort_unstable();
    assert!(took[0] < Duration::from_millis(50), "{took:?}");
    let last = bench.keeper.list().await.unwrap().pop().unwrap();
    assert_eq!((last.0.restarts, last.0.run), (4, first.run.map(|RunId(run)| RunId(run + 4))));
    assert!(last.1.is_some(), "what runs has a door");
}

#[tokio::test]
async fn under_the_policy_never_an_end_is_the_end_and_is_explained() {
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("once", "echo first >&2; echo second >&2; exit 3");
    spec.restart = RestartPolicy::Never;
    bench.keeper.define(spec).await.unwrap();
    bench.keeper.start(named("once")).await.unwrap();
    let state = bench.until_phase(&named("once"), Phase::ExitFailure).await;
    assert_eq!((state.last_exit, state.reason), (Some(ExitStatus::Code(3)), Reason::PolicyHolds));
    assert_eq!(state.error_lines, ["first", "second"]);
    assert_eq!(state.pid, None);
}

#[tokio::test]
async fn retries_are_counted_and_then_spent() {
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("flaky", "exit 1");
    spec.restart = RestartPolicy::OnFailure { max_retries: Some(3) };
    bench.keeper.define(spec).await.unwrap();
    bench.keeper.start(named("flaky")).await.unwrap();
    let state = bench.until_phase(&named("flaky"), Phase::ExitFailure).await;
    assert_eq!(state.reason, Reason::RetriesSpent { retries: 3 });
    let errors = bench.log("flaky", "stderr.log");
    assert_eq!(errors.lines().filter(|line| line.starts_with("-----Run ID:")).count(), 4, "{errors}");
}

#[tokio::test]
async fn a_restart_loop_is_slowed_and_says_when_it_goes_on() {
    let mut bench = Bench::new().await;
    bench.keeper.define(bench.shell("loop", "exit 1")).await.unwrap();
    bench.keeper.start(named("loop")).await.unwrap();
    let state = bench.until_phase(&named("loop"), Phase::Backoff).await;
    let ahead = state.next_restart_unix_ms.unwrap() - state.ended_unix_ms.unwrap();
    assert!((900..=1100).contains(&ahead), "{ahead}");
    bench.keeper.stop(named("loop")).await.unwrap();
    bench.until_phase(&named("loop"), Phase::Stopped).await;
}

#[tokio::test]
async fn a_program_that_ignores_the_stop_signal_is_not_escalated_but_a_kill_ends_it() {
    let mut bench = Bench::new().await;
    let state = bench.run(bench.shell("deaf", "trap '' TERM; echo ready; while :; do sleep 1000; done")).await;
    bench.until_log("deaf", "stdout.log", |text| text.contains("ready")).await;
    bench.keeper.stop(named("deaf")).await.unwrap();
    bench.until_phase(&named("deaf"), Phase::StopRequested).await;
    assert!(is_alive(state.pid.unwrap()));
    bench.keeper.kill(named("deaf")).await.unwrap();
    bench.until_phase(&named("deaf"), Phase::Killed).await;
    assert!(!is_alive(state.pid.unwrap()));
}

#[tokio::test]
async fn a_kill_finds_a_grandchild_that_left_session_and_parent() {
    let mut bench = Bench::new().await;
    let script = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000";
    bench.run(bench.shell("forker", script)).await;
    let text = bench.until_log("forker", "stdout.log", |text| text.ends_with('\n')).await;
    let grandchild: i32 = text.trim().parse().unwrap();
    assert!(is_alive(grandchild));
    bench.keeper.kill(named("forker")).await.unwrap();
    bench.until_phase(&named("forker"), Phase::Killed).await;
    assert!(!is_alive(grandchild));
}

#[tokio::test]
async fn a_release_stops_waits_kills_and_forgets() {
    let mut bench = Bench::new().await;
    let state = bench.run(bench.shell("deaf", "trap '' TERM; echo ready; while :; do sleep 1000; done")).await;
    bench.until_log("deaf", "stdout.log", |text| text.contains("ready")).await;
    bench.keeper.release(named("deaf"), Duration::from_millis(100)).await.unwrap();
    assert!(!is_alive(state.pid.unwrap()));
    assert!(bench.keeper.list().await.unwrap().is_empty());
    let refusal = bench.keeper.start(named("deaf")).await.unwrap_err();
    assert_eq!(refusal, KeeperRefusal::NotDefined { name: named("deaf") });
}

#[tokio::test]
async fn a_script_runs_under_its_device_path_and_its_frozen_bytes_go_on_when_the_file_is_replaced() {
    let mut bench = Bench::new().await;
    let old = "import sys, time\nprint('old', __file__, sys.argv[1:])\ntime.sleep(1000)\n";
    let new = old.replace("old", "new");
    let state = bench.run(bench.script("probe", old)).await;
    let line = "old /harddisk:/mirror/script-mgmt/process/probe.py ['one']\n";
    bench.until_log("probe", "stdout.log", |text| text == line).await;
    assert!(!state.config_pending);

    // The file on disk is changed and its new checksum committed: the frozen copy runs on, and again after a kill.
    fs::write(bench.path("probe.py"), &new).unwrap();
    bench.keeper.set_expected(named("probe"), Some(Sha256::of(new.as_bytes()))).await.unwrap();
    let state = bench.until_state(&named("probe"), |state| state.config_pending).await;
    kill(state.pid.unwrap());
    bench.until_log("probe", "stdout.log", |text| text == line.repeat(2)).await;
}

#[tokio::test]
async fn an_edited_script_never_runs_until_its_checksum_is_committed() {
    let mut bench = Bench::new().await;
    let good = "import time\nprint('good')\ntime.sleep(1000)\n";
    let state = bench.run(bench.script("probe", good)).await;
    bench.until_log("probe", "stdout.log", |text| text == "good\n").await;
    let edited = "print('evil')\n";
    fs::write(bench.path("probe.py"), edited).unwrap();
    kill(state.pid.unwrap());
    let (expected, found) = (Some(Sha256::of(good.as_bytes())), Sha256::of(edited.as_bytes()));
    let state = bench.until_phase(&named("probe"), Phase::Mismatch).await;
    assert_eq!(state.reason, Reason::ChecksumMismatch { expected, found });
    bench
        .until(|event| match event {
            KeeperEvent::Mismatch { expected: told, found: seen, .. } => Some((told, seen) == (expected, found)),
            _ => None,
        })
        .await;
    // An operator's start tries again, and finds the same.
    bench.keeper.start(named("probe")).await.unwrap();
    bench.until_phase(&named("probe"), Phase::Starting).await;
    bench.until_phase(&named("probe"), Phase::Mismatch).await;
    fs::write(bench.path("probe.py"), good).unwrap();
    bench.keeper.start(named("probe")).await.unwrap();
    bench.until_phase(&named("probe"), Phase::Running).await;
    bench.until_log("probe", "stdout.log", |text| text == "good\ngood\n").await;
}

#[tokio::test]
async fn a_script_whose_checksum_is_not_configured_any_more_runs_no_further_time() {
    let mut bench = Bench::new().await;
    let source = "import time\nprint('run')\ntime.sleep(1000)\n";
    let state = bench.run(bench.script("probe", source)).await;
    bench.until_log("probe", "stdout.log", |text| text == "run\n").await;
    bench.keeper.set_expected(named("probe"), None).await.unwrap();
    kill(state.pid.unwrap());
    let state = bench.until_phase(&named("probe"), Phase::Mismatch).await;
    let found = Sha256::of(source.as_bytes());
    assert_eq!(state.reason, Reason::ChecksumMismatch { expected: None, found });
    assert_eq!(state.pid, None);
    // Configured again, it runs.
    bench.keeper.set_expected(named("probe"), Some(found)).await.unwrap();
    bench.until_log("probe", "stdout.log", |text| text == "run\nrun\n").await;
}

#[tokio::test]
async fn a_definition_with_the_wrong_checksum_is_refused_with_both_sums() {
    let bench = Bench::new().await;
    let spec = bench.script("probe", "print(1)\n");
    fs::write(bench.path("probe.py"), "print(2)\n").unwrap();
    let refusal = bench.keeper.define(spec).await.unwrap_err();
    let KeeperRefusal::ChecksumDiffers { expected, found, .. } = refusal else { panic!("{refusal}") };
    assert_eq!((expected, found), (Sha256::of(b"print(1)\n"), Sha256::of(b"print(2)\n")));
    assert!(bench.keeper.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_missing_interpreter_is_a_failure_with_its_reason() {
    let mut bench = Bench::new().await;
    let mut spec = bench.script("probe", "print(1)\n");
    spec.restart = RestartPolicy::Never;
    if let Program::Script { interpreter, .. } = &mut spec.program {
        *interpreter = "/nonexistent/python3".into();
    }
    bench.keeper.define(spec).await.unwrap();
    bench.keeper.start(named("probe")).await.unwrap();
    let state = bench.until_phase(&named("probe"), Phase::ExitFailure).await;
    let Reason::StartFailed { why } = state.reason else { panic!("{:?}", state.reason) };
    assert!(why.to_string().contains("No such file"), "{why}");
}

#[tokio::test]
async fn a_flood_of_output_is_logged_within_bounds_and_stalls_nobody() {
    let mut bench = Bench::new().await;
    let flood = "head -c 100000000 /dev/zero | tr '\\0' 'x'; echo; echo done >&2; exec sleep 1000";
    let mut spec = bench.shell("flood", flood);
    spec.logs.bytes_max = 1_000_000;
    spec.logs.files_max = 2;
    spec.logs.compress = false;
    bench.run(spec).await;
    // Meanwhile others are served.
    let before = now();
    bench.run(bench.shell("quiet", "echo here; exec sleep 1000")).await;
    bench.until_log("quiet", "stdout.log", |text| text == "here\n").await;
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    bench.until_log("flood", "stderr.log", |text| text.ends_with("done\n")).await;
    let files = fs::read_dir(bench.path("logs/flood")).unwrap().map(|entry| entry.unwrap());
    let named = |name: &str| name.starts_with("stdout.log") && !name.ends_with(".times");
    let sizes: Vec<u64> = files
        .filter(|file| named(&file.file_name().to_string_lossy()))
        .map(|file| file.metadata().unwrap().len())
        .collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size <= 1_000_000), "{sizes:?}");
    assert_eq!(bench.keeper.list().await.unwrap()[0].0.log_bytes_dropped, 0);
}

#[tokio::test]
async fn a_program_with_a_terminal_has_one() {
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("shell", "test -t 0 && tty && exec sleep 1000");
    spec.terminal = Terminal::Pty;
    bench.run(spec).await;
    bench.until_log("shell", "stdout.log", |text| text.starts_with("/dev/pts/")).await;
    let state = bench.keeper.list().await.unwrap().remove(0).0;
    kill(state.pid.unwrap());
    bench.until_log("shell", "stdout.log", |text| text.matches("/dev/pts/").count() == 2).await;
}

#[tokio::test]
async fn a_program_runs_as_its_user_in_a_folder_that_is_its_own() {
    let mut bench = Bench::new().await;
    let own = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    // Only root can become somebody else; everybody can be told to be who they are.
    let user = if own == "root" { "nobody".to_owned() } else { own };
    let mut spec = bench.shell("app", "id -un; echo $USER; echo x > made && cat made; exec sleep 1000");
    spec.user = Some(user.clone());
    bench.run(spec).await;
    bench.until_log("app", "stdout.log", |text| *text == format!("{user}\n{user}\nx\n")).await;
}

#[tokio::test]
async fn a_viewer_gets_what_was_printed_and_what_is_printed() {
    let mut bench = Bench::new().await;
    let gate = bench.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    bench.run(bench.shell("app", &format!("echo before; read x < {}; echo after >&2", gate.display()))).await;
    bench.until_log("app", "stdout.log", |text| text == "before\n").await;
    let stream: OwnedFd = bench.keeper.attach(named("app")).await.unwrap();
    fs::write(&gate, "\n").unwrap();
    let mut stream = std::os::unix::net::UnixStream::from(stream);
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut text = [0; 13];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"before\nafter\n");
    let tail = bench.keeper.tail_log(named("app"), Stream::Output, 1).await.unwrap();
    assert_eq!(tail, b"before\n");
}

#[tokio::test]
async fn a_lost_agent_costs_nothing_and_the_next_one_finds_the_same_process_and_door() {
    let mut bench = Bench::new().await;
    let script = "import os, socket\n\
                  door = socket.socket(fileno=int(os.environ['PROCYON_DOOR_FD']))\n\
                  door.send(b'knock')\n\
                  door.recv(10)\n";
    let before = bench.run(bench.script("app", script)).await;
    let (keeper, events) = Keeper::connect(bench.path("run/keeper.sock"));
    drop(std::mem::replace(&mut bench.keeper, keeper));
    drop(std::mem::replace(&mut bench.events, events));
    let mut containers = bench
        .until(|event| match event {
            KeeperEvent::Connected { containers } => Some(containers),
            _ => None,
        })
        .await;
    let (after, door) = containers.remove(0);
    assert_eq!((after.pid, after.run), (before.pid, before.run));
    let frame = procyon::sys::fdpass::receive(door.as_ref().unwrap()).unwrap();
    assert_eq!(frame.unwrap().bytes, b"knock");
}

#[tokio::test]
async fn a_shutdown_ends_dependents_first_and_then_the_keeper() {
    let mut bench = Bench::new().await;
    let order = bench.path("order");
    let noting = |name: &str| {
        let note =
            format!("trap 'echo {name} >> {0}; exit' TERM; echo ready; while :; do sleep 0.05; done", order.display());
        bench.shell(name, &note)
    };
    let (base, mut top) = (noting("base"), noting("top"));
    top.after = vec![named("base")];
    bench.run(top).await;
    bench.run(base).await;
    for name in ["base", "top"] {
        bench.until_log(name, "stdout.log", |text| text == "ready\n").await;
    }
    bench.keeper.shutdown(Duration::from_secs(5)).await.unwrap();
    assert_eq!(fs::read_to_string(&order).unwrap(), "top\nbase\n");
    assert!(bench.process.wait().unwrap().success());
    assert!(!bench.path("run/keeper.sock").exists());
}

#[tokio::test]
async fn a_second_keeper_on_the_same_root_is_refused() {
    let bench = Bench::new().await;
    let output = Command::new(env!("CARGO_BIN_EXE_procyon-keeper"))
        .args(["--keeper", "--root"])
        .arg(bench.root.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("another keeper serves"), "{text}");
    assert!(bench.keeper.list().await.is_ok());
}

/// The kernel closes the descriptors of a killed process one after the other: for a moment its agents have lost it, while its
/// listener still answers.
#[tokio::test]
async fn a_keeper_that_begins_while_another_is_being_killed_waits_for_its_end() {
    const ENDING: &str = "import socket, sys\n\
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
        listener.bind(sys.argv[1])\n\
        listener.listen()\n\
        print('listening', flush=True)\n\
        listener.accept()\n";
    let mut bench = Bench::new().await;
    bench.keeper.shutdown(Duration::from_secs(5)).await.unwrap();
    assert!(bench.process.wait().unwrap().success());
    let socket = bench.path("run/keeper.sock");
    let mut ending = Command::new("python3");
    let mut ending = ending.args(["-c", ENDING]).arg(&socket).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(ending.stdout.as_mut().unwrap()), &mut line).unwrap();
    assert_eq!(line, "listening\n");

    bench.process = begin(bench.root.path(), "--keeper");
    bench.until_connected().await;
    assert!(bench.keeper.list().await.is_ok());
    assert!(ending.wait().unwrap().success());
}

#[tokio::test]
async fn garbage_on_the_socket_closes_that_connection_only() {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let bench = Bench::new().await;
    let path: &Path = &bench.path("run/keeper.sock");
    let stray = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    connect(stray.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    let none: [OwnedFd; 0] = [];
    procyon::sys::fdpass::send(&stray, b"GET / HTTP/1.1\r\n", &none).unwrap();
    assert!(procyon::sys::fdpass::receive(&stray).unwrap().is_none());
    assert!(bench.keeper.list().await.is_ok());
}

#[tokio::test]
async fn two_keepers_of_one_host_leave_each_others_containers_of_the_same_name_alone() {
    let (mut one, mut other) = (Bench::new().await, Bench::new().await);
    let ours = one.run(one.shell("app", "exec sleep 1000")).await;
    let theirs = other.run(other.shell("app", "exec sleep 1000")).await;
    one.keeper.kill(named("app")).await.unwrap();
    one.until_phase(&named("app"), Phase::Killed).await;
    assert!(ours.pid.is_some() && fs::metadata(format!("/proc/{}", ours.pid.unwrap())).is_err());
    let (state, _) = other.keeper.list().await.unwrap().remove(0);
    assert_eq!((state.pid, state.phase), (theirs.pid, Phase::Running));
}

#[tokio::test]
async fn each_floor_hears_of_its_own_containers_alone() {
    let mut bench = Bench::new().await;
    let (app_keeper, mut apps) = Keeper::connect_for(bench.path("run/keeper.sock"), Floor::App);
    app_keeper.list().await.unwrap();
    bench.run(bench.shell("container:one", "exec sleep 1000")).await;
    bench.run(bench.shell("two", "exec sleep 1000")).await;
    let mut heard = Vec::new();
    while heard.last() != Some(&named("two")) {
        let event = tokio::time::timeout(LIMIT, apps.recv()).await.unwrap().unwrap();
        heard.extend(event.container().cloned());
    }
    assert!(heard.iter().all(|name| *name == named("two")), "{heard:?}");
    let (_keeper, mut late) = Keeper::connect_for(bench.path("run/keeper.sock"), Floor::Container);
    let KeeperEvent::Connected { containers } = late.recv().await.unwrap() else { panic!("the list comes first") };
    assert_eq!(containers.iter().map(|(state, _)| state.name.as_str()).collect::<Vec<_>>(), ["container:one"]);
}

/// Prints every line it is given, so that a test sees who still listens.
fn echoing(gate: &Path) -> String {
    format!("echo begun; while :; do read line < {} && echo \"$line\"; done", gate.display())
}

#[tokio::test]
async fn a_killed_keeper_is_followed_by_one_that_goes_on_with_the_same_process_and_log() {
    let mut bench = Bench::with("--custodian").await;
    let gate = bench.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let before = bench.run(bench.shell("app", &echoing(&gate))).await;
    bench.until_log("app", "stdout.log", |text| text == "begun\n").await;

    kill(bench.keeper_pid());
    let after = bench.until_connected().await.remove(0);
    assert_eq!((after.pid, after.run, after.restarts), (before.pid, before.run, 0));
    assert_eq!((after.started_unix_ms, after.phase), (before.started_unix_ms, Phase::Running));
    fs::write(&gate, "after\n").unwrap();
    bench.until_log("app", "stdout.log", |text| text == "begun\nafter\n").await;

    // Its end is learned although it is nobody's child here, and the policy holds.
    kill(before.pid.unwrap());
    let again = bench.until_state(&named("app"), |state| state.pid.is_some() && state.pid != before.pid).await;
    assert_eq!(again.last_exit, Some(ExitStatus::Signal { number: 9, core: false }));
    assert_eq!((again.restarts, again.run), (1, before.run.map(|RunId(run)| RunId(run + 1))));
    bench.until_log("app", "stdout.log", |text| text == "begun\nafter\nbegun\n").await;
}

#[tokio::test]
async fn a_program_that_ends_while_no_keeper_is_there_is_restarted_by_the_next() {
    let mut bench = Bench::with("--custodian").await;
    let before = bench.run(bench.shell("app", "exec sleep 1000")).await;
    let custodian = nix::unistd::Pid::from_raw(i32::try_from(bench.process.id()).unwrap());
    let keeper = bench.keeper_pid();
    nix::sys::signal::kill(custodian, nix::sys::signal::Signal::SIGSTOP).unwrap();
    kill(keeper);
    kill(before.pid.unwrap());
    nix::sys::signal::kill(custodian, nix::sys::signal::Signal::SIGCONT).unwrap();
    bench.until(|event| matches!(event, KeeperEvent::Lost).then_some(())).await;
    let mut state = bench.until_connected().await.remove(0);
    if state.pid.is_none() || state.pid == before.pid {
        state = bench.until_state(&named("app"), |state| state.pid.is_some() && state.pid != before.pid).await;
    }
    assert_eq!(state.last_exit, Some(ExitStatus::Signal { number: 9, core: false }));
    assert_eq!(state.restarts, 1);
}

#[tokio::test]
async fn what_was_stopped_or_waits_is_so_for_the_next_keeper_too() {
    let mut bench = Bench::with("--custodian").await;
    bench.run(bench.shell("stopped", "exec sleep 1000")).await;
    bench.keeper.stop(named("stopped")).await.unwrap();
    bench.until_phase(&named("stopped"), Phase::Stopped).await;
    bench.keeper.define(bench.script("waits", "print(1)\n")).await.unwrap();
    kill(bench.keeper_pid());
    let states = bench.until_connected().await;
    let phases: Vec<_> = states.iter().map(|state| (state.name.as_str(), state.phase)).collect();
    assert_eq!(phases, [("stopped", Phase::Stopped), ("waits", Phase::NotStarted)]);
    // The frozen bytes have come along.
    bench.keeper.start(named("waits")).await.unwrap();
    bench.until_log("waits", "stdout.log", |text| text.starts_with("1\n")).await;
}
