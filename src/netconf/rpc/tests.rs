use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::datastore::confirmed::{Asked, Confirmation};
use crate::northbound::filter::{Content, Filter};
use crate::northbound::notifications::Wish;
use crate::northbound::url::Url;
use crate::northbound::{
    CommitOptions, Datastore, DefaultOperation, ErrorOption, Fragment, SessionId, Source, TestOption, WithDefaults,
};

/// The envelope of an rpc with `inside`; the base namespace is the default one.
fn envelope(inside: &str) -> Envelope {
    parse(&Bytes::from(format!("<rpc xmlns=\"{BASE}\" message-id=\"1\">{inside}</rpc>")))
}

fn request(inside: &str) -> Request {
    match envelope(inside).operation {
        Ok(Operation::Ask(request)) => request,
        other => panic!("{inside}: {other:?}"),
    }
}

fn refusal(inside: &str) -> Refusal {
    *envelope(inside).operation.unwrap_err()
}

fn element(name: &str) -> String {
    name.to_owned()
}

fn fragment(text: &str) -> Fragment {
    Fragment(Bytes::copy_from_slice(text.as_bytes()))
}

fn commit(confirmed: Option<Confirmation>, persist_id: Option<&str>) -> Request {
    let confirm = Asked { confirmed, persist_id: persist_id.map(str::to_owned) };
    Request::Commit(CommitOptions { confirm, ..CommitOptions::default() })
}

fn text(fragment: &Fragment) -> &str {
    std::str::from_utf8(&fragment.0).unwrap()
}

#[test]
fn every_base_operation_becomes_its_request() {
    let running = Datastore::Running;
    let candidate = Datastore::Candidate;
    let cases = [
        ("<get/>", Request::Get { filter: None, with_defaults: WithDefaults::Explicit }),
        (
            "<get><filter type='subtree'/><with-defaults xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults'> \
             report-all </with-defaults></get>",
            Request::Get { filter: Some(Filter::Subtree(vec![])), with_defaults: WithDefaults::ReportAll },
        ),
        (
            "<get-config><source><running/></source></get-config>",
            Request::GetConfig { source: running, filter: None, with_defaults: WithDefaults::Explicit },
        ),
        (
            "<edit-config><target><candidate/></target><default-operation>none</default-operation>\
             <test-option>test-only</test-option><error-option>rollback-on-error</error-option>\
             <config><a xmlns='urn:a'/></config></edit-config>",
            Request::EditConfig {
                target: candidate,
                default_operation: DefaultOperation::None,
                test_option: TestOption::TestOnly,
                error_option: ErrorOption::RollbackOnError,
                config: fragment("<a xmlns='urn:a'/>"),
            },
        ),
        (
            "<copy-config><target><candidate/></target><source><running/></source></copy-config>",
            Request::CopyConfig { target: candidate, source: Source::Datastore(running) },
        ),
        (
            "<copy-config><target><candidate/></target><source><config><a xmlns='urn:a'/></config></source></copy-config>",
            Request::CopyConfig { target: candidate, source: Source::Inline(fragment("<a xmlns='urn:a'/>")) },
        ),
        (
            "<copy-config><target><url>file:///harddisk:/a</url></target><source><running/></source>\
             <with-defaults xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults'>trim</with-defaults></copy-config>",
            Request::CopyToUrl {
                url: Url::parse("file:///harddisk:/a").unwrap(),
                source: Source::Datastore(running),
                with_defaults: WithDefaults::Trim,
            },
        ),
        ("<delete-config><target><candidate/></target></delete-config>", Request::DeleteConfig { target: candidate }),
        ("<lock><target><running></running></target></lock>", Request::Lock { target: running }),
        ("<unlock><target> <candidate/> </target></unlock>", Request::Unlock { target: candidate }),
        (
            "<validate><source><candidate/></source></validate>",
            Request::Validate { source: Source::Datastore(candidate) },
        ),
        ("<validate><source><config/></source></validate>", Request::Validate { source: Source::Inline(fragment("")) }),
        ("<commit/>", Request::Commit(CommitOptions::default())),
        ("<commit><confirmed/></commit>", commit(Some(Confirmation::default()), None)),
        (
            "<commit><persist-id>t</persist-id><persist> u </persist><confirm-timeout>5</confirm-timeout><confirmed/></commit>",
            commit(Some(Confirmation { timeout: Duration::from_secs(5), persist: Some("u".to_owned()) }), Some("t")),
        ),
        ("<commit><persist-id>t</persist-id></commit>", commit(None, Some("t"))),
        (
            "<commit><label xmlns='urn:procyon:history'>l</label><comment xmlns='urn:procyon:history'>c</comment></commit>",
            Request::Commit(CommitOptions {
                label: Some("l".to_owned()),
                comment: Some("c".to_owned()),
                ..CommitOptions::default()
            }),
        ),
        (
            "<commit><best-effort xmlns='urn:procyon:history'/></commit>",
            Request::Commit(CommitOptions { best_effort: true, ..CommitOptions::default() }),
        ),
        ("<cancel-commit/>", Request::CancelCommit { persist_id: None }),
        (
            "<cancel-commit><persist-id>t</persist-id></cancel-commit>",
            Request::CancelCommit { persist_id: Some("t".to_owned()) },
        ),
        ("<discard-changes/>", Request::DiscardChanges),
        ("<kill-session><session-id>\n 4 </session-id></kill-session>", Request::KillSession { session: SessionId(4) }),
        (
            "<get-schema xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring' xmlns:m='urn:x'>\
             <identifier>foo</identifier><version>1</version><format>m:yang</format></get-schema>",
            Request::GetSchema {
                identifier: "foo".to_owned(),
                version: Some("1".to_owned()),
                format: Some("yang".to_owned()),
            },
        ),
    ];
    for (inside, expected) in cases {
        assert_eq!(request(inside), expected, "{inside}");
    }
    assert_eq!(envelope("<close-session/>").operation, Ok(Operation::CloseSession));
}

