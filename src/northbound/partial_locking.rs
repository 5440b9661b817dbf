//! partial-lock and partial-unlock (RFC 5717): what the expressions select of running, as far as the caller sees it.

use std::collections::BTreeSet;

use tracing::info;

use super::driver::{Northbound, now_unix};
use super::filter::XPath;
use super::{Answer, Caller, Datastore, Fragment, Kind, Refusal, Response};
use crate::datastore::partial_lock::PartialLock;
use crate::yang::rpc::Operation;
use crate::yang::value::Element;
use crate::yang::{prefix, select};

const EMPTY_CALL: &[u8] =
    b"<partial-lock xmlns=\"urn:ietf:params:xml:ns:netconf:partial-lock:1.0\"><select>/</select></partial-lock>";

impl Northbound {
    pub(super) fn partial_lock(&mut self, caller: &Caller, selects: &[XPath]) -> Answer {
        if let Some(by) = self.locks.holder(Datastore::Running).filter(|by| *by != caller.session) {
            let message = format!("running is locked by session {by}");
            return Err(vec![Refusal::new(Kind::LockDenied { holder: by }, message)]);
        }
        if let Some(pending) = self.confirming.machine.pending().filter(|it| it.holder != Some(caller.session)) {
            let holder = pending.holder.unwrap_or(super::SessionId(0));
            let message = format!("a confirmed commit of user `{}` is pending", pending.user);
            let refusal = Refusal::new(Kind::LockDenied { holder }, message).tagged("outstanding-confirmed-commit");
            return Err(vec![refusal.mend("wait until it is confirmed or undone")]);
        }
        let running = std::sync::Arc::clone(self.datastores.running());
        // What the caller may not read it cannot find out by locking.
        let seen = self.readable(caller, &running);
        let mut nodes = BTreeSet::new();
        for xpath in selects {
            let found = select::paths(&seen, xpath).map_err(|refusal| vec![refusal.tagged("not-a-node-set")])?;
            nodes.extend(found);
        }
        let lock = PartialLock {
            session: caller.session,
            // With the names of modules: the prefixes were the client's own.
            selects: selects
                .iter()
                .map(|xpath| prefix::expression(self.schema, &xpath.expression, &xpath.namespaces))
                .collect(),
            nodes: nodes.clone(),
            since_unix: now_unix(),
        };
        let id = self.partial_locks.lock(lock).map_err(|refused| vec![refused.into()])?;
        info!(id, nodes = nodes.len(), user = %caller.user, session = %caller.session, "partially locked");
        let mut output = vec![Element::leaf("lock-id", id)];
        output.extend(nodes.into_iter().map(|path| Element::leaf("locked-node", path)));
        let call = Fragment(EMPTY_CALL.into());
        Operation::parse_rpc(self.schema, &call, None, &|_, _| Ok(()))?
            .output_in(&output, Some(&running))
            .map(Response::Output)
    }

    pub(super) fn partial_unlock(&mut self, caller: &Caller, id: u32) -> Answer {
        self.partial_locks.unlock(id, caller.session).map_err(|refused| vec![refused.into()])?;
        Ok(Response::Ok)
    }
}
