//! The commands of a process as the keeper reports them, and what follows for its machine.

use super::{Action, Clock, Holdings, Keeper, Manager, Process, Said};
use crate::lifecycle::definition::ProcessName;
use crate::lifecycle::machine::{self, Found, FoundMain, Job, State};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub succeeded: bool,
    /// ``code 3``, ``signal SIGKILL``.
    pub how: String,
    /// The last lines of its error output.
    pub errors: Vec<String>,
}

/// What the keeper holds of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Defined, or about to start.
    Pending,
    Running {
        pid: i32,
    },
    Ended(Ended),
    /// It never became a process.
    NotStarted {
        why: String,
    },
}

/// What a pid file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PidVerdict {
    /// A process that came of the start command; it is being watched.
    Member { pid: i32 },
    /// A living process that did not; written since the start, or left from before it.
    Foreign { pid: i32, program: String, is_fresh: bool },
    /// There is no such file, or nothing to go by in it.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Slot {
    #[default]
    Idle,
    /// Ordered; the keeper's word of its end is awaited.
    Begun,
    /// The rest of it is being taken away. `cleared` is what the machine asked for, otherwise it ended by itself.
    Finishing { ended: Option<Ended>, cleared: bool },
}

/// The start command and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MainRun {
    pub pid: Option<i32>,
    pub ended: Option<Ended>,
    /// Named by the pid file, and not the start command itself.
    pub daemon: Option<i32>,
    /// The daemon, also when it has ended: it led a session, which may outlive it.
    pub session: Option<i32>,
    pub began: Option<jiff::Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub test: Slot,
    pub main: Slot,
    pub stop: Slot,
    pub run: MainRun,
    /// Found at the meeting with the keeper; its pid file has to be looked at first.
    pub adopting: Option<Found>,
}

impl Jobs {
    pub(super) fn slot(&mut self, job: Job) -> &mut Slot {
        match job {
            Job::Test => &mut self.test,
            Job::Main => &mut self.main,
            Job::Stop => &mut self.stop,
        }
    }
}

impl Process {
    pub(super) fn begun(&self) -> impl Iterator<Item = Job> {
        let all = [(Job::Test, &self.jobs.test), (Job::Main, &self.jobs.main), (Job::Stop, &self.jobs.stop)];
        all.into_iter().filter(|(_, slot)| **slot == Slot::Begun).map(|(job, _)| job)
    }

    /// The process that counts as this one.
    pub fn pid(&self) -> Option<i32> {
        match self.machine.state() {
            State::Running { pid, .. } => Some(self.jobs.run.daemon.unwrap_or(*pid)),
            _ => self.jobs.run.daemon.or(self.jobs.run.pid.filter(|_| self.jobs.run.ended.is_none())),
        }
    }
}

impl Manager {
    pub(super) fn keeper_connected(&mut self, holdings: Holdings, clock: Clock, actions: &mut Vec<Action>) {
        self.keeper = Keeper::Connected;
        if !self.has_begun {
            self.held = Some(holdings);
            return self.begin_if_possible(clock, actions);
        }
        self.orphans.retain(|key, _| holdings.contains_key(key));
        for (key, seen) in &mut self.orphans {
            seen.clone_from(&holdings[key]);
        }
        // A keeper that came back, or events that were lost: what should be there and is not has ended unseen.
        for name in self.processes.keys().cloned().collect::<Vec<_>>() {
            for job in [Job::Test, Job::Main, Job::Stop] {
                let is_awaited = self.processes.get_mut(&name).is_some_and(|it| *it.jobs.slot(job) == Slot::Begun);
                match holdings.get(&(name.clone(), job)) {
                    Some(seen) if is_awaited => self.seen(&name, job, seen.clone(), clock, actions),
                    // Its order may be under way: the order's own answer tells.
                    Some(_) | None => {}
                }
            }
        }
    }

    /// When everything is known that a start depends on: adopts what runs, starts what is wanted.
    pub(super) fn begin_if_possible(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        if self.configured.is_none() || !self.are_files_read {
            return;
        }
        let Some(held) = self.held.take() else { return };
        self.has_begun = true;
        for name in self.processes.keys().cloned().collect::<Vec<_>>() {
            self.adopt(&name, &held, clock, actions);
        }
        self.clear_alarms_left(actions);
        // What belongs to no definition any more is ended.
        self.orphans = held;
        self.end_orphans(actions);
        for name in self.processes.keys().cloned().collect::<Vec<_>>() {
            self.begin(&name, clock, actions);
        }
    }

