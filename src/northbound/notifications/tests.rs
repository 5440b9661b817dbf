use std::path::PathBuf;
use std::sync::OnceLock;

use futures_util::FutureExt;

use super::base;
use super::*;
use crate::northbound::filter::{Content, Selection};
use crate::northbound::provider::{Change, Edit};
use crate::northbound::{Client, Datastore, SessionEnd};
use crate::yang::schema::ModuleSpec;

/// Each may be told that a caller does not have a right: the name of a notification, or the beginning of a path.
#[derive(Default)]
struct Denied(Vec<(u32, &'static str)>);

const EVERYBODY: &Denied = &Denied(Vec::new());

impl Rights for Denied {
    fn may_hear(&self, caller: &Caller, notification: SchemaNode, _: Option<&str>) -> bool {
        !self.0.contains(&(caller.session.0, notification.name()))
    }

    fn may_read_all(&self, caller: &Caller) -> bool {
        !self.0.iter().any(|(session, _)| caller.session.0 == *session)
    }

    fn may_read(&self, caller: &Caller, path: &str) -> bool {
        !self.0.iter().any(|(session, hidden)| caller.session.0 == *session && path.starts_with(hidden))
    }
}

/// The modules that the agent has its own notifications in.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<&'static Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let module = |name: &str| ModuleSpec { name: name.to_owned(), revision: None, features: Vec::new() };
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yang");
        let names = [
            "ietf-netconf",
            "ietf-netconf-acm",
            "ietf-netconf-notifications",
            "notifications",
            "nc-notifications",
            "procyon-appmgr",
            "procyon-notifications",
        ];
        Schema::load(&[dir], &names.map(module)).unwrap()
    })
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn caller(session: u32) -> Caller {
    let (user, origin) = (format!("user-{session}"), "192.0.2.7:1".to_owned());
    Caller { session: SessionId(session), user, groups: vec![], client: Client::Netconf, origin }
}

fn app(name: &str, status: &str) -> Element {
    let children = vec![Element::leaf("name", name), Element::leaf("status", status), Element::leaf("why", "so")];
    Element::node("app-state-change", children).in_module("procyon-appmgr")
}

fn with_app(name: &str) -> Filter {
    let child = Selection {
        namespace: Some("urn:procyon:appmgr".to_owned()),
        name: "name".to_owned(),
        attributes: vec![],
        content: Content::Match(name.to_owned()),
    };
    let top = Selection { name: "app-state-change".to_owned(), content: Content::Within(vec![child.clone()]), ..child };
    Filter::Subtree(vec![top])
}

fn xpath(expression: &str) -> Filter {
    let namespaces = vec![("p".to_owned(), "urn:procyon:appmgr".to_owned())];
    Filter::XPath { expression: expression.to_owned(), namespaces }
}

struct Bench {
    stream: Stream,
    mailboxes: BTreeMap<u32, Mailbox>,
}

impl Bench {
    fn new() -> Self {
        Self { stream: Stream::new(schema(), EventLog::new(second(0))), mailboxes: BTreeMap::new() }
    }

    fn subscribe(&mut self, session: u32, wish: Wish, now: i64) -> Result<Serial, Refusal> {
        let mailbox = self.mailboxes.entry(session).or_default().clone();
        self.stream.subscribe(&caller(session), wish, mailbox, second(now))
    }

    fn publish(&mut self, element: &Element, at: i64) {
        self.stream.publish(element, second(at), EVERYBODY).unwrap();
    }

    /// Everything that waits for a session: names, or what an app is called.
    fn told(&mut self, session: u32) -> Vec<String> {
        let mailbox = &self.mailboxes[&session];
        let mut told = Vec::new();
        while let Some(notice) = mailbox.next().now_or_never() {
            let body = String::from_utf8_lossy(&notice.body).into_owned();
            let within = |tag: &str| Some(body.split_once(&format!("<{tag}>"))?.1.split_once('<')?.0.to_owned());
            told.push(within("name").or_else(|| within("count")).unwrap_or_else(|| notice.name.clone()));
        }
        told
    }
}

