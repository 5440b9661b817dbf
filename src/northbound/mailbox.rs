//! What waits to be sent to one subscriber: bounded, and where something is lost, a mark says how much.
//!
//! ```text
//!  northbound --live, if there is room--> e e e [3 lost] e e --next--> front end
//!             --of the past, always-----> (the log is bounded itself)
//! ```
//! The northbound never waits for a subscriber; a subscriber that does not read costs its own bound and no more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;

/// Live notifications that wait for one subscriber.
pub const WAITING_MAX: usize = 1000;

/// Bytes of live notifications that wait for one subscriber; a single one may be larger.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;

const OURS: &str = "urn:procyon:notifications";

/// One notification, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// RFC 5277 eventTime.
    pub at: Timestamp,
    /// Its name in the schema, for access control.
    pub module: String,
    pub name: String,
    /// The notification element as compact XML.
    pub body: Bytes,
}

impl Notice {
    /// A notification without content.
    pub(super) fn bare(at: Timestamp, module: &str, name: &str, namespace: &str) -> Arc<Self> {
        let body = format!("<{name} xmlns=\"{namespace}\"/>").into();
        Arc::new(Self { at, module: module.to_owned(), name: name.to_owned(), body })
    }

    pub fn time(&self) -> String {
        time(self.at)
    }
}

/// RFC 3339, to the microsecond: always as long, so that texts sort as times do.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// One subscriber's mailbox: the northbound holds one end, the front end the other.
#[derive(Debug, Clone, Default)]
pub struct Mailbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Notify,
}

impl Mailbox {
    /// The next notification, once there is one. May be dropped at any time without losing any.
    pub async fn next(&self) -> Arc<Notice> {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some(notice) = self.queue().pop() {
                return notice;
            }
            arrived.await;
        }
    }

    /// A live notification: lost, and counted, where there is no room.
    pub fn put(&self, notice: Arc<Notice>) {
        self.queue().put(notice);
        self.0.arrived.notify_one();
    }

    /// Whether a live notification would find room now.
    pub fn has_room(&self) -> bool {
        let queue = self.queue();
        queue.live < WAITING_MAX && queue.live_bytes < WAITING_BYTES_MAX
    }

    /// One of the past, or the end of it: the log bounds how many there are.
    pub fn put_past(&self, notice: Arc<Notice>) {
        self.queue().items.push_back(Item::Past(notice));
        self.0.arrived.notify_one();
    }

    /// A live notification of this time was lost before it came here.
    pub fn lose(&self, at: Timestamp) {
        self.queue().lose(at);
        self.0.arrived.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    live: usize,
    live_bytes: usize,
}

#[derive(Debug)]
enum Item {
    Past(Arc<Notice>),
    Live(Arc<Notice>),
    Gap { count: u64, first: Timestamp, last: Timestamp },
}

impl Queue {
    fn put(&mut self, notice: Arc<Notice>) {
        let is_full = self.live >= WAITING_MAX
            || (self.live > 0 && self.live_bytes.saturating_add(notice.body.len()) > WAITING_BYTES_MAX);
        if !is_full {
            self.live += 1;
            self.live_bytes += notice.body.len();
            return self.items.push_back(Item::Live(notice));
        }
        self.lose(notice.at);
    }

    fn lose(&mut self, at: Timestamp) {
        match self.items.back_mut() {
            Some(Item::Gap { count, last, .. }) => {
                *count += 1;
                *last = at;
            }
            // A gap comes behind a notification that waits, so there are never more gaps than those.
            Some(Item::Past(_) | Item::Live(_)) | None => {
                self.items.push_back(Item::Gap { count: 1, first: at, last: at });
            }
        }
    }

    fn pop(&mut self) -> Option<Arc<Notice>> {
        Some(match self.items.pop_front()? {
            Item::Past(notice) => notice,
            Item::Live(notice) => {
                self.live -= 1;
                self.live_bytes -= notice.body.len();
                notice
            }
            Item::Gap { count, first, last } => gap(count, first, last),
        })
    }
}

fn gap(count: u64, first: Timestamp, last: Timestamp) -> Arc<Notice> {
    let body = format!(
        "<events-lost xmlns=\"{OURS}\"><count>{count}</count><first-time>{}</first-time><last-time>{}</last-time></events-lost>",
        time(first),
        time(last)
    );
    let (module, name) = ("procyon-notifications".to_owned(), "events-lost".to_owned());
    Arc::new(Notice { at: last, module, name, body: body.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notice(second: i64, bytes: usize) -> Arc<Notice> {
        Arc::new(Notice {
            at: Timestamp::from_second(second).unwrap(),
            module: "m".to_owned(),
            name: "n".to_owned(),
            body: "x".repeat(bytes).into(),
        })
    }

    #[test]
    fn what_does_not_fit_is_counted_in_its_place() {
        let mut queue = Queue::default();
        let events = i64::try_from(WAITING_MAX).unwrap() + 3;
        for second in 0..events {
            queue.put(notice(second, 1));
        }
        assert_eq!(queue.pop().unwrap().at.as_second(), 0);
        queue.put(notice(events, 1));
        for second in 1..events - 3 {
            assert_eq!(queue.pop().unwrap().at.as_second(), second);
        }
        let gap = queue.pop().unwrap();
        insta::assert_snapshot!(String::from_utf8_lossy(&gap.body), @r#"<events-lost xmlns="urn:procyon:notifications"><count>3</count><first-time>1970-01-01T00:16:40.000000Z</first-time><last-time>1970-01-01T00:16:42.000000Z</last-time></events-lost>"#);
        assert_eq!(queue.pop().unwrap().at.as_second(), events);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn one_notification_may_be_larger_than_the_bound_and_the_past_does_not_count() {
        let mut queue = Queue::default();
        queue.put(notice(0, 2 * WAITING_BYTES_MAX));
        queue.put(notice(1, 1));
        queue.items.extend((0..WAITING_MAX + 1).map(|_| Item::Past(notice(2, 1))));
        assert_eq!(queue.pop().unwrap().body.len(), 2 * WAITING_BYTES_MAX);
        queue.put(notice(3, 1));
        assert_eq!((queue.live, queue.live_bytes), (1, 1));
    }

    proptest! {
        #[test]
        fn every_event_is_delivered_or_counted(steps in prop::collection::vec((0_usize..700, 0_usize..300), 1..20)) {
            let mut queue = Queue::default();
            let (mut put, mut seen) = (0, 0);
            let mut take = |queue: &mut Queue| {
                let taken = queue.pop()?;
                let text = String::from_utf8_lossy(&taken.body).into_owned();
                let counted = text.split_once("<count>").and_then(|(_, rest)| rest.split_once('<'));
                seen += counted.map_or(1, |(count, _)| count.parse::<u64>().unwrap());
                Some(())
            };
            for (puts, pops) in steps {
                for _ in 0..puts {
                    queue.put(notice(i64::try_from(put).unwrap(), 1));
                    put += 1;
                }
                for _ in 0..pops {
                    take(&mut queue);
                }
            }
            while take(&mut queue).is_some() {}
            prop_assert_eq!(seen, put);
            prop_assert_eq!((queue.live, queue.live_bytes), (0, 0));
        }
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let mailbox = Mailbox::default();
        let reader = mailbox.clone();
        let reading = tokio::spawn(async move { (reader.next().await.at, reader.next().await.at) });
        mailbox.put(notice(1, 1));
        mailbox.put_past(notice(2, 1));
        let (first, second) = reading.await.unwrap();
        assert_eq!((first.as_second(), second.as_second()), (1, 2));
    }
}
