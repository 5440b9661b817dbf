//! supervisord.conf: its programs and groups.

use std::collections::BTreeMap;

use super::draft::{Candidate, Draft, LOG_BYTES_LEAST};
use super::ini::{self, GoesOn, Item};
use super::procserv::doubled;
use crate::container::words;

const POLICY_UNEXPECTED: &str = "on-failure";
/// Of one program.
const INSTANCES_MAX: u32 = 1000;

pub fn read(file: &str, text: &str, candidate: &mut Candidate) {
    let (items, strays) = ini::read(text, GoesOn::Indent);
    for (line, stray) in strays {
        candidate.leave(file, line, stray, "not an assignment");
    }
    let mut programs: BTreeMap<String, Program> = BTreeMap::new();
    let mut groups: Vec<(&Item, &str)> = Vec::new();
    for item in &items {
        match item.section.split_once(':') {
            Some(("program", name)) => {
                let program = programs.entry(name.trim().to_owned()).or_default();
                if let Err(why) = program.take(item) {
                    leave(candidate, file, item, &why);
                }
            }
            Some(("group", name)) if item.key == "programs" => groups.push((item, name.trim())),
            Some(("group", _)) if item.key == "priority" => leave(candidate, file, item, "say `after` instead"),
            // Its own affairs: logs, sockets, who may speak with it.
            _ if ["supervisord", "supervisorctl", "unix_http_server", "inet_http_server"]
                .contains(&item.section.as_str())
                || item.section.starts_with("rpcinterface:") => {}
            _ if item.section == "include" => leave(candidate, file, item, "name these files as well"),
            _ => leave(candidate, file, item, "there is nothing like it here"),
        }
    }
    for (item, group) in groups {
        for name in item.value.split(',').map(str::trim) {
            match programs.get_mut(name) {
                Some(program) => drop(program.draft.groups.insert(group.to_owned())),
                None => leave(candidate, file, item, &format!("there is no program {name}")),
            }
        }
    }
    for (name, mut program) in programs {
        if program.draft.command.is_empty() {
            candidate.leave(file, 1, format!("[program:{name}]"), "it has no command");
            continue;
        }
        if let Some(log) = program.draft.log.file.take_if(|log| program.count > 1 && !log.contains("%i")) {
            let why = "several processes cannot have one log: put %(process_num)d into its name";
            candidate.leave(file, 1, format!("[program:{name}] stdout_logfile={log}"), why);
        }
        candidate.containers.extend(program.instances(&name));
    }
}

fn leave(candidate: &mut Candidate, file: &str, item: &Item, why: &str) {
    candidate.leave(file, item.line, format!("[{}] {}={}", item.section, item.key, item.value), why);
}

#[derive(Debug)]
struct Program {
    draft: Draft,
    count: u32,
}

impl Default for Program {
    fn default() -> Self {
        // supervisord's: failures alone are restarted, and TERM has ten seconds.
        let draft = Draft { policy: Some(POLICY_UNEXPECTED), ..Draft::default() };
        Self { draft, count: 1 }
    }
}

