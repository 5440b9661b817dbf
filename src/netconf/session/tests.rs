use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::netconf::counters::Counters;
use crate::netconf::error::BaseNamespaces;
use crate::northbound::{CommitOptions, Kind};

const HELLO_1_1: &str = "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities>\
    <capability>urn:ietf:params:netconf:base:1.0</capability><capability>urn:ietf:params:netconf:base:1.1</capability>\
    </capabilities></hello>]]>]]>";
const HELLO_1_0: &str = "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities>\
    <capability>urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>]]>]]>";

/// A session whose northbound answers everything with ok, except validate, which it refuses.
struct Bench {
    session: Session,
    outbox: Outbox,
    counters: Arc<Counters>,
    asked: Vec<Request>,
    end: Option<SessionEnd>,
}

impl Bench {
    fn new() -> Self {
        let counters = Arc::new(Counters::default());
        let mut outbox = Outbox::default();
        let setup = Setup {
            session: SessionId(9),
            capabilities: vec![capability::BASE_1_0.to_owned(), capability::BASE_1_1.to_owned()],
            layout: Layout::Compact,
            message_bytes_max: 100_000,
            names: Arc::new(BaseNamespaces),
            counters: counters.open(SessionId(9)),
        };
        let session = Session::new(setup, &mut outbox);
        Self { session, outbox, counters, asked: Vec::new(), end: None }
    }

    /// One input, and everything that follows from it at once.
    fn on(&mut self, input: Input<'_>) {
        let mut action = self.session.on(input, &mut self.outbox);
        while let Some(Action::Deliver(request)) = action {
            let answer = match request {
                Request::Validate { .. } => Err(vec![Refusal::new(Kind::OperationFailed, "not valid")]),
                _ => Ok(Response::Ok),
            };
            self.asked.push(request);
            action = self.session.on(Input::Answer(answer), &mut self.outbox);
        }
        if let Some(Action::End(end)) = action {
            self.end = Some(end);
        }
    }

    fn send(&mut self, bytes: &str) {
        self.on(Input::Bytes(bytes.as_bytes()));
    }

    fn written(&mut self) -> String {
        let mut out = Vec::new();
        while !self.outbox.is_empty() {
            let front = self.outbox.front().to_vec();
            self.outbox.advance(front.len());
            out.extend(front);
        }
        String::from_utf8(out).unwrap()
    }

    /// A session that has said hello and read ours.
    fn open(hello: &str) -> Self {
        let mut bench = Self::new();
        bench.send(hello);
        bench.written();
        bench
    }
}

fn rpc(id: u32, inside: &str) -> String {
    format!("<rpc xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-id=\"{id}\">{inside}</rpc>")
}

fn chunked(message: &str) -> String {
    format!("\n#{}\n{message}\n##\n", message.len())
}

#[test]
fn an_rpc_in_the_same_packet_as_the_hello_is_answered() {
    let mut bench = Bench::new();
    bench.send(&format!("{HELLO_1_1}{}", chunked(&rpc(1, "<commit/>"))));
    assert_eq!(bench.asked, [Request::Commit(CommitOptions::default())]);
    insta::assert_snapshot!(bench.written(), @r#"
    <?xml version="1.0" encoding="UTF-8"?><hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability><capability>urn:ietf:params:netconf:base:1.1</capability></capabilities><session-id>9</session-id></hello>]]>]]>
    #91
    <rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1"><ok/></rpc-reply>
    ##
    "#);
}

