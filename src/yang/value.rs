//! Data as plain values: what crosses a thread, a provider boundary or a test, where a libyang tree cannot.
//!
//! Knows no schema: the northbound checks an [`Element`] against the schema when it enters a tree.

use std::borrow::Cow;
use std::fmt;

/// One data node: a leaf (text, no children) or a container, list entry, rpc input and so on (children).
///
/// `module` is the YANG module name that defines the node; `None` means "the module of my parent".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    pub module: Option<Cow<'static, str>>,
    pub name: Cow<'static, str>,
    /// Canonical text of a leaf or leaf-list entry; `None` for interior nodes and for leaves of type empty.
    pub text: Option<String>,
    pub children: Vec<Element>,
}

impl Element {
    /// An interior node whose module is its parent's.
    pub fn node(name: impl Into<Cow<'static, str>>, children: Vec<Element>) -> Self {
        Self { module: None, name: name.into(), text: None, children }
    }

    /// A leaf whose module is its parent's.
    pub fn leaf(name: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        Self { module: None, name: name.into(), text: Some(value.to_string()), children: Vec::new() }
    }

    /// A leaf when there is a value, nothing when there is none.
    pub fn leaf_if(name: &'static str, value: Option<impl fmt::Display>) -> Option<Self> {
        value.map(|value| Self::leaf(name, value))
    }

    /// The same node, in `module`.
    #[must_use]
    pub fn in_module(mut self, module: impl Into<Cow<'static, str>>) -> Self {
        self.module = Some(module.into());
        self
    }

    /// The first child called `name`, whatever its module.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children called `name`, in order.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The node reached by following `names` from here.
    pub fn descend(&self, names: &[&str]) -> Option<&Element> {
        names.iter().try_fold(self, |at, name| at.child(name))
    }

    /// The text of the child leaf `name`.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name)?.text.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::Element;

    #[test]
    fn a_leaf_is_found_by_its_path() {
        let tree = Element::node("top", vec![Element::node("inner", vec![Element::leaf("value", 7)])]);
        assert_eq!(tree.descend(&["inner"]).and_then(|inner| inner.text_of("value")), Some("7"));
        assert_eq!(tree.descend(&["absent", "value"]), None);
    }
}
