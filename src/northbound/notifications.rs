//! The event stream NETCONF (RFC 5277): who listens, to what, and from when.
//!
//! ```text
//!                 start time                    log read           stop time, session over
//!  create --------------------> Replaying ----------------> Live ---------------------------> gone
//!     \________ no start time _________________________________/
//! ```
//! While a subscription replays, what happens joins the end of its backlog: nothing is told twice or out of order. A
//! backlog is worked off in slices, so that a long log keeps nobody else waiting.
//!
//! Pure but for the mailboxes it fills. Must not know: messages, files, the clock.

pub mod base;
pub mod log;
pub mod scribe;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use self::log::EventLog;
use super::filter::Filter;
use super::mailbox::{Mailbox, Notice, time};
use super::refusal::Layer;
use super::{Caller, Kind, Refusal, SessionId};
use crate::shown::shown;
use crate::yang::notification::{self, Notification};
use crate::yang::schema::{Schema, SchemaNode};
use crate::yang::select;
use crate::yang::value::Element;

/// The one stream there is: everything.
pub const STREAM: &str = "NETCONF";
/// The state that [`Stream::state`] tells.
pub const STREAMS_ROOT: &str = "/nc-notifications:netconf";

/// Logged events that are looked at before others have their turn.
pub const SLICE: usize = 32;
/// And bytes of them; a single one may be larger.
pub const SLICE_BYTES: usize = 32 * 1024;
/// Live events that may wait behind a replay; more are lost to this subscriber, and counted.
pub const BACKLOG_LIVE_MAX: usize = 1000;

const MODULE: &str = "nc-notifications";
const NAMESPACE: &str = "urn:ietf:params:xml:ns:netmod:notification";

/// What create-subscription asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// NETCONF where it names none.
    pub stream: Option<String>,
    pub filter: Option<Filter>,
    pub start: Option<Timestamp>,
    pub stop: Option<Timestamp>,
}

/// What callers may hear of and see.
pub trait Rights {
    /// `owner` is the path of the data node that the notification belongs to, if to one.
    fn may_hear(&self, caller: &Caller, notification: SchemaNode, owner: Option<&str>) -> bool;
    /// Nothing is hidden from this caller: no path needs a look.
    fn may_read_all(&self, caller: &Caller) -> bool;
    /// The data at this path.
    fn may_read(&self, caller: &Caller, path: &str) -> bool;
}

/// Whose a subscription is: the one of a session that create-subscription made, or one that has a number of its own
/// (RFC 8639).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Session(SessionId),
    Numbered(u32),
}

impl From<SessionId> for Key {
    fn from(session: SessionId) -> Self {
        Self::Session(session)
    }
}

/// Which subscription of a key: what was put off for one must not befall the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial(u64);

#[derive(Debug)]
struct Subscription {
    serial: Serial,
    key: Key,
    caller: Caller,
    filter: Option<Filter>,
    stop: Option<Timestamp>,
    backlog: VecDeque<Backlog>,
    live_in_backlog: usize,
    mailbox: Mailbox,
    counts: Counts,
}

/// What became of the events that a subscriber might have heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub sent: u64,
    pub excluded: u64,
}

#[derive(Debug)]
enum Backlog {
    Logged(Arc<Notice>),
    ReplayComplete,
    Live(Arc<Notice>),
}

impl Backlog {
    fn bytes(&self) -> usize {
        match self {
            Backlog::Logged(notice) | Backlog::Live(notice) => notice.body.len(),
            Backlog::ReplayComplete => 0,
        }
    }
}

/// What is left to do for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another slice of its backlog.
    Slice,
    /// Nothing until its stop time.
    Stop(Timestamp),
    /// Nothing but what happens, if it is there at all.
    Nothing,
    /// Nothing any more: its stop time has come.
    Over,
}

#[derive(Debug)]
pub struct Stream {
    schema: &'static Schema,
    log: EventLog,
    subscriptions: BTreeMap<Key, Subscription>,
    last: u64,
}

impl Stream {
    pub fn new(schema: &'static Schema, log: EventLog) -> Self {
        Self { schema, log, subscriptions: BTreeMap::new(), last: 0 }
    }

    pub fn log(&self) -> &EventLog {
        &self.log
    }

    /// Begins a subscription. Call [`Stream::advance`] with its serial after the answer is on its way.
    ///
    /// # Errors
    /// RFC 5277 section 2.1.1: times that contradict each other; a stream that is not; a filter that cannot be used.
    pub fn subscribe(
        &mut self,
        caller: &Caller,
        wish: Wish,
        mailbox: Mailbox,
        now: Timestamp,
    ) -> Result<Serial, Refusal> {
        check_stream(wish.stream.as_deref())?;
        if self.subscriptions.contains_key(&caller.session.into()) {
            return Err(refuse(Kind::InUse, "this session has a subscription already")
                .mend("open another session for another subscription, or use establish-subscription"));
        }
        check_times(wish.start, wish.stop, now)?;
        if let Some(filter) = &wish.filter {
            self.check(filter)?;
        }
        Ok(self.enter(caller.session.into(), caller, wish, mailbox))
    }

