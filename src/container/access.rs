//! Who may read a console and who may type to it, as a list that is judged without its author: the keeper has it while the
//! agent is away.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    User(String),
    Group(String),
    Anyone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AccessLevel {
    None,
    Read,
    Write,
}

/// A rule about reading or about writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    Read,
    Write,
}

/// One of a list, of which the first that fits somebody and the verb decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleAccess {
    pub who: Who,
    pub verb: Verb,
    pub permits: bool,
}

impl ConsoleAccess {
    /// What the list says of somebody; where nothing fits, nothing is permitted.
    pub fn level(list: &[Self], user: &str, groups: &[String]) -> AccessLevel {
        let may = |verb: Verb| {
            let fits = |entry: &&Self| match &entry.who {
                Who::User(name) => name == user,
                Who::Group(name) => groups.contains(name),
                Who::Anyone => true,
            };
            list.iter().filter(|entry| entry.verb == verb).find(fits).is_some_and(|entry| entry.permits)
        };
        match (may(Verb::Read), may(Verb::Write)) {
            (false, _) => AccessLevel::None,
            (true, false) => AccessLevel::Read,
            (true, true) => AccessLevel::Write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_fits_decides_for_each_verb() {
        let entry = |who, verb, permits| ConsoleAccess { who, verb, permits };
        let list = [
            entry(Who::User("eve".into()), Verb::Read, false),
            entry(Who::Group("ops".into()), Verb::Write, true),
            entry(Who::Group("ops".into()), Verb::Read, true),
            entry(Who::User("alice".into()), Verb::Write, true),
            entry(Who::User("alice".into()), Verb::Read, true),
            entry(Who::User("mute".into()), Verb::Write, true),
            entry(Who::Anyone, Verb::Write, false),
        ];
        let level = |user: &str, groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            ConsoleAccess::level(&list, user, &groups)
        };
        assert_eq!(level("alice", &[]), AccessLevel::Write);
        assert_eq!(level("eve", &["ops"]), AccessLevel::None);
        assert_eq!(level("bob", &["staff", "ops"]), AccessLevel::Write);
        assert_eq!(level("mute", &[]), AccessLevel::None, "who may not read may not type");
        assert_eq!(level("bob", &[]), AccessLevel::None);
    }
}
