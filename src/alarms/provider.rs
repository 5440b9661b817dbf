//! Alarms to the northbound, and the desk for those who report.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::warn;

use super::driver::Kept;
use super::list::{
    CHANGES_MAX, Control, Key, Notify, Operated, OperatorState, REPORTED_MAX, Report, Selection, SeverityRule, Side,
};
use super::profile::Profile;
use super::shelf::{Rule, Shelf};
use super::types::{AlarmType, Severity};
use super::view::{self, MODULE};
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::yang::path::{key_values, steps};
use crate::yang::value::Element;

const ROOT: &str = "/ietf-alarms:alarms";
const OPERATE: &str = "/ietf-alarms:alarms/alarm-list/alarm/set-operator-state";
const PURGE: &str = "/ietf-alarms:alarms/alarm-list/purge-alarms";
const COMPRESS: &str = "/ietf-alarms:alarms/alarm-list/compress-alarms";
const PURGE_SHELVED: &str = "/ietf-alarms:alarms/shelved-alarms/purge-shelved-alarms";
const COMPRESS_SHELVED: &str = "/ietf-alarms:alarms/shelved-alarms/compress-shelved-alarms";
const PROFILES: &str = "/ietf-alarms:alarms/alarm-profile";
const RAISE: &str = "/procyon-alarms:raise-alarm";
const CLEAR: &str = "/procyon-alarms:clear-alarm";
const SHELVES: &str = "/ietf-alarms:alarms/control/alarm-shelving/shelf";

/// Where alarms are reported. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    kept: Kept,
    told: mpsc::Sender<Element>,
}

impl Desk {
    pub(super) fn new(kept: Kept, told: mpsc::Sender<Element>) -> Self {
        Self { kept, told }
    }

    /// Takes a report in; the notification of it, if it is to be told.
    pub fn report(&self, report: Report, at: Timestamp) -> Option<Element> {
        let key = report.key.clone();
        let change = self.kept.with(|alarms| alarms.report(report, at))?;
        Some(view::notification(&key, &change))
    }

    /// The same for what another program has to report.
    async fn take_in(&self, report: Report, at: Timestamp) -> Result<(), Refusal> {
        let key = report.key.clone();
        let (change, is_new) = self.kept.with(|alarms| {
            if report.is_raised && alarms.has_no_room_for(&key) {
                let text = format!("other programs have reported {REPORTED_MAX} alarms, which is the limit");
                return Err(Refusal::new(Kind::ResourceDenied, text).mend("purge-alarms forgets those that are over"));
            }
            if !report.is_raised && !alarms.standing().any(|(standing, _)| *standing == key) {
                let text = format!("no alarm `{}` of `{}` is raised", key.qualifier, key.resource);
                return Err(Refusal::new(Kind::DataMissing, text));
            }
            let is_new = !alarms.qualifiers().contains(key.qualifier.as_str());
            Ok((alarms.report(report, at), is_new))
        })?;
        let told = change.map(|change| view::notification(&key, &change));
        for notification in is_new.then(view::inventory_changed).into_iter().chain(told) {
            // When the agent is shutting down nobody listens any more.
            let _ = self.told.send(notification).await;
        }
        Ok(())
    }

    /// What is wrong now, with its text: after a start of the agent, what was wrong at its end.
    pub fn standing(&self) -> Vec<(Key, String)> {
        self.kept.with(|alarms| alarms.standing().map(|(key, change)| (key.clone(), change.text.clone())).collect())
    }
}

pub struct AlarmProvider {
    desk: Desk,
    clock: fn() -> Timestamp,
}

impl AlarmProvider {
    pub fn new(desk: Desk, clock: fn() -> Timestamp) -> Self {
        Self { desk, clock }
    }
}

