use super::*;

fn facts() -> Facts {
    Facts {
        wording: Wording::V2_7,
        keys: Keys::default(),
        server_pid: 15539,
        server_folder: "/home/iocuser/data/git".into(),
        child_folder: "/home/iocuser/data/git".into(),
        name: "iocsh".into(),
        command: "/epics/bin/iocsh.bash".into(),
        executed: "/epics/bin/iocsh.bash".into(),
        log_file: Some(("out.log".into(), true)),
        server_started: "Wed Aug 11 13:38:00 2021".into(),
    }
}

const RUNS: Child<'_> = Child::Runs { pid: 15549, started: "Wed Aug 11 13:38:01 2021" };
const NOBODY: Others = Others { users: 0, loggers: 0 };

#[test]
fn the_banner_is_the_one_of_2_7() {
    let text = facts().banner(RestartMode::On, RUNS, Some(NOBODY));
    assert_eq!(text.matches("\r\n").count(), text.matches('\n').count());
    insta::assert_snapshot!(text.replace('\r', ""), @r#"
    @@@ Welcome to procServ (procServ Process Server 2.7.0)
    @@@ Use ^X to kill the child, auto restart is ON, use ^T to toggle auto restart
    @@@ procServ server PID: 15539
    @@@ Server startup directory: /home/iocuser/data/git
    @@@ Child startup directory: /home/iocuser/data/git
    @@@ Child "iocsh" started as: /epics/bin/iocsh.bash
    @@@ Child "iocsh" PID: 15549
    @@@ procServ server started at: Wed Aug 11 13:38:00 2021
    @@@ Child "iocsh" started at: Wed Aug 11 13:38:01 2021
    @@@ 0 user(s) and 0 logger(s) connected (plus you)
    "#);
}

#[test]
fn who_only_watches_is_not_welcomed_and_a_child_that_is_down_can_be_started() {
    let mut facts = facts();
    facts.name = facts.command.clone();
    facts.keys.logout = Some(QUIT);
    insta::assert_snapshot!(facts.banner(RestartMode::Off, Child::Down, None).replace('\r', ""), @r#"
    @@@ procServ server PID: 15539
    @@@ Server startup directory: /home/iocuser/data/git
    @@@ Child startup directory: /home/iocuser/data/git
    @@@ Child started as: /epics/bin/iocsh.bash
    @@@ Child "/epics/bin/iocsh.bash" is SHUT DOWN
    @@@ procServ server started at: Wed Aug 11 13:38:00 2021
    @@@ ^R or ^X restarts the child, ^Q quits the server, ^Q closes this connection
    "#);
}

#[test]
fn newer_words_are_said_when_asked_for() {
    let mut facts = facts();
    facts.wording = Wording::V2_8;
    facts.keys = Keys { kill: None, toggle: None, logout: Some(QUIT), ignored: vec![] };
    let text = facts.banner(RestartMode::OneShot, Child::Down, Some(NOBODY)).replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "@@@ Kill command disabled, auto restart mode is ONESHOT, auto restart toggle disabled");
    assert_eq!(lines[2], "@@@ Use ^Q to logout from procServ server");
    assert_eq!(lines[7], "@@@ Child log file: out.log");
    assert_eq!(lines.last(), Some(&"@@@ ^R restarts the child, ^Q quits the server, ^Q closes this connection"));
    assert_eq!(facts.toggled(RestartMode::OneShot), "\r\n@@@ Toggled auto restart mode to ONESHOT\r\n");
}

#[test]
fn the_key_steps_through_two_states_or_three() {
    let steps = |wording| {
        std::iter::successors(Some(RestartMode::On), |mode: &RestartMode| Some(mode.next(wording)))
            .skip(1)
            .take(3)
            .map(RestartMode::name)
            .collect::<Vec<_>>()
    };
    assert_eq!(steps(Wording::V2_7), ["OFF", "ON", "OFF"]);
    assert_eq!(steps(Wording::V2_8), ["OFF", "ONESHOT", "ON"]);
}

#[test]
fn an_end_and_a_start_read_as_they_always_did() {
    let facts = facts();
    let status = ExitStatus::Signal { number: 9, core: false };
    let text = [
        Facts::ended(15549, status),
        facts.down("Wed Aug 11 13:40:00 2021", RestartMode::On),
        facts.starting(),
        facts.started(15550),
        Facts::ended(15550, ExitStatus::Code(7)),
        facts.down("Wed Aug 11 13:41:00 2021", RestartMode::Off),
    ];
    insta::assert_snapshot!(text.concat().replace('\r', ""), @r#"

    @@@ @@@ @@@ @@@ @@@
    @@@ Received a sigChild for process 15549. The process was killed by signal 9
    @@@ Current time: Wed Aug 11 13:40:00 2021
    @@@ Child process is shutting down, a new one will be restarted shortly
    @@@ ^R or ^X restarts the child, ^Q quits the server
    @@@ Restarting child "iocsh"
    @@@    (as /epics/bin/iocsh.bash)
    @@@ The PID of new child "iocsh" is: 15550
    @@@ @@@ @@@ @@@ @@@

    @@@ @@@ @@@ @@@ @@@
    @@@ Received a sigChild for process 15550. Normal exit status = 7
    @@@ Current time: Wed Aug 11 13:41:00 2021
    @@@ Child process is shutting down, auto restart is disabled
    @@@ ^R or ^X restarts the child, ^Q quits the server
    "#);
}
