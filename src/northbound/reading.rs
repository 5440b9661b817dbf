//! get, get-config and get-schema: what of the datastores and of the providers' state a caller sees.

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::driver::Northbound;
use super::filter::{self, Content, Filter, Selection};
use super::handle::{Continuation, Input};
use super::nmda::{Asked, Shape, Store};
use super::own_state;
use super::provider::StateQuery;
use super::{Answer, Caller, Datastore, Kind, Refusal, Response, WithDefaults};
use crate::yang::schema::{Schema, TextError, TextFormat};
use crate::yang::select::{self, Seen, View};
use crate::yang::tree::{Node, Tree};
use crate::yang::value::Element;
use crate::yang::{named, prefix, reach};

/// A get that waits for providers.
pub(super) struct PendingGet {
    caller: Caller,
    filter: Option<Filter>,
    with_defaults: WithDefaults,
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
        let reach = Reach::of(self.schema, filter.as_ref());
        let own = own_state::elements(self, filter.as_ref(), |root| reach.has(root));
        let limit = self.answer_time_max;
        let futures: Vec<_> = self
            .router
            .state_roots()
            .filter(|(root, _)| reach.has(root))
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
        let pending = PendingGet { caller: caller.clone(), filter, with_defaults, own, shape, reply };
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
        let PendingGet { caller, filter, with_defaults, own, shape, reply } = pending;
        let mut elements = own;
        for state in states {
            match state {
                Ok(state) => elements.extend(state),
                Err(refusal) => return drop(reply.send(Err(vec![refusal]))),
            }
        }
        let answer = Tree::from_elements(self.schema, &elements).and_then(|state| {
            let answer = match &shape {
                Some(shape) => self.operational(&caller, &state, filter.as_ref(), shape, with_defaults),
                None => self.config_and_state(&caller, &state, filter.as_ref(), with_defaults).map(Response::Data),
            };
            answer.map_err(|refusal| vec![refusal])
        });
        drop(reply.send(answer));
    }

    /// What get answers. Configuration and state are one tree to the filter; what has no state beside it is printed where
    /// it stands.
    fn config_and_state(
        &self,
        caller: &Caller,
        state: &Tree,
        filter: Option<&Filter>,
        with_defaults: WithDefaults,
    ) -> Result<Bytes, Refusal> {
        let running = self.datastores.running();
        let print = |view: &View<'_>| view.print_xml(with_defaults);
        if state.is_empty() {
            return self.with_readable(caller, running, filter, with_defaults, print);
        }
        if is_about_several_tops(filter) {
            let data = self.joined(running, state, filter, &|_| true);
            return self.with_readable(caller, &data, filter, with_defaults, print);
        }
        let has_state = |root: Node<'_>| state.roots().any(|other| other.schema() == root.schema());
        let reader = self.access.reader(caller);
        let alone = |node: Node<'_>| match &reader {
            _ if node.parent().is_none() && has_state(node) => Seen::Nothing,
            Some(reader) => reader.sees(node),
            None => Seen::Whole,
        };
        let marks = with_defaults == WithDefaults::ReportAllTagged;
        let alone = select::with_view(running, filter, Some(&alone), marks, print)?;
        let data = self.joined(running, state, filter, &has_state);
        let joined = self.with_readable(caller, &data, filter, with_defaults, print)?;
        Ok(if alone.is_empty() { joined } else { [alone, joined].concat().into() })
    }

    /// State, and what of the configuration `filter` can look at below the tops that `wants` names.
    fn joined(&self, config: &Tree, state: &Tree, filter: Option<&Filter>, wants: &dyn Fn(Node<'_>) -> bool) -> Tree {
        let reach = Reach::of(self.schema, filter);
        let wanted = |node: Node<'_>| match node.parent() {
            None if !wants(node) || !reach.has(&root_path(node)) => Seen::Nothing,
            _ => Seen::Whole,
        };
        let wide = filter.and_then(|filter| filter::widened(self.schema, filter));
        let mut data = select::with_view(config, wide.as_ref(), Some(&wanted), false, |view| view.to_tree())
            .expect("a subtree filter is never refused");
        data.merge(state);
        data
    }

    /// What get-data of the operational datastore answers (RFC 8526 section 3.1.1).
    fn operational(
        &self,
        caller: &Caller,
        state: &Tree,
        filter: Option<&Filter>,
        shape: &Shape,
        with_defaults: WithDefaults,
    ) -> Result<Response, Refusal> {
        let mut config = self.joined(self.datastores.running(), &Tree::new(self.schema), filter, &|_| true);
        if shape.with_origin {
            config.tell_origins();
        }
        config.merge(state);
        let mut data = self.with_readable(caller, &config, filter, with_defaults, |view| match shape.max_depth {
            Some(levels) => view.to_depth(levels),
            None => view.to_tree(),
        })?;
        // Behind the filter: it may look at nodes that are not told.
        data.keep_origins(&shape.origins);
        if let Some(is_config) = shape.config {
            data.keep_config(is_config);
        }
        Ok(nmda_data(&data, shape, with_defaults))
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
            let depth = |view: &View<'_>| match shape.max_depth {
                _ if shape.config == Some(false) => Tree::new(self.schema),
                Some(levels) => view.to_depth(levels),
                None => view.to_tree(),
            };
            let selected = self
                .with_readable(caller, &tree, filter.as_ref(), with_defaults, depth)
                .map_err(|refusal| vec![refusal])?;
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
        let tree = self.datastore(caller, source)?;
        let printed = self.with_readable(caller, &tree, filter, with_defaults, |view| view.print_xml(with_defaults));
        printed.map(Response::Data).map_err(|refusal| vec![refusal])
    }

    /// All that the caller may read.
    pub(super) fn readable(&self, caller: &Caller, tree: &Tree) -> Tree {
        match self.access.reader(caller) {
            Some(reader) => select::prune(tree, &|node| reader.sees(node)),
            None => tree.duplicate(),
        }
    }

    /// What the filter selects of what the caller may read. Pruning comes first: a match on a node that the caller must
    /// not see would tell what it holds.
    fn with_readable<R>(
        &self,
        caller: &Caller,
        tree: &Tree,
        filter: Option<&Filter>,
        with_defaults: WithDefaults,
        then: impl FnOnce(&View<'_>) -> R,
    ) -> Result<R, Refusal> {
        let marks = with_defaults == WithDefaults::ReportAllTagged;
        let Some(reader) = self.access.reader(caller) else {
            return select::with_view(tree, filter, None, marks, then);
        };
        // Of what an expression cannot reach nothing need be judged.
        let reach = Reach::of(self.schema, filter);
        let sees = |node: Node<'_>| match node.parent() {
            None if !reach.has(&root_path(node)) => Seen::Nothing,
            _ => reader.sees(node),
        };
        select::with_view(tree, filter, Some(&sees), marks, then)
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

/// Which tops a filter can select below, or look at.
enum Reach<'f> {
    Everything,
    Subtree(&'static Schema, &'f Filter),
    Tops(Vec<String>),
}

