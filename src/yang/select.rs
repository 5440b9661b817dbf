//! Filters applied to a tree (RFC 6241 section 6 and 8.9): a view of what is selected, with ancestors and keys.
//!
//! Nothing is copied to be seen: a view is printed from the tree that it is of, or made a tree where one is needed.
//! A list entry whose keys are all given is found by hash, whatever the size of the list. Nodes that the caller may not
//! read are left out with all below them (RFC 8341 section 3.2.4).

use std::collections::{HashMap, HashSet};

use super::build::DEFAULTS_NAMESPACE;
use super::ffi::{Node, Tree};
use super::reach::TooMuch;
use super::schema::{NodeKind, SchemaNode};
pub use super::view::{Entries, Seen, Sight, View};
use super::view::{Extent, PickId};
use super::{errors, path, prefix, reach};
use crate::northbound::filter::{Content, Filter, Selection, XPath};
use crate::northbound::{Kind, Refusal};

/// Says what the caller may read.
pub type Readable<'a> = &'a dyn Sight;

/// What `filter` selects.
pub fn select(tree: &Tree, filter: &Filter) -> Result<Tree, Refusal> {
    Ok(view(tree, filter, false)?.to_tree())
}

/// What `filter` selects, without a copy. With `marks_defaults` it is for a reply in which defaults are marked (RFC 6243
/// report-all-tagged): a filter may ask for the mark.
pub fn view<'t>(tree: &'t Tree, filter: &Filter, marks_defaults: bool) -> Result<View<'t>, Refusal> {
    let selector = Selector { view: View::nothing(tree, None), marks_defaults };
    match filter {
        Filter::Subtree(selections) => Ok(selector.subtree(selections)),
        Filter::XPath { expression, namespaces } => selector.xpath(expression, namespaces),
    }
}

/// Hands `then` what `filter` selects of what is readable. What is not is gone before the filter looks: a match on it
/// would tell what it holds.
pub fn with_view<R>(
    tree: &Tree,
    filter: Option<&Filter>,
    readable: Option<Readable<'_>>,
    marks_defaults: bool,
    then: impl FnOnce(&View<'_>) -> R,
) -> Result<R, Refusal> {
    let view = match (filter, readable) {
        (None, readable) => View::everything(tree, readable),
        (Some(filter), None) => view(tree, filter, marks_defaults)?,
        (Some(Filter::Subtree(selections)), Some(_)) => {
            Selector { view: View::nothing(tree, readable), marks_defaults }.subtree(selections)
        }
        (Some(filter @ Filter::XPath { .. }), Some(readable)) => {
            if tree.roots().any(|root| readable.sees(root) != Seen::Whole) {
                let pruned = prune(tree, readable);
                return Ok(then(&view(&pruned, filter, marks_defaults)?));
            }
            view(tree, filter, marks_defaults)?
        }
    };
    Ok(then(&view))
}

/// The paths of the nodes that an expression selects.
pub fn paths(tree: &Tree, xpath: &XPath) -> Result<Vec<String>, Refusal> {
    Ok(found(tree, &xpath.expression, &xpath.namespaces)?.into_iter().map(Node::path).collect())
}

fn found<'t>(tree: &'t Tree, expression: &str, namespaces: &[(String, String)]) -> Result<Vec<Node<'t>>, Refusal> {
    let text = prefix::expression(tree.schema(), expression, namespaces);
    let too_much = |too_much: TooMuch| {
        let refusal = Refusal::new(Kind::ResourceDenied, too_much.to_string());
        refusal.mend("name the nodes by their path, and compare with values instead of with other nodes")
    };
    let asked = reach::Expression::new(&text).map_err(too_much)?;
    if !asked.names_identities_whole() {
        let message = "an identity that derived-from or derived-from-or-self asks about has to be named with its module or prefix";
        return Err(Refusal::new(Kind::InvalidValue, message).mend("write it between quotes, like 'prefix:identity'"));
    }
    if !asked.looks_into_named_nodes() {
        let message =
            "what deref, derived-from, derived-from-or-self, enum-value and bit-is-set are given has to be named";
        return Err(
            Refusal::new(Kind::InvalidValue, message).mend("end the path with the name of a node, like deref(/m:a/b)")
        );
    }
    asked.is_bearable(tree).map_err(too_much)?;
    tree.find_xpath(&text).map_err(|faults| {
        errors::from_other(Kind::InvalidValue, &format!("the XPath {expression} cannot be used"), &faults)
    })
}

/// Everything that may be read.
pub fn prune(tree: &Tree, readable: Readable<'_>) -> Tree {
    View::everything(tree, Some(readable)).to_tree()
}

struct Selector<'t> {
    view: View<'t>,
    marks_defaults: bool,
}

