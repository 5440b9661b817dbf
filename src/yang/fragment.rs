//! A part of a configuration that an edit can be carried out and judged on, whatever the size of the rest.
//!
//! A [`Cover`] says which entries of which lists are in it. All that is not in a list is always there, with the children
//! of each entry that is; and each list that has more entries than are covered keeps one more, the *witness*, so that what
//! depends on there being any (a container, a case) comes out as in the whole. Of modules that no constraint binds to others
//! only those are there that are edited.

use std::collections::{HashMap, HashSet};

use super::analysis::Analysis;
use super::change::key_texts;
use super::ffi::{At, Node, Tree};
use super::schema::{ModuleRef, NodeKind, SchemaNode};

/// Whose top nodes are in a fragment.
#[derive(Debug, Clone)]
pub enum Tops {
    All,
    Of(Vec<ModuleRef>),
}

impl Tops {
    /// What has to be there to judge edits below these top nodes.
    pub fn around(analysis: &Analysis, edited: impl IntoIterator<Item = SchemaNode>) -> Self {
        match Self::of(edited) {
            Self::Of(modules) if modules.iter().all(|module| analysis.stands_alone(*module)) => Self::Of(modules),
            _ => Self::All,
        }
    }

    /// All that are of the same modules as these.
    pub fn of(nodes: impl IntoIterator<Item = SchemaNode>) -> Self {
        let mut tops = Self::default();
        nodes.into_iter().for_each(|node| tops.add(Self::Of(vec![node.module()])));
        tops
    }

    fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::All, _) => {}
            (tops, Self::All) => *tops = Self::All,
            (Self::Of(known), Self::Of(others)) => {
                others.into_iter().for_each(|other| {
                    if !known.contains(&other) {
                        known.push(other);
                    }
                });
            }
        }
    }

    fn has(&self, top: SchemaNode) -> bool {
        match self {
            Self::All => true,
            Self::Of(modules) => modules.contains(&top.module()),
        }
    }
}

impl Default for Tops {
    fn default() -> Self {
        Self::Of(Vec::new())
    }
}

/// What of a configuration is in a fragment.
#[derive(Debug, Clone, Default)]
pub struct Cover {
    /// Of the whole, not of what is below a node.
    tops: Tops,
    /// Everything below is.
    whole: bool,
    containers: HashMap<SchemaNode, Cover>,
    lists: HashMap<SchemaNode, ListCover>,
}

#[derive(Debug, Clone, Default)]
struct ListCover {
    /// All entries are there; named ones may be there more deeply.
    all: bool,
    /// All entries are there with everything below them.
    whole: bool,
    entries: HashMap<Vec<String>, Cover>,
    /// The keys of the witness: the first entry that is not named.
    witness: Option<Vec<String>>,
}

impl Cover {
    pub fn everything() -> Self {
        Self { tops: Tops::All, whole: true, ..Self::default() }
    }

    pub fn is_everything(&self) -> bool {
        self.whole
    }

    pub fn tops(&self) -> &Tops {
        &self.tops
    }

    pub fn with_tops(self, tops: Tops) -> Self {
        Self { tops, ..self }
    }

    pub(crate) fn cover_all(&mut self) {
        self.whole = true;
    }

    pub(crate) fn container(&mut self, schema: SchemaNode) -> &mut Cover {
        self.containers.entry(schema).or_default()
    }

    /// The entry of these canonical key values.
    pub(crate) fn entry(&mut self, list: SchemaNode, keys: Vec<String>) -> &mut Cover {
        self.lists.entry(list).or_default().entries.entry(keys).or_default()
    }

    pub(crate) fn all_entries(&mut self, list: SchemaNode) {
        self.lists.entry(list).or_default().all = true;
    }

    pub(crate) fn whole_list(&mut self, list: SchemaNode) {
        let list = self.lists.entry(list).or_default();
        list.all = true;
        list.whole = true;
    }

    /// Entries may have come in front of the witnesses.
    pub(crate) fn forget_witnesses(&mut self) {
        self.containers.values_mut().for_each(Cover::forget_witnesses);
        for list in self.lists.values_mut() {
            list.witness = None;
            list.entries.values_mut().for_each(Cover::forget_witnesses);
        }
    }

    pub(crate) fn add(&mut self, other: Cover) {
        self.tops.add(other.tops);
        self.whole |= other.whole;
        for (schema, inner) in other.containers {
            self.container(schema).add(inner);
        }
        for (schema, list) in other.lists {
            let known = self.lists.entry(schema).or_default();
            known.all |= list.all;
            known.whole |= list.whole;
            for (keys, inner) in list.entries {
                known.entries.entry(keys).or_default().add(inner);
            }
        }
    }
}

