//! From a definition to what the keeper is given, with the house's values for all that nobody has said.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::console::Connect;
use super::definition::{self, Definition, Entry, OnChange, Policy};
use super::template::Instance;
use crate::container::provision::{Folder, Provision, Readiness, RequiredPath, Resources, WhenMissing, Window};
use crate::container::rules::Rules;
use crate::container::spec::{
    ContainerName, ContainerSpec, Floor, Forward, ForwardTo, LogSpec, Program, RestartPolicy, Rlimits, Terminal,
};
use crate::container::words;
use crate::keeper::attach;
use crate::keeper::forward::HOSTS_JOURNAL;
use crate::northbound::{Kind, Refusal};

pub const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const UMASK_DEFAULT: u32 = 0o022;
const FOLDER_MODE_DEFAULT: u32 = 0o755;
const FACILITY_USER: u8 = 1;
const FACILITY_DAEMON: u8 = 3;
const FACILITY_LOCAL0: u8 = 16;
const WINDOW_DEFAULT: Window = Window { rows: 24, columns: 80 };

/// Where things are, and as whom containers run that say nothing.
#[derive(Debug, Clone)]
pub struct Places {
    /// Each container has a folder for its logs below this.
    pub logs: PathBuf,
    /// And a private one below this.
    pub work: PathBuf,
    pub user: Option<String>,
    /// The keeper's program, which also connects to the consoles of others.
    pub connector: PathBuf,
    pub log_bytes_max: u64,
    pub log_files_max: u8,
}

#[cfg(test)]
impl Places {
    /// Places that no test looks at.
    pub(super) fn anywhere() -> Self {
        Self {
            logs: "/l".into(),
            work: "/w".into(),
            user: None,
            connector: "/k".into(),
            log_bytes_max: 1,
            log_files_max: 1,
        }
    }
}

/// A container that can be given to the keeper, and what is ours to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub spec: ContainerSpec,
    pub description: Option<String>,
    pub documentation: Vec<String>,
    pub groups: BTreeSet<String>,
    pub after: Vec<String>,
    pub before: Vec<String>,
    pub policy: Policy,
    pub start_at_boot: bool,
    pub on_change: OnChange,
}

impl Resolved {
    /// How long it has to end when it is forgotten.
    pub fn grace(&self) -> Duration {
        self.spec.rules.stop_timeout.unwrap_or(STOP_TIMEOUT_DEFAULT)
    }
}

/// # Errors
/// What the schema cannot judge: words that do not split, unknown specifiers, names that the keeper does not take.
pub fn resolve(entry: &Entry, template: Option<&Definition>, places: &Places) -> Result<Resolved, Refusal> {
    let definition = match template {
        Some(template) => entry.definition.over(template),
        None => entry.definition.clone(),
    };
    let filler = Filler { name: &entry.name, instance: Instance::of(&entry.name, entry.instance.as_deref()) };
    let name = filler.container(&entry.name, "name")?;
    let argv = match &definition.connect {
        Some(connect) => filler.connector(connect, places)?,
        None => filler.command(&definition)?,
    };
    let cwd = match &definition.working_directory {
        Some(folder) => filler.path(folder, "working-directory")?,
        None => places.work.join(&entry.name),
    };
    let logs = filler.logs(&definition, places)?;
    let mut spec = ContainerSpec::new(name, Program::Command { argv }, cwd, logs);
    for (name, value) in &definition.environment {
        spec.env.push((name.clone(), filler.text(value, "environment")?));
    }
    spec.user = filled(&filler, definition.user.as_deref(), "user")?.or_else(|| places.user.clone());
    spec.umask = definition.umask.unwrap_or(UMASK_DEFAULT);
    spec.no_new_privs = !definition.new_privileges.unwrap_or(false);
    spec.rlimits = rlimits(&definition);
    let policy = definition.policy.unwrap_or_default();
    spec.restart = restart(policy, definition.max_retries);
    spec.holdoff = definition.holdoff.unwrap_or(Duration::ZERO);
    spec.rules = Rules {
        delays: definition.delays.clone(),
        start_limit: definition.start_limit,
        stop_timeout: Some(definition.stop_timeout.unwrap_or(STOP_TIMEOUT_DEFAULT)),
        whole_tree: true,
    };
    if let Some(signal) = definition.stop_signal {
        spec.stop_signal = signal;
    }
    let has_terminal = definition.terminal.is_some() || definition.connect.is_some();
    spec.terminal = if has_terminal { Terminal::Pty } else { Terminal::Pipes };
    spec.survivors = definition.survivors.unwrap_or_default();
    spec.provision = filler.provision(&definition)?;
    if definition.connect.is_some() {
        // Ready is connected.
        spec.provision.readiness = Readiness::Newline { number: attach::READY_NUMBER };
    }
    spec.console = definition.console.resolve(
        has_terminal,
        |text| filler.text(text, "console"),
        |why, node| filler.refused(Kind::InvalidValue, why, Some(&format!("console/{node}"))),
    )?;
    let (after, before) = (filler.texts(&definition.after, "after")?, filler.texts(&definition.before, "before")?);
    for other in &after {
        spec.after.push(filler.container(other, "after")?);
    }
    for other in &before {
        filler.container(other, "before")?;
    }
    spec.check().map_err(|invalid| filler.refused(Kind::InvalidValue, invalid.to_string(), None))?;
    Ok(Resolved {
        spec,
        description: filled(&filler, definition.description.as_deref(), "description")?,
        documentation: filler.texts(&definition.documentation, "documentation")?,
        groups: definition.groups.iter().cloned().collect(),
        after,
        before,
        policy,
        start_at_boot: definition.start_at_boot.unwrap_or(true),
        on_change: definition.on_change.unwrap_or_default(),
    })
}

