//! procServ's options as values. Pure: what the environment says comes in.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::{Endpoint, Reach, WrongEndpoint};
use super::getopt::{self, Known, Takes};
use crate::console::keys::{self, Keys};
use crate::console::texts::{RestartMode, Wording};

pub const HOLDOFF_DEFAULT: Duration = Duration::from_secs(15);
/// How long after `^X` the quit key still quits, although the child has been started again.
pub const QUIT_WINDOW_DEFAULT: Duration = Duration::from_secs(15);
const KILL_SIGNAL_DEFAULT: i32 = libc::SIGKILL;
const KILL_SIGNAL_MAX: i32 = 31;

pub const USAGE: &str = "\
Usage: procServ [options] -P <endpoint>... <command args ...>    (-h for help)
       procServ [options] <endpoint> <command args ...>
";

pub const HELP: &str = "\
<endpoint>: where the console is served
    <port>                     TCP on the loopback interface (0 picks a port)
    <address>:<port>           the same; [::1]:<port> for IPv6
    unix:<path>                Unix socket, mode 0666
    unix:<user>:<group>:<mode>:<path>
                               with owner, group and octal mode, each of which may be empty
    unix:@<name>               abstract Unix socket
Options (^X stands for a control character, ^^ for a caret):
    --allow                    accepted for compatibility: not supported
    --autorestartcmd <key>     key that toggles auto restart (^T, \"\" for none)
 -c --chdir <dir>              start the child in <dir>
    --coresize <n>             soft limit of the child's core files
 -d --debug                    stay, and show the console on standard output
 -e --exec <file>              what to execute; <command> and <args> become its arguments
 -f --foreground               stay; a terminal becomes a console client
 -G --grace-period <n>         on SIGTERM give the child <n> seconds after the kill signal
 -h --help                     show this
    --holdoff <n>              least seconds between two starts (15)
 -i --ignore <keys>            keys that never reach the child
 -I --info-file <file>         write process id and endpoints to <file>
 -k --killcmd <key>            key that kills the child (^X, \"\" for none)
    --killsig <n>              signal that it sends (9)
 -l --logport <endpoint>       read-only endpoint, open to other hosts unless --restrict
 -L --logfile <file>           append all output to <file>, - for standard output
    --logstamp[=<format>]      time stamp before each line of the log (strftime)
 -n --name <text>              name of the child in messages
    --noautorestart            do not start the child again when it ends
 -o --oneshot                  end with the child, with its exit status
 -p --pidfile <file>           write the server's process id to <file>
 -P --port <endpoint>          serve the console there; may be given again
 -q --quiet                    no remarks at start
    --quit-window <n>          seconds after the kill key in which ^Q quits, 0 for never (15)
    --restrict                 log port for this host only
    --timefmt <format>         times in messages (strftime, %c)
 -V --version                  show the version
 -w --wait                     wait for ^R or ^X before the first start
    --wording <version>        messages as of 2.7 (default) or 2.8, with three restart modes
 -x --logoutcmd <key>          key that ends a client's connection (none)
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Allow,
    ToggleKey,
    CoreSize,
    Folder,
    Debug,
    Exec,
    Foreground,
    Grace,
    Help,
    Holdoff,
    Ignore,
    InfoFile,
    KillKey,
    KillSignal,
    LogPort,
    LogFile,
    LogStamp,
    Name,
    NoRestart,
    OneShot,
    PidFile,
    Port,
    Quiet,
    QuitWindow,
    Restrict,
    TimeFormat,
    Version,
    Wait,
    Wording,
    LogoutKey,
}

const fn known(id: Id, long: &'static str, short: u8, takes: Takes) -> Known<Id> {
    Known { id, long, short: if short == b' ' { None } else { Some(short) }, takes }
}

const KNOWN: &[Known<Id>] = &[
    known(Id::Allow, "allow", b' ', Takes::Nothing),
    known(Id::ToggleKey, "autorestartcmd", b' ', Takes::Value),
    known(Id::CoreSize, "coresize", b' ', Takes::Value),
    known(Id::Folder, "chdir", b'c', Takes::Value),
    known(Id::Debug, "debug", b'd', Takes::Nothing),
    known(Id::Exec, "exec", b'e', Takes::Value),
    known(Id::Foreground, "foreground", b'f', Takes::Nothing),
    known(Id::Grace, "grace-period", b'G', Takes::Value),
    known(Id::Help, "help", b'h', Takes::Nothing),
    known(Id::Holdoff, "holdoff", b' ', Takes::Value),
    known(Id::Ignore, "ignore", b'i', Takes::Value),
    known(Id::InfoFile, "info-file", b'I', Takes::Value),
    known(Id::KillKey, "killcmd", b'k', Takes::Value),
    known(Id::KillSignal, "killsig", b' ', Takes::Value),
    known(Id::LogPort, "logport", b'l', Takes::Value),
    known(Id::LogFile, "logfile", b'L', Takes::Value),
    known(Id::LogStamp, "logstamp", b' ', Takes::MayValue),
    known(Id::Name, "name", b'n', Takes::Value),
    known(Id::NoRestart, "noautorestart", b' ', Takes::Nothing),
    known(Id::OneShot, "oneshot", b'o', Takes::Nothing),
    known(Id::PidFile, "pidfile", b'p', Takes::Value),
    known(Id::Port, "port", b'P', Takes::Value),
    known(Id::Quiet, "quiet", b'q', Takes::Nothing),
    known(Id::QuitWindow, "quit-window", b' ', Takes::Value),
    known(Id::Restrict, "restrict", b' ', Takes::Nothing),
    known(Id::TimeFormat, "timefmt", b' ', Takes::Value),
    known(Id::Version, "version", b'V', Takes::Nothing),
    known(Id::Wait, "wait", b'w', Takes::Nothing),
    known(Id::Wording, "wording", b' ', Takes::Value),
    known(Id::LogoutKey, "logoutcmd", b'x', Takes::Value),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub endpoints: Vec<String>,
    pub log_port: Option<String>,
    pub restrict: bool,
    pub debug: bool,
    pub foreground: bool,
    pub quiet: bool,
    pub wait: bool,
    pub mode: RestartMode,
    pub wording: Wording,
    pub keys: Keys,
    pub kill_signal: i32,
    pub holdoff: Duration,
    pub quit_window: Duration,
    pub grace: Duration,
    pub core_bytes: Option<u64>,
    pub folder: Option<PathBuf>,
    pub exec: Option<OsString>,
    /// Where a command without a path was found.
    pub found: Option<OsString>,
    pub name: Option<String>,
    pub log_file: Option<PathBuf>,
    /// Whether log lines are stamped, and how if not by the time format.
    pub stamp: Option<Option<String>>,
    pub time_format: String,
    pub pid_file: Option<PathBuf>,
    pub info_file: Option<PathBuf>,
    /// The command's words.
    pub command: Vec<OsString>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            log_port: None,
            restrict: false,
            debug: false,
            foreground: false,
            quiet: false,
            wait: false,
            mode: RestartMode::On,
            wording: Wording::V2_7,
            keys: Keys::default(),
            kill_signal: KILL_SIGNAL_DEFAULT,
            holdoff: HOLDOFF_DEFAULT,
            quit_window: QUIT_WINDOW_DEFAULT,
            grace: Duration::ZERO,
            core_bytes: None,
            folder: None,
            exec: None,
            found: None,
            name: None,
            log_file: None,
            stamp: None,
            time_format: "%c".to_owned(),
            pid_file: None,
            info_file: None,
            command: Vec::new(),
        }
    }
}

