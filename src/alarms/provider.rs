//! Alarms as `ietf-alarms` shows them, and the way in for those who report.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::list::{Alarms, CHANGES_MAX, Change, Control, Key, Notify, Report, Selection, SeverityRule};
use super::types::{AlarmType, Severity};
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

const MODULE: &str = "ietf-alarms";
const ROOT: &str = "/ietf-alarms:alarms";
const PURGE: &str = "/ietf-alarms:alarms/alarm-list/purge-alarms";
const COMPRESS: &str = "/ietf-alarms:alarms/alarm-list/compress-alarms";

/// Where alarms are reported. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Desk(Arc<Mutex<Alarms>>);

impl Desk {
    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report in; the notification of it, if it is to be told.
    pub fn report(&self, report: Report, at: Timestamp) -> Option<Element> {
        let key = report.key.clone();
        let change = self.alarms().report(report, at)?;
        let mut leaves = identity(&key);
        leaves.extend(changed(&change));
        Some(Element::node("alarm-notification", leaves).in_module(MODULE))
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
        &[ROOT]
    }

    fn calls(&self) -> &'static [&'static str] {
        // A provider answers for a root once, so its calls stand for themselves.
        &[PURGE, COMPRESS]
    }

    fn validate(&self, _: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        Ok(())
    }

    fn prepare(&mut self, _: &Proposal<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn abort(&mut self) {}

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let root = proposal.config.subtree(ROOT);
        let control = root.as_ref().and_then(|root| root.child("control")).map(read_control);
        self.desk.alarms().set_control(control.unwrap_or_default());
    }

    fn state(&self, _: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let desk = self.desk.clone();
        Box::pin(async move { Ok(vec![state(&desk.alarms())]) })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let (desk, now) = (self.desk.clone(), (self.clock)());
        Box::pin(async move {
            let name = call.input.name.clone();
            match name.as_ref() {
                "purge-alarms" => {
                    let purged = desk.alarms().purge(read_selection(&call.input), now);
                    Ok(vec![Element::leaf("purged-alarms", purged).in_module(MODULE)])
                }
                "compress-alarms" => {
                    let wanted = |leaf: &str| call.input.text_of(leaf).map(str::to_owned);
                    let (resource, alarm_type) = (wanted("resource"), wanted("alarm-type-id"));
                    let fits = |key: &Key| {
                        resource.as_ref().is_none_or(|resource| key.resource == *resource)
                            && alarm_type.as_ref().is_none_or(|id| key.alarm_type.identity().ends_with(id.as_str()))
                    };
                    let compressed = desk.alarms().compress(fits);
                    Ok(vec![Element::leaf("compressed-alarms", compressed).in_module(MODULE)])
                }
                other => Err(Refusal::new(Kind::OperationNotSupported, format!("`{other}` is not for alarms"))),
            }
        })
    }
}

fn read_control(control: &Element) -> Control {
    let default = Control::default();
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
    Control { changes_max, notify }
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
    Selection { is_cleared, older_than, severity }
}

fn state(alarms: &Alarms) -> Element {
    let types = AlarmType::ALL.map(|each| {
        let leaves = vec![
            Element::leaf("alarm-type-id", each.identity()),
            Element::leaf("alarm-type-qualifier", ""),
            Element::leaf("will-clear", true),
            Element::leaf("severity-level", each.severity().as_str()),
            Element::leaf("description", each.description()),
        ];
        Element::node("alarm-type", leaves)
    });
    let mut list = vec![Element::leaf("number-of-alarms", alarms.all().len())];
    list.extend(Element::leaf_if("last-changed", alarms.last_changed()));
    list.extend(alarms.all().iter().map(|(key, alarm)| {
        let mut leaves = identity(key);
        leaves.push(Element::leaf("time-created", alarm.created));
        leaves.push(Element::leaf("is-cleared", alarm.is_cleared()));
        leaves.push(Element::leaf("last-raised", alarm.last_raised));
        leaves.push(Element::leaf("last-changed", alarm.last_changed()));
        leaves.extend(Element::leaf_if("perceived-severity", alarm.severity().map(Severity::as_str)));
        leaves.extend(Element::leaf_if("alarm-text", alarm.changes.front().map(|change| &change.text)));
        leaves.extend(alarm.changes.iter().map(|change| Element::node("status-change", changed(change))));
        Element::node("alarm", leaves)
    }));
    let children = vec![
        Element::node("alarm-inventory", types.into()),
        Element::node("summary", Severity::ALL.map(|severity| summary(alarms, severity)).into()),
        Element::node("alarm-list", list),
    ];
    Element::node("alarms", children).in_module(MODULE)
}

fn summary(alarms: &Alarms, severity: Severity) -> Element {
    let of_it = || alarms.all().values().filter(|alarm| alarm.severity() == Some(severity));
    let cleared = of_it().filter(|alarm| alarm.is_cleared()).count();
    let leaves = vec![
        Element::leaf("severity", severity.as_str()),
        Element::leaf("total", of_it().count()),
        Element::leaf("not-cleared", of_it().count() - cleared),
        Element::leaf("cleared", cleared),
    ];
    Element::node("alarm-summary", leaves)
}

fn identity(key: &Key) -> Vec<Element> {
    vec![
        Element::leaf("resource", &key.resource),
        Element::leaf("alarm-type-id", key.alarm_type.identity()),
        Element::leaf("alarm-type-qualifier", ""),
    ]
}

fn changed(change: &Change) -> Vec<Element> {
    vec![
        Element::leaf("time", change.at),
        Element::leaf("perceived-severity", change.severity.map_or("cleared", Severity::as_str)),
        Element::leaf("alarm-text", &change.text),
    ]
}
