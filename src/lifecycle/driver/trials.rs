//! Configuration tests that somebody asks for: run alone, whatever the process does.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tracing::info;

use super::{Hands, clock, keeping};
use crate::keeper::protocol::ContainerState;
use crate::lifecycle::definition::{Command, ProcessName};
use crate::lifecycle::manager::{Ended, Input, Manager, Said, Seen, Trial};
use crate::northbound::{Kind, Refusal};

pub(super) type Reply = oneshot::Sender<Result<Option<Trial>, Refusal>>;

/// Those that run.
#[derive(Debug, Default)]
pub(super) struct Trials(BTreeMap<ProcessName, Run>);

/// Which definition is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    InForce,
    /// One that nobody has committed: the process is told nothing of it.
    Proposed,
}

#[derive(Debug)]
struct Run {
    tried: Tried,
    /// Who waits for its end.
    reply: Option<Reply>,
    /// What starts it, and ends it when its time is over.
    guard: AbortHandle,
    /// It has ended, and what it left is being taken away.
    is_ending: bool,
}

impl Hands {
    /// Answered when it is over, or, without `wait`, when it has begun.
    pub(super) fn begin_trial(&mut self, name: ProcessName, by: &str, wait: bool, reply: Reply) {
        let Some(process) = self.manager.processes().get(&name) else {
            return drop(reply.send(Err(self.unknown(&name).tagged("no-such-process"))));
        };
        let command = Manager::next_definition(process).configtest.clone();
        let limit = self.manager.settings().limits.configtest;
        let Some(reply) = self.unless_tried(&name, reply) else { return };
        info!(process = %name, %by, "its configuration is tested alone");
        self.manager.forget_trial(&name);
        let reply = if wait {
            Some(reply)
        } else {
            // Whoever asked may have gone.
            let _ = reply.send(Ok(None));
            None
        };
        self.run_trial(name, command, limit, Tried::InForce, reply);
    }

    /// The test of a definition that somebody would like to commit.
    pub(super) fn try_out(&mut self, name: ProcessName, command: Command, limit: Duration, reply: Reply) {
        let Some(reply) = self.unless_tried(&name, reply) else { return };
        info!(process = %name, "its configuration would be another, which is tested alone");
        self.run_trial(name, command, limit, Tried::Proposed, Some(reply));
    }

    fn unless_tried(&self, name: &ProcessName, reply: Reply) -> Option<Reply> {
        if !self.trials.0.contains_key(name) {
            return Some(reply);
        }
        let text = format!("a configuration test of process `{name}` that somebody has asked for runs already");
        let refusal = Refusal::new(Kind::InUse, text).tagged("test-runs-already").mend("try again when it is over");
        drop(reply.send(Err(refusal)));
        None
    }

    fn run_trial(&mut self, name: ProcessName, command: Command, limit: Duration, tried: Tried, reply: Option<Reply>) {
        let (keeper, places, inputs) = (self.keeper.clone(), self.places.clone(), self.inputs.clone());
        let of = name.clone();
        let task = tokio::spawn(async move {
            if let Err(why) = keeping::try_out(keeper, places, of.clone(), command, limit).await {
                let trial = Trial { at: clock().at, code: None, output: Said::errors([why]) };
                // A lifecycle that is gone waits for nothing.
                let _ = inputs.send(Input::Tried { name: of, trial }).await;
            }
        });
        self.trials.0.insert(name, Run { tried, reply, guard: task.abort_handle(), is_ending: false });
    }

    /// What the keeper tells of one.
    pub(super) fn trial_seen(&mut self, state: &ContainerState) {
        let Some(name) = keeping::trial_of(&state.name) else { return };
        let Some(run) = self.trials.0.get_mut(&name).filter(|run| !run.is_ending) else { return };
        let ended = match keeping::seen(state) {
            Seen::Pending | Seen::Running { .. } => return,
            Seen::Ended(ended) => ended,
            Seen::NotStarted { why } => Ended { succeeded: false, how: why.clone(), errors: vec![why] },
        };
        let code = keeping::code_of(state);
        run.is_ending = true;
        run.guard.abort();
        let (keeper, places, inputs) = (self.keeper.clone(), self.places.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let mut output = keeping::finish_trial(keeper, places, name.clone()).await;
            if output.is_empty() && !ended.succeeded {
                output = Said::errors([format!("it ended with {}", ended.how)]);
            }
            let trial = Trial { at: clock().at, code, output };
            // A lifecycle that is gone waits for nothing.
            let _ = inputs.send(Input::Tried { name, trial }).await;
        });
    }

    /// The keeper holds these: one that nobody waits for is forgotten.
    pub(super) fn trials_held(&mut self, held: &[&ContainerState]) {
        for state in held {
            match keeping::trial_of(&state.name) {
                Some(name) if !self.trials.0.contains_key(&name) => {
                    let (keeper, places) = (self.keeper.clone(), self.places.clone());
                    tokio::spawn(keeping::finish_trial(keeper, places, name));
                }
                _ => self.trial_seen(state),
            }
        }
    }

    /// Which definition it was about.
    pub(super) fn trial_over(&mut self, name: &ProcessName, trial: &Trial) -> Tried {
        let Some(run) = self.trials.0.remove(name) else { return Tried::InForce };
        if let Some(reply) = run.reply {
            // Whoever asked may have gone.
            let _ = reply.send(Ok(Some(trial.clone())));
        }
        run.tried
    }
}
