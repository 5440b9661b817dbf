//! Which policy maps act, and when.
//!
//! ```text
//!  trigger:     happens --occurrence within period--> counts --rate limit--> is heard by policy maps
//!  policy map:  heard events that hold together (AND, OR) --occurrence within period--> acts
//! ```
//! An event counts for one acting of a policy map and is then spent. Pure: what happened and the time come in, what to
//! do goes out. Must not know: scripts beyond their action's name, files, clocks.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{Local, TimeZone as _};

use super::config::{Config, Trigger, Watches};
use super::facts::Facts;
use super::happening::Happening;
use crate::clock::Moment;
use crate::yang::xml;

/// The status of an app in which the objects that follow it are up.
const UP: &str = "started";
/// What tells of alarms.
const ALARM: &str = "ietf-alarms:alarm-notification";

/// A policy map acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Firing {
    pub policy: String,
    pub actions: Vec<String>,
    pub facts: Facts,
}

#[derive(Debug, Default)]
pub(super) struct Correlator {
    config: Config,
    watched: BTreeMap<String, Watched>,
    waiting: BTreeMap<String, Waiting>,
    /// Apps that are up, as far as somebody has told.
    up: BTreeMap<String, bool>,
    last_event_id: u64,
    last_number: u32,
}

/// What is remembered of a trigger.
#[derive(Debug, Default)]
struct Watched {
    times: VecDeque<Instant>,
    last_counted: Option<Instant>,
    counted: u32,
    due: Option<Due>,
    number: u32,
}

/// A watchdog goes by the time that passes, a calendar entry by the clock on the wall.
#[derive(Debug, Clone, Copy)]
enum Due {
    At(Instant),
    Wall(u64),
}

/// What is remembered of a policy map.
#[derive(Debug, Default)]
struct Waiting {
    heard: BTreeMap<String, Instant>,
    times: VecDeque<Instant>,
    acted: u32,
}

/// How one trigger stands, for the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TriggerStanding {
    /// Another one after each change of its configuration.
    pub number: u32,
    pub counted: u32,
}

/// How one policy map stands, for the state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PolicyStanding {
    pub acted: u32,
    /// How often its events came together since, and when the first of those is forgotten.
    pub together: usize,
    pub forgets_in: Option<Duration>,
    /// Events that have come and wait for others, and when each is forgotten.
    pub heard: BTreeMap<String, Option<Duration>>,
}

impl Correlator {
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn trigger(&self, name: &str) -> TriggerStanding {
        let Some(watched) = self.watched.get(name) else { return TriggerStanding::default() };
        TriggerStanding { number: watched.number, counted: watched.counted }
    }

    pub(super) fn policy(&self, name: &str, moment: Moment) -> PolicyStanding {
        let Some(waiting) = self.waiting.get(name) else { return PolicyStanding::default() };
        let period = self.config.policies.get(name).and_then(|policy| policy.period);
        let left = |at: &Instant| period.map(|period| period.checked_sub(moment.now.saturating_duration_since(*at)));
        // Without a period nothing is forgotten.
        let is_remembered = |at: &&Instant| left(at) != Some(None);
        let times: Vec<&Instant> = waiting.times.iter().filter(is_remembered).collect();
        let heard = waiting.heard.iter().filter(|(_, at)| is_remembered(at));
        PolicyStanding {
            acted: waiting.acted,
            together: times.len(),
            forgets_in: times.first().and_then(|at| left(at).flatten()),
            heard: heard.map(|(event, at)| (event.clone(), left(at).flatten())).collect(),
        }
    }

    /// Takes a new configuration. What did not change goes on where it was; timers that are new begin now.
    pub(super) fn configure(&mut self, config: Config, moment: Moment) {
        let old = std::mem::replace(&mut self.config, config);
        let is_same =
            |name: &str, trigger: &Trigger| old.triggers.get(name).is_some_and(|old| old.source == trigger.source);
        let triggers = &self.config.triggers;
        self.watched.retain(|name, _| triggers.get(name).is_some_and(|trigger| is_same(name, trigger)));
        for (name, trigger) in triggers {
            if let Entry::Vacant(vacant) = self.watched.entry(name.clone()) {
                self.last_number = self.last_number.wrapping_add(1);
                let due = first_due(&trigger.watches, moment);
                vacant.insert(Watched { due, number: self.last_number, ..Watched::default() });
            }
        }
        let policies = &self.config.policies;
        self.waiting.retain(|name, _| policies.contains_key(name) && policies.get(name) == old.policies.get(name));
        for name in policies.keys() {
            self.waiting.entry(name.clone()).or_default();
        }
    }

    /// How long until a timer is due.
    pub(super) fn wait(&self, moment: Moment) -> Option<Duration> {
        let left = self.watched.values().filter_map(|watched| match watched.due? {
            Due::At(at) => Some(at.saturating_duration_since(moment.now)),
            Due::Wall(ms) => Some(Duration::from_millis(ms.saturating_sub(moment.unix_ms))),
        });
        left.min()
    }

