//! The processes that belong together: by control group, by a mark in their environment, by session, by ancestry.
//!
//! Without a control group, a process that has left its session, lost its parents *and* cleared its environment cannot
//! be told apart from a stranger.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use super::cgroup;
use super::process::{pidfd_open, pidfd_signal};

/// How often the search is repeated while new members keep turning up (something forks as fast as it is found).
const ROUNDS_MAX: usize = 200;
/// Most files of `/proc` that are read here are shorter.
const PROC_FILE_BYTES: usize = 8 * 1024;

/// How to recognise the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// An environment entry up to and with the first `/` of its value: `NAME=value/`.
    pub mark: String,
    /// The session and group leader, while it has not been reaped.
    pub leader: Option<i32>,
    /// Its control group, where it has one.
    pub group: Option<PathBuf>,
    /// One that is known besides, by its process id and start time.
    pub known: Option<(i32, u64)>,
}

/// Stops every member of all the trees first, so that none can fork its way out, then kills them. Returns how many were
/// found of each tree; one look at the processes serves all trees. A control group that is empty is removed, and says
/// without such a look that nothing is left.
pub fn kill(trees: &[&Tree]) -> Vec<usize> {
    let is_known_empty = |tree: &Tree| tree.leader.is_none() && tree.known.is_none() && is_removed(tree);
    let left: Vec<usize> = (0..trees.len()).filter(|index| !is_known_empty(trees[*index])).collect();
    let mut found = vec![0; trees.len()];
    if !left.is_empty() {
        let of_left = kill_found(&left.iter().map(|index| trees[*index]).collect::<Vec<_>>());
        left.into_iter().zip(of_left).for_each(|(index, count)| found[index] = count);
    }
    found
}

/// The kernel removes none in which a process lives.
fn is_removed(tree: &Tree) -> bool {
    tree.group.as_ref().is_some_and(|group| fs::remove_dir(group).is_ok())
}

fn kill_found(trees: &[&Tree]) -> Vec<usize> {
    let mut stopped: Vec<BTreeMap<i32, u64>> = vec![BTreeMap::new(); trees.len()];
    trees.iter().filter_map(|tree| tree.group.as_deref()).for_each(cgroup::kill);
    for _ in 0..ROUNDS_MAX {
        let mut fresh = false;
        for (stopped, members) in stopped.iter_mut().zip(members(trees)) {
            for (pid, start) in members {
                if stopped.insert(pid, start) != Some(start) {
                    signal(pid, start, libc::SIGSTOP);
                    fresh = true;
                }
            }
        }
        if !fresh {
            break;
        }
    }
    stopped.iter().for_each(end);
    stopped.iter().map(BTreeMap::len).collect()
}

/// Process id and start time of each living member, tree by tree.
pub fn members(trees: &[&Tree]) -> Vec<BTreeMap<i32, u64>> {
    let processes = processes();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let marks: BTreeMap<&[u8], usize> =
        trees.iter().enumerate().map(|(index, tree)| (tree.mark.as_bytes(), index)).collect();
    let leaders: BTreeMap<i32, usize> =
        trees.iter().enumerate().filter_map(|(index, tree)| Some((tree.leader?, index))).collect();
    let mut belongs: BTreeMap<i32, usize> = BTreeMap::new();
    for (index, tree) in trees.iter().enumerate() {
        let grouped = tree.group.iter().flat_map(|group| cgroup::members(group));
        belongs.extend(grouped.filter(|pid| processes.contains_key(pid)).map(|pid| (pid, index)));
    }
    for (index, tree) in trees.iter().enumerate() {
        let known = tree.known.filter(|(pid, start)| processes.get(pid).is_some_and(|it| it.start == *start));
        belongs.extend(known.map(|(pid, _)| (pid, index)));
    }
    for (pid, process) in &processes {
        if belongs.contains_key(pid) {
            continue;
        }
        let led = leaders.get(&process.session).or_else(|| leaders.get(&process.group)).copied();
        if let Some(index) = led.or_else(|| marked_as(*pid, &marks)) {
            belongs.insert(*pid, index);
        }
    }
    loop {
        let children: Vec<(i32, usize)> = processes
            .iter()
            .filter(|(pid, _)| !belongs.contains_key(pid))
            .filter_map(|(pid, process)| Some((*pid, *belongs.get(&process.parent)?)))
            .collect();
        if children.is_empty() {
            break;
        }
        belongs.extend(children);
    }
    let mut members = vec![BTreeMap::new(); trees.len()];
    for (pid, index) in belongs {
        if pid != own && pid != 1 {
            members[index].insert(pid, processes[&pid].start);
        }
    }
    members
}

