//! Numbered subscriptions carried out: the rpcs of RFC 8639 and 8641, and the updates that come of them.
//!
//! An update is what `get` or `get-config` would answer the subscriber now, compared with what it was sent last; so access
//! rules and filters are those of a read, and nothing is kept but the last answer.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::driver::{Northbound, now};
use super::filter::Filter;
use super::getting::Wanted;
use super::handle::{Continuation, Input};
use super::notifications::{self, Key, Wish};
use super::provider::Configuration as _;
use super::subscriptions::patch::{self, Difference};
use super::subscriptions::terms::{self, Filtering, Target, Terms, Trigger};
use super::subscriptions::{FILTERS_ROOT, MODULE, PUSH_MODULE, Push, Step, Subscription, texts};
use super::{Answer, Caller, Datastore, Kind, Refusal, Response, SessionId, WithDefaults};
use crate::yang::notification;
use crate::yang::rpc::Operation;
use crate::yang::tree::Tree;
use crate::yang::value::Element;

/// Until a subscriber that does not read is looked at again, or a state that could not be had.
const RETRY: Duration = Duration::from_secs(1);

impl Northbound {
    /// Carries out an rpc about subscriptions; `None` for any other.
    pub(super) fn subscription_call(
        &mut self,
        caller: &Caller,
        operation: &Operation,
    ) -> Option<Result<Vec<Element>, Refusal>> {
        let input = operation.input();
        let id = input.text_of("id").and_then(|id| id.parse().ok()).unwrap_or(0);
        Some(match operation.path().as_str() {
            "/ietf-subscribed-notifications:establish-subscription" => self.establish(caller, input),
            "/ietf-subscribed-notifications:modify-subscription" => self.modify(caller, id, input).map(|()| Vec::new()),
            "/ietf-subscribed-notifications:delete-subscription" => {
                let owned = self.own(caller, id, "ietf-subscribed-notifications:no-such-subscription").map(drop);
                owned.map(|()| {
                    self.drop_numbered(id);
                    Vec::new()
                })
            }
            "/ietf-subscribed-notifications:kill-subscription" => match self.numbered.get(id) {
                Some(_) => {
                    self.terminate(id, "no-such-subscription");
                    Ok(Vec::new())
                }
                None => Err(no_such(id, "ietf-subscribed-notifications:no-such-subscription")),
            },
            "/ietf-yang-push:resync-subscription" => self.resync(caller, id).map(|()| Vec::new()),
            _ => return None,
        })
    }

    fn establish(&mut self, caller: &Caller, input: &Element) -> Result<Vec<Element>, Refusal> {
        let Some(session) = self.sessions.get(caller.session) else {
            return Err(Refusal::new(Kind::OperationFailed, "subscriptions are for sessions"));
        };
        let mailbox = session.mailbox.clone();
        let mut terms = terms::read(self.schema, input)?;
        let filter = self.filter_of(&terms)?;
        self.check_terms(&terms, filter.as_ref())?;
        let id = self.numbered.next_id(caller.session)?;
        let mut output = vec![Element::leaf("id", id)];
        if let Target::Stream { start: Some(start), .. } = &mut terms.target {
            let log = self.stream.log();
            let from = log.aged().unwrap_or(log.created()).max(log.created());
            if *start < from {
                *start = from;
                output.push(Element::leaf("replay-start-time-revision", from));
            }
        }
        let serial = self.numbered.next_serial();
        let policy = input.children.clone();
        let (caller, push) = (caller.clone(), Push::default());
        let subscription = Subscription { caller, mailbox, terms, filter, policy, push, serial };
        self.numbered.insert(id, subscription);
        // Behind the answer: what is told of a subscription comes after its number.
        self.resume_soon(Continuation(Box::new(move |northbound| northbound.begin(id))));
        debug!(id, "subscription established");
        Ok(output)
    }

