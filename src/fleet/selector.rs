//! Which containers an operation means: by name with wildcards, or by group.

use std::collections::BTreeSet;

use crate::container::wildcard::matches;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    pub patterns: Vec<String>,
    pub groups: Vec<String>,
}

impl Selector {
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.groups.is_empty()
    }

    pub fn picks(&self, name: &str, groups: &BTreeSet<String>) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, name))
            || self.groups.iter().any(|group| groups.contains(group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_picks_all_of_it() {
        let selector = Selector { patterns: vec![], groups: vec!["vacuum".into()] };
        assert!(selector.picks("x", &BTreeSet::from(["vacuum".into()])));
        assert!(!selector.picks("x", &BTreeSet::new()));
    }
}
