//! Definitions and settings as they stand in `procyon-process`, read and written.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::definition::{
    Command, ConfigAccess, Definition, FilePattern, Invalid, Kind, ProcessName, Resource, Sqldb, Status,
    TEXT_BYTES_MAX, VERSION_BYTES_MAX, full_path, text,
};
use super::machine::Limits;
use super::manager::Settings;
use super::pattern::{InvalidPattern, Pattern};
use super::retry;
use crate::yang::value::Element;

pub const MODULE: &str = "procyon-process";
pub const CONFIGURED: &str = "/procyon-process:processes";
pub const STATE: &str = "/procyon-process:processes-state";

/// The check command of each database driver.
pub type DatabaseChecks = BTreeMap<String, Vec<String>>;

/// All that is configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configured {
    pub definitions: BTreeMap<ProcessName, Definition>,
    pub settings: Settings,
    pub checks: DatabaseChecks,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unfit {
    #[error("process `{process}`: {invalid}")]
    Definition { process: String, invalid: Invalid },
    #[error("process `{process}`: {invalid}")]
    Pattern { process: String, invalid: InvalidPattern },
}

/// What can be read, and what cannot.
pub fn configured(root: Option<&Element>) -> (Configured, Vec<Unfit>) {
    let (mut configured, mut unfit) = (Configured::default(), Vec::new());
    let Some(root) = root else { return (configured, unfit) };
    if let Some(settings) = root.child("settings") {
        configured.settings = read_settings(settings);
        configured.checks = read_checks(settings);
    }
    for entry in root.children_named("process") {
        match read_definition(entry) {
            Ok(definition) => drop(configured.definitions.insert(definition.name.clone(), definition)),
            Err(error) => unfit.push(error),
        }
    }
    (configured, unfit)
}

fn read_settings(element: &Element) -> Settings {
    let number = |leaf: &str| element.text_of(leaf).and_then(|text| text.parse().ok());
    let seconds = |leaf: &str, default: Duration| number(leaf).map_or(default, Duration::from_secs);
    let default = Settings::default();
    let limits = Limits {
        configtest: seconds("configtest-limit", default.limits.configtest),
        start: seconds("start-limit", default.limits.start),
        stop: seconds("stop-limit", default.limits.stop),
        kill: seconds("kill-limit", default.limits.kill),
    };
    let delays: Vec<Duration> = in_order(element, "retry-delay")
        .into_iter()
        .filter_map(|entry| entry.text_of("seconds")?.parse().ok().map(Duration::from_secs))
        .collect();
    Settings {
        limits,
        retry_delays: if delays.is_empty() { retry::DELAYS.to_vec() } else { delays },
        mismatch_alarm_after: seconds("mismatch-alarm-delay", default.mismatch_alarm_after),
        resource_alarm_after: seconds("resource-alarm-delay", default.resource_alarm_after),
        tests_at_validate: element.text_of("configtest-at-validate") != Some("false"),
        is_strict: element.text_of("strict") == Some("true"),
    }
}

fn read_checks(element: &Element) -> DatabaseChecks {
    let checks = element.children_named("database-check");
    checks.filter_map(|check| Some((check.text_of("driver")?.to_owned(), values(check, "argument")))).collect()
}

/// The entries of a list that is ordered by its index.
fn in_order<'e>(element: &'e Element, list: &'e str) -> Vec<&'e Element> {
    let mut entries: Vec<&Element> = element.children_named(list).collect();
    entries.sort_by_key(|entry| entry.text_of("index").and_then(|index| index.parse::<u32>().ok()));
    entries
}

fn values(element: &Element, list: &str) -> Vec<String> {
    in_order(element, list).into_iter().filter_map(|entry| entry.text_of("value").map(str::to_owned)).collect()
}

