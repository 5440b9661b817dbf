//! A commit carried out: the pure machine says what comes next, this does it.
//!
//! ```text
//!  validate* -> prepare* -> record + fsync -> swap -> apply* -> reply
//!         \________\____________\-> abort* -> reply (refused)
//! ```
//! Several may stand before their record at once, each on top of the one before it: see `grouping.rs`.

use std::collections::{BTreeMap, VecDeque};

use tracing::{debug, error, info};

use super::driver::{Committed, Northbound, now};
use super::handle::{Access, Continuation};
use super::history;
use super::notifications::base;
use super::provider::{Change, Later, Proposal as Share, Provider, Trying};
use super::router::ProviderIndex;
use super::{Caller, Client, Datastore, Kind, Refusal};
use crate::datastore::commit::{Action, Commit, Input, ProviderId};
use crate::datastore::{Proposal, recovery};
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

/// A commit that everybody has prepared for: it waits for its record.
pub(super) struct Prepared {
    pub(super) caller: Caller,
    pub(super) proposal: Proposal,
    pub(super) note: CommitNote,
    shares: BTreeMap<ProviderIndex, Vec<Change>>,
    machine: Commit,
}

impl Northbound {
    /// RFC 8341 section 3.2.8: the caller must be allowed to make exactly the changes that running undergoes.
    pub(super) fn authorise_commit(&self, caller: &Caller, proposal: &Proposal) -> Result<(), Vec<Refusal>> {
        if self.partial_locks.any_holder().is_some() {
            self.partial_locks.may_change(caller.session, &proposal.diff.changes())?;
        }
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
        self.secrets.conceal_in(&mut initial);
        let caller = Caller::without_session("procyon", Client::Agent, "init");
        let outcome = self
            .datastores
            .propose_tree(initial, None)
            .and_then(|proposal| self.carry_out_unseen(&caller, proposal, CommitNote::saying("initial configuration")));
        outcome.map_err(|refusals| {
            let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the initial configuration cannot be committed: {}", said.join("; "))
        })
    }

    /// Takes a validated proposal through the commit machine, when those who look at commits have seen it.
    pub(super) fn carry_out(
        &mut self,
        caller: &Caller,
        proposal: Proposal,
        note: CommitNote,
    ) -> Result<(), Vec<Refusal>> {
        let proposal = self.judged(caller, proposal)?;
        if proposal.is_empty() {
            // Amendments have left nothing of it.
            self.datastores.drop_candidate_of(&proposal);
            return Ok(());
        }
        self.carry_out_unseen(caller, proposal, note)
    }

    /// The same for what is nobody's to refuse.
    pub(super) fn carry_out_unseen(
        &mut self,
        caller: &Caller,
        proposal: Proposal,
        note: CommitNote,
    ) -> Result<(), Vec<Refusal>> {
        let prepared = self.prepare(caller, proposal, note)?;
        let recorded = self.record_together(std::slice::from_ref(&prepared));
        self.settle(prepared, recorded.map(|mut ids| ids.next().expect("one commit has one id")))
    }

    /// Everything before the point of no return. Providers are shown running as it would be; nobody else looks until the
    /// commit is settled: this thread does nothing else.
    pub(super) fn prepare(
        &mut self,
        caller: &Caller,
        proposal: Proposal,
        note: CommitNote,
    ) -> Result<Prepared, Vec<Refusal>> {
        self.datastores.stage(&proposal);
        self.ask_everyone(caller, proposal, note)
    }

    /// The same, for others to be prepared on top of it before it is settled.
    pub(super) fn prepare_below_others(
        &mut self,
        caller: &Caller,
        proposal: Proposal,
        note: CommitNote,
    ) -> Result<Prepared, Vec<Refusal>> {
        self.datastores.stage_below_others(&proposal);
        self.ask_everyone(caller, proposal, note)
    }