    fn begin(&mut self, id: u32) {
        let Some(subscription) = self.numbered.get(id) else { return };
        let Terms { target, stop, .. } = &subscription.terms;
        let stop = *stop;
        match target {
            Target::Stream { start, .. } => {
                let wish = Wish { stream: None, filter: subscription.filter.clone(), start: *start, stop };
                let (caller, mailbox) = (subscription.caller.clone(), subscription.mailbox.clone());
                let serial = self.stream.enter(Key::Numbered(id), &caller, wish, mailbox);
                self.advance_subscription(Key::Numbered(id), serial);
            }
            Target::Datastore { trigger, .. } => {
                // The first look of an on-change subscription is what later ones are compared with.
                let first = match trigger {
                    Trigger::Periodic { period, anchor: Some(anchor) } => until_period(*period, *anchor, now()),
                    Trigger::Periodic { anchor: None, .. } | Trigger::OnChange { .. } => Duration::ZERO,
                };
                self.look_after(id, first);
                if let Some(stop) = stop {
                    self.stop_at(id, stop);
                }
            }
        }
    }

    fn stop_at(&mut self, id: u32, stop: Timestamp) {
        if stop <= now() {
            return self.drop_numbered(id);
        }
        let go_on = Continuation(Box::new(move |northbound: &mut Self| northbound.stop_at(id, stop)));
        self.resume_at(Key::Numbered(id), stop, go_on);
    }

    /// RFC 8639 section 2.4.3.
    fn modify(&mut self, caller: &Caller, id: u32, input: &Element) -> Result<(), Refusal> {
        let tag = "ietf-subscribed-notifications:no-such-subscription";
        let before = self.own(caller, id, tag)?.terms.clone();
        let mut terms = terms::read(self.schema, input)?;
        match (&before.target, &mut terms.target) {
            (Target::Stream { .. }, target @ Target::Stream { .. }) => *target = before.target.clone(),
            (
                Target::Datastore { datastore, trigger: Trigger::OnChange { sync, excluded, .. } },
                Target::Datastore { datastore: same, trigger: Trigger::OnChange { sync: new_sync, excluded: new, .. } },
            ) if datastore == same => {
                *new_sync = *sync;
                new.clone_from(excluded);
            }
            (
                Target::Datastore { datastore, trigger: Trigger::Periodic { .. } },
                Target::Datastore { datastore: same, trigger: Trigger::Periodic { .. } },
            ) if datastore == same => {}
            _ => {
                let message = "a subscription keeps its kind and its datastore";
                return Err(Refusal::new(Kind::InvalidValue, message).mend("delete it and establish another"));
            }
        }
        let filter = self.filter_of(&terms)?;
        self.check_terms(&terms, filter.as_ref())?;
        let mut policy = input.children.clone();
        policy.retain(|child| child.name != "id");
        // The stream cannot be changed and is not said again.
        if let Some(Subscription { policy: said, .. }) = self.numbered.get(id) {
            policy.extend(said.iter().filter(|child| child.name == "stream").cloned());
        }
        self.amend(id, terms, filter, policy);
        Ok(())
    }

    /// From now on other terms; the subscriber is told.
    fn amend(&mut self, id: u32, terms: Terms, filter: Option<Filter>, policy: Vec<Element>) {
        let serial = self.numbered.next_serial();
        let Some(subscription) = self.numbered.get_mut(id) else { return };
        let stop = terms.stop;
        let is_stream = matches!(terms.target, Target::Stream { .. });
        subscription.terms = terms;
        subscription.filter.clone_from(&filter);
        subscription.policy = policy;
        subscription.serial = serial;
        subscription.push.step = Step::Resting;
        // Under another filter the difference to what was sent says nothing.
        subscription.push.resync = true;
        self.tell_modified(id);
        self.stop_timer(Key::Numbered(id));
        if is_stream {
            if let Some(serial) = self.stream.amend(Key::Numbered(id), filter, stop) {
                self.advance_subscription(Key::Numbered(id), serial);
            }
        } else {
            self.begin(id);
        }
    }

    fn tell_modified(&self, id: u32) {
        let Some(subscription) = self.numbered.get(id) else { return };
        let mut children = vec![Element::leaf("id", id)];
        children.extend(subscription.policy.iter().cloned());
        let element = Element::node("subscription-modified", children).in_module(MODULE);
        match notification::from_element(self.schema, &element) {
            Ok(notification) => {
                let body = notification.tree.print_xml(WithDefaults::Explicit);
                let (module, name) = (MODULE.to_owned(), element.name.to_string());
                let notice = super::mailbox::Notice { at: now(), module, name, body };
                subscription.mailbox.put(std::sync::Arc::new(notice));
            }
            Err(refusals) => warn!(id, refusal = %refusals[0], "subscription-modified cannot be told"),
        }
    }

