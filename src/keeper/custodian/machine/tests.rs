use super::*;

const AGENT: i32 = 100;
const KEEPER: i32 = 200;

/// One line of a scenario: seconds from the start, what happens, what must follow.
struct Scene {
    start: Instant,
    machine: Machine,
    next_pid: i32,
}

impl Scene {
    /// Both wards run from second 0 on.
    fn serving() -> Self {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
        let start = Instant::now();
        let mut scene = Self { start, machine: Machine::new(start), next_pid: 300 };
        assert_eq!(scene.at(0.0, Input::Tick), [Action::Spawn(Ward::Keeper)]);
        assert_eq!(scene.at(0.0, Input::Spawned(Ward::Keeper, KEEPER)), []);
        assert_eq!(scene.at(0.0, Input::StartAgent), [Action::Spawn(Ward::Agent)]);
        scene.at(0.0, Input::Spawned(Ward::Agent, AGENT));
        scene
    }

    fn at(&mut self, seconds: f64, input: Input) -> Vec<Action> {
        self.machine.handle(input, self.start + Duration::from_secs_f64(seconds))
    }

    /// The agent ends so at `seconds`; when is it started again?
    fn restart_after(&mut self, seconds: f64, status: RawStatus) -> Option<f64> {
        let pid = self.machine.pid(Ward::Agent).unwrap();
        let mut actions = self.at(seconds, Input::Ended { pid, status });
        let mut now = seconds;
        if let Some(deadline) = self.machine.deadline() {
            now = deadline.duration_since(self.start).as_secs_f64().max(seconds);
            actions.extend(self.at(now, Input::Tick));
        }
        actions.contains(&Action::Spawn(Ward::Agent)).then(|| {
            self.next_pid += 1;
            self.at(now, Input::Spawned(Ward::Agent, self.next_pid));
            now - seconds
        })
    }
}

const KILLED: RawStatus = RawStatus(9);
const TERMINATED: RawStatus = RawStatus(15);
const EXIT_1: RawStatus = RawStatus(1 << 8);
const PANICKED: RawStatus = RawStatus(101 << 8);

#[test]
fn a_ward_that_keeps_dying_waits_longer_each_time_and_a_sound_run_begins_anew() {
    let mut scene = Scene::serving();
    let waits: Vec<_> = [1.0, 2.0, 4.0, 7.0, 13.0, 19.0, 84.5, 86.0]
        .into_iter()
        .map(|seconds| scene.restart_after(seconds, KILLED).unwrap())
        .collect();
    assert_eq!(waits, [0.0, 1.0, 2.0, 5.0, 5.0, 5.0, 0.0, 1.0]);
    assert_eq!(scene.machine.restarts(Ward::Agent), 8);
}

#[test]
fn an_ordered_end_is_not_restarted_and_the_deposits_go() {
    for status in [RawStatus::SUCCESS, TERMINATED] {
        let mut scene = Scene::serving();
        assert_eq!(
            scene.at(3.0, Input::Ended { pid: AGENT, status }),
            [Action::Forget(Ward::Agent), Action::AgentEnded { status, ordered: true, restarting: false }]
        );
        assert_eq!(scene.machine.deadline(), None);
        assert_eq!(scene.at(4.0, Input::StartAgent), [Action::Spawn(Ward::Agent)], "it may be ordered again");
    }
}

#[test]
fn an_agent_that_refuses_to_start_is_not_tried_again() {
    let mut scene = Scene::serving();
    assert_eq!(
        scene.at(0.5, Input::Ended { pid: AGENT, status: EXIT_1 }),
        [Action::Forget(Ward::Agent), Action::AgentEnded { status: EXIT_1, ordered: false, restarting: false }]
    );
}

#[test]
fn a_crash_in_the_first_run_and_a_failure_in_a_later_one_are_restarted() {
    assert_eq!(Scene::serving().restart_after(0.5, PANICKED), Some(0.0));
    assert_eq!(Scene::serving().restart_after(11.0, EXIT_1), Some(0.0));
    let mut scene = Scene::serving();
    assert_eq!(scene.restart_after(0.5, KILLED), Some(0.0));
    assert_eq!(scene.restart_after(0.6, EXIT_1), Some(1.0));
}

