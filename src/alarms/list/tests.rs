//! Stories of alarms: raised, cleared, put aside, handled, forgotten, and written down.

use super::*;
use crate::yang::value::Element;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn key(resource: &str, alarm_type: AlarmType) -> Key {
    Key::new(resource, alarm_type)
}

fn report(resource: &str, alarm_type: AlarmType, is_raised: bool) -> Report {
    Report { key: key(resource, alarm_type), is_raised, text: format!("{is_raised}"), severity: None }
}

fn shelves(rules: &[(&str, &str)]) -> Control {
    let read = |(name, rule): &(&str, &str)| {
        let leaves = vec![Element::leaf("name", name), Element::leaf("resource", rule)];
        Shelf::read(&Element::node("shelf", leaves)).unwrap()
    };
    Control { shelves: rules.iter().map(read).collect(), ..Control::default() }
}

fn listed(alarms: &Alarms, side: Side) -> Vec<&str> {
    alarms.on(side).map(|(key, _)| key.resource.as_str()).collect()
}

const FAILED: AlarmType = AlarmType::ProcessFailed;

#[test]
fn an_alarm_is_one_entry_however_often_it_comes_and_goes() {
    let mut alarms = Alarms::default();
    assert!(alarms.report(report("a", FAILED, false), at(0)).is_none(), "what is not there is not cleared");
    for second in 1..4 {
        assert!(alarms.report(report("a", FAILED, true), at(second)).is_some());
        assert!(alarms.report(report("a", FAILED, true), at(second)).is_none(), "said already");
        assert!(alarms.report(report("a", FAILED, false), at(second)).is_some());
    }
    let (_, alarm) = alarms.on(Side::Listed).next().unwrap();
    assert_eq!((alarms.on(Side::Listed).count(), alarm.is_cleared(), alarm.changes.len()), (1, true, 6));
    assert_eq!((alarm.created, alarm.severity), (at(1), Severity::Critical));
    let times: Vec<Timestamp> = alarm.changes.iter().map(|change| change.at).collect();
    assert!(times.is_sorted_by(|later, earlier| later > earlier), "times tell changes apart");
}

#[test]
fn only_what_is_asked_for_is_told() {
    let told = |notify, reports: &[(AlarmType, bool, &str)]| {
        let mut alarms = Alarms::default();
        alarms.set_control(Control { changes_max: 2, notify, ..Control::default() }, at(0));
        let reports = reports.iter().enumerate();
        let told = reports.filter(|(second, (alarm_type, is_raised, text))| {
            let second = i64::try_from(*second).unwrap();
            let report =
                Report { key: key("a", *alarm_type), is_raised: *is_raised, text: (*text).into(), severity: None };
            alarms.report(report, at(second)).is_some()
        });
        told.count()
    };
    let story =
        [(FAILED, true, "x"), (FAILED, true, "y"), (FAILED, false, "z"), (AlarmType::ProcessRestarted, true, "x")];
    assert_eq!(told(Notify::All, &story), 4);
    assert_eq!(told(Notify::RaiseAndClear, &story), 3);
    assert_eq!(told(Notify::From(Severity::Major), &story), 3);
}

