//! What libyang says, as refusals with the tags of RFC 6241 appendix A and RFC 7950 section 15.
//!
//! libyang reports a missing mandatory leaf, a false `when` and a broken `must` under one code. Its message templates
//! tell them apart; tests pin each, so that a new libyang cannot change an answer unseen.

use super::ffi::Fault;
use super::path;
use super::schema::Schema;
use crate::northbound::refusal::{Detail, Layer};
use crate::northbound::{Kind, Refusal};

/// Refusals for what validation found. Never empty.
pub(super) fn from_validation(schema: &Schema, faults: Vec<Fault>) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = Vec::with_capacity(faults.len());
    for fault in &faults {
        let refusal = classify(schema, fault);
        if !refusals.contains(&refusal) {
            refusals.push(refusal);
        }
    }
    if refusals.is_empty() {
        refusals.push(Refusal::new(Kind::OperationFailed, "the data is not valid, and libyang does not say why"));
    }
    refusals
}

/// The same for the input of an rpc or action: what is missing there is a parameter (RFC 6241 appendix A).
pub(super) fn from_input(schema: &Schema, faults: Vec<Fault>) -> Vec<Refusal> {
    let mut refusals = from_validation(schema, faults);
    for refusal in &mut refusals {
        if refusal.kind == Kind::DataMissing && refusal.app_tag.is_none() {
            let element = last_name(refusal.path.as_deref().unwrap_or_default());
            refusal.kind = Kind::MissingElement { element };
        }
        refusal.layer = Layer::Protocol;
    }
    refusals
}

/// A value that its type does not allow (RFC 7950 section 8.3.1): invalid-value.
pub(super) fn from_value(path: &str, faults: &[Fault]) -> Refusal {
    let fault = faults.first();
    let message = fault.map(|fault| sentence(&fault.message)).filter(|message| !message.is_empty());
    let message = message.unwrap_or_else(|| format!("the value of {path} is not one of its type"));
    let refusal = Refusal::new(Kind::InvalidValue, message).at(path);
    match fault.and_then(|fault| fault.app_tag.as_deref()) {
        Some(tag) => refusal.tagged(tag),
        None => refusal,
    }
}

/// Anything else that libyang would not do.
pub(super) fn from_other(kind: Kind, what: &str, faults: &[Fault]) -> Refusal {
    let said: Vec<String> = faults.iter().map(|fault| sentence(&fault.message)).collect();
    let message = if said.is_empty() { what.to_owned() } else { format!("{what}: {}", said.join("; ")) };
    let refusal = Refusal::new(kind, message);
    match faults.iter().find_map(|fault| fault.data_path.clone()) {
        Some(path) => refusal.at(path),
        None => refusal,
    }
}

fn classify(schema: &Schema, fault: &Fault) -> Refusal {
    let message = sentence(&fault.message);
    let text = fault.message.as_str();
    let path = fault.data_path.clone().unwrap_or_else(|| "/".to_owned());
    if let Some(name) = between(text, "Mandatory node \"", "\" instance does not exist") {
        // libyang names the parent; the missing node is what a client wants to see.
        let missing = missing_child(schema, &path, fault, name);
        return Refusal::new(Kind::DataMissing, format!("the mandatory node {missing} is missing"))
            .at(missing)
            .mend("give it a value");
    }
    if let Some(name) = between(text, "Mandatory choice \"", "\" data do not exist") {
        return Refusal::new(Kind::DataMissing, format!("one of the cases of choice {name} is needed in {path}"))
            .at(path)
            .tagged("missing-choice")
            .detailed(vec![Detail::MissingChoice(name.to_owned())]);
    }
    if text.starts_with("Must condition \"") {
        return with_tag(Refusal::new(Kind::OperationFailed, message).at(path), fault, "must-violation");
    }
    if text.starts_with("When condition \"") {
        // RFC 7950 section 8.3.1: data whose when is false is an unknown element.
        let element = last_name(&path);
        return Refusal::new(Kind::UnknownElement { element }, message).at(path);
    }
    if text.starts_with("Unique data leaf(s) \"") {
        let details = non_unique(text);
        return Refusal::new(Kind::OperationFailed, message).at(path).tagged("data-not-unique").detailed(details);
    }
    match fault.app_tag.as_deref() {
        Some("too-few-elements") => {
            return Refusal::new(Kind::OperationFailed, message).at(list_path(&path, text)).tagged("too-few-elements");
        }
        Some("too-many-elements") => {
            return Refusal::new(Kind::OperationFailed, message).at(list_path(&path, text)).tagged("too-many-elements");
        }
        Some("instance-required") => {
            return Refusal::new(Kind::DataMissing, message).at(path).tagged("instance-required");
        }
        _ => {}
    }
    if text.starts_with("Duplicate instance of \"") {
        return Refusal::new(Kind::DataExists, message).at(path);
    }
    if let Some(name) = between(text, "Data for both cases \"", "\" and \"") {
        // libyang does not say where; the name of a case is all there is.
        let element = name.to_owned();
        return Refusal::new(Kind::BadElement { element }, message).at(path);
    }
    if text.starts_with("Unexpected data ") {
        let element = last_name(&path);
        return Refusal::new(Kind::UnknownElement { element }, message).at(path);
    }
    if let Some(node) = schema.node(&path) {
        // An error-message of the module stands alone, without the template of libyang.
        if node.must_messages().contains(&text) {
            let refusal = Refusal::new(Kind::OperationFailed, fault.message.clone()).at(path);
            return with_tag(refusal, fault, "must-violation");
        }
        if node.is_leaf_like() {
            let refusal = Refusal::new(Kind::InvalidValue, message).at(path);
            return match &fault.app_tag {
                Some(tag) => refusal.tagged(tag.clone()),
                None => refusal,
            };
        }
    }
    let message = if message.is_empty() { format!("{path} is not valid") } else { message };
    let refusal = Refusal::new(Kind::OperationFailed, message).at(path);
    match &fault.app_tag {
        Some(tag) => refusal.tagged(tag.clone()),
        None => refusal,
    }
}