    /// The host has booted, and this is the first that we hear of it.
    pub(super) fn booted(&mut self, moment: Moment) -> Vec<Firing> {
        let watches = |trigger: &Trigger| matches!(trigger.watches, Watches::Reboot);
        let names = self.names(watches);
        self.all(&names, None, timer_facts("cron", moment, Duration::ZERO), moment)
    }

    /// The time of [`Correlator::wait`] has come.
    pub(super) fn due(&mut self, moment: Moment) -> Vec<Firing> {
        let mut firings = Vec::new();
        for name in self.watched.keys().cloned().collect::<Vec<_>>() {
            let Some(watched) = self.watched.get_mut(&name) else { continue };
            let is_due = match watched.due {
                Some(Due::At(at)) => at <= moment.now,
                Some(Due::Wall(ms)) => ms <= moment.unix_ms,
                None => false,
            };
            let Some(trigger) = self.config.triggers.get(&name).filter(|_| is_due) else { continue };
            watched.due = first_due(&trigger.watches, moment);
            let remains = watched.due.map(|due| match due {
                Due::At(at) => at.saturating_duration_since(moment.now),
                Due::Wall(ms) => Duration::from_millis(ms.saturating_sub(moment.unix_ms)),
            });
            let kind = if matches!(trigger.watches, Watches::Cron { .. }) { "cron" } else { "watchdog" };
            let facts = timer_facts(kind, moment, remains.unwrap_or_default());
            firings.extend(self.happened(&name, None, facts, moment));
        }
        firings
    }

    pub(super) fn happen(&mut self, happening: &Happening, moment: Moment) -> Vec<Firing> {
        match happening {
            Happening::Log { severity, line } => {
                let bit = 1u8.checked_shl(u32::from(*severity)).unwrap_or(0);
                let names = self.names(|trigger| {
                    matches!(&trigger.watches, Watches::Log { pattern, severities }
                        if severities & bit != 0 && pattern.is_match(line))
                });
                let facts =
                    vec![("msg", line.clone()), ("msg_count", "1".to_owned()), ("priority", severity.to_string())];
                self.all(&names, Some(*severity), facts, moment)
            }
            Happening::App { name, status } => {
                let mut firings = self.tracked(name, status == UP, moment);
                let names = self.names(|trigger| match &trigger.watches {
                    Watches::App { name: app, status: wanted } => {
                        app.as_ref().is_none_or(|app| app == name)
                            && wanted.as_ref().is_none_or(|wanted| wanted == status)
                    }
                    _ => false,
                });
                let facts = vec![("app_name", name.clone()), ("app_status", status.clone())];
                firings.extend(self.all(&names, None, facts, moment));
                firings
            }
            Happening::Notification { name, xml } => {
                let names = self.names(|trigger| match &trigger.watches {
                    Watches::Notification { name: wanted, pattern } => {
                        wanted == name && pattern.as_ref().is_none_or(|pattern| pattern.is_match(xml))
                    }
                    _ => false,
                });
                let facts = vec![("notification_name", name.clone()), ("notification_xml", xml.clone())];
                let mut firings = self.all(&names, None, facts, moment);
                if name == ALARM {
                    firings.extend(self.alarmed(xml, moment));
                }
                firings
            }
            Happening::File { path } => {
                let names =
                    self.names(|trigger| matches!(&trigger.watches, Watches::File { path: wanted } if wanted == path));
                self.all(&names, None, vec![("file_path", path.clone())], moment)
            }
        }
    }

    /// An alarm was raised, changed or cleared.
    fn alarmed(&mut self, xml: &str, moment: Moment) -> Vec<Firing> {
        let Ok(elements) = xml::parse(xml.as_bytes()) else { return Vec::new() };
        let Some(alarm) = elements.first() else { return Vec::new() };
        let text = |name: &str| alarm.children.iter().find(|child| &*child.name == name).map(|leaf| leaf.text.clone());
        let resource = text("resource").unwrap_or_default();
        let severity = text("perceived-severity").unwrap_or_default();
        // An identity; its prefix is whoever wrote it down's.
        let alarm_type = text("alarm-type-id").unwrap_or_default();
        let local = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let names = self.names(|trigger| match &trigger.watches {
            Watches::Alarm { alarm_type: wanted, resource: on, severity: of } => {
                is(on, &resource)
                    && is(of, &severity)
                    && wanted.as_deref().is_none_or(|wanted| local(wanted) == local(&alarm_type))
            }
            _ => false,
        });
        let facts = vec![
            ("alarm_type", local(&alarm_type)),
            ("alarm_resource", resource),
            ("alarm_severity", severity),
            ("alarm_text", text("alarm-text").unwrap_or_default()),
        ];
        self.all(&names, None, facts, moment)
    }

