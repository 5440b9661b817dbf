//! The list of alarms: one entry per resource and type, with the changes of each and what operators did about it. Values
//! in, values out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::profile::Profile;
use super::record::Record;
use super::shelf::Shelf;
use super::types::{AlarmType, Severity};

/// Alarms that are kept; the one that has been over for longest makes room.
pub const ALARMS_MAX: usize = 10_000;
/// Of those, alarms that other programs have reported.
pub const REPORTED_MAX: usize = 1000;
/// Changes of an alarm that are kept where the configuration says without end.
pub const CHANGES_MAX: usize = 1000;
/// Changes of all alarms together; beyond, each keeps its latest.
pub const CHANGES_OF_ALL_MAX: usize = 20_000;
/// What operators did about one alarm.
pub const OPERATED_MAX: usize = 32;
/// A longer text is cut off.
pub const TEXT_CHARS_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// What the alarm is about: `process web`.
    pub resource: String,
    pub alarm_type: AlarmType,
    /// What another program calls it; empty with types of our own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub qualifier: String,
}

impl Key {
    pub fn new(resource: impl Into<String>, alarm_type: AlarmType) -> Self {
        Self { resource: resource.into(), alarm_type, qualifier: String::new() }
    }
}

/// Something is wrong, or is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub key: Key,
    pub is_raised: bool,
    pub text: String,
    /// As whoever reports it finds; else that of its type.
    pub severity: Option<Severity>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub at: Timestamp,
    /// `None` says that it was cleared.
    pub severity: Option<Severity>,
    pub text: String,
}

/// How far people are with an alarm, or the shelf it lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorState {
    None,
    Ack,
    Closed,
    Shelved,
    UnShelved,
}

impl OperatorState {
    pub const ALL: [Self; 5] = [Self::None, Self::Ack, Self::Closed, Self::Shelved, Self::UnShelved];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ack => "ack",
            Self::Closed => "closed",
            Self::Shelved => "shelved",
            Self::UnShelved => "un-shelved",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operated {
    pub at: Timestamp,
    pub operator: String,
    pub state: OperatorState,
    pub text: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    pub created: Timestamp,
    pub last_raised: Timestamp,
    /// The last one it had: what changes are forgotten does not take it away.
    pub severity: Severity,
    /// As reported, whatever a profile has made of it.
    #[serde(default)]
    pub reported: Option<Severity>,
    /// Latest first; the first is what is now.
    pub changes: VecDeque<Change>,
    /// Latest first.
    pub operated: VecDeque<Operated>,
    pub shelf: Option<String>,
}

impl Alarm {
    pub fn is_cleared(&self) -> bool {
        self.changes.front().is_none_or(|change| change.severity.is_none())
    }

    pub fn last_changed(&self) -> Timestamp {
        self.changes.front().map_or(self.created, |change| change.at)
    }

    pub fn is_closed(&self) -> bool {
        self.operated.front().is_some_and(|operated| operated.state == OperatorState::Closed)
    }

    fn operate(&mut self, mut operated: Operated) -> Operated {
        operated.at = after(self.operated.front().map(|last| last.at), operated.at);
        self.operated.push_front(operated.clone());
        self.operated.truncate(OPERATED_MAX);
        operated
    }
}

/// Times tell the entries of a history apart.
fn after(last: Option<Timestamp>, at: Timestamp) -> Timestamp {
    match last {
        Some(last) if at <= last => last.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at),
        _ => at,
    }
}

/// Which changes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Notify {
    #[default]
    All,
    RaiseAndClear,
    /// Raised at this severity or above, and the clearing of those.
    From(Severity),
}

#[derive(Debug, Clone)]
pub struct Control {
    pub changes_max: usize,
    pub notify: Notify,
    /// In their order.
    pub shelves: Vec<Shelf>,
    /// In their order.
    pub profiles: Vec<Profile>,
}

impl Default for Control {
    fn default() -> Self {
        Self { changes_max: 32, notify: Notify::All, shelves: Vec::new(), profiles: Vec::new() }
    }
}

impl Control {
    fn shelf_of(&self, key: &Key) -> Option<&str> {
        self.shelves.iter().find(|shelf| shelf.takes(key)).map(|shelf| shelf.name.as_str())
    }

