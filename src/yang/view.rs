//! What of a tree a reader is shown, where it stands: nothing is copied to be seen.
//!
//! A view names nodes of its tree; what the reader may see below them is asked for when they are printed.

use bytes::Bytes;

use super::ffi::{At, ModuleRef, Node, Tree};
use super::print::Printer;
use super::schema::{NodeKind, SchemaNode};
use super::segments::{Segments, SightId};
use super::tree::defaults_option;
use crate::northbound::WithDefaults;

/// How much of a node the caller may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nor anything below it.
    Nothing,
    /// Each node below it is another question.
    Itself,
    /// With all below it.
    Whole,
}

/// How much of the entries of a list the caller may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// Each is another question.
    Differ,
    /// All of each.
    Whole,
    /// The same of each, whatever it holds; others by whom the same is seen have the same number.
    Alike(SightId),
}

/// Says what the caller may read.
pub trait Sight {
    fn sees(&self, node: Node<'_>) -> Seen;

    fn entries(&self, _list: SchemaNode) -> Entries {
        Entries::Differ
    }
}

impl<F: Fn(Node<'_>) -> Seen> Sight for F {
    fn sees(&self, node: Node<'_>) -> Seen {
        self(node)
    }
}

/// What a filter selects of a tree, as far as it may be read.
pub struct View<'t> {
    pub(super) source: &'t Tree,
    /// Without it, everything is seen.
    pub(super) sight: Option<&'t dyn Sight>,
    picks: Vec<Pick<'t>>,
    tops: Vec<PickId>,
    /// Picks stand in the order of the tree.
    pub(super) is_ordered: bool,
}

struct Pick<'t> {
    node: Node<'t>,
    extent: Extent,
    children: Vec<PickId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PickId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// With its keys, and what is picked below it.
    Part,
    /// With all below it that is seen.
    Whole,
    /// The same, and so are the entries of its list behind it.
    List,
}

impl<'t> View<'t> {
    pub(super) fn nothing(source: &'t Tree, sight: Option<&'t dyn Sight>) -> Self {
        Self { source, sight, picks: Vec::new(), tops: Vec::new(), is_ordered: true }
    }

    pub(super) fn everything(source: &'t Tree, sight: Option<&'t dyn Sight>) -> Self {
        let mut view = Self::nothing(source, sight);
        let mut last = None;
        for root in source.roots().filter(|root| sight.is_none_or(|sight| sight.sees(*root) != Seen::Nothing)) {
            if root.schema().facts().kind != NodeKind::List {
                view.pick(None, root, Extent::Whole);
            } else if last != Some(root.schema()) {
                view.pick(None, root, Extent::List);
            }
            last = Some(root.schema());
        }
        view
    }

    /// Whether it is one of this very tree.
    pub fn is_of(&self, tree: &Tree) -> bool {
        std::ptr::eq(self.source, tree)
    }

    /// Compact XML, as [`Tree::print_xml`] prints it.
    pub fn print_xml(&self, with_defaults: WithDefaults) -> Bytes {
        self.print_with(with_defaults, None)
    }

    /// The same, with entries of long lists from what is kept of them.
    pub fn print_kept(&self, with_defaults: WithDefaults, segments: &Segments) -> Bytes {
        self.print_with(with_defaults, Some(segments))
    }

    fn print_with(&self, with_defaults: WithDefaults, segments: Option<&Segments>) -> Bytes {
        if !self.is_ordered || with_defaults == WithDefaults::ReportAllTagged {
            return self.to_tree().print_xml(with_defaults);
        }
        let options = defaults_option(with_defaults);
        let mut printer = Printer::new(options).with_sight(self.sight);
        if let Some(segments) = segments {
            printer = printer.keeping(segments, self.source);
        }
        self.print(&mut printer, &self.tops, None);
        self.source.forget_faults_of_printing(options);
        printer.finish()
    }

    fn print(&self, printer: &mut Printer<'_>, picks: &[PickId], around: Option<ModuleRef>) {
        for Pick { node, extent, children } in picks.iter().map(|id| &self.picks[id.0]) {
            match extent {
                Extent::Whole => printer.seen(*node, around),
                Extent::List => printer.entries(*node, around),
                Extent::Part => {
                    printer.part(*node, around, |printer, around| self.print(printer, children, around));
                }
            }
        }
    }

