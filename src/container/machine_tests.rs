//! The table of policies and ends as scenario lines, and what holds under any sequence of inputs.

use proptest::prelude::*;

use super::*;

const POLICIES: [RestartPolicy; 5] = [
    RestartPolicy::Always,
    RestartPolicy::Never,
    RestartPolicy::OnFailure { max_retries: Some(1) },
    RestartPolicy::UnlessErrored,
    RestartPolicy::UnlessStopped,
];

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
fn some_instant() -> Instant {
    Instant::now()
}

/// A driver that does at once what the machine asks for, except where a scenario says otherwise.
struct Bench {
    machine: Machine,
    now: Instant,
    runs: u32,
    log: Vec<String>,
}

impl Bench {
    fn new(policy: RestartPolicy) -> Self {
        let machine = Machine::new(policy, Duration::ZERO);
        Self { machine, now: some_instant(), runs: 0, log: vec![] }
    }

    fn give(&mut self, input: Input) -> &mut Self {
        for action in self.machine.handle(input, self.now) {
            match action {
                Action::Check { attempt } => {
                    self.give(Input::Checked { attempt });
                }
                Action::Spawn { attempt } => {
                    self.runs += 1;
                    let (pid, run) = (1000 + i32::try_from(self.runs).unwrap(), RunId(self.runs));
                    self.give(Input::Spawned { attempt, pid, run });
                }
                Action::SignalStop { .. } => self.log.push("signal".into()),
                Action::KillTree { .. } => self.log.push("kill".into()),
                Action::Forget => self.log.push("forget".into()),
            }
        }
        self
    }

    fn survives(&mut self, is_ended: bool) -> &mut Self {
        self.runs += 1;
        let process = Some((7, RunId(self.runs)));
        let end_within = is_ended.then_some(Duration::from_secs(10));
        self.give(Input::Survived { process, since: self.now, end_within })
    }

    fn exits(&mut self, status: ExitStatus) -> &mut Self {
        let run = RunId(self.runs);
        self.give(Input::Exited { run, status })
    }

    fn word(&self) -> &'static str {
        match self.machine.state() {
            State::NotStarted => "not-started",
            State::Starting => "starting",
            State::Running { .. } => "running",
            State::StopRequested { .. } => "stop-requested",
            State::KillRequested { .. } => "kill-requested",
            State::Backoff { .. } => "backoff",
            State::Stopped => "stopped",
            State::Killed => "killed",
            State::Exited { rest: Rest::RetriesSpent, .. } => "retries-spent",
            State::Exited { rest: Rest::StartLimit, .. } => "start-limit",
            State::Exited { status, .. } if status.is_success() => "exit-success",
            State::Exited { .. } => "exit-failure",
            State::Mismatch { .. } => "mismatch",
            State::Released => "released",
        }
    }
}

const SIGNAL: ExitStatus = ExitStatus::Signal { number: 9, core: false };

fn scenario(policy: RestartPolicy, line: &str) -> &'static str {
    let mut bench = Bench::new(policy);
    for word in line.split(' ') {
        match word {
            "start" => bench.give(Input::Start),
            "exit0" => bench.exits(ExitStatus::Code(0)),
            "exit1" => bench.exits(ExitStatus::Code(1)),
            "signal" => bench.exits(SIGNAL),
            "stop" => bench.give(Input::Stop),
            "kill" => bench.give(Input::Kill),
            "restart" => bench.give(Input::Restart),
            "gone" => bench.give(Input::TreeGone),
            "comes-back" => bench.give(Input::ComeBack { ran: Duration::ZERO }),
            "survived" => bench.survives(false),
            "ended" => bench.survives(true),
            "left" => {
                let (process, since, end_within) = (None, bench.now, None);
                bench.give(Input::Survived { process, since, end_within })
            }
            "called-off" => bench.give(Input::CallOff),
            "expected" => bench.give(Input::ExpectedChanged),
            "release" => bench.give(Input::Release { grace: Duration::from_secs(5) }),
            "later" => {
                bench.now += Duration::from_secs(100);
                bench.give(Input::Deadline)
            }
            "mismatch" => {
                bench.machine.state = State::Starting;
                let attempt = bench.machine.attempt;
                let (expected, found) = (Some(Sha256::of(b"a")), Sha256::of(b"b"));
                bench.give(Input::CheckMismatch { attempt, expected, found })
            }
            other => panic!("no such word: {other}"),
        };
    }
    bench.word()
}