    /// Starts it if it is wanted, unless what runs of it is still being looked at.
    pub(super) fn begin(&mut self, name: &ProcessName, clock: Clock, actions: &mut Vec<Action>) {
        if self.processes.get(name).is_some_and(|process| process.jobs.adopting.is_none()) {
            self.give(name, machine::Input::SystemStart, clock, actions);
        }
    }

    pub(super) fn adopt(&mut self, name: &ProcessName, held: &Holdings, clock: Clock, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let of = |job: Job| held.get(&(name.clone(), job));
        for job in [Job::Test, Job::Main, Job::Stop] {
            if of(job).is_some() {
                *process.jobs.slot(job) = Slot::Begun;
            }
        }
        if [Job::Test, Job::Main, Job::Stop].into_iter().all(|job| of(job).is_none()) {
            // It begins as at any start of the system.
            return;
        }
        let mut found = Found { test: of(Job::Test).is_some(), stop: of(Job::Stop).is_some(), main: None };
        match of(Job::Main) {
            Some(Seen::Running { pid }) => {
                process.jobs.run.pid = Some(*pid);
                found.main = Some(FoundMain::Running { pid: *pid });
            }
            Some(Seen::Ended(ended)) => {
                process.jobs.run.ended = Some(ended.clone());
                found.main = Some(FoundMain::Ended);
                if ended.succeeded && process.definition.status.pid.is_some() {
                    process.jobs.adopting = Some(found);
                    return self.look_at_pid_file(name, actions);
                }
                process.last_failure = Some(failure(ended));
            }
            Some(Seen::Pending | Seen::NotStarted { .. }) => found.main = Some(FoundMain::Ended),
            None => {}
        }
        self.give(name, machine::Input::Found(found), clock, actions);
        if let Some(Seen::Ended(_)) = of(Job::Stop) {
            self.seen(name, Job::Stop, held[&(name.clone(), Job::Stop)].clone(), clock, actions);
        }
    }

    pub(super) fn seen(&mut self, name: &ProcessName, job: Job, seen: Seen, clock: Clock, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else {
            if let Some(orphan) = self.orphans.get_mut(&(name.clone(), job)) {
                *orphan = seen;
            }
            return;
        };
        if *process.jobs.slot(job) != Slot::Begun {
            return;
        }
        match (job, seen) {
            (_, Seen::Pending) => {}
            (_, Seen::NotStarted { why }) => self.not_run(name, job, why, clock, actions),
            (Job::Test | Job::Stop, Seen::Running { .. }) => {}
            (Job::Test | Job::Stop, Seen::Ended(ended)) => {
                *process.jobs.slot(job) = Slot::Finishing { ended: Some(ended), cleared: false };
                actions.push(Action::Finish { name: name.clone(), job, daemon: None });
            }
            (Job::Main, Seen::Running { pid }) => {
                process.jobs.run.pid = Some(pid);
                match process.definition.status.pid {
                    Some(_) => self.look_at_pid_file(name, actions),
                    None => {
                        self.give_at_attempt(name, |attempt| machine::Input::Started { attempt, pid }, clock, actions)
                    }
                }
            }
            (Job::Main, Seen::Ended(ended)) => {
                if process.jobs.run.ended.replace(ended).is_none() {
                    self.main_ended(name, clock, actions);
                }
            }
        }
    }

    /// The start command has ended: with it the process, unless it made a daemon.
    fn main_ended(&mut self, name: &ProcessName, clock: Clock, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let Some(ended) = &process.jobs.run.ended else { return };
        if process.jobs.run.daemon.is_some() {
            return;
        }
        let is_starting = matches!(process.machine.state(), State::Starting { .. });
        if is_starting && ended.succeeded && process.definition.status.pid.is_some() {
            return self.look_at_pid_file(name, actions);
        }
        process.last_failure = Some(failure(ended));
        self.give_at_attempt(name, |attempt| machine::Input::Exited { attempt }, clock, actions);
    }

