//! The rules of the house that no lint knows, as a test. A failure names the file, the line and the rule.
//!
//! Reads sources as text. What stands behind the first `#[cfg(test)] mod` of a file, and in files of tests, may do
//! what tests do; comments may say what they like.

#![expect(clippy::unwrap_used, reason = "what cannot be read cannot be checked: that is a failure of the test")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A longer file is two files.
const FILE_LINES_MAX: usize = 700;

/// What touches the world, waits for it or reads its clock. `tokio::sync` does not: ends of channels are values.
const EFFECTS: &[&str] = &["tokio::", "std::fs", "Instant::now", "SystemTime::now"];

/// Where effects belong, by the house's own plan.
const EFFECTS_AT_HOME: &[&str] =
    &["src/sys/", "src/bin/", "src/main.rs", "src/agent.rs", "src/agent/", "src/init.rs", "src/init/"];

/// Everywhere else they need a reason: path, effects, why.
const EFFECTS_ALLOWED: &[(&str, &[&str], &str)] = &[
    ("src/clock.rs", &["Instant::now", "SystemTime::now"], "the clock itself, and who waits for its being moved"),
    ("src/deploy/link.rs", &["tokio::", "std::fs"], "a command of its own: speaks through `ssh` and moves a file"),
    ("src/keeper/client.rs", &["tokio::"], "the agent's end of the keeper's socket: a driver that lives in the agent"),
    ("src/keeper/custodian/control.rs", &["std::fs"], "takes away the name that an earlier control socket has left"),
    ("src/keeper/custodian/lock.rs", &["std::fs"], "one lock file, taken once at start"),
    ("src/keeper/daemons.rs", &["std::fs"], "one look at a pid file, by the keeper's workers only"),
    ("src/keeper/exits.rs", &["std::fs"], "one file a container, read and written by the keeper's workers only"),
    ("src/keeper/gate.rs", &["std::fs"], "reads the very bytes that it compares and seals"),
    ("src/keeper/log.rs", &["std::fs"], "the log files of a run, written from the keeper's loop"),
    ("src/keeper/sockets.rs", &["std::fs"], "socket files of consoles, made and removed on the keeper's workers"),
    ("src/keeper/run_ids.rs", &["std::fs"], "one counter file, written before an id is used"),
    ("src/launcher.rs", &["std::fs"], "starts the custodian: a part of the program, not of the library's decisions"),
    ("src/logbook/command.rs", &["tokio::"], "a command of its own: asks the keeper where logs are, and prints"),
    ("src/logbook/provider.rs", &["tokio::"], "bounds the questions, and has files read on threads of their own"),
    ("src/northbound/calling.rs", &["tokio::"], "bounds how long a provider may take for a call"),
    (
        "src/northbound/getting.rs",
        &["tokio::"],
        "bounds how long a provider may think about its state, and has pieces made elsewhere",
    ),
    ("src/northbound/pushing.rs", &["tokio::"], "puts a look at a selection off until it is due"),
    ("src/request/logs.rs", &["tokio::", "std::fs"], "reads the ends of log files for a view, on a thread of its own"),
    ("src/northbound/subscriptions.rs", &["tokio::"], "holds the timer of the next look, to stop it"),
    ("src/script/fetch.rs", &["std::fs"], "one download, run by the driver on a thread of its own"),
    ("src/script/history_file.rs", &["std::fs"], "the repository's journal, called by its driver only"),
    ("src/script/ledger.rs", &["tokio::"], "hands the journal to a thread of its own, called by its driver only"),
    ("src/script/open.rs", &["tokio::", "Instant::now"], "builds the driver"),
    ("src/script/shelves.rs", &["std::fs"], "the repository's folders, called by its driver only"),
    ("src/script/watching.rs", &["std::fs"], "reads what inotify named, called by its driver only"),
    ("src/settings.rs", &["std::fs"], "the bootstrap file, read once before anything runs"),
    ("src/shell/compile.rs", &["std::fs"], "sidecar files, read once at start"),
    ("src/shell_command.rs", &["std::fs"], "a command of its own: reads the file that it is given"),
    ("src/ssh/connection.rs", &["tokio::"], "one connection's task, started by the driver"),
    ("src/ssh/flow.rs", &["tokio::"], "byte streams of a channel, with their flow control"),
    ("src/ssh/gate.rs", &["tokio::"], "a socket that can be paused: stream traits, no task"),
    ("src/ssh/host_key.rs", &["std::fs"], "key files, read once at start"),
    ("src/ssh/mod.rs", &["tokio::"], "names the stream traits that its front ends are given"),
    ("src/ssh/sftp.rs", &["tokio::", "std::fs"], "the file protocol of one channel, started by the driver"),
    ("src/ssh/stream.rs", &["tokio::"], "a channel as a byte stream: stream traits, no task"),
    ("src/transport/calling.rs", &["tokio::"], "one client that is called, started by the driver"),
    ("src/transport/keys.rs", &["std::fs"], "key files, read when a configuration names them"),
    ("src/validation/judge.rs", &["tokio::"], "a look at one commit: bounds how long it may take"),
    ("src/viewer.rs", &["tokio::", "SystemTime::now"], "a command of its own: asks the keeper and prints"),
    ("src/viewer/seat.rs", &["tokio::"], "a command of its own: a terminal and a console's socket"),
];

