//! Events on their way to subscribers and into the log, and create-subscription.

use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::{debug, error};

use super::driver::{Northbound, now};
use super::handle::Continuation;
use super::notifications::log;
use super::notifications::{Key, Next, Serial, Wish};
use super::{Answer, Caller, Kind, Refusal, Response};
use crate::yang::value::Element;

impl Northbound {
    /// Something happened: whoever may hear of it and wants to, does.
    pub(super) fn publish(&mut self, element: &Element, at: Timestamp) {
        match self.stream.publish(element, at, &self.access) {
            Ok(notice) => {
                self.scribe.keep(log::line(&notice), self.stream.log());
                self.heard_of(&notice.module, &notice.name);
            }
            Err(refusals) => {
                let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                error!(notification = %element.name, refusals = said.join("; "), "a notification does not fit its module");
            }
        }
    }

    pub(super) fn subscribe(&mut self, caller: &Caller, wish: Wish, reply: oneshot::Sender<Answer>) {
        let Some(session) = self.sessions.get(caller.session) else {
            let refusal = Refusal::new(Kind::OperationFailed, "notifications are for sessions");
            return drop(reply.send(Err(vec![refusal])));
        };
        let mailbox = session.mailbox.clone();
        match self.stream.subscribe(caller, wish, mailbox, now()) {
            Ok(serial) => {
                debug!(session = %caller.session, user = %caller.user, "subscribed");
                // The answer goes first: what is told comes behind it.
                drop(reply.send(Ok(Response::Ok)));
                self.advance_subscription(caller.session.into(), serial);
            }
            Err(refusal) => drop(reply.send(Err(vec![refusal]))),
        }
    }

    /// One step of a subscription; the next is put off, so that others have their turn between.
    pub(super) fn advance_subscription(&mut self, key: Key, serial: Serial) {
        let next = self.stream.advance(key, serial, now(), &self.access);
        let go_on = Continuation(Box::new(move |northbound| northbound.advance_subscription(key, serial)));
        match next {
            Next::Slice => self.resume_soon(go_on),
            Next::Stop(stop) => self.resume_at(key, stop, go_on),
            Next::Over => self.subscription_over(key),
            Next::Nothing => {}
        }
    }
}