    fn severity_of(&self, key: &Key, reported: Option<Severity>) -> Severity {
        let assigned = self.profiles.iter().find(|profile| profile.fits(key)).map(|profile| profile.severity);
        assigned.or(reported).unwrap_or(key.alarm_type.severity())
    }
}

/// Which alarms to purge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    pub is_shelved: bool,
    /// Only those that are over, or only those that are not.
    pub is_cleared: Option<bool>,
    pub older_than: Option<Duration>,
    pub severity: Option<SeverityRule>,
    /// What was last done about it, and by whom.
    pub operator_state: Option<OperatorState>,
    pub operator: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeverityRule {
    Below(Severity),
    Is(Severity),
    Above(Severity),
}

/// The entries that are listed, or those that are shelved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Listed,
    Shelved,
}

#[derive(Debug, Default)]
pub struct Alarms {
    alarms: BTreeMap<Key, Alarm>,
    control: Control,
    last_changed: BTreeMap<Side, Timestamp>,
    changes: usize,
    /// What has happened since somebody last took it, to be written down.
    news: Vec<Record>,
}

impl Alarms {
    /// As they were when the records were written. They are not trimmed before it is known what is configured.
    pub fn recalled(records: impl IntoIterator<Item = Record>) -> Self {
        let control = Control { changes_max: CHANGES_MAX, ..Control::default() };
        let mut alarms = Self { control, ..Self::default() };
        for record in records {
            alarms.recall(record);
        }
        alarms
    }

    fn recall(&mut self, record: Record) {
        match record {
            Record::Whole { key, alarm } => {
                self.changes += alarm.changes.len();
                self.moved(&alarm, alarm.last_changed());
                if let Some(before) = self.alarms.insert(key, alarm) {
                    self.changes -= before.changes.len();
                }
            }
            Record::Changed { key, change, shelf, reported } => self.put(key, change, shelf, reported),
            Record::Operated { key, operated, shelf } => {
                if let Some(alarm) = self.alarms.get_mut(&key) {
                    alarm.shelf = shelf;
                    alarm.operate(operated);
                }
            }
            Record::Gone { keys } => keys.iter().for_each(|key| self.forget(key)),
            Record::Compressed { keys } => {
                let is_meant = |key: &Key| keys.contains(key);
                self.compress_all(is_meant);
            }
        }
    }

    pub fn news_waiting(&self) -> usize {
        self.news.len()
    }

