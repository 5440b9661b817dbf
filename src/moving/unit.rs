//! systemd's unit files that run procServ: what the unit prepares, and what procServ is told.

use super::draft::{Candidate, Draft};
use super::ini::{self, GoesOn, Item};
use super::procserv;
use crate::container::words;

/// procServ, and what takes its place with the same options.
const PROGRAMS: [&str; 2] = ["procServ", "procyon-keeper"];

/// The container or the template that the unit is, by the name of its file: `ioc@.service`, `ioc@one.service`, `a.service`.
pub fn read(file: &str, text: &str, candidate: &mut Candidate) {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.strip_suffix(".service").unwrap_or(name);
    let (items, strays) = ini::read(text, GoesOn::Backslash);
    for (line, stray) in strays {
        candidate.leave(file, line, stray, "not an assignment");
    }
    let mut unit = Unit { file, candidate, draft: Draft::default() };
    items.iter().for_each(|item| unit.take(item));
    let draft = unit.draft;
    if draft.command.is_empty() && draft.connect.is_none() {
        return candidate.leave(file, 1, name, "left out altogether: nothing in it says what to run");
    }
    match name.split_once('@') {
        Some((template, instance)) => {
            candidate.templates.insert(template.to_owned(), draft);
            if instance.is_empty() {
                let why =
                    format!("the file does not say which: add containers such as `{template}@NAME` with this template");
                candidate.leave(file, 1, "instances", why);
            } else {
                let draft = Draft { template: Some(template.to_owned()), ..Draft::default() };
                candidate.containers.insert(name.to_owned(), draft);
            }
        }
        None => drop(candidate.containers.insert(name.to_owned(), draft)),
    }
}

struct Unit<'a> {
    file: &'a str,
    candidate: &'a mut Candidate,
    draft: Draft,
}