    fn ask_everyone(
        &mut self,
        caller: &Caller,
        proposal: Proposal,
        note: CommitNote,
    ) -> Result<Prepared, Vec<Refusal>> {
        let shares = self.router.shares(&proposal.changes);
        let (machine, actions) = Commit::begin(shares.keys().map(|index| ProviderId(index.0)).collect(), true);
        let mut prepared = Prepared { caller: caller.clone(), proposal, note, shares, machine };
        match self.play(&mut prepared, actions) {
            None => Ok(prepared),
            Some(outcome) => {
                self.datastores.unstage(&prepared.proposal);
                self.leftovers.is_large |= prepared.proposal.changes.len() >= LARGE_CHANGES;
                Err(outcome.err().unwrap_or_else(|| vec![without_outcome()]))
            }
        }
    }

    /// Everything after it: `recorded` is the commit's id, or why it is not on disk.
    pub(super) fn settle(
        &mut self,
        mut prepared: Prepared,
        recorded: Result<u64, Refusal>,
    ) -> Result<(), Vec<Refusal>> {
        let id = recorded.as_ref().ok().copied();
        let actions = prepared.machine.handle(Input::Recorded(recorded.map(drop)));
        let outcome = self.play(&mut prepared, actions).unwrap_or_else(|| Err(vec![without_outcome()]));
        let Prepared { caller, proposal, .. } = prepared;
        match id {
            Some(id) => {
                info!(id, user = %caller.user, client = client_name(&caller.client), "committed");
                self.publish(
                    &base::config_change(&caller, Datastore::Running, &proposal.diff.topmost_changes()),
                    now(),
                );
                (self.on_commit)(&Committed { id, user: caller.user });
                self.snapshot_if_due();
            }
            None => self.datastores.unstage(&proposal),
        }
        self.leftovers.is_large |= proposal.changes.len() >= LARGE_CHANGES;
        self.leftovers.proposal = Some(proposal);
        outcome
    }

    /// Does what the machine says until it waits for the record (`None`) or answers.
    fn play(&mut self, prepared: &mut Prepared, actions: Vec<Action>) -> Option<Result<(), Vec<Refusal>>> {
        let Prepared { proposal, shares, machine, .. } = prepared;
        let mut actions: VecDeque<Action> = actions.into();
        while let Some(action) = actions.pop_front() {
            let input = match action {
                Action::Validate(at) => {
                    let share = share(shares, at, self.datastores.running());
                    Input::Validated(at, validated(&*self.providers[at.0], &share))
                }
                Action::Prepare(at) => {
                    let share = share(shares, at, self.datastores.running());
                    Input::Prepared(at, self.providers[at.0].prepare(&share).map_err(|refusal| placed(refusal, &share)))
                }
                Action::Abort(at) => {
                    self.providers[at.0].abort();
                    Input::Aborted(at)
                }
                Action::Record => return None,
                Action::Swap => {
                    self.access.refresh(self.datastores.running(), &proposal.changes);
                    self.leftovers.spent = Some(self.datastores.accept(proposal));
                    continue;
                }
                Action::Apply(at) => {
                    self.providers[at.0].apply(&share(shares, at, self.datastores.running()));
                    Input::Applied(at)
                }
                Action::Reply(outcome) => return Some(outcome),
            };
            actions.extend(machine.handle(input));
        }
        None
    }

