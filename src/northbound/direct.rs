//! Changes that go to running at once (RFC 6241 section 8.2): edit-config and copy-config without a candidate between.
//! Each is a commit of its own, with all that a commit is.

use super::committing::CommitNote;
use super::driver::Northbound;
use super::{Answer, Caller, Datastore, DefaultOperation, ErrorOption, Kind, Refusal, Response, TestOption};
use crate::datastore::Proposal;
use crate::datastore::edit::{Edit, Touch};
use crate::yang::tree::Tree;

pub(super) struct DirectEdit<'a> {
    pub(super) edit: &'a Edit,
    pub(super) default_operation: DefaultOperation,
    pub(super) test_option: TestOption,
    pub(super) error_option: ErrorOption,
}

pub(super) fn running_is_not_writable() -> Refusal {
    Refusal::new(Kind::OperationNotSupported, "running is changed by commit only").mend("edit the candidate and commit")
}

impl Northbound {
    pub(super) fn edit_running(&mut self, caller: &Caller, asked: &DirectEdit<'_>) -> Answer {
        self.may_write_running(caller)?;
        let mut next = self.datastores.running().duplicate();
        let writer = self.access.writer(caller);
        let mut judge = |touch: Touch<'_>| writer.as_ref().map_or(Ok(()), |writer| writer.may_touch(&touch));
        let done = asked.edit.apply(&mut next, asked.default_operation, asked.error_option, Some(&mut judge));
        let mistakes = match done {
            Ok(()) => Vec::new(),
            // What could be done is done, and what could not is told.
            Err(mistakes) if asked.error_option == ErrorOption::ContinueOnError => mistakes,
            Err(mistakes) => return Err(mistakes),
        };
        self.secrets.conceal_in(&mut next);
        let proposal = self.datastores.propose_tree(next, None)?;
        if asked.test_option == TestOption::TestOnly {
            self.ask_providers_to_validate(&proposal)?;
        } else {
            self.commit_now(caller, proposal)?;
        }
        if mistakes.is_empty() { Ok(Response::Ok) } else { Err(mistakes) }
    }

    pub(super) fn copy_to_running(&mut self, caller: &Caller, tree: Tree) -> Answer {
        self.may_write_running(caller)?;
        let proposal = self.datastores.propose_tree(tree, None)?;
        self.commit_now(caller, proposal)?;
        Ok(Response::Ok)
    }

    fn may_write_running(&self, caller: &Caller) -> Result<(), Vec<Refusal>> {
        if !self.abilities.writable_running {
            return Err(vec![running_is_not_writable()]);
        }
        self.confirming.machine.may_change().map_err(|refused| vec![refused.into()])?;
        self.locks.may_edit(Datastore::Running, caller.session).map_err(|refusal| vec![refusal])
    }

    fn commit_now(&mut self, caller: &Caller, proposal: Proposal) -> Result<(), Vec<Refusal>> {
        self.authorise_commit(caller, &proposal)?;
        self.mend_before_commit().map_err(|refusal| vec![refusal])?;
        if proposal.is_empty() { Ok(()) } else { self.carry_out(caller, proposal, CommitNote::default()) }
    }
}