fn filled(filler: &Filler<'_>, text: Option<&str>, leaf: &str) -> Result<Option<String>, Refusal> {
    text.map(|text| filler.text(text, leaf)).transpose()
}

fn rlimits(definition: &Definition) -> Rlimits {
    let limit = |name: &str| definition.limits.get(name).copied();
    let house = Rlimits::default();
    Rlimits {
        core_bytes: limit("core-size").or(house.core_bytes),
        open_files: limit("open-files").or(house.open_files),
        address_space_bytes: limit("address-space"),
        file_bytes: limit("file-size"),
        processes: limit("processes"),
        cpu_seconds: limit("cpu-time"),
        stack_bytes: limit("stack-size"),
        locked_bytes: limit("locked-memory"),
    }
}

fn restart(policy: Policy, max_retries: Option<u32>) -> RestartPolicy {
    match policy {
        Policy::Always => RestartPolicy::Always,
        Policy::OnFailure => RestartPolicy::OnFailure { max_retries },
        Policy::UnlessErrored => RestartPolicy::UnlessErrored,
        Policy::UnlessStopped => RestartPolicy::UnlessStopped,
        Policy::Never | Policy::Oneshot => RestartPolicy::Never,
    }
}

struct Filler<'a> {
    name: &'a str,
    instance: Instance,
}

