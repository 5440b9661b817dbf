//! conserver's files: consoles that run a command become containers, those of other programs are connected to; who may use
//! them becomes access rules, and who may connect the listener for conserver's client.
//!
//! Defaults, groups and breaks hold for the consoles of all files, so blocks are gathered first and read when all are
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::blocks::{self, Block, Statement};
use super::draft::{Break, Candidate, Clients, Connect, Console, Draft, LOG_BYTES_LEAST, Rights};
use super::procserv::doubled;
use crate::console::breaks;
use crate::container::console::Network;

/// Defaults may include each other so deep.
const DEPTH_MAX: usize = 10;
/// Those that nobody has to configure.
const BREAKS: [(&str, &str, Option<u16>); 4] =
    [("1", "\\z", None), ("2", "\\r~^b", None), ("3", "#.", None), ("4", "\\r\\d~\\d^b", Some(600))];
const DAY_SECONDS: u32 = 24 * 60 * 60;
/// What conserver writes before a line that it stamps.
const DATE_STAMP: &str = "[%a %b %e %H:%M:%S %Y]";
const ACCESS: &str = "who may use consoles is said by access rules (NACM)";
const ENCRYPTION: &str = "clients encrypt with the `credentials` of the listener, a file in the folder of keys";
const NOTHING_LIKE_IT: &str = "there is nothing like it here";

/// All blocks of all files.
#[derive(Debug, Default)]
pub struct Site {
    blocks: Vec<(String, Block)>,
}

impl Site {
    /// conserver.cf, or the file of consoles that it includes, or the client's console.cf.
    pub fn read(&mut self, file: &str, text: &str, candidate: &mut Candidate) {
        let blocks = blocks::read(file, text, candidate);
        self.blocks.extend(blocks.into_iter().map(|block| (file.to_owned(), block)));
    }

    pub fn settle(self, candidate: &mut Candidate) {
        let mut reading =
            Reading { candidate, defaults: BTreeMap::new(), breaks: BTreeMap::new(), told: BTreeSet::new() };
        for (name, send, pause) in BREAKS {
            reading.breaks.insert(name.to_owned(), Break { send: send.to_owned(), pause });
        }
        for (file, block) in &self.blocks {
            reading.general(file, block);
        }
        let consoles: Vec<_> = self.blocks.iter().filter(|(_, block)| block.keyword == "console").collect();
        for (file, block) in &consoles {
            reading.console(file, block);
        }
        if consoles.is_empty() {
            let defaults: Vec<Statement> = reading.defaults.values().flatten().cloned().collect();
            for statement in defaults.iter().filter(|statement| !needs_nothing(statement)) {
                reading.leave(statement, "there is no console that it holds for");
            }
        }
    }
}

struct Reading<'c> {
    candidate: &'c mut Candidate,
    defaults: BTreeMap<String, Vec<Statement>>,
    breaks: BTreeMap<String, Break>,
    /// Lines that were left once need not be left again for each console.
    told: BTreeSet<(String, usize, String)>,
}

