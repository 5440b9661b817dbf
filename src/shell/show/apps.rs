//! `show appmgr ...`.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::super::data::Item;
use super::super::grammar::Grammar;
use super::{all, descend, table as columns};

const NAMESPACE: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-appmgr-oper";

pub(super) fn filter(app: Option<&str>) -> String {
    let entry = app.map_or_else(
        || "<process-script/>".to_owned(),
        |app| format!("<process-script><name>{}</name></process-script>", escape(app)),
    );
    format!(r#"<appmgr xmlns="{NAMESPACE}"><process-scripts>{entry}</process-scripts></appmgr>"#)
}

/// The words that people read for those of the model.
fn status(yang: &str) -> &str {
    match yang {
        "not-started" => "Not Started",
        "start-requested" => "Start Requested",
        "started" => "Running",
        "stop-requested" => "Stop Requested",
        "stopped" => "Stopped",
        "kill-requested" => "Kill Requested",
        "killed" => "Killed",
        "exit-success" => "Exit Success",
        "exit-failure" => "Exit Failure",
        other => other,
    }
}

fn policy(yang: &str) -> &str {
    match yang {
        "never" => "Never",
        "on-failure" => "On Failure",
        "always" => "Always",
        "unless-stopped" => "Unless Stopped",
        "unless-errored" => "Unless Errored",
        // What holds where none is configured.
        "" => "Always",
        other => other,
    }
}

fn yes(yang: Option<&str>) -> &'static str {
    if yang == Some("true") { "Yes" } else { "No" }
}

pub(super) fn table(grammar: &Grammar, items: &[Item]) -> String {
    let apps = all(grammar, descend(grammar, items, &["appmgr", "process-scripts"]), "process-script");
    let rows: Vec<Vec<String>> = apps
        .iter()
        .map(|app| {
            let info = app.child(grammar, "info");
            let of_info = |leaf: &str| info.and_then(|info| info.text(grammar, leaf));
            let config = info.and_then(|info| info.child(grammar, "config"));
            let running = info.and_then(|info| info.child(grammar, "execution-info"));
            let registered = |leaf: &str| {
                [config, running].into_iter().flatten().find_map(|part| part.text(grammar, leaf)).unwrap_or("")
            };
            vec![
                app.text(grammar, "name").unwrap_or("").to_owned(),
                registered("executable").to_owned(),
                yes(of_info("is-activated")).to_owned(),
                status(of_info("status").unwrap_or("")).to_owned(),
                policy(registered("restart-policy")).to_owned(),
                yes(of_info("is-cfg-pending")).to_owned(),
            ]
        })
        .collect();
    let headers = [
        ("Name", 14),
        ("Executable", 18),
        ("Activated", 9),
        ("Status", 15),
        ("Restart Policy", 14),
        ("Config Pending", 14),
    ];
    columns(&headers, &rows, true)
}

pub(super) fn info(name: &str, grammar: &Grammar, items: &[Item]) -> String {
    let Some(info) = info_of(name, grammar, items) else {
        return format!("% There is no app `{name}`; `show appmgr process-script-table` lists them\n");
    };
    let mut out = format!("Application: {name}\n\nRegistration info:\n");
    let config = info.child(grammar, "config");
    let running = info.child(grammar, "execution-info");
    let facts = [
        ("Executable", "executable"),
        ("Run arguments", "run-args"),
        ("Restart policy", "restart-policy"),
        ("Maximum restarts", "max-retries"),
    ];
    let of = |part: Option<&Item>, leaf: &str| {
        let text = part?.text(grammar, leaf)?;
        Some(if leaf == "restart-policy" { policy(text).to_owned() } else { text.to_owned() })
    };
    let in_force = running.or(config);
    for (title, leaf) in facts {
        if let Some(text) = of(in_force, leaf) {
            fact(&mut out, title, &text);
        }
    }
    if info.text(grammar, "is-cfg-pending") == Some("true") {
        out.push_str("\nPending Configuration:\n");
        for (title, leaf) in facts {
            let new = of(config, leaf);
            if new != of(running, leaf) {
                fact(&mut out, title, new.as_deref().unwrap_or("(removed)"));
            }
        }
    }
    out.push_str("\nExecution info and status:\n");
    fact(&mut out, "Activated", yes(info.text(grammar, "is-activated")));
    fact(&mut out, "Status", status(info.text(grammar, "status").unwrap_or("")));
    let max = of(running, "max-retries").map(|max| format!("/{max}")).unwrap_or_default();
    let restarts = of(running, "restarts").map(|restarts| format!("{restarts}{max}"));
    let more = [
        ("Executable Checksum", of(running, "checksum")),
        ("Last started time", of(running, "last-started-time")),
        ("Restarts since last activate", restarts),
        ("Log location", of(running, "log-location")),
        ("Last exit code", of(running, "last-exit-code")),
        ("Last exit signal", of(Some(info), "last-exit-signal")),
        ("Process ID", of(Some(info), "pid")),
        ("Run ID", of(Some(info), "run-id")),
        ("Next restart", of(Some(info), "next-restart")),
        ("Why", of(Some(info), "why")),
    ];
    for (title, text) in more {
        if let Some(text) = text {
            fact(&mut out, title, &text);
        }
    }
    let errors = all(grammar, Some(info), "last-error-line");
    if !errors.is_empty() {
        out.push_str("\nLast error lines:\n");
        for line in errors {
            let _ = writeln!(out, "  {}", line.value);
        }
    }
    out
}

fn info_of<'a>(name: &str, grammar: &'a Grammar, items: &'a [Item]) -> Option<&'a Item> {
    let apps = all(grammar, descend(grammar, items, &["appmgr", "process-scripts"]), "process-script");
    apps.into_iter().find(|app| app.text(grammar, "name") == Some(name))?.child(grammar, "info")
}

fn fact(out: &mut String, title: &str, text: &str) {
    let _ = writeln!(out, "  {title:<28} : {text}");
}

/// Where an app's logs are; a reason where there are none.
pub fn log_location(name: &str, grammar: &Grammar, items: &[Item]) -> Result<String, String> {
    let apps = all(grammar, descend(grammar, items, &["appmgr", "process-scripts"]), "process-script");
    let info = apps.first().and_then(|app| app.child(grammar, "info"));
    let info =
        info.ok_or_else(|| format!("there is no app `{name}`; `show appmgr process-script-table` lists them"))?;
    if let Some(location) = info.child(grammar, "execution-info").and_then(|info| info.text(grammar, "log-location")) {
        return Ok(location.to_owned());
    }
    let executable = info.child(grammar, "config").and_then(|config| config.text(grammar, "executable"));
    let executable = executable.ok_or_else(|| format!("`{name}` has no executable, and never ran"))?;
    Ok(format!("/harddisk:/mirror/script-mgmt/logs/{}_process_{name}", executable.replace('/', "_")))
}