/// What the command line asks for, with remarks for standard error in each case.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Run(Box<Options>),
    Help,
    Version,
    Nonsense,
}

/// `PROCSERV_PID` and `PROCSERV_DEBUG`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    pub pid_file: Option<PathBuf>,
    pub debug: bool,
}

pub fn parse(words: Vec<OsString>, environment: Environment) -> (Asked, Vec<String>) {
    let line = getopt::parse(words, KNOWN);
    let mut remarks = line.complaints;
    let mut wrong = !remarks.is_empty();
    let mut options =
        Options { pid_file: environment.pid_file, debug: environment.debug, command: line.rest, ..Options::default() };
    for (id, value) in line.given {
        match id {
            Id::Help => return (Asked::Help, remarks),
            Id::Version => return (Asked::Version, remarks),
            id => options.take(id, value.as_deref(), &mut remarks),
        }
    }
    let needed = if options.endpoints.is_empty() { 2 } else { 1 };
    if options.command.len() < needed {
        remarks.push("missing argument".to_owned());
        wrong = true;
    } else if needed == 2 {
        // The old form: the first word is the one endpoint.
        options.endpoints = vec![options.command.remove(0).to_string_lossy().into_owned()];
    }
    (if wrong { Asked::Nonsense } else { Asked::Run(Box::new(options)) }, remarks)
}

