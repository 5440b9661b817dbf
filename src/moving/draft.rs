//! What has been read so far: containers, templates, and what could not be mapped.

use std::collections::{BTreeMap, BTreeSet};

/// A log that is put aside sooner would be put aside for each line.
pub const LOG_BYTES_LEAST: u64 = 65536;

/// One container or template, part by part in the words of `procyon-container`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    pub description: Option<String>,
    pub documentation: Vec<String>,
    pub groups: BTreeSet<String>,
    pub command: Vec<String>,
    pub connect: Option<Connect>,
    pub working_directory: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub umask: Option<String>,
    pub nice: Option<i32>,
    /// By the leaf's name.
    pub limits: BTreeMap<&'static str, u64>,
    /// Owner and group by path.
    pub directories: BTreeMap<String, (Option<String>, Option<String>)>,
    /// Paths, and whether a missing one is awaited or refused.
    pub required: BTreeMap<String, &'static str>,
    pub stop_signal: Option<String>,
    pub stop_timeout: Option<String>,
    pub policy: Option<&'static str>,
    pub max_retries: Option<u32>,
    pub holdoff: Option<String>,
    pub has_terminal: bool,
    pub log: Log,
    pub console: Console,
    pub after: BTreeSet<String>,
    pub start_at_boot: Option<bool>,
    pub template: Option<String>,
}

/// Somebody else's console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    Unix(String),
    Host { host: String, port: String, is_telnet: bool },
}

/// What becomes of what it prints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    pub file: Option<String>,
    pub stamp: Option<String>,
    pub max_size: Option<u64>,
    pub keep: Option<u8>,
    pub is_in_syslog: bool,
}

/// How its console is served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Console {
    pub one_writer: bool,
    pub motd: Option<String>,
    pub marks: bool,
    /// In seconds.
    pub mark_every: Option<u32>,
    /// What procServ's texts call it.
    pub title: Option<String>,
    pub ignored: Option<String>,
    /// `None` leaves the house's.
    pub kill: Option<String>,
    pub toggle: Option<String>,
    pub logout: Option<String>,
    pub breaks: BTreeMap<String, Break>,
    pub listeners: Vec<Listener>,
    /// Who may type, and who may look on; both are access rules.
    pub writers: Rights,
    pub readers: Rights,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    pub send: String,
    /// In milliseconds.
    pub pause: Option<u16>,
}

/// `*` among the groups is everybody who is in one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    pub groups: BTreeSet<String>,
    pub users: BTreeSet<String>,
}

/// Who may come to the listener for conserver's client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clients {
    pub port: Option<u16>,
    pub console_port: Option<u16>,
    pub sources: BTreeSet<String>,
    /// Of these, whose users are believed their names.
    pub trusted: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    pub place: Place,
    /// It only shows.
    pub is_log: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Unix { path: String, owner: Option<String>, group: Option<String>, mode: Option<String> },
    Tcp { port: String },
}

/// Where something stands that did not fit, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub file: String,
    pub line: usize,
    pub what: String,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candidate {
    pub templates: BTreeMap<String, Draft>,
    pub containers: BTreeMap<String, Draft>,
    pub clients: Option<Clients>,
    /// Of users.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    pub left: Vec<Left>,
}

impl Candidate {
    pub fn leave(&mut self, file: &str, line: usize, what: impl Into<String>, why: impl Into<String>) {
        self.left.push(Left { file: file.to_owned(), line, what: what.into(), why: why.into() });
    }

    /// What one file says of another: a console at the very socket of a template's listener is an instance of the template.
    pub fn settle(&mut self) {
        let sockets: Vec<(String, String)> = self
            .templates
            .iter()
            .flat_map(|(name, draft)| draft.console.listeners.iter().map(move |listener| (name, listener)))
            .filter_map(|(name, listener)| match &listener.place {
                Place::Unix { path, .. } => Some((name.clone(), path.clone())),
                Place::Tcp { .. } => None,
            })
            .collect();
        let consoles = std::mem::take(&mut self.containers);
        for (name, draft) in consoles {
            let found = sockets.iter().find_map(|(template, path)| match &draft.connect {
                Some(Connect::Unix(at)) => instance_of(path, at).map(|instance| (template.clone(), instance)),
                _ => None,
            });
            match found {
                Some((template, instance)) => {
                    // What it is comes from the template, how its console is used from here.
                    let console = Console { one_writer: false, ..draft.console };
                    let draft = Draft { template: Some(template.clone()), console, ..Draft::default() };
                    self.containers.insert(format!("{template}@{instance}"), draft);
                }
                None => drop(self.containers.insert(name, draft)),
            }
        }
    }
}

/// What `%i` stands for where a path of a template is this very path.
fn instance_of(pattern: &str, path: &str) -> Option<String> {
    let (before, after) = pattern.split_once("%i")?;
    let rest = path.strip_prefix(before)?;
    let end = rest.find('/').unwrap_or(rest.len());
    let instance = &rest[..end];
    let same = pattern.replace("%i", instance) == path && rest[end..].starts_with(after.split("%i").next()?);
    (same && !instance.is_empty()).then(|| instance.to_owned())
}
