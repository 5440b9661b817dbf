//! One input, decided: from each state by each of them.

use std::time::Instant;

use super::{
    Alive, Cause, Conditions, Effect, Ending, Found, FoundMain, Input, Job, Machine, Outcome, State, Step, Then,
    Transition,
};

/// One input being handled.
pub(super) struct Turn<'m> {
    pub(super) machine: &'m mut Machine,
    pub(super) conditions: Conditions,
    pub(super) now: Instant,
    pub(super) outcome: Outcome,
}

impl Turn<'_> {
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Start => self.start(),
            Input::Stop => self.stop(),
            Input::Restart => self.restart(),
            Input::Shutdown => self.shutdown(),
            Input::SystemStart => self.system_start(),
            Input::ConfigurationChanged => self.configuration_changed(),
            Input::ResourcesChanged => self.resources_changed(),
            Input::TestEnded { attempt, passed } if self.is_attempt(attempt) => self.test_ended(passed),
            Input::Started { attempt, pid } if self.is_attempt(attempt) => self.started(pid),
            Input::StartFailed { attempt } | Input::Exited { attempt } if self.is_attempt(attempt) => self.ended(),
            // An order has overtaken these.
            Input::TestEnded { .. } | Input::Started { .. } | Input::StartFailed { .. } | Input::Exited { .. } => {}
            Input::StopCommandEnded { succeeded } => self.stop_command_ended(succeeded),
            Input::Gone(job) => {
                *self.machine.alive.slot(job) = false;
                self.something_is_gone(job);
            }
            Input::Found(found) => self.found(found),
            Input::Deadline => {
                if self.machine.deadline().is_some_and(|at| at <= self.now) {
                    self.deadline_came();
                }
            }
        }
    }

    fn is_attempt(&self, attempt: u64) -> bool {
        self.machine.attempt == attempt
    }

    fn start(&mut self) {
        self.want(true);
        self.machine.retry.reset();
        match &mut self.machine.state {
            State::Disabled
            | State::ShutDown
            | State::ConfigurationMismatch
            | State::ResourceRequired
            | State::ConfigurationTestFailed
            | State::Failed { .. } => self.begin_again(Cause::StartCommand),
            State::Stopping(ending) => ending.then = Then::Check(Cause::StartCommand),
            State::Testing { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::StoppingTest(_)
            // The system goes down; what is wanted holds at its next start.
            | State::ShuttingDown(_) => {}
        }
    }

    fn stop(&mut self) {
        self.want(false);
        match self.machine.state {
            State::Disabled | State::ShuttingDown(_) => {}
            State::ShutDown
            | State::ConfigurationMismatch
            | State::ResourceRequired
            | State::ConfigurationTestFailed
            | State::Failed { .. }
            | State::Testing { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::StoppingTest(_)
            | State::Stopping(_) => self.end(Then::Disabled, Cause::StopCommand),
        }
    }

    /// Never changes what is wanted: what is disabled stays so.
    fn restart(&mut self) {
        if !self.machine.enabled {
            return;
        }
        self.machine.retry.reset();
        match self.machine.state {
            State::Disabled
            | State::ShutDown
            | State::ConfigurationMismatch
            | State::ResourceRequired
            | State::ConfigurationTestFailed
            | State::Failed { .. } => self.begin_again(Cause::RestartCommand),
            State::Testing { .. } | State::Starting { .. } | State::Running { .. } | State::Stopping(_) => {
                self.end(Then::Check(Cause::RestartCommand), Cause::RestartCommand);
            }
            State::StoppingTest(_) | State::ShuttingDown(_) => {}
        }
    }

    fn shutdown(&mut self) {
        match self.machine.state {
            State::ShutDown | State::ShuttingDown(_) => {}
            State::Disabled
            | State::ConfigurationMismatch
            | State::ResourceRequired
            | State::ConfigurationTestFailed
            | State::Failed { .. }
            | State::Testing { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::StoppingTest(_)
            | State::Stopping(_) => self.end(Then::ShutDown, Cause::ShutdownCommand),
        }
    }

    fn system_start(&mut self) {
        if self.machine.state != State::ShutDown {
            return;
        }
        if self.machine.enabled {
            self.begin_again(Cause::SystemStart);
        } else {
            self.go(State::Disabled, Cause::SystemStart);
        }
    }

    fn configuration_changed(&mut self) {
        match &mut self.machine.state {
            State::ConfigurationTestFailed => self.recheck(Cause::ConfigurationChange, false),
            State::Testing { changed, .. } => *changed = true,
            _ => self.resources_changed(),
        }
    }

    fn resources_changed(&mut self) {
        let Conditions { versions_match, is_ready } = self.conditions;
        match self.machine.state {
            State::ConfigurationMismatch if versions_match => self.pass_versions(),
            State::ResourceRequired if !versions_match => {
                self.go(State::ConfigurationMismatch, Cause::VersionsDiffer);
            }
            State::ResourceRequired if is_ready => self.test(Cause::ResourcesReady, false),
            _ => {}
        }
    }

    fn test_ended(&mut self, passed: bool) {
        self.machine.alive.test = false;
        let State::Testing { changed, is_repeated, .. } = self.machine.state else {
            return self.end_if_all_is_gone();
        };
        let Conditions { versions_match, is_ready } = self.conditions;
        match (passed, changed && !is_repeated) {
            (_, true) => self.recheck(Cause::ConfigurationChange, true),
            (true, false) if !versions_match || !is_ready => self.recheck(Cause::Passed, false),
            (true, false) => {
                self.machine.alive.main = true;
                self.effect(Effect::RunStart { attempt: self.machine.attempt });
                let until = self.now + self.machine.limits.start;
                self.go(State::Starting { until }, Cause::Passed);
            }
            (false, false) => self.go(State::ConfigurationTestFailed, Cause::Failed),
        }
    }

    fn started(&mut self, pid: i32) {
        if let State::Starting { .. } = self.machine.state {
            self.go(State::Running { pid, since: self.now }, Cause::Started);
        }
    }

    /// The process could not be started, or has ended.
    fn ended(&mut self) {
        match self.machine.state {
            State::Starting { .. } | State::Running { .. } => self.fail(Cause::Failed),
            _ if self.machine.alive.main => self.effect(Effect::Clear(Job::Main)),
            _ => {}
        }
    }

    fn fail(&mut self, cause: Cause) {
        let delay = self.machine.retry.failed(self.now);
        if self.machine.alive.main {
            self.effect(Effect::Clear(Job::Main));
        }
        self.go(State::Failed { retry_at: self.now + delay }, cause);
    }

    fn stop_command_ended(&mut self, succeeded: bool) {
        self.machine.alive.stop = false;
        let (now, kill) = (self.now, self.machine.limits.kill);
        let is_main_alive = self.machine.alive.main;
        let Some(ending) = self.ending() else { return };
        if !succeeded && is_main_alive && ending.step == Step::Command {
            ending.step = Step::Terminate;
            ending.until = Some(now + kill);
            self.effect(Effect::Terminate);
        }
        self.end_if_all_is_gone();
    }

    fn something_is_gone(&mut self, job: Job) {
        match (job, &self.machine.state) {
            (Job::Test, State::Testing { until, .. }) => {
                let cause = if until.is_none() { Cause::TimeLimit } else { Cause::Failed };
                self.go(State::ConfigurationTestFailed, cause);
            }
            (Job::Main, State::Starting { .. } | State::Running { .. }) => self.fail(Cause::Failed),
            _ => self.end_if_all_is_gone(),
        }
    }

    /// Only before anything was done.
    fn found(&mut self, found: Found) {
        if !matches!(self.machine.state, State::Disabled | State::ShutDown) {
            return;
        }
        self.machine.alive = Alive { test: found.test, main: found.main.is_some(), stop: found.stop };
        let then = if self.machine.enabled { Then::Check(Cause::SystemStart) } else { Then::Disabled };
        match found.main {
            Some(FoundMain::Running { pid }) if self.machine.enabled && !found.stop && !found.test => {
                self.go(State::Running { pid, since: self.now }, Cause::Adopted);
            }
            Some(FoundMain::Ended) if self.machine.enabled && !found.stop && !found.test => self.fail(Cause::Failed),
            Some(_) | None if self.machine.alive.any() => {
                if found.main == Some(FoundMain::Ended) {
                    self.effect(Effect::Clear(Job::Main));
                }
                self.begin_ending(then, found.main == Some(FoundMain::Ended), Cause::Adopted);
            }
            Some(_) | None => {}
        }
    }

    fn deadline_came(&mut self) {
        match &mut self.machine.state {
            State::Testing { until, .. } => {
                *until = None;
                self.effect(Effect::Clear(Job::Test));
            }
            State::Starting { .. } => self.fail(Cause::TimeLimit),
            // It ran for long enough: its next failure is a first one.
            State::Running { .. } => self.machine.retry.reset(),
            State::Failed { .. } => self.begin_again(Cause::RetryTimeout),
            State::StoppingTest(_) | State::Stopping(_) | State::ShuttingDown(_) => self.press_on(),
            State::Disabled
            | State::ShutDown
            | State::ConfigurationMismatch
            | State::ResourceRequired
            | State::ConfigurationTestFailed => {}
        }
    }

    /// The time for this step of an end is over.
    fn press_on(&mut self) {
        let (now, kill, alive) = (self.now, self.machine.limits.kill, self.machine.alive);
        let Some(ending) = self.ending() else { return };
        let step = ending.step;
        ending.until = None;
        match step {
            Step::Command => {
                ending.step = if alive.main { Step::Terminate } else { Step::Kill };
                ending.until = alive.main.then(|| now + kill);
                if alive.main {
                    self.effect(Effect::Terminate);
                }
                if alive.stop {
                    self.effect(Effect::Clear(Job::Stop));
                }
            }
            Step::Terminate => {
                ending.step = Step::Kill;
                if alive.main {
                    self.effect(Effect::Clear(Job::Main));
                }
            }
            Step::Kill => {}
        }
    }

    fn want(&mut self, enabled: bool) {
        if self.machine.enabled != enabled {
            self.machine.enabled = enabled;
            self.effect(Effect::Remember { enabled });
        }
    }

    /// The whole way from the version on, once nothing is left of the last time.
    fn begin_again(&mut self, cause: Cause) {
        if self.machine.alive.any() {
            self.end(Then::Check(cause), cause);
        } else {
            self.check(cause);
        }
    }

    fn check(&mut self, cause: Cause) {
        if self.machine.state != State::ConfigurationMismatch {
            self.go(State::ConfigurationMismatch, cause);
        }
        if self.conditions.versions_match {
            self.pass_versions();
        }
    }

    fn pass_versions(&mut self) {
        self.go(State::ResourceRequired, Cause::VersionsMatched);
        if self.conditions.is_ready {
            self.test(Cause::ResourcesReady, false);
        }
    }

    /// From a test that has ended: on to the next, if everything else still holds.
    fn recheck(&mut self, cause: Cause, is_repeated: bool) {
        match self.conditions {
            Conditions { versions_match: false, .. } => self.go(State::ConfigurationMismatch, Cause::VersionsDiffer),
            Conditions { is_ready: false, .. } => self.go(State::ResourceRequired, Cause::ResourceMissing),
            Conditions { .. } => self.test(cause, is_repeated),
        }
    }

    fn test(&mut self, cause: Cause, is_repeated: bool) {
        self.machine.attempt += 1;
        self.machine.alive.test = true;
        self.effect(Effect::RunTest { attempt: self.machine.attempt });
        let until = Some(self.now + self.machine.limits.configtest);
        self.go(State::Testing { until, changed: false, is_repeated }, cause);
    }

    /// Ends what there is, then goes on.
    fn end(&mut self, then: Then, cause: Cause) {
        if !self.machine.alive.any() {
            return self.go_on(then, cause);
        }
        let kill_only = matches!(self.machine.state, State::Failed { .. });
        if let Some(mut ending) = self.ending().copied() {
            ending.then = then;
            let state = ending_state(then, ending, matches!(self.machine.state, State::StoppingTest(_)));
            if state.name() == self.machine.state.name() {
                self.machine.state = state;
            } else {
                self.go(state, cause);
            }
            return;
        }
        self.begin_ending(then, kill_only, cause);
    }

    /// With `kill_only` the process has ended already and what it left is being killed.
    fn begin_ending(&mut self, then: Then, kill_only: bool, cause: Cause) {
        let Alive { test, main, stop } = self.machine.alive;
        if test {
            self.effect(Effect::Clear(Job::Test));
        }
        let by_command = main && !kill_only;
        if by_command && !stop {
            self.machine.alive.stop = true;
            self.effect(Effect::RunStop);
        }
        let step = if by_command || stop { Step::Command } else { Step::Kill };
        let until = (step == Step::Command).then(|| self.now + self.machine.limits.stop);
        let only_test = test && !main && !stop;
        self.go(ending_state(then, Ending { then, step, until }, only_test), cause);
    }

    fn ending(&mut self) -> Option<&mut Ending> {
        match &mut self.machine.state {
            State::StoppingTest(ending) | State::Stopping(ending) | State::ShuttingDown(ending) => Some(ending),
            _ => None,
        }
    }

    fn end_if_all_is_gone(&mut self) {
        if self.machine.alive.any() {
            return;
        }
        if let Some(then) = self.ending().map(|ending| ending.then) {
            self.go_on(then, Cause::Stopped);
        }
    }

    fn go_on(&mut self, then: Then, cause: Cause) {
        match then {
            Then::Disabled => self.go(State::Disabled, cause),
            Then::ShutDown => self.go(State::ShutDown, cause),
            Then::Check(why) => {
                let is_stopping = self.ending().is_some();
                self.check(if is_stopping { Cause::Stopped } else { why });
            }
        }
    }

    fn go(&mut self, to: State, cause: Cause) {
        let from = self.machine.state.name();
        self.outcome.path.push(Transition { from, to: to.name(), cause });
        self.machine.state = to;
    }

    fn effect(&mut self, effect: Effect) {
        self.outcome.effects.push(effect);
    }
}

/// Which of the states of an end it is: they differ in what follows.
fn ending_state(then: Then, ending: Ending, only_test: bool) -> State {
    match then {
        Then::ShutDown => State::ShuttingDown(ending),
        Then::Check(_) if only_test => State::StoppingTest(ending),
        Then::Check(_) | Then::Disabled => State::Stopping(ending),
    }
}
