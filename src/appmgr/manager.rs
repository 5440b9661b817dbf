//! The app manager: which apps are registered, which are activated with what, and what the keeper is asked to do.
//!
//! ```text
//!               activate                 defined
//!   Inactive ------------> Activating -------------> Active { wanted: Running | Held }
//!      ^                       | refused                |  start, stop, kill, restart: orders to the keeper
//!      +-----------------------+                        | deactivate, registration deleted
//!      ^                          released              v
//!      +------------------------------------------- Deactivating
//! ```
//! An app whose `after` apps are not all running waits in `Active` with nothing ordered; it is started when they are.
//!
//! Pure: the driver carries actions out and feeds their outcome back. Must not know: trees, files, the keeper's
//! protocol, the clock.

mod outcomes;
mod reconcile;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::observed::{LastExit, Observed, Phase};
use super::refusals;
use super::registration::{AppName, Registration};
use crate::container::machine::signal_in_words;
use crate::northbound::Refusal;

/// Which waiting call an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The six rpcs of `Cisco-IOS-XR-appmgr-act`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Activate,
    Deactivate,
    Start,
    Stop,
    Kill,
    Restart,
}

/// Whether an operator wants the app to run; survives the agent and, for `unless-stopped`, a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    Running,
    /// Stopped or killed by an operator: holds until start.
    Held,
}

/// What was frozen at activation. This is what the journal keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    pub registration: Registration,
    pub sha256: String,
    pub wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    Inactive,
    Activating { activation: Activation, ticket: Option<Ticket> },
    Active { activation: Activation, observed: Observed },
    Deactivating { tickets: Vec<Ticket> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// `None` while a deleted registration is still being deactivated.
    pub registration: Option<Registration>,
    pub life: Life,
    /// Why the last attempt came to nothing, where it did.
    pub trouble: Option<String>,
    /// The call that waits to hear whether the script was started: a checksum that does not match is its answer.
    pub starting: Option<Ticket>,
}

