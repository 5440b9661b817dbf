//! `docs/restart-policies.md` is the test: every cell of its table is played on the container's machine and the manager.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::manager::{Action, Activation, App, Input, Life, Manager, Order, Ticket, Verb, Wanted};
use super::observed::{LastExit, Observed, Phase};
use super::registration::{AppName, Registration};
use super::view;
use crate::checksum::Sha256;
use crate::container::machine::{self, ExitStatus, Machine, RunId};
use crate::container::provision::Resources;
use crate::container::spec::RestartPolicy;

const TABLE: &str = include_str!("../../docs/restart-policies.md");
const RETRIES: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    AtOnce,
    AgentRestart,
    Reboot,
    RebootWithAutorun,
}

/// One app: the container's machine in the keeper, and the manager in the agent.
struct Device {
    machine: Machine,
    now: Instant,
    run: u32,
    manager: Manager,
    record: Option<Activation>,
    registration: Registration,
    sum_on_disk: &'static str,
}

fn policy(word: &str, event: &str) -> RestartPolicy {
    match word {
        "always" => RestartPolicy::Always,
        "never" => RestartPolicy::Never,
        "on-failure" => RestartPolicy::OnFailure { max_retries: (event == "retries spent").then_some(RETRIES) },
        "unless-errored" => RestartPolicy::UnlessErrored,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        other => panic!("there is no policy {other}"),
    }
}

fn app() -> AppName {
    AppName::new("app")
}

#[expect(clippy::disallowed_methods, reason = "a beginning for the test's own clock")]
fn beginning() -> Instant {
    Instant::now()
}

impl Device {
    fn activated(restart: RestartPolicy, autorun: bool) -> Self {
        let registration = Registration {
            name: app(),
            executable: Some("x.py".to_owned()),
            run_args: None,
            restart,
            username: None,
            autorun,
            after: Vec::new(),
            resources: Resources::default(),
        };
        let mut device = Self {
            machine: Machine::new(restart, Duration::ZERO),
            now: beginning(),
            run: 0,
            manager: Manager::default(),
            record: None,
            registration,
            sum_on_disk: "S1",
        };
        device.boot(Vec::new());
        device.manage(Input::Call { verb: Verb::Activate, app: app(), ticket: Ticket(1) });
        device
    }

    /// A new agent that finds these containers in the keeper.
    fn boot(&mut self, containers: Vec<(AppName, Observed)>) {
        let recorded = self.record.clone().map(|activation| (app(), activation));
        self.manager = Manager::new(recorded.into_iter().collect::<BTreeMap<_, _>>());
        self.manage(Input::Configured {
            registrations: vec![(app(), Some(self.registration.clone()))],
            checksums: vec![("x.py".to_owned(), Some("S1".to_owned()))],
        });
        self.manage(Input::KeeperConnected { containers });
    }

    fn manage(&mut self, input: Input) {
        for action in self.manager.handle(input) {
            match action {
                Action::Record { activation, .. } => self.record = activation,
                Action::Order { order: Order::Define { activation }, .. } => {
                    let outcome = if self.sum_on_disk == activation.sha256 {
                        self.machine = Machine::new(activation.registration.restart, Duration::ZERO);
                        Ok(())
                    } else {
                        Err(crate::northbound::Refusal::new(
                            crate::northbound::Kind::OperationFailed,
                            "Checksum Mismatch",
                        ))
                    };
                    self.manage(Input::Ordered { app: app(), order: Order::Define { activation }, outcome });
                }
                Action::Order { order: Order::Start { .. }, .. } => self.keep(machine::Input::Start),
                Action::Order { order: Order::Stop { .. }, .. } => self.keep(machine::Input::Stop),
                Action::Order { order: Order::Kill { .. }, .. } => self.keep(machine::Input::Kill),
                Action::Order { .. } | Action::Answer { .. } | Action::Changed { .. } => {}
            }
        }
        let observed = self.observed();
        self.manager.handle(Input::Observed { app: app(), observed });
    }

    fn keep(&mut self, input: machine::Input) {
        for action in self.machine.handle(input, self.now) {
            match action {
                machine::Action::Check { attempt } => {
                    let next = if self.sum_on_disk == "S1" {
                        machine::Input::Checked { attempt }
                    } else {
                        let (expected, found) = (Some(Sha256::of(b"S1")), Sha256::of(b"other"));
                        machine::Input::CheckMismatch { attempt, expected, found }
                    };
                    self.keep(next);
                }
                machine::Action::Spawn { attempt } => {
                    self.run += 1;
                    self.keep(machine::Input::Spawned { attempt, pid: 7, run: RunId(self.run) });
                }
                machine::Action::SignalStop { .. } => self.ends(ExitStatus::Code(0)),
                machine::Action::KillTree { .. } => {
                    self.ends(ExitStatus::Signal { number: 9, core: false });
                    self.keep(machine::Input::TreeGone);
                }
                machine::Action::Forget => {}
            }
        }
    }

