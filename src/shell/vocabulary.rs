//! The commands of the device: their words, their arguments, and what each word means. There is one entry per command.

use std::sync::OnceLock;

use super::command::{Argument, Commands, Values};

/// What a command does; `driver/` carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    ShowScripts,
    ShowApps,
    ShowApp,
    ShowAppLogs,
    ShowRunning,
    ShowCommitList,
    ShowCommitChanges,
    ShowLogging,
    ShowProcess,
    ShowProcesses,
    ShowMemory,
    ShowSessions,
    ShowVersion,
    ShowClock,
    ScriptAdd,
    ScriptRemove,
    AppAction,
    ProcessOrder,
    ProcessVersion,
    Copy,
    Dir,
    KillSession,
    RollBack,
    TerminalLength,
    TerminalWidth,
    TerminalStamp,
    Configure,
    Describe,
    Help,
    Exit,
    // In configuration mode only.
    ShowTarget,
    ShowMerge,
    ShowFailed,
    ShowHere,
    ShowTargetDiff,
    Commit,
    Validate,
    Abort,
    Clear,
    End,
    ExitMode,
    Root,
    Pwd,
    Do,
    Load,
}

/// Where a command can be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Exec,
    /// In operational mode, and in configuration mode as if `do` stood before it.
    Both,
    Config,
}

pub struct Command {
    pub syntax: &'static str,
    pub verb: Verb,
    pub place: Where,
}

const fn both(syntax: &'static str, verb: Verb) -> Command {
    Command { syntax, verb, place: Where::Both }
}

const fn exec(syntax: &'static str, verb: Verb) -> Command {
    Command { syntax, verb, place: Where::Exec }
}

const fn config(syntax: &'static str, verb: Verb) -> Command {
    Command { syntax, verb, place: Where::Config }
}

/// All commands.
pub const COMMANDS: &[Command] = &[
    both("show script status [ detail ] < name FILE | type SCRIPT-TYPE | last COUNT | reverse >", Verb::ShowScripts),
    both("show appmgr process-script-table", Verb::ShowApps),
    both("show appmgr process-script APP info", Verb::ShowApp),
    both("show appmgr process-script APP logs { output | errors } [ last COUNT ]", Verb::ShowAppLogs),
    both("show running-config [ PATH ]", Verb::ShowRunning),
    both("show configuration commit list [ COUNT ] [ detail ]", Verb::ShowCommitList),
    both(
        "show configuration commit changes { COMMIT | last COUNT | since COMMIT | all } [ diff ]",
        Verb::ShowCommitChanges,
    ),
    both("show logging < last COUNT >", Verb::ShowLogging),
    both("show process [ NAME ] [ why ]", Verb::ShowProcess),
    both("show processes [ cpu ]", Verb::ShowProcesses),
    both("show memory summary", Verb::ShowMemory),
    both("show netconf sessions", Verb::ShowSessions),
    both("show version", Verb::ShowVersion),
    both("show clock", Verb::ShowClock),
    both("script add SCRIPT-TYPE SOURCE FILE+", Verb::ScriptAdd),
    both("script remove SCRIPT-TYPE FILE+", Verb::ScriptRemove),
    both("appmgr process-script { activate | deactivate | start | stop | restart | kill } name APP", Verb::AppAction),
    both("process { start | stop | restart } NAME+", Verb::ProcessOrder),
    both("process set-version NAME VERSION", Verb::ProcessVersion),
    exec("copy FROM TO", Verb::Copy),
    exec("dir [ DEVICE-PATH ]", Verb::Dir),
    exec("clear netconf session SESSION", Verb::KillSession),
    exec(
        "rollback configuration { COMMIT | last COUNT | to COMMIT | to-exclude COMMIT } < label LABEL > [ comment LINE ]",
        Verb::RollBack,
    ),
    both("terminal length LINES", Verb::TerminalLength),
    both("terminal width COLUMNS", Verb::TerminalWidth),
    both("terminal exec prompt { timestamp | no-timestamp }", Verb::TerminalStamp),
    exec("configure [ exclusive | terminal ]", Verb::Configure),
    both("describe LINE", Verb::Describe),
    both("help", Verb::Help),
    exec("exit", Verb::Exit),
    exec("quit", Verb::Exit),
    exec("logout", Verb::Exit),
    config("show configuration", Verb::ShowTarget),
    config("show configuration merge", Verb::ShowMerge),
    config("show configuration failed", Verb::ShowFailed),
    config("show", Verb::ShowHere),
    config("show commit changes diff", Verb::ShowTargetDiff),
    config(
        "commit [ check ] < label LABEL | confirmed [ SECONDS | minutes MINUTES ] | replace | save-running | show-error > [ comment LINE ]",
        Verb::Commit,
    ),
    config("validate", Verb::Validate),
    config("abort", Verb::Abort),
    config("clear", Verb::Clear),
    config("end", Verb::End),
    config("exit", Verb::ExitMode),
    config("quit", Verb::ExitMode),
    config("root", Verb::Root),
    config("pwd", Verb::Pwd),
    config("do LINE", Verb::Do),
    config("load { merge | terminal | DEVICE-PATH } [ DEVICE-PATH ]", Verb::Load),
    config(
        "rollback configuration { COMMIT | last COUNT | to COMMIT | to-exclude COMMIT } < label LABEL > [ comment LINE ]",
        Verb::RollBack,
    ),
];

