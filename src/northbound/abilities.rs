//! What this agent can do beside what every NETCONF server can: read off the features of ietf-netconf that were switched
//! on when the schema was loaded, so that hello, schema and behaviour cannot differ.

use crate::yang::schema::Schema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    pub startup: bool,
    pub writable_running: bool,
    pub url: bool,
}

impl Abilities {
    pub fn of(schema: &Schema) -> Self {
        let features = schema.module("ietf-netconf").map(|module| module.features()).unwrap_or_default();
        let has = |name| features.contains(&name);
        Self { startup: has("startup"), writable_running: has("writable-running"), url: has("url") }
    }
}
