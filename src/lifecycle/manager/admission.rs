//! Which definitions are in force: one of each name, in no cycle, none at odds with another. One bad definition never
//! keeps another out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::{Action, Clock, Holdings, Manager, Order, Pending, Process, jobs::Jobs};
use crate::lifecycle::access::Declared;
use crate::lifecycle::alarm::AlarmId;
use crate::lifecycle::definition::{Definition, ProcessName};
use crate::lifecycle::graph::{self, Needs};
use crate::lifecycle::machine::{self, Machine, State};
use crate::lifecycle::retry::Retry;

/// Definitions that are held; more are reported and left out.
pub(super) const DEFINITIONS_MAX: usize = 4000;
/// By which the folder of definition files is called among the problems.
const FOLDER: &str = "process.d";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Configuration,
    File(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("configuration"),
            Self::File(file) => f.write_str(file),
        }
    }
}

/// Why a definition is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub line: Option<usize>,
    pub reason: String,
}

impl Problem {
    fn because(reason: String) -> Self {
        Self { line: None, reason }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// The definitions that may be in force, and what is wrong with the others.
#[derive(Default)]
struct Sifted {
    in_force: BTreeMap<ProcessName, (Source, Arc<Definition>)>,
    problems: BTreeMap<String, Problem>,
    /// The processes of those that are left out.
    broken: BTreeSet<ProcessName>,
}

impl Sifted {
    fn leave_out(&mut self, name: &ProcessName, reason: String) {
        if let Some((source, _)) = self.in_force.remove(name) {
            let label = match source {
                Source::File(file) => file,
                Source::Configuration => format!("configuration of {name}"),
            };
            self.problems.insert(label, Problem::because(reason));
            self.broken.insert(name.clone());
        }
    }

    fn unreadable(&mut self, file: &str, problem: Problem) {
        self.broken.extend(ProcessName::of_file(file).and_then(|name| ProcessName::parse(name).ok()));
        self.problems.insert(file.to_owned(), problem);
    }
}

impl Manager {
    /// Makes the definitions that may be in force so.
    pub(super) fn admit(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        if !self.are_files_read {
            return;
        }
        let Some(configured) = &self.configured else { return };
        let mut sifted = Sifted::default();
        for (name, definition) in configured {
            sifted.in_force.insert(name.clone(), (Source::Configuration, Arc::clone(definition)));
        }
        self.take_files(&mut sifted);
        without_cycles(&mut sifted);
        self.declared = self.without_conflicts(&mut sifted);
        let Sifted { in_force, problems, broken } = sifted;
        (self.problems, self.broken) = (problems, broken);
        self.show_folder_trouble();
        let gone: Vec<ProcessName> =
            self.processes.keys().filter(|name| !in_force.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(process) = self.processes.get_mut(&name) {
                process.pending = Some(Pending::Removed);
            }
            self.settle(&name, actions);
        }
        for (name, (source, definition)) in in_force {
            self.put_in_force(&name, source, definition, clock, actions);
        }
        if self.has_begun {
            return self.end_orphans(actions);
        }
        self.begin_if_possible(clock, actions);
    }

    pub(super) fn folder_seen(&mut self, trouble: Option<String>) {
        self.problems.remove(FOLDER);
        self.folder_trouble = trouble;
        self.show_folder_trouble();
    }

    fn show_folder_trouble(&mut self) {
        if let Some(trouble) = &self.folder_trouble {
            self.problems.insert(FOLDER.to_owned(), Problem::because(format!("it cannot be listed: {trouble}")));
        }
    }

    /// Those whose definitions are gone by now, and not merely broken.
    pub(super) fn end_orphans(&mut self, actions: &mut Vec<Action>) {
        let is_left = |name: &ProcessName| self.broken.contains(name) && !self.processes.contains_key(name);
        let (left, ended): (Holdings, Holdings) =
            std::mem::take(&mut self.orphans).into_iter().partition(|((name, _), _)| is_left(name));
        self.orphans = left;
        for (name, job) in ended.into_keys().filter(|(name, _)| !self.processes.contains_key(name)) {
            actions.push(Action::Finish { name, job, daemon: None });
        }
    }

    fn take_files(&self, sifted: &mut Sifted) {
        // Of two files with one name the one that is in force stays so.
        let incumbent = |file: &String, definition: &Definition| {
            let source = self.processes.get(&definition.name).map(|process| &process.source);
            source != Some(&Source::File(file.clone()))
        };
        let mut sound: Vec<(bool, &String, &Arc<Definition>)> = Vec::new();
        for (file, read) in &self.files {
            match read {
                Ok(definition) => sound.push((incumbent(file, definition), file, definition)),
                Err(problem) => sifted.unreadable(file, problem.clone()),
            }
        }
        sound.sort_by_key(|(is_new, file, _)| (*is_new, *file));
        for (_, file, definition) in sound {
            let name = &definition.name;
            match sifted.in_force.get(name) {
                Some((other, _)) => {
                    let reason = format!("process `{name}` is defined by {other} already: give this one another name");
                    sifted.problems.insert(file.clone(), Problem::because(reason));
                }
                None if sifted.in_force.len() >= DEFINITIONS_MAX => {
                    let reason = format!("there are {DEFINITIONS_MAX} definitions already, which is the limit");
                    sifted.unreadable(file, Problem::because(reason));
                }
                None => {
                    sifted.in_force.insert(name.clone(), (Source::File(file.clone()), Arc::clone(definition)));
                }
            }
        }
    }

    fn without_conflicts(&self, sifted: &mut Sifted) -> Declared {
        let mut declared = Declared::default();
        let mut names: Vec<ProcessName> = sifted.in_force.keys().cloned().collect();
        names.sort_by_key(|name| (!self.processes.contains_key(name), name.clone()));
        for name in names {
            let Some((_, definition)) = sifted.in_force.get(&name) else { continue };
            if let Err(conflict) = declared.add(definition) {
                sifted.leave_out(&name, conflict.to_string());
            }
        }
        declared
    }

    fn put_in_force(
        &mut self,
        name: &ProcessName,
        source: Source,
        definition: Arc<Definition>,
        clock: Clock,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.processes.get_mut(name) else {
            let wish = self.wanted.get(name);
            let enabled = wish.is_some_and(|wish| wish.enabled);
            let ordered = wish.and_then(Order::of);
            let alarms = self.standing.remove(name).unwrap_or_default();
            let retry = Retry::with(self.settings.retry_delays.clone());
            // It has failed again and again: that is not forgotten because the agent was started anew.
            let retry = if alarms.contains_key(&AlarmId::Failed) { retry.failing(clock.now) } else { retry };
            let process = Process {
                definition,
                source,
                pending: None,
                machine: Machine::new(enabled, self.settings.limits, retry),
                history: VecDeque::new(),
                messages: VecDeque::new(),
                test_output: Vec::new(),
                trial: None,
                last_failure: None,
                ordered,
                jobs: Jobs::default(),
                alarms,
                since: clock,
            };
            self.processes.insert(name.clone(), process);
            if self.has_begun {
                let orphans = self.orphans.clone();
                self.adopt(name, &orphans, clock, actions);
                self.begin(name, clock, actions);
                self.wake_dependents(name, clock, actions);
            }
            return;
        };
        if process.definition == definition && process.source == source {
            process.pending = None;
            return;
        }
        process.pending = Some(Pending::Replaced { definition, source });
        self.settle(name, actions);
        self.give(name, machine::Input::ConfigurationChanged, clock, actions);
    }

    /// What waits for the process to be at rest comes about if it is.
    pub(super) fn settle(&mut self, name: &ProcessName, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else { return };
        if process.pending.is_none() || is_in_use(process) {
            return;
        }
        match process.pending.take() {
            Some(Pending::Replaced { definition, source }) => {
                process.definition = definition;
                process.source = source;
            }
            Some(Pending::Removed) => {
                self.clear_alarms(name, actions);
                self.processes.remove(name);
            }
            None => {}
        }
    }
}

/// Whether commands of the definition run, or may have to: a test alone is begun anew.
fn is_in_use(process: &Process) -> bool {
    process.machine.alive().main
        || process.machine.alive().stop
        || matches!(process.machine.state(), State::Starting { .. })
}

fn without_cycles(sifted: &mut Sifted) {
    let needs: Needs = sifted
        .in_force
        .iter()
        .map(|(name, (_, definition))| (name.clone(), definition.needs().cloned().collect::<BTreeSet<_>>()))
        .collect();
    for cycle in graph::cycles(&needs) {
        let mut names: Vec<&str> = cycle.iter().map(ProcessName::as_str).collect();
        names.extend(names.first().copied());
        let reason = format!("each of these would wait for the next to run: {}", names.join(" -> "));
        for name in &cycle {
            sifted.leave_out(name, reason.clone());
        }
    }
}
