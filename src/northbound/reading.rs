//! get-config, get-data and get-schema: what of the datastores a caller sees.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::driver::Northbound;
use super::filter::{self, Filter, Selection};
use super::getting::Wanted;
use super::nmda::{self, Asked, Store};
use super::sight::{Below, Reader};
use super::{Answer, Caller, Datastore, Kind, Refusal, Response, WithDefaults};
use crate::yang::schema::{Schema, SchemaNode, TextError, TextFormat};
use crate::yang::select::{self, View};
use crate::yang::tree::Tree;
use crate::yang::{named, prefix, reach};

impl Northbound {
    /// get-data of RFC 8526.
    pub(super) fn get_data(&mut self, caller: &Caller, asked: Asked, reply: oneshot::Sender<Answer>) {
        let Asked { store, filter, shape, with_defaults } = asked;
        let datastore = match store {
            Store::Operational => {
                return self.get(Wanted { caller: caller.clone(), filter, with_defaults, shape: Some(shape) }, reply);
            }
            Store::Configuration(datastore) => datastore,
            Store::Intended => Datastore::Running,
        };
        let answer = self.datastore(caller, datastore).and_then(|tree| {
            let print = |view: &View<'_>| match shape.max_depth {
                _ if shape.config == Some(false) => Bytes::new(),
                Some(levels) => shape.print(&view.to_depth(levels, with_defaults.tells_all()), with_defaults),
                None => self.printed(view, with_defaults),
            };
            let printed = self.with_readable(caller, &tree, filter.as_ref(), with_defaults, print);
            Ok(nmda::data(&printed.map_err(|refusal| vec![refusal])?))
        });
        drop(reply.send(answer.map_err(nmda::unsupported)));
    }

    pub(super) fn get_config(
        &mut self,
        caller: &Caller,
        source: Datastore,
        filter: Option<&Filter>,
        with_defaults: WithDefaults,
    ) -> Answer {
        let tree = self.datastore(caller, source)?;
        let print = |view: &View<'_>| self.printed(view, with_defaults);
        let printed = self.with_readable(caller, &tree, filter, with_defaults, print);
        printed.map(Response::Data).map_err(|refusal| vec![refusal])
    }

    /// All that the caller may read.
    pub(super) fn readable(&self, caller: &Caller, tree: &Tree) -> Tree {
        match self.access.reader(caller) {
            Some(reader) => select::prune(tree, &reader),
            None => tree.duplicate(),
        }
    }

    /// What the filter selects of what the caller may read. Pruning comes first: a match on a node that the caller must
    /// not see would tell what it holds.
    pub(super) fn with_readable<R>(
        &self,
        caller: &Caller,
        tree: &Tree,
        filter: Option<&Filter>,
        with_defaults: WithDefaults,
        then: impl FnOnce(&View<'_>) -> R,
    ) -> Result<R, Refusal> {
        with_seen(tree, self.access.reader(caller), filter, with_defaults, then)
    }

    /// As XML. What stays in running from one reading to the next is printed once.
    pub(super) fn printed(&self, view: &View<'_>, with_defaults: WithDefaults) -> Bytes {
        match view.is_of(self.datastores.running()) {
            true => view.print_kept(with_defaults, &self.segments),
            false => view.print_xml(with_defaults),
        }
    }

    pub(super) fn get_schema(&self, identifier: &str, version: Option<&str>, format: Option<&str>) -> Answer {
        let format = match format.map(|format| format.rsplit(':').next().unwrap_or(format)) {
            None | Some("yang") => TextFormat::Yang,
            Some("yin") => TextFormat::Yin,
            Some(other) => {
                return Err(vec![
                    Refusal::new(Kind::InvalidValue, format!("schemas are not served as `{other}`"))
                        .mend("ask for yang or yin"),
                ]);
            }
        };
        // RFC 6022 section 3.1: an empty version is one that a module without revision has.
        match self.schema.text(identifier, version.filter(|version| !version.is_empty()), format) {
            Ok(text) => Ok(Response::Schema(text)),
            Err(TextError::Unknown) => {
                let which = version.map(|version| format!("@{version}")).unwrap_or_default();
                Err(vec![
                    Refusal::new(Kind::InvalidValue, format!("there is no schema `{identifier}{which}`"))
                        .mend("/netconf-state/schemas lists them"),
                ])
            }
            Err(TextError::Ambiguous) => Err(vec![
                Refusal::new(Kind::OperationFailed, format!("several revisions of schema `{identifier}` are known"))
                    .mend("name the version")
                    .tagged("data-not-unique"),
            ]),
        }
    }
}

/// What the filter selects of what `reader` sees, or of everything. Wherever the tree is.
pub(super) fn with_seen<R>(
    tree: &Tree,
    reader: Option<Reader>,
    filter: Option<&Filter>,
    with_defaults: WithDefaults,
    then: impl FnOnce(&View<'_>) -> R,
) -> Result<R, Refusal> {
    let marks = with_defaults == WithDefaults::ReportAllTagged;
    if reader.is_none() {
        return select::with_view(tree, filter, None, marks, then);
    }
    // Of what an expression cannot reach nothing need be judged.
    let reach = Reach::of(tree.schema(), filter);
    let sight = Below { reader, has: |root| reach.has(&root_path(root)) };
    select::with_view(tree, filter, Some(&sight), marks, then)
}

/// Which tops a filter can select below, or look at.
pub(super) enum Reach<'f> {
    Everything,
    Subtree(&'static Schema, &'f Filter),
    Tops(Vec<String>),
}

impl<'f> Reach<'f> {
    pub(super) fn of(schema: &'static Schema, filter: Option<&'f Filter>) -> Self {
        match filter {
            None => Self::Everything,
            Some(filter @ Filter::Subtree(_)) => Self::Subtree(schema, filter),
            Some(Filter::XPath { expression, namespaces }) => {
                reach::roots(&prefix::expression(schema, expression, namespaces)).map_or(Self::Everything, Self::Tops)
            }
        }
    }

    pub(super) fn has(&self, root: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Subtree(schema, filter) => matching(schema, Some(filter), root).next().is_some(),
            Self::Tops(tops) => tops.iter().any(|top| top == root),
        }
    }
}

pub(super) fn root_path(root: SchemaNode) -> String {
    format!("/{}:{}", root.module().name(), root.name())
}

/// What of one root is asked for, for who makes it; the filter takes its pick of that.
pub(super) fn selection_of(schema: &'static Schema, filter: Option<&Filter>, root: &str) -> Option<Selection> {
    match filter? {
        filter @ Filter::Subtree(_) => filter::joined(matching(schema, Some(filter), root).cloned()),
        Filter::XPath { expression, namespaces } => {
            let named = named::selections(&prefix::expression(schema, expression, namespaces))?;
            filter::joined(named.into_iter().filter(|(top, _)| top == root).map(|(_, selection)| selection))
        }
    }
}

fn matching<'f>(
    schema: &'static Schema,
    filter: Option<&'f Filter>,
    root: &str,
) -> impl Iterator<Item = &'f Selection> {
    let selections: &[Selection] = match filter {
        Some(Filter::Subtree(selections)) => selections,
        Some(Filter::XPath { .. }) | None => &[],
    };
    let (module, name) = root.trim_start_matches('/').split_once(':').unwrap_or(("", root));
    let namespace = schema.module(module).map(|module| module.namespace().to_owned());
    let name = name.to_owned();
    selections.iter().filter(move |selection| {
        selection.name == name && (selection.namespace.is_none() || selection.namespace == namespace)
    })
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
