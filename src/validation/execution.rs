//! The same looks in the router's tree: `/Cisco-IOS-XR-config-cfgmgr-oper:config`, of config scripts and their callbacks.

use std::collections::BTreeMap;

use super::config::{Kind, Script};
use super::report::{Counts, LastLook, Standing};
use crate::yang::value::Element;

pub const ROOT: &str = "/Cisco-IOS-XR-config-cfgmgr-oper:config";
const FRAME: &str = "Cisco-IOS-XR-config-cfgmgr-oper";
const MODULE: &str = "Cisco-IOS-XR-config-valid-ccv-oper";

/// `active` are the scripts that running has.
pub fn state(standings: &BTreeMap<Script, Standing>, active: &[Script]) -> Vec<Element> {
    let configs = || standings.iter().filter(|(script, _)| script.kind == Kind::Config);
    let last = configs().filter(|(_, standing)| standing.looks > 0).map(|(script, standing)| Look {
        script,
        look: &standing.last,
        is_active: active.contains(script),
        is_pending: standing.is_pending,
    });
    let committed = configs().filter_map(|(script, standing)| {
        let look = standing.committed.as_ref()?;
        Some(Look { script, look, is_active: active.contains(script), is_pending: false })
    });
    let execution = vec![looks("last-validation", last.collect()), looks("running-config", committed.collect())];
    let validation = Element::node("validation", vec![Element::node("script-execution", execution)]).in_module(MODULE);
    vec![Element::node("config", vec![Element::node("global", vec![validation])]).in_module(FRAME)]
}

struct Look<'a> {
    script: &'a Script,
    look: &'a LastLook,
    is_active: bool,
    is_pending: bool,
}

/// Two versions of a script may be there while one takes the other's place: the list has room for one.
fn looks(name: &'static str, mut looks: Vec<Look<'_>>) -> Element {
    looks.sort_by_key(|look| (look.script.name.clone(), !look.is_active));
    looks.dedup_by(|one, other| one.script.name == other.script.name);
    let scripts = looks.iter().map(script).collect();
    let callbacks = looks.iter().flat_map(|look| {
        look.look.callbacks.iter().map(|(name, counts)| {
            let mut leaves =
                vec![Element::leaf("script-name", &look.script.name), Element::leaf("callback-name", name)];
            leaves.extend(outcome(counts, look));
            Element::node("callback", leaves)
        })
    });
    Element::node(name, vec![Element::node("scripts", scripts), Element::node("callbacks", callbacks.collect())])
}

fn script(look: &Look<'_>) -> Element {
    let LastLook { duration, errors, warnings, amended, trouble, calls, callbacks: _ } = look.look;
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let counts = Counts {
        calls: *calls,
        duration: *duration,
        errors: count(errors.len()),
        warnings: count(warnings.len()),
        modifications: count(amended.len()),
        crash: trouble.clone(),
    };
    let mut leaves = vec![Element::leaf("script-name", &look.script.name)];
    leaves.extend(outcome(&counts, look));
    Element::node("script", leaves)
}

fn outcome(counts: &Counts, look: &Look<'_>) -> Vec<Element> {
    let mut children: Vec<Element> = counts.crash.as_deref().map(exception).into_iter().collect();
    children.extend([
        Element::leaf("currently-configured", look.is_active),
        Element::leaf("call-count", counts.calls),
        Element::leaf("duration-milliseconds", counts.duration.as_millis().min(u128::from(u32::MAX))),
        Element::leaf("validation-errors", counts.errors),
        Element::leaf("validation-warnings", counts.warnings),
        Element::leaf("modifications", counts.modifications),
        Element::leaf("pending-modifications", if look.is_pending { counts.modifications } else { 0 }),
    ]);
    children
}

/// What Python prints of an exception, taken apart: the last place that it names, and the last line.
fn exception(traceback: &str) -> Element {
    let place = traceback.lines().rev().find_map(|line| {
        let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
        let digits = rest.split(|next: char| !next.is_ascii_digit()).next()?;
        Some((file, digits.parse::<u32>().ok()?))
    });
    let last = traceback.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let leaves = [
        Some(Element::leaf("error-message", last)),
        Element::leaf_if("file-name", place.map(|(file, _)| file)),
        Element::leaf_if("line", place.map(|(_, line)| line)),
        Some(Element::leaf("backtrace", traceback)),
    ];
    Element::node("exception-details", leaves.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checksum::Sha256;

    #[test]
    fn a_look_is_told_of_the_script_and_of_each_callback() {
        let crash = "Traceback (most recent call last):\n  File \"/harddisk:/a.py\", line 7, in check\n    1 / 0\n\
                     ZeroDivisionError: division by zero\n";
        let counts = Counts { calls: 1, modifications: 2, crash: Some(crash.to_owned()), ..Counts::default() };
        let look = LastLook {
            duration: Duration::from_millis(3),
            amended: vec!["/a:b".to_owned(), "/a:c".to_owned()],
            trouble: Some(crash.to_owned()),
            calls: 1,
            callbacks: BTreeMap::from([("check".to_owned(), counts)]),
            ..LastLook::default()
        };
        let script = Script { kind: Kind::Config, name: "a.py".into(), sha256: Sha256::of(b"x") };
        let standing = Standing { looks: 1, last: look, is_pending: true, ..Standing::default() };
        let told = state(&BTreeMap::from([(script.clone(), standing)]), &[script]);
        let execution = told[0].descend(&["global", "validation", "script-execution"]).unwrap();
        for (list, row) in [("scripts", "script"), ("callbacks", "callback")] {
            let row = execution.descend(&["last-validation", list, row]).unwrap();
            let exception = row.child("exception-details").unwrap();
            assert_eq!(exception.text_of("error-message"), Some("ZeroDivisionError: division by zero"));
            assert_eq!(
                (exception.text_of("file-name"), exception.text_of("line")),
                (Some("/harddisk:/a.py"), Some("7"))
            );
            assert_eq!((row.text_of("modifications"), row.text_of("pending-modifications")), (Some("2"), Some("2")));
        }
        assert!(execution.descend(&["running-config", "scripts", "script"]).is_none(), "it was not committed");
    }
}
