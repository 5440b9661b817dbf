//! Configuration tests that somebody asks for: run alone, whatever the process does.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tracing::info;

use super::{Hands, clock, keeping};
use crate::keeper::protocol::ContainerState;
use crate::lifecycle::definition::ProcessName;
use crate::lifecycle::manager::{Ended, Input, Manager, Seen, Trial};
use crate::northbound::{Kind, Refusal};

pub(super) type Reply = oneshot::Sender<Result<Trial, Refusal>>;

/// Those that run.
#[derive(Debug, Default)]
pub(super) struct Trials(BTreeMap<ProcessName, Run>);

#[derive(Debug)]
struct Run {
    reply: Reply,
    /// What starts it, and ends it when its time is over.
    guard: AbortHandle,
    /// It has ended, and what it left is being taken away.
    is_ending: bool,
}

impl Hands {
    pub(super) fn begin_trial(&mut self, name: ProcessName, by: &str, reply: Reply) {
        let Some(process) = self.manager.processes().get(&name) else {
            return drop(reply.send(Err(self.unknown(&name).tagged("no-such-process"))));
        };
        if self.trials.0.contains_key(&name) {
            let text = format!("a configuration test of process `{name}` that somebody has asked for runs already");
            let refusal = Refusal::new(Kind::InUse, text).tagged("test-runs-already").mend("try again when it is over");
            return drop(reply.send(Err(refusal)));
        }
        info!(process = %name, %by, "its configuration is tested alone");
        let command = Manager::next_definition(process).configtest.clone();
        let limit = self.manager.settings().limits.configtest;
        let (keeper, places, inputs) = (self.keeper.clone(), self.places.clone(), self.inputs.clone());
        let of = name.clone();
        let task = tokio::spawn(async move {
            if let Err(why) = keeping::try_out(keeper, places, of.clone(), command, limit).await {
                let trial = Trial { at: clock().at, has_passed: false, output: vec![why] };
                // A lifecycle that is gone waits for nothing.
                let _ = inputs.send(Input::Tried { name: of, trial }).await;
            }
        });
        self.trials.0.insert(name, Run { reply, guard: task.abort_handle(), is_ending: false });
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
        run.is_ending = true;
        run.guard.abort();
        let (keeper, places, inputs) = (self.keeper.clone(), self.places.clone(), self.inputs.clone());
        tokio::spawn(async move {
            let mut output = keeping::finish_trial(keeper, places, name.clone()).await;
            if output.is_empty() && !ended.succeeded {
                output.push(format!("it ended with {}", ended.how));
            }
            let trial = Trial { at: clock().at, has_passed: ended.succeeded, output };
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

    pub(super) fn trial_over(&mut self, name: &ProcessName, trial: &Trial) {
        if let Some(run) = self.trials.0.remove(name) {
            // Whoever asked may have gone.
            let _ = run.reply.send(Ok(trial.clone()));
        }
    }
}
