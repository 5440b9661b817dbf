//! What this program does when a custodian runs it as a ward. Each says what it sees in the file `log` of the root.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Command;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use procyon::keeper::deposit::{DepositClient, Deposited, Notice};
use procyon::keeper::listeners::{SSH, adopt_or_bind_tcp};

/// The shell script that runs the ward called `name`. The arguments of a ward end with the number of its socket.
pub(crate) fn run(name: &str) -> String {
    let program = std::env::current_exe().unwrap();
    format!(
        "for last; do :; done; WARD={name} DEPOSIT_FD=$last exec '{}' --exact wards::the_ward_itself --nocapture",
        program.display()
    )
}

#[test]
fn the_ward_itself() {
    // Run as a test of its own it has nothing to do.
    let Ok(name) = std::env::var("WARD") else { return };
    let number = std::env::var("DEPOSIT_FD").unwrap().parse().unwrap();
    let client = DepositClient::inherited(number).unwrap();
    match name.as_str() {
        "deposit_and_wait" => deposit_and_wait(client),
        "make_orphans" => make_orphans(client),
        "listen" => listen(client),
        "outlive" => outlive(client),
        other => panic!("no ward is called {other}"),
    }
}

fn say(line: &str) {
    let mut log = std::fs::File::options().append(true).open("log").unwrap();
    log.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// The first life leaves 300 deposits, one with a full pipe; the second reads it.
fn deposit_and_wait(mut client: DepositClient) {
    let deposits = client.fetch().unwrap();
    if deposits.is_empty() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"left behind").unwrap();
        client.put("pipe", b"one", &[reader.as_fd()]).unwrap();
        client.put("pipe", b"two", &[reader.as_fd(), writer.as_fd()]).unwrap();
        client.put("gone", b"", &[]).unwrap();
        client.drop("gone").unwrap();
        for number in 0..299 {
            client.put(&format!("state {number}"), &vec![7; 30_000], &[]).unwrap();
        }
        // The custodian has taken a fetch's answer: everything before it is kept.
        say(&format!("deposited {}", client.fetch().unwrap().len()));
    } else {
        let count = deposits.len();
        let Deposited { bytes, mut fds, .. } = deposits.into_iter().find(|deposited| deposited.key == "pipe").unwrap();
        fds.truncate(1);
        let mut text = [0; 11];
        std::fs::File::from(fds.remove(0)).read_exact(&mut text).unwrap();
        let (text, state) = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&bytes));
        say(&format!("found {count}, read `{text}`, state `{state}`"));
    }
    wait_for_ever();
}

/// The first life makes an orphan, is told of its end and dies before it has dealt with that; so the second is told.
fn make_orphans(mut client: DepositClient) {
    let is_first = client.fetch().unwrap().is_empty();
    if is_first {
        client.put("mark", b"", &[]).unwrap();
        let parent = Command::new("/bin/sh").args(["-c", "(sleep 0.2; exit 7) & exit 0"]).status().unwrap();
        assert!(parent.success());
    }
    let (pid, raw_status) = loop {
        match client.receive().unwrap() {
            Some(Notice::Reaped { pid, raw_status, at_unix_ms }) => {
                assert!(at_unix_ms > 1_600_000_000_000);
                break (pid, raw_status);
            }
            Some(other) => panic!("{other:?}"),
            None => {
                poll(&mut [PollFd::new(client.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            }
        }
    };
    if is_first {
        say(&format!("orphan {pid} {raw_status}"));
        std::process::abort();
    }
    say(&format!("again {pid} {raw_status}"));
    assert_eq!(client.receive().unwrap(), None);
    wait_for_ever();
}

fn listen(mut client: DepositClient) {
    let mut deposits = client.fetch().unwrap();
    let listener = adopt_or_bind_tcp(&mut deposits, Some(&mut client), SSH, ([127, 0, 0, 1], 0).into()).unwrap();
    say(&listener.local_addr().unwrap().to_string());
    wait_for_ever();
}

fn outlive(mut client: DepositClient) {
    client.put("something", b"", &[]).unwrap();
    say("connected");
    loop {
        poll(&mut [PollFd::new(client.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        match client.receive() {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, Errno::EPIPE);
                assert_eq!(client.put("more", b"", &[]), Err(Errno::EPIPE));
                say(&format!("{error:?}, and on"));
                wait_for_ever();
            }
        }
    }
}
