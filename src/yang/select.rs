//! Filters applied to a tree (RFC 6241 section 6 and 8.9): a view of what is selected, with ancestors and keys.
//!
//! Nothing is copied to be seen: a view is printed from the tree that it is of, or made a tree where one is needed.
//! A list entry whose keys are all given is found by hash, whatever the size of the list. Nodes that the caller may not
//! read are left out with all below them (RFC 8341 section 3.2.4).

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::build::DEFAULTS_NAMESPACE;
use super::ffi::{At, ModuleRef, Node, Tree};
use super::print::Printer;
use super::schema::{NodeKind, SchemaNode};
use super::tree::defaults_option;
use super::{errors, path, prefix};
use crate::northbound::filter::{Content, Filter, Selection};
use crate::northbound::{Kind, Refusal, WithDefaults};

/// Says of each node whether the caller may read it.
pub type Readable<'a> = &'a dyn Fn(Node<'_>) -> bool;

/// What a filter selects of a tree, where it stands.
#[derive(Debug)]
pub struct View<'t> {
    source: &'t Tree,
    picks: Vec<Pick<'t>>,
    tops: Vec<PickId>,
    /// Picks stand in the order of the tree.
    is_ordered: bool,
}

#[derive(Debug)]
struct Pick<'t> {
    node: Node<'t>,
    /// With all below it; else with its keys and these.
    whole: bool,
    children: Vec<PickId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PickId(usize);

/// What `filter` selects; without `readable` everything may be read.
pub fn select(tree: &Tree, filter: &Filter, readable: Option<Readable<'_>>) -> Result<Tree, Refusal> {
    Ok(view(tree, filter, readable, false)?.to_tree())
}

/// The same for a reply in which defaults are marked (RFC 6243 report-all-tagged): a filter may ask for the mark.
pub fn select_marked(tree: &Tree, filter: &Filter) -> Result<Tree, Refusal> {
    Ok(view(tree, filter, None, true)?.to_tree())
}

/// What `filter` selects, without a copy.
pub fn view<'t>(
    tree: &'t Tree,
    filter: &Filter,
    readable: Option<Readable<'t>>,
    marks_defaults: bool,
) -> Result<View<'t>, Refusal> {
    let mut selector = Selector { view: View::nothing(tree), readable, marks_defaults };
    match filter {
        Filter::Subtree(selections) => {
            let selections: Vec<&Selection> = selections.iter().collect();
            if let Some(selections) = agreed(None, tree, &selections) {
                selector.siblings(None, None, &selections);
            }
        }
        Filter::XPath { expression, namespaces } => {
            let text = prefix::expression(tree.schema(), expression, namespaces);
            let nodes = tree.find_xpath(&text).map_err(|faults| {
                errors::from_other(Kind::InvalidValue, &format!("the XPath {expression} cannot be used"), &faults)
            })?;
            selector.marked(&nodes);
        }
    }
    Ok(selector.view)
}

/// Everything that may be read.
pub fn prune(tree: &Tree, readable: Readable<'_>) -> Tree {
    let mut selector = Selector { view: View::nothing(tree), readable: Some(readable), marks_defaults: false };
    for root in tree.roots() {
        selector.whole(None, root);
    }
    selector.view.to_tree()
}

impl<'t> View<'t> {
    fn nothing(source: &'t Tree) -> Self {
        Self { source, picks: Vec::new(), tops: Vec::new(), is_ordered: true }
    }

    /// Compact XML, as [`Tree::print_xml`] prints it.
    pub fn print_xml(&self, with_defaults: WithDefaults) -> Bytes {
        if !self.is_ordered || with_defaults == WithDefaults::ReportAllTagged {
            return self.to_tree().print_xml(with_defaults);
        }
        let options = defaults_option(with_defaults);
        let mut printer = Printer::new(options);
        self.print(&mut printer, &self.tops, None);
        self.source.forget_faults_of_printing(options);
        printer.finish()
    }

    fn print(&self, printer: &mut Printer, picks: &[PickId], around: Option<ModuleRef>) {
        for pick in picks.iter().map(|id| &self.picks[id.0]) {
            if pick.whole {
                printer.node(pick.node, around);
            } else {
                printer.part(pick.node, around, |printer, around| self.print(printer, &pick.children, around));
            }
        }
    }