impl Reading<'_> {
    fn leave(&mut self, statement: &Statement, why: &str) {
        let (file, line) = (statement.file.clone(), statement.line);
        if self.told.insert((file.clone(), line, statement.key.clone())) {
            self.candidate.leave(&file, line, format!("{} {}", statement.key, statement.value), why);
        }
    }

    /// All but consoles.
    fn general(&mut self, file: &str, block: &Block) {
        match block.keyword.as_str() {
            "console" => {}
            "default" => self.defaults.entry(block.name.clone()).or_default().extend(block.statements.clone()),
            "group" => self.group(block),
            "access" => self.access(block),
            "break" => self.define_break(file, block),
            "config" => self.config(block),
            _ => self.candidate.leave(file, block.line, block.said(), NOTHING_LIKE_IT),
        }
    }

    fn group(&mut self, block: &Block) {
        for statement in &block.statements {
            if statement.key != "users" {
                self.leave(statement, NOTHING_LIKE_IT);
                continue;
            }
            for (name, is_out) in statement.list() {
                let members = self.candidate.groups.get(name).cloned();
                let names = members.unwrap_or_else(|| BTreeSet::from([name.to_owned()]));
                let group = self.candidate.groups.entry(block.name.clone()).or_default();
                for name in names {
                    if is_out {
                        group.remove(&name);
                    } else {
                        group.insert(name);
                    }
                }
            }
        }
    }

    /// Who may connect is for the listener, whatever host of a group of conservers it is said for.
    fn access(&mut self, block: &Block) {
        for statement in &block.statements {
            let is_trusted = match statement.key.as_str() {
                "trusted" => true,
                "allowed" => false,
                "rejected" => {
                    self.leave(statement, "whoever is not among the sources is turned away");
                    continue;
                }
                _ => {
                    self.leave(statement, ACCESS);
                    continue;
                }
            };
            let (sources, strays): (Vec<_>, Vec<_>) =
                statement.list().map(|(host, _)| source(host)).partition(Option::is_some);
            let clients = self.candidate.clients.get_or_insert_with(Clients::default);
            for source in sources.into_iter().flatten().flatten() {
                // The first list that a host is in decides.
                if is_trusted && !clients.sources.contains(&source) {
                    clients.trusted.insert(source.clone());
                }
                clients.sources.insert(source);
            }
            if !strays.is_empty() {
                self.leave(statement, "of the listener for conserver's client, sources are addresses and networks");
            }
        }
    }

    fn define_break(&mut self, file: &str, block: &Block) {
        let Some(send) = block.value("string") else {
            return self.candidate.leave(file, block.line, block.said(), "it says nothing to send");
        };
        if let Err(why) = breaks::parse(send, breaks::PAUSE_MILLIS) {
            return self.candidate.leave(file, block.line, block.said(), why);
        }
        let pause = block.value("delay").and_then(|delay| delay.parse().ok());
        self.breaks.insert(block.name.clone(), Break { send: send.to_owned(), pause });
        for statement in &block.statements {
            match statement.key.as_str() {
                "string" => {}
                "delay" if pause.is_some() => {}
                "delay" => self.leave(statement, "not a number of milliseconds"),
                "confirm" if is_no(&statement.value) => {}
                "confirm" => self.leave(statement, "nobody is asked again before it is sent"),
                _ => self.leave(statement, NOTHING_LIKE_IT),
            }
        }
    }

    fn config(&mut self, block: &Block) {
        for statement in &block.statements {
            match (statement.key.as_str(), statement.value.parse::<u16>()) {
                // Which server it is; here, this one.
                ("master", _) => {}
                ("primaryport", Ok(port)) => {
                    self.candidate.clients.get_or_insert_with(Clients::default).port = Some(port);
                }
                ("secondaryport", Ok(port)) => {
                    self.candidate.clients.get_or_insert_with(Clients::default).console_port = Some(port);
                }
                ("defaultaccess" | "passwdfile", _) => self.leave(statement, ACCESS),
                ("sslenabled" | "sslrequired", _) if is_no(&statement.value) => {}
                (key, _) if key.starts_with("ssl") => self.leave(statement, ENCRYPTION),
                _ => self.leave(statement, NOTHING_LIKE_IT),
            }
        }
    }

    /// What holds for a console: the defaults for all, those that it includes, and its own statements.
    fn effective(&self, block: &Block) -> Vec<Statement> {
        let mut statements = Vec::new();
        if let Some(all) = self.defaults.get("*") {
            self.include(all, 0, &mut statements);
        }
        self.include(&block.statements, 0, &mut statements);
        statements
    }

    fn include(&self, from: &[Statement], depth: usize, statements: &mut Vec<Statement>) {
        for statement in from {
            match self.defaults.get(&statement.value).filter(|_| statement.key == "include") {
                Some(more) if depth < DEPTH_MAX => self.include(more, depth + 1, statements),
                _ => statements.push(statement.clone()),
            }
        }
    }

    fn console(&mut self, file: &str, block: &Block) {
        let whole = Block { statements: self.effective(block), ..block.clone() };
        let mut draft = Draft { console: Console { one_writer: true, ..Console::default() }, ..Draft::default() };
        match kind(&whole) {
            Ok(Kind::Runs(command)) => {
                draft.command = command;
                draft.has_terminal = true;
            }
            Ok(Kind::Connects(connect)) => draft.connect = Some(connect),
            Err(why) => return self.candidate.leave(file, block.line, block.said(), why),
        }
        draft.console.breaks = self.breaks_of(&whole);
        for statement in &whole.statements {
            if let Err(why) = self.take(statement, &block.name, &mut draft) {
                self.leave(statement, &why);
            }
        }
        self.candidate.containers.insert(block.name.clone(), draft);
    }

    fn take(&mut self, statement: &Statement, name: &str, draft: &mut Draft) -> Result<(), String> {
        let value = statement.value.as_str();
        match statement.key.as_str() {
            "type" | "exec" | "uds" | "host" | "port" | "portbase" | "portinc" | "protocol" | "break" | "breaklist" => {
            }
            // None, in the place of what a default says.
            "logfile" if needs_nothing(statement) => draft.log.file = None,
            "logfilemax" if needs_nothing(statement) => draft.log.max_size = None,
            "timestamp" => return timestamp(value, draft),
            _ if needs_nothing(statement) => {}
            "include" => return Err("there is no default of that name".to_owned()),
            "motd" => draft.console.motd = Some(doubled(value)),
            "execrunas" => {
                let (user, group) = value.split_once(':').unwrap_or((value, ""));
                draft.user = Some(user.to_owned()).filter(|user| !user.is_empty());
                draft.group = Some(group.to_owned()).filter(|group| !group.is_empty());
            }
            "logfile" if value.starts_with('/') => draft.log.file = Some(doubled(&value.replace('&', name))),
            "logfile" => return Err("a log is a file with an absolute path".to_owned()),
            "logfilemax" => draft.log.max_size = size(value),
            "rw" | "ro" => return self.rights(statement, draft),
            _ => return Err(NOTHING_LIKE_IT.to_owned()),
        }
        Ok(())
    }

    /// Names of groups are those of access rules, which users of the host's groups of that name have as well.
    fn rights(&mut self, statement: &Statement, draft: &mut Draft) -> Result<(), String> {
        let is_write = statement.key == "rw";
        let rights = if is_write { &mut draft.console.writers } else { &mut draft.console.readers };
        let mut denied = false;
        for (name, is_out) in statement.list() {
            let group = name == "*" || name.starts_with('@') || self.candidate.groups.contains_key(name);
            denied |= is_out;
            match (is_out, group) {
                (true, _) => {}
                (false, true) => drop(rights.groups.insert(name.trim_start_matches('@').to_owned())),
                (false, false) => drop(rights.users.insert(name.to_owned())),
            }
        }
        if statement.value.is_empty() {
            *rights = Rights::default();
        }
        match denied {
            true => Err("who is left out is not: write a rule that denies it, before the others".to_owned()),
            false => Ok(()),
        }
    }

    fn breaks_of(&self, block: &Block) -> BTreeMap<String, Break> {
        let list = block.value("breaklist").unwrap_or("*");
        let is_listed = |name: &str| list == "*" || list.split(',').any(|listed| listed.trim() == name);
        let is_default = |name: &str, it: &Break| BREAKS.contains(&(name, it.send.as_str(), it.pause));
        let mut breaks: BTreeMap<String, Break> = self
            .breaks
            .iter()
            // conserver has these for everybody; here who wants them says so.
            .filter(|(name, it)| is_listed(name) && (list != "*" || !is_default(name, it)))
            .map(|(name, it)| (name.clone(), it.clone()))
            .collect();
        if let Some(chosen) = block.value("break").and_then(|name| self.breaks.get(name)) {
            breaks.insert("0".to_owned(), chosen.clone());
        }
        breaks
    }
}

