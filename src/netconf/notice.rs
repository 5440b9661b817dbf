//! A notification as the bytes of a `<notification>` message (RFC 5277 section 4), framed, into the outbox.
//!
//! Must not know: who subscribed to what.

use bytes::Bytes;

use super::outbox::Outbox;
use super::reply::{self, Style};
use crate::northbound::mailbox::Notice;

/// The namespace of the message and of create-subscription.
pub(super) const NOTIFICATION: &str = "urn:ietf:params:xml:ns:netconf:notification:1.0";

pub(super) fn write(outbox: &mut Outbox, style: &Style<'_>, notice: &Notice) {
    let head = format!("<notification xmlns=\"{NOTIFICATION}\"><eventTime>{}</eventTime>", notice.time());
    reply::send(outbox, style, head, notice.body.clone(), Bytes::from_static(b"</notification>"));
}