#[test]
fn subscribers_hear_what_they_may_hear_and_want_to() {
    let mut bench = Bench::new();
    bench.subscribe(1, Wish::default(), 1).unwrap();
    bench.subscribe(2, Wish { filter: Some(with_app("b")), ..Wish::default() }, 1).unwrap();
    bench
        .subscribe(3, Wish { filter: Some(xpath("/p:app-state-change[p:status='killed']")), ..Wish::default() }, 1)
        .unwrap();
    bench.subscribe(4, Wish { filter: Some(Filter::Subtree(vec![])), ..Wish::default() }, 1).unwrap();
    bench.subscribe(5, Wish::default(), 1).unwrap();
    let rights = &Denied(vec![(5, "app-state-change")]);
    for (name, status) in [("a", "started"), ("b", "stopped"), ("c", "killed")] {
        bench.stream.publish(&app(name, status), second(2), rights).unwrap();
    }
    bench.stream.publish(&base::session_end(&caller(9), SessionEnd::Dropped), second(3), rights).unwrap();
    assert_eq!(bench.told(1), ["a", "b", "c", "netconf-session-end"]);
    assert_eq!(bench.told(2), ["b"]);
    assert_eq!(bench.told(3), ["c"]);
    assert_eq!(bench.told(4), [] as [&str; 0]);
    assert_eq!(bench.told(5), ["netconf-session-end"]);
}

#[test]
fn a_subscription_that_makes_no_sense_is_refused() {
    let mut bench = Bench::new();
    bench.subscribe(1, Wish::default(), 10).unwrap();
    let wish = |start, stop| Wish { start, stop, ..Wish::default() };
    let bad = |element: &str| Kind::BadElement { element: element.to_owned() };
    let cases = [
        (1, Wish::default(), Kind::InUse),
        (2, wish(Some(second(11)), None), bad("startTime")),
        (2, wish(Some(second(5)), Some(second(5))), bad("stopTime")),
        (2, wish(None, Some(second(50))), Kind::MissingElement { element: "startTime".to_owned() }),
        (2, Wish { stream: Some("SNMP".to_owned()), ..Wish::default() }, Kind::InvalidValue),
        (2, Wish { filter: Some(xpath("/p:app-state-change[")), ..Wish::default() }, Kind::InvalidValue),
    ];
    for (session, wish, kind) in cases {
        let refusal = bench.subscribe(session, wish.clone(), 10).unwrap_err();
        assert_eq!((&refusal.kind, refusal.layer), (&kind, Layer::Protocol), "{wish:?}");
    }
    assert!(bench.subscribe(2, Wish { stream: Some(STREAM.to_owned()), ..Wish::default() }, 10).is_ok());
}

#[test]
fn a_replay_is_told_in_slices_and_what_happens_meanwhile_comes_behind_it() {
    let mut bench = Bench::new();
    let count = i64::try_from(SLICE).unwrap() + 5;
    for at in 1..=count {
        bench.publish(&app(&format!("app-{at}"), "started"), at);
    }
    let serial = bench.subscribe(1, Wish { start: Some(second(3)), ..Wish::default() }, count).unwrap();
    assert_eq!(bench.stream.advance(SessionId(1), serial, second(count), EVERYBODY), Next::Slice);
    bench.publish(&app("meanwhile", "started"), count + 1);
    assert_eq!(bench.told(1).len(), SLICE);
    assert_eq!(bench.stream.advance(SessionId(1), serial, second(count), EVERYBODY), Next::Nothing);
    bench.publish(&app("after", "started"), count + 2);
    let last = format!("app-{count}");
    let rest = bench.told(1);
    assert_eq!(rest[rest.len() - 4..], [last.as_str(), "replayComplete", "meanwhile", "after"]);
    assert_eq!(SLICE + rest.len() - 3, usize::try_from(count).unwrap() - 2);
}

#[test]
fn a_slice_of_large_events_is_short() {
    let mut bench = Bench::new();
    for at in 1..=4 {
        bench.publish(&app(&"n".repeat(SLICE_BYTES), "started"), at);
    }
    let serial = bench.subscribe(1, Wish { start: Some(second(0)), ..Wish::default() }, 5).unwrap();
    let slices = (0..).take_while(|_| bench.stream.advance(SessionId(1), serial, second(5), EVERYBODY) == Next::Slice);
    assert_eq!(slices.count(), 4);
    assert_eq!(bench.told(1).len(), 5);
}

#[test]
fn a_replay_is_filtered_and_judged_by_the_rules_of_today() {
    let mut bench = Bench::new();
    bench.publish(&app("a", "started"), 1);
    bench.publish(&app("b", "started"), 2);
    bench.publish(&base::session_start(&caller(9)), 3);
    let wish = |filter| Wish { start: Some(second(0)), filter, ..Wish::default() };
    let filtered = bench.subscribe(1, wish(Some(with_app("a"))), 5).unwrap();
    let denied = bench.subscribe(2, wish(None), 5).unwrap();
    bench.stream.advance(SessionId(1), filtered, second(5), EVERYBODY);
    bench.stream.advance(SessionId(2), denied, second(5), &Denied(vec![(2, "app-state-change")]));
    assert_eq!(bench.told(1), ["a", "replayComplete"]);
    assert_eq!(bench.told(2), ["netconf-session-start", "replayComplete"]);
}

