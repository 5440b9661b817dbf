//! The frozen facts of one container: what it runs, as whom, where, under which limits, and when it comes back.
//!
//! A spec travels from the agent to the keeper and rests with the custodian, so it is plain data. Must not know: YANG.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::access::ConsoleAccess;
use super::console::{ConsoleSpec, InvalidConsole};
use super::permit::{LIMIT_MAX, Permit};
use super::provision::{Provision, plain};
use super::rules::{DELAYS_MAX, Rules, STARTS_MAX};
use crate::checksum::Sha256;

pub const NAME_BYTES_MAX: usize = 255;
/// Environment entries that the keeper sets: what a program is told of its descriptors must be true.
pub const KEEPERS_OWN: [&str; 9] = [
    "PROCYON_CONTAINER",
    "PROCYON_DOOR_FD",
    "PROCYON_LIBRARY",
    "PROCYON_REPOSITORY",
    "PROCYON_CHECKSUMS_FD",
    "PROCYON_READY_FD",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];
pub const LOG_BYTES_MAX_DEFAULT: u64 = 10 * 1024 * 1024;
pub const LOG_FILES_MAX_DEFAULT: u8 = 5;

/// Unique among the containers of a keeper; safe as a file name and as part of an environment entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "container name `{name}` is not valid: it begins with a letter, digit or `_`, goes on with those or `.`, `-`, `@`, \
     `:`, `+`, and has 1 to 255 characters"
)]
pub struct InvalidName {
    pub name: String,
}

impl ContainerName {
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        let goes_on = text.chars().all(|next| next.is_ascii_alphanumeric() || "_.-@:+".contains(next));
        if begins && goes_on && text.len() <= NAME_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName { name: text.chars().take(NAME_BYTES_MAX).collect() })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which part of the agent looks after a container. The name says it, so that their names never clash and each hears
/// of its own alone: `poll` is an app, `container:poll` a configured container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Floor {
    /// Process scripts.
    App,
    /// Containers as configured.
    Container,
    /// Process definitions.
    Process,
    /// Runs of exec and eem scripts, by request id.
    Request,
    /// Scripts that look at commits.
    Judge,
}

impl Floor {
    const PREFIXED: [Self; 4] = [Self::Container, Self::Process, Self::Request, Self::Judge];

    fn prefix(self) -> &'static str {
        match self {
            Self::App => "",
            Self::Container => "container:",
            Self::Process => "process:",
            Self::Request => "request:",
            Self::Judge => "judge:",
        }
    }
}

impl ContainerName {
    /// The keeper's name for what is called `name` on `floor`.
    pub fn on(floor: Floor, name: &str) -> Result<Self, InvalidName> {
        let parsed = Self::parse(&format!("{}{name}", floor.prefix()))?;
        if parsed.floor() == floor && parsed.local() == name {
            Ok(parsed)
        } else {
            Err(InvalidName { name: name.to_owned() })
        }
    }

    pub fn floor(&self) -> Floor {
        let prefixed = Floor::PREFIXED.into_iter().find(|floor| self.0.starts_with(floor.prefix()));
        prefixed.unwrap_or(Floor::App)
    }

    /// What it is called on its floor.
    pub fn local(&self) -> &str {
        &self.0[self.floor().prefix().len()..]
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A Python script behind the checksum gate: the bytes with this checksum run, and no others.
    Script {
        /// As the script shall see itself: `/harddisk:/mirror/script-mgmt/process/x.py`.
        device_path: String,
        /// Where the file is.
        path: PathBuf,
        /// Committed at activation.
        sha256: Sha256,
        args: Vec<String>,
        interpreter: PathBuf,
        /// The package folder that goes on `sys.path`.
        library: PathBuf,
    },
    Command {
        argv: Vec<String>,
    },
}

/// When a program that has ended is started again. Stop and kill by an operator hold under every policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RestartPolicy {
    #[default]
    Always,
    Never,
    /// After a failure, at most so many times since activation; `None` is without end.
    OnFailure {
        max_retries: Option<u32>,
    },
    /// After success only.
    UnlessErrored,
    /// As `Always`; they differ only in what a reboot does, which is the agent's affair.
    UnlessStopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Terminal {
    /// Standard input is `/dev/null`; output and errors are kept apart.
    #[default]
    Pipes,
    /// All three are one pseudo terminal; its output counts as standard output.
    Pty,
}

/// `stdout.log` and `stderr.log` in a folder. A file that is full or old is put aside under the name of the moment
/// (`logs::names`), packed, and removed when there are too many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    pub dir: PathBuf,
    pub bytes_max: u64,
    /// Beside the one that is being written.
    pub files_max: u8,
    /// Where the output goes if not into the folder.
    pub output: Option<PathBuf>,
    /// No file holds what was printed over a longer time.
    pub age_max: Option<Duration>,
    pub compress: bool,
    /// Before each line: a format of `strftime`.
    pub stamp: Option<String>,
    /// Lines go to a system log too.
    pub forward: Option<Forward>,
}

