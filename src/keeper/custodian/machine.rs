//! Who runs, and who is started again when: values in, values out. `mod.rs` draws the states of a ward.
//!
//! Must not know: processes, sockets, clocks.

use std::time::{Duration, Instant};

use super::control::RawStatus;

/// How long after the first, second ... unordered end in a row a ward is started again; the last one stays.
const RESTART_DELAYS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];
/// A run of this length was no failure to start: the delays begin anew.
const RUN_IS_SOUND_AFTER: Duration = Duration::from_secs(60);
/// An exit status of the first run within this time is a refusal to start, not a crash.
const REFUSAL_WITHIN: Duration = Duration::from_secs(10);
/// What Rust programs exit with when they panic: a crash, whenever it comes.
const PANIC_STATUS: i32 = 101;
/// How long the agent may take to stop.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long the keeper may take to stop all containers in order. Each has a limit of its own, so this is only for a
/// keeper that hangs.
const KEEPER_STOP_LIMIT: Duration = Duration::from_secs(300);
/// A keeper that is started only to end what its predecessor held takes over first: until then it would just die of the
/// order.
const KEEPER_TAKES_OVER: Duration = Duration::from_millis(500);
/// How often a keeper that dies during the shutdown is started again; then what it held is left behind.
const KEEPER_STOP_TRIES_MAX: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ward {
    Agent,
    Keeper,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    StartAgent,
    StopAgent,
    Shutdown,
    /// Both wards are to become the programs that are installed now.
    Renew,
    Spawned(Ward, i32),
    SpawnFailed(Ward),
    Ended {
        pid: i32,
        status: RawStatus,
    },
    /// The deadline has passed.
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// To be answered with `Spawned` or `SpawnFailed`.
    Spawn(Ward),
    Terminate(i32),
    Kill(i32),
    AgentStarted {
        pid: i32,
    },
    AgentEnded {
        status: RawStatus,
        ordered: bool,
        restarting: bool,
    },
    /// A ward's deposits are of no more use.
    Forget(Ward),
    /// Neither ward: the keeper wants to hear of it.
    Orphan {
        pid: i32,
        status: RawStatus,
    },
    /// Everything has been stopped.
    Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Off,
    Due {
        at: Instant,
    },
    /// `Spawn` has not been answered yet.
    Starting,
    Running {
        pid: i32,
        since: Instant,
    },
    /// A keeper that is to be stopped once it has taken over.
    TakingOver {
        pid: i32,
        stop_at: Instant,
    },
    Stopping {
        pid: i32,
        kill_at: Option<Instant>,
    },
}

#[derive(Debug)]
struct State {
    life: Life,
    /// Unordered ends in a row.
    failures: usize,
    /// Starts after the first.
    restarts: u32,
    is_first_run: bool,
    /// Its end is wanted, and so is its next start.
    is_renewed: bool,
}

/// A ward that runs already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub(super) pid: i32,
    pub(super) restarts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    StoppingAgent,
    StoppingKeeper,
    Over,
}

#[derive(Debug)]
pub(super) struct Machine {
    agent: State,
    keeper: State,
    phase: Phase,
    /// Keepers that died during the shutdown.
    died_stopping: u32,
}

impl Machine {
    /// The keeper is wanted from the beginning; the agent when somebody asks.
    pub(super) fn new(now: Instant) -> Self {
        let state = |life| State { life, failures: 0, restarts: 0, is_first_run: true, is_renewed: false };
        Self { agent: state(Life::Off), keeper: state(Life::Due { at: now }), phase: Phase::Serving, died_stopping: 0 }
    }

    /// With wards that another program in this process has started.
    pub(super) fn resumed(agent: Option<Running>, keeper: Option<Running>, now: Instant) -> Self {
        let mut machine = Self::new(now);
        for (ward, running) in [(Ward::Agent, agent), (Ward::Keeper, keeper)] {
            if let Some(Running { pid, restarts }) = running {
                let state = machine.state(ward);
                state.life = Life::Running { pid, since: now };
                state.restarts = restarts;
                state.is_first_run = false;
            }
        }
        machine
    }

