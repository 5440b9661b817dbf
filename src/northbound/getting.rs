//! get, and get-data of the operational datastore: configuration and state as one tree, some tops of it at a time.
//!
//! ```text
//!  asked --providers tell--> told --> our own state is put together --little--> answered
//!                              |                                    '--much---> pieces are made aside --> answered
//!                              '--about several tops at once--> answered
//! ```
//! A piece is some tops. What takes long is made on light threads, so that nobody waits for it; of large gets
//! only so many are under way. Configuration is taken when the providers have told, all of it: a commit that comes between two
//! pieces is seen by none of them.

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::driver::Northbound;
use super::filter::{self, Content, Filter};
use super::handle::{Continuation, Input};
use super::nmda::Shape;
use super::own_state::{self, State};
use super::provider::StateQuery;
use super::reading::{Reach, root_path, selection_of, with_seen};
use super::sight::{Below, Reader};
use super::{Answer, Caller, Kind, Refusal, Response, WithDefaults};
use crate::yang::schema::{Schema, SchemaNode};
use crate::yang::select::{self, View};
use crate::yang::tree::Tree;
use crate::yang::value::Element;

/// Nodes of state after which others have their turn.
const PIECE_NODES: usize = 250;

/// So many are made sooner than another thread would be awake.
const NODES_BRIEF: usize = 50;

/// Gets of more than [`FEW_TOPS`] that are under way at a time: each holds its configuration until it is made.
const GETS_AT_ONCE_MAX: usize = 4;
const FEW_TOPS: usize = 4;

/// Gets that wait.
#[derive(Default)]
pub(super) struct Gets {
    /// For providers, or for their next turn.
    pending: BTreeMap<u64, PendingGet>,
    /// Large ones for others of their kind; no session has more than one.
    queued: VecDeque<PendingGet>,
    /// Places that are taken, of [`GETS_AT_ONCE_MAX`].
    under_way: usize,
}

/// What is wanted, and by whom.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) caller: Caller,
    pub(super) filter: Option<Filter>,
    pub(super) with_defaults: WithDefaults,
    /// What get-data asks besides.
    pub(super) shape: Option<Shape>,
}

/// A get that waits for providers, for its next turn, or to be made.
pub(super) struct PendingGet {
    wanted: Wanted,
    reply: oneshot::Sender<Answer>,
    /// The configuration of tops that have state, as far as it is wanted.
    beside: Tree,
    told: VecDeque<Told>,
    /// Tops of the northbound's own that are not told yet.
    own: VecDeque<&'static str>,
    /// The configuration of tops that have none.
    alone: Bytes,
    has_place: bool,
}

/// State of one top.
struct Told {
    root: String,
    state: State,
}

