//! The datastores of RFC 8342 and what get-data (RFC 8526) may ask of them, as values.
//!
//! `netconf/nmda.rs` parses it from XML; `yang/shape.rs` applies it to trees.

use bytes::Bytes;

use super::filter::Filter;
use super::{Datastore, Kind, Refusal, Response, WithDefaults};
use crate::yang::tree::Tree;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Configuration(Datastore),
    /// Nothing is made of running before it is carried out, so it is the same (RFC 8342 section 5.1.4).
    Intended,
    /// Configuration as it is in use, defaults included, and state.
    Operational,
}

impl Store {
    /// How defaults are told where nobody says. Those of the operational datastore are in use, so they are there (RFC 8526
    /// section 3.1.1.1, RFC 8342 section 5.3).
    pub fn usual_defaults(self) -> WithDefaults {
        match self {
            Self::Operational => WithDefaults::ReportAll,
            Self::Configuration(_) | Self::Intended => WithDefaults::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub store: Store,
    pub filter: Option<Filter>,
    pub shape: Shape,
    pub with_defaults: WithDefaults,
}

/// What of the selected nodes is told, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// Only configuration (true) or only state (false).
    pub config: Option<bool>,
    pub origins: Origins,
    /// Levels of each selected node; 1 is the node alone.
    pub max_depth: Option<u16>,
    pub with_origin: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Any,
    Intended,
    Default,
    /// One that nothing here has.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    #[default]
    All,
    Of(Vec<Origin>),
    NotOf(Vec<Origin>),
}

impl Origins {
    /// Is configuration of this origin told?
    pub fn has(&self, origin: Origin) -> bool {
        let fits = |listed: &[Origin]| listed.contains(&origin) || listed.contains(&Origin::Any);
        match self {
            Origins::All => true,
            Origins::Of(listed) => fits(listed),
            Origins::NotOf(listed) => !fits(listed),
        }
    }
}

impl Shape {
    /// `data`, which has this shape.
    pub(super) fn print(&self, data: &Tree, with_defaults: WithDefaults) -> Bytes {
        match self.max_depth {
            Some(_) => data.print_xml_with_empty(with_defaults),
            None => data.print_xml(with_defaults),
        }
    }
}

/// The answer to get-data.
pub(super) fn data(content: &[u8]) -> Response {
    let head = b"<data xmlns=\"urn:ietf:params:xml:ns:yang:ietf-netconf-nmda\">";
    Response::Output([head, content, b"</data>"].concat().into())
}

/// RFC 8526 sections 3.1.1 and 3.1.2: a datastore that is not here, or not to be written, is an invalid value.
pub(super) fn unsupported(refusals: Vec<Refusal>) -> Vec<Refusal> {
    let of_value = |refusal: Refusal| match refusal.kind {
        Kind::OperationNotSupported => Refusal { kind: Kind::InvalidValue, ..refusal },
        _ => refusal,
    };
    refusals.into_iter().map(of_value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_chosen_or_excluded_and_the_base_stands_for_all() {
        for (origins, intended, default) in [
            (Origins::All, true, true),
            (Origins::Of(vec![Origin::Intended]), true, false),
            (Origins::Of(vec![Origin::Other]), false, false),
            (Origins::Of(vec![Origin::Any]), true, true),
            (Origins::NotOf(vec![Origin::Intended]), false, true),
            (Origins::NotOf(vec![Origin::Any]), false, false),
            (Origins::NotOf(vec![Origin::Other]), true, true),
        ] {
            assert_eq!(
                (origins.has(Origin::Intended), origins.has(Origin::Default)),
                (intended, default),
                "{origins:?}"
            );
        }
    }
}
