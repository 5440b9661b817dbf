//! The startup datastore (RFC 6241 section 8.7): what running is made of when the host boots.
//!
//! ```text
//!  copy-config to startup --on disk--> there --boot of the host--> running, by a commit that the history shows
//!                                        '--delete-config--> gone: at a boot running stays what it was
//! ```
//! An agent that merely starts again loads nothing: programs have outlived it, and so has running. Off by default: running
//! is durable by itself.

use std::sync::Arc;

use tracing::{error, info};

use super::committing::CommitNote;
use super::driver::{Committed, Northbound, now};
use super::notifications::base;
use super::{Answer, Caller, Client, Datastore, Kind, Refusal, Response};
use crate::datastore::Proposal;
use crate::store::StoreError;
use crate::store::note::Note;
use crate::yang::diff::Diff;
use crate::yang::tree::Tree;

/// The client word of the commit that loads startup.
const CLIENT: &str = "Startup";

/// What is remembered of startup on disk.
#[derive(Debug)]
pub struct StartupStore {
    /// The configuration, as XML.
    pub content: Note,
    /// The boot at which it was looked at last.
    pub boot: Note,
    /// Another text after each boot of the host.
    pub boot_id: String,
}

pub(super) fn none() -> Refusal {
    Refusal::new(Kind::OperationNotSupported, "there is no startup datastore: running itself is durable")
}

impl Northbound {
    pub(super) fn startup(&self) -> Result<Arc<Tree>, Refusal> {
        if !self.abilities.startup {
            return Err(none());
        }
        // One that was deleted, or never written, is empty.
        Ok(self.datastores.startup().map_or_else(|| Arc::new(Tree::new(self.schema)), Arc::clone))
    }

    /// copy-config with startup as its target.
    pub(super) fn copy_to_startup(&mut self, caller: &Caller, from_running: bool, tree: Tree) -> Answer {
        let before = self.startup().map_err(|refusal| vec![refusal])?;
        self.locks.may_edit(Datastore::Startup, caller.session).map_err(|refusal| vec![refusal])?;
        let changes = Diff::between(&before, &tree).into_changes();
        // RFC 8341 section 3.2.5: running to startup needs the right to copy and no other.
        if let Some(writer) = self.access.writer(caller).filter(|_| !from_running) {
            let refusals: Vec<Refusal> = changes.iter().filter_map(|change| writer.may_change(change).err()).collect();
            if !refusals.is_empty() {
                return Err(refusals);
            }
        }
        let text = tree.print_xml(super::WithDefaults::Explicit);
        let text = std::str::from_utf8(&text).expect("libyang prints UTF-8");
        self.startup_store.content.write(text).map_err(|trouble| vec![not_durable(trouble)])?;
        self.datastores.set_startup(Some(Arc::new(tree)));
        self.startup_changed(caller, &changes);
        Ok(Response::Ok)
    }

    pub(super) fn delete_startup(&mut self, caller: &Caller) -> Answer {
        let before = self.startup().map_err(|refusal| vec![refusal])?;
        self.locks.may_edit(Datastore::Startup, caller.session).map_err(|refusal| vec![refusal])?;
        self.startup_store.content.clear().map_err(|trouble| vec![not_durable(trouble)])?;
        self.datastores.set_startup(None);
        let changes = Diff::between(&before, &Tree::new(self.schema)).into_changes();
        self.startup_changed(caller, &changes);
        Ok(Response::Ok)
    }

    fn startup_changed(&mut self, caller: &Caller, changes: &[super::provider::Change]) {
        info!(user = %caller.user, changes = changes.len(), "startup changed");
        if !changes.is_empty() {
            self.publish(&base::config_change(caller, Datastore::Startup, changes), now());
        }
    }

    /// At start, before anything is applied or served: where the host has booted, startup becomes running.
    ///
    /// # Errors
    /// What the disk refuses. A startup that does not fit the modules any more is named in the log and left alone.
    pub fn boot(&mut self) -> anyhow::Result<()> {
        if !self.abilities.startup {
            return Ok(());
        }
        let Some(startup) = self.recall_startup()? else { return self.remember_boot() };
        let startup = Arc::new(startup);
        self.datastores.set_startup(Some(Arc::clone(&startup)));
        if self.startup_store.boot.read().ok().flatten().as_deref() == Some(self.startup_store.boot_id.as_str()) {
            return Ok(());
        }
        match self.datastores.propose_tree(startup.duplicate(), None) {
            Ok(proposal) if proposal.is_empty() => {}
            Ok(proposal) => self.load_startup(&proposal).map_err(|refusal| anyhow::anyhow!("{refusal}"))?,
            Err(refusals) => {
                let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                error!(trouble = said.join("; "), "startup is not valid any more: running stays what it was");
            }
        }
        self.remember_boot()
    }

    fn load_startup(&mut self, proposal: &Proposal) -> Result<(), Refusal> {
        let caller = Caller::without_session("procyon", Client::Agent, "boot");
        let comment = Some("startup was loaded at the boot of the host".to_owned());
        let note = CommitNote { client: Some(CLIENT), label: None, comment };
        let id = self.record(&caller, &note, &proposal.diff.print_xml())?;
        info!(id, "the host has booted: startup is running now");
        (self.on_commit)(&Committed { id, user: caller.user.clone() });
        self.datastores.stage(proposal);
        self.access.refresh(self.datastores.running(), &proposal.changes);
        self.datastores.accept(proposal);
        self.publish(&base::config_change(&caller, Datastore::Running, &proposal.diff.changes()), now());
        Ok(())
    }

    fn remember_boot(&self) -> anyhow::Result<()> {
        Ok(self.startup_store.boot.write(&self.startup_store.boot_id)?)
    }

    fn recall_startup(&self) -> Result<Option<Tree>, StoreError> {
        let note = &self.startup_store.content;
        let text = match note.read() {
            Ok(text) => text,
            Err(damaged @ StoreError::Damaged { .. }) => {
                let there = note.set_aside()?;
                error!(trouble = %damaged, file = %there.display(), "startup is damaged and was set aside");
                None
            }
            Err(trouble) => return Err(trouble),
        };
        Ok(text.and_then(|text| {
            let parsed = Tree::parse_stored(self.schema, text.as_bytes());
            parsed.inspect_err(|refusal| error!(%refusal, "startup does not fit the modules and is left alone")).ok()
        }))
    }
}

fn not_durable(trouble: StoreError) -> Refusal {
    error!(%trouble, "startup could not be made durable");
    Refusal::new(Kind::OperationFailed, format!("startup could not be made durable: {trouble}"))
        .mend("make room or mend the disk below config/, then try again")
}
