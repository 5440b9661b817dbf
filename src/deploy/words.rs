//! What is asked of a device and what it tells, as XML. Pure.

use quick_xml::escape::escape;

use super::plan::{App, Found, Registration, Wanted};
use crate::yang::xml::XmlElement;

const SCRIPT_CFG: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-um-script-cfg";
const SCRIPT_OPER: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-infra-script-mgmt-oper";
const SCRIPT_ACT: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-infra-script-mgmt-act";
const APP_CFG: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-um-appmgr-cfg";
const APP_OPER: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-appmgr-oper";
const APP_ACT: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-appmgr-act";
const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

pub(super) fn get_scripts() -> String {
    format!("<get><filter><script xmlns=\"{SCRIPT_OPER}\"><status><detail/></status></script></filter></get>")
}

pub(super) fn get_app(app: &str) -> String {
    let app = escape(app);
    format!(
        "<get><filter><appmgr xmlns=\"{APP_OPER}\"><process-scripts><process-script><name>{app}</name></process-script></process-scripts></appmgr></filter></get>"
    )
}

pub(super) fn get_config(wanted: &Wanted) -> String {
    let (app, script) = (escape(&wanted.app), escape(&wanted.script));
    format!(
        "<get-config><source><running/></source><filter><appmgr xmlns=\"{APP_CFG}\"><process-scripts><process-script><process-script-name>{app}</process-script-name></process-script></process-scripts></appmgr><script xmlns=\"{SCRIPT_CFG}\"><processes><process><process-name>{script}</process-name></process></processes></script></filter></get-config>"
    )
}

pub(super) fn add(script: &str, folder: &str, sum: &str) -> String {
    let (script, folder) = (escape(script), escape(folder));
    format!(
        "<add-checksum xmlns=\"{SCRIPT_ACT}\"><script-type>process</script-type><source>{folder}</source><script-checksums><script-name>{script}</script-name><checksum-type>SHA256</checksum-type><checksum>{sum}</checksum></script-checksums></add-checksum>"
    )
}

pub(super) fn remove(script: &str) -> String {
    let script = escape(script);
    format!(
        "<remove xmlns=\"{SCRIPT_ACT}\"><script-type>process</script-type><script-name>{script}</script-name></remove>"
    )
}

pub(super) fn configure(wanted: &Wanted) -> String {
    let Wanted { app, script, sum, registration } = wanted;
    let leaf = |name: &str, value: Option<&str>| {
        value.map(|value| format!("<{name}>{}</{name}>", escape(value))).unwrap_or_default()
    };
    let leaves = [
        leaf("process-script-name", Some(app)),
        leaf("executable", Some(&registration.executable)),
        leaf("run-args", registration.arguments.as_deref()),
        leaf("restart", registration.restart.as_deref()),
        leaf("max-retries", registration.max_retries.as_deref()),
    ]
    .concat();
    let script = escape(script);
    format!(
        "<edit-config><target><candidate/></target><error-option>rollback-on-error</error-option><config><script xmlns=\"{SCRIPT_CFG}\"><processes><process><process-name>{script}</process-name><checksum><sha256>{sum}</sha256></checksum></process></processes></script><appmgr xmlns=\"{APP_CFG}\"><process-scripts><process-script xmlns:nc=\"{BASE}\" nc:operation=\"replace\">{leaves}</process-script></process-scripts></appmgr></config></edit-config>"
    )
}

pub(super) fn act(verb: &str, app: &str) -> String {
    let app = escape(app);
    format!("<appmgr-process-script-{verb} xmlns=\"{APP_ACT}\"><name>{app}</name></appmgr-process-script-{verb}>")
}

/// The element that a path of names leads to.
fn descend<'e>(elements: &'e [XmlElement], names: &[&str]) -> Option<&'e XmlElement> {
    let (first, rest) = names.split_first()?;
    let found = elements.iter().find(|element| &*element.name == *first)?;
    if rest.is_empty() { Some(found) } else { descend(&found.children, rest) }
}

fn text(elements: &[XmlElement], names: &[&str]) -> Option<String> {
    descend(elements, names).map(|leaf| leaf.text.trim().to_owned())
}

/// The sum of a script in the repository.
pub(super) fn sum_in(data: &[XmlElement], script: &str) -> Option<String> {
    let detail = descend(data, &["script", "status", "detail"])?;
    let is_it = |row: &&XmlElement| {
        text(&row.children, &["status-summary", "script-name"]).as_deref() == Some(script)
            && text(&row.children, &["status-summary", "script-type"]).as_deref() == Some("process")
    };
    let row = detail.children.iter().find(is_it)?;
    // A script that was deleted has a history still.
    (text(&row.children, &["status-summary", "last-action"]).as_deref() != Some("DELETE"))
        .then(|| text(&row.children, &["checksum"]))?
}

pub(super) fn read_config(data: &[XmlElement], found: &mut Found) {
    found.configured = text(data, &["script", "processes", "process", "checksum", "sha256"]);
    found.registration = descend(data, &["appmgr", "process-scripts", "process-script"]).map(|app| {
        let leaf = |name: &str| text(&app.children, &[name]);
        Registration {
            executable: leaf("executable").unwrap_or_default(),
            arguments: leaf("run-args"),
            restart: leaf("restart"),
            max_retries: leaf("max-retries"),
        }
    });
}

pub(super) fn read_app(data: &[XmlElement]) -> App {
    let Some(info) = descend(data, &["appmgr", "process-scripts", "process-script", "info"]) else {
        return App::default();
    };
    let leaf = |names: &[&str]| text(&info.children, names);
    let is = |name: &str| leaf(&[name]).as_deref() == Some("true");
    let lines = info.children.iter().filter(|child| &*child.name == "last-error-line");
    App {
        is_activated: is("is-activated"),
        is_pending: is("is-cfg-pending"),
        status: leaf(&["status"]).unwrap_or_default(),
        sum: leaf(&["execution-info", "checksum"]),
        restarts: leaf(&["execution-info", "restarts"]).and_then(|text| text.parse().ok()).unwrap_or(0),
        run: leaf(&["run-id"]),
        why: leaf(&["why"]),
        error_lines: lines.map(|line| line.text.clone()).collect(),
    }
}