    fn resync(&mut self, caller: &Caller, id: u32) -> Result<(), Refusal> {
        let tag = "ietf-yang-push:no-such-subscription-resync";
        let subscription = self.own(caller, id, tag)?;
        if !matches!(subscription.terms.target, Target::Datastore { trigger: Trigger::OnChange { .. }, .. }) {
            return Err(no_such(id, tag));
        }
        if let Some(subscription) = self.numbered.get_mut(id) {
            subscription.push.resync = true;
        }
        self.something_changed(id);
        Ok(())
    }

    /// The subscription `id`, if it is one of the caller's session.
    fn own(&self, caller: &Caller, id: u32, tag: &str) -> Result<&Subscription, Refusal> {
        let found = self.numbered.get(id).filter(|subscription| subscription.caller.session == caller.session);
        found.ok_or_else(|| no_such(id, tag))
    }

    /// Gone, without a word.
    fn drop_numbered(&mut self, id: u32) {
        self.stream.forget(Key::Numbered(id));
        self.stop_timer(Key::Numbered(id));
        self.numbered.remove(id);
    }

    fn terminate(&mut self, id: u32, reason: &str) {
        if let Some(subscription) = self.numbered.get(id) {
            subscription.mailbox.put(texts::terminated(now(), id, reason));
        }
        self.drop_numbered(id);
    }

    pub(super) fn subscription_over(&mut self, key: Key) {
        if let Key::Numbered(id) = key {
            self.drop_numbered(id);
        }
    }

    pub(super) fn end_numbered_of(&mut self, session: SessionId) {
        for id in self.numbered.which(|subscription| subscription.caller.session == session) {
            self.drop_numbered(id);
        }
    }

    fn check_terms(&self, terms: &Terms, filter: Option<&Filter>) -> Result<(), Refusal> {
        let invalid = |message: &str| Refusal::new(Kind::InvalidValue, message);
        let now = now();
        match &terms.target {
            Target::Stream { name, start } => {
                notifications::check_stream(name.as_deref())?;
                if start.is_some_and(|start| start > now) {
                    return Err(invalid("the replay start time has not come yet").mend("leave it out"));
                }
                if terms.stop.is_some_and(|stop| stop <= start.unwrap_or(now)) {
                    return Err(invalid("the stop time has passed before the subscription begins"));
                }
            }
            Target::Datastore { datastore, trigger } => {
                if *datastore == Some(Datastore::Candidate) {
                    return Err(invalid("the datastore candidate cannot be subscribed to")
                        .mend("subscribe to running or operational")
                        .tagged("ietf-yang-push:datastore-not-subscribable"));
                }
                if matches!(trigger, Trigger::OnChange { .. }) {
                    terms::tells(self.schema, *datastore, filter)?;
                }
                if terms.stop.is_some_and(|stop| stop <= now) {
                    return Err(invalid("the stop time has passed"));
                }
            }
        }
        match filter {
            Some(filter) => self.stream.check(filter).map_err(|refusal| terms::unsupported(refusal.to_string())),
            None => Ok(()),
        }
    }

    fn filter_of(&self, terms: &Terms) -> Result<Option<Filter>, Refusal> {
        match &terms.filter {
            Filtering::Everything => Ok(None),
            Filtering::Given(filter) => Ok(Some(filter.clone())),
            Filtering::Named { list, key, name } => {
                let filters = self.datastores.running().subtree(FILTERS_ROOT);
                let entry = filters
                    .as_ref()
                    .and_then(|filters| filters.children_named(list).find(|entry| entry.text_of(key) == Some(name)));
                let entry = entry.ok_or_else(|| terms::unsupported(format!("there is no {list} `{name}`")))?;
                terms::given(self.schema, entry)
            }
        }
    }

    /// An event of this module has been told: state and configuration may be other than they were.
    pub(super) fn heard_of(&mut self, module: &str, name: &str) {
        let is_commit = name == "netconf-config-change";
        if module == "ietf-netconf-notifications" && !is_commit {
            // Sessions come and go; no configuration and no app with them.
            return;
        }
        if is_commit {
            self.look_at_filters();
        }
        let concerned = self.numbered.which(|subscription| match &subscription.terms.target {
            Target::Datastore { datastore, trigger: Trigger::OnChange { .. } } => datastore.is_none() || is_commit,
            Target::Datastore { .. } | Target::Stream { .. } => false,
        });
        for id in concerned {
            self.something_changed(id);
        }
    }

