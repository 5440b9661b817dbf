//! A process definition as values that cannot be wrong by themselves: what is run, what is watched, what is needed.
//!
//! Must not know: XML, YANG, what other definitions say.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::pattern::Pattern;

pub const NAME_BYTES_MAX: usize = 200;
pub const VERSION_BYTES_MAX: usize = 255;
pub const PARAMETERS_MAX: usize = 256;
pub const LOGS_MAX: usize = 64;
pub const RESOURCES_MAX: usize = 1024;
pub const PATTERNS_MAX: usize = 256;
pub const TEXT_BYTES_MAX: usize = 4096;
const FILE_NAME_END: &str = "-process.xml";

/// Names the process in rpcs and alarms, its definition file and its containers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessName(String);

impl ProcessName {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        let goes_on = text.chars().all(|next| next.is_ascii_alphanumeric() || "_.-+".contains(next));
        if begins && goes_on && text.len() <= NAME_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::Name { name: text.chars().take(NAME_BYTES_MAX).collect() })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of a file in `process.d`: the NAME in `NAME-process.xml`; `None` for any other file.
    pub fn of_file(file: &str) -> Option<&str> {
        file.strip_suffix(FILE_NAME_END).filter(|name| !name.is_empty() && !file.starts_with('.'))
    }

    pub fn file_name(&self) -> String {
        format!("{}{FILE_NAME_END}", self.0)
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ProcessName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<ProcessName> for String {
    fn from(name: ProcessName) -> Self {
        name.0
    }
}

/// What management may do with a resource. It says nothing about the file system's own rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ConfigAccess {
    NoAccess,
    ReadOnly,
    WriteOnly,
    #[default]
    ReadWrite,
}

impl ConfigAccess {
    pub const ALL: [Self; 4] = [Self::NoAccess, Self::ReadOnly, Self::WriteOnly, Self::ReadWrite];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoAccess => "no-access",
            Self::ReadOnly => "read-only",
            Self::WriteOnly => "write-only",
            Self::ReadWrite => "read-write",
        }
    }

    pub fn may_read(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadWrite)
    }

    pub fn may_write(self) -> bool {
        matches!(self, Self::WriteOnly | Self::ReadWrite)
    }
}

impl fmt::Display for ConfigAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// `None` is the process's log folder.
    pub defaultdir: Option<PathBuf>,
    /// `None` is the account of the agent.
    pub user: Option<String>,
    pub execute: PathBuf,
    pub parameters: Vec<String>,
}

