//! A commit carried out: the pure machine says what comes next, this does it.
//!
//! ```text
//!  validate* -> prepare* -> record + fsync -> swap -> apply* -> reply
//!         \________\____________\-> abort* -> reply (refused)
//! ```

use std::collections::{BTreeMap, VecDeque};

use tracing::{debug, error, info};

use super::driver::{Committed, Northbound, now};
use super::handle::Continuation;
use super::history;
use super::notifications::base;
use super::provider::{Change, Proposal as Share};
use super::router::ProviderIndex;
use super::{Caller, Client, Kind, Refusal};
use crate::datastore::Proposal;
use crate::datastore::commit::{Action, Commit, Input, ProviderId};
use crate::store::StoreError;
use crate::store::commits::{CommitMeta, Snapshot, SnapshotWork};
use crate::yang::schema::Schema;
use crate::yang::tree::Tree;

/// After a commit of so many changes memory is given back: what it took is not needed again soon.
const LARGE_CHANGES: usize = 5_000;

/// What the history says of a commit beside who made it and when.
#[derive(Debug, Clone, Default)]
pub(super) struct CommitNote {
    /// Instead of the caller's own client word.
    pub(super) client: Option<&'static str>,
    pub(super) label: Option<String>,
    pub(super) comment: Option<String>,
}

impl CommitNote {
    fn saying(comment: &str) -> Self {
        Self { comment: Some(comment.to_owned()), ..Self::default() }
    }
}

