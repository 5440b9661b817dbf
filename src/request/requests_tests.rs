//! The life of runs as scenarios: what happens on the left, what is done on the right.

use super::*;
use crate::checksum::Sha256;
use crate::request::run::{Account, LogLevel};

struct Bench {
    requests: Requests,
    moment: Moment,
    tickets: u64,
}

fn order(script: &str) -> Order {
    Order {
        script_type: "exec".to_owned(),
        script: script.to_owned(),
        sha256: Sha256::of(b""),
        arguments: String::new(),
        words: vec![],
        description: None,
        log_level: LogLevel::Info,
        max_runtime_seconds: 60,
        account: Account { user: "admin".to_owned(), groups: vec![] },
        environment: vec![],
        log_path: None,
    }
}

fn seen(phase: Phase) -> Observed {
    Observed { phase, started_unix_ms: None, ended_unix_ms: None, error_lines: vec![] }
}

fn running() -> Observed {
    seen(Phase::Running { pid: Some(7) })
}

fn exited(code: i32) -> Observed {
    seen(Phase::Ended { exit: ExitStatus::Code(code) })
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "any instant will do to count from")]
    fn new() -> Self {
        let mut bench = Self {
            requests: Requests::new([], 1000),
            moment: Moment { now: Instant::now(), unix_ms: 1_000_000 },
            tickets: 0,
        };
        bench.feed(Input::KeeperConnected { held: vec![] });
        bench
    }

    /// The actions as words.
    fn feed(&mut self, input: Input) -> String {
        let actions = self.requests.handle(input, self.moment);
        let words = actions.iter().map(|action| match action {
            Action::Command { id, what: Command::Define } => format!("define {id}"),
            Action::Command { id, what: Command::Start } => format!("start {id}"),
            Action::Command { id, what: Command::Release { grace } } => format!("release {id} {}s", grace.as_secs()),
            Action::Answer { ticket, answer: Ok(id) } => format!("tell#{} {id}", ticket.0),
            Action::Answer { ticket, answer: Err(refusal) } => format!("refuse#{}: {}", ticket.0, refusal.message),
            Action::Record { .. } => "record".to_owned(),
            Action::Told { id } => format!("{id} is {}", self.requests.runs[id].status().as_str()),
            Action::Forget { request } => format!("forget {}", request.id),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn run(&mut self) -> String {
        self.tickets += 1;
        self.feed(Input::Run { order: Box::new(order("a.py")), ticket: Ticket(self.tickets) })
    }

    fn stop(&mut self, id: u32) -> String {
        self.tickets += 1;
        self.feed(Input::Stop { id: RequestId(id), why: Some("too late".to_owned()), ticket: Ticket(self.tickets) })
    }

    fn see(&mut self, id: u32, observed: Observed) -> String {
        self.feed(Input::Observed { id: RequestId(id), observed })
    }

    fn done(&mut self, id: u32, what: Command) -> String {
        self.feed(Input::Ordered { id: RequestId(id), what, outcome: Ok(()) })
    }

    fn wait(&mut self, seconds: u64) {
        self.moment.now += Duration::from_secs(seconds);
        self.moment.unix_ms += seconds * 1000;
    }

    /// A run that has begun.
    fn begun(&mut self) {
        self.run();
        let id = self.requests.next.0 - 1;
        self.done(id, Command::Define);
        self.see(id, running());
    }
}

#[test]
fn a_run_is_recorded_frozen_started_answered_and_released() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(), "record, define 1000");
    assert_eq!(bench.done(1000, Command::Define), "start 1000");
    assert_eq!(bench.see(1000, seen(Phase::Waiting)), "");
    assert_eq!(bench.see(1000, running()), "tell#1 1000, record, 1000 is Started");
    assert_eq!(bench.see(1000, running()), "");
    assert_eq!(bench.see(1000, exited(3)), "record, 1000 is Executed, release 1000 0s");
    assert_eq!(bench.requests.get(RequestId(1000)).unwrap().return_value, Some(3));
    assert_eq!(bench.done(1000, Command::Release { grace: Duration::ZERO }), "");
    assert_eq!(bench.run(), "record, define 1001");
}

#[test]
fn a_script_that_has_ended_before_it_was_seen_was_run_all_the_same() {
    let mut bench = Bench::new();
    bench.run();
    bench.done(1000, Command::Define);
    assert_eq!(
        bench.see(1000, exited(0)),
        "tell#1 1000, record, 1000 is Executed, record, 1000 is Executed, release 1000 0s"
    );
    assert_eq!(bench.requests.get(RequestId(1000)).unwrap().events.len(), 3);
}

#[test]
fn what_the_keeper_refuses_is_refused_and_stands_in_the_history() {
    let mut bench = Bench::new();
    bench.run();
    let refused = Err(refusals::invalid("too big"));
    let id = RequestId(1000);
    assert_eq!(
        bench.feed(Input::Ordered { id, what: Command::Define, outcome: refused }),
        "record, 1000 is Exception, refuse#1: too big, release 1000 0s"
    );
    bench.run();
    bench.done(1001, Command::Define);
    assert_eq!(
        bench.see(1001, seen(Phase::Refused { why: "no interpreter".to_owned() })),
        "record, 1001 is Exception, refuse#2: a.py was not run: no interpreter, release 1001 0s"
    );
}