#[test]
fn prefixes_comments_and_declarations_make_no_difference() {
    let message = "\u{feff}<?xml version='1.0' encoding='UTF-8'?>\n<!-- c --><nc:rpc message-id='urn:1' \
        xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0' xmlns='urn:other' who=\"a'b\"><?pi x?>\n\
        <nc:get-config><nc:filter type='subtree'><t:top xmlns:t='urn:t'/></nc:filter><nc:source><nc:running/></nc:source>\
        </nc:get-config>\n</nc:rpc>\n<!-- after -->";
    let envelope = parse(&Bytes::from(message));
    let echo = format!(" message-id=\"urn:1\" xmlns:nc=\"{BASE}\" xmlns=\"urn:other\" who=\"a'b\"");
    assert_eq!(envelope.echo, Echo { attributes: echo, prefix: Some("nc".to_owned()) });
    let Ok(Operation::Ask(Request::GetConfig { filter: Some(Filter::Subtree(selections)), .. })) = envelope.operation
    else {
        panic!("{envelope:?}")
    };
    assert_eq!(selections[0].namespace.as_deref(), Some("urn:t"));
    assert_eq!(selections[0].content, Content::Selected);
}

#[test]
fn a_fragment_takes_the_declarations_in_scope_with_it() {
    let message = format!(
        "<nc:rpc xmlns:nc='{BASE}' xmlns:x='urn:\"x' message-id='1'><nc:edit-config xmlns:y='urn:y'><nc:target>\
         <nc:candidate/></nc:target><nc:config xmlns='urn:d'>\n <a nc:operation='delete'><b/></a> <y:c xmlns='urn:e'>1</y:c>\
         <!-- --><d xmlns:y='urn:z'/></nc:config></nc:edit-config></nc:rpc>"
    );
    let Ok(Operation::Ask(Request::EditConfig { config, .. })) = parse(&Bytes::from(message)).operation else {
        panic!("no edit-config")
    };
    let nc = format!("xmlns:nc=\"{BASE}\"");
    assert_eq!(
        text(&config),
        format!(
            "\n <a {nc} xmlns:x='urn:\"x' xmlns:y=\"urn:y\" xmlns=\"urn:d\" nc:operation='delete'><b/></a> \
             <y:c {nc} xmlns:x='urn:\"x' xmlns:y=\"urn:y\" xmlns='urn:e'>1</y:c><!-- -->\
             <d {nc} xmlns:x='urn:\"x' xmlns=\"urn:d\" xmlns:y='urn:z'/>"
        )
    );
}

