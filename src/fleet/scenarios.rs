//! What the manager does, as scenes with a keeper that does what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::definition::{Definition, Entry, OnChange, Policy};
use super::manager::{Action, Input, Manager, Order};
use super::resolve::{Places, Resolved, resolve};
use super::rolling::{Outcome, Rolling};
use crate::container::machine::{ExitStatus, RunId};
use crate::container::spec::{ContainerName, Floor, LogSpec, RestartPolicy};
use crate::keeper::protocol::{Asker, ContainerState, Phase, Reason, Verb};

fn made(name: &str, change: impl FnOnce(&mut Definition)) -> (String, Option<Arc<Resolved>>) {
    let mut definition = Definition { command: Some("run".into()), ..Definition::default() };
    change(&mut definition);
    let places = Places::anywhere();
    let entry = Entry { name: name.into(), definition, ..Entry::default() };
    (name.into(), Some(Arc::new(resolve(&entry, None, &places).unwrap())))
}

fn state(name: &str, phase: Phase, run: u32) -> ContainerState {
    ContainerState {
        name: ContainerName::on(Floor::Container, name).unwrap(),
        phase,
        reason: Reason::None,
        policy: RestartPolicy::Always,
        pid: None,
        run: Some(RunId(run)).filter(|run| run.0 > 0),
        restarts: 0,
        defined_unix_ms: 0,
        started_unix_ms: None,
        ended_unix_ms: None,
        last_exit: None,
        next_restart_unix_ms: None,
        frozen_sha256: None,
        expected_sha256: None,
        config_pending: false,
        error_lines: vec![],
        logs: LogSpec::in_dir("/l"),
        log_bytes_dropped: 0,
        ready: phase == Phase::Running,
        status_text: None,
        waiting_for: None,
        output_bytes: 0,
        input_bytes: 0,
        viewers: 0,
        loggers: 0,
        forward_lost: 0,
        outdated: false,
        daemon: None,
        console_lost: false,
    }
}

/// A keeper on paper.
struct Scene {
    manager: Manager,
    held: BTreeMap<String, ContainerState>,
    log: Vec<String>,
    slow: BTreeSet<String>,
}

impl Scene {
    fn new() -> Self {
        Self::remembering(&[])
    }

    fn remembering(stopped: &[&str]) -> Self {
        let stopped = stopped.iter().map(|name| (*name).to_owned()).collect();
        Self { manager: Manager::new(stopped), held: BTreeMap::new(), log: vec![], slow: BTreeSet::new() }
    }

    fn configure(&mut self, containers: Vec<(String, Option<Arc<Resolved>>)>) -> &mut Self {
        self.feed(Input::Configured { containers })
    }

    fn connect(&mut self) -> &mut Self {
        let containers = self.held.values().cloned().collect();
        self.feed(Input::Connected { containers })
    }

    fn ask(&mut self, name: &str, verb: Verb) -> &mut Self {
        let by = Asker { who: "admin".into(), from: "here".into() };
        let actions = self.manager.asked(name, verb, by).unwrap();
        self.act(actions);
        self
    }

    fn becomes(&mut self, name: &str, phase: Phase) -> &mut Self {
        let run = self.held.get(name).and_then(|state| state.run).map_or(0, |run| run.0);
        let state = state(name, phase, if phase == Phase::Running { run + 1 } else { run });
        self.held.insert(name.into(), state.clone());
        self.feed(Input::Observed(Box::new(state)))
    }