fn read_definition(entry: &Element) -> Result<Definition, Unfit> {
    let process = entry.text_of("name").unwrap_or_default().to_owned();
    let unfit = |invalid: Invalid| Unfit::Definition { process: process.clone(), invalid };
    let name = ProcessName::parse(&process).map_err(unfit)?;
    let version = entry.text_of("version").unwrap_or_default();
    let version = text("the version", version, VERSION_BYTES_MAX).map_err(unfit)?;
    let command = |which: &str| entry.descend(&["commands", which]);
    let required = |which: &'static str| read_command(command(which).unwrap_or(&Element::default())).map_err(unfit);
    let status = entry.child("status");
    let pid = status.and_then(|status| status.text_of("pid"));
    let logs = status.into_iter().flat_map(|status| status.children_named("log"));
    let status = Status {
        pid: pid.map(|path| full_path("pid", path)).transpose().map_err(unfit)?,
        logs: logs
            .map(|log| full_path("log", log.text.as_deref().unwrap_or_default()))
            .collect::<Result<_, _>>()
            .map_err(unfit)?,
    };
    let resources = in_order(entry, "resource").into_iter().map(|resource| read_resource(&process, resource));
    let definition = Definition {
        configtest: required("configtest")?,
        start: required("start")?,
        stop: required("stop")?,
        reconfigure: command("reconfigure").map(read_command).transpose().map_err(unfit)?,
        name,
        version,
        status,
        resources: resources.collect::<Result<_, _>>()?,
    };
    definition.check().map_err(unfit)?;
    Ok(definition)
}

fn read_command(element: &Element) -> Result<Command, Invalid> {
    Ok(Command {
        defaultdir: element.text_of("defaultdir").map(|path| full_path("defaultdir", path)).transpose()?,
        user: element.text_of("user").map(|user| text("user", user, 255)).transpose()?,
        execute: full_path("execute", element.text_of("execute").unwrap_or_default())?,
        parameters: values(element, "parameter")
            .iter()
            .map(|value| text("parameter", value, TEXT_BYTES_MAX))
            .collect::<Result<_, _>>()?,
    })
}

fn read_resource(process: &str, element: &Element) -> Result<Resource, Unfit> {
    let unfit = |invalid: Invalid| Unfit::Definition { process: process.to_owned(), invalid };
    let path = |what: &'static str| element.text_of(what).map(|path| full_path(what, path)).transpose().map_err(unfit);
    let access = |element: &Element| element.text_of("config-access").and_then(ConfigAccess::parse);
    let kind = if let Some(path) = path("file")? {
        Kind::File { path }
    } else if let Some(path) = path("osconfig")? {
        Kind::OsConfig { path }
    } else if let Some(table) = element.text_of("imdb") {
        Kind::Imdb { table: text("imdb", table, 255).map_err(unfit)? }
    } else if let Some(name) = element.text_of("process") {
        Kind::Process { name: ProcessName::parse(name).map_err(unfit)? }
    } else if let Some(sqldb) = element.child("sqldb") {
        let some = |leaf: &str| sqldb.text_of(leaf).map(str::to_owned);
        Kind::Sqldb(Sqldb {
            server: some("server"),
            dbname: text("dbname", sqldb.text_of("dbname").unwrap_or_default(), TEXT_BYTES_MAX).map_err(unfit)?,
            username: some("username"),
            dbdriver: some("dbdriver"),
            userpassword: some("userpassword"),
        })
    } else {
        let empty = Element::default();
        let directory = element.child("directory").unwrap_or(&empty);
        let patterns = in_order(directory, "file-pattern").into_iter().map(|entry| {
            let pattern = Pattern::parse(entry.text_of("pattern").unwrap_or_default())
                .map_err(|invalid| Unfit::Pattern { process: process.to_owned(), invalid })?;
            Ok(FilePattern { pattern, access: access(entry) })
        });
        let path = full_path("path", directory.text_of("path").unwrap_or_default()).map_err(unfit)?;
        Kind::Directory { path, patterns: patterns.collect::<Result<_, _>>()? }
    };
    let required = element.text_of("required") != Some("false");
    Ok(Resource { kind, required, access: access(element).unwrap_or_default() })
}

/// The leaves of the grouping `definition`. Passwords of databases are not shown.
pub fn definition(definition: &Definition) -> Vec<Element> {
    let mut commands = vec![
        command("configtest", &definition.configtest),
        command("start", &definition.start),
        command("stop", &definition.stop),
    ];
    commands.extend(definition.reconfigure.as_ref().map(|it| command("reconfigure", it)));
    let mut status: Vec<Element> = Vec::new();
    status.extend(Element::leaf_if("pid", definition.status.pid.as_ref().map(|path| path.display())));
    status.extend(definition.status.logs.iter().map(|path| Element::leaf("log", path.display())));
    let mut children = vec![
        Element::leaf("version", &definition.version),
        Element::node("commands", commands),
        Element::node("status", status),
    ];
    children.extend(definition.resources.iter().enumerate().map(|(index, it)| resource(index, it)));
    children
}

