//! What stands in anydata is kept as somebody wrote it, and set aside while libyang looks at what is around it.
//!
//! When libyang reads, it takes content for data of the modules that it names: puts it in their order, and refuses it where an
//! attribute is none of theirs. When it compares, it reads through a null pointer where one side is empty (5.4.9). A
//! number stands in the place of each content meanwhile.

use std::collections::HashMap;
use std::ffi::CStr;

use bytes::Bytes;

use super::ffi::{Any, At, Fault, Node, SchemaNode, Tree};
use super::schema::{NodeKind, Schema};
use super::xml::{self, XmlElement};

/// The namespace of what stands in the place of content.
const PLACE: &str = "urn:procyon:anydata";

/// The annotation of a diff that says what was there before.
const BEFORE: &CStr = c"orig-value";

/// `printed` is the node by libyang, which does not say of elements in it that they have no namespace: where it stands they
/// would have that of the node.
pub(super) fn with_namespaces(node: Node<'_>, printed: Bytes) -> Bytes {
    let Some(tops) = node.any_text().and_then(|text| xml::parse(text.as_bytes()).ok()) else { return printed };
    let ends = printed.iter().position(|byte| *byte == b'>').zip(printed.windows(2).rposition(|two| two == b"</"));
    match ends {
        Some((begin, end)) if begin < end && tops.iter().any(has_no_namespace) => {
            let content: String = tops.iter().map(XmlElement::outer_xml).collect();
            [&printed[..=begin], content.as_bytes(), &printed[end..]].concat().into()
        }
        Some(_) | None => printed,
    }
}

fn has_no_namespace(element: &XmlElement) -> bool {
    element.namespace.is_none() || element.children.iter().any(has_no_namespace)
}

/// What was written to disk. Nothing is validated.
pub(super) fn parse(schema: &'static Schema, bytes: &[u8]) -> Result<Tree, Vec<Fault>> {
    match Tree::parse(schema, bytes, 0) {
        Ok(tree) if anydata(&tree).is_empty() => Ok(tree),
        at_once => without_anydata(schema, bytes).unwrap_or(at_once),
    }
}

/// `None` where libyang had better say what is wrong.
fn without_anydata(schema: &'static Schema, bytes: &[u8]) -> Option<Result<Tree, Vec<Fault>>> {
    let (mut tops, mut contents) = (xml::parse(bytes).ok()?, Contents::default());
    tops.iter_mut().for_each(|top| set_aside(schema, None, top, &mut contents));
    let text: String = tops.iter().map(XmlElement::outer_xml).collect();
    let tree = Tree::parse(schema, text.as_bytes(), 0);
    Some(tree.and_then(|mut tree| contents.put_back(&mut tree).map(|()| tree)))
}

/// What leads from one tree to the other, by libyang.
pub(super) fn difference(old: &Tree, new: &Tree) -> Result<Tree, Vec<Fault>> {
    if anydata(old).is_empty() && anydata(new).is_empty() {
        return old.difference(new, 0);
    }
    let (mut old, mut new, mut contents) = (old.duplicate(), new.duplicate(), Contents::default());
    contents.take(&mut old)?;
    contents.take(&mut new)?;
    let mut difference = old.difference(&new, 0)?;
    contents.put_back(&mut difference)?;
    Ok(difference)
}

/// A diff, turned round by libyang.
pub(super) fn reversed(diff: &Tree) -> Result<Tree, Vec<Fault>> {
    let (mut copy, mut contents) = (diff.duplicate(), Contents::default());
    contents.take(&mut copy)?;
    let mut reversed = copy.reversed()?;
    contents.put_back(&mut reversed)?;
    Ok(reversed)
}

/// What was set aside; equal content has the same number.
#[derive(Default)]
struct Contents {
    known: Vec<Content>,
    numbers: HashMap<String, usize>,
}

struct Content {
    text: String,
    /// `None` for what is known by its text alone.
    any: Option<Any>,
}

impl Contents {
    /// What stands in the place of this content.
    fn place(&mut self, content: Content) -> String {
        let Self { known, numbers } = self;
        let number = *numbers.entry(content.text.clone()).or_insert(known.len());
        match known.get_mut(number) {
            Some(same) => same.any = same.any.take().or(content.any),
            None => known.push(content),
        }
        format!("<n xmlns=\"{PLACE}\">{number}</n>")
    }

    fn content(&self, place: &str) -> Option<&Content> {
        let tops = xml::parse(place.as_bytes()).ok()?;
        let number = tops.iter().find(|top| top.namespace.as_deref() == Some(PLACE))?;
        self.known.get(number.text.parse::<usize>().ok()?)
    }

    fn take(&mut self, tree: &mut Tree) -> Result<(), Vec<Fault>> {
        for at in anydata(tree) {
            let node = tree.node(at);
            let is_replaced = node.meta("yang", "operation").as_deref() == Some("replace");
            let before = node.meta("yang", "orig-value").or_else(|| is_replaced.then(String::new));
            let text = node.any_text().unwrap_or_default();
            let place = self.place(Content { text, any: Some(tree.any(at)) });
            tree.put_any(at, &Any::parse(tree.schema(), &place)?);
            if let Some(text) = before {
                let place = self.place(Content { text, any: None });
                tree.put_meta(at, "yang", BEFORE, &place)?;
            }
        }
        Ok(())
    }

