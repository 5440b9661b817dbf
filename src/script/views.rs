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

/// One script as all views show it.
struct Row<'a> {
    key: &'a ScriptKey,
    file: &'a FileFacts,
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
    let mut rows: Vec<Row<'_>> =
        inventory.scripts().map(|(key, file, record)| Row { key, file, record, committed, zone }).collect();
    rows.sort_by(|one, other| other.last_time().cmp(&one.last_time()).then_with(|| one.key.cmp(other.key)));
    Some(Element::node("status", views(&rows, &wanted)))
}

fn views(rows: &[Row<'_>], wanted: &Wanted<'_>) -> Vec<Element> {
    let all: Vec<&Row<'_>> = rows.iter().collect();
    let mut children = pair(&all, wanted);
    if wanted.has("reverse") {
        children.push(Element::node("reverse", all.iter().rev().map(|row| row.detail()).collect()));
    }
    if wanted.has("lasts") {
        let numbers = wanted.keys(&["lasts", "last", "last-num"], LASTS_MAX);
        let lasts = numbers.into_iter().filter_map(|text| text.parse::<u32>().ok()).map(|number| {
            let mut last = vec![Element::leaf("last-num", number)];
            last.extend(all.iter().take(number as usize).map(|row| row.detail()));
            Element::node("last", last)
        });
        let lasts: Vec<Element> = lasts.collect();
        if !lasts.is_empty() {
            children.push(Element::node("lasts", lasts));
        }
    }
    if wanted.has("status-names") {
        let mut names: Vec<_> = all.iter().map(|row| &row.key.name).collect();
        names.sort();
        names.dedup();
        let of_name = |name: &ScriptName| {
            let own: Vec<&Row<'_>> = all.iter().copied().filter(|row| row.key.name == *name).collect();
            let mut children = vec![Element::leaf("name-str", name)];
            children.extend(pair(&own, &Wanted::ALL));
            Element::node("status-name", children)
        };
        children.push(Element::node("status-names", names.into_iter().map(of_name).collect()));
    }
    if let Some(types) = wanted.within("type") {
        let of_type = |script_type: ScriptType| {
            let node = format!("{script_type}-script");
            let wanted = types.within(&node)?;
            let own: Vec<&Row<'_>> = all.iter().copied().filter(|row| row.key.script_type == script_type).collect();
            (!own.is_empty()).then(|| Element::node(node, pair(&own, &wanted)))
        };
        children.push(Element::node("type", ScriptType::ALL.into_iter().filter_map(of_type).collect()));
    }
    children
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
        let status = Status::of(&self.file.sum, self.committed.get(self.key));
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
        let docstring = &self.file.docstring;
        let mut children = vec![self.summary(), Element::leaf("checksum", self.file.sum)];
        children.extend(Element::leaf_if("script-description", docstring.description.as_ref()));
        children.extend(Element::leaf_if("script-arguments", docstring.arguments.as_ref()));
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