impl<'t> Selector<'t> {
    fn subtree(mut self, selections: &[Selection]) -> View<'t> {
        let selections: Vec<&Selection> = selections.iter().collect();
        if let Some(selections) = self.agreed(None, &selections) {
            self.siblings(None, None, &selections);
        }
        self.view
    }

    fn xpath(mut self, expression: &str, namespaces: &[(String, String)]) -> Result<View<'t>, Refusal> {
        let nodes = found(self.view.source, expression, namespaces)?;
        self.marked(&nodes);
        Ok(self.view)
    }

    /// Picks a node with all below it.
    fn whole(&mut self, parent: Option<PickId>, node: Node<'t>) {
        if self.view.sees(node) != Seen::Nothing {
            self.view.pick(parent, node, Extent::Whole);
        }
    }

    /// Picks what the selections choose among the children of `parent`; true when there was anything.
    fn siblings(&mut self, parent: Option<Node<'t>>, out: Option<PickId>, selections: &[&Selection]) -> bool {
        if let Some(first) = self.whole_list(parent, selections) {
            let list = first.schema();
            let mut entries = first.and_following().take_while(|node| node.schema() == list);
            let any = entries.any(|entry| self.view.sees(entry) != Seen::Nothing);
            if any {
                self.view.pick(out, first, Extent::List);
            }
            return any;
        }
        let mut any = false;
        for (node, matching) in self.candidates(parent, selections) {
            if node.schema().is_key() {
                // The key came with its entry.
                any = true;
            } else if self.view.sees(node) != Seen::Nothing {
                any |= self.node(out, node, &matching);
            }
        }
        any
    }

    /// The first entry where one list is chosen with all of each, and nothing else: there is nothing to put in order.
    fn whole_list(&self, parent: Option<Node<'t>>, selections: &[&Selection]) -> Option<Node<'t>> {
        let [Selection { namespace: Some(_), attributes, content: Content::Selected, .. }] = selections else {
            return None;
        };
        let schemas = schemas(self.view.source, parent, selections[0]);
        let [list] = schemas.as_slice() else { return None };
        if !attributes.is_empty() || list.kind() != NodeKind::List {
            return None;
        }
        let parent = parent.map(|parent| self.view.source.at(parent));
        let first = self.view.source.instance(parent, *list, None).ok().flatten()?;
        Some(self.view.source.node(first))
    }

    fn node(&mut self, out: Option<PickId>, node: Node<'t>, selections: &[&Selection]) -> bool {
        let mut inner: Vec<&Selection> = Vec::new();
        for selection in selections {
            match &selection.content {
                Content::Selected => {
                    self.whole(out, node);
                    return true;
                }
                // Of a leaf-list only the entry that matches is meant.
                Content::Match(text) if node.schema().is_leaf_like() && value_matches(node, text) => {
                    self.whole(out, node);
                    return true;
                }
                Content::Match(_) => {}
                Content::Within(within) => {
                    let within: Vec<&Selection> = within.iter().collect();
                    let Some(agreed) = self.agreed(Some(node), &within) else { continue };
                    // Section 6.2.5: matches alone choose the whole of what is around them.
                    if agreed.iter().all(|selection| matches!(selection.content, Content::Match(_))) {
                        self.whole(out, node);
                        return true;
                    }
                    inner.extend(agreed);
                }
            }
        }
        if inner.is_empty() {
            return false;
        }
        let at = self.view.pick(out, node, Extent::Part);
        let any = self.siblings(Some(node), Some(at), &inner);
        if !any {
            // Nothing below was chosen: the node was only on the way.
            self.view.unpick(out);
        }
        any
    }

    /// The instances that selections name, each with those that name it, in document order.
    fn candidates<'s>(
        &mut self,
        parent: Option<Node<'t>>,
        selections: &[&'s Selection],
    ) -> Vec<(Node<'t>, Vec<&'s Selection>)> {
        let mut found: Vec<(Node<'t>, Vec<&'s Selection>)> = Vec::new();
        let mut places: HashMap<Node<'t>, usize> = HashMap::new();
        let mut ordered = true;
        for (turn, selection) in selections.iter().enumerate() {
            for schema in schemas(self.view.source, parent, selection) {
                for node in self.instances(parent, schema, selection) {
                    if !attributes_match(node, selection, self.marks_defaults) {
                        continue;
                    }
                    ordered &= turn == 0;
                    let place = *places.entry(node).or_insert_with(|| {
                        found.push((node, Vec::new()));
                        found.len() - 1
                    });
                    found[place].1.push(selection);
                }
            }
        }
        if !ordered && found.iter().any(|(node, _)| node.schema().is_user_ordered()) {
            // Copies are put in the order they come; libyang orders all but user-ordered ones itself.
            let mut sorted = Vec::with_capacity(found.len());
            for node in parent.map_or_else(|| self.view.source.roots(), Node::children) {
                if let Some(place) = places.get(&node) {
                    sorted.push((node, std::mem::take(&mut found[*place].1)));
                }
            }
            return sorted;
        }
        self.view.is_ordered &= ordered || found.len() < 2;
        found
    }

    fn instances(&self, parent: Option<Node<'t>>, schema: SchemaNode, selection: &Selection) -> Vec<Node<'t>> {
        let parent = parent.map(|parent| self.view.source.at(parent));
        if let Some(predicate) = key_predicate(schema, selection) {
            let found = self.view.source.instance(parent, schema, Some(&predicate)).ok().flatten();
            return found.map(|at| self.view.source.node(at)).into_iter().collect();
        }
        let Ok(Some(first)) = self.view.source.instance(parent, schema, None) else {
            return Vec::new();
        };
        self.view.source.node(first).and_following().take_while(|node| node.schema() == schema).collect()
    }

    /// Picks the nodes with all below them, and their ancestors with keys only.
    fn marked(&mut self, nodes: &[Node<'t>]) {
        let chosen: HashSet<Node<'t>> = nodes.iter().copied().collect();
        let mut copies: HashMap<Node<'t>, PickId> = HashMap::new();
        for node in nodes {
            let mut ancestors = Vec::new();
            let mut at = node.parent();
            while let Some(parent) = at {
                ancestors.push(parent);
                at = parent.parent();
            }
            // An ancestor that is itself chosen brings this node along.
            if ancestors.iter().any(|ancestor| chosen.contains(ancestor)) {
                continue;
            }
            let mut out = None;
            for ancestor in ancestors.into_iter().rev() {
                let copy = *copies.entry(ancestor).or_insert_with(|| self.view.pick(out, ancestor, Extent::Part));
                out = Some(copy);
            }
            let is_there = node.schema().is_key() && out.is_some();
            if !is_there {
                self.view.pick(out, *node, Extent::Whole);
            }
        }
    }

    /// The selections that hold when the content matches among them are true; `None` when one is false (section 6.2.5).
    fn agreed<'s>(&self, parent: Option<Node<'_>>, selections: &[&'s Selection]) -> Option<Vec<&'s Selection>> {
        let tree = self.view.source;
        // A key is as readable as its entry.
        let is_readable = |node: Node<'_>| node.schema().is_key() || self.view.sees(node) != Seen::Nothing;
        for selection in selections {
            let Content::Match(text) = &selection.content else { continue };
            let is_true =
                schemas(tree, parent, selection).into_iter().filter(|schema| schema.is_leaf_like()).any(|schema| {
                    let at = parent.map(|parent| tree.at(parent));
                    let Ok(Some(first)) = tree.instance(at, schema, None) else { return false };
                    tree.node(first).and_following().take_while(|node| node.schema() == schema).any(|node| {
                        value_matches(node, text)
                            && attributes_match(node, selection, self.marks_defaults)
                            && is_readable(node)
                    })
                });
            if !is_true {
                return None;
            }
        }
        Some(selections.to_vec())
    }
}

fn value_matches(node: Node<'_>, text: &str) -> bool {
    let value = node.value().unwrap_or("");
    if value == text {
        return true;
    }
    let schema = node.schema();
    if schema.has_prefixed_values() {
        // The prefix of the filter is the client's own; identities are told apart by their names.
        let local = |text: &str| text.rsplit_once(':').map_or_else(|| text.to_owned(), |(_, name)| name.to_owned());
        return !value.contains('/') && local(value) == local(text);
    }
    schema.canonical(text).is_some_and(|canonical| canonical == value)
}

/// The schema nodes that a selection can mean here: one, or with the namespace wildcard several.
fn schemas(tree: &Tree, parent: Option<Node<'_>>, selection: &Selection) -> Vec<SchemaNode> {
    let schema = tree.schema();
    match (&selection.namespace, parent) {
        (Some(namespace), parent) => {
            let Some(module) = schema.module_of_namespace(namespace) else { return Vec::new() };
            let found = match parent {
                Some(parent) => parent.schema().child(module, &selection.name),
                None => module.child(&selection.name),
            };
            found.into_iter().collect()
        }
        (None, parent) => {
            // Section 6.2.1: no namespace matches any. What is not in the data cannot be selected, so look there.
            let mut found: Vec<SchemaNode> = Vec::new();
            let siblings = parent.map_or_else(|| tree.roots(), Node::children);
            let mut last = None;
            for node in siblings.map(Node::schema) {
                if last != Some(node) && node.name() == selection.name && !found.contains(&node) {
                    found.push(node);
                }
                last = Some(node);
            }
            found
        }
    }
}

/// All keys of a list given as content matches: the entry's predicate.
fn key_predicate(schema: SchemaNode, selection: &Selection) -> Option<String> {
    let Content::Within(within) = &selection.content else { return None };
    let keys = schema.keys();
    if keys.is_empty() {
        return None;
    }
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        if key.has_prefixed_values() {
            return None;
        }
        let given = within.iter().find_map(|inner| match &inner.content {
            Content::Match(text) if inner.name == key.name() => Some(text.as_str()),
            _ => None,
        })?;
        values.push(key.canonical(given)?);
    }
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    path::key_predicate(keys, &values)
}

/// Section 6.2.2. The one attribute that data carries is the mark of defaults (RFC 6243), where the reply has it.
fn attributes_match(node: Node<'_>, selection: &Selection, marks_defaults: bool) -> bool {
    selection.attributes.iter().all(|(namespace, name, value)| {
        namespace.as_deref() == Some(DEFAULTS_NAMESPACE)
            && name == "default"
            && matches!(value.trim(), "true" | "1")
            && marks_defaults
            && node.schema().is_leaf_like()
            && node.is_default()
    })
}