impl Filler<'_> {
    fn command(&self, definition: &Definition) -> Result<Vec<String>, Refusal> {
        let Some(command) = &definition.command else {
            let message = format!("container {} has no command, and its template has none either", self.name);
            return Err(self.refused(Kind::InvalidValue, message, Some("command")));
        };
        let words = words::split(command).map_err(|open| {
            self.refused(Kind::InvalidValue, format!("the command of container {}: {open}", self.name), Some("command"))
        })?;
        words.iter().map(|word| self.text(word, "command")).collect()
    }

    fn connector(&self, connect: &Connect, places: &Places) -> Result<Vec<String>, Refusal> {
        let arguments = connect.arguments(
            |text| self.text(text, "connect"),
            |why, node| self.refused(Kind::InvalidValue, format!("container {}: {why}", self.name), Some(node)),
        )?;
        let program = places.connector.to_string_lossy().into_owned();
        Ok(std::iter::once(program).chain(arguments).collect())
    }

    fn provision(&self, definition: &Definition) -> Result<Provision, Refusal> {
        let folder = |(path, wanted): (&String, &super::definition::Directory)| {
            Ok(Folder {
                path: self.path(path, "directory")?,
                owner: filled(self, wanted.owner.as_deref(), "directory")?,
                group: filled(self, wanted.group.as_deref(), "directory")?,
                mode: wanted.mode.unwrap_or(FOLDER_MODE_DEFAULT),
            })
        };
        let required = |(path, when_missing): (&String, &Option<WhenMissing>)| {
            Ok(RequiredPath {
                path: self.path(path, "required-path")?,
                when_missing: when_missing.unwrap_or(WhenMissing::Await),
            })
        };
        Ok(Provision {
            group: filled(self, definition.primary_group.as_deref(), "primary-group")?,
            groups: self.texts(&definition.supplementary_groups, "supplementary-group")?,
            nice: definition.nice,
            window: definition.terminal.map(|terminal| Window {
                rows: terminal.rows.unwrap_or(WINDOW_DEFAULT.rows),
                columns: terminal.columns.unwrap_or(WINDOW_DEFAULT.columns),
            }),
            folders: definition.directories.iter().map(folder).collect::<Result<_, Refusal>>()?,
            required: definition.required_paths.iter().map(required).collect::<Result<_, Refusal>>()?,
            readiness: definition.readiness.unwrap_or(Readiness::WhenRunning),
            ready_timeout: definition.ready_timeout,
            watchdog: definition.watchdog,
            resources: Resources {
                memory_bytes: definition.memory,
                processes: definition.processes,
                cpu_percent: None,
            },
        })
    }

    fn logs(&self, definition: &Definition, places: &Places) -> Result<LogSpec, Refusal> {
        let wanted = &definition.log;
        let house = LogSpec::in_dir(places.logs.join(self.name));
        if let Some(stamp) = &wanted.stamp {
            let any = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
            jiff::fmt::strtime::format(stamp, &any).map_err(|trouble| {
                let message = format!("the stamp of container {} means nothing: {trouble}", self.name);
                self.refused(Kind::InvalidValue, message, Some("log/stamp")).mend("for example `[%F %T] `")
            })?;
        }
        Ok(LogSpec {
            bytes_max: wanted.bytes_max.unwrap_or(places.log_bytes_max),
            files_max: wanted.files_max.unwrap_or(places.log_files_max),
            output: wanted.file.as_ref().map(|file| self.path(file, "log/file")).transpose()?,
            age_max: wanted.age_max,
            compress: wanted.compress.unwrap_or(house.compress),
            stamp: wanted.stamp.clone(),
            forward: wanted.forward.as_ref().map(|forward| self.forward(forward)).transpose()?,
            ..house
        })
    }

    fn forward(&self, forward: &definition::Forward) -> Result<Forward, Refusal> {
        let (address, facility) = match forward {
            definition::Forward::Syslog { address, facility } => (address, facility.as_deref()),
            definition::Forward::Journal { socket } => {
                let socket = socket.as_deref().unwrap_or(HOSTS_JOURNAL);
                let to = ForwardTo::Journal(self.path(socket, "log/journal/socket")?);
                return Ok(Forward { to, facility: FACILITY_DAEMON });
            }
        };
        let to = match address {
            None => ForwardTo::Host,
            Some(text) => ForwardTo::Udp(text.parse().map_err(|_| {
                let message = format!("container {}: `{text}` is no address with a port", self.name);
                let leaf = Some("log/syslog/address");
                self.refused(Kind::InvalidValue, message, leaf).mend("for example 127.0.0.1:514")
            })?),
        };
        let local = facility.and_then(|name| name.strip_prefix("local")?.parse::<u8>().ok());
        let facility = match (facility, local) {
            (_, Some(number)) => FACILITY_LOCAL0 + number,
            (Some("user"), None) => FACILITY_USER,
            _ => FACILITY_DAEMON,
        };
        Ok(Forward { to, facility })
    }

    fn container(&self, name: &str, leaf: &str) -> Result<ContainerName, Refusal> {
        ContainerName::on(Floor::Container, name)
            .map_err(|invalid| self.refused(Kind::InvalidValue, invalid.to_string(), Some(leaf)))
    }

    fn path(&self, text: &str, leaf: &str) -> Result<PathBuf, Refusal> {
        Ok(PathBuf::from(self.text(text, leaf)?))
    }

    fn text(&self, text: &str, leaf: &str) -> Result<String, Refusal> {
        self.instance.fill_in(text).map(String::from).map_err(|unknown| {
            self.refused(Kind::InvalidValue, format!("{leaf} of container {}: {unknown}", self.name), Some(leaf))
        })
    }

    fn texts(&self, texts: &[String], leaf: &str) -> Result<Vec<String>, Refusal> {
        texts.iter().map(|text| self.text(text, leaf)).collect()
    }

    fn refused(&self, kind: Kind, message: String, leaf: Option<&str>) -> Refusal {
        let leaf = leaf.map(|leaf| format!("/{leaf}")).unwrap_or_default();
        Refusal::new(kind, message).at(format!("{}{leaf}", path_of(self.name)))
    }
}