/// Modules that must not name others: the arrows of `docs/architecture.md`.
const ABSENCES: &[(&str, &[&str])] = &[
    (
        "sys",
        &[
            "agent",
            "appmgr",
            "container",
            "datastore",
            "fleet",
            "keeper",
            "netconf",
            "northbound",
            "script",
            "ssh",
            "store",
            "system",
            "yang",
        ],
    ),
    (
        "yang",
        &[
            "agent",
            "appmgr",
            "container",
            "datastore",
            "fleet",
            "keeper",
            "netconf",
            "script",
            "ssh",
            "store",
            "system",
        ],
    ),
    (
        "store",
        &[
            "agent",
            "appmgr",
            "container",
            "datastore",
            "fleet",
            "keeper",
            "netconf",
            "northbound",
            "script",
            "ssh",
            "system",
            "yang",
        ],
    ),
    ("datastore", &["agent", "appmgr", "container", "fleet", "keeper", "netconf", "script", "ssh", "sys", "system"]),
    (
        "northbound",
        &["agent", "appmgr", "container", "fleet", "keeper", "netconf", "script", "ssh", "sys", "system", "transport"],
    ),
    ("netconf", &["agent", "appmgr", "container", "fleet", "keeper", "script", "ssh", "store", "sys", "system"]),
    (
        "shell",
        &[
            "agent",
            "appmgr",
            "container",
            "datastore",
            "fleet",
            "keeper",
            "lifecycle",
            "northbound",
            "script",
            "ssh",
            "store",
            "system",
        ],
    ),
    (
        "ssh",
        &[
            "agent",
            "appmgr",
            "container",
            "datastore",
            "fleet",
            "keeper",
            "script",
            "store",
            "system",
            "transport",
            "yang",
        ],
    ),
    (
        "keeper",
        &["agent", "appmgr", "datastore", "fleet", "netconf", "northbound", "script", "ssh", "store", "system", "yang"],
    ),
    (
        "transport",
        &["agent", "appmgr", "container", "datastore", "fleet", "keeper", "netconf", "script", "store", "system"],
    ),
    (
        "console",
        &[
            "agent",
            "appmgr",
            "datastore",
            "fleet",
            "keeper",
            "netconf",
            "northbound",
            "script",
            "ssh",
            "store",
            "sys",
            "system",
            "yang",
        ],
    ),
    (
        "moving",
        &["agent", "appmgr", "datastore", "fleet", "netconf", "northbound", "script", "ssh", "store", "system", "yang"],
    ),
    (
        "xmlrpc",
        &[
            "agent",
            "appmgr",
            "container",
            "datastore",
            "fleet",
            "keeper",
            "lifecycle",
            "netconf",
            "script",
            "ssh",
            "store",
            "sys",
            "system",
            "transport",
        ],
    ),
    (
        "logs",
        &[
            "agent",
            "appmgr",
            "console",
            "container",
            "datastore",
            "fleet",
            "keeper",
            "netconf",
            "northbound",
            "script",
            "ssh",
            "store",
            "system",
            "yang",
        ],
    ),
    ("container", &["agent", "appmgr", "datastore", "fleet", "keeper", "netconf", "script", "ssh", "store", "system"]),
];

