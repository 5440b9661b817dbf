//! Subscriptions with a number of their own (RFC 8639): to the event stream, and to what a datastore holds (RFC 8641).
//!
//! ```text
//!                 periodic: all of it, every period
//!  establish --+-----------------------------------------> until deleted, killed, its time, its filter or its session ends
//!              |  on-change: all of it, then what differs from what was sent last, not sooner than the dampening period
//!              +- stream: events, those of the past first
//! ```
//! What changes while a subscriber does not read, or within the dampening period, is told as one difference later: nothing
//! is lost but what was in between. Values only; `pushing.rs` carries them out. Must not know: messages, the clock.

pub(super) mod patch;
pub(super) mod terms;
pub(super) mod texts;

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::task::AbortHandle;

use self::terms::Terms;
use super::filter::Filter;
use super::mailbox::Mailbox;
use super::{Caller, Kind, Refusal, SessionId};
use crate::yang::value::Element;

pub(super) const MODULE: &str = "ietf-subscribed-notifications";
pub(super) const PUSH_MODULE: &str = "ietf-yang-push";
pub(super) const STREAMS_ROOT: &str = "/ietf-subscribed-notifications:streams";
pub(super) const SUBSCRIPTIONS_ROOT: &str = "/ietf-subscribed-notifications:subscriptions";
pub(super) const FILTERS_ROOT: &str = "/ietf-subscribed-notifications:filters";

/// Numbered subscriptions of one session.
pub const PER_SESSION_MAX: usize = 64;
/// And of all together.
pub const ALL_MAX: usize = 4096;
/// RFC 8639 section 6: those that rpcs make have numbers of the upper half.
const FIRST_ID: u32 = 0x8000_0000;

/// One of them.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) caller: Caller,
    pub(super) mailbox: Mailbox,
    pub(super) terms: Terms,
    /// What the terms select, named filters looked up.
    pub(super) filter: Option<Filter>,
    /// What the rpc said, for whoever asks what there is.
    pub(super) policy: Vec<Element>,
    pub(super) push: Push,
    /// Another one with each change of terms: what was put off under old ones is no longer due.
    pub(super) serial: u64,
}

/// How far the updates of a datastore subscription have come.
#[derive(Debug, Default)]
pub(super) struct Push {
    /// What was sent last, as XML.
    pub(super) last: Option<Bytes>,
    pub(super) sent_at: Option<Timestamp>,
    pub(super) sent: u64,
    pub(super) step: Step,
    /// All of it is wanted once more.
    pub(super) resync: bool,
    pub(super) timer: Option<AbortHandle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Step {
    /// Nothing is due.
    #[default]
    Resting,
    /// A look is due, now or at a time.
    Due,
    /// The providers are being asked; whether something has happened since.
    Looking { again: bool },
}

impl Drop for Push {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Numbered {
    all: BTreeMap<u32, Subscription>,
    last: Option<u32>,
    serials: u64,
}

impl Numbered {
    /// A number for another one of `session`.
    pub(super) fn next_id(&mut self, session: SessionId) -> Result<u32, Refusal> {
        let held = self.all.values().filter(|one| one.caller.session == session).count();
        if held >= PER_SESSION_MAX || self.all.len() >= ALL_MAX {
            let message = format!("there are {held} subscriptions of this session and {} in all", self.all.len());
            return Err(Refusal::new(Kind::ResourceDenied, message)
                .mend("delete one that is not needed")
                .tagged("ietf-subscribed-notifications:insufficient-resources"));
        }
        loop {
            let id = self.last.map_or(FIRST_ID, |last| last.checked_add(1).unwrap_or(FIRST_ID));
            self.last = Some(id);
            if !self.all.contains_key(&id) {
                return Ok(id);
            }
        }
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    pub(super) fn insert(&mut self, id: u32, subscription: Subscription) {
        self.all.insert(id, subscription);
    }

    pub(super) fn get(&self, id: u32) -> Option<&Subscription> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Subscription> {
        self.all.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Subscription> {
        self.all.remove(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Subscription)> {
        self.all.iter().map(|(id, subscription)| (*id, subscription))
    }

    /// The numbers of those for which `is` holds.
    pub(super) fn which(&self, is: impl Fn(&Subscription) -> bool) -> Vec<u32> {
        self.all.iter().filter(|(_, subscription)| is(subscription)).map(|(id, _)| *id).collect()
    }
}
