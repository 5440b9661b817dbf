//! Running as the disk knows it: the snapshot, the records after it, and the defaults.
//!
//! ```text
//!  all fits the modules ----------------------------------------> running
//!  something does not --put together as text, what fits taken---> running, and what has no place, node by node
//! ```
//! Modules change between two runs: one is not loaded any more, a newer revision lacks a leaf or has another type. What has
//! no place is told and left where it is: the files are not changed by that.

use bytes::Bytes;

use super::edit::Edit;
use crate::northbound::{Refusal, WithDefaults};
use crate::yang::diff::Diff;
use crate::yang::replay;
use crate::yang::schema::Schema;
use crate::yang::tree::Tree;

/// A node that is stored and that the modules have no place for, or not with this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPlaced {
    pub path: String,
    pub reason: String,
}

#[derive(Debug)]
pub struct Recovered {
    /// Valid.
    pub tree: Tree,
    pub not_placed: Vec<NotPlaced>,
}

/// Running as it was when the agent went, as far as the modules have a place for it. `records` are oldest first.
///
/// # Errors
/// What keeps it from being valid, when that is no node which could be left out.
pub fn recover(schema: &'static Schema, snapshot: Option<&[u8]>, records: &[&[u8]]) -> Result<Recovered, Vec<Refusal>> {
    let strict = written(schema, snapshot, records).map_err(|refusal| vec![refusal]).and_then(|mut tree| {
        tree.validate_config()?;
        Ok(tree)
    });
    match strict {
        Ok(tree) => Ok(Recovered { tree, not_placed: Vec::new() }),
        Err(refusals) => {
            let (mut tree, mut not_placed) = fitting(schema, snapshot, records).map_err(|_| refusals)?;
            while let Err(refusals) = tree.validate_config() {
                leave_out(&mut tree, refusals, &mut not_placed)?;
            }
            Ok(Recovered { tree, not_placed })
        }
    }
}

/// The next snapshot: the one before it and the commits after that, put together. Uses no tree but its own, so it may
/// be made on any thread.
pub fn fold(schema: &'static Schema, snapshot: Option<&[u8]>, records: &[&[u8]]) -> Result<Bytes, Refusal> {
    let tree = match written(schema, snapshot, records) {
        Ok(tree) => tree,
        Err(refusal) => fitting(schema, snapshot, records).map_err(|_| refusal)?.0,
    };
    Ok(tree.print_xml(WithDefaults::Explicit))
}

fn written(schema: &'static Schema, snapshot: Option<&[u8]>, records: &[&[u8]]) -> Result<Tree, Refusal> {
    let mut tree = match snapshot {
        Some(bytes) => Tree::parse_stored(schema, bytes)?,
        None => Tree::new(schema),
    };
    for record in records {
        Diff::parse(schema, record)?.apply_to_written(&mut tree)?;
    }
    Ok(tree)
}

fn fitting(
    schema: &'static Schema,
    snapshot: Option<&[u8]>,
    records: &[&[u8]],
) -> Result<(Tree, Vec<NotPlaced>), Refusal> {
    let tops = replay::replay(snapshot, records.iter().copied())?;
    let mut tree = Tree::new(schema);
    let refusals = Edit::of(tops).merge_what_fits(&mut tree);
    Ok((tree, refusals.into_iter().map(NotPlaced::from).collect()))
}

/// Takes out what validation names, or what holds it; refused where there is no such node.
fn leave_out(tree: &mut Tree, refusals: Vec<Refusal>, not_placed: &mut Vec<NotPlaced>) -> Result<(), Vec<Refusal>> {
    let mut is_any_gone = false;
    for refusal in &refusals {
        let mut place = refusal.path.clone().unwrap_or_default();
        while !place.is_empty() {
            let found = tree.find(&place).filter(|node| !node.is_default() && !node.schema().is_key());
            if let Some(at) = found.map(|node| tree.at(node)) {
                tree.delete(at);
                not_placed.push(NotPlaced { path: place, reason: refusal.to_string() });
                is_any_gone = true;
                break;
            }
            place = above(&place).to_owned();
        }
    }
    if is_any_gone { Ok(()) } else { Err(refusals) }
}

/// The path without its last step; empty at the top.
fn above(path: &str) -> &str {
    super::candidate::ancestors(path).last().unwrap_or_default()
}

impl From<Refusal> for NotPlaced {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.to_string();
        Self { path: refusal.path.unwrap_or_else(|| "/".to_owned()), reason }
    }
}
