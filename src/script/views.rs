//! The status views: the same rows by many paths.
//!
//! Rows stand newest action first; `reverse` turns that round. Views that the filter does not ask for are not made.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::name::{ScriptKey, ScriptName, ScriptType};
use super::repository::{Committed, FileFacts, Inventory, Record, Status};
use crate::northbound::filter::Selection;
use crate::northbound::wanted::Wanted;
use crate::yang::value::Element;

/// The top node of the state.
pub const ROOT: &str = "/Cisco-IOS-XR-infra-script-mgmt-oper:script";

pub const MODULE: &str = "Cisco-IOS-XR-infra-script-mgmt-oper";

/// Numbers that one filter may ask of the `lasts` view.
const LASTS_MAX: usize = 16;

/// What stands in the place of a status where the script is gone.
const DELETED: &str = "Deleted";

/// One script as all views show it.
struct Row<'a> {
    key: &'a ScriptKey,
    /// Absent: it was deleted.
    file: Option<&'a FileFacts>,
    record: &'a Record,
    committed: &'a Committed,
    zone: &'a TimeZone,
}

/// The container `status`, as far as `selection`, a filter on `ROOT`, asks for it.
pub fn status(
    inventory: &Inventory,
    committed: &Committed,
    zone: &TimeZone,
    selection: Option<&Selection>,
) -> Option<Element> {
    let wanted = Wanted::new(selection).within("status")?;
    let mut rows: Vec<Row<'_>> = inventory
        .records()
        .map(|(key, record)| Row { key, file: record.file.as_ref(), record, committed, zone })
        .collect();
    rows.sort_by(|one, other| other.last_time().cmp(&one.last_time()).then_with(|| one.key.cmp(other.key)));
    Some(Element::node("status", views(&rows, &wanted)))
}

fn views(rows: &[Row<'_>], wanted: &Wanted<'_>) -> Vec<Element> {
    let all: Vec<&Row<'_>> = rows.iter().filter(|row| row.file.is_some()).collect();
    let mut children = pair(&all, wanted);
    if wanted.has("reverse") {
        children.push(reverse(&all));
    }
    children.extend(lasts(&all, wanted));
    if wanted.names("show-del") {
        let summaries = Element::node("summary", rows.iter().map(Row::summary).collect());
        children.push(Element::node("show-del", vec![summaries]));
    }
    if wanted.has("status-names") {
        let mut names: Vec<_> = all.iter().map(|row| &row.key.name).collect();
        names.sort();
        names.dedup();
        let of_name = |name: &ScriptName| {
            let wanted = wanted.within("status-names").and_then(|names| names.within("status-name"));
            named("status-name", name, &all, &wanted.unwrap_or(Wanted::ALL))
        };
        children.push(Element::node("status-names", names.into_iter().map(of_name).collect()));
    }
    if let Some(types) = wanted.within("type") {
        let of_type = |script_type: ScriptType| {
            let node = format!("{script_type}-script");
            let wanted = types.within(&node)?;
            let own: Vec<&Row<'_>> = all.iter().copied().filter(|row| row.key.script_type == script_type).collect();
            let mut children = group(&own, &wanted);
            // Made for those who name it: it holds the same rows once more.
            if let Some(entry) = wanted.within("type-names").filter(|_| wanted.names("type-names")) {
                let wanted = entry.within("type-name").unwrap_or(Wanted::ALL);
                let names = own.iter().map(|row| named("type-name", &row.key.name, &own, &wanted));
                children.push(Element::node("type-names", names.collect()));
            }
            (!own.is_empty()).then(|| Element::node(node, children))
        };
        children.push(Element::node("type", ScriptType::ALL.into_iter().filter_map(of_type).collect()));
    }
    children
}

/// The entry of all scripts of one name among `rows`.
fn named(list: &'static str, name: &ScriptName, rows: &[&Row<'_>], wanted: &Wanted<'_>) -> Element {
    let own: Vec<&Row<'_>> = rows.iter().copied().filter(|row| row.key.name == *name).collect();
    let mut children = vec![Element::leaf("name-str", name)];
    let is_whole = wanted.has_only("name-str");
    children.extend(group(&own, if is_whole { &Wanted::ALL } else { wanted }));
    Element::node(list, children)
}

/// The views of some scripts; what repeats their rows is for those who name it.
fn group(rows: &[&Row<'_>], wanted: &Wanted<'_>) -> Vec<Element> {
    let mut children = pair(rows, wanted);
    children.extend(wanted.names("reverse").then(|| reverse(rows)));
    children.extend(lasts(rows, wanted));
    children
}

fn reverse(rows: &[&Row<'_>]) -> Element {
    Element::node("reverse", rows.iter().rev().map(|row| row.detail()).collect())
}

/// As many of the newest as the filter says, for each number that it says.
fn lasts(rows: &[&Row<'_>], wanted: &Wanted<'_>) -> Option<Element> {
    let numbers = wanted.keys(&["lasts", "last", "last-num"], LASTS_MAX);
    let last = numbers.into_iter().filter_map(|text| text.parse::<u32>().ok()).map(|number| {
        let mut last = vec![Element::leaf("last-num", number)];
        last.extend(rows.iter().take(number as usize).map(|row| row.detail()));
        Element::node("last", last)
    });
    let last: Vec<Element> = last.collect();
    (!last.is_empty()).then(|| Element::node("lasts", last))
}

/// The `summary` and the `detail` of the same scripts.
fn pair(rows: &[&Row<'_>], wanted: &Wanted<'_>) -> Vec<Element> {
    let mut children = Vec::new();
    if wanted.has("summary") {
        children.push(Element::node("summary", rows.iter().map(|row| row.summary()).collect()));
    }
    if wanted.has("detail") {
        children.push(Element::node("detail", rows.iter().map(|row| row.detail()).collect()));
    }
    children
}

impl Row<'_> {
    fn last_time(&self) -> Option<Timestamp> {
        self.record.history.front().map(|row| row.time)
    }

    fn summary(&self) -> Element {
        let last = self.record.history.front();
        let status = self
            .file
            .map_or_else(|| DELETED.to_owned(), |file| Status::of(&file.sum, self.committed.get(self.key)).to_string());
        let leaves = [
            Element::leaf_if("last-action", last.map(|row| row.action)),
            Element::leaf_if("last-action-time", last.map(|row| time_text(row.time, self.zone))),
            Some(Element::leaf("script-name", &self.key.name)),
            Some(Element::leaf("script-type", self.key.script_type)),
            Some(Element::leaf("status", status)),
        ];
        Element::node("status-summary", leaves.into_iter().flatten().collect())
    }

    fn detail(&self) -> Element {
        let mut children = vec![self.summary()];
        if let Some(file) = self.file {
            children.push(Element::leaf("checksum", file.sum));
            children.extend(Element::leaf_if("script-description", file.docstring.description.as_ref()));
            children.extend(Element::leaf_if("script-arguments", file.docstring.arguments.as_ref()));
        }
        for row in &self.record.history {
            let leaves = [
                Some(Element::leaf("action", row.action)),
                Element::leaf_if("checksum", row.checksum),
                Some(Element::leaf("description", &row.description)),
                Some(Element::leaf("time-stamp", time_text(row.time, self.zone))),
            ];
            children.push(Element::node("status-history", leaves.into_iter().flatten().collect()));
        }
        Element::node("status-detail", children)
    }
}

/// As `ctime` writes it: `Tue Aug 24 10:44:53 2021`.
pub fn time_text(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%a %b %e %H:%M:%S %Y").to_string()
}