const ARGUMENTS: &[Argument] = &[
    Argument { name: "APP", values: Values::Any, help: "An app, by its name" },
    Argument { name: "COLUMNS", values: Values::Number(0, 65535), help: "Columns of the terminal; 0 is no limit" },
    Argument { name: "COMMIT", values: Values::Any, help: "A commit, by its id or label" },
    Argument { name: "COUNT", values: Values::Number(1, 1_000_000), help: "How many" },
    Argument { name: "DEVICE-PATH", values: Values::Any, help: "A file of the device, such as /harddisk:/x" },
    Argument { name: "FILE", values: Values::Any, help: "A script, by its file name" },
    Argument { name: "FROM", values: Values::Any, help: "The file to copy: harddisk:/x" },
    Argument { name: "LABEL", values: Values::Any, help: "A name for the commit: letters, digits, - and _" },
    Argument { name: "LINES", values: Values::Number(0, 65535), help: "Lines of the terminal; 0 never pauses" },
    Argument { name: "NAME", values: Values::Any, help: "A process, by the name of its definition" },
    Argument { name: "MINUTES", values: Values::Number(1, 65535), help: "Minutes until it is undone" },
    Argument {
        name: "SCRIPT-TYPE",
        values: Values::OneOf(&["config", "eem", "exec", "precommit", "process"]),
        help: "The type of the scripts",
    },
    Argument { name: "SECONDS", values: Values::Number(1, 65535), help: "Seconds until it is undone" },
    Argument { name: "SESSION", values: Values::Number(1, u32::MAX), help: "A session, by its number" },
    Argument { name: "SOURCE", values: Values::Any, help: "Where the scripts are: http://HOST/DIR or /harddisk:/DIR" },
    Argument { name: "VERSION", values: Values::Any, help: "The version that its configuration is of" },
    Argument { name: "TO", values: Values::Any, help: "The file to make: harddisk:/x" },
];

