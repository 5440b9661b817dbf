//! The running agent over SSH, against a responder on the same SSH transport that reads nothing and says one thing; and a
//! thousand sessions at once.
//!
//! Prints rates of both from one run, so that their ratio holds on any machine, and what the sessions cost in memory.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints, and may fall over"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use procyon::ssh::{
    Access, Account, Accounts, AuthorizedKey, ChannelStream, Limits, ServiceFuture, Services, SharedAccounts,
    SshConfig, host_key,
};
use russh::client;
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const USER: &str = "admin";
const ROUNDS: usize = 5;
const RPCS: usize = 3_000;
const SESSIONS: usize = 50;
const RPCS_EACH: usize = 100;
const ENTRIES_MANY: usize = 10_000;
const SESSIONS_MANY: usize = 1_000;
const HALF_OPEN: usize = 2_000;

const MODULE: &str = "module bench { yang-version 1.1; namespace urn:bench; prefix b;
  container top { list app { key name; leaf name { type string; } leaf executable { type string; }
    leaf arguments { type string; } leaf retries { type uint32; default 3; } } } }";

const HELLO: &str = "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities>\
    <capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>]]>]]>";

const GET: &str =
    "<get-config><source><running/></source><filter type=\"subtree\"><top xmlns=\"urn:bench\"/></filter></get-config>";

/// Five entries, however many there are.
const FEW: &str = "<get-config><source><running/></source><filter type=\"subtree\"><top xmlns=\"urn:bench\">\
    <app><name>app-000000</name></app><app><name>app-000001</name></app><app><name>app-000002</name></app>\
    <app><name>app-000003</name></app><app><name>app-000004</name></app></top></filter></get-config>";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let dir = tempfile::tempdir().unwrap();
    let key = Arc::new(PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap());
    let agent = Agent::start(dir.path(), &key);
    let mut session = Session::open(agent.address, &key).await;
    session.rpc(&entries(0..5)).await;
    session.rpc("<commit/>").await;
    let canned = session.rpc(GET).await;
    assert!(canned.matches("<app>").count() == 5, "{canned}");
    let floor = Floor::start(dir.path(), &key, canned).await;
    let mut null = Session::open(floor, &key).await;

    let (mut best_agent, mut best_floor) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        best_agent = best_agent.max(rate(&mut session).await);
        best_floor = best_floor.max(rate(&mut null).await);
    }
    println!(
        "small get-config, one session: {best_agent:.0} /s, null responder {best_floor:.0} /s: {:.2} of it (0.85 is wanted)",
        best_agent / best_floor
    );
    let (ours, theirs) = (rate_of_many(agent.address, &key).await, rate_of_many(floor, &key).await);
    println!(
        "small get-config, {SESSIONS} sessions: {ours:.0} /s, null responder {theirs:.0} /s: {:.2} of it",
        ours / theirs
    );

    beside_gets(agent.address, &mut session, &key).await;
    large_reads(dir.path(), &mut session, &key).await;

    let alone = slowest_of_hundred(&mut session).await;
    let half_open = half_open(agent.address).await;
    let beside = slowest_of_hundred(&mut session).await;
    println!(
        "beside {} connections that say nothing, or nothing more: p99 {:.2} ms, {:.2} ms without them: {:.2} times (2 is bearable)",
        half_open.len(),
        beside.as_secs_f64() * 1e3,
        alone.as_secs_f64() * 1e3,
        beside.as_secs_f64() / alone.as_secs_f64()
    );
    drop(half_open);

    let (before, begun) = (agent.memory_kib(), Instant::now());
    let mut open = vec![session];
    while open.len() < SESSIONS_MANY {
        open.push(Session::open(agent.address, &key).await);
    }
    let took = begun.elapsed();
    for session in &mut open {
        assert!(session.rpc(FEW).await.matches("<app>").count() == 5);
    }
    println!(
        "{SESSIONS_MANY} sessions opened in {:.2} s, each answered: {:.1} MiB resident, {:.1} before (150 is wanted)",
        took.as_secs_f64(),
        agent.memory_kib() / 1024.0,
        before / 1024.0
    );
}

