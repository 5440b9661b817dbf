//! What is configured below `/Cisco-IOS-XR-infra-script-mgmt-cfg:scripts`, read once into values.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

pub const ROOT: &str = "/Cisco-IOS-XR-infra-script-mgmt-cfg:scripts";

/// The word of each type of scripts, and where its entries stand: containers, list.
const LISTS: [(&str, [&str; 2], &str); 5] = [
    ("exec", ["exec-script", "scripts"], "script"),
    ("process", ["process-script", "scripts"], "script"),
    ("config", ["config-script", "script-updates"], "script-update"),
    ("eem", ["eem-script", "script-updates"], "script-update"),
    ("precommit", ["precommit-script", "script-precommits"], "script-precommit"),
];

/// When a script is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Manual,
    OnRun,
    Schedule,
}

impl Condition {
    const ALL: [Self; 3] = [Self::Manual, Self::OnRun, Self::Schedule];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::OnRun => "on-run",
            Self::Schedule => "schedule",
        }
    }

    fn container(self) -> &'static str {
        match self {
            Self::Manual => "condition-manual",
            Self::OnRun => "condition-runtime",
            Self::Schedule => "condition-schedule",
        }
    }
}

/// One script under one condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub script_type: &'static str,
    pub script: String,
    pub condition: Condition,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} script `{}`", self.script_type, self.script)
    }
}

/// From where, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    pub url: String,
    pub username: Option<String>,
    /// As it stands in the configuration: sealed.
    pub password: Option<String>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.url)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub origin: Origin,
    /// Of a scheduled one.
    pub every: Option<Duration>,
    /// Whether a run goes on with what is there, where the script cannot be had.
    pub runs_local: bool,
}

pub type Entries = BTreeMap<Key, Entry>;

/// What is wrong with a script's name or origin: the leaf below the condition (none for the name itself), and why.
pub type Wrong = (Option<&'static str>, String);

/// The entries below `root`, and what is wrong with the others.
pub fn read(root: Option<&Element>, check: &dyn Fn(&Key, &Origin) -> Result<(), Wrong>) -> (Entries, Vec<Refusal>) {
    let (mut entries, mut refusals) = (Entries::new(), Vec::new());
    let Some(root) = root else { return (entries, refusals) };
    for (script_type, containers, list) in LISTS {
        for listed in root.descend(&containers).into_iter().flat_map(|found| found.children_named(list)) {
            let script = listed.text_of("script-name").unwrap_or_default();
            for condition in Condition::ALL {
                let Some(how) = listed.child(condition.container()) else { continue };
                let key = Key { script_type, script: script.to_owned(), condition };
                let entry = entry_of(how);
                match vrf(how).and_then(|()| check(&key, &entry.origin)) {
                    Ok(()) => drop(entries.insert(key, entry)),
                    Err((leaf, why)) => {
                        let quote = if script.contains('\'') { '"' } else { '\'' };
                        let [one, other] = containers;
                        let at = format!("{ROOT}/{one}/{other}/{list}[script-name={quote}{script}{quote}]");
                        let below = leaf.map(|leaf| format!("/{}/{leaf}", condition.container())).unwrap_or_default();
                        refusals.push(Refusal::new(Kind::InvalidValue, why).at(format!("{at}{below}")));
                    }
                }
            }
        }
    }
    (entries, refusals)
}

fn entry_of(how: &Element) -> Entry {
    let owned = |leaf: &str| how.text_of(leaf).map(str::to_owned);
    let minutes = how.text_of("update-interval").and_then(|text| text.parse::<u64>().ok());
    Entry {
        origin: Origin {
            url: owned("url").unwrap_or_default(),
            username: owned("username"),
            password: owned("password"),
        },
        every: minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
        runs_local: how.text_of("failure") == Some("run-local"),
    }
}

fn vrf(how: &Element) -> Result<(), Wrong> {
    match how.text_of("vrf").filter(|vrf| *vrf != "default") {
        Some(vrf) => Err((Some("vrf"), format!("vrf `{vrf}` does not exist on this device; use default"))),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn condition(name: &'static str, more: &[(&'static str, &str)]) -> Element {
        let mut leaves = vec![Element::leaf("url", "http://192.0.2.0/s"), Element::leaf("vrf", "default")];
        leaves.extend(more.iter().map(|(leaf, value)| Element::leaf(*leaf, value)));
        Element::node(name, leaves)
    }

    fn tree(top: &'static str, containers: &'static str, list: &'static str, conditions: Vec<Element>) -> Element {
        let mut children = vec![Element::leaf("script-name", "x.py")];
        children.extend(conditions);
        let listed = Element::node(containers, vec![Element::node(list, children)]);
        Element::node("scripts", vec![Element::node(top, vec![listed])])
    }

    pub(in crate::update) fn key(condition: Condition) -> Key {
        Key { script_type: "exec", script: "x.py".to_owned(), condition }
    }

    #[test]
    fn each_condition_is_an_entry_of_its_own() {
        let conditions = vec![
            condition("condition-schedule", &[("update-interval", "60")]),
            condition("condition-runtime", &[("failure", "run-local"), ("username", "me"), ("password", "sealed:1:x")]),
        ];
        let (entries, refusals) = read(Some(&tree("exec-script", "scripts", "script", conditions)), &|_, _| Ok(()));
        assert_eq!(refusals, []);
        assert_eq!(entries[&key(Condition::Schedule)].every, Some(Duration::from_secs(3600)));
        let on_run = &entries[&key(Condition::OnRun)];
        assert!(on_run.runs_local && on_run.origin.username.as_deref() == Some("me"));
        assert!(!format!("{on_run:?}").contains("sealed"), "a password is shown");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let manual = vec![condition("condition-manual", &[])];
        let root = tree("precommit-script", "script-precommits", "script-precommit", manual);
        let (entries, refusals) = read(Some(&root), &|_, _| Err((Some("url"), "no such scheme".to_owned())));
        assert_eq!(entries, Entries::new());
        let said: Vec<_> = refusals.iter().map(|refusal| (refusal.path.as_deref(), refusal.to_string())).collect();
        insta::assert_debug_snapshot!(said, @r#"
        [
            (
                Some(
                    "/Cisco-IOS-XR-infra-script-mgmt-cfg:scripts/precommit-script/script-precommits/script-precommit[script-name='x.py']/condition-manual/url",
                ),
                "no such scheme",
            ),
        ]
        "#);
        let mut elsewhere = condition("condition-manual", &[]);
        elsewhere.children[1] = Element::leaf("vrf", "blue");
        let root = tree("eem-script", "script-updates", "script-update", vec![elsewhere]);
        let (_, refusals) = read(Some(&root), &|_, _| Ok(()));
        assert!(refusals[0].to_string().contains("vrf `blue` does not exist"));
    }
}