fn command(name: &'static str, command: &Command) -> Element {
    let mut children: Vec<Element> = Vec::new();
    children.extend(Element::leaf_if("defaultdir", command.defaultdir.as_ref().map(|path| path.display())));
    children.extend(Element::leaf_if("user", command.user.as_ref()));
    children.push(Element::leaf("execute", command.execute.display()));
    children.extend(command.parameters.iter().enumerate().map(|(index, value)| {
        Element::node("parameter", vec![Element::leaf("index", index), Element::leaf("value", value)])
    }));
    Element::node(name, children)
}

fn resource(index: usize, resource: &Resource) -> Element {
    let kind = match &resource.kind {
        Kind::File { path } => Element::leaf("file", path.display()),
        Kind::OsConfig { path } => Element::leaf("osconfig", path.display()),
        Kind::Imdb { table } => Element::leaf("imdb", table),
        Kind::Process { name } => Element::leaf("process", name),
        Kind::Sqldb(sqldb) => {
            let mut children: Vec<Element> = Vec::new();
            children.extend(Element::leaf_if("server", sqldb.server.as_ref()));
            children.push(Element::leaf("dbname", &sqldb.dbname));
            children.extend(Element::leaf_if("username", sqldb.username.as_ref()));
            children.extend(Element::leaf_if("dbdriver", sqldb.dbdriver.as_ref()));
            Element::node("sqldb", children)
        }
        Kind::Directory { path, patterns } => {
            let mut children = vec![Element::leaf("path", path.display())];
            children.extend(patterns.iter().enumerate().map(|(index, its)| {
                let mut entry = vec![Element::leaf("index", index), Element::leaf("pattern", &its.pattern)];
                entry.extend(Element::leaf_if("config-access", its.access));
                Element::node("file-pattern", entry)
            }));
            Element::node("directory", children)
        }
    };
    let children = vec![
        Element::leaf("index", index),
        Element::leaf("required", resource.required),
        Element::leaf("config-access", resource.access),
        kind,
    ];
    Element::node("resource", children)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lifecycle::definition_tests::any_definition;

    /// Passwords are written nowhere.
    fn without_password(mut definition: Definition) -> Definition {
        for resource in &mut definition.resources {
            if let Kind::Sqldb(sqldb) = &mut resource.kind {
                sqldb.userpassword = None;
            }
        }
        definition
    }

    proptest! {
        #[test]
        fn a_definition_survives_the_tree(original in any_definition()) {
            let original = without_password(original);
            let mut entry = definition(&original);
            entry.insert(0, Element::leaf("name", &original.name));
            let root = Element::node("processes", vec![Element::node("process", entry)]);
            let (read, unfit) = configured(Some(&root));
            prop_assert_eq!(unfit, vec![]);
            prop_assert_eq!(read.definitions.get(&original.name), Some(&original));
        }
    }

    #[test]
    fn settings_are_read_in_the_order_of_their_index() {
        let entry = |index: u32, seconds: u32| {
            Element::node("retry-delay", vec![Element::leaf("index", index), Element::leaf("seconds", seconds)])
        };
        let leaves = vec![entry(10, 30), entry(9, 1), Element::leaf("stop-limit", 5), Element::leaf("strict", true)];
        let settings = Element::node("settings", leaves);
        let (read, _) = configured(Some(&Element::node("processes", vec![settings])));
        assert_eq!(read.settings.retry_delays, [1, 30].map(Duration::from_secs));
        assert_eq!(read.settings.limits.stop, Duration::from_secs(5));
        assert_eq!(read.settings.limits.start, Limits::default().start);
        assert!(read.settings.is_strict && read.settings.tests_at_validate);
    }

    #[test]
    fn what_cannot_be_is_named_by_its_process() {
        let entry = Element::node("process", vec![Element::leaf("name", "web"), Element::leaf("version", "1")]);
        let (_, unfit) = configured(Some(&Element::node("processes", vec![entry])));
        assert_eq!(unfit[0].to_string(), "process `web`: execute is empty");
    }
}