    fn ends(&mut self, status: ExitStatus) {
        self.keep(machine::Input::Exited { run: RunId(self.run), status });
    }

    fn happens(&mut self, event: &str) {
        match event {
            "exit 0" => self.ends(ExitStatus::Code(0)),
            "exit 1" => self.ends(ExitStatus::Code(1)),
            "signal" => self.ends(ExitStatus::Signal { number: 11, core: false }),
            "stop" => self.manage(Input::Call { verb: Verb::Stop, app: app(), ticket: Ticket(2) }),
            "kill" => self.manage(Input::Call { verb: Verb::Kill, app: app(), ticket: Ticket(2) }),
            "mismatch" => {
                self.sum_on_disk = "other";
                self.manage(Input::Call { verb: Verb::Stop, app: app(), ticket: Ticket(2) });
                self.manage(Input::Call { verb: Verb::Start, app: app(), ticket: Ticket(3) });
            }
            "retries spent" => {
                for _ in 0..=RETRIES {
                    self.now += Duration::from_secs(100);
                    self.ends(ExitStatus::Code(1));
                }
            }
            other => panic!("nothing is called {other}"),
        }
        // Whatever restart is due comes, after its pause.
        while let Some(due) = self.machine.deadline() {
            self.now = self.now.max(due);
            self.keep(machine::Input::Deadline);
        }
        self.manage(Input::Observed { app: app(), observed: self.observed() });
    }

    fn observed(&self) -> Observed {
        let mut observed = Observed::defined();
        observed.phase = match self.machine.state() {
            machine::State::NotStarted | machine::State::Released => Phase::Defined,
            machine::State::Starting => Phase::Starting,
            machine::State::Running { pid, .. } => Phase::Running { pid: *pid },
            machine::State::StopRequested { pid, .. } => Phase::StopRequested { pid: *pid },
            machine::State::KillRequested { .. } => Phase::KillRequested { pid: 7 },
            machine::State::Backoff { .. } => Phase::Backoff { next_restart_unix_ms: 0 },
            machine::State::Stopped => Phase::Stopped,
            machine::State::Killed => Phase::Killed,
            machine::State::Exited { status, .. } => Phase::Ended { success: status.is_success() },
            machine::State::Mismatch { expected, found } => {
                Phase::Mismatch { expected: expected.map(|sum| sum.to_string()), found: found.to_string() }
            }
        };
        observed.last_exit = Some(LastExit::Code(0));
        observed
    }

    fn status(&self) -> &'static str {
        let absent = App { registration: None, life: Life::Inactive, trouble: None, starting: None };
        view::status(self.manager.apps().get(&app()).unwrap_or(&absent)).yang()
    }
}

fn outcome(event: &str, word: &str, afterwards: Afterwards) -> &'static str {
    if event == "retries spent" && !matches!(policy(word, event), RestartPolicy::OnFailure { .. }) {
        return "no limit";
    }
    let mut device = Device::activated(policy(word, event), afterwards == Afterwards::RebootWithAutorun);
    assert_eq!(device.status(), "started", "{event}, {word}");
    device.happens(event);
    match afterwards {
        Afterwards::AtOnce => {}
        Afterwards::AgentRestart => {
            let held = vec![(app(), device.observed())];
            device.boot(held);
        }
        Afterwards::Reboot | Afterwards::RebootWithAutorun => device.boot(Vec::new()),
    }
    device.status()
}

#[test]
fn every_cell_of_the_documented_table_holds() {
    let mut rows = 0;
    let mut wrong = Vec::new();
    for line in TABLE.lines().filter(|line| line.starts_with("| ") && !line.contains("---")).skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [event, word, cells @ ..] = cells.as_slice() else { panic!("not a row: {line}") };
        let columns = [Afterwards::AtOnce, Afterwards::AgentRestart, Afterwards::Reboot, Afterwards::RebootWithAutorun];
        assert_eq!(cells.len(), columns.len(), "{line}");
        for (cell, afterwards) in cells.iter().zip(columns) {
            let got = outcome(event, word, afterwards);
            if got != *cell {
                wrong.push(format!("{event}, {word}, {afterwards:?}: the table says {cell}, it is {got}"));
            }
        }
        rows += 1;
    }
    assert_eq!(rows, 35);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_operators_word_is_recorded_as_held() {
    let mut device = Device::activated(RestartPolicy::Always, false);
    device.happens("stop");
    assert_eq!(device.record.map(|activation| activation.wanted), Some(Wanted::Held));
}
