//! Hands the log's lines to whoever keeps them, and never waits: what found no room is made good by writing all anew.
//!
//! Must not know: files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::log::{EventLog, REWRITE_BYTES};

/// Orders that wait to be carried out.
pub const ORDERS_WAITING_MAX: usize = 1024;

/// Events between two attempts to write all anew, so that a disk that is full is not tried at every event.
const REWRITE_EVENTS: usize = 100;

#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Append(String),
    /// In the place of everything that was kept.
    Rewrite(Vec<String>),
}

/// The end of whoever keeps the lines.
#[derive(Debug)]
pub struct Desk {
    pub orders: mpsc::Receiver<Order>,
    /// To be set when an order could not be carried out.
    pub is_in_trouble: Arc<AtomicBool>,
}

#[derive(Debug)]
pub struct Scribe {
    orders: mpsc::Sender<Order>,
    is_in_trouble: Arc<AtomicBool>,
    bytes: usize,
    /// What is kept lacks something.
    is_behind: bool,
    until_attempt: usize,
}

impl Scribe {
    /// `lines` as they were read; where some are to be had no more, or none were there, all is written anew.
    pub fn new(lines: &[String], is_sound: bool) -> (Self, Desk) {
        let (orders, receiver) = mpsc::channel(ORDERS_WAITING_MAX);
        let is_in_trouble = Arc::new(AtomicBool::new(false));
        let is_behind = lines.is_empty() || !is_sound;
        let scribe = Self {
            orders,
            is_in_trouble: Arc::clone(&is_in_trouble),
            bytes: bytes(lines),
            is_behind,
            until_attempt: 0,
        };
        (scribe, Desk { orders: receiver, is_in_trouble })
    }

    /// Keeps one more line, which `log` holds already.
    pub fn keep(&mut self, line: String, log: &EventLog) {
        self.is_behind |= self.is_in_trouble.swap(false, Ordering::Relaxed);
        if self.is_behind || self.bytes > REWRITE_BYTES {
            if self.until_attempt == 0 {
                return self.make_good(log);
            }
            self.until_attempt -= 1;
            self.is_behind = true;
            return;
        }
        self.bytes += line.len();
        self.is_behind = self.orders.try_send(Order::Append(line)).is_err();
    }

    /// Writes all anew where something is lacking.
    pub fn finish(&mut self, log: &EventLog) {
        self.is_behind |= self.is_in_trouble.swap(false, Ordering::Relaxed);
        if self.is_behind {
            self.make_good(log);
        }
    }

    fn make_good(&mut self, log: &EventLog) {
        let lines = log.lines();
        let size = bytes(&lines);
        self.is_behind = self.orders.try_send(Order::Rewrite(lines)).is_err();
        self.until_attempt = REWRITE_EVENTS;
        if !self.is_behind {
            self.bytes = size;
        }
    }
}

fn bytes(lines: &[String]) -> usize {
    lines.iter().map(String::len).sum()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_new_log_is_written_whole_and_then_line_by_line() {
        let log = EventLog::new(Timestamp::UNIX_EPOCH);
        let (mut scribe, mut desk) = Scribe::new(&[], true);
        scribe.keep("one".to_owned(), &log);
        scribe.keep("two".to_owned(), &log);
        assert_eq!(desk.orders.try_recv(), Ok(Order::Rewrite(log.lines())));
        assert_eq!(desk.orders.try_recv(), Ok(Order::Append("two".to_owned())));
    }

    #[test]
    fn what_found_no_room_is_made_good_when_there_is_some() {
        let log = EventLog::new(Timestamp::UNIX_EPOCH);
        let (mut scribe, mut desk) = Scribe::new(&["log".to_owned()], true);
        for _ in 0..ORDERS_WAITING_MAX + 2 {
            scribe.keep("line".to_owned(), &log);
        }
        while desk.orders.try_recv().is_ok() {}
        for _ in 0..REWRITE_EVENTS {
            scribe.keep("line".to_owned(), &log);
        }
        assert!(desk.orders.try_recv().is_err(), "too early for another attempt");
        scribe.keep("line".to_owned(), &log);
        assert_eq!(desk.orders.try_recv(), Ok(Order::Rewrite(log.lines())));
    }

    #[test]
    fn trouble_and_a_large_file_end_in_a_new_one() {
        let log = EventLog::new(Timestamp::UNIX_EPOCH);
        let (mut scribe, mut desk) = Scribe::new(&["log".to_owned()], true);
        desk.is_in_trouble.store(true, Ordering::Relaxed);
        scribe.keep("one".to_owned(), &log);
        assert!(matches!(desk.orders.try_recv(), Ok(Order::Rewrite(_))));
        let (mut scribe, mut desk) = Scribe::new(&["x".repeat(REWRITE_BYTES + 1)], true);
        scribe.keep("one".to_owned(), &log);
        assert!(matches!(desk.orders.try_recv(), Ok(Order::Rewrite(_))));
        scribe.finish(&log);
        assert!(desk.orders.try_recv().is_err());
    }
}