impl Options {
    fn take(&mut self, id: Id, value: Option<&OsStr>, remarks: &mut Vec<String>) {
        let bytes = value.map(OsStr::as_bytes).unwrap_or_default();
        let text = || String::from_utf8_lossy(bytes).into_owned();
        let path = || Some(PathBuf::from(OsStr::from_bytes(bytes)));
        let seconds = |before: Duration| match number(bytes) {
            seconds @ 0.. => Duration::from_secs(seconds.unsigned_abs()),
            _ => before,
        };
        match id {
            Id::Allow => remarks.push("--allow not supported".to_owned()),
            Id::ToggleKey => self.keys.toggle = keys::key(bytes),
            Id::CoreSize => self.core_bytes = u64::try_from(number(bytes)).ok().or(self.core_bytes),
            Id::Folder => self.folder = path(),
            Id::Debug => self.debug = true,
            Id::Exec => self.exec = value.map(OsStr::to_owned),
            Id::Foreground => self.foreground = true,
            Id::Grace => self.grace = seconds(Duration::ZERO),
            Id::Holdoff => self.holdoff = seconds(self.holdoff),
            Id::Ignore => self.keys.ignored = keys::keys(bytes),
            Id::InfoFile => self.info_file = path(),
            Id::KillKey => self.keys.kill = keys::key(bytes),
            Id::KillSignal => self.take_kill_signal(number(bytes), remarks),
            Id::LogPort => self.log_port = Some(text()),
            Id::LogFile => self.log_file = path(),
            Id::LogStamp => self.stamp = Some(value.map(|_| text())),
            Id::Name => self.name = Some(text()),
            Id::NoRestart => self.mode = RestartMode::Off,
            Id::OneShot => self.mode = RestartMode::OneShot,
            Id::PidFile => self.pid_file = path(),
            Id::Port => self.endpoints.push(text()),
            Id::Quiet => self.quiet = true,
            Id::QuitWindow => self.quit_window = seconds(self.quit_window),
            Id::Restrict => self.restrict = true,
            Id::TimeFormat => self.time_format = text(),
            Id::Wait => self.wait = true,
            Id::Wording => match bytes {
                b"2.7" | b"2.7.0" => self.wording = Wording::V2_7,
                b"2.8" | b"2.8.0" => self.wording = Wording::V2_8,
                _ => remarks.push(format!("--wording {}: not known, give 2.7 or 2.8", text())),
            },
            Id::LogoutKey => self.keys.logout = keys::key(bytes),
            Id::Help | Id::Version => {}
        }
    }

    fn take_kill_signal(&mut self, number: i64, remarks: &mut Vec<String>) {
        match i32::try_from(number.unsigned_abs()) {
            Ok(signal @ ..=KILL_SIGNAL_MAX) => self.kill_signal = signal,
            _ => {
                let (number, used) = (number.unsigned_abs(), self.kill_signal);
                remarks.push(format!("invalid kill signal {number} (>31) - using default ({used})"));
            }
        }
    }

    /// Where to serve: each endpoint, and whether who comes there only watches.
    pub fn places(&self) -> Result<Vec<(Endpoint, bool)>, WrongEndpoint> {
        let control = self.endpoints.iter().map(|text| Ok((Endpoint::parse(text, Reach::ThisHost)?, false)));
        let reach = if self.restrict { Reach::ThisHost } else { Reach::Anybody };
        let log = self.log_port.iter().map(|text| Ok((Endpoint::parse(text, reach)?, true)));
        control.chain(log).collect()
    }

    pub fn command_text(&self) -> String {
        self.command.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub fn executed(&self) -> OsString {
        self.found.clone().or_else(|| self.exec.clone()).or_else(|| self.command.first().cloned()).unwrap_or_default()
    }

    /// The child's words: with `--exec` the whole command comes behind the name.
    pub fn argv(&self) -> Vec<OsString> {
        self.exec.iter().cloned().chain(self.command.iter().cloned()).collect()
    }

    /// Before each log line, if at all. 2.7 takes the bare time, later ones put it in brackets.
    pub fn stamp_format(&self) -> Option<String> {
        let own = self.stamp.as_ref()?;
        Some(match (own, self.wording) {
            (Some(format), _) => format.clone(),
            (None, Wording::V2_7) => self.time_format.clone(),
            (None, Wording::V2_8) => format!("[{}] ", self.time_format),
        })
    }
}

/// What somebody should know who thinks of security.
pub fn warnings<'p>(places: impl Iterator<Item = &'p Endpoint>) -> Vec<String> {
    let warnings = places.filter_map(|place| match place {
        Endpoint::Tcp { address } if !address.ip().is_loopback() => {
            Some(format!("the log port {address} is open to other hosts: --restrict keeps it to this one"))
        }
        Endpoint::Unix { path, mode, .. } if mode & 0o002 != 0 => {
            let path = path.display();
            Some(format!("everybody on this host may use {path}: unix:::0660:{path} keeps it to owner and group"))
        }
        _ => None,
    });
    warnings.collect()
}

/// As C reads it: leading digits count, anything else is 0.
fn number(bytes: &[u8]) -> i64 {
    let text = bytes.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let value = digits
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .fold(0_i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -value } else { value }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