#[test]
fn edits_of_what_may_not_be_read_are_not_told_and_a_filter_does_not_feel_them() {
    let mut bench = Bench::new();
    let hidden = "/ietf-netconf-acm:nacm/groups/group[name='secret']";
    let filter = Filter::XPath {
        expression: "/n:netconf-config-change[n:edit/n:target[contains(., 'secret')]]".to_owned(),
        namespaces: vec![("n".to_owned(), "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications".to_owned())],
    };
    bench.subscribe(1, Wish::default(), 0).unwrap();
    bench.subscribe(2, Wish::default(), 0).unwrap();
    bench.subscribe(3, Wish { filter: Some(filter.clone()), ..Wish::default() }, 0).unwrap();
    bench.subscribe(4, Wish { filter: Some(filter), ..Wish::default() }, 0).unwrap();
    let delete = |path: &str| Change { path: path.to_owned(), edit: Edit::Delete };
    let changes = [delete("/ietf-netconf-acm:nacm/groups/group[name='known']"), delete(hidden)];
    let event = base::config_change(&caller(9), Datastore::Running, &changes);
    bench.stream.publish(&event, second(1), &Denied(vec![(2, hidden), (4, hidden)])).unwrap();
    let body = |session| {
        let notice = bench.mailboxes[&session].next().now_or_never()?;
        Some(String::from_utf8(notice.body.to_vec()).unwrap())
    };
    let (all, some) = (body(1).unwrap(), body(2).unwrap());
    assert!(all.contains("known") && all.contains("secret"), "{all}");
    assert!(some.contains("known") && !some.contains("secret"), "{some}");
    assert!(body(3).is_some() && body(4).is_none());
}

#[test]
fn a_subscription_ends_at_its_stop_time() {
    let mut bench = Bench::new();
    for at in [1, 2, 9] {
        bench.publish(&app(&format!("at-{at}"), "started"), at);
    }
    let wish = |stop| Wish { start: Some(second(0)), stop: Some(second(stop)), ..Wish::default() };
    let over = bench.subscribe(1, wish(5), 10).unwrap();
    assert_eq!(bench.stream.advance(SessionId(1), over, second(10), EVERYBODY), Next::Over);
    assert_eq!(bench.told(1), ["at-1", "at-2", "replayComplete", "notificationComplete"]);

    let later = bench.subscribe(1, wish(20), 10).unwrap();
    assert_eq!(bench.stream.advance(SessionId(1), over, second(10), EVERYBODY), Next::Nothing, "of one that is gone");
    assert_eq!(bench.stream.advance(SessionId(1), later, second(10), EVERYBODY), Next::Stop(second(20)));
    bench.publish(&app("in-time", "started"), 20);
    bench.publish(&app("too-late", "started"), 21);
    assert_eq!(bench.stream.advance(SessionId(1), later, second(21), EVERYBODY), Next::Over);
    assert_eq!(bench.told(1), ["at-1", "at-2", "at-9", "replayComplete", "in-time", "notificationComplete"]);
    bench.publish(&app("after", "started"), 22);
    assert_eq!(bench.told(1), [] as [&str; 0]);
}

#[test]
fn who_does_not_read_loses_events_and_nobody_else_does() {
    let mut bench = Bench::new();
    bench.subscribe(1, Wish::default(), 0).unwrap();
    bench.subscribe(2, Wish::default(), 0).unwrap();
    let mut heard = 0;
    for at in 0..1500 {
        bench.publish(&app("a", "started"), at);
        heard += bench.told(2).len();
    }
    assert_eq!(heard, 1500);
    let slow = bench.told(1);
    assert_eq!((slow.len(), slow.last().map(String::as_str)), (1001, Some("500")));
    let mailbox = bench.mailboxes[&1].clone();
    assert!(mailbox.next().now_or_never().is_none());
    bench.stream.forget(SessionId(1));
    bench.publish(&app("a", "started"), 2000);
    assert_eq!(bench.told(1), [] as [&str; 0]);
}