impl Provider for AlarmProvider {
    fn name(&self) -> &'static str {
        "alarms"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[ROOT]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[ROOT, view::STATISTICS]
    }

    fn calls(&self) -> &'static [&'static str] {
        // A provider answers for a root once, so its calls stand for themselves.
        &[OPERATE, PURGE, COMPRESS, PURGE_SHELVED, COMPRESS_SHELVED, RAISE, CLEAR]
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let root = proposal.config.subtree(ROOT);
        let mut refused: Vec<Refusal> = root
            .iter()
            .flat_map(shelf_entries)
            .filter_map(|entry| {
                let why = Shelf::read(entry).err()?;
                let name = entry.text_of("name").unwrap_or_default();
                Some(
                    Refusal::new(Kind::InvalidValue, format!("shelf `{name}`: {why}"))
                        .mend("a rule is a regular expression for the whole name of the resource: `process web.*`")
                        .at(SHELVES.to_owned()),
                )
            })
            .collect();
        let profiles = root.iter().flat_map(|root| root.children_named("alarm-profile"));
        refused.extend(profiles.filter_map(|entry| {
            let why = Profile::read(entry).err()?;
            let (id, resource) = (entry.text_of("alarm-type-id"), entry.text_of("resource"));
            let which = format!("{} of `{}`", id.unwrap_or_default(), resource.unwrap_or_default());
            Some(Refusal::new(Kind::InvalidValue, format!("the profile for {which}: {why}")).at(PROFILES.to_owned()))
        }));
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let root = proposal.config.subtree(ROOT);
        let control = root.as_ref().map(read_control).unwrap_or_default();
        let now = (self.clock)();
        for (key, change) in self.desk.kept.with(|alarms| alarms.set_control(control, now)) {
            if self.desk.told.try_send(view::notification(&key, &change)).is_err() {
                warn!(resource = %key.resource, "that an alarm has another severity is told to nobody: too much is told");
            }
        }
    }

    fn state(&self, root: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let desk = self.desk.clone();
        let told = if root == view::STATISTICS { view::statistics } else { view::state };
        Box::pin(async move { Ok(vec![desk.kept.with(|alarms| told(alarms))]) })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let (desk, now) = (self.desk.clone(), (self.clock)());
        Box::pin(async move {
            let count = |name: &'static str, count: usize| Ok(vec![Element::leaf(name, count).in_module(MODULE)]);
            match call.input.name.as_ref() {
                "set-operator-state" => {
                    let (key, operated) = operate(&desk, &call, now)?;
                    // When the agent is shutting down nobody listens any more.
                    let _ = desk.told.send(view::operator_action(&key, &operated)).await;
                    Ok(Vec::new())
                }
                "raise-alarm" | "clear-alarm" => desk
                    .take_in(reported(&call.input, call.input.name == "raise-alarm"), now)
                    .await
                    .map(|()| Vec::new()),
                "purge-alarms" | "purge-shelved-alarms" => {
                    let is_shelved = call.input.name == "purge-shelved-alarms";
                    let selection = Selection { is_shelved, ..read_selection(&call.input) };
                    count("purged-alarms", desk.kept.with(|alarms| alarms.purge(&selection, now)))
                }
                "compress-alarms" => {
                    let fits = fitting(&call.input, Rule::parse)?;
                    count("compressed-alarms", desk.kept.with(|alarms| alarms.compress(Side::Listed, fits)))
                }
                "compress-shelved-alarms" => {
                    let fits = fitting(&call.input, |text| Rule::parse(&regex::escape(text)))?;
                    count("compressed-alarms", desk.kept.with(|alarms| alarms.compress(Side::Shelved, fits)))
                }
                other => Err(Refusal::new(Kind::OperationNotSupported, format!("`{other}` is not for alarms"))),
            }
        })
    }
}

fn operate(desk: &Desk, call: &Call, now: Timestamp) -> Result<(Key, Operated), Refusal> {
    let missing = || Refusal::new(Kind::DataMissing, format!("there is no such alarm: {}", call.path));
    let key = key_of(&call.path).ok_or_else(missing)?;
    let state = call.input.text_of("state").and_then(OperatorState::parse).unwrap_or(OperatorState::None);
    let text = call.input.text_of("text").map(str::to_owned);
    let operated = Operated { at: now, operator: call.caller.user.clone(), state, text };
    let operated = desk.kept.with(|alarms| alarms.operate(&key, operated)).ok_or_else(missing)?;
    Ok((key, operated))
}

/// What another program has found.
fn reported(input: &Element, is_raised: bool) -> Report {
    let text = |leaf: &str| input.text_of(leaf).unwrap_or_default().to_owned();
    let key = Key { qualifier: text("name"), ..Key::new(text("resource"), AlarmType::Reported) };
    Report { key, is_raised, text: text("text"), severity: input.text_of("severity").and_then(Severity::parse) }
}

