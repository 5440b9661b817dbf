//! How a container's program is called: words, environment, limits. Pure but for the identity of the root.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::checksum::Sha256;
use crate::container::machine::RunId;
use crate::container::provision::Readiness;
use crate::container::spec::{ContainerName, ContainerSpec, Program, Rlimits};
use crate::sys::spawn::{Account, Limit};

/// Compiles the sealed bytes under their device path and runs them as `__main__`.
pub const LAUNCHER: &str = include_str!("../../scripts/python/procyon_launcher.py");

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Every process of a container carries it; its value is `NAME@ROOT/RUN`.
pub const MARK: &str = "PROCYON_CONTAINER";

/// Which keeper of the host a container belongs to: device and inode of the root, the same for every successor.
///
/// Without it two keepers with containers of the same name would take each other's processes for their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootId(String);

impl RootId {
    pub fn of(root: &Path) -> io::Result<Self> {
        let facts = root.metadata()?;
        Ok(Self(format!("{:x}.{:x}", facts.dev(), facts.ino())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The numbers under which the program finds its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    pub door: RawFd,
    pub script: Option<RawFd>,
    pub launcher: Option<RawFd>,
    pub checksums: Option<RawFd>,
}

/// The beginning of the environment entry by which a container's processes are known.
pub fn mark(root: &RootId, name: &ContainerName) -> String {
    format!("{MARK}={name}@{}/", root.0)
}

/// Whose a mark's value says its process is, if it is of a container of this root.
pub fn read_mark(root: &RootId, value: &str) -> Option<(ContainerName, RunId)> {
    let (place, run) = value.rsplit_once('/')?;
    let (name, of_root) = place.rsplit_once('@')?;
    let run = RunId(run.parse().ok()?);
    (of_root == root.0).then(|| ContainerName::parse(name).ok()).flatten().map(|name| (name, run))
}

pub fn argv(spec: &ContainerSpec, inherited: Inherited) -> Vec<String> {
    match &spec.program {
        Program::Command { argv } => argv.clone(),
        Program::Script { device_path, args, interpreter, .. } => {
            let launcher = inherited.launcher.map_or_else(String::new, |fd| format!("/proc/self/fd/{fd}"));
            let script = inherited.script.map_or_else(String::new, |fd| fd.to_string());
            // -u: what is printed reaches the log at once; -s: no packages of the account's home.
            let fixed = [interpreter.to_string_lossy().into_owned(), "-u".into(), "-s".into(), launcher, script];
            fixed.into_iter().chain([device_path.clone()]).chain(args.iter().cloned()).collect()
        }
    }
}

/// The environment of a command beside the program.
pub fn helper_env(spec: &ContainerSpec, cwd: &Path, account: Option<&Account>, root: &RootId) -> Vec<(String, String)> {
    let mut env = common_env(spec, cwd, account);
    env.push((MARK.into(), format!("{}@{}/0", spec.name, root.0)));
    env
}

fn common_env(spec: &ContainerSpec, cwd: &Path, account: Option<&Account>) -> Vec<(String, String)> {
    let mut env = vec![("PATH".to_owned(), PATH.to_owned()), ("LANG".to_owned(), "C.UTF-8".to_owned())];
    if let Some(account) = account {
        env.push(("USER".into(), account.name.clone()));
        env.push(("LOGNAME".into(), account.name.clone()));
        env.push(("HOME".into(), account.home.to_string_lossy().into_owned()));
        env.push(("SHELL".into(), account.shell.to_string_lossy().into_owned()));
    } else {
        env.push(("HOME".into(), cwd.to_string_lossy().into_owned()));
    }
    env.extend(spec.env.iter().cloned());
    env
}

pub fn env(
    spec: &ContainerSpec,
    account: Option<&Account>,
    root: &RootId,
    run: RunId,
    inherited: Inherited,
) -> Vec<(String, String)> {
    let mut env = common_env(spec, &spec.cwd, account);
    env.push((MARK.into(), format!("{}@{}/{}", spec.name, root.0, run.0)));
    env.push(("PROCYON_DOOR_FD".into(), inherited.door.to_string()));
    match spec.provision.readiness {
        Readiness::WhenRunning => {}
        Readiness::Notify => {
            env.push(("NOTIFY_SOCKET".into(), format!("@{}", notify_name(root, &spec.name))));
            let watchdog = spec.provision.watchdog;
            env.extend(watchdog.map(|every| ("WATCHDOG_USEC".into(), every.as_micros().to_string())));
        }
        Readiness::Newline { number } => env.push(("PROCYON_READY_FD".into(), number.to_string())),
    }
    if let Program::Script { path, library, .. } = &spec.program {
        env.push(("PROCYON_LIBRARY".into(), library.to_string_lossy().into_owned()));
        if let Some(folder) = path.parent() {
            env.push(("PROCYON_REPOSITORY".into(), folder.to_string_lossy().into_owned()));
        }
        if let Some(checksums) = inherited.checksums {
            env.push(("PROCYON_CHECKSUMS_FD".into(), checksums.to_string()));
        }
    }
    env
}

/// Where a program without a `/` in its name is looked for.
pub fn search_path(spec: &ContainerSpec) -> &str {
    spec.env.iter().rev().find(|(name, _)| name == "PATH").map_or(PATH, |(_, value)| value)
}

/// The name of the socket by which a container says that it is ready; abstract, so that every account reaches it.
pub fn notify_name(root: &RootId, name: &ContainerName) -> String {
    // The kernel allows 107 bytes; a long name is as good as its checksum.
    let text = name.as_str();
    let short = if text.len() <= 64 { text.to_owned() } else { Sha256::of(text.as_bytes()).to_string() };
    format!("procyon/{}/{short}", root.0)
}

pub fn limits(rlimits: &Rlimits) -> Vec<Limit> {
    [
        (libc::RLIMIT_CORE, rlimits.core_bytes),
        (libc::RLIMIT_NOFILE, rlimits.open_files),
        (libc::RLIMIT_AS, rlimits.address_space_bytes),
        (libc::RLIMIT_FSIZE, rlimits.file_bytes),
        (libc::RLIMIT_NPROC, rlimits.processes),
        (libc::RLIMIT_CPU, rlimits.cpu_seconds),
        (libc::RLIMIT_STACK, rlimits.stack_bytes),
        (libc::RLIMIT_MEMLOCK, rlimits.locked_bytes),
    ]
    .into_iter()
    .filter_map(|(resource, value)| value.map(|value| Limit { resource, value, soft_only: false }))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::spec::LogSpec;

    #[test]
    fn a_script_is_called_by_the_launcher_on_its_sealed_bytes() {
        let program = Program::Script {
            device_path: "/harddisk:/mirror/script-mgmt/process/x.py".into(),
            path: "/root/process/x.py".into(),
            sha256: Sha256::of(b""),
            args: vec!["--threshold".into(), "5".into()],
            interpreter: "/usr/bin/python3".into(),
            library: "/usr/lib/procyon/python".into(),
        };
        let name = ContainerName::parse("app").unwrap();
        let mut spec = ContainerSpec::new(name, program, "/work", LogSpec::in_dir("/logs"));
        spec.env.push(("PATH".into(), "/opt/bin".into()));
        let inherited = Inherited { door: 7, script: Some(8), launcher: Some(9), checksums: Some(10) };
        assert_eq!(
            argv(&spec, inherited).join(" "),
            "/usr/bin/python3 -u -s /proc/self/fd/9 8 /harddisk:/mirror/script-mgmt/process/x.py --threshold 5"
        );
        let text: Vec<String> = env(&spec, None, &RootId("fd01.2a".into()), RunId(3), inherited)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        LANG=C.UTF-8
        HOME=/work
        PATH=/opt/bin
        PROCYON_CONTAINER=app@fd01.2a/3
        PROCYON_DOOR_FD=7
        PROCYON_LIBRARY=/usr/lib/procyon/python
        PROCYON_REPOSITORY=/root/process
        PROCYON_CHECKSUMS_FD=10
        ");
    }
}
