//! rpcs and actions that modules define: checked against the schema, handed to their provider, answered when it is done.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::candidates::UPDATE;
use super::driver::Northbound;
use super::handle::{Continuation, Input};
use super::judging;
use super::provider::Call;
use super::{Answer, Caller, Fragment, Kind, Refusal, Response};
use crate::yang::rpc::Operation;
use crate::yang::schema::SchemaNode;
use crate::yang::value::Element;

/// The beginning of the paths of all rpcs that roll back.
const ROLLBACKS: &str = "/Cisco-IOS-XR-cfgmgr-rollback-act:";

/// A call that waits for its provider.
pub(super) struct PendingCall {
    operation: Operation,
    reply: oneshot::Sender<Answer>,
}

impl Northbound {
    pub(super) fn invoke(&mut self, caller: &Caller, fragment: &Fragment, reply: oneshot::Sender<Answer>) {
        let running = Arc::clone(self.datastores.running());
        let permit = |node: SchemaNode, of: Option<&str>| self.access.may_invoke(caller, node, of);
        match Operation::parse_rpc(self.schema, fragment, Some(&running), &permit) {
            Ok(operation) => self.dispatch(caller, operation, reply),
            Err(refusals) => drop(reply.send(Err(refusals))),
        }
    }

    pub(super) fn action(&mut self, caller: &Caller, fragment: &Fragment, reply: oneshot::Sender<Answer>) {
        let running = Arc::clone(self.datastores.running());
        let permit = |node: SchemaNode, of: Option<&str>| self.access.may_invoke(caller, node, of);
        match Operation::parse_action(self.schema, fragment, Some(&running), &permit) {
            Ok(operation) => self.dispatch(caller, operation, reply),
            Err(refusals) => drop(reply.send(Err(refusals))),
        }
    }

    /// What the caller may ask for.
    fn dispatch(&mut self, caller: &Caller, operation: Operation, reply: oneshot::Sender<Answer>) {
        if let Some(outcome) = self.subscription_call(caller, &operation) {
            return drop(
                reply.send(outcome.map_err(|refusal| vec![refusal]).and_then(|output| answer(&operation, &output))),
            );
        }
        if self.judging.is_busy() && is_about_commits(&operation) {
            let who = caller.clone();
            return self.hold(caller, reply, move |northbound, reply| northbound.dispatch(&who, operation, reply));
        }
        if let Some(outcome) = self.own_call(caller, &operation) {
            if self.judging.has_stopped_a_commit() {
                let who = caller.clone();
                return self.begin_hearing(move |northbound| northbound.dispatch(&who, operation, reply));
            }
            return drop(reply.send(outcome.and_then(|output| answer(&operation, &output))));
        }
        let path = operation.path();
        let Some(index) = self.router.call(operation.schema_node().path().as_str()) else {
            let refusal = Refusal::new(Kind::OperationNotSupported, format!("nobody here carries out {path}"));
            return drop(reply.send(Err(vec![refusal])));
        };
        let call = Call { caller: caller.clone(), path, input: operation.input().clone() };
        let future = self.providers[index.0].call(call);
        let (limit, said) = (self.answer_time_max, operation.path());
        let id = self.next_pending();
        self.calls.insert(id, PendingCall { operation, reply });
        let inputs = self.inputs.clone();
        self.runtime.spawn(async move {
            let outcome = match tokio::time::timeout(limit, future).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Refusal::new(
                    Kind::OperationFailed,
                    format!("{said} was not answered within {} s; it may still be carried out", limit.as_secs()),
                )),
            };
            let resume = Continuation(Box::new(move |northbound: &mut Northbound| northbound.finish_call(id, outcome)));
            // A northbound that is gone answers nobody.
            let _ = inputs.send(Input::Resume(resume)).await;
        });
    }

    fn finish_call(&mut self, id: u64, outcome: Result<Vec<Element>, Refusal>) {
        let Some(PendingCall { operation, reply }) = self.calls.remove(&id) else { return };
        drop(reply.send(outcome.map_err(|refusal| vec![refusal]).and_then(|output| answer(&operation, &output))));
    }
}

/// Our own rpcs that commit, or change a candidate.
fn is_about_commits(operation: &Operation) -> bool {
    let path = operation.path();
    path.starts_with(ROLLBACKS) || path == UPDATE || path == judging::VALIDATE
}

fn answer(operation: &Operation, output: &[Element]) -> Answer {
    if output.is_empty() { Ok(Response::Ok) } else { operation.output(output).map(Response::Output) }
}
