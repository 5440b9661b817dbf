//! State of the scripts that are kept up to date: `/procyon-update:script-updates`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::plan::{Attempt, Fetched, Plan};
use crate::clock::Moment;
use crate::yang::value::Element;

pub(super) const ROOT: &str = "/procyon-update:script-updates";
const MODULE: &str = "procyon-update";

pub(super) fn updates<W>(plan: &Plan<W>, moment: Moment, zone: &TimeZone) -> Element {
    let row = |(key, entry): (&super::config::Key, &super::config::Entry)| {
        let last = plan.last(key);
        let next = plan
            .due_in(key, moment.now)
            .map(|left| moment.unix_ms.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)));
        let leaves = [
            Some(Element::leaf("script-type", key.script_type)),
            Some(Element::leaf("script-name", &key.script)),
            Some(Element::leaf("condition", key.condition.as_str())),
            Some(Element::leaf("url", &entry.origin.url)),
            Element::leaf_if("last-attempt", last.map(|attempt| time(attempt.unix_ms, zone))),
            Element::leaf_if("last-result", last.map(result)),
            Element::leaf_if("next-attempt", next.map(|at| time(at, zone))),
        ];
        Element::node("update", leaves.into_iter().flatten().collect())
    };
    Element::node("script-updates", plan.entries().iter().map(row).collect()).in_module(MODULE)
}

fn result(attempt: &Attempt) -> String {
    match &attempt.outcome {
        Ok(Fetched::New) => "updated".to_owned(),
        Ok(Fetched::Same) => "up to date".to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

/// As `ctime` writes it, like the other times of scripts.
fn time(unix_ms: u64, zone: &TimeZone) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    moment.to_zoned(zone.clone()).strftime("%a %b %e %H:%M:%S %Y").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::config::tests::key;
    use super::super::config::{Condition, Entry, Origin};
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_row_says_what_came_of_it_and_when_it_goes_on() {
        let moment = Moment { now: Instant::now(), unix_ms: 1_624_029_280_000 };
        let origin = Origin { url: "http://h/s".to_owned(), username: None, password: Some("sealed:1:x".to_owned()) };
        let entry = Entry { origin, every: Some(Duration::from_secs(3600)), runs_local: false };
        let mut plan: Plan<()> = Plan::new();
        plan.configure([(key(Condition::Schedule), entry)].into(), moment);
        plan.due(moment);
        let task = plan.next().unwrap();
        plan.done(&task.key, &Ok(Fetched::New), moment);
        let shown = updates(&plan, moment, &TimeZone::UTC);
        let row: Vec<_> = shown.children[0].children.iter().filter_map(|leaf| leaf.text.as_deref()).collect();
        assert_eq!(
            row,
            [
                "exec",
                "x.py",
                "schedule",
                "http://h/s",
                "Fri Jun 18 15:14:40 2021",
                "updated",
                "Fri Jun 18 16:14:40 2021"
            ]
        );
    }
}
