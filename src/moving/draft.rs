//! What has been read so far: containers, templates, and what could not be mapped.

use std::collections::{BTreeMap, BTreeSet};

use crate::container::words;

const NAMESPACE: &str = "urn:procyon:container";

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

/// How its console is served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Console {
    pub one_writer: bool,
    pub motd: Option<String>,
    pub ignored: Option<String>,
    /// `None` leaves the house's.
    pub kill: Option<String>,
    pub toggle: Option<String>,
    pub logout: Option<String>,
    pub listeners: Vec<Listener>,
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
                    let draft = Draft { template: Some(template.clone()), ..Draft::default() };
                    self.containers.insert(format!("{template}@{instance}"), draft);
                }
                None => drop(self.containers.insert(name, draft)),
            }
        }
    }

    /// The content of an `edit-config` on the candidate.
    pub fn to_xml(&self) -> String {
        let mut xml = Xml::default();
        xml.open(&format!("containers xmlns=\"{NAMESPACE}\""));
        for (list, drafts) in [("template", &self.templates), ("container", &self.containers)] {
            for (name, draft) in drafts {
                xml.open(list);
                xml.leaf("name", name);
                draft.print(&mut xml);
                xml.close(list);
            }
        }
        xml.close("containers");
        xml.text
    }
}

impl Draft {
    fn print(&self, xml: &mut Xml) {
        xml.leaf_if("template", self.template.as_ref());
        xml.leaf_if("description", self.description.as_ref());
        self.documentation.iter().for_each(|text| xml.leaf("documentation", text));
        self.groups.iter().for_each(|group| xml.leaf("group", group));
        if !self.command.is_empty() {
            xml.leaf("command", &words::join(&self.command));
        }
        if let Some(connect) = &self.connect {
            xml.open("connect");
            match connect {
                Connect::Unix(path) => xml.leaf("unix", path),
                Connect::Host { host, port, is_telnet } => {
                    xml.leaf("host", host);
                    xml.leaf("port", port);
                    xml.leaf("speaks", if *is_telnet { "telnet" } else { "raw" });
                }
            }
            xml.close("connect");
        }
        xml.leaf_if("working-directory", self.working_directory.as_ref());
        for (name, value) in &self.environment {
            xml.within("environment", &[("name", Some(name)), ("value", Some(value))]);
        }
        xml.leaf_if("user", self.user.as_ref());
        xml.leaf_if("primary-group", self.group.as_ref());
        xml.leaf_if("umask", self.umask.as_ref());
        xml.leaf_if("nice", self.nice.map(|nice| nice.to_string()).as_ref());
        if !self.limits.is_empty() {
            xml.open("limits");
            self.limits.iter().for_each(|(limit, value)| xml.leaf(limit, &value.to_string()));
            xml.close("limits");
        }
        for (path, (owner, group)) in &self.directories {
            xml.within("directory", &[("path", Some(path)), ("owner", owner.as_ref()), ("group", group.as_ref())]);
        }
        for (path, when_missing) in &self.required {
            xml.within("required-path", &[("path", Some(path)), ("when-missing", Some(&(*when_missing).to_owned()))]);
        }
        xml.within("stop", &[("signal", self.stop_signal.as_ref()), ("timeout", self.stop_timeout.as_ref())]);
        let (policy, retries) = (self.policy.map(str::to_owned), self.max_retries.map(|retries| retries.to_string()));
        xml.within(
            "restart",
            &[("policy", policy.as_ref()), ("max-retries", retries.as_ref()), ("holdoff", self.holdoff.as_ref())],
        );
        if self.has_terminal {
            xml.line("<terminal/>");
        }
        self.console.print(xml);
        self.after.iter().for_each(|name| xml.leaf("after", name));
        xml.leaf_if("start-at-boot", self.start_at_boot.map(|starts| starts.to_string()).as_ref());
    }
}

impl Console {
    fn print(&self, xml: &mut Xml) {
        if *self == Self::default() {
            return;
        }
        xml.open("console");
        if self.one_writer {
            xml.leaf("writers", "one");
        }
        xml.leaf_if("message-of-the-day", self.motd.as_ref());
        xml.leaf_if("ignored-keys", self.ignored.as_ref());
        xml.leaf_if("kill-key", self.kill.as_ref());
        xml.leaf_if("toggle-key", self.toggle.as_ref());
        xml.leaf_if("logout-key", self.logout.as_ref());
        for listener in &self.listeners {
            xml.open("listener");
            xml.leaf("name", &listener.name);
            match &listener.place {
                Place::Unix { path, owner, group, mode } => xml.within(
                    "unix",
                    &[
                        ("path", Some(path)),
                        ("owner", owner.as_ref()),
                        ("group", group.as_ref()),
                        ("mode", mode.as_ref()),
                    ],
                ),
                Place::Tcp { port } => xml.within("tcp", &[("port", Some(port))]),
            }
            if listener.is_log {
                xml.leaf("speaks", "log")
            } else {
                xml.leaf("write", "true")
            }
            xml.close("listener");
        }
        xml.close("console");
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

#[derive(Default)]
struct Xml {
    text: String,
    depth: usize,
}

impl Xml {
    fn line(&mut self, line: &str) {
        self.text.push_str(&"  ".repeat(self.depth));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn open(&mut self, tag: &str) {
        self.line(&format!("<{tag}>"));
        self.depth += 1;
    }

    fn close(&mut self, tag: &str) {
        self.depth -= 1;
        self.line(&format!("</{tag}>"));
    }

    fn leaf(&mut self, name: &str, value: &str) {
        self.line(&format!("<{name}>{}</{name}>", escaped(value)));
    }

    fn leaf_if(&mut self, name: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.leaf(name, value);
        }
    }

    /// A node around those of the leaves that are there; nothing if none is.
    fn within(&mut self, node: &str, leaves: &[(&str, Option<&String>)]) {
        if leaves.iter().any(|(_, value)| value.is_some()) {
            self.open(node);
            leaves.iter().for_each(|(name, value)| self.leaf_if(name, *value));
            self.close(node);
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