#[test]
fn what_ends_while_its_floor_is_away_comes_back_when_nothing_is_left_and_its_delay_is_over() {
    for (line, expected) in [
        ("start comes-back", "running"),
        ("start exit1 comes-back", "kill-requested"),
        ("start exit1 comes-back gone", "running"),
        ("start exit1 comes-back gone exit0 comes-back gone", "running"),
        ("start exit1 comes-back called-off gone", "stopped"),
        ("start exit1 comes-back stop gone", "killed"),
        ("start exit1 comes-back start gone", "running"),
        ("start exit1 comes-back release gone", "released"),
        ("start exit1 comes-back gone called-off", "running"),
    ] {
        assert_eq!(scenario(RestartPolicy::Never, line), expected, "{line}");
    }
    let mut bench = Bench::new(RestartPolicy::Never);
    bench.machine.rules.delays = vec![Duration::from_secs(2)];
    bench.give(Input::Start).exits(ExitStatus::Code(1));
    bench.give(Input::ComeBack { ran: Duration::ZERO }).give(Input::TreeGone);
    assert_eq!((bench.word(), bench.log.as_slice()), ("backoff", ["kill".to_owned()].as_slice()));
    let mut other = Bench { machine: bench.machine.clone(), now: bench.now, runs: bench.runs, log: vec![] };
    assert_eq!(other.give(Input::CallOff).word(), "stopped");
    bench.now += Duration::from_secs(2);
    assert_eq!(bench.give(Input::Deadline).word(), "running");
}

#[test]
fn what_has_survived_everybody_is_watched_or_ended_before_anything_is_started() {
    for (line, expected) in [
        ("survived", "running"),
        ("survived start", "running"),
        ("survived exit1", "running"),
        ("survived stop signal", "stopped"),
        ("ended", "stop-requested"),
        ("ended later", "kill-requested"),
        ("ended later signal gone", "stopped"),
        ("ended signal", "kill-requested"),
        ("ended signal gone", "stopped"),
        ("ended start signal", "kill-requested"),
        ("ended start signal gone", "running"),
        ("ended release signal gone", "released"),
        ("left", "kill-requested"),
        ("left start", "kill-requested"),
        ("left start gone", "running"),
        ("left gone", "stopped"),
        ("start survived", "running"),
    ] {
        assert_eq!(scenario(RestartPolicy::Always, line), expected, "{line}");
    }
}

