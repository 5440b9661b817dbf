//! What part of a datastore is asked for (RFC 6241 sections 6 and 8.9), as values.
//!
//! `netconf/filter.rs` parses it from XML; `yang/select.rs` applies it to a tree.

use crate::yang::schema::{Schema, SchemaNode};

/// The filter of a get or get-config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Sibling selections; none at all selects nothing (RFC 6241 section 6.4.2).
    Subtree(Vec<Selection>),
    /// An XPath 1.0 expression with its prefix bindings.
    XPath { expression: String, namespaces: Vec<(String, String)> },
}

/// An XPath 1.0 expression with its prefix bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XPath {
    pub expression: String,
    pub namespaces: Vec<(String, String)>,
}

/// One element of a subtree filter (RFC 6241 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// `None` is the wildcard: an element in no namespace matches any (section 6.2.1).
    pub namespace: Option<String>,
    pub name: String,
    /// Attribute match expressions (section 6.2.2): namespace, name, value.
    pub attributes: Vec<(Option<String>, String, String)>,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An empty element: the whole subtree (section 6.2.4).
    Selected,
    /// Text with surrounding white space removed: a content match node (section 6.2.5).
    Match(String),
    /// Children: a containment node (section 6.2.3).
    Within(Vec<Selection>),
}

/// One selection of a node in place of several: it selects no less than they do together. `None` stands for everything.
pub fn joined(selections: impl Iterator<Item = Selection>) -> Option<Selection> {
    selections.map(Some).reduce(|left, right| {
        let (left, right) = (left?, right?);
        let is_match = |selection: &Selection| matches!(selection.content, Content::Match(_));
        match (left.content, right.content) {
            // What matches chooses by both; what is within is asked for by either.
            (Content::Within(mut all), Content::Within(more)) if !all.iter().chain(&more).any(is_match) => {
                all.extend(more);
                Some(Selection {
                    namespace: None,
                    name: left.name,
                    attributes: Vec::new(),
                    content: Content::Within(all),
                })
            }
            _ => None,
        }
    })?
}

/// A filter that selects of the configuration no less than `filter` does, whatever state stands beside it: but for keys,
/// no content is matched. `None` stands for everything.
pub fn widened(schema: &Schema, filter: &Filter) -> Option<Filter> {
    let Filter::Subtree(selections) = filter else { return None };
    let top = |selection: &Selection| {
        let module = schema.module_of_namespace(selection.namespace.as_deref()?)?;
        module.child(&selection.name)
    };
    Some(Filter::Subtree(selections.iter().map(|selection| wide(schema, top(selection), selection)).collect()))
}

/// `node` is what the selection names, where that can be told.
fn wide(schema: &Schema, node: Option<SchemaNode>, selection: &Selection) -> Selection {
    let is_match = |inner: &&Selection| matches!(inner.content, Content::Match(_));
    let is_key = |inner: &&Selection| {
        is_match(inner) && node.is_some_and(|node| node.keys().iter().any(|key| key.name() == inner.name))
    };
    let content = match &selection.content {
        Content::Selected | Content::Match(_) => Content::Selected,
        Content::Within(within) => {
            let (keys, rest): (Vec<&Selection>, Vec<&Selection>) = within.iter().partition(is_key);
            let keys = keys.into_iter().cloned();
            match rest.iter().all(is_match) {
                // Section 6.2.5 of RFC 6241: matches alone choose the whole of what is around them.
                true if keys.len() == 0 => Content::Selected,
                true => Content::Within(keys.collect()),
                false => {
                    let child = |inner: &Selection| {
                        let module = schema.module_of_namespace(inner.namespace.as_deref()?)?;
                        node?.child(module, &inner.name)
                    };
                    Content::Within(
                        keys.chain(rest.into_iter().map(|inner| wide(schema, child(inner), inner))).collect(),
                    )
                }
            }
        }
    };
    Selection { namespace: selection.namespace.clone(), name: selection.name.clone(), attributes: Vec::new(), content }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(name: &str, content: Vec<Selection>) -> Selection {
        selection(name, Content::Within(content))
    }

    fn selection(name: &str, content: Content) -> Selection {
        Selection { namespace: None, name: name.to_owned(), attributes: Vec::new(), content }
    }

    #[test]
    fn several_selections_of_a_node_ask_for_what_either_does() {
        let leaf = |name| selection(name, Content::Selected);
        let (a, b) = (within("top", vec![leaf("a")]), within("top", vec![leaf("b")]));
        let chosen = within("top", vec![selection("key", Content::Match("x".to_owned())), leaf("a")]);
        let of = |all: &[&Selection]| joined(all.iter().copied().cloned());
        assert_eq!(of(&[&chosen]), Some(chosen.clone()));
        assert_eq!(of(&[&a, &b]), Some(within("top", vec![leaf("a"), leaf("b")])));
        for everything in [&[][..], &[&a, &chosen], &[&a, &leaf("top")], &[&leaf("top"), &a, &b]] {
            assert_eq!(of(everything), None);
        }
    }
}
