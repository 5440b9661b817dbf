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
    pub after: BTreeSet<String>,
    pub start_at_boot: Option<bool>,
    pub template: Option<String>,
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
        self.after.iter().for_each(|name| xml.leaf("after", name));
        xml.leaf_if("start-at-boot", self.start_at_boot.map(|starts| starts.to_string()).as_ref());
    }
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
