//! What is wanted of each container, what the keeper says of it, and what follows.
//!
//! ```text
//!            configured            defined               in its order
//!  (nothing) ----------> Defining --------> Held by the keeper --------> started, and from there on the keeper's
//!      ^                                      |  ^
//!      `------ released ---- Releasing <------'  | update: another definition, restart where the commit asks for it
//!                 no longer configured           `
//! ```
//! Must not know: sockets, the journal's file, YANG.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::definition::Policy;
use super::effect::{Effect, effect};
use super::resolve::Resolved;
use crate::container::spec::{ContainerName, ContainerSpec, Floor};
use crate::keeper::protocol::{Asker, ContainerState, Phase, Verb};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Running,
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not with the keeper.
    Nowhere,
    Defining,
    Held,
    Releasing,
}

#[derive(Debug)]
pub struct Member {
    /// Gone from the configuration where there is none.
    pub resolved: Option<Arc<Resolved>>,
    pub observed: Option<ContainerState>,
    pub wanted: Wanted,
    /// What kept the keeper from taking it.
    pub trouble: Option<String>,
    place: Place,
    /// A start is on its way.
    starting: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    Define(Box<ContainerSpec>),
    Update(Box<ContainerSpec>),
    Release { grace: std::time::Duration },
    Ask { verb: Verb, by: Asker },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Order {
        name: String,
        order: Order,
    },
    /// To be remembered: an operator has stopped it, or has started it again.
    Record {
        name: String,
        is_stopped: bool,
    },
    Changed {
        name: String,
    },
}

#[derive(Debug)]
pub enum Input {
    Configured { containers: Vec<(String, Option<Arc<Resolved>>)> },
    Connected { containers: Vec<ContainerState> },
    Lost,
    Observed(Box<ContainerState>),
    Ordered { name: String, order: Order, outcome: Result<(), String> },
}

#[derive(Debug, Default)]
pub struct Manager {
    members: BTreeMap<String, Member>,
    /// Stopped by an operator at some time; counts where the policy remembers it.
    stopped: BTreeSet<String>,
    connected: bool,
    /// Who comes before each, by its own word or by theirs.
    order: BTreeMap<String, BTreeSet<String>>,
}

impl Manager {
    pub fn new(stopped: BTreeSet<String>) -> Self {
        Self { stopped, ..Self::default() }
    }

    pub fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    pub fn stopped(&self) -> &BTreeSet<String> {
        &self.stopped
    }

    pub fn is_connected(&self) -> bool {
        self.connected
    }

    pub fn handle(&mut self, input: Input) -> Vec<Action> {
        let mut actions = match input {
            Input::Configured { containers } => self.configured(containers),
            Input::Connected { containers } => self.connected(containers),
            Input::Lost => self.lost(),
            Input::Observed(state) => self.observed(*state),
            Input::Ordered { name, order, outcome } => self.ordered(&name, &order, outcome),
        };
        actions.extend(self.start_the_ready());
        actions
    }

    /// An operator's word; whether the keeper takes it is told later.
    pub fn asked(&mut self, name: &str, verb: Verb, by: Asker) -> Result<Vec<Action>, String> {
        let connected = self.connected;
        let Some(member) = self.members.get_mut(name).filter(|member| member.resolved.is_some()) else {
            return Err("there is no such container".to_owned());
        };
        if !connected {
            return Err("the keeper does not answer; it is started anew by itself, try again in a moment".to_owned());
        }
        if member.place != Place::Held {
            return Err(member.trouble.clone().unwrap_or_else(|| "the keeper does not hold it yet".to_owned()));
        }
        let mut actions = Vec::new();
        match verb {
            Verb::Start | Verb::Restart => {
                member.wanted = Wanted::Running;
                member.starting = true;
                if self.stopped.remove(name) {
                    actions.push(Action::Record { name: name.to_owned(), is_stopped: false });
                }
            }
            Verb::Stop | Verb::Kill => {
                member.wanted = Wanted::Held;
                if self.stopped.insert(name.to_owned()) {
                    actions.push(Action::Record { name: name.to_owned(), is_stopped: true });
                }
            }
            Verb::Signal(_) => {}
        }
        actions.push(Action::Order { name: name.to_owned(), order: Order::Ask { verb, by } });
        Ok(actions)
    }

