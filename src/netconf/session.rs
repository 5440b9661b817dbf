//! One NETCONF session as a machine: what arrives goes in, what to do comes out.
//!
//! ```text
//!             hello ok          half-closed, broken framing
//!  AwaitHello --------> Open --------------------------------> Draining
//!      |                  |                                       |
//!      | bad, late        | close-session, killed,                | all answered,
//!      |                  | too much waiting                      | or none of that
//!      +------------------+-------------------------------------> Closed
//! ```
//! One request is under way at a time, so replies come in the order of the requests (RFC 6241 section 4.1). What
//! arrives meanwhile waits, within bounds of count and bytes: over them the session ends, because its transport must
//! always be read. While the client does not read its replies, nothing more is asked for it. Notifications (RFC 5277) go
//! between replies, never into one; while the client does not read, they wait in the mailbox.
//!
//! Must not know: streams, tasks, clocks.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, warn};

use super::capability;
use super::counters::SessionCounters;
use super::error::Namespaces;
use super::framing::{Decoder, Framing};
use super::hello::{self, HELLO_BYTES_MAX};
use super::layout::Layout;
use super::notice;
use super::outbox::Outbox;
use super::reply::{self, Style};
use super::rpc::{self, Echo, Operation};
use crate::northbound::mailbox::Notice;
use crate::northbound::refusal::Layer;
use crate::northbound::{Answer, Refusal, Request, Response, SessionEnd, SessionId};

/// Messages of one session that may wait for their turn.
pub const WAITING_MESSAGES_MAX: usize = 131_072;

/// Bytes of waiting messages; a single message may be larger, within the limit of messages.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Unwritten bytes of replies beyond which no further request is taken up.
pub const UNWRITTEN_BYTES_MAX: usize = 1024 * 1024;

/// Everything that can happen to a session.
#[derive(Debug)]
pub enum Input<'a> {
    Bytes(&'a [u8]),
    /// The answer to the request delivered last.
    Answer(Answer),
    /// A notification from the session's mailbox; only while [`Session::listens`].
    Notice(&'a Notice),
    /// The outbox has become shorter.
    Room,
    Killed(SessionId),
    /// The client sends nothing more; it may still read.
    PeerClosed,
    /// No hello in time, or a half-closed client that does not read.
    Timeout,
    /// Nothing was asked for as long as the session may be silent; only while [`Session::is_idle`].
    Idle,
}

#[derive(Debug, PartialEq)]
pub enum Action {
    /// Ask this, then come back with [`Input::Answer`].
    Deliver(Request),
    /// Write what is in the outbox, then close.
    End(SessionEnd),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AwaitHello,
    Open,
    /// Nothing more is read; what waits is answered, then the session ends so.
    Draining {
        end: SessionEnd,
    },
    Closed,
}

/// What a session is made of.
pub struct Setup {
    pub session: SessionId,
    pub capabilities: Vec<String>,
    pub layout: Layout,
    pub message_bytes_max: usize,
    pub names: Arc<dyn Namespaces>,
    pub counters: SessionCounters,
}

pub struct Session {
    setup: Setup,
    state: State,
    framing: Framing,
    decoder: Decoder,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    under_way: Option<UnderWay>,
    /// The client's hello asked for a candidate of its own: the northbound is told before anything else.
    wants_private_candidate: bool,
    subscription: Subscription,
}

/// What was delivered and is not answered yet.
#[derive(Debug)]
enum UnderWay {
    /// A request of the client, and what its reply repeats.
    Rpc(Echo),
    /// What the hello asked for; its answer is nobody's.
    Greeting,
}

/// Whether notifications may be written: those of a subscription come behind the answer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscription {
    None,
    /// Asked for; if refused, things are as they were.
    UnderWay {
        had_one: bool,
    },
    There,
}

impl Session {
    /// Begins with our hello, which waits for nobody (RFC 6241 section 8.1).
    pub fn new(setup: Setup, outbox: &mut Outbox) -> Self {
        let hello = hello::compose(setup.session, &setup.capabilities);
        // RFC 6242 section 4.1: a hello ends with `]]>]]>`, whatever will be spoken after it.
        super::framing::encode(Framing::EndOfMessage, [hello], |piece| outbox.push(piece));
        setup.counters.session_started();
        Self {
            state: State::AwaitHello,
            framing: Framing::EndOfMessage,
            decoder: Decoder::new(HELLO_BYTES_MAX.min(setup.message_bytes_max)),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            under_way: None,
            wants_private_candidate: false,
            subscription: Subscription::None,
            setup,
        }
    }

