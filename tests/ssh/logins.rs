//! Who gets in, who does not, and who may not keep others out.

use std::sync::Arc;
use std::time::Duration;

use procyon::ssh::{Accounts, Limits, LoginPolicy};
use russh::MethodKind;
use russh::client::AuthResult;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, PASSWORD, Server, Temper, echoes, fresh_key, offer, within};

#[tokio::test]
async fn a_configured_key_logs_in_and_another_does_not() {
    let server = Server::start(Temper::Echo).await;
    let mut stranger = server.connect().await;
    assert!(!offer(&mut stranger, "alice", &Arc::new(fresh_key())).await);
    assert!(!offer(&mut stranger, "bob", &server.key).await);
    assert!(offer(&mut stranger, "alice", &server.key).await);
    echoes(&server).await;
}

#[tokio::test]
async fn the_password_logs_in_and_strangers_learn_nothing_of_who_has_one() {
    let server = Server::start(Temper::Echo).await;
    let mut client = server.connect().await;
    let mut refusals = Vec::new();
    for (user, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("alice", "")] {
        refusals.push(within(client.authenticate_password(user, password)).await.unwrap());
    }
    for refusal in refusals {
        let AuthResult::Failure { remaining_methods, .. } = refusal else { panic!("logged in") };
        assert_eq!(&*remaining_methods, [MethodKind::PublicKey, MethodKind::Password]);
    }
    assert!(within(client.authenticate_password("alice", PASSWORD)).await.unwrap().success());
}

#[tokio::test]
async fn too_many_attempts_end_the_connection() {
    let limits = Limits { authentication_attempts: 3, ..Limits::default() };
    let server = Server::with_limits(Temper::Echo, limits).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        assert!(!within(client.authenticate_password("alice", "guess")).await.unwrap().success());
    }
    let fourth = within(client.authenticate_password("alice", PASSWORD)).await;
    assert!(!fourth.is_ok_and(|answer| answer.success()));
}

#[tokio::test]
async fn a_key_that_is_no_longer_configured_opens_nothing() {
    let server = Server::start(Temper::Echo).await;
    echoes(&server).await;
    server.accounts.replace(Accounts::default());
    let mut client = server.connect().await;
    assert!(!offer(&mut client, "alice", &server.key).await);
}

#[tokio::test]
async fn whose_key_is_withdrawn_is_sent_away_and_others_stay() {
    let limits = Limits { withdrawal_grace: Duration::from_millis(50), ..Limits::default() };
    let server = Server::with_limits(Temper::Echo, limits).await;
    let by_key = server.login().await;
    let mut by_password = server.connect().await;
    assert!(within(by_password.authenticate_password("alice", PASSWORD)).await.unwrap().success());
    let mut accounts = Accounts::clone(&server.accounts.current());
    accounts.users.get_mut("alice").unwrap().keys.clear();
    server.accounts.replace(accounts.clone());
    gone(&by_key).await;
    let mut stream = server.netconf(&by_password).await.into_stream();
    within(stream.write_all(b"hello")).await.unwrap();
    within(stream.read_exact(&mut [0; 5])).await.unwrap();
    accounts.users.clear();
    server.accounts.replace(accounts);
    gone(&by_password).await;
}

#[tokio::test]
async fn what_is_under_way_when_access_is_withdrawn_is_still_answered() {
    let server = Server::start(Temper::Echo).await;
    let client = server.login().await;
    let mut stream = server.netconf(&client).await.into_stream();
    server.accounts.replace(Accounts::default());
    within(stream.write_all(b"hello")).await.unwrap();
    within(stream.read_exact(&mut [0; 5])).await.unwrap();
    gone(&client).await;
}

