//! Programs whose starts their floor orders: while it is away, the keeper goes by the permits that it has left.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use tracing::{debug, info, warn};

use super::starts::{What, kill_the_late};
use super::{Driver, moment};
use crate::container::machine::{ExitStatus, Input, Rest, State};
use crate::container::permit::Helper;
use crate::container::spec::Floor;
use crate::keeper::held::{Helping, Purpose};
use crate::keeper::launch;
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::worker::{Job, Launched};
use crate::sys::memfd;
use crate::sys::process::Reaped;
use crate::sys::spawn::{self, Account, Launch};

/// So long a floor may be away, as an agent is that is restarted, before the keeper decides in its place.
pub(super) const AWAY_MAX: Duration = Duration::from_secs(5);

impl Driver {
    /// Somebody is there who orders the starts of this floor: what the keeper has begun in the meantime is called off,
    /// unless it is a process already.
    pub(super) fn floor_came(&mut self, floor: Floor) {
        self.away.remove(&floor);
        for slot in self.permitted(floor) {
            let Some(held) = self.held.get_mut(&slot) else { continue };
            held.come_back_at = None;
            if std::mem::take(&mut held.by_permit) {
                info!(name = %held.spec.name, "its floor is there again, and decides about its starts");
                if held.helper.as_ref().is_some_and(|helper| matches!(helper.purpose, Purpose::Test { .. })) {
                    self.end_helper(slot);
                }
                self.give(slot, Input::CallOff);
            }
            self.set_timer(slot);
        }
    }

    pub(super) fn floor_went(&mut self, floor: Floor) {
        if self.links.values().any(|link| link.attends == Some(floor)) {
            return;
        }
        self.away.insert(floor, moment().now);
        for slot in self.permitted(floor) {
            self.reconsider(slot);
            self.set_timer(slot);
        }
    }

    fn permitted(&self, floor: Floor) -> Vec<u32> {
        let of_floor = |slot: &&u32| {
            self.held.get(slot).is_some_and(|held| held.spec.permit.is_some() && held.spec.name.floor() == floor)
        };
        self.slots.values().filter(of_floor).copied().collect()
    }

    /// Its floor has decided.
    pub(super) fn ordered_to_start(&mut self, slot: u32) {
        if let Some(held) = self.held.get_mut(&slot) {
            held.by_permit = false;
        }
    }

    /// Finds out when the keeper has to start this one again by itself, if at all.
    pub(super) fn reconsider(&mut self, slot: u32) {
        let at = self.comes_back_at(slot);
        if let Some(held) = self.held.get_mut(&slot) {
            held.come_back_at = at;
        }
    }

    fn comes_back_at(&self, slot: u32) -> Option<Instant> {
        let held = self.held.get(&slot)?;
        let has_ended = matches!(held.machine.state(), State::Exited { rest: Rest::ByPolicy, .. });
        let has_daemon = held.daemon.is_some() || held.sought.is_some();
        let floor = held.spec.name.floor();
        let is_attended = self.links.values().any(|link| link.attends == Some(floor));
        if held.spec.permit.is_none() || held.spec.strict || self.shutdown.is_some() {
            return None;
        }
        if !has_ended || has_daemon || is_attended {
            return None;
        }
        self.away.get(&floor).unwrap_or(&self.began).checked_add(AWAY_MAX)
    }

