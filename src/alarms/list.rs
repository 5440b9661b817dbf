//! The list of alarms: one entry per resource and type, with the changes of each and what operators did about it. Values
//! in, values out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::shelf::Shelf;
use super::types::{AlarmType, Severity};

/// Alarms that are kept; the one that has been over for longest makes room.
pub const ALARMS_MAX: usize = 10_000;
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
}

/// Something is wrong, or is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub key: Key,
    pub is_raised: bool,
    pub text: String,
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
}

impl Default for Control {
    fn default() -> Self {
        Self { changes_max: 32, notify: Notify::All, shelves: Vec::new() }
    }
}

impl Control {
    fn shelf_of(&self, key: &Key) -> Option<&str> {
        self.shelves.iter().find(|shelf| shelf.takes(key)).map(|shelf| shelf.name.as_str())
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
            Record::Changed { key, change, shelf } => self.put(key, change, shelf),
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

    pub fn last_changed(&self, side: Side) -> Option<Timestamp> {
        self.last_changed.get(&side).copied()
    }

    pub fn shelves(&self) -> &[Shelf] {
        &self.control.shelves
    }

    /// From now on; alarms go onto shelves and come back from them.
    pub fn set_control(&mut self, control: Control, now: Timestamp) {
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
    }

    /// Takes a report in; the change that came of it, if it is to be told.
    pub fn report(&mut self, report: Report, at: Timestamp) -> Option<Change> {
        let Report { key, is_raised, text } = report;
        let severity = is_raised.then(|| key.alarm_type.severity());
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
        self.put(key.clone(), change.clone(), shelf.clone());
        self.news.push(Record::Changed { key, change: change.clone(), shelf: shelf.clone() });
        let is_told = match self.control.notify {
            _ if shelf.is_some() => false,
            Notify::All => true,
            Notify::RaiseAndClear => is_raised == was_cleared,
            Notify::From(least) => severity.or(before).is_some_and(|severity| severity >= least),
        };
        is_told.then_some(change)
    }

    fn put(&mut self, key: Key, change: Change, shelf: Option<String>) {
        let at = change.at;
        let severity = change.severity.unwrap_or(key.alarm_type.severity());
        let alarm = self.alarms.entry(key).or_insert_with(|| {
            let operated = shelf.iter().map(|name| by_shelf(OperatorState::Shelved, name, at)).collect();
            Alarm { created: at, last_raised: at, severity, changes: VecDeque::new(), operated, shelf }
        });
        if change.severity.is_some() {
            alarm.severity = severity;
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
mod tests {
    use super::*;
    use crate::yang::value::Element;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn key(resource: &str, alarm_type: AlarmType) -> Key {
        Key { resource: resource.into(), alarm_type }
    }

    fn report(resource: &str, alarm_type: AlarmType, is_raised: bool) -> Report {
        Report { key: key(resource, alarm_type), is_raised, text: format!("{is_raised}") }
    }

    fn shelves(rules: &[(&str, &str)]) -> Control {
        let read = |(name, rule): &(&str, &str)| {
            let leaves = vec![Element::leaf("name", name), Element::leaf("resource", rule)];
            Shelf::read(&Element::node("shelf", leaves)).unwrap()
        };
        Control { shelves: rules.iter().map(read).collect(), ..Control::default() }
    }

    fn listed(alarms: &Alarms, side: Side) -> Vec<&str> {
        alarms.on(side).map(|(key, _)| key.resource.as_str()).collect()
    }

    const FAILED: AlarmType = AlarmType::ProcessFailed;

    #[test]
    fn an_alarm_is_one_entry_however_often_it_comes_and_goes() {
        let mut alarms = Alarms::default();
        assert!(alarms.report(report("a", FAILED, false), at(0)).is_none(), "what is not there is not cleared");
        for second in 1..4 {
            assert!(alarms.report(report("a", FAILED, true), at(second)).is_some());
            assert!(alarms.report(report("a", FAILED, true), at(second)).is_none(), "said already");
            assert!(alarms.report(report("a", FAILED, false), at(second)).is_some());
        }
        let (_, alarm) = alarms.on(Side::Listed).next().unwrap();
        assert_eq!((alarms.on(Side::Listed).count(), alarm.is_cleared(), alarm.changes.len()), (1, true, 6));
        assert_eq!((alarm.created, alarm.severity), (at(1), Severity::Critical));
        let times: Vec<Timestamp> = alarm.changes.iter().map(|change| change.at).collect();
        assert!(times.is_sorted_by(|later, earlier| later > earlier), "times tell changes apart");
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let told = |notify, reports: &[(AlarmType, bool, &str)]| {
            let mut alarms = Alarms::default();
            alarms.set_control(Control { changes_max: 2, notify, shelves: Vec::new() }, at(0));
            let reports = reports.iter().enumerate();
            let told = reports.filter(|(second, (alarm_type, is_raised, text))| {
                let second = i64::try_from(*second).unwrap();
                let report = Report { key: key("a", *alarm_type), is_raised: *is_raised, text: (*text).into() };
                alarms.report(report, at(second)).is_some()
            });
            told.count()
        };
        let story =
            [(FAILED, true, "x"), (FAILED, true, "y"), (FAILED, false, "z"), (AlarmType::ProcessRestarted, true, "x")];
        assert_eq!(told(Notify::All, &story), 4);
        assert_eq!(told(Notify::RaiseAndClear, &story), 3);
        assert_eq!(told(Notify::From(Severity::Major), &story), 3);
    }

    #[test]
    fn what_fits_is_purged_or_compressed() {
        let mut alarms = Alarms::default();
        for (resource, alarm_type) in [("a", FAILED), ("b", AlarmType::ProcessRestarted), ("c", FAILED)] {
            alarms.report(report(resource, alarm_type, true), at(0));
        }
        alarms.report(report("c", FAILED, false), at(5));
        assert_eq!(alarms.compress(Side::Listed, |key| key.resource == "c"), 1);
        let (_, compressed) = alarms.on(Side::Listed).find(|(key, _)| key.resource == "c").unwrap();
        assert_eq!((compressed.is_cleared(), compressed.severity), (true, Severity::Critical));
        let purge = |alarms: &mut Alarms, selection: Selection| alarms.purge(&selection, at(10));
        let over = Selection { is_cleared: Some(true), ..Selection::default() };
        let old = Selection { older_than: Some(Duration::from_secs(9)), ..over.clone() };
        assert_eq!(purge(&mut alarms, old), 0, "not that long ago");
        assert_eq!(purge(&mut alarms, over), 1);
        let below = Selection { severity: Some(SeverityRule::Below(Severity::Critical)), ..Selection::default() };
        assert_eq!(purge(&mut alarms, below), 1);
        assert_eq!(listed(&alarms, Side::Listed), ["a"]);
    }

    #[test]
    fn what_an_operator_has_closed_can_be_purged_as_such() {
        let mut alarms = Alarms::default();
        for resource in ["a", "b"] {
            alarms.report(report(resource, FAILED, true), at(0));
        }
        let closed = |operator: &str| Operated {
            at: at(0),
            operator: operator.to_owned(),
            state: OperatorState::Closed,
            text: Some("known".to_owned()),
        };
        assert!(alarms.operate(&key("a", FAILED), closed("ann")).is_some());
        assert_eq!(alarms.operate(&key("x", FAILED), closed("ann")), None, "there is no such alarm");
        let selected = |operator: &str| Selection {
            operator_state: Some(OperatorState::Closed),
            operator: Some(operator.to_owned()),
            ..Selection::default()
        };
        assert_eq!(alarms.purge(&selected("bob"), at(1)), 0);
        assert_eq!(alarms.purge(&selected("ann"), at(1)), 1);
        assert_eq!(listed(&alarms, Side::Listed), ["b"]);
    }

    #[test]
    fn an_alarm_goes_onto_the_first_shelf_that_takes_it_and_comes_back() {
        let mut alarms = Alarms::default();
        alarms.report(report("process a", FAILED, true), at(0));
        alarms.set_control(shelves(&[("first", "process a"), ("second", "process .*")]), at(1));
        assert!(alarms.report(report("process b", FAILED, true), at(2)).is_none(), "what is shelved is not told");
        assert!(alarms.report(report("process a", FAILED, false), at(3)).is_none());
        let on: Vec<_> = alarms.on(Side::Shelved).map(|(_, alarm)| alarm.shelf.clone().unwrap()).collect();
        assert_eq!((on, alarms.on(Side::Listed).count()), (vec!["first".to_owned(), "second".to_owned()], 0));
        assert!(alarms.on(Side::Shelved).all(|(_, alarm)| alarm.operated[0].state == OperatorState::Shelved));
        alarms.set_control(Control::default(), at(4));
        assert_eq!(listed(&alarms, Side::Listed), ["process a", "process b"]);
        assert!(alarms.on(Side::Listed).all(|(_, alarm)| alarm.operated[0].state == OperatorState::UnShelved));
        assert!(alarms.report(report("process b", FAILED, false), at(5)).is_some(), "and is told again");
    }

    #[test]
    fn what_was_written_down_makes_the_same_list() {
        let mut alarms = Alarms::default();
        let mut lines = Vec::new();
        let mut second = 0;
        let mut step = |alarms: &mut Alarms, act: &dyn Fn(&mut Alarms, Timestamp)| {
            second += 1;
            act(alarms, at(second));
            lines.extend(alarms.take_news().iter().filter_map(Record::line));
        };
        for resource in ["process a", "process b", "process c"] {
            step(&mut alarms, &|alarms, now| drop(alarms.report(report(resource, FAILED, true), now)));
        }
        step(&mut alarms, &|alarms, now| drop(alarms.report(report("process a", FAILED, false), now)));
        step(&mut alarms, &|alarms, now| alarms.set_control(shelves(&[("s", "process b")]), now));
        step(&mut alarms, &|alarms, now| {
            let ack = Operated { at: now, operator: "ann".into(), state: OperatorState::Ack, text: None };
            alarms.operate(&key("process c", FAILED), ack).unwrap();
        });
        step(&mut alarms, &|alarms, _| assert_eq!(alarms.compress(Side::Listed, |_| true), 1));
        let parsed = |lines: &[String]| lines.iter().map(|line| Record::parse(line).unwrap()).collect::<Vec<_>>();
        let recalled = Alarms::recalled(parsed(&lines));
        assert_eq!(recalled.alarms, alarms.alarms);
        let whole: Vec<String> = alarms.records().filter_map(|record| record.line()).collect();
        assert_eq!(Alarms::recalled(parsed(&whole)).alarms, alarms.alarms, "and so does what was written anew");
    }

    #[test]
    fn the_list_is_bounded() {
        let mut alarms = Alarms::default();
        alarms.set_control(Control { changes_max: CHANGES_MAX, ..Control::default() }, at(0));
        for number in 0..100 {
            for second in 0..300 {
                alarms.report(report(&format!("p{number}"), FAILED, second % 2 == 0), at(second));
            }
            assert!(alarms.changes <= CHANGES_OF_ALL_MAX);
        }
        assert_eq!(alarms.on(Side::Listed).count(), 100, "no alarm is lost by the changes of others");
    }
}