#[test]
fn the_table_of_ends_and_policies() {
    let table: &[(&str, [&str; 5])] = &[
        // line                     always     never           on-failure (1)   unless-errored  unless-stopped
        ("start exit0", ["running", "exit-success", "exit-success", "running", "running"]),
        ("start exit1", ["running", "exit-failure", "running", "exit-failure", "running"]),
        ("start signal", ["running", "exit-failure", "running", "exit-failure", "running"]),
        ("start exit1 exit1", ["running", "exit-failure", "retries-spent", "exit-failure", "running"]),
        ("start exit1 exit1 start", ["running"; 5]),
        ("start exit1 exit1 start exit1", ["running", "exit-failure", "retries-spent", "exit-failure", "running"]),
        ("start stop", ["stop-requested"; 5]),
        ("start stop exit0", ["stopped"; 5]),
        ("start stop exit1", ["stopped"; 5]),
        ("start stop signal", ["stopped"; 5]),
        ("start stop signal later", ["stopped"; 5]),
        ("start stop later", ["stop-requested"; 5]),
        ("start stop exit0 start", ["running"; 5]),
        ("start stop start exit0", ["running"; 5]),
        ("start stop kill", ["kill-requested"; 5]),
        ("start kill", ["kill-requested"; 5]),
        ("start kill signal", ["kill-requested"; 5]),
        ("start kill gone", ["kill-requested"; 5]),
        ("start kill signal gone", ["killed"; 5]),
        ("start kill gone signal", ["killed"; 5]),
        ("start kill gone signal start", ["running"; 5]),
        ("start restart signal", ["running"; 5]),
        ("start restart stop signal", ["stopped"; 5]),
        ("start stop signal comes-back", ["stopped"; 5]),
        ("start kill signal gone comes-back", ["killed"; 5]),
        ("mismatch", ["mismatch"; 5]),
        ("mismatch later", ["mismatch"; 5]),
        ("mismatch expected", ["running"; 5]),
        ("mismatch start", ["running"; 5]),
        ("mismatch stop expected", ["stopped"; 5]),
        ("release", ["released"; 5]),
        ("start release", ["stop-requested"; 5]),
        ("start release start", ["stop-requested"; 5]),
        ("start release exit0", ["kill-requested"; 5]),
        ("start release exit0 gone", ["released"; 5]),
        ("start release later", ["kill-requested"; 5]),
        ("start release later signal gone", ["released"; 5]),
        ("start kill release signal gone", ["released"; 5]),
        ("start stop exit0 release gone", ["released"; 5]),
    ];
    for (line, expected) in table {
        for (policy, expected) in POLICIES.into_iter().zip(expected) {
            assert_eq!(scenario(policy, line), *expected, "{line} under {policy:?}");
        }
    }
}

#[test]
fn a_program_that_cannot_be_spawned_counts_as_a_failure() {
    for (policy, expected) in
        POLICIES.into_iter().zip(["starting", "exit-failure", "starting", "exit-failure", "starting"])
    {
        let mut machine = Machine::new(policy, Duration::ZERO);
        let now = some_instant();
        machine.handle(Input::Start, now);
        machine.handle(Input::CheckFailed { attempt: 1 }, now);
        let bench = Bench { machine, now, runs: 0, log: vec![] };
        assert_eq!(bench.word(), expected, "{policy:?}");
    }
}

#[test]
fn a_restart_loop_is_paced_and_tells_when_it_goes_on() {
    let mut bench = Bench::new(RestartPolicy::Always);
    bench.give(Input::Start);
    for _ in 0..5 {
        bench.exits(ExitStatus::Code(1));
        assert_eq!(bench.word(), "running");
    }
    bench.exits(ExitStatus::Code(1));
    assert_eq!(bench.machine.deadline(), Some(bench.now + Duration::from_secs(1)));
    bench.give(Input::Deadline);
    assert_eq!(bench.word(), "backoff");
    bench.now += Duration::from_secs(1);
    bench.give(Input::Deadline);
    assert_eq!((bench.word(), bench.machine.restarts()), ("running", 6));
}

#[test]
fn the_holdoff_counts_from_start_to_start() {
    let mut bench = Bench::new(RestartPolicy::Always);
    bench.machine.holdoff = Duration::from_secs(15);
    bench.give(Input::Start);
    bench.now += Duration::from_secs(5);
    bench.exits(ExitStatus::Code(0));
    assert_eq!(bench.machine.deadline(), Some(bench.now + Duration::from_secs(10)));
    bench.now += Duration::from_secs(10);
    bench.give(Input::Deadline);
    bench.now += Duration::from_secs(20);
    bench.exits(ExitStatus::Code(0));
    assert_eq!(bench.word(), "running");
}

#[test]
fn the_answer_to_an_overtaken_start_is_ignored() {
    let now = some_instant();
    let mut machine = Machine::new(RestartPolicy::Always, Duration::ZERO);
    assert_eq!(machine.handle(Input::Start, now), [Action::Check { attempt: 1 }]);
    machine.handle(Input::Stop, now);
    assert_eq!(machine.handle(Input::Checked { attempt: 1 }, now), []);
    assert_eq!(machine.handle(Input::Start, now), [Action::Check { attempt: 2 }]);
    assert_eq!(machine.handle(Input::Checked { attempt: 1 }, now), []);
    assert_eq!(machine.handle(Input::Checked { attempt: 2 }, now), [Action::Spawn { attempt: 2 }]);
}