/// The data path of one container.
pub fn path_of(name: &str) -> String {
    format!("/procyon-container:containers/container[name='{name}']")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let user = Some("nobody".to_owned());
        Places {
            logs: "/logs".into(),
            work: "/work".into(),
            user,
            connector: "/bin/keeper".into(),
            log_bytes_max: 1000,
            log_files_max: 3,
        }
    }

    fn entry(name: &str, command: &str) -> Entry {
        let definition = Definition { command: Some(command.to_owned()), ..Definition::default() };
        Entry { name: name.to_owned(), definition, ..Entry::default() }
    }

    #[test]
    fn an_instance_fills_in_words_paths_and_environment() {
        let mut ioc = entry("ioc@test-ioc", "/opt/iocsh.bash '/opt/iocs/e3 ioc-%i/st.cmd'");
        ioc.definition.directories.insert("/run/procServ/%i".into(), Default::default());
        ioc.definition.environment.insert("IOC".into(), "%I of %n".into());
        ioc.definition.required_paths.insert("/opt/iocs/e3-ioc-%i".into(), None);
        ioc.definition.user = Some("user-%i".into());
        ioc.definition.primary_group = Some("group-%i".into());
        ioc.definition.after = vec!["gateway@%i".into()];
        ioc.definition.console.motd = Some("this is %I".into());
        let Resolved { spec, after, .. } = resolve(&ioc, None, &places()).unwrap();
        assert_eq!(spec.name.as_str(), "container:ioc@test-ioc");
        let argv = ["/opt/iocsh.bash", "/opt/iocs/e3 ioc-test-ioc/st.cmd"].map(str::to_owned).to_vec();
        assert_eq!(spec.program, Program::Command { argv });
        assert_eq!(spec.env, [("IOC".to_owned(), "test/ioc of ioc@test-ioc".to_owned())]);
        assert_eq!(spec.provision.folders[0].path, PathBuf::from("/run/procServ/test-ioc"));
        let awaited = RequiredPath { path: "/opt/iocs/e3-ioc-test-ioc".into(), when_missing: WhenMissing::Await };
        assert_eq!(spec.provision.required, [awaited]);
        let account = (spec.user.as_deref(), spec.provision.group.as_deref());
        assert_eq!(account, (Some("user-test-ioc"), Some("group-test-ioc")));
        assert_eq!((after, spec.after[0].local()), (vec!["gateway@test-ioc".to_owned()], "gateway@test-ioc"));
        assert_eq!((spec.console.motd.as_str(), spec.cwd), ("this is test/ioc", PathBuf::from("/work/ioc@test-ioc")));
    }

    #[test]
    fn a_log_has_what_is_said_and_the_houses_values_for_the_rest() {
        let mut ioc = entry("ioc@1", "/bin/ioc");
        let logs = |entry: &Entry| resolve(entry, None, &places()).map(|resolved| resolved.spec.logs);
        let house = logs(&ioc).unwrap();
        let said = (house.dir, house.bytes_max, house.files_max, house.compress, house.output);
        assert_eq!(said, ("/logs/ioc@1".into(), 1000, 3, true, None));
        ioc.definition.log.file = Some("/var/log/procServ/%i/out.log".into());
        ioc.definition.log.stamp = Some("%F %T ".into());
        let own = logs(&ioc).unwrap();
        assert_eq!(own.output(), PathBuf::from("/var/log/procServ/1/out.log"));
        assert_eq!(own.errors(), PathBuf::from("/logs/ioc@1/stderr.log"));
        let syslog = |address: &str| {
            let (address, facility) = (Some(address.to_owned()), Some("local3".to_owned()));
            Some(definition::Forward::Syslog { address, facility })
        };
        ioc.definition.log.forward = syslog("127.0.0.1:514");
        let to = ForwardTo::Udp("127.0.0.1:514".parse().unwrap());
        assert_eq!(logs(&ioc).unwrap().forward, Some(Forward { to, facility: 19 }));
        ioc.definition.log.forward = syslog("somewhere");
        let said = "container ioc@1: `somewhere` is no address with a port; for example 127.0.0.1:514";
        assert_eq!(logs(&ioc).unwrap_err().to_string(), said);
        ioc.definition.log.forward =
            Some(definition::Forward::Journal { socket: Some("/run/systemd/journal.%i/socket".into()) });
        let to = ForwardTo::Journal("/run/systemd/journal.1/socket".into());
        assert_eq!(logs(&ioc).unwrap().forward, Some(Forward { to, facility: 3 }));
        ioc.definition.log.forward = None;
        ioc.definition.log.stamp = Some("%J".into());
        let refusal = logs(&ioc).unwrap_err();
        let leaf = "/procyon-container:containers/container[name='ioc@1']/log/stamp";
        assert_eq!(refusal.path.as_deref(), Some(leaf));
    }

    #[test]
    fn what_does_not_resolve_names_the_leaf() {
        let said = |entry: &Entry| resolve(entry, None, &places()).map(drop).unwrap_err().to_string();
        let mut bare = entry("x", "");
        bare.definition.command = None;
        insta::assert_snapshot!([said(&bare), said(&entry("x", "sh 'open")), said(&entry("x", "run %q")),
            said(&entry("x", "''"))].join("\n"), @r"
        container x has no command, and its template has none either
        the command of container x: the quote ' is never closed
        command of container x: `%q` stands for nothing; there are %i, %I, %n and %% for a percent sign
        the command is empty: give at least the program
        ");
        let refusal = resolve(&entry("x", "run %q"), None, &places()).unwrap_err();
        assert_eq!(refusal.path.as_deref(), Some("/procyon-container:containers/container[name='x']/command"));
    }
}