    pub(super) fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::StartAgent => self.start_agent(&mut actions),
            Input::StopAgent => {
                self.agent.is_renewed = false;
                self.agent.stop(Ward::Agent, STOP_LIMIT, now, &mut actions);
            }
            Input::Renew => self.renew(now, &mut actions),
            Input::Shutdown => self.shut_down(now, &mut actions),
            Input::Spawned(ward, pid) => {
                let is_to_end = ward == Ward::Keeper && self.phase == Phase::StoppingKeeper;
                self.state(ward).life = if is_to_end {
                    Life::TakingOver { pid, stop_at: now + KEEPER_TAKES_OVER }
                } else {
                    Life::Running { pid, since: now }
                };
                if ward == Ward::Agent {
                    actions.push(Action::AgentStarted { pid });
                }
            }
            Input::SpawnFailed(ward) => self.spawn_failed(ward, now),
            Input::Ended { pid, status } => self.ended(pid, status, now, &mut actions),
            Input::Tick => {}
        }
        for ward in [Ward::Keeper, Ward::Agent] {
            self.state(ward).meet_deadline(ward, now, &mut actions);
        }
        self.advance(now, &mut actions);
        actions
    }

    /// When `Tick` is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [&self.agent, &self.keeper].into_iter().filter_map(|state| state.life.deadline()).min()
    }

    pub(super) fn life(&self, ward: Ward) -> Life {
        match ward {
            Ward::Agent => self.agent.life,
            Ward::Keeper => self.keeper.life,
        }
    }

    pub(super) fn pid(&self, ward: Ward) -> Option<i32> {
        self.life(ward).pid()
    }

    pub(super) fn restarts(&self, ward: Ward) -> u32 {
        match ward {
            Ward::Agent => self.agent.restarts,
            Ward::Keeper => self.keeper.restarts,
        }
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        self.phase != Phase::Serving
    }

    fn state(&mut self, ward: Ward) -> &mut State {
        match ward {
            Ward::Agent => &mut self.agent,
            Ward::Keeper => &mut self.keeper,
        }
    }

    fn start_agent(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::Serving && self.agent.life == Life::Off {
            self.agent =
                State { life: Life::Starting, failures: 0, restarts: 0, is_first_run: true, is_renewed: false };
            actions.push(Action::Spawn(Ward::Agent));
        }
    }

    /// The agent ends in order. The keeper is killed: its successor takes over what it held, whatever the moment.
    fn renew(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.phase != Phase::Serving {
            return;
        }
        if let Life::Running { pid, .. } = self.keeper.life {
            self.keeper.is_renewed = true;
            actions.push(Action::Kill(pid));
        }
        if let Life::Running { .. } = self.agent.life {
            self.agent.is_renewed = true;
            self.agent.stop(Ward::Agent, STOP_LIMIT, now, actions);
        }
    }

    fn shut_down(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.phase == Phase::Serving {
            self.phase = Phase::StoppingAgent;
            self.agent.stop(Ward::Agent, STOP_LIMIT, now, actions);
        }
    }

    fn spawn_failed(&mut self, ward: Ward, now: Instant) {
        if ward == Ward::Keeper && self.phase == Phase::StoppingKeeper {
            self.keeper_died_stopping(now);
            return;
        }
        let state = self.state(ward);
        // Whoever ordered the first start is told that it failed; after that nobody is there to be told.
        if ward == Ward::Agent && state.is_first_run {
            state.life = Life::Off;
        } else {
            state.retry(now);
        }
    }

    fn ended(&mut self, pid: i32, status: RawStatus, now: Instant, actions: &mut Vec<Action>) {
        if self.agent.life.pid() == Some(pid) {
            self.agent_ended(status, now, actions);
        } else if self.keeper.life.pid() == Some(pid) {
            self.keeper_ended(status, now, actions);
        } else {
            actions.push(Action::Orphan { pid, status });
        }
    }

    fn agent_ended(&mut self, status: RawStatus, now: Instant, actions: &mut Vec<Action>) {
        let agent = &mut self.agent;
        if std::mem::take(&mut agent.is_renewed) && self.phase == Phase::Serving {
            agent.renew(now);
            actions.push(Action::AgentEnded { status, ordered: false, restarting: true });
            return;
        }
        let ordered = matches!(agent.life, Life::Stopping { .. }) || status.is_ordered();
        let restarting = !ordered && !agent.has_refused(status, now);
        if restarting {
            agent.retry_after_run(now);
        } else {
            agent.life = Life::Off;
            actions.push(Action::Forget(Ward::Agent));
        }
        actions.push(Action::AgentEnded { status, ordered, restarting });
    }

    /// Only exit 0 says that every container has been stopped: what any other end leaves is for a successor.
    fn keeper_ended(&mut self, status: RawStatus, now: Instant, actions: &mut Vec<Action>) {
        let was_killed_at_the_limit = matches!(self.keeper.life, Life::Stopping { kill_at: None, .. });
        if status.exit_code() == Some(0) || was_killed_at_the_limit {
            self.keeper.life = Life::Off;
            actions.push(Action::Forget(Ward::Keeper));
            self.shut_down(now, actions);
        } else if self.phase == Phase::StoppingKeeper {
            self.keeper_died_stopping(now);
        } else if std::mem::take(&mut self.keeper.is_renewed) {
            self.keeper.renew(now);
        } else {
            self.keeper.retry_after_run(now);
        }
    }

    fn keeper_died_stopping(&mut self, now: Instant) {
        self.died_stopping += 1;
        if self.died_stopping < KEEPER_STOP_TRIES_MAX {
            self.keeper.retry(now);
        } else {
            self.keeper.life = Life::Off;
        }
    }

    /// The steps of a shutdown, each when the one before is done.
    fn advance(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.phase == Phase::StoppingAgent && self.agent.life == Life::Off {
            self.phase = Phase::StoppingKeeper;
            match self.keeper.life {
                // It has died and waits for its restart, and what it held runs on: a successor ends that.
                Life::Due { .. } => {
                    self.keeper.life = Life::Starting;
                    actions.push(Action::Spawn(Ward::Keeper));
                }
                Life::Off | Life::Starting | Life::Running { .. } | Life::TakingOver { .. } | Life::Stopping { .. } => {
                    self.keeper.stop(Ward::Keeper, KEEPER_STOP_LIMIT, now, actions)
                }
            }
        }
        if self.phase == Phase::StoppingKeeper && self.keeper.life == Life::Off {
            self.phase = Phase::Over;
            actions.push(Action::Exit);
        }
    }
}