impl ListCover {
    /// The witness stays until it is named; the next one stands behind it, for all before it are named already.
    fn next_witness<'t>(&mut self, first: Node<'t>, find: impl Fn(&[String]) -> Option<Node<'t>>) -> Option<Node<'t>> {
        let last = self.witness.as_deref().and_then(find).unwrap_or(first);
        let next = entries_from(last).find(|entry| !self.entries.contains_key(&key_texts(*entry)));
        self.witness = next.map(key_texts);
        next
    }
}

fn entries_from(first: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    let schema = first.schema();
    first.and_following().take_while(move |node| node.schema() == schema)
}

impl Tree {
    /// Defaults of the schema, as far as these top nodes go.
    pub fn add_defaults_of(&mut self, tops: &Tops) {
        match tops {
            Tops::All => self.add_defaults(),
            Tops::Of(modules) => modules.iter().for_each(|module| self.add_defaults_of_module(*module)),
        }
    }
}

/// The part of `source` that `cover` names, with witnesses.
pub fn extract(source: &Tree, cover: &Cover) -> Tree {
    extracted(source, cover, true)
}

/// The same without witnesses: not for validation.
pub fn extract_covered(source: &Tree, cover: &Cover) -> Tree {
    extracted(source, cover, false)
}

fn extracted(source: &Tree, cover: &Cover, has_witnesses: bool) -> Tree {
    if cover.whole {
        return source.duplicate();
    }
    let mut out = Tree::new(source.schema());
    let analysis = source.schema().analysis();
    let mut extender = Extender { analysis, source, out: &mut out, edited: None, has_witnesses };
    extender.level(Place { out: None, edited: None }, None, cover, None);
    out
}

/// Adds to `out` what `cover` names and is not there yet; `edited`, which was made from `out`, gets the same, but for
/// what hangs below nodes that it no longer has. `known` is all that is covered, this cover included.
pub fn extend(out: &mut Tree, edited: &mut Tree, source: &Tree, cover: &Cover, known: &mut Cover) {
    let analysis = source.schema().analysis();
    let mut extender = Extender { analysis, source, out, edited: Some(edited), has_witnesses: true };
    extender.level(Place { out: None, edited: Some(None) }, None, cover, Some(known));
}

/// A parent in the fragment, and in the edited one if it is there; `None` inside stands for the top.
#[derive(Clone, Copy)]
struct Place {
    out: Option<At>,
    edited: Option<Option<At>>,
}

struct Extender<'a> {
    analysis: &'a Analysis,
    source: &'a Tree,
    out: &'a mut Tree,
    edited: Option<&'a mut Tree>,
    has_witnesses: bool,
}

/// What of a container or an entry is wanted.
struct Wanted<'c> {
    cover: &'c Cover,
    known: Option<&'c mut Cover>,
    whole: bool,
}

impl<'a> Extender<'a> {
    fn level(&mut self, place: Place, above: Option<Node<'a>>, cover: &Cover, mut known: Option<&mut Cover>) {
        let nothing = Cover::default();
        let parent = above.map(|node| self.source.at(node));
        for schema in self.analysis.children(above.map(Node::schema)) {
            if schema.is_key() || above.is_none() && !cover.tops.has(*schema) {
                continue;
            }
            let Ok(Some(first)) = self.source.instance(parent, *schema, None) else { continue };
            let first = self.source.node(first);
            match schema.kind() {
                NodeKind::Container { .. } => {
                    let wanted = Wanted {
                        cover: cover.containers.get(schema).unwrap_or(&nothing),
                        known: known.as_mut().and_then(|known| known.containers.get_mut(schema)),
                        whole: cover.whole,
                    };
                    self.inner(place, first, wanted, None);
                }
                NodeKind::List => {
                    let known = known.as_mut().and_then(|known| known.lists.get_mut(schema));
                    self.list(place, first, cover, known);
                }
                NodeKind::LeafList => {
                    if self.out.counterpart(place.out, first).is_none() {
                        for node in first.and_following().take_while(|node| node.schema() == *schema) {
                            self.put(place, node, true);
                        }
                    }
                }
                _ => {
                    if self.out.counterpart(place.out, first).is_none() {
                        self.put(place, first, true);
                    }
                }
            }
        }
    }

