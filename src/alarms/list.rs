//! The list of alarms: one entry per resource and type, with the changes of each. Values in, values out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::types::{AlarmType, Severity};

/// Alarms that are kept; the one that has been over for longest makes room.
pub const ALARMS_MAX: usize = 10_000;
/// Changes of an alarm that are kept where the configuration says without end.
pub const CHANGES_MAX: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub at: Timestamp,
    /// `None` says that it was cleared.
    pub severity: Option<Severity>,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub created: Timestamp,
    pub last_raised: Timestamp,
    /// Latest first; the first is what is now.
    pub changes: VecDeque<Change>,
}

impl Alarm {
    pub fn is_cleared(&self) -> bool {
        self.changes.front().is_none_or(|change| change.severity.is_none())
    }

    /// The last severity it had.
    pub fn severity(&self) -> Option<Severity> {
        self.changes.iter().find_map(|change| change.severity)
    }

    pub fn last_changed(&self) -> Timestamp {
        self.changes.front().map_or(self.created, |change| change.at)
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    pub changes_max: usize,
    pub notify: Notify,
}

impl Default for Control {
    fn default() -> Self {
        Self { changes_max: 32, notify: Notify::All }
    }
}

/// Which alarms to purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selection {
    /// Only those that are over, or only those that are not.
    pub is_cleared: Option<bool>,
    pub older_than: Option<Duration>,
    pub severity: Option<SeverityRule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeverityRule {
    Below(Severity),
    Is(Severity),
    Above(Severity),
}

#[derive(Debug, Default)]
pub struct Alarms {
    alarms: BTreeMap<Key, Alarm>,
    control: Control,
    last_changed: Option<Timestamp>,
}

impl Alarms {
    pub fn all(&self) -> &BTreeMap<Key, Alarm> {
        &self.alarms
    }

    pub fn last_changed(&self) -> Option<Timestamp> {
        self.last_changed
    }

    pub fn set_control(&mut self, control: Control) {
        self.control = control;
        for alarm in self.alarms.values_mut() {
            alarm.changes.truncate(control.changes_max.clamp(1, CHANGES_MAX));
        }
    }

    /// Takes a report in; the change that came of it, if it is to be told.
    pub fn report(&mut self, report: Report, at: Timestamp) -> Option<Change> {
        let Report { key, is_raised, text } = report;
        let severity = is_raised.then(|| key.alarm_type.severity());
        let was_cleared = self.alarms.get(&key).is_none_or(Alarm::is_cleared);
        if !is_raised && was_cleared {
            return None;
        }
        if !self.alarms.contains_key(&key) {
            self.make_room();
        }
        let alarm =
            self.alarms.entry(key).or_insert_with(|| Alarm { created: at, last_raised: at, changes: VecDeque::new() });
        // The time tells the changes of an alarm apart.
        let at = match alarm.changes.front() {
            Some(last) if at <= last.at => last.at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at),
            _ => at,
        };
        if is_raised && was_cleared {
            alarm.last_raised = at;
        }
        let before = alarm.severity();
        let change = Change { at, severity, text };
        alarm.changes.push_front(change.clone());
        alarm.changes.truncate(self.control.changes_max.clamp(1, CHANGES_MAX));
        self.last_changed = Some(at);
        let is_told = match self.control.notify {
            Notify::All => true,
            Notify::RaiseAndClear => is_raised == was_cleared,
            Notify::From(least) => severity.or(before).is_some_and(|severity| severity >= least),
        };
        is_told.then_some(change)
    }

    fn make_room(&mut self) {
        while self.alarms.len() >= ALARMS_MAX {
            let oldest = self
                .alarms
                .iter()
                .min_by_key(|(_, alarm)| (!alarm.is_cleared(), alarm.last_changed()))
                .map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.alarms.remove(&oldest);
        }
    }

    /// Forgets the alarms that fit; how many.
    pub fn purge(&mut self, selection: Selection, now: Timestamp) -> usize {
        let before = self.alarms.len();
        self.alarms.retain(|_, alarm| !selection.fits(alarm, now));
        before - self.alarms.len()
    }

    /// Forgets all but the last change of the alarms that fit; of how many.
    pub fn compress(&mut self, fits: impl Fn(&Key) -> bool) -> usize {
        let long = self.alarms.iter_mut().filter(|(key, alarm)| fits(key) && alarm.changes.len() > 1);
        long.map(|(_, alarm)| alarm.changes.truncate(1)).count()
    }
}

impl Selection {
    fn fits(&self, alarm: &Alarm, now: Timestamp) -> bool {
        let is_old = |least: Duration| {
            SignedDuration::try_from(least).is_ok_and(|least| now.duration_since(alarm.last_changed()) > least)
        };
        let severity = alarm.severity();
        self.is_cleared.is_none_or(|wanted| alarm.is_cleared() == wanted)
            && self.older_than.is_none_or(is_old)
            && self.severity.is_none_or(|rule| match rule {
                SeverityRule::Below(limit) => severity < Some(limit),
                SeverityRule::Is(limit) => severity == Some(limit),
                SeverityRule::Above(limit) => severity > Some(limit),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn report(resource: &str, alarm_type: AlarmType, is_raised: bool) -> Report {
        Report { key: Key { resource: resource.into(), alarm_type }, is_raised, text: format!("{is_raised}") }
    }

    const FAILED: AlarmType = AlarmType::ProcessFailed;

    #[test]
    fn an_alarm_is_one_entry_however_often_it_comes_and_goes() {
        let mut alarms = Alarms::default();
        assert!(alarms.report(report("a", FAILED, false), at(0)).is_none(), "what is not there is not cleared");
        for second in 1..4 {
            assert!(alarms.report(report("a", FAILED, true), at(second)).is_some());
            assert!(alarms.report(report("a", FAILED, false), at(second)).is_some());
        }
        let (_, alarm) = alarms.all().first_key_value().unwrap();
        assert_eq!((alarms.all().len(), alarm.is_cleared(), alarm.changes.len()), (1, true, 6));
        assert_eq!((alarm.created, alarm.severity()), (at(1), Some(Severity::Critical)));
        let times: Vec<Timestamp> = alarm.changes.iter().map(|change| change.at).collect();
        assert!(times.is_sorted_by(|later, earlier| later > earlier), "times tell changes apart");
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let told = |notify, reports: &[(AlarmType, bool)]| {
            let mut alarms = Alarms::default();
            alarms.set_control(Control { changes_max: 2, notify });
            let reports = reports.iter().enumerate();
            let told = reports.filter(|(second, (alarm_type, is_raised))| {
                let second = i64::try_from(*second).unwrap();
                alarms.report(report("a", *alarm_type, *is_raised), at(second)).is_some()
            });
            told.count()
        };
        let story = [(FAILED, true), (FAILED, true), (FAILED, false), (AlarmType::ProcessRestarted, true)];
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
        assert_eq!(alarms.compress(|key| key.resource == "c"), 1);
        let purge = |alarms: &mut Alarms, selection| alarms.purge(selection, at(10));
        let over = Selection { is_cleared: Some(true), older_than: Some(Duration::from_secs(9)), severity: None };
        assert_eq!(purge(&mut alarms, over), 0, "not that long ago");
        assert_eq!(purge(&mut alarms, Selection { older_than: None, ..over }), 1);
        let below = Selection { severity: Some(SeverityRule::Below(Severity::Critical)), ..Selection::default() };
        assert_eq!(purge(&mut alarms, below), 1);
        assert_eq!(alarms.all().len(), 1);
    }
}
