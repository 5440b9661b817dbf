//! edit-config, copy-config, delete-config, discard-changes, validate, lock and unlock on the datastores.

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::oneshot;
use tracing::info;

use super::direct::{DirectEdit, running_is_not_writable};
use super::driver::Northbound;
use super::provider::Later;
use super::startup;
use super::{
    Answer, Caller, Datastore, DefaultOperation, ErrorOption, Fragment, Kind, Refusal, Response, Source, TestOption,
};
use crate::datastore::CandidateId;
use crate::datastore::edit::{Edit, Touch};
use crate::datastore::lock::Circumstances;
use crate::yang::tree::Tree;

/// Things that are tried out at a time for one `validate`.
const TRIALS_AT_ONCE_MAX: usize = 8;

impl Northbound {
    pub(super) fn edit_config(
        &mut self,
        caller: &Caller,
        target: Datastore,
        default_operation: DefaultOperation,
        test_option: TestOption,
        error_option: ErrorOption,
        config: &Fragment,
    ) -> Answer {
        let id = match target {
            Datastore::Running => None,
            Datastore::Candidate | Datastore::Startup => Some(self.editable(caller, target)?),
        };
        let edit = Edit::parse(config).map_err(|refusal| vec![refusal])?;
        let Some(id) = id else {
            return self
                .edit_running(caller, &DirectEdit { edit: &edit, default_operation, test_option, error_option });
        };
        let writer = self.access.writer(caller);
        let mut judge = |touch: Touch<'_>| writer.as_ref().map_or(Ok(()), |writer| writer.may_touch(&touch));
        match test_option {
            // RFC 6241 section 7.2: a test-then-set that is not valid changes nothing. A candidate may be incomplete on
            // its way to validity, so what is tested is the edit itself: syntax, existence and operations.
            TestOption::Set | TestOption::TestThenSet => {
                let done = self.datastores.edit_candidate(id, &edit, default_operation, error_option, Some(&mut judge));
                // Also where the edit went on after an error, or was refused: then there is nothing to conceal.
                if self.secrets.may_be_in(&config.0) {
                    let mut next = self.datastores.candidate(id).duplicate();
                    self.secrets.conceal_in(&mut next);
                    self.datastores.replace_candidate(id, next);
                }
                done?;
            }
            TestOption::TestOnly => {
                let mut trial = self.datastores.candidate(id).duplicate();
                edit.apply(&mut trial, default_operation, error_option, Some(&mut judge))?;
                self.datastores.validated(&trial)?;
            }
        }
        Ok(Response::Ok)
    }

    pub(super) fn copy_config(&mut self, caller: &Caller, target: Datastore, source: &Source) -> Answer {
        let tree = match source {
            // RFC 6241 section 7.3: source and target the same is an error.
            Source::Datastore(same) if *same == target => {
                return Err(vec![Refusal::new(Kind::InvalidValue, "source and target are the same datastore")]);
            }
            // RFC 8341 section 3.2.5: running to startup needs the right to copy and no other. Else what the caller may not read
            // is left out, so that whoever may not delete it cannot copy.
            Source::Datastore(Datastore::Running) if target == Datastore::Startup => {
                self.datastores.running().duplicate()
            }
            Source::Datastore(datastore) => {
                let tree = self.datastore(caller, *datastore)?;
                self.readable(caller, &tree)
            }
            Source::Inline(config) => {
                let mut tree = Tree::parse_config(self.schema, &config.0)?;
                self.secrets.conceal_in(&mut tree);
                tree
            }
        };
        let id = match target {
            Datastore::Running => return self.copy_to_running(caller, tree),
            Datastore::Startup => {
                return self.copy_to_startup(caller, *source == Source::Datastore(Datastore::Running), tree);
            }
            Datastore::Candidate => self.editable(caller, target)?,
        };
        let candidate = self.datastores.candidate(id);
        if let Some(writer) = self.access.writer(caller) {
            // RFC 8341 section 3.2.6: what the copy would change is what the caller must be allowed to change.
            let changes = crate::yang::diff::Diff::between(&candidate, &tree).into_changes();
            let refusals: Vec<Refusal> = changes.iter().filter_map(|change| writer.may_change(change).err()).collect();
            if !refusals.is_empty() {
                return Err(refusals);
            }
        }
        self.datastores.replace_candidate(id, tree);
        Ok(Response::Ok)
    }

    pub(super) fn delete_config(&mut self, caller: &Caller, target: Datastore) -> Answer {
        match target {
            Datastore::Startup => self.delete_startup(caller),
            Datastore::Running => Err(vec![Refusal::new(Kind::OperationNotSupported, "running cannot be deleted")]),
            Datastore::Candidate => {
                let refusal = Refusal::new(Kind::OperationNotSupported, "the candidate cannot be deleted");
                Err(vec![refusal.mend("discard-changes makes it equal to running")])
            }
        }
    }