    /// What has happened since the last time, for the journal.
    pub fn take_news(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.news)
    }

    /// All there is, in as few records as there can be.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.alarms.iter().map(|(key, alarm)| Record::Whole { key: key.clone(), alarm: alarm.clone() })
    }

    pub fn on(&self, side: Side) -> impl Iterator<Item = (&Key, &Alarm)> + Clone {
        self.alarms.iter().filter(move |(_, alarm)| alarm.shelf.is_some() == (side == Side::Shelved))
    }

    /// What is wrong now, shelved or not.
    pub fn standing(&self) -> impl Iterator<Item = (&Key, &Change)> {
        let raised = self.alarms.iter().filter(|(_, alarm)| !alarm.is_cleared());
        raised.filter_map(|(key, alarm)| Some((key, alarm.changes.front()?)))
    }

    /// What other programs call what they have reported.
    pub fn qualifiers(&self) -> BTreeSet<&str> {
        self.alarms
            .keys()
            .filter(|key| key.alarm_type == AlarmType::Reported)
            .map(|key| key.qualifier.as_str())
            .collect()
    }

    /// Whether a report of another program would be one entry too many.
    pub fn has_no_room_for(&self, key: &Key) -> bool {
        let reported = self.alarms.keys().filter(|key| key.alarm_type == AlarmType::Reported);
        !self.alarms.contains_key(key) && reported.count() >= REPORTED_MAX
    }

    pub fn last_changed(&self, side: Side) -> Option<Timestamp> {
        self.last_changed.get(&side).copied()
    }

    pub fn shelves(&self) -> &[Shelf] {
        &self.control.shelves
    }

    /// Every severity that an alarm of this type may have, from least to most.
    pub fn severities_of(&self, alarm_type: AlarmType) -> BTreeSet<Severity> {
        let assigned = self.control.profiles.iter().filter(|profile| profile.is_of(alarm_type));
        assigned.map(|profile| profile.severity).chain([alarm_type.severity()]).collect()
    }

    /// From now on; alarms go onto shelves and come back from them, and those that are raised get the severity that is
    /// assigned to them. The changes that are to be told.
    pub fn set_control(&mut self, control: Control, now: Timestamp) -> Vec<(Key, Change)> {
        self.control = control;
        let changes_max = self.changes_max();
        for (key, alarm) in &mut self.alarms {
            alarm.changes.truncate(changes_max);
            let shelf = self.control.shelf_of(key);
            if alarm.shelf.as_deref() == shelf {
                continue;
            }
            let (state, name) = match shelf {
                Some(name) => (OperatorState::Shelved, name.to_owned()),
                None => (OperatorState::UnShelved, alarm.shelf.clone().unwrap_or_default()),
            };
            alarm.shelf = shelf.map(str::to_owned);
            self.last_changed.extend([(Side::Listed, now), (Side::Shelved, now)]);
            let operated = alarm.operate(by_shelf(state, &name, now));
            self.news.push(Record::Operated { key: key.clone(), operated, shelf: alarm.shelf.clone() });
        }
        self.count();
        self.assign(now)
    }

    fn assign(&mut self, now: Timestamp) -> Vec<(Key, Change)> {
        let again = |(key, alarm): (&Key, &Alarm)| {
            let text = alarm.changes.front()?.text.clone();
            let report = Report { key: key.clone(), is_raised: true, text, severity: alarm.reported };
            (!alarm.is_cleared()).then_some(report)
        };
        let reports: Vec<Report> = self.alarms.iter().filter_map(again).collect();
        let told = reports.into_iter().filter_map(|report| Some((report.key.clone(), self.report(report, now)?)));
        told.collect()
    }

    /// Takes a report in; the change that came of it, if it is to be told.
    pub fn report(&mut self, report: Report, at: Timestamp) -> Option<Change> {
        let Report { key, is_raised, text, severity: reported } = report;
        let severity = is_raised.then(|| self.control.severity_of(&key, reported));
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        let known = self.alarms.get(&key);
        let was_cleared = known.is_none_or(Alarm::is_cleared);
        let before = known.map(|alarm| alarm.severity);
        let is_same = || {
            known
                .and_then(|alarm| alarm.changes.front())
                .is_some_and(|last| last.severity == severity && last.text == text)
        };
        // Who starts anew tells again what he finds.
        if !is_raised && was_cleared || is_raised && !was_cleared && is_same() {
            return None;
        }
        let change = Change { at: after(known.map(Alarm::last_changed), at), severity, text };
        let shelf = match known {
            Some(alarm) => alarm.shelf.clone(),
            None => self.control.shelf_of(&key).map(str::to_owned),
        };
        if known.is_none() {
            self.make_room();
        }
        self.put(key.clone(), change.clone(), shelf.clone(), reported);
        self.news.push(Record::Changed { key, change: change.clone(), shelf: shelf.clone(), reported });
        let is_told = match self.control.notify {
            _ if shelf.is_some() => false,
            Notify::All => true,
            Notify::RaiseAndClear => is_raised == was_cleared,
            Notify::From(least) => severity.or(before).is_some_and(|severity| severity >= least),
        };
        is_told.then_some(change)
    }

    fn put(&mut self, key: Key, change: Change, shelf: Option<String>, reported: Option<Severity>) {
        let at = change.at;
        let severity = change.severity.unwrap_or(key.alarm_type.severity());
        let alarm = self.alarms.entry(key).or_insert_with(|| {
            let operated = shelf.iter().map(|name| by_shelf(OperatorState::Shelved, name, at)).collect();
            Alarm { created: at, last_raised: at, severity, reported, changes: VecDeque::new(), operated, shelf }
        });
        if change.severity.is_some() {
            (alarm.severity, alarm.reported) = (severity, reported);
            if alarm.is_cleared() {
                alarm.last_raised = at;
            }
        }
        alarm.changes.push_front(change);
        self.changes += 1;
        let surplus = alarm.changes.len().saturating_sub(self.control.changes_max.clamp(1, CHANGES_MAX));
        alarm.changes.truncate(alarm.changes.len() - surplus);
        self.changes -= surplus;
        let side = if alarm.shelf.is_some() { Side::Shelved } else { Side::Listed };
        self.last_changed.insert(side, at);
        if self.changes > CHANGES_OF_ALL_MAX {
            // To half of it, so that this is rarely done.
            let each = (CHANGES_OF_ALL_MAX / 2 / self.alarms.len().max(1)).max(1);
            self.alarms.values_mut().for_each(|alarm| alarm.changes.truncate(each));
            self.count();
        }
    }

    fn changes_max(&self) -> usize {
        self.control.changes_max.clamp(1, CHANGES_MAX)
    }

    fn count(&mut self) {
        self.changes = self.alarms.values().map(|alarm| alarm.changes.len()).sum();
    }

    fn make_room(&mut self) {
        while self.alarms.len() >= ALARMS_MAX {
            let oldest = self
                .alarms
                .iter()
                .min_by_key(|(_, alarm)| (!alarm.is_cleared(), alarm.last_changed()))
                .map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.forget(&oldest);
            self.news.push(Record::Gone { keys: vec![oldest] });
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(alarm) = self.alarms.remove(key) {
            self.changes -= alarm.changes.len();
        }
    }

    fn moved(&mut self, alarm: &Alarm, at: Timestamp) {
        let side = if alarm.shelf.is_some() { Side::Shelved } else { Side::Listed };
        let last = self.last_changed.entry(side).or_insert(at);
        *last = at.max(*last);
    }

    /// What an operator says of an alarm that is listed; `None` where there is none.
    pub fn operate(&mut self, key: &Key, operated: Operated) -> Option<Operated> {
        let alarm = self.alarms.get_mut(key).filter(|alarm| alarm.shelf.is_none())?;
        let text = operated.text.map(|text| text.chars().take(TEXT_CHARS_MAX).collect());
        let operated = alarm.operate(Operated { text, ..operated });
        self.last_changed.insert(Side::Listed, operated.at);
        self.news.push(Record::Operated { key: key.clone(), operated: operated.clone(), shelf: None });
        Some(operated)
    }

    /// Forgets the alarms that fit; how many.
    pub fn purge(&mut self, selection: &Selection, now: Timestamp) -> usize {
        let fitting = self.alarms.iter().filter(|(_, alarm)| selection.fits(alarm, now));
        let keys: Vec<Key> = fitting.map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.forget(key));
        let count = keys.len();
        if count > 0 {
            let side = if selection.is_shelved { Side::Shelved } else { Side::Listed };
            self.last_changed.insert(side, now);
            self.news.push(Record::Gone { keys });
        }
        count
    }

    /// Forgets all but the last change of the alarms that fit; of how many.
    pub fn compress(&mut self, side: Side, fits: impl Fn(&Key) -> bool) -> usize {
        let long = self.on(side).filter(|(key, alarm)| fits(key) && alarm.changes.len() > 1);
        let keys: Vec<Key> = long.map(|(key, _)| key.clone()).collect();
        self.compress_all(|key| keys.binary_search(key).is_ok());
        let count = keys.len();
        if count > 0 {
            self.news.push(Record::Compressed { keys });
        }
        count
    }

    fn compress_all(&mut self, is_meant: impl Fn(&Key) -> bool) {
        let meant = self.alarms.iter_mut().filter(|(key, _)| is_meant(key));
        meant.for_each(|(_, alarm)| alarm.changes.truncate(1));
        self.count();
    }
}

fn by_shelf(state: OperatorState, shelf: &str, at: Timestamp) -> Operated {
    Operated { at, operator: "alarm-shelving".to_owned(), state, text: Some(format!("shelf {shelf}")) }
}

impl Selection {
    fn fits(&self, alarm: &Alarm, now: Timestamp) -> bool {
        let is_old = |least: Duration| {
            SignedDuration::try_from(least).is_ok_and(|least| now.duration_since(alarm.last_changed()) > least)
        };
        let severity = alarm.severity;
        let last = alarm.operated.front();
        let state = last.map_or(OperatorState::None, |operated| operated.state);
        alarm.shelf.is_some() == self.is_shelved
            && self.is_cleared.is_none_or(|wanted| alarm.is_cleared() == wanted)
            && self.older_than.is_none_or(is_old)
            && self.severity.is_none_or(|rule| match rule {
                SeverityRule::Below(limit) => severity < limit,
                SeverityRule::Is(limit) => severity == limit,
                SeverityRule::Above(limit) => severity > limit,
            })
            && self.operator_state.is_none_or(|wanted| state == wanted)
            && self.operator.as_ref().is_none_or(|wanted| last.is_some_and(|operated| operated.operator == *wanted))
    }
}

#[cfg(test)]
mod tests;
