//! Brings one script from its source into a writer, within limits. Blocking: the driver runs it on a thread of its own.
//!
//! ```text
//!  request -> 200 -> body -> end      3xx -> request again, at most `redirects_max` times
//!          -> anything else: refused  body: too big, too slow, cut short: refused
//! ```
//! Does not know checksums or the repository. Redirects are followed here, not in the HTTP client, because where a
//! password goes and whether https may be left is decided at each.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use tracing::{debug, info};
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, ResponseExt as _};

use super::name::ScriptName;
use super::shelves::ShelfError;
use super::source::{HttpFolder, RedirectError, Source, redirected};

/// Where distributions keep the certificates that their users trust.
const SYSTEM_CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

const CHUNK_BYTES: usize = 64 * 1024;

const PROGRESS_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    pub connect_time_max: Duration,
    /// For one `add` with all its scripts.
    pub time_max: Duration,
    /// For one script.
    pub bytes_max: u64,
    pub redirects_max: u32,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(10),
            time_max: Duration::from_secs(60),
            bytes_max: 16 * 1024 * 1024,
            redirects_max: 5,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{from}: the server answers with status {status}{}", hint(*status))]
    Status { from: String, status: u16 },
    #[error("{from}: not done within {} s; is the server slow, or blocked on the way?", limit.as_secs_f32())]
    TimedOut { from: String, limit: Duration },
    #[error("{from}: larger than the {bytes_max} bytes that a script may have")]
    TooBig { from: String, bytes_max: u64 },
    #[error("{from}: cut short after {length} bytes; try again")]
    Truncated { from: String, length: u64 },
    #[error("{from}: more than {redirects_max} redirects")]
    TooManyRedirects { from: String, redirects_max: u32 },
    #[error("{from}: {source}")]
    Redirect { from: String, source: RedirectError },
    #[error("{from}: {why}")]
    Failed { from: String, why: String },
    #[error("{from}: no such file on the harddisk; copy it there first")]
    Absent { from: String },
    #[error("{from}: not a regular file")]
    NotAFile { from: String },
    #[error("{from}: leads outside the harddisk")]
    OutsideHarddisk { from: String },
    #[error("{from}: {source}")]
    Read { from: String, source: io::Error },
    #[error(transparent)]
    Staging(#[from] ShelfError),
    #[error("certificate file {path}: {why}", path = path.display())]
    Certificates { path: PathBuf, why: String },
    #[error("the agent is shutting down; try again when it serves")]
    Stopping,
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; give user and password in the URL (http://user:password@host/folder) if the server wants them",
        404 => "; the source is the folder, and the file name is put behind it",
        _ => "",
    }
}

/// How long there is still time, and whether anybody still waits.
pub struct Budget<'a> {
    pub deadline: Instant,
    pub limit: Duration,
    pub clock: fn() -> Instant,
    pub stopping: &'a AtomicBool,
}