    /// Begins a subscription with a number of its own. Whether its times and filter make sense, the caller has asked.
    pub fn enter(&mut self, key: Key, caller: &Caller, wish: Wish, mailbox: Mailbox) -> Serial {
        let Wish { filter, start, stop, .. } = wish;
        let mut backlog = VecDeque::new();
        if let Some(start) = start {
            backlog.extend(self.log.since(start).into_iter().map(Backlog::Logged));
            backlog.push_back(Backlog::ReplayComplete);
        }
        self.last += 1;
        let serial = Serial(self.last);
        let caller = caller.clone();
        let counts = Counts::default();
        let subscription =
            Subscription { serial, key, caller, filter, stop, backlog, live_in_backlog: 0, mailbox, counts };
        self.subscriptions.insert(key, subscription);
        serial
    }

    /// From now on another filter and stop time; the serial for [`Stream::advance`], if there is such a subscription.
    pub fn amend(&mut self, key: Key, filter: Option<Filter>, stop: Option<Timestamp>) -> Option<Serial> {
        let subscription = self.subscriptions.get_mut(&key)?;
        subscription.filter = filter;
        subscription.stop = stop;
        Some(subscription.serial)
    }

    pub fn counts(&self, key: Key) -> Option<Counts> {
        self.subscriptions.get(&key).map(|subscription| subscription.counts)
    }

    /// The session is over, and with it its subscription; or the numbered subscription is.
    pub fn forget(&mut self, key: impl Into<Key>) {
        self.subscriptions.remove(&key.into());
    }

    /// Something happened: logs it and tells everyone who listens.
    ///
    /// # Errors
    /// The element is no notification of the schema.
    pub fn publish(
        &mut self,
        element: &Element,
        at: Timestamp,
        rights: &dyn Rights,
    ) -> Result<Arc<Notice>, Vec<Refusal>> {
        let notification = notification::from_element(self.schema, element)?;
        let notice = Arc::new(Notice {
            at,
            module: notification.node.module().name().to_owned(),
            name: notification.node.name().to_owned(),
            body: notification.tree.print_xml(super::WithDefaults::Explicit),
        });
        self.log.add(Arc::clone(&notice));
        for subscription in self.subscriptions.values_mut() {
            subscription.happened(&notice, &notification, rights);
        }
        Ok(notice)
    }

    /// Works off a slice of the backlog; ends the subscription when its time has come.
    pub fn advance(&mut self, key: impl Into<Key>, serial: Serial, now: Timestamp, rights: &dyn Rights) -> Next {
        let key = key.into();
        let Some(subscription) = self.subscriptions.get_mut(&key).filter(|it| it.serial == serial) else {
            return Next::Nothing;
        };
        let mut bytes = 0;
        for _ in 0..SLICE {
            if bytes > SLICE_BYTES {
                break;
            }
            let Some(item) = subscription.backlog.pop_front() else { break };
            bytes += item.bytes();
            subscription.tell(item, self.schema, now, rights);
        }
        if !subscription.backlog.is_empty() {
            return Next::Slice;
        }
        match subscription.stop {
            Some(stop) if stop <= now => {
                if let Key::Session(_) = key {
                    subscription.mailbox.put_past(Notice::bare(now, MODULE, "notificationComplete", NAMESPACE));
                }
                self.subscriptions.remove(&key);
                Next::Over
            }
            Some(stop) => Next::Stop(stop),
            None => Next::Nothing,
        }
    }

    /// The state below [`STREAMS_ROOT`].
    pub fn state(&self) -> Element {
        let mut stream = vec![
            Element::leaf("name", STREAM),
            Element::leaf("description", "all events: configuration, sessions, apps and scripts"),
            Element::leaf("replaySupport", true),
            Element::leaf("replayLogCreationTime", time(self.log.created())),
        ];
        stream.extend(Element::leaf_if("replayLogAgedTime", self.log.aged().map(time)));
        Element::node("netconf", vec![Element::node("streams", vec![Element::node("stream", stream)])])
            .in_module(MODULE)
    }

    /// The same for RFC 8639.
    pub fn streams(&self) -> Element {
        let mut stream = vec![
            Element::leaf("name", STREAM),
            Element::leaf("description", "all events: configuration, sessions, apps and scripts"),
            Element { name: "replay-support".into(), ..Element::default() },
            Element::leaf("replay-log-creation-time", time(self.log.created())),
        ];
        stream.extend(Element::leaf_if("replay-log-aged-time", self.log.aged().map(time)));
        Element::node("streams", vec![Element::node("stream", stream)]).in_module(super::subscriptions::MODULE)
    }

