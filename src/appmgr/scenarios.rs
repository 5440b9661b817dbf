//! Scenario lines for the app manager: a word an input, a word an action.

use std::collections::BTreeMap;

use super::manager::*;
use super::observed::{LastExit, Observed, Phase};
use super::registration::{AppName, Registration};
use crate::container::provision::Resources;
use crate::container::spec::RestartPolicy;

/// An app manager, and a keeper that obeys when it is told to.
struct World {
    manager: Manager,
    log: Vec<String>,
    tickets: u64,
    observed: BTreeMap<AppName, Observed>,
}

fn registration(name: &str, words: &str) -> Registration {
    let mut registration = Registration {
        name: AppName::new(name),
        executable: Some("x.py".to_owned()),
        run_args: None,
        restart: RestartPolicy::Always,
        username: None,
        autorun: false,
        after: Vec::new(),
        resources: Resources::default(),
    };
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("after", other)) => registration.after.push(AppName::new(other)),
            Some(("args", args)) => registration.run_args = Some(args.to_owned()),
            Some(("exe", executable)) => registration.executable = Some(executable.to_owned()),
            _ if word == "autorun" => registration.autorun = true,
            _ if word == "unless-stopped" => registration.restart = RestartPolicy::UnlessStopped,
            _ if word == "none" => registration.executable = None,
            _ => panic!("unknown word {word}"),
        }
    }
    registration
}

impl World {
    fn new(recorded: BTreeMap<AppName, Activation>) -> Self {
        Self { manager: Manager::new(recorded), log: Vec::new(), tickets: 0, observed: BTreeMap::new() }
    }

