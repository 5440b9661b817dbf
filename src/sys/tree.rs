//! The processes that belong together, read from `/proc`: by a mark in their environment, by session, by ancestry.
//!
//! This is the way without a cgroup. A process that has left its session, lost its parents *and* cleared its
//! environment cannot be told apart from a stranger.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::process::{pidfd_open, pidfd_signal};

/// How often the search is repeated while new members keep turning up (something forks as fast as it is found).
const ROUNDS_MAX: usize = 200;

/// How to recognise the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// `NAME=value` prefix of an environment entry.
    pub mark: String,
    /// The session and group leader, while it has not been reaped.
    pub leader: Option<i32>,
}

/// Stops every member first, so that none can fork its way out, then kills all. Returns how many were found.
pub fn kill(tree: &Tree) -> usize {
    let mut stopped: BTreeMap<i32, u64> = BTreeMap::new();
    for _ in 0..ROUNDS_MAX {
        let fresh: Vec<_> = members(tree).into_iter().filter(|(pid, start)| stopped.get(pid) != Some(start)).collect();
        if fresh.is_empty() {
            break;
        }
        for (pid, start) in fresh {
            signal(pid, start, libc::SIGSTOP);
            stopped.insert(pid, start);
        }
    }
    for (pid, start) in &stopped {
        signal(*pid, *start, libc::SIGKILL);
    }
    stopped.len()
}

/// Process id and start time of each living member.
pub fn members(tree: &Tree) -> BTreeMap<i32, u64> {
    let processes = processes();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found: BTreeSet<i32> = processes
        .iter()
        .filter(|(pid, process)| {
            let led = tree.leader.is_some_and(|leader| process.session == leader || process.group == leader);
            led || is_marked(**pid, &tree.mark)
        })
        .map(|(pid, _)| *pid)
        .collect();
    loop {
        let children: Vec<i32> = processes
            .iter()
            .filter(|(pid, process)| found.contains(&process.parent) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    found.remove(&own);
    found.remove(&1);
    found.into_iter().map(|pid| (pid, processes[&pid].start)).collect()
}

/// Whether the process carries the mark. Another user's environment cannot be read: no.
pub fn is_marked(pid: i32, mark: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|entry| entry.starts_with(mark.as_bytes())))
}

struct Process {
    parent: i32,
    group: i32,
    session: i32,
    start: u64,
}

/// Everything that runs; what has ended and waits to be reaped does not count.
fn processes() -> BTreeMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| Some((pid, read_process(pid)?)))
        .collect()
}

fn read_process(pid: i32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command may hold spaces and parentheses: the fields begin behind the last `)`.
fn parse_stat(text: &str) -> Option<Process> {
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    Some(Process { parent, group, session, start: fields.nth(15)?.parse().ok()? })
}

fn signal(pid: i32, start: u64, signal: i32) {
    // The descriptor is opened first: when the start time still matches, it is of the process that was seen.
    let Ok(pidfd) = pidfd_open(pid) else { return };
    if read_process(pid).is_some_and(|process| process.start == start) {
        // It may have ended meanwhile, which is what we want.
        let _ = pidfd_signal(&pidfd, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_confuse_the_fields() {
        let text = "42 (a) b (c) S 7 41 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let process = parse_stat(text).unwrap();
        assert_eq!((process.parent, process.group, process.session, process.start), (7, 41, 40, 98765));
    }

    #[test]
    fn what_has_ended_is_no_member() {
        assert!(parse_stat("42 (a) Z 7 41 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765").is_none());
    }

    #[test]
    fn a_marked_process_is_found_and_killed_with_its_children() {
        let mark = format!("PROCYON_TEST_TREE={}", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let mut child =
            std::process::Command::new("sh").args(["-c", "env -i sleep 300 & wait"]).env(name, value).spawn().unwrap();
        let tree = Tree { mark, leader: None };
        while members(&tree).len() < 2 {
            std::thread::yield_now();
        }
        assert!(kill(&tree) >= 2);
        child.wait().unwrap();
        while !members(&tree).is_empty() {
            std::thread::yield_now();
        }
    }
}
