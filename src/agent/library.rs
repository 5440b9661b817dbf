//! Which modules this agent has: our own list, and those the user adds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Deserialize;

use crate::netconf::error::Namespaces;
use crate::settings::{ModuleSpec as Wanted, Settings};
use crate::shell::compile;
use crate::shell::grammar::Grammar;
use crate::yang::schema::{ModuleSpec, Schema};

/// The modules that we implement, and with which features.
const IMPLEMENTED: &str = include_str!("../../yang/implemented.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    module: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    revision: Option<String>,
    #[serde(default)]
    features: Vec<String>,
}

/// Loads our modules and the user's into one schema.
pub(super) fn load(settings: &Settings, folders: &[PathBuf], wanted: &[Wanted]) -> anyhow::Result<&'static Schema> {
    let list: List = toml::from_str(IMPLEMENTED).context("the list of our own modules is broken")?;
    let mut modules: Vec<ModuleSpec> = list
        .module
        .into_iter()
        .map(|entry| ModuleSpec { name: entry.name, revision: entry.revision, features: entry.features })
        .collect();
    for module in modules.iter_mut().filter(|module| module.name == "ietf-netconf") {
        let chosen = [("startup", settings.startup), ("writable-running", settings.writable_running)];
        module.features.extend(chosen.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()));
    }
    modules.extend(wanted.iter().map(|module| ModuleSpec {
        name: module.name.clone(),
        revision: None,
        features: module.features.clone(),
    }));
    let mut search = vec![settings.yang.folder.clone()];
    search.extend_from_slice(folders);
    Schema::load(&search, &modules).context("a YANG module cannot be loaded")
}

/// The grammar of the shell: of all modules, with the sidecars that lie beside them in `cli/`.
pub(super) fn grammar(schema: &Schema, settings: &Settings, folders: &[PathBuf]) -> anyhow::Result<Arc<Grammar>> {
    let mut sidecars = Vec::new();
    for folder in std::iter::once(&settings.yang.folder).chain(folders) {
        sidecars.extend(compile::sidecars_in(&folder.join("cli"), schema)?);
    }
    Ok(Arc::new(compile::compile(schema, &sidecars)?))
}

/// Namespaces and prefixes of all modules, for error paths.
pub(super) struct Names(BTreeMap<String, (String, String)>);

impl Names {
    pub(super) fn of(schema: &'static Schema) -> Self {
        let modules = schema
            .modules()
            .into_iter()
            .map(|info| (info.name.to_owned(), (info.namespace.to_owned(), info.prefix.to_owned())));
        Self(modules.collect())
    }
}

impl Namespaces for Names {
    fn of_module(&self, module: &str) -> Option<(String, String)> {
        self.0.get(module).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_constraint_of_our_modules_makes_a_commit_look_at_everything() {
        let mut settings = Settings::default();
        settings.yang.folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yang");
        let schema = load(&settings, &[], &[]).unwrap();
        assert_eq!(schema.analysis().sees_everything(), None);
    }
}
