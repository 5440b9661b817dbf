//! The operational view of apps: `/Cisco-IOS-XR-appmgr-oper:appmgr/process-scripts` and the notification of a change.

use super::manager::{App, Life, Manager, exit_in_words};
use super::observed::{LastExit, Observed, Phase};
use super::registration::{AppName, Registration, max_retries, policy_name};
use crate::yang::value::Element;

const OPER: &str = "Cisco-IOS-XR-appmgr-oper";
const OURS: &str = "procyon-appmgr";

/// `Appmgr-daemon-state` of the operational module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    NotStarted,
    StartRequested,
    Started,
    StopRequested,
    Stopped,
    KillRequested,
    Killed,
    ExitSuccess,
    ExitFailure,
}

impl Status {
    pub fn yang(self) -> &'static str {
        match self {
            Status::NotStarted => "not-started",
            Status::StartRequested => "start-requested",
            Status::Started => "started",
            Status::StopRequested => "stop-requested",
            Status::Stopped => "stopped",
            Status::KillRequested => "kill-requested",
            Status::Killed => "killed",
            Status::ExitSuccess => "exit-success",
            Status::ExitFailure => "exit-failure",
        }
    }
}

pub fn status(app: &App) -> Status {
    match &app.life {
        Life::Inactive => Status::NotStarted,
        Life::Activating { .. } => Status::StartRequested,
        Life::Deactivating { .. } => Status::StopRequested,
        Life::Active { activation, observed } => match observed.phase {
            Phase::Defined if activation.wanted == super::manager::Wanted::Held => Status::Stopped,
            Phase::Defined | Phase::Starting | Phase::Backoff { .. } => Status::StartRequested,
            Phase::Running { .. } => Status::Started,
            Phase::StopRequested { .. } => Status::StopRequested,
            Phase::KillRequested { .. } => Status::KillRequested,
            Phase::Stopped => Status::Stopped,
            Phase::Killed => Status::Killed,
            Phase::Ended { success: true } => Status::ExitSuccess,
            Phase::Ended { success: false } | Phase::Mismatch { .. } => Status::ExitFailure,
        },
    }
}

/// One sentence that says why the app is as it is, and what would change it; nothing when all is as wanted.
pub fn why(manager: &Manager, app: &App, name: &AppName, clock: &Clock<'_>) -> Option<String> {
    let Life::Active { activation, observed } = &app.life else { return app.trouble.clone() };
    let waiting = manager.waiting_for(app);
    if !waiting.is_empty() {
        let names: Vec<&str> = waiting.iter().map(AppName::as_str).collect();
        return Some(format!("waiting for {}", names.join(", ")));
    }
    let last = observed.last_exit.map(exit_in_words);
    match &observed.phase {
        Phase::Mismatch { expected: None, found } => Some(format!(
            "no checksum is configured for {0}; configure `script process {0} checksum SHA256 {found}` and commit",
            activation.registration.executable.as_deref().unwrap_or("the script"),
        )),
        Phase::Mismatch { expected: Some(expected), found } => Some(format!(
            "Checksum Mismatch: {} has {found}, the configuration says {expected}; put the right file back, or configure the checksum of this one and `appmgr process-script start name {name}`",
            activation.registration.executable.as_deref().unwrap_or("the script"),
        )),
        Phase::Backoff { next_restart_unix_ms } => Some(format!(
            "{}; starts again at {}",
            last.unwrap_or_else(|| "ended".to_owned()),
            (clock.time_of)(*next_restart_unix_ms)
        )),
        Phase::Ended { success: false } => {
            let last = last.unwrap_or_else(|| "ended".to_owned());
            let spent = max_retries(activation.registration.restart).filter(|max| observed.restarts >= *max);
            let held = match spent {
                Some(max) => format!("all {max} restarts are used"),
                None => format!("restart policy {}", policy_name(activation.registration.restart)),
            };
            let more = observed.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            Some(format!("{last}{more}; {held}; `appmgr process-script start name {name}` starts it again"))
        }
        Phase::StopRequested { pid } => Some(format!(
            "pid {pid} was asked to stop and has not ended yet; `appmgr process-script kill name {name}` ends it"
        )),
        Phase::Defined
        | Phase::Starting
        | Phase::Running { .. }
        | Phase::KillRequested { .. }
        | Phase::Stopped
        | Phase::Killed
        | Phase::Ended { success: true } => observed.why.clone(),
    }
}

/// How times are written; given from outside because a time zone is the host's.
pub struct Clock<'a> {
    /// Unix milliseconds as `Fri Aug 20 06:20:21.947`.
    pub time_of: &'a dyn Fn(u64) -> String,
}

/// Where an app's logs are, as the device names it.
pub fn log_location(registration: &Registration) -> Option<String> {
    let executable = registration.executable.as_deref()?;
    Some(format!("/harddisk:/mirror/script-mgmt/logs/{}", log_folder(executable, &registration.name)))
}

/// The log folder of one app below `.../logs`.
pub fn log_folder(executable: &str, app: &AppName) -> String {
    format!("{}_process_{app}", executable.replace('/', "_"))
}

/// All apps, or the one named.
pub fn process_scripts(manager: &Manager, only: Option<&str>, clock: &Clock<'_>) -> Element {
    let apps = manager.apps().iter().filter(|(name, _)| only.is_none_or(|only| name.as_str() == only));
    let entries = apps.map(|(name, app)| entry(manager, name, app, clock)).collect();
    Element::node("appmgr", vec![Element::node("process-scripts", entries)]).in_module(OPER)
}