    pub fn awaits_hello(&self) -> bool {
        self.state == State::AwaitHello
    }

    pub fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// Whether a notification would be written now: one is due only to a client that subscribed and reads.
    pub fn listens(&self, outbox: &Outbox) -> bool {
        self.state == State::Open && self.subscription == Subscription::There && outbox.len() <= UNWRITTEN_BYTES_MAX
    }

    /// Whether nobody waits for anything: nothing is under way, and no notification is to come.
    pub fn is_idle(&self) -> bool {
        self.state == State::Open
            && self.under_way.is_none()
            && self.waiting.is_empty()
            && self.subscription == Subscription::None
    }

    pub fn counters(&self) -> &SessionCounters {
        &self.setup.counters
    }

    /// One step. At most one action comes of it.
    pub fn on(&mut self, input: Input<'_>, outbox: &mut Outbox) -> Option<Action> {
        match (self.state, input) {
            (State::Closed, _) => None,
            (_, Input::Killed(by)) => Some(self.end(SessionEnd::Killed { by })),
            (State::AwaitHello | State::Open, Input::Bytes(bytes)) => self.receive(bytes, outbox),
            (State::AwaitHello, Input::PeerClosed) => Some(self.end(SessionEnd::Dropped)),
            (State::AwaitHello, Input::Timeout) => Some(self.end(SessionEnd::Timeout)),
            (State::Open, Input::PeerClosed) => {
                if self.decoder.is_amid_message() {
                    debug!(session = %self.setup.session, "the client has left in the middle of a message");
                }
                self.drain(SessionEnd::Dropped);
                self.advance(outbox)
            }
            (State::Draining { end }, Input::Timeout) => Some(self.end(end)),
            (State::Open, Input::Idle) if self.is_idle() => Some(self.end(SessionEnd::Timeout)),
            (State::Open | State::Draining { .. }, Input::Answer(answer)) => {
                if let Subscription::UnderWay { had_one } = self.subscription {
                    let is_there = had_one || answer.is_ok();
                    self.subscription = if is_there { Subscription::There } else { Subscription::None };
                }
                if let Some(UnderWay::Rpc(echo)) = self.under_way.take() {
                    match answer {
                        Ok(response) => self.reply(outbox, &echo, Ok(response)),
                        Err(refusals) => self.reply(outbox, &echo, Err(&refusals)),
                    }
                }
                self.advance(outbox)
            }
            (State::Open, Input::Notice(notice)) => {
                self.setup.counters.notification();
                notice::write(outbox, &self.style(), notice);
                None
            }
            (State::Open | State::Draining { .. }, Input::Room) => self.advance(outbox),
            // Bytes after the stream has lost its boundaries mean nothing.
            (State::Draining { .. }, Input::Bytes(_) | Input::PeerClosed | Input::Notice(_) | Input::Idle)
            | (State::AwaitHello, Input::Answer(_) | Input::Notice(_) | Input::Room | Input::Idle)
            | (State::Open, Input::Timeout | Input::Idle) => None,
        }
    }

    fn receive(&mut self, mut bytes: &[u8], outbox: &mut Outbox) -> Option<Action> {
        loop {
            match self.decoder.next(&mut bytes) {
                Ok(Some(message)) if self.state == State::AwaitHello => {
                    if let Some(end) = self.greet(&message) {
                        return Some(end);
                    }
                }
                Ok(Some(message)) => {
                    if let Some(end) = self.enqueue(message) {
                        return Some(end);
                    }
                }
                Ok(None) => return self.advance(outbox),
                Err(fault) if self.state == State::AwaitHello => {
                    warn!(session = %self.setup.session, %fault, "session ends: no readable hello");
                    self.setup.counters.bad_hello();
                    return Some(self.end(SessionEnd::BadHello));
                }
                Err(fault) => {
                    warn!(session = %self.setup.session, %fault, "session ends: message boundaries are lost");
                    self.drain(SessionEnd::Other);
                    return self.advance(outbox);
                }
            }
        }
    }

