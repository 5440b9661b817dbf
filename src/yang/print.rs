//! Compact XML of trees and of parts of them, the same bytes that libyang prints, several times as fast.
//!
//! Written here is what makes up a configuration: containers, lists, and leaves of plain values. What needs namespaces
//! of its own (identities, paths, anydata, foreign metadata, defaults with a tag) is left to libyang, node by node.

use bytes::Bytes;

use super::ffi::{Children, ModuleRef, Node, Tree};
use super::schema::NodeKind;
use super::segments::{Look, Place, Segments};
use super::select::{Entries, Seen, Sight};
use super::{anydata, path};
use crate::sys::weight;

/// The module of the attributes that make up a diff.
const DIFF_MODULE: &str = "yang";

const DIFF_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:1";

/// A first guess of how much there is to print.
const CAPACITY: usize = 1024;

/// How a tree is printed.
pub(super) struct Printer<'a> {
    out: Vec<u8>,
    options: u32,
    /// Without it, everything is seen.
    sight: Option<&'a dyn Sight>,
    /// Where entries of long lists are kept, and the tree whose they are.
    kept: Option<(&'a Segments, &'a Tree)>,
    /// Long lists that were met.
    lists_met: usize,
    /// Around the node at hand somebody has declared the prefix of [`DIFF_MODULE`].
    is_diff_prefix_bound: bool,
    orders: Orders,
}

/// How much of nodes is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    All,
    Readable,
}

/// What is said of entries that their user orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orders {
    /// Nothing: they stand in their order.
    Shown,
    /// Behind which one each of them came, as a diff has to say.
    Marked,
    /// The same, but one of them was left to libyang, which cannot.
    Missed,
}

impl<'a> Printer<'a> {
    /// libyang's options about defaults; those with a tag are not for us.
    pub(super) fn new(options: u32) -> Self {
        Self {
            out: Vec::with_capacity(CAPACITY),
            options,
            sight: None,
            kept: None,
            lists_met: 0,
            is_diff_prefix_bound: false,
            orders: Orders::Shown,
        }
    }

    /// What [`Printer::seen`] asks.
    pub(super) fn with_sight(self, sight: Option<&'a dyn Sight>) -> Self {
        Self { sight, ..self }
    }

    /// Takes the entries of long lists of `tree` from what is kept of them. All nodes are of this tree.
    pub(super) fn keeping(self, segments: &'a Segments, tree: &'a Tree) -> Self {
        Self { kept: Some((segments, tree)), ..self }
    }

    pub(super) fn finish(self) -> Bytes {
        self.out.into()
    }

    /// A node with all below it. `around` is the module whose namespace is the default one where it stands.
    pub(super) fn node(&mut self, node: Node<'_>, around: Option<ModuleRef>) {
        if !node.is_printed(self.options) {
            return;
        }
        if !is_plain(node) || !self.has_plain_metadata(node) {
            return self.foreign(node, around);
        }
        let was_bound = self.is_diff_prefix_bound;
        self.open(node, around);
        if self.orders != Orders::Shown && node.schema().is_user_ordered() {
            let (name, before) = place_of(node);
            self.marks(&[(name, &before)]);
        }
        self.inside(node);
        self.is_diff_prefix_bound = was_bound;
    }

    /// The same with marks of a diff on it; `None` where all of the diff has to be left to libyang. Of what `came` it is
    /// said below, too, which entry stands behind which.
    pub(super) fn marked(
        &mut self,
        node: Node<'_>,
        around: Option<ModuleRef>,
        marks: &[(&str, &str)],
        came: bool,
    ) -> Option<()> {
        if !is_plain(node) || node.metadata().next().is_some() {
            return None;
        }
        let was_bound = self.is_diff_prefix_bound;
        self.open(node, around);
        self.marks(marks);
        self.orders = if came { Orders::Marked } else { Orders::Shown };
        self.inside(node);
        let orders = std::mem::replace(&mut self.orders, Orders::Shown);
        self.is_diff_prefix_bound = was_bound;
        (orders != Orders::Missed).then_some(())
    }

    /// Begins a node that stands around changes, with its keys. The outermost one says that it did not change itself.
    pub(super) fn begin_around(&mut self, node: Node<'_>, around: Option<ModuleRef>, is_outermost: bool) {
        self.open(node, around);
        if is_outermost {
            self.marks(&[("operation", "none")]);
        }
        self.out.push(b'>');
        for key in node.children().take_while(|child| child.schema().facts().is_key) {
            self.node(key, Some(node.schema().facts().module));
        }
    }