    pub(super) fn not_run(
        &mut self,
        name: &ProcessName,
        job: Job,
        why: String,
        clock: Clock,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.processes.get_mut(name) else { return };
        if *process.jobs.slot(job) != Slot::Begun {
            return;
        }
        let ended = Ended { succeeded: false, how: why.clone(), errors: vec![why] };
        match job {
            Job::Test | Job::Stop => {
                *process.jobs.slot(job) = Slot::Finishing { ended: Some(ended), cleared: false };
                actions.push(Action::Finish { name: name.clone(), job, daemon: None });
            }
            Job::Main => {
                process.last_failure = Some(ended.how.clone());
                process.jobs.run.ended = Some(ended);
                self.give_at_attempt(name, |attempt| machine::Input::StartFailed { attempt }, clock, actions);
            }
        }
    }

    pub(super) fn finished(
        &mut self,
        name: &ProcessName,
        job: Job,
        output: Vec<Said>,
        clock: Clock,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let Slot::Finishing { ended, cleared } = std::mem::take(process.jobs.slot(job)) else { return };
        if job == Job::Test {
            process.test_output = output;
            if process.test_output.is_empty() {
                process.test_output = Said::errors(ended.iter().flat_map(|ended| ended.errors.clone()));
            }
        }
        if job == Job::Main {
            process.jobs.run = MainRun::default();
        }
        let succeeded = ended.is_some_and(|ended| ended.succeeded);
        match job {
            _ if cleared => self.give(name, machine::Input::Gone(job), clock, actions),
            Job::Test => {
                let input = |attempt| machine::Input::TestEnded { attempt, passed: succeeded };
                self.give_at_attempt(name, input, clock, actions);
            }
            Job::Stop => self.give(name, machine::Input::StopCommandEnded { succeeded }, clock, actions),
            Job::Main => self.give(name, machine::Input::Gone(Job::Main), clock, actions),
        }
        self.settle(name, actions);
    }

    pub(super) fn look_at_pid_file(&self, name: &ProcessName, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get(name) else { return };
        if let Some(path) = Self::pid_path(process) {
            let run_began = process.jobs.run.began;
            actions.push(Action::CheckPidFile { name: name.clone(), path, run_began });
        }
    }

    pub(super) fn pid_file(
        &mut self,
        name: &ProcessName,
        verdict: PidVerdict,
        clock: Clock,
        actions: &mut Vec<Action>,
    ) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let main = process.jobs.run.pid.filter(|_| process.jobs.run.ended.is_none());
        if let PidVerdict::Member { pid } = verdict {
            process.jobs.run.daemon = (Some(pid) != main).then_some(pid);
            process.jobs.run.session = process.jobs.run.daemon;
        }
        if let Some(mut found) = process.jobs.adopting.take() {
            if let PidVerdict::Member { pid } = verdict {
                found.main = Some(FoundMain::Running { pid });
            }
            self.give(name, machine::Input::Found(found), clock, actions);
            return self.give(name, machine::Input::SystemStart, clock, actions);
        }
        if !matches!(process.machine.state(), State::Starting { .. }) {
            return;
        }
        match verdict {
            PidVerdict::Member { pid } => {
                self.give_at_attempt(name, |attempt| machine::Input::Started { attempt, pid }, clock, actions);
            }
            // What was there before may yet be replaced by the start.
            PidVerdict::Nothing | PidVerdict::Foreign { is_fresh: false, .. } => {}
            PidVerdict::Foreign { pid, program, is_fresh: true } => {
                let path = Self::pid_path(process).unwrap_or_default();
                process.last_failure = Some(format!(
                    "the pid file {} names process {pid} ({program}), which did not come of the start command",
                    path.display()
                ));
                if process.jobs.run.ended.is_some() {
                    self.give_at_attempt(name, |attempt| machine::Input::Exited { attempt }, clock, actions);
                }
            }
        }
    }

    pub(super) fn daemon_ended(&mut self, name: &ProcessName, pid: i32, clock: Clock, actions: &mut Vec<Action>) {
        let Some(process) = self.processes.get_mut(name) else { return };
        if process.jobs.run.daemon != Some(pid) {
            return;
        }
        process.jobs.run.daemon = None;
        if process.jobs.run.ended.is_some() {
            process.last_failure = Some(format!("process {pid} of the pid file has ended"));
            self.give_at_attempt(name, |attempt| machine::Input::Exited { attempt }, clock, actions);
        }
    }
}

fn failure(ended: &Ended) -> String {
    match ended.errors.last() {
        Some(line) if *line != ended.how => format!("it ended with {}: {line}", ended.how),
        _ => format!("it ended with {}", ended.how),
    }
}