    /// A copy in which each node that was selected comes with so many levels at most; containers in which there are only
    /// defaults are there where those are told.
    pub fn to_depth(&self, levels: u16, tells_defaults: bool) -> Tree {
        let mut out = Tree::new(self.source.schema());
        self.copy_to_depth(&mut out, None, &self.tops, levels, tells_defaults);
        out
    }

    fn copy_to_depth(&self, out: &mut Tree, parent: Option<At>, picks: &[PickId], levels: u16, tells_defaults: bool) {
        let is_told = |node: &Node<'_>| tells_defaults || !node.is_default() || node.schema().is_leaf_like();
        for Pick { node, extent, children } in picks.iter().map(|id| &self.picks[id.0]) {
            match extent {
                _ if !is_told(node) => {}
                Extent::Whole => self.copy_levels(out, parent, *node, levels),
                Extent::List => entries(*node).for_each(|entry| self.copy_levels(out, parent, entry, levels)),
                Extent::Part => {
                    let at = out.copy(parent, *node, false);
                    self.copy_to_depth(out, Some(at), children, levels, tells_defaults);
                }
            }
        }
    }

    fn copy_levels(&self, out: &mut Tree, parent: Option<At>, node: Node<'_>, levels: u16) {
        if self.sees(node) == Seen::Nothing {
            return;
        }
        let is_leaf = node.schema().has_no_children();
        let at = out.copy(parent, node, is_leaf);
        if levels > 1 && !is_leaf {
            // Without its content, a container that nobody wrote in would say that somebody did.
            let is_told = |child: &Node<'_>| levels > 2 || child.schema().is_leaf_like() || !child.is_default();
            for child in node.children().filter(|child| !child.schema().is_key()).filter(is_told) {
                self.copy_levels(out, Some(at), child, levels - 1);
            }
        }
    }

    pub fn to_tree(&self) -> Tree {
        let mut out = Tree::new(self.source.schema());
        self.copy(&mut out, None, &self.tops);
        out
    }

    fn copy(&self, out: &mut Tree, parent: Option<At>, picks: &[PickId]) {
        for Pick { node, extent, children } in picks.iter().map(|id| &self.picks[id.0]) {
            match extent {
                Extent::Whole => self.copy_seen(out, parent, *node),
                Extent::List => entries(*node).for_each(|entry| self.copy_seen(out, parent, entry)),
                Extent::Part => {
                    let at = out.copy(parent, *node, false);
                    self.copy(out, Some(at), children);
                }
            }
        }
    }

    fn copy_seen(&self, out: &mut Tree, parent: Option<At>, node: Node<'_>) {
        match self.sees(node) {
            Seen::Nothing => {}
            Seen::Itself if !node.schema().has_no_children() => {
                let at = out.copy(parent, node, false);
                for child in node.children().filter(|child| !child.schema().is_key()) {
                    self.copy_seen(out, Some(at), child);
                }
            }
            Seen::Itself | Seen::Whole => drop(out.copy(parent, node, true)),
        }
    }

    pub(super) fn sees(&self, node: Node<'_>) -> Seen {
        self.sight.map_or(Seen::Whole, |sight| sight.sees(node))
    }

    pub(super) fn pick(&mut self, parent: Option<PickId>, node: Node<'t>, extent: Extent) -> PickId {
        let id = PickId(self.picks.len());
        self.picks.push(Pick { node, extent, children: Vec::new() });
        self.siblings_below(parent).push(id);
        id
    }

    /// Takes back what was picked last below `parent`.
    pub(super) fn unpick(&mut self, parent: Option<PickId>) {
        self.siblings_below(parent).pop();
    }

    fn siblings_below(&mut self, parent: Option<PickId>) -> &mut Vec<PickId> {
        match parent {
            Some(parent) => &mut self.picks[parent.0].children,
            None => &mut self.tops,
        }
    }
}

/// The entry and those of the same list behind it.
fn entries(first: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    let list = first.schema();
    first.and_following().take_while(move |node| node.schema() == list)
}