#[test]
fn a_stop_is_answered_when_everything_is_gone() {
    let mut bench = Bench::new();
    bench.begun();
    assert_eq!(bench.stop(1000), "release 1000 5s");
    assert_eq!(bench.stop(1000), "", "a second one waits for the same");
    let exit = ExitStatus::Signal { number: 15, core: false };
    assert_eq!(bench.feed(Input::Exited { id: RequestId(1000), exit }), "");
    assert_eq!(bench.see(1000, seen(Phase::Ended { exit })), "");
    assert_eq!(
        bench.done(1000, Command::Release { grace: STOP_GRACE }),
        "record, 1000 is Stopped, tell#2 1000, tell#3 1000"
    );
    let run = bench.requests.get(RequestId(1000)).unwrap();
    assert_eq!(run.return_value, Some(-15));
    assert_eq!(run.events.last().unwrap().description, "Script execution stopped on request: too late");
    assert_eq!(bench.stop(1000), "refuse#4: request 1000 is over: Stopped");
    assert_eq!(bench.stop(7), "refuse#5: there is no request 7");
}

#[test]
fn a_run_that_is_stopped_before_it_began_is_told_so() {
    let mut bench = Bench::new();
    bench.run();
    assert_eq!(bench.stop(1000), "refuse#1: request 1000 was stopped before it ran, release 1000 5s");
    assert_eq!(bench.done(1000, Command::Define), "");
    assert_eq!(bench.done(1000, Command::Release { grace: STOP_GRACE }), "record, 1000 is Stopped, tell#2 1000");
}

#[test]
fn a_run_has_its_time_and_no_more() {
    let mut bench = Bench::new();
    bench.begun();
    bench.wait(59);
    assert_eq!(bench.feed(Input::Due), "");
    bench.wait(1);
    assert_eq!(bench.requests.deadline(), Some(bench.moment.now));
    assert_eq!(bench.feed(Input::Due), "release 1000 5s");
    assert_eq!(bench.requests.deadline(), None);
    bench.see(1000, seen(Phase::Ended { exit: ExitStatus::Signal { number: 9, core: false } }));
    assert_eq!(bench.done(1000, Command::Release { grace: STOP_GRACE }), "record, 1000 is Timed-out");
}

#[test]
fn ten_run_at_once_and_the_next_is_refused() {
    let mut bench = Bench::new();
    for _ in 0..RUNNING_MAX {
        bench.begun();
    }
    assert_eq!(bench.run(), "refuse#11: 10 scripts run on request, and no more may run at once");
    bench.see(1003, exited(0));
    assert_eq!(bench.run(), "record, define 1010");
}

#[test]
fn an_agent_that_comes_back_goes_on_with_what_runs() {
    let mut bench = Bench::new();
    bench.begun();
    bench.begun();
    bench.begun();
    let recorded: Vec<Request> = bench.requests.newest_first().cloned().collect();
    bench.requests = Requests::new(recorded, 5);
    bench.wait(20);
    let held = vec![(RequestId(1000), running()), (RequestId(1001), exited(0)), (RequestId(900), exited(0))];
    assert_eq!(
        bench.feed(Input::KeeperConnected { held }),
        "record, 1001 is Executed, release 1001 0s, record, 1002 is Killed, release 900 0s"
    );
    let left = bench.requests.deadline().unwrap() - bench.moment.now;
    assert_eq!(left, Duration::from_secs(40), "the time it ran before counts");
    assert_eq!(bench.run(), "record, define 1003", "numbers go on");
}

#[test]
fn nothing_begins_without_a_keeper() {
    let mut bench = Bench::new();
    bench.feed(Input::KeeperLost);
    assert_eq!(bench.run(), "refuse#1: the keeper is not connected");
}

#[test]
fn an_exception_that_nobody_caught_is_told_from_an_exit() {
    let trace = ["Traceback (most recent call last):", "  File \"x.py\", line 1", "ValueError: no"].map(str::to_owned);
    assert_eq!(
        how_it_ended(ExitStatus::Code(1), &trace),
        (Status::Exception, "Script execution ended by an exception: ValueError: no".to_owned())
    );
    assert_eq!(how_it_ended(ExitStatus::Code(1), &["usage: x".to_owned()]).0, Status::Executed);
    let failed = ["xrcli: show nothing: % Invalid input".to_owned()];
    assert_eq!(
        how_it_ended(ExitStatus::Code(0), &failed),
        (
            Status::Executed,
            "Script execution complete, though a command failed: show nothing: % Invalid input".to_owned()
        )
    );
    assert_eq!(how_it_ended(ExitStatus::Signal { number: 9, core: false }, &[]).1, "Script execution ended by SIGKILL");
}

#[test]
fn the_history_is_bounded_and_lets_go_of_the_oldest() {
    let mut bench = Bench::new();
    let mut last = String::new();
    for number in 0..=KEPT_MAX as u32 {
        bench.begun();
        last = bench.see(1000 + number, exited(0));
    }
    assert!(last.contains("forget 1000"), "{last}");
    assert_eq!(bench.requests.newest_first().count(), KEPT_MAX);
}
