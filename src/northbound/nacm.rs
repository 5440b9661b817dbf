//! Network configuration access control (RFC 8341): may this user do this?
//!
//! ```text
//!  off or recovery -> permit
//!  rule lists of the user's groups, in order -> rules, in order -> the first that fits decides
//!  none fits -> default-deny statements of the schema -> read-, write-, exec-default
//! ```
//!
//! Pure: rules and paths in, a decision out. Must not know: trees, sessions, messages. Whether a node is marked
//! `nacm:default-deny-all` or `-write` (itself or an ancestor) is told by the caller, who knows the schema.

pub mod audience;
pub mod path;

use std::collections::BTreeSet;

pub use self::path::{Coverage, DataPath, PathError, RulePath, Step};
use crate::yang::value::Element;

const MODULE: &str = "ietf-netconf-acm";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Permit,
    Deny,
}

impl Decision {
    pub fn is_permit(self) -> bool {
        self == Decision::Permit
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Create,
    Read,
    Update,
    Delete,
    Exec,
}

/// What the schema says of a node or of any of its ancestors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultDeny {
    #[default]
    Nothing,
    /// `nacm:default-deny-write`
    Write,
    /// `nacm:default-deny-all`
    All,
}

/// Who asks, with the rule lists that concern them. Made anew when the rules change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    user: String,
    groups: BTreeSet<String>,
    lists: Vec<usize>,
    exempt: bool,
}

impl Subject {
    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// The rule lists that concern them, by number: with `$USER`, all that rules can tell people apart by.
    pub fn lists(&self) -> &[usize] {
        &self.lists
    }
}

/// Refusals since the agent started; they outlive a change of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub denied_operations: u32,
    pub denied_data_writes: u32,
    pub denied_notifications: u32,
}

impl Counters {
    pub fn operation_denied(&mut self) {
        self.denied_operations = self.denied_operations.saturating_add(1);
    }

    pub fn data_write_denied(&mut self) {
        self.denied_data_writes = self.denied_data_writes.saturating_add(1);
    }

    pub fn notification_denied(&mut self) {
        self.denied_notifications = self.denied_notifications.saturating_add(1);
    }

    /// The state at `/ietf-netconf-acm:nacm`.
    pub fn state(&self) -> Element {
        Element::node(
            "nacm",
            vec![
                Element::leaf("denied-operations", self.denied_operations),
                Element::leaf("denied-data-writes", self.denied_data_writes),
                Element::leaf("denied-notifications", self.denied_notifications),
            ],
        )
        .in_module(MODULE)
    }
}

/// The rules, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nacm {
    enabled: bool,
    external_groups: bool,
    read_default: Decision,
    write_default: Decision,
    exec_default: Decision,
    groups: Vec<(String, BTreeSet<String>)>,
    lists: Vec<RuleList>,
    problems: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RuleList {
    groups: BTreeSet<String>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// `None` is `*`.
    module: Option<String>,
    matter: Matter,
    access: AccessSet,
    action: Decision,
}

impl Rule {
    fn is_of(&self, module: &str) -> bool {
        names(self.module.as_deref(), module)
    }

