//! Which scripts look at commits, as the configuration says it.

use crate::checksum::Sha256;
use crate::yang::value::Element;

/// Where checksums and priorities stand.
pub const SCRIPTS: &str = "/Cisco-IOS-XR-um-script-cfg:script";
/// The switch of all config scripts.
pub const ROOT: &str = "/Cisco-IOS-XR-um-config-validation-cfg:configuration";

/// The router's: of a config script that says none. Lower goes first.
const PRIORITY_DEFAULT: u32 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Sees what a commit changes, and goes first: what it refuses need not be looked at more closely.
    Precommit,
    /// Sees the whole configuration and may amend it.
    Config,
}

impl Kind {
    /// The word of the shelf.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Precommit => "precommit",
            Self::Config => "config",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Precommit, Self::Config].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One script with the very bytes that may run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Script {
    pub kind: Kind,
    pub name: String,
    pub sha256: Sha256,
}

impl std::fmt::Display for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} script `{}`", self.kind.as_str(), self.name)
    }
}

/// The active scripts in the order in which they are asked: by kind, priority and name.
pub fn active(scripts: Option<&Element>, switch: Option<&Element>) -> Vec<Script> {
    let Some(scripts) = scripts else { return Vec::new() };
    let is_on = switch.is_some_and(|top| top.descend(&["validation", "scripts"]).is_some());
    let mut found = Vec::new();
    if let Some(list) = scripts.descend(&["precommit", "script-names"]) {
        let active = list.children_named("script-name").filter(|entry| entry.child("activate").is_some());
        found.extend(active.filter_map(|entry| entry_of(Kind::Precommit, entry, "script-name")));
    }
    if let Some(list) = scripts.child("configs").filter(|_| is_on) {
        found.extend(list.children_named("config").filter_map(|entry| entry_of(Kind::Config, entry, "config-name")));
    }
    found.sort();
    found.into_iter().map(|(kind, _, name, sha256)| Script { kind, name, sha256 }).collect()
}

fn entry_of(kind: Kind, entry: &Element, key: &str) -> Option<(Kind, u32, String, Sha256)> {
    let checksum = entry.child("checksum");
    let priority = |of: Option<&Element>| of?.text_of("priority")?.parse().ok();
    let priority: Option<u32> = priority(checksum).or_else(|| priority(Some(entry)));
    // A sum may be pasted as `sha256sum` prints it.
    let sum = checksum?.text_of("sha256")?.split_whitespace().next()?;
    Some((kind, priority.unwrap_or(PRIORITY_DEFAULT), entry.text_of(key)?.to_owned(), Sha256::parse(sum).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(list: &'static str, key: &'static str, name: &str, more: Vec<Element>) -> Element {
        let checksum = Element::node("checksum", vec![Element::leaf("sha256", "AB".repeat(32))]);
        Element::node(list, [vec![Element::leaf(key, name), checksum], more].concat())
    }

    fn scripts() -> Element {
        let config = |name, priority: &[u32]| {
            entry("config", "config-name", name, priority.iter().map(|at| Element::leaf("priority", at)).collect())
        };
        let precommit = |name, active: bool| {
            let flag = active.then(|| Element::node("activate", Vec::new()));
            entry("script-name", "script-name", name, flag.into_iter().collect())
        };
        Element::node(
            "script",
            vec![
                Element::node("configs", vec![config("b.py", &[]), config("a.py", &[]), config("z.py", &[7])]),
                Element::node(
                    "precommit",
                    vec![Element::node("script-names", vec![precommit("on.py", true), precommit("off.py", false)])],
                ),
            ],
        )
    }

    fn said(switch: Option<&Element>) -> Vec<String> {
        active(Some(&scripts()), switch).iter().map(|script| script.name.clone()).collect()
    }

    #[test]
    fn precommit_scripts_go_first_and_the_others_by_priority_and_name() {
        let switch =
            Element::node("configuration", vec![Element::node("validation", vec![Element::node("scripts", vec![])])]);
        assert_eq!(said(Some(&switch)), ["on.py", "z.py", "a.py", "b.py"]);
    }

    #[test]
    fn config_scripts_look_at_nothing_before_they_are_switched_on() {
        assert_eq!(said(None), ["on.py"]);
    }
}
