//! A refusal: what is wrong, where, and what mends it.
//!
//! Each module says what it refuses in its own error enum and converts it to a [`Refusal`]; `netconf/error.rs` alone
//! turns refusals into RFC 6241 rpc-errors.

use super::SessionId;

/// The RFC 6241 appendix A error-tags with what their error-info needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    InUse,
    InvalidValue,
    TooBig,
    MissingAttribute {
        element: String,
        attribute: String,
    },
    BadAttribute {
        element: String,
        attribute: String,
    },
    UnknownAttribute {
        element: String,
        attribute: String,
    },
    MissingElement {
        element: String,
    },
    BadElement {
        element: String,
    },
    UnknownElement {
        element: String,
    },
    UnknownNamespace {
        element: String,
        namespace: String,
    },
    AccessDenied,
    /// The holder; `SessionId(0)` stands for an entity that is not a NETCONF session.
    LockDenied {
        holder: SessionId,
    },
    ResourceDenied,
    RollbackFailed,
    DataExists,
    DataMissing,
    OperationNotSupported,
    OperationFailed,
    MalformedMessage,
}

/// What RFC 7950 section 15 wants in error-info besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Section 15.1: the path of a leaf that is not unique.
    NonUnique(String),
    /// Section 15.6: the name of the choice.
    MissingChoice(String),
}

/// RFC 6241 section 4.3 error-type: the layer that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layer {
    Transport,
    Rpc,
    Protocol,
    #[default]
    Application,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", self.remedy.as_deref().map(|remedy| format!("; {remedy}")).unwrap_or_default())]
pub struct Refusal {
    pub kind: Kind,
    pub layer: Layer,
    /// A sentence without a full stop that names the thing.
    pub message: String,
    /// What to do about it, where we know: often the command to type.
    pub remedy: Option<String>,
    /// The node, as libyang prints paths: `/module:container/list[key='v']/leaf`.
    pub path: Option<String>,
    /// RFC 7950 section 15 and `error-app-tag` statements.
    pub app_tag: Option<String>,
    pub details: Vec<Detail>,
}

impl Refusal {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            layer: Layer::Application,
            message: message.into(),
            remedy: None,
            path: None,
            app_tag: None,
            details: Vec::new(),
        }
    }

    #[must_use]
    pub fn at_layer(mut self, layer: Layer) -> Self {
        self.layer = layer;
        self
    }

    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    #[must_use]
    pub fn mend(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    #[must_use]
    pub fn tagged(mut self, app_tag: impl Into<String>) -> Self {
        self.app_tag = Some(app_tag.into());
        self
    }

    #[must_use]
    pub fn detailed(mut self, details: Vec<Detail>) -> Self {
        self.details = details;
        self
    }
}