/// What the words mean; of a word that means several things, by the word before it.
const HELP: &[(&str, &str, &str)] = &[
    ("", "abort", "Leave configuration mode; what is not committed is forgotten"),
    ("process-script", "activate", "Activate process script"),
    ("SCRIPT-TYPE", "config", "Scripts that check configuration"),
    ("SCRIPT-TYPE", "eem", "Scripts that answer events"),
    ("SCRIPT-TYPE", "exec", "Scripts that run once"),
    ("SCRIPT-TYPE", "precommit", "Scripts that check a commit"),
    ("SCRIPT-TYPE", "process", "Scripts that run as daemons"),
    ("script", "add", "Add scripts to the repository"),
    ("changes", "all", "All commits that are kept"),
    ("", "appmgr", "The app manager"),
    ("commit", "changes", "What commits changed"),
    ("", "changes", "What is changed"),
    ("", "check", "Validate only; nothing is committed"),
    ("", "clear", "Forget what is not committed"),
    ("", "comment", "A remark for the history"),
    ("configuration", "commit", "The history of commits"),
    ("show", "commit", "The commit that is being prepared"),
    ("", "commit", "Make the target configuration the running one"),
    ("show", "configuration", "Configuration that is prepared, or was committed"),
    ("rollback", "configuration", "Undo commits"),
    ("", "configure", "Enter configuration mode"),
    ("", "confirmed", "Undo the commit unless it is confirmed in time"),
    ("", "copy", "Copy a file to the disk of the device"),
    ("", "cpu", "CPU utilization"),
    ("process-script", "deactivate", "Deactivate process script"),
    ("", "describe", "Tell which node or command a line is"),
    ("", "detail", "All that is known"),
    ("", "diff", "Lines with + and -"),
    ("", "dir", "List a folder of the disk"),
    ("", "do", "A command of operational mode"),
    ("", "end", "Leave configuration mode; asks about what is not committed"),
    ("logs", "errors", "What the app wrote to its error output"),
    ("terminal", "exec", "What stands before the output of commands"),
    ("configure", "exclusive", "Nobody else commits meanwhile"),
    ("", "exclusive", "Nobody else commits meanwhile"),
    ("", "exit", "Leave this mode, or the shell"),
    ("configuration", "failed", "What the last commit could not do, and why"),
    ("", "help", "How to find one's way"),
    ("", "info", "Registration, pending configuration, execution"),
    ("process-script", "kill", "Kill process script"),
    ("", "label", "A name for the commit"),
    ("", "last", "The newest only"),
    ("terminal", "length", "Lines before the output pauses"),
    ("commit", "list", "The commits"),
    ("", "load", "Read configuration from a file or the terminal"),
    ("show", "logging", "The system log"),
    ("", "logout", "Leave the shell"),
    ("", "logs", "What the app wrote"),
    ("show", "memory", "The memory of the host"),
    ("configuration", "merge", "Running with the target configuration in it"),
    ("load", "merge", "Read a file into the target configuration"),
    ("", "minutes", "Minutes until it is undone"),
    ("", "name", "By its name"),
    ("clear", "netconf", "NETCONF sessions"),
    ("show", "netconf", "NETCONF sessions"),
    ("prompt", "no-timestamp", "No time before the output of commands"),
    ("", "no", "Take configuration away"),
    ("logs", "output", "What the app wrote to its output"),
    ("appmgr", "process-script", "Scripts that run as apps"),
    ("appmgr", "process-script-table", "All apps"),
    ("show", "process", "Processes with a definition"),
    ("", "process", "Start, stop or restart a process with a definition"),
    ("process", "restart", "Stop and start it; what is wanted stays"),
    ("process", "set-version", "Say of which version its configuration is"),
    ("process", "start", "Want it, now and after every restart"),
    ("process", "stop", "Do not want it any more"),
    ("", "why", "Why it stands there, and what to do"),
    ("show", "processes", "The processes of the host"),
    ("exec", "prompt", "What stands before the output of commands"),
    ("", "pwd", "Tell which mode this is"),
    ("", "quit", "Leave this mode, or the shell"),
    ("script", "remove", "Remove scripts from the repository"),
    ("", "replace", "The target configuration replaces all of running"),
    ("process-script", "restart", "Restart process script"),
    ("", "reverse", "Oldest first"),
    ("", "rollback", "Undo commits"),
    ("", "root", "Go to the top of the configuration"),
    ("show", "running-config", "The configuration in force"),
    ("", "save-running", "As without it: a commit is durable"),
    ("show", "script", "The script repository"),
    ("", "script", "The script repository"),
    ("netconf", "session", "One session"),
    ("netconf", "sessions", "Who is connected"),
    ("", "show", "Tell what is"),
    ("", "show-error", "Tell the errors of a commit that failed"),
    ("changes", "since", "A commit and all after it"),
    ("process-script", "start", "Start process script"),
    ("script", "status", "Which scripts there are, and whether they may run"),
    ("process-script", "stop", "Stop process script"),
    ("memory", "summary", "In a few lines"),
    ("configure", "terminal", "From this terminal"),
    ("load", "terminal", "Type or paste it here; ^D ends"),
    ("", "terminal", "How this terminal is used"),
    ("prompt", "timestamp", "The time before the output of commands"),
    ("configuration", "to", "That commit and all after it"),
    ("configuration", "to-exclude", "All after that commit"),
    ("", "type", "Of one type only"),
    ("", "validate", "Is the target configuration valid?"),
    ("show", "version", "What this is"),
    ("show", "clock", "What time it is"),
    ("terminal", "width", "Columns of the terminal"),
];

fn help(before: &str, word: &str) -> &'static str {
    let of = |context: &str| HELP.iter().find(|(known, named, _)| *named == word && *known == context);
    of(before).or_else(|| of("")).map_or("", |(_, _, help)| *help)
}

/// The commands of operational mode; their numbers are those of [`COMMANDS`] in `verbs`.
pub struct Vocabulary {
    pub commands: Commands,
    verbs: Vec<Verb>,
}

impl Vocabulary {
    fn of(places: &[Where]) -> Self {
        let listed = || COMMANDS.iter().filter(|command| places.contains(&command.place));
        let syntaxes: Vec<&'static str> = listed().map(|command| command.syntax).collect();
        Self {
            commands: Commands::new(&syntaxes, ARGUMENTS, help),
            verbs: listed().map(|command| command.verb).collect(),
        }
    }

    pub fn verb(&self, command: usize) -> Verb {
        self.verbs[command]
    }
}

/// What can be typed in operational mode.
pub fn operational() -> &'static Vocabulary {
    static WORDS: OnceLock<Vocabulary> = OnceLock::new();
    WORDS.get_or_init(|| Vocabulary::of(&[Where::Exec, Where::Both]))
}

/// What can be typed in configuration mode beside configuration.
pub fn configuring() -> &'static Vocabulary {
    static WORDS: OnceLock<Vocabulary> = OnceLock::new();
    WORDS.get_or_init(|| Vocabulary::of(&[Where::Config, Where::Both]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_every_command_is_explained() {
        let words = COMMANDS.iter().flat_map(|command| command.syntax.split_whitespace());
        let is_word = |word: &&str| word.len() > 1 && word.starts_with(|first: char| first.is_ascii_lowercase());
        let is_silent = |word: &&str| !HELP.iter().any(|(_, known, help)| known == word && !help.is_empty());
        let silent: Vec<&str> = words.filter(is_word).filter(is_silent).collect();
        assert_eq!(silent, Vec::<&str>::new());
    }
}
