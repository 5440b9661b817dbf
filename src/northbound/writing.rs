//! edit-config, copy-config, delete-config, discard-changes, validate, lock and unlock on the datastores.

use tracing::info;

use super::driver::Northbound;
use super::{
    Answer, Caller, Datastore, DefaultOperation, ErrorOption, Fragment, Kind, Refusal, Response, Source, TestOption,
};
use crate::datastore::CandidateId;
use crate::datastore::edit::{Edit, Touch};
use crate::datastore::lock::Circumstances;
use crate::yang::tree::Tree;

pub(super) fn no_startup() -> Refusal {
    Refusal::new(Kind::OperationNotSupported, "there is no startup datastore: running itself is durable")
}

fn running_is_not_writable() -> Refusal {
    Refusal::new(Kind::OperationNotSupported, "running is changed by commit only").mend("edit the candidate and commit")
}

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
        let id = self.writable(caller, target)?;
        let edit = Edit::parse(config).map_err(|refusal| vec![refusal])?;
        let writer = self.access.writer(caller);
        let mut judge = |touch: Touch<'_>| writer.as_ref().map_or(Ok(()), |writer| writer.may_touch(&touch));
        match test_option {
            // RFC 6241 section 7.2: a test-then-set that is not valid changes nothing. A candidate may be incomplete on
            // its way to validity, so what is tested is the edit itself: syntax, existence and operations.
            TestOption::Set | TestOption::TestThenSet => {
                let done = self.datastores.edit_candidate(id, &edit, default_operation, error_option, Some(&mut judge));
                // Also where the edit went on after an error, or was refused: then there is nothing to hash.
                if self.secrets.may_be_in(&config.0) {
                    let mut next = self.datastores.candidate(id).duplicate();
                    self.secrets.hash_in(&mut next);
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
        let id = self.writable(caller, target)?;
        let tree = match source {
            // RFC 6241 section 7.3: source and target the same is an error.
            Source::Datastore(same) if *same == target => {
                return Err(vec![Refusal::new(Kind::InvalidValue, "source and target are the same datastore")]);
            }
            Source::Datastore(Datastore::Running) => self.datastores.running().duplicate(),
            Source::Datastore(Datastore::Candidate) => self.datastores.candidate(id).duplicate(),
            Source::Datastore(Datastore::Startup) => return Err(vec![no_startup()]),
            Source::Inline(config) => {
                let mut tree = Tree::parse_config(self.schema, &config.0)?;
                self.secrets.hash_in(&mut tree);
                tree
            }
        };
        let candidate = self.datastores.candidate(id);
        if let Some(writer) = self.access.writer(caller) {
            // RFC 8341 section 3.2.6: what the copy would change is what the caller must be allowed to change.
            let changes = crate::yang::diff::Diff::between(&candidate, &tree).changes();
            let refusals: Vec<Refusal> = changes.iter().filter_map(|change| writer.may_change(change).err()).collect();
            if !refusals.is_empty() {
                return Err(refusals);
            }
        }
        self.datastores.replace_candidate(id, tree);
        Ok(Response::Ok)
    }

    #[expect(clippy::unused_self, reason = "one shape for all operations")]
    pub(super) fn delete_config(&self, target: Datastore) -> Answer {
        Err(vec![match target {
            Datastore::Startup => no_startup(),
            Datastore::Running => Refusal::new(Kind::OperationNotSupported, "running cannot be deleted"),
            Datastore::Candidate => Refusal::new(Kind::OperationNotSupported, "the candidate cannot be deleted")
                .mend("discard-changes makes it equal to running"),
        }])
    }

    pub(super) fn discard_changes(&mut self, caller: &Caller) -> Answer {
        let id = self.candidate_of(caller);
        if id == CandidateId::Shared {
            self.locks.may_edit(Datastore::Candidate, caller.session).map_err(|refusal| vec![refusal])?;
        }
        self.datastores.discard(id);
        Ok(Response::Ok)
    }

    pub(super) fn validate(&mut self, caller: &Caller, source: &Source) -> Answer {
        let tree = match source {
            Source::Datastore(Datastore::Running) => self.datastores.running().duplicate(),
            Source::Datastore(Datastore::Candidate) => {
                // What stands against running is as much in the way of a commit as what is not valid.
                let proposal = self.datastores.propose(self.candidate_of(caller))?;
                return self.ask_providers_to_validate(&proposal).map(|()| Response::Ok);
            }
            Source::Datastore(Datastore::Startup) => return Err(vec![no_startup()]),
            Source::Inline(config) => Tree::parse_config(self.schema, &config.0)?,
        };
        let proposal = self.datastores.propose_tree(tree, None)?;
        self.ask_providers_to_validate(&proposal)?;
        Ok(Response::Ok)
    }

    pub(super) fn lock(&mut self, caller: &Caller, target: Datastore) -> Answer {
        if target == Datastore::Startup {
            return Err(vec![no_startup()]);
        }
        // A private candidate is nobody else's: there is nothing to lock.
        if target == Datastore::Candidate && self.candidate_of(caller) != CandidateId::Shared {
            return Ok(Response::Ok);
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
        if target == Datastore::Startup {
            return Err(vec![no_startup()]);
        }
        if target == Datastore::Candidate && self.candidate_of(caller) != CandidateId::Shared {
            return Ok(Response::Ok);
        }
        self.locks.unlock(target, caller.session).map_err(|refused| vec![refused.into()])?;
        // RFC 6241 section 8.3.5.2: unlocking leaves the candidate as it is; ending the session discards it.
        Ok(Response::Ok)
    }

    /// The candidate behind `target`, when `caller` may edit it now.
    fn writable(&self, caller: &Caller, target: Datastore) -> Result<CandidateId, Vec<Refusal>> {
        match target {
            Datastore::Running => Err(vec![running_is_not_writable()]),
            Datastore::Startup => Err(vec![no_startup()]),
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