/// Which system log, and under which facility.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub to: ForwardTo,
    pub facility: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardTo {
    /// The host's own.
    Host,
    Udp(SocketAddr),
    /// The socket of a journal.
    Journal(PathBuf),
}

impl LogSpec {
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            bytes_max: LOG_BYTES_MAX_DEFAULT,
            files_max: LOG_FILES_MAX_DEFAULT,
            output: None,
            age_max: None,
            compress: true,
            stamp: None,
            forward: None,
        }
    }

    pub fn output(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| self.dir.join("stdout.log"))
    }

    pub fn errors(&self) -> PathBuf {
        self.dir.join("stderr.log")
    }
}

/// Resource limits; `None` leaves the keeper's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimits {
    pub core_bytes: Option<u64>,
    pub open_files: Option<u64>,
    pub address_space_bytes: Option<u64>,
    pub file_bytes: Option<u64>,
    pub processes: Option<u64>,
    pub cpu_seconds: Option<u64>,
    pub stack_bytes: Option<u64>,
    pub locked_bytes: Option<u64>,
}

impl Default for Rlimits {
    fn default() -> Self {
        Self {
            core_bytes: Some(0),
            // The keeper raises its own to the hard limit; a program that closes them all would suffer.
            open_files: Some(1024),
            address_space_bytes: None,
            file_bytes: None,
            processes: None,
            cpu_seconds: None,
            stack_bytes: None,
            locked_bytes: None,
        }
    }
}