impl Command {
    pub fn argv(&self) -> Vec<String> {
        let program = self.execute.to_string_lossy().into_owned();
        std::iter::once(program).chain(self.parameters.iter().cloned()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    pub pid: Option<PathBuf>,
    pub logs: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sqldb {
    pub server: Option<String>,
    pub dbname: String,
    pub username: Option<String>,
    pub dbdriver: Option<String>,
    pub userpassword: Option<String>,
}

impl Sqldb {
    pub const SERVER: &'static str = "localhost";
    pub const USERNAME: &'static str = "postgres";
    pub const DRIVER: &'static str = "{PostgreSQL}";

    pub fn server(&self) -> &str {
        self.server.as_deref().unwrap_or(Self::SERVER)
    }

    pub fn username(&self) -> &str {
        self.username.as_deref().unwrap_or(Self::USERNAME)
    }

    pub fn driver(&self) -> &str {
        self.dbdriver.as_deref().unwrap_or(Self::DRIVER)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePattern {
    pub pattern: Pattern,
    /// `None` is the access of its directory.
    pub access: Option<ConfigAccess>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File {
        path: PathBuf,
    },
    /// A file in a syntax of its own; otherwise the same.
    OsConfig {
        path: PathBuf,
    },
    Imdb {
        table: String,
    },
    Process {
        name: ProcessName,
    },
    Sqldb(Sqldb),
    Directory {
        path: PathBuf,
        patterns: Vec<FilePattern>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub kind: Kind,
    pub required: bool,
    pub access: ConfigAccess,
}

impl Resource {
    /// For people and status messages: ``file '/etc/x'``.
    pub fn described(&self) -> String {
        match &self.kind {
            Kind::File { path } => format!("file '{}'", path.display()),
            Kind::OsConfig { path } => format!("osconfig '{}'", path.display()),
            Kind::Imdb { table } => format!("imdb '{table}'"),
            Kind::Process { name } => format!("process '{name}'"),
            Kind::Sqldb(sqldb) => format!("sqldb '{}'", sqldb.dbname),
            Kind::Directory { path, .. } => format!("directory '{}'", path.display()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: ProcessName,
    pub version: String,
    pub configtest: Command,
    pub start: Command,
    pub stop: Command,
    /// Carried for the sake of its file; nothing runs it.
    pub reconfigure: Option<Command>,
    pub status: Status,
    pub resources: Vec<Resource>,
}

impl Definition {
    /// The processes that must run before this one starts.
    pub fn needs(&self) -> impl Iterator<Item = &ProcessName> {
        self.resources.iter().filter(|resource| resource.required).filter_map(|resource| match &resource.kind {
            Kind::Process { name } => Some(name),
            _ => None,
        })
    }

    pub fn check(&self) -> Result<(), Invalid> {
        if self.version.is_empty() {
            return Err(Invalid::EmptyVersion);
        }
        let commands = [Some(&self.configtest), Some(&self.start), Some(&self.stop), self.reconfigure.as_ref()];
        for command in commands.into_iter().flatten() {
            most("parameter", command.parameters.len(), PARAMETERS_MAX)?;
        }
        most("log", self.status.logs.len(), LOGS_MAX)?;
        most("resource", self.resources.len(), RESOURCES_MAX)?;
        for resource in &self.resources {
            match &resource.kind {
                Kind::Directory { patterns, .. } => most("filePattern", patterns.len(), PATTERNS_MAX)?,
                Kind::Process { name } if *name == self.name && resource.required => {
                    return Err(Invalid::NeedsItself { name: name.clone() });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn most(what: &'static str, count: usize, count_max: usize) -> Result<(), Invalid> {
    if count > count_max { Err(Invalid::TooMany { what, count, count_max }) } else { Ok(()) }
}

/// Why a definition, or a part of one, cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Invalid {
    #[error(
        "process name `{name}` is not valid: it begins with a letter, digit or `_`, goes on with those or `.`, `-`, \
         `+`, and has 1 to {NAME_BYTES_MAX} characters"
    )]
    Name { name: String },
    #[error("the version is empty: it is what the configuration's version must equal")]
    EmptyVersion,
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} holds a NUL character")]
    Nul { what: &'static str },
    #[error("{what} has more than {bytes_max} bytes")]
    TooLong { what: &'static str, bytes_max: usize },
    #[error("{what} `{path}` is not a full path: it begins with `/` and has no `.` or `..`")]
    NotAFullPath { what: &'static str, path: String },
    #[error("there are {count} elements {what}, at most {count_max} are allowed")]
    TooMany { what: &'static str, count: usize, count_max: usize },
    #[error("process `{name}` needs itself to run before it starts")]
    NeedsItself { name: ProcessName },
}

/// A text that is not empty, not endless, and can be an argument.
pub fn text(what: &'static str, text: &str, bytes_max: usize) -> Result<String, Invalid> {
    match text {
        "" => Err(Invalid::Empty { what }),
        _ if text.contains('\0') => Err(Invalid::Nul { what }),
        _ if text.len() > bytes_max => Err(Invalid::TooLong { what, bytes_max }),
        _ => Ok(text.to_owned()),
    }
}

/// A full path that means one place whatever links there are: absolute, without `.` and `..`.
pub fn full_path(what: &'static str, path: &str) -> Result<PathBuf, Invalid> {
    let path = text(what, path, TEXT_BYTES_MAX)?;
    let plain = path.split('/').all(|part| part != "." && part != "..");
    if !path.starts_with('/') || !plain {
        return Err(Invalid::NotAFullPath { what, path });
    }
    // The same place is written in one way, so that declarations of it are found to be of one resource.
    Ok(Path::new(&path).components().filter(|part| !matches!(part, Component::CurDir)).collect())
}
