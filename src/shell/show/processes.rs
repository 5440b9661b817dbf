//! `show process ...`: processes that start only when they may, where each stands and why.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::super::data::Item;
use super::super::grammar::Grammar;
use super::{all, descend, table as columns};
use crate::yang::xml::XmlElement;

const NAMESPACE: &str = "urn:procyon:process";
/// The way of a process that nothing hinders.
const WAY: [&str; 6] = ["Disabled", "Configuration Mismatch", "Resource Required", "Testing", "Starting", "Running"];

/// Of all processes what a line shows, of one all there is.
pub(super) fn filter(name: Option<&str>) -> String {
    let process = match name {
        Some(name) => format!("<name>{}</name>", escape(name)),
        None => "<name/><display-state/><enabled/><pid/><failures/><why/>".to_owned(),
    };
    let problems = if name.is_none() { "<definition-problem/>" } else { "" };
    format!(r#"<processes-state xmlns="{NAMESPACE}"><process>{process}</process>{problems}</processes-state>"#)
}

/// The request for why a process stands where it stands, and what leads away from there.
pub fn why_request(name: &str) -> String {
    format!(r#"<process-why xmlns="{NAMESPACE}"><name>{}</name></process-why>"#, escape(name))
}

/// An order for processes: `start`, `stop` or `restart`.
pub fn order_request(verb: &str, names: &[&str]) -> String {
    let names: String = names.iter().map(|name| format!("<name>{}</name>", escape(*name))).collect();
    format!(r#"<process-{verb} xmlns="{NAMESPACE}">{names}</process-{verb}>"#)
}

pub fn version_request(name: &str, version: &str) -> String {
    let (name, version) = (escape(name), escape(version));
    format!(
        r#"<process-set-version xmlns="{NAMESPACE}"><name>{name}</name><version>{version}</version></process-set-version>"#
    )
}

pub(super) fn table(grammar: &Grammar, items: &[Item]) -> String {
    let processes = all(grammar, descend(grammar, items, &["processes-state"]), "process");
    let of = |process: &Item, leaf: &str| process.text(grammar, leaf).unwrap_or("").to_owned();
    let rows: Vec<Vec<String>> = processes
        .into_iter()
        .map(|process| {
            let pid = process.text(grammar, "pid").unwrap_or("-").to_owned();
            let (name, state, why) = (of(process, "name"), of(process, "display-state"), of(process, "why"));
            vec![name, state, pid, of(process, "failures"), why]
        })
        .collect();
    let mut out = columns(&[("Name", 14), ("State", 22), ("PID", 7), ("Failures", 8), ("Why", 3)], &rows, true);
    let problems = all(grammar, descend(grammar, items, &["processes-state"]), "definition-problem");
    if !problems.is_empty() {
        out.push_str("\nDefinitions that are not in force:\n");
    }
    for problem in problems {
        let line = problem.text(grammar, "line").map(|line| format!(" line {line}")).unwrap_or_default();
        let _ = writeln!(out, "  {}{line}: {}", of(problem, "source"), of(problem, "reason"));
    }
    out
}

/// One process: where it stands, why, how it came there, and what leads away.
pub fn info(name: &str, grammar: &Grammar, items: &[Item], why: &[XmlElement]) -> String {
    let processes = all(grammar, descend(grammar, items, &["processes-state"]), "process");
    let Some(process) = processes.into_iter().find(|process| process.text(grammar, "name") == Some(name)) else {
        return format!("% There is no process `{name}`; `show process` lists them\n");
    };
    let text = |leaf: &str| process.text(grammar, leaf);
    let state = text("display-state").unwrap_or("");
    let mut out = format!("Process: {name}\n");
    let software = process.child(grammar, "definition").and_then(|it| it.text(grammar, "version"));
    let facts = [
        ("State", Some(state)),
        ("Since", text("since")),
        ("Wanted", Some(if text("enabled") == Some("true") { "Yes" } else { "No" })),
        ("Process ID", text("pid")),
        ("Software version", software),
        ("Configuration version", text("config-version").or(Some("none"))),
        ("Defined by", text("source")),
    ];
    facts
        .into_iter()
        .filter_map(|(title, text)| Some((title, text?)))
        .for_each(|(title, text)| fact(&mut out, title, text));
    if text("definition-pending") == Some("true") {
        let version = text("pending-version").map(|version| format!(", version {version}")).unwrap_or_default();
        fact(&mut out, "Definition pending", &format!("Yes: it is replaced at the next start{version}"));
    }
    out.push_str(&reasons(why));
    let _ = writeln!(out, "\nThe way of a start:\n  {}", way(state));
    let ways: Vec<&str> = texts(why, "way-out").collect();
    if !ways.is_empty() {
        out.push_str("\nFrom here:\n");
        ways.iter().for_each(|way| {
            let _ = writeln!(out, "  {way}");
        });
    }
    let steps = all(grammar, Some(process), "transition");
    if !steps.is_empty() {
        out.push_str("\nHistory:\n");
        for step in steps {
            let of = |leaf: &str| step.text(grammar, leaf).unwrap_or("");
            let why = step.text(grammar, "why").map(|why| format!(": {why}")).unwrap_or_default();
            let _ = writeln!(out, "  {}  {} -> {} ({}){why}", of("time"), of("from"), of("to"), of("cause"));
        }
    }
    out
}

/// `show process NAME why`.
pub fn why(name: &str, answer: &[XmlElement]) -> String {
    format!("Process: {name}\n{}", reasons(answer))
}

fn reasons(answer: &[XmlElement]) -> String {
    let mut out = String::new();
    for (title, leaf) in [
        ("Why", "why"),
        ("To do", "remedy"),
        ("Missing", "missing"),
        ("Configuration test", "test-output"),
        ("Last failure", "last-failure"),
        ("Next start", "next-retry"),
        ("Last order", "last-order"),
    ] {
        texts(answer, leaf).for_each(|text| fact(&mut out, title, text));
    }
    if let Some(failures) = texts(answer, "failures").next().filter(|failures| *failures != "0") {
        fact(&mut out, "Failures in a row", failures);
    }
    out
}

/// The states that a start goes through, the present one in brackets.
fn way(state: &str) -> String {
    let shown = |step: &str| if step == state { format!("[{step}]") } else { step.to_owned() };
    let steps: Vec<String> = WAY.into_iter().map(shown).collect();
    let aside = if WAY.contains(&state) { String::new() } else { format!("   now: [{state}]") };
    format!("{}{aside}", steps.join(" -> "))
}

fn texts<'a>(answer: &'a [XmlElement], leaf: &'a str) -> impl Iterator<Item = &'a str> {
    answer.iter().filter(move |element| &*element.name == leaf).map(|element| element.text.as_str())
}

fn fact(out: &mut String, title: &str, text: &str) {
    let _ = writeln!(out, "  {title:<21} : {text}");
}

#[cfg(test)]
mod tests {
    use super::super::super::data::read;
    use super::super::super::testing::device;
    use super::*;
    use crate::yang::xml;

    const STATE: &str = r#"<processes-state xmlns="urn:procyon:process"><process><name>web</name><state>ResourceRequired</state>
<display-state>Resource Required</display-state><enabled>true</enabled><since>2026-11-21T10:00:00Z</since><failures>0</failures>
<why>it waits for file '/etc/x' (there is no such file)</why><source>web-process.xml</source><config-version>1</config-version>
<definition><version>1</version></definition><transition><time>2026-11-21T10:00:00Z</time><from>ConfigurationMismatch</from>
<to>ResourceRequired</to><cause>versions matched</cause><why>resource.missing: file '/etc/x'</why></transition></process></processes-state>"#;
    const WHY: &str = "<why>it waits for file '/etc/x' (there is no such file)</why><missing>file '/etc/x': there is no such \
                       file</missing><failures>0</failures><last-order>start by ann</last-order><way-out>resources ready -> Testing\
                       </way-out><way-out>stop command -> Disabled</way-out>";

    #[test]
    fn all_processes_stand_in_a_table() {
        let items = read(device(), STATE.as_bytes()).unwrap();
        insta::assert_snapshot!(table(device(), &items), @r"
        Name           State                  PID     Failures Why
        -------------- ---------------------- ------- -------- --------------------------------------------------
        web            Resource Required      -       0        it waits for file '/etc/x' (there is no such file)
        ");
    }

    #[test]
    fn definitions_that_are_not_in_force_stand_below() {
        let problem = "<definition-problem><source>bad-process.xml</source><line>3</line><reason>no</reason>\
                       </definition-problem></processes-state>";
        let items = read(device(), STATE.replace("</processes-state>", problem).as_bytes()).unwrap();
        let shown = table(device(), &items);
        assert!(shown.ends_with("\n\nDefinitions that are not in force:\n  bad-process.xml line 3: no\n"), "{shown}");
    }

    #[test]
    fn one_process_tells_where_it_stands_and_what_leads_away() {
        let items = read(device(), STATE.as_bytes()).unwrap();
        let answer = xml::parse(WHY.as_bytes()).unwrap();
        insta::assert_snapshot!(info("web", device(), &items, &answer), @r"
        Process: web
          State                 : Resource Required
          Since                 : 2026-11-21T10:00:00Z
          Wanted                : Yes
          Software version      : 1
          Configuration version : 1
          Defined by            : web-process.xml
          Why                   : it waits for file '/etc/x' (there is no such file)
          Missing               : file '/etc/x': there is no such file
          Last order            : start by ann

        The way of a start:
          Disabled -> Configuration Mismatch -> [Resource Required] -> Testing -> Starting -> Running

        From here:
          resources ready -> Testing
          stop command -> Disabled

        History:
          2026-11-21T10:00:00Z  ConfigurationMismatch -> ResourceRequired (versions matched): resource.missing: file '/etc/x'
        ");
        assert!(info("nobody", device(), &items, &[]).starts_with("% There is no process `nobody`"));
        assert_eq!(way("Failed").split("   ").nth(1), Some("now: [Failed]"));
    }
}
