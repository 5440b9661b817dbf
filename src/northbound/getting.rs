//! get, and get-data of the operational datastore: configuration and state as one tree, some tops of it at a time.
//!
//! ```text
//!  asked --providers tell--> told --slice--> its piece is made --> slice --> ... --> answered
//!                              '--about several tops at once--> answered
//! ```
//! A slice takes some tops; their piece of the answer is made elsewhere unless it is small, so that nobody waits for it. Between two
//! slices whoever waits has a turn; of large gets only so many are under way. Configuration is taken when the providers have told, all of it: a commit
//! that comes between two slices is seen by none of them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::driver::Northbound;
use super::filter::{self, Content, Filter};
use super::handle::{Continuation, Input};
use super::nmda::Shape;
use super::own_state;
use super::provider::StateQuery;
use super::reading::{Reach, root_path, selection_of, with_seen};
use super::sight::{Below, Reader};
use super::{Answer, Caller, Kind, Refusal, Response, WithDefaults};
use crate::yang::schema::{Schema, SchemaNode};
use crate::yang::select::{self, View};
use crate::yang::tree::Tree;
use crate::yang::value::Element;

/// Nodes of state after which others have their turn.
const SLICE_NODES: usize = 250;

/// A piece of so many is made sooner than another thread would be awake.
const NODES_BRIEF: usize = 50;

/// Pieces that are made elsewhere at a time: more would only take processors from each other.
const PIECES_AWAY_MAX: usize = 2;

/// Gets of more than [`FEW_TOPS`] that are under way at a time: each holds configuration from turn to turn.
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
    /// Of [`PIECES_AWAY_MAX`].
    pieces_away: usize,
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

/// A get that waits for providers, or for its next turn.
pub(super) struct PendingGet {
    wanted: Wanted,
    reply: oneshot::Sender<Answer>,
    /// The configuration of tops that have state, as far as it is wanted.
    beside: Tree,
    left: VecDeque<Told>,
    printed: Vec<Bytes>,
    has_place: bool,
}

/// State of one top.
struct Told {
    root: String,
    state: State,
}

enum State {
    /// The northbound's own, which is not put together before its turn.
    Own(&'static str),
    Given(Vec<Element>),
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
            left: VecDeque::new(),
            printed: Vec::new(),
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
        let own = own_state::roots(self).into_iter().filter(|root| reach.has(root));
        pending.left.extend(own.map(|root| Told { root: root.to_owned(), state: State::Own(root) }));
        for state in states {
            match state {
                Ok(elements) => by_top(&mut pending.left, elements),
                Err(refusal) => return drop(pending.reply.send(Err(vec![refusal]))),
            }
        }
        if is_about_several_tops(filter) {
            let answer = self.at_once(&pending.wanted, pending.left);
            return drop(pending.reply.send(answer));
        }
        if pending.left.len() > FEW_TOPS {
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
            Ok(()) => self.slice(pending),
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
        let tops: Vec<SchemaNode> = pending.left.iter().filter_map(|told| self.schema.node(&told.root)).collect();
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
        pending.printed.push(alone);
        Ok(())
    }

    /// The next of the tops that have state, or the answer where none is left.
    fn slice(&mut self, mut pending: PendingGet) {
        if pending.reply.is_closed() {
            return self.end(pending, Ok(Response::Ok));
        }
        let (mut state, mut config, mut nodes) = (Vec::new(), Tree::new(self.schema), 0);
        while nodes < SLICE_NODES
            && let Some(Told { root, state: told }) = pending.left.pop_front()
        {
            let elements = self.put_together(&pending.wanted, told);
            nodes += elements.iter().map(count).sum::<usize>();
            state.extend(elements);
            move_top(self.schema.node(&root), &mut pending.beside, &mut config);
        }
        let (schema, reader) = (self.schema, self.access.reader(&pending.wanted.caller));
        if nodes <= NODES_BRIEF || self.gets.pieces_away >= PIECES_AWAY_MAX {
            let piece = piece(schema, reader, &pending.wanted, config, &state);
            return self.add(pending, piece, |northbound, pending| northbound.soon(pending, Self::slice));
        }
        self.gets.pieces_away += 1;
        let (id, wanted, inputs) = (self.next_pending(), pending.wanted.clone(), self.inputs.clone());
        self.gets.pending.insert(id, pending);
        self.runtime.spawn(async move {
            let made = tokio::task::spawn_blocking(move || piece(schema, reader, &wanted, config, &state)).await;
            let lost = |_| Err(vec![Refusal::new(Kind::OperationFailed, "what was told could not be put together")]);
            let piece = made.unwrap_or_else(lost);
            let resume = Continuation(Box::new(move |northbound: &mut Northbound| {
                northbound.gets.pieces_away -= 1;
                if let Some(pending) = northbound.gets.pending.remove(&id) {
                    northbound.add(pending, piece, Self::slice);
                }
            }));
            // A northbound that is gone answers nobody.
            let _ = inputs.send(Input::Resume(resume)).await;
        });
    }

    fn add(
        &mut self,
        mut pending: PendingGet,
        piece: Result<Bytes, Vec<Refusal>>,
        go_on: impl FnOnce(&mut Self, PendingGet),
    ) {
        match piece {
            Ok(piece) => pending.printed.push(piece),
            Err(refusals) => return self.end(pending, Err(refusals)),
        }
        if !pending.left.is_empty() {
            return go_on(self, pending);
        }
        let content = in_one_piece(std::mem::take(&mut pending.printed));
        let answer = answer(&pending.wanted, content);
        self.end(pending, Ok(answer));
    }

    /// For a filter that compares what stands below one top with another: all in one go.
    fn at_once(&self, wanted: &Wanted, told: VecDeque<Told>) -> Answer {
        let state: Vec<Element> = told.into_iter().flat_map(|told| self.put_together(wanted, told.state)).collect();
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

    fn put_together(&self, wanted: &Wanted, state: State) -> Vec<Element> {
        match state {
            State::Own(own) => own_state::elements(self, wanted.filter.as_ref(), own),
            State::Given(elements) => elements,
        }
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

/// Configuration and state of some tops as one tree, and of that what is wanted. Knows no datastore: may be made anywhere.
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
        Some(levels) => view.to_depth(levels, true),
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
fn by_top(left: &mut VecDeque<Told>, elements: Vec<Element>) {
    for element in elements {
        let root = format!("/{}:{}", element.module.as_deref().unwrap_or_default(), element.name);
        match left.back_mut() {
            Some(Told { root: same, state: State::Given(given) }) if *same == root => given.push(element),
            _ => left.push_back(Told { root, state: State::Given(vec![element]) }),
        }
    }
}

fn count(element: &Element) -> usize {
    1 + element.children.iter().map(count).sum::<usize>()
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
