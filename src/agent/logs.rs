//! Joins the logbook to the keeper and the access rules.

use std::sync::Arc;

use super::news::now;
use crate::keeper::client::Keeper;
use crate::logbook::provider::{Logbook, Permits};
use crate::northbound::handle::{Access, Handle};
use crate::settings::Layout;

pub(super) fn provider(keeper: Keeper, layout: &Layout, northbound: Handle) -> Logbook {
    let permits: Permits = Arc::new(move |caller, path| {
        let northbound = northbound.clone();
        Box::pin(async move { northbound.permits(&caller, &path, Access::Read).await })
    });
    Logbook::new(keeper, layout.logs(), permits, now)
}
