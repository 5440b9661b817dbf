//! Policy maps as scenarios: seconds and what happens on the left, who acts on the right.

use super::*;
use crate::eem::config::read;
use crate::eem::config::tests::{log, policy, tree, trigger};
use crate::yang::value::Element;

struct Bench {
    correlator: Correlator,
    start: Instant,
}

const START_MS: u64 = 1_700_000_000_000;

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "any instant will do to count from")]
    fn new(triggers: Vec<Element>, policies: Vec<Element>) -> Self {
        let mut bench = Self { correlator: Correlator::default(), start: Instant::now() };
        bench.configure(triggers, policies, 0);
        bench
    }

    fn configure(&mut self, triggers: Vec<Element>, policies: Vec<Element>, second: u64) {
        let mut root = tree(triggers, policies);
        let tracks = Element::node(
            "tracks",
            vec![Element::node("track", vec![Element::leaf("name", "poller"), Element::leaf("app", "poll")])],
        );
        root.children[0].children.push(tracks);
        let (config, refusals) = read(Some(&root));
        assert_eq!(refusals, []);
        let moment = self.at(second);
        self.correlator.configure(config, moment);
    }

    fn at(&self, second: u64) -> Moment {
        Moment { now: self.start + Duration::from_secs(second), unix_ms: START_MS + second * 1000 }
    }

    fn log(&mut self, second: u64, line: &str) -> Vec<String> {
        self.happen(second, &Happening::Log { severity: 3, line: line.to_owned() })
    }

    fn app(&mut self, second: u64, status: &str) -> Vec<String> {
        self.happen(second, &Happening::App { name: "poll".to_owned(), status: status.to_owned() })
    }

    fn happen(&mut self, second: u64, happening: &Happening) -> Vec<String> {
        let moment = self.at(second);
        self.correlator.happen(happening, moment).into_iter().map(|firing| firing.policy).collect()
    }

    fn due(&mut self, second: u64) -> Vec<String> {
        let moment = self.at(second);
        self.correlator.due(moment).into_iter().map(|firing| firing.policy).collect()
    }
}

fn leaf(name: &'static str, text: &str) -> Element {
    Element::leaf(name, text)
}

const NOBODY: [&str; 0] = [];

#[test]
fn a_line_that_matches_makes_its_policy_act() {
    let mut bench =
        Bench::new(vec![trigger("cpu", log("CPU .*high"), vec![])], vec![policy("p", leaf("event", "cpu"), vec![])]);
    assert_eq!(bench.log(1, "CPU is very high"), ["p"]);
    assert_eq!(bench.log(1, "all is well"), NOBODY);
    assert_eq!(bench.correlator.trigger("cpu").counted, 1);
    assert_eq!(bench.correlator.policy("p", bench.at(1)).acted, 1);
}

#[test]
fn it_must_happen_so_often_within_the_period() {
    let more = vec![leaf("occurrence", "3"), Element::node("period", vec![leaf("seconds", "10")])];
    let mut bench = Bench::new(vec![trigger("e", log("x"), more)], vec![policy("p", leaf("event", "e"), vec![])]);
    assert_eq!([bench.log(0, "x"), bench.log(5, "x")], [NOBODY; 2]);
    assert_eq!(bench.log(12, "x"), NOBODY, "the first is too long ago");
    assert_eq!(bench.log(13, "x"), ["p"]);
    assert_eq!([bench.log(14, "x"), bench.log(14, "x")], [NOBODY; 2], "counting began anew");
    assert_eq!(bench.log(14, "x"), ["p"]);
}

#[test]
fn a_rate_limit_keeps_it_quiet() {
    let more = vec![Element::node("rate-limit", vec![leaf("seconds", "10")])];
    let mut bench = Bench::new(vec![trigger("e", log("x"), more)], vec![policy("p", leaf("event", "e"), vec![])]);
    assert_eq!(bench.log(0, "x"), ["p"]);
    assert_eq!(bench.log(9, "x"), NOBODY);
    assert_eq!(bench.log(10, "x"), ["p"]);
}

