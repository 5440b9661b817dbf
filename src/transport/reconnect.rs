//! When the device calls a client, and where (RFC 8071; the strategies of `ietf-netconf-server`).
//!
//! ```text
//!            due                  connected                over
//!  Waiting --------> Connecting ------------> Connected --------> Waiting, until now, later, or the next period
//!     ^                  |
//!     +--- failed -------+   the same endpoint max-attempts times, then the next; ever longer pauses between rounds
//! ```
//! Must not know: sockets, the clock, what is spoken.

use std::time::{Duration, Instant};

/// Between two attempts of the first round; each round that fails doubles it.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A connection that is over sooner than this was none: a client that hangs up at once is not called in a loop.
const SHORT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) start_with: StartWith,
    /// At one endpoint, before the next has its turn.
    pub(super) attempts: u8,
    pub(super) connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartWith {
    FirstListed,
    LastConnected,
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    Persistent,
    Periodic { period: Duration, anchor_unix: Option<i64> },
}

/// Both clocks: one that is never set, and one that people read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) unix: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// What was waited for has come.
    Due,
    /// No connection came of the attempt.
    Failed,
    Connected,
    /// The connection is over; `gracefully` where the client has closed its session.
    Ended {
        gracefully: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Connect {
        endpoint: usize,
    },
    /// Come back with [`Input::Due`] after this time.
    Wait(Duration),
    /// The connection stands; nothing to do until it ends.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { attempt: Attempt },
    Connecting { attempt: Attempt },
    Connected { endpoint: usize, since: Instant },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    endpoint: usize,
    /// At this endpoint, from 1.
    number: u8,
    /// Endpoints of this round, this one included.
    visited: usize,
}

#[derive(Debug)]
pub(super) struct Machine {
    policy: Policy,
    endpoints: usize,
    state: State,
    last_connected: Option<usize>,
    failed_rounds: u32,
    anchor: Anchor,
}

/// From where whole periods are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Configured {
        unix: i64,
    },
    /// Nothing is configured: since the client is called at all, whatever is done to the clock on the wall.
    Begun(Instant),
}

impl Machine {
    /// `endpoints` is at least one. `chance` is a random number.
    pub(super) fn new(policy: Policy, endpoints: usize, now: Now, chance: u64) -> (Self, Action) {
        let anchor = match policy.connection {
            Connection::Periodic { anchor_unix: Some(unix), .. } => Anchor::Configured { unix },
            Connection::Periodic { anchor_unix: None, .. } | Connection::Persistent => Anchor::Begun(now.instant),
        };
        let attempt = Attempt { endpoint: 0, number: 1, visited: 1 };
        let state = State::Waiting { attempt };
        let mut machine = Self { policy, endpoints, state, last_connected: None, failed_rounds: 0, anchor };
        let action = match anchor {
            Anchor::Configured { .. } => machine.wait_for_period(now, chance),
            Anchor::Begun(_) => machine.begin(Duration::ZERO, chance),
        };
        (machine, action)
    }

    pub(super) fn on(&mut self, input: Input, now: Now, chance: u64) -> Action {
        match (self.state, input) {
            (State::Waiting { attempt }, Input::Due) => {
                self.state = State::Connecting { attempt };
                Action::Connect { endpoint: attempt.endpoint }
            }
            (State::Connecting { attempt }, Input::Connected) => {
                self.last_connected = Some(attempt.endpoint);
                self.state = State::Connected { endpoint: attempt.endpoint, since: now.instant };
                Action::Nothing
            }
            (State::Connecting { attempt }, Input::Failed | Input::Ended { .. }) => self.another(attempt),
            (State::Connected { .. }, Input::Ended { gracefully: true }) if self.is_periodic() => {
                self.failed_rounds = 0;
                self.wait_for_period(now, chance)
            }
            (State::Connected { since, .. }, Input::Ended { .. } | Input::Failed) => {
                if now.instant.saturating_duration_since(since) >= SHORT {
                    self.failed_rounds = 0;
                    return self.begin(Duration::ZERO, chance);
                }
                let pause = self.pause();
                self.failed_rounds += 1;
                self.begin(pause, chance)
            }
            // Said twice, or too late.
            (State::Waiting { .. }, Input::Failed | Input::Connected | Input::Ended { .. })
            | (State::Connecting { .. } | State::Connected { .. }, Input::Due)
            | (State::Connected { .. }, Input::Connected) => Action::Nothing,
        }
    }