#[test]
fn a_checkpoint_restores_the_machine() {
    let mut bench = Bench::new(RestartPolicy::Always);
    bench.give(Input::Start);
    for _ in 0..6 {
        bench.exits(ExitStatus::Code(1));
    }
    let checkpoint = bench.machine.checkpoint(bench.now);
    assert_eq!(Machine::restore(checkpoint.clone(), Duration::ZERO, bench.now), bench.machine);
    let later = Machine::restore(checkpoint, Duration::from_millis(400), bench.now);
    assert_eq!(later.deadline(), Some(bench.now + Duration::from_millis(600)));
}

fn any_word() -> impl Strategy<Value = u8> {
    0..13u8
}

proptest! {
    #[test]
    fn there_is_never_a_second_process_and_a_stop_holds(
        policy in 0..5usize, words in proptest::collection::vec((any_word(), 0..3u32), 1..80)
    ) {
        let mut machine = Machine::new(POLICIES[policy], Duration::ZERO);
        let mut now = some_instant();
        let mut alive: Option<RunId> = None;
        let mut runs = 0;
        let mut held = false;
        for (word, back) in words {
            now += Duration::from_millis(u64::from(back) * 700);
            let run = RunId(u32::saturating_sub(runs, back));
            let attempt = machine.attempt.saturating_sub(u64::from(back));
            let input = match word {
                0 => { held = false; Input::Start }
                1 => { held = true; Input::Stop }
                2 => { held = true; Input::Kill }
                3 => { held = false; Input::Restart }
                4 | 5 => Input::Exited { run, status: ExitStatus::Code(i32::from(word) - 4) },
                6 => Input::TreeGone,
                7 => Input::Checked { attempt },
                8 => Input::CheckMismatch { attempt, expected: Some(Sha256::of(b"a")), found: Sha256::of(b"b") },
                9 => Input::SpawnFailed { attempt },
                10 => Input::ExpectedChanged,
                11 => Input::Deadline,
                _ => { if back == 0 { held = true; Input::Release { grace: Duration::from_secs(1) } } else { Input::Deadline } }
            };
            if let Input::Exited { run, .. } = &input && alive == Some(*run) {
                alive = None;
            }
            for action in machine.handle(input, now) {
                if let Action::Spawn { attempt } = action {
                    prop_assert!(alive.is_none(), "a second process");
                    prop_assert!(!held, "started although it was stopped");
                    runs += 1;
                    alive = Some(RunId(runs));
                    machine.handle(Input::Spawned { attempt, pid: 7, run: RunId(runs) }, now);
                }
            }
            prop_assert_eq!(machine.process().map(|(_, run)| run), alive);
        }
    }
}

#[test]
fn another_policy_calls_a_restart_off_or_brings_back_what_is_at_rest() {
    let mut bench = Bench::new(RestartPolicy::Always);
    bench.machine = Machine::new(RestartPolicy::Always, Duration::from_secs(15));
    bench.give(Input::Start).exits(ExitStatus::Code(0));
    assert_eq!(bench.word(), "backoff");
    bench.give(Input::Policy { policy: RestartPolicy::Never });
    assert_eq!((bench.word(), bench.machine.deadline()), ("stopped", None));
    bench.give(Input::Policy { policy: RestartPolicy::Always });
    assert_eq!(bench.machine.deadline(), Some(bench.now + Duration::from_secs(15)), "the holdoff still counts");
    bench.give(Input::Policy { policy: RestartPolicy::Never });
    bench.now += Duration::from_secs(15);
    bench.give(Input::Policy { policy: RestartPolicy::Always });
    assert_eq!(bench.word(), "running");
    bench.give(Input::Policy { policy: RestartPolicy::Never }).exits(ExitStatus::Code(0));
    assert_eq!(bench.word(), "exit-success");
}
