//! Control groups (version 2): one for each container, where the kernel and the administrator let us make them.
//!
//! Where there are none, or where they have no controllers, that is told in words and the containers run all the same.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const MOUNTS: &str = "/proc/self/mountinfo";
const OWN: &str = "/proc/self/cgroup";
/// Where this process goes when its own group must hand controllers down: a group with processes of its own may not.
const OWN_LEAF: &str = "procyon-keeper";
/// Of the group below which a root's containers have theirs.
const BASE_PREFIX: &str = "procyon-";
/// Where systemd puts what it runs beside the main process of a unit with groups of its own.
const CONTROL: &str = "/.control";
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// A share of the processor is given anew this often, as the kernel has it by default.
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;

/// The group below which this keeper makes those of its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    base: PathBuf,
    pub can_limit_memory: bool,
    pub can_limit_processes: bool,
    pub can_limit_cpu: bool,
}

/// What a group may use; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupLimits {
    pub memory_bytes: Option<u64>,
    pub processes: Option<u64>,
    /// Of one processor.
    pub cpu_percent: Option<u32>,
}

impl Groups {
    /// # Errors
    /// Why there are no groups on this host, or none that we may make.
    pub fn probe(id: &str) -> Result<Self, String> {
        let mounts = fs::read_to_string(MOUNTS).map_err(|error| format!("{MOUNTS}: {error}"))?;
        let mount = mount_point(&mounts).ok_or("no control groups of version 2 are mounted")?;
        let own = fs::read_to_string(OWN).map_err(|error| format!("{OWN}: {error}"))?;
        let own = own_path(&own).ok_or("this process is in no control group of version 2")?;
        let above = mount.join(own.trim_start_matches('/'));
        let base = above.join(format!("{BASE_PREFIX}{id}"));
        match fs::create_dir(&base) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("{} cannot be made: {error}", base.display()));
            }
            _ => {}
        }
        let mut groups = Self { base, can_limit_memory: false, can_limit_processes: false, can_limit_cpu: false };
        // A group that does not let processes in is of no use.
        let unusable = |error: io::Error| format!("no group can be made: {error}");
        groups.folder_of("probe", GroupLimits::default()).map_err(unusable)?;
        OpenOptions::new().write(true).open(groups.path_of("probe").join("cgroup.procs")).map_err(unusable)?;
        groups.remove("probe");
        hand_down(&above);
        groups.can_limit_memory = enable(&above, "memory") && enable(&groups.base, "memory");
        groups.can_limit_processes = enable(&above, "pids") && enable(&groups.base, "pids");
        groups.can_limit_cpu = enable(&above, "cpu") && enable(&groups.base, "cpu");
        Ok(groups)
    }

    pub fn path_of(&self, name: &str) -> PathBuf {
        // Not the bare name, which may be one of the kernel's own files.
        self.base.join(format!("c-{name}"))
    }

    /// Makes the group if need be, sets its limits, and opens its folder.
    pub fn folder_of(&self, name: &str, limits: GroupLimits) -> io::Result<OwnedFd> {
        let path = self.path_of(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&path)?,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let text = |limit: Option<u64>| limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
        if self.can_limit_memory {
            fs::write(path.join("memory.max"), text(limits.memory_bytes))?;
        }
        if self.can_limit_processes {
            fs::write(path.join("pids.max"), text(limits.processes))?;
        }
        if self.can_limit_cpu {
            let quota = limits.cpu_percent.map(|percent| u64::from(percent) * CPU_PERIOD_MICROSECONDS / 100);
            fs::write(path.join("cpu.max"), format!("{} {CPU_PERIOD_MICROSECONDS}", text(quota)))?;
        }
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path).map(Into::into)
    }

    /// Forgets a group in which nothing is left.
    pub fn remove(&self, name: &str) {
        // One that still holds something stays, and is used again.
        let _ = fs::remove_dir(self.path_of(name));
    }

    /// Forgets everything, at the end.
    pub fn remove_all(&self) {
        let _ = fs::remove_dir(&self.base);
    }
}