    /// The endpoint that is called or connected, or has its turn next.
    pub(super) fn endpoint(&self) -> usize {
        match self.state {
            State::Waiting { attempt } | State::Connecting { attempt } => attempt.endpoint,
            State::Connected { endpoint, .. } => endpoint,
        }
    }

    /// The first attempt of a round.
    fn begin(&mut self, after: Duration, chance: u64) -> Action {
        let endpoint = match self.policy.start_with {
            StartWith::FirstListed => 0,
            StartWith::LastConnected => self.last_connected.unwrap_or(0),
            StartWith::Random => {
                let count = u64::try_from(self.endpoints).unwrap_or(u64::MAX);
                usize::try_from(chance % count).unwrap_or(0)
            }
        };
        self.attempt(Attempt { endpoint, number: 1, visited: 1 }, after)
    }

    fn another(&mut self, failed: Attempt) -> Action {
        let pause = self.pause();
        if failed.number < self.policy.attempts {
            return self.attempt(Attempt { number: failed.number + 1, ..failed }, pause);
        }
        let endpoint = (failed.endpoint + 1) % self.endpoints;
        if failed.visited < self.endpoints {
            return self.attempt(Attempt { endpoint, number: 1, visited: failed.visited + 1 }, pause);
        }
        self.failed_rounds += 1;
        let pause = self.pause();
        self.attempt(Attempt { endpoint, number: 1, visited: 1 }, pause)
    }

    fn attempt(&mut self, attempt: Attempt, after: Duration) -> Action {
        if after.is_zero() {
            self.state = State::Connecting { attempt };
            return Action::Connect { endpoint: attempt.endpoint };
        }
        self.state = State::Waiting { attempt };
        Action::Wait(after)
    }

