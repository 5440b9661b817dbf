//! What providers tell, as events of the stream: they know values, not when the northbound hears of them.

use jiff::Timestamp;

use crate::northbound::handle::Event;
use crate::script::name::ScriptKey;
use crate::script::repository::{ScriptEvent, Status};
use crate::yang::value::Element;

#[expect(clippy::disallowed_methods, reason = "the composition root reads the clock for those who do not")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

pub(super) fn event(element: Element) -> Event {
    Event { at: now(), element }
}

/// script-status-change of `procyon-appmgr`; nothing where another event says the same and more.
pub(super) fn script(event: &ScriptEvent) -> Option<Element> {
    Some(match event {
        ScriptEvent::Added { key, sum } => change(key, vec![action("NEW"), Element::leaf("found-checksum", sum)]),
        ScriptEvent::Modified { key, sum } => change(key, vec![action("MODIFY"), Element::leaf("found-checksum", sum)]),
        ScriptEvent::Deleted { key } => change(key, vec![action("DELETE")]),
        // The mismatch itself follows, with both checksums.
        ScriptEvent::StatusChanged { status: Status::ChecksumMismatch, .. } => return None,
        ScriptEvent::StatusChanged { key, status } => change(key, vec![Element::leaf("status", status)]),
        ScriptEvent::ChecksumMismatch { key, expected, found } => {
            let why = format!(
                "{} is not what was approved and does not run; put the approved file back, or configure its checksum: \
                 `script {} {} checksum SHA256 {found}`",
                key.name, key.script_type, key.name
            );
            let facts = vec![
                Element::leaf("status", Status::ChecksumMismatch),
                Element::leaf("description", why),
                Element::leaf("expected-checksum", expected),
                Element::leaf("found-checksum", found),
            ];
            change(key, facts)
        }
    })
}

fn action(name: &'static str) -> Element {
    Element::leaf("last-action", name)
}

fn change(key: &ScriptKey, mut facts: Vec<Element>) -> Element {
    let mut children = vec![Element::leaf("script-name", &key.name), Element::leaf("script-type", key.script_type)];
    children.append(&mut facts);
    Element::node("script-status-change", children).in_module("procyon-appmgr")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::checksum::Sha256;
    use crate::script::name::{ScriptName, ScriptType};
    use crate::yang::notification;
    use crate::yang::schema::{ModuleSpec, Schema};

    #[test]
    fn each_script_event_is_told_once_and_fits_its_module() {
        let module = ModuleSpec { name: "procyon-appmgr".to_owned(), revision: None, features: Vec::new() };
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yang");
        let schema = Schema::load(&[folder], &[module]).unwrap();
        let key = ScriptKey { script_type: ScriptType::Process, name: ScriptName::parse("a.py").unwrap() };
        let (sum, found) = (Sha256::of(b"approved"), Sha256::of(b"other"));
        let told = |event: ScriptEvent| {
            let element = script(&event)?;
            assert!(notification::from_element(schema, &element).is_ok(), "{element:?}");
            let facts =
                ["last-action", "status", "found-checksum"].map(|leaf| element.text_of(leaf).map(str::to_owned));
            Some(facts.into_iter().flatten().collect::<Vec<_>>().join(" "))
        };
        let key = || key.clone();
        assert_eq!(told(ScriptEvent::Added { key: key(), sum }), Some(format!("NEW {sum}")));
        assert_eq!(told(ScriptEvent::Modified { key: key(), sum: found }), Some(format!("MODIFY {found}")));
        assert_eq!(told(ScriptEvent::Deleted { key: key() }).as_deref(), Some("DELETE"));
        let status = |status| told(ScriptEvent::StatusChanged { key: key(), status });
        assert_eq!(status(Status::Ready).as_deref(), Some("Ready"));
        assert_eq!(status(Status::ChecksumMismatch), None, "the mismatch says it");
        let mismatch = told(ScriptEvent::ChecksumMismatch { key: key(), expected: sum, found });
        assert_eq!(mismatch, Some(format!("Checksum Mismatch {found}")));
    }
}
