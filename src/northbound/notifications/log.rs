//! The events that can be told again: an index in memory, bounded, and the lines from which a restart makes it anew.
//!
//! Sessions come and go by the thousand; their events have a bound of their own, so that they drive out nothing but
//! each other. Must not know: subscribers, where the lines are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use crate::northbound::mailbox::{Notice, time};

/// Events about sessions that are kept.
pub const SESSION_EVENTS_MAX: usize = 1000;
/// All other events that are kept.
pub const EVENTS_MAX: usize = 4000;
/// Bytes of those.
pub const BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of lines after which the file is written anew with what still counts.
pub const REWRITE_BYTES: usize = 4 * 1024 * 1024;
/// A file with room for that, for the lines before it and for those behind it in the queue.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub struct EventLog {
    created: Timestamp,
    /// The time of the latest event that was let go.
    aged: Option<Timestamp>,
    last: u64,
    about_sessions: VecDeque<(u64, Arc<Notice>)>,
    others: VecDeque<(u64, Arc<Notice>)>,
    bytes: usize,
}

impl EventLog {
    pub fn new(created: Timestamp) -> Self {
        Self { created, aged: None, last: 0, about_sessions: VecDeque::new(), others: VecDeque::new(), bytes: 0 }
    }

    /// From the lines of a file. What is not understood is left out and counted.
    pub fn read(lines: &[String], now: Timestamp) -> (Self, usize) {
        let mut log = Self::new(now);
        let mut unknown = 0;
        for line in lines {
            let mut words = line.splitn(4, ' ');
            let (kind, at) = (words.next(), words.next().and_then(|text| text.parse::<Timestamp>().ok()));
            match (kind, at, words.next(), words.next()) {
                (Some("log"), Some(created), Some(aged), None) => {
                    log.created = created;
                    log.aged = aged.parse().ok();
                }
                (Some("event"), Some(at), Some(name), Some(body)) if name.contains(':') => {
                    let (module, name) = name.split_once(':').unwrap_or_default();
                    let body = body.to_owned().into();
                    log.add(Arc::new(Notice { at, module: module.to_owned(), name: name.to_owned(), body }));
                }
                _ => unknown += 1,
            }
        }
        (log, unknown)
    }

    pub fn created(&self) -> Timestamp {
        self.created
    }

    pub fn aged(&self) -> Option<Timestamp> {
        self.aged
    }

    pub fn add(&mut self, notice: Arc<Notice>) {
        self.last += 1;
        if is_about_sessions(&notice) {
            self.about_sessions.push_back((self.last, notice));
            if self.about_sessions.len() > SESSION_EVENTS_MAX {
                let gone = self.about_sessions.pop_front();
                self.let_go(gone);
            }
            return;
        }
        self.bytes += notice.body.len();
        self.others.push_back((self.last, notice));
        while self.others.len() > EVENTS_MAX || (self.bytes > BYTES_MAX && self.others.len() > 1) {
            let gone = self.others.pop_front();
            self.bytes -= gone.as_ref().map_or(0, |(_, notice)| notice.body.len());
            self.let_go(gone);
        }
    }

    fn let_go(&mut self, gone: Option<(u64, Arc<Notice>)>) {
        self.aged = self.aged.max(gone.map(|(_, notice)| notice.at));
    }

    /// What is kept of the time from `start` on, in the order in which it happened.
    pub fn since(&self, start: Timestamp) -> VecDeque<Arc<Notice>> {
        self.all().filter(|notice| notice.at >= start).cloned().collect()
    }

    /// The lines that say all this.
    pub fn lines(&self) -> Vec<String> {
        let aged = self.aged.map_or_else(|| "-".to_owned(), time);
        let head = format!("log {} {aged}", time(self.created));
        std::iter::once(head).chain(self.all().map(|notice| line(notice))).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Notice>> {
        let mut sessions = self.about_sessions.iter().peekable();
        let mut others = self.others.iter().peekable();
        std::iter::from_fn(move || {
            let next = match (sessions.peek(), others.peek()) {
                (Some((session, _)), Some((other, _))) if session < other => sessions.next(),
                (Some(_), None) => sessions.next(),
                (_, Some(_)) => others.next(),
                (None, None) => None,
            };
            next.map(|(_, notice)| notice)
        })
    }
}

/// The line of one event.
pub fn line(notice: &Notice) -> String {
    let body = String::from_utf8_lossy(&notice.body);
    format!("event {} {}:{} {body}", notice.time(), notice.module, notice.name)
}

fn is_about_sessions(notice: &Notice) -> bool {
    notice.module == "ietf-netconf-notifications" && notice.name.starts_with("netconf-session-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(second: i64, name: &str, body: &str) -> Arc<Notice> {
        let (at, module) = (Timestamp::from_second(second).unwrap(), "ietf-netconf-notifications".to_owned());
        Arc::new(Notice { at, module, name: name.to_owned(), body: body.to_owned().into() })
    }

    fn seconds(log: &EventLog, from: i64) -> Vec<i64> {
        log.since(Timestamp::from_second(from).unwrap()).iter().map(|notice| notice.at.as_second()).collect()
    }

    #[test]
    fn a_log_is_the_same_after_a_restart() {
        let mut log = EventLog::new(Timestamp::from_second(100).unwrap());
        log.add(notice(101, "netconf-session-start", "<a xmlns=\"urn:x\">two words\nand a line</a>"));
        log.add(notice(102, "netconf-config-change", "<b/>"));
        log.add(notice(103, "netconf-session-end", "<c/>"));
        log.aged = Some(Timestamp::from_second(99).unwrap());
        let (again, unknown) = EventLog::read(&log.lines(), Timestamp::from_second(900).unwrap());
        assert_eq!((again.lines(), unknown), (log.lines(), 0));
        assert_eq!((again.created(), again.aged()), (log.created(), log.aged()));
        assert_eq!(seconds(&again, 102), [102, 103]);
    }

    #[test]
    fn lines_that_are_not_understood_are_left_out_and_counted() {
        let lines = ["event x y:z <a/>", "event 2026-11-21T08:00:00Z yz <a/>", "rest", ""].map(str::to_owned);
        let (log, unknown) = EventLog::read(&lines, Timestamp::UNIX_EPOCH);
        assert_eq!((log.lines().len(), unknown), (1, 4));
    }

    #[test]
    fn sessions_drive_out_sessions_only() {
        let mut log = EventLog::new(Timestamp::UNIX_EPOCH);
        log.add(notice(1, "netconf-config-change", "<a/>"));
        let count = i64::try_from(SESSION_EVENTS_MAX).unwrap();
        for second in 2..count + 4 {
            log.add(notice(second, "netconf-session-start", "<b/>"));
        }
        let kept = seconds(&log, 0);
        assert_eq!((kept.len(), kept[0], kept[1]), (SESSION_EVENTS_MAX + 1, 1, 4));
        assert_eq!(log.aged(), Some(Timestamp::from_second(3).unwrap()));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes_but_the_newest_stays() {
        let mut log = EventLog::new(Timestamp::UNIX_EPOCH);
        log.add(notice(1, "n", "<a/>"));
        log.add(notice(2, "n", &"x".repeat(BYTES_MAX)));
        assert_eq!(seconds(&log, 0), [2]);
        log.add(notice(3, "n", &"x".repeat(BYTES_MAX + 1)));
        log.add(notice(4, "n", "<a/>"));
        assert_eq!((seconds(&log, 0), log.bytes), (vec![4], 4));
        for second in 5..10_000 {
            log.add(notice(second, "n", ""));
        }
        assert_eq!(seconds(&log, 0).len(), EVENTS_MAX);
    }
}
