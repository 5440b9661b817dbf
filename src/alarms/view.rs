//! Alarms as `ietf-alarms` shows and tells them.

use super::list::{Alarm, Alarms, Change, Key, Operated, Side};
use super::types::{AlarmType, Severity};
use crate::yang::value::Element;

pub const MODULE: &str = "ietf-alarms";

/// Where scripts that were written for routers count alarms.
pub const STATISTICS: &str = "/Cisco-IOS-XR-alarmgr-server-oper:alarms";

pub fn statistics(alarms: &Alarms) -> Element {
    let reported = Element::leaf("reported", alarms.on(Side::Listed).count());
    let inner =
        ["stats", "detail-system", "detail"].into_iter().fold(reported, |inner, name| Element::node(name, vec![inner]));
    Element::node("alarms", vec![inner]).in_module("Cisco-IOS-XR-alarmgr-server-oper")
}

pub fn state(alarms: &Alarms) -> Element {
    let mut summaries: Vec<Element> = Severity::ALL.map(|severity| summary(alarms, severity)).into();
    let shelved = alarms.on(Side::Shelved).count();
    if shelved > 0 {
        summaries.push(Element::node("shelves-active", Vec::new()));
    }
    let mut list = vec![Element::leaf("number-of-alarms", alarms.on(Side::Listed).count())];
    list.extend(Element::leaf_if("last-changed", alarms.last_changed(Side::Listed)));
    list.extend(alarms.on(Side::Listed).map(|(key, alarm)| Element::node("alarm", listed(key, alarm))));
    let mut aside = vec![Element::leaf("number-of-shelved-alarms", shelved)];
    aside.extend(Element::leaf_if("shelved-alarms-last-changed", alarms.last_changed(Side::Shelved)));
    aside.extend(alarms.on(Side::Shelved).map(|(key, alarm)| Element::node("shelved-alarm", on_shelf(key, alarm))));
    let children = vec![
        Element::node("alarm-inventory", inventory(alarms)),
        Element::node("summary", summaries),
        Element::node("alarm-list", list),
        Element::node("shelved-alarms", aside),
    ];
    Element::node("alarms", children).in_module(MODULE)
}

/// alarm-notification.
pub fn notification(key: &Key, change: &Change) -> Element {
    let mut leaves = identity(key);
    leaves.extend(changed(change));
    Element::node("alarm-notification", leaves).in_module(MODULE)
}

/// operator-action, which belongs to the alarm.
pub fn operator_action(key: &Key, operated: &Operated) -> Element {
    let mut leaves = identity(key);
    leaves.push(Element::node("operator-action", operation(operated)));
    let list = Element::node("alarm-list", vec![Element::node("alarm", leaves)]);
    Element::node("alarms", vec![list]).in_module(MODULE)
}

/// alarm-inventory-changed.
pub fn inventory_changed() -> Element {
    Element::node("alarm-inventory-changed", Vec::new()).in_module(MODULE)
}

/// All types of our own, and whatever other programs have reported.
fn inventory(alarms: &Alarms) -> Vec<Element> {
    let own = AlarmType::ALL.into_iter().filter(|alarm_type| *alarm_type != AlarmType::Reported);
    let reported = alarms.qualifiers().into_iter().map(|qualifier| (AlarmType::Reported, qualifier));
    let all = own.map(|alarm_type| (alarm_type, "")).chain(reported);
    all.map(|(alarm_type, qualifier)| possible(alarms, alarm_type, qualifier)).collect()
}

fn possible(alarms: &Alarms, alarm_type: AlarmType, qualifier: &str) -> Element {
    let mut leaves = vec![
        Element::leaf("alarm-type-id", alarm_type.identity()),
        Element::leaf("alarm-type-qualifier", qualifier),
        Element::leaf("resource", alarm_type.resources()),
        Element::leaf("will-clear", true),
    ];
    let severities = alarms.severities_of(alarm_type);
    leaves.extend(severities.into_iter().map(|severity| Element::leaf("severity-level", severity.as_str())));
    leaves.push(Element::leaf("description", alarm_type.description()));
    Element::node("alarm-type", leaves)
}

fn listed(key: &Key, alarm: &Alarm) -> Vec<Element> {
    let mut leaves = identity(key);
    leaves.push(Element::leaf("time-created", alarm.created));
    leaves.extend(entry(alarm));
    leaves
}

fn on_shelf(key: &Key, alarm: &Alarm) -> Vec<Element> {
    let mut leaves = identity(key);
    leaves.extend(Element::leaf_if("shelf-name", alarm.shelf.as_ref()));
    leaves.extend(entry(alarm));
    leaves
}

fn entry(alarm: &Alarm) -> Vec<Element> {
    let mut leaves = vec![
        Element::leaf("is-cleared", alarm.is_cleared()),
        Element::leaf("last-raised", alarm.last_raised),
        Element::leaf("last-changed", alarm.last_changed()),
    ];
    leaves.push(Element::leaf("perceived-severity", alarm.severity.as_str()));
    leaves.extend(Element::leaf_if("alarm-text", alarm.changes.front().map(|change| &change.text)));
    leaves.extend(alarm.changes.iter().map(|change| Element::node("status-change", changed(change))));
    leaves.extend(alarm.operated.iter().map(|operated| Element::node("operator-state-change", operation(operated))));
    leaves
}

fn summary(alarms: &Alarms, severity: Severity) -> Element {
    let of_it = || alarms.on(Side::Listed).map(|(_, alarm)| alarm).filter(move |it| it.severity == severity);
    let count = |is_cleared: bool, is_closed: Option<bool>| {
        let fits = |alarm: &&Alarm| {
            alarm.is_cleared() == is_cleared && is_closed.is_none_or(|is_closed| alarm.is_closed() == is_closed)
        };
        of_it().filter(fits).count()
    };
    let leaves = vec![
        Element::leaf("severity", severity.as_str()),
        Element::leaf("total", of_it().count()),
        Element::leaf("not-cleared", count(false, None)),
        Element::leaf("cleared", count(true, None)),
        Element::leaf("cleared-not-closed", count(true, Some(false))),
        Element::leaf("cleared-closed", count(true, Some(true))),
        Element::leaf("not-cleared-closed", count(false, Some(true))),
        Element::leaf("not-cleared-not-closed", count(false, Some(false))),
    ];
    Element::node("alarm-summary", leaves)
}

fn identity(key: &Key) -> Vec<Element> {
    vec![
        Element::leaf("resource", &key.resource),
        Element::leaf("alarm-type-id", key.alarm_type.identity()),
        Element::leaf("alarm-type-qualifier", &key.qualifier),
    ]
}

fn changed(change: &Change) -> Vec<Element> {
    vec![
        Element::leaf("time", change.at),
        Element::leaf("perceived-severity", change.severity.map_or("cleared", Severity::as_str)),
        Element::leaf("alarm-text", &change.text),
    ]
}

fn operation(operated: &Operated) -> Vec<Element> {
    let mut leaves = vec![
        Element::leaf("time", operated.at),
        Element::leaf("operator", &operated.operator),
        Element::leaf("state", operated.state.as_str()),
    ];
    leaves.extend(Element::leaf_if("text", operated.text.as_ref()));
    leaves
}
