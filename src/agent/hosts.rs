//! Files of other hosts, by SFTP: for `copy` and `scp`. The device proves itself by a key of its own, or by a password that its
//! user gives; hosts are known by a file of its own. Bounded in bytes and time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle};
use russh::keys::known_hosts::{check_known_hosts_path, learn_known_hosts_path};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate};

use super::sftp_client::Client;
use crate::settings::{Layout, Settings};
use crate::shell::driver::{Proof, Unmet};
use crate::shell::remote::Remote;
use crate::ssh::host_key;

const KEY: &str = "ssh_client_ed25519_key";
const KNOWN_HOSTS: &str = "known_hosts";

pub(super) struct Hosts {
    keys: PathBuf,
    time_max: Duration,
    bytes_max: u64,
}

/// What the key of a host was met with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Met {
    Unknown { fingerprint: String },
    Changed { line: usize },
    Unreadable { reason: String },
}

struct Meeting {
    remote: Remote,
    known: PathBuf,
    trusts: Option<String>,
    met: Arc<Mutex<Option<Met>>>,
}

impl client::Handler for Meeting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = offered else { return Ok(false) };
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let Remote { host, port, .. } = &self.remote;
        let met = match check_known_hosts_path(host, *port, key, &self.known) {
            Ok(true) => return Ok(true),
            Ok(false) if self.trusts.as_ref() == Some(&fingerprint) => {
                match learn_known_hosts_path(host, *port, key, &self.known) {
                    Ok(()) => return Ok(true),
                    Err(error) => Met::Unreadable { reason: error.to_string() },
                }
            }
            Ok(false) => Met::Unknown { fingerprint },
            Err(russh::keys::Error::KeyChanged { line }) => Met::Changed { line },
            Err(error) => Met::Unreadable { reason: error.to_string() },
        };
        *self.met.lock().unwrap_or_else(PoisonError::into_inner) = Some(met);
        Ok(false)
    }
}

impl Hosts {
    pub(super) fn new(layout: &Layout, settings: &Settings) -> Self {
        let bytes_max = u64::try_from(settings.limits.message_bytes).unwrap_or(u64::MAX);
        Self { keys: layout.keys(), time_max: settings.limits.fetch_limit(), bytes_max }
    }

    /// Writes `content` there; without it, reads what is there.
    pub(super) async fn exchange(
        &self,
        remote: &Remote,
        content: Option<&[u8]>,
        proof: &Proof,
    ) -> Result<Vec<u8>, Unmet> {
        let late = |_| Unmet::Refused(format!("{remote}: no end within {} s", self.time_max.as_secs()));
        tokio::time::timeout(self.time_max, self.converse(remote, content, proof)).await.map_err(late)?
    }

    async fn converse(&self, remote: &Remote, content: Option<&[u8]>, proof: &Proof) -> Result<Vec<u8>, Unmet> {
        let refused = |error: &dyn std::fmt::Display| Unmet::Refused(format!("{remote}: {error}"));
        let mut session = self.meet(remote, proof).await?;
        self.log_in(&mut session, remote, proof).await?;
        let channel = session.channel_open_session().await.map_err(|error| refused(&error))?;
        channel.request_subsystem(true, "sftp").await.map_err(|error| refused(&error))?;
        let mut files = Client::begin(channel.into_stream()).await.map_err(|error| refused(&error))?;
        let path = remote.path.as_str();
        let done = match content {
            Some(content) => files.write(path, content).await.map(|()| Vec::new()),
            None => files.read(path, self.bytes_max).await,
        };
        let done = done.map_err(|error| refused(&error))?;
        // What was asked for is done; how the goodbye goes does not matter.
        let _ = session.disconnect(russh::Disconnect::ByApplication, "", "").await;
        Ok(done)
    }

    async fn meet(&self, remote: &Remote, proof: &Proof) -> Result<Handle<Meeting>, Unmet> {
        let known = self.keys.join(KNOWN_HOSTS);
        let met = Arc::new(Mutex::new(None));
        let meeting = Meeting {
            remote: remote.clone(),
            known: known.clone(),
            trusts: proof.trusts.clone(),
            met: Arc::clone(&met),
        };
        let config = Arc::new(client::Config::default());
        let connected = client::connect(config, (remote.host.as_str(), remote.port), meeting).await;
        let met = met.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (host, known) = (remote.host.clone(), known.display().to_string());
        connected.map_err(|error| match met {
            Some(Met::Unknown { fingerprint }) => Unmet::Host { host, fingerprint, known },
            Some(Met::Changed { line }) => Unmet::Refused(format!(
                "{host} has another key than before: somebody may be in between; if it was renewed, take line {line} out of {known}"
            )),
            Some(Met::Unreadable { reason }) => Unmet::Refused(format!("{known}: {reason}")),
            None => Unmet::Refused(format!("{remote}: {error}")),
        })
    }

    async fn log_in(&self, session: &mut Handle<Meeting>, remote: &Remote, proof: &Proof) -> Result<(), Unmet> {
        let refused = |error: &dyn std::fmt::Display| Unmet::Refused(format!("{remote}: {error}"));
        let key = host_key::load_or_make(&self.keys, KEY).map_err(|error| refused(&error))?;
        let public = key.public_key().to_openssh().unwrap_or_default();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let by_key = session.authenticate_publickey(&remote.user, key).await.map_err(|error| refused(&error))?;
        if by_key.success() {
            return Ok(());
        }
        if let Some(password) = &proof.password {
            let by_password = session.authenticate_password(&remote.user, password).await;
            if matches!(by_password.map_err(|error| refused(&error))?, AuthResult::Success) {
                return Ok(());
            }
        }
        Err(Unmet::Key { host: remote.host.clone(), user: remote.user.clone(), public })
    }
}