#[test]
fn an_agent_that_ignores_the_stop_order_is_killed_at_the_limit() {
    let mut scene = Scene::serving();
    assert_eq!(scene.at(1.0, Input::StopAgent), [Action::Terminate(AGENT)]);
    assert_eq!(scene.at(2.0, Input::StopAgent), [], "once is enough");
    assert_eq!(scene.at(10.9, Input::Tick), []);
    assert_eq!(scene.at(11.0, Input::Tick), [Action::Kill(AGENT)]);
    assert_eq!(scene.at(11.5, Input::Tick), []);
    assert_eq!(
        scene.at(12.0, Input::Ended { pid: AGENT, status: KILLED }),
        [Action::Forget(Ward::Agent), Action::AgentEnded { status: KILLED, ordered: true, restarting: false }]
    );
}

#[test]
fn a_stop_while_a_restart_waits_cancels_it() {
    let mut scene = Scene::serving();
    scene.restart_after(1.0, KILLED);
    let pid = scene.machine.pid(Ward::Agent).unwrap();
    scene.at(2.0, Input::Ended { pid, status: KILLED });
    assert!(matches!(scene.machine.life(Ward::Agent), Life::Due { .. }));
    let actions = scene.at(2.1, Input::StopAgent);
    assert!(actions.contains(&Action::AgentEnded { status: RawStatus::SUCCESS, ordered: true, restarting: false }));
    assert_eq!(scene.at(9.0, Input::Tick), []);
}

#[test]
fn a_shutdown_stops_the_agent_then_the_keeper_then_ends() {
    let mut scene = Scene::serving();
    assert_eq!(scene.at(1.0, Input::Shutdown), [Action::Terminate(AGENT)]);
    assert!(scene.machine.is_shutting_down());
    let actions = scene.at(2.0, Input::Ended { pid: AGENT, status: RawStatus::SUCCESS });
    assert_eq!(actions.last(), Some(&Action::Terminate(KEEPER)));
    assert_eq!(scene.at(3.0, Input::StartAgent), [], "no start while shutting down");
    let actions = scene.at(60.0, Input::Ended { pid: KEEPER, status: RawStatus::SUCCESS });
    assert_eq!(actions.last(), Some(&Action::Exit));
}

#[test]
fn a_keeper_stopped_by_the_system_takes_the_house_with_it_and_a_crashed_one_does_not() {
    let mut scene = Scene::serving();
    let actions = scene.at(1.0, Input::Ended { pid: KEEPER, status: RawStatus::SUCCESS });
    assert_eq!(actions, [Action::Forget(Ward::Keeper), Action::Terminate(AGENT)]);
    let mut scene = Scene::serving();
    assert_eq!(
        scene.at(1.0, Input::Ended { pid: KEEPER, status: KILLED }),
        [Action::Spawn(Ward::Keeper)],
        "at once, and with its deposits"
    );
}

#[test]
fn a_keeper_that_was_just_started_when_the_shutdown_reached_it_is_stopped_too() {
    let mut scene = Scene::serving();
    scene.at(1.0, Input::Ended { pid: KEEPER, status: KILLED });
    scene.at(1.0, Input::Shutdown);
    scene.at(1.1, Input::Ended { pid: AGENT, status: RawStatus::SUCCESS });
    assert_eq!(scene.at(1.1, Input::Spawned(Ward::Keeper, 201)), [], "it takes over first");
    assert_eq!(scene.at(1.6, Input::Tick), [Action::Terminate(201)]);
}