    pub fn to_tree(&self) -> Tree {
        let mut out = Tree::new(self.source.schema());
        self.copy(&mut out, None, &self.tops);
        out
    }

    fn copy(&self, out: &mut Tree, parent: Option<At>, picks: &[PickId]) {
        for pick in picks.iter().map(|id| &self.picks[id.0]) {
            let at = out.copy(parent, pick.node, pick.whole);
            self.copy(out, Some(at), &pick.children);
        }
    }

    fn pick(&mut self, parent: Option<PickId>, node: Node<'t>, whole: bool) -> PickId {
        let id = PickId(self.picks.len());
        self.picks.push(Pick { node, whole, children: Vec::new() });
        self.siblings_below(parent).push(id);
        id
    }

    /// Takes back what was picked last below `parent`.
    fn unpick(&mut self, parent: Option<PickId>) {
        self.siblings_below(parent).pop();
    }

    fn siblings_below(&mut self, parent: Option<PickId>) -> &mut Vec<PickId> {
        match parent {
            Some(parent) => &mut self.picks[parent.0].children,
            None => &mut self.tops,
        }
    }
}

struct Selector<'t> {
    view: View<'t>,
    readable: Option<Readable<'t>>,
    marks_defaults: bool,
}

impl<'t> Selector<'t> {
    fn may_read(&self, node: Node<'_>) -> bool {
        self.readable.is_none_or(|readable| readable(node))
    }

    /// Picks a node with all below it.
    fn whole(&mut self, parent: Option<PickId>, node: Node<'t>) {
        if !self.may_read(node) {
            return;
        }
        if self.readable.is_none() || node.schema().is_leaf_like() || node.schema().kind() == NodeKind::AnyData {
            self.view.pick(parent, node, true);
            return;
        }
        let at = self.view.pick(parent, node, false);
        for child in node.children().filter(|child| !child.schema().is_key()) {
            self.whole(Some(at), child);
        }
    }

    /// Picks what the selections choose among the children of `parent`; true when there was anything.
    fn siblings(&mut self, parent: Option<Node<'t>>, out: Option<PickId>, selections: &[&Selection]) -> bool {
        let mut any = false;
        for (node, matching) in self.candidates(parent, selections) {
            if self.may_read(node) && !(parent.is_some() && node.schema().is_key()) {
                any |= self.node(out, node, &matching);
            } else if node.schema().is_key() {
                // The key came with its entry.
                any = true;
            }
        }
        any
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
                    let Some(agreed) = agreed(Some(node), self.view.source, &within) else { continue };
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
        let at = self.view.pick(out, node, false);
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
            let mut allowed = true;
            for ancestor in ancestors.into_iter().rev() {
                if let Some(copy) = copies.get(&ancestor) {
                    out = Some(*copy);
                    continue;
                }
                if !self.may_read(ancestor) {
                    allowed = false;
                    break;
                }
                let copy = self.view.pick(out, ancestor, false);
                copies.insert(ancestor, copy);
                out = Some(copy);
            }
            let is_there = node.schema().is_key() && out.is_some();
            if allowed && !is_there {
                self.whole(out, *node);
            }
        }
    }
}

/// The selections that hold when the content matches among them are true; `None` when one is false (section 6.2.5).
fn agreed<'s>(parent: Option<Node<'_>>, tree: &Tree, selections: &[&'s Selection]) -> Option<Vec<&'s Selection>> {
    for selection in selections {
        let Content::Match(text) = &selection.content else { continue };
        let is_true =
            schemas(tree, parent, selection).into_iter().filter(|schema| schema.is_leaf_like()).any(|schema| {
                let at = parent.map(|parent| tree.at(parent));
                let Ok(Some(first)) = tree.instance(at, schema, None) else { return false };
                tree.node(first)
                    .and_following()
                    .take_while(|node| node.schema() == schema)
                    .any(|node| value_matches(node, text))
            });
        if !is_true {
            return None;
        }
    }
    Some(selections.to_vec())
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
