//! conserver's files: consoles that run a command become containers, those of other programs are connected to.

use super::draft::{Candidate, Connect, Console, Draft};
use super::procserv::doubled;

/// `keyword name { key value; ... }`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    keyword: String,
    name: String,
    line: usize,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    key: String,
    value: String,
    line: usize,
}

/// conserver.cf, or the file of consoles that it includes, or the client's console.cf.
pub fn read(file: &str, text: &str, candidate: &mut Candidate) {
    for block in blocks(file, text, candidate) {
        match block.keyword.as_str() {
            "console" => console(file, &block, candidate),
            "default" => {
                for statement in &block.statements {
                    leave_general(file, statement, candidate);
                }
            }
            "access" => {
                candidate.leave(file, block.line, said(&block), "who may use consoles is said by access rules (NACM)")
            }
            "config" | "break" | "group" | "task" if block.statements.is_empty() => {}
            "config" if block.statements.iter().all(|statement| statement.key == "master") => {}
            _ => candidate.leave(file, block.line, said(&block), "there is nothing like it here"),
        }
    }
}

fn console(file: &str, block: &Block, candidate: &mut Candidate) {
    let value = |key: &str| block.statements.iter().find(|statement| statement.key == key).map(|found| &found.value);
    let console = Console { one_writer: true, motd: value("motd").cloned(), ..Console::default() };
    let mut draft = Draft { console, ..Draft::default() };
    match value("type").map(String::as_str) {
        Some("exec") => {
            let Some(command) = value("exec") else {
                return candidate.leave(file, block.line, said(block), "it has no command");
            };
            // conserver runs it so; a shell it is there, and stays here.
            draft.command = ["/bin/sh", "-ce", &doubled(command)].map(str::to_owned).to_vec();
            draft.has_terminal = true;
        }
        Some("uds") => {
            let Some(path) = value("uds") else {
                return candidate.leave(file, block.line, said(block), "it has no socket");
            };
            draft.connect = Some(Connect::Unix(doubled(path)));
        }
        Some("host") => {
            let number = |key: &str| value(key).and_then(|text| text.parse::<u32>().ok());
            let (base, step) = (number("portbase").unwrap_or(0), number("portinc").unwrap_or(1));
            let port = number("port").and_then(|port| u16::try_from(base + step.saturating_mul(port)).ok());
            let Some(port) = port.filter(|port| *port > 0) else {
                return candidate.leave(file, block.line, said(block), "it has no port, or one that is not a number");
            };
            let host = value("host").cloned().unwrap_or_else(|| "localhost".to_owned());
            let is_telnet = value("protocol").is_none_or(|protocol| protocol == "telnet");
            draft.connect = Some(Connect::Host { host: doubled(&host), port: port.to_string(), is_telnet });
        }
        Some(kind @ ("device" | "ipmi" | "noop")) => {
            return candidate.leave(
                file,
                block.line,
                said(block),
                format!("there is nothing like a console of type {kind} here"),
            );
        }
        _ => return candidate.leave(file, block.line, said(block), "its type stands elsewhere, or is not known"),
    }
    const TAKEN: [&str; 9] = ["type", "exec", "execrunas", "uds", "host", "port", "portbase", "portinc", "motd"];
    if let Some(account) = value("execrunas") {
        let (user, group) = account.split_once(':').map_or((account.as_str(), ""), |(user, group)| (user, group));
        draft.user = Some(user.to_owned()).filter(|user| !user.is_empty());
        draft.group = Some(group.to_owned()).filter(|group| !group.is_empty());
    }
    for statement in &block.statements {
        if !TAKEN.contains(&statement.key.as_str()) && statement.key != "protocol" {
            leave_general(file, statement, candidate);
        }
    }
    candidate.containers.insert(block.name.clone(), draft);
}

fn leave_general(file: &str, statement: &Statement, candidate: &mut Candidate) {
    let why = match statement.key.as_str() {
        // Which server it is, and other blocks that are read anyway.
        "master" | "include" => return,
        "timestamp" | "logfile" | "logfilemax" if statement.value.is_empty() => return,
        "rw" | "ro" => "who may use consoles is said by access rules (NACM)",
        "timestamp" | "logfile" | "logfilemax" => "every container has its log in a folder of its own",
        _ => "there is nothing like it here",
    };
    candidate.leave(file, statement.line, format!("{} {}", statement.key, statement.value), why);
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

fn said(block: &Block) -> String {
    format!("{} {}", block.keyword, block.name)
}

fn blocks(file: &str, text: &str, candidate: &mut Candidate) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    // What stands before the next `{`, `;` or `}`, and where it begins.
    let (mut words, mut line_of_words) = (String::new(), 1);
    for (at, raw) in text.lines().enumerate() {
        let line = at + 1;
        if let Some(included) = raw.strip_prefix("#include") {
            candidate.leave(file, line, raw, format!("name{included} as well"));
            continue;
        }
        let content = raw.split('#').next().unwrap_or_default();
        for next in content.chars().chain(['\n']) {
            match next {
                '{' if !is_inside => {
                    let (keyword, name) = keyed(&words);
                    blocks.push(Block { keyword, name, line: line_of_words, statements: Vec::new() });
                    is_inside = true;
                    words.clear();
                }
                '}' if is_inside => {
                    is_inside = false;
                    words.clear();
                }
                ';' if is_inside => {
                    let (key, value) = keyed(&words);
                    let value = value.trim_matches('"').to_owned();
                    let statement = Statement { key, value, line: line_of_words };
                    blocks.last_mut().map(|block| block.statements.push(statement)).unwrap_or_default();
                    words.clear();
                }
                next => {
                    if words.trim().is_empty() {
                        line_of_words = line;
                    }
                    words.push(next);
                }
            }
        }
    }
    if is_inside || !words.trim().is_empty() {
        candidate.leave(file, line_of_words, "end of the file", "something before it is not closed");
    }
    blocks
}

fn keyed(words: &str) -> (String, String) {
    let words = words.trim();
    let (key, value) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    (key.to_owned(), value.trim().to_owned())
}
