//! Programs whose starts somebody above orders, while nobody is there; and how they end with the house.

use procyon::container::permit::{Daemon, Helper, Permit};

use super::*;

/// In a shell: leaves a daemon that says its end in `order`, and names it in `pid`.
const DAEMON: &str =
    "setsid sh -c 'trap \"echo daemon >> order; exit 0\" TERM; echo $$ > pid; while :; do sleep 0.02; done' &
     until [ -s pid ]; do sleep 0.01; done";

fn helper(bench: &Bench, script: &str) -> Helper {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    Helper { argv, cwd: bench.path("work"), user: None, limit: Duration::from_secs(10) }
}

/// As the lifecycle defines: each start is ordered, the delays are for the keeper.
fn gated(bench: &Bench, name: &str, script: &str) -> (ContainerSpec, Permit) {
    let mut spec = bench.shell(&format!("process:{name}"), script);
    spec.restart = RestartPolicy::Never;
    spec.rules.delays = vec![Duration::from_millis(20)];
    spec.rules.whole_tree = true;
    (spec, Permit { test: None, stop: None, kill_after: LIMIT, daemon: None })
}

fn permitted(bench: &Bench, name: &str, script: &str, permit: impl FnOnce(&mut Permit)) -> ContainerSpec {
    let (mut spec, mut given) = gated(bench, name, script);
    permit(&mut given);
    spec.permit = Some(given);
    spec
}

fn pid_in(bench: &Bench) -> Option<i32> {
    fs::read_to_string(bench.path("work").join("pid")).ok()?.trim().parse().ok()
}

#[tokio::test]
async fn while_its_floor_is_away_a_program_is_tested_and_started_again_by_its_permit() {
    let mut bench = Bench::new().await;
    let test = Some(helper(&bench, "echo tested; [ -e slow ] && exec sleep 300; test -e configured"));
    let tested = permitted(&bench, "tested", "exec sleep 300", |permit| permit.test = test);
    let daemon = Some(Daemon { pid_file: bench.path("work").join("pid"), within: LIMIT });
    let daemonised = permitted(&bench, "daemon", DAEMON, |permit| permit.daemon = daemon);
    let (name, other) = (tested.name.clone(), daemonised.name.clone());

    let first = bench.run(tested).await.pid.unwrap();
    bench.keeper.define(daemonised).await.unwrap();
    bench.keeper.start(other.clone()).await.unwrap();
    let first_daemon = bench.until_state(&other, |state| state.daemon.is_some()).await.daemon.unwrap();
    assert_eq!(pid_in(&bench), Some(first_daemon));
    kill(first);
    kill(first_daemon);

    // Which of them is tried first is open.
    let new_daemon = |state: &ContainerState| state.daemon.filter(|pid| state.name == other && *pid != first_daemon);
    let mut second_daemon = None;
    let why = loop {
        let state = bench.until_any().await;
        second_daemon = second_daemon.or(new_daemon(&state));
        if let Reason::StartFailed { why } = state.reason {
            break why;
        }
    };
    assert_eq!(why, KeeperRefusal::TestFailed { how: "exit 1".into() });
    bench.until_log("process:tested", "stdout.log", |log| log.contains("tested")).await;
    fs::write(bench.path("work").join("configured"), "").unwrap();
    let mut second = None;
    while second.is_none() || second_daemon.is_none() {
        let state = bench.until_any().await;
        second_daemon = second_daemon.or(new_daemon(&state));
        second = second.or(state.pid.filter(|_| state.name == name && state.phase == Phase::Running));
    }
    let second = second.unwrap();
    assert!(second != first && is_alive(second) && second_daemon.is_some_and(is_alive));

    // Somebody comes who decides: a restart that is no process yet is called off.
    fs::write(bench.path("work").join("slow"), "").unwrap();
    kill(second);
    bench.until_phase(&name, Phase::Starting).await;
    let (_floor, _heard) = Keeper::connect_for(bench.path("run/keeper.sock"), Floor::Process);
    bench.until_phase(&name, Phase::Stopped).await;
    let started = bench.keeper.start(name.clone()).await;
    assert_eq!(started, Ok(()), "and a start that is ordered is not tested here");
    bench.until_phase(&name, Phase::Running).await;
}

#[tokio::test]
async fn a_shutdown_runs_stop_commands_in_order_then_signals_and_kills() {
    let mut bench = Bench::new().await;
    fs::create_dir_all(bench.path("work")).unwrap();
    let waits = |name: &str| format!("trap '' TERM; mkfifo {name}; read line < {name}; echo {name} ended >> order");
    let ends = |name: &str| Some(helper(&bench, &format!("echo {name} told >> order; echo > {name}")));
    let (told_a, told_b) = (ends("a"), ends("b"));
    let refuses = Some(helper(&bench, "echo c refuses >> order; exit 1"));
    let mut a = permitted(&bench, "a", &waits("a"), |permit| permit.stop = told_a);
    let mut b = permitted(&bench, "b", &waits("b"), |permit| permit.stop = told_b);
    let c = "trap 'echo c signalled >> order; exit 0' TERM; while :; do sleep 0.02; done";
    let mut c = permitted(&bench, "c", c, |permit| permit.stop = refuses);
    let d = permitted(&bench, "d", "trap '' TERM; while :; do sleep 0.02; done", |permit| {
        permit.kill_after = Duration::from_millis(50);
    });
    let daemon = Some(Daemon { pid_file: bench.path("work").join("pid"), within: LIMIT });
    let e = permitted(&bench, "e", DAEMON, |permit| permit.daemon = daemon);
    // Each needs the one that follows.
    a.after = vec![b.name.clone()];
    b.after = vec![c.name.clone()];
    c.after = vec![d.name.clone()];
    let mut pids = Vec::new();
    for spec in [d, c, b, a] {
        pids.extend(bench.run(spec).await.pid);
    }
    let e_name = e.name.clone();
    bench.keeper.define(e).await.unwrap();
    bench.keeper.start(e_name.clone()).await.unwrap();
    pids.extend(bench.until_state(&e_name, |state| state.daemon.is_some()).await.daemon);
    let deadline = now() + LIMIT;
    while !["a", "b"].iter().all(|fifo| bench.path("work").join(fifo).exists()) {
        assert!(now() < deadline, "the programs do not begin");
        tokio::task::yield_now().await;
    }

    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(bench.process.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    while bench.process.try_wait().unwrap().is_none() {
        assert!(now() < deadline, "the keeper does not end");
        tokio::task::yield_now().await;
    }
    let order = fs::read_to_string(bench.path("work").join("order")).unwrap();
    let (daemons, others): (Vec<&str>, Vec<&str>) = order.lines().partition(|line| *line == "daemon");
    assert_eq!(others, ["a told", "a ended", "b told", "b ended", "c refuses", "c signalled"]);
    assert!(!daemons.is_empty(), "the daemon has had its signal");
    assert_eq!(pids.iter().filter(|pid| is_alive(**pid)).count(), 0, "{pids:?}");
    let ends = fs::read_to_string(bench.path("logs/process:a/exits.jsonl")).unwrap();
    assert_eq!(ends.lines().count(), 1, "how each ended is on disk when the keeper is gone: {ends}");
}