#[test]
fn several_events_must_come_together() {
    let triggers = ["a", "b", "c"].map(|name| trigger(name, log(name), vec![])).to_vec();
    let policies = vec![policy("p", leaf("multi-event", "\"a AND (b OR c)\""), vec![leaf("period", "30")])];
    let mut bench = Bench::new(triggers, policies);
    assert_eq!(bench.log(0, "a"), NOBODY);
    assert_eq!(bench.log(31, "c"), NOBODY, "a is too long ago");
    assert_eq!(bench.log(40, "a"), ["p"]);
    assert_eq!(bench.log(41, "b"), NOBODY, "what it acted on is spent");
}

#[test]
fn a_policy_may_want_its_events_several_times() {
    let policies = vec![policy("p", leaf("event", "e"), vec![leaf("occurrence", "2"), leaf("period", "5")])];
    let mut bench = Bench::new(vec![trigger("e", log("x"), vec![])], policies);
    assert_eq!(bench.log(0, "x"), NOBODY);
    assert_eq!(bench.log(6, "x"), NOBODY);
    assert_eq!(bench.log(7, "x"), ["p"]);
}

#[test]
fn timers_come_round() {
    let watchdog = Element::node("timer", vec![Element::node("watchdog", vec![leaf("value", "10")])]);
    let cron = Element::node("timer", vec![Element::node("cron", vec![leaf("cron-entry", "* * * * *")])]);
    let triggers = vec![trigger("dog", watchdog.clone(), vec![]), trigger("cron", cron, vec![])];
    let policies = vec![policy("d", leaf("event", "dog"), vec![]), policy("m", leaf("event", "cron"), vec![])];
    let mut bench = Bench::new(triggers, policies.clone());
    assert_eq!(bench.correlator.wait(bench.at(0)), Some(Duration::from_secs(10)));
    assert_eq!(bench.due(9), NOBODY);
    assert_eq!(bench.due(10), ["d"]);
    assert_eq!(bench.due(19), NOBODY);
    // 1700000000 is 20 s past a full minute.
    assert_eq!(bench.due(40), ["m", "d"]);
    assert_eq!(bench.correlator.wait(bench.at(45)), Some(Duration::from_secs(5)));
    bench.configure(vec![trigger("dog", watchdog, vec![])], policies, 48);
    assert_eq!(bench.correlator.wait(bench.at(48)), Some(Duration::from_secs(2)), "an unchanged timer goes on");
}

#[test]
fn after_a_boot_those_act_that_wait_for_it() {
    let reboot = Element::node("timer", vec![Element::node("cron", vec![leaf("cron-entry", "@reboot")])]);
    let mut bench = Bench::new(vec![trigger("boot", reboot, vec![])], vec![policy("p", leaf("event", "boot"), vec![])]);
    assert_eq!(bench.correlator.wait(bench.at(0)), None);
    let moment = bench.at(1);
    let firings = bench.correlator.booted(moment);
    assert_eq!(firings.len(), 1);
    // Scripts know two types of timers, and this one was written as a calendar entry.
    assert!(firings[0].facts.own.contains(&("timer_type", "cron".to_owned())));
}

#[test]
fn what_has_come_and_waits_for_the_rest_is_told_until_it_is_forgotten() {
    let triggers = ["a", "b"].map(|name| trigger(name, log(name), vec![])).to_vec();
    let policies =
        vec![policy("p", leaf("multi-event", "\"a AND b\""), vec![leaf("occurrence", "2"), leaf("period", "30")])];
    let mut bench = Bench::new(triggers, policies);
    bench.log(0, "a");
    let standing = |bench: &Bench, second| bench.correlator.policy("p", bench.at(second));
    assert_eq!(standing(&bench, 10).heard, BTreeMap::from([("a".to_owned(), Some(Duration::from_secs(20)))]));
    assert_eq!(standing(&bench, 31).heard, BTreeMap::new());
    bench.log(20, "b");
    let both = standing(&bench, 25);
    assert_eq!((both.acted, both.together, both.forgets_in), (0, 1, Some(Duration::from_secs(25))));
    assert_eq!(both.heard, BTreeMap::new(), "what came together is spent");
    assert_eq!(standing(&bench, 51).together, 0);
}