impl<'f> Reach<'f> {
    fn of(schema: &'static Schema, filter: Option<&'f Filter>) -> Self {
        match filter {
            None => Self::Everything,
            Some(filter @ Filter::Subtree(_)) => Self::Subtree(schema, filter),
            Some(Filter::XPath { expression, namespaces }) => {
                reach::roots(&prefix::expression(schema, expression, namespaces)).map_or(Self::Everything, Self::Tops)
            }
        }
    }

    fn has(&self, root: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Subtree(schema, filter) => matching(schema, Some(filter), root).next().is_some(),
            Self::Tops(tops) => tops.iter().any(|top| top == root),
        }
    }
}

/// Whether what a filter selects below one top may depend on another one.
fn is_about_several_tops(filter: Option<&Filter>) -> bool {
    match filter {
        None => false,
        Some(Filter::XPath { .. }) => true,
        Some(Filter::Subtree(selections)) => {
            selections.iter().any(|selection| matches!(selection.content, Content::Match(_)))
        }
    }
}

fn root_path(root: Node<'_>) -> String {
    format!("/{}:{}", root.schema().module().name(), root.name())
}

/// What of one root is asked for, for who makes it; the filter takes its pick of that.
fn selection_of(schema: &'static Schema, filter: Option<&Filter>, root: &str) -> Option<Selection> {
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