    fn list(&mut self, place: Place, first: Node<'a>, cover: &Cover, mut known: Option<&mut ListCover>) {
        let schema = first.schema();
        let (nothing, empty) = (Cover::default(), ListCover::default());
        let list = cover.lists.get(&schema).unwrap_or(&empty);
        if cover.whole || list.all || self.analysis.is_counted(schema) {
            let mut last = None;
            for entry in entries_from(first) {
                let keys = if list.entries.is_empty() { Vec::new() } else { key_texts(entry) };
                let wanted = Wanted {
                    cover: list.entries.get(&keys).unwrap_or(&nothing),
                    known: known.as_mut().and_then(|known| known.entries.get_mut(&keys)),
                    whole: cover.whole || list.whole,
                };
                last = Some(self.inner(place, entry, wanted, Some(last)));
            }
            return;
        }
        let parent = first.parent().map(|parent| self.source.at(parent));
        let named = |keys: &[String]| {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            self.source.list_entry(parent, schema, &keys).ok().flatten().map(|at| self.source.node(at))
        };
        let found: Vec<(Node<'a>, &Vec<String>, &Cover)> =
            list.entries.iter().filter_map(|(keys, inner)| Some((named(keys)?, keys, inner))).collect();
        let witness = match &mut known {
            _ if !self.has_witnesses => None,
            Some(known) => known.next_witness(first, named),
            None => {
                let found: HashSet<Node<'_>> = found.iter().map(|(entry, ..)| *entry).collect();
                entries_from(first).find(|entry| !found.contains(entry))
            }
        };
        for (entry, keys, cover) in found {
            let known = known.as_mut().and_then(|known| known.entries.get_mut(keys));
            self.inner(place, entry, Wanted { cover, known, whole: false }, None);
        }
        if let Some(witness) = witness {
            self.inner(place, witness, Wanted { cover: &nothing, known: None, whole: false }, None);
        }
    }

    /// A container or an entry; `after` is the place of the entry before it, where the order of the source is kept.
    fn inner(&mut self, place: Place, node: Node<'a>, wanted: Wanted<'_>, after: Option<Option<Place>>) -> Place {
        let Wanted { cover, known, whole } = wanted;
        let is_whole = whole || cover.whole;
        if let Some(at) = self.out.counterpart(place.out, node) {
            let edited = match (&self.edited, place.edited) {
                (Some(edited), Some(parent)) => edited.counterpart(parent, node).map(Some),
                _ => None,
            };
            let here = Place { out: Some(at), edited };
            if is_whole {
                self.level(here, Some(node), &Cover::everything(), known);
            } else {
                self.level(here, Some(node), cover, known);
            }
            return here;
        }
        let here = self.put(place, node, is_whole);
        if let (true, Some(after)) = (node.schema().is_user_ordered(), after) {
            self.put_in_order(place, here, after, node.schema());
        }
        if !is_whole {
            self.level(here, Some(node), cover, known);
        }
        here
    }

    fn put(&mut self, place: Place, node: Node<'a>, is_whole: bool) -> Place {
        let at = self.out.copy(place.out, node, is_whole);
        self.out.copy_flags(at, node);
        let edited = match (&mut self.edited, place.edited) {
            (Some(edited), Some(parent)) => {
                let at = edited.copy(parent, node, is_whole);
                edited.copy_flags(at, node);
                Some(Some(at))
            }
            _ => None,
        };
        Place { out: Some(at), edited }
    }

    /// Entries that were there already may stand behind this one in the source.
    fn put_in_order(&mut self, place: Place, here: Place, after: Option<Place>, schema: SchemaNode) {
        let previous = after.and_then(|after| after.out);
        if let Some(at) = here.out {
            order(self.out, place.out, at, previous, schema);
        }
        if let (Some(edited), Some(parent), Some(Some(at))) = (&mut self.edited, place.edited, here.edited) {
            order(edited, parent, at, after.and_then(|after| after.edited.flatten()), schema);
        }
    }
}

/// Puts an entry of a user-ordered list behind `previous`, or in front of all.
pub(crate) fn order(tree: &mut Tree, parent: Option<At>, at: At, previous: Option<At>, schema: SchemaNode) {
    let anchor = match previous {
        Some(previous) => Some((previous, false)),
        None => tree.instance(parent, schema, None).ok().flatten().map(|first| (first, true)),
    };
    if let Some((anchor, before)) = anchor.filter(|(anchor, _)| *anchor != at) {
        // Entries of one list can always be moved beside each other.
        let moved = tree.put_beside(at, anchor, before);
        debug_assert!(moved.is_ok(), "entries of one user-ordered list");
    }
}
