//! A snapshot and the records after it put together as plain XML, for when they do not fit the schema.
//!
//! Configuration may outlive the modules that it was written with: a module is gone, a newer revision lacks a leaf, a type
//! has changed. Then what is there in the end is found out without asking the schema, by the texts alone, and whoever looks
//! it up in the schema afterwards learns once, and of each node, that it has no place.
//!
//! What stands for which entry follows from how records are written: inside of an entry that is gone through only the keys
//! are leaves of which nothing is said; what is deleted is written out in full.

use super::path;
use super::xml::{self, XmlElement};
use crate::northbound::Refusal;

const YANG: &str = "urn:ietf:params:xml:ns:yang:1";

/// The top elements of what the snapshot and the records, oldest first, come to.
pub fn replay<'r>(
    snapshot: Option<&[u8]>,
    records: impl IntoIterator<Item = &'r [u8]>,
) -> Result<Vec<XmlElement>, Refusal> {
    let mut tops = snapshot.map_or(Ok(Vec::new()), xml::parse)?;
    for record in records {
        for change in xml::parse(record)? {
            apply(&mut tops, &change, Operation::None);
        }
    }
    Ok(tops)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    None,
    Create,
    Delete,
    Replace,
}

fn operation_of(element: &XmlElement) -> Option<Operation> {
    Some(match element.attribute(YANG, "operation")? {
        "create" => Operation::Create,
        "delete" => Operation::Delete,
        "replace" => Operation::Replace,
        _ => Operation::None,
    })
}

fn apply(siblings: &mut Vec<XmlElement>, change: &XmlElement, inherited: Operation) {
    let operation = operation_of(change).unwrap_or(inherited);
    let found = find(siblings, change, operation);
    match operation {
        Operation::Create => {
            if let Some(at) = found {
                siblings.remove(at);
            }
            put(siblings, written(change), change);
        }
        Operation::Delete => {
            if let Some(at) = found {
                siblings.remove(at);
            }
        }
        Operation::Replace if is_leaf(change) && place_of(change).is_none() => match found {
            Some(at) => siblings[at] = written(change),
            None => siblings.push(written(change)),
        },
        // An entry that changed its place, and what changed in it.
        Operation::Replace | Operation::None => {
            let Some(at) = found else { return };
            for child in change.children.iter().filter(|child| !is_key(child)) {
                apply(&mut siblings[at].children, child, Operation::None);
            }
            if operation == Operation::Replace {
                let moved = siblings.remove(at);
                put(siblings, moved, change);
            }
        }
    }
}

/// The sibling that a change is about.
fn find(siblings: &[XmlElement], change: &XmlElement, operation: Operation) -> Option<usize> {
    let mut named = siblings.iter().enumerate().filter(|(_, sibling)| is_named_like(sibling, change));
    if operation == Operation::Create {
        // Only a container that was left empty is there already.
        return named
            .find(|(_, it)| it.children.is_empty() && it.text.is_empty() && !is_leaf(change))
            .map(|(at, _)| at);
    }
    let named: Vec<(usize, &XmlElement)> = named.collect();
    let fitting = if is_leaf(change) {
        // Entries of a leaf-list are told by their values; of a leaf there is one.
        let same = named.iter().find(|(_, sibling)| sibling.text == change.text);
        same.or_else(|| named.first().filter(|_| named.len() == 1))
    } else {
        let keys: Vec<&XmlElement> = change.children.iter().filter(|child| is_key(child)).collect();
        let has = |sibling: &XmlElement, key: &XmlElement| {
            sibling.children.iter().any(|child| is_named_like(child, key) && child.text == key.text)
        };
        let exact = named.iter().find(|(_, sibling)| keys.iter().all(|key| has(sibling, key)));
        exact.or_else(|| named.first().filter(|_| named.len() == 1))
    };
    fitting.map(|(at, _)| *at)
}

/// In its place, where its user has given it one; else at the end.
fn put(siblings: &mut Vec<XmlElement>, element: XmlElement, change: &XmlElement) {
    let at = match place_of(change) {
        None => siblings.len(),
        Some("") => siblings.iter().position(|it| is_named_like(it, change)).unwrap_or(siblings.len()),
        Some(before) => {
            let keys = path::key_values(before).unwrap_or_default();
            let is_it = |it: &XmlElement| {
                is_named_like(it, change)
                    && match keys.as_slice() {
                        [] => it.text == before,
                        keys => keys.iter().all(|(name, value)| {
                            it.children.iter().any(|child| &*child.name == *name && child.text == *value)
                        }),
                    }
            };
            siblings.iter().position(is_it).map_or(siblings.len(), |at| at + 1)
        }
    };
    siblings.insert(at, element);
}

/// Behind which entry a change puts one; empty for in front of all.
fn place_of(change: &XmlElement) -> Option<&str> {
    change.attribute(YANG, "key").or_else(|| change.attribute(YANG, "value"))
}

/// Without what a record says about it.
fn written(change: &XmlElement) -> XmlElement {
    let mut element = change.clone();
    element.attributes.retain(|attribute| attribute.namespace.as_deref() != Some(YANG));
    element.children = change.children.iter().map(written).collect();
    element
}

/// A leaf of which nothing is said only leads to what is meant.
fn is_key(element: &XmlElement) -> bool {
    is_leaf(element) && !element.attributes.iter().any(|attribute| attribute.namespace.as_deref() == Some(YANG))
}

fn is_leaf(element: &XmlElement) -> bool {
    element.children.is_empty()
}

fn is_named_like(one: &XmlElement, other: &XmlElement) -> bool {
    one.name == other.name && one.namespace == other.namespace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_holds_nothing_is_not_a_second_one() {
        let snapshot = b"<top xmlns='urn:t'><inner><a>1</a></inner></top>";
        let take = b"<top xmlns='urn:t' xmlns:yang='urn:ietf:params:xml:ns:yang:1' yang:operation='none'>\
            <inner yang:operation='none'><a yang:operation='delete'>1</a></inner></top>";
        let give = b"<top xmlns='urn:t' xmlns:yang='urn:ietf:params:xml:ns:yang:1' yang:operation='none'>\
            <inner yang:operation='create'><b>2</b></inner></top>";
        let tops = replay(Some(snapshot), [&take[..], &give[..]]).unwrap();
        assert_eq!(tops[0].children.len(), 1);
        assert_eq!(&*tops[0].children[0].children[0].name, "b");
    }
}
