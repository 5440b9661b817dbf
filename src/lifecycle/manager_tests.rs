//! The manager with a world that does at once what it is told: stories of several processes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::alarm::AlarmId;
use super::definition::ProcessName;
use super::machine::{Job, StateName};
use super::manager::{
    Action, Clock, Ended, Holdings, Input, Manager, Problem, Record, Said, Seen, Settings, Trial, Verb, Wish,
};
use super::view;
use super::xml;
use crate::yang::schema::{ModuleSpec, Schema};
use crate::yang::tree::Tree;

struct World {
    manager: Manager,
    clock: Clock,
    /// Processes whose configuration test fails.
    bad: Vec<&'static str>,
    /// Nothing comes of what it is told.
    is_deaf: bool,
    told: Vec<String>,
    /// What the keeper was to end.
    ended: Vec<String>,
    records: Vec<Record>,
    next_pid: i32,
}

fn name(text: &str) -> ProcessName {
    ProcessName::parse(text).unwrap()
}

fn wish(enabled: bool) -> Wish {
    Wish { enabled, by: None, at: None }
}

fn ended(succeeded: bool) -> Seen {
    Seen::Ended(Ended { succeeded, how: "code 1".into(), errors: vec!["no luck".into()] })
}

#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
fn some_clock() -> Clock {
    Clock { now: Instant::now(), at: Timestamp::from_second(1_800_000_000).unwrap() }
}

