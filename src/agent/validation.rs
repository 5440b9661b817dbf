//! Between the scripts that look at commits and those whom they need: neither knows the other.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::exec_shelf;
use crate::container::scripts::Places;
use crate::container::spec::Floor;
use crate::datastore::edit::Edit;
use crate::keeper::client::Keeper;
use crate::northbound::{DefaultOperation, ErrorOption, Fragment, WithDefaults};
use crate::script::handle::Handle as Scripts;
use crate::settings::{Layout, Settings};
use crate::shell::data;
use crate::shell::grammar::Grammar;
use crate::shell::text;
use crate::validation::driver::{CliLines, Heard, Parts};
use crate::yang::schema::Schema;
use crate::yang::tree::Tree;

/// What it is built of; `scripts` knows the checksums of what is imported.
pub(super) fn parts(
    layout: &Layout,
    settings: &Settings,
    places: Places,
    schema: &'static Schema,
    grammar: Arc<Grammar>,
    scripts: Scripts,
    heard: mpsc::Sender<Heard>,
) -> Parts {
    let (keeper, events) = Keeper::connect_for(layout.keeper_socket(), Floor::Judge);
    Parts {
        places,
        keeper,
        events,
        heard,
        schema,
        checksums: exec_shelf::checksums(scripts),
        cli: cli_lines(schema, grammar),
        look_time_max: settings.limits.commit_script_limit(),
    }
}

/// As `show configuration` would show it.
fn cli_lines(schema: &'static Schema, grammar: Arc<Grammar>) -> CliLines {
    Arc::new(move |taken, set| {
        let items = |fragment: &str| {
            let mut tree = Tree::new(schema);
            let edit = Edit::parse(&Fragment(fragment.to_owned().into())).ok()?;
            edit.apply(&mut tree, DefaultOperation::Merge, ErrorOption::ContinueOnError, None).ok()?;
            data::read(&grammar, &tree.print_xml(WithDefaults::Explicit)).ok()
        };
        let (before, after) = (items(taken).unwrap_or_default(), items(set).unwrap_or_default());
        let shown = text::print_difference(&grammar, &data::difference(&grammar, &before, &after));
        shown.lines().map(str::to_owned).collect()
    })
}