    fn put_back(&self, tree: &mut Tree) -> Result<(), Vec<Fault>> {
        for at in anydata(tree) {
            let node = tree.node(at);
            let before = node.meta("yang", "orig-value");
            match node.any_text().and_then(|place| self.content(&place)) {
                Some(Content { any: Some(any), .. }) => tree.put_any(at, any),
                Some(Content { text, any: None }) => tree.put_any(at, &Any::parse(tree.schema(), &readable(text))?),
                None => {}
            }
            if let Some(before) = before.as_deref().and_then(|place| self.content(place)) {
                tree.put_meta(at, "yang", BEFORE, &before.text)?;
            }
        }
        Ok(())
    }
}

/// libyang does not say of elements without a namespace that they have none, and does not read them so.
fn readable(content: &str) -> String {
    match xml::parse(content.as_bytes()) {
        Ok(tops) if !tops.is_empty() => tops.iter().map(XmlElement::outer_xml).collect(),
        Ok(_) | Err(_) => content.to_owned(),
    }
}

/// Puts the number of its content into the place of that.
fn set_aside(schema: &Schema, above: Option<SchemaNode>, element: &mut XmlElement, contents: &mut Contents) {
    let module = element.namespace.as_deref().and_then(|namespace| schema.module_of_namespace(namespace));
    let node = module.and_then(|module| match above {
        Some(above) => above.child(module, &element.name),
        None => module.child(&element.name),
    });
    match node {
        Some(node) if node.kind() == NodeKind::AnyData => {
            let place = contents.place(Content { text: element.inner_xml(), any: None });
            element.text.clear();
            element.children = xml::parse(place.as_bytes()).unwrap_or_default();
        }
        Some(node) => element.children.iter_mut().for_each(|child| set_aside(schema, Some(node), child, contents)),
        // libyang will say that it does not know it.
        None => {}
    }
}

fn anydata(tree: &Tree) -> Vec<At> {
    let (mut found, mut waiting) = (Vec::new(), vec![tree.roots()]);
    while let Some(siblings) = waiting.last_mut() {
        match siblings.next() {
            Some(node) if node.schema().kind() == NodeKind::AnyData => found.push(node.position()),
            Some(node) => waiting.push(node.children()),
            None => drop(waiting.pop()),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::diff::Diff;
    use super::super::testing::{schema, text, top, valid};
    use super::*;

    const CONTENTS: &[&str] = &[
        "",
        "<top xmlns=\"urn:sample\"><tag>z</tag><mtu>1</mtu><name>n</name><tag>a</tag></top><b/><top xmlns=\"urn:sample\"/>",
        "<top xmlns=\"urn:sample\"><inner/></top>",
        "<top xmlns=\"urn:sample\"><rule xmlns:y=\"urn:ietf:params:xml:ns:yang:1\" y:key=\"t\"><id>1</id></rule></top>",
        "<top xmlns=\"urn:sample\"><blob><n xmlns=\"urn:procyon:anydata\">0</n></blob></top>",
        "<a xmlns=\"\">t<d/></a>",
        "<a b=\"c\">t<d/> ]]&gt;</a><step xmlns=\"\">a</step>",
        "<a xmlns=\"urn:a\" xmlns:b=\"urn:b\" b:c=\"1 &lt; 2\">b:d</a>",
    ];

    #[test]
    fn what_is_in_anydata_comes_back_as_it_was() {
        for content in CONTENTS {
            let data = valid(&top(&format!("<name>n</name><blob>{content}</blob><item><name>i</name></item>")));
            let stored = text(&data);
            let again = parse(schema(), stored.as_bytes()).unwrap_or_else(|faults| panic!("{content}: {faults:?}"));
            assert_eq!(text(&again), stored, "{content}");
        }
    }

    #[test]
    fn what_has_no_namespace_is_not_given_one() {
        let data = valid(&top("<blob><a xmlns=\"\"><b xmlns=\"urn:b\"/></a></blob>"));
        let stored = text(&data);
        assert_eq!(stored, top("<blob><a xmlns=\"\"><b xmlns=\"urn:b\"/></a></blob>"));
        assert_eq!(text(&parse(schema(), stored.as_bytes()).unwrap()), stored);
    }

    #[test]
    fn a_record_brings_it_there_and_takes_it_back() {
        let data: Vec<Tree> =
            CONTENTS.iter().map(|content| valid(&top(&format!("<blob>{content}</blob>")))).chain([valid("")]).collect();
        for (old, new) in data.iter().flat_map(|old| data.iter().map(move |new| (old, new))) {
            let record = Diff::parse(schema(), &Diff::between(old, new).print_xml()).unwrap();
            let mut tree = old.duplicate();
            tree.strip_defaults();
            record.apply_to_written(&mut tree).unwrap();
            assert_eq!(text(&tree), text(new));
            record.reverse().apply_to_written(&mut tree).unwrap();
            assert_eq!(text(&tree), text(old));
        }
    }
}