    pub(super) fn end_around(&mut self, node: Node<'_>, is_outermost: bool) {
        self.close(node);
        self.is_diff_prefix_bound &= !is_outermost;
    }

    fn marks(&mut self, marks: &[(&str, &str)]) {
        if !self.is_diff_prefix_bound {
            self.is_diff_prefix_bound = true;
            for piece in [" xmlns:", DIFF_MODULE, "=\"", DIFF_NAMESPACE, "\""] {
                self.out.extend_from_slice(piece.as_bytes());
            }
        }
        for (name, value) in marks {
            for piece in [" ", DIFF_MODULE, ":", name, "=\""] {
                self.out.extend_from_slice(piece.as_bytes());
            }
            self.text(value, true);
            self.out.push(b'"');
        }
    }

    /// What follows the name and the attributes of a plain node.
    fn inside(&mut self, node: Node<'_>) {
        let facts = node.schema().facts();
        if facts.kind == NodeKind::Leaf || facts.kind == NodeKind::LeafList {
            let value = node.value().unwrap_or_default();
            if value.is_empty() {
                self.out.extend_from_slice(b"/>");
            } else {
                self.out.push(b'>');
                self.text(value, false);
                self.close(node);
            }
        } else {
            let inside = self.begin();
            self.siblings(node.children(), Some(facts.module), Extent::All);
            self.end(node, inside);
        }
    }

    /// A node, as much of it as may be read. `around` as for [`Printer::node`].
    pub(super) fn seen(&mut self, node: Node<'_>, around: Option<ModuleRef>) {
        match self.sight.map_or(Seen::Whole, |sight| sight.sees(node)) {
            Seen::Nothing => {}
            Seen::Itself if node.schema().has_no_children() => self.node(node, around),
            Seen::Itself => self.part(node, around, |printer, around| {
                printer.siblings(node.children(), around, Extent::Readable);
            }),
            Seen::Whole => self.node(node, around),
        }
    }

    /// An entry and those of the same list behind it, as much of each as may be read.
    pub(super) fn entries(&mut self, first: Node<'_>, around: Option<ModuleRef>) {
        if self.long_list(first, around, Extent::Readable).is_none() {
            let schema = first.schema();
            first.and_following().take_while(|node| node.schema() == schema).for_each(|node| self.seen(node, around));
        }
    }

    fn siblings(&mut self, mut siblings: Children<'_>, around: Option<ModuleRef>, extent: Extent) {
        let mut looked_at = None;
        while let Some(node) = siblings.next() {
            weight::yield_if_light();
            if self.kept.is_some() && looked_at != Some(node.schema()) {
                looked_at = Some(node.schema());
                if let Some(rest) = self.long_list(node, around, extent) {
                    siblings = rest;
                    continue;
                }
            }
            match extent {
                Extent::All => self.node(node, around),
                // What it is a part of came with its keys.
                Extent::Readable if node.schema().is_key() => {}
                Extent::Readable => self.seen(node, around),
            }
        }
    }