    /// An app went up or down, and with it what follows it.
    fn tracked(&mut self, app: &str, is_up: bool, moment: Moment) -> Vec<Firing> {
        let was_up = self.up.insert(app.to_owned(), is_up).unwrap_or(false);
        if was_up == is_up {
            return Vec::new();
        }
        let objects: Vec<String> =
            self.config.tracks.iter().filter(|(_, follows)| *follows == app).map(|(name, _)| name.clone()).collect();
        let mut firings = Vec::new();
        for object in objects {
            let names = self.names(|trigger| match &trigger.watches {
                Watches::Track { name, up, down } => *name == object && if is_up { *up } else { *down },
                _ => false,
            });
            let state = if is_up { "up" } else { "down" };
            let facts = vec![("track_name", object), ("track_state", state.to_owned())];
            firings.extend(self.all(&names, None, facts, moment));
        }
        firings
    }

    fn names(&self, watches: impl Fn(&Trigger) -> bool) -> Vec<String> {
        self.config.triggers.iter().filter(|(_, trigger)| watches(trigger)).map(|(name, _)| name.clone()).collect()
    }

    fn all(
        &mut self,
        names: &[String],
        severity: Option<u8>,
        own: Vec<(&'static str, String)>,
        moment: Moment,
    ) -> Vec<Firing> {
        names.iter().flat_map(|name| self.happened(name, severity, own.clone(), moment)).collect()
    }

    /// One trigger's thing has happened once.
    fn happened(
        &mut self,
        name: &str,
        severity: Option<u8>,
        mut own: Vec<(&'static str, String)>,
        moment: Moment,
    ) -> Vec<Firing> {
        let (Some(trigger), Some(watched)) = (self.config.triggers.get(name), self.watched.get_mut(name)) else {
            return Vec::new();
        };
        let Some(times) = enough(&mut watched.times, trigger.occurrence, trigger.period, moment.now) else {
            return Vec::new();
        };
        let too_soon = trigger.rate_limit.is_some_and(|limit| {
            watched.last_counted.is_some_and(|last| moment.now.saturating_duration_since(last) < limit)
        });
        if too_soon {
            return Vec::new();
        }
        watched.last_counted = Some(moment.now);
        watched.counted = watched.counted.saturating_add(1);
        if let Some((_, count)) = own.iter_mut().find(|(key, _)| *key == "msg_count") {
            *count = times.to_string();
        }
        self.last_event_id += 1;
        let kind = trigger.watches.kind();
        let facts = Facts {
            event_id: self.last_event_id,
            unix_ms: moment.unix_ms,
            event: name.to_owned(),
            kind,
            severity,
            own,
        };
        self.heard(name, &facts, moment)
    }

    fn heard(&mut self, event: &str, facts: &Facts, moment: Moment) -> Vec<Firing> {
        let mut firings = Vec::new();
        for (name, policy) in &self.config.policies {
            let Some(when) = policy.when.as_ref().filter(|when| when.events().contains(event)) else { continue };
            let Some(waiting) = self.waiting.get_mut(name) else { continue };
            waiting.heard.insert(event.to_owned(), moment.now);
            if let Some(period) = policy.period {
                waiting.heard.retain(|_, at| moment.now.saturating_duration_since(*at) <= period);
            }
            if !when.holds(&|event| waiting.heard.contains_key(event)) {
                continue;
            }
            waiting.heard.clear();
            if enough(&mut waiting.times, policy.occurrence, policy.period, moment.now).is_none() {
                continue;
            }
            waiting.acted = waiting.acted.saturating_add(1);
            firings.push(Firing { policy: name.clone(), actions: policy.actions.clone(), facts: facts.clone() });
        }
        firings
    }
}

/// Counts one more time; how many there were when that makes enough, and then counting begins anew.
fn enough(times: &mut VecDeque<Instant>, wanted: u32, period: Option<Duration>, now: Instant) -> Option<usize> {
    times.push_back(now);
    if let Some(period) = period {
        times.retain(|at| now.saturating_duration_since(*at) <= period);
    }
    let count = times.len();
    (count >= wanted as usize).then(|| {
        times.clear();
        count
    })
}

fn first_due(watches: &Watches, moment: Moment) -> Option<Due> {
    match watches {
        Watches::Watchdog { every } => Some(Due::At(moment.now + *every)),
        Watches::Cron { entry } => {
            let now = i64::try_from(moment.unix_ms).ok().and_then(|ms| Local.timestamp_millis_opt(ms).single())?;
            let next = entry.find_next_occurrence(&now, false).ok()?;
            u64::try_from(next.timestamp_millis()).ok().map(Due::Wall)
        }
        _ => None,
    }
}

fn timer_facts(kind: &'static str, moment: Moment, remains: Duration) -> Vec<(&'static str, String)> {
    vec![
        ("timer_type", kind.to_owned()),
        ("timer_time_sec", (moment.unix_ms / 1000).to_string()),
        ("timer_time_msec", (moment.unix_ms % 1000).to_string()),
        ("timer_remain_sec", remains.as_secs().to_string()),
        ("timer_remain_msec", remains.subsec_millis().to_string()),
    ]
}

#[cfg(test)]
#[path = "correlator_tests.rs"]
mod tests;