    /// Configured filters may have changed or gone (RFC 8639 section 2.7).
    fn look_at_filters(&mut self) {
        let named = |subscription: &Subscription| matches!(subscription.terms.filter, Filtering::Named { .. });
        for id in self.numbered.which(named) {
            let Some(subscription) = self.numbered.get(id) else { continue };
            let (terms, policy) = (subscription.terms.clone(), subscription.policy.clone());
            match self.filter_of(&terms) {
                Err(_) => self.terminate(id, "filter-unavailable"),
                Ok(filter) if filter != subscription.filter => self.amend(id, terms, filter, policy),
                Ok(_) => {}
            }
        }
    }

    fn something_changed(&mut self, id: u32) {
        let Some(Subscription { push, terms, .. }) = self.numbered.get_mut(id) else { return };
        let Target::Datastore { trigger: Trigger::OnChange { dampening, .. }, .. } = &terms.target else { return };
        match push.step {
            Step::Due => {}
            Step::Looking { .. } => push.step = Step::Looking { again: true },
            Step::Resting => {
                let quiet = push.sent_at.map_or(*dampening, |sent| since(sent, now()));
                let wait = dampening.saturating_sub(quiet);
                self.look_after(id, wait);
            }
        }
    }

    /// A look at the selection is due after this time.
    fn look_after(&mut self, id: u32, wait: Duration) {
        let Some(subscription) = self.numbered.get_mut(id) else { return };
        subscription.push.step = Step::Due;
        let serial = subscription.serial;
        let inputs = self.inputs.clone();
        let look = Continuation(Box::new(move |northbound: &mut Self| northbound.look(id, serial)));
        let task = self.runtime.spawn(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            // A northbound that is gone looks at nothing.
            let _ = inputs.send(Input::Resume(look)).await;
        });
        if let Some(before) = subscription.push.timer.replace(task.abort_handle()) {
            before.abort();
        }
    }

    fn look(&mut self, id: u32, serial: u64) {
        let Some(subscription) = self.numbered.get_mut(id).filter(|it| it.serial == serial) else { return };
        if !subscription.mailbox.has_room() {
            return self.look_after(id, RETRY);
        }
        subscription.push.step = Step::Looking { again: false };
        let Target::Datastore { datastore, .. } = subscription.terms.target else { return };
        let (caller, filter) = (subscription.caller.clone(), subscription.filter.clone());
        if let Some(datastore) = datastore {
            let answer = self.get_config(&caller, datastore, filter.as_ref(), WithDefaults::Explicit);
            return self.looked(id, serial, answer);
        }
        let (reply, answered) = oneshot::channel();
        self.get(Wanted { caller, filter, with_defaults: WithDefaults::Explicit, shape: None }, reply);
        let inputs = self.inputs.clone();
        self.runtime.spawn(async move {
            let Ok(answer) = answered.await else { return };
            let go_on = Continuation(Box::new(move |northbound: &mut Self| northbound.looked(id, serial, answer)));
            // A northbound that is gone has nobody to tell.
            let _ = inputs.send(Input::Resume(go_on)).await;
        });
    }

    fn looked(&mut self, id: u32, serial: u64, answer: Answer) {
        let now = now();
        let Some(subscription) = self.numbered.get_mut(id).filter(|it| it.serial == serial) else { return };
        let again = subscription.push.step == Step::Looking { again: true };
        subscription.push.step = Step::Resting;
        let Target::Datastore { trigger, .. } = subscription.terms.target.clone() else { return };
        let contents = match answer {
            Ok(Response::Data(contents)) => contents,
            Ok(_) => return,
            Err(refusals) => {
                debug!(id, refusal = %refusals[0], "what is subscribed to cannot be read now");
                return self.look_after(id, RETRY);
            }
        };
        let may_hear = |name: &str| {
            let node = self.schema.top(PUSH_MODULE, name);
            node.is_some_and(|node| notifications::Rights::may_hear(&self.access, &subscription.caller, node, None))
        };
        let (may_hear_all, may_hear_changes) = (may_hear("push-update"), may_hear("push-change-update"));
        let push = &mut subscription.push;
        let notice = match &trigger {
            Trigger::Periodic { period, anchor } => {
                // Without an anchor periods count from the first update.
                let next = anchor.map_or(*period, |anchor| until_period(*period, anchor, now));
                let notice = may_hear_all.then(|| texts::update(now, id, &contents));
                push.last = None;
                self.send(id, notice, now);
                return self.look_after(id, next);
            }
            Trigger::OnChange { sync, excluded, .. } => {
                let last = push.last.replace(contents.clone());
                let resync = std::mem::take(&mut push.resync);
                match last {
                    None if !*sync && !resync => None,
                    None => may_hear_all.then(|| texts::update(now, id, &contents)),
                    Some(_) if resync => may_hear_all.then(|| texts::update(now, id, &contents)),
                    Some(last) if last == contents => None,
                    Some(last) => match self.difference(&last, &contents, excluded) {
                        Difference::Nothing => None,
                        Difference::All => may_hear_all.then(|| texts::update(now, id, &contents)),
                        Difference::Edits(edits) => {
                            let number = self.numbered.get(id).map_or(0, |it| it.push.sent);
                            may_hear_changes.then(|| texts::change(now, id, number, &edits))
                        }
                    },
                }
            }
        };
        self.send(id, notice, now);
        if again {
            self.something_changed(id);
        }
    }

    fn send(&mut self, id: u32, notice: Option<std::sync::Arc<super::mailbox::Notice>>, now: Timestamp) {
        if let (Some(subscription), Some(notice)) = (self.numbered.get_mut(id), notice) {
            subscription.mailbox.put(notice);
            subscription.push.sent += 1;
            subscription.push.sent_at = Some(now);
        }
    }

    fn difference(&self, old: &[u8], new: &[u8], excluded: &[String]) -> Difference {
        match (Tree::parse_state(self.schema, old), Tree::parse_state(self.schema, new)) {
            (Ok(old), Ok(new)) => patch::between(&old, &new, excluded),
            // What was printed is read again; if not, all of it says the same.
            (Err(_), _) | (_, Err(_)) => Difference::All,
        }
    }

    /// The state of ietf-subscribed-notifications.
    pub(super) fn numbered_state(&self) -> Option<Element> {
        let entries: Vec<Element> = self
            .numbered
            .iter()
            .map(|(id, subscription)| {
                let counts = self.stream.counts(Key::Numbered(id)).unwrap_or_default();
                let receiver = vec![
                    Element::leaf("name", format!("session {}", subscription.caller.session)),
                    Element::leaf("sent-event-records", counts.sent + subscription.push.sent),
                    Element::leaf("excluded-event-records", counts.excluded),
                    Element::leaf("state", "active"),
                ];
                let mut children = vec![Element::leaf("id", id)];
                children.extend(subscription.policy.iter().cloned());
                children.push(Element::node("receivers", vec![Element::node("receiver", receiver)]));
                Element::node("subscription", children)
            })
            .collect();
        (!entries.is_empty()).then(|| Element::node("subscriptions", entries).in_module(MODULE))
    }
}

fn no_such(id: u32, tag: &str) -> Refusal {
    Refusal::new(Kind::InvalidValue, format!("this session has no such subscription {id}")).tagged(tag)
}

fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(earlier)).unwrap_or_default()
}

/// RFC 8641 section 3.4.2: updates are whole periods away from the anchor.
fn until_period(period: Duration, anchor: Timestamp, now: Timestamp) -> Duration {
    let period_ms = i128::try_from(period.as_millis()).unwrap_or(i128::MAX).max(1);
    let gone = (i128::from(now.as_millisecond()) - i128::from(anchor.as_millisecond())).rem_euclid(period_ms);
    Duration::from_millis(u64::try_from(period_ms - gone).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_whole_periods_away_from_their_anchor() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let wait = |anchor, now| until_period(Duration::from_secs(10), at(anchor), at(now)).as_millis();
        assert_eq!(wait(5_000, 12_000), 3_000);
        assert_eq!(wait(5_000, 15_000), 10_000);
        assert_eq!(wait(95_000, 12_000), 3_000);
    }
}
