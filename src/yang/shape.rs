//! What get-data asks of the nodes that a filter has selected (RFC 8526): their depth, their origin, and to be told it.

use super::ffi::{At, Node, Tree};
use crate::northbound::nmda::{Origin, Origins};

impl Tree {
    /// Leaves out configuration of other origins; what stands above what is left stays. State has no origin to choose by.
    pub fn keep_origins(&mut self, origins: &Origins) {
        let (intended, default) = (origins.has(Origin::Intended), origins.has(Origin::Default));
        if intended && default {
            return;
        }
        let tops: Vec<At> = self.roots().map(|node| self.at(node)).collect();
        for top in tops {
            self.keep_origin(top, intended, default);
        }
    }

    /// Whether anything is left of the node.
    fn keep_origin(&mut self, at: At, intended: bool, default: bool) -> bool {
        let node = self.node(at);
        let schema = node.schema();
        if !schema.is_config() {
            return true;
        }
        let children: Vec<At> =
            node.children().filter(|child| !child.schema().is_key()).map(|child| self.at(child)).collect();
        let is_wanted = if is_in_use_by_default(node) { default } else { intended };
        if schema.is_leaf_like() || children.is_empty() {
            // A container without content says nothing of itself unless somebody wrote it.
            let stays = is_wanted && (schema.is_leaf_like() || !node.is_default());
            if !stays {
                self.remove(at);
            }
            return stays;
        }
        let left = children.into_iter().filter(|child| self.keep_origin(*child, intended, default)).count();
        let stays = left > 0 || is_wanted && !self.node(at).is_default();
        if !stays {
            self.remove(at);
        }
        stays
    }

    /// Leaves out what is not configuration, or what is: then keys stay, and what stands above state.
    pub fn keep_config(&mut self, is_config: bool) {
        let tops: Vec<At> = self.roots().map(|node| self.at(node)).collect();
        for top in tops {
            self.keep_config_at(top, is_config);
        }
    }

    /// Whether anything is left of the node.
    fn keep_config_at(&mut self, at: At, is_config: bool) -> bool {
        let node = self.node(at);
        let is_wanted = node.schema().is_config() == is_config;
        let children: Vec<At> =
            node.children().filter(|child| !child.schema().is_key()).map(|child| self.at(child)).collect();
        let left = children.into_iter().filter(|child| self.keep_config_at(*child, is_config)).count();
        let stays = is_wanted || left > 0;
        if !stays {
            self.remove(at);
        }
        stays
    }

    /// Says where each node comes from: on top, and where it differs from what is above.
    pub fn tell_origins(&mut self) {
        let tops: Vec<At> = self.roots().map(|node| self.at(node)).collect();
        for top in tops {
            self.tell_origin(top, None);
        }
    }

    fn tell_origin(&mut self, at: At, above: Option<bool>) {
        let node = self.node(at);
        let is_default = is_in_use_by_default(node);
        let children: Vec<At> =
            node.children().filter(|child| !child.schema().is_key()).map(|child| self.at(child)).collect();
        if above != Some(is_default) {
            let value = if is_default { c"ietf-origin:default" } else { c"ietf-origin:intended" };
            self.annotate(at, "ietf-origin", c"origin", value);
        }
        for child in children {
            self.tell_origin(child, Some(is_default));
        }
    }
}

/// Containers without presence carry the mark of defaults too where nothing is written in them; they are nobody's value.
fn is_in_use_by_default(node: Node<'_>) -> bool {
    node.is_default() && node.schema().is_leaf_like()
}
