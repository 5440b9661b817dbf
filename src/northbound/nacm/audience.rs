//! The rules about one node as a list, for those who judge without them.
//!
//! A user is judged by the first rule of the lists of all its groups. Each of its groups has a first rule of its own; the
//! earliest of these is the one. So a list of users and groups in the order of their first rules, of which the first entry
//! that fits somebody decides, says what the rules say.

use std::collections::BTreeSet;

use super::{Access, DataPath, Decision, Matter, Nacm};

/// Whom an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    User(String),
    /// One that the host vouches for.
    Group(String),
    Anyone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub whom: Whom,
    pub access: Access,
    pub permits: bool,
}

impl Nacm {
    /// Who may read the node and who may change it; the first entry that fits somebody and the access decides. Groups of the
    /// host count if the rules name them.
    pub fn audience(&self, path: &DataPath) -> Vec<Entry> {
        let both = [Access::Read, Access::Update];
        if !self.enabled {
            return both.map(|access| Entry { whom: Whom::Anyone, access, permits: true }).into();
        }
        both.into_iter().flat_map(|access| self.audience_for(path, access)).collect()
    }

    fn audience_for(&self, path: &DataPath, access: Access) -> Vec<Entry> {
        let users: BTreeSet<&String> = self.groups.iter().flat_map(|(_, users)| users).collect();
        let named = self.groups.iter().map(|(name, _)| name);
        let in_lists = self.lists.iter().flat_map(|list| &list.groups).filter(|group| *group != "*");
        let groups: BTreeSet<&String> = named.chain(in_lists).filter(|_| self.external_groups).collect();
        let mut ranked: Vec<(usize, Whom, bool)> = Vec::new();
        for user in users {
            let found = self.first_rank(&self.groups_of(user, &[]), user, path, access);
            ranked.extend(found.map(|(rank, permits)| (rank, Whom::User(user.clone()), permits)));
        }
        for group in groups {
            let found = self.first_rank(&BTreeSet::from([group.clone()]), "", path, access);
            ranked.extend(found.map(|(rank, permits)| (rank, Whom::Group(group.clone()), permits)));
        }
        ranked.sort_by_key(|(rank, _, _)| *rank);
        let rest = if access == Access::Read { self.read_default } else { self.write_default };
        let ranked = ranked.into_iter().map(|(_, whom, permits)| Entry { whom, access, permits });
        ranked.chain([Entry { whom: Whom::Anyone, access, permits: rest.is_permit() }]).collect()
    }

    /// The place of the first rule that decides about somebody in these groups, and what it says.
    fn first_rank(
        &self,
        groups: &BTreeSet<String>,
        user: &str,
        path: &DataPath,
        access: Access,
    ) -> Option<(usize, bool)> {
        let module = path.module().unwrap_or_default();
        let rules = self.lists.iter().flat_map(|list| list.rules.iter().map(move |rule| (list, rule)));
        rules.enumerate().find_map(|(rank, (list, rule))| {
            let concerns = list.groups.contains("*") || !list.groups.is_disjoint(groups);
            let about = match &rule.matter {
                Matter::Anything => true,
                Matter::Data(at) => at.covers(path, user),
                Matter::Unreadable => rule.action == Decision::Deny,
                Matter::Operation(_) | Matter::Notification(_) => false,
            };
            let fits = rule.module.as_deref().is_none_or(|name| name == module) && rule.access.has(access);
            (concerns && about && fits).then(|| (rank, rule.action.is_permit()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::nacm::DefaultDeny;
    use crate::yang::value::Element;

    fn list(groups: &[&str], rules: &[(&str, &str, &str)]) -> Element {
        let mut children = vec![Element::leaf("name", "l")];
        children.extend(groups.iter().map(|group| Element::leaf("group", group)));
        children.extend(rules.iter().map(|(path, access, action)| {
            let mut rule = vec![Element::leaf("name", "r"), Element::leaf("access-operations", access)];
            rule.extend(Some(Element::leaf("path", path)).filter(|_| !path.is_empty()));
            rule.push(Element::leaf("action", action));
            Element::node("rule", rule)
        }));
        Element::node("rule-list", children)
    }

    fn group(name: &str, users: &[&str]) -> Element {
        let mut children = vec![Element::leaf("name", name)];
        children.extend(users.iter().map(|user| Element::leaf("user-name", user)));
        Element::node("group", children)
    }

    fn path() -> DataPath {
        DataPath::parse("/procyon-console:consoles/console[name='container:x']").unwrap()
    }

    fn says(list: &[Entry], user: &str, groups: &[String], access: Access) -> bool {
        let fits = |entry: &&Entry| match &entry.whom {
            Whom::User(name) => name == user,
            Whom::Group(name) => groups.contains(name),
            Whom::Anyone => true,
        };
        list.iter().filter(|entry| entry.access == access).find(fits).is_some_and(|entry| entry.permits)
    }

    const NAMES: [&str; 3] = ["a", "b", "c"];
    const PATHS: [&str; 4] = [
        "",
        "/procyon-console:consoles",
        "/procyon-console:consoles/console[name='container:x']",
        "/procyon-console:consoles/console[name='container:y']",
    ];

    proptest::proptest! {
        /// Users of the rules by their groups, and accounts of the host by theirs.
        #[test]
        fn the_list_says_what_the_rules_say(
            members in proptest::collection::vec((0_usize..3, 0_usize..3), 0..5),
            lists in proptest::collection::vec(
                (proptest::collection::vec(0_usize..4, 1..3), proptest::collection::vec((0_usize..4, 0_usize..3, 0_usize..2), 0..3)),
                0..5,
            ),
            host in proptest::collection::vec(0_usize..3, 0..3),
            defaults in (0_usize..2, 0_usize..2),
        ) {
            const ACTIONS: [&str; 2] = ["permit", "deny"];
            let users = ["u0", "u1", "u2"];
            let groups = (0..3).map(|at| {
                let own: Vec<&str> = members.iter().filter(|(of, _)| *of == at).map(|(_, user)| users[*user]).collect();
                group(NAMES[at], &own)
            });
            let mut children = vec![
                Element::leaf("read-default", ACTIONS[defaults.0]),
                Element::leaf("write-default", ACTIONS[defaults.1]),
                Element::node("groups", groups.collect()),
            ];
            for (of, rules) in &lists {
                let of: Vec<&str> = of.iter().map(|at| if *at == 3 { "*" } else { NAMES[*at] }).collect();
                let rules: Vec<(&str, &str, &str)> = rules
                    .iter()
                    .map(|(path, access, action)| (PATHS[*path], ["read", "update", "*"][*access], ACTIONS[*action]))
                    .collect();
                children.push(list(&of, &rules));
            }
            let nacm = Nacm::from_element(Some(&Element::node("nacm", children)));
            let listed = nacm.audience(&path());
            let host: Vec<String> = host.iter().map(|at| NAMES[*at].to_owned()).collect();
            for user in ["u0", "u1", "stranger"] {
                let subject = nacm.subject(user, &host, false);
                for access in [Access::Read, Access::Update] {
                    let rules = nacm.data(&subject, access, &path(), DefaultDeny::Nothing).is_permit();
                    proptest::prop_assert_eq!(says(&listed, user, &host, access), rules, "{} {:?}", user, access);
                }
            }
        }
    }

    #[test]
    fn without_access_control_everybody_may_do_everything() {
        let nacm = Nacm::from_element(Some(&Element::node("nacm", vec![Element::leaf("enable-nacm", "false")])));
        assert!(nacm.audience(&path()).iter().all(|entry| entry.whom == Whom::Anyone && entry.permits));
    }
}
