//! Files in and out with OpenSSH's `scp` and `sftp`, and what their users must not reach.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Output;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Server, Temper, within};

/// Runs `sftp` with `commands`; it stops at the first that fails.
async fn sftp(server: &Server, commands: &str) -> Output {
    let batch = server.dir.path().join("batch");
    fs::write(&batch, commands).unwrap();
    let mut program = server.program("sftp", "-P");
    within(program.arg("-b").arg(batch).arg("alice@127.0.0.1").output()).await.unwrap()
}

async fn scp(server: &Server, from: &str, to: &str) -> Output {
    let mut program = server.program("scp", "-P");
    within(program.args([from, to]).output()).await.unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scp_copies_to_every_spelling_of_a_path_and_back() {
    let server = Server::start(Temper::Echo).await;
    let local = server.dir.path().join("script.py");
    let body: String = (0..400_000).map(|n| format!("{n}\n")).collect();
    fs::write(&local, &body).unwrap();
    for (n, remote) in ["/harddisk:/mirror/0", "harddisk:/mirror/1", "/mirror/2", "mirror/3"].iter().enumerate() {
        let output = scp(&server, local.to_str().unwrap(), &format!("alice@127.0.0.1:{remote}")).await;
        assert!(output.status.success(), "{remote}: {}", text(&output));
        assert_eq!(fs::read_to_string(server.disk(&format!("mirror/{n}"))).unwrap(), body);
    }
    let into_folder = scp(&server, local.to_str().unwrap(), "alice@127.0.0.1:/harddisk:/mirror/").await;
    assert!(into_folder.status.success(), "{}", text(&into_folder));
    let back = server.dir.path().join("back");
    let output = scp(&server, "alice@127.0.0.1:/harddisk:/mirror/script.py", back.to_str().unwrap()).await;
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read_to_string(back).unwrap(), body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sftp_does_what_its_users_type() {
    let server = Server::start(Temper::Echo).await;
    let local = server.dir.path().join("local");
    fs::write(&local, "content").unwrap();
    fs::set_permissions(&local, fs::Permissions::from_mode(0o751)).unwrap();
    let local = local.display();
    let commands = format!(
        "pwd\nmkdir a\ncd a\npwd\nput -p {local} one\nrename one two\nls -l\nchmod 640 two\n\
         put {local} three\nrename two three\nls -1 /harddisk:/a\nget three {local}.back\nrm three\ncd ..\nrmdir a\ndf\n"
    );
    let output = sftp(&server, &commands).await;
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("Remote working directory: /harddisk:/\n"), "{shown}");
    assert!(shown.contains("Remote working directory: /harddisk:/a\n"), "{shown}");
    assert!(shown.contains("-rwxr-x--x"), "{shown}");
    assert!(!server.disk("a").exists());
    assert_eq!(fs::read_to_string(format!("{local}.back")).unwrap(), "content");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_many_files_is_listed_whole() {
    let server = Server::start(Temper::Echo).await;
    for n in 0..1000 {
        fs::write(server.disk(&format!("mirror/{n:04}")), "").unwrap();
    }
    let output = sftp(&server, "ls -1 mirror\n").await;
    assert_eq!(text(&output).lines().filter(|line| line.starts_with("mirror/")).count(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leads_out_of_the_disk() {
    let server = Server::start(Temper::Echo).await;
    let outside = server.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    symlink(&outside, server.disk("absolute")).unwrap();
    symlink("../outside", server.disk("relative")).unwrap();
    symlink(outside.join("file"), server.disk("file")).unwrap();
    let own = server.dir.path().join("own");
    fs::write(&own, "mine").unwrap();
    let (own, got) = (own.display(), server.dir.path().join("got"));
    for command in [
        format!("get /../outside/file {}", got.display()),
        format!("get absolute/file {}", got.display()),
        format!("get relative/file {}", got.display()),
        format!("get file {}", got.display()),
        format!("put {own} /harddisk:/../outside/file"),
        format!("put {own} absolute/file"),
        format!("put {own} relative/new"),
        format!("put {own} file"),
        "rm absolute/file".to_owned(),
        "mkdir relative/folder".to_owned(),
        "chmod 777 file".to_owned(),
        "cd absolute".to_owned(),
        "ls absolute/file".to_owned(),
        "cd ..".to_owned(),
        "ln -s /etc/passwd here".to_owned(),
        "ln mirror here".to_owned(),
        "rename /harddisk: /harddisk:/mirror/x".to_owned(),
    ] {
        let output = sftp(&server, &format!("{command}\n")).await;
        assert!(!output.status.success(), "{command}: {}", text(&output));
    }
    assert!(!got.exists());
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    // A link can be seen and taken away.
    let output = sftp(&server, "ls -l\nrm file\n").await;
    assert!(output.status.success() && text(&output).contains("lrwxrwxrwx"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_access_is_asked_of_the_services() {
    let server = Server::start(Temper::Echo).await;
    fs::create_dir(server.disk("secret")).unwrap();
    fs::write(server.disk("secret/file"), "x").unwrap();
    fs::write(server.disk("readonly"), "x").unwrap();
    let own = server.dir.path().join("own");
    fs::write(&own, "mine").unwrap();
    let own = own.display();
    for command in [
        format!("get secret/file {own}.got"),
        "ls secret/".to_owned(),
        "ls -l secret/file".to_owned(),
        "rm readonly".to_owned(),
        "chmod 777 readonly".to_owned(),
        "rename readonly other".to_owned(),
        format!("put {own} readonly"),
        format!("put {own} secret/new"),
        "mkdir secret/folder".to_owned(),
        "rmdir secret".to_owned(),
        "rename mirror secret/mirror".to_owned(),
    ] {
        let output = sftp(&server, &format!("{command}\n")).await;
        assert!(!output.status.success(), "{command}: {}", text(&output));
    }
    assert!(sftp(&server, &format!("get readonly {own}.got\n")).await.status.success());
    assert_eq!(fs::read_to_string(server.disk("readonly")).unwrap(), "x");
}

/// A client that says what no decent one does.
struct Raw(russh::ChannelStream<russh::client::Msg>, russh::client::Handle<crate::support::Client>);

impl Raw {
    async fn open(server: &Server) -> Self {
        let client = server.login().await;
        let channel = within(client.channel_open_session()).await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        Self(channel.into_stream(), client)
    }

    async fn send(&mut self, packet: &[u8]) {
        self.0.write_u32(u32::try_from(packet.len()).unwrap()).await.unwrap();
        self.0.write_all(packet).await.unwrap();
    }

    /// The kind of the answer and what follows its request's number.
    async fn answer(&mut self) -> (u8, Vec<u8>) {
        let length = within(self.0.read_u32()).await.unwrap() as usize;
        let mut packet = vec![0; length];
        within(self.0.read_exact(&mut packet)).await.unwrap();
        (packet[0], packet[5..].to_vec())
    }

    async fn ask(&mut self, kind: u8, fields: &[&[u8]]) -> (u8, Vec<u8>) {
        let mut packet = vec![kind, 0, 0, 0, 9];
        packet.extend(fields.concat());
        self.send(&packet).await;
        self.answer().await
    }
}

fn string(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

#[tokio::test]
async fn handles_are_bounded_and_belong_to_their_channel() {
    let server = Server::start(Temper::Echo).await;
    fs::write(server.disk("file"), "x").unwrap();
    let mut raw = Raw::open(&server).await;
    let (open, none) = ([0, 0, 0, 1], [0; 4]);
    let mut handle = Vec::new();
    for _ in 0..64 {
        let (kind, answer) = raw.ask(3, &[&string(b"file"), &open, &none]).await;
        assert_eq!(kind, 102);
        handle = answer;
    }
    let (kind, answer) = raw.ask(3, &[&string(b"file"), &open, &none]).await;
    assert_eq!((kind, &answer[..4]), (101, &[0, 0, 0, 4][..]));
    assert_eq!(raw.ask(4, &[&handle]).await.1[..4], [0; 4]);
    // Closed, and never opened on another channel.
    assert_eq!(raw.ask(4, &[&handle]).await.1[..4], [0, 0, 0, 4]);
    let mut other = Raw::open(&server).await;
    assert_eq!(other.ask(5, &[&string(&[0, 0, 0, 1]), &[0; 8], &[0, 0, 0, 9]]).await.0, 101);
}

#[tokio::test]
async fn malformed_requests_are_answered_and_a_senseless_length_ends_the_channel() {
    let server = Server::start(Temper::Echo).await;
    let mut raw = Raw::open(&server).await;
    for (kind, fields) in [(3, &[255; 4][..]), (200, &[0, 0, 0, 200]), (16, &[]), (99, b"noise")] {
        let (answered, status) = raw.ask(kind, &[fields]).await;
        let expected = if kind == 99 { 8 } else { 5 };
        assert_eq!((answered, &status[..4]), (101, &[0, 0, 0, expected][..]), "{kind}");
    }
    raw.0.write_u32(u32::MAX).await.unwrap();
    let mut rest = Vec::new();
    let _ = within(raw.0.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    // The connection itself goes on.
    assert!(within(raw.1.channel_open_session()).await.is_ok());
}

#[tokio::test]
async fn an_upload_that_breaks_off_keeps_what_arrived() {
    let server = Server::start(Temper::Echo).await;
    let mut raw = Raw::open(&server).await;
    let (kind, handle) = raw.ask(3, &[&string(b"mirror/part"), &[0, 0, 0, 0x1a], &[0; 4]]).await;
    assert_eq!(kind, 102);
    assert_eq!(raw.ask(6, &[&handle, &[0; 8], &string(b"half")]).await.1[..4], [0; 4]);
    drop(raw);
    assert_eq!(fs::read_to_string(server.disk("mirror/part")).unwrap(), "half");
}
