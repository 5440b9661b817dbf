//! What the schema's constraints can see, computed once at load: which edits may be judged by what they touch alone.
//!
//! A *fragment* (`fragment.rs`) is a configuration in which long lists hold only the entries that an edit touches; all
//! else is there. A constraint is *near* when its answer in the fragment is its answer in the whole: it reads nothing
//! inside of a list but the entries around itself. All others are *far*: a change of what they stand on or look at is
//! judged by the whole configuration. An expression that cannot be read counts as looking at everything. Leafrefs to a key
//! and `unique` statements are neither: what they need of the rest is found by key (`leafref.rs`) or counted (`index.rs`).

use std::collections::{HashMap, HashSet};

use super::expression::{self, Sight};
use super::leafref::References;
use super::schema::{ModuleRef, NodeKind, SchemaNode};
use super::unique::Uniques;

/// Facts about the configuration nodes of a schema.
#[derive(Debug, Default)]
pub struct Analysis {
    roots: Vec<SchemaNode>,
    children: HashMap<SchemaNode, Vec<SchemaNode>>,
    /// Lists with bounds on their number: a fragment holds all entries, so that they can be counted.
    counted: HashSet<SchemaNode>,
    /// Inner nodes with a list somewhere below.
    around_lists: HashSet<SchemaNode>,
    /// A change of one of these is judged by the whole.
    far: HashSet<SchemaNode>,
    /// Some node around lists may be taken away by validation itself: it has a `when`, or is in a case.
    may_lose_lists: bool,
    /// Where one of these is, a far `when` decides about a child of it.
    under_far_when: HashSet<SchemaNode>,
    /// Nodes with a `when`, of their own or of a choice or case around them.
    with_when: HashSet<SchemaNode>,
    /// Inner nodes with one of those somewhere below.
    around_whens: HashSet<SchemaNode>,
    uniques: Uniques,
    references: References,
    /// Modules whose top nodes a constraint binds to those of another.
    bound: HashSet<ModuleRef>,
    /// The first constraint that may look at anything; then nothing is judged by a fragment.
    everything: Option<String>,
}

impl Analysis {
    pub(super) fn of(top_nodes: Vec<SchemaNode>) -> Self {
        let mut analysis = Self { roots: data_nodes(top_nodes), ..Self::default() };
        let mut waiting = analysis.roots.clone();
        while let Some(node) = waiting.pop() {
            let children = data_nodes(node.children());
            waiting.extend(children.iter().copied());
            analysis.children.insert(node, children);
            if node.kind() == NodeKind::List {
                analysis.note_list(node);
            }
        }
        for root in analysis.roots.clone() {
            // One that another module has put into a choice.
            analysis.bind(root, &[root.module()]);
        }
        let nodes: Vec<SchemaNode> = analysis.children.keys().copied().collect();
        for node in nodes {
            analysis.judge(node);
        }
        analysis
    }

    /// Configuration nodes directly below, in data: choices and cases are looked through.
    pub(super) fn children(&self, parent: Option<SchemaNode>) -> &[SchemaNode] {
        match parent {
            None => &self.roots,
            Some(parent) => self.children.get(&parent).map_or(&[], Vec::as_slice),
        }
    }

    pub(super) fn is_counted(&self, list: SchemaNode) -> bool {
        self.counted.contains(&list)
    }

    pub(super) fn is_around_lists(&self, node: SchemaNode) -> bool {
        self.around_lists.contains(&node)
    }

    pub(super) fn is_far(&self, changed: SchemaNode) -> bool {
        self.far.contains(&changed)
    }

    pub(super) fn uniques(&self) -> &Uniques {
        &self.uniques
    }

    pub(super) fn references(&self) -> &References {
        &self.references
    }

    pub(super) fn may_lose_lists(&self) -> bool {
        self.may_lose_lists
    }

    pub(super) fn has_far_whens(&self) -> bool {
        !self.under_far_when.is_empty()
    }

    pub(super) fn is_under_far_when(&self, present: SchemaNode) -> bool {
        self.under_far_when.contains(&present)
    }

    pub(super) fn has_when(&self, node: SchemaNode) -> bool {
        self.with_when.contains(&node)
    }

    pub(super) fn is_around_whens(&self, node: SchemaNode) -> bool {
        self.around_whens.contains(&node)
    }

    /// Whether no constraint looks from below the module's top nodes to those of another, or the other way round.
    pub(super) fn stands_alone(&self, module: ModuleRef) -> bool {
        !self.bound.contains(&module)
    }

    /// The constraint that makes every commit look at everything, if there is one.
    pub fn sees_everything(&self) -> Option<&str> {
        self.everything.as_deref()
    }

    /// What decides about `bearer` is in these modules' trees.
    fn bind(&mut self, bearer: SchemaNode, modules: &[ModuleRef]) {
        let own = module_of_tree(bearer);
        for other in modules.iter().filter(|other| **other != own) {
            self.bound.extend([own, *other]);
        }
    }