/// Providers know the front door and what is behind them, never each other.
const PROVIDERS: &[&str] = &[
    "alarms",
    "appmgr",
    "eem",
    "fleet",
    "lifecycle",
    "logbook",
    "request",
    "script",
    "system",
    "transport",
    "validation",
];

/// Written in two pieces, so that this file does not hold them itself.
const UNFINISHED: &[&str] = &[concat!("to", "do!("), concat!("unimple", "mented!("), concat!("un", "finished here")];

#[test]
fn every_file_says_first_what_it_is() {
    let mut findings = Findings::default();
    // A file of unit tests belongs to the file that it tests, which says it.
    for source in sources(&["src", "tests", "benches"]).iter().filter(|source| !source.of_tests) {
        if !source.text.starts_with("//!") {
            findings.add(&source.path, 1, "a file begins with `//!`: what it is and what it must not know");
        }
    }
    findings.none();
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut findings = Findings::default();
    for source in sources(&["src", "tests", "benches"]) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.add(&source.path, lines, &format!("a file has at most {FILE_LINES_MAX} lines"));
        }
    }
    findings.none();
}

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Findings::default();
    for source in sources(&["src", "tests", "benches"]) {
        for (number, line) in numbered(&source.text) {
            if let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
                findings.add(&source.path, number, &format!("`{word}..` is not code"));
            }
        }
    }
    findings.none();
}

#[test]
fn effects_stay_in_drivers() {
    let mut findings = Findings::default();
    for source in sources(&["src"]).iter().filter(|source| !may_have_effects(&source.path)) {
        for (number, line) in source.code() {
            for effect in EFFECTS.iter().filter(|effect| has_effect(line, effect)) {
                if !allowed(&source.path).any(|(_, effects, _)| effects.contains(effect)) {
                    findings.add(&source.path, number, &format!("`{effect}` belongs into the folder's driver.rs"));
                }
            }
        }
    }
    findings.none();
}

#[test]
fn an_exception_that_nobody_needs_is_taken_back() {
    let mut findings = Findings::default();
    let sources = sources(&["src"]);
    for (path, effects, _) in EFFECTS_ALLOWED {
        let files: Vec<_> = sources.iter().filter(|source| covers(path, &source.path)).collect();
        for effect in *effects {
            let used = files.iter().any(|source| source.code().any(|(_, line)| has_effect(line, effect)));
            if !files.is_empty() && !used {
                findings.add(path, 1, &format!("does not use `{effect}`: take it out of EFFECTS_ALLOWED"));
            }
        }
    }
    findings.none();
}

#[test]
fn no_module_knows_what_it_must_not_know() {
    let mut findings = Findings::default();
    let providers = PROVIDERS.iter().map(|provider| {
        let others: Vec<&str> = PROVIDERS.iter().filter(|other| *other != provider).copied().collect();
        (*provider, others)
    });
    let arrows = ABSENCES.iter().map(|(module, others)| (*module, others.to_vec())).chain(providers);
    let sources = sources(&["src"]);
    for (module, others) in arrows {
        for source in sources.iter().filter(|source| source.is_in(module)) {
            for (number, line) in source.code() {
                for other in others.iter().filter(|other| names_module(line, other)) {
                    findings.add(&source.path, number, &format!("`{module}` must not know `{other}`"));
                }
            }
        }
    }
    findings.none();
}