#[test]
fn an_old_client_is_answered_with_end_of_message_framing() {
    let mut bench = Bench::open(HELLO_1_0);
    bench.send(&format!(
        "{}]]>]]>\n{}]]>]]>",
        rpc(1, "<commit/>"),
        rpc(2, "<validate><source><running/></source></validate>")
    ));
    insta::assert_snapshot!(bench.written(), @r#"<rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1"><ok/></rpc-reply>]]>]]><rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="2"><rpc-error><error-type>application</error-type><error-tag>operation-failed</error-tag><error-severity>error</error-severity><error-message xml:lang="en">not valid</error-message></rpc-error></rpc-reply>]]>]]>"#);
}

#[test]
fn bad_hellos_end_the_session_and_are_counted() {
    let good = HELLO_1_1.strip_suffix("</hello>]]>]]>").unwrap();
    let bad = [
        format!("{good}<session-id>4</session-id></hello>]]>]]>"),
        HELLO_1_1.replace("netconf:base", "netconf:case"),
        HELLO_1_1.replace("hello", "hallo"),
        "]]>]]>".to_owned(),
        "x".repeat(2 * HELLO_BYTES_MAX),
    ];
    for hello in bad {
        let mut bench = Bench::new();
        bench.send(&hello);
        assert_eq!(bench.end, Some(SessionEnd::BadHello));
        assert_eq!(bench.counters.totals().in_bad_hellos, 1);
    }
}

#[test]
fn a_client_that_says_no_hello_in_time_is_let_go() {
    let mut bench = Bench::new();
    bench.on(Input::Timeout);
    assert_eq!(bench.end, Some(SessionEnd::Timeout));
    let mut bench = Bench::open(HELLO_1_1);
    bench.on(Input::Timeout);
    assert_eq!(bench.end, None);
}

#[test]
fn close_session_is_answered_and_nothing_after_it_is() {
    let mut bench = Bench::open(HELLO_1_1);
    bench.send(&[chunked(&rpc(1, "<close-session/>")), chunked(&rpc(2, "<commit/>"))].concat());
    assert_eq!((bench.end, bench.asked.len()), (Some(SessionEnd::Closed), 0));
    let written = bench.written();
    assert!(written.contains("message-id=\"1\"><ok/>") && !written.contains("message-id=\"2\""), "{written}");
}

#[test]
fn a_malformed_message_is_answered_and_the_session_goes_on() {
    let mut bench = Bench::open(HELLO_1_1);
    bench.send(&[chunked("<rpc"), chunked(&rpc(2, "<commit/>"))].concat());
    let written = bench.written();
    assert!(written.contains("<error-tag>malformed-message</error-tag>"), "{written}");
    assert!(written.contains("message-id=\"2\"><ok/>"), "{written}");
    let totals = bench.counters.totals();
    assert_eq!((totals.counts.in_rpcs, totals.counts.in_bad_rpcs, totals.counts.out_rpc_errors), (1, 1, 1));
}

#[test]
fn broken_framing_ends_the_session_after_what_came_before_it() {
    let mut bench = Bench::open(HELLO_1_1);
    bench.send(&format!("{}\n#0\n{}", chunked(&rpc(1, "<commit/>")), chunked(&rpc(2, "<commit/>"))));
    assert_eq!((bench.end, bench.asked.len()), (Some(SessionEnd::Other), 1));
    assert!(bench.written().contains("message-id=\"1\"><ok/>"));
}

#[test]
fn a_half_closed_client_gets_the_replies_that_are_due() {
    let mut bench = Bench::open(HELLO_1_1);
    let bytes = [chunked(&rpc(1, "<commit/>")), chunked(&rpc(2, "<commit/>")), "\n#90\n<rpc".to_owned()].concat();
    let Some(Action::Deliver(_)) = bench.session.on(Input::Bytes(bytes.as_bytes()), &mut bench.outbox) else {
        panic!("the first request is delivered")
    };
    assert_eq!(bench.session.on(Input::PeerClosed, &mut bench.outbox), None);
    bench.on(Input::Answer(Ok(Response::Ok)));
    assert_eq!(bench.end, Some(SessionEnd::Dropped));
    assert_eq!(bench.written().matches("<ok/>").count(), 2);
}

#[test]
fn a_killed_session_ends_whatever_it_does() {
    let mut bench = Bench::open(HELLO_1_1);
    bench.session.on(Input::Bytes(chunked(&rpc(1, "<commit/>")).as_bytes()), &mut bench.outbox);
    bench.on(Input::Killed(SessionId(3)));
    assert_eq!(bench.end, Some(SessionEnd::Killed { by: SessionId(3) }));
    assert_eq!(bench.session.on(Input::Answer(Ok(Response::Ok)), &mut bench.outbox), None);
}

#[test]
fn too_many_waiting_messages_end_the_session() {
    let mut bench = Bench::open(HELLO_1_1);
    let message = chunked(&rpc(1, "<commit/>"));
    let many = message.repeat(1000);
    // The first is under way and never answered.
    let mut end = None;
    for sent in 0..=WAITING_MESSAGES_MAX / 1000 + 1 {
        match bench.session.on(Input::Bytes(many.as_bytes()), &mut bench.outbox) {
            Some(Action::End(found)) => {
                end = Some((found, sent * 1000 >= WAITING_MESSAGES_MAX - 1000));
                break;
            }
            Some(Action::Deliver(_)) => assert_eq!(sent, 0),
            None => {}
        }
    }
    assert_eq!(end, Some((SessionEnd::Dropped, true)));
}

#[test]
fn too_many_waiting_bytes_end_the_session() {
    let mut bench = Bench::open(HELLO_1_1);
    let message = chunked(&rpc(1, &format!("<commit/><!--{}-->", "x".repeat(90_000))));
    let fits = WAITING_BYTES_MAX / 91_000;
    for sent in 0..fits {
        let action = bench.session.on(Input::Bytes(message.as_bytes()), &mut bench.outbox);
        assert_eq!(action.is_some(), sent == 0, "{sent}");
    }
    let ends = (0..fits).find_map(|_| bench.session.on(Input::Bytes(message.as_bytes()), &mut bench.outbox));
    assert_eq!(ends, Some(Action::End(SessionEnd::Dropped)));
}

#[test]
fn a_client_that_does_not_read_is_not_asked_for() {
    let mut bench = Bench::open(HELLO_1_1);
    let bytes = chunked(&rpc(1, "<commit/>")).repeat(2);
    assert!(bench.session.on(Input::Bytes(bytes.as_bytes()), &mut bench.outbox).is_some());
    let big = Response::Data(vec![b'x'; UNWRITTEN_BYTES_MAX + 1].into());
    assert_eq!(bench.session.on(Input::Answer(Ok(big)), &mut bench.outbox), None);
    bench.written();
    assert_eq!(
        bench.session.on(Input::Room, &mut bench.outbox),
        Some(Action::Deliver(Request::Commit(CommitOptions::default())))
    );
}

/// A conversation with good, bad and malformed messages, some of them in several chunks.
fn conversation() -> String {
    let (first, second) =
        ("<rpc xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-", "id=\"5\"><commit/></rpc>");
    [
        HELLO_1_1.to_owned(),
        chunked(&rpc(1, "<get-config><source><running/></source></get-config>")),
        chunked(&rpc(2, "<get-config/>")),
        chunked("<rpc>"),
        chunked(&rpc(3, "<validate><source><candidate/></source></validate>")),
        chunked(&rpc(4, "<edit-config><target><candidate/></target><config><a xmlns='urn:é'/></config></edit-config>")),
        format!("\n#{}\n{first}\n#{}\n{second}\n##\n", first.len(), second.len()),
        chunked(&rpc(6, "<close-session/>")),
    ]
    .concat()
}

#[test]
fn a_conversation_gives_the_same_output_a_byte_at_a_time() {
    let text = conversation();
    let mut whole = Bench::new();
    whole.send(&text);
    let mut single = Bench::new();
    for byte in text.as_bytes() {
        single.on(Input::Bytes(&[*byte]));
    }
    assert_eq!(single.asked, whole.asked);
    assert_eq!(whole.asked.len(), 4);
    assert_eq!(single.end, Some(SessionEnd::Closed));
    assert_eq!(single.written(), whole.written());
}

proptest! {
    #[test]
    fn a_conversation_gives_the_same_output_at_any_split(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let text = conversation();
        let mut whole = Bench::new();
        whole.send(&text);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let mut split = Bench::new();
        let mut from = 0;
        for cut in cuts {
            split.on(Input::Bytes(&text.as_bytes()[from..cut]));
            from = cut;
        }
        prop_assert_eq!(&split.asked, &whole.asked);
        prop_assert_eq!(split.end, whole.end);
        prop_assert_eq!(split.written(), whole.written());
    }

    #[test]
    fn random_bytes_never_panic_and_leave_one_end(
        hello: bool, pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10),
    ) {
        let mut bench = Bench::new();
        if hello {
            bench.send(HELLO_1_1);
        }
        for piece in &pieces {
            bench.on(Input::Bytes(piece));
        }
        bench.on(Input::PeerClosed);
        bench.on(Input::Room);
        prop_assert!(bench.end.is_some());
    }
}

#[test]
fn a_client_that_asks_for_a_private_candidate_has_it_before_its_first_request() {
    let hello = HELLO_1_0.replace(
        "</capabilities>",
        "<capability>urn:ietf:params:netconf:capability:private-candidate:1.0</capability></capabilities>",
    );
    let mut bench = Bench::new();
    bench.send(&hello);
    assert!(bench.asked.is_empty(), "a capability that is not ours means nothing");
    let mut bench = Bench::new();
    bench.session.setup.capabilities.push(capability::PRIVATE_CANDIDATE_OURS.to_owned());
    bench.send(&format!("{hello}{}]]>]]>", rpc(1, "<discard-changes/>")));
    assert_eq!(bench.asked, [Request::UsePrivateCandidate, Request::DiscardChanges]);
    let written = bench.written();
    assert_eq!(written.matches("<rpc-reply").count(), 1, "{written}");
}
