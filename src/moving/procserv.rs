//! procServ's command line, and `/etc/procServ.conf` with its instances.

use std::ffi::OsString;
use std::path::PathBuf;

use super::draft::{Candidate, Draft};
use super::ini::{self, GoesOn, Item};
use crate::console::texts::RestartMode;
use crate::container::words;
use crate::keeper::procserv::options::{self, Asked, Environment, Options};

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
    leave(file, line, &options, candidate);
}

/// What has its place elsewhere.
fn leave(file: &str, line: usize, options: &Options, candidate: &mut Candidate) {
    let mut left = |what: String, why: &str| candidate.leave(file, line, what, why);
    for endpoint in &options.endpoints {
        left(
            format!("--port={endpoint}"),
            "`procyon console NAME` needs no endpoint; other clients want a console listener",
        );
    }
    if let Some(endpoint) = &options.log_port {
        left(format!("--logport={endpoint}"), "viewers attach read-only by `procyon console -s NAME`");
    }
    if let Some(path) = path_text(options.log_file.as_ref()) {
        left(
            format!("--logfile={path}"),
            "every container has its log in a folder of its own; `procyon console` and the state name it",
        );
    }
    for (option, path) in [("info-file", &options.info_file), ("pidfile", &options.pid_file)] {
        if let Some(path) = path_text(path.as_ref()) {
            left(format!("--{option}={path}"), "containers-state tells process and console");
        }
    }
    if !options.keys.ignored.is_empty() {
        let keys: String = options.keys.ignored.iter().map(|key| shown(*key)).collect();
        left(format!("--ignore={keys}"), "keys that are kept from the program belong to the console");
    }
    if let Some(key) = options.keys.logout {
        left(format!("--logoutcmd={}", shown(key)), "a client leaves by ^Ec. or by ending itself");
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

/// `[name]` with `command`, `chdir`, `user`, `group`, `port`: what `manage-procs` keeps.
pub fn read_conf(file: &str, text: &str, candidate: &mut Candidate) {
    let (items, strays) = ini::read(text, GoesOn::Indent);
    for (line, stray) in strays {
        candidate.leave(file, line, stray, "not an assignment");
    }
    for item in items {
        let mut draft = candidate.containers.remove(&item.section).unwrap_or_else(|| Draft {
            has_terminal: true,
            holdoff: Some(options::HOLDOFF_DEFAULT.as_secs().to_string()),
            stop_signal: Some("KILL".to_owned()),
            ..Draft::default()
        });
        let left = take_conf(&mut draft, &item);
        candidate.containers.insert(item.section.clone(), draft);
        if let Err(why) = left {
            candidate.leave(file, item.line, format!("[{}] {} = {}", item.section, item.key, item.value), why);
        }
    }
}

fn take_conf(draft: &mut Draft, item: &Item) -> Result<(), String> {
    let value = doubled(&item.value);
    match item.key.as_str() {
        "command" => draft.command = words::split(&value).map_err(|open| open.to_string())?,
        "chdir" => draft.working_directory = Some(value),
        "user" => draft.user = Some(value),
        "group" => draft.group = Some(value),
        "port" if value == "0" => {}
        "port" => return Err("other clients than `procyon console` want a console listener".to_owned()),
        "instance" => {}
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

/// A percent sign means itself in these files.
pub(super) fn doubled(text: &str) -> String {
    text.replace('%', "%%")
}