    fn greet(&mut self, message: &Bytes) -> Option<Action> {
        let agreed = hello::parse(message).and_then(|theirs| {
            let is_ours = self.setup.capabilities.iter().any(|ours| ours == capability::PRIVATE_CANDIDATE_OURS);
            self.wants_private_candidate =
                is_ours && theirs.iter().any(|theirs| capability::asks_for_private_candidate(theirs));
            capability::agreed_framing(&self.setup.capabilities, theirs.iter().map(String::as_str))
                .ok_or(hello::HelloFault::NoCommonVersion { said: theirs.len() })
        });
        match agreed {
            Ok(framing) => {
                self.framing = framing;
                self.decoder.switch(framing, self.setup.message_bytes_max);
                self.state = State::Open;
                None
            }
            Err(fault) => {
                warn!(session = %self.setup.session, %fault, "session ends: bad hello");
                self.setup.counters.bad_hello();
                Some(self.end(SessionEnd::BadHello))
            }
        }
    }

    fn enqueue(&mut self, message: Bytes) -> Option<Action> {
        let over_bytes = !self.waiting.is_empty() && self.waiting_bytes + message.len() > WAITING_BYTES_MAX;
        if over_bytes || self.waiting.len() >= WAITING_MESSAGES_MAX {
            warn!(
                session = %self.setup.session, messages = self.waiting.len(), bytes = self.waiting_bytes,
                "session ends: the client sends requests faster than they are answered, and does not wait"
            );
            return Some(self.end(SessionEnd::Dropped));
        }
        self.waiting_bytes += message.len();
        self.waiting.push_back(message);
        None
    }

    /// Takes up the next waiting message, and all after it that need nobody else to be answered.
    fn advance(&mut self, outbox: &mut Outbox) -> Option<Action> {
        if self.wants_private_candidate && self.state == State::Open && self.under_way.is_none() {
            self.wants_private_candidate = false;
            self.under_way = Some(UnderWay::Greeting);
            return Some(Action::Deliver(Request::UsePrivateCandidate));
        }
        while self.under_way.is_none() && outbox.len() <= UNWRITTEN_BYTES_MAX {
            let Some(message) = self.waiting.pop_front() else {
                let State::Draining { end } = self.state else { return None };
                return Some(self.end(end));
            };
            self.waiting_bytes -= message.len();
            let envelope = rpc::parse(&message);
            match envelope.operation {
                Ok(operation) => {
                    self.setup.counters.rpc();
                    match operation {
                        Operation::Ask(request) => {
                            if subscribes(&request) {
                                let had_one = self.subscription == Subscription::There;
                                self.subscription = Subscription::UnderWay { had_one };
                            }
                            self.under_way = Some(UnderWay::Rpc(envelope.echo));
                            return Some(Action::Deliver(request));
                        }
                        Operation::CloseSession => {
                            self.reply(outbox, &envelope.echo, Ok(Response::Ok));
                            return Some(self.end(SessionEnd::Closed));
                        }
                    }
                }
                Err(refusal) => {
                    if refusal.layer == Layer::Rpc {
                        self.setup.counters.bad_rpc();
                    } else {
                        self.setup.counters.rpc();
                    }
                    debug!(session = %self.setup.session, %refusal, "message refused");
                    self.reply(outbox, &envelope.echo, Err(std::slice::from_ref(&*refusal)));
                }
            }
        }
        None
    }

    fn reply(&self, outbox: &mut Outbox, echo: &Echo, answer: Result<Response, &[Refusal]>) {
        if answer.is_err() {
            self.setup.counters.error_reply();
        }
        reply::write(outbox, &self.style(), echo, answer);
    }

    fn style(&self) -> Style<'_> {
        Style { framing: self.framing, layout: self.setup.layout, names: &*self.setup.names }
    }

    fn drain(&mut self, end: SessionEnd) {
        self.state = State::Draining { end };
        self.decoder = Decoder::new(0);
    }

    fn end(&mut self, end: SessionEnd) -> Action {
        self.state = State::Closed;
        self.under_way = None;
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
        self.decoder = Decoder::new(0);
        Action::End(end)
    }
}

/// Whether notifications may follow the answer to this.
fn subscribes(request: &Request) -> bool {
    match request {
        Request::CreateSubscription(_) => true,
        Request::Invoke { operation } => {
            let name = operation.0.strip_prefix(b"<").unwrap_or_default();
            let name = name.split(|byte| b" \t\r\n/>".contains(byte)).next().unwrap_or_default();
            let local = name.rsplit(|byte| *byte == b':').next().unwrap_or_default();
            local == b"establish-subscription"
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
