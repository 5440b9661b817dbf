//! The end of the whole house: every container in the reverse order of what needs what, each by its stop command, its
//! signal and at last by force, and all of it within a limit.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::{Driver, moment};
use crate::container::machine::Input;
use crate::container::permit::Permit;
use crate::container::spec::{ContainerName, RestartPolicy};
use crate::keeper::held::{Farewell, Purpose};
use crate::sys::process;

/// When it is over, whatever is left is killed in no order. The custodian waits a little longer than that.
pub(super) const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(240);
/// Among the timers, the shutdown's own: no container has this number.
pub(super) const NO_SLOT: u32 = 0;

pub(super) struct Shutdown {
    grace: Duration,
    pub(super) waiters: Vec<(u32, u64)>,
    /// Of those that are still held.
    asked: BTreeSet<u32>,
    /// What was done for it, and how each ended, need no longer be waited for.
    pub(super) is_late: bool,
}

impl Driver {
    pub(super) fn begin_shutdown(&mut self, grace: Duration, waiter: Option<(u32, u64)>) {
        if self.shutdown.is_none() {
            info!(containers = self.held.len(), "ending everything");
            if let Some(until) = moment().now.checked_add(SHUTDOWN_TIME_MAX) {
                self.timers.insert((until, NO_SLOT));
            }
            self.shutdown = Some(Shutdown { grace, waiters: Vec::new(), asked: BTreeSet::new(), is_late: false });
        }
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.waiters.extend(waiter);
        }
        self.go_on_with_shutdown();
    }

    pub(super) fn shutdown_takes_too_long(&mut self) {
        let left: Vec<u32> = self.held.keys().copied().collect();
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.is_late = true;
        }
        warn!(left = left.len(), "the time for an orderly end is over: what is left is killed");
        for slot in left {
            self.end_helper(slot);
            self.give(slot, Input::Release { grace: Duration::ZERO });
        }
    }

    /// It has ended, and those that it needed may follow.
    pub(super) fn one_less(&mut self, slot: u32) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.asked.remove(&slot);
            self.go_on_with_shutdown();
        }
    }

    /// Ends every container that no other still needs, in the reverse order of their starts.
    fn go_on_with_shutdown(&mut self) {
        let Some(shutdown) = &self.shutdown else { return };
        if shutdown.is_late || shutdown.asked.len() == self.held.len() {
            return;
        }
        let mut left: Vec<(u64, u32)> = self.held.iter().map(|(slot, held)| (held.place, *slot)).collect();
        left.sort_unstable_by(|one, other| other.cmp(one));
        let needed: BTreeSet<&ContainerName> = self.held.values().flat_map(|held| &held.spec.after).collect();
        let not_asked = |slot: &u32| !shutdown.asked.contains(slot);
        let mut next: Vec<u32> = left
            .iter()
            .map(|(_, slot)| *slot)
            .filter(|slot| not_asked(slot) && !needed.contains(&self.held[slot].spec.name))
            .collect();
        let none_under_way = left.iter().all(|(_, slot)| not_asked(slot));
        if next.is_empty() && none_under_way && !left.is_empty() {
            warn!("containers need each other in a circle: all are ended at once");
            next = left.into_iter().map(|(_, slot)| slot).collect();
        }
        let grace = shutdown.grace;
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.asked.extend(&next);
        }
        for slot in next {
            self.bid_farewell(slot, grace);
        }
    }

    fn bid_farewell(&mut self, slot: u32, grace: Duration) {
        let Some(held) = self.held.get(&slot) else { return };
        let runs = held.machine.process().is_some() || held.daemon.is_some();
        let Some(permit) = held.spec.permit.clone().filter(|_| runs) else {
            return self.give(slot, Input::Release { grace });
        };
        match permit.stop {
            Some(stop) => {
                // Its end is wanted: no policy is to bring it back before it is forgotten.
                self.give(slot, Input::Policy { policy: RestartPolicy::Never });
                let until = moment().now.checked_add(stop.limit);
                if let Some(held) = self.held.get_mut(&slot) {
                    info!(name = %held.spec.name, "its stop command is run");
                    held.farewell = Some(Farewell::Command { until });
                }
                self.begin_helper(slot, Purpose::Stop, &stop);
            }
            None => self.signal_farewell(slot, &permit),
        }
    }

    pub(super) fn stop_command_over(&mut self, slot: u32, outcome: Result<(), String>) {
        let Some(held) = self.held.get(&slot) else { return };
        if !matches!(held.farewell, Some(Farewell::Command { .. })) {
            return;
        }
        match outcome {
            Ok(()) => self.farewell_goes_on(slot),
            Err(how) => {
                warn!(name = %held.spec.name, how, "its stop command has failed: it gets its stop signal");
                self.signal_farewell_by_spec(slot);
            }
        }
    }

    fn signal_farewell_by_spec(&mut self, slot: u32) {
        if let Some(permit) = self.held.get(&slot).and_then(|held| held.spec.permit.clone()) {
            self.signal_farewell(slot, &permit);
        }
    }

    fn signal_farewell(&mut self, slot: u32, permit: &Permit) {
        let until = moment().now.checked_add(permit.kill_after);
        let Some(held) = self.held.get_mut(&slot) else { return };
        match &held.daemon {
            Some(daemon) if held.machine.process().is_none() => {
                held.farewell = Some(Farewell::Signal { until });
                if let Err(error) = process::pidfd_signal(&daemon.pidfd, held.spec.stop_signal) {
                    debug!(name = %held.spec.name, %error, "its daemon takes no signal");
                }
                self.set_timer(slot);
            }
            _ => {
                held.farewell = None;
                self.give(slot, Input::Release { grace: permit.kill_after });
            }
        }
    }

    /// Something of it has ended: when that was the last, what is left goes.
    pub(super) fn farewell_goes_on(&mut self, slot: u32) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        let runs = held.machine.process().is_some() || held.daemon.is_some() || held.helper.is_some();
        if held.farewell.is_some() && !runs {
            held.farewell = None;
            self.give(slot, Input::Release { grace: Duration::ZERO });
        }
    }

    pub(super) fn farewell_late(&mut self, slot: u32, now: Instant) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        match held.farewell {
            Some(Farewell::Command { until: Some(until) }) if until <= now => {
                warn!(name = %held.spec.name, "its stop command does not end it in time: it gets its stop signal");
                self.end_helper(slot);
                self.signal_farewell_by_spec(slot);
            }
            Some(Farewell::Signal { until: Some(until) }) if until <= now => {
                held.farewell = None;
                self.give(slot, Input::Release { grace: Duration::ZERO });
            }
            _ => {}
        }
    }
}
