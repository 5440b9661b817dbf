//! get, get-config and get-schema: what of the datastores and of the providers' state a caller sees.

use std::rc::Rc;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::driver::Northbound;
use super::filter::{Filter, Selection};
use super::handle::{Continuation, Input};
use super::nmda::{Asked, Shape, Store};
use super::own_state;
use super::provider::StateQuery;
use super::{Answer, Caller, Datastore, Kind, Refusal, Response, WithDefaults};
use crate::yang::schema::{TextError, TextFormat};
use crate::yang::select;
use crate::yang::tree::{Node, Tree};
use crate::yang::value::Element;

/// A get that waits for providers.
pub(super) struct PendingGet {
    caller: Caller,
    filter: Option<Filter>,
    with_defaults: WithDefaults,
    /// The configuration part, selected when the get was asked.
    config: Tree,
    own: Vec<Element>,
    /// What get-data asks besides.
    shape: Option<Shape>,
    reply: oneshot::Sender<Answer>,
}

impl Northbound {
    pub(super) fn get(
        &mut self,
        caller: &Caller,
        filter: Option<Filter>,
        with_defaults: WithDefaults,
        shape: Option<Shape>,
        reply: oneshot::Sender<Answer>,
    ) {
        let running = Rc::clone(self.datastores.running());
        let config = match self.select_readable(caller, &running, filter.as_ref(), with_defaults) {
            Ok(config) => config,
            Err(refusal) => return drop(reply.send(Err(vec![refusal]))),
        };
        let own = own_state::elements(self, filter.as_ref(), |root| wanted(self.schema, filter.as_ref(), root));
        let limit = self.answer_time_max;
        let futures: Vec<_> = self
            .router
            .state_roots()
            .filter(|(root, _)| wanted(self.schema, filter.as_ref(), root))
            .map(|(root, index)| {
                let selection = selection_of(self.schema, filter.as_ref(), root);
                let future = self.providers[index.0].state(root, StateQuery { selection });
                async move {
                    match tokio::time::timeout(limit, future).await {
                        Ok(state) => state,
                        Err(_) => Err(Refusal::new(
                            Kind::OperationFailed,
                            format!("the state of {root} did not come within {} s", limit.as_secs()),
                        )
                        .at(root)),
                    }
                }
            })
            .collect();
        let pending = PendingGet { caller: caller.clone(), filter, with_defaults, config, own, shape, reply };
        if futures.is_empty() {
            return self.finish_get(pending, Vec::new());
        }
        let id = self.next_pending();
        self.gets.insert(id, pending);
        let inputs = self.inputs.clone();
        self.runtime.spawn(async move {
            let states = join_all(futures).await;
            let resume = Continuation(Box::new(move |northbound: &mut Northbound| {
                if let Some(pending) = northbound.gets.remove(&id) {
                    northbound.finish_get(pending, states);
                }
            }));
            // A northbound that is gone answers nobody.
            let _ = inputs.send(Input::Resume(resume)).await;
        });
    }

    fn finish_get(&mut self, pending: PendingGet, states: Vec<Result<Vec<Element>, Refusal>>) {
        let PendingGet { caller, filter, with_defaults, mut config, own, shape, reply } = pending;
        let mut elements = own;
        for state in states {
            match state {
                Ok(state) => elements.extend(state),
                Err(refusal) => return drop(reply.send(Err(vec![refusal]))),
            }
        }
        let answer = Tree::from_elements(self.schema, &elements).and_then(|state| {
            let state = self
                .select_readable(&caller, &state, filter.as_ref(), with_defaults)
                .map_err(|refusal| vec![refusal])?;
            if let Some(shape) = &shape {
                let data = operational(config, state, filter.as_ref(), shape)?;
                return Ok(nmda_data(&data, shape, with_defaults));
            }
            config.merge(&state);
            Ok(Response::Data(config.print_xml(with_defaults)))
        });
        drop(reply.send(answer));
    }

    /// get-data of RFC 8526.
    pub(super) fn get_data(&mut self, caller: &Caller, asked: Asked, reply: oneshot::Sender<Answer>) {
        let Asked { store, filter, shape, with_defaults } = asked;
        let datastore = match store {
            // Defaults are in use, so they are told.
            Store::Operational => return self.get(caller, filter, WithDefaults::ReportAll, Some(shape), reply),
            Store::Configuration(datastore) => datastore,
        };
        let answer = self.datastore(caller, datastore).and_then(|tree| {
            let refuse = |refusal| vec![refusal];
            let mut selected = self.select_readable(caller, &tree, filter.as_ref(), with_defaults).map_err(refuse)?;
            if shape.config == Some(false) {
                selected = Tree::new(self.schema);
            }
            let selected = to_depth(selected, filter.as_ref(), shape.max_depth).map_err(refuse)?;
            Ok(nmda_data(&selected, &shape, with_defaults))
        });
        // RFC 8526 section 3.1.1: a datastore that is not here is an invalid value.
        let answer = answer.map_err(|refusals| refusals.into_iter().map(unsupported).collect());
        drop(reply.send(answer));
    }