/// What others wait for while one session asks for everything, again and again. That one has a thread of its own: what the other
/// client waits for here is not the server's doing.
async fn beside_gets(address: SocketAddr, session: &mut Session, key: &Arc<PrivateKey>) {
    let alone = slowest_of_hundred(session).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let key = Arc::clone(key);
    let greedy = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut session = Session::open(address, &key).await;
            begun.send(()).unwrap();
            let mut gets = 0_usize;
            while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                session.rpc("<get/>").await;
                gets += 1;
            }
            gets
        })
    });
    begins.await.unwrap();
    let beside = slowest_of_hundred(session).await;
    stop.send(()).unwrap();
    println!(
        "beside a session that asked for everything {} times: p99 {:.2} ms, {:.2} ms without it: {:.2} times (2 is bearable)",
        greedy.join().unwrap(),
        beside.as_secs_f64() * 1e3,
        alone.as_secs_f64() * 1e3,
        beside.as_secs_f64() / alone.as_secs_f64()
    );
}

/// All of a long list, and one entry of it.
async fn large_reads(dir: &Path, session: &mut Session, key: &Arc<PrivateKey>) {
    session.rpc(&entries(0..ENTRIES_MANY)).await;
    session.rpc("<commit/>").await;
    let all = session.rpc(GET).await;
    let (bytes, mut null) = (all.len(), Session::open(Floor::start(dir, key, all).await, key).await);
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS * 2 {
        ours = ours.min(time_of(session, GET).await);
        theirs = theirs.min(time_of(&mut null, GET).await);
    }
    println!(
        "get-config of {ENTRIES_MANY} entries, {bytes} bytes: {:.1} ms, null responder {:.1} ms (15 is wanted)",
        ours.as_secs_f64() * 1e3,
        theirs.as_secs_f64() * 1e3
    );
    let one = GET.replace("/></filter>", "><app><name>app-005000</name></app></top></filter>");
    let mut times = Vec::with_capacity(RPCS);
    for _ in 0..RPCS {
        times.push(time_of(session, &one).await);
    }
    times.sort();
    println!("one key of {ENTRIES_MANY}: p50 {:.3} ms (0.2 is wanted)", times[RPCS / 2].as_secs_f64() * 1e3);
}

async fn time_of(session: &mut Session, operation: &str) -> Duration {
    let begun = Instant::now();
    session.rpc(operation).await;
    begun.elapsed()
}

/// The time that one in a hundred get-configs takes longer than.
async fn slowest_of_hundred(session: &mut Session) -> Duration {
    let mut times = Vec::with_capacity(RPCS);
    for _ in 0..RPCS {
        times.push(time_of(session, FEW).await);
    }
    times.sort();
    times[RPCS * 99 / 100]
}

/// Every second one begins a handshake; none goes on with it. What the agent does not let in is left out.
async fn half_open(address: SocketAddr) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for number in 0..HALF_OPEN {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        if number % 2 == 0 && stream.write_all(b"SSH-2.0-half\r\n").await.is_err() {
            continue;
        }
        open.push(stream);
    }
    open
}

async fn rate(session: &mut Session) -> f64 {
    let begun = Instant::now();
    for _ in 0..RPCS {
        session.rpc(GET).await;
    }
    count(RPCS) / begun.elapsed().as_secs_f64()
}