#[test]
fn a_shutdown_while_a_dead_keeper_waits_for_its_restart_ends_what_it_held() {
    let mut scene = Scene::serving();
    scene.at(1.0, Input::Ended { pid: KEEPER, status: KILLED });
    scene.at(1.0, Input::Spawned(Ward::Keeper, 201));
    scene.at(1.1, Input::Ended { pid: 201, status: KILLED });
    assert!(matches!(scene.machine.life(Ward::Keeper), Life::Due { .. }));
    assert_eq!(scene.at(1.2, Input::Shutdown), [Action::Terminate(AGENT)]);
    let actions = scene.at(1.3, Input::Ended { pid: AGENT, status: RawStatus::SUCCESS });
    assert_eq!(actions.last(), Some(&Action::Spawn(Ward::Keeper)), "at once, and with its deposits");
    assert!(!actions.contains(&Action::Forget(Ward::Keeper)));
    scene.at(1.3, Input::Spawned(Ward::Keeper, 202));
    assert_eq!(scene.at(1.8, Input::Tick), [Action::Terminate(202)]);
    let actions = scene.at(3.0, Input::Ended { pid: 202, status: RawStatus::SUCCESS });
    assert_eq!(actions, [Action::Forget(Ward::Keeper), Action::Exit]);
}

#[test]
fn a_keeper_that_dies_while_it_ends_everything_is_followed_by_one_that_goes_on_but_not_for_ever() {
    let mut scene = Scene::serving();
    scene.at(1.0, Input::Shutdown);
    scene.at(1.0, Input::Ended { pid: AGENT, status: RawStatus::SUCCESS });
    assert_eq!(scene.at(1.1, Input::Ended { pid: KEEPER, status: KILLED }), [Action::Spawn(Ward::Keeper)]);
    scene.at(1.1, Input::Spawned(Ward::Keeper, 201));
    // Of the very order, before it could take it.
    assert_eq!(scene.at(1.2, Input::Ended { pid: 201, status: TERMINATED }), []);
    assert_eq!(scene.at(2.2, Input::Tick), [Action::Spawn(Ward::Keeper)]);
    assert_eq!(scene.at(2.2, Input::SpawnFailed(Ward::Keeper)), [Action::Exit]);
}

#[test]
fn wards_that_are_renewed_are_started_again_at_once_and_it_is_no_failure() {
    let mut scene = Scene::serving();
    assert_eq!(scene.at(1.0, Input::Renew), [Action::Kill(KEEPER), Action::Terminate(AGENT)]);
    assert_eq!(scene.at(1.1, Input::Ended { pid: KEEPER, status: KILLED }), [Action::Spawn(Ward::Keeper)]);
    scene.at(1.1, Input::Spawned(Ward::Keeper, 201));
    assert_eq!(
        scene.at(1.2, Input::Ended { pid: AGENT, status: RawStatus::SUCCESS }),
        [
            Action::AgentEnded { status: RawStatus::SUCCESS, ordered: false, restarting: true },
            Action::Spawn(Ward::Agent)
        ],
        "with its deposits"
    );
    scene.at(1.2, Input::Spawned(Ward::Agent, 101));
    assert_eq!(scene.restart_after(1.3, KILLED), Some(0.0), "the first failure in a row");
    let mut scene = Scene::serving();
    scene.at(1.0, Input::Renew);
    scene.at(1.0, Input::StopAgent);
    let actions = scene.at(1.2, Input::Ended { pid: AGENT, status: RawStatus::SUCCESS });
    assert!(actions.contains(&Action::Forget(Ward::Agent)), "an order to stop counts for more: {actions:?}");
}

#[test]
fn what_is_no_ward_is_an_orphan() {
    let mut scene = Scene::serving();
    assert_eq!(scene.at(1.0, Input::Ended { pid: 999, status: KILLED }), [Action::Orphan { pid: 999, status: KILLED }]);
}

#[test]
fn a_first_start_that_fails_is_told_and_a_later_one_is_tried_again() {
    let mut scene = Scene::serving();
    scene.at(1.0, Input::Ended { pid: AGENT, status: RawStatus::SUCCESS });
    scene.at(2.0, Input::StartAgent);
    scene.at(2.0, Input::SpawnFailed(Ward::Agent));
    assert_eq!(scene.machine.life(Ward::Agent), Life::Off);
    scene.at(3.0, Input::Ended { pid: KEEPER, status: KILLED });
    scene.at(3.0, Input::SpawnFailed(Ward::Keeper));
    assert!(scene.machine.deadline().is_some());
}
