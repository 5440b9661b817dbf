//! The face to the northbound: reads containers from commits, hands operations to the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

use super::access::{self, identifies};
use super::definition::signal_number;
use super::driver::{Ask, Message, Roll};
use super::effect::{Effect, effect};
use super::resolve::{Places, Resolved, path_of, resolve};
use super::rolling::Outcome;
use super::selector::Selector;
use super::touched::{Known, ROOT, Touched};
use super::view::LastCheck;
use crate::keeper::protocol::{Asker, Verb};
use crate::northbound::filter::{Content, Selection};
use crate::northbound::nacm::Nacm;
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

/// Who may use a console is compiled into its definition.
const NACM_ROOT: &str = "/ietf-netconf-acm:nacm";
const STATE: &str = "/procyon-container:containers-state";
const CALLS: [&str; 5] = [
    "/procyon-container:start",
    "/procyon-container:stop",
    "/procyon-container:kill",
    "/procyon-container:signal",
    "/procyon-container:restart",
];
const ROLLING_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const SETTLE_DEFAULT: Duration = Duration::from_secs(1);

type Configured = BTreeMap<String, Option<Arc<Resolved>>>;

/// Where a commit leaves what it says, and the driver finds it: never more than the configuration holds.
#[derive(Debug, Default)]
pub struct Commits {
    left: Mutex<Configured>,
    arrived: Notify,
}

impl Commits {
    fn leave(&self, configured: Configured) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).extend(configured);
        self.arrived.notify_one();
    }

    /// What was left since the last time.
    pub fn fetch(&self) -> Vec<(String, Option<Arc<Resolved>>)> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    /// Waits until something may have been left.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// The containers as the northbound sees them.
pub struct Fleet {
    driver: mpsc::Sender<Message>,
    places: Places,
    commits: Arc<Commits>,
    known: Known,
    resolved: BTreeMap<String, Arc<Resolved>>,
    /// The access rules in force.
    rules: Nacm,
    /// What the last look at a configuration found, for those who ask what it would do.
    checked: Mutex<Arc<LastCheck>>,
}

impl Fleet {
    pub fn new(driver: mpsc::Sender<Message>, places: Places, commits: Arc<Commits>) -> Self {
        let (known, resolved, checked) = (Known::default(), BTreeMap::new(), Mutex::default());
        let rules = Nacm::default();
        Self { driver, places, commits, known, resolved, rules, checked }
    }

    fn read(&self, proposal: &Proposal<'_>) -> (Touched, Configured, Vec<Refusal>) {
        let new_rules = rules_of(proposal);
        let rules = new_rules.as_ref().unwrap_or(&self.rules);
        let concerned = self.resolved.iter().filter(|(_, resolved)| new_rules.is_some() && identifies(&resolved.spec));
        let touched = Touched::of(proposal, &self.known, concerned.map(|(name, _)| name));
        let mut configured = Configured::new();
        let mut refusals = Vec::new();
        for (name, entry) in &touched.containers {
            let Some(entry) = entry else {
                configured.insert(name.clone(), None);
                continue;
            };
            let template = entry.template.as_deref().and_then(|template| self.known.template(&touched, template));
            match resolve(entry, template, &self.places) {
                Ok(mut resolved) => {
                    resolved.spec.access = access::of(&resolved.spec, rules);
                    configured.insert(name.clone(), Some(Arc::new(resolved)));
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        (touched, configured, refusals)
    }

    fn check(&self, configured: &Configured) -> LastCheck {
        let mut check = LastCheck::default();
        for (name, new) in configured {
            let (effect, because) = effect(self.resolved.get(name).map(Arc::as_ref), new.as_deref());
            if effect != Effect::None {
                check.touched.push((name.clone(), effect, because));
            }
        }
        let created = check.touched.iter().filter(|(_, effect, _)| *effect == Effect::Create).count();
        check.untouched = self.resolved.len() + created - check.touched.len();
        check
    }

    fn circle(&self, configured: &Configured) -> Option<Vec<String>> {
        let mut all: BTreeMap<&String, &Resolved> =
            self.resolved.iter().map(|(name, resolved)| (name, resolved.as_ref())).collect();
        for (name, new) in configured {
            match new {
                Some(new) => all.insert(name, new),
                None => all.remove(name),
            };
        }
        let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, resolved) in &all {
            before.entry(name).or_default().extend(resolved.after.iter().map(String::as_str));
            for other in &resolved.before {
                before.entry(other).or_default().insert(name);
            }
        }
        circle(&before)
    }
}

impl Provider for Fleet {
    fn name(&self) -> &'static str {
        "containers"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[ROOT]
    }

    fn watched_roots(&self) -> &'static [&'static str] {
        &[NACM_ROOT]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[STATE]
    }

