//! The commands of the device: their words, their arguments, and what each word means. There is one entry per command.

mod help;

use std::sync::OnceLock;

use self::help::{ARGUMENTS, help};
use super::command::{Commands, Matched};

/// What a command does; `driver/` carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    ShowScripts,
    ShowRuns,
    ShowPython,
    ShowAlarms,
    ShowEvents,
    ShowApps,
    ShowApp,
    ShowAppLogs,
    ShowRunning,
    ShowCommitList,
    ShowHistory,
    ShowCommitChanges,
    ShowLogging,
    ShowLog,
    ShowContainers,
    ShowProcess,
    ShowProcesses,
    ShowMemory,
    ShowSessions,
    ShowVersion,
    ShowClock,
    ScriptAdd,
    ScriptRemove,
    ScriptRun,
    ScriptStop,
    ScriptUpdate,
    AppAction,
    ProcessOrder,
    ProcessVersion,
    ContainerOrder,
    Copy,
    Dir,
    Linux,
    Console,
    KillSession,
    RollBack,
    TerminalLength,
    TerminalWidth,
    TerminalStamp,
    TerminalColour,
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
    ValidateScripts,
    Abort,
    Clear,
    End,
    ExitMode,
    Root,
    Pwd,
    Do,
    Load,
}

impl Verb {
    /// Whether what it shows is data, which has other forms than the command's own.
    pub fn has_forms(self, matched: &Matched) -> bool {
        match self {
            Verb::ShowScripts
            | Verb::ShowRuns
            | Verb::ShowAlarms
            | Verb::ShowApps
            | Verb::ShowApp
            | Verb::ShowRunning
            | Verb::ShowCommitList
            | Verb::ShowHistory
            | Verb::ShowLogging
            | Verb::ShowContainers
            | Verb::ShowProcesses
            | Verb::ShowMemory
            | Verb::ShowSessions
            | Verb::ShowVersion => true,
            Verb::ShowProcess => !matched.has("why"),
            _ => false,
        }
    }
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
    pub need: Need,
}