#[tokio::test]
async fn the_banner_is_shown_before_anything_is_proven() {
    let server = Server::start(Temper::Echo).await;
    let banner = Some("authorised users only\nall else is logged".to_owned());
    let login = LoginPolicy { banner, ..LoginPolicy::default() };
    server.accounts.replace(Accounts { login, ..Accounts::default() });
    let mut ssh = server.program("ssh", "-p");
    let refused = within(ssh.args(["-v", "-s", "alice@127.0.0.1", "netconf"]).output()).await.unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("authorised users only\r\nall else is logged\r\n"), "{said}");
}

#[tokio::test]
async fn a_configured_grace_time_takes_the_place_of_the_limit() {
    let server = Server::start(Temper::Echo).await;
    let login = LoginPolicy { grace: Some(Duration::from_millis(100)), ..LoginPolicy::default() };
    server.accounts.replace(Accounts { login, ..Accounts::default() });
    gone(&server.connect().await).await;
}

#[tokio::test]
async fn a_guesser_waits_even_with_the_right_password_and_a_key_does_not() {
    let server = Server::start(Temper::Echo).await;
    let mut guesser = server.connect().await;
    for _ in 0..5 {
        assert!(!within(guesser.authenticate_password("alice", "guess")).await.unwrap().success());
    }
    let begun = tokio::time::Instant::now();
    let guessing = tokio::spawn(async move { guesser.authenticate_password("alice", PASSWORD).await });
    // A key is no guess: it does not wait behind one, even of the same source.
    echoes(&server).await;
    assert!(within(guessing).await.unwrap().unwrap().success());
    assert!(begun.elapsed() >= Duration::from_millis(500));
}

async fn gone(client: &russh::client::Handle<Client>) {
    within(async {
        while !client.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_ended() {
    let limits = Limits { authentication_time: Duration::from_millis(200), ..Limits::default() };
    let server = Server::with_limits(Temper::Echo, limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut banner = Vec::new();
    let _ = within(silent.read_to_end(&mut banner)).await;
    assert!(banner.starts_with(b"SSH-2.0-Procyon_"));
    // One that has agreed on keys and then names nobody.
    let idle = server.connect().await;
    within(async {
        while !idle.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // And one that is in stays in.
    let client = server.login().await;
    let mut stream = server.netconf(&client).await.into_stream();
    within(TcpStream::connect(server.address)).await.unwrap().read_to_end(&mut banner).await.ok();
    within(stream.write_all(b"hello")).await.unwrap();
    within(stream.read_exact(&mut [0; 5])).await.unwrap();
}

#[tokio::test]
async fn a_hundred_silent_connections_keep_nobody_out() {
    let server = Server::start(Temper::Echo).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    echoes(&server).await;
    // Half of them speak the protocol and then hang.
    for stream in &mut silent {
        let _ = stream.write_all(b"SSH-2.0-hang\r\n").await;
    }
    echoes(&server).await;
}

#[tokio::test]
async fn noise_on_the_port_harms_nobody() {
    let server = Server::start(Temper::Echo).await;
    for noise in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0; 70_000], b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(noise).await;
        drop(stream);
    }
    echoes(&server).await;
}

#[tokio::test]
async fn forwarding_is_refused_and_channels_are_counted() {
    let limits = Limits { channels_per_connection: 2, ..Limits::default() };
    let server = Server::with_limits(Temper::Echo, limits).await;
    let client = server.login().await;
    assert!(within(client.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1)).await.is_err());
    assert!(within(client.tcpip_forward("127.0.0.1", 0)).await.is_err());
    let first = within(client.channel_open_session()).await.unwrap();
    let _second = within(client.channel_open_session()).await.unwrap();
    assert!(within(client.channel_open_session()).await.is_err());
    within(first.close()).await.unwrap();
    within(client.channel_open_session()).await.unwrap();
}

#[tokio::test]
async fn shutdown_says_good_bye_and_ends() {
    let server = Server::start(Temper::Echo).await;
    let client = server.login().await;
    let _channel = server.netconf(&client).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    server.shutdown.cancel();
    within(server.serving).await.unwrap();
    within(async {
        while !client.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
