//! What the last look of each script came to, as operational data.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Script;
use super::protocol::Remark;
use crate::yang::value::Element;

pub const ROOT: &str = "/procyon-validation:commit-scripts";
const MODULE: &str = "procyon-validation";

/// What one script did to the last commit that it saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastLook {
    pub duration: Duration,
    pub errors: Vec<Remark>,
    pub warnings: Vec<Remark>,
    /// Data paths of what it set or took away.
    pub amended: Vec<String>,
    /// Why it could not say anything, or how it crashed.
    pub trouble: Option<String>,
    /// Twice where something was amended.
    pub calls: u32,
    pub callbacks: BTreeMap<String, Counts>,
}

/// What one callback did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub calls: u32,
    pub duration: Duration,
    pub errors: u32,
    pub warnings: u32,
    pub modifications: u32,
    /// The traceback of what it raised.
    pub crash: Option<String>,
}

/// One script as it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub state: &'static str,
    pub why: Option<String>,
    pub looks: u64,
    pub last: LastLook,
    /// What was looked at last was not committed.
    pub is_pending: bool,
    /// The last look at what was committed.
    pub committed: Option<LastLook>,
}

pub fn state(scripts: &BTreeMap<Script, Standing>) -> Vec<Element> {
    let entries = scripts.iter().map(|(script, standing)| entry(script, standing)).collect();
    vec![Element::node("commit-scripts", entries).in_module(MODULE)]
}

fn entry(script: &Script, standing: &Standing) -> Element {
    let Standing { state, why, looks, last, is_pending: _, committed: _ } = standing;
    let mut leaves = vec![
        Element::leaf("script-type", script.kind.as_str()),
        Element::leaf("script-name", &script.name),
        Element::leaf("checksum", script.sha256),
        Element::leaf("state", state),
    ];
    leaves.extend(Element::leaf_if("why", why.as_ref()));
    leaves.push(Element::leaf("looks", looks));
    if *looks > 0 {
        leaves.push(Element::leaf("last-duration", last.duration.as_micros()));
        leaves.extend(Element::leaf_if("last-trouble", last.trouble.as_ref()));
        leaves.extend(remarks("last-error", &last.errors));
        leaves.extend(remarks("last-warning", &last.warnings));
        leaves.extend(last.amended.iter().map(|path| Element::leaf("last-amended", path)));
    }
    Element::node("script", leaves)
}

fn remarks<'a>(list: &'static str, remarks: &'a [Remark]) -> impl Iterator<Item = Element> + 'a {
    remarks.iter().enumerate().map(move |(at, remark)| {
        let mut leaves = vec![Element::leaf("number", at + 1), Element::leaf("message", &remark.message)];
        leaves.extend(remark.paths.iter().map(|path| Element::leaf("path", path)));
        Element::node(list, leaves)
    })
}
