//! procServ's command line, and `/etc/procServ.conf` with its instances.

use std::ffi::OsString;
use std::path::PathBuf;

use super::draft::{Candidate, Console, Draft, Listener, Place};
use super::ini::{self, GoesOn, Item};
use crate::console::keys::Keys;
use crate::console::texts::RestartMode;
use crate::container::words;
use crate::keeper::procserv::endpoint::{self, Endpoint, Reach};
use crate::keeper::procserv::options::{self, Asked, Environment, Options};

/// `%c`, where nobody has chosen a language.
const CLOCK: &str = "%a %b %e %H:%M:%S %Y";

/// Takes in what procServ was told, all words behind its name.
pub fn take(file: &str, line: usize, arguments: Vec<String>, draft: &mut Draft, candidate: &mut Candidate) {
    let given: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
    let (asked, remarks) = options::parse(given, Environment::default());
    for remark in remarks {
        candidate.leave(file, line, "procServ", remark);
    }
    let Asked::Run(options) = asked else {
        return candidate.leave(file, line, "procServ", "its arguments do not say what to run");
    };
    draft.has_terminal = true;
    draft.command = options.argv().iter().map(|word| word.to_string_lossy().into_owned()).collect();
    draft.holdoff = Some(options.holdoff.as_secs().to_string());
    draft.working_directory = path_text(options.folder.as_ref()).or(draft.working_directory.take());
    // procServ kills its child; it never asks.
    draft.stop_signal = Some(signal_name(options.kill_signal));
    if let Some(bytes) = options.core_bytes {
        draft.limits.insert("core-size", bytes);
    }
    match options.mode {
        RestartMode::On => {}
        RestartMode::Off => draft.policy = Some("never"),
        RestartMode::OneShot => draft.policy = Some("oneshot"),
    }
    if options.wait {
        draft.start_at_boot = Some(false);
    }
    draft.log.file = path_text(options.log_file.as_ref()).filter(|path| path.starts_with('/'));
    let stamp = options.stamp_format().filter(|_| options.log_file.is_some());
    // A unit file doubles the percent sign; and what a locale would choose is written out.
    draft.log.stamp = stamp.map(|format| format.replace("%%", "%").replace("%c", CLOCK));
    draft.console = console(&options);
    leave(file, line, &options, candidate);
}

fn console(options: &Options) -> Console {
    let endpoints = options.endpoints.iter().map(|endpoint| (endpoint, false));
    let ports = endpoints.chain(options.log_port.iter().map(|endpoint| (endpoint, true)));
    let listeners = ports.enumerate().filter_map(|(at, (endpoint, is_log))| {
        let place = place(endpoint).ok()??;
        let name = match (is_log, at) {
            (true, _) => "log".to_owned(),
            (false, 0) => "control".to_owned(),
            (false, at) => format!("control-{}", at + 1),
        };
        Some(Listener { name, place, is_log })
    });
    let house = Keys::default();
    let shown_key = |key: Option<u8>| key.map(shown).unwrap_or_default();
    let ignored: String = options.keys.ignored.iter().map(|key| shown(*key)).collect();
    Console {
        title: options.name.clone(),
        ignored: Some(ignored).filter(|keys| !keys.is_empty()),
        kill: (options.keys.kill != house.kill).then(|| shown_key(options.keys.kill)),
        toggle: (options.keys.toggle != house.toggle).then(|| shown_key(options.keys.toggle)),
        logout: options.keys.logout.map(shown),
        listeners: listeners.collect(),
        ..Console::default()
    }
}

/// Nowhere, for what is not in the file system.
fn place(endpoint: &str) -> Result<Option<Place>, String> {
    Ok(match Endpoint::parse(endpoint, Reach::ThisHost).map_err(|wrong| wrong.to_string())? {
        Endpoint::Tcp { address } => Some(Place::Tcp { port: address.port().to_string() }),
        Endpoint::Unix { path, user, group, mode } => Some(Place::Unix {
            path: path.display().to_string(),
            owner: user,
            group,
            mode: (mode != endpoint::MODE_DEFAULT).then(|| format!("{mode:03o}")),
        }),
        Endpoint::Abstract { .. } => None,
    })
}

/// What has its place elsewhere.
fn leave(file: &str, line: usize, options: &Options, candidate: &mut Candidate) {
    let mut left = |what: String, why: &str| candidate.leave(file, line, what, why);
    for endpoint in &options.endpoints {
        match Endpoint::parse(endpoint, Reach::ThisHost) {
            Ok(Endpoint::Abstract { .. }) => {
                left(format!("--port={endpoint}"), "a listener is a port or a socket in the file system");
            }
            Err(wrong) => left(format!("--port={endpoint}"), &wrong.to_string()),
            Ok(Endpoint::Tcp { .. } | Endpoint::Unix { .. }) => {}
        }
    }
    if let Some(endpoint) = options.log_port.as_ref().filter(|_| !options.restrict) {
        let why = "only this host may connect: for others give the listener an address, and their networks as sources";
        left(format!("--logport={endpoint}"), why);
    }
    match path_text(options.log_file.as_ref()).as_deref() {
        Some("-") => {
            left("--logfile=-".to_owned(), "every container has a log file; `log/journal` has it in the journal too")
        }
        Some(path) if !path.starts_with('/') => {
            left(format!("--logfile={path}"), "a log is a file with an absolute path")
        }
        _ => {}
    }
    if options.kill_signal != libc::SIGKILL {
        let why = "the kill key always kills; a stop sends it";
        left(format!("--killsig={}", options.kill_signal), why);
    }
    for (option, path) in [("info-file", &options.info_file), ("pidfile", &options.pid_file)] {
        if let Some(path) = path_text(path.as_ref()) {
            left(format!("--{option}={path}"), "containers-state tells process and console");
        }
    }
}