impl World {
    /// With definitions of these names and resources, begun, nothing held by the keeper.
    fn with(definitions: &[(&'static str, &str)]) -> Self {
        Self::recalling(definitions, Vec::new(), Holdings::new())
    }

    fn recalling(definitions: &[(&'static str, &str)], records: Vec<Record>, holdings: Holdings) -> Self {
        Self::following(Manager::new(records), definitions, holdings)
    }

    fn following(manager: Manager, definitions: &[(&'static str, &str)], holdings: Holdings) -> Self {
        let mut world = Self {
            manager,
            clock: some_clock(),
            bad: Vec::new(),
            is_deaf: false,
            told: Vec::new(),
            ended: Vec::new(),
            records: Vec::new(),
            next_pid: 100,
        };
        for (name, resources) in definitions {
            world.file(name, resources);
        }
        world.give(Input::FilesRead);
        world.give(Input::Configured { definitions: BTreeMap::new(), settings: Settings::default() });
        world.give(Input::KeeperConnected { holdings });
        world
    }

    fn file(&mut self, name: &str, resources: &str) {
        let text = xml::tests::sample(name, &format!("<resources>{resources}</resources>"));
        let read = Some(Ok(Arc::new(xml::parse(&text).unwrap())));
        self.give(Input::Files(vec![(format!("{name}-process.xml"), read)]));
    }

    fn give(&mut self, input: Input) {
        let mut todo: VecDeque<Input> = [input].into();
        while let Some(input) = todo.pop_front() {
            for action in self.manager.handle(input, self.clock) {
                self.obey(action, &mut todo);
            }
        }
    }

    fn obey(&mut self, action: Action, todo: &mut VecDeque<Input>) {
        match action {
            Action::Run { .. } if self.is_deaf => {}
            Action::Run { name, job: Job::Main, .. } => {
                self.next_pid += 1;
                todo.push_back(Input::Seen { name, job: Job::Main, seen: Seen::Running { pid: self.next_pid } });
            }
            Action::Run { name, job: Job::Test, .. } => {
                let seen = ended(!self.bad.contains(&name.as_str()));
                todo.push_back(Input::Seen { name, job: Job::Test, seen });
            }
            Action::Run { name, job: Job::Stop, .. } => {
                todo.push_back(Input::Seen { name: name.clone(), job: Job::Main, seen: ended(true) });
                todo.push_back(Input::Seen { name, job: Job::Stop, seen: ended(true) });
            }
            Action::Finish { name, job, .. } => {
                self.ended.push(format!("{name} {job:?}"));
                todo.push_back(Input::Finished { name, job, output: Said::errors(["said".to_owned()]) });
            }
            Action::Save(record) => self.records.push(record),
            Action::Changed(change) => self.told.push(format!("{} {}", change.name, change.to.wire())),
            Action::Alarm(alarm) => {
                self.told.push(format!(
                    "{} {} {}",
                    alarm.process,
                    alarm.alarm,
                    if alarm.is_raised { "!" } else { "-" }
                ));
            }
            Action::Terminate { .. } | Action::CheckPidFile { .. } => {}
        }
    }

    fn call(&mut self, verb: Verb, names: &[&str]) {
        let names = names.iter().map(|text| name(text)).collect();
        self.give(Input::Call { verb, names, by: "ann".into() });
    }

    fn start(&mut self, names: &[&str]) {
        for each in names {
            self.give(Input::SetVersion { name: name(each), version: "1".into() });
        }
        self.call(Verb::Start, names);
    }

    fn state(&self, process: &str) -> StateName {
        self.manager.processes()[&name(process)].machine.state().name()
    }

    fn why(&self, process: &str) -> String {
        self.manager.why(&self.manager.processes()[&name(process)], self.clock).text
    }
}

#[test]
fn processes_start_in_the_order_of_their_needs_whatever_the_order_of_the_order() {
    let mut world = World::with(&[
        ("top", "<process>middle</process>"),
        ("middle", "<process>base</process>"),
        ("base", ""),
        ("alone", ""),
    ]);
    world.start(&["top", "middle"]);
    assert_eq!(world.why("top"), "it waits for process 'middle' (it is in state Resource Required)");
    let middle = &world.manager.processes()[&name("middle")];
    assert_eq!(world.manager.why(middle, world.clock).remedy.as_deref(), Some("process start base"));
    world.start(&["base"]);
    let running: Vec<&str> = world.told.iter().filter_map(|line| line.strip_suffix(" Running")).collect();
    assert_eq!(running, ["base", "middle", "top"]);
    assert_eq!(world.state("alone"), StateName::Disabled);
}

#[test]
fn a_dependency_that_stops_stops_nobody() {
    let mut world = World::with(&[("top", "<process>base</process>"), ("base", "")]);
    world.start(&["base", "top"]);
    world.call(Verb::Stop, &["base"]);
    assert_eq!([world.state("base"), world.state("top")], [StateName::Disabled, StateName::Running]);
    world.call(Verb::Restart, &["top"]);
    assert_eq!(world.state("top"), StateName::ResourceRequired);
}

#[test]
fn what_is_wanted_comes_back_and_what_is_not_does_not() {
    let mut world = World::with(&[("on", ""), ("off", "")]);
    world.start(&["on", "off"]);
    world.call(Verb::Stop, &["off"]);
    let records = world.manager.records();
    assert_eq!(Manager::new(world.records.clone()).records(), records, "the journal says the same");
    let again = World::recalling(&[("on", ""), ("off", "")], records, Holdings::new());
    assert_eq!([again.state("on"), again.state("off")], [StateName::Running, StateName::Disabled]);
}

#[test]
fn who_has_stopped_it_is_known_after_a_restart_too() {
    let mut world = World::with(&[("app", "")]);
    assert_eq!(world.why("app"), "it was never started");
    world.start(&["app"]);
    world.call(Verb::Stop, &["app"]);
    let said = "it was stopped by ann at 2027-01-15T08:00:00Z";
    assert_eq!(world.why("app"), said);
    let again = World::recalling(&[("app", "")], world.manager.records(), Holdings::new());
    assert_eq!(again.why("app"), said);
}

#[test]
fn journals_of_before_are_read() {
    let line = r#"{"desired":{"process":"app","enabled":true}}"#;
    assert_eq!(
        serde_json::from_str::<Record>(line).unwrap(),
        Record::Desired { process: name("app"), wish: wish(true) }
    );
}

#[test]
fn a_look_again_is_no_order() {
    let mut world = World::with(&[("app", ""), ("other", "")]);
    world.bad.push("app");
    world.start(&["app", "other"]);
    world.bad.clear();
    world.call(Verb::Resync, &["app", "other"]);
    assert_eq!([world.state("app"), world.state("other")], [StateName::Running; 2]);
    assert_eq!(world.told.iter().filter(|line| *line == "other Running").count(), 1, "what runs is left alone");
    assert_eq!(world.manager.processes()[&name("app")].ordered.as_ref().unwrap().verb, Verb::Start);
}

#[test]
fn what_runs_by_a_definition_that_is_broken_now_runs_on_until_that_is_mended_or_gone() {
    let broken = |file: &str| (file.to_owned(), Some(Err(Problem { line: Some(3), reason: "no".into() })));
    let after_a_restart = || {
        let mut manager = Manager::new([Record::Desired { process: name("app"), wish: wish(true) }]);
        manager.handle(Input::Files(vec![broken("app-process.xml")]), some_clock());
        let held = ["app", "gone"].map(|it| ((name(it), Job::Main), Seen::Running { pid: 7 }));
        World::following(manager, &[], held.into())
    };
    let mut world = after_a_restart();
    assert_eq!(world.ended, ["gone Main"]);
    world.file("app", "");
    assert_eq!((world.state("app"), world.told.last().unwrap().as_str()), (StateName::Running, "app Running"));
    assert_eq!((world.manager.processes()[&name("app")].pid(), world.ended.len()), (Some(7), 1), "the one that ran");

    let mut world = after_a_restart();
    world.give(Input::Seen { name: name("app"), job: Job::Main, seen: ended(false) });
    world.give(Input::SetVersion { name: name("app"), version: "1".into() });
    world.file("app", "");
    assert_eq!(world.state("app"), StateName::Failed, "what came of it meanwhile is known");

    let mut world = after_a_restart();
    world.give(Input::Files(vec![("app-process.xml".into(), None)]));
    assert_eq!(world.ended, ["gone Main", "app Main"]);
}

#[test]
fn a_folder_that_cannot_be_listed_is_a_problem_and_changes_nothing() {
    let mut world = World::with(&[("app", "")]);
    world.start(&["app"]);
    world.give(Input::Folder(Err("Permission denied".into())));
    world.file("other", "");
    assert_eq!(world.manager.problems()["process.d"].reason, "it cannot be listed: Permission denied");
    assert_eq!(world.state("app"), StateName::Running);
    world.give(Input::Folder(Ok(())));
    assert!(world.manager.problems().is_empty());
}

#[test]
fn every_wait_says_how_long_it_may_last() {
    let mut world = World::with(&[("app", "")]);
    world.is_deaf = true;
    world.start(&["app"]);
    assert_eq!(world.why("app"), "its configuration is being tested; in 60 s the test is killed");
    world.give(Input::Seen { name: name("app"), job: Job::Test, seen: ended(true) });
    assert_eq!(world.why("app"), "it is being started; in 60 s that has failed");
    world.give(Input::Seen { name: name("app"), job: Job::Main, seen: Seen::Running { pid: 5 } });
    world.call(Verb::Stop, &["app"]);
    assert_eq!(world.why("app"), "the stop command and the process are yet to end; in 120 s SIGTERM follows");
    world.clock.now += Duration::from_secs(120);
    world.give(Input::Tick);
    assert_eq!(world.why("app"), "the process is yet to end; in 10 s what is left is killed");
}

#[test]
fn what_a_failed_start_has_printed_is_a_status_message() {
    let mut world = World::with(&[("app", "")]);
    world.start(&["app"]);
    world.give(Input::Seen { name: name("app"), job: Job::Main, seen: ended(false) });
    assert_eq!(world.manager.processes()[&name("app")].messages, ["stderr.msg-1: no luck"]);
}

#[test]
fn what_the_keeper_holds_is_adopted_or_ended() {
    let records = vec![Record::Desired { process: name("on"), wish: wish(true) }];
    let held = [("on", 7), ("off", 8), ("unknown", 9)]
        .map(|(process, pid)| ((name(process), Job::Main), Seen::Running { pid }))
        .into();
    let world = World::recalling(&[("on", ""), ("off", "")], records, held);
    assert_eq!(world.told, ["off Stopping", "on Running", "off Disabled"]);
    assert_eq!(world.manager.processes()[&name("on")].pid(), Some(7));
}

#[test]
fn a_missing_resource_is_an_alarm_after_a_minute_and_a_mismatch_at_once() {
    let mut world = World::with(&[("app", "<file>/etc/app</file><imdb>table</imdb>")]);
    world.call(Verb::Start, &["app"]);
    world.give(Input::SetVersion { name: name("app"), version: "1".into() });
    assert_eq!(world.manager.deadline(), Some(world.clock.now + Duration::from_secs(60)));
    world.clock.now += Duration::from_secs(60);
    world.give(Input::Tick);
    world.give(Input::Imdb { table: "table".into(), is_registered: true });
    let watch = super::resource::Watch::File("/etc/app".into());
    world.give(Input::Available { watch, is_there: true });
    insta::assert_snapshot!(world.told.join("\n"), @"
    app ConfigurationMismatch
    app PROCESS_CONFIG_MISMATCH !
    app ResourceRequired
    app PROCESS_CONFIG_MISMATCH -
    app PROCESS_RESOURCE_REQUIRED !
    app PROCESS_RESOURCE_REQUIRED !
    app Testing
    app PROCESS_RESOURCE_REQUIRED -
    app Starting
    app Running
    ");
}

#[test]
fn failures_in_a_row_are_one_alarm_until_it_runs_for_long_enough() {
    let mut world = World::with(&[("app", "")]);
    world.start(&["app"]);
    for _ in 0..4 {
        world.give(Input::Seen { name: name("app"), job: Job::Main, seen: ended(false) });
        world.clock.now = world.manager.deadline().unwrap();
        world.give(Input::Tick);
    }
    assert_eq!(world.state("app"), StateName::Running);
    world.clock.now = world.manager.deadline().unwrap();
    world.give(Input::Tick);
    let of =
        |alarm: AlarmId| world.told.iter().filter(|line| line.contains(alarm.as_str())).cloned().collect::<Vec<_>>();
    assert_eq!(of(AlarmId::Failed), ["app PROCESS_FAILED !", "app PROCESS_FAILED -"]);
}

#[test]
fn alarms_of_a_former_agent_stay_where_they_hold_and_are_cleared_where_they_do_not() {
    let wanted = |process: &str| Record::Desired { process: name(process), wish: wish(true) };
    let records = ["mismatched", "failing"].map(wanted);
    let standing = [
        ("mismatched", AlarmId::ConfigMismatch),
        ("failing", AlarmId::Failed),
        ("mended", AlarmId::ConfigtestFailed),
        ("gone", AlarmId::ResourceRequired),
    ];
    let standing = standing.map(|(process, alarm)| (name(process), alarm, "as it was".to_owned()));
    let manager = Manager::new(records).with_standing_alarms(standing);
    let held = [((name("failing"), Job::Main), Seen::Running { pid: 7 })].into();
    let mut world = World::following(manager, &[("mismatched", ""), ("failing", ""), ("mended", "")], held);
    let of = |world: &World, sign: &str| -> Vec<String> {
        world.told.iter().filter(|line| line.contains("PROCESS_") && line.ends_with(sign)).cloned().collect()
    };
    assert_eq!(of(&world, "-"), ["gone PROCESS_RESOURCE_REQUIRED -", "mended PROCESS_CONFIGTEST_FAILED -"]);
    assert_eq!(of(&world, "!"), ["mismatched PROCESS_CONFIG_MISMATCH !"], "with the versions that differ now");
    world.clock.now = world.manager.deadline().unwrap();
    world.give(Input::Tick);
    assert_eq!(of(&world, "-").last().unwrap(), "failing PROCESS_FAILED -", "when it has run for long enough");
}

#[test]
fn a_test_that_was_asked_for_is_shown_and_changes_nothing() {
    let mut world = World::with(&[("app", "")]);
    let trial = Trial { at: world.clock.at, code: Some(3), output: Said::errors(["bad".to_owned()]) };
    world.give(Input::Tried { name: name("app"), trial });
    assert!(world.told.is_empty());
    let shown = |world: &World, leaf: &str| -> Vec<String> {
        let state = view::state(&world.manager, None, world.clock);
        let process = state.child("process").unwrap();
        process.children_named(leaf).filter_map(|leaf| leaf.text.clone()).collect()
    };
    assert_eq!(shown(&world, "trial-output"), ["bad"]);
    assert_eq!(shown(&world, "trial-message"), ["stderr.msg-1: bad", "return.code: 3"]);
    world.manager.forget_trial(&name("app"));
    assert_eq!(shown(&world, "trial-message"), [""; 0], "while another one is under way");
}

#[test]
fn a_newcomer_never_puts_out_what_is_in_force() {
    let mut world = World::with(&[("app", "<file required='false' configAccess='no-access'>/etc/x</file>")]);
    world.start(&["app"]);
    world.file("aaa", "<file>/etc/x</file>");
    assert!(world.manager.problems()["aaa-process.xml"].reason.contains("no-access"));
    world.file("ring", "<process>app</process>");
    world.file("app", "<process>ring</process>");
    assert_eq!(world.state("app"), StateName::Running, "it runs on by the definition that it was started by");
    assert!(world.manager.problems().contains_key("ring-process.xml"));
    world.give(Input::Files(vec![("ring-process.xml".into(), None)]));
    assert!(world.manager.problems().is_empty(), "{:?}", world.manager.problems());
}

#[test]
fn a_failed_test_is_shown_with_its_words_and_all_fits_the_module() {
    let mut world = World::with(&[("app", ""), ("needs", "<file>/etc/none</file><sqldb><dbname>d</dbname></sqldb>")]);
    world.bad.push("app");
    world.start(&["app", "needs"]);
    assert_eq!(world.why("app"), "its configuration test failed: said");
    let broken = super::manager::Problem { line: Some(3), reason: "no".into() };
    world.give(Input::Files(vec![("broken-process.xml".into(), Some(Err(broken)))]));
    let module = ModuleSpec { name: "procyon-process".to_owned(), revision: None, features: Vec::new() };
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yang");
    let schema = Schema::load(&[folder], &[module]).unwrap();
    let state = view::state(&world.manager, None, world.clock);
    let tree = Tree::from_elements(schema, &[state]);
    assert!(tree.is_ok(), "{:?}", tree.err());
}

#[test]
fn only_what_a_filter_asks_for_is_made() {
    use crate::northbound::filter::{Content, Selection};
    let world = World::with(&[("app", ""), ("other", "")]);
    let node = |name: &str, content: Content| Selection {
        namespace: None,
        name: name.to_owned(),
        attributes: Vec::new(),
        content,
    };
    let named = |name: &str| {
        let leaves = vec![node("name", Content::Match(name.to_owned())), node("state", Content::Selected)];
        node("process", Content::Within(leaves))
    };
    let shown = |selections: Vec<Selection>| {
        view::state(&world.manager, Some(&node("processes-state", Content::Within(selections))), world.clock)
    };
    let one = shown(vec![named("app")]);
    assert_eq!(one.children.len(), 1);
    assert!(one.children[0].child("definition").is_none() && one.children[0].child("state").is_some());
    assert_eq!(shown(vec![named("app"), named("other")]).children.len(), 2);
    assert_eq!(shown(vec![named("app"), node("process", Content::Selected)]).children.len(), 2);
    assert!(shown(vec![node("registered-table", Content::Selected)]).children.is_empty());
}