    fn feed(&mut self, input: Input) -> &mut Self {
        let actions = self.manager.handle(input);
        self.act(actions);
        self
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Order { name, order } => self.carry_out(name, order),
                Action::Record { name, is_stopped } => self.log.push(format!("record {name} {is_stopped}")),
                Action::Changed { .. } => {}
            }
        }
    }

    fn carry_out(&mut self, name: String, order: Order) {
        let (word, then) = match &order {
            Order::Define(_) => ("define", None),
            Order::Update(_) => ("update", None),
            Order::Release { .. } => ("release", None),
            Order::Ask { verb: Verb::Start, .. } => ("start", Some(Phase::Running)),
            Order::Ask { verb: Verb::Restart, .. } => ("restart", Some(Phase::Running)),
            Order::Ask { verb: Verb::Stop | Verb::Kill, .. } => ("stop", Some(Phase::Stopped)),
            Order::Ask { verb: Verb::Signal(_), .. } => ("signal", None),
        };
        self.log.push(format!("{word} {name}"));
        if word == "define" {
            // The keeper tells of it before it answers.
            self.becomes(&name, Phase::NotStarted);
        }
        self.feed(Input::Ordered { name: name.clone(), order, outcome: Ok(()) });
        if word == "release" {
            self.held.remove(&name);
        } else if let Some(phase) = then.filter(|_| !(word == "start" && self.slow.contains(&name))) {
            self.becomes(&name, phase);
        }
    }

    fn said(&mut self) -> String {
        std::mem::take(&mut self.log).join(", ")
    }
}

#[test]
fn what_a_commit_adds_is_defined_and_started_and_what_it_takes_away_is_released() {
    let mut scene = Scene::new();
    scene.configure(vec![made("a", |_| {}), made("b", |new| new.start_at_boot = Some(false))]).connect();
    assert_eq!(scene.said(), "define a, start a, define b");
    scene.configure(vec![("a".into(), None)]);
    assert_eq!(scene.said(), "release a");
    assert!(!scene.manager.members().contains_key("a"));
}

#[test]
fn a_commit_restarts_what_must_and_touches_nothing_else() {
    let mut scene = Scene::new();
    scene.configure(vec![made("a", |_| {}), made("b", |_| {}), made("c", |_| {})]).connect().said();
    scene.configure(vec![
        made("a", |new| new.command = Some("run faster".into())),
        made("b", |new| new.holdoff = Some(Duration::from_secs(5))),
    ]);
    assert_eq!(scene.said(), "update a, restart a, update b");
    scene.configure(vec![made("b", |new| {
        new.command = Some("other".into());
        new.on_change = Some(OnChange::NextStart);
    })]);
    assert_eq!(scene.said(), "update b");
}

#[test]
fn what_an_operator_has_stopped_a_commit_does_not_start() {
    let mut scene = Scene::new();
    scene.configure(vec![made("a", |_| {})]).connect().said();
    scene.ask("a", Verb::Stop).said();
    scene.configure(vec![made("a", |new| new.command = Some("other".into()))]);
    assert_eq!(scene.said(), "update a");
}

#[test]
fn an_agent_that_comes_back_leaves_what_runs_alone() {
    let mut scene = Scene::new();
    scene.held.insert("a".into(), state("a", Phase::Running, 7));
    scene.held.insert("b".into(), state("b", Phase::Stopped, 3));
    scene.held.insert("stranger".into(), state("stranger", Phase::Running, 1));
    let other = |new: &mut Definition| new.command = Some("of another build".into());
    scene.configure(vec![made("a", other), made("b", |_| {})]).connect();
    assert_eq!(scene.said(), "update a, update b, release stranger");
}

#[test]
fn only_unless_stopped_remembers_a_stop_over_a_reboot() {
    let mut scene = Scene::new();
    let keeps = |new: &mut Definition| new.policy = Some(Policy::UnlessStopped);
    scene.configure(vec![made("a", |_| {}), made("b", keeps)]).connect().said();
    scene.ask("a", Verb::Stop).ask("b", Verb::Stop);
    assert_eq!(scene.said(), "record a true, stop a, record b true, stop b");
    let mut rebooted = Scene::remembering(&["a", "b"]);
    rebooted.configure(vec![made("a", |_| {}), made("b", keeps)]).connect();
    assert_eq!(rebooted.said(), "define a, start a, define b");
}