    pub(super) fn ask_providers_to_validate(&mut self, proposal: &Proposal) -> Result<(), Vec<Refusal>> {
        self.datastores.stage(proposal);
        let running = self.datastores.running();
        let shares = self.router.shares(&proposal.changes);
        let refusals: Vec<Refusal> = shares
            .keys()
            .filter_map(|index| {
                let share = share(&shares, ProviderId(index.0), running);
                validated(&*self.providers[index.0], &share).err()
            })
            .flatten()
            .collect();
        self.datastores.unstage(proposal);
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    /// What can be tried out of a valid proposal by this caller: of what he could commit, what he could do by an rpc as well.
    pub(super) fn trials_of(&mut self, caller: &Caller, proposal: &Proposal) -> Vec<Later<()>> {
        self.datastores.stage(proposal);
        let running = self.datastores.running();
        let shares = self.router.shares(&proposal.changes);
        let trials: Vec<Trying> = shares
            .keys()
            .flat_map(|index| self.providers[index.0].trials(&share(&shares, ProviderId(index.0), running)))
            .collect();
        self.datastores.unstage(proposal);
        if trials.is_empty() || self.authorise_commit(caller, proposal).is_err() {
            return Vec::new();
        }
        let may = |right: &str| self.access.permits(caller, right, Access::Execute).is_ok();
        trials.into_iter().filter(|trial| may(trial.right)).map(|trial| trial.work).collect()
    }

    /// Records commits with one force of the disk: all of them or none. Answers their ids.
    pub(super) fn record_together(&mut self, commits: &[Prepared]) -> Result<std::ops::Range<u64>, Refusal> {
        let records = commits.iter().map(|commit| {
            let Prepared { caller, proposal, note, .. } = commit;
            (meta_of(caller, note), proposal.diff.print_xml().to_vec())
        });
        self.record_all(records.collect())
    }

    pub(super) fn record(&mut self, caller: &Caller, note: &CommitNote, diff: &[u8]) -> Result<u64, Refusal> {
        self.record_all(vec![(meta_of(caller, note), diff.to_vec())]).map(|ids| ids.start)
    }

    fn record_all(&mut self, records: Vec<(CommitMeta, Vec<u8>)>) -> Result<std::ops::Range<u64>, Refusal> {
        let noted: Vec<_> = records.iter().map(|(meta, diff)| (meta.clone(), diff.len())).collect();
        let first = self.commits.append_together(records).map_err(|trouble| {
            error!(%trouble, "the commit could not be made durable");
            Refusal::new(Kind::OperationFailed, format!("the commit could not be made durable: {trouble}"))
                .mend("nothing was changed; make room or mend the disk below config/, then commit again")
        })?;
        let ids = first..first + noted.len() as u64;
        for (id, (meta, bytes)) in ids.clone().zip(noted) {
            self.history.push(history::entry(id, meta, bytes));
        }
        self.trim_history();
        Ok(ids)
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
        // Trees of the size of running were made for it, and are gone.
        self.leftovers.is_large = true;
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

fn meta_of(caller: &Caller, note: &CommitNote) -> CommitMeta {
    CommitMeta {
        user: caller.user.clone(),
        client: note.client.unwrap_or(client_name(&caller.client)).to_owned(),
        session: caller.session.0,
        time: now().to_string(),
        label: note.label.clone(),
        comment: note.comment.clone(),
    }
}

fn without_outcome() -> Refusal {
    Refusal::new(Kind::OperationFailed, "the commit ended without an outcome")
}

fn validated(provider: &dyn Provider, share: &Share<'_>) -> Result<(), Vec<Refusal>> {
    let place = |refusals: Vec<Refusal>| refusals.into_iter().map(|refusal| placed(refusal, share)).collect();
    provider.validate(share).map_err(place)
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
    let records: Vec<&[u8]> = records.iter().map(|record| record.diff.as_slice()).collect();
    let payload = recovery::fold(schema, snapshot.as_deref(), &records).map_err(SnapshotError::Content)?;
    work.write(&payload).map_err(SnapshotError::Disk)
}

fn share<'a>(shares: &'a BTreeMap<ProviderIndex, Vec<Change>>, at: ProviderId, config: &'a Tree) -> Share<'a> {
    let changes = shares.get(&ProviderIndex(at.0)).map(Vec::as_slice).unwrap_or_default();
    Share { changes, config }
}

pub(super) fn client_name(client: &Client) -> &'static str {
    match client {
        Client::Netconf | Client::Tls | Client::Local => "NETCONF",
        Client::Shell | Client::LocalShell => "CLI",
        Client::Script { .. } | Client::Judge { .. } => "Script",
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