/// What the access rules must let a user do for a command to be of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Whatever there is to refuse is refused where it stands.
    Nothing,
    Read(&'static str),
    Update(&'static str),
    Execute(&'static str),
}

/// The handle of the files of the disk.
pub const FILES: &str = "/procyon-files:harddisk";
/// The handle of the host's Linux.
pub const LINUX: &str = "/procyon-shell:linux";
const SCRIPTS: &str = "/Cisco-IOS-XR-infra-script-mgmt-oper:script";
const EVENTS: &str = "/Cisco-IOS-XR-ha-eem-policy-oper:eem";
const APPS: &str = "/Cisco-IOS-XR-appmgr-oper:appmgr";

impl Command {
    const fn reads(self, path: &'static str) -> Self {
        Self { need: Need::Read(path), ..self }
    }

    const fn updates(self, path: &'static str) -> Self {
        Self { need: Need::Update(path), ..self }
    }

    const fn calls(self, path: &'static str) -> Self {
        Self { need: Need::Execute(path), ..self }
    }
}

const fn both(syntax: &'static str, verb: Verb) -> Command {
    Command { syntax, verb, place: Where::Both, need: Need::Nothing }
}

const fn exec(syntax: &'static str, verb: Verb) -> Command {
    Command { syntax, verb, place: Where::Exec, need: Need::Nothing }
}

const fn config(syntax: &'static str, verb: Verb) -> Command {
    Command { syntax, verb, place: Where::Config, need: Need::Nothing }
}

macro_rules! run_options {
    () => {
        "< arguments ARGUMENT+ | background | checksum [ SHA256 ] SUM | description TEXT | log-level LOG-LEVEL \
         | log-path DEVICE-PATH | max-runtime RUNTIME | vrf VRF >"
    };
}

/// All commands.
pub const COMMANDS: &[Command] = &[
    both("show script status [ detail ] < name FILE | type SCRIPT-TYPE | last COUNT | reverse | show-deleted >", Verb::ShowScripts).reads(SCRIPTS),
    both(
        "show script execution [ detail ] [ output ] [ error ] < request-ID REQUEST | name FILE | status STATUS | last COUNT | reverse >",
        Verb::ShowRuns,
    ).reads(SCRIPTS),
    both("show script python", Verb::ShowPython).calls("/procyon-agent:show-python"),
    both("show alarms [ brief | detail ] [ system ] [ active | history ]", Verb::ShowAlarms).reads("/ietf-alarms:alarms"),
    both("show event manager policy-map [ all | detail | EVENT-NAME ]", Verb::ShowEvents).reads(EVENTS),
    both("show event manager action [ all | detail | EVENT-NAME ]", Verb::ShowEvents).reads(EVENTS),
    both("show event manager event-trigger [ all | detail | EVENT-NAME ]", Verb::ShowEvents).reads(EVENTS),
    both("show appmgr process-script-table", Verb::ShowApps).reads(APPS),
    both("show appmgr process-script APP info", Verb::ShowApp).reads(APPS),
    both("show appmgr process-script APP logs { output | errors } < last COUNT | follow >", Verb::ShowAppLogs).reads(FILES),
    both("show running-config [ formal ] [ PATH ]", Verb::ShowRunning),
    both("show configuration commit list [ COUNT ] [ detail ]", Verb::ShowCommitList).reads("/Cisco-IOS-XR-config-cfgmgr-exec-oper:config-manager"),
    both("show configuration history [ commit ] < last COUNT | detail >", Verb::ShowHistory)
        .reads("/Cisco-IOS-XR-config-cfgmgr-exec-oper:config-manager"),
    both(
        "show configuration commit changes { COMMIT | last COUNT | since COMMIT | all } [ diff ]",
        Verb::ShowCommitChanges,
    ),
    both("show configuration [ commit ] failed [ inheritance | if-committed ]", Verb::ShowFailed),
    both("show logging < last COUNT >", Verb::ShowLogging).reads("/Cisco-IOS-XR-infra-syslog-oper:syslog"),
    // As people abbreviate it.
    both("show log < last COUNT >", Verb::ShowLogging).reads("/Cisco-IOS-XR-infra-syslog-oper:syslog"),
    both("show log LOG < last COUNT | since SINCE | until UNTIL | output | errors | follow >", Verb::ShowLog)
        .calls("/procyon-log:show-log"),
    both("show container [ CONTAINER ]", Verb::ShowContainers).reads("/procyon-container:containers-state"),
    both("show process [ NAME ] [ why ]", Verb::ShowProcess).reads("/procyon-process:processes-state"),
    both("show processes [ cpu ]", Verb::ShowProcesses).reads("/Cisco-IOS-XR-wdsysmon-fd-oper:system-monitoring"),
    both("show memory summary", Verb::ShowMemory).reads("/Cisco-IOS-XR-nto-misc-oper:memory-summary"),
    both("show netconf sessions", Verb::ShowSessions).reads("/ietf-netconf-monitoring:netconf-state"),
    both("show version", Verb::ShowVersion),
    both("show clock", Verb::ShowClock),
    both("script add SCRIPT-TYPE SOURCE FILE+ [ vrf VRF ]", Verb::ScriptAdd).calls("/Cisco-IOS-XR-infra-script-mgmt-act:add"),
    both("script remove SCRIPT-TYPE FILE+", Verb::ScriptRemove).calls("/Cisco-IOS-XR-infra-script-mgmt-act:remove"),
    both(concat!("script run FILE ", run_options!()), Verb::ScriptRun).calls("/Cisco-IOS-XR-infra-script-mgmt-act:run"),
    // From a server, or a folder of the disk.
    both(concat!("script run SOURCE FILE ", run_options!()), Verb::ScriptRun)
        .calls("/Cisco-IOS-XR-infra-script-mgmt-act:run"),
    both("script stop REQUEST [ description LINE ]", Verb::ScriptStop).calls("/Cisco-IOS-XR-infra-script-mgmt-act:stop"),
    both(
        "script update manual { config-script | eem-script | exec-script | precommit-script | process-script | all } [ FILE ]",
        Verb::ScriptUpdate,
    ).calls("/Cisco-IOS-XR-infra-script-mgmt-act:update"),
    both("script update [ FILE+ ]", Verb::ScriptUpdate).calls("/Cisco-IOS-XR-infra-script-mgmt-act:update"),
    both("appmgr process-script activate name APP", Verb::AppAction)
        .calls("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-activate"),
    both("appmgr process-script deactivate name APP", Verb::AppAction)
        .calls("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-deactivate"),
    both("appmgr process-script start name APP", Verb::AppAction)
        .calls("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-start"),
    both("appmgr process-script stop name APP", Verb::AppAction)
        .calls("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-stop"),
    both("appmgr process-script restart name APP", Verb::AppAction)
        .calls("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-restart"),
    both("appmgr process-script kill name APP", Verb::AppAction)
        .calls("/Cisco-IOS-XR-appmgr-act:appmgr-process-script-kill"),
    both("process start NAME+", Verb::ProcessOrder).calls("/procyon-process:process-start"),
    both("process stop NAME+", Verb::ProcessOrder).calls("/procyon-process:process-stop"),
    both("process restart NAME+", Verb::ProcessOrder).calls("/procyon-process:process-restart"),
    both("process resync NAME+", Verb::ProcessOrder).calls("/procyon-process:process-resync"),
    both("process set-version NAME VERSION", Verb::ProcessVersion).calls("/procyon-process:process-set-version"),
    exec("container start { CONTAINER+ | group GROUP+ }", Verb::ContainerOrder).calls("/procyon-container:start"),
    exec("container stop { CONTAINER+ | group GROUP+ }", Verb::ContainerOrder).calls("/procyon-container:stop"),
    exec("container kill { CONTAINER+ | group GROUP+ }", Verb::ContainerOrder).calls("/procyon-container:kill"),
    // Options first: a name that begins one would be taken for it.
    exec(
        "container restart < rolling | at-once AT-ONCE | timeout TIMEOUT > { CONTAINER+ | group GROUP+ }",
        Verb::ContainerOrder,
    ).calls("/procyon-container:restart"),
    exec("container signal SIGNAL { CONTAINER+ | group GROUP+ }", Verb::ContainerOrder)
        .calls("/procyon-container:signal"),
    exec("copy FROM TO", Verb::Copy).updates(FILES),
    exec("scp FROM TO", Verb::Copy).updates(FILES),
    exec("dir [ DEVICE-PATH ]", Verb::Dir).reads(FILES),
    both("run [ LINE ]", Verb::Linux).updates(LINUX),
    exec("console LINE", Verb::Console),
    exec("clear netconf session SESSION", Verb::KillSession).calls("/ietf-netconf:kill-session"),
    exec(
        "rollback configuration { COMMIT | last COUNT | to COMMIT | to-exclude COMMIT } < label LABEL | force | best-effort > [ comment LINE ]",
        Verb::RollBack,
    ).calls("/Cisco-IOS-XR-cfgmgr-rollback-act:roll-back-configuration"),
    both("terminal length LINES", Verb::TerminalLength),
    both("terminal width COLUMNS", Verb::TerminalWidth),
    both("terminal color { enable | disable }", Verb::TerminalColour),
    both("terminal exec prompt { timestamp | no-timestamp }", Verb::TerminalStamp),
    exec("configure [ exclusive | terminal ]", Verb::Configure).calls("/ietf-netconf:edit-config"),
    both("describe LINE", Verb::Describe),
    both("help", Verb::Help),
    exec("exit", Verb::Exit),
    exec("quit", Verb::Exit),
    exec("logout", Verb::Exit),
    config("show configuration", Verb::ShowTarget),
    config("show configuration merge", Verb::ShowMerge),
    config("show", Verb::ShowHere),
    config("show commit changes diff", Verb::ShowTargetDiff),
    config(
        "commit [ check ] < label LABEL | confirmed [ SECONDS | minutes MINUTES ] | replace | best-effort | save-running | show-error > [ comment LINE ]",
        Verb::Commit,
    ).calls("/ietf-netconf:commit"),
    config("validate", Verb::Validate),
    config("validate config-scripts [ apply-policy-modifications ]", Verb::ValidateScripts)
        .calls("/procyon-history:validate-config-scripts"),
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
        "rollback configuration { COMMIT | last COUNT | to COMMIT | to-exclude COMMIT } < label LABEL | force | best-effort > [ comment LINE ]",
        Verb::RollBack,
    ).calls("/Cisco-IOS-XR-cfgmgr-rollback-act:roll-back-configuration"),
];

/// The commands of operational mode; their numbers are those of [`COMMANDS`] in `verbs`.
pub struct Vocabulary {
    pub commands: Commands,
    verbs: Vec<Verb>,
}

/// The words of both modes.
pub struct Words {
    pub operational: Vocabulary,
    pub configuring: Vocabulary,
}

impl Words {
    /// Those of commands whose needs are met.
    pub fn meeting(is_met: impl Fn(Need) -> bool) -> Self {
        Self {
            operational: Vocabulary::of(&[Where::Exec, Where::Both], &is_met),
            configuring: Vocabulary::of(&[Where::Config, Where::Both], &is_met),
        }
    }
}

/// All needs that there are, each once.
pub fn needs() -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for command in COMMANDS {
        if command.need != Need::Nothing && !needs.contains(&command.need) {
            needs.push(command.need);
        }
    }
    needs
}

impl Vocabulary {
    fn of(places: &[Where], is_met: &dyn Fn(Need) -> bool) -> Self {
        let listed = || COMMANDS.iter().filter(|command| places.contains(&command.place) && is_met(command.need));
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

/// All words, whoever may use them.
pub fn all() -> &'static Words {
    static WORDS: OnceLock<Words> = OnceLock::new();
    WORDS.get_or_init(|| Words::meeting(|_| true))
}

/// What can be typed in operational mode.
pub fn operational() -> &'static Vocabulary {
    &all().operational
}

/// What can be typed in configuration mode beside configuration.
pub fn configuring() -> &'static Vocabulary {
    &all().configuring
}

#[cfg(test)]
mod tests {
    use super::help::HELP;
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