    /// A filter that cannot be used is refused now rather than at every event.
    pub(super) fn check(&self, filter: &Filter) -> Result<(), Refusal> {
        let sample = Element::node("replayComplete", Vec::new()).in_module(MODULE);
        match notification::from_element(self.schema, &sample) {
            Ok(sample) => select::select(&sample.tree, filter).map(|_| ()),
            Err(_) => Ok(()),
        }
        .map_err(|refusal| refusal.at_layer(Layer::Protocol))
    }
}

impl Subscription {
    fn happened(&mut self, notice: &Arc<Notice>, notification: &Notification, rights: &dyn Rights) {
        if self.stop.is_some_and(|stop| notice.at > stop) {
            return;
        }
        if self.backlog.is_empty() {
            if let Some(notice) = self.offered(notice, notification, rights) {
                self.counts.sent += 1;
                self.mailbox.put(notice);
            } else {
                self.counts.excluded += 1;
            }
        } else if self.live_in_backlog < BACKLOG_LIVE_MAX {
            self.live_in_backlog += 1;
            self.backlog.push_back(Backlog::Live(Arc::clone(notice)));
        } else if self.offered(notice, notification, rights).is_some() {
            self.mailbox.lose(notice.at);
        }
    }

    fn tell(&mut self, item: Backlog, schema: &'static Schema, now: Timestamp, rights: &dyn Rights) {
        let (notice, is_live) = match item {
            Backlog::ReplayComplete => {
                return self.mailbox.put_past(match self.key {
                    Key::Session(_) => Notice::bare(now, MODULE, "replayComplete", NAMESPACE),
                    Key::Numbered(id) => super::subscriptions::texts::replay_completed(now, id),
                });
            }
            Backlog::Logged(notice) => (notice, false),
            Backlog::Live(notice) => (notice, true),
        };
        self.live_in_backlog -= usize::from(is_live);
        if self.stop.is_some_and(|stop| notice.at > stop) {
            return;
        }
        // What was logged under other modules than today's cannot be judged, so it is not told.
        let Ok(notification) = notification::from_xml(schema, &notice.body) else { return };
        let Some(notice) = self.offered(&notice, &notification, rights) else {
            self.counts.excluded += 1;
            return;
        };
        self.counts.sent += 1;
        if is_live { self.mailbox.put(notice) } else { self.mailbox.put_past(notice) }
    }

    /// The notification as this subscriber may see it, if it may and its filter selects any of it. What is hidden is taken
    /// out before the filter looks, or a filter could feel for it.
    fn offered(&self, notice: &Arc<Notice>, notification: &Notification, rights: &dyn Rights) -> Option<Arc<Notice>> {
        if !rights.may_hear(&self.caller, notification.node, notification.owner.as_deref()) {
            return None;
        }
        let may_read = |path: &str| rights.may_read(&self.caller, path);
        let hides = !rights.may_read_all(&self.caller);
        let seen = if hides { base::without_hidden(&notification.tree, &may_read) } else { None };
        let tree = seen.as_ref().unwrap_or(&notification.tree);
        let is_selected = self
            .filter
            .as_ref()
            .is_none_or(|filter| select::select(tree, filter).is_ok_and(|selected| !selected.is_empty()));
        is_selected.then(|| match &seen {
            None => Arc::clone(notice),
            Some(tree) => {
                let body = tree.print_xml(super::WithDefaults::Explicit);
                Arc::new(Notice { body, ..Notice::clone(notice) })
            }
        })
    }
}

/// There is one stream.
pub(super) fn check_stream(stream: Option<&str>) -> Result<(), Refusal> {
    match stream.filter(|stream| *stream != STREAM) {
        None => Ok(()),
        Some(other) => {
            let message = format!("there is no event stream `{}`", shown(other));
            Err(refuse(Kind::InvalidValue, message).mend(format!("the one there is is {STREAM}")))
        }
    }
}

/// RFC 5277 section 2.1.1.
fn check_times(start: Option<Timestamp>, stop: Option<Timestamp>, now: Timestamp) -> Result<(), Refusal> {
    let bad = |element: &str, message: &str| refuse(Kind::BadElement { element: element.to_owned() }, message);
    match (start, stop) {
        (Some(start), _) if start > now => Err(bad("startTime", "the start time has not come yet")
            .mend("leave it out to hear of what happens from now on")),
        (Some(start), Some(stop)) if stop <= start => {
            Err(bad("stopTime", "the stop time is not later than the start time"))
        }
        (None, Some(_)) => {
            let kind = Kind::MissingElement { element: "startTime".to_owned() };
            Err(refuse(kind, "a stop time needs a start time"))
        }
        (Some(_) | None, _) => Ok(()),
    }
}

fn refuse(kind: Kind, message: impl Into<String>) -> Refusal {
    Refusal::new(kind, message).at_layer(Layer::Protocol)
}

#[cfg(test)]
mod tests;