fn entry(manager: &Manager, name: &AppName, app: &App, clock: &Clock<'_>) -> Element {
    Element::node("process-script", vec![Element::leaf("name", name), info(manager, name, app, clock)])
}

fn info(manager: &Manager, name: &AppName, app: &App, clock: &Clock<'_>) -> Element {
    let mut children = Vec::new();
    children.extend(execution(app, clock));
    if let Some(registration) = &app.registration {
        children.push(Element::node("config", configured(registration)));
    }
    children.push(Element::leaf("name", name));
    children.push(Element::leaf("status", status(app).yang()));
    children.push(Element::leaf("is-activated", matches!(app.life, Life::Active { .. })));
    children.push(Element::leaf("is-cfg-pending", is_config_pending(manager, app)));
    children.extend(ours(manager, name, app, clock));
    Element::node("info", children)
}

fn execution(app: &App, clock: &Clock<'_>) -> Option<Element> {
    let Life::Active { activation, observed } = &app.life else { return None };
    let frozen = &activation.registration;
    let mut children = configured(frozen);
    children.push(Element::leaf("restarts", observed.restarts.min(u32::from(u16::MAX))));
    children.extend(Element::leaf_if("last-started-time", observed.last_started_unix_ms.map(clock.time_of)));
    children.push(Element::leaf("checksum", &activation.sha256));
    children.extend(Element::leaf_if("log-location", log_location(frozen)));
    children.extend(Element::leaf_if("last-exit-code", observed.last_exit.and_then(exit_code)));
    Some(Element::node("execution-info", children))
}

/// As a shell counts: a signal is 128 more than its number.
fn exit_code(exit: LastExit) -> Option<i32> {
    match exit {
        LastExit::Code(code) => Some(code),
        LastExit::Signal(number) => Some(128 + number),
        LastExit::Unknown => None,
    }
}

fn configured(registration: &Registration) -> Vec<Element> {
    let mut children = Vec::new();
    children.extend(Element::leaf_if("executable", registration.executable.as_deref()));
    children.extend(Element::leaf_if("run-args", registration.run_args.as_deref()));
    children.push(Element::leaf("restart-policy", policy_name(registration.restart)));
    children.extend(Element::leaf_if("max-retries", max_retries(registration.restart)));
    children
}

/// Whether a new activation would run something else than what was frozen.
pub fn is_config_pending(manager: &Manager, app: &App) -> bool {
    let Life::Active { activation, observed } = &app.life else { return false };
    let Some(registration) = &app.registration else { return false };
    let committed = registration.executable.as_deref().and_then(|executable| manager.checksum_of(executable));
    registration.differs_from(&activation.registration)
        || observed.disk_differs
        || committed != Some(activation.sha256.as_str())
}

fn ours(manager: &Manager, name: &AppName, app: &App, clock: &Clock<'_>) -> Vec<Element> {
    let mut children = Vec::new();
    children.extend(Element::leaf_if("why", why(manager, app, name, clock)));
    children.extend(manager.waiting_for(app).iter().map(|other| Element::leaf("waiting-for", other)));
    if let Life::Active { observed, .. } = &app.life {
        children.extend(run(observed, clock));
    }
    children.into_iter().map(|child| child.in_module(OURS)).collect()
}

/// app-state-change: where the app stands now, and why.
pub fn change(
    manager: &Manager,
    name: &AppName,
    app: &App,
    previous: Option<&'static str>,
    clock: &Clock<'_>,
) -> Element {
    let mut children = vec![Element::leaf("name", name)];
    children.extend(Element::leaf_if("previous-status", previous));
    children.push(Element::leaf("status", status(app).yang()));
    children.extend(Element::leaf_if("why", why(manager, app, name, clock)));
    if let Life::Active { observed, .. } = &app.life {
        children.extend(Element::leaf_if("last-exit-code", observed.last_exit.and_then(exit_code)));
        children.extend(run(observed, clock));
    }
    Element::node("app-state-change", children).in_module(OURS)
}

fn run(observed: &Observed, clock: &Clock<'_>) -> Vec<Element> {
    let mut children = Vec::new();
    let pid = match observed.phase {
        Phase::Running { pid } | Phase::StopRequested { pid } | Phase::KillRequested { pid } => Some(pid),
        Phase::Defined
        | Phase::Starting
        | Phase::Backoff { .. }
        | Phase::Stopped
        | Phase::Killed
        | Phase::Ended { .. }
        | Phase::Mismatch { .. } => None,
    };
    children.extend(Element::leaf_if("pid", pid));
    children.extend(Element::leaf_if("run-id", observed.run_id));
    if let Phase::Backoff { next_restart_unix_ms } = observed.phase {
        children.push(Element::leaf("next-restart", (clock.time_of)(next_restart_unix_ms)));
    }
    if let Some(LastExit::Signal(number)) = observed.last_exit {
        let name = nix::sys::signal::Signal::try_from(number).map_or_else(|_| number.to_string(), |s| s.to_string());
        children.push(Element::leaf("last-exit-signal", name));
    }
    children.extend(observed.last_error_lines.iter().map(|line| Element::leaf("last-error-line", line)));
    children
}