/// RFC 7950 section 15.1: each leaf, in both entries that libyang names.
fn non_unique(text: &str) -> Vec<Detail> {
    let parts = text.strip_prefix("Unique data leaf(s) \"").and_then(|rest| rest.split_once("\" not satisfied in \""));
    let Some((leaves, entries)) = parts else { return Vec::new() };
    let Some((one, other)) = entries.trim_end_matches('.').trim_end_matches('"').split_once("\" and \"") else {
        return Vec::new();
    };
    let of_entry = |entry: &str| {
        let leaves: Vec<Detail> = leaves.split(' ').map(|leaf| Detail::NonUnique(format!("{entry}/{leaf}"))).collect();
        // A key may hold what looks like the words between.
        if path::steps(entry).is_some() { leaves } else { Vec::new() }
    };
    of_entry(one).into_iter().chain(of_entry(other)).collect()
}

fn with_tag(refusal: Refusal, fault: &Fault, otherwise: &str) -> Refusal {
    refusal.tagged(fault.app_tag.clone().unwrap_or_else(|| otherwise.to_owned()))
}

/// The data path of a mandatory node that is not there: the parent's data path and the node's own name.
fn missing_child(schema: &Schema, path: &str, fault: &Fault, name: &str) -> String {
    let on_top =
        path == "/" || last_name(path) == name && schema.node(path).is_some_and(|node| node.parent().is_none());
    if on_top {
        return fault.schema_path.clone().filter(|_| path == "/").unwrap_or_else(|| path.to_owned());
    }
    let Some(parent) = schema.node(path) else {
        return format!("{path}/{name}");
    };
    // The schema path, when there is one, knows the module of an augmented node.
    let child = fault
        .schema_path
        .as_deref()
        .and_then(|schema_path| schema.node(schema_path))
        .filter(|child| child.name() == name && child.data_parent() == Some(parent))
        .or_else(|| parent.child(parent.module(), name));
    match child {
        Some(child) => path::extend(path, Some(parent), child, ""),
        None => format!("{path}/{name}"),
    }
}

/// libyang names an entry, or the parent when there is none; a client wants the list.
fn list_path(path: &str, text: &str) -> String {
    let name = between(text, "Too few \"", "\" instances").or_else(|| between(text, "Too many \"", "\" instances"));
    let Some(name) = name else { return path.to_owned() };
    if last_name(path) == name {
        let predicates = path::steps(path).and_then(|steps| steps.last().map(|step| step.predicates.len()));
        return path[..path.len() - predicates.unwrap_or(0)].to_owned();
    }
    format!("{}/{name}", path.trim_end_matches('/'))
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.split_once(after).map(|(inside, _)| inside)
}

fn last_name(path: &str) -> String {
    path::steps(path).and_then(|steps| steps.last().map(|step| step.name.to_owned())).unwrap_or_default()
}

/// Our messages have no full stop and begin small.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if letters.as_str().chars().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}