impl Unit<'_> {
    fn take(&mut self, item: &Item) {
        let value = item.value.as_str();
        match (item.section.as_str(), item.key.as_str()) {
            ("Unit", "Description") => self.draft.description = Some(self.filled(item, value)),
            ("Unit", "Documentation") => {
                let documents = value.split_ascii_whitespace().map(|text| self.filled(item, text)).collect::<Vec<_>>();
                self.draft.documentation.extend(documents);
            }
            ("Unit", "AssertPathExists" | "ConditionPathExists") if !value.starts_with(['!', '|']) => {
                let path = self.filled(item, value);
                let when_missing = if item.key.starts_with("Assert") { "refuse" } else { "await" };
                self.draft.required.insert(path, when_missing);
            }
            ("Unit", "RequiresMountsFor") => {
                for path in value.split_ascii_whitespace() {
                    let path = self.filled(item, path);
                    self.draft.required.insert(path, "await");
                }
            }
            ("Unit", "After" | "Before" | "Wants" | "Requires") => self.order(item),
            ("Service", "User") => self.draft.user = Some(self.filled(item, value)),
            ("Service", "Group") => self.draft.group = Some(self.filled(item, value)),
            ("Service", "UMask") => self.draft.umask = Some(value.to_owned()),
            ("Service", "Nice") => self.draft.nice = value.parse().ok(),
            ("Service", "WorkingDirectory") if self.draft.working_directory.is_none() => {
                self.draft.working_directory = Some(self.filled(item, value));
            }
            ("Service", "Environment") => self.environment(item),
            ("Service", limit) if limit.starts_with("Limit") => self.limit(item),
            ("Service", "ExecStartPre") => self.prepare(item),
            ("Service", "ExecStart") => self.start(item),
            // procServ stays in the foreground, looks after its child itself, and the keeper prepares as root.
            ("Service", "PermissionsStartOnly" | "Type" | "Restart" | "RestartSec" | "KillMode" | "KillSignal") => {}
            ("Service", "TimeoutStopSec") => {
                self.draft.stop_timeout = value.parse::<u32>().ok().map(|_| value.to_owned())
            }
            ("Install", "WantedBy") => {
                // That it is enabled stands nowhere in the file; who is moving in means it.
                self.draft.start_at_boot = Some(true);
            }
            _ => self.leave(item, "there is nothing like it here"),
        }
    }

    fn order(&mut self, item: &Item) {
        for unit in item.value.split_ascii_whitespace() {
            match unit {
                // The keeper's own unit comes after these.
                "network.target" | "network-online.target" | "remote-fs.target" | "local-fs.target" => {}
                "conserver.service" if item.key == "Before" => {}
                unit if item.key == "After" && unit.ends_with(".service") => {
                    let other = unit.trim_end_matches(".service").to_owned();
                    let why = "taken for a container; if it is a service of the host, remove it";
                    self.candidate.leave(self.file, item.line, format!("After={unit}"), why);
                    self.draft.after.insert(other);
                }
                unit => {
                    let what = format!("{}={unit}", item.key);
                    self.candidate.leave(self.file, item.line, what, "containers do not wait for units");
                }
            }
        }
    }

    fn environment(&mut self, item: &Item) {
        let Some(all) = self.split(item) else { return };
        for word in all {
            match word.split_once('=') {
                Some((name, value)) => {
                    let value = self.filled(item, value);
                    self.draft.environment.insert(name.to_owned(), value);
                }
                None => self.leave(item, "not NAME=VALUE"),
            }
        }
    }

    fn limit(&mut self, item: &Item) {
        let leaf = match item.key.as_str() {
            "LimitCORE" => "core-size",
            "LimitNOFILE" => "open-files",
            "LimitAS" => "address-space",
            "LimitFSIZE" => "file-size",
            "LimitNPROC" => "processes",
            "LimitCPU" => "cpu-time",
            "LimitSTACK" => "stack-size",
            "LimitMEMLOCK" => "locked-memory",
            _ => return self.leave(item, "there is nothing like it here"),
        };
        match item.value.parse() {
            Ok(value) => drop(self.draft.limits.insert(leaf, value)),
            Err(_) => self.leave(item, "only a plain number is understood"),
        }
    }

    /// Folders that are made and given to somebody before the start.
    fn prepare(&mut self, item: &Item) {
        let Some(all) = self.split(item) else { return };
        let plain: Vec<&str> = all.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        match plain.as_slice() {
            [program, paths @ ..] if program.ends_with("/mkdir") && !paths.is_empty() => {
                for path in paths {
                    let path = self.filled(item, path);
                    self.draft.directories.entry(path).or_default();
                }
            }
            [program, owner, paths @ ..] if program.ends_with("/chown") && !paths.is_empty() => {
                let (owner, group) = match owner.split_once([':', '.']) {
                    Some((owner, group)) => (owner, Some(group.to_owned())),
                    None => (*owner, None),
                };
                for path in paths {
                    let path = self.filled(item, path);
                    let given = self.draft.directories.entry(path).or_default();
                    *given = (Some(owner.to_owned()).filter(|owner| !owner.is_empty()), group.clone());
                }
            }
            _ => self.leave(
                item,
                "only mkdir and chown are understood; do it in the command, or as a oneshot container before",
            ),
        }
    }

    fn start(&mut self, item: &Item) {
        let Some(all) = self.split(item) else { return };
        let is_procserv = |word: &String| PROGRAMS.contains(&word.rsplit('/').next().unwrap_or_default());
        let Some(at) = all.iter().position(is_procserv) else {
            return self.leave(item, "it does not run procServ: write the container by hand");
        };
        let filled: Vec<String> = all[at + 1..].iter().map(|word| self.filled(item, word)).collect();
        procserv::take(self.file, item.line, filled, &mut self.draft, self.candidate);
    }

    fn split(&mut self, item: &Item) -> Option<Vec<String>> {
        // What stands before the program changes how systemd starts it, not what.
        let value = item.value.trim_start_matches(['-', '@', ':', '+', '!']);
        match words::split(value) {
            Ok(all) => Some(all),
            Err(open) => {
                self.leave(item, &open.to_string());
                None
            }
        }
    }

    /// `%i`, `%I` and `%%` mean the same here; `%n` lacks its `.service`; others mean nothing.
    fn filled(&mut self, item: &Item, text: &str) -> String {
        let mut filled = String::new();
        let mut characters = text.chars().peekable();
        while let Some(next) = characters.next() {
            match (next, characters.peek()) {
                ('%', Some(known @ ('i' | 'I' | '%'))) => {
                    filled.extend(['%', *known]);
                    characters.next();
                }
                ('%', Some('n')) => {
                    filled.push_str("%n.service");
                    characters.next();
                }
                ('%', other) => {
                    let what = other.map_or_else(|| "%".to_owned(), |other| format!("%{other}"));
                    self.leave(item, &format!("{what} stands for nothing here and was kept as text"));
                    filled.push_str("%%");
                }
                (plain, _) => filled.push(plain),
            }
        }
        if text.contains('$') {
            self.leave(item, "variables are not expanded here: write out what they hold");
        }
        filled
    }

    fn leave(&mut self, item: &Item, why: &str) {
        self.candidate.leave(self.file, item.line, format!("{}={}", item.key, item.value), why);
    }
}