    /// One word: `reg:a[:words]`, `unreg:a`, `sum:S`, `nosum`, `keeper`, `lost`, `activate:a` and the other verbs,
    /// `ok:define:a`, `bad:define:a`, `ok:release:a`, `runs:a`, `ends:a`, `stopped:a`.
    fn play(&mut self, word: &str) {
        let mut parts = word.splitn(3, ':');
        let (verb, first, rest) = (parts.next().unwrap(), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let app = AppName::new(first);
        let input = match verb {
            "reg" => {
                Input::Configured { registrations: vec![(app, Some(registration(first, rest)))], checksums: vec![] }
            }
            "unreg" => Input::Configured { registrations: vec![(app, None)], checksums: vec![] },
            "sum" => Input::Configured {
                registrations: vec![],
                checksums: vec![("x.py".to_owned(), Some(first.to_owned()))],
            },
            "nosum" => Input::Configured { registrations: vec![], checksums: vec![("x.py".to_owned(), None)] },
            "keeper" => Input::KeeperConnected { containers: std::mem::take(&mut self.observed).into_iter().collect() },
            "lost" => Input::KeeperLost,
            "holds" => {
                let mut observed = Observed::defined();
                observed.phase = Phase::Running { pid: 7 };
                self.observed.insert(app, observed);
                return;
            }
            "ok" | "bad" => {
                let app = AppName::new(rest);
                let order = match first {
                    "define" => match &self.manager.apps()[&app].life {
                        Life::Activating { activation, .. } => {
                            Order::Define { activation: Box::new(activation.clone()) }
                        }
                        other => panic!("{rest} is {other:?}"),
                    },
                    "release" => Order::Release,
                    _ => panic!("unknown order {first}"),
                };
                let outcome = if verb == "ok" { Ok(()) } else { Err(super::refusals::keeper_away()) };
                Input::Ordered { app, order, outcome }
            }
            "mismatch" => {
                let mut observed = Observed::defined();
                observed.phase = Phase::Mismatch { expected: Some("S1".to_owned()), found: "S2".to_owned() };
                Input::Observed { app, observed }
            }
            "runs" | "ends" | "stopped" => {
                let mut observed = Observed::defined();
                observed.phase = match verb {
                    "runs" => Phase::Running { pid: 7 },
                    "ends" => Phase::Ended { success: true },
                    _ => Phase::Stopped,
                };
                observed.last_exit = (verb != "runs").then_some(LastExit::Code(0));
                Input::Observed { app, observed }
            }
            _ => {
                self.tickets += 1;
                let verb = match verb {
                    "activate" => Verb::Activate,
                    "deactivate" => Verb::Deactivate,
                    "start" => Verb::Start,
                    "stop" => Verb::Stop,
                    "kill" => Verb::Kill,
                    "restart" => Verb::Restart,
                    _ => panic!("unknown word {word}"),
                };
                Input::Call { verb, app, ticket: Ticket(self.tickets) }
            }
        };
        for action in self.manager.handle(input) {
            let said = match action {
                Action::Order { app, order } => match order {
                    Order::Define { .. } => format!("define:{app}"),
                    Order::Start { ticket } => format!("start:{app}{}", if ticket.is_some() { "!" } else { "" }),
                    Order::Stop { .. } => format!("stop:{app}"),
                    Order::Kill { .. } => format!("kill:{app}"),
                    Order::Restart { .. } => format!("restart:{app}"),
                    Order::Release => format!("release:{app}"),
                    Order::SetExpected { sha256 } => format!("expect:{app}={}", sha256.as_deref().unwrap_or("-")),
                },
                Action::Answer { answer: Ok(()), .. } => "ok".to_owned(),
                Action::Answer { answer: Err(refusal), .. } => format!("refused({refusal})"),
                Action::Record { app, activation: Some(activation) } => match activation.wanted {
                    Wanted::Running => format!("record:{app}"),
                    Wanted::Held => format!("record:{app}:held"),
                },
                Action::Record { app, activation: None } => format!("erase:{app}"),
                Action::Changed { .. } => continue,
            };
            self.log.push(said);
        }
    }
}

#[track_caller]
fn check(scenario: &str, expected: &str) {
    check_from(BTreeMap::new(), scenario, expected);
}

#[track_caller]
fn check_from(recorded: BTreeMap<AppName, Activation>, scenario: &str, expected: &str) {
    let mut world = World::new(recorded);
    for word in scenario.split_whitespace() {
        world.play(word);
    }
    assert_eq!(world.log.join(" "), expected, "{scenario}");
}

fn recorded(words: &str, wanted: Wanted) -> BTreeMap<AppName, Activation> {
    let activation = Activation { registration: registration("ab", words), sha256: "S1".to_owned(), wanted };
    BTreeMap::from([(AppName::new("ab"), activation)])
}

#[test]
fn activation_freezes_records_starts_and_answers() {
    check("reg:ab sum:S1 keeper activate:ab ok:define:ab", "define:ab record:ab start:ab ok");
}

#[test]
fn activation_says_what_is_missing() {
    check(
        "keeper reg:ab activate:ab",
        "refused(no checksum is configured for script `x.py`; configure `script process x.py checksum SHA256 SUM` and commit)",
    );
    check(
        "keeper sum:S1 activate:ab",
        "refused(app `ab` is not registered; configure `appmgr process-script ab executable FILE.py` and commit)",
    );
    check(
        "keeper sum:S1 reg:ab:none activate:ab",
        "refused(app `ab` has no executable; configure `appmgr process-script ab executable FILE.py` and commit)",
    );
    check("sum:S1 reg:ab activate:ab", "refused(the keeper is not connected; it is being restarted: try again)");
}

#[test]
fn a_refused_freeze_leaves_the_app_inactive() {
    check(
        "reg:ab sum:S1 keeper activate:ab bad:define:ab start:ab",
        "define:ab refused(the keeper is not connected; it is being restarted: try again) \
         refused(app `ab` is not activated; `appmgr process-script activate name ab`)",
    );
}

#[test]
fn a_second_activation_is_refused_and_names_the_pid() {
    check(
        "reg:ab sum:S1 keeper activate:ab ok:define:ab runs:ab activate:ab",
        "define:ab record:ab start:ab ok refused(app `ab` is already activated and runs as pid 7; \
         to take over changes, `appmgr process-script deactivate name ab` first)",
    );
}

#[test]
fn a_start_is_answered_when_its_outcome_is_known() {
    check(
        "reg:ab sum:S1 keeper activate:ab ok:define:ab runs:ab stop:ab stopped:ab start:ab mismatch:ab start:ab lost",
        "define:ab record:ab start:ab ok record:ab:held stop:ab record:ab start:ab! refused(Checksum Mismatch: app `ab` was not started: x.py has sha256 S2, \
         the configuration says S1; put the right file back, or configure `script process x.py checksum SHA256 S2` and commit) \
         start:ab! refused(the keeper is not connected; it is being restarted: try again)",
    );
    check(
        "reg:ab sum:S1 keeper activate:ab ok:define:ab runs:ab stop:ab stopped:ab start:ab stop:ab",
        "define:ab record:ab start:ab ok record:ab:held stop:ab record:ab start:ab! record:ab:held \
         refused(app `ab` is being stopped; try again when that is done) stop:ab",
    );
}

#[test]
fn stop_is_remembered_until_start() {
    check(
        "reg:ab sum:S1 keeper activate:ab ok:define:ab runs:ab stop:ab stopped:ab start:ab",
        "define:ab record:ab start:ab ok record:ab:held stop:ab record:ab start:ab!",
    );
}

#[test]
fn deactivation_is_recorded_before_the_release_and_answered_after_it() {
    check(
        "reg:ab sum:S1 keeper activate:ab ok:define:ab runs:ab deactivate:ab ok:release:ab start:ab",
        "define:ab record:ab start:ab ok erase:ab release:ab ok \
         refused(app `ab` is not activated; `appmgr process-script activate name ab`)",
    );
}

#[test]
fn deleting_a_registration_deactivates() {
    check(
        "reg:ab sum:S1 keeper activate:ab ok:define:ab runs:ab unreg:ab ok:release:ab activate:ab",
        "define:ab record:ab start:ab ok erase:ab release:ab \
         refused(app `ab` is not registered; configure `appmgr process-script ab executable FILE.py` and commit)",
    );
}

#[test]
fn an_app_waits_for_those_it_starts_after() {
    check(
        "sum:S1 reg:aa reg:bb:after=aa keeper activate:bb ok:define:bb activate:aa ok:define:aa runs:aa",
        "define:bb record:bb ok define:aa record:aa start:aa ok start:bb",
    );
}

#[test]
fn a_new_checksum_reaches_the_keeper_and_only_the_apps_that_use_it() {
    check(
        "sum:S1 reg:ab reg:cd:exe=y.py keeper activate:ab ok:define:ab sum:S2 nosum",
        "define:ab record:ab start:ab ok expect:ab=S2 expect:ab=-",
    );
}

#[test]
fn a_checksum_that_moved_while_freezing_is_told_at_once() {
    check(
        "sum:S1 reg:ab keeper activate:ab sum:S2 ok:define:ab",
        "define:ab expect:ab=S2 record:ab expect:ab=S2 start:ab ok",
    );
}

#[test]
fn what_runs_is_adopted_by_a_new_agent() {
    check_from(recorded("", Wanted::Running), "holds:ab sum:S1 reg:ab keeper", "expect:ab=S1");
    check_from(recorded("", Wanted::Running), "holds:ab keeper sum:S1 reg:ab", "erase:ab release:ab");
}

#[test]
fn after_a_reboot_only_autorun_comes_back() {
    check_from(recorded("", Wanted::Running), "sum:S1 reg:ab keeper", "erase:ab");
    check_from(
        recorded("", Wanted::Running),
        "sum:S1 reg:ab:autorun keeper ok:define:ab",
        "define:ab record:ab start:ab",
    );
}

#[test]
fn unless_stopped_stays_stopped_over_a_reboot_and_always_does_not() {
    check_from(
        recorded("", Wanted::Held),
        "sum:S1 reg:ab:autorun,unless-stopped keeper ok:define:ab",
        "define:ab record:ab:held",
    );
    check_from(recorded("", Wanted::Held), "sum:S1 reg:ab:autorun keeper ok:define:ab", "define:ab record:ab start:ab");
}

#[test]
fn a_keeper_that_lost_its_containers_is_given_them_again() {
    check(
        "reg:ab sum:S1 keeper activate:ab ok:define:ab runs:ab lost keeper ok:define:ab",
        "define:ab record:ab start:ab ok define:ab record:ab start:ab",
    );
}

#[test]
fn a_container_that_nobody_recorded_is_released() {
    check("sum:S1 reg:ab holds:zz keeper ok:release:zz", "release:zz");
}
