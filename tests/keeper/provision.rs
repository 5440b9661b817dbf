//! What a container has around its program: stops that end the whole tree, readiness, paths, limits, other definitions.

use std::os::unix::fs::PermissionsExt;

use procyon::container::provision::{Folder, Readiness, RequiredPath, WhenMissing, Window};
use procyon::container::rules::StartLimit;
use procyon::keeper::protocol::{Asker, Verb};
use procyon::keeper::tape::{TAPE_BYTES_FIRST, TAPES_BYTES_MAX};

use super::*;

#[tokio::test]
async fn a_stop_ends_what_has_left_the_session_too() {
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("far", "(setsid sh -c 'sleep 300 & echo far $!' &) ; exec sleep 300");
    spec.rules.whole_tree = true;
    let state = bench.run(spec).await;
    let name = state.name.clone();
    let far = loop {
        let log = bench.keeper.tail_log(name.clone(), Stream::Output, 1).await.unwrap();
        let text = String::from_utf8(log).unwrap();
        if let Some(pid) = text.trim().strip_prefix("far ").and_then(|pid| pid.parse::<i32>().ok()) {
            break pid;
        }
        tokio::task::yield_now().await;
    };
    let members = bench.keeper.members(vec![name.clone()]).await.unwrap();
    let pids: Vec<i32> = members[0].iter().map(|member| member.pid).collect();
    assert!(pids.contains(&far) && pids.contains(&state.pid.unwrap()), "{members:?}");
    bench.keeper.ask(name.clone(), Verb::Stop, asker()).await.unwrap();
    let stopped = bench.until_phase(&name, Phase::Stopped).await;
    assert_eq!(stopped.last_exit, Some(ExitStatus::Signal { number: 15, core: false }));
    assert_eq!(bench.keeper.members(vec![name.clone()]).await.unwrap(), [vec![]]);
}

#[tokio::test]
async fn a_program_that_ignores_the_stop_signal_is_killed_in_time_and_the_record_says_who_asked() {
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done");
    spec.rules.stop_timeout = Some(Duration::from_millis(50));
    spec.rules.whole_tree = true;
    let name = bench.run(spec).await.name;
    while bench.keeper.tail_log(name.clone(), Stream::Output, 1).await.unwrap() != b"up\n" {
        tokio::task::yield_now().await;
    }
    bench.keeper.ask(name.clone(), Verb::Stop, asker()).await.unwrap();
    bench.until_phase(&name, Phase::Stopped).await;
    let record = loop {
        if let Some(record) = bench.keeper.exits(name.clone(), 5).await.unwrap().into_iter().next() {
            break record;
        }
    };
    assert_eq!(record.status, ExitStatus::Signal { number: 9, core: false });
    assert_eq!((record.asked, record.lines), (Some(asker()), vec!["up".to_owned()]));
    assert!(record.usage.is_some());
}

#[tokio::test]
async fn a_restart_sees_what_has_happened_to_the_program_since_the_last_one() {
    let mut bench = Bench::new().await;
    let program = bench.path("ioc");
    let put = |text: &str| {
        let fresh = program.with_extension("new");
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&fresh, &program).unwrap();
    };
    put("#!/bin/sh\necho one\nexec sleep 300\n");
    let mut spec = bench.shell("ioc", "");
    spec.program = Program::Command { argv: vec![program.display().to_string()] };
    spec.restart = RestartPolicy::Always;
    spec.holdoff = Duration::ZERO;
    let mut state = bench.run(spec).await;
    let name = state.name.clone();
    for (text, last_line) in
        [(None, "one\n"), (None, "one\n"), (Some("#!/bin/sh\necho two\nexec sleep 300\n"), "two\n")]
    {
        text.into_iter().for_each(&put);
        let before = state.run;
        kill(state.pid.unwrap());
        state = bench.until_state(&name, |state| state.phase == Phase::Running && state.run != before).await;
        while bench.keeper.tail_log(name.clone(), Stream::Output, 1).await.unwrap() != last_line.as_bytes() {
            tokio::task::yield_now().await;
        }
    }
    fs::remove_file(&program).unwrap();
    kill(state.pid.unwrap());
    let failed = bench.until_state(&name, |state| matches!(state.reason, Reason::StartFailed { .. })).await;
    assert!(matches!(failed.reason, Reason::StartFailed { why: KeeperRefusal::NoSuchProgram { .. } }), "{failed:?}");
}

