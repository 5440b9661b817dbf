//! Which containers a commit concerns: those it names, and those whose template it names.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{Definition, Entry};
use crate::northbound::provider::Proposal;

pub const ROOT: &str = "/procyon-container:containers";

/// What is configured, as far as later commits must know it.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The template of each container.
    pub containers: BTreeMap<String, Option<String>>,
    pub templates: BTreeMap<String, Definition>,
}

/// Entries as they will be; `None` for those that go.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    pub containers: BTreeMap<String, Option<Entry>>,
    pub templates: BTreeMap<String, Option<Definition>>,
}

impl Touched {
    /// `besides`: containers that the proposal concerns though it does not name them.
    pub fn of<'n>(proposal: &Proposal<'_>, known: &Known, besides: impl Iterator<Item = &'n String>) -> Self {
        let mut containers: BTreeSet<String> = besides.cloned().collect();
        let mut templates = BTreeSet::new();
        let mut is_all = false;
        for change in proposal.changes {
            let Some(rest) = change.path.strip_prefix(ROOT) else { continue };
            match (key_of(rest, "container"), key_of(rest, "template")) {
                (Some(name), _) => drop(containers.insert(name)),
                (None, Some(name)) => drop(templates.insert(name)),
                // The node above both lists came or went; what went with it is not listed.
                (None, None) => is_all = true,
            }
        }
        if is_all {
            containers.extend(known.containers.keys().cloned());
            templates.extend(known.templates.keys().cloned());
            let root = proposal.config.subtree(ROOT);
            let names = |list: &str| -> Vec<String> {
                let entries = root.iter().flat_map(|root| root.children_named(list));
                entries.filter_map(|entry| entry.text_of("name").map(str::to_owned)).collect()
            };
            containers.extend(names("container"));
            templates.extend(names("template"));
        }
        let uses = |template: &Option<String>| template.as_ref().is_some_and(|name| templates.contains(name));
        containers.extend(known.containers.iter().filter(|(_, template)| uses(template)).map(|(name, _)| name.clone()));
        let entry = |list: &str, name: &str| proposal.config.subtree(&format!("{ROOT}/{list}[name='{name}']"));
        Self {
            containers: containers
                .into_iter()
                .map(|name| {
                    let found = entry("container", &name).as_ref().and_then(Entry::from_element);
                    (name, found)
                })
                .collect(),
            templates: templates
                .into_iter()
                .map(|name| {
                    let found = entry("template", &name).as_ref().map(Definition::from_element);
                    (name, found)
                })
                .collect(),
        }
    }
}

impl Known {
    /// The template by its name, as it will be.
    pub fn template<'k>(&'k self, touched: &'k Touched, name: &str) -> Option<&'k Definition> {
        match touched.templates.get(name) {
            Some(new) => new.as_ref(),
            None => self.templates.get(name),
        }
    }

    pub fn take_in(&mut self, touched: &Touched) {
        for (name, definition) in &touched.templates {
            match definition {
                Some(definition) => self.templates.insert(name.clone(), definition.clone()),
                None => self.templates.remove(name),
            };
        }
        for (name, entry) in &touched.containers {
            match entry {
                Some(entry) => self.containers.insert(name.clone(), entry.template.clone()),
                None => self.containers.remove(name),
            };
        }
    }
}

/// The name in `/LIST[name='NAME']...`. Names hold no quotes.
fn key_of(rest: &str, list: &str) -> Option<String> {
    let predicate = rest.strip_prefix('/')?.strip_prefix(list)?.strip_prefix("[name=")?;
    let quote = predicate.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    predicate[1..].split_once(quote).map(|(name, _)| name.to_owned())
}