#[test]
fn an_alarm_has_the_severity_that_is_assigned_to_it_from_then_on() {
    let mut alarms = Alarms::default();
    for resource in ["a", "b"] {
        alarms.report(report(resource, FAILED, true), at(0));
    }
    let profiles = |resource: &str, level: &str| {
        let leaves = vec![
            Element::leaf("alarm-type-id", FAILED.identity()),
            Element::leaf("resource", resource),
            Element::node("alarm-severity-assignment-profile", vec![Element::leaf("severity-level", level)]),
        ];
        let profile = Profile::read(&Element::node("alarm-profile", leaves)).unwrap();
        Control { profiles: profile.into_iter().collect(), ..Control::default() }
    };
    let told = alarms.set_control(profiles("b|c", "minor"), at(1));
    assert_eq!(
        told.iter().map(|(key, change)| (key.resource.as_str(), change.severity)).collect::<Vec<_>>(),
        [("b", Some(Severity::Minor))]
    );
    assert_eq!(alarms.report(report("c", FAILED, true), at(2)).unwrap().severity, Some(Severity::Minor));
    assert!(alarms.report(report("c", FAILED, true), at(3)).is_none(), "said already");
    let now = |alarms: &Alarms| alarms.on(Side::Listed).map(|(_, alarm)| alarm.severity).collect::<Vec<_>>();
    assert_eq!(now(&alarms), [Severity::Critical, Severity::Minor, Severity::Minor]);
    assert_eq!(alarms.severities_of(FAILED).into_iter().collect::<Vec<_>>(), [Severity::Minor, Severity::Critical]);
    assert_eq!(alarms.set_control(Control::default(), at(4)).len(), 2, "and the device's own again");
    assert_eq!(now(&alarms), [Severity::Critical; 3]);
}

#[test]
fn what_another_program_reports_has_its_own_name_and_severity() {
    let mut alarms = Alarms::default();
    let report = |name: &str, severity| {
        let key = Key { qualifier: name.to_owned(), ..key("host a", AlarmType::Reported) };
        Report { key, is_raised: true, text: "x".to_owned(), severity }
    };
    assert_eq!(alarms.report(report("FAN", Some(Severity::Major)), at(0)).unwrap().severity, Some(Severity::Major));
    assert_eq!(alarms.report(report("DOOR", None), at(0)).unwrap().severity, Some(Severity::Warning));
    assert_eq!(alarms.qualifiers().into_iter().collect::<Vec<_>>(), ["DOOR", "FAN"]);
    let again = Alarms::recalled(alarms.take_news());
    let severities = |alarms: &Alarms| alarms.on(Side::Listed).map(|(_, alarm)| alarm.severity).collect::<Vec<_>>();
    assert_eq!(severities(&again), severities(&alarms));
    let mut again = again;
    assert!(again.set_control(Control::default(), at(1)).is_empty(), "and it is known after a restart");
    for number in 0..REPORTED_MAX {
        again.report(report(&number.to_string(), None), at(2));
    }
    assert!(again.has_no_room_for(&report("more", None).key) && !again.has_no_room_for(&report("FAN", None).key));
}

#[test]
fn what_fits_is_purged_or_compressed() {
    let mut alarms = Alarms::default();
    for (resource, alarm_type) in [("a", FAILED), ("b", AlarmType::ProcessRestarted), ("c", FAILED)] {
        alarms.report(report(resource, alarm_type, true), at(0));
    }
    alarms.report(report("c", FAILED, false), at(5));
    assert_eq!(alarms.compress(Side::Listed, |key| key.resource == "c"), 1);
    let (_, compressed) = alarms.on(Side::Listed).find(|(key, _)| key.resource == "c").unwrap();
    assert_eq!((compressed.is_cleared(), compressed.severity), (true, Severity::Critical));
    let purge = |alarms: &mut Alarms, selection: Selection| alarms.purge(&selection, at(10));
    let over = Selection { is_cleared: Some(true), ..Selection::default() };
    let old = Selection { older_than: Some(Duration::from_secs(9)), ..over.clone() };
    assert_eq!(purge(&mut alarms, old), 0, "not that long ago");
    assert_eq!(purge(&mut alarms, over), 1);
    let below = Selection { severity: Some(SeverityRule::Below(Severity::Critical)), ..Selection::default() };
    assert_eq!(purge(&mut alarms, below), 1);
    assert_eq!(listed(&alarms, Side::Listed), ["a"]);
}

