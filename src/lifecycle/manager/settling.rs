//! One input to one machine, and all that follows: effects, history, messages, alarms, and who is woken by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::jobs::{MainRun, Slot};
use super::{
    Action, AlarmChange, Change, Clock, HISTORY_MAX, Line, MESSAGES_MAX, Manager, Process, Record, Run, Said, Wish,
};
use crate::lifecycle::alarm::AlarmId;
use crate::lifecycle::definition::ProcessName;
use crate::lifecycle::machine::{self, Cause, Effect, Job, State, StateName, Transition};
use crate::lifecycle::retry::FAILURES_FOR_ALARM;

impl Manager {
    pub(super) fn give(&mut self, name: &ProcessName, input: machine::Input, clock: Clock, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get(name) else { return };
        let conditions = self.conditions(process, clock);
        let Some(process) = self.processes.get_mut(name) else { return };
        let outcome = process.machine.handle(input, conditions, clock.now);
        let has_moved = !outcome.path.is_empty();
        for transition in &outcome.path {
            self.moved(name, *transition, clock, actions);
        }
        for effect in outcome.effects {
            self.carry_out(name, effect, clock, actions);
        }
        self.settle(name, actions);
        self.renew_alarms(name, clock, actions);
        if has_moved && self.processes.get(name).is_some_and(|process| process.machine.is_running()) {
            self.wake_dependents(name, clock, actions);
        }
    }

    pub(super) fn give_at_attempt(
        &mut self,
        name: &ProcessName,
        input: impl FnOnce(u64) -> machine::Input,
        clock: Clock,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.processes.get(name) else { return };
        let attempt = process.machine.attempt();
        self.give(name, input(attempt), clock, actions);
    }

    pub(super) fn deadline_of(&self, process: &Process) -> Option<Instant> {
        [process.machine.deadline(), self.alarm_due(process)].into_iter().flatten().min()
    }

    pub(super) fn deadline_came(&mut self, name: &ProcessName, clock: Clock, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let is_due = process.machine.deadline().is_some_and(|at| at <= clock.now);
        let run = &process.jobs.run;
        if let (State::Starting { .. }, true, Some(pid), None) = (process.machine.state(), is_due, run.pid, &run.ended)
        {
            // It runs, and never said so in its pid file: that is no reason to end it.
            let path = Self::pid_path(process).unwrap_or_default();
            process.message(format!("pid.missing: '{}' does not name it", path.display()));
            return self.give_at_attempt(name, |attempt| machine::Input::Started { attempt, pid }, clock, actions);
        }
        if let (State::Starting { .. }, true) = (process.machine.state(), is_due) {
            process.last_failure.get_or_insert_with(|| "it did not run within the time limit for a start".to_owned());
        }
        self.give(name, machine::Input::Deadline, clock, actions);
    }

    fn moved(&mut self, name: &ProcessName, transition: Transition, clock: Clock, actions: &mut Vec<Action>) {
        let Transition { from, to, cause } = transition;
        let why = match to {
            StateName::ConfigurationMismatch | StateName::ResourceRequired | StateName::Testing => {
                self.messages_of_wait(name, to, clock)
            }
            _ => None,
        };
        let Some(process) = self.processes.get_mut(name) else { return };
        process.since = clock;
        let why = match to {
            StateName::Running | StateName::Disabled => {
                process.messages.clear();
                None
            }
            StateName::ConfigurationTestFailed => {
                process.replace_output(process.test_output.clone());
                let last = process.test_output.last().map(|line| line.text.clone());
                last.or_else(|| (cause == Cause::TimeLimit).then(time_limit))
            }
            StateName::Failed => {
                let errors = process.jobs.run.ended.iter().flat_map(|ended| ended.errors.clone());
                process.replace_output(Said::errors(errors));
                process.last_failure.clone()
            }
            _ => why,
        };
        if process.history.len() >= HISTORY_MAX {
            process.history.pop_front();
        }
        process.history.push_back(Line { at: clock.at, from, to, cause, why: why.clone() });
        let change = Change { name: name.clone(), at: clock.at, from, to, cause, why };
        actions.push(Action::Changed(Box::new(change)));
    }

