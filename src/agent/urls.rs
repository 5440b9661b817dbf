//! What URLs name: files below the harddisk, and what https servers keep. Bounded in bytes and time, on threads of their
//! own.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use ureq::http::Uri;

use crate::northbound::provider::Later;
use crate::northbound::url::Url;
use crate::northbound::urls::Places;
use crate::northbound::{Kind, Refusal};
use crate::script::fetch::{FetchLimits, Fetcher};
use crate::settings::{Layout, Settings};
use crate::ssh::jail::DevicePath;
use crate::sys::beneath::Root;

/// What is being written has another name until it is whole.
const ASIDE: &str = ".part";

pub(super) struct Urls(Arc<Inner>);

struct Inner {
    harddisk: PathBuf,
    fetcher: Fetcher,
    time_max: Duration,
    bytes_max: u64,
}

impl Urls {
    pub(super) fn new(layout: &Layout, settings: &Settings) -> Self {
        let time_max = settings.limits.fetch_limit();
        let fetcher = Fetcher {
            limits: FetchLimits { time_max, ..FetchLimits::default() },
            harddisk: layout.harddisk(),
            extra_certificates: settings.fetch.certificates.clone(),
        };
        let bytes_max = u64::try_from(settings.limits.message_bytes).unwrap_or(u64::MAX);
        Self(Arc::new(Inner { harddisk: layout.harddisk(), fetcher, time_max, bytes_max }))
    }

    /// What a server keeps at an address of http or https.
    pub(super) fn fetch(&self, address: &str) -> impl Future<Output = Result<Vec<u8>, String>> + use<> {
        let (inner, address) = (Arc::clone(&self.0), address.to_owned());
        async move {
            let named = shown(&address);
            let work = move || inner.exchange(&address, |agent, address| agent.get(address).call());
            let done = tokio::task::spawn_blocking(work).await.unwrap_or(Err(Trouble::Stopping));
            done.map(|content| content.to_vec()).map_err(|trouble| format!("{named}: {trouble}"))
        }
    }

    fn later<T: Send + 'static>(
        &self,
        url: &Url,
        work: impl FnOnce(&Inner, &Url) -> Result<T, Trouble> + Send + 'static,
    ) -> Later<T> {
        let (inner, url) = (Arc::clone(&self.0), url.clone());
        Box::pin(async move {
            let named = url.clone();
            let done = tokio::task::spawn_blocking(move || work(&inner, &named)).await;
            done.unwrap_or(Err(Trouble::Stopping)).map_err(|trouble| {
                let refusal = Refusal::new(Kind::OperationFailed, format!("{url}: {trouble}"));
                match trouble {
                    Trouble::TooBig { .. } => Refusal { kind: Kind::TooBig, ..refusal },
                    Trouble::NotAName => Refusal { kind: Kind::InvalidValue, ..refusal },
                    Trouble::File(_) | Trouble::Server(_) | Trouble::Status(_) | Trouble::Stopping => refusal,
                }
            })
        })
    }
}

/// An address without the password that may be in it.
fn shown(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => address.to_owned(),
    }
}

impl Places for Urls {
    fn read(&self, url: &Url) -> Later<Bytes> {
        self.later(url, |inner, url| match url {
            Url::File(path) => inner.read_file(path),
            Url::Https(address) => inner.exchange(address, |agent, address| agent.get(address).call()),
        })
    }

    fn write(&self, url: &Url, content: Bytes) -> Later<()> {
        self.later(url, move |inner, url| match url {
            Url::File(path) => inner.write_file(path, &content),
            Url::Https(address) => inner
                .exchange(address, |agent, address| {
                    agent.put(address).header("Content-Type", "application/xml").send(&content[..])
                })
                .map(drop),
        })
    }

    fn delete(&self, url: &Url) -> Later<()> {
        self.later(url, |inner, url| match url {
            Url::File(path) => {
                let (root, name) = inner.place(path)?;
                // Only what could have been written here goes.
                root.open_file(&name, OFlag::O_RDONLY, Mode::empty())?;
                Ok(root.remove_file(&name)?)
            }
            Url::Https(address) => inner.exchange(address, |agent, address| agent.delete(address).call()).map(drop),
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    File(io::Error),
    #[error("{0}")]
    Server(String),
    #[error("the server answers with status {0}")]
    Status(u16),
    #[error("larger than {bytes_max} bytes; see limits.message_bytes in procyon.toml")]
    TooBig { bytes_max: u64 },
    #[error("not a place below /harddisk:/")]
    NotAName,
    #[error("the agent is shutting down")]
    Stopping,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::File(error)
    }
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Trouble::File(errno.into())
    }
}

impl Inner {
    /// No link is followed, and nothing leads out.
    fn place(&self, path: &str) -> Result<(Root, PathBuf), Trouble> {
        let name = DevicePath::parse(path.as_bytes()).map_err(|_| Trouble::NotAName)?.relative();
        if name.as_os_str().is_empty() {
            return Err(Trouble::NotAName);
        }
        Ok((Root::open(&self.harddisk)?, name))
    }

    fn read_file(&self, path: &str) -> Result<Bytes, Trouble> {
        let (root, name) = self.place(path)?;
        self.bounded(root.open_file(&name, OFlag::O_RDONLY, Mode::empty())?)
    }

    /// As a whole or not at all, and on disk when this returns.
    fn write_file(&self, path: &str, content: &[u8]) -> Result<(), Trouble> {
        let (root, name) = self.place(path)?;
        let mut aside = name.clone().into_os_string();
        aside.push(ASIDE);
        let aside = Path::new(&aside);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let mut file = root.open_file(aside, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        let done = written.map_err(Trouble::from).and_then(|()| Ok(root.rename(aside, &name, true)?));
        if done.is_err() {
            // What is left of it would be in the way of nobody, but take room.
            let _ = root.remove_file(aside);
        }
        done
    }

    fn exchange(
        &self,
        address: &str,
        ask: impl FnOnce(&ureq::Agent, &Uri) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Bytes, Trouble> {
        let server = |error: &dyn std::fmt::Display| Trouble::Server(error.to_string());
        let address: Uri = address.parse().map_err(|error: ureq::http::uri::InvalidUri| server(&error))?;
        let agent = self.fetcher.agent(&address, self.time_max).map_err(|error| server(&error))?;
        let mut response = ask(&agent, &address).map_err(|error| server(&error))?;
        match response.status().as_u16() {
            200 | 201 | 204 => self.bounded(response.body_mut().as_reader()),
            // A redirect is none: it would lead to where nobody has asked to go.
            status => Err(Trouble::Status(status)),
        }
    }

    fn bounded(&self, from: impl Read) -> Result<Bytes, Trouble> {
        let mut content = Vec::new();
        from.take(self.bytes_max.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > self.bytes_max {
            return Err(Trouble::TooBig { bytes_max: self.bytes_max });
        }
        Ok(content.into())
    }
}