    pub(super) fn come_back_if_due(&mut self, slot: u32, now: Instant) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        if held.come_back_at.is_none_or(|at| at > now) {
            return;
        }
        held.come_back_at = None;
        held.by_permit = true;
        let ended =
            held.last.filter(|_| !matches!(held.machine.state(), State::Exited { status: ExitStatus::NotSpawned, .. }));
        let ran = ended.map_or(0, |last| last.ended_unix_ms.saturating_sub(last.started_unix_ms));
        info!(name = %held.spec.name, "its floor is away: it is started again by its permit");
        self.give(slot, Input::ComeBack { ran: Duration::from_millis(ran) });
    }

    /// What comes between the look at files and the start, where the floor has not ordered it.
    pub(super) fn tested(&mut self, slot: u32, attempt: u64) {
        let Some(held) = self.held.get(&slot) else { return };
        let test = held.spec.permit.as_ref().and_then(|permit| permit.test.clone()).filter(|_| held.by_permit);
        match test {
            Some(test) => self.begin_helper(slot, Purpose::Test { attempt }, &test),
            None => self.give(slot, Input::Checked { attempt }),
        }
    }

    /// Its account is looked up first, which may take a while.
    pub(super) fn begin_helper(&mut self, slot: u32, purpose: Purpose, helper: &Helper) {
        self.end_helper(slot);
        let until = moment().now.checked_add(helper.limit);
        let Some(held) = self.held.get_mut(&slot) else { return };
        held.helper_serial += 1;
        let (serial, user) = (held.helper_serial, helper.user.clone());
        held.helper = Some(Helping { purpose, serial, until, pid: None });
        self.workers.give(Job::Account { slot, serial, user });
        self.set_timer(slot);
    }

    pub(super) fn account_found(&mut self, slot: u32, serial: u64, account: Result<Option<Account>, KeeperRefusal>) {
        let Some(held) = self.held.get(&slot) else { return };
        let Some(helping) = held.helper.as_ref().filter(|helping| helping.serial == serial) else { return };
        let permit = held.spec.permit.clone();
        let helper = permit.and_then(|permit| match helping.purpose {
            Purpose::Test { .. } => permit.test,
            Purpose::Stop => permit.stop,
        });
        let Some(helper) = helper else { return self.helper_over(slot, Err("it is not configured any more".into())) };
        let prepared = account.map_err(|why| why.to_string()).and_then(|account| {
            self.low.open_up();
            let prepared = self.prepare_helper(slot, &helper, account);
            self.low.close_up();
            prepared
        });
        match prepared {
            // Nobody is in a hurry, and what it needs may be far away.
            Ok(launch) => drop(self.launch_elsewhere(slot, What::Helper { serial }, launch)),
            Err(why) => self.helper_over(slot, Err(why)),
        }
    }

    fn prepare_helper(&self, slot: u32, helper: &Helper, account: Option<Account>) -> Result<Launch, String> {
        let group = self.group_folder(slot);
        let Some(held) = self.held.get(&slot) else { return Err("the container is gone".into()) };
        let end = |pipe: &OwnedFd| memfd::reopened(pipe, OFlag::O_WRONLY).map_err(|error| error.to_string());
        let (stdout, stderr) = (end(&held.output.write)?, end(&held.errors.write)?);
        let record = memfd::zeroed("procyon-helper", 8).map_err(|error| error.to_string())?;
        let env = launch::helper_env(&held.spec, &helper.cwd, account.as_ref(), &self.root);
        Ok(Launch {
            program: None,
            argv: helper.argv.iter().map(Into::into).collect(),
            env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cwd: helper.cwd.clone(),
            stdin: None,
            stdout,
            stderr,
            controlling_terminal: false,
            inherited: Vec::new(),
            placed: None,
            record: Some(record),
            group,
            account,
            umask: held.spec.umask,
            nice: None,
            limits: launch::limits(&held.spec.rlimits),
            no_new_privs: held.spec.no_new_privs,
        })
    }

    pub(super) fn helper_launched(&mut self, slot: u32, serial: u64, launched: Launched, ended: Option<Reaped>) {
        let helping = self.held.get_mut(&slot).and_then(|held| held.helper.as_mut());
        match (helping.filter(|helping| helping.serial == serial), launched) {
            (Some(helping), Ok(pid)) => {
                debug!(pid, purpose = ?helping.purpose, "a command of a permit runs");
                helping.pid = Some(pid);
                self.helpers.insert(pid, slot);
                if let Some(ended) = ended {
                    self.helper_ended(pid, ended.raw_status);
                }
            }
            (Some(_), Err(why)) => self.helper_over(slot, Err(why)),
            (None, Ok(pid)) => kill_the_late(pid, ended),
            (None, Err(_)) => {}
        }
    }

    /// Of a process that has been reaped; whether it was one of these.
    pub(super) fn helper_ended(&mut self, pid: i32, raw_status: i32) -> bool {
        let Some(slot) = self.helpers.remove(&pid) else { return false };
        let is_present = |held: &crate::keeper::held::Held| held.helper.as_ref().is_some_and(|it| it.pid == Some(pid));
        if self.held.get(&slot).is_some_and(is_present) {
            let status = ExitStatus::from_raw(raw_status);
            let outcome = if status.is_success() { Ok(()) } else { Err(status.in_words()) };
            self.helper_over(slot, outcome);
        }
        true
    }

    pub(super) fn helper_late(&mut self, slot: u32, now: Instant) {
        let helping = self.held.get(&slot).and_then(|held| held.helper.as_ref());
        if helping.and_then(|helping| helping.until).is_some_and(|until| until <= now) {
            self.helper_over(slot, Err("it took longer than it may".into()));
        }
    }

    fn helper_over(&mut self, slot: u32, outcome: Result<(), String>) {
        let purpose = self.held.get(&slot).and_then(|held| held.helper.as_ref()).map(|helping| helping.purpose);
        self.end_helper(slot);
        let Some(held) = self.held.get_mut(&slot) else { return };
        match (purpose, outcome) {
            (Some(Purpose::Test { attempt }), Ok(())) => self.give(slot, Input::Checked { attempt }),
            (Some(Purpose::Test { attempt }), Err(how)) => {
                warn!(name = %held.spec.name, how, "the test of its configuration has failed: not started");
                held.start_failure = Some(KeeperRefusal::TestFailed { how });
                self.give(slot, Input::CheckFailed { attempt });
            }
            (Some(Purpose::Stop), outcome) => self.stop_command_over(slot, outcome),
            (None, _) => {}
        }
        self.set_timer(slot);
    }

    /// Forgets it; one that still runs is killed with all of its group.
    pub(super) fn end_helper(&mut self, slot: u32) {
        let helping = self.held.get_mut(&slot).and_then(|held| held.helper.take());
        // While it is not reaped its number is nobody else's.
        if let Some(pid) = helping.and_then(|helping| helping.pid)
            && self.helpers.contains_key(&pid)
            && let Err(error) = spawn::signal_group(pid, libc::SIGKILL)
        {
            debug!(pid, %error, "a command of a permit has ended already");
        }
    }

    /// The start command of a daemon has ended with success: from here on the file is looked at.
    pub(super) fn seek_daemon(&mut self, slot: u32) {
        let now = moment().now;
        let Some(held) = self.held.get_mut(&slot) else { return };
        let daemon = held.spec.permit.as_ref().and_then(|permit| permit.daemon.clone());
        let has_left_one = matches!(held.machine.state(), State::Exited { status, .. } if status.is_success());
        if let Some(daemon) = daemon.filter(|_| has_left_one && held.daemon.is_none() && held.sought.is_none()) {
            held.sought = now.checked_add(daemon.within).map(|until| (now, until));
            held.come_back_at = None;
            self.look_for_daemon(slot);
        }
    }

    pub(super) fn look_for_daemon(&mut self, slot: u32) {
        let tree = self.tree_of(slot, None);
        let Some(held) = self.held.get_mut(&slot) else { return };
        let Some(daemon) = held.spec.permit.as_ref().and_then(|permit| permit.daemon.clone()) else { return };
        let began_unix_ms = held.last.map_or(0, |last| last.started_unix_ms);
        let seek = crate::keeper::daemons::Seek { pid_file: daemon.pid_file, tree, began_unix_ms };
        if !std::mem::replace(&mut held.is_seeking, true) {
            self.workers.give(Job::Daemon { slot, seek });
        }
    }
}