    fn messages_of_wait(&mut self, name: &ProcessName, to: StateName, clock: Clock) -> Option<String> {
        let process = self.processes.get(name)?;
        let definition = Self::next_definition(process);
        let lines: Vec<String> = match to {
            StateName::ConfigurationMismatch => {
                let version = self.version(name).unwrap_or_default();
                let mismatch = format!("version.mismatch: software '{}' != config '{version}'", definition.version);
                Vec::from_iter((version != definition.version).then_some(mismatch))
            }
            StateName::ResourceRequired => {
                self.missing(process, clock).iter().map(|it| format!("resource.missing: {}", it.what)).collect()
            }
            _ => Vec::new(),
        };
        let why = (!lines.is_empty()).then(|| lines.join(", "));
        let process = self.processes.get_mut(name)?;
        process.messages.retain(|line| !line.starts_with("version.mismatch") && !line.starts_with("resource.missing"));
        lines.into_iter().for_each(|line| process.message(line));
        why
    }

    fn carry_out(&mut self, name: &ProcessName, effect: Effect, clock: Clock, actions: &mut Vec<Action>) {
        match effect {
            Effect::RunTest { .. } => {
                // From here on it is the next definition that counts.
                self.settle_definition(name);
                if let Some(process) = self.processes.get_mut(name) {
                    process.test_output.clear();
                    process.replace_output(Vec::new());
                    let command = process.definition.configtest.clone();
                    process.jobs.test = Slot::Begun;
                    let run = Run { command, after: Vec::new(), definition: None };
                    actions.push(Action::Run { name: name.clone(), job: Job::Test, run });
                }
            }
            Effect::RunStart { .. } => {
                if let Some(process) = self.processes.get_mut(name) {
                    process.jobs.main = Slot::Begun;
                    process.jobs.run = MainRun { began: Some(clock.at), ..MainRun::default() };
                    process.last_failure = None;
                    let definition = &process.definition;
                    let run = Run {
                        command: definition.start.clone(),
                        after: definition.needs().cloned().collect(),
                        definition: Some(Arc::clone(definition)),
                    };
                    actions.push(Action::Run { name: name.clone(), job: Job::Main, run });
                }
            }
            Effect::RunStop => {
                if let Some(process) = self.processes.get_mut(name) {
                    process.jobs.stop = Slot::Begun;
                    let run = Run { command: process.definition.stop.clone(), after: Vec::new(), definition: None };
                    actions.push(Action::Run { name: name.clone(), job: Job::Stop, run });
                }
            }
            Effect::Terminate => {
                let daemon = self.processes.get(name).and_then(|process| process.jobs.run.daemon);
                actions.push(Action::Terminate { name: name.clone(), daemon });
            }
            Effect::Clear(job) => self.clear(name, job, actions),
            Effect::Remember { enabled } => {
                let order = self.processes.get(name).and_then(|process| process.ordered.as_ref());
                let wish = Wish { enabled, by: order.map(|it| it.by.clone()), at: order.map(|it| it.at) };
                self.wanted.insert(name.clone(), wish.clone());
                actions.push(Action::Save(Record::Desired { process: name.clone(), wish }));
            }
        }
    }

    fn clear(&mut self, name: &ProcessName, job: Job, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let daemon = if job == Job::Main { process.jobs.run.session } else { None };
        match process.jobs.slot(job) {
            // It ends by itself already: what comes of that is the answer.
            Slot::Finishing { cleared, .. } => *cleared = true,
            slot @ (Slot::Begun | Slot::Idle) => {
                *slot = Slot::Finishing { ended: None, cleared: true };
                actions.push(Action::Finish { name: name.clone(), job, daemon });
            }
        }
    }

    fn settle_definition(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get_mut(name) else { return };
        if let Some(super::Pending::Replaced { definition, source }) = process.pending.take() {
            process.definition = definition;
            process.source = source;
        }
    }

    /// When a wait becomes an alarm.
    fn alarm_due(&self, process: &Process) -> Option<Instant> {
        let (alarm, after) = match process.machine.state() {
            State::ConfigurationMismatch => (AlarmId::ConfigMismatch, self.settings.mismatch_alarm_after),
            State::ResourceRequired => (AlarmId::ResourceRequired, self.settings.resource_alarm_after),
            _ => return None,
        };
        if process.alarms.contains_key(&alarm) {
            return None;
        }
        process.since.now.checked_add(after)
    }

