//! The machine by itself: scenarios as people would tell them, and laws under any sequence of events.

use std::time::Instant;

use proptest::prelude::*;

use super::machine::{
    Conditions, Effect, Found, FoundMain, Input, Job, Limits, Machine, Outcome, State, StateName, Step,
};
use super::retry::Retry;

const GOOD: Conditions = Conditions { versions_match: true, is_ready: true };
const OTHER_VERSION: Conditions = Conditions { versions_match: false, is_ready: true };
const NOT_READY: Conditions = Conditions { versions_match: true, is_ready: false };

#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
fn some_instant() -> Instant {
    Instant::now()
}

/// A machine with a world that does what it is told, one step at a time.
struct Bench {
    machine: Machine,
    conditions: Conditions,
    now: Instant,
    told: Vec<String>,
}

impl Bench {
    fn new(enabled: bool) -> Self {
        let machine = Machine::new(enabled, Limits::default(), Retry::default());
        Self { machine, conditions: GOOD, now: some_instant(), told: Vec::new() }
    }

    fn give(&mut self, input: Input) -> Outcome {
        let outcome = self.machine.handle(input, self.conditions, self.now);
        for step in &outcome.path {
            self.told.push(format!("{} -- {} --> {}", step.from, step.cause, step.to));
        }
        self.told.extend(outcome.effects.iter().map(|effect| format!("    {effect:?}")));
        outcome
    }

    fn at_attempt(&mut self, input: impl FnOnce(u64) -> Input) {
        let input = input(self.machine.attempt());
        self.give(input);
    }

    fn pass(&mut self) {
        self.at_attempt(|attempt| Input::TestEnded { attempt, passed: true });
    }

    fn fail_test(&mut self) {
        self.at_attempt(|attempt| Input::TestEnded { attempt, passed: false });
    }

    fn run(&mut self) {
        self.at_attempt(|attempt| Input::Started { attempt, pid: 7 });
    }

    fn exit(&mut self) {
        self.at_attempt(|attempt| Input::Exited { attempt });
    }

    fn until_deadline(&mut self) -> u64 {
        let at = self.machine.deadline().unwrap();
        let waited = at.saturating_duration_since(self.now);
        self.now = self.now.max(at);
        self.give(Input::Deadline);
        waited.as_secs()
    }

    fn name(&self) -> StateName {
        self.machine.state().name()
    }

    fn running(enabled: bool) -> Self {
        let mut bench = Self::new(enabled);
        bench.give(Input::Start);
        bench.pass();
        bench.run();
        assert_eq!(bench.name(), StateName::Running);
        bench.told.clear();
        bench
    }

    fn story(self) -> String {
        self.told.join("\n")
    }
}