    pub(super) fn get_config(
        &mut self,
        caller: &Caller,
        source: Datastore,
        filter: Option<&Filter>,
        with_defaults: WithDefaults,
    ) -> Answer {
        let refuse = |refusal| vec![refusal];
        let tree = self.datastore(caller, source)?;
        let marks = with_defaults == WithDefaults::ReportAllTagged;
        let printed = match (self.access.reader(caller), filter) {
            // Nothing is hidden: what is selected is printed where it stands.
            (None, None) => tree.print_xml(with_defaults),
            (None, Some(filter)) => select::view(&tree, filter, None, marks).map_err(refuse)?.print_xml(with_defaults),
            (Some(_), _) => {
                self.select_readable(caller, &tree, filter, with_defaults).map_err(refuse)?.print_xml(with_defaults)
            }
        };
        Ok(Response::Data(printed))
    }

    /// What the filter selects of what the caller may read. Pruning comes first: a match on a node that the caller must
    /// not see would tell what it holds.
    pub(super) fn select_readable(
        &self,
        caller: &Caller,
        tree: &Tree,
        filter: Option<&Filter>,
        with_defaults: WithDefaults,
    ) -> Result<Tree, Refusal> {
        let select = |tree: &Tree, filter: &Filter| match with_defaults {
            WithDefaults::ReportAllTagged => select::select_marked(tree, filter),
            WithDefaults::Explicit | WithDefaults::ReportAll | WithDefaults::Trim => select::select(tree, filter, None),
        };
        let Some(reader) = self.access.reader(caller) else {
            return match filter {
                Some(filter) => select(tree, filter),
                None => Ok(tree.duplicate()),
            };
        };
        // Of what the filter cannot reach nothing need be judged.
        let is_reachable = |node: Node<'_>| {
            let root = || format!("/{}:{}", node.schema().module().name(), node.name());
            node.parent().is_some() || wanted(self.schema, filter, &root())
        };
        let pruned = select::prune(tree, &|node| is_reachable(node) && reader.may_read(node));
        match filter {
            Some(filter) => select(&pruned, filter),
            None => Ok(pruned),
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

/// Configuration in use and state, as get-data wants them.
fn operational(mut config: Tree, state: Tree, filter: Option<&Filter>, shape: &Shape) -> Result<Tree, Vec<Refusal>> {
    let refuse = |refusal| vec![refusal];
    let schema = config.schema();
    if shape.config == Some(false) {
        config = Tree::new(schema);
    }
    config.keep_origins(&shape.origins);
    let mut data = to_depth(config, filter, shape.max_depth).map_err(refuse)?;
    if shape.with_origin {
        data.tell_origins();
    }
    if shape.config != Some(true) {
        data.merge(&to_depth(state, filter, shape.max_depth).map_err(refuse)?);
    }
    Ok(data)
}

/// So many levels of each node that the filter selects; `selected` is what it has selected.
fn to_depth(selected: Tree, filter: Option<&Filter>, levels: Option<u16>) -> Result<Tree, Refusal> {
    let Some(levels) = levels else { return Ok(selected) };
    let view = match filter {
        Some(filter) => select::view(&selected, filter, None, false)?,
        None => select::everything(&selected),
    };
    Ok(view.to_depth(levels))
}

fn nmda_data(data: &Tree, shape: &Shape, with_defaults: WithDefaults) -> Response {
    let content = match shape.max_depth {
        Some(_) => data.print_xml_with_empty(with_defaults),
        None => data.print_xml(with_defaults),
    };
    let head = b"<data xmlns=\"urn:ietf:params:xml:ns:yang:ietf-netconf-nmda\">";
    Response::Output([head, &content[..], b"</data>"].concat().into())
}

fn unsupported(refusal: Refusal) -> Refusal {
    match refusal.kind {
        Kind::OperationNotSupported => Refusal { kind: Kind::InvalidValue, ..refusal },
        _ => refusal,
    }
}

/// Whether `filter` can select anything below `root`. An XPath expression may reach everything.
fn wanted(schema: &'static crate::yang::schema::Schema, filter: Option<&Filter>, root: &str) -> bool {
    match filter {
        None | Some(Filter::XPath { .. }) => true,
        Some(Filter::Subtree(_)) => matching(schema, filter, root).next().is_some(),
    }
}

fn selection_of(
    schema: &'static crate::yang::schema::Schema,
    filter: Option<&Filter>,
    root: &str,
) -> Option<Selection> {
    let mut matching = matching(schema, filter, root);
    let first = matching.next()?;
    // Several selections of one root: the provider tells all, the filter takes its pick.
    matching.next().is_none().then(|| first.clone())
}

fn matching<'f>(
    schema: &'static crate::yang::schema::Schema,
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