#[test]
fn what_follows_an_app_goes_up_and_down_with_it() {
    let status = Element::node("status", vec![Element::node("any", vec![])]);
    let track = Element::node("track", vec![leaf("name", "poller"), status]);
    let failed = Element::node("app", vec![leaf("status", "exit-failure")]);
    let triggers = vec![trigger("t", track, vec![]), trigger("f", failed, vec![])];
    let policies = vec![policy("edge", leaf("event", "t"), vec![]), policy("failed", leaf("event", "f"), vec![])];
    let mut bench = Bench::new(triggers, policies);
    assert_eq!(bench.app(0, "start-requested"), NOBODY);
    assert_eq!(bench.app(1, "started"), ["edge"]);
    assert_eq!(bench.app(2, "started"), NOBODY);
    assert_eq!(bench.app(3, "exit-failure"), ["edge", "failed"]);
}

#[test]
fn notifications_and_files_are_told_apart() {
    let notification = Element::node("notification", vec![leaf("name", "m:n"), leaf("pattern", "<id>7<")]);
    let file = Element::node("file", vec![leaf("path", "/tmp/x")]);
    let triggers = vec![trigger("n", notification, vec![]), trigger("f", file, vec![])];
    let policies = vec![policy("told", leaf("event", "n"), vec![]), policy("file", leaf("event", "f"), vec![])];
    let mut bench = Bench::new(triggers, policies);
    let tell = |name: &str, xml: &str| Happening::Notification { name: name.to_owned(), xml: xml.to_owned() };
    assert_eq!(bench.happen(0, &tell("m:n", "<n><id>7</id></n>")), ["told"]);
    assert_eq!(bench.happen(0, &tell("m:n", "<n><id>8</id></n>")), NOBODY);
    assert_eq!(bench.happen(0, &tell("m:other", "<id>7<")), NOBODY);
    assert_eq!(bench.happen(0, &Happening::File { path: "/tmp/x".to_owned() }), ["file"]);
}

#[test]
fn alarms_are_told_apart_by_type_resource_and_severity() {
    let alarm = |of: &[(&'static str, &str)]| {
        Element::node("alarm", of.iter().map(|(name, value)| leaf(name, value)).collect())
    };
    let triggers = vec![
        trigger("failed", alarm(&[("alarm-type", "PROCESS_FAILED"), ("severity", "critical")]), vec![]),
        trigger("poller", alarm(&[("resource", "/p:poller")]), vec![]),
        trigger("over", alarm(&[("severity", "cleared")]), vec![]),
    ];
    let names = ["failed", "poller", "over"];
    let policies = names.map(|name| policy(name, leaf("event", name), vec![])).to_vec();
    let mut bench = Bench::new(triggers, policies);
    let mut alarm = |second: u64, resource: &str, severity: &str| {
        let xml = format!(
            "<alarm-notification xmlns='urn:a'><resource>{resource}</resource><alarm-type-id>x:PROCESS_FAILED</alarm-type-id>\
             <perceived-severity>{severity}</perceived-severity><alarm-text>it ended</alarm-text></alarm-notification>"
        );
        let name = "ietf-alarms:alarm-notification".to_owned();
        bench.happen(second, &Happening::Notification { name, xml })
    };
    assert_eq!(alarm(0, "/p:poller", "critical"), ["failed", "poller"]);
    assert_eq!(alarm(1, "/p:other", "warning"), NOBODY);
    assert_eq!(alarm(2, "/p:other", "cleared"), ["over"]);
}

#[test]
fn a_script_learns_what_happened() {
    let mut bench = Bench::new(
        vec![trigger("e", log("x"), vec![leaf("occurrence", "2")])],
        vec![policy("p", leaf("event", "e"), vec![])],
    );
    bench.log(0, "x");
    let moment = bench.at(1);
    let line = Happening::Log { severity: 3, line: "x \"y\"".to_owned() };
    let firing = bench.correlator.happen(&line, moment).remove(0);
    assert_eq!(firing.actions, ["act"]);
    insta::assert_snapshot!(firing.facts.json("p", "act"), @r#"{"action_name":"act","event_id":1,"event_name":"e","event_pub_msec":0,"event_pub_sec":1700000001,"event_severity":3,"event_type":1,"event_type_string":"syslog","msg":"x \"y\"","msg_count":2,"policy_map_name":"p","priority":3}"#);
}