    fn permits_anything(&self) -> bool {
        matches!(self.matter, Matter::Anything) && self.module.is_none() && self.action == Decision::Permit
    }
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Matter {
    Anything,
    Operation(Option<String>),
    Notification(Option<String>),
    Data(RulePath),
    /// A path that cannot be read. Where it denies it covers everything, where it permits it covers nothing: a typing
    /// error must not open a door.
    Unreadable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AccessSet(u8);

impl AccessSet {
    const ALL: AccessSet = AccessSet(0b1_1111);

    fn parse(text: Option<&str>) -> Self {
        let Some(text) = text.map(str::trim).filter(|text| *text != "*") else { return Self::ALL };
        let bits = text.split_whitespace().map(|word| match word {
            "create" => Self::bit(Access::Create),
            "read" => Self::bit(Access::Read),
            "update" => Self::bit(Access::Update),
            "delete" => Self::bit(Access::Delete),
            "exec" => Self::bit(Access::Exec),
            _ => 0,
        });
        Self(bits.fold(0, |set, bit| set | bit))
    }

    fn bit(access: Access) -> u8 {
        1 << access as u8
    }

    fn has(self, access: Access) -> bool {
        self.0 & Self::bit(access) != 0
    }
}

impl Default for Nacm {
    fn default() -> Self {
        Self::from_element(None)
    }
}

impl Nacm {
    /// From the subtree `/ietf-netconf-acm:nacm`; defaults hold for what it leaves out, all of them where it is absent.
    pub fn from_element(nacm: Option<&Element>) -> Self {
        let empty = Element::default();
        let nacm = nacm.unwrap_or(&empty);
        let mut problems = Vec::new();
        let groups = nacm.child("groups").into_iter().flat_map(|groups| groups.children_named("group"));
        Self {
            enabled: nacm.text_of("enable-nacm") != Some("false"),
            external_groups: nacm.text_of("enable-external-groups") != Some("false"),
            read_default: action(nacm.text_of("read-default"), Decision::Permit),
            write_default: action(nacm.text_of("write-default"), Decision::Deny),
            exec_default: action(nacm.text_of("exec-default"), Decision::Permit),
            groups: groups
                .map(|group| (group.text_of("name").unwrap_or_default().to_owned(), texts(group, "user-name")))
                .collect(),
            lists: nacm.children_named("rule-list").map(|list| rule_list(list, &mut problems)).collect(),
            problems,
        }
    }

    /// Rules whose path cannot be read, as sentences for the log.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The groups of `user`: those configured here, and those that the transport vouches for.
    pub fn groups_of(&self, user: &str, transport_groups: &[String]) -> BTreeSet<String> {
        let configured = self.groups.iter().filter(|(_, users)| users.contains(user)).map(|(name, _)| name);
        let external = transport_groups.iter().filter(|_| self.external_groups);
        configured.chain(external).cloned().collect()
    }

    /// `recovery` is the session that no rule concerns (RFC 8341 section 3.4.3).
    pub fn subject(&self, user: &str, transport_groups: &[String], recovery: bool) -> Subject {
        let groups = self.groups_of(user, transport_groups);
        // Section 3.4.4 step 5: who is in no group is judged by the defaults, even where a list is for `*`.
        let concerns =
            |list: &RuleList| !groups.is_empty() && (list.groups.contains("*") || !list.groups.is_disjoint(&groups));
        let lists = (0..self.lists.len()).filter(|&index| concerns(&self.lists[index])).collect();
        Subject { user: user.to_owned(), groups, lists, exempt: recovery || !self.enabled }
    }

    /// May `subject` call the rpc? (RFC 8341 section 3.4.4)
    pub fn exec(&self, subject: &Subject, module: &str, rpc: &str, deny: DefaultDeny) -> Decision {
        if subject.exempt || (module, rpc) == ("ietf-netconf", "close-session") {
            return Decision::Permit;
        }
        let fits = |matter: &Matter| matches!(matter, Matter::Operation(name) if names(name.as_deref(), rpc));
        if let Some(decision) = self.first_rule(subject, module, Access::Exec, fits) {
            return decision;
        }
        let guarded = module == "ietf-netconf" && matches!(rpc, "kill-session" | "delete-config");
        if guarded || deny == DefaultDeny::All { Decision::Deny } else { self.exec_default }
    }

    /// May `subject` have `access` to the node? (section 3.4.5) An action is exec access to its node; the caller asks
    /// for read access to the nodes above it besides.
    pub fn data(&self, subject: &Subject, access: Access, path: &DataPath, deny: DefaultDeny) -> Decision {
        if subject.exempt {
            return Decision::Permit;
        }
        let module = path.module().unwrap_or_default();
        let fits = |matter: &Matter| matches!(matter, Matter::Data(rule) if rule.covers(path, &subject.user));
        if let Some(decision) = self.first_rule(subject, module, access, fits) {
            return decision;
        }
        match (access, deny) {
            (_, DefaultDeny::All) => Decision::Deny,
            (Access::Create | Access::Update | Access::Delete, DefaultDeny::Write) => Decision::Deny,
            (Access::Read, _) => self.read_default,
            (Access::Exec, _) => self.exec_default,
            (Access::Create | Access::Update | Access::Delete, DefaultDeny::Nothing) => self.write_default,
        }
    }

    /// May `subject` hear of the notification? (section 3.4.6) `path` is the node it belongs to, if to one.
    pub fn notification(
        &self,
        subject: &Subject,
        module: &str,
        name: &str,
        path: Option<&DataPath>,
        deny: DefaultDeny,
    ) -> Decision {
        // RFC 5277: the ends of a replay and of a subscription are not anybody's secret.
        let always = module == "nc-notifications" && matches!(name, "replayComplete" | "notificationComplete");
        if subject.exempt || always {
            return Decision::Permit;
        }
        let fits = |matter: &Matter| match matter {
            Matter::Notification(rule) => names(rule.as_deref(), name),
            Matter::Data(rule) => path.is_some_and(|path| rule.covers(path, &subject.user)),
            Matter::Anything | Matter::Operation(_) | Matter::Unreadable => false,
        };
        self.first_rule(subject, module, Access::Read, fits).unwrap_or(if deny == DefaultDeny::All {
            Decision::Deny
        } else {
            self.read_default
        })
    }

    /// What is decided of reading every node in one place of the schema, whichever entries it stands in; `None` when that
    /// depends on the entry. `place` has no keys.
    pub fn read_everywhere(&self, subject: &Subject, place: &DataPath, deny: DefaultDeny) -> Option<Decision> {
        if subject.exempt {
            return Some(Decision::Permit);
        }
        let module = place.module().unwrap_or_default();
        // What rules decide for the entries that they choose.
        let mut of_some: Option<Decision> = None;
        let unless_some_differ =
            |of_some: Option<Decision>, last: Decision| of_some.is_none_or(|decision| decision == last).then_some(last);
        for rule in self.rules_of(subject).filter(|rule| rule.access.has(Access::Read) && rule.is_of(module)) {
            let coverage = match &rule.matter {
                Matter::Anything => Coverage::Everything,
                Matter::Unreadable if rule.action == Decision::Deny => Coverage::Everything,
                Matter::Data(path) => path.coverage(place),
                Matter::Unreadable | Matter::Operation(_) | Matter::Notification(_) => Coverage::Nothing,
            };
            match coverage {
                Coverage::Nothing => {}
                Coverage::Everything => return unless_some_differ(of_some, rule.action),
                Coverage::Some if of_some.is_some_and(|decision| decision != rule.action) => return None,
                Coverage::Some => of_some = Some(rule.action),
            }
        }
        unless_some_differ(of_some, if deny == DefaultDeny::All { Decision::Deny } else { self.read_default })
    }

    /// Whether the subject may read whatever there is: then no node need be looked at.
    pub fn permits_all_reads(&self, subject: &Subject) -> bool {
        if subject.exempt {
            return true;
        }
        let about_data = |rule: &&Rule| !matches!(rule.matter, Matter::Operation(_) | Matter::Notification(_));
        let mut rules = self.rules_of(subject).filter(about_data).filter(|rule| rule.access.has(Access::Read));
        // What is permitted in part before is permitted anyway.
        let first = rules.find(|rule| rule.action == Decision::Deny || matches!(rule.matter, Matter::Anything));
        first.is_some_and(|rule| rule.permits_anything())
    }

    /// Whether a rule in front of all others lets the subject write whatever there is: then no node need be asked for.
    pub fn permits_all_writes(&self, subject: &Subject) -> bool {
        const WRITES: [Access; 3] = [Access::Create, Access::Update, Access::Delete];
        if subject.exempt {
            return true;
        }
        let about_data = |rule: &&Rule| !matches!(rule.matter, Matter::Operation(_) | Matter::Notification(_));
        let mut rules = self.rules_of(subject).filter(about_data);
        let first = rules.find(|rule| WRITES.iter().any(|access| rule.access.has(*access)));
        first.is_some_and(|rule| rule.permits_anything() && WRITES.iter().all(|access| rule.access.has(*access)))
    }

    fn rules_of<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Rule> {
        subject.lists.iter().filter_map(|&index| self.lists.get(index)).flat_map(|list| &list.rules)
    }

    fn first_rule(
        &self,
        subject: &Subject,
        module: &str,
        access: Access,
        fits: impl Fn(&Matter) -> bool,
    ) -> Option<Decision> {
        self.rules_of(subject)
            .filter(|rule| rule.access.has(access) && rule.is_of(module))
            .find(|rule| match &rule.matter {
                Matter::Anything => true,
                Matter::Unreadable => rule.action == Decision::Deny,
                matter => fits(matter),
            })
            .map(|rule| rule.action)
    }
}

fn names(rule: Option<&str>, name: &str) -> bool {
    rule.is_none_or(|rule| rule == name)
}

fn action(text: Option<&str>, default: Decision) -> Decision {
    match text {
        Some("permit") => Decision::Permit,
        Some("deny") => Decision::Deny,
        _ => default,
    }
}

fn texts(element: &Element, name: &str) -> BTreeSet<String> {
    element.children_named(name).filter_map(|child| child.text.clone()).collect()
}

fn wildcard(text: Option<&str>) -> Option<String> {
    text.filter(|text| *text != "*").map(str::to_owned)
}

fn rule_list(list: &Element, problems: &mut Vec<String>) -> RuleList {
    let list_name = list.text_of("name").unwrap_or_default();
    let rules = list.children_named("rule").map(|rule| {
        let matter = if let Some(name) = rule.text_of("rpc-name") {
            Matter::Operation(wildcard(Some(name)))
        } else if let Some(name) = rule.text_of("notification-name") {
            Matter::Notification(wildcard(Some(name)))
        } else if let Some(path) = rule.text_of("path") {
            RulePath::parse(path).map_or_else(
                |error| {
                    let name = rule.text_of("name").unwrap_or_default();
                    problems.push(format!("rule `{name}` of rule-list `{list_name}`: {error}"));
                    Matter::Unreadable
                },
                Matter::Data,
            )
        } else {
            Matter::Anything
        };
        Rule {
            module: wildcard(rule.text_of("module-name")),
            matter,
            access: AccessSet::parse(rule.text_of("access-operations")),
            action: action(rule.text_of("action"), Decision::Deny),
        }
    });
    RuleList { groups: texts(list, "group"), rules: rules.collect() }
}

#[cfg(test)]
mod tests;
