//! What is told of the host and of the agent itself: log, processes, memory, sessions, version.

use std::fmt::Write as _;

use super::super::command::Matched;
use super::super::data::Item;
use super::super::grammar::Grammar;
use super::{all, descend, table};

pub(super) const LOG: &str = r#"<syslog xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-infra-syslog-oper"/>"#;
pub(super) const PROCESSES: &str =
    r#"<system-monitoring xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-wdsysmon-fd-oper"/>"#;
pub(super) const MEMORY: &str = r#"<memory-summary xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-nto-misc-oper"/>"#;
pub(super) const SESSIONS: &str =
    r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>"#;
pub(super) const VERSION: &str = r#"<system-state xmlns="urn:ietf:params:xml:ns:yang:ietf-system"/><system-time xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-shellutil-oper"><uptime/></system-time>"#;

pub(super) fn log(matched: &Matched, grammar: &Grammar, items: &[Item]) -> String {
    let mut messages = all(grammar, descend(grammar, items, &["syslog", "messages"]), "message");
    let kept = messages.len();
    if let Some(count) = matched.number("COUNT") {
        messages.drain(..kept.saturating_sub(count as usize));
    }
    let mut out = format!("Log Buffer ({kept} messages):\n\n");
    for message in messages {
        let text = |leaf: &str| message.text(grammar, leaf).unwrap_or("");
        let _ = writeln!(
            out,
            "{}:{} {}: {}: %{}-{}-{}-{} : {}",
            text("node-name"),
            text("time-of-day"),
            text("time-zone"),
            text("process-name"),
            text("category"),
            text("group"),
            severity(text("severity")),
            text("message-name"),
            text("text")
        );
    }
    out
}

fn severity(word: &str) -> &str {
    let words = [
        "message-severity-emergency",
        "message-severity-alert",
        "message-severity-critical",
        "message-severity-error",
        "message-severity-warning",
        "message-severity-notice",
        "message-severity-informational",
        "message-severity-debug",
    ];
    const DIGITS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let is =
        |known: &&str| known.trim_start_matches("message-severity-") == word.trim_start_matches("message-severity-");
    words.iter().position(is).map_or(word, |at| DIGITS[at])
}

pub(super) fn processes(grammar: &Grammar, items: &[Item]) -> String {
    let Some(cpu) = descend(grammar, items, &["system-monitoring", "cpu-utilization"]) else {
        return "% The CPU utilization is not known\n".to_owned();
    };
    let of = |item: &Item, leaf: &str| item.text(grammar, leaf).unwrap_or("0").to_owned();
    let mut out = format!(
        "CPU utilization for one minute: {}%; five minutes: {}%; fifteen minutes: {}%\n\n",
        of(cpu, "total-cpu-one-minute"),
        of(cpu, "total-cpu-five-minute"),
        of(cpu, "total-cpu-fifteen-minute")
    );
    out.push_str("PID       1Min    5Min   15Min Process\n");
    for process in all(grammar, Some(cpu), "process-cpu") {
        let percent = |leaf: &str| format!("{}%", of(process, leaf));
        let _ = writeln!(
            out,
            "{:<6} {:>7} {:>7} {:>7} {}",
            of(process, "process-id"),
            percent("process-cpu-one-minute"),
            percent("process-cpu-five-minute"),
            percent("process-cpu-fifteen-minute"),
            of(process, "process-name")
        );
    }
    out
}

pub(super) fn memory(grammar: &Grammar, items: &[Item]) -> String {
    let mut out = String::new();
    for node in all(grammar, descend(grammar, items, &["memory-summary", "nodes"]), "node") {
        let _ = writeln!(out, "node:      {}\n{}", node.text(grammar, "node-name").unwrap_or(""), "-".repeat(66));
        let Some(summary) = node.child(grammar, "summary") else { continue };
        let megabytes =
            |leaf: &str| summary.text(grammar, leaf).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) >> 20;
        let _ = writeln!(
            out,
            "\nPhysical Memory: {}M total ({}M available)\n Application Memory : {}M ({}M available)\n",
            megabytes("ram-memory"),
            megabytes("free-physical-memory"),
            megabytes("system-ram-memory"),
            megabytes("free-application-memory")
        );
    }
    out
}

pub(super) fn sessions(grammar: &Grammar, items: &[Item]) -> String {
    let sessions = all(grammar, descend(grammar, items, &["netconf-state", "sessions"]), "session");
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            let text = |leaf: &str| session.text(grammar, leaf).unwrap_or("-").to_owned();
            let transport = text("transport");
            let transport = transport.rsplit(':').next().unwrap_or("").to_owned();
            vec![text("session-id"), text("username"), transport, text("source-host"), text("login-time")]
        })
        .collect();
    let headers = [("Session", 7), ("User", 12), ("Transport", 14), ("From", 20), ("Since", 20)];
    table(&headers, &rows, true)
}

pub(super) fn version(grammar: &Grammar, items: &[Item]) -> String {
    let platform = descend(grammar, items, &["system-state", "platform"]);
    let of = |leaf: &str| platform.and_then(|platform| platform.text(grammar, leaf)).unwrap_or("unknown");
    let uptime = descend(grammar, items, &["system-time", "uptime"]);
    let host = uptime.and_then(|uptime| uptime.text(grammar, "host-name")).unwrap_or("router");
    let seconds = uptime.and_then(|uptime| uptime.text(grammar, "uptime")).and_then(|text| text.parse::<u64>().ok());
    let seconds = seconds.unwrap_or(0);
    let version = env!("CARGO_PKG_VERSION");
    // The lines that parsers of that software know.
    format!(
        "Cisco IOS XR Software, Version 7.5.1[Procyon-{version}]\n\nBuild Information:\n Version      : Procyon {version}, which has the commands of that software\n Label        : {}-{}-{}\n\n{host} System uptime is {} days {} hours {} minutes\n",
        of("os-name"),
        of("os-release"),
        of("machine"),
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60
    )
}