#[test]
fn a_fragment_that_needs_nothing_is_not_copied() {
    let message = Bytes::from(format!(
        "<rpc xmlns='{BASE}' message-id='1'><edit-config><target><candidate/></target>\
         <config><a xmlns='urn:a'><b>&lt;</b></a></config></edit-config></rpc>"
    ));
    let Ok(Operation::Ask(Request::EditConfig { config, .. })) = parse(&message).operation else {
        panic!("no edit-config")
    };
    assert_eq!(text(&config), "<a xmlns='urn:a'><b>&lt;</b></a>");
    assert!(message.as_ptr_range().contains(&config.0.as_ptr()));
}

#[test]
fn other_operations_and_actions_are_handed_on() {
    let Request::Invoke { operation } = request("<p:add-script xmlns:p='urn:p'><p:name>x</p:name></p:add-script>")
    else {
        panic!("no invoke")
    };
    assert_eq!(
        text(&operation),
        format!("<p:add-script xmlns=\"{BASE}\" xmlns:p='urn:p'><p:name>x</p:name></p:add-script>")
    );
    let Request::Invoke { operation } = request("<reboot xmlns='urn:p'/>") else { panic!("no invoke") };
    assert_eq!(text(&operation), "<reboot xmlns='urn:p'/>");
    let Request::Action { action } =
        request("<action xmlns='urn:ietf:params:xml:ns:yang:1'><top xmlns='urn:t'><go/></top></action>")
    else {
        panic!("no action")
    };
    assert_eq!(text(&action), "<top xmlns='urn:t'><go/></top>");
}

#[test]
fn parameters_are_refused_by_name() {
    let target = "<target><candidate/></target>";
    let cases = [
        ("<get-config/>", Kind::MissingElement { element: element("source") }),
        ("<get-config><source/></get-config>", Kind::MissingElement { element: element("source") }),
        ("<get-config><source><other/></source></get-config>", Kind::UnknownElement { element: element("other") }),
        ("<get-config><source><url>ftp://x</url></source></get-config>", Kind::InvalidValue),
        (
            "<get-config><source><url>file:///x</url></source></get-config>",
            Kind::BadElement { element: element("url") },
        ),
        ("<get-config><source><config/></source></get-config>", Kind::BadElement { element: element("config") }),
        (
            "<get-config><source><running>x</running></source></get-config>",
            Kind::BadElement { element: element("running") },
        ),
        (
            "<get-config><source><running/><candidate/></source></get-config>",
            Kind::BadElement { element: element("candidate") },
        ),
        ("<get><bogus/></get>", Kind::UnknownElement { element: element("bogus") }),
        (
            "<get><x xmlns='urn:x'/></get>",
            Kind::UnknownNamespace { element: element("x"), namespace: element("urn:x") },
        ),
        ("<get>text</get>", Kind::BadElement { element: element("get") }),
        ("<edit-config><config/></edit-config>", Kind::MissingElement { element: element("target") }),
        (&format!("<edit-config>{target}</edit-config>"), Kind::MissingElement { element: element("config") }),
        (
            &format!("<edit-config>{target}<config>text</config></edit-config>"),
            Kind::BadElement { element: element("config") },
        ),
        (
            &format!("<edit-config>{target}<config/><config/></edit-config>"),
            Kind::BadElement { element: element("config") },
        ),
        (&format!("<edit-config>{target}<url>x</url></edit-config>"), Kind::InvalidValue),
        (&format!("<edit-config>{target}<test-option>maybe</test-option><config/></edit-config>"), Kind::InvalidValue),
        ("<kill-session/>", Kind::MissingElement { element: element("session-id") }),
        ("<kill-session><session-id>0</session-id></kill-session>", Kind::InvalidValue),
        ("<kill-session><session-id>4294967296</session-id></kill-session>", Kind::InvalidValue),
        ("<kill-session><session-id><x/></session-id></kill-session>", Kind::UnknownElement { element: element("x") }),
        ("<commit><label>l</label></commit>", Kind::UnknownElement { element: element("label") }),
        ("<commit><confirmed>yes</confirmed></commit>", Kind::InvalidValue),
        ("<commit><confirmed/><confirm-timeout>0</confirm-timeout></commit>", Kind::InvalidValue),
        (
            "<commit><confirm-timeout>10</confirm-timeout></commit>",
            Kind::MissingElement { element: element("confirmed") },
        ),
        ("<commit><persist>t</persist></commit>", Kind::MissingElement { element: element("confirmed") }),
        ("<commit><confirmed/><confirmed/></commit>", Kind::BadElement { element: element("confirmed") }),
        ("<cancel-commit><persist>t</persist></cancel-commit>", Kind::UnknownElement { element: element("persist") }),
        ("<close-session><x/></close-session>", Kind::UnknownElement { element: element("x") }),
        ("<frobnicate/>", Kind::OperationNotSupported),
        ("<x xmlns=''/>", Kind::UnknownNamespace { element: element("x"), namespace: String::new() }),
        ("<action xmlns='urn:ietf:params:xml:ns:yang:1'/>", Kind::MissingElement { element: element("action") }),
        (
            "<get-schema xmlns='urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring'/>",
            Kind::MissingElement { element: element("identifier") },
        ),
    ];
    for (inside, kind) in cases {
        let refusal = refusal(inside);
        assert_eq!((refusal.kind, refusal.layer), (kind, Layer::Protocol), "{inside}");
        assert!(!refusal.message.is_empty());
    }
}

