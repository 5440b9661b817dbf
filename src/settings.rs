//! The bootstrap file `ROOT/procyon.toml`: what must be known before any YANG is. All else is configuration.
//!
//! ```toml
//! listen_ssh = ["127.0.0.1:830"]      # addresses and ports that NETCONF over SSH listens on; port 0 picks one
//! node = "0/RP0/CPU0"                 # the node name in operational data
//! candidate = "shared"                # or "private": each NETCONF session edits a candidate of its own
//! startup = false                     # whether there is a startup datastore, which is loaded when the host boots
//! writable_running = false            # whether running may be edited without a candidate
//!
//! [python]
//! interpreter = "/usr/bin/python3"    # what runs process scripts
//! package = "/usr/share/procyon/python"  # folder of the on-box library
//! user = "nobody"                     # whom scripts run as when the agent is root
//! writable = ["/tmp", "/var/tmp"]     # where scripts may write beside their own folders
//!
//! [fetch]
//! certificates = "/etc/site-ca.pem"   # a further authority for https://
//!
//! [yang]
//! folder = "/usr/share/procyon/yang"  # our modules and the standard ones
//!
//! [xmlrpc]                            # management calls of sipXsupervisor; off without an address
//! listen = "127.0.0.1:8092"
//! hosts = ["config.example.org"]      # names of certificates that may call; whose rights they have is `user`
//! user = "sipxconfig"
//!
//! [limits]
//! sessions = 1024                     # see `Limits` for each
//! ```
//! Every key has a default, so that the file may be absent. A key that does not exist is an error that names the
//! nearest one that does. Must not know: what its readers do with the values.

pub mod layout;
mod nearest;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

pub use self::layout::{Layout, LayoutError};
use crate::system;

/// A settings file is typed by hand.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const SYSTEM_SHARE: &str = "/usr/share/procyon";
/// The source tree that this was built from: found where nothing is installed, as in development.
const SOURCE_TREE: &str = env!("CARGO_MANIFEST_DIR");

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where NETCONF over SSH listens. Default: the port of RFC 6242 on the loopback address.
    pub listen_ssh: Vec<SocketAddr>,
    /// The name of this node in operational data. Default `0/RP0/CPU0`.
    pub node: String,
    /// What NETCONF sessions edit that do not ask for a candidate of their own. Default `shared`, as in RFC 6241.
    pub candidate: Candidate,
    /// RFC 6241 section 8.7: a startup datastore, which becomes running when the host boots. Default: none.
    pub startup: bool,
    /// RFC 6241 section 8.2: edit-config and copy-config may change running at once. Default: by commit only.
    pub writable_running: bool,
    /// Where the host's figures are read: a folder laid out like the default, `/proc`. For trying scripts out.
    pub host_figures: PathBuf,
    pub python: Python,
    pub fetch: Fetch,
    pub yang: Yang,
    pub xmlrpc: XmlRpc,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "kebab-case")]
pub enum Candidate {
    #[default]
    Shared,
    Private,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Python {
    /// The interpreter of process scripts. Default `/usr/bin/python3`.
    pub interpreter: PathBuf,
    /// The folder that holds the on-box library. Default: `PROCYON_PYTHON`, else `../share/procyon/python` beside the
    /// program's folder, else the source tree's `scripts/python`, else `/usr/share/procyon/python`.
    pub package: PathBuf,
    /// The account of the host that scripts run as when the agent is root. Default `nobody`; empty is the agent's own.
    pub user: String,
    /// Folders below which scripts may write beside their own working folder, where the kernel can keep them from the rest.
    /// Default `/tmp` and `/var/tmp`; `/` is wherever their account may.
    pub writable: Vec<PathBuf>,
}

/// Fetching scripts from servers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// A file of further authorities (PEM) that `https://` servers may be certified by.
    pub certificates: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Yang {
    /// The folder of the YANG modules. Default as for Python, with `PROCYON_YANG` and `yang`.
    pub folder: PathBuf,
}

/// The management calls of sipXsupervisor by XML-RPC, over TLS. Its files are in the folder `keys` of the root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct XmlRpc {
    /// Where it listens. Default: nowhere.
    pub listen: Option<SocketAddr>,
    /// The hosts that may call: a name in the caller's certificate, and the first parameter of its calls.
    pub hosts: Vec<String>,
    /// The user whose rights the calls have.
    pub user: String,
    /// Our certificate and those above it (PEM). Default `xmlrpc.pem`.
    pub certificate: String,
    /// Its private key (PEM, readable by its owner only). Default `xmlrpc.key`.
    pub key: String,
    /// Who certifies the callers (PEM). Default `xmlrpc-authorities.pem`.
    pub authorities: String,
}

