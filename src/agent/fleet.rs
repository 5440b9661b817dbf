//! Builds the containers' part of the agent, and passes on what it tells.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::{lines, news};
use crate::container::spec::Floor;
use crate::fleet::driver::{Driver, Heard, JOURNAL_BYTES_MAX, MESSAGES_WAITING_MAX};
use crate::fleet::provider::{Commits, Fleet};
use crate::fleet::resolve::Places;
use crate::keeper::client::Keeper;
use crate::launcher;
use crate::northbound::handle::Handle;
use crate::settings::{Layout, Settings};
use crate::store::driver::HostDisk;
use crate::store::journal::Journal;
use crate::system::SystemLog;

/// Changes that wait to be told.
const HEARD_WAITING_MAX: usize = 256;

pub(super) struct Containers {
    pub provider: Fleet,
    pub driver: Driver,
    pub heard: mpsc::Receiver<Heard>,
}

pub(super) fn build(layout: &Layout, settings: &Settings) -> anyhow::Result<Containers> {
    let (messages, inbox) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (hear, heard) = mpsc::channel(HEARD_WAITING_MAX);
    let commits = Arc::new(Commits::default());
    let (keeper, events) = Keeper::connect_for(layout.keeper_socket(), Floor::Container);
    let (journal, recorded) =
        Journal::open(Arc::new(HostDisk), layout.state().join("containers.journal"), JOURNAL_BYTES_MAX)
            .context("the containers' journal cannot be opened")?;
    let places = Places {
        logs: layout.logs().join("container"),
        work: layout.state().join("containers"),
        user: settings.python.account(),
        connector: launcher::keeper_program()?,
        log_bytes_max: settings.limits.log_bytes,
        log_files_max: u8::try_from(settings.limits.log_files).unwrap_or(u8::MAX),
    };
    Ok(Containers {
        provider: Fleet::new(messages, places, Arc::clone(&commits)),
        driver: Driver {
            keeper,
            events,
            messages: inbox,
            commits,
            journal,
            recorded,
            heard: hear,
            root: layout.root().to_owned(),
        },
        heard,
    })
}

/// Lines in the system log, and notifications.
pub(super) async fn tell(mut heard: mpsc::Receiver<Heard>, northbound: Handle, syslog: SystemLog) {
    while let Some(Heard { name, state, why, notification }) = heard.recv().await {
        syslog.log(lines::container_changed(&name, state, why.as_deref()));
        northbound.tell(news::event(notification)).await;
    }
}