/// What becomes of a program that has outlived the keeper and whoever held its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Survivors {
    /// It is ended, so that it can be started anew with streams that somebody reads.
    #[default]
    End,
    /// It runs on and is watched; what it prints is lost.
    Adopt,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub name: ContainerName,
    pub program: Program,
    /// Made for the account if it is missing.
    pub cwd: PathBuf,
    /// Over the minimal environment; those of [`KEEPERS_OWN`] are refused.
    pub env: Vec<(String, String)>,
    /// `None` is the keeper's own account.
    pub user: Option<String>,
    pub umask: u32,
    pub rlimits: Rlimits,
    pub no_new_privs: bool,
    /// Below these it may write, and nowhere else, where the kernel can keep it from that; nor does it signal what is not of
    /// its own then. `None` is wherever its account may.
    pub writable: Option<Vec<PathBuf>>,
    pub restart: RestartPolicy,
    /// Least time from one start to the next automatic one.
    pub holdoff: Duration,
    pub rules: Rules,
    pub provision: Provision,
    /// Sent to the process group.
    pub stop_signal: i32,
    pub terminal: Terminal,
    pub logs: LogSpec,
    /// Each start is ordered by its floor; while that is away, the keeper goes by this.
    pub permit: Option<Permit>,
    pub survivors: Survivors,
    /// Nothing is started again while the floor is away, whatever the permit holds.
    pub strict: bool,
    /// Containers that this one needs: at a shutdown it ends before them.
    pub after: Vec<ContainerName>,
    /// Of those whom the host vouches for; where the list is empty, the listener decides.
    pub access: Vec<ConsoleAccess>,
    pub console: ConsoleSpec,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidSpec {
    #[error("the command is empty: give at least the program")]
    EmptyCommand,
    #[error("{what} holds a NUL character")]
    NulCharacter { what: &'static str },
    #[error("environment name `{name}` is not valid: it is empty, holds a `=`, or is the keeper's own")]
    EnvironmentName { name: String },
    #[error("{what} `{path}` is not an absolute path")]
    RelativePath { what: &'static str, path: PathBuf },
    #[error("there is no signal {number}")]
    NoSuchSignal { number: i32 },
    #[error(transparent)]
    Console(#[from] InvalidConsole),
    #[error("there are {count} {what}, at most {count_max} are allowed")]
    TooMany { what: &'static str, count: usize, count_max: usize },
    #[error("a start limit counts 1 to {STARTS_MAX} starts")]
    StartLimit,
    #[error("readiness cannot be told on descriptor {number}: choose one of 3 to 9")]
    NoReadyNumber { number: i32 },
    #[error("a watchdog needs a program that says that it is ready by notify")]
    NoWatchdog,
    #[error("a command of the permit may take {seconds} s, at most {} are allowed", LIMIT_MAX.as_secs())]
    LongLimit { seconds: u64 },
}

impl ContainerSpec {
    /// With what is asked for least: restart always, SIGTERM, pipes, no new privileges, no core files.
    pub fn new(name: ContainerName, program: Program, cwd: impl Into<PathBuf>, logs: LogSpec) -> Self {
        Self {
            name,
            program,
            cwd: cwd.into(),
            env: Vec::new(),
            user: None,
            umask: 0o022,
            rlimits: Rlimits::default(),
            no_new_privs: true,
            writable: None,
            restart: RestartPolicy::default(),
            holdoff: Duration::ZERO,
            rules: Rules::default(),
            provision: Provision::default(),
            stop_signal: 15,
            terminal: Terminal::default(),
            logs,
            permit: None,
            survivors: Survivors::default(),
            strict: false,
            after: Vec::new(),
            access: Vec::new(),
            console: ConsoleSpec::default(),
        }
    }

    /// What is executed and as whom, for people: ``starting `/usr/bin/python3` as nobody``.
    pub fn what_starts(&self) -> String {
        let program = match &self.program {
            Program::Script { interpreter, .. } => interpreter.to_string_lossy().into_owned(),
            Program::Command { argv } => argv.first().cloned().unwrap_or_default(),
        };
        match &self.user {
            Some(user) => format!("starting `{program}` as {user}"),
            None => format!("starting `{program}`"),
        }
    }

    /// Whether a program that was started by the one definition is as one that the other would start. What they differ in
    /// besides is of no concern to a program that runs.
    pub fn starts_as(&self, other: &Self) -> bool {
        let Provision { ready_timeout, folders, required, .. } = other.provision.clone();
        let provision = Provision { ready_timeout, folders, required, ..self.provision.clone() };
        self.program == other.program
            && self.cwd == other.cwd
            && self.env == other.env
            && self.user == other.user
            && self.umask == other.umask
            && self.rlimits == other.rlimits
            && self.no_new_privs == other.no_new_privs
            && self.writable == other.writable
            && self.terminal == other.terminal
            && self.logs.dir == other.logs.dir
            && provision == other.provision
    }

    pub fn check(&self) -> Result<(), InvalidSpec> {
        let (words, paths): (&[String], Vec<(&'static str, &PathBuf)>) = match &self.program {
            Program::Command { argv } => {
                if argv.first().is_none_or(String::is_empty) {
                    return Err(InvalidSpec::EmptyCommand);
                }
                (argv, vec![])
            }
            Program::Script { path, args, interpreter, library, .. } => {
                (args, vec![("the script", path), ("the interpreter", interpreter), ("the library", library)])
            }
        };
        if words.iter().any(|word| word.contains('\0')) {
            return Err(InvalidSpec::NulCharacter { what: "an argument" });
        }
        for (what, path) in
            paths.into_iter().chain([("the working folder", &self.cwd), ("the log folder", &self.logs.dir)])
        {
            plain(what, path)?;
        }
        self.writable.iter().flatten().try_for_each(|folder| plain("a writable folder", folder))?;
        self.logs.output.as_ref().map_or(Ok(()), |output| plain("the log file", output))?;
        self.provision.check()?;
        self.permit.iter().try_for_each(Permit::check)?;
        if self.rules.delays.len() > DELAYS_MAX {
            let count = self.rules.delays.len();
            return Err(InvalidSpec::TooMany { what: "restart delays", count, count_max: DELAYS_MAX });
        }
        if self.rules.start_limit.is_some_and(|limit| !(1..=STARTS_MAX).contains(&limit.starts)) {
            return Err(InvalidSpec::StartLimit);
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || KEEPERS_OWN.contains(&name.as_str()) {
                return Err(InvalidSpec::EnvironmentName { name: name.clone() });
            }
            if value.contains('\0') {
                return Err(InvalidSpec::NulCharacter { what: "an environment value" });
            }
        }
        if !(1..=31).contains(&self.stop_signal) {
            return Err(InvalidSpec::NoSuchSignal { number: self.stop_signal });
        }
        Ok(self.console.check()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_who_looks_after_its_container() {
        let name = ContainerName::on(Floor::Container, "ioc@1").unwrap();
        assert_eq!((name.as_str(), name.floor(), name.local()), ("container:ioc@1", Floor::Container, "ioc@1"));
        let app = ContainerName::on(Floor::App, "poll").unwrap();
        assert_eq!((app.as_str(), app.floor(), app.local()), ("poll", Floor::App, "poll"));
        assert!(ContainerName::on(Floor::App, "process:x").is_err(), "an app cannot take another floor's name");
        assert!(ContainerName::on(Floor::Request, "a/b").is_err());
    }

    #[test]
    fn a_name_is_safe_as_a_file_name() {
        for good in ["a", "my-process-app", "ioc@7", "_x.1"] {
            assert!(ContainerName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "-x", "a b", "a\0b", "ä", &"x".repeat(256)] {
            assert!(ContainerName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_spec_says_what_is_wrong_with_it() {
        let name = ContainerName::parse("x").unwrap();
        let command = |argv: &[&str]| Program::Command { argv: argv.iter().map(|word| (*word).to_owned()).collect() };
        let spec = |program| ContainerSpec::new(name.clone(), program, "/tmp", LogSpec::in_dir("/tmp"));
        assert_eq!(spec(command(&["true"])).check(), Ok(()));
        assert_eq!(spec(command(&[])).check(), Err(InvalidSpec::EmptyCommand));
        let nul = InvalidSpec::NulCharacter { what: "an argument" };
        assert_eq!(spec(command(&["a", "b\0"])).check(), Err(nul));
        let mut reserved = spec(command(&["true"]));
        reserved.env.push(("PROCYON_DOOR_FD".into(), "3".into()));
        assert!(matches!(reserved.check(), Err(InvalidSpec::EnvironmentName { .. })));
    }
}