fn shown(key: u8) -> String {
    if key < b' ' { format!("^{}", char::from(key + b'@')) } else { char::from(key).to_string() }
}

fn path_text(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

fn signal_name(number: i32) -> String {
    let name = nix::sys::signal::Signal::try_from(number).map(nix::sys::signal::Signal::as_str).unwrap_or("SIGKILL");
    name.trim_start_matches("SIG").to_owned()
}

/// Whose sections hold for all others.
const DEFAULTS: &str = "DEFAULT";

/// `[name]` with `command`, `chdir`, `user`, `group`, `port`: what `manage-procs` keeps.
pub fn read_conf(file: &str, text: &str, candidate: &mut Candidate) {
    let (items, strays) = ini::read(text, GoesOn::Indent);
    for (line, stray) in strays {
        candidate.leave(file, line, stray, "not an assignment");
    }
    let mut names: Vec<&str> =
        items.iter().map(|item| item.section.as_str()).filter(|name| *name != DEFAULTS).collect();
    names.sort_unstable();
    names.dedup();
    for name in &names {
        let mut instance = Instance { draft: launched(name), is_one: true };
        let own = items.iter().filter(|item| item.section == *name);
        for item in items.iter().filter(|item| item.section == DEFAULTS).chain(own) {
            if let Err(why) = instance.take(item) {
                candidate.leave(file, item.line, format!("[{}] {} = {}", item.section, item.key, item.value), why);
            }
        }
        if instance.is_one {
            candidate.containers.insert((*name).to_owned(), instance.draft);
        }
    }
    if names.is_empty() && items.iter().any(|item| item.section == DEFAULTS) {
        candidate.leave(file, 1, "[DEFAULT]", "there is no instance that it holds for");
    }
}

#[derive(Debug)]
struct Instance {
    draft: Draft,
    is_one: bool,
}

/// What `procServ-launcher` tells procServ, whatever the file says.
fn launched(name: &str) -> Draft {
    let place = Place::Unix { path: format!("/run/procServ/{name}/control"), owner: None, group: None, mode: None };
    let listener = Listener { name: "control".to_owned(), place, is_log: false };
    Draft {
        working_directory: Some("/".to_owned()),
        environment: ["IOCNAME", "PROCSERV_NAME"].map(|variable| (variable.to_owned(), name.to_owned())).into(),
        user: Some("nobody".to_owned()),
        stop_signal: Some("KILL".to_owned()),
        holdoff: Some(options::HOLDOFF_DEFAULT.as_secs().to_string()),
        has_terminal: true,
        console: Console { ignored: Some("^D^C^]".to_owned()), listeners: vec![listener], ..Console::default() },
        ..Draft::default()
    }
}

impl Instance {
    fn take(&mut self, item: &Item) -> Result<(), String> {
        let draft = &mut self.draft;
        let value = interpolated(&item.value)?;
        match item.key.as_str() {
            "command" => draft.command = words::split(&value).map_err(|open| open.to_string())?,
            "chdir" => draft.working_directory = Some(value),
            "user" => draft.user = Some(value),
            "group" => draft.group = Some(value).filter(|group| !group.is_empty()),
            // Any port: one has the socket beside it.
            "port" if matches!(value.as_str(), "0" | "-1") => {}
            "port" => {
                let place = place(&value)?.ok_or("a listener is a port or a socket in the file system")?;
                draft.console.listeners.truncate(1);
                draft.console.listeners.push(Listener { name: "port".to_owned(), place, is_log: false });
            }
            "instance" => self.is_one = !matches!(value.to_ascii_lowercase().as_str(), "0" | "no" | "false" | "off"),
            "environment" => {
                for word in words::split(&value).map_err(|open| open.to_string())? {
                    let (name, value) = word.split_once('=').ok_or("not NAME=VALUE")?;
                    draft.environment.insert(name.to_owned(), value.to_owned());
                }
            }
            _ => return Err("there is nothing like it here".to_owned()),
        }
        Ok(())
    }
}

/// A percent sign is written twice in this file and in ours; others stand for options of the same file.
fn interpolated(text: &str) -> Result<String, String> {
    match text.replace("%%", "").contains('%') {
        true => Err("options of other lines are not filled in here: write out what they hold".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A percent sign means itself in these files.
pub(super) fn doubled(text: &str) -> String {
    text.replace('%', "%%")
}