/// Everything below a process, children of children included: process id and start time.
pub fn descendants(of: i32) -> BTreeMap<i32, u64> {
    let processes = processes();
    let mut below = BTreeMap::new();
    loop {
        let more: Vec<(i32, u64)> = processes
            .iter()
            .filter(|(pid, process)| {
                !below.contains_key(*pid) && (process.parent == of || below.contains_key(&process.parent))
            })
            .map(|(pid, process)| (*pid, process.start))
            .collect();
        if more.is_empty() {
            return below;
        }
        below.extend(more);
    }
}

/// Kills each, if it is still the one that was seen.
pub fn end(found: &BTreeMap<i32, u64>) {
    found.iter().for_each(|(pid, start)| signal(*pid, *start, libc::SIGKILL));
}

/// Every process whose environment has this variable: its id, where it stands, the value.
pub fn marked(variable: &str) -> Vec<(i32, Facts, String)> {
    let begins = format!("{variable}=");
    let value_of = |pid: i32| {
        let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let value = bytes.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(begins.as_bytes()))?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let seen = processes().into_iter().filter_map(|(pid, it)| Some((pid, it, value_of(pid)?)));
    seen.map(|(pid, it, value)| (pid, Facts { parent: it.parent, session: it.session, start: it.start }, value))
        .collect()
}

fn marked_as(pid: i32, marks: &BTreeMap<&[u8], usize>) -> Option<usize> {
    let bytes = read_whole(format!("/proc/{pid}/environ")).ok()?;
    bytes.split(|byte| *byte == 0).find_map(|entry| {
        let end = entry.iter().position(|byte| *byte == b'/')?;
        marks.get(&entry[..=end]).copied()
    })
}

/// A file of `/proc`, which does not tell how long it is: [`fs::read`] would begin with 32 bytes and go on in small
/// steps, with a system call for each.
pub fn read_whole(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PROC_FILE_BYTES);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The words of a process, joined by spaces; its name in brackets where it shows none.
pub fn command_of(pid: i32, bytes_max: usize) -> String {
    let mut bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.truncate(bytes_max);
    let words = String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned();
    match words.is_empty() {
        true => format!("[{}]", fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end()),
        false => words,
    }
}

/// Where a living process stands among the others, and when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub parent: i32,
    pub session: i32,
    /// In ticks since the boot.
    start: u64,
}

impl Facts {
    /// In ticks since the boot; with the process id it is one process and no other.
    pub fn start(&self) -> u64 {
        self.start
    }
}

/// `None` for what has ended, reaped or not.
pub fn facts(pid: i32) -> Option<Facts> {
    read_process(pid).map(|it| Facts { parent: it.parent, session: it.session, start: it.start })
}

/// When the process began, since the epoch; as exact as ticks are.
pub fn started(facts: &Facts) -> Option<Duration> {
    let ticks = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Duration::from_secs(boot) + Duration::from_millis(facts.start.saturating_mul(1000) / ticks.max(1)))
}

/// Whether it still is this program, as what is to become another is until it does.
pub fn is_this_program(pid: i32) -> bool {
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    program("self").is_some_and(|own| program(&pid.to_string()) == Some(own))
}

/// Whether that is in its environment. Another user's cannot be read: no.
pub fn has_variable(pid: i32, name: &str) -> bool {
    is_marked(pid, &format!("{name}="))
}

/// Whether the process carries the mark. Another user's environment cannot be read: no.
pub fn is_marked(pid: i32, mark: &str) -> bool {
    read_whole(format!("/proc/{pid}/environ"))
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
    parse_stat(&String::from_utf8_lossy(&read_whole(format!("/proc/{pid}/stat")).ok()?))
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
        let mark = format!("PROCYON_TEST_TREE={}/", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let mut child =
            std::process::Command::new("sh").args(["-c", "env -i sleep 300 & wait"]).env(name, value).spawn().unwrap();
        let tree = Tree { mark, leader: None, group: None, known: None };
        let other = Tree { mark: "PROCYON_TEST_TREE=other/".into(), leader: None, group: None, known: None };
        let trees = [&other, &tree];
        while members(&trees)[1].len() < 2 {
            std::thread::yield_now();
        }
        let found = kill(&trees);
        assert!(found[0] == 0 && found[1] >= 2, "{found:?}");
        child.wait().unwrap();
        while !members(&trees)[1].is_empty() {
            std::thread::yield_now();
        }
    }
}