    pub(super) fn discard_changes(&mut self, caller: &Caller) -> Answer {
        let id = self.candidate_of(caller);
        if id == CandidateId::Shared {
            self.locks.may_edit(Datastore::Candidate, caller.session).map_err(|refusal| vec![refusal])?;
        }
        self.datastores.discard(id);
        Ok(Response::Ok)
    }

    /// Answers when all is tried out that only a trial can tell.
    pub(super) fn validate(&mut self, caller: &Caller, source: &Source, reply: oneshot::Sender<Answer>) {
        let trials = match self.found_valid(caller, source) {
            Ok(trials) if !trials.is_empty() => trials,
            outcome => return drop(reply.send(outcome.map(|_| Response::Ok))),
        };
        self.runtime.spawn(async move {
            let outcomes = stream::iter(trials).buffered(TRIALS_AT_ONCE_MAX).collect::<Vec<_>>().await;
            let refusals: Vec<Refusal> = outcomes.into_iter().filter_map(Result::err).collect();
            // A front end that is gone needs no answer.
            drop(reply.send(if refusals.is_empty() { Ok(Response::Ok) } else { Err(refusals) }));
        });
    }

    /// What is left to be tried out of a configuration that is valid as far as can be told at once.
    fn found_valid(&mut self, caller: &Caller, source: &Source) -> Result<Vec<Later<()>>, Vec<Refusal>> {
        let tree = match source {
            Source::Datastore(Datastore::Running) => self.datastores.running().duplicate(),
            Source::Datastore(Datastore::Candidate) => {
                // What stands against running is as much in the way of a commit as what is not valid.
                let proposal = self.datastores.propose(self.candidate_of(caller))?;
                self.ask_providers_to_validate(&proposal)?;
                return Ok(self.trials_of(caller, &proposal));
            }
            Source::Datastore(Datastore::Startup) => self.startup().map_err(|refusal| vec![refusal])?.duplicate(),
            Source::Inline(config) => Tree::parse_config(self.schema, &config.0)?,
        };
        let proposal = self.datastores.propose_tree(tree, None)?;
        self.ask_providers_to_validate(&proposal)?;
        Ok(self.trials_of(caller, &proposal))
    }

    pub(super) fn lock(&mut self, caller: &Caller, target: Datastore) -> Answer {
        self.is_served(target)?;
        // A private candidate is nobody else's: there is nothing to lock.
        if target == Datastore::Candidate && self.candidate_of(caller) != CandidateId::Shared {
            return Ok(Response::Ok);
        }
        if let Some(by) = self.partial_locks.any_holder().filter(|_| target == Datastore::Running) {
            let message = format!("a part of running is locked by session {by}");
            return Err(vec![Refusal::new(Kind::LockDenied { holder: by }, message)]);
        }
        let circumstances = Circumstances {
            candidate_is_dirty: self.datastores.is_dirty(CandidateId::Shared),
            confirmed_commit_of: self
                .confirming
                .machine
                .pending()
                .map(|pending| pending.holder.unwrap_or(super::SessionId(0))),
        };
        self.locks.lock(target, caller.session, circumstances).map_err(|refused| vec![refused.into()])?;
        self.lock_times.insert(target, super::driver::now_unix());
        info!(?target, user = %caller.user, session = %caller.session, "locked");
        Ok(Response::Ok)
    }

    pub(super) fn unlock(&mut self, caller: &Caller, target: Datastore) -> Answer {
        self.is_served(target)?;
        if target == Datastore::Candidate && self.candidate_of(caller) != CandidateId::Shared {
            return Ok(Response::Ok);
        }
        self.locks.unlock(target, caller.session).map_err(|refused| vec![refused.into()])?;
        // RFC 6241 section 8.3.5.2: what was not committed is discarded when the lock goes, in whatever way.
        if target == Datastore::Candidate {
            self.datastores.discard(CandidateId::Shared);
        }
        Ok(Response::Ok)
    }

    fn is_served(&self, target: Datastore) -> Result<(), Vec<Refusal>> {
        let is_missing = target == Datastore::Startup && !self.abilities.startup;
        if is_missing { Err(vec![startup::none()]) } else { Ok(()) }
    }

    /// The candidate behind `target`, when `caller` may edit it now.
    pub(super) fn editable(&self, caller: &Caller, target: Datastore) -> Result<CandidateId, Vec<Refusal>> {
        match target {
            Datastore::Running => Err(vec![running_is_not_writable()]),
            Datastore::Startup => Err(vec![
                Refusal::new(Kind::OperationNotSupported, "startup is not edited")
                    .mend("copy a configuration to it with copy-config"),
            ]),
            Datastore::Candidate => {
                let id = self.candidate_of(caller);
                if id == CandidateId::Shared {
                    self.locks.may_edit(Datastore::Candidate, caller.session).map_err(|refusal| vec![refusal])?;
                }
                Ok(id)
            }
        }
    }
}