#[test]
fn a_container_waits_for_those_before_it_until_they_are_ready_or_have_given_up() {
    let mut scene = Scene::new();
    scene.slow.insert("db".into());
    let after = |new: &mut Definition| new.after = vec!["db".into(), "not-there".into()];
    scene.configure(vec![made("app", after), made("db", |new| new.before = vec!["late".into()]), made("late", |_| {})]);
    scene.connect();
    assert_eq!(scene.said(), "define app, define db, start db, define late");
    assert_eq!(scene.manager.waits_for("app"), ["db"]);
    scene.becomes("db", Phase::Starting).becomes("db", Phase::Backoff);
    assert_eq!(scene.said(), "");
    scene.becomes("db", Phase::ExitFailure);
    assert_eq!(scene.said(), "start app, start late");
}

#[test]
fn a_change_that_comes_while_the_keeper_takes_the_definition_is_not_lost() {
    let mut scene = Scene::new();
    scene.connect();
    let actions = scene.manager.handle(Input::Configured { containers: vec![made("a", |_| {})] });
    let [Action::Order { name, order }] = actions.as_slice() else { panic!("{actions:?}") };
    scene.configure(vec![made("a", |new| new.nice = Some(3))]);
    assert_eq!(scene.said(), "");
    scene.feed(Input::Ordered { name: name.clone(), order: order.clone(), outcome: Ok(()) });
    assert_eq!(scene.said(), "update a, start a");
}

#[test]
fn a_definition_that_the_keeper_refuses_says_why_and_is_tried_again_with_the_next() {
    let mut scene = Scene::new();
    scene.connect();
    let actions = scene.manager.handle(Input::Configured { containers: vec![made("a", |_| {})] });
    let [Action::Order { name, order }] = actions.as_slice() else { panic!("{actions:?}") };
    let outcome = Err("too large".to_owned());
    scene.feed(Input::Ordered { name: name.clone(), order: order.clone(), outcome });
    assert_eq!(scene.manager.members()["a"].trouble.as_deref(), Some("too large"));
    let by = Asker { who: "x".into(), from: "y".into() };
    assert_eq!(scene.manager.asked("a", Verb::Start, by), Err("too large".to_owned()));
    scene.configure(vec![made("a", |new| new.nice = Some(3))]);
    assert_eq!(scene.said(), "define a, start a");
}

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
fn some_instant() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn a_rolling_restart_goes_on_when_one_is_ready_and_ends_at_the_first_failure() {
    let now = some_instant();
    let second = Duration::from_secs(1);
    let mut rolling = Rolling::new(["a", "b", "c", "d"].map(str::to_owned), 2, 30 * second, second);
    let run_of = |_: &str| Some(RunId(1));
    assert_eq!(rolling.next(run_of, now), ["a", "b"]);
    rolling.observed("a", &state("a", Phase::Running, 1), now);
    assert_eq!(rolling.next(run_of, now), Vec::<String>::new(), "it is still the old run");
    rolling.observed("a", &state("a", Phase::Running, 2), now);
    assert_eq!(rolling.next(run_of, now), Vec::<String>::new(), "it may still end");
    rolling.time_is(now + second);
    assert_eq!(rolling.next(run_of, now), ["c"]);
    let mut failed = state("b", Phase::Backoff, 2);
    (failed.last_exit, failed.error_lines) = (Some(ExitStatus::Code(1)), vec!["no such port".into()]);
    rolling.observed("b", &failed, now);
    assert_eq!((rolling.next(run_of, now), rolling.finished()), (vec![], None));
    rolling.time_is(now + Duration::from_secs(30));
    let outcomes: Vec<String> = rolling
        .finished()
        .unwrap()
        .into_iter()
        .map(|(name, outcome)| {
            format!(
                "{name} {}",
                match outcome {
                    Outcome::Done => "done".to_owned(),
                    Outcome::Failed(why) => why,
                    Outcome::LeftAlone => "left alone".to_owned(),
                }
            )
        })
        .collect();
    assert_eq!(outcomes, ["a done", "b it has ended: no such port", "c not ready within 30 s", "d left alone"]);
}
