//! Which provider answers for which part of the tree, and the check at start that nothing is left without one.
//!
//! Must not know: what a provider does.

use std::collections::BTreeMap;

use super::provider::{Change, Provider};

/// A provider, by its place in the northbound's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderIndex(pub usize);

/// What nobody, or more than one, answers for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    #[error("no provider makes the configuration below {root} true")]
    UnownedConfiguration { root: String },
    #[error("no provider answers for the state below {root}")]
    UnownedState { root: String },
    #[error("no provider carries out {call}")]
    UnownedCall { call: String },
    #[error("{first} and {second} both answer for {path}")]
    TwoOwners { path: String, first: &'static str, second: &'static str },
}

#[derive(Debug, Default)]
pub struct Router {
    config: BTreeMap<&'static str, Vec<ProviderIndex>>,
    state: BTreeMap<&'static str, ProviderIndex>,
    calls: BTreeMap<&'static str, ProviderIndex>,
}

/// What the schema has, for the check at start.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    pub config_roots: Vec<String>,
    pub state_roots: Vec<String>,
    pub calls: Vec<String>,
}

impl Router {
    /// # Errors
    /// [`Gap::TwoOwners`] where two providers claim the same root or call.
    pub fn new(providers: &[Box<dyn Provider>]) -> Result<Self, Gap> {
        let mut router = Self::default();
        let mut owners: BTreeMap<&'static str, &'static str> = BTreeMap::new();
        for (at, provider) in providers.iter().enumerate() {
            let index = ProviderIndex(at);
            for root in provider.config_roots().iter().chain(provider.calls()) {
                if let Some(first) = owners.insert(root, provider.name()) {
                    return Err(Gap::TwoOwners { path: (*root).to_owned(), first, second: provider.name() });
                }
            }
            for root in provider.config_roots().iter().chain(provider.watched_roots()) {
                router.config.entry(root).or_default().push(index);
            }
            for root in provider.state_roots() {
                if let Some(first) = router.state.insert(root, index) {
                    let first = providers[first.0].name();
                    return Err(Gap::TwoOwners { path: (*root).to_owned(), first, second: provider.name() });
                }
            }
            for call in provider.calls() {
                router.calls.insert(call, index);
            }
        }
        Ok(router)
    }

    /// What of `inventory` nobody answers for; `exempt` modules are plain configuration or the northbound's own.
    pub fn gaps(&self, inventory: &Inventory, exempt: &dyn Fn(&str) -> bool) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let ours = |path: &&String| !exempt(module_of(path));
        for root in inventory.config_roots.iter().filter(ours) {
            if !self.config.contains_key(root.as_str()) {
                gaps.push(Gap::UnownedConfiguration { root: root.clone() });
            }
        }
        for root in inventory.state_roots.iter().filter(ours) {
            if !self.state.contains_key(root.as_str()) {
                gaps.push(Gap::UnownedState { root: root.clone() });
            }
        }
        for call in inventory.calls.iter().filter(ours) {
            if !self.calls.contains_key(call.as_str()) {
                gaps.push(Gap::UnownedCall { call: call.clone() });
            }
        }
        gaps
    }

    /// Who hears of a commit, each with the changes below its roots, in provider order.
    pub fn shares(&self, changes: &[Change]) -> BTreeMap<ProviderIndex, Vec<Change>> {
        let mut shares: BTreeMap<ProviderIndex, Vec<Change>> = BTreeMap::new();
        for change in changes {
            for index in self.config.get(root_of(&change.path)).into_iter().flatten() {
                shares.entry(*index).or_default().push(change.clone());
            }
        }
        shares
    }

    /// All state roots and their owners.
    pub fn state_roots(&self) -> impl Iterator<Item = (&'static str, ProviderIndex)> {
        self.state.iter().map(|(root, index)| (*root, *index))
    }

    pub fn call(&self, path: &str) -> Option<ProviderIndex> {
        self.calls.get(path).copied()
    }
}

/// `/module:node` of any path below it.
pub fn root_of(path: &str) -> &str {
    let end = path.char_indices().skip(1).find(|(_, character)| matches!(character, '/' | '[')).map(|(at, _)| at);
    &path[..end.unwrap_or(path.len())]
}

/// The module of a path's first node.
pub fn module_of(path: &str) -> &str {
    path.trim_start_matches('/').split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_path_ends_at_its_first_step() {
        for (path, root) in [("/m:a", "/m:a"), ("/m:a/b[k='x/y']", "/m:a"), ("/m:l[k='v']/c", "/m:l")] {
            assert_eq!(root_of(path), root);
        }
        assert_eq!(module_of("/m:l[k='v']/c"), "m");
    }
}
