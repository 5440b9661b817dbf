use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::*;
use crate::netconf::capability::{BASE_1_0, BASE_1_1};
use crate::netconf::error::BaseNamespaces;
use crate::northbound::handle::Input as Northbound;
use crate::northbound::mailbox::Notice;
use crate::northbound::{Caller, Client, Kind, Refusal, Request, Response};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(30);

const HELLO: &str = "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities>\
    <capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>]]>]]>";

fn rpc(id: usize, inside: &str) -> String {
    let message = format!("<rpc xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-id=\"{id}\">{inside}</rpc>");
    format!("\n#{}\n{message}\n##\n", message.len())
}

/// A northbound that opens one session, answers with `answer` and tells how the session ended, each time it is told.
struct Fake {
    handle: Handle,
    ends: mpsc::Receiver<SessionEnd>,
    kill: watch::Sender<Option<SessionId>>,
    mailbox: Mailbox,
}

fn fake(answer: impl Fn(&Request) -> Option<Answer> + Send + 'static) -> Fake {
    let (handle, mut inputs) = Handle::new();
    let (ended, ends) = mpsc::channel(8);
    let (kill, killed) = watch::channel(None);
    let ticketed = Mailbox::default();
    let mailbox = ticketed.clone();
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some(input) = inputs.recv().await {
            match input {
                Northbound::Open { opening, reply } => {
                    let caller = Caller {
                        session: SessionId(12),
                        user: opening.user,
                        groups: opening.groups,
                        client: opening.client,
                        origin: opening.origin,
                    };
                    let capabilities = vec![BASE_1_0.to_owned(), BASE_1_1.to_owned()];
                    let ticket = Ticket { caller, killed: killed.clone(), mailbox: mailbox.clone(), capabilities };
                    reply.send(Ok(ticket)).expect("the session waits for its ticket");
                }
                Northbound::Ask { request, reply, .. } => match answer(&request) {
                    Some(answer) => drop(reply.send(answer)),
                    None => unanswered.push(reply),
                },
                Northbound::Close { session, end } => {
                    assert_eq!(session, SessionId(12));
                    ended.send(end).await.expect("the test listens");
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    Fake { handle, ends, kill, mailbox: ticketed }
}

fn opening() -> Opening {
    Opening { user: "fred".to_owned(), groups: vec![], client: Client::Netconf, origin: "test".to_owned() }
}

fn options() -> ServeOptions {
    ServeOptions::new(Arc::new(BaseNamespaces), Arc::new(Counters::default()))
}

fn start(fake: &Fake, options: ServeOptions, buffer: usize) -> (DuplexStream, tokio::task::JoinHandle<SessionEnd>) {
    let (client, server) = duplex(buffer);
    (client, tokio::spawn(serve(server, fake.handle.clone(), opening(), options)))
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("done in time")
}

async fn read_until(client: &mut DuplexStream, marker: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(marker.as_bytes()) {
        let mut byte = [0];
        assert_eq!(within(client.read(&mut byte)).await.unwrap(), 1, "{}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

async fn read_all(client: &mut DuplexStream) -> String {
    let mut text = String::new();
    within(client.read_to_string(&mut text)).await.unwrap();
    text
}

#[tokio::test]
async fn a_session_from_hello_to_close() {
    let mut fake = fake(|_| Some(Ok(Response::Data("<a xmlns=\"urn:a\"/>".into()))));
    let (mut client, task) = start(&fake, options(), 4096);
    let hello = read_until(&mut client, "]]>]]>").await;
    assert!(hello.contains("<session-id>12</session-id>"), "{hello}");
    client.write_all([HELLO, &rpc(1, "<get/>"), &rpc(2, "<close-session/>")].concat().as_bytes()).await.unwrap();
    let replies = read_all(&mut client).await;
    assert!(replies.contains("message-id=\"1\"><data>") && replies.contains("<a xmlns=\"urn:a\"/>"), "{replies}");
    assert!(replies.ends_with("<ok/></rpc-reply>\n##\n"), "{replies}");
    assert_eq!(within(task).await.unwrap(), SessionEnd::Closed);
    assert_eq!(within(fake.ends.recv()).await, Some(SessionEnd::Closed));
}

#[tokio::test]
async fn tens_of_thousands_of_pipelined_requests_are_answered_in_order() {
    const COUNT: usize = 20_000;
    let fake = fake(|_| Some(Ok(Response::Ok)));
    let (client, task) = start(&fake, options(), 64 * 1024);
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut text = HELLO.to_owned();
    for id in 0..COUNT {
        text.push_str(&rpc(id, "<discard-changes/>"));
    }
    text.push_str(&rpc(COUNT, "<close-session/>"));
    // The client writes everything before it reads anything: only a session that always reads survives this.
    within(writer.write_all(text.as_bytes())).await.unwrap();
    let mut replies = String::new();
    within(reader.read_to_string(&mut replies)).await.unwrap();
    let ids: Vec<usize> = replies
        .split("message-id=\"")
        .skip(1)
        .map(|rest| rest.split_once('"').expect("a value ends").0.parse().unwrap())
        .collect();
    assert_eq!(ids, (0..=COUNT).collect::<Vec<_>>());
    assert_eq!(within(task).await.unwrap(), SessionEnd::Closed);
}

#[tokio::test]
async fn a_killed_session_ends_while_its_request_is_under_way() {
    let mut fake = fake(|_| None);
    let (mut client, task) = start(&fake, options(), 4096);
    read_until(&mut client, "]]>]]>").await;
    client.write_all([HELLO, &rpc(1, "<get/>")].concat().as_bytes()).await.unwrap();
    fake.kill.send(Some(SessionId(3))).unwrap();
    let end = SessionEnd::Killed { by: SessionId(3) };
    assert_eq!(within(fake.ends.recv()).await, Some(end));
    assert_eq!(read_all(&mut client).await, "");
    assert_eq!(within(task).await.unwrap(), end);
}

#[tokio::test]
async fn a_silent_client_is_let_go_after_the_hello_timeout() {
    let mut fake = fake(|_| None);
    let options = ServeOptions { hello_timeout: Duration::from_millis(1), ..options() };
    let (mut client, task) = start(&fake, options, 4096);
    assert_eq!(within(fake.ends.recv()).await, Some(SessionEnd::Timeout));
    read_until(&mut client, "]]>]]>").await;
    assert_eq!(read_all(&mut client).await, "");
    assert_eq!(within(task).await.unwrap(), SessionEnd::Timeout);
}

#[tokio::test]
async fn a_client_that_disappears_is_closed_once() {
    let mut fake = fake(|_| Some(Ok(Response::Ok)));
    let options = options();
    let counters = options.counters.clone();
    let (mut client, task) = start(&fake, options, 4096);
    client.write_all([HELLO, &rpc(1, "<get/>"), "\n#40\n<rp"].concat().as_bytes()).await.unwrap();
    drop(client);
    assert_eq!(within(task).await.unwrap(), SessionEnd::Dropped);
    assert_eq!(within(fake.ends.recv()).await, Some(SessionEnd::Dropped));
    assert_eq!(counters.totals().dropped_sessions, 1);
    assert!(fake.ends.try_recv().is_err());
}

#[tokio::test]
async fn a_half_closed_client_still_gets_its_reply() {
    let fake = fake(|_| Some(Ok(Response::Ok)));
    let (mut client, task) = start(&fake, options(), 4096);
    client.write_all([HELLO, &rpc(1, "<get/>")].concat().as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    assert!(read_all(&mut client).await.contains("message-id=\"1\"><ok/>"));
    assert_eq!(within(task).await.unwrap(), SessionEnd::Dropped);
}

#[tokio::test]
async fn a_client_that_never_reads_is_let_go_when_it_sends_no_more() {
    let mut fake = fake(|_| Some(Ok(Response::Data(vec![b' '; 100_000].into()))));
    let options = ServeOptions { stalled_timeout: Duration::from_millis(1), ..options() };
    let (mut client, task) = start(&fake, options, 512);
    let text = HELLO.to_owned() + &rpc(1, "<get/>").repeat(50);
    within(client.write_all(text.as_bytes())).await.unwrap();
    within(client.shutdown()).await.unwrap();
    assert_eq!(within(fake.ends.recv()).await, Some(SessionEnd::Dropped));
    drop(client);
    assert_eq!(within(task).await.unwrap(), SessionEnd::Dropped);
}

#[tokio::test]
async fn the_end_is_told_when_the_task_is_torn_down() {
    let mut fake = fake(|_| None);
    let (mut client, task) = start(&fake, options(), 4096);
    read_until(&mut client, "]]>]]>").await;
    task.abort();
    assert_eq!(within(fake.ends.recv()).await, Some(SessionEnd::Dropped));
}

#[tokio::test]
async fn a_refused_opening_closes_the_stream_and_nothing_else() {
    let (handle, mut inputs) = Handle::new();
    let (mut client, server) = duplex(64);
    let task = tokio::spawn(serve(server, handle, opening(), options()));
    let Some(Northbound::Open { reply, .. }) = within(inputs.recv()).await else { panic!("an opening is asked") };
    let refusal = crate::northbound::Refusal::new(crate::northbound::Kind::ResourceDenied, "full");
    reply.send(Err(refusal)).unwrap();
    assert_eq!(within(task).await.unwrap(), SessionEnd::Other);
    assert_eq!(read_all(&mut client).await, "");
    assert!(within(inputs.recv()).await.is_none());
}

#[tokio::test]
async fn broken_framing_takes_no_reply_from_a_slow_reader() {
    const LARGE: usize = 2 * crate::netconf::session::UNWRITTEN_BYTES_MAX;
    let fake = fake(|request| {
        Some(Ok(match request {
            Request::Get { .. } => Response::Data(vec![b' '; LARGE].into()),
            _ => Response::Ok,
        }))
    });
    let hello_timeout = Duration::from_millis(1);
    let (mut client, server) = duplex(4096);
    // There before the session begins, so that it is in time.
    client.write_all(HELLO.as_bytes()).await.unwrap();
    let options = ServeOptions { hello_timeout, ..options() };
    let task = tokio::spawn(serve(server, fake.handle.clone(), opening(), options));
    let began = Instant::now();
    while began.elapsed() <= 2 * hello_timeout {
        client.write_all(rpc(0, "<commit/>").as_bytes()).await.unwrap();
        read_until(&mut client, "\n##\n").await;
    }
    client.write_all([rpc(1, "<get/>"), rpc(2, "<get/>")].concat().as_bytes()).await.unwrap();
    read_until(&mut client, "message-id=\"1\"><data>").await;
    client.write_all(b"\n#0\n").await.unwrap();
    let replies = read_all(&mut client).await;
    assert!(replies.contains("message-id=\"2\"><data>"), "{} bytes", replies.len());
    assert!(replies.len() > 2 * LARGE && replies.ends_with("\n##\n"));
    assert_eq!(within(task).await.unwrap(), SessionEnd::Other);
}

/// Anything at all may arrive: the session ends when the client does, and is closed once.
#[test]
fn random_bytes_never_hang_a_session() {
    use proptest::prelude::*;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        Just(rpc(1, "<get/>").into_bytes()),
        Just(rpc(1, "<close-session/>").into_bytes()),
        Just(b"\n#3\nabc".to_vec()),
        Just(b"]]>]]>".to_vec()),
    ];
    let pieces = (any::<bool>(), prop::collection::vec(piece, 0..8));
    let config = ProptestConfig::with_cases(64);
    proptest!(config, |((hello, pieces) in pieces)| {
        runtime.block_on(async {
            let mut fake = fake(|_| Some(Ok(Response::Ok)));
            let (client, task) = start(&fake, options(), 256);
            let (mut reader, mut writer) = tokio::io::split(client);
            let writing = async {
                let hello = if hello { HELLO.as_bytes().to_vec() } else { Vec::new() };
                for piece in std::iter::once(hello).chain(pieces) {
                    // The session may be over already.
                    if writer.write_all(&piece).await.is_err() {
                        break;
                    }
                }
                let _ = writer.shutdown().await;
            };
            let mut replies = Vec::new();
            let (_, read) = within(async { tokio::join!(writing, reader.read_to_end(&mut replies)) }).await;
            read.unwrap();
            let end = within(task).await.unwrap();
            assert_eq!(within(fake.ends.recv()).await, Some(end));
            assert!(fake.ends.try_recv().is_err());
        });
    });
}

fn notice(number: u32, bytes: usize) -> Arc<Notice> {
    let body = format!("<event xmlns=\"urn:e\"><number>{number}</number>{}</event>", "x".repeat(bytes)).into();
    let (module, name) = ("e".to_owned(), "event".to_owned());
    Arc::new(Notice { at: jiff::Timestamp::from_second(i64::from(number)).unwrap(), module, name, body })
}

const SUBSCRIBE: &str = "<create-subscription xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"/>";

#[tokio::test]
async fn notifications_come_behind_the_answer_that_subscribes_and_between_replies() {
    let fake = fake(|_| Some(Ok(Response::Ok)));
    let options = options();
    let counters = options.counters.clone();
    let (mut client, task) = start(&fake, options, 4096);
    // What waits in the mailbox already must not overtake the answer.
    fake.mailbox.put(notice(1, 0));
    read_until(&mut client, "]]>]]>").await;
    client.write_all([HELLO, &rpc(1, "<discard-changes/>"), &rpc(2, SUBSCRIBE)].concat().as_bytes()).await.unwrap();
    let text = read_until(&mut client, "</notification>\n##\n").await;
    insta::assert_snapshot!(text, @r##"

    #91
    <rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1"><ok/></rpc-reply>
    ##

    #91
    <rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="2"><ok/></rpc-reply>
    ##

    #182
    <notification xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"><eventTime>1970-01-01T00:00:01.000000Z</eventTime><event xmlns="urn:e"><number>1</number></event></notification>
    ##
    "##);
    // Interleaved: requests go on.
    fake.mailbox.put(notice(2, 0));
    client.write_all([rpc(3, "<discard-changes/>"), rpc(4, "<close-session/>")].concat().as_bytes()).await.unwrap();
    let rest = read_all(&mut client).await;
    assert!(rest.contains("message-id=\"3\"><ok/>") && rest.contains("message-id=\"4\"><ok/>"), "{rest}");
    assert_eq!(within(task).await.unwrap(), SessionEnd::Closed);
    assert!(counters.totals().counts.out_notifications >= 1);
}

#[tokio::test]
async fn a_refused_subscription_hears_nothing() {
    let refusal = || Refusal::new(Kind::InUse, "no");
    let fake = fake(move |request| match request {
        Request::CreateSubscription(_) => Some(Err(vec![refusal()])),
        _ => Some(Ok(Response::Ok)),
    });
    let (mut client, task) = start(&fake, options(), 4096);
    fake.mailbox.put(notice(1, 0));
    read_until(&mut client, "]]>]]>").await;
    client.write_all([HELLO, &rpc(1, SUBSCRIBE), &rpc(2, "<close-session/>")].concat().as_bytes()).await.unwrap();
    let text = read_all(&mut client).await;
    assert!(text.contains("<error-tag>in-use</error-tag>") && !text.contains("<notification"), "{text}");
    within(task).await.unwrap();
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_finds_a_mark_where_events_are_missing() {
    const SENT: u32 = 3000;
    let fake = fake(|_| Some(Ok(Response::Ok)));
    let (mut client, task) = start(&fake, options(), 4096);
    read_until(&mut client, "]]>]]>").await;
    client.write_all([HELLO, &rpc(1, SUBSCRIBE)].concat().as_bytes()).await.unwrap();
    read_until(&mut client, "</rpc-reply>\n##\n").await;
    // More than pipe, outbox and mailbox hold together.
    for number in 1..=SENT {
        fake.mailbox.put(notice(number, 2000));
        tokio::task::yield_now().await;
    }
    client.write_all(rpc(2, "<discard-changes/>").as_bytes()).await.unwrap();
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < SENT {
        let message = read_until(&mut client, "\n##\n").await;
        let within = |tag: &str| Some(message.split_once(tag)?.1.split_once('<')?.0.parse::<u32>().unwrap());
        if let Some(number) = within("<number>") {
            seen += 1;
            assert_eq!(number, seen + lost, "in order, and none twice");
        } else if let Some(count) = within("<count>") {
            lost += count;
        } else {
            assert!(message.contains("message-id=\"2\"><ok/>"), "{message}");
        }
    }
    assert!(lost > 0 && seen > 0, "{lost} {seen}");
    client.write_all(rpc(3, "<close-session/>").as_bytes()).await.unwrap();
    within(task).await.unwrap();
}
