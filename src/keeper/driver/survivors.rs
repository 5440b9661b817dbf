//! Taking up what has outlived keeper and custodian, when its container is defined again.

use std::time::Duration;

use tracing::{info, warn};

use super::{Driver, moment};
use crate::container::machine::{Input, RunId};
use crate::container::spec::{ContainerName, Survivors as Wish};
use crate::keeper::held::Run;
use crate::keeper::launch;
use crate::keeper::survivors::{self, Main};
use crate::sys::tree::{self, Tree};
use crate::sys::{fdpass, memfd};

/// Between the stop signal and the kill.
const END_GRACE: Duration = Duration::from_secs(10);
/// At the end of the house: so often is looked whether what was killed is gone, each time after twice the time; 2 s in all.
const END_ROUNDS_MAX: u32 = 11;
const END_WAIT_FIRST: Duration = Duration::from_millis(1);

impl Driver {
    /// Only a keeper that has inherited nothing looks: what a predecessor has left by the custodian is known.
    pub(super) fn look_for_survivors(&mut self) {
        self.survivors = survivors::find(&self.root);
        for (name, found) in &self.survivors {
            warn!(%name, processes = found.count, main = ?found.main.map(|main| main.pid), "has outlived its keeper");
        }
        let used = self.survivors.values().filter_map(|found| found.main).map(|main| main.run).max();
        if let Some(used) = used {
            self.run_ids.go_on_behind(used);
        }
    }

    /// The container has just been defined.
    pub(super) fn take_up_survivors(&mut self, slot: u32) {
        let Some(held) = self.held.get(&slot) else { return };
        let Some(found) = self.survivors.remove(&held.spec.name) else { return };
        let wish = held.spec.survivors;
        let moment = moment();
        let main = found.main.filter(Main::is_there);
        let since = main.and_then(|main| moment.now.checked_sub(main.age(moment.unix_ms))).unwrap_or(moment.now);
        let process = main.and_then(|main| self.make_run(slot, main).map(|run| (main.pid, run)));
        let end_within = (wish == Wish::End).then_some(END_GRACE);
        if let Some(held) = self.held.get(&slot) {
            info!(name = %held.spec.name, ?wish, main = ?process.map(|(pid, _)| pid), "what has outlived its keeper is taken up");
        }
        self.give(slot, Input::Survived { process, since, end_within });
        if let Some((pid, _)) = process {
            self.watch_adopted(slot, pid);
        }
    }

    /// At the end of the house: whose container nobody has defined goes too.
    pub(super) fn end_survivors(&mut self) {
        let of = |name: &ContainerName| Tree {
            mark: launch::mark(&self.root, name),
            leader: None,
            group: self.groups.as_ref().ok().map(|groups| groups.path_of(name.as_str())),
            known: None,
        };
        let trees: Vec<Tree> = self.survivors.keys().map(of).collect();
        let trees: Vec<&Tree> = trees.iter().collect();
        let mut wait = END_WAIT_FIRST;
        for _ in 0..END_ROUNDS_MAX {
            if tree::kill(&trees).iter().all(|found| *found == 0) {
                return;
            }
            // A killed process needs a moment to end, and this loop serves nobody any more.
            std::thread::sleep(wait);
            wait *= 2;
        }
        warn!("something that has outlived its keeper does not end although it was killed");
    }

    /// A run without streams. What it would be given is made, so that it is as any other.
    fn make_run(&mut self, slot: u32, main: Main) -> Option<RunId> {
        let (door, _) = fdpass::pair().ok()?;
        let record = memfd::zeroed("procyon-run", 8).ok()?;
        let held = self.held.get_mut(&slot)?;
        held.run = Some(Run {
            run: main.run,
            started_unix_ms: main.started_unix_ms,
            door,
            record,
            pidfd: None,
            terminal: None,
            adopted: true,
            look_again: None,
            ready_pipe: None,
            is_ready: true,
            ready_by: None,
            is_aborted: false,
            outdated: false,
            uid: nix::unistd::geteuid().as_raw(),
            is_deaf: true,
            prints_from: None,
        });
        Some(main.run)
    }
}
