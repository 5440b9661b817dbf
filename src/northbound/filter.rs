//! What part of a datastore is asked for (RFC 6241 sections 6 and 8.9), as values.
//!
//! `netconf/filter.rs` parses it from XML; `yang/select.rs` applies it to a tree.

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
