//! Which provider answers for which part of the tree, and the check at start that nothing is left without one.
//!
//! Whoever answers for a root answers for all nodes of the root's own module below it. Nodes of other modules that stand
//! there are not his by that: a provider says of which modules it knows them.
//!
//! Must not know: what a provider does.

use std::collections::{BTreeMap, BTreeSet};

use super::provider::{Change, Provider};
use crate::yang::parts::{Part, PartKind};

/// A provider, by its place in the northbound's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderIndex(pub usize);

/// What nobody, or more than one, answers for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    #[error("no provider makes the configuration at {path} true")]
    UnownedConfiguration { path: String },
    #[error("no provider answers for the state at {path}")]
    UnownedState { path: String },
    #[error("no provider carries out {path}")]
    UnownedCall { path: String },
    #[error("{first} and {second} both answer for {path}")]
    TwoOwners { path: String, first: &'static str, second: &'static str },
}

#[derive(Debug, Default)]
pub struct Router {
    /// Who hears of changes: owners and those who watch.
    config: BTreeMap<&'static str, Vec<ProviderIndex>>,
    owned: BTreeSet<&'static str>,
    state: BTreeMap<&'static str, ProviderIndex>,
    calls: BTreeMap<&'static str, ProviderIndex>,
    /// Of each provider: the modules whose nodes it knows below what it answers for or watches.
    augmented_by: Vec<&'static [&'static str]>,
}

impl Router {
    /// # Errors
    /// [`Gap::TwoOwners`] where two providers claim the same root or call.
    pub fn new(providers: &[Box<dyn Provider>]) -> Result<Self, Gap> {
        let mut router = Self::default();
        let mut owners: BTreeMap<&'static str, &'static str> = BTreeMap::new();
        for (at, provider) in providers.iter().enumerate() {
            let index = ProviderIndex(at);
            router.augmented_by.push(provider.augmented_by());
            router.owned.extend(provider.config_roots());
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

    /// Which parts of the schema nobody answers for; `exempt` modules are plain configuration or the northbound's own.
    pub fn gaps(&self, parts: &[Part], exempt: &dyn Fn(&str) -> bool) -> Vec<Gap> {
        let ours = parts.iter().filter(|part| !exempt(part.module));
        ours.filter(|part| !self.is_answered_for(part))
            .map(|Part { kind, path, .. }| {
                let path = path.clone();
                match kind {
                    PartKind::Configuration => Gap::UnownedConfiguration { path },
                    PartKind::State => Gap::UnownedState { path },
                    PartKind::Call => Gap::UnownedCall { path },
                }
            })
            .collect()
    }

    fn is_answered_for(&self, part: &Part) -> bool {
        let root = part.root.as_str();
        let heard: Vec<ProviderIndex> = match part.kind {
            PartKind::Configuration => self.config.get(root).cloned().unwrap_or_default(),
            PartKind::State => self.state.get(root).copied().into_iter().collect(),
            PartKind::Call => self.calls.get(root).copied().into_iter().collect(),
        };
        if part.module != module_of(root) {
            return heard.iter().any(|index| self.augmented_by[index.0].contains(&part.module));
        }
        if part.kind == PartKind::Configuration { self.owned.contains(root) } else { !heard.is_empty() }
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
    use super::super::provider::{Call, Later, Proposal, StateQuery};
    use super::super::testing::{Rig, Told, Witness};
    use super::*;
    use crate::yang::value::Element;

    #[test]
    fn the_root_of_a_path_ends_at_its_first_step() {
        for (path, root) in [("/m:a", "/m:a"), ("/m:a/b[k='x/y']", "/m:a"), ("/m:l[k='v']/c", "/m:l")] {
            assert_eq!(root_of(path), root);
        }
        assert_eq!(module_of("/m:l[k='v']/c"), "m");
    }

    fn part(kind: PartKind, path: &str, root: &str, module: &'static str) -> Part {
        Part { kind, path: path.to_owned(), root: root.to_owned(), module }
    }

    /// Answers for one root of each kind, and knows one module that augments them.
    struct Owner;

    impl Provider for Owner {
        fn name(&self) -> &'static str {
            "owner"
        }

        fn config_roots(&self) -> &'static [&'static str] {
            &["/m:top"]
        }

        fn watched_roots(&self) -> &'static [&'static str] {
            &["/m:watched"]
        }

        fn augmented_by(&self) -> &'static [&'static str] {
            &["known"]
        }

        fn state_roots(&self) -> &'static [&'static str] {
            &["/m:told"]
        }

        fn calls(&self) -> &'static [&'static str] {
            &["/m:go", "/m:top/entry/reset"]
        }

        fn apply(&mut self, _: &Proposal<'_>) {}

        fn state(&self, _: &'static str, _: StateQuery) -> Later<Vec<Element>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn call(&self, _: Call) -> Later<Vec<Element>> {
            Box::pin(async { Ok(Vec::new()) })
        }
    }

    #[test]
    fn every_node_that_nobody_stands_behind_is_a_gap() {
        use PartKind::{Call as Asked, Configuration, State};
        let router = Router::new(&[Box::new(Owner) as Box<dyn Provider>]).unwrap();
        for (part, is_gap) in [
            (part(Configuration, "/m:top", "/m:top", "m"), false),
            (part(Configuration, "/m:top/known:box", "/m:top", "known"), false),
            (part(Configuration, "/m:top/strange:box", "/m:top", "strange"), true),
            // Whoever watches is not yet the one who acts.
            (part(Configuration, "/m:watched", "/m:watched", "m"), true),
            (part(Configuration, "/m:watched/known:box", "/m:watched", "known"), false),
            (part(Configuration, "/m:other", "/m:other", "m"), true),
            (part(State, "/m:told", "/m:told", "m"), false),
            (part(State, "/m:told/strange:size", "/m:told", "strange"), true),
            (part(State, "/m:top/entry/seen", "/m:top", "m"), true),
            (part(Asked, "/m:go", "/m:go", "m"), false),
            (part(Asked, "/m:go/strange:pace", "/m:go", "strange"), true),
            (part(Asked, "/m:top/entry/reset", "/m:top/entry/reset", "m"), false),
            (part(Asked, "/m:top/entry/stop", "/m:top/entry/stop", "m"), true),
            (part(Configuration, "/plain:top", "/plain:top", "plain"), false),
        ] {
            let gaps = router.gaps(std::slice::from_ref(&part), &|module| module == "plain");
            assert_eq!(gaps.len(), usize::from(is_gap), "{part:?}");
            assert!(gaps.iter().all(|gap| gap.to_string().contains(&part.path)), "{gaps:?}");
        }
    }

    #[test]
    fn a_module_without_providers_is_named_and_nothing_is_served() {
        let provider = Witness { name: "one", roots: &["/sample:top"], takes_each_alone: true, told: Told::default() };
        let gaps = Rig::with_plain_modules(vec![Box::new(provider)], &[]).err().unwrap_or_default();
        let said: Vec<String> = gaps.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        no provider answers for the state at /sample:top/status
        no provider makes the configuration at /sample:bounds true
        no provider makes the configuration at /sample:root-list true
        no provider makes the configuration at /sample:top-leaf true
        no provider makes the configuration at /sample:machines true
        no provider carries out /sample:machines/machine/reset
        no provider carries out /sample:greet
        ");
    }
}
