//! What the agent itself says in the system log, word by word.

use crate::request::run::{Request, Status};
use crate::system::{Record, Severity};

pub(super) const SCRIPT_MANAGER: &str = "script_manager";
pub(super) const EVENT_MANAGER: &str = "event_manager";

fn line(process: &str, (category, group): (&str, &str), severity: Severity, code: &str, text: String) -> Record {
    Record {
        process: process.to_owned(),
        pid: std::process::id(),
        category: category.to_owned(),
        group: group.to_owned(),
        severity,
        code: code.to_owned(),
        text,
    }
}

pub(super) fn committed(user: &str, commit: u64) -> Record {
    Record::committed(user, commit, std::process::id())
}

pub(super) fn app_changed(app: &str, status: &str, why: Option<&str>) -> Record {
    let text = match why {
        Some(why) => format!("app {app} is {status}: {why}"),
        None => format!("app {app} is {status}"),
    };
    let severity = if status == "exit-failure" { Severity::Error } else { Severity::Informational };
    line("appmgr", ("OS", "APPMGR"), severity, "APP_STATE", text)
}

pub(super) fn container_changed(name: &str, state: &str, why: Option<&str>) -> Record {
    let text = match why {
        Some(why) => format!("container {name} is {state}: {why}"),
        None => format!("container {name} is {state}"),
    };
    let severity = if state == "failed" { Severity::Error } else { Severity::Informational };
    line("keeper", ("OS", "CONTAINER"), severity, "CONTAINER_STATE", text)
}

pub(super) fn request_changed(run: &Request) -> Record {
    let last = run.events.last().map(|event| event.description.as_str()).unwrap_or_default();
    let (script, id, user) = (&run.order.script, run.id, &run.order.account.user);
    let text = format!("Request {id} of user '{user}', {script}: {}. {last}", run.status().as_str());
    let is_trouble = matches!(run.status(), Status::Exception | Status::TimedOut | Status::Killed);
    let severity = if is_trouble { Severity::Error } else { Severity::Informational };
    line(SCRIPT_MANAGER, ("OS", "SCRIPT_MGMT"), severity, "EXECUTION", text)
}

pub(super) fn event_manager(text: String, is_trouble: bool) -> Record {
    let severity = if is_trouble { Severity::Error } else { Severity::Informational };
    line(EVENT_MANAGER, ("OS", "EEM"), severity, "POLICY", text)
}

pub(super) fn commit_script(text: String, is_trouble: bool) -> Record {
    let severity = if is_trouble { Severity::Error } else { Severity::Warning };
    line(SCRIPT_MANAGER, ("OS", "SCRIPT_MGMT"), severity, "COMMIT_SCRIPT", text)
}

pub(super) fn process_changed(text: String, is_trouble: bool) -> Record {
    let severity = if is_trouble { Severity::Warning } else { Severity::Informational };
    line("procmgr", ("OS", "PROCMGR"), severity, "PROCESS_STATE", text)
}

pub(super) fn process_alarm(text: String, is_critical: bool) -> Record {
    let severity = if is_critical { Severity::Critical } else { Severity::Warning };
    line("procmgr", ("OS", "PROCMGR"), severity, "PROCESS_ALARM", text)
}

pub(super) fn script(text: String, is_trouble: bool) -> Record {
    let severity = if is_trouble { Severity::Warning } else { Severity::Informational };
    line("script_mgmt", ("OS", "SCRIPT_MGMT"), severity, "REPOSITORY", text)
}

pub(super) fn custodian_gone() -> Record {
    let text = "the custodian is gone: agent and keeper go on, but nobody restarts them; \
                `procyon agent --stop` and a new start bring it back";
    line("procyon", ("OS", "PROCYON"), Severity::Critical, "CUSTODIAN_GONE", text.to_owned())
}