#[test]
fn every_yang_file_is_implemented_or_imported() {
    let mut findings = Findings::default();
    let folder = root().join("yang");
    let Ok(entries) = fs::read_dir(&folder) else { return };
    let modules: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yang"))
        .collect();
    let implemented = read(&folder.join("implemented.toml"));
    let texts: Vec<String> = modules.iter().map(|path| read(path)).collect();
    for path in &modules {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let name = file.split('@').next().unwrap_or_default();
        let listed = implemented.contains(&format!("\"{name}\""));
        let used = texts.iter().any(|text| {
            text.lines().map(str::trim).any(|line| {
                let mut words = line.split([' ', '{', ';', '"']).filter(|word| !word.is_empty());
                matches!(words.next(), Some("import" | "include")) && words.next() == Some(name)
            })
        });
        if !listed && !used {
            let path = format!("yang/{file}.yang");
            findings.add(&path, 1, "is neither in yang/implemented.toml nor imported or included by a module");
        }
    }
    findings.none();
}

#[test]
fn what_the_readme_names_exists() {
    let mut findings = Findings::default();
    for (number, line) in numbered(&read(&root().join("README.md"))) {
        let words = line.split(|letter: char| letter.is_whitespace() || "`()[]<>,:;\"'".contains(letter));
        for word in words.map(|word| word.trim_end_matches('.')).filter(|word| is_ours(word)) {
            let path = root().join(word);
            if !path.exists() {
                findings.add("README.md", number, &format!("`{word}` does not exist"));
            } else if is_command(word) && path.metadata().unwrap().permissions().mode() & 0o111 == 0 {
                findings.add("README.md", number, &format!("`{word}` is a command but not executable"));
            }
        }
    }
    findings.none();
}

#[test]
fn what_the_conformance_page_names_is_tested() {
    let page = read(&root().join("docs/conformance.md"));
    let mut names = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let shown_by = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        names.extend(shown_by.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    assert!(names.len() > 100, "the page is read");
    let mut paths = Vec::new();
    for folder in ["src", "tests"] {
        collect(&root().join(folder), &mut paths);
    }
    let entries = fs::read_dir(root().join("tests")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(entries.filter(|path| path.extension().is_some_and(|it| it == "py")));
    for path in paths {
        let text = read(&path);
        names.retain(|name| !text.contains(&format!("fn {name}(")) && !text.contains(&format!("def {name}(")));
    }
    assert!(names.is_empty(), "docs/conformance.md names tests that there are not: {names:?}");
}

fn has_effect(line: &str, effect: &str) -> bool {
    line.match_indices(effect).any(|(at, _)| !line[at..].starts_with("tokio::sync"))
}

fn may_have_effects(path: &str) -> bool {
    let in_driver = path.split('/').any(|part| part == "driver" || part.strip_suffix(".rs") == Some("driver"));
    in_driver || EFFECTS_AT_HOME.iter().any(|home| covers(home, path))
}

fn allowed(path: &str) -> impl Iterator<Item = &'static (&'static str, &'static [&'static str], &'static str)> {
    EFFECTS_ALLOWED.iter().filter(move |(place, ..)| covers(place, path))
}

/// A place that ends with `/` is a folder.
fn covers(place: &str, path: &str) -> bool {
    if place.ends_with('/') { path.starts_with(place) } else { path == place }
}

/// Whether a line of code names the module: `crate::other`, or `other` in the braces of `crate::{..}`.
fn names_module(line: &str, other: &str) -> bool {
    line.match_indices("crate::").any(|(at, found)| {
        let rest = &line[at + found.len()..];
        let words = |text: &str| text.split(|it: char| !it.is_alphanumeric() && it != '_').any(|word| word == other);
        match rest.strip_prefix('{') {
            Some(list) => words(list),
            None => rest.split(|it: char| !it.is_alphanumeric() && it != '_').next() == Some(other),
        }
    })
}

/// A path of this repository, as the README writes them.
fn is_ours(word: &str) -> bool {
    ["scripts/", "docs/", "tests/", ".ci/", "yang/", "LICENSE-", "CHANGELOG"]
        .iter()
        .any(|start| word.starts_with(start))
        && !word.contains('*')
}

fn is_command(word: &str) -> bool {
    word.starts_with(".ci/")
        || word.strip_prefix("scripts/").is_some_and(|name| !name.contains(['/', '.']) && !name.is_empty())
            && root().join(word).is_file()
}

struct Source {
    path: String,
    text: String,
    /// Compiled for tests only: by its name, or because its parent declares it so.
    of_tests: bool,
}