#[test]
fn broken_envelopes_are_refused_at_the_rpc_layer() {
    let rpc = |attributes: &str, inside: &str| format!("<rpc xmlns='{BASE}' {attributes}>{inside}</rpc>");
    let id = "message-id='1'";
    let deep = format!("<get>{}{}</get>", "<a>".repeat(600), "</a>".repeat(600));
    let cases = [
        (String::new(), "malformed"),
        (" \n ".to_owned(), "malformed"),
        ("text".to_owned(), "malformed"),
        ("<rpc".to_owned(), "malformed"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><rpc/>".to_owned(), "malformed"),
        ("<?xml version='1.0' encoding='latin-1'?><rpc/>".to_owned(), "malformed"),
        (rpc(id, "<get>"), "malformed"),
        (rpc(id, "<get></put>"), "malformed"),
        (rpc(id, "<x:get/>"), "malformed"),
        (rpc(id, "<get/>&"), "malformed"),
        (rpc(id, "<get a='1' a='2'/>"), "malformed"),
        (rpc("message-id='1' message-id='2'", "<get/>"), "malformed"),
        (rpc("message-id='<'", "<get/>"), "malformed"),
        (rpc("message-id='&nope;'", "<get/>"), "malformed"),
        (rpc("message-id='\u{1}'", "<get/>"), "malformed"),
        (rpc(id, "<edit-config><config><a>&nope;</a></config></edit-config>"), "malformed"),
        (rpc(id, "<edit-config><config><a>&#0;</a></config></edit-config>"), "malformed"),
        (rpc(id, "<edit-config><config><a b></a></config></edit-config>"), "malformed"),
        (rpc(id, "<edit-config><config><a b='x&y'/></config></edit-config>"), "malformed"),
        (rpc(id, "<edit-config><config><a><b c='&nope;'/></a></config></edit-config>"), "malformed"),
        (rpc(id, "<edit-config><config><a><b c='&#0;'/></a></config></edit-config>"), "malformed"),
        (rpc(id, "<edit-config><config><a><b c='<'/></a></config></edit-config>"), "malformed"),
        (rpc(id, "<x xmlns='urn:x'><a><b c='&#x1;'/></a></x>"), "malformed"),
        (rpc(id, "<get/>") + "<rpc/>", "malformed"),
        (rpc(id, "<get/>") + "text", "malformed"),
        (rpc(id, &deep.replace("get>", "x>").replacen("<x>", "<x xmlns='urn:x'>", 1)), "too-big"),
        (rpc("", "<get/>"), "missing-attribute"),
        (rpc(id, ""), "missing-element"),
        (rpc(id, "<get/><get/>"), "unknown-element"),
        (rpc(id, "get"), "bad-element"),
        ("<rpc message-id='1'><get/></rpc>".to_owned(), "unknown-namespace"),
        (format!("<hello xmlns='{BASE}'/>"), "unknown-element"),
    ];
    for (message, expected) in cases {
        let found = parse(&Bytes::from(message.clone())).operation;
        let found = match &found {
            Ok(_) => "ok",
            Err(refusal) => {
                assert_eq!(refusal.layer, Layer::Rpc, "{message}");
                match refusal.kind {
                    Kind::MalformedMessage => "malformed",
                    Kind::TooBig => "too-big",
                    Kind::MissingAttribute { .. } => "missing-attribute",
                    Kind::MissingElement { .. } => "missing-element",
                    Kind::UnknownElement { .. } => "unknown-element",
                    Kind::BadElement { .. } => "bad-element",
                    Kind::UnknownNamespace { .. } => "unknown-namespace",
                    _ => "other",
                }
            }
        };
        assert_eq!(found, expected, "{message}");
    }
    let invalid = parse(&Bytes::from_static(b"<rpc>\xff</rpc>"));
    assert_eq!(invalid.operation.unwrap_err().kind, Kind::MalformedMessage);
}

#[test]
fn a_broken_message_still_gets_the_message_id_that_could_be_read() {
    let envelope = parse(&Bytes::from(format!("<rpc xmlns='{BASE}' message-id='77'><get>")));
    assert_eq!(envelope.echo.attributes, format!(" xmlns=\"{BASE}\" message-id=\"77\""));
    assert_eq!(envelope.operation.unwrap_err().kind, Kind::MalformedMessage);
}

#[test]
fn what_a_client_names_is_cut_short_when_said_back() {
    let refusal = refusal(&format!("<get><{}/></get>", "x".repeat(100_000)));
    assert!(refusal.message.len() < 300, "{}", refusal.message.len());
    let name = "y".repeat(100_000);
    let unmatched = envelope(&format!("<{name} xmlns='urn:x'></{name}y>")).operation.unwrap_err();
    assert!(unmatched.kind == Kind::MalformedMessage && unmatched.message.len() < 2000);
    let many = format!("<rpc xmlns='{BASE}' message-id='{}'><get/></rpc>", "1".repeat(ECHO_BYTES_MAX));
    assert_eq!(parse(&Bytes::from(many)).operation.unwrap_err().kind, Kind::TooBig);
}

#[test]
fn attributes_and_declarations_are_bounded() {
    let attributes: String = (0..300).map(|n| format!(" a{n}=''")).collect();
    let declarations: String = (0..200).map(|n| format!(" xmlns:a{n}='urn:a'")).collect();
    let cases = [
        format!("<get{attributes}/>"),
        format!("<edit-config><config><a{attributes}/></config></edit-config>"),
        format!("<edit-config><config><a><b{attributes}/></a></config></edit-config>"),
        format!("<get{declarations}><filter{declarations}/></get>"),
    ];
    for inside in cases {
        assert_eq!(refusal(&inside).kind, Kind::TooBig, "{}", &inside[..40]);
    }
}

#[test]
fn declarations_cannot_multiply_a_message() {
    let declarations: String = (0..200).map(|n| format!(" xmlns:p{n}='urn:{}'", "x".repeat(50))).collect();
    let tops = "<a/>".repeat(20_000);
    let message = format!(
        "<rpc xmlns='{BASE}' message-id='1'><edit-config{declarations}><target><candidate/></target><config>{tops}\
         </config></edit-config></rpc>"
    );
    assert_eq!(parse(&Bytes::from(message)).operation.unwrap_err().kind, Kind::TooBig);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&Bytes::from(bytes));
    }

    #[test]
    fn pieces_of_xml_in_any_order_never_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<rpc xmlns='urn:ietf:params:xml:ns:netconf:base:1.0' message-id='1'>", "</rpc>", "<get>", "</get>", "<filter",
            " type='xpath'", " select='/a:b'", ">", "/>", "<edit-config>", "<config>", "</config>", "<a xmlns='urn:a'>", "</a>",
            "<nc:x xmlns:nc='u'/>", " xmlns:nc=\"v\"", "<![CDATA[", "]]>", "<!--", "-->", "&lt;", "&#65;", "&", "text", "'", "\"",
            "<?xml version='1.0'?>", "<?p", "?>", "<!DOCTYPE a>", "é", "\u{feff}", "<target><candidate/></target>",
        ]), 0..40),
    ) {
        let _ = parse(&Bytes::from(pieces.concat()));
    }

    /// Whatever stands inside of `<config>` comes out as it was, when there is nothing to add.
    #[test]
    fn what_is_cut_out_is_what_was_sent(text in "[ a-z\n]{0,20}", count in 0_usize..5) {
        let config = format!("<a xmlns='urn:a' b=\"1\"><c>{text}</c><d/></a>\n").repeat(count);
        let message = format!(
            "<rpc xmlns='{BASE}' message-id='1'><edit-config><target><candidate/></target><config>{config}</config>\
             </edit-config></rpc>"
        );
        let Ok(Operation::Ask(Request::EditConfig { config: found, .. })) = parse(&Bytes::from(message)).operation else {
            panic!("no edit-config")
        };
        prop_assert_eq!(found.0, config.as_bytes());
    }

    /// Every top element of a fragment can be read by somebody who knows nothing of the message.
    #[test]
    fn what_is_cut_out_stands_alone(
        tops in prop::collection::vec(prop::sample::select(vec![
            "<a/>", "<p:a/>", "<q:a><p:b/></q:a>", "<a xmlns=''/>", "<p:a xmlns:p='urn:r'/>", "<a p:x='1' q:x=\"2\"/>", "<!-- -->", " ",
            "<a ><![CDATA[<]]></a >", "<p:a\n/>",
        ]), 0..6),
        default: bool,
    ) {
        let default = if default { " xmlns='urn:d'" } else { "" };
        let message = format!(
            "<nc:rpc xmlns:nc='{BASE}' xmlns:p=\"urn:'p\" message-id='1'><nc:edit-config{default} xmlns:q='urn:\"q'>\
             <nc:target><nc:candidate/></nc:target><nc:config>{}</nc:config></nc:edit-config></nc:rpc>",
            tops.concat()
        );
        let Ok(Operation::Ask(Request::EditConfig { config, .. })) = parse(&Bytes::from(message)).operation else {
            panic!("no edit-config")
        };
        // As the content of an element that declares nothing.
        let alone = format!("<alone>{}</alone>", text(&config));
        let mut scanner = Scanner::new(alone.as_bytes()).unwrap();
        let mut elements = 0;
        loop {
            match scanner.next().unwrap() {
                Token::Open(tag) => {
                    elements += usize::from(scanner.depth() == 2);
                    scanner.attributes_of(&tag).unwrap();
                }
                Token::End => break,
                _ => {}
            }
        }
        prop_assert_eq!(elements, tops.iter().filter(|top| top.starts_with('<') && !top.starts_with("<!")).count());
    }
}