impl Northbound {
    pub(super) fn get(&mut self, wanted: Wanted, reply: oneshot::Sender<Answer>) {
        let filter = wanted.filter.as_ref();
        let reach = Reach::of(self.schema, filter);
        let limit = self.answer_time_max;
        let futures: Vec<_> = self
            .router
            .state_roots()
            .filter(|(root, _)| reach.has(root))
            .map(|(root, index)| {
                let selection = selection_of(self.schema, filter, root);
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
        let pending = PendingGet {
            wanted,
            reply,
            beside: Tree::new(self.schema),
            told: VecDeque::new(),
            own: VecDeque::new(),
            alone: Bytes::new(),
            has_place: false,
        };
        if futures.is_empty() {
            return self.told(pending, Vec::new());
        }
        let id = self.next_pending();
        self.gets.pending.insert(id, pending);
        let inputs = self.inputs.clone();
        self.runtime.spawn(async move {
            let states = join_all(futures).await;
            let resume = Continuation(Box::new(move |northbound: &mut Northbound| {
                if let Some(pending) = northbound.gets.pending.remove(&id) {
                    northbound.told(pending, states);
                }
            }));
            // A northbound that is gone answers nobody.
            let _ = inputs.send(Input::Resume(resume)).await;
        });
    }

    fn told(&mut self, mut pending: PendingGet, states: Vec<Result<Vec<Element>, Refusal>>) {
        let filter = pending.wanted.filter.as_ref();
        let reach = Reach::of(self.schema, filter);
        pending.own = own_state::roots(self).into_iter().filter(|root| reach.has(root)).collect();
        for state in states {
            match state {
                Ok(elements) => by_top(&mut pending.told, elements),
                Err(refusal) => return drop(pending.reply.send(Err(vec![refusal]))),
            }
        }
        if is_about_several_tops(filter) {
            let answer = self.at_once(&pending.wanted, pending.told, pending.own);
            return drop(pending.reply.send(answer));
        }
        if pending.told.len() + pending.own.len() > FEW_TOPS {
            if self.gets.under_way >= GETS_AT_ONCE_MAX {
                return self.gets.queued.push_back(pending);
            }
            self.gets.under_way += 1;
            pending.has_place = true;
        }
        self.take_up(pending);
    }

    fn take_up(&mut self, mut pending: PendingGet) {
        match self.configuration_alone(&mut pending) {
            Ok(()) => self.tell_own(pending),
            Err(refusal) => self.end(pending, Err(vec![refusal])),
        }
    }

    /// Answers; its place is the next one's that waits for one.
    fn end(&mut self, pending: PendingGet, answer: Answer) {
        let PendingGet { reply, has_place, .. } = pending;
        // A front end that is gone needs no answer.
        drop(reply.send(answer));
        if !has_place {
            return;
        }
        self.gets.queued.retain(|waiting| !waiting.reply.is_closed());
        match self.gets.queued.pop_front() {
            Some(mut next) => {
                next.has_place = true;
                self.soon(next, Self::take_up);
            }
            None => self.gets.under_way -= 1,
        }
    }

    /// Goes on with it when others have had their turn.
    fn soon(&mut self, pending: PendingGet, go_on: fn(&mut Self, PendingGet)) {
        let id = self.next_pending();
        self.gets.pending.insert(id, pending);
        self.resume_soon(Continuation(Box::new(move |northbound: &mut Self| {
            if let Some(pending) = northbound.gets.pending.remove(&id) {
                go_on(northbound, pending);
            }
        })));
    }

    /// Prints the configuration of tops without state, and sets that of the others aside.
    fn configuration_alone(&self, pending: &mut PendingGet) -> Result<(), Refusal> {
        let Wanted { caller, filter, with_defaults, shape } = &pending.wanted;
        let (filter, running) = (filter.as_ref(), self.datastores.running());
        let told = pending.told.iter().map(|told| told.root.as_str());
        let roots = told.chain(pending.own.iter().copied());
        let tops: Vec<SchemaNode> = roots.filter_map(|root| self.schema.node(root)).collect();
        let has_state = |top: SchemaNode| tops.contains(&top);
        let print = |view: &View<'_>| self.printed(view, *with_defaults);
        let alone = match shape {
            Some(_) => {
                let config = self.configuration(filter, &|top| !has_state(top));
                operational(self.access.reader(caller), &pending.wanted, config, &Tree::new(self.schema))?
            }
            None if tops.is_empty() => self.with_readable(caller, running, filter, *with_defaults, print)?,
            None => {
                let alone = Below { reader: self.access.reader(caller), has: |top| !has_state(top) };
                let marks = *with_defaults == WithDefaults::ReportAllTagged;
                select::with_view(running, filter, Some(&alone), marks, print)?
            }
        };
        if !tops.is_empty() {
            pending.beside = self.configuration(filter, &has_state);
        }
        pending.alone = alone;
        Ok(())
    }

    /// Puts the northbound's own state together, some of it a turn.
    fn tell_own(&mut self, mut pending: PendingGet) {
        let mut nodes = 0;
        while nodes < PIECE_NODES
            && let Some(root) = pending.own.pop_front()
        {
            let state = own_state::state(self, pending.wanted.filter.as_ref(), root);
            nodes += count(&state);
            pending.told.push_back(Told { root: root.to_owned(), state });
        }
        match pending.own.is_empty() {
            true => self.make(pending),
            false => self.soon(pending, Self::tell_own),
        }
    }

    fn make(&mut self, mut pending: PendingGet) {
        let nodes: usize = pending.told.iter().map(|told| count(&told.state)).sum();
        let is_brief = nodes <= NODES_BRIEF && pending.told.iter().all(|told| matches!(told.state, State::Made(_)));
        let mut making = Making {
            schema: self.schema,
            reader: self.access.reader(&pending.wanted.caller),
            wanted: pending.wanted.clone(),
            told: take(&mut pending.told),
            beside: std::mem::replace(&mut pending.beside, Tree::new(self.schema)),
            printed: vec![take(&mut pending.alone)],
        };
        if is_brief {
            let answer = making.piece().map(|_| making.answer());
            return self.end(pending, answer);
        }
        let mut made = self.aside.spawn(async move {
            while making.piece()? {
                tokio::task::yield_now().await;
            }
            Ok(making.answer())
        });
        let inputs = self.inputs.clone();
        self.runtime.spawn(async move {
            let lost = || vec![Refusal::new(Kind::OperationFailed, "what was told could not be put together")];
            let answer = tokio::select! {
                made = &mut made => made.unwrap_or_else(|_| Err(lost())),
                () = pending.reply.closed() => {
                    made.abort();
                    Ok(Response::Ok)
                }
            };
            let resume = Continuation(Box::new(move |northbound: &mut Northbound| northbound.end(pending, answer)));
            // A northbound that is gone answers nobody.
            let _ = inputs.send(Input::Resume(resume)).await;
        });
    }

    /// For a filter that compares what stands below one top with another: all in one go.
    fn at_once(&self, wanted: &Wanted, told: VecDeque<Told>, own: VecDeque<&'static str>) -> Answer {
        let own = own.into_iter().map(|root| own_state::state(self, wanted.filter.as_ref(), root));
        let state = own.chain(told.into_iter().map(|told| told.state)).flat_map(State::elements);
        let state: Vec<Element> = state.collect();
        let Wanted { caller, filter, with_defaults, shape } = wanted;
        let content = if state.is_empty() && shape.is_none() {
            let print = |view: &View<'_>| self.printed(view, *with_defaults);
            self.with_readable(caller, self.datastores.running(), filter.as_ref(), *with_defaults, print)
                .map_err(|refusal| vec![refusal])?
        } else {
            let config = self.configuration(filter.as_ref(), &|_| true);
            piece(self.schema, self.access.reader(caller), wanted, config, &state)?
        };
        Ok(answer(wanted, content))
    }

    /// What of the configuration the filter can look at below the tops that `wants` names.
    fn configuration(&self, filter: Option<&Filter>, wants: &dyn Fn(SchemaNode) -> bool) -> Tree {
        let reach = Reach::of(self.schema, filter);
        let wanted = Below { reader: None, has: |top| wants(top) && reach.has(&root_path(top)) };
        let wide = filter.and_then(|filter| filter::widened(self.schema, filter));
        select::with_view(self.datastores.running(), wide.as_ref(), Some(&wanted), false, |view| view.to_tree())
            .expect("a subtree filter is never refused")
    }
}

/// All that is told, on the way to its answer. Knows no datastore: may be made anywhere.
struct Making {
    schema: &'static Schema,
    reader: Option<Reader>,
    wanted: Wanted,
    told: VecDeque<Told>,
    beside: Tree,
    printed: Vec<Bytes>,
}

impl Making {
    /// Makes the next piece. Whether there is more to make.
    fn piece(&mut self) -> Result<bool, Vec<Refusal>> {
        if self.told.is_empty() {
            return Ok(false);
        }
        let (mut state, mut config, mut nodes) = (Vec::new(), Tree::new(self.schema), 0);
        while nodes < PIECE_NODES
            && let Some(told) = self.told.pop_front()
        {
            let elements = told.state.elements();
            nodes += nodes_of(&elements);
            state.extend(elements);
            move_top(self.schema.node(&told.root), &mut self.beside, &mut config);
        }
        self.printed.push(piece(self.schema, self.reader.clone(), &self.wanted, config, &state)?);
        Ok(!self.told.is_empty())
    }

    fn answer(self) -> Response {
        answer(&self.wanted, in_one_piece(self.printed))
    }
}

/// Configuration and state of some tops as one tree, and of that what is wanted.
fn piece(
    schema: &'static Schema,
    reader: Option<Reader>,
    wanted: &Wanted,
    mut config: Tree,
    state: &[Element],
) -> Result<Bytes, Vec<Refusal>> {
    let state = Tree::from_elements(schema, state)?;
    let piece = if wanted.shape.is_some() {
        operational(reader, wanted, config, &state)
    } else {
        config.merge(&state);
        let print = |view: &View<'_>| view.print_xml(wanted.with_defaults);
        with_seen(&config, reader, wanted.filter.as_ref(), wanted.with_defaults, print)
    };
    piece.map_err(|refusal| vec![refusal])
}

/// What get-data of the operational datastore tells of this (RFC 8526 section 3.1.1).
fn operational(reader: Option<Reader>, wanted: &Wanted, mut config: Tree, state: &Tree) -> Result<Bytes, Refusal> {
    let Wanted { filter, with_defaults, shape, .. } = wanted;
    let shape = shape.as_ref().expect("asked where there is one");
    if shape.with_origin {
        config.tell_origins();
    }
    config.merge(state);
    let mut data = with_seen(&config, reader, filter.as_ref(), *with_defaults, |view| match shape.max_depth {
        Some(levels) => view.to_depth(levels, with_defaults.tells_all()),
        None => view.to_tree(),
    })?;
    // Behind the filter: it may look at nodes that are not told.
    data.keep_origins(&shape.origins);
    if let Some(is_config) = shape.config {
        data.keep_config(is_config);
    }
    Ok(shape.print(&data, *with_defaults))
}

fn answer(wanted: &Wanted, content: Bytes) -> Response {
    match wanted.shape {
        Some(_) => super::nmda::data(&content),
        None => Response::Data(content),
    }
}

/// What stands alone is not copied: it may be large.
fn in_one_piece(mut printed: Vec<Bytes>) -> Bytes {
    printed.retain(|piece| !piece.is_empty());
    match printed.as_mut_slice() {
        [alone] => std::mem::take(alone),
        pieces => pieces.concat().into(),
    }
}

/// Elements of one top come together, whoever told them.
fn by_top(told: &mut VecDeque<Told>, elements: Vec<Element>) {
    for element in elements {
        let root = format!("/{}:{}", element.module.as_deref().unwrap_or_default(), element.name);
        match told.back_mut() {
            Some(Told { root: same, state: State::Made(state) }) if *same == root => state.push(element),
            _ => told.push_back(Told { root, state: State::Made(vec![element]) }),
        }
    }
}

/// Nodes; of what is still to be made none.
fn count(state: &State) -> usize {
    match state {
        State::Made(elements) => nodes_of(elements),
        State::ToMake(_) => 0,
    }
}

fn nodes_of(elements: &[Element]) -> usize {
    elements.iter().map(|element| 1 + nodes_of(&element.children)).sum()
}

fn move_top(top: Option<SchemaNode>, from: &mut Tree, to: &mut Tree) {
    let found: Vec<_> = from.roots().filter(|node| Some(node.schema()) == top).map(|node| from.at(node)).collect();
    for top in found {
        to.take_over(None, from, top);
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

#[cfg(test)]
#[path = "getting_tests.rs"]
mod tests;
