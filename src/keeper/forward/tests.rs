use std::os::fd::OwnedFd;

use super::*;

const DAEMON: u8 = 3;

fn line(text: &str) -> Line {
    let to = Forward { to: ForwardTo::Host, facility: DAEMON };
    Line {
        to,
        name: "ioc-1".into(),
        pid: 42,
        run: 7,
        uid: 1001,
        at_ms: 1_795_267_800_123,
        is_error: true,
        text: text.as_bytes().to_vec(),
        gap: None,
        lost: Arc::default(),
    }
}

/// Somebody who takes lines, and what is given to him.
struct Scene {
    forwarder: Forwarder,
    forwarding: Forwarding,
    to: Forward,
}

impl Scene {
    fn new(to: ForwardTo) -> Self {
        let to = Forward { to, facility: DAEMON };
        Self { forwarder: Forwarder::new("vm".into()), forwarding: Forwarding::default(), to }
    }

    fn print(&mut self, bytes: &[u8], at_ms: u64) {
        let came = Came { to: &self.to, name: "x", pid: 1, run: 7, uid: 0, at_ms, is_error: false, bytes };
        self.forwarder.take(&mut self.forwarding, came);
    }
}

#[test]
fn a_line_has_the_form_of_the_standard() {
    let text = String::from_utf8(forms::rfc5424(&line("no route"), "vm")).unwrap();
    assert_eq!(text, "<28>1 2026-11-21T13:30:00.123Z vm ioc-1 42 errors - no route");
}

#[test]
fn an_entry_of_a_journal_says_whose_line_it_is() {
    let text = String::from_utf8(forms::journal(&line("no route"))).unwrap();
    insta::assert_snapshot!(text, @r"
    PRIORITY=4
    SYSLOG_FACILITY=3
    SYSLOG_IDENTIFIER=ioc-1
    SYSLOG_PID=42
    UNIT=ioc-1.service
    PROCYON_CONTAINER=ioc-1
    PROCYON_STREAM=errors
    PROCYON_RUN=7
    PROCYON_UID=1001
    OBJECT_PID=42
    MESSAGE=no route
    ");
}

#[test]
fn lines_arrive_whole_and_what_nobody_takes_is_counted() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut scene = Scene::new(ForwardTo::Udp(collector.local_addr().unwrap()));
    for bytes in [&b"one\r\ntw"[..], b"o\n\n", b"open"] {
        scene.print(bytes, 0);
    }
    let heard = || {
        let mut bytes = [0; 4096];
        let count = collector.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let said = [heard(), heard()];
    assert_eq!(said, ["one", "two"].map(|text| format!("<30>1 1970-01-01T00:00:00.000Z vm x 1 output - {text}")));
    assert_eq!(scene.forwarding.lost(), 0);
    let (sender, _nobody) = sync_channel(0);
    scene.forwarder.ways.insert(Way::Udp, Lines { sender, waiting: Arc::default() });
    scene.print(b"ed\n", 0);
    assert_eq!(scene.forwarding.lost(), 1);
}

/// Messages of an entry that came as a datagram, or in a sealed file.
fn message(journal: &UnixDatagram) -> (String, bool) {
    let (bytes, file) = fdpass::receive_with_one(journal, 1 << 20).unwrap();
    let inside = file.as_ref().map(|file: &OwnedFd| memfd::content(file).unwrap());
    let text = String::from_utf8(inside.unwrap_or(bytes)).unwrap();
    let message = text.split_once("MESSAGE=").unwrap().1.strip_suffix('\n').unwrap().to_owned();
    (message, file.is_some())
}

#[test]
fn a_line_that_is_too_large_for_a_datagram_comes_to_a_journal_as_a_sealed_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    let mut scene = Scene::new(ForwardTo::Journal(path));
    let large = "x".repeat(700_000);
    scene.print(format!("small\n{large}\nend\n").as_bytes(), 0);
    assert_eq!(message(&journal), ("small".to_owned(), false));
    assert!(message(&journal) == (large, true));
    assert_eq!(message(&journal), ("end".to_owned(), false));
    assert_eq!(scene.forwarding.lost(), 0);
}

#[test]
fn a_journal_that_does_not_keep_up_finds_a_counted_gap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    let mut sending = Sending::default();
    let lost = Arc::<Lost>::default();
    let mut print = |number: u64, at_ms| {
        let to = Forward { to: ForwardTo::Journal(path.clone()), facility: DAEMON };
        let text = format!("line {number}").into_bytes();
        sending.send_with_gap(&Line { to, text, at_ms, lost: Arc::clone(&lost), ..line("") });
        lost.lines.load(Ordering::Relaxed)
    };
    // Its queue is full at some line; those of the next second are not even tried.
    let taken = (0..100_000).find(|number| print(*number, 0) > 0).unwrap();
    assert_eq!(print(taken + 1, SHUNNED_MS - 1), 2);
    let mut heard: Vec<String> = (0..taken).map(|_| message(&journal).0).collect();
    assert_eq!(heard.pop(), Some(format!("line {}", taken - 1)));
    assert_eq!(print(taken + 2, SHUNNED_MS), 2);
    assert_eq!(message(&journal).0, "2 lines are missing here: they could not be taken in time");
    assert_eq!(message(&journal).0, format!("line {}", taken + 2));
    assert_eq!(print(taken + 3, SHUNNED_MS), 2);
    assert_eq!(message(&journal).0, format!("line {}", taken + 3), "a gap is told once");
}

#[test]
fn a_journal_that_is_started_anew_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let mut local = Local { path: path.clone(), ..Local::default() };
    assert!(local.send(b"MESSAGE=early\n", 0).is_err());
    for _ in 0..2 {
        let journal = UnixDatagram::bind(&path).unwrap();
        local.send(b"MESSAGE=here\n", 0).unwrap();
        assert_eq!(message(&journal).0, "here");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_waits_is_bounded_in_bytes_too() {
    let (sender, held) = sync_channel(WAITING_MAX);
    let lines = Lines { sender, waiting: Arc::default() };
    let large = || Line { text: vec![b'x'; JOURNAL_TEXT_BYTES_MAX], ..line("") };
    let taken = (0..WAITING_MAX).take_while(|_| lines.give(large())).count();
    assert_eq!(taken, WAITING_BYTES_MAX / JOURNAL_TEXT_BYTES_MAX);
    drop(held);
}
