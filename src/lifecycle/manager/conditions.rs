//! What a process waits for, and who is woken when that comes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Action, Clock, DATABASE_FRESH, Manager, Pending, Process};
use crate::lifecycle::definition::{Definition, Kind, ProcessName, Resource, Sqldb};
use crate::lifecycle::machine::{self, Conditions, State, StateName};
use crate::lifecycle::resource::{self, Watch};

/// A required resource that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// ``file '/etc/x'``.
    pub what: String,
    pub why: String,
}

impl Manager {
    /// The definition by which the process would start now.
    pub fn next_definition(process: &Process) -> &Definition {
        match &process.pending {
            Some(Pending::Replaced { definition, .. }) => definition,
            Some(Pending::Removed) | None => &process.definition,
        }
    }

    pub(super) fn conditions(&self, process: &Process, clock: Clock) -> Conditions {
        let definition = Self::next_definition(process);
        Conditions {
            versions_match: self.version(&definition.name) == Some(definition.version.as_str()),
            is_ready: definition.resources.iter().all(|resource| self.is_ready(resource, clock)),
        }
    }

    fn is_ready(&self, resource: &Resource, clock: Clock) -> bool {
        if !resource.required {
            return true;
        }
        match &resource.kind {
            Kind::File { path } | Kind::OsConfig { path } => self.present.contains(&Watch::File(path.clone())),
            Kind::Directory { path, .. } => self.present.contains(&Watch::Directory(path.clone())),
            Kind::Imdb { table } => self.imdb.contains(table),
            Kind::Process { name } => self.processes.get(name).is_some_and(|other| other.machine.is_running()),
            Kind::Sqldb(sqldb) => self
                .databases
                .get(sqldb)
                .is_some_and(|answered| clock.now.saturating_duration_since(*answered) < DATABASE_FRESH),
        }
    }

    /// Everything that is missing, in the order of the definition.
    pub fn missing(&self, process: &Process, clock: Clock) -> Vec<Missing> {
        let definition = Self::next_definition(process);
        let missing = definition.resources.iter().filter(|resource| !self.is_ready(resource, clock));
        missing.map(|resource| Missing { what: resource.described(), why: self.why_missing(&resource.kind) }).collect()
    }

    fn why_missing(&self, kind: &Kind) -> String {
        match kind {
            Kind::File { .. } | Kind::OsConfig { .. } => "there is no such file".to_owned(),
            Kind::Directory { .. } => "there is no such directory".to_owned(),
            Kind::Imdb { .. } => "nobody has registered it: rpc imdb-register of procyon-process".to_owned(),
            Kind::Process { name } => match self.processes.get(name) {
                Some(other) if other.machine.state().name() == StateName::Disabled => {
                    format!("it is Disabled: process start {name}")
                }
                Some(other) => format!("it is in state {}", other.machine.state().name()),
                None => "it is not defined".to_owned(),
            },
            Kind::Sqldb(sqldb) => format!("it does not answer on {}", sqldb.server()),
        }
    }

    /// Everything that has to be watched, and whether somebody waits for it.
    pub fn watches(&self) -> BTreeMap<Watch, bool> {
        let mut watches = BTreeMap::new();
        for process in self.processes.values() {
            let is_waiting = *process.machine.state() == State::ResourceRequired;
            for resource in &Self::next_definition(process).resources {
                if let Some(watch) = Watch::of(&resource.kind).filter(|watch| !matches!(watch, Watch::Sqldb(_))) {
                    *watches.entry(watch).or_default() |= is_waiting && resource.required;
                }
            }
            if let (State::Starting { .. }, Some(pid)) = (process.machine.state(), &process.definition.status.pid) {
                watches.insert(Watch::File(pid.clone()), true);
            }
        }
        watches
    }

    /// The databases that somebody waits for.
    pub fn databases_awaited(&self, clock: Clock) -> BTreeSet<Sqldb> {
        let waiting = self.processes.values().filter(|process| *process.machine.state() == State::ResourceRequired);
        let resources = waiting.flat_map(|process| &Self::next_definition(process).resources);
        resources
            .filter(|resource| !self.is_ready(resource, clock))
            .filter_map(|resource| match &resource.kind {
                Kind::Sqldb(sqldb) => Some(sqldb.clone()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn available(&mut self, watch: Watch, is_there: bool, clock: Clock, actions: &mut Vec<Action>) {
        let is_news = match &watch {
            Watch::Sqldb(sqldb) if is_there => self.databases.insert(sqldb.clone(), clock.now).is_none_or(|_| true),
            Watch::Sqldb(sqldb) => self.databases.remove(sqldb).is_some(),
            Watch::File(_) | Watch::Directory(_) if is_there => self.present.insert(watch.clone()),
            Watch::File(_) | Watch::Directory(_) => self.present.remove(&watch),
        };
        if is_news && is_there {
            let waits = |process: &Process| {
                let resources = &Self::next_definition(process).resources;
                resources.iter().any(|resource| Watch::of(&resource.kind).as_ref() == Some(&watch))
            };
            self.wake_waiting(waits, clock, actions);
            if let Watch::File(path) = &watch {
                self.look_at_pid_files_at(path, actions);
            }
        }
    }

    pub(super) fn touched(&mut self, path: &Path, clock: Clock, actions: &mut Vec<Action>) {
        let concerned = self.names_of(|process| resource::is_configuration(Self::next_definition(process), path));
        for name in concerned {
            self.give(&name, machine::Input::ConfigurationChanged, clock, actions);
        }
        self.look_at_pid_files_at(path, actions);
    }

    /// Of those that are starting and say there which process they are.
    fn look_at_pid_files_at(&self, path: &Path, actions: &mut Vec<Action>) {
        let starting = self.names_of(|process| {
            matches!(process.machine.state(), State::Starting { .. })
                && process.definition.status.pid.as_deref() == Some(path)
        });
        for name in starting {
            self.look_at_pid_file(&name, actions);
        }
    }

    pub(super) fn wake_all(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        self.wake_waiting(|_| true, clock, actions);
    }

    /// Those who wait for this process to run.
    pub(super) fn wake_dependents(&mut self, of: &ProcessName, clock: Clock, actions: &mut Vec<Action>) {
        let waits = |process: &Process| Self::next_definition(process).needs().any(|needed| needed == of);
        self.wake_waiting(waits, clock, actions);
    }

    fn wake_waiting(&mut self, concerned: impl Fn(&Process) -> bool, clock: Clock, actions: &mut Vec<Action>) {
        let waiting =
            self.names_of(|process| *process.machine.state() == State::ResourceRequired && concerned(process));
        for name in waiting {
            self.give(&name, machine::Input::ResourcesChanged, clock, actions);
        }
    }

    fn names_of(&self, is_one: impl Fn(&Process) -> bool) -> Vec<ProcessName> {
        self.processes.iter().filter(|(_, process)| is_one(process)).map(|(name, _)| name.clone()).collect()
    }

    /// The file whose presence tells of a daemon.
    pub(super) fn pid_path(process: &Process) -> Option<PathBuf> {
        process.definition.status.pid.clone()
    }
}