#[test]
fn what_waits_behind_a_replay_is_bounded_too() {
    let mut bench = Bench::new();
    bench.publish(&app("logged", "started"), 1);
    let serial = bench.subscribe(1, Wish { start: Some(second(0)), ..Wish::default() }, 1).unwrap();
    for at in 0..BACKLOG_LIVE_MAX + 7 {
        bench.publish(&app("live", "started"), i64::try_from(at).unwrap() + 2);
    }
    while bench.stream.advance(SessionId(1), serial, second(9999), EVERYBODY) == Next::Slice {}
    let told = bench.told(1);
    let lost = told.iter().filter(|name| *name == "7").count();
    assert_eq!((told.len(), lost), (BACKLOG_LIVE_MAX + 3, 1));
}

#[test]
fn every_notification_of_ours_fits_its_module() {
    let mut bench = Bench::new();
    bench.subscribe(1, Wish::default(), 0).unwrap();
    let changes = [
        Change { path: "/ietf-netconf-acm:nacm/groups/group[name='a']".to_owned(), edit: Edit::Delete },
        Change {
            path: "/ietf-netconf-acm:nacm/enable-nacm".to_owned(),
            edit: Edit::Modify { value: "false".to_owned() },
        },
    ];
    for client in [Client::Netconf, Client::Agent] {
        bench.publish(&base::config_change(&Caller { client, ..caller(4) }, Datastore::Running, &changes), 1);
    }
    bench.publish(&base::session_end(&caller(4), SessionEnd::Killed { by: SessionId(7) }), 2);
    let mailbox = bench.mailboxes[&1].clone();
    let next = || String::from_utf8(mailbox.next().now_or_never().unwrap().body.to_vec()).unwrap();
    insta::assert_snapshot!(next(), @r#"<netconf-config-change xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"><changed-by><username>user-4</username><session-id>4</session-id><source-host>192.0.2.7</source-host></changed-by><datastore>running</datastore><edit><target xmlns:nacm="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">/nacm:nacm/nacm:groups/nacm:group[nacm:name='a']</target><operation>delete</operation></edit><edit><target xmlns:nacm="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">/nacm:nacm/nacm:enable-nacm</target><operation>replace</operation></edit></netconf-config-change>"#);
    insta::assert_snapshot!(next(), @r#"<netconf-config-change xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"><changed-by><server/></changed-by><datastore>running</datastore><edit><target xmlns:nacm="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">/nacm:nacm/nacm:groups/nacm:group[nacm:name='a']</target><operation>delete</operation></edit><edit><target xmlns:nacm="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">/nacm:nacm/nacm:enable-nacm</target><operation>replace</operation></edit></netconf-config-change>"#);
    insta::assert_snapshot!(next(), @r#"<netconf-session-end xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"><username>user-4</username><session-id>4</session-id><source-host>192.0.2.7</source-host><killed-by>7</killed-by><termination-reason>killed</termination-reason></netconf-session-end>"#);
    for bare in ["replayComplete", "notificationComplete"] {
        let notice = Notice::bare(second(1), MODULE, bare, NAMESPACE);
        assert!(notification::from_xml(schema(), &notice.body).is_ok(), "{bare}");
    }
    mailbox.lose(second(3));
    assert!(notification::from_xml(schema(), next().as_bytes()).is_ok());
}

#[test]
fn text_that_xml_cannot_hold_does_not_lose_the_event() {
    let mut bench = Bench::new();
    bench.subscribe(1, Wish::default(), 0).unwrap();
    let mut element = app("a", "exit-failure");
    element.children.push(Element::leaf("last-error-line", "\u{1b}[31mred\u{1b}[0m \u{0} \u{ffff}"));
    bench.publish(&element, 1);
    assert_eq!(bench.told(1), ["a"]);
}

#[test]
fn the_stream_tells_of_its_log() {
    let mut bench = Bench::new();
    let state = bench.stream.state();
    let stream = state.descend(&["streams", "stream"]).unwrap();
    assert_eq!(stream.text_of("name"), Some(STREAM));
    assert_eq!(stream.text_of("replayLogCreationTime"), Some("1970-01-01T00:00:00.000000Z"));
    assert_eq!(stream.text_of("replayLogAgedTime"), None);
    assert!(crate::yang::tree::Tree::from_elements(schema(), std::slice::from_ref(&state)).is_ok());
    for at in 0..=i64::try_from(log::EVENTS_MAX).unwrap() {
        bench.publish(&app("a", "started"), at + 1);
    }
    let aged = bench.stream.state();
    let aged = aged.descend(&["streams", "stream"]).unwrap().text_of("replayLogAgedTime");
    assert_eq!(aged, Some("1970-01-01T00:00:01.000000Z"));
}
