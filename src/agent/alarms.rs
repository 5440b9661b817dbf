//! The alarms' part of the agent: who raises those that are no process's, and who hears of all.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::news;
use crate::alarms::driver::{self, JOURNAL_BYTES_MAX, Opened};
use crate::alarms::list::{Key, Report};
use crate::alarms::provider::Desk;
use crate::alarms::types::AlarmType;
use crate::keeper::client::Keeper;
use crate::northbound::handle::Handle;
use crate::script::name::ScriptKey;
use crate::script::repository::{ScriptEvent, Status};
use crate::settings::Layout;
use crate::store::driver::HostDisk;
use crate::store::journal::Journal;
use crate::yang::value::Element;

/// The custodian starts another keeper at once, or after some seconds: only what lasts longer is an alarm.
const KEEPER_ABSENCE_MAX: Duration = Duration::from_secs(10);

/// Between two looks for a keeper that is away.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) fn open(layout: &Layout) -> anyhow::Result<Opened> {
    let (journal, recorded) =
        Journal::open(std::sync::Arc::new(HostDisk), layout.state().join("alarms.journal"), JOURNAL_BYTES_MAX)
            .context("the alarms' journal cannot be opened")?;
    Ok(driver::open(journal, &recorded))
}

/// Raises and clears alarms, and tells the subscribers.
#[derive(Clone)]
pub(super) struct Bell {
    pub desk: Desk,
    pub northbound: Handle,
}

impl Bell {
    pub(super) async fn ring(&self, report: Report) {
        if let Some(notification) = self.desk.report(report, news::now()) {
            self.northbound.tell(news::event(notification)).await;
        }
    }

    async fn set(&self, resource: String, alarm_type: AlarmType, raised: Result<String, &str>) {
        let (is_raised, text) = match raised {
            Ok(text) => (true, text),
            Err(over) => (false, over.to_owned()),
        };
        self.ring(Report { key: Key::new(resource, alarm_type), is_raised, text, severity: None }).await;
    }

    /// The custodian is gone, or is there.
    pub(super) async fn custodian(&self, is_gone: bool) {
        let raised = if is_gone {
            Ok("The custodian is gone: agent and keeper go on, but nobody restarts them. `procyon agent --stop` and a \
                new start bring it back."
                .to_owned())
        } else {
            Err("The custodian is there.")
        };
        self.set("custodian".to_owned(), AlarmType::CustodianLost, raised).await;
    }

    /// The port for conserver's clients cannot be opened, or is open or not wanted any more.
    pub(super) async fn conserver(&self, problem: Option<&str>) {
        let raised = problem.map(|problem| format!("Conserver's clients are refused: {problem}; it is tried again."));
        let raised = raised.ok_or("The port for conserver's clients is not missing any more.");
        self.set("conserver-listener".to_owned(), AlarmType::ConserverListenerClosed, raised).await;
    }

    /// A script is not what was approved, or is again, or is gone.
    pub(super) async fn script(&self, event: &ScriptEvent) {
        let (key, raised) = match event {
            ScriptEvent::ChecksumMismatch { key, expected, found } => {
                (key, Ok(format!("The {key} has the checksum {found}, approved is {expected}: it does not run.")))
            }
            ScriptEvent::Deleted { key } => (key, Err("The script is gone.")),
            ScriptEvent::StatusChanged { key, status: Status::Ready } => (key, Err("The script is the approved one.")),
            ScriptEvent::StatusChanged { key, status: Status::ConfigChecksum } => {
                (key, Err("No checksum is configured for the script any more."))
            }
            // The mismatch itself follows, with both checksums.
            ScriptEvent::StatusChanged { status: Status::ChecksumMismatch, .. }
            | ScriptEvent::Added { .. }
            | ScriptEvent::Modified { .. } => return,
        };
        self.set(script_resource(key), AlarmType::ScriptChecksumMismatch, raised).await;
    }

    /// At a start the scripts are looked at again, and only those that differ are told of.
    pub(super) async fn forget_scripts(&self) {
        for (key, _) in self.desk.standing() {
            if key.alarm_type == AlarmType::ScriptChecksumMismatch {
                let over = "The agent was started anew, and looks at the script again.";
                self.set(key.resource, AlarmType::ScriptChecksumMismatch, Err(over)).await;
            }
        }
    }
}

fn script_resource(key: &ScriptKey) -> String {
    format!("script {}/{}", key.script_type, key.name)
}

/// Tells what operators do about alarms.
pub(super) async fn tell(mut told: mpsc::Receiver<Element>, northbound: Handle) {
    while let Some(notification) = told.recv().await {
        northbound.tell(news::event(notification)).await;
    }
}

/// Raises an alarm when the keeper is away for long, and clears it when it is back.
pub(super) async fn watch_keeper(keeper: Keeper, bell: Bell, stop: CancellationToken) {
    let watch = async {
        loop {
            match keeper.pid(KEEPER_ABSENCE_MAX).await {
                Some(_) => {
                    let over = Err("The keeper answers.");
                    bell.set("keeper".to_owned(), AlarmType::KeeperLost, over).await;
                    keeper.lost().await;
                }
                None => {
                    let text = "The keeper does not answer: what runs goes on, and nothing is started or restarted.";
                    bell.set("keeper".to_owned(), AlarmType::KeeperLost, Ok(text.to_owned())).await;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    };
    tokio::select! {
        () = watch => {}
        () = stop.cancelled() => {}
    }
}
