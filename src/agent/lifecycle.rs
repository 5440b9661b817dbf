//! Builds the lifecycle floor, and passes on what it tells: steps to subscribers, alarms to their list as well.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::alarms::Bell;
use super::{HEARD_WAITING_MAX, lines, news};
use crate::alarms::list::{Key, Report};
use crate::alarms::provider::Desk;
use crate::alarms::types::AlarmType;
use crate::container::spec::Floor;
use crate::keeper::client::Keeper;
use crate::keeper::launch::RootId;
use crate::lifecycle::alarm::{AlarmId, Severity};
use crate::lifecycle::definition::ProcessName;
use crate::lifecycle::driver::{Driver, Heard, JOURNAL_BYTES_MAX, MESSAGES_WAITING_MAX, Places};
use crate::lifecycle::machine::StateName;
use crate::lifecycle::manager::AlarmChange;
use crate::lifecycle::provider::{Commits, Lifecycle};
use crate::northbound::handle::Handle;
use crate::settings::{Layout, Settings};
use crate::store::driver::HostDisk;
use crate::store::journal::Journal;
use crate::system::SystemLog;

pub(super) struct Built {
    pub provider: Lifecycle,
    pub driver: Driver,
    pub heard: mpsc::Receiver<Heard>,
}

pub(super) fn open(layout: &Layout, settings: &Settings, alarms: &Desk) -> anyhow::Result<Built> {
    let definitions = layout.process_d();
    std::fs::create_dir_all(&definitions).with_context(|| format!("{} cannot be made", definitions.display()))?;
    let (messages, inbox) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (heard, hearing) = mpsc::channel(HEARD_WAITING_MAX);
    let commits = Arc::new(Commits::default());
    let (keeper, events) = Keeper::connect_for(layout.keeper_socket(), Floor::Process);
    let (journal, recorded) =
        Journal::open(Arc::new(HostDisk), layout.state().join("lifecycle.journal"), JOURNAL_BYTES_MAX)
            .context("the lifecycle's journal cannot be opened")?;
    let root = layout.root();
    let places = Places {
        definitions,
        logs: layout.logs().join("process"),
        root: RootId::of(root).with_context(|| format!("{} cannot be looked at", root.display()))?,
        log_bytes_max: settings.limits.log_bytes,
        log_files_max: u8::try_from(settings.limits.log_files).unwrap_or(u8::MAX),
    };
    let provider = Lifecycle::new(messages, Arc::clone(&commits));
    let standing = alarms.standing().into_iter().filter_map(|(key, text)| {
        let process = ProcessName::parse(key.resource.strip_prefix("process ")?).ok()?;
        Some((process, alarm_id(key.alarm_type)?, text))
    });
    let standing = standing.collect();
    let driver = Driver { places, keeper, events, messages: inbox, commits, journal, recorded, standing, heard };
    Ok(Built { provider, driver, heard: hearing })
}

/// Steps and alarms as lines of the system log, and as notifications.
pub(super) async fn hear(mut heard: mpsc::Receiver<Heard>, northbound: Handle, syslog: SystemLog, bell: Bell) {
    while let Some(heard) = heard.recv().await {
        match heard {
            Heard::Changed { change, notification } => {
                let why = change.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
                let is_trouble = matches!(change.to, StateName::Failed | StateName::ConfigurationTestFailed);
                // What is only passed through is told to subscribers; the log would be three lines of it.
                if matches!(change.to, StateName::Running | StateName::Disabled) || !why.is_empty() || is_trouble {
                    let text = format!("process {} is now {} ({}){why}", change.name, change.to, change.cause);
                    syslog.log(lines::process_changed(text, is_trouble));
                }
                northbound.tell(news::event(notification)).await;
            }
            Heard::Alarm(alarm) => {
                let what = if alarm.is_raised { "raised" } else { "cleared" };
                let text = format!("{} {what}: {}", alarm.alarm, alarm.text);
                let is_critical = alarm.is_raised && alarm.alarm.severity() == Severity::Critical;
                syslog.log(lines::process_alarm(text, is_critical));
                bell.ring(report(alarm)).await;
            }
        }
    }
}

fn report(change: AlarmChange) -> Report {
    let key = Key::new(format!("process {}", change.process), alarm_type(change.alarm));
    Report { key, is_raised: change.is_raised, text: change.text, severity: None }
}

fn alarm_type(alarm: AlarmId) -> AlarmType {
    match alarm {
        AlarmId::Restarted => AlarmType::ProcessRestarted,
        AlarmId::Failed => AlarmType::ProcessFailed,
        AlarmId::ConfigtestFailed => AlarmType::ProcessConfigtestFailed,
        AlarmId::ResourceRequired => AlarmType::ProcessResourceRequired,
        AlarmId::ConfigMismatch => AlarmType::ProcessConfigMismatch,
    }
}

fn alarm_id(wanted: AlarmType) -> Option<AlarmId> {
    AlarmId::ALL.into_iter().find(|alarm| alarm_type(*alarm) == wanted)
}