    fn pause(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.failed_rounds.min(16)).min(PAUSE_MAX)
    }

    fn is_periodic(&self) -> bool {
        matches!(self.policy.connection, Connection::Periodic { .. })
    }

    /// Calls are whole periods away from the anchor, before or after it.
    fn wait_for_period(&mut self, now: Now, chance: u64) -> Action {
        let Connection::Periodic { period, .. } = self.policy.connection else {
            return self.begin(Duration::ZERO, chance);
        };
        let period = period.as_secs().max(1);
        let gone = match self.anchor {
            Anchor::Configured { unix } => {
                let signed = i64::try_from(period).unwrap_or(i64::MAX);
                u64::try_from(now.unix.saturating_sub(unix).rem_euclid(signed)).unwrap_or(0)
            }
            Anchor::Begun(begun) => now.instant.saturating_duration_since(begun).as_secs() % period,
        };
        self.begin(Duration::from_secs(period - gone), chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        machine: Machine,
        now: Now,
        action: Action,
    }

    impl Bench {
        #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
        fn new(policy: Policy, endpoints: usize) -> Self {
            let now = Now { instant: Instant::now(), unix: 1_000_000 };
            let (machine, action) = Machine::new(policy, endpoints, now, 7);
            Self { machine, now, action }
        }

        fn on(&mut self, input: Input) -> Action {
            self.action = self.machine.on(input, self.now, 7);
            self.action
        }

        fn pass(&mut self, time: Duration) {
            self.now.instant += time;
            self.now.unix += i64::try_from(time.as_secs()).unwrap();
        }

        /// Fails so many attempts; what was done between them, in words.
        fn fail(&mut self, times: usize) -> String {
            let mut said = Vec::new();
            let mut failed = 0;
            loop {
                match self.action {
                    Action::Connect { endpoint } => {
                        said.push(format!("{endpoint}"));
                        if failed == times {
                            return said.join(" ");
                        }
                        failed += 1;
                        self.on(Input::Failed);
                    }
                    Action::Wait(time) => {
                        said.push(format!("({})", time.as_secs()));
                        self.pass(time);
                        self.on(Input::Due);
                    }
                    Action::Nothing => panic!("nothing to do after {said:?}"),
                }
            }
        }
    }

    fn policy(start_with: StartWith, attempts: u8) -> Policy {
        Policy { start_with, attempts, connection: Connection::Persistent }
    }

    #[test]
    fn each_endpoint_has_its_attempts_and_rounds_come_ever_slower() {
        let mut bench = Bench::new(policy(StartWith::FirstListed, 2), 2);
        assert_eq!(bench.fail(8), "0 (1) 0 (1) 1 (1) 1 (2) 0 (2) 0 (2) 1 (2) 1 (4) 0");
        for _ in 0..6 {
            bench.fail(4);
        }
        assert!(bench.fail(2).contains("(60)"));
    }

    #[test]
    fn a_lost_connection_is_made_again_at_once_and_one_that_never_held_is_not() {
        let mut bench = Bench::new(policy(StartWith::FirstListed, 3), 2);
        bench.on(Input::Connected);
        bench.pass(SHORT);
        assert_eq!(bench.on(Input::Ended { gracefully: false }), Action::Connect { endpoint: 0 });
        for seconds in [1, 2, 4] {
            bench.on(Input::Connected);
            let action = bench.on(Input::Ended { gracefully: true });
            assert_eq!(action, Action::Wait(Duration::from_secs(seconds)));
            bench.on(Input::Due);
        }
    }

    #[test]
    fn where_a_round_starts_is_the_user_s_choice() {
        for (start_with, expected) in
            [(StartWith::FirstListed, 0), (StartWith::LastConnected, 1), (StartWith::Random, 7 % 3)]
        {
            let mut bench = Bench::new(policy(StartWith::FirstListed, 1), 3);
            assert_eq!(bench.fail(1), "0 (1) 1");
            bench.on(Input::Connected);
            bench.machine.policy.start_with = start_with;
            bench.pass(SHORT);
            assert_eq!(bench.on(Input::Ended { gracefully: false }), Action::Connect { endpoint: expected });
        }
    }

    #[test]
    fn a_periodic_call_comes_at_whole_periods_from_its_anchor() {
        let period = Duration::from_secs(3600);
        let connection = Connection::Periodic { period, anchor_unix: Some(1_000_000 - 7200 - 60) };
        let mut bench = Bench::new(Policy { connection, ..policy(StartWith::FirstListed, 3) }, 1);
        assert_eq!(bench.action, Action::Wait(Duration::from_secs(3540)));
        bench.pass(Duration::from_secs(3540));
        assert_eq!(bench.on(Input::Due), Action::Connect { endpoint: 0 });
        bench.on(Input::Connected);
        bench.pass(Duration::from_secs(100));
        assert_eq!(bench.on(Input::Ended { gracefully: true }), Action::Wait(Duration::from_secs(3500)));
        // An anchor that is still to come counts backwards.
        let connection = Connection::Periodic { period, anchor_unix: Some(1_000_000 + 7200 + 60) };
        let bench = Bench::new(Policy { connection, ..policy(StartWith::FirstListed, 3) }, 1);
        assert_eq!(bench.action, Action::Wait(Duration::from_secs(60)));
    }

    #[test]
    fn a_periodic_call_that_breaks_off_is_made_again_and_the_first_waits_for_nothing() {
        let connection = Connection::Periodic { period: Duration::from_secs(60), anchor_unix: None };
        let mut bench = Bench::new(Policy { connection, ..policy(StartWith::FirstListed, 3) }, 1);
        assert_eq!(bench.action, Action::Connect { endpoint: 0 });
        bench.on(Input::Connected);
        bench.pass(Duration::from_secs(15));
        assert_eq!(bench.on(Input::Ended { gracefully: false }), Action::Connect { endpoint: 0 });
        bench.on(Input::Connected);
        assert_eq!(bench.on(Input::Ended { gracefully: true }), Action::Wait(Duration::from_secs(45)));
    }

    #[test]
    fn a_clock_that_is_put_back_calls_nobody_before_the_period_is_over() {
        let connection = Connection::Periodic { period: Duration::from_secs(60), anchor_unix: None };
        let mut bench = Bench::new(Policy { connection, ..policy(StartWith::FirstListed, 3) }, 1);
        bench.on(Input::Connected);
        bench.now.unix -= 1;
        assert_eq!(bench.on(Input::Ended { gracefully: true }), Action::Wait(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_said_twice_changes_nothing() {
        let mut bench = Bench::new(policy(StartWith::FirstListed, 3), 1);
        bench.on(Input::Connected);
        assert_eq!(bench.on(Input::Connected), Action::Nothing);
        assert_eq!(bench.on(Input::Due), Action::Nothing);
    }
}