#[test]
fn a_process_starts_when_everything_holds() {
    let mut bench = Bench::new(false);
    bench.give(Input::Start);
    bench.pass();
    bench.run();
    insta::assert_snapshot!(bench.story(), @"
    Disabled -- start command --> Configuration Mismatch
    Configuration Mismatch -- versions matched --> Resource Required
    Resource Required -- resources ready --> Testing
        Remember { enabled: true }
        RunTest { attempt: 1 }
    Testing -- passed --> Starting
        RunStart { attempt: 1 }
    Starting -- started --> Running
    ");
}

#[test]
fn a_stop_runs_the_stop_command_and_waits_for_both() {
    let mut bench = Bench::running(true);
    bench.give(Input::Stop);
    bench.give(Input::StopCommandEnded { succeeded: true });
    assert_eq!(bench.name(), StateName::Stopping);
    bench.exit();
    bench.give(Input::Gone(Job::Main));
    insta::assert_snapshot!(bench.story(), @"
    Running -- stop command --> Stopping
        Remember { enabled: false }
        RunStop
        Clear(Main)
    Stopping -- stopped --> Disabled
    ");
}

#[test]
fn what_does_not_end_is_terminated_and_then_killed() {
    let mut bench = Bench::running(true);
    bench.give(Input::Stop);
    let waited = [bench.until_deadline(), bench.until_deadline()];
    assert_eq!(waited, [120, 10]);
    assert_eq!(bench.machine.deadline(), None);
    bench.give(Input::Gone(Job::Stop));
    bench.give(Input::Gone(Job::Main));
    insta::assert_snapshot!(bench.story(), @"
    Running -- stop command --> Stopping
        Remember { enabled: false }
        RunStop
        Terminate
        Clear(Stop)
        Clear(Main)
    Stopping -- stopped --> Disabled
    ");
}

#[test]
fn a_stop_command_that_fails_is_followed_by_sigterm_at_once() {
    let mut bench = Bench::running(true);
    bench.give(Input::Stop);
    assert_eq!(bench.give(Input::StopCommandEnded { succeeded: false }).effects, [Effect::Terminate]);
}

#[test]
fn a_restart_keeps_what_is_wanted_and_goes_the_whole_way() {
    let mut bench = Bench::running(true);
    bench.give(Input::Restart);
    bench.exit();
    bench.give(Input::Gone(Job::Main));
    bench.conditions = OTHER_VERSION;
    bench.give(Input::StopCommandEnded { succeeded: true });
    assert!(bench.machine.is_enabled());
    insta::assert_snapshot!(bench.story(), @"
    Running -- restart command --> Stopping
        RunStop
        Clear(Main)
    Stopping -- stopped --> Configuration Mismatch
    ");
}

#[test]
fn what_is_disabled_is_not_restarted() {
    let mut bench = Bench::new(false);
    bench.give(Input::Restart);
    bench.give(Input::SystemStart);
    bench.give(Input::ConfigurationChanged);
    assert_eq!((bench.name(), bench.story().as_str()), (StateName::Disabled, ""));
}

#[test]
fn a_start_during_a_stop_follows_it() {
    let mut bench = Bench::running(true);
    bench.give(Input::Stop);
    bench.give(Input::Start);
    bench.give(Input::StopCommandEnded { succeeded: true });
    bench.exit();
    bench.give(Input::Gone(Job::Main));
    assert_eq!(bench.name(), StateName::Testing);
}

#[test]
fn a_version_that_comes_to_match_is_enough() {
    let mut bench = Bench::new(false);
    bench.conditions = OTHER_VERSION;
    bench.give(Input::Start);
    assert_eq!(bench.name(), StateName::ConfigurationMismatch);
    bench.conditions = NOT_READY;
    bench.give(Input::ConfigurationChanged);
    assert_eq!(bench.name(), StateName::ResourceRequired);
    bench.conditions = OTHER_VERSION;
    bench.give(Input::ConfigurationChanged);
    assert_eq!(bench.name(), StateName::ConfigurationMismatch);
    bench.conditions = GOOD;
    bench.give(Input::ConfigurationChanged);
    assert_eq!(bench.name(), StateName::Testing);
}

#[test]
fn a_bad_configuration_is_tested_again_when_it_was_changed() {
    let mut bench = Bench::new(false);
    bench.give(Input::Start);
    bench.fail_test();
    assert_eq!(bench.name(), StateName::ConfigurationTestFailed);
    bench.give(Input::ResourcesChanged);
    assert_eq!(bench.name(), StateName::ConfigurationTestFailed, "nothing of its configuration has changed");
    bench.give(Input::ConfigurationChanged);
    bench.pass();
    assert_eq!(bench.name(), StateName::Starting);
}

#[test]
fn a_change_under_a_test_makes_one_more_test() {
    let mut bench = Bench::new(false);
    bench.give(Input::Start);
    bench.give(Input::ConfigurationChanged);
    bench.fail_test();
    assert_eq!(bench.name(), StateName::Testing);
    // A test that touches what it tests must not go on for ever.
    bench.give(Input::ConfigurationChanged);
    bench.fail_test();
    assert_eq!(bench.name(), StateName::ConfigurationTestFailed);
}

#[test]
fn a_test_without_end_is_killed_and_counts_as_failed() {
    let mut bench = Bench::new(false);
    bench.give(Input::Start);
    assert_eq!(bench.until_deadline(), 60);
    bench.give(Input::Gone(Job::Test));
    assert_eq!(bench.name(), StateName::ConfigurationTestFailed);
}

#[test]
fn failures_in_a_row_wait_longer_and_longer() {
    let mut bench = Bench::running(true);
    let mut waits = Vec::new();
    for _ in 0..5 {
        bench.exit();
        assert_eq!((bench.name(), bench.machine.deadline()), (StateName::Failed, None));
        bench.give(Input::Gone(Job::Main));
        waits.push(bench.until_deadline());
        bench.pass();
        bench.run();
    }
    assert_eq!(waits, [2, 10, 60, 300, 300]);
    assert_eq!(bench.machine.failures(), 5);
    bench.until_deadline();
    assert_eq!(bench.machine.failures(), 0, "it has run long enough");
}

#[test]
fn a_start_that_does_not_come_about_is_a_failure() {
    let mut bench = Bench::new(false);
    bench.give(Input::Start);
    bench.pass();
    assert_eq!(bench.until_deadline(), 60);
    assert_eq!(bench.name(), StateName::Failed);
}

#[test]
fn a_shutdown_keeps_what_is_wanted() {
    let mut bench = Bench::running(true);
    bench.give(Input::Shutdown);
    bench.exit();
    bench.give(Input::Gone(Job::Main));
    bench.give(Input::StopCommandEnded { succeeded: true });
    assert_eq!((bench.name(), bench.machine.is_enabled()), (StateName::ShutDown, true));
    bench.give(Input::SystemStart);
    assert_eq!(bench.name(), StateName::Testing);
}

#[test]
fn what_runs_already_is_adopted_if_it_is_wanted_and_stopped_if_not() {
    let running = Found { test: false, stop: false, main: Some(FoundMain::Running { pid: 9 }) };
    let mut bench = Bench::new(true);
    assert_eq!(bench.give(Input::Found(running)).effects, []);
    assert_eq!(bench.name(), StateName::Running);
    let mut bench = Bench::new(false);
    assert_eq!(bench.give(Input::Found(running)).effects, [Effect::RunStop]);
    assert_eq!(bench.name(), StateName::Stopping);
    let mut bench = Bench::new(true);
    bench.give(Input::Found(Found { test: false, stop: false, main: Some(FoundMain::Ended) }));
    assert_eq!(bench.name(), StateName::Failed);
    let mut bench = Bench::new(true);
    bench.give(Input::Found(Found { test: false, stop: true, main: Some(FoundMain::Running { pid: 9 }) }));
    assert_eq!(bench.name(), StateName::Stopping, "somebody was stopping it");
}

/// What may happen next, as far as a world can do it.
#[derive(Debug, Clone, Copy)]
enum Event {
    Start,
    Stop,
    Restart,
    Shutdown,
    SystemStart,
    Changed,
    Ready,
    Test { passed: bool },
    Started,
    Exited,
    StopEnded { succeeded: bool },
    Gone(Job),
    Deadline,
    Conditions(Conditions),
    Stale,
}

fn any_event() -> impl Strategy<Value = Event> {
    let conditions = prop_oneof![3 => Just(GOOD), 1 => Just(OTHER_VERSION), 1 => Just(NOT_READY)];
    let job = proptest::sample::select(vec![Job::Test, Job::Main, Job::Stop]);
    prop_oneof![
        3 => Just(Event::Start),
        2 => Just(Event::Stop),
        2 => Just(Event::Restart),
        1 => Just(Event::Shutdown),
        1 => Just(Event::SystemStart),
        2 => Just(Event::Changed),
        1 => Just(Event::Ready),
        6 => any::<bool>().prop_map(|passed| Event::Test { passed }),
        4 => Just(Event::Started),
        2 => Just(Event::Exited),
        3 => any::<bool>().prop_map(|succeeded| Event::StopEnded { succeeded }),
        6 => job.prop_map(Event::Gone),
        3 => Just(Event::Deadline),
        2 => conditions.prop_map(Event::Conditions),
        1 => Just(Event::Stale),
    ]
}

/// What really runs, known only from what was ordered.
#[derive(Debug, Default)]
struct World {
    test: Option<u64>,
    main: Option<u64>,
    main_exited: bool,
    stop: bool,
    clearing: Vec<Job>,
}

impl World {
    /// The input that this event is, if it can happen now.
    fn input(&mut self, event: Event, machine: &Machine) -> Option<Input> {
        Some(match event {
            Event::Start => Input::Start,
            Event::Stop => Input::Stop,
            Event::Restart => Input::Restart,
            Event::Shutdown => Input::Shutdown,
            Event::SystemStart => Input::SystemStart,
            Event::Changed => Input::ConfigurationChanged,
            Event::Ready => Input::ResourcesChanged,
            Event::Deadline => Input::Deadline,
            Event::Conditions(_) => return None,
            Event::Stale => Input::TestEnded { attempt: machine.attempt().wrapping_sub(1), passed: true },
            Event::Test { passed } => {
                let attempt = self.test.filter(|_| !self.clearing.contains(&Job::Test))?;
                self.test = None;
                Input::TestEnded { attempt, passed }
            }
            Event::Started => Input::Started { attempt: self.main.filter(|_| !self.main_exited)?, pid: 7 },
            Event::Exited => {
                let attempt = self.main.filter(|_| !self.main_exited && !self.clearing.contains(&Job::Main))?;
                self.main_exited = true;
                Input::Exited { attempt }
            }
            Event::StopEnded { succeeded } => {
                if !std::mem::take(&mut self.stop) {
                    return None;
                }
                self.clearing.retain(|job| *job != Job::Stop);
                Input::StopCommandEnded { succeeded }
            }
            Event::Gone(job) => {
                let at = self.clearing.iter().position(|clearing| *clearing == job)?;
                self.clearing.remove(at);
                match job {
                    Job::Test => self.test = None,
                    Job::Main => self.main = None,
                    Job::Stop => self.stop = false,
                }
                Input::Gone(job)
            }
        })
    }

    fn obey(&mut self, effect: Effect) -> Result<(), TestCaseError> {
        match effect {
            Effect::RunTest { attempt } => {
                prop_assert!(self.test.is_none() && self.main.is_none() && !self.stop, "a test beside something else");
                self.test = Some(attempt);
            }
            Effect::RunStart { attempt } => {
                prop_assert!(self.test.is_none() && self.main.is_none() && !self.stop, "a start beside something else");
                self.main = Some(attempt);
                self.main_exited = false;
            }
            Effect::RunStop => {
                prop_assert!(!self.stop, "two stop commands at a time");
                self.stop = true;
            }
            Effect::Clear(job) if !self.clearing.contains(&job) => {
                let there = match job {
                    Job::Test => self.test.is_some(),
                    Job::Main => self.main.is_some(),
                    Job::Stop => self.stop,
                };
                prop_assert!(there, "{job:?} is to be cleared and is not there");
                self.clearing.push(job);
            }
            Effect::Clear(_) | Effect::Terminate | Effect::Remember { .. } => {}
        }
        Ok(())
    }

    /// What this world would do next by itself.
    fn next(&self, machine: &Machine) -> Event {
        match self.clearing.first() {
            Some(job) => Event::Gone(*job),
            None if self.stop => Event::StopEnded { succeeded: true },
            None if self.test.is_some() => Event::Test { passed: true },
            None if matches!(machine.state(), State::Starting { .. }) => Event::Started,
            None if self.main.is_some() && !self.main_exited && !machine.is_running() => Event::Exited,
            None => Event::Deadline,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn any_sequence_of_events_keeps_the_promises(
        enabled in any::<bool>(),
        events in proptest::collection::vec(any_event(), 0..60),
    ) {
        let mut bench = Bench::new(enabled);
        let mut world = World::default();
        let mut wanted = enabled;
        for event in events {
            if let Event::Conditions(conditions) = event {
                bench.conditions = conditions;
            }
            if let (Event::Deadline, Some(at)) = (event, bench.machine.deadline()) {
                bench.now = bench.now.max(at);
            }
            step(&mut bench, &mut world, event, &mut wanted)?;
        }
        // From wherever it is now, it comes to what is wanted, in a world that does its part.
        bench.conditions = GOOD;
        step(&mut bench, &mut world, Event::Changed, &mut wanted)?;
        for _ in 0..40 {
            let is_there = match bench.name() {
                StateName::Running | StateName::ShutDown => true,
                StateName::ConfigurationTestFailed => {
                    step(&mut bench, &mut world, Event::Changed, &mut wanted)?;
                    false
                }
                StateName::Disabled => !wanted,
                _ => false,
            };
            if is_there {
                break;
            }
            let event = world.next(&bench.machine);
            if let (Event::Deadline, Some(at)) = (event, bench.machine.deadline()) {
                bench.now = bench.now.max(at);
            }
            step(&mut bench, &mut world, event, &mut wanted)?;
        }
        let settled = match (wanted, bench.name()) {
            (true, StateName::Running) | (false, StateName::Disabled) | (_, StateName::ShutDown) => true,
            // Not started by itself after a stop that a shutdown has overtaken.
            (true, StateName::Disabled) => false,
            _ => false,
        };
        prop_assert!(settled, "{} though wanted is {wanted}\n{}", bench.name(), bench.told.join("\n"));
    }
}

fn step(bench: &mut Bench, world: &mut World, event: Event, wanted: &mut bool) -> Result<(), TestCaseError> {
    let Some(input) = world.input(event, &bench.machine) else { return Ok(()) };
    match input {
        Input::Start => *wanted = true,
        Input::Stop => *wanted = false,
        _ => {}
    }
    let before = bench.name();
    let outcome = bench.give(input);
    for effect in &outcome.effects {
        if let Effect::RunStart { .. } = effect {
            prop_assert!(*wanted, "started though it is not wanted");
            prop_assert_eq!(bench.conditions, GOOD, "started though something does not hold");
        }
        world.obey(*effect)?;
    }
    prop_assert_eq!(bench.machine.is_enabled(), *wanted);
    let mut at = before;
    for transition in &outcome.path {
        prop_assert_eq!(transition.from, at, "a gap in the story");
        at = transition.to;
    }
    prop_assert_eq!(at, bench.name());
    let alive = bench.machine.alive();
    prop_assert_eq!(
        (alive.test, alive.main, alive.stop),
        (world.test.is_some(), world.main.is_some(), world.stop),
        "in {}",
        at
    );
    match bench.machine.state() {
        State::Disabled
        | State::ShutDown
        | State::ConfigurationMismatch
        | State::ResourceRequired
        | State::ConfigurationTestFailed => prop_assert!(!alive.any(), "something runs in {at}"),
        State::Running { .. } | State::Starting { .. } => prop_assert!(alive.main && !alive.test && !alive.stop),
        State::Failed { .. } => prop_assert!(bench.machine.deadline().is_some() || alive.any()),
        State::Testing { .. } => prop_assert!(alive.test && !alive.main && !alive.stop),
        State::StoppingTest(ending) | State::Stopping(ending) | State::ShuttingDown(ending) => {
            prop_assert!(alive.any(), "nothing is left to end in {at}");
            prop_assert!(ending.until.is_some() || ending.step == Step::Kill || alive.stop);
        }
    }
    Ok(())
}