/// What one peer, or all together, may take. Each is at least 1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// NETCONF and shell sessions that are open at one time.
    pub sessions: usize,
    /// Those of one user that come from elsewhere.
    pub sessions_per_user: usize,
    /// SSH connections that have not yet shown who they are.
    pub unauthenticated_connections: usize,
    /// Seconds that a connection has to authenticate.
    pub authentication_seconds: u64,
    /// Bytes of one NETCONF message.
    pub message_bytes: usize,
    /// Bytes of one script in the repository.
    pub script_bytes: u64,
    /// Bytes of address space of one script that runs on request.
    pub script_memory_bytes: u64,
    /// Seconds that fetching one script may take, from name lookup to the last byte.
    pub fetch_seconds: u64,
    /// Seconds a provider has to answer an rpc or a read of state.
    pub answer_seconds: u64,
    /// Seconds a config or precommit script has for one commit.
    pub commit_script_seconds: u64,
    /// Bytes of one log file before it is rotated.
    pub log_bytes: u64,
    /// Rotated log files that are kept beside the current one.
    pub log_files: usize,
    /// Commits that are kept in the history...
    pub history_commits: usize,
    /// ... as long as their changes have no more bytes. The newest is always kept.
    pub history_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen_ssh: vec![SocketAddr::from(([127, 0, 0, 1], 830))],
            node: "0/RP0/CPU0".to_owned(),
            candidate: Candidate::default(),
            startup: false,
            writable_running: false,
            host_figures: PathBuf::from(system::FIGURES),
            python: Python::default(),
            fetch: Fetch::default(),
            yang: Yang::default(),
            xmlrpc: XmlRpc::default(),
            limits: Limits::default(),
        }
    }
}

impl Python {
    /// The account to run scripts as; only root can run them as somebody else.
    pub fn account(&self) -> Option<String> {
        (nix::unistd::geteuid().is_root() && !self.user.is_empty()).then(|| self.user.clone())
    }
}

impl Default for Python {
    fn default() -> Self {
        Self {
            interpreter: PathBuf::from("/usr/bin/python3"),
            package: share("PROCYON_PYTHON", "python", "scripts/python"),
            user: "nobody".to_owned(),
            writable: vec![PathBuf::from("/tmp"), PathBuf::from("/var/tmp")],
        }
    }
}

impl Default for Yang {
    fn default() -> Self {
        Self { folder: share("PROCYON_YANG", "yang", "yang") }
    }
}