impl Source {
    fn is_in(&self, module: &str) -> bool {
        self.path.starts_with(&format!("src/{module}/")) || self.path == format!("src/{module}.rs")
    }

    /// Lines of what runs: without tests and comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let end = (0..lines.len())
            .find(|at| lines[*at].trim() == "#[cfg(test)]" && opens_tests(&lines[at + 1..]))
            .unwrap_or(lines.len());
        let end = if self.of_tests { 0 } else { end };
        numbered(&self.text).take(end).map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }
}

/// `mod tests {`, with attributes before it; `mod tests;` ends nothing.
fn opens_tests(rest: &[&str]) -> bool {
    rest.iter()
        .map(|line| line.trim())
        .find(|line| !line.starts_with("#["))
        .is_some_and(|line| (line.starts_with("mod ") || line.starts_with("pub(crate) mod ")) && line.ends_with('{'))
}

#[derive(Default)]
struct Findings(BTreeSet<(String, usize, String)>);

impl Findings {
    fn add(&mut self, path: &str, line: usize, rule: &str) {
        self.0.insert((path.to_owned(), line, rule.to_owned()));
    }

    fn none(self) {
        let mut text = String::new();
        for (path, line, rule) in &self.0 {
            writeln!(text, "{path}:{line}: {rule}").unwrap();
        }
        assert!(self.0.is_empty(), "{} findings\n{text}", self.0.len());
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    let texts: Vec<(PathBuf, String)> = paths.into_iter().map(|path| (path.clone(), read(&path))).collect();
    let declared: BTreeSet<PathBuf> = texts.iter().flat_map(|(path, text)| declared_for_tests(path, text)).collect();
    let sources = texts.into_iter().map(|(path, text)| {
        let of_tests =
            declared.contains(&path) || path.file_stem().is_some_and(|it| it.to_string_lossy().ends_with("tests"));
        Source { path: path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), text, of_tests }
    });
    sources.collect()
}

/// The files that a file declares by `#[cfg(test)] mod name;`.
fn declared_for_tests(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
    let folder = if ["mod", "lib", "main"].contains(&stem.as_str()) {
        path.parent().unwrap().to_owned()
    } else {
        path.with_extension("")
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names = pairs.filter_map(|pair| pair[1].strip_prefix("mod ")?.strip_suffix(';'));
    names.map(|name| folder.join(format!("{name}.rs"))).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    // A folder that is not there yet has no files.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|it| it == "rs") {
            paths.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tree to look at: cargo says where it is at run time, so a moved tree is looked at where it is.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
    })
}

#[test]
fn the_rules_see_what_they_look_for() {
    assert!(names_module("use crate::script::Name;", "script"));
    assert!(names_module("use crate::{appmgr, script};", "script"));
    assert!(names_module("    crate::script::run()", "script"));
    assert!(!names_module("use crate::scripting;", "script"));
    assert!(!names_module("use super::script;", "script"));
    assert!(may_have_effects("src/keeper/driver.rs") && may_have_effects("src/keeper/driver/runs.rs"));
    assert!(may_have_effects("src/sys/pty.rs") && !may_have_effects("src/keeper/pace.rs"));
    assert!(!may_have_effects("src/system.rs"));
    assert!(has_effect("tokio::spawn(it)", "tokio::") && !has_effect("use tokio::sync::oneshot;", "tokio::"));
    assert_eq!(declared_for_tests(Path::new("a/mod.rs"), "#[cfg(test)]\nmod x;\nmod y;"), [Path::new("a/x.rs")]);
    let source = Source {
        path: "src/x.rs".into(),
        text: "a\n#[cfg(test)]\nmod tests;\nb // std::fs\n#[cfg(test)]\n#[expect(x)]\nmod more {\nc\n".into(),
        of_tests: false,
    };
    assert_eq!(
        source.code().map(|(_, line)| line.trim()).collect::<Vec<_>>(),
        ["a", "#[cfg(test)]", "mod tests;", "b"]
    );
    assert!(is_ours("scripts/run") && !is_ours("scripting/run"));
}
