//! What the keeper answers and reports, and what follows from it.

use super::{Action, Activation, App, Life, Manager, Order, Wanted};
use crate::appmgr::observed::{Observed, Phase};
use crate::appmgr::refusals;
use crate::appmgr::registration::AppName;
use crate::northbound::Refusal;

impl Manager {
    pub(super) fn observed(&mut self, name: &AppName, new: Observed) -> Vec<Action> {
        let Some(App { life: Life::Active { activation, observed }, starting, .. }) = self.apps.get_mut(name) else {
            // Of a container that is being released, or of one that was never ours.
            return Vec::new();
        };
        if *observed == new {
            return Vec::new();
        }
        *observed = new;
        let mut actions = vec![Action::Changed { app: name.clone() }];
        if let Some(answer) = start_came_to(name, activation, observed) {
            actions.extend(starting.take().map(|ticket| Action::Answer { ticket, answer }));
        }
        actions.extend(self.start_the_waiting());
        actions
    }

    pub(super) fn ordered(&mut self, name: &AppName, order: Order, outcome: Result<(), Refusal>) -> Vec<Action> {
        match order {
            Order::Define { activation } => self.defined(name, *activation, outcome),
            Order::Release => self.released(name, outcome),
            // Answered by what is observed next; a refusal answers at once.
            Order::Start { .. } if outcome.is_ok() => Vec::new(),
            Order::Start { ticket } | Order::Stop { ticket } | Order::Kill { ticket } | Order::Restart { ticket } => {
                let mut actions = Vec::new();
                if let (Some(app), Err(refusal)) = (self.apps.get_mut(name), &outcome) {
                    app.starting = app.starting.filter(|starting| Some(*starting) != ticket);
                    app.trouble = Some(refusal.to_string());
                    actions.push(Action::Changed { app: name.clone() });
                }
                actions.extend(ticket.map(|ticket| Action::Answer { ticket, answer: outcome }));
                actions
            }
            // Trouble here is said by the next observation, or by the reconciliation after a lost keeper.
            Order::SetExpected { .. } => Vec::new(),
        }
    }

    fn defined(&mut self, name: &AppName, activation: Activation, outcome: Result<(), Refusal>) -> Vec<Action> {
        let Some(app) = self.apps.get_mut(name) else { return Vec::new() };
        let Life::Activating { ticket, .. } = app.life else {
            // Deactivated, or the registration deleted, while the keeper was freezing: the release is on its way.
            return Vec::new();
        };
        match outcome {
            Ok(()) => {
                let wanted = activation.wanted;
                app.life = Life::Active { activation: activation.clone(), observed: Observed::defined() };
                let mut actions = vec![Action::Record { app: name.clone(), activation: Some(activation.clone()) }];
                // The configuration may have moved while the keeper was freezing.
                let sha256 = self.expected_sum(name);
                if sha256.as_deref() != Some(activation.sha256.as_str()) {
                    actions.push(Action::Order { app: name.clone(), order: Order::SetExpected { sha256 } });
                }
                if wanted == Wanted::Running {
                    actions.extend(self.start(name, None));
                }
                // It is activated, whatever becomes of its first start: the status tells that.
                actions.extend(ticket.map(|ticket| Action::Answer { ticket, answer: Ok(()) }));
                actions.push(Action::Changed { app: name.clone() });
                actions
            }
            Err(refusal) => {
                app.life = Life::Inactive;
                app.trouble = Some(refusal.to_string());
                let mut actions = Vec::new();
                if ticket.is_none() {
                    actions.push(Action::Record { app: name.clone(), activation: None });
                }
                actions.extend(ticket.map(|ticket| Action::Answer { ticket, answer: Err(refusal) }));
                actions.push(Action::Changed { app: name.clone() });
                actions
            }
        }
    }

    fn released(&mut self, name: &AppName, outcome: Result<(), Refusal>) -> Vec<Action> {
        let Some(app) = self.apps.get_mut(name) else { return Vec::new() };
        let Life::Deactivating { tickets } = &mut app.life else { return Vec::new() };
        let tickets = std::mem::take(tickets);
        app.life = Life::Inactive;
        let mut actions: Vec<Action> =
            tickets.into_iter().map(|ticket| Action::Answer { ticket, answer: outcome.clone() }).collect();
        actions.push(Action::Changed { app: name.clone() });
        self.forget_if_over(name);
        actions
    }
}

/// What became of a start, once that can be told.
fn start_came_to(name: &AppName, activation: &Activation, observed: &Observed) -> Option<Result<(), Refusal>> {
    match &observed.phase {
        Phase::Running { .. } => Some(Ok(())),
        Phase::Mismatch { expected, found } => {
            let script = activation.registration.executable.as_deref().unwrap_or_default();
            Some(Err(match expected {
                Some(expected) => refusals::mismatch(name, script, expected, found),
                None => refusals::no_checksum(script),
            }))
        }
        // It could not be started at all, or it ran and has ended already.
        Phase::Backoff { .. } | Phase::Ended { .. } => Some(match &observed.why {
            Some(why) => Err(refusals::unusable(name, why)),
            None => Ok(()),
        }),
        Phase::Defined
        | Phase::Starting
        | Phase::StopRequested { .. }
        | Phase::KillRequested { .. }
        | Phase::Stopped
        | Phase::Killed => None,
    }
}