impl Default for XmlRpc {
    fn default() -> Self {
        Self {
            listen: None,
            hosts: Vec::new(),
            user: String::new(),
            certificate: "xmlrpc.pem".to_owned(),
            key: "xmlrpc.key".to_owned(),
            authorities: "xmlrpc-authorities.pem".to_owned(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1024,
            sessions_per_user: 1000,
            unauthenticated_connections: 32,
            authentication_seconds: 60,
            message_bytes: 64 * 1024 * 1024,
            script_bytes: 16 * 1024 * 1024,
            script_memory_bytes: 1024 * 1024 * 1024,
            fetch_seconds: 60,
            answer_seconds: 60,
            commit_script_seconds: 10,
            log_bytes: 10 * 1024 * 1024,
            log_files: 5,
            history_commits: 1000,
            history_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Limits {
    pub fn fetch_limit(&self) -> Duration {
        Duration::from_secs(self.fetch_seconds)
    }

    pub fn authentication_limit(&self) -> Duration {
        Duration::from_secs(self.authentication_seconds)
    }

    pub fn answer_limit(&self) -> Duration {
        Duration::from_secs(self.answer_seconds)
    }

    pub fn commit_script_limit(&self) -> Duration {
        Duration::from_secs(self.commit_script_seconds)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {path}: {error}; check the path and its permissions")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: the settings file has more than {FILE_BYTES_MAX} bytes; is it the right file?")]
    TooBig { path: PathBuf },
    #[error("{path}:{line}: unknown key `{key}`; did you mean `{nearest}`?")]
    UnknownKey { path: PathBuf, line: usize, key: String, nearest: String },
    #[error("{path}:{line}: {message}{}", key.as_deref().map(|key| format!(" (key `{key}`)")).unwrap_or_default())]
    BadValue { path: PathBuf, line: usize, key: Option<String>, message: String },
}

impl Settings {
    /// Reads `given`, or the file of the root if it is there.
    pub fn load(layout: &Layout, given: Option<&Path>) -> Result<Self, SettingsError> {
        let path = given.map_or_else(|| layout.settings_file(), Path::to_owned);
        match read_bounded(&path) {
            Ok(Some(text)) => Self::parse(&text, &path),
            Ok(None) => Err(SettingsError::TooBig { path }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && given.is_none() => Ok(Self::default()),
            Err(error) => Err(SettingsError::Unreadable { path, error }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        let bad = |error: &toml::de::Error, key| SettingsError::BadValue {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            key,
            message: error.message().trim().replace('\n', ", "),
        };
        let document = DeTable::parse(text).map_err(|error| bad(&error, None))?;
        check_keys(document.get_ref(), "", text, path)?;
        let settings: Self = toml::from_str(text).map_err(|error| {
            let key = error.span().and_then(|span| key_at(document.get_ref(), "", span.start));
            bad(&error, key)
        })?;
        settings.check(document.get_ref(), text, path)?;
        Ok(settings)
    }

    /// What types do not say.
    fn check(&self, document: &DeTable<'_>, text: &str, path: &Path) -> Result<(), SettingsError> {
        let refuse = |key: &str, message: &str| {
            Err(SettingsError::BadValue {
                path: path.to_owned(),
                line: line_of(text, offset_of(document, key)),
                key: Some(key.to_owned()),
                message: message.to_owned(),
            })
        };
        for (key, value) in self.limits.as_pairs() {
            if value == 0 {
                return refuse(&format!("limits.{key}"), "a limit is at least 1");
            }
        }
        if self.node.is_empty() || self.node.len() > 64 {
            return refuse("node", "a node name has 1 to 64 characters");
        }
        if self.xmlrpc.listen.is_some() && self.xmlrpc.hosts.is_empty() {
            return refuse("xmlrpc.hosts", "where XML-RPC listens, the hosts that may call are named");
        }
        if self.xmlrpc.listen.is_some() && self.xmlrpc.user.is_empty() {
            return refuse("xmlrpc.user", "where XML-RPC listens, the user whose rights its calls have is named");
        }
        let single = [
            ("python.interpreter", &self.python.interpreter),
            ("python.package", &self.python.package),
            ("yang.folder", &self.yang.folder),
            ("host_figures", &self.host_figures),
        ];
        let writable = self.python.writable.iter().map(|folder| ("python.writable", folder));
        for (key, value) in single.into_iter().chain(writable) {
            if !value.is_absolute() {
                return refuse(key, "an absolute path is wanted (it begins with /)");
            }
        }
        Ok(())
    }
}

impl Limits {
    fn as_pairs(&self) -> [(&'static str, u64); 14] {
        let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        [
            ("sessions", wide(self.sessions)),
            ("sessions_per_user", wide(self.sessions_per_user)),
            ("unauthenticated_connections", wide(self.unauthenticated_connections)),
            ("authentication_seconds", self.authentication_seconds),
            ("message_bytes", wide(self.message_bytes)),
            ("script_bytes", self.script_bytes),
            ("script_memory_bytes", self.script_memory_bytes),
            ("fetch_seconds", self.fetch_seconds),
            ("answer_seconds", self.answer_seconds),
            ("commit_script_seconds", self.commit_script_seconds),
            ("log_bytes", self.log_bytes),
            ("log_files", wide(self.log_files)),
            ("history_commits", wide(self.history_commits)),
            ("history_bytes", self.history_bytes),
        ]
    }
}

/// Every key there is, by its whole name. A test holds it equal to the types.
const KEYS: [&str; 37] = [
    "listen_ssh",
    "node",
    "candidate",
    "startup",
    "writable_running",
    "host_figures",
    "python",
    "python.interpreter",
    "python.package",
    "python.user",
    "python.writable",
    "fetch",
    "fetch.certificates",
    "yang",
    "yang.folder",
    "xmlrpc",
    "xmlrpc.listen",
    "xmlrpc.hosts",
    "xmlrpc.user",
    "xmlrpc.certificate",
    "xmlrpc.key",
    "xmlrpc.authorities",
    "limits",
    "limits.sessions",
    "limits.sessions_per_user",
    "limits.unauthenticated_connections",
    "limits.authentication_seconds",
    "limits.message_bytes",
    "limits.script_bytes",
    "limits.script_memory_bytes",
    "limits.fetch_seconds",
    "limits.answer_seconds",
    "limits.commit_script_seconds",
    "limits.log_bytes",
    "limits.log_files",
    "limits.history_commits",
    "limits.history_bytes",
];

fn check_keys(table: &DeTable<'_>, prefix: &str, text: &str, path: &Path) -> Result<(), SettingsError> {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        if !KEYS.contains(&name.as_str()) {
            return Err(SettingsError::UnknownKey {
                path: path.to_owned(),
                line: line_of(text, key.span().start),
                nearest: nearest::key(&name, &KEYS).to_owned(),
                key: name,
            });
        }
        if let DeValue::Table(inner) = value.get_ref() {
            check_keys(inner, &format!("{name}."), text, path)?;
        }
    }
    Ok(())
}

/// The whole name of the key whose value begins nearest before `offset`.
fn key_at(table: &DeTable<'_>, prefix: &str, offset: usize) -> Option<String> {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(inner) = value.get_ref()
            && let Some(found) = key_at(inner, &format!("{name}."), offset)
        {
            return Some(found);
        }
        if value.span().contains(&offset) {
            return Some(name);
        }
    }
    None
}

fn offset_of(document: &DeTable<'_>, name: &str) -> usize {
    let mut table = document;
    let mut offset = 0;
    for part in name.split('.') {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == part) else { return offset };
        offset = key.span().start;
        if let DeValue::Table(inner) = value.get_ref() {
            table = inner;
        }
    }
    offset
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// `None` when there is more than a settings file can be.
fn read_bounded(path: &Path) -> std::io::Result<Option<String>> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= FILE_BYTES_MAX).then_some(text))
}

/// Where a folder of ours is: as the environment says, beside the installed program, in the source tree, system-wide.
fn share(variable: &str, installed: &str, in_source: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        let folder = PathBuf::from(folder);
        return std::path::absolute(&folder).unwrap_or(folder);
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.parent()?.join("share/procyon").join(installed)));
    let in_source = Path::new(SOURCE_TREE).join(in_source);
    beside
        .into_iter()
        .chain([in_source])
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| Path::new(SYSTEM_SHARE).join(installed))
}

/// A YANG module to load as plain configuration: `NAME[:feature,...]`; `*` enables every feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSpec {
    pub name: String,
    pub features: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleSpecError {
    #[error("`{text}` is no YANG identifier; write NAME or NAME:feature,feature")]
    NotAnIdentifier { text: String },
}

impl FromStr for ModuleSpec {
    type Err = ModuleSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, features) = text.split_once(':').unwrap_or((text, ""));
        let features = if features.is_empty() { Vec::new() } else { features.split(',').map(str::to_owned).collect() };
        for word in std::iter::once(name).chain(features.iter().map(String::as_str).filter(|word| *word != "*")) {
            if !is_identifier(word) {
                return Err(ModuleSpecError::NotAnIdentifier { text: word.to_owned() });
            }
        }
        Ok(Self { name: name.to_owned(), features })
    }
}

impl std::fmt::Display for ModuleSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if !self.features.is_empty() {
            write!(f, ":{}", self.features.join(","))?;
        }
        Ok(())
    }
}

/// RFC 7950 section 6.2.
fn is_identifier(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || "_-.".contains(character))
}

#[cfg(test)]
mod tests;