impl Budget<'_> {
    fn remaining(&self, from: &str) -> Result<Duration, FetchError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(FetchError::Stopping);
        }
        match self.deadline.checked_duration_since((self.clock)()) {
            Some(remaining) if !remaining.is_zero() => Ok(remaining),
            _ => Err(FetchError::TimedOut { from: from.to_owned(), limit: self.limit }),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Fetcher {
    pub limits: FetchLimits,
    /// The real folder behind `harddisk:/`.
    pub harddisk: PathBuf,
    /// Certificates that are trusted beside the system's.
    pub extra_certificates: Option<PathBuf>,
}

impl Fetcher {
    /// Copies script `name` into `to`.
    pub fn fetch(
        &self,
        source: &Source,
        name: &ScriptName,
        budget: &Budget<'_>,
        to: &mut dyn Write,
    ) -> Result<u64, FetchError> {
        info!(script = %name, from = %source, "fetching script");
        let length = match source {
            Source::Http(folder) => self.fetch_http(folder, name, budget, to)?,
            Source::Harddisk(folder) => self.fetch_file(folder, name, budget, to)?,
        };
        info!(script = %name, bytes = length, "script fetched");
        Ok(length)
    }

    fn fetch_http(
        &self,
        folder: &HttpFolder,
        name: &ScriptName,
        budget: &Budget<'_>,
        to: &mut dyn Write,
    ) -> Result<u64, FetchError> {
        let mut url = folder.url_of(name);
        for _ in 0..=self.limits.redirects_max {
            let from = shown(&url);
            let agent = self.agent(&url, budget.remaining(&from)?)?;
            let mut request = agent.get(&url);
            if let Some(authorization) = folder.authorization_for(&url) {
                request = request.header("Authorization", authorization);
            }
            let mut response = request.call().map_err(|error| self.http_error(&from, error, 0))?;
            debug_assert_eq!(response.get_uri().host(), url.host(), "the client follows no redirect by itself");
            let status = response.status();
            if status.is_redirection() {
                let location = response.headers().get("location").and_then(|value| value.to_str().ok());
                let next = redirected(&url, location.unwrap_or_default());
                url = next.map_err(|source| FetchError::Redirect { from: from.clone(), source })?;
                debug!(%from, to = shown(&url), "redirected");
                continue;
            }
            if status.as_u16() != 200 {
                return Err(FetchError::Status { from, status: status.as_u16() });
            }
            let announced = response.body().content_length();
            if announced.is_some_and(|length| length > self.limits.bytes_max) {
                return Err(FetchError::TooBig { from, bytes_max: self.limits.bytes_max });
            }
            let mut body = response.body_mut().as_reader();
            let length =
                self.copy(&mut body, &from, budget, to, |error, length| self.http_error(&from, error.into(), length))?;
            if announced.is_some_and(|announced| announced != length) {
                return Err(FetchError::Truncated { from, length });
            }
            return Ok(length);
        }
        let from = folder.url_of(name).to_string();
        Err(FetchError::TooManyRedirects { from, redirects_max: self.limits.redirects_max })
    }

    /// A client for one exchange, with the certificates that are trusted here.
    pub(crate) fn agent(&self, url: &Uri, remaining: Duration) -> Result<Agent, FetchError> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(remaining))
            .timeout_connect(Some(self.limits.connect_time_max.min(remaining)))
            .user_agent(concat!("procyon/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity");
        // A proxy from the environment serves the world outside; what runs on this host is asked directly.
        if url.host().is_some_and(is_loopback) {
            config = config.proxy(None);
        }
        if url.scheme_str() == Some("https") {
            config = config.tls_config(TlsConfig::builder().root_certs(self.certificates()?).build());
        }
        Ok(config.build().new_agent())
    }

    /// The system's certificates, or the built-in list where the system has none; read anew each time, so that a
    /// certificate installed today counts today.
    fn certificates(&self) -> Result<RootCerts, FetchError> {
        let system = SYSTEM_CERTIFICATES.iter().map(Path::new).find(|path| path.exists());
        let mut certificates = Vec::new();
        for path in system.into_iter().chain(self.extra_certificates.as_deref()) {
            certificates.extend(read_certificates(path)?);
        }
        if system.is_none() && self.extra_certificates.is_none() {
            return Ok(RootCerts::WebPki);
        }
        Ok(RootCerts::new_with_certs(&certificates))
    }

    fn http_error(&self, from: &str, error: ureq::Error, length: u64) -> FetchError {
        let from = from.to_owned();
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect) => {
                FetchError::TimedOut { from, limit: self.limits.connect_time_max }
            }
            ureq::Error::Timeout(_) => FetchError::TimedOut { from, limit: self.limits.time_max },
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                FetchError::Truncated { from, length }
            }
            ureq::Error::Io(error) if error.to_string().contains("certificate") => {
                let remedy = "install the certificate of its authority on this host, or name its file in the settings";
                FetchError::Failed { from, why: format!("{error}; {remedy}") }
            }
            ureq::Error::Io(error) => FetchError::Failed { from, why: error.to_string() },
            other => FetchError::Failed { from, why: other.to_string() },
        }
    }

    fn fetch_file(
        &self,
        folder: &Path,
        name: &ScriptName,
        budget: &Budget<'_>,
        to: &mut dyn Write,
    ) -> Result<u64, FetchError> {
        let from = Source::Harddisk(folder.join(name.as_str())).to_string();
        let mut file = self.open_beneath(&folder.join(name.as_str()), &from)?;
        let read = |source| FetchError::Read { from: from.clone(), source };
        if !file.metadata().map_err(read)?.is_file() {
            return Err(FetchError::NotAFile { from });
        }
        self.copy(&mut file, &from, budget, to, |source, _| read(source))
    }

    /// Links inside the harddisk are resolved first and shown to stay inside; the resolved path is then walked from
    /// the root without following any, so that a link put there meanwhile leads nowhere.
    fn open_beneath(&self, path: &Path, from: &str) -> Result<File, FetchError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FetchError::Absent { from: from.to_owned() },
            _ => FetchError::Read { from: from.to_owned(), source },
        };
        let root = fs::canonicalize(&self.harddisk).map_err(failed)?;
        let resolved = fs::canonicalize(root.join(path)).map_err(failed)?;
        let inside = resolved.strip_prefix(&root).map_err(|_| FetchError::OutsideHarddisk { from: from.to_owned() })?;
        let folder_flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = fs::OpenOptions::new().read(true).custom_flags(folder_flags.bits()).open(&root);
        let mut at: OwnedFd = opened.map_err(failed)?.into();
        let mut components = inside.components().peekable();
        while let Some(component) = components.next() {
            let flags = match components.peek() {
                Some(_) => folder_flags,
                // A fifo must not hold us up.
                None => OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK,
            };
            let next = openat(&at, component.as_os_str(), flags, Mode::empty());
            at = next.map_err(|errno| failed(errno.into()))?;
        }
        Ok(at.into())
    }

    fn copy(
        &self,
        reader: &mut dyn Read,
        from: &str,
        budget: &Budget<'_>,
        to: &mut dyn Write,
        read_error: impl Fn(io::Error, u64) -> FetchError,
    ) -> Result<u64, FetchError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut total = 0;
        loop {
            budget.remaining(from)?;
            let length = match reader.read(&mut chunk) {
                Ok(0) => return Ok(total),
                Ok(length) => length as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read_error(error, total)),
            };
            if total + length > self.limits.bytes_max {
                return Err(FetchError::TooBig { from: from.to_owned(), bytes_max: self.limits.bytes_max });
            }
            let written = to.write_all(&chunk[..length as usize]);
            written.map_err(|source| ShelfError::new("write to", &self.harddisk, source))?;
            if (total + length) / PROGRESS_BYTES > total / PROGRESS_BYTES {
                debug!(%from, bytes = total + length, "fetching");
            }
            total += length;
        }
    }
}

/// A URL for messages: the query that a redirect brought may hold a signature or a token.
fn shown(url: &Uri) -> String {
    let text = url.to_string();
    text.split_once('?').map_or(text.clone(), |(plain, _)| plain.to_owned())
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, FetchError> {
    let failed = |why: String| FetchError::Certificates { path: path.to_owned(), why };
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| failed(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(failed("holds no certificate in PEM form".to_owned()));
    }
    Ok(certificates)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