impl Program {
    fn take(&mut self, item: &Item) -> Result<(), String> {
        let draft = &mut self.draft;
        let value = item.value.as_str();
        match item.key.as_str() {
            "command" => {
                draft.command = words::split(value)
                    .map_err(|open| open.to_string())?
                    .iter()
                    .map(|word| filled(word))
                    .collect::<Result<_, _>>()?;
            }
            "directory" => draft.working_directory = Some(filled(value)?),
            "user" => draft.user = Some(value.to_owned()),
            "umask" => draft.umask = Some(value.to_owned()),
            "autostart" => draft.start_at_boot = Some(value != "false"),
            "autorestart" => match value {
                "true" => draft.policy = Some("always"),
                "false" => draft.policy = Some("never"),
                _ => draft.policy = Some(POLICY_UNEXPECTED),
            },
            "startretries" => draft.max_retries = value.parse().ok().filter(|retries| *retries > 0),
            "stopsignal" => draft.stop_signal = Some(value.trim_start_matches("SIG").to_owned()),
            "stopwaitsecs" => draft.stop_timeout = Some(value.to_owned()),
            "environment" => {
                for assignment in assignments(value) {
                    let (name, value) = assignment.split_once('=').ok_or("not NAME=VALUE")?;
                    draft.environment.insert(name.trim().to_owned(), filled(unquoted(value.trim()))?);
                }
            }
            "numprocs" => {
                let count = value.parse().ok().filter(|count| (1..=INSTANCES_MAX).contains(count));
                self.count = count.ok_or("not a number of processes")?;
            }
            // One name a process is made here; the whole tree always goes; errors have a log of their own.
            "process_name" | "stopasgroup" | "killasgroup" | "redirect_stderr" => {}
            "stdout_logfile" => self.log_file(value)?,
            "stdout_logfile_maxbytes" => draft.log.max_size = Some(log_size(value)?),
            "stdout_logfile_backups" => {
                draft.log.keep = Some(value.parse().map_err(|_| "more files than are kept here".to_owned())?);
            }
            "stdout_syslog" if value != "true" => {}
            "stdout_syslog" => draft.log.is_in_syslog = true,
            // supervisord's own folder is ours.
            "stderr_logfile" if value == "AUTO" => {}
            key if key.starts_with("stderr_logfile") || key == "stderr_syslog" => {
                return Err("errors have their file beside the house's logs (`log-directory` of the state)".to_owned());
            }
            "priority" => return Err("say `after` instead".to_owned()),
            "startsecs" => return Err("say how it tells that it is ready (`readiness`) instead".to_owned()),
            "exitcodes" => return Err("only 0 counts as success here".to_owned()),
            _ => return Err("there is nothing like it here".to_owned()),
        }
        Ok(())
    }

    fn log_file(&mut self, value: &str) -> Result<(), String> {
        match value {
            "AUTO" => {}
            "syslog" | "/dev/log" => self.draft.log.is_in_syslog = true,
            "NONE" | "off" => return Err("what is printed is always in a log; `log/max-size` bounds it".to_owned()),
            _ if value.starts_with("/dev/") => return Err("a log is a file, and not a device".to_owned()),
            _ if value.starts_with('/') => self.draft.log.file = Some(filled(value)?),
            _ => return Err("a log is a file with an absolute path".to_owned()),
        }
        Ok(())
    }

    /// One container, or one for each of its processes: `name@0` and so on.
    fn instances(self, name: &str) -> Vec<(String, Draft)> {
        match self.count {
            1 => vec![(name.to_owned(), self.draft)],
            count => (0..count).map(|number| (format!("{name}@{number}"), self.draft.clone())).collect(),
        }
    }
}

/// `50MB`, `1GB`, `2048`; 0 is no limit, and there is none without.
fn log_size(text: &str) -> Result<u64, String> {
    let (number, factor) = [("KB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .unwrap_or((text, 1_u64));
    match number.trim().parse::<u64>() {
        Ok(0) => Err("every log has a size at which it is put aside".to_owned()),
        Ok(number) => Ok(number.saturating_mul(factor).max(LOG_BYTES_LEAST)),
        Err(_) => Err("not a size".to_owned()),
    }
}

/// `%(process_num)s` is the instance; other expansions are supervisord's own.
fn filled(text: &str) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        filled.push_str(&doubled(&rest[..at]));
        let behind = &rest[at + 1..];
        if let Some(after) = behind.strip_prefix('%') {
            filled.push_str("%%");
            rest = after;
            continue;
        }
        let (name, after) = behind
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
            .ok_or_else(|| format!("`{text}` is not understood"))?;
        match name {
            "process_num" => filled.push_str("%i"),
            "program_name" | "process_name" => filled.push_str("%n"),
            _ => return Err(format!("%({name}) stands for nothing here: write out what it holds")),
        }
        // The conversion: `s`, `d`, `02d`.
        rest = after.trim_start_matches(|next: char| next.is_ascii_digit()).get(1..).unwrap_or_default();
    }
    filled.push_str(rest);
    Ok(filled)
}

/// At commas outside of quotes.
fn assignments(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for next in text.chars() {
        match (quote, next) {
            (None, ',' | '\n') => parts.push(String::new()),
            (None, '"' | '\'') => {
                quote = Some(next);
                parts.last_mut().map(|part| part.push(next)).unwrap_or_default();
            }
            (open, next) => {
                if open == Some(next) {
                    quote = None;
                }
                parts.last_mut().map(|part| part.push(next)).unwrap_or_default();
            }
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}