/// A keeper has ended, and systemd is about to start the next one in the same group. No process gets into a group that hands
/// controllers down while others below it live: they are taken back, until the next keeper hands them down again. Called by
/// a process of the unit that systemd has put beside the keeper.
///
/// # Errors
/// Why the own group cannot be told.
pub fn make_way() -> io::Result<()> {
    let not_there = |what: &str| io::Error::new(io::ErrorKind::NotFound, what.to_owned());
    let mounts = fs::read_to_string(MOUNTS)?;
    let mount = mount_point(&mounts).ok_or_else(|| not_there("no control groups of version 2 are mounted"))?;
    let own = fs::read_to_string(OWN)?;
    let own = own_path(&own).ok_or_else(|| not_there("this process is in no control group of version 2"))?;
    let own = own.strip_suffix(CONTROL).unwrap_or(own);
    take_back(&mount.join(own.trim_start_matches('/')));
    Ok(())
}

fn take_back(unit: &Path) {
    let below = fs::read_dir(unit).into_iter().flatten().flatten().map(|entry| entry.path());
    let bases = below.filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(BASE_PREFIX)) && path.is_dir()
    });
    for group in bases.chain([unit.to_owned()]) {
        for controller in CONTROLLERS {
            // One that was not handed down, or a group that is gone, is as good.
            let _ = hand(&group, '-', controller);
        }
    }
}

fn hand(group: &Path, sign: char, controller: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(group.join("cgroup.subtree_control"))?;
    io::Write::write_all(&mut file, format!("{sign}{controller}").as_bytes())
}

/// The processes in a group; none where there is no such group.
pub fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Kills whatever is in the group, at once; kernels before 5.14 cannot.
pub fn kill(group: &Path) {
    // A group that is not there has nothing to kill.
    let _ = fs::write(group.join("cgroup.kill"), "1");
}

/// A group may hand controllers down only if no process is in it itself. If we are alone in ours, we go one down.
fn hand_down(above: &Path) {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    if members(above) != [own] {
        return;
    }
    let leaf = above.join(OWN_LEAF);
    // Without this there are no limits, which is told.
    let _ = fs::create_dir(&leaf).and_then(|()| fs::write(leaf.join("cgroup.procs"), "0"));
}

fn enable(group: &Path, controller: &str) -> bool {
    let listed = |file: &str| {
        fs::read_to_string(group.join(file))
            .is_ok_and(|text| text.split_ascii_whitespace().any(|one| one == controller))
    };
    if listed("cgroup.subtree_control") {
        return true;
    }
    listed("cgroup.controllers") && hand(group, '+', controller).is_ok()
}

/// `36 35 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup rw`: the fifth field, if the type behind the dash is right.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| fields.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// `0::/system.slice/procyon-keeper.service`
fn own_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_of_version_two_is_found_among_others() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("30 1 0:26 / / rw - ext4 /dev/vda rw\n"), None);
        assert_eq!(own_path("8:pids:/x\n0::/system.slice/a.service\n"), Some("/system.slice/a.service"));
    }

    #[test]
    fn a_keeper_that_has_gone_hands_nothing_down_any_more() {
        let unit = tempfile::tempdir().unwrap();
        let control = |group: &str| unit.path().join(group).join("cgroup.subtree_control");
        for group in ["procyon-fe00.1", "procyon-fe00.1/c-a", ".control"] {
            fs::create_dir(unit.path().join(group)).unwrap();
        }
        for group in ["", "procyon-fe00.1", "procyon-fe00.1/c-a"] {
            fs::write(control(group), "").unwrap();
        }
        take_back(unit.path());
        let said =
            ["", "procyon-fe00.1", "procyon-fe00.1/c-a"].map(|group| fs::read_to_string(control(group)).unwrap());
        assert_eq!(said.map(|text| !text.is_empty()), [true, true, false], "what is below the containers is theirs");
    }

    #[test]
    fn what_enters_a_group_is_its_member_and_dies_with_it() {
        let id = format!("test.{}", std::process::id());
        let groups = match Groups::probe(&id) {
            Ok(groups) => groups,
            Err(why) => return assert!(!why.is_empty(), "a host without groups says why"),
        };
        groups.folder_of("x", GroupLimits::default()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        fs::write(groups.path_of("x").join("cgroup.procs"), child.id().to_string()).unwrap();
        assert_eq!(members(&groups.path_of("x")), [i32::try_from(child.id()).unwrap()]);
        kill(&groups.path_of("x"));
        assert!(!child.wait().unwrap().success());
        groups.remove("x");
        groups.remove_all();
        assert!(!groups.path_of("x").exists());
    }
}