    /// The alarms that hold now, told where that is news.
    fn renew_alarms(&mut self, name: &ProcessName, clock: Clock, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get(name) else { return };
        let mut holding: BTreeMap<AlarmId, String> = BTreeMap::new();
        let is_due =
            |alarm| process.alarms.contains_key(&alarm) || self.alarm_due(process).is_some_and(|at| at <= clock.now);
        let failure = process.last_failure.clone().unwrap_or_default();
        match process.machine.state() {
            State::ConfigurationMismatch if is_due(AlarmId::ConfigMismatch) => {
                let (config, software) =
                    (self.version(name).unwrap_or_default(), &Self::next_definition(process).version);
                let text = format!(
                    "The configuration data for process '{name}' ({config}) does not match the software version \
                     ({software})."
                );
                holding.insert(AlarmId::ConfigMismatch, text);
            }
            State::ResourceRequired if is_due(AlarmId::ResourceRequired) => {
                let missing: Vec<String> = self.missing(process, clock).into_iter().map(|it| it.what).collect();
                let text =
                    format!("Process '{name}' is missing one or more required resources: {}", missing.join(", "));
                holding.insert(AlarmId::ResourceRequired, text);
            }
            State::ConfigurationTestFailed => {
                let last = process.test_output.last().map_or_else(time_limit, |line| line.text.clone());
                holding.insert(
                    AlarmId::ConfigtestFailed,
                    format!("Process '{name}' failed its configuration test. {last}"),
                );
            }
            _ => {}
        }
        let is_wanted = process.machine.is_enabled();
        match process.machine.failures() {
            // Until it has run for long enough: a process that fails again and again is one alarm.
            FAILURES_FOR_ALARM.. if is_wanted => {
                let text = process.alarms.get(&AlarmId::Failed).cloned().unwrap_or_else(|| {
                    format!("Process '{name}' stopped unexpectedly, and failed several restarts: {failure}.")
                });
                holding.insert(AlarmId::Failed, text);
            }
            1.. if is_wanted && matches!(process.machine.state(), State::Failed { .. }) => {
                let text =
                    format!("Process '{name}' stopped unexpectedly. Attempting to restart the process: {failure}.");
                holding.insert(AlarmId::Restarted, text);
            }
            _ => {}
        }
        let Some(process) = self.processes.get_mut(name) else { return };
        for alarm in AlarmId::ALL {
            let change = match (process.alarms.get(&alarm), holding.get(&alarm)) {
                (None, Some(text)) => Some((true, text.clone())),
                (Some(_), None) => Some((false, cleared_text(alarm, name, is_wanted))),
                (Some(before), Some(text)) if before != text => Some((true, text.clone())),
                (Some(_), Some(_)) | (None, None) => None,
            };
            if let Some((is_raised, text)) = change {
                actions.push(Action::Alarm(AlarmChange { process: name.clone(), alarm, is_raised, text }));
            }
        }
        process.alarms = holding;
    }

    pub(super) fn clear_alarms(&mut self, name: &ProcessName, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else { return };
        for alarm in std::mem::take(&mut process.alarms).into_keys() {
            actions.push(Action::Alarm(not_defined(name, alarm)));
        }
    }

    /// Those of a former agent whose processes are gone.
    pub(super) fn clear_alarms_left(&mut self, actions: &mut Vec<Action>) {
        for (name, alarms) in std::mem::take(&mut self.standing) {
            actions.extend(alarms.into_keys().map(|alarm| Action::Alarm(not_defined(&name, alarm))));
        }
    }
}

impl Process {
    /// From here on what counts is what this command has printed.
    fn replace_output(&mut self, output: Vec<Said>) {
        self.messages.retain(|line| !line.starts_with("std"));
        output.iter().for_each(|line| self.message(line.to_string()));
    }

    fn message(&mut self, line: String) {
        if self.messages.len() >= MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(line);
    }
}

fn time_limit() -> String {
    "it did not end within its time limit".to_owned()
}

fn not_defined(name: &ProcessName, alarm: AlarmId) -> AlarmChange {
    let text = format!("Process '{name}' is not defined any more.");
    AlarmChange { process: name.clone(), alarm, is_raised: false, text }
}

fn cleared_text(alarm: AlarmId, name: &ProcessName, is_wanted: bool) -> String {
    match alarm {
        _ if !is_wanted => format!("Process '{name}' is not wanted any more."),
        AlarmId::ConfigtestFailed | AlarmId::ResourceRequired => {
            format!("Process '{name}' recovered from a missing resource or failed configuration test.")
        }
        AlarmId::ConfigMismatch => format!("The versions of process '{name}' match."),
        AlarmId::Restarted | AlarmId::Failed => format!("Process '{name}' runs again."),
    }
}