    fn calls(&self) -> &'static [&'static str] {
        &CALLS
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let (_, configured, mut refusals) = self.read(proposal);
        if let Some(circle) = self.circle(&configured).filter(|_| refusals.is_empty()) {
            let culprit = circle.iter().find(|name| configured.contains_key(*name));
            let message = format!("containers would wait for each other for ever: {}", circle.join(" after "));
            let mut refusal = Refusal::new(Kind::OperationFailed, message)
                .mend("remove one `after` or `before`")
                .tagged("start-cycle");
            refusal.path = culprit.map(|name| format!("{}/after", path_of(name)));
            refusals.push(refusal);
        }
        if !refusals.is_empty() {
            return Err(refusals);
        }
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(self.check(&configured));
        Ok(())
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let (touched, configured, _) = self.read(proposal);
        self.known.take_in(&touched);
        if let Some(rules) = rules_of(proposal) {
            self.rules = rules;
        }
        for (name, new) in &configured {
            match new {
                Some(new) => self.resolved.insert(name.clone(), Arc::clone(new)),
                None => self.resolved.remove(name),
            };
        }
        self.commits.leave(configured);
    }

    fn state(&self, _: &'static str, query: StateQuery) -> Later<Vec<Element>> {
        let driver = self.driver.clone();
        let check = Arc::clone(&self.checked.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let message = Message::View { ask: asked(query.selection.as_ref()), check, reply };
            driver.send(message).await.map_err(|_| gone())?;
            Ok(vec![answer.await.map_err(|_| gone())?])
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let driver = self.driver.clone();
        Box::pin(async move {
            let texts = |leaf: &'static str| -> Vec<String> {
                call.input.children_named(leaf).filter_map(|entry| entry.text.clone()).collect()
            };
            let selector = Selector { patterns: texts("name"), groups: texts("group") };
            if selector.is_empty() {
                let kind = Kind::MissingElement { element: "name".into() };
                return Err(
                    Refusal::new(kind, "which containers is not said").mend("give names, such as ioc-*, or groups")
                );
            }
            let verb = verb_of(&call)?;
            let span = |rolling: &Element, leaf: &str| {
                rolling.text_of(leaf).and_then(|text| Duration::try_from_secs_f64(text.parse().ok()?).ok())
            };
            let roll = call.input.child("rolling").map(|rolling| Roll {
                at_once: rolling.text_of("at-once").and_then(|text| text.parse().ok()).unwrap_or(1),
                timeout: span(rolling, "timeout").unwrap_or(ROLLING_TIMEOUT_DEFAULT),
                settle: span(rolling, "settle").unwrap_or(SETTLE_DEFAULT),
            });
            let by = Asker { who: call.caller.user, from: call.caller.origin };
            let (reply, answer) = oneshot::channel();
            driver.send(Message::Call { verb, selector, roll, by, reply }).await.map_err(|_| gone())?;
            let outcomes = answer.await.map_err(|_| gone())??;
            Ok(outcomes.into_iter().map(|(name, outcome)| told(&name, &outcome)).collect())
        })
    }
}

/// The access rules, if the proposal has others.
fn rules_of(proposal: &Proposal<'_>) -> Option<Nacm> {
    let concerned = proposal.changes.iter().any(|change| change.path.starts_with(NACM_ROOT));
    concerned.then(|| Nacm::from_element(proposal.config.subtree(NACM_ROOT).as_ref()))
}

fn verb_of(call: &Call) -> Result<Verb, Refusal> {
    Ok(match call.path.rsplit(':').next().unwrap_or_default() {
        "start" => Verb::Start,
        "stop" => Verb::Stop,
        "kill" => Verb::Kill,
        "restart" => Verb::Restart,
        _ => {
            let number = call.input.text_of("signal").and_then(signal_number);
            let missing =
                || Refusal::new(Kind::MissingElement { element: "signal".into() }, "which signal is not said");
            Verb::Signal(number.ok_or_else(missing)?)
        }
    })
}

fn told(name: &str, outcome: &Outcome) -> Element {
    let (word, why) = match outcome {
        Outcome::Done => ("done", None),
        Outcome::Failed(why) => ("failed", Some(why)),
        Outcome::LeftAlone => ("left-alone", None),
    };
    let mut children = vec![Element::leaf("name", name), Element::leaf("outcome", word)];
    children.extend(Element::leaf_if("why", why));
    Element::node("container", children).in_module("procyon-container")
}

fn gone() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the containers' part of the agent is shutting down")
}

/// What of the state a filter asks for.
fn asked(selection: Option<&Selection>) -> Ask {
    let Some(Content::Within(parts)) = selection.map(|selection| &selection.content) else { return Ask::everything() };
    let mut ask = Ask::default();
    for part in parts {
        match (part.name.as_str(), &part.content) {
            ("container", Content::Within(children)) => {
                let only = children.iter().find_map(|child| match &child.content {
                    Content::Match(name) if child.name == "name" => Some(name.clone()),
                    _ => None,
                });
                let wants = |leaf: &str| children.iter().any(|child| child.name == leaf);
                // A filter of nothing but matches asks for the whole entry.
                let is_whole = children.iter().all(|child| matches!(child.content, Content::Match(_)));
                ask.containers = true;
                ask.processes |= is_whole || wants("process");
                ask.exits |= is_whole || wants("exit");
                ask.only = only;
            }
            ("container", _) => {
                (ask.containers, ask.processes, ask.exits, ask.only) = (true, true, true, None);
            }
            ("host" | "server", _) => ask.host = true,
            ("last-check", _) => ask.check = true,
            _ => {}
        }
    }
    if parts.iter().filter(|part| part.name == "container").count() > 1 {
        // Several entries at once: all are told, the filter takes its pick.
        ask.only = None;
    }
    ask
}

/// Names along a circle, the first again at the end.
fn circle(before: &BTreeMap<&str, BTreeSet<&str>>) -> Option<Vec<String>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in before.keys() {
        let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
        let others = |name: &str| before.get(name).into_iter().flatten().copied().collect::<Vec<_>>();
        path.push((start, others(start)));
        while let Some((name, left)) = path.last_mut() {
            match left.pop() {
                None => {
                    done.insert(name);
                    path.pop();
                }
                Some(other) => {
                    if let Some(at) = path.iter().position(|(name, _)| *name == other) {
                        let names = path[at..].iter().map(|(name, _)| *name).chain([other]);
                        return Some(names.map(str::to_owned).collect());
                    }
                    if !done.contains(other) {
                        let next = others(other);
                        path.push((other, next));
                    }
                }
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