#[test]
fn what_an_operator_has_closed_can_be_purged_as_such() {
    let mut alarms = Alarms::default();
    for resource in ["a", "b"] {
        alarms.report(report(resource, FAILED, true), at(0));
    }
    let closed = |operator: &str| Operated {
        at: at(0),
        operator: operator.to_owned(),
        state: OperatorState::Closed,
        text: Some("known".to_owned()),
    };
    assert!(alarms.operate(&key("a", FAILED), closed("ann")).is_some());
    assert_eq!(alarms.operate(&key("x", FAILED), closed("ann")), None, "there is no such alarm");
    let selected = |operator: &str| Selection {
        operator_state: Some(OperatorState::Closed),
        operator: Some(operator.to_owned()),
        ..Selection::default()
    };
    assert_eq!(alarms.purge(&selected("bob"), at(1)), 0);
    assert_eq!(alarms.purge(&selected("ann"), at(1)), 1);
    assert_eq!(listed(&alarms, Side::Listed), ["b"]);
}

#[test]
fn an_alarm_goes_onto_the_first_shelf_that_takes_it_and_comes_back() {
    let mut alarms = Alarms::default();
    alarms.report(report("process a", FAILED, true), at(0));
    alarms.set_control(shelves(&[("first", "process a"), ("second", "process .*")]), at(1));
    assert!(alarms.report(report("process b", FAILED, true), at(2)).is_none(), "what is shelved is not told");
    assert!(alarms.report(report("process a", FAILED, false), at(3)).is_none());
    let on: Vec<_> = alarms.on(Side::Shelved).map(|(_, alarm)| alarm.shelf.clone().unwrap()).collect();
    assert_eq!((on, alarms.on(Side::Listed).count()), (vec!["first".to_owned(), "second".to_owned()], 0));
    assert!(alarms.on(Side::Shelved).all(|(_, alarm)| alarm.operated[0].state == OperatorState::Shelved));
    alarms.set_control(Control::default(), at(4));
    assert_eq!(listed(&alarms, Side::Listed), ["process a", "process b"]);
    assert!(alarms.on(Side::Listed).all(|(_, alarm)| alarm.operated[0].state == OperatorState::UnShelved));
    assert!(alarms.report(report("process b", FAILED, false), at(5)).is_some(), "and is told again");
}

#[test]
fn what_was_written_down_makes_the_same_list() {
    let mut alarms = Alarms::default();
    let mut lines = Vec::new();
    let mut second = 0;
    let mut step = |alarms: &mut Alarms, act: &dyn Fn(&mut Alarms, Timestamp)| {
        second += 1;
        act(alarms, at(second));
        lines.extend(alarms.take_news().iter().filter_map(Record::line));
    };
    for resource in ["process a", "process b", "process c"] {
        step(&mut alarms, &|alarms, now| drop(alarms.report(report(resource, FAILED, true), now)));
    }
    step(&mut alarms, &|alarms, now| drop(alarms.report(report("process a", FAILED, false), now)));
    step(&mut alarms, &|alarms, now| drop(alarms.set_control(shelves(&[("s", "process b")]), now)));
    step(&mut alarms, &|alarms, now| {
        let ack = Operated { at: now, operator: "ann".into(), state: OperatorState::Ack, text: None };
        alarms.operate(&key("process c", FAILED), ack).unwrap();
    });
    step(&mut alarms, &|alarms, _| assert_eq!(alarms.compress(Side::Listed, |_| true), 1));
    let parsed = |lines: &[String]| lines.iter().map(|line| Record::parse(line).unwrap()).collect::<Vec<_>>();
    let recalled = Alarms::recalled(parsed(&lines));
    assert_eq!(recalled.alarms, alarms.alarms);
    let whole: Vec<String> = alarms.records().filter_map(|record| record.line()).collect();
    assert_eq!(Alarms::recalled(parsed(&whole)).alarms, alarms.alarms, "and so does what was written anew");
}

#[test]
fn the_list_is_bounded() {
    let mut alarms = Alarms::default();
    alarms.set_control(Control { changes_max: CHANGES_MAX, ..Control::default() }, at(0));
    for number in 0..100 {
        for second in 0..300 {
            alarms.report(report(&format!("p{number}"), FAILED, second % 2 == 0), at(second));
        }
        assert!(alarms.changes <= CHANGES_OF_ALL_MAX);
    }
    assert_eq!(alarms.on(Side::Listed).count(), 100, "no alarm is lost by the changes of others");
}