#[tokio::test]
async fn a_program_is_ready_when_it_says_so_by_socket_or_by_newline() {
    let mut bench = Bench::new().await;
    let say = "import os,socket,time\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n\
               s.sendto(b'READY=1\\nSTATUS=all well','\\0'+os.environ['NOTIFY_SOCKET'][1:])\ntime.sleep(300)";
    let mut notify = bench.shell("notify", "");
    notify.program = Program::Command { argv: vec!["/usr/bin/python3".into(), "-c".into(), say.into()] };
    notify.provision.readiness = Readiness::Notify;
    let mut newline = bench.shell("newline", "echo >&7; exec 7>&-; exec sleep 300");
    newline.provision.readiness = Readiness::Newline { number: 7 };
    for spec in [notify, newline] {
        let name = spec.name.clone();
        bench.keeper.define(spec).await.unwrap();
        bench.keeper.start(name.clone()).await.unwrap();
        let first = bench.until_phase(&name, Phase::Running).await;
        let ready = if first.ready { first } else { bench.until_state(&name, |state| state.ready).await };
        let said = if name.as_str() == "notify" { Some("all well") } else { None };
        assert_eq!(ready.status_text.as_deref(), said);
    }
}

#[tokio::test]
async fn a_program_that_stops_saying_that_it_turns_is_aborted() {
    let mut bench = Bench::new().await;
    let say = "import os,socket,time\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n\
               say=lambda text: s.sendto(text,'\\0'+os.environ['NOTIFY_SOCKET'][1:])\nsay(b'READY=1')\n\
               for _ in range(5):\n time.sleep(int(os.environ['WATCHDOG_USEC'])/4e6)\n say(b'WATCHDOG=1')\n\
               print('hangs',flush=True)\ntime.sleep(300)";
    let mut spec = bench.shell("hangs", "");
    spec.program = Program::Command { argv: vec!["/usr/bin/python3".into(), "-c".into(), say.into()] };
    spec.provision.readiness = Readiness::Notify;
    spec.provision.watchdog = Some(Duration::from_millis(1600));
    spec.restart = RestartPolicy::Never;
    let name = bench.run(spec.clone()).await.name;
    let ended = bench.until_phase(&name, Phase::ExitFailure).await;
    assert_eq!(ended.last_exit, Some(ExitStatus::Signal { number: libc::SIGABRT, core: false }));
    assert_eq!(bench.log("hangs", "stdout.log"), "hangs\n", "and not before");
    spec.name = named("other");
    spec.provision.readiness = Readiness::WhenRunning;
    let refused = bench.keeper.define(spec).await.unwrap_err();
    assert!(matches!(refused, KeeperRefusal::InvalidSpec { .. }), "{refused}");
}

#[tokio::test]
async fn a_program_that_is_not_ready_in_time_is_killed_and_the_start_limit_ends_its_attempts() {
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("slow", "exec sleep 300");
    spec.provision.readiness = Readiness::Newline { number: 3 };
    spec.provision.ready_timeout = Some(Duration::from_millis(30));
    spec.rules.start_limit = Some(StartLimit { starts: 2, within: Duration::from_secs(60) });
    let name = spec.name.clone();
    bench.keeper.define(spec).await.unwrap();
    bench.keeper.start(name.clone()).await.unwrap();
    let given_up = bench.until_phase(&name, Phase::ExitFailure).await;
    assert_eq!(given_up.reason, Reason::StartLimit { starts: 2, within: Duration::from_secs(60) });
    assert_eq!(given_up.restarts, 1);
}

#[tokio::test]
async fn a_start_waits_for_a_path_and_a_stop_calls_the_waiting_off() {
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("nfs", "exec sleep 300");
    let mount = bench.path("mount");
    spec.provision.required = vec![RequiredPath { path: mount.clone(), when_missing: WhenMissing::Await }];
    let name = spec.name.clone();
    bench.keeper.define(spec).await.unwrap();
    bench.keeper.start(name.clone()).await.unwrap();
    let waits = bench.until_state(&name, |state| state.waiting_for.is_some()).await;
    assert_eq!((waits.phase, waits.waiting_for), (Phase::Starting, Some(mount.clone())));
    bench.keeper.stop(name.clone()).await.unwrap();
    bench.until_phase(&name, Phase::Stopped).await;
    bench.keeper.start(name.clone()).await.unwrap();
    bench.until_phase(&name, Phase::Starting).await;
    fs::create_dir(&mount).unwrap();
    bench.until_phase(&name, Phase::Running).await;
}

#[tokio::test]
async fn a_path_that_goes_and_comes_back_is_not_waited_for_any_more() {
    let mut bench = Bench::new().await;
    let (mount, away) = (bench.path("mount"), bench.path("away"));
    fs::create_dir(&mount).unwrap();
    let mut spec = bench.shell("nfs", "exec sleep 300");
    spec.restart = RestartPolicy::Always;
    spec.holdoff = Duration::ZERO;
    spec.provision.required = vec![RequiredPath { path: mount.clone(), when_missing: WhenMissing::Await }];
    let first = bench.run(spec).await;
    let name = first.name.clone();
    fs::rename(&mount, &away).unwrap();
    kill(first.pid.unwrap());
    bench.until_state(&name, |state| state.waiting_for.as_ref() == Some(&mount)).await;
    fs::rename(&away, &mount).unwrap();
    let second = bench.until_phase(&name, Phase::Running).await;
    assert_eq!(second.waiting_for, None);
}

