//! The datastores of RFC 8342 and what get-data (RFC 8526) may ask of them, as values.
//!
//! `netconf/nmda.rs` parses it from XML; `yang/shape.rs` applies it to trees.

use super::filter::Filter;
use super::{Datastore, WithDefaults};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Configuration(Datastore),
    /// Configuration as it is in use, defaults included, and state.
    Operational,
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