    fn note_list(&mut self, list: SchemaNode) {
        if list.is_bounded() {
            self.counted.insert(list);
        }
        self.uniques.take(list);
        let mut above = list.data_parent();
        while let Some(node) = above {
            self.around_lists.insert(node);
            above = node.data_parent();
        }
        self.around_lists.insert(list);
    }

    fn note_when(&mut self, node: SchemaNode) {
        self.with_when.insert(node);
        let mut above = node.data_parent();
        while let Some(node) = above.filter(|node| self.around_whens.insert(*node)) {
            above = node.data_parent();
        }
    }

    fn judge(&mut self, node: SchemaNode) {
        for must in node.musts() {
            match self.sight(must, Some(node)) {
                Some(sight) => self.judge_sight(node, &sight),
                None => self.blind(node, "must", must),
            }
        }
        let paths = node.leafref_paths();
        let named = (node.is_leafref() && paths.len() == 1).then(|| {
            let Self { references, roots, children, .. } = self;
            let below = |parent: Option<SchemaNode>| match parent {
                None => roots.clone(),
                Some(parent) => children.get(&parent).cloned().unwrap_or_default(),
            };
            references.take(node, paths[0], &below)
        });
        let named = named.flatten();
        if let Some(key) = named {
            self.bind(node, &[module_of_tree(key)]);
        }
        for path in paths.into_iter().filter(|_| named.is_none()) {
            match self.sight(path, Some(node)) {
                Some(sight) => self.judge_sight(node, &sight),
                None => self.blind(node, "leafref path", path),
            }
        }
        if node.requires_any_instance() {
            self.blind(node, "type", "instance-identifier");
        }
        let is_in_case = node.case().is_some();
        // The choices and cases around a node may have a when as well.
        let mut bearer = Some(node);
        while let Some(at) = bearer {
            let whens = at.whens();
            self.may_lose_lists |= self.around_lists.contains(&node) && (is_in_case || !whens.is_empty());
            if !whens.is_empty() {
                self.note_when(node);
            }
            for when in whens {
                match self.sight(when.condition, when.context) {
                    Some(sight) if sight.into_lists => {
                        self.judge_sight(node, &sight);
                        match node.data_parent() {
                            Some(parent) => _ = self.under_far_when.insert(parent),
                            None => self.blind(node, "when", when.condition),
                        }
                    }
                    Some(sight) => self.judge_sight(node, &sight),
                    None => self.blind(node, "when", when.condition),
                }
            }
            bearer = at.parent().filter(|parent| matches!(parent.kind(), NodeKind::Choice | NodeKind::Case));
        }
    }

    fn sight(&self, text: &str, context: Option<SchemaNode>) -> Option<Sight> {
        let children = |parent: Option<SchemaNode>| self.children(parent).to_vec();
        let mut sight = expression::sight(text, context, &children)?;
        let contents = std::mem::take(&mut sight.contents);
        if contents.iter().any(|node| self.around_lists.contains(node)) {
            sight.into_lists = true;
        }
        sight.nodes.extend(expression::with_all_below(&contents, &children));
        Some(sight)
    }

    fn judge_sight(&mut self, bearer: SchemaNode, sight: &Sight) {
        let trees: Vec<ModuleRef> = sight.nodes.iter().map(|node| module_of_tree(*node)).collect();
        self.bind(bearer, &trees);
        if sight.into_lists {
            self.far.insert(bearer);
            self.far.extend(sight.nodes.iter().copied());
            return;
        }
        // Seen from inside of a list that the node is not in: from many entries, of which a fragment has few.
        let around_bearer = lists_around(bearer);
        for node in &sight.nodes {
            let around_node = lists_around(*node);
            if around_bearer.iter().any(|list| !around_node.contains(list)) {
                self.far.insert(*node);
            }
        }
    }

    fn blind(&mut self, node: SchemaNode, what: &str, text: &str) {
        self.everything.get_or_insert_with(|| format!("{what} `{text}` of {}", node.path()));
    }
}

/// The module whose top node a node is below, whichever module it is of itself.
fn module_of_tree(node: SchemaNode) -> ModuleRef {
    std::iter::successors(Some(node), |node| node.parent()).last().unwrap_or(node).module()
}

/// The configuration among schema siblings, with what is in choices.
pub(crate) fn data_nodes(siblings: Vec<SchemaNode>) -> Vec<SchemaNode> {
    let mut nodes = Vec::new();
    for node in siblings {
        match node.kind() {
            NodeKind::Choice | NodeKind::Case => nodes.extend(data_nodes(node.children())),
            NodeKind::Rpc | NodeKind::Action | NodeKind::Notification | NodeKind::Input | NodeKind::Output => {}
            NodeKind::Container { .. } | NodeKind::Leaf | NodeKind::LeafList | NodeKind::List | NodeKind::AnyData => {
                if node.is_config() {
                    nodes.push(node);
                }
            }
        }
    }
    nodes
}

fn lists_around(node: SchemaNode) -> Vec<SchemaNode> {
    let mut lists = Vec::new();
    let mut at = Some(node);
    while let Some(node) = at {
        if node.kind() == NodeKind::List {
            lists.push(node);
        }
        at = node.data_parent();
    }
    lists
}
