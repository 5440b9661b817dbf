//! The capability identifiers of NETCONF (RFC 6241 section 8 and the RFCs that add to it), and how modules are said.
//!
//! Knows nothing about which of them this agent has: the northbound lists them in a session's ticket.

use std::fmt::Write as _;

use super::framing::Framing;

pub const BASE_1_0: &str = "urn:ietf:params:netconf:base:1.0";
pub const BASE_1_1: &str = "urn:ietf:params:netconf:base:1.1";
pub const CANDIDATE: &str = "urn:ietf:params:netconf:capability:candidate:1.0";
pub const CONFIRMED_COMMIT: &str = "urn:ietf:params:netconf:capability:confirmed-commit:1.1";
pub const ROLLBACK_ON_ERROR: &str = "urn:ietf:params:netconf:capability:rollback-on-error:1.0";
pub const VALIDATE_1_0: &str = "urn:ietf:params:netconf:capability:validate:1.0";
pub const VALIDATE_1_1: &str = "urn:ietf:params:netconf:capability:validate:1.1";
pub const XPATH: &str = "urn:ietf:params:netconf:capability:xpath:1.0";
pub const NOTIFICATION: &str = "urn:ietf:params:netconf:capability:notification:1.0";
pub const INTERLEAVE: &str = "urn:ietf:params:netconf:capability:interleave:1.0";
/// draft-ietf-netconf-privcand: what a client says that wants a candidate of its own.
pub const PRIVATE_CANDIDATE: &str = "urn:ietf:params:netconf:capability:private-candidate:1.0";
/// ... and what we say, with the ways in which `update` settles conflicts.
pub const PRIVATE_CANDIDATE_OURS: &str = "urn:ietf:params:netconf:capability:private-candidate:1.0?supported-resolution-modes=revert-on-conflict,prefer-candidate,prefer-running";
pub const STARTUP: &str = "urn:ietf:params:netconf:capability:startup:1.0";
pub const WRITABLE_RUNNING: &str = "urn:ietf:params:netconf:capability:writable-running:1.0";
pub const URL: &str = "urn:ietf:params:netconf:capability:url:1.0";
pub const PARTIAL_LOCK: &str = "urn:ietf:params:netconf:capability:partial-lock:1.0";
/// RFC 6243: basic mode explicit, and the modes that a client may ask for.
pub const WITH_DEFAULTS: &str = "urn:ietf:params:netconf:capability:with-defaults:1.0?basic-mode=explicit&also-supported=report-all,report-all-tagged,trim";
/// RFC 8526 section 3.1.1.1: in the operational datastore too.
pub const WITH_OPERATIONAL_DEFAULTS: &str = "urn:ietf:params:netconf:capability:with-operational-defaults:1.0";

/// RFC 6020 section 5.6.4: how a YANG 1.0 module is said.
pub fn module(namespace: &str, name: &str, revision: Option<&str>, features: &[&str], deviations: &[&str]) -> String {
    let joint = if namespace.contains('?') { '&' } else { '?' };
    let mut capability = format!("{namespace}{joint}module={name}");
    // Writing to a string cannot fail.
    if let Some(revision) = revision {
        let _ = write!(capability, "&revision={revision}");
    }
    if !features.is_empty() {
        let _ = write!(capability, "&features={}", features.join(","));
    }
    if !deviations.is_empty() {
        let _ = write!(capability, "&deviations={}", deviations.join(","));
    }
    capability
}

/// RFC 8526 section 2: says that yang-library 1.1 tells the modules, in the state named by `content_id`; and RFC 7950
/// section 5.6.4, that clients who know no datastores find them in modules-state.
pub fn yang_library(content_id: &str) -> [String; 2] {
    let capability = |version: &str, leaf: &str| {
        format!("urn:ietf:params:netconf:capability:yang-library:{version}?revision=2019-01-04&{leaf}={content_id}")
    };
    [capability("1.0", "module-set-id"), capability("1.1", "content-id")]
}

/// The framing after hello (RFC 6242 section 4.1), or `None` when the peers have no base version in common.
pub fn agreed_framing<'a>(ours: &[String], theirs: impl Iterator<Item = &'a str>) -> Option<Framing> {
    let speaks = |version| ours.iter().any(|capability| capability == version);
    let (mut both_1_0, mut both_1_1) = (false, false);
    for capability in theirs {
        both_1_0 |= capability == BASE_1_0 && speaks(BASE_1_0);
        both_1_1 |= capability == BASE_1_1 && speaks(BASE_1_1);
    }
    match (both_1_1, both_1_0) {
        (true, _) => Some(Framing::Chunked),
        (false, true) => Some(Framing::EndOfMessage),
        (false, false) => None,
    }
}

/// Whether a client's capability asks for a private candidate; parameters of its own change nothing.
pub fn asks_for_private_candidate(theirs: &str) -> bool {
    theirs.split('?').next() == Some(PRIVATE_CANDIDATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_base_version_decides_the_framing() {
        let both = [BASE_1_0.to_owned(), BASE_1_1.to_owned()];
        let new = [BASE_1_1.to_owned()];
        assert_eq!(agreed_framing(&both, [BASE_1_0, BASE_1_1].into_iter()), Some(Framing::Chunked));
        assert_eq!(agreed_framing(&both, [BASE_1_0].into_iter()), Some(Framing::EndOfMessage));
        assert_eq!(agreed_framing(&both, [BASE_1_1].into_iter()), Some(Framing::Chunked));
        assert_eq!(agreed_framing(&new, [BASE_1_0].into_iter()), None);
        assert_eq!(agreed_framing(&both, ["urn:example:base:1.1"].into_iter()), None);
    }

    #[test]
    fn a_module_says_its_revision_features_and_deviations() {
        assert_eq!(
            module("urn:x", "x", Some("2026-01-01"), &["a", "b"], &["d"]),
            "urn:x?module=x&revision=2026-01-01&features=a,b&deviations=d"
        );
        assert_eq!(module("urn:x", "x", None, &[], &[]), "urn:x?module=x");
    }
}