impl State {
    fn stop(&mut self, ward: Ward, limit: Duration, now: Instant, actions: &mut Vec<Action>) {
        match self.life {
            Life::Running { pid, .. } => {
                self.life = Life::Stopping { pid, kill_at: Some(now + limit) };
                actions.push(Action::Terminate(pid));
            }
            Life::Due { .. } => {
                self.life = Life::Off;
                actions.push(Action::Forget(ward));
                if ward == Ward::Agent {
                    actions.push(Action::AgentEnded { status: RawStatus::SUCCESS, ordered: true, restarting: false });
                }
            }
            Life::Off | Life::Starting | Life::TakingOver { .. } | Life::Stopping { .. } => {}
        }
    }

    fn meet_deadline(&mut self, ward: Ward, now: Instant, actions: &mut Vec<Action>) {
        match self.life {
            Life::Due { at } if at <= now => {
                self.life = Life::Starting;
                actions.push(Action::Spawn(ward));
            }
            Life::TakingOver { pid, stop_at } if stop_at <= now => {
                self.life = Life::Stopping { pid, kill_at: Some(now + KEEPER_STOP_LIMIT) };
                actions.push(Action::Terminate(pid));
            }
            Life::Stopping { pid, kill_at: Some(at) } if at <= now => {
                self.life = Life::Stopping { pid, kill_at: None };
                actions.push(Action::Kill(pid));
            }
            Life::Off
            | Life::Due { .. }
            | Life::Starting
            | Life::Running { .. }
            | Life::TakingOver { .. }
            | Life::Stopping { .. } => {}
        }
    }

    fn has_refused(&self, status: RawStatus, now: Instant) -> bool {
        let Life::Running { since, .. } = self.life else { return false };
        let is_own_status = status.exit_code().is_some_and(|code| code != PANIC_STATUS);
        self.is_first_run && is_own_status && now.duration_since(since) < REFUSAL_WITHIN
    }

    /// No failure is counted.
    fn renew(&mut self, now: Instant) {
        self.restarts = self.restarts.saturating_add(1);
        self.is_first_run = false;
        self.life = Life::Due { at: now };
    }

    fn retry_after_run(&mut self, now: Instant) {
        if let Life::Running { since, .. } = self.life
            && now.duration_since(since) >= RUN_IS_SOUND_AFTER
        {
            self.failures = 0;
        }
        self.retry(now);
    }

    fn retry(&mut self, now: Instant) {
        let delay = RESTART_DELAYS[self.failures.min(RESTART_DELAYS.len() - 1)];
        self.failures = self.failures.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
        self.is_first_run = false;
        self.life = Life::Due { at: now + delay };
    }
}

impl Life {
    pub(super) fn pid(self) -> Option<i32> {
        match self {
            Self::Running { pid, .. } | Self::TakingOver { pid, .. } | Self::Stopping { pid, .. } => Some(pid),
            Self::Off | Self::Due { .. } | Self::Starting => None,
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Due { at } => Some(at),
            Self::TakingOver { stop_at, .. } => Some(stop_at),
            Self::Stopping { kill_at, .. } => kill_at,
            Self::Off | Self::Starting | Self::Running { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