#[tokio::test]
async fn another_definition_leaves_a_running_program_alone_and_holds_from_its_next_start() {
    let mut bench = Bench::new().await;
    let spec = bench.shell("app", "echo old; exec sleep 300");
    let before = bench.run(spec.clone()).await;
    let mut calm = spec.clone();
    calm.restart = RestartPolicy::Never;
    bench.keeper.update(calm.clone()).await.unwrap();
    let now = bench.until_state(&before.name, |state| state.policy == RestartPolicy::Never).await;
    assert_eq!((now.pid, now.outdated), (before.pid, false));
    calm.program = bench.shell("app", "echo new; exec sleep 300").program;
    bench.keeper.update(calm).await.unwrap();
    let now = bench.until_state(&before.name, |state| state.outdated).await;
    assert_eq!(now.pid, before.pid);
    bench.keeper.ask(before.name.clone(), Verb::Restart, asker()).await.unwrap();
    let after = bench.until_state(&before.name, |state| state.run > before.run && state.phase == Phase::Running).await;
    assert!(!after.outdated);
    while !bench.keeper.tail_log(before.name.clone(), Stream::Output, 1).await.unwrap().starts_with(b"new") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_program_gets_its_priority_its_folders_and_its_terminals_size() {
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("fine", "nice; stty size; ls -ld made | cut -c1-10; exec sleep 300");
    spec.terminal = Terminal::Pty;
    spec.provision.nice = Some(7);
    spec.provision.window = Some(Window { rows: 33, columns: 111 });
    let made = bench.path("work/made");
    spec.provision.folders = vec![Folder { path: made, owner: None, group: None, mode: 0o750 }];
    let name = bench.run(spec).await.name;
    let text = loop {
        let text = bench.keeper.tail_log(name.clone(), Stream::Output, 3).await.unwrap();
        if text.iter().filter(|byte| **byte == b'\n').count() == 3 {
            break String::from_utf8(text).unwrap();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(text, "7\r\n33 111\r\ndrwxr-x---\r\n");
}

/// As many processes as it gets, five hundred at most; then it says how many those were.
const BOMB: &str = "
import os, time
count = 0
try:
    while count < 500:
        if os.fork() == 0:
            time.sleep(300)
            os._exit(0)
        count += 1
except OSError:
    pass
print(count, flush=True)
time.sleep(300)
";

#[tokio::test]
async fn a_fork_bomb_ends_at_its_limit_and_a_kill_takes_all_of_it() {
    const PROCESSES_MAX: u64 = 30;
    let mut bench = Bench::new().await;
    let mut spec = bench.shell("bomb", "");
    spec.program = Program::Command { argv: vec!["/usr/bin/python3".into(), "-c".into(), BOMB.into()] };
    // Where no group counts, its account does; root has no such limit.
    spec.user = nix::unistd::geteuid().is_root().then(|| "games".to_owned());
    spec.provision.resources.processes = Some(PROCESSES_MAX);
    let name = bench.run(spec).await.name;
    let count: u64 = loop {
        let log = bench.keeper.tail_log(name.clone(), Stream::Output, 1).await.unwrap();
        if log.ends_with(b"\n") {
            break String::from_utf8(log).unwrap().trim().parse().unwrap();
        }
        tokio::task::yield_now().await;
    };
    assert!((1..=PROCESSES_MAX).contains(&count), "{count}");
    bench.keeper.kill(name.clone()).await.unwrap();
    bench.until_phase(&name, Phase::Killed).await;
    assert_eq!(bench.keeper.members(vec![name]).await.unwrap(), [vec![]]);
}

fn asker() -> Asker {
    Asker { who: "admin".into(), from: "192.0.2.7:40122".into() }
}

/// The sizes of all tapes that the process holds.
fn tapes(pid: u32) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|entry| entry.path());
    let is_tape =
        |path: &PathBuf| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:procyon-console"));
    entries.filter(is_tape).map(|path| fs::metadata(path).unwrap().len()).collect()
}

#[tokio::test]
async fn a_tape_that_grew_gives_its_room_back_when_a_thousand_others_come() {
    let mut bench = Bench::new().await;
    let spec = bench.shell("busy", "head -c 2000000 /dev/zero | tr '\\0' x; echo end; exec sleep 300");
    bench.run(spec).await;
    bench.until_log("busy", "stdout.log", |text| text.ends_with("end\n")).await;
    assert!(tapes(bench.process.id()).iter().any(|bytes| *bytes > 16 * 1024));

    let others = TAPES_BYTES_MAX / TAPE_BYTES_FIRST + 1;
    for number in 0..others {
        bench.keeper.define(bench.shell(&format!("other{number}"), "true")).await.unwrap();
    }
    assert!(tapes(bench.process.id()).iter().all(|bytes| *bytes <= 16 * 1024));
    let kept = bench.keeper.tail_log(named("busy"), Stream::Output, 1).await.unwrap();
    assert!(kept.ends_with(b"xend\n"));
}
