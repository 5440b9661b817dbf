//! Bytes through a channel: all of them, in bounds, whatever the other side does.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use procyon::ssh::Limits;
use russh::ChannelMsg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::support::{Server, Temper, echoes, within};

const MIB: usize = 1 << 20;

/// A write that takes so long waits for the other side.
const STALLED_AFTER: Duration = Duration::from_millis(500);

/// Sends and receives at once and wants back what it sent.
async fn pipelines(server: &Server, messages: usize, size: usize) {
    let client = server.login().await;
    let stream = server.netconf(&client).await.into_stream();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        for number in 0..messages {
            let message = format!("{number:0size$}");
            writer.write_all(message.as_bytes()).await.unwrap();
        }
        writer
    });
    let mut message = vec![0; size];
    for number in 0..messages {
        reader.read_exact(&mut message).await.unwrap();
        assert_eq!(str::from_utf8(&message).unwrap().parse(), Ok(number));
    }
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_pipelined_messages_come_back() {
    let server = Server::start(Temper::Echo).await;
    within(pipelines(&server, 20_000, 200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_keys_are_agreed_in_the_middle_of_a_stream() {
    let server = Server::with_limits(Temper::Echo, Limits { rekey_bytes: 256 * 1024, ..Limits::default() }).await;
    within(pipelines(&server, 10_000, 400)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_reply_arrives_whole_before_the_end_and_the_status() {
    let server = Server::start(Temper::Pours(20 * MIB)).await;
    let client = server.login().await;
    let mut channel = server.netconf(&client).await;
    let mut total = 0;
    let mut after = Vec::new();
    within(async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    assert!(after.is_empty(), "data after {after:?}");
                    total += data.len();
                }
                ChannelMsg::ExitStatus { exit_status } => after.push(format!("status {exit_status}")),
                ChannelMsg::Eof => after.push("eof".to_owned()),
                ChannelMsg::Close => {
                    after.push("close".to_owned());
                    break;
                }
                _ => {}
            }
        }
    })
    .await;
    assert_eq!((total, after.join(", ").as_str()), (20 * MIB, "status 0, eof, close"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_lags_slows_its_client_down_and_loses_nothing() {
    let told = Arc::new(Notify::new());
    let limits = Limits { unread_pause: 64 * 1024, unread_max: MIB, ..Limits::default() };
    let server = Server::with_limits(Temper::Lags(told.clone()), limits).await;
    let client = server.login().await;
    let stream = server.netconf(&client).await.into_stream();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        let chunk = vec![b'x'; 64 * 1024];
        let mut left = 24 * MIB;
        let mut stalled = false;
        while left > 0 {
            let some = &chunk[..left.min(chunk.len())];
            match tokio::time::timeout(STALLED_AFTER, writer.write(some)).await {
                Ok(written) => left -= written.unwrap(),
                Err(_) => {
                    // The client is held back; now the service may begin.
                    stalled = true;
                    told.notify_one();
                }
            }
        }
        assert!(stalled);
        writer.shutdown().await.unwrap();
        writer
    });
    let mut count = String::new();
    within(reader.read_to_string(&mut count)).await.unwrap();
    assert_eq!(count, (24 * MIB).to_string());
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_costs_only_itself() {
    let server = Server::start(Temper::Pours(256 * MIB)).await;
    let stuck = server.login().await;
    let unread = server.netconf(&stuck).await;
    // Meanwhile somebody else is served.
    let client = server.login().await;
    let mut stream = server.netconf(&client).await.into_stream();
    let mut some = vec![0; 8 * MIB];
    within(stream.read_exact(&mut some)).await.unwrap();
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_and_never_reads_is_ended_at_the_bound() {
    let limits = Limits { unread_pause: 64 * 1024, unread_max: MIB, ..Limits::default() };
    let server = Server::with_limits(Temper::Echo, limits).await;
    let mut ssh = server.program("ssh", "-p");
    let mut ssh = ssh.args(["-s", "alice@127.0.0.1", "netconf"]).stdin(Stdio::piped()).spawn().unwrap();
    let _unread = ssh.stdout.take().unwrap();
    let mut input = ssh.stdin.take().unwrap();
    let chunk = vec![b'x'; MIB];
    within(async { while input.write_all(&chunk).await.is_ok() {} }).await;
    assert_eq!(within(ssh.wait()).await.unwrap().code(), Some(255));
    echoes(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_no_longer_answers_is_given_up_and_its_service_told() {
    let gone = Arc::new(Notify::new());
    let limits = Limits { keepalive_interval: Duration::from_millis(100), keepalive_missed: 3, ..Limits::default() };
    let server = Server::with_limits(Temper::Tells(gone.clone()), limits).await;
    let mut ssh = server.program("ssh", "-p");
    let mut ssh = ssh.args(["-s", "alice@127.0.0.1", "netconf"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = ssh.stdin.take().unwrap();
    let mut output = ssh.stdout.take().unwrap();
    // One that answers stays, for many times the limit.
    for _ in 0..10 {
        within(input.write_all(b"x")).await.unwrap();
        within(output.read_u8()).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(100), gone.notified()).await.is_err());
    }
    let pid = nix::unistd::Pid::from_raw(ssh.id().unwrap().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    within(gone.notified()).await;
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    assert_eq!(within(ssh.wait()).await.unwrap().code(), Some(255));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_ends_its_service() {
    let gone = Arc::new(Notify::new());
    let server = Server::start(Temper::Tells(gone.clone())).await;
    let mut ssh = server.program("ssh", "-p");
    let mut ssh = ssh.args(["-s", "alice@127.0.0.1", "netconf"]).stdin(Stdio::piped()).spawn().unwrap();
    within(ssh.stdin.as_mut().unwrap().write_all(b"x")).await.unwrap();
    within(ssh.stdout.as_mut().unwrap().read_u8()).await.unwrap();
    within(ssh.kill()).await.unwrap();
    within(gone.notified()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_lags_for_long_keeps_its_client() {
    let told = Arc::new(Notify::new());
    let limits = Limits {
        unread_pause: 1024,
        keepalive_interval: Duration::from_millis(50),
        keepalive_missed: 2,
        ..Limits::default()
    };
    let server = Server::with_limits(Temper::Lags(told.clone()), limits).await;
    let client = server.login().await;
    let stream = server.netconf(&client).await.into_stream();
    let (mut reader, mut writer) = tokio::io::split(stream);
    within(writer.write_all(&vec![b'x'; MIB])).await.unwrap();
    writer.shutdown().await.unwrap();
    let mut count = String::new();
    // Many times the limit pass with nothing read from the client.
    assert!(tokio::time::timeout(Duration::from_secs(1), reader.read_to_string(&mut count)).await.is_err());
    told.notify_one();
    within(reader.read_to_string(&mut count)).await.unwrap();
    assert_eq!(count, MIB.to_string());
}

#[tokio::test]
async fn a_service_that_panics_ends_with_a_status() {
    let server = Server::start(Temper::Panics).await;
    let client = server.login().await;
    let mut channel = server.netconf(&client).await;
    let mut status = None;
    within(async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                ChannelMsg::Close => break,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(status, Some(255));
}

#[tokio::test]
async fn openssh_speaks_to_the_netconf_subsystem() {
    let server = Server::start(Temper::Echo).await;
    let mut ssh = server.program("ssh", "-p");
    let mut ssh = ssh.args(["-s", "alice@127.0.0.1", "netconf"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = ssh.stdin.take().unwrap();
    input.write_all(b"<hello/>]]>]]>").await.unwrap();
    drop(input);
    let output = within(ssh.wait_with_output()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "<hello/>]]>]]>");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_shell_that_is_not_there_says_what_to_type() {
    let server = Server::start(Temper::Echo).await;
    for command in [None, Some("show version"), Some("scp -t /harddisk:/x")] {
        let mut ssh = server.program("ssh", "-p");
        let output = within(ssh.arg("alice@127.0.0.1").args(command).output()).await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8_lossy(&output.stderr);
        let expected =
            if command.is_some_and(|command| command.starts_with("scp")) { "without `-O`" } else { "ssh -s" };
        assert!(message.contains(expected), "{message}");
    }
    let mut ssh = server.program("ssh", "-p");
    let output = within(ssh.args(["-s", "alice@127.0.0.1", "gopher"]).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(255));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_new_clients_find_algorithms() {
    let server = Server::start(Temper::Pours(3)).await;
    let mut failures = Vec::new();
    for option in [
        "KexAlgorithms=curve25519-sha256",
        "KexAlgorithms=ecdh-sha2-nistp256",
        "KexAlgorithms=ecdh-sha2-nistp384",
        "KexAlgorithms=diffie-hellman-group14-sha256",
        "KexAlgorithms=diffie-hellman-group16-sha512",
        "HostKeyAlgorithms=ssh-ed25519",
        "HostKeyAlgorithms=ecdsa-sha2-nistp256",
        "Ciphers=chacha20-poly1305@openssh.com",
        "Ciphers=aes256-gcm@openssh.com",
        "Ciphers=aes128-gcm@openssh.com",
        "Ciphers=aes256-ctr",
        "Ciphers=aes128-ctr",
        "Compression=yes",
    ] {
        let mut ssh = server.program("ssh", "-p");
        let output = within(ssh.args(["-o", option, "-s", "alice@127.0.0.1", "netconf"]).output()).await.unwrap();
        if output.stdout != b"xxx" {
            failures.push(format!("{option}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
