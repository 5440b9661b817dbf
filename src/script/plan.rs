//! What may be added to the repository and taken from it: one call is planned whole or refused whole.
//!
//! Decides on values alone; carrying a plan out is the driver's.

use super::name::{ScriptKey, ScriptName, ScriptType};
use super::repository::{Inventory, SCRIPTS_PER_SHELF_MAX, distinct};
use crate::checksum::Sha256;

/// Scripts that one call may name, as the router's rpcs have it.
pub const SCRIPTS_PER_CALL_MAX: usize = 10;

/// Who runs scripts; given by the composition root.
pub trait InUse: Send + Sync {
    /// The apps that use this script while they are activated.
    fn apps_using(&self, script_type: ScriptType, name: &ScriptName) -> Vec<String>;
}

/// A script to add, and the sum it must have where the caller gave one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    pub name: ScriptName,
    pub expected: Option<Sha256>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPlan {
    pub script_type: ScriptType,
    pub requested: Vec<Requested>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovePlan {
    pub script_type: ScriptType,
    pub names: Vec<ScriptName>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    #[error("no script is named; name 1 to {SCRIPTS_PER_CALL_MAX} of them")]
    NoScripts,
    #[error("{count} scripts are named; at most {SCRIPTS_PER_CALL_MAX} are allowed in one call, so split it")]
    TooManyScripts { count: usize },
    #[error("`{name}` is named twice; name each script once")]
    Duplicate { name: ScriptName },
    #[error("a checksum is given for some scripts but not for `{name}`; give one for every script or for none")]
    ChecksumMissing { name: ScriptName },
    #[error(
        "the {script_type} folder would hold more than {SCRIPTS_PER_SHELF_MAX} scripts; \
         remove some: script remove {script_type} NAME"
    )]
    ShelfFull { script_type: ScriptType },
    #[error("{}", list(names, |name| format!("`{name}` is not in the {script_type} folder of the script repository")))]
    NotFound { script_type: ScriptType, names: Vec<ScriptName> },
    #[error("{}", list(uses, use_of))]
    ScriptInUse { uses: Vec<(ScriptName, Vec<String>)> },
}

pub fn plan_add(
    script_type: ScriptType,
    requested: Vec<Requested>,
    inventory: &Inventory,
) -> Result<AddPlan, RepositoryError> {
    check_names(requested.iter().map(|script| &script.name))?;
    let without = requested.iter().find(|script| script.expected.is_none());
    if let Some(without) = without
        && requested.iter().any(|script| script.expected.is_some())
    {
        return Err(RepositoryError::ChecksumMissing { name: without.name.clone() });
    }
    let is_new = |script: &&Requested| inventory.file(&ScriptKey::new(script_type, script.name.clone())).is_none();
    if inventory.count_on(script_type) + requested.iter().filter(is_new).count() > SCRIPTS_PER_SHELF_MAX {
        return Err(RepositoryError::ShelfFull { script_type });
    }
    Ok(AddPlan { script_type, requested })
}

pub fn plan_remove(
    script_type: ScriptType,
    names: Vec<ScriptName>,
    inventory: &Inventory,
    in_use: &dyn InUse,
) -> Result<RemovePlan, RepositoryError> {
    check_names(&names)?;
    let is_absent = |name: &&ScriptName| inventory.file(&ScriptKey::new(script_type, (*name).clone())).is_none();
    let absent: Vec<ScriptName> = names.iter().filter(is_absent).cloned().collect();
    if !absent.is_empty() {
        return Err(RepositoryError::NotFound { script_type, names: absent });
    }
    let uses: Vec<(ScriptName, Vec<String>)> = names
        .iter()
        .map(|name| (name.clone(), in_use.apps_using(script_type, name)))
        .filter(|(_, apps)| !apps.is_empty())
        .collect();
    if !uses.is_empty() {
        return Err(RepositoryError::ScriptInUse { uses });
    }
    Ok(RemovePlan { script_type, names })
}

fn check_names<'a>(names: impl IntoIterator<Item = &'a ScriptName> + Clone) -> Result<(), RepositoryError> {
    let count = names.clone().into_iter().count();
    if count == 0 {
        return Err(RepositoryError::NoScripts);
    }
    if count > SCRIPTS_PER_CALL_MAX {
        return Err(RepositoryError::TooManyScripts { count });
    }
    distinct(names).map_err(|name| RepositoryError::Duplicate { name })?;
    Ok(())
}

fn use_of((name, apps): &(ScriptName, Vec<String>)) -> String {
    let first = apps.first().map_or("", String::as_str);
    let apps = apps.iter().map(|app| format!("`{app}`")).collect::<Vec<_>>().join(", ");
    format!(
        "`{name}` is used by app {apps}, which is activated; \
         deactivate it first: appmgr process-script deactivate name {first}"
    )
}

fn list<T>(items: &[T], sentence: impl Fn(&T) -> String) -> String {
    items.iter().map(sentence).collect::<Vec<_>>().join("; ")
}
