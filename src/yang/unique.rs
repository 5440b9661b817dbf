//! `unique` statements (RFC 7950 section 7.8.3), judged by us.
//!
//! libyang 5.4.9 reads a default value of a unique leaf through the list, where there is none to read, and ends the process.
//! So the statements of configuration lists are taken out of its compiled schema at load, and what it would say of them is
//! said here. Validation has put all defaults that are in use into the tree: a leaf that is not there has no value.

use std::collections::{HashMap, HashSet};

use super::ffi::{Children, Fault, Node, Tree};
use super::path;
use super::schema::SchemaNode;

/// The unique statements of the configuration.
#[derive(Debug, Default)]
pub(super) struct Uniques {
    lists: HashMap<SchemaNode, Vec<Unique>>,
    leaves: HashSet<SchemaNode>,
    /// Inner nodes with such a list somewhere below.
    around: HashSet<SchemaNode>,
}

/// The values that no other entry below the same parent may have.
#[derive(Debug, Hash)]
pub(super) struct Stated<'t> {
    place: &'t str,
    list: SchemaNode,
    statement: usize,
    values: Vec<&'t str>,
}

/// The leaves of one statement, each as the way down from the entry.
type Unique = Vec<Vec<SchemaNode>>;

impl Uniques {
    /// Takes over the statements of `list`.
    pub(super) fn take(&mut self, list: SchemaNode) {
        let statements = list.take_uniques();
        if statements.is_empty() {
            return;
        }
        self.leaves.extend(statements.iter().flatten());
        let ways = |leaves: Vec<SchemaNode>| leaves.into_iter().map(|leaf| way_down(list, leaf)).collect();
        self.lists.insert(list, statements.into_iter().map(ways).collect());
        let mut above = list.data_parent();
        while let Some(node) = above.filter(|node| self.around.insert(*node)) {
            above = node.data_parent();
        }
    }

    pub(super) fn has(&self, leaf: SchemaNode) -> bool {
        self.leaves.contains(&leaf)
    }

