//! What has outlived its keeper and the custodian too: processes that carry the mark of a container that nobody holds.
//!
//! The mark names the root, the container and the run; the process id and the start time say which process it is. What has
//! cleared its environment is found when its container's control group is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::launch::{self, RootId};
use crate::container::machine::RunId;
use crate::container::spec::ContainerName;
use crate::sys::tree;

/// Of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survivors {
    /// The oldest of those that lead their session: the program itself, if it lives.
    pub main: Option<Main>,
    pub count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Main {
    pub pid: i32,
    /// In ticks since the boot.
    pub start: u64,
    pub run: RunId,
    pub started_unix_ms: u64,
}

/// One look at everything that runs on the host.
pub fn find(root: &RootId) -> BTreeMap<ContainerName, Survivors> {
    let mut all: BTreeMap<ContainerName, Survivors> = BTreeMap::new();
    for (pid, facts, value) in tree::marked(launch::MARK) {
        let Some((name, run)) = launch::read_mark(root, &value) else { continue };
        let survivors = all.entry(name).or_default();
        survivors.count += 1;
        let is_older = survivors.main.is_none_or(|main| facts.start() < main.start);
        if facts.session == pid && is_older {
            let started = tree::started(&facts).unwrap_or_default();
            let started_unix_ms = u64::try_from(started.as_millis()).unwrap_or(u64::MAX);
            survivors.main = Some(Main { pid, start: facts.start(), run, started_unix_ms });
        }
    }
    all
}

impl Main {
    /// For how long it has run at that time.
    pub fn age(&self, now_unix_ms: u64) -> Duration {
        Duration::from_millis(now_unix_ms.saturating_sub(self.started_unix_ms))
    }

    /// Whether it is still the process that was seen.
    pub fn is_there(&self) -> bool {
        tree::facts(self.pid).is_some_and(|facts| facts.start() == self.start)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn what_carries_the_mark_of_this_root_is_found_with_its_run() {
        let folder = tempfile::tempdir().unwrap();
        let root = RootId::of(folder.path()).unwrap();
        let marked = |value: String| {
            let mut command = std::process::Command::new("sleep");
            // A group of its own is no session: it is one that a program has started.
            command.arg("300").env(launch::MARK, value).process_group(0).spawn().unwrap()
        };
        let mut ours = marked(format!("a@{}/7", root.as_str()));
        let mut other_root = marked("b@1.1/7".to_owned());
        let found = find(&root);
        let name = ContainerName::parse("a").unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(name, Survivors { main: None, count: 1 })]);
        for child in [&mut ours, &mut other_root] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(find(&root).is_empty());
    }
}