enum Kind {
    Runs(Vec<String>),
    Connects(Connect),
}

fn kind(block: &Block) -> Result<Kind, String> {
    let missing = |what: &str| format!("it has no {what}");
    match block.value("type") {
        // conserver runs it so; a shell it is there, and stays here.
        Some("exec") => {
            let command = block.value("exec").ok_or_else(|| missing("command"))?;
            Ok(Kind::Runs(["/bin/sh", "-ce", &doubled(command)].map(str::to_owned).to_vec()))
        }
        Some("uds") => {
            let path = block.value("uds").ok_or_else(|| missing("socket"))?;
            Ok(Kind::Connects(Connect::Unix(doubled(path))))
        }
        Some("host") => {
            let number = |key: &str| block.value(key).and_then(|text| text.parse::<u32>().ok());
            let (base, step) = (number("portbase").unwrap_or(0), number("portinc").unwrap_or(1));
            let port = number("port").and_then(|port| u16::try_from(base + step.saturating_mul(port)).ok());
            let port = port.filter(|port| *port > 0).ok_or("it has no port, or one that is not a number")?;
            let host = doubled(block.value("host").unwrap_or("localhost"));
            let is_telnet = block.value("protocol").is_none_or(|protocol| protocol == "telnet");
            Ok(Kind::Connects(Connect::Host { host, port: port.to_string(), is_telnet }))
        }
        Some(kind @ ("device" | "ipmi" | "noop")) => {
            Err(format!("there is nothing like a console of type {kind} here"))
        }
        _ => Err("its type stands elsewhere, or is not known".to_owned()),
    }
}