    /// All entries of a long list, which begins with this one; answers what stands behind them. `None` where entries are not
    /// kept: then nothing was printed.
    fn long_list<'n>(&mut self, first: Node<'n>, around: Option<ModuleRef>, extent: Extent) -> Option<Children<'n>> {
        let (segments, tree) = self.kept?;
        let list = first.schema();
        if list.facts().kind != NodeKind::List || !is_long(first, segments.long_list()) {
            return None;
        }
        let asked = self.sight.filter(|_| extent == Extent::Readable);
        let sight = match asked.map_or(Entries::Whole, |sight| sight.entries(list)) {
            Entries::Differ => return None,
            Entries::Whole => None,
            Entries::Alike(sight) => Some(sight),
        };
        if self.lists_met == 0 {
            segments.begin_reading();
        }
        self.lists_met += 1;
        let look = Look { options: self.options, sight };
        let above = first.parent().map(Node::path).unwrap_or_default();
        let mut reading = segments.list(Place { above, list, look });
        let mut next = Some(first);
        while let Some(entry) = next.filter(|node| node.schema() == list) {
            let stamp = tree.stamp(entry);
            if !reading.find(stamp, &mut self.out) {
                let (begin, lists_met) = (self.out.len(), self.lists_met);
                match sight {
                    Some(_) => self.seen(entry, around),
                    None => self.node(entry, around),
                }
                // A long list in it is kept by itself.
                let is_kept = self.lists_met == lists_met;
                reading.add(stamp, is_kept.then(|| &self.out[begin..]));
            }
            next = entry.next_sibling();
        }
        reading.finish(&mut self.out);
        Some(next.map_or_else(Children::none, Node::and_following))
    }

    /// A node of which only a part is to be seen: its keys, and what `children` print. A container that stands for
    /// nothing is left out when nothing comes of them.
    pub(super) fn part(
        &mut self,
        node: Node<'_>,
        around: Option<ModuleRef>,
        children: impl FnOnce(&mut Self, Option<ModuleRef>),
    ) {
        let before = self.out.len();
        let module = node.schema().facts().module;
        self.open(node, around);
        let inside = self.begin();
        for key in node.children().take_while(|child| child.schema().facts().is_key) {
            self.node(key, Some(module));
        }
        children(self, Some(module));
        let is_empty = self.out.len() == inside;
        if is_empty && node.schema().facts().kind == (NodeKind::Container { presence: false }) {
            self.out.truncate(before);
        } else {
            self.end(node, inside);
        }
    }

    /// Ends a start tag; answers where the inside begins.
    fn begin(&mut self) -> usize {
        self.out.push(b'>');
        self.out.len()
    }

    fn end(&mut self, node: Node<'_>, inside: usize) {
        if self.out.len() == inside {
            self.out.pop();
            self.out.extend_from_slice(b"/>");
        } else {
            self.close(node);
        }
    }

    fn close(&mut self, node: Node<'_>) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(node.name().as_bytes());
        self.out.push(b'>');
    }

    fn open(&mut self, node: Node<'_>, around: Option<ModuleRef>) {
        let facts = node.schema().facts();
        self.out.push(b'<');
        self.out.extend_from_slice(facts.name.as_bytes());
        if around != Some(facts.module) {
            self.out.extend_from_slice(b" xmlns=\"");
            self.out.extend_from_slice(facts.module.namespace().as_bytes());
            self.out.push(b'"');
        }
        for (module, name, value) in node.metadata() {
            if !self.is_diff_prefix_bound {
                self.is_diff_prefix_bound = true;
                for piece in [" xmlns:", module.prefix(), "=\"", module.namespace(), "\""] {
                    self.out.extend_from_slice(piece.as_bytes());
                }
            }
            for piece in [" ", module.prefix(), ":", name, "=\""] {
                self.out.extend_from_slice(piece.as_bytes());
            }
            self.text(value, true);
            self.out.push(b'"');
        }
    }

    fn has_plain_metadata(&self, node: Node<'_>) -> bool {
        node.metadata().all(|(module, ..)| module.name() == DIFF_MODULE)
    }

    /// Printed by libyang as if it stood alone: it declares its namespace even where that is in force already.
    fn foreign(&mut self, node: Node<'_>, around: Option<ModuleRef>) {
        if self.orders == Orders::Marked && node.schema().is_user_ordered() {
            self.orders = Orders::Missed;
        }
        let facts = node.schema().facts();
        let text = match facts.kind {
            NodeKind::AnyData => anydata::with_namespaces(node, node.print_alone(self.options)),
            _ => node.print_alone(self.options),
        };
        let declared = format!(" xmlns=\"{}\"", facts.module.namespace());
        let name_end = 1 + facts.name.len();
        if around == Some(facts.module)
            && text.get(name_end..).is_some_and(|rest| rest.starts_with(declared.as_bytes()))
        {
            self.out.extend_from_slice(&text[..name_end]);
            self.out.extend_from_slice(&text[name_end + declared.len()..]);
        } else {
            self.out.extend_from_slice(&text);
        }
    }

    fn text(&mut self, text: &str, is_attribute: bool) {
        let mut rest = text.as_bytes();
        let escaped = |byte: &u8| matches!(byte, b'&' | b'<' | b'>') || (is_attribute && *byte == b'"');
        while let Some(at) = rest.iter().position(escaped) {
            self.out.extend_from_slice(&rest[..at]);
            self.out.extend_from_slice(match rest[at] {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                _ => b"&quot;",
            });
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
    }
}

/// The attribute of a diff that says behind which one an entry came, and its value: nothing for the first.
fn place_of(entry: Node<'_>) -> (&'static str, String) {
    let before = entry.previous_sibling().filter(|before| before.schema() == entry.schema());
    match entry.schema().facts().kind {
        NodeKind::List => ("key", before.map(path::key_predicates).unwrap_or_default()),
        _ => ("value", before.and_then(Node::value).unwrap_or_default().to_owned()),
    }
}