impl App {
    fn new() -> Self {
        Self { registration: None, life: Life::Inactive, trouble: None, starting: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A commit: registrations and process-script checksums that came, changed or went.
    Configured {
        registrations: Vec<(AppName, Option<Registration>)>,
        checksums: Vec<(String, Option<String>)>,
    },
    Call {
        verb: Verb,
        app: AppName,
        ticket: Ticket,
    },
    /// The keeper is there and holds these containers.
    KeeperConnected {
        containers: Vec<(AppName, Observed)>,
    },
    KeeperLost,
    Observed {
        app: AppName,
        observed: Observed,
    },
    /// An order that the keeper has answered.
    Ordered {
        app: AppName,
        order: Order,
        outcome: Result<(), Refusal>,
    },
}

/// What the keeper is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    Define { activation: Box<Activation> },
    Start { ticket: Option<Ticket> },
    Stop { ticket: Option<Ticket> },
    Kill { ticket: Option<Ticket> },
    Restart { ticket: Option<Ticket> },
    Release,
    SetExpected { sha256: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Order {
        app: AppName,
        order: Order,
    },
    Answer {
        ticket: Ticket,
        answer: Result<(), Refusal>,
    },
    /// Make the activation durable, or its absence, before anything that follows.
    Record {
        app: AppName,
        activation: Option<Activation>,
    },
    /// The app's operational state changed: tell who listens.
    Changed {
        app: AppName,
    },
}

#[derive(Debug, Default)]
pub struct Manager {
    apps: BTreeMap<AppName, App>,
    /// Committed checksums of process scripts by file name.
    checksums: BTreeMap<String, String>,
    keeper: KeeperView,
    /// Activations read from the journal that wait for the first meeting with the keeper.
    recorded: BTreeMap<AppName, Activation>,
    /// Nothing is reconciled before the running configuration is known.
    is_configured: bool,
}

#[derive(Debug, Default)]
enum KeeperView {
    /// Not met since the agent started.
    #[default]
    Unmet,
    /// Met before the configuration was known.
    Early(Vec<(AppName, Observed)>),
    Connected,
    Lost,
}

impl Manager {
    pub fn new(recorded: BTreeMap<AppName, Activation>) -> Self {
        Self { recorded, ..Self::default() }
    }

    pub fn apps(&self) -> &BTreeMap<AppName, App> {
        &self.apps
    }

    /// The committed checksums of process scripts, by file name.
    pub fn checksums(&self) -> &BTreeMap<String, String> {
        &self.checksums
    }

    pub fn checksum_of(&self, script: &str) -> Option<&str> {
        self.checksums.get(script).map(String::as_str)
    }

    /// The activated apps that run `script`.
    pub fn apps_using(&self, script: &str) -> Vec<AppName> {
        let uses = |activation: &Activation| activation.registration.executable.as_deref() == Some(script);
        self.apps
            .iter()
            .filter(|(_, app)| match &app.life {
                Life::Active { activation, .. } | Life::Activating { activation, .. } => uses(activation),
                Life::Inactive | Life::Deactivating { .. } => false,
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Which activated apps run which script.
    pub fn usage(&self) -> BTreeMap<String, Vec<String>> {
        let mut usage: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, app) in &self.apps {
            if let Life::Active { activation, .. } | Life::Activating { activation, .. } = &app.life
                && let Some(executable) = &activation.registration.executable
            {
                usage.entry(executable.clone()).or_default().push(name.to_string());
            }
        }
        usage
    }

    /// The apps that `app` still waits for before it may start.
    pub fn waiting_for(&self, app: &App) -> Vec<AppName> {
        let Life::Active { activation, observed } = &app.life else { return Vec::new() };
        let is_held_back = activation.wanted == Wanted::Running && observed.phase == Phase::Defined;
        if is_held_back { self.missing(app) } else { Vec::new() }
    }

    pub fn handle(&mut self, input: Input) -> Vec<Action> {
        match input {
            Input::Configured { registrations, checksums } => self.configured(registrations, checksums),
            Input::Call { verb, app, ticket } => self
                .call(verb, &app, ticket)
                .unwrap_or_else(|refusal| vec![Action::Answer { ticket, answer: Err(refusal) }]),
            Input::KeeperConnected { containers } => self.keeper_connected(containers),
            Input::KeeperLost => {
                self.keeper = KeeperView::Lost;
                let waiting = self.apps.values_mut().filter_map(|app| app.starting.take());
                waiting.map(|ticket| Action::Answer { ticket, answer: Err(refusals::keeper_away()) }).collect()
            }
            Input::Observed { app, observed } => self.observed(&app, observed),
            Input::Ordered { app, order, outcome } => self.ordered(&app, order, outcome),
        }
    }

    fn configured(
        &mut self,
        registrations: Vec<(AppName, Option<Registration>)>,
        checksums: Vec<(String, Option<String>)>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for (script, sha256) in checksums {
            for app in self.apps_using(&script) {
                actions.push(Action::Order { app, order: Order::SetExpected { sha256: sha256.clone() } });
            }
            match sha256 {
                Some(sha256) => self.checksums.insert(script, sha256),
                None => self.checksums.remove(&script),
            };
        }
        for (name, registration) in registrations {
            let is_gone = registration.is_none();
            let app = self.apps.entry(name.clone()).or_insert_with(App::new);
            app.registration = registration;
            if is_gone {
                actions.extend(self.deactivate(&name, None));
                self.forget_if_over(&name);
            }
            actions.push(Action::Changed { app: name });
        }
        self.is_configured = true;
        if let KeeperView::Early(containers) = &mut self.keeper {
            let containers = std::mem::take(containers);
            actions.extend(self.reconcile(containers, true));
        }
        actions.extend(self.start_the_waiting());
        actions
    }

    fn call(&mut self, verb: Verb, name: &AppName, ticket: Ticket) -> Result<Vec<Action>, Refusal> {
        if !matches!(self.keeper, KeeperView::Connected) {
            return Err(refusals::keeper_away());
        }
        let app = self.apps.get(name).ok_or_else(|| refusals::not_registered(name))?;
        if verb == Verb::Activate {
            let activation = self.freeze(name, app)?;
            return Ok(self.activate(name, activation, Some(ticket)));
        }
        let Life::Active { observed, .. } = &app.life else {
            return Err(match &app.life {
                Life::Activating { .. } => refusals::busy(name, "being activated"),
                Life::Deactivating { .. } => refusals::busy(name, "being deactivated"),
                Life::Inactive | Life::Active { .. } => refusals::not_activated(name),
            });
        };
        let phase = observed.phase.clone();
        let is_waiting = !self.waiting_for(app).is_empty();
        let ticket = Some(ticket);
        match verb {
            Verb::Activate => Ok(Vec::new()),
            Verb::Deactivate => Ok(self.deactivate(name, ticket)),
            Verb::Start => match phase {
                Phase::Running { pid } => Err(refusals::already_running(name, pid)),
                Phase::Starting => Err(refusals::busy(name, "starting")),
                Phase::Defined
                | Phase::StopRequested { .. }
                | Phase::KillRequested { .. }
                | Phase::Backoff { .. }
                | Phase::Stopped
                | Phase::Killed
                | Phase::Ended { .. }
                | Phase::Mismatch { .. } => Ok(self.start(name, ticket)),
            },
            Verb::Restart => match phase {
                Phase::Starting | Phase::Running { .. } | Phase::StopRequested { .. } | Phase::KillRequested { .. } => {
                    let mut actions = self.want(name, Wanted::Running);
                    actions.push(Action::Order { app: name.clone(), order: Order::Restart { ticket } });
                    Ok(actions)
                }
                // Nothing to stop: a start, and answered as one.
                Phase::Defined
                | Phase::Backoff { .. }
                | Phase::Stopped
                | Phase::Killed
                | Phase::Ended { .. }
                | Phase::Mismatch { .. } => Ok(self.start(name, ticket)),
            },
            Verb::Stop | Verb::Kill => match phase {
                Phase::Stopped | Phase::Killed | Phase::Ended { .. } | Phase::Mismatch { .. } => {
                    Err(refusals::not_running(name))
                }
                Phase::Defined if !is_waiting => Err(refusals::not_running(name)),
                Phase::Defined
                | Phase::Starting
                | Phase::Running { .. }
                | Phase::StopRequested { .. }
                | Phase::KillRequested { .. }
                | Phase::Backoff { .. } => {
                    let mut actions = self.want(name, Wanted::Held);
                    actions.extend(self.call_off_the_start(name));
                    let order = if verb == Verb::Stop { Order::Stop { ticket } } else { Order::Kill { ticket } };
                    actions.push(Action::Order { app: name.clone(), order });
                    Ok(actions)
                }
            },
        }
    }

    /// What an activation freezes, or why there can be none.
    fn freeze(&self, name: &AppName, app: &App) -> Result<Activation, Refusal> {
        match &app.life {
            Life::Inactive => {}
            Life::Active { observed, .. } => return Err(refusals::already_activated(name, observed)),
            Life::Activating { .. } => return Err(refusals::busy(name, "being activated")),
            Life::Deactivating { .. } => return Err(refusals::busy(name, "being deactivated")),
        }
        let registration = app.registration.clone().ok_or_else(|| refusals::not_registered(name))?;
        let executable = registration.executable.as_deref().ok_or_else(|| refusals::no_executable(name))?;
        if executable.contains('/') {
            return Err(refusals::executable_in_folder(name, executable));
        }
        let sha256 = self.checksum_of(executable).ok_or_else(|| refusals::no_checksum(executable))?.to_owned();
        Ok(Activation { registration, sha256, wanted: Wanted::Running })
    }

    fn activate(&mut self, name: &AppName, activation: Activation, ticket: Option<Ticket>) -> Vec<Action> {
        if let Some(app) = self.apps.get_mut(name) {
            app.life = Life::Activating { activation: activation.clone(), ticket };
            app.trouble = None;
        }
        let order = Order::Define { activation: Box::new(activation) };
        vec![Action::Order { app: name.clone(), order }, Action::Changed { app: name.clone() }]
    }

    fn start(&mut self, name: &AppName, ticket: Option<Ticket>) -> Vec<Action> {
        let mut actions = self.want(name, Wanted::Running);
        let is_waiting = self.apps.get(name).is_some_and(|app| !self.missing(app).is_empty());
        if is_waiting {
            // It starts when those it waits for run; the status says whom it waits for.
            actions.extend(ticket.map(|ticket| Action::Answer { ticket, answer: Ok(()) }));
            actions.push(Action::Changed { app: name.clone() });
        } else {
            self.mark_starting(name);
            if let Some(app) = self.apps.get_mut(name) {
                // Two calls that start at once: the first hears that the start goes on.
                let earlier = std::mem::replace(&mut app.starting, ticket);
                actions.extend(earlier.map(|ticket| Action::Answer { ticket, answer: Ok(()) }));
            }
            actions.push(Action::Order { app: name.clone(), order: Order::Start { ticket } });
        }
        actions
    }

    /// A start on its way must not be ordered again by the next commit.
    fn mark_starting(&mut self, name: &AppName) {
        if let Some(App { life: Life::Active { observed, .. }, .. }) = self.apps.get_mut(name) {
            match observed.phase {
                Phase::Defined
                | Phase::Backoff { .. }
                | Phase::Stopped
                | Phase::Killed
                | Phase::Ended { .. }
                | Phase::Mismatch { .. } => observed.phase = Phase::Starting,
                // It starts when it has ended.
                Phase::Starting | Phase::Running { .. } | Phase::StopRequested { .. } | Phase::KillRequested { .. } => {
                }
            }
        }
    }

    /// Notes what the operator wants, durably.
    fn want(&mut self, name: &AppName, wanted: Wanted) -> Vec<Action> {
        match self.apps.get_mut(name).map(|app| &mut app.life) {
            Some(Life::Active { activation, .. }) if activation.wanted != wanted => {
                activation.wanted = wanted;
                vec![Action::Record { app: name.clone(), activation: Some(activation.clone()) }]
            }
            Some(Life::Active { .. } | Life::Inactive | Life::Activating { .. } | Life::Deactivating { .. }) | None => {
                Vec::new()
            }
        }
    }

    fn deactivate(&mut self, name: &AppName, ticket: Option<Ticket>) -> Vec<Action> {
        let Some(app) = self.apps.get_mut(name) else { return Vec::new() };
        match &mut app.life {
            Life::Active { .. } | Life::Activating { .. } => {
                let mut tickets: Vec<Ticket> = ticket.into_iter().collect();
                if let Life::Activating { ticket: Some(activating), .. } = &app.life {
                    tickets.push(*activating);
                }
                app.life = Life::Deactivating { tickets };
                app.trouble = None;
                let called_off = self.call_off_the_start(name);
                // Recorded first: a crash before the release must not bring the app back.
                let mut actions = vec![
                    Action::Record { app: name.clone(), activation: None },
                    Action::Order { app: name.clone(), order: Order::Release },
                    Action::Changed { app: name.clone() },
                ];
                actions.extend(called_off);
                actions
            }
            Life::Deactivating { tickets } => {
                tickets.extend(ticket);
                Vec::new()
            }
            Life::Inactive => Vec::new(),
        }
    }

    /// Whoever waits for a start hears that it was overtaken.
    fn call_off_the_start(&mut self, name: &AppName) -> Option<Action> {
        let ticket = self.apps.get_mut(name)?.starting.take()?;
        Some(Action::Answer { ticket, answer: Err(refusals::busy(name, "being stopped")) })
    }

    fn forget_if_over(&mut self, name: &AppName) {
        if self.apps.get(name).is_some_and(|app| app.registration.is_none() && app.life == Life::Inactive) {
            self.apps.remove(name);
        }
    }

    fn expected_sum(&self, name: &AppName) -> Option<String> {
        match &self.apps.get(name)?.life {
            Life::Active { activation, .. } | Life::Activating { activation, .. } => {
                self.checksum_of(activation.registration.executable.as_deref()?).map(str::to_owned)
            }
            Life::Inactive | Life::Deactivating { .. } => None,
        }
    }
}

/// The exit in words: `exit status 1`, `killed by SIGKILL`.
pub fn exit_in_words(exit: LastExit) -> String {
    match exit {
        LastExit::Code(code) => format!("exit status {code}"),
        LastExit::Signal(number) => format!("killed by {}", signal_in_words(number)),
        LastExit::Unknown => "exit status unknown".to_owned(),
    }
}
