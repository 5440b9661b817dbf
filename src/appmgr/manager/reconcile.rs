//! The app manager meets the keeper: what survived is adopted, what is gone comes back by rule, and whoever waited for
//! another app is started.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Activation, App, KeeperView, Life, Manager, Order, Wanted};
use crate::appmgr::observed::{Observed, Phase};
use crate::appmgr::registration::AppName;
use crate::container::spec::RestartPolicy;

impl Manager {
    pub(super) fn keeper_connected(&mut self, containers: Vec<(AppName, Observed)>) -> Vec<Action> {
        if !self.is_configured {
            self.keeper = KeeperView::Early(containers);
            return Vec::new();
        }
        let is_first = matches!(self.keeper, KeeperView::Unmet);
        self.reconcile(containers, is_first)
    }

    /// Compares what the keeper holds with what was activated. A container that survived is adopted as it is. At the
    /// first meeting an activation without a container was ended by a reboot (or a full stop): it comes back only with
    /// `autorun`. Later such a loss is the keeper's own, and what should run is activated again.
    pub(super) fn reconcile(&mut self, containers: Vec<(AppName, Observed)>, is_first: bool) -> Vec<Action> {
        self.keeper = KeeperView::Connected;
        let mut held: BTreeMap<AppName, Observed> = containers.into_iter().collect();
        let mut actions = Vec::new();
        let expected: Vec<(AppName, Activation)> = if is_first {
            std::mem::take(&mut self.recorded).into_iter().collect()
        } else {
            let active = self.apps.iter().filter_map(|(name, app)| match &app.life {
                Life::Active { activation, .. } | Life::Activating { activation, .. } => {
                    Some((name.clone(), activation.clone()))
                }
                Life::Inactive | Life::Deactivating { .. } => None,
            });
            active.collect()
        };
        for (name, activation) in expected {
            let Some(app) = self.apps.get_mut(&name).filter(|app| app.registration.is_some()) else {
                actions.push(Action::Record { app: name, activation: None });
                continue;
            };
            if let Some(observed) = held.remove(&name) {
                app.life = Life::Active { activation, observed };
                let sha256 = self.expected_sum(&name);
                actions.push(Action::Order { app: name.clone(), order: Order::SetExpected { sha256 } });
                actions.push(Action::Changed { app: name });
                continue;
            }
            app.life = Life::Inactive;
            let autorun = app.registration.as_ref().is_some_and(|registration| registration.autorun);
            if is_first && !autorun {
                actions.push(Action::Record { app: name, activation: None });
                continue;
            }
            actions.extend(self.activate_again(&name, &activation));
        }
        // A container that nobody recorded belongs to a call that was never answered, or to a deactivation cut short.
        for (name, _) in held {
            let is_deactivating = self.apps.get(&name).is_some_and(|app| matches!(app.life, Life::Deactivating { .. }));
            if !is_deactivating {
                let app = self.apps.entry(name.clone()).or_insert_with(App::new);
                app.life = Life::Deactivating { tickets: Vec::new() };
            }
            actions.push(Action::Order { app: name, order: Order::Release });
        }
        actions.extend(self.start_the_waiting());
        actions
    }

    /// After a reboot: with the configuration of today. `unless-stopped` alone remembers that it was stopped.
    fn activate_again(&mut self, name: &AppName, old: &Activation) -> Vec<Action> {
        let Some(app) = self.apps.get(name) else { return Vec::new() };
        match self.freeze(name, app) {
            Ok(mut activation) => {
                if activation.registration.restart == RestartPolicy::UnlessStopped {
                    activation.wanted = old.wanted;
                }
                self.activate(name, activation, None)
            }
            Err(refusal) => {
                if let Some(app) = self.apps.get_mut(name) {
                    app.trouble = Some(refusal.to_string());
                }
                vec![Action::Record { app: name.clone(), activation: None }, Action::Changed { app: name.clone() }]
            }
        }
    }

    /// Which of its `after` apps do not run.
    pub(super) fn missing(&self, app: &App) -> Vec<AppName> {
        let Some(registration) = &app.registration else { return Vec::new() };
        let is_running = |name: &AppName| {
            self.apps
                .get(name)
                .is_some_and(|other| matches!(&other.life, Life::Active { observed, .. } if observed.is_running()))
        };
        registration.after.iter().filter(|name| !is_running(name)).cloned().collect()
    }

    /// Starts whoever waited and waits no longer. One that was started before is the keeper's to restart.
    pub(super) fn start_the_waiting(&mut self) -> Vec<Action> {
        if !matches!(self.keeper, KeeperView::Connected) {
            return Vec::new();
        }
        let ready: BTreeSet<AppName> = self
            .apps
            .iter()
            .filter(|(_, app)| {
                matches!(&app.life, Life::Active { activation, observed }
                    if activation.wanted == Wanted::Running && observed.phase == Phase::Defined)
                    && self.missing(app).is_empty()
            })
            .map(|(name, _)| name.clone())
            .collect();
        let mut actions = Vec::new();
        for name in ready {
            self.mark_starting(&name);
            actions.push(Action::Order { app: name, order: Order::Start { ticket: None } });
        }
        actions
    }
}
