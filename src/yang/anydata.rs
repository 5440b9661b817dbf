//! What stands in anydata is kept as somebody wrote it, and set aside while libyang looks at what is around it.
//!
//! When libyang reads, it takes content for data of the modules that it names: puts it in their order, and refuses it where an
//! attribute is none of theirs. When it compares, it reads through a null pointer where one side is empty (5.4.9). A
//! number stands in the place of each content meanwhile.

use std::collections::HashMap;
use std::ffi::CStr;

use super::ffi::{At, Fault, SchemaNode, Tree};
use super::schema::{NodeKind, Schema};
use super::xml::{self, XmlElement};

/// The namespace of what stands in the place of content.
const PLACE: &str = "urn:procyon:anydata";

/// The annotation of a diff that says what was there before.
const BEFORE: &CStr = c"orig-value";

/// What was written to disk. Nothing is validated.
pub(super) fn parse(schema: &'static Schema, bytes: &[u8]) -> Result<Tree, Vec<Fault>> {
    match Tree::parse(schema, bytes, 0) {
        Ok(tree) if anydata(&tree).is_empty() => Ok(tree),
        at_once => match xml::parse(bytes) {
            Ok(mut tops) => {
                let mut contents = Contents::default();
                tops.iter_mut().for_each(|top| set_aside(schema, None, top, &mut contents));
                let text: String = tops.iter().map(XmlElement::outer_xml).collect();
                let mut tree = Tree::parse(schema, text.as_bytes(), 0)?;
                contents.put_back(&mut tree)?;
                Ok(tree)
            }
            Err(_) => at_once,
        },
    }
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
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Contents {
    /// What stands in the place of this content.
    fn place(&mut self, content: String) -> String {
        let Self { texts, numbers } = self;
        let number = numbers.entry(content).or_insert_with_key(|content| {
            texts.push(content.clone());
            texts.len() - 1
        });
        format!("<n xmlns=\"{PLACE}\">{number}</n>")
    }

    fn content(&self, place: &str) -> Option<&str> {
        let tops = xml::parse(place.as_bytes()).ok()?;
        let number = tops.iter().find(|top| top.namespace.as_deref() == Some(PLACE))?;
        self.texts.get(number.text.parse::<usize>().ok()?).map(String::as_str)
    }

    fn take(&mut self, tree: &mut Tree) -> Result<(), Vec<Fault>> {
        for at in anydata(tree) {
            let node = tree.node(at);
            let is_replaced = node.meta("yang", "operation").as_deref() == Some("replace");
            let before = node.meta("yang", "orig-value").or_else(|| is_replaced.then(String::new));
            let place = self.place(node.any_text().unwrap_or_default());
            tree.put_any(at, &place)?;
            if let Some(before) = before {
                let place = self.place(before);
                tree.put_meta(at, "yang", BEFORE, &place)?;
            }
        }
        Ok(())
    }

    fn put_back(&self, tree: &mut Tree) -> Result<(), Vec<Fault>> {
        for at in anydata(tree) {
            let node = tree.node(at);
            let before = node.meta("yang", "orig-value");
            let content = node.any_text().and_then(|place| self.content(&place));
            tree.put_any(at, content.unwrap_or_default())?;
            if let Some(before) = before.as_deref().and_then(|place| self.content(place)) {
                tree.put_meta(at, "yang", BEFORE, before)?;
            }
        }
        Ok(())
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
            let place = contents.place(element.inner_xml());
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
