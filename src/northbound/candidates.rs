//! Whose candidate a session edits, and how one of its own is brought onto what others committed.
//!
//! ```text
//!  NETCONF: the shared one | asked for its own, or the device is set so: private
//!  shells and scripts: private, always
//! ```
//! A private candidate is dropped with its session.

use std::collections::BTreeSet;

use super::driver::Northbound;
use super::history;
use super::{Answer, Caller, Client, Kind, Refusal, Response, SessionId};
use crate::datastore::history::differences;
use crate::datastore::{CandidateId, Side};
use crate::yang::tree::Tree;
use crate::yang::value::Element;

pub(super) const UPDATE: &str = "/ietf-netconf-private-candidate:update";
pub(super) const CHANGES: &str = "/procyon-history:get-candidate-changes";

/// Which candidate NETCONF sessions edit that do not ask for one of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Candidates {
    /// RFC 6241 section 8.3: all the same one.
    #[default]
    Shared,
    /// Each its own, as on a router.
    Private,
}

/// Who has asked for one of his own.
#[derive(Debug)]
pub(super) struct Choice {
    usual: Candidates,
    asked: BTreeSet<SessionId>,
}

impl Choice {
    pub(super) fn new(usual: Candidates) -> Self {
        Self { usual, asked: BTreeSet::new() }
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        self.asked.remove(&session);
    }
}

impl Northbound {
    /// The candidate that `caller` edits.
    pub(super) fn candidate_of(&self, caller: &Caller) -> CandidateId {
        let is_private = match caller.client {
            Client::Agent => false,
            Client::Shell | Client::LocalShell | Client::Script { .. } | Client::Judge { .. } => true,
            Client::Netconf | Client::Tls | Client::Local => {
                self.choice.usual == Candidates::Private || self.choice.asked.contains(&caller.session)
            }
        };
        if is_private { CandidateId::Private(caller.session) } else { CandidateId::Shared }
    }

    pub(super) fn use_private_candidate(&mut self, caller: &Caller) -> Answer {
        if self.sessions.get(caller.session).is_some() {
            self.choice.asked.insert(caller.session);
        }
        Ok(Response::Ok)
    }

    pub(super) fn update_candidate(&mut self, caller: &Caller, input: &Element) -> Result<Vec<Element>, Vec<Refusal>> {
        let id = self.candidate_of(caller);
        if id == CandidateId::Shared {
            let message = "this session edits the shared candidate, which follows running by itself";
            return Err(vec![
                Refusal::new(Kind::OperationNotSupported, message)
                    .mend("say the capability private-candidate in the hello to have a candidate of your own"),
            ]);
        }
        let winner = match input.text_of("resolution-mode") {
            Some("prefer-candidate") => Some(Side::Candidate),
            Some("prefer-running") => Some(Side::Running),
            _ => None,
        };
        self.datastores.update(id, winner).map(|()| Vec::new())
    }

    /// What a commit of the caller's candidate would change, and what stands in its way.
    pub(super) fn candidate_changes(&mut self, caller: &Caller) -> Vec<Element> {
        let id = self.candidate_of(caller);
        let newest = self.commits.last_id();
        let conflicts = self.datastores.conflicts(id);
        let reader = self.access.reader(caller);
        let changes = self.datastores.edited_part(id).map(|(before, after)| {
            let may_read = |tree: &Tree, path: &str| {
                reader.as_ref().is_none_or(|reader| tree.find(path).is_some_and(|node| reader.may_read(node)))
            };
            differences(before, after, |path, is_after| may_read(if is_after { after } else { before }, path))
        });
        let mut output = Vec::new();
        output
            .extend((newest >= crate::store::commits::FIRST_COMMIT_ID).then(|| Element::leaf("newest-commit", newest)));
        output.push(Element::leaf("private", id != CandidateId::Shared));
        output.extend(conflicts.iter().map(|path| Element::leaf("conflict", path)));
        output.extend(changes.unwrap_or_default().iter().map(history::change));
        output
    }
}

#[cfg(test)]
#[path = "candidates_tests.rs"]
mod tests;