/// Whether there are so many entries at least.
fn is_long(first: Node<'_>, entries: usize) -> bool {
    let last = first.and_following().nth(entries.saturating_sub(1));
    last.is_some_and(|last| last.schema() == first.schema())
}

/// Whether its text needs no namespaces but its own.
fn is_plain(node: Node<'_>) -> bool {
    let facts = node.schema().facts();
    match facts.kind {
        NodeKind::Leaf | NodeKind::LeafList => !facts.has_prefixed_values,
        NodeKind::AnyData => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::northbound::WithDefaults;
    use crate::northbound::filter::{Content, Filter};
    use crate::yang::diff::Diff;
    use crate::yang::select::{select, view};
    use crate::yang::testing::{schema, selection, top, valid};
    use crate::yang::tree::Tree;

    const MODES: [WithDefaults; 4] =
        [WithDefaults::Explicit, WithDefaults::ReportAll, WithDefaults::ReportAllTagged, WithDefaults::Trim];

    fn samples() -> Vec<Tree> {
        [
            String::new(),
            top("<name>a&amp;b&lt;&gt;\"'</name><mtu>1500</mtu><inner><b>7</b></inner><tag>t</tag><step>z</step><step>a</step>"),
            top("<pet xmlns:m=\"urn:more\">m:dog</pet><item><name>i</name><note/><deep><x>1</x></deep></item>\
                 <plus xmlns=\"urn:more\"><size>3</size></plus><rule><id>2</id></rule><rule><id>1</id></rule>"),
            "<x:top xmlns:x='urn:sample' xmlns='urn:more'><x:pet>dog</x:pet><x:where>/x:top/x:item[x:name='k']</x:where>\
             <x:blob><a xmlns='urn:any' b='c'>t<d/></a></x:blob><x:on><x:level>1</x:level></x:on></x:top>\
             <root-list xmlns='urn:sample'><k>1</k></root-list><top-leaf xmlns='urn:sample'>v</top-leaf>"
                .to_owned(),
        ]
        .iter()
        .map(|xml| valid(xml))
        .collect()
    }

    #[test]
    fn a_tree_is_printed_as_libyang_prints_it() {
        for tree in samples() {
            for mode in MODES {
                assert_eq!(tree.print_xml(mode), tree.print_by_libyang(mode), "{mode:?}");
            }
        }
    }

    #[test]
    fn the_difference_of_two_trees_is_printed_as_libyang_prints_it() {
        let samples = samples();
        for (old, new) in samples.iter().flat_map(|old| samples.iter().map(move |new| (old, new))) {
            let printed = crate::yang::diff::record_by_libyang(old, new).print_xml();
            let again = Diff::parse(schema(), &printed).unwrap();
            let told = Diff::parse(schema(), &Diff::between(old, new).print_xml()).unwrap();
            assert_eq!(again.print_by_libyang(), told.print_by_libyang());
        }
    }

    #[test]
    fn a_view_is_printed_like_the_tree_that_it_is_of() {
        let all = |name: &str| selection(name, Content::Selected);
        let within = |name: &str, inner| selection(name, Content::Within(inner));
        let equal = |name: &str, text: &str| selection(name, Content::Match(text.to_owned()));
        for selections in [
            vec![all("top")],
            vec![all("top-leaf"), all("top")],
            vec![within("top", vec![all("inner"), all("mtu")])],
            vec![within("top", vec![within("inner", vec![all("b")])])],
            vec![within("top", vec![within("item", vec![all("note")]), all("pet"), all("blob")])],
            vec![within("top", vec![within("item", vec![equal("name", "i"), within("deep", vec![all("x")])])])],
            vec![within("top", vec![within("rule", vec![equal("id", "1")]), within("rule", vec![equal("id", "2")])])],
            vec![within("top", vec![within("on", vec![all("level")])])],
        ] {
            let filter = Filter::Subtree(selections);
            for tree in samples() {
                for mode in MODES {
                    let view = view(&tree, &filter, false).unwrap();
                    let copied = select(&tree, &filter).unwrap();
                    assert_eq!(view.print_xml(mode), copied.print_by_libyang(mode), "{filter:?} {mode:?}");
                }
            }
        }
    }
}