    /// What a container's start waits for, of other containers.
    pub fn waits_for(&self, name: &str) -> Vec<&str> {
        let Some(member) = self.members.get(name) else { return Vec::new() };
        let is_next = member.wanted == Wanted::Running
            && member.observed.as_ref().is_some_and(|state| state.phase == Phase::NotStarted);
        if !is_next {
            return Vec::new();
        }
        self.before(name).filter(|other| self.members.get(*other).is_some_and(keeps_waiting)).collect()
    }

    fn configured(&mut self, containers: Vec<(String, Option<Arc<Resolved>>)>) -> Vec<Action> {
        let mut actions = Vec::new();
        // Whose order of ending the change concerns as well.
        let mut concerned: BTreeSet<String> = BTreeSet::new();
        for (name, new) in &containers {
            let old = self.members.get(name).and_then(|member| member.resolved.clone());
            concerned.extend([&old, new].into_iter().flatten().flat_map(|resolved| resolved.before.iter().cloned()));
        }
        self.put_in_order(&containers);
        for (name, new) in containers {
            concerned.remove(&name);
            let old = self.members.get(&name).and_then(|member| member.resolved.clone());
            match new {
                Some(new) => actions.extend(self.set(&name, old, new)),
                None => actions.extend(self.unset(&name, old)),
            }
        }
        for name in concerned {
            actions.extend(self.update(&name));
        }
        actions
    }

    fn set(&mut self, name: &str, old: Option<Arc<Resolved>>, new: Arc<Resolved>) -> Vec<Action> {
        let (effect, _) = effect(old.as_deref(), Some(&new));
        let starts = new.start_at_boot;
        let member = self.members.entry(name.to_owned()).or_insert_with(|| Member {
            resolved: None,
            observed: None,
            wanted: Wanted::Held,
            trouble: None,
            place: Place::Nowhere,
            starting: false,
        });
        if member.resolved.is_none() {
            member.wanted = if starts { Wanted::Running } else { Wanted::Held };
        }
        member.resolved = Some(new);
        if !self.connected {
            return Vec::new();
        }
        match member.place {
            Place::Nowhere => self.define(name),
            Place::Held => {
                let mut actions = self.update(name);
                let runs = self.members.get(name).and_then(|member| member.observed.as_ref()).is_some_and(is_going);
                if effect == Effect::Restart && runs {
                    let by = Asker { who: "commit".into(), from: "its definition has changed".into() };
                    let order = Order::Ask { verb: Verb::Restart, by };
                    actions.push(Action::Order { name: name.to_owned(), order });
                }
                actions
            }
            // The end of what is under way will find the new definition.
            Place::Defining | Place::Releasing => Vec::new(),
        }
    }