impl Northbound {
    /// RFC 8341 section 3.2.8: the caller must be allowed to make exactly the changes that running undergoes.
    pub(super) fn authorise_commit(&self, caller: &Caller, proposal: &Proposal) -> Result<(), Vec<Refusal>> {
        let Some(writer) = self.access.writer(caller) else { return Ok(()) };
        let changes = proposal.diff.changes();
        let refusals: Vec<Refusal> = changes.iter().filter_map(|change| writer.may_change(change).err()).collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    /// Commits the first configuration of a new device.
    ///
    /// # Errors
    /// What keeps it from being valid or durable.
    pub fn commit_initial(&mut self, mut initial: crate::yang::tree::Tree) -> anyhow::Result<()> {
        // Who wrote to it by hand may have put a password in clear text.
        self.secrets.hash_in(&mut initial);
        let caller = Caller {
            session: super::SessionId(0),
            user: "procyon".to_owned(),
            groups: Vec::new(),
            client: Client::Agent,
            origin: "init".to_owned(),
        };
        let outcome = self
            .datastores
            .propose_tree(initial, None)
            .and_then(|proposal| self.carry_out(&caller, &proposal, &CommitNote::saying("initial configuration")));
        outcome.map_err(|refusals| {
            let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the initial configuration cannot be committed: {}", said.join("; "))
        })
    }

    /// Takes a validated proposal through the commit machine.
    pub(super) fn carry_out(
        &mut self,
        caller: &Caller,
        proposal: &Proposal,
        note: &CommitNote,
    ) -> Result<(), Vec<Refusal>> {
        // Providers are shown running as it would be. Nobody else looks meanwhile: this thread does nothing else.
        self.datastores.stage(proposal);
        let outcome = self.ask_everyone(caller, proposal, note);
        if outcome.is_err() {
            self.datastores.unstage(proposal);
        }
        self.leftovers.is_large |= proposal.changes.len() >= LARGE_CHANGES;
        outcome
    }

    fn ask_everyone(&mut self, caller: &Caller, proposal: &Proposal, note: &CommitNote) -> Result<(), Vec<Refusal>> {
        let shares = self.router.shares(&proposal.changes);
        let providers = shares.keys().map(|index| ProviderId(index.0)).collect();
        let (mut machine, actions) = Commit::begin(providers, true);
        let mut actions: VecDeque<Action> = actions.into();
        let mut committed = None;
        while let Some(action) = actions.pop_front() {
            let input = match action {
                Action::Validate(at) => {
                    Input::Validated(at, self.providers[at.0].validate(&share(&shares, at, self.datastores.running())))
                }
                Action::Prepare(at) => {
                    let share = share(&shares, at, self.datastores.running());
                    Input::Prepared(at, self.providers[at.0].prepare(&share).map_err(|refusal| placed(refusal, &share)))
                }
                Action::Abort(at) => {
                    self.providers[at.0].abort();
                    Input::Aborted(at)
                }
                Action::Record => {
                    let recorded = self.record(caller, note, &proposal.diff.print_xml());
                    Input::Recorded(recorded.map(|id| committed = Some(id)))
                }
                Action::Swap => {
                    self.access.refresh(self.datastores.running(), &proposal.changes);
                    self.leftovers.spent = Some(self.datastores.accept(proposal));
                    continue;
                }
                Action::Apply(at) => {
                    self.providers[at.0].apply(&share(&shares, at, self.datastores.running()));
                    Input::Applied(at)
                }
                Action::Reply(outcome) => {
                    if let Some(id) = committed {
                        info!(id, user = %caller.user, client = client_name(&caller.client), "committed");
                        self.publish(&base::config_change(caller, &proposal.diff.topmost_changes()), now());
                        (self.on_commit)(&Committed { id, user: caller.user.clone() });
                        self.snapshot_if_due();
                    }
                    return outcome;
                }
            };
            actions.extend(machine.handle(input));
        }
        Err(vec![Refusal::new(Kind::OperationFailed, "the commit ended without an outcome")])
    }

    pub(super) fn ask_providers_to_validate(&mut self, proposal: &Proposal) -> Result<(), Vec<Refusal>> {
        self.datastores.stage(proposal);
        let running = self.datastores.running();
        let shares = self.router.shares(&proposal.changes);
        let refusals: Vec<Refusal> = shares
            .keys()
            .filter_map(|index| self.providers[index.0].validate(&share(&shares, ProviderId(index.0), running)).err())
            .flatten()
            .collect();
        self.datastores.unstage(proposal);
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    pub(super) fn record(&mut self, caller: &Caller, note: &CommitNote, diff: &[u8]) -> Result<u64, Refusal> {
        let meta = CommitMeta {
            user: caller.user.clone(),
            client: note.client.unwrap_or(client_name(&caller.client)).to_owned(),
            session: caller.session.0,
            time: now().to_string(),
            label: note.label.clone(),
            comment: note.comment.clone(),
        };
        let id = self.commits.append(meta.clone(), diff).map_err(|trouble| {
            error!(%trouble, "the commit could not be made durable");
            Refusal::new(Kind::OperationFailed, format!("the commit could not be made durable: {trouble}"))
                .mend("nothing was changed; make room or mend the disk below config/, then commit again")
        })?;
        self.history.push(history::entry(id, meta, diff));
        self.trim_history();
        Ok(id)
    }

    fn snapshot_if_due(&mut self) {
        if !self.commits.wants_snapshot() {
            return;
        }
        // Made from what is on disk, on another thread and with trees of its own: this one goes on answering.
        let work = self.commits.begin_snapshot();
        let (schema, inputs) = (self.schema, self.inputs.clone());
        self.runtime.spawn_blocking(move || {
            let outcome = take_snapshot(schema, work);
            let resume = Continuation(Box::new(move |northbound: &mut Northbound| northbound.snapshot_taken(outcome)));
            // A northbound that is gone has nothing to note: the snapshot is found at the next start.
            let _ = inputs.blocking_send(super::handle::Input::Resume(resume));
        });
    }

    fn snapshot_taken(&mut self, outcome: Result<Snapshot, SnapshotError>) {
        let noted = match outcome {
            Ok(snapshot) => self.commits.snapshot_taken(Ok(snapshot)).map(|()| debug!(snapshot.id, "snapshot taken")),
            Err(SnapshotError::Disk(trouble)) => self.commits.snapshot_taken(Err(trouble)),
            Err(SnapshotError::Content(refusal)) => {
                error!(%refusal, "the commits on disk do not make a snapshot");
                self.commits.snapshot_given_up();
                Ok(())
            }
        };
        if let Err(trouble) = noted {
            // The commits themselves are durable: a snapshot only shortens recovery.
            error!(%trouble, "the snapshot of running could not be written");
        }
    }
}

/// A refusal names a node: where the provider did not, the first that it was asked about.
fn placed(refusal: Refusal, share: &Share<'_>) -> Refusal {
    match share.changes.first() {
        Some(change) if refusal.path.is_none() => refusal.at(change.path.clone()),
        Some(_) | None => refusal,
    }
}

enum SnapshotError {
    Disk(StoreError),
    Content(Refusal),
}

fn take_snapshot(schema: &'static Schema, work: SnapshotWork) -> Result<Snapshot, SnapshotError> {
    let (snapshot, records) = work.parts().map_err(SnapshotError::Disk)?;
    let records = records.iter().map(|record| record.diff.as_slice());
    let payload = crate::datastore::fold(schema, snapshot.as_deref(), records).map_err(SnapshotError::Content)?;
    work.write(&payload).map_err(SnapshotError::Disk)
}

fn share<'a>(shares: &'a BTreeMap<ProviderIndex, Vec<Change>>, at: ProviderId, config: &'a Tree) -> Share<'a> {
    let changes = shares.get(&ProviderIndex(at.0)).map(Vec::as_slice).unwrap_or_default();
    Share { changes, config }
}

pub(super) fn client_name(client: &Client) -> &'static str {
    match client {
        Client::Netconf | Client::Tls | Client::Local => "NETCONF",
        Client::Shell => "CLI",
        Client::Script { .. } => "Script",
        Client::Agent => "Agent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::provider::Edit;
    use crate::yang::testing::valid;

    #[test]
    fn the_refusal_of_a_provider_names_a_node() {
        let config = valid("");
        let changes =
            ["/sample:top/name", "/sample:top/mtu"].map(|path| Change { path: path.to_owned(), edit: Edit::Delete });
        let share = Share { changes: &changes, config: &config };
        let refusal = || Refusal::new(Kind::OperationFailed, "no room");
        assert_eq!(placed(refusal(), &share).path.as_deref(), Some("/sample:top/name"));
        assert_eq!(placed(refusal().at("/sample:top/mtu"), &share).path.as_deref(), Some("/sample:top/mtu"));
    }
}