    /// What each entry has for each statement whose leaves are all there.
    pub(super) fn each(&self, tree: &Tree, tell: &mut dyn FnMut(Stated<'_>)) {
        if !self.lists.is_empty() {
            self.each_below(tree.roots(), None, tell);
        }
    }

    fn each_below(&self, siblings: Children<'_>, parent: Option<Node<'_>>, tell: &mut dyn FnMut(Stated<'_>)) {
        let mut place: Option<String> = None;
        for node in siblings {
            let list = node.schema();
            for (statement, ways) in self.lists.get(&list).into_iter().flatten().enumerate() {
                let Some(values) = ways.iter().map(|way| value_in(node, way)).collect() else { continue };
                let place = place.get_or_insert_with(|| parent.map(Node::path).unwrap_or_default());
                tell(Stated { place, list, statement, values });
            }
            if self.around.contains(&list) {
                self.each_below(node.children(), Some(node), tell);
            }
        }
    }

    /// What `tree`, which has been validated otherwise, does wrong.
    pub(super) fn faults(&self, tree: &Tree) -> Vec<Fault> {
        let mut faults = Vec::new();
        if !self.lists.is_empty() {
            self.level(tree.roots(), &mut faults);
        }
        faults
    }

    fn level(&self, siblings: Children<'_>, faults: &mut Vec<Fault>) {
        let mut list: Option<Entries<'_, '_>> = None;
        for node in siblings {
            let schema = node.schema();
            if let Some(statements) = self.lists.get(&schema) {
                let entries = match list.take().filter(|entries| entries.schema == schema) {
                    Some(entries) => list.insert(entries),
                    None => list.insert(Entries::of(schema, statements)),
                };
                entries.meet(node, faults);
            }
            if self.around.contains(&schema) {
                self.level(node.children(), faults);
            }
        }
    }
}

fn way_down(list: SchemaNode, leaf: SchemaNode) -> Vec<SchemaNode> {
    let mut way: Vec<SchemaNode> =
        std::iter::successors(Some(leaf), |node| node.data_parent()).take_while(|node| *node != list).collect();
    way.reverse();
    way
}

/// The entries of one list under one parent, as far as they have been met.
struct Entries<'u, 't> {
    schema: SchemaNode,
    /// Of each statement, who has which values.
    seen: Vec<(&'u Unique, HashMap<Vec<&'t str>, Node<'t>>)>,
}

impl<'u, 't> Entries<'u, 't> {
    fn of(schema: SchemaNode, statements: &'u [Unique]) -> Self {
        Self { schema, seen: statements.iter().map(|statement| (statement, HashMap::new())).collect() }
    }

    fn meet(&mut self, entry: Node<'t>, faults: &mut Vec<Fault>) {
        for (statement, seen) in &mut self.seen {
            let values: Option<Vec<&str>> = statement.iter().map(|way| value_in(entry, way)).collect();
            let Some(values) = values else { continue };
            match seen.get(&values) {
                Some(first) => faults.push(fault(statement, *first, entry)),
                None => _ = seen.insert(values, entry),
            }
        }
    }
}

fn value_in<'t>(entry: Node<'t>, way: &[SchemaNode]) -> Option<&'t str> {
    way.iter().try_fold(entry, |node, step| node.child(*step))?.value()
}

/// In the words of libyang, which `errors.rs` reads.
fn fault(statement: &Unique, first: Node<'_>, second: Node<'_>) -> Fault {
    let names: Vec<String> = statement.iter().map(|way| name(first.schema(), way)).collect();
    let (first, second) = (first.path(), second.path());
    let message = format!("Unique data leaf(s) \"{}\" not satisfied in \"{first}\" and \"{second}\".", names.join(" "));
    Fault { data_path: Some(second), app_tag: Some("data-not-unique".to_owned()), ..Fault::plain(&message) }
}

fn name(list: SchemaNode, way: &[SchemaNode]) -> String {
    let (path, _) = way
        .iter()
        .fold((String::new(), list), |(above, parent), step| (path::extend(&above, Some(parent), *step, ""), *step));
    path.trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use crate::yang::schema::{ModuleSpec, Schema};
    use crate::yang::tree::Tree;

    fn schema() -> &'static Schema {
        let dir = tempfile::tempdir().unwrap();
        let text = "module m { yang-version 1.1; namespace urn:m; prefix m; container top {
            list item { key k; unique \"a box/b\"; unique lone;
              leaf k { type string; } leaf a { type string; }
              container box { presence here; leaf b { type leafref { path '/top/name'; } default x; } }
              leaf lone { type string; } }
            leaf name { type string; default x; } } }";
        std::fs::write(dir.path().join("m.yang"), text).unwrap();
        let module = ModuleSpec { name: "m".to_owned(), revision: None, features: Vec::new() };
        Schema::load(&[dir.path().to_owned()], &[module]).unwrap()
    }

    #[test]
    fn values_that_all_entries_have_are_compared_defaults_included() {
        let schema = schema();
        let item = |key: &str, inside: &str| format!("<item><k>{key}</k>{inside}</item>");
        for (items, expected) in [
            // A default in a container that is not there is no value.
            (vec![item("1", "<a>v</a>"), item("2", "<a>v</a>")], vec![]),
            (vec![item("1", "<a>v</a>"), item("2", "<a>v</a><box/>"), item("3", "<a>v</a>")], vec![]),
            (
                vec![item("1", "<a>v</a><box/>"), item("2", "<a>v</a><box><b>x</b></box>")],
                vec![r#"unique data leaf(s) "a box/b" not satisfied in "/m:top/item[k='1']" and "/m:top/item[k='2']""#],
            ),
            (vec![item("1", "<a>v</a><box/>"), item("2", "<a>w</a><box/>")], vec![]),
            (
                vec![item("1", "<lone>v</lone>"), item("2", "<lone>w</lone>"), item("3", "<lone>w</lone>")],
                vec![r#"unique data leaf(s) "lone" not satisfied in "/m:top/item[k='2']" and "/m:top/item[k='3']""#],
            ),
        ] {
            let xml = format!("<top xmlns='urn:m'>{}</top>", items.concat());
            let mut tree = Tree::parse_config(schema, xml.as_bytes()).unwrap();
            let found = tree.validate_config().err().unwrap_or_default();
            let told: Vec<&str> = found.iter().map(|refusal| refusal.message.as_str()).collect();
            assert_eq!(told, expected, "{xml}");
        }
    }
}
