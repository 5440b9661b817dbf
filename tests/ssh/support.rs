//! A listener with services of every temper, and clients for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use procyon::ssh::{
    Access, Account, Accounts, AuthorizedKey, ChannelStream, CryptHash, Limits, ServiceFuture, Services,
    SharedAccounts, SshConfig, host_key,
};
use russh::client;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) const PASSWORD: &str = "correct horse";

/// Far above what anything here needs, far below what a person would wait.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it ends in time")
}

/// What the netconf subsystem does in a test.
#[derive(Clone)]
pub(crate) enum Temper {
    Echo,
    /// Writes so many bytes, then ends without reading.
    Pours(usize),
    /// Reads nothing until told, then everything, and answers with the count.
    Lags(Arc<Notify>),
    /// Echoes, and tells when its client has gone.
    Tells(Arc<Notify>),
    Panics,
}

struct TestServices(Temper);

impl Services for TestServices {
    fn netconf(&self, mut stream: ChannelStream, user: String, _peer: SocketAddr) -> ServiceFuture<()> {
        assert_eq!(user, "alice");
        let temper = self.0.clone();
        Box::pin(async move {
            match temper {
                Temper::Echo => echo(stream).await,
                Temper::Tells(gone) => {
                    echo(stream).await;
                    gone.notify_one();
                }
                Temper::Pours(total) => {
                    let chunk = vec![b'x'; 64 * 1024];
                    let mut left = total;
                    while left > 0 {
                        let count = left.min(chunk.len());
                        if stream.write_all(&chunk[..count]).await.is_err() {
                            return;
                        }
                        left -= count;
                    }
                }
                Temper::Lags(told) => {
                    told.notified().await;
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).await.unwrap();
                    stream.write_all(all.len().to_string().as_bytes()).await.unwrap();
                }
                Temper::Panics => panic!("as the test wants it"),
            }
        })
    }

    fn file_access(&self, user: &str, path: &str, access: Access) -> ServiceFuture<Result<(), String>> {
        assert_eq!(user, "alice");
        let denied = path.contains("secret") || (access == Access::Update && path.contains("readonly"));
        Box::pin(async move { if denied { Err("a rule denies it".to_owned()) } else { Ok(()) } })
    }
}

async fn echo(mut stream: ChannelStream) {
    let mut bytes = vec![0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        if stream.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

pub(crate) struct Server {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) accounts: SharedAccounts,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: tokio::task::JoinHandle<()>,
    pub(crate) key: Arc<PrivateKey>,
}

impl Server {
    pub(crate) async fn start(temper: Temper) -> Self {
        Self::with_limits(temper, Limits::default()).await
    }

    pub(crate) async fn with_limits(temper: Temper, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let harddisk = dir.path().join("harddisk");
        std::fs::create_dir_all(harddisk.join("mirror")).unwrap();
        host_key::generate(&dir.path().join("keys")).unwrap();
        let key = Arc::new(fresh_key());
        std::fs::write(dir.path().join("id"), key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        std::fs::set_permissions(dir.path().join("id"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let account = Account {
            keys: vec![key.public_key().to_openssh().unwrap().parse::<AuthorizedKey>().unwrap()],
            password: Some(CryptHash::of_password(PASSWORD).unwrap()),
        };
        let accounts = SharedAccounts::new(Accounts {
            users: BTreeMap::from([("alice".to_owned(), account)]),
            ..Accounts::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { refusal_time: Duration::from_millis(10), ..limits };
        let config = SshConfig { host_keys: host_key::load(&dir.path().join("keys")).unwrap(), harddisk, limits };
        let shutdown = CancellationToken::new();
        let (services, at, until) = (Arc::new(TestServices(temper)), accounts.clone(), shutdown.clone());
        let serving = tokio::spawn(async move {
            procyon::ssh::serve(listener, config, at, services, until).await.unwrap();
        });
        Self { dir, address, accounts, shutdown, serving, key }
    }

    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        self.dir.path().join("harddisk").join(name)
    }

    /// A connection on which nobody has logged in.
    pub(crate) async fn connect(&self) -> client::Handle<Client> {
        let config = client::Config { nodelay: true, ..client::Config::default() };
        within(client::connect(Arc::new(config), self.address, Client)).await.unwrap()
    }

    pub(crate) async fn login(&self) -> client::Handle<Client> {
        let mut client = self.connect().await;
        assert!(offer(&mut client, "alice", &self.key).await);
        client
    }

    pub(crate) async fn netconf(&self, client: &client::Handle<Client>) -> russh::Channel<client::Msg> {
        let channel = within(client.channel_open_session()).await.unwrap();
        channel.request_subsystem(true, "netconf").await.unwrap();
        channel
    }

    /// One of OpenSSH's programs, with everything said that a configuration could say otherwise.
    pub(crate) fn program(&self, name: &str, port_option: &str) -> Command {
        let mut command = Command::new(name);
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
            "LogLevel=ERROR",
        ] {
            command.args(["-o", option]);
        }
        command.args(["-F", "none", port_option, &self.address.port().to_string()]);
        command.arg("-i").arg(self.dir.path().join("id"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

pub(crate) fn fresh_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

pub(crate) async fn offer(client: &mut client::Handle<Client>, user: &str, key: &Arc<PrivateKey>) -> bool {
    let key = PrivateKeyWithHashAlg::new(key.clone(), None);
    within(client.authenticate_publickey(user, key)).await.is_ok_and(|answer| answer.success())
}

pub(crate) struct Client;

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// Whether the netconf subsystem of a new session echoes.
pub(crate) async fn echoes(server: &Server) {
    let client = server.login().await;
    let mut stream = server.netconf(&client).await.into_stream();
    within(stream.write_all(b"hello")).await.unwrap();
    let mut text = [0; 5];
    within(stream.read_exact(&mut text)).await.unwrap();
    assert_eq!(&text, b"hello");
}