    fn unset(&mut self, name: &str, old: Option<Arc<Resolved>>) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.stopped.remove(name) {
            actions.push(Action::Record { name: name.to_owned(), is_stopped: false });
        }
        let Some(member) = self.members.get_mut(name) else { return actions };
        member.resolved = None;
        if member.place == Place::Held && self.connected {
            member.place = Place::Releasing;
            let grace = old.map_or(super::resolve::STOP_TIMEOUT_DEFAULT, |old| old.grace());
            actions.push(Action::Order { name: name.to_owned(), order: Order::Release { grace } });
        } else if matches!(member.place, Place::Nowhere) {
            self.members.remove(name);
        }
        actions.push(Action::Changed { name: name.to_owned() });
        actions
    }

    /// What the keeper holds is brought up to date and goes on as it was; what it does not hold begins as at boot; what
    /// nobody has configured goes.
    fn connected(&mut self, containers: Vec<ContainerState>) -> Vec<Action> {
        self.connected = true;
        let mut held: BTreeMap<String, ContainerState> =
            containers.into_iter().map(|state| (state.name.local().to_owned(), state)).collect();
        let mut actions = Vec::new();
        let configured: Vec<String> =
            self.members.iter().filter(|(_, member)| member.resolved.is_some()).map(|(name, _)| name.clone()).collect();
        self.members.retain(|_, member| member.resolved.is_some());
        for name in configured {
            let observed = held.remove(&name);
            let remembers = self.stopped.contains(&name);
            let Some(member) = self.members.get_mut(&name) else { continue };
            let Some(resolved) = &member.resolved else { continue };
            let stays_down = remembers && resolved.policy == Policy::UnlessStopped;
            let at_boot = if resolved.start_at_boot && !stays_down { Wanted::Running } else { Wanted::Held };
            member.starting = false;
            match observed {
                Some(state) => {
                    member.place = Place::Held;
                    member.wanted = match state.phase {
                        Phase::NotStarted => at_boot,
                        Phase::Stopped | Phase::Killed => Wanted::Held,
                        _ => Wanted::Running,
                    };
                    member.observed = Some(state);
                    actions.extend(self.update(&name));
                }
                None => {
                    member.place = Place::Nowhere;
                    member.observed = None;
                    member.wanted = at_boot;
                    actions.extend(self.define(&name));
                }
            }
            actions.push(Action::Changed { name });
        }
        for (name, state) in held {
            self.members.insert(
                name.clone(),
                Member {
                    resolved: None,
                    observed: Some(state),
                    wanted: Wanted::Held,
                    trouble: None,
                    place: Place::Releasing,
                    starting: false,
                },
            );
            let grace = super::resolve::STOP_TIMEOUT_DEFAULT;
            actions.push(Action::Order { name, order: Order::Release { grace } });
        }
        actions
    }

    fn lost(&mut self) -> Vec<Action> {
        self.connected = false;
        self.members.keys().map(|name| Action::Changed { name: name.clone() }).collect()
    }

    fn observed(&mut self, state: ContainerState) -> Vec<Action> {
        let name = state.name.local().to_owned();
        let Some(member) = self.members.get_mut(&name) else { return Vec::new() };
        if member.observed.as_ref() == Some(&state) {
            return Vec::new();
        }
        if state.phase != Phase::NotStarted {
            member.starting = false;
        }
        member.observed = Some(state);
        vec![Action::Changed { name }]
    }

    fn ordered(&mut self, name: &str, order: &Order, outcome: Result<(), String>) -> Vec<Action> {
        let connected = self.connected;
        let Some(member) = self.members.get_mut(name) else { return Vec::new() };
        let changed = Action::Changed { name: name.to_owned() };
        match (order, outcome) {
            (Order::Define(_), Ok(())) if member.place == Place::Defining => {
                member.place = Place::Held;
                member.trouble = None;
                if member.resolved.is_none() {
                    // Deleted meanwhile.
                    return self.unset(name, None);
                }
                let mut actions = self.update_if_other(name, order);
                actions.push(changed);
                actions
            }
            (Order::Define(_), Err(why)) if member.place == Place::Defining => {
                member.place = Place::Nowhere;
                member.trouble = Some(why);
                if member.resolved.is_none() {
                    self.members.remove(name);
                }
                vec![changed]
            }
            (Order::Release { .. }, _) if member.place == Place::Releasing => {
                member.place = Place::Nowhere;
                member.observed = None;
                match &member.resolved {
                    Some(resolved) => {
                        member.wanted = if resolved.start_at_boot { Wanted::Running } else { Wanted::Held };
                        if connected { self.define(name) } else { Vec::new() }
                    }
                    None => {
                        self.members.remove(name);
                        vec![changed]
                    }
                }
            }
            (Order::Ask { .. }, Err(why)) => {
                member.starting = false;
                member.trouble = Some(why);
                vec![changed]
            }
            (Order::Update(_), Err(why)) => {
                member.trouble = Some(why);
                vec![changed]
            }
            (Order::Ask { .. } | Order::Update(_), Ok(())) => {
                member.trouble = None;
                Vec::new()
            }
            (Order::Define(_) | Order::Release { .. }, _) => Vec::new(),
        }
    }

    fn define(&mut self, name: &str) -> Vec<Action> {
        let Some(spec) = self.spec_of(name) else { return Vec::new() };
        if let Some(member) = self.members.get_mut(name) {
            member.place = Place::Defining;
        }
        vec![Action::Order { name: name.to_owned(), order: Order::Define(Box::new(spec)) }]
    }

    fn update(&self, name: &str) -> Vec<Action> {
        let is_held = self.members.get(name).is_some_and(|member| member.place == Place::Held);
        match self.spec_of(name).filter(|_| is_held && self.connected) {
            Some(spec) => vec![Action::Order { name: name.to_owned(), order: Order::Update(Box::new(spec)) }],
            None => Vec::new(),
        }
    }

    /// A commit may have come while the keeper was taking the definition before it.
    fn update_if_other(&self, name: &str, defined: &Order) -> Vec<Action> {
        match (defined, self.spec_of(name)) {
            (Order::Define(old), Some(new)) if **old != new => self.update(name),
            _ => Vec::new(),
        }
    }

    /// With those that name this one in their `before`, so that it ends before them.
    fn spec_of(&self, name: &str) -> Option<ContainerSpec> {
        let mut spec = self.members.get(name)?.resolved.as_ref()?.spec.clone();
        spec.after = self.before(name).filter_map(|other| ContainerName::on(Floor::Container, other).ok()).collect();
        Some(spec)
    }

    fn before(&self, name: &str) -> impl Iterator<Item = &str> {
        self.order.get(name).into_iter().flatten().map(String::as_str)
    }

    fn put_in_order(&mut self, changes: &[(String, Option<Arc<Resolved>>)]) {
        let members = self.members.iter().map(|(name, member)| (name, member.resolved.as_deref()));
        let mut all: BTreeMap<&String, Option<&Resolved>> = members.collect();
        all.extend(changes.iter().map(|(name, new)| (name, new.as_deref())));
        let mut order: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, resolved) in all {
            let Some(resolved) = resolved else { continue };
            for other in &resolved.after {
                order.entry(name.clone()).or_default().insert(other.clone());
            }
            for other in &resolved.before {
                order.entry(other.clone()).or_default().insert(name.clone());
            }
        }
        self.order = order;
    }

    /// Starts those whose turn it is.
    fn start_the_ready(&mut self) -> Vec<Action> {
        if !self.connected {
            return Vec::new();
        }
        let next: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| {
                member.resolved.is_some()
                    && member.place == Place::Held
                    && member.wanted == Wanted::Running
                    && !member.starting
                    && member.trouble.is_none()
                    && member.observed.as_ref().is_none_or(|state| state.phase == Phase::NotStarted)
            })
            .map(|(name, _)| name.clone())
            .filter(|name| !self.before(name).any(|other| self.members.get(other).is_some_and(keeps_waiting)))
            .collect();
        let mut actions = Vec::new();
        for name in next {
            if let Some(member) = self.members.get_mut(&name) {
                member.starting = true;
            }
            let by = Asker { who: "agent".into(), from: "it is its turn".into() };
            actions.push(Action::Order { name, order: Order::Ask { verb: Verb::Start, by } });
        }
        actions
    }
}

/// Whether what comes after it has to wait: it is wanted, and neither ready nor given up.
fn keeps_waiting(member: &Member) -> bool {
    if member.resolved.is_none() || member.wanted == Wanted::Held || member.trouble.is_some() {
        return false;
    }
    match &member.observed {
        None => true,
        Some(state) => match state.phase {
            Phase::NotStarted | Phase::Starting | Phase::Backoff => true,
            Phase::Running => !state.ready,
            Phase::StopRequested
            | Phase::KillRequested
            | Phase::Stopped
            | Phase::Killed
            | Phase::ExitSuccess
            | Phase::ExitFailure
            | Phase::Mismatch => false,
        },
    }
}

/// Whether something runs that a restart would exchange.
fn is_going(state: &ContainerState) -> bool {
    match state.phase {
        Phase::Running | Phase::Starting | Phase::Backoff => true,
        // A definition that could not work may work now.
        Phase::ExitFailure => true,
        Phase::NotStarted
        | Phase::StopRequested
        | Phase::KillRequested
        | Phase::Stopped
        | Phase::Killed
        | Phase::ExitSuccess
        | Phase::Mismatch => false,
    }
}
