//! A candidate as XML: the content of an `edit-config`.

use super::draft::{Break, Candidate, Clients, Connect, Console, Draft, Log, Place, Rights};
use crate::container::words;

const NAMESPACE: &str = "urn:procyon:container";
const CONSOLE_NAMESPACE: &str = "urn:procyon:console";
const ACCESS_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm";

impl Candidate {
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
        if let Some(clients) = &self.clients {
            clients.print(&mut xml);
        }
        self.print_rules(&mut xml);
        xml.text
    }

    /// Each console's own rules, and the groups that they name.
    fn print_rules(&self, xml: &mut Xml) {
        let mut groups = self.groups.clone();
        let mut lists = Vec::new();
        for (name, draft) in &self.containers {
            let all = [("writers", &draft.console.writers, "read update"), ("readers", &draft.console.readers, "read")];
            for (who, rights, operations) in all.into_iter().filter(|(_, rights, _)| **rights != Rights::default()) {
                let list = format!("{who} of {name}");
                let mut named: Vec<String> = rights.groups.iter().cloned().collect();
                if !rights.users.is_empty() {
                    groups.insert(list.clone(), rights.users.clone());
                    named.push(list.clone());
                }
                lists.push((list, named, name, operations));
            }
        }
        if groups.is_empty() && lists.is_empty() {
            return;
        }
        xml.open(&format!("nacm xmlns=\"{ACCESS_NAMESPACE}\""));
        if !groups.is_empty() {
            xml.open("groups");
            for (name, users) in &groups {
                xml.open("group");
                xml.leaf("name", name);
                users.iter().for_each(|user| xml.leaf("user-name", user));
                xml.close("group");
            }
            xml.close("groups");
        }
        for (list, groups, name, operations) in lists {
            xml.open("rule-list");
            xml.leaf("name", &list);
            groups.iter().for_each(|group| xml.leaf("group", group));
            xml.open("rule");
            xml.leaf("name", "console");
            let path = format!("/c:consoles/c:console[c:name='container:{name}']");
            xml.line(&format!("<path xmlns:c=\"{CONSOLE_NAMESPACE}\">{}</path>", escaped(&path)));
            xml.leaf("access-operations", operations);
            xml.leaf("action", "permit");
            xml.close("rule");
            xml.close("rule-list");
        }
        xml.close("nacm");
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
        self.log.print(xml);
        self.console.print(xml);
        self.after.iter().for_each(|name| xml.leaf("after", name));
        xml.leaf_if("start-at-boot", self.start_at_boot.map(|starts| starts.to_string()).as_ref());
    }
}

impl Log {
    fn print(&self, xml: &mut Xml) {
        if *self == Self::default() {
            return;
        }
        xml.open("log");
        xml.leaf_if("file", self.file.as_ref());
        xml.leaf_if("stamp", self.stamp.as_ref());
        xml.leaf_if("max-size", self.max_size.map(|bytes| bytes.to_string()).as_ref());
        xml.leaf_if("keep", self.keep.map(|keep| keep.to_string()).as_ref());
        if self.is_in_syslog {
            xml.line("<syslog/>");
        }
        xml.close("log");
    }
}

impl Clients {
    fn print(&self, xml: &mut Xml) {
        xml.open(&format!("conserver-listener xmlns=\"{CONSOLE_NAMESPACE}\""));
        xml.leaf_if("port", self.port.map(|port| port.to_string()).as_ref());
        xml.leaf_if("console-port", self.console_port.map(|port| port.to_string()).as_ref());
        self.sources.iter().for_each(|source| xml.leaf("source", source));
        self.trusted.iter().for_each(|source| xml.leaf("trusted", source));
        xml.close("conserver-listener");
    }
}

impl Console {
    fn print(&self, xml: &mut Xml) {
        let rest = Self { writers: Rights::default(), readers: Rights::default(), ..self.clone() };
        if rest == Self::default() {
            return;
        }
        xml.open("console");
        if self.one_writer {
            xml.leaf("writers", "one");
        }
        xml.leaf_if("message-of-the-day", self.motd.as_ref());
        if self.marks {
            xml.leaf("marks", "true");
        }
        xml.leaf_if("mark-every", self.mark_every.map(|seconds| seconds.to_string()).as_ref());
        xml.leaf_if("title", self.title.as_ref());
        xml.leaf_if("ignored-keys", self.ignored.as_ref());
        xml.leaf_if("kill-key", self.kill.as_ref());
        xml.leaf_if("toggle-key", self.toggle.as_ref());
        xml.leaf_if("logout-key", self.logout.as_ref());
        for (name, Break { send, pause }) in &self.breaks {
            let pause = pause.map(|pause| pause.to_string());
            xml.within("break", &[("name", Some(name)), ("send", Some(send)), ("pause", pause.as_ref())]);
        }
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