async fn rate_of_many(address: SocketAddr, key: &Arc<PrivateKey>) -> f64 {
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(Session::open(address, key).await);
    }
    let begun = Instant::now();
    let tasks: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            tokio::spawn(async move {
                for _ in 0..RPCS_EACH {
                    session.rpc(GET).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    count(SESSIONS * RPCS_EACH) / begun.elapsed().as_secs_f64()
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

fn entries(range: std::ops::Range<usize>) -> String {
    let entries: String = range
        .map(|at| format!("<app><name>app-{at:06}</name><executable>/usr/bin/app-{at}</executable><arguments>--id {at} --log /var/log/app-{at}.log</arguments><retries>5</retries></app>"))
        .collect();
    format!(
        "<edit-config><target><candidate/></target><config><top xmlns=\"urn:bench\">{entries}</top></config></edit-config>"
    )
}

/// The agent as users start it, on a root of its own.
struct Agent {
    custodian: Child,
    address: SocketAddr,
    pid: u32,
}

impl Agent {
    fn start(dir: &Path, key: &PrivateKey) -> Self {
        let (root, public) = (dir.join("root"), dir.join("key.pub"));
        std::fs::write(dir.join("bench.yang"), MODULE).unwrap();
        std::fs::write(&public, key.public_key().to_openssh().unwrap()).unwrap();
        let procyon = || Command::new(env!("CARGO_BIN_EXE_procyon"));
        let mut init = procyon();
        init.arg("init").arg("--root").arg(&root).args(["--admin", USER, "--authorized-key"]).arg(&public);
        assert!(init.stdout(Stdio::null()).status().unwrap().success());
        std::fs::write(root.join("procyon.toml"), format!("[limits]\nsessions = {}\n", SESSIONS_MANY + 100)).unwrap();
        let mut agent = procyon();
        agent.arg("agent").arg("--root").arg(&root).args(["--listen-ssh", "127.0.0.1:0", "--module", "bench"]);
        agent.arg("--yang-dir").arg(dir).env("RUST_LOG", "warn");
        let mut custodian = agent.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(custodian.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let word = |name: &str| {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {name} in {line}")).to_owned()
        };
        Self { custodian, address: word("ssh").parse().unwrap(), pid: word("pid").parse().unwrap() }
    }

    fn memory_kib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.custodian.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.custodian.wait().unwrap();
    }
}

/// Answers each message with the same, which carries the first message's id.
struct Floor(Arc<str>);

impl Floor {
    async fn start(dir: &Path, key: &PrivateKey, canned: String) -> SocketAddr {
        let harddisk = dir.join("floor");
        std::fs::create_dir_all(&harddisk).unwrap();
        host_key::generate(&dir.join("floor-keys")).unwrap();
        let keys = vec![key.public_key().to_openssh().unwrap().parse::<AuthorizedKey>().unwrap()];
        let users = BTreeMap::from([(USER.to_owned(), Account { keys, password: None })]);
        let accounts = SharedAccounts::new(Accounts { users, ..Accounts::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host_keys = host_key::load(&dir.join("floor-keys")).unwrap();
        let config = SshConfig { host_keys, harddisk, limits: Limits::default() };
        let services = Arc::new(Self(format!("\n#{}\n{canned}\n##\n", canned.len()).into()));
        tokio::spawn(procyon::ssh::serve(listener, config, accounts, services, CancellationToken::new()));
        address
    }
}

impl Services for Floor {
    fn netconf(&self, mut stream: ChannelStream, _user: String, _peer: SocketAddr) -> ServiceFuture<()> {
        let canned = Arc::clone(&self.0);
        Box::pin(async move {
            let mut buffer = vec![0; 32 * 1024];
            let mut is_greeted = false;
            if stream.write_all(HELLO.as_bytes()).await.is_err() {
                return;
            }
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let end: &[u8] = if is_greeted { b"\n##\n" } else { b"]]>]]>" };
                if !buffer[..length].ends_with(end) {
                    continue;
                }
                if is_greeted && stream.write_all(canned.as_bytes()).await.is_err() {
                    return;
                }
                is_greeted = true;
            }
        })
    }

    fn file_access(&self, _user: &str, _path: &str, _access: Access) -> ServiceFuture<Result<(), String>> {
        Box::pin(async { Err("there are no files here".to_owned()) })
    }
}

struct Client;

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A NETCONF session of the SSH library's own client.
struct Session {
    _connection: client::Handle<Client>,
    stream: russh::ChannelStream<client::Msg>,
    read: Vec<u8>,
}

impl Session {
    async fn open(address: SocketAddr, key: &Arc<PrivateKey>) -> Self {
        let config = client::Config { nodelay: true, ..client::Config::default() };
        let mut connection = client::connect(Arc::new(config), address, Client).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
        assert!(connection.authenticate_publickey(USER, key).await.unwrap().success());
        let channel = connection.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "netconf").await.unwrap();
        let mut session = Self { _connection: connection, stream: channel.into_stream(), read: Vec::new() };
        session.stream.write_all(HELLO.as_bytes()).await.unwrap();
        session.until("]]>]]>").await;
        session
    }

    async fn rpc(&mut self, operation: &str) -> String {
        let rpc = format!("<rpc xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-id=\"1\">{operation}</rpc>");
        self.stream.write_all(format!("\n#{}\n{rpc}\n##\n", rpc.len()).as_bytes()).await.unwrap();
        let reply = self.until("\n##\n").await;
        let (_, body) = reply[2..].split_once('\n').unwrap();
        assert!(!body.contains("<rpc-error>"), "{body}");
        body.to_owned()
    }

    async fn until(&mut self, end: &str) -> String {
        let mut buffer = [0; 16 * 1024];
        while !self.read.ends_with(end.as_bytes()) {
            let length = tokio::time::timeout(Duration::from_secs(60), self.stream.read(&mut buffer)).await.unwrap();
            self.read.extend_from_slice(&buffer[..length.unwrap()]);
        }
        let mut text = String::from_utf8(std::mem::take(&mut self.read)).unwrap();
        text.truncate(text.len() - end.len());
        text
    }
}
