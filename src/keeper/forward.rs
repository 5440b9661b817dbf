//! Lines for a system log: the host's own, in the form of `syslog(3)`, or one elsewhere, in that of RFC 5424.
//!
//! A thread of its own sends them. What cannot be sent in time is left out and counted; neither the program nor its log
//! waits for it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::container::spec::{Forward, ForwardTo};
use crate::logs::lines::Joiner;

/// Lines of all programs that wait to be sent.
const WAITING_MAX: usize = 4096;
/// What of a line is sent; collectors take no more in a datagram.
const TEXT_BYTES_MAX: usize = 2048;
/// How long the host's system log may refuse a line.
const PATIENCE: Duration = Duration::from_millis(200);
const HOSTS_OWN: &str = "/dev/log";
const STACK_BYTES: usize = 128 * 1024;
const INFORMATIONAL: u8 = 6;
const WARNING: u8 = 4;
/// RFC 5424, section 6.2.5.
const APP_NAME_MAX: usize = 48;

#[derive(Debug)]
struct Line {
    to: Forward,
    name: String,
    pid: i32,
    at_ms: u64,
    is_error: bool,
    text: Vec<u8>,
    lost: Arc<AtomicU64>,
}

/// The lines of one program on their way.
#[derive(Debug, Default)]
pub struct Forwarding {
    output: Joiner,
    errors: Joiner,
    lost: Arc<AtomicU64>,
}

/// What came, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Came<'a> {
    pub to: Forward,
    pub name: &'a str,
    pub pid: i32,
    pub at_ms: u64,
    pub is_error: bool,
    pub bytes: &'a [u8],
}

/// The way to the thread that sends; it begins with the first line.
#[derive(Debug, Default)]
pub struct Forwarder {
    lines: Option<SyncSender<Line>>,
    host: String,
}

impl Forwarding {
    /// Lines that nobody took.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Forwarder {
    pub fn new(host: String) -> Self {
        Self { lines: None, host }
    }

    pub fn take(&mut self, forwarding: &mut Forwarding, came: Came<'_>) {
        let joiner = if came.is_error { &mut forwarding.errors } else { &mut forwarding.output };
        let whole = joiner.take(None, came.bytes);
        for line in whole.iter().flat_map(|lines| lines.bytes.split(|byte| *byte == b'\n')) {
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            if text.is_empty() {
                continue;
            }
            let Came { to, name, pid, at_ms, is_error, .. } = came;
            let (name, text) = (name.to_owned(), text[..text.len().min(TEXT_BYTES_MAX)].to_vec());
            let line = Line { to, name, pid, at_ms, is_error, text, lost: Arc::clone(&forwarding.lost) };
            if self.sender().is_none_or(|lines| lines.try_send(line).is_err()) {
                forwarding.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn sender(&mut self) -> Option<&SyncSender<Line>> {
        if self.lines.is_none() {
            let (lines, todo) = sync_channel(WAITING_MAX);
            let host = self.host.clone();
            let thread = std::thread::Builder::new().name("syslog".into()).stack_size(STACK_BYTES);
            self.lines = thread.spawn(move || send_all(&todo, &host)).ok().map(|_| lines);
        }
        self.lines.as_ref()
    }
}

fn send_all(lines: &Receiver<Line>, host: &str) {
    let (mut own, mut remote) = (None, None);
    for line in lines {
        let sent = match line.to.to {
            ForwardTo::Host => to_host(&mut own, &legacy(&line)),
            ForwardTo::Udp(address) => to_address(&mut remote, address, &rfc5424(&line, host)),
        };
        if sent.is_err() {
            // Whoever listens there may have been started anew.
            own = None;
            line.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn to_host(socket: &mut Option<UnixDatagram>, bytes: &[u8]) -> io::Result<usize> {
    if socket.is_none() {
        let made = UnixDatagram::unbound()?;
        made.connect(HOSTS_OWN)?;
        made.set_write_timeout(Some(PATIENCE))?;
        *socket = Some(made);
    }
    socket.as_ref().map_or(Ok(0), |socket| socket.send(bytes))
}

fn to_address(socket: &mut Option<UdpSocket>, address: SocketAddr, bytes: &[u8]) -> io::Result<usize> {
    // One for both families where the host has IPv6.
    let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    if socket.as_ref().and_then(|socket| socket.local_addr().ok()).is_none_or(|own| own.is_ipv6() != address.is_ipv6())
    {
        let made = UdpSocket::bind(any)?;
        made.set_nonblocking(true)?;
        *socket = Some(made);
    }
    socket.as_ref().map_or(Ok(0), |socket| socket.send_to(bytes, address))
}

fn priority(line: &Line) -> u8 {
    line.to.facility * 8 + if line.is_error { WARNING } else { INFORMATIONAL }
}

fn at(line: &Line) -> Timestamp {
    Timestamp::from_millisecond(i64::try_from(line.at_ms).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX)
}

/// As `syslog(3)` writes it.
fn legacy(line: &Line) -> Vec<u8> {
    let at = at(line).to_zoned(TimeZone::system()).strftime("%b %e %H:%M:%S").to_string();
    let head = format!("<{}>{at} {}[{}]: ", priority(line), line.name, line.pid);
    [head.as_bytes(), &line.text].concat()
}

fn rfc5424(line: &Line, host: &str) -> Vec<u8> {
    let name = &line.name[..line.name.len().min(APP_NAME_MAX)];
    let stream = if line.is_error { "errors" } else { "output" };
    let head = format!("<{}>1 {:.3} {host} {name} {} {stream} - ", priority(line), at(line), line.pid);
    [head.as_bytes(), &line.text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAEMON: u8 = 3;

    fn line(text: &str) -> Line {
        let to = Forward { to: ForwardTo::Host, facility: DAEMON };
        let text = text.as_bytes().to_vec();
        Line { to, name: "ioc-1".into(), pid: 42, at_ms: 1_795_267_800_123, is_error: true, text, lost: Arc::default() }
    }

    #[test]
    fn a_line_has_the_form_of_the_standard() {
        let text = String::from_utf8(rfc5424(&line("no route"), "vm")).unwrap();
        assert_eq!(text, "<28>1 2026-11-21T13:30:00.123Z vm ioc-1 42 errors - no route");
    }

    #[test]
    fn lines_arrive_whole_and_what_nobody_takes_is_counted() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = collector.local_addr().unwrap();
        let (mut forwarder, mut forwarding) = (Forwarder::new("vm".into()), Forwarding::default());
        let to = Forward { to: ForwardTo::Udp(address), facility: DAEMON };
        for bytes in [&b"one\r\ntw"[..], b"o\n\n", b"open"] {
            forwarder.take(&mut forwarding, Came { to, name: "x", pid: 1, at_ms: 0, is_error: false, bytes });
        }
        let heard = || {
            let mut bytes = [0; 4096];
            let count = collector.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        };
        let said = [heard(), heard()];
        assert_eq!(said, ["one", "two"].map(|text| format!("<30>1 1970-01-01T00:00:00.000Z vm x 1 output - {text}")));
        assert_eq!(forwarding.lost(), 0);
        let (lines, _nobody) = sync_channel(0);
        forwarder.lines = Some(lines);
        let came = Came { to, name: "x", pid: 1, at_ms: 0, is_error: true, bytes: b"lost\n" };
        forwarder.take(&mut forwarding, came);
        assert_eq!(forwarding.lost(), 1);
    }
}
