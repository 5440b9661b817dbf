//! The notifications of RFC 8639 and 8641 as they are sent. Must not know: who they are for.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;

use super::{MODULE, PUSH_MODULE};
use crate::northbound::mailbox::Notice;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications";
const PUSH_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-yang-push";

pub(in crate::northbound) fn replay_completed(at: Timestamp, id: u32) -> Arc<Notice> {
    of_state(at, "replay-completed", &format!("<id>{id}</id>"))
}

/// `reason` is an identity of this module, without its prefix.
pub(in crate::northbound) fn terminated(at: Timestamp, id: u32, reason: &str) -> Arc<Notice> {
    let content = format!("<id>{id}</id><reason xmlns:sn=\"{NAMESPACE}\">sn:{reason}</reason>");
    of_state(at, "subscription-terminated", &content)
}

/// `contents` is what the datastore holds, as XML.
pub(in crate::northbound) fn update(at: Timestamp, id: u32, contents: &[u8]) -> Arc<Notice> {
    let contents = String::from_utf8_lossy(contents);
    let content = format!("<id>{id}</id><datastore-contents>{contents}</datastore-contents>");
    notice(at, PUSH_MODULE, PUSH_NAMESPACE, "push-update", &content)
}

/// `number` counts the patches of a subscription; `edits` are their `edit` elements.
pub(in crate::northbound) fn change(at: Timestamp, id: u32, number: u64, edits: &str) -> Arc<Notice> {
    let mut content = format!("<id>{id}</id><datastore-changes><yang-patch><patch-id>{number}</patch-id>");
    // Writing to a string cannot fail.
    let _ = write!(content, "{edits}</yang-patch></datastore-changes>");
    notice(at, PUSH_MODULE, PUSH_NAMESPACE, "push-change-update", &content)
}

fn of_state(at: Timestamp, name: &str, content: &str) -> Arc<Notice> {
    notice(at, MODULE, NAMESPACE, name, content)
}

fn notice(at: Timestamp, module: &str, namespace: &str, name: &str, content: &str) -> Arc<Notice> {
    let body = format!("<{name} xmlns=\"{namespace}\">{content}</{name}>").into();
    Arc::new(Notice { at, module: module.to_owned(), name: name.to_owned(), body })
}