#[test]
fn create_subscription_is_read_with_all_it_may_have() {
    let subscribe = |inside: &str| {
        let operation = format!(
            "<create-subscription xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\">{inside}</create-subscription>"
        );
        parse(&Bytes::from(format!("<rpc xmlns=\"{BASE}\" message-id=\"1\">{operation}</rpc>"))).operation
    };
    assert_eq!(subscribe(""), Ok(Operation::Ask(Request::CreateSubscription(Wish::default()))));
    let whole = subscribe(
        "<stream>NETCONF</stream><filter type='xpath' select='/a'/>\
         <startTime>2026-11-21T07:00:00.5+01:00</startTime><stopTime>2026-11-21T07:00:00Z</stopTime>",
    );
    let wish = Wish {
        stream: Some("NETCONF".to_owned()),
        filter: Some(Filter::XPath { expression: "/a".to_owned(), namespaces: vec![] }),
        start: Some("2026-11-21T06:00:00.5Z".parse().unwrap()),
        stop: Some("2026-11-21T07:00:00Z".parse().unwrap()),
    };
    assert_eq!(whole, Ok(Operation::Ask(Request::CreateSubscription(wish))));
    // As ncclient sends it: the filter in the base namespace.
    let of_ncclient = subscribe(&format!("<filter xmlns=\"{BASE}\" type=\"subtree\"><a/></filter>"));
    assert!(matches!(of_ncclient, Ok(Operation::Ask(Request::CreateSubscription(Wish { filter: Some(_), .. })))));
    let kind = |inside| subscribe(inside).unwrap_err().kind;
    let bad = |element: &str| Kind::BadElement { element: element.to_owned() };
    assert_eq!(kind("<startTime>yesterday</startTime>"), bad("startTime"));
    assert_eq!(kind("<stopTime>2026-11-21T07:00:00</stopTime>"), bad("stopTime"));
    assert_eq!(kind("<stream>a</stream><stream>b</stream>"), bad("stream"));
    assert_eq!(kind("<start/>"), Kind::UnknownElement { element: "start".to_owned() });
}
