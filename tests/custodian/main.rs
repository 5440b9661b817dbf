//! The custodian as a process, with wards that are shell scripts or this test program itself.
//!
//! A shell cannot speak the deposit protocol, so a script runs this program again with `WARD` saying what to do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod house;
mod wards;

use nix::sys::signal::Signal;
use procyon::keeper::custodian::control::{Order, RawStatus, Tell};

use self::house::House;

#[test]
fn a_killed_keeper_is_started_again_at_once_and_a_second_time_after_a_second() {
    let house = House::new("exec sleep 1000");
    let _custodian = house.start();
    let first = house.keeper_pid();
    let killed_at = house::uptime();
    house.kill(first, Signal::SIGKILL);
    let second = house.other_keeper_than(first);
    let waited = house::began(second) - killed_at;
    assert!(waited < 0.9, "{waited}");
    let killed_at = house::uptime();
    house.kill(second, Signal::SIGKILL);
    let third = house.other_keeper_than(second);
    let waited = house::began(third) - killed_at;
    assert!(waited >= 0.95, "{waited}");
    assert_eq!(house.status().keeper_restarts, 2);
}

#[test]
fn deposits_survive_a_killed_ward_and_its_successor_has_the_same_descriptors() {
    let house = House::new(&wards::run("deposit_and_wait"));
    let _custodian = house.start();
    // The first life leaves a pipe end, among many other things, and its successor writes into it.
    assert_eq!(house.line("log"), "deposited 300");
    house.kill(house.keeper_pid(), Signal::SIGKILL);
    assert_eq!(house.line("log"), "found 300, read `left behind`, state `two`");
}

#[test]
fn an_orphan_is_reported_with_its_status_even_to_the_next_keeper() {
    let house = House::new(&wards::run("make_orphans"));
    let _custodian = house.start();
    let told: Vec<String> = [house.line("log"), house.line("log")].into();
    let pid_and_status = told[0].strip_prefix("orphan ").unwrap();
    assert_eq!(told[1], format!("again {pid_and_status}"), "not acknowledged, so told again to the next life");
    assert!(pid_and_status.ends_with(" 1792"), "exit status 7: {pid_and_status}");
}

#[test]
fn the_agent_is_started_by_order_and_watched_to_its_end() {
    let house = House::new("exec sleep 1000");
    let _custodian = house.start();
    let control = house.control();
    house.ask(&control, &Order::Watch);
    let Tell::Started { pid } = house.start_agent(&control, "exec sleep 1000") else { panic!("not started") };
    assert_eq!(house.start_agent(&house.control(), "true"), Tell::AlreadyServing { pid: Some(pid) });

    house.kill(pid, Signal::SIGKILL);
    let killed = RawStatus(Signal::SIGKILL as i32);
    assert_eq!(house.hear(&control), Tell::AgentEnded { status: killed, ordered: false, restarting: true });
    let Tell::AgentStarted { pid: second } = house.hear(&control) else { panic!("not restarted") };
    assert_ne!(second, pid);

    house.kill(second, Signal::SIGTERM);
    let terminated = RawStatus(Signal::SIGTERM as i32);
    assert_eq!(house.hear(&control), Tell::AgentEnded { status: terminated, ordered: true, restarting: false });
    assert_eq!(house.status().agent, None);
    assert!(house.status().keeper.is_some(), "the keeper goes on");
}

#[test]
fn an_agent_that_exits_at_once_has_refused_and_one_that_is_not_there_is_told() {
    let house = House::new("exec sleep 1000");
    let _custodian = house.start();
    let control = house.control();
    house.ask(&control, &Order::Watch);
    assert!(matches!(house.start_agent(&control, "exit 3"), Tell::Started { .. }));
    assert_eq!(house.hear(&control), Tell::AgentEnded { status: RawStatus(3 << 8), ordered: false, restarting: false });
    let absent = house.start_program(&control, vec!["/absent/agent".into()]);
    assert!(matches!(&absent, Tell::NotStarted { reason } if reason.contains("/absent/agent")), "{absent:?}");
}

#[test]
fn a_stopped_agent_takes_its_listener_with_it_and_a_killed_one_does_not() {
    let house = House::new("exec sleep 1000");
    let _custodian = house.start();
    let control = house.control();
    house.ask(&control, &Order::Watch);
    let Tell::Started { pid } = house.start_agent(&control, &wards::run("listen")) else { panic!("not started") };
    let port = house.line("log");
    house.kill(pid, Signal::SIGKILL);
    assert_eq!(house.line("log"), port, "a port that 0 picked stays the same");
    let address: std::net::SocketAddr = port.parse().unwrap();
    std::net::TcpStream::connect(address).unwrap();
    house.ask_raw(&control, &Order::StopAgent);
    while !matches!(house.hear(&control), Tell::AgentEnded { ordered: true, .. }) {}
    std::net::TcpStream::connect(address).unwrap_err();
}

#[test]
fn a_shutdown_stops_agent_then_keeper_and_leaves_no_socket() {
    let house = House::new("trap 'echo keeper >>log; exit 0' TERM; while :; do sleep 0.05; done");
    let mut custodian = house.start();
    let control = house.control();
    house.start_agent(&control, "trap 'echo agent >>log; exit 0' TERM; echo up >>log; while :; do sleep 0.05; done");
    assert_eq!(house.line("log"), "up");
    house.kill(custodian.pid(), Signal::SIGTERM);
    assert!(custodian.wait().success());
    assert_eq!([house.line("log"), house.line("log")], ["agent", "keeper"]);
    assert!(!house.layout.custodian_socket().exists());
}

#[test]
fn a_second_custodian_is_refused_with_the_pid_of_the_first() {
    let house = House::new("exec sleep 1000");
    let custodian = house.start();
    let second = house.command().output().unwrap();
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains(&format!("held by process {}", custodian.pid())), "{text}");
    assert!(house.status().keeper.is_some(), "the first goes on");
}

#[test]
fn wards_go_on_when_the_custodian_is_killed() {
    let house = House::new(&wards::run("outlive"));
    let custodian = house.start();
    assert_eq!(house.line("log"), "connected");
    let keeper = house.keeper_pid();
    house.kill(custodian.pid(), Signal::SIGKILL);
    assert_eq!(house.line("log"), "EPIPE, and on");
    assert!(house::is_alive(keeper));
    house.kill(keeper, Signal::SIGKILL);
}

#[test]
fn nonsense_on_the_control_socket_is_answered_and_forgotten() {
    let house = House::new("exec sleep 1000");
    let _custodian = house.start();
    let control = house.control();
    let none: [std::os::fd::OwnedFd; 0] = [];
    procyon::sys::fdpass::send(&control, &[0xff; 60_000], &none).unwrap();
    assert_eq!(house.hear(&control), Tell::Malformed);
    assert!(house.status().keeper.is_some());
}