/// The alarm that an action is invoked on.
fn key_of(path: &str) -> Option<Key> {
    let steps = steps(path)?;
    let alarm = steps.iter().find(|step| step.name == "alarm")?;
    let values = key_values(alarm.predicates)?;
    let value = |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let alarm_type = AlarmType::parse(value("alarm-type-id")?)?;
    Some(Key { qualifier: value("alarm-type-qualifier")?.to_owned(), ..Key::new(value("resource")?, alarm_type) })
}

/// What `compress-alarms` is about.
fn fitting(
    input: &Element,
    rule: fn(&str) -> Result<Rule, String>,
) -> Result<impl Fn(&Key) -> bool + use<'_>, Refusal> {
    let resource = input.text_of("resource").map(rule).transpose();
    let resource = resource.map_err(|why| Refusal::new(Kind::InvalidValue, why))?;
    let (alarm_type, qualifier) = (input.text_of("alarm-type-id"), input.text_of("alarm-type-qualifier"));
    Ok(move |key: &Key| {
        resource.as_ref().is_none_or(|rule| rule.fits(&key.resource))
            && alarm_type.is_none_or(|identity| key.alarm_type.identity() == identity)
            && qualifier.is_none_or(|qualifier| key.qualifier == qualifier)
    })
}

fn shelf_entries(root: &Element) -> impl Iterator<Item = &Element> {
    let shelving = root.descend(&["control", "alarm-shelving"]);
    shelving.into_iter().flat_map(|shelving| shelving.children_named("shelf"))
}

fn read_control(root: &Element) -> Control {
    let default = Control::default();
    let profiles = root.children_named("alarm-profile");
    // What cannot be read has been refused.
    let profiles = profiles.filter_map(|entry| Profile::read(entry).ok().flatten()).collect();
    let Some(control) = root.child("control") else { return Control { profiles, ..default } };
    let changes_max = match control.text_of("max-alarm-status-changes") {
        Some("infinite") => CHANGES_MAX,
        Some(number) => number.parse().unwrap_or(default.changes_max),
        None => default.changes_max,
    };
    let least = control.text_of("notify-severity-level").and_then(Severity::parse).unwrap_or(Severity::Warning);
    let notify = match control.text_of("notify-status-changes") {
        Some("raise-and-clear") => Notify::RaiseAndClear,
        Some("severity-level") => Notify::From(least),
        _ => Notify::All,
    };
    let shelving = control.child("alarm-shelving");
    let entries = shelving.into_iter().flat_map(|shelving| shelving.children_named("shelf"));
    // What cannot be read has been refused.
    let shelves = entries.filter_map(|entry| Shelf::read(entry).ok()).collect();
    Control { changes_max, notify, shelves, profiles }
}

fn read_selection(input: &Element) -> Selection {
    let is_cleared = match input.text_of("alarm-clearance-status") {
        Some("cleared") => Some(true),
        Some("not-cleared") => Some(false),
        _ => None,
    };
    let older_than = input.child("older-than").and_then(|age| {
        let units = [("seconds", 1), ("minutes", 60), ("hours", 3600), ("days", 86_400), ("weeks", 604_800)];
        units.iter().find_map(|(unit, seconds)| {
            let count: u64 = age.text_of(unit)?.parse().ok()?;
            Some(Duration::from_secs(count * seconds))
        })
    });
    let severity = input.child("severity").and_then(|rule| {
        let read = |leaf: &str| rule.text_of(leaf).and_then(Severity::parse);
        let below = read("below").map(SeverityRule::Below);
        below.or_else(|| read("is").map(SeverityRule::Is)).or_else(|| read("above").map(SeverityRule::Above))
    });
    let operated = input.child("operator-state-filter");
    Selection {
        is_shelved: false,
        is_cleared,
        older_than,
        severity,
        operator_state: operated.and_then(|it| it.text_of("state")).and_then(OperatorState::parse),
        operator: operated.and_then(|it| it.text_of("user")).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_of_an_action_is_read_from_its_path() {
        let path = "/ietf-alarms:alarms/alarm-list/alarm[resource='process a/b'][alarm-type-id='procyon-alarms:\
                    PROCESS_FAILED'][alarm-type-qualifier='']/set-operator-state";
        let key = Key::new("process a/b", AlarmType::ProcessFailed);
        assert_eq!(key_of(path), Some(key));
        assert_eq!(key_of("/ietf-alarms:alarms/alarm-list/purge-alarms"), None);
    }
}