/// `1lab`: a mark each so many minutes or lines, and for what people do.
/// `1lab`: each line; `5m`, `2h`, `1d`: the time, so often; and what was done, and breaks.
fn timestamp(value: &str, draft: &mut Draft) -> Result<(), String> {
    let letters = value.trim_start_matches(|next: char| next.is_ascii_digit());
    let count = &value[..value.len() - letters.len()];
    let number: u32 = if count.is_empty() { 0 } else { count.parse().map_err(|_| "no number".to_owned())? };
    let is_of_lines = letters.starts_with('l');
    let unit = match letters.chars().next() {
        Some('h') => 60 * 60,
        Some('d') => DAY_SECONDS,
        _ => 60,
    };
    draft.console.marks = letters.contains(['a', 'b']);
    draft.log.stamp = (is_of_lines && number == 1).then(|| DATE_STAMP.to_owned());
    let every = (!is_of_lines && number > 0).then(|| number.saturating_mul(unit));
    draft.console.mark_every = every.filter(|seconds| *seconds <= DAY_SECONDS);
    match (number, draft.console.mark_every) {
        (0, _) | (_, Some(_)) => Ok(()),
        (1, None) if is_of_lines => Ok(()),
        _ if is_of_lines => Err("a line has a stamp, or none has (`log/stamp`)".to_owned()),
        _ => Err("the time is marked once a day at least (`mark-every`)".to_owned()),
    }
}

fn size(value: &str) -> Option<u64> {
    let (number, factor) = match value.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1024),
        None => (value.trim_end_matches(['m', 'M']), if value.ends_with(['m', 'M']) { 1024 * 1024 } else { 1 }),
    };
    number.parse::<u64>().ok().map(|number| (number * factor).max(LOG_BYTES_LEAST))
}

/// This host by its usual names, and whatever is an address; none of other names.
fn source(host: &str) -> Option<Vec<String>> {
    match host {
        "localhost" => Some(vec!["127.0.0.1".to_owned(), "::1".to_owned()]),
        _ if host.parse::<IpAddr>().is_ok() || Network::parse(host).is_some() => Some(vec![host.to_owned()]),
        _ => None,
    }
}

fn needs_nothing(statement: &Statement) -> bool {
    match statement.key.as_str() {
        // Which server it is.
        "master" => true,
        "timestamp" | "logfile" | "logfilemax" => matches!(statement.value.as_str(), "" | "0"),
        _ => false,
    }
}

fn is_no(value: &str) -> bool {
    matches!(value, "no" | "false" | "off")
}

/// conserver.passwd: `user:hash`.
pub fn read_passwords(file: &str, text: &str, candidate: &mut Candidate) {
    for (at, line) in text.lines().enumerate() {
        let Some((user, password)) = line.trim().split_once(':').filter(|(user, _)| !user.starts_with('#')) else {
            continue;
        };
        let why = match (user, password) {
            ("*any*", "") => {
                "nobody comes in without being known: give people accounts (ietf-system) and groups (NACM)"
            }
            _ => "accounts are in ietf-system: /system/authentication/user",
        };
        candidate.leave(file, at + 1, format!("{user}:..."), why);
    }
}
