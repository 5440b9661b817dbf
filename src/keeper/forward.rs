//! Lines for a system log: the host's own, in the form of `syslog(3)`, one elsewhere, in that of RFC 5424, or a journal, in
//! its native protocol.
//!
//! A thread for each of these ways sends them. What cannot be sent in time is left out and counted, and the next line that
//! is taken says how many are missing before it; neither the program nor its log waits for it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::container::spec::{Forward, ForwardTo};
use crate::logs::lines::Joiner;
use crate::sys::{fdpass, memfd};

mod forms;

/// Lines of all programs that wait to be sent on one way, and their bytes.
const WAITING_MAX: usize = 4096;
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What of a line is sent to a system log; collectors take no more in a datagram.
const TEXT_BYTES_MAX: usize = 2048;
/// And to a journal, which takes what is too large for a datagram as a file in memory.
const JOURNAL_TEXT_BYTES_MAX: usize = 1024 * 1024;
/// How long somebody on this host may refuse a line.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long one who has is asked no more.
const SHUNNED_MS: u64 = 1000;
/// Sockets on this host that are kept open.
const SOCKETS_MAX: usize = 16;
const HOSTS_OWN: &str = "/dev/log";
pub const HOSTS_JOURNAL: &str = "/run/systemd/journal/socket";
const STACK_BYTES: usize = 128 * 1024;

#[derive(Debug, Clone)]
struct Line {
    to: Forward,
    name: String,
    pid: i32,
    run: u32,
    uid: u32,
    at_ms: u64,
    is_error: bool,
    text: Vec<u8>,
    /// That this many lines are missing is all that it says.
    gap: Option<u64>,
    lost: Arc<Lost>,
}

/// Lines of one program that nobody took.
#[derive(Debug, Default)]
struct Lost {
    lines: AtomicU64,
    told: AtomicU64,
}

/// The lines of one program on their way.
#[derive(Debug, Default)]
pub struct Forwarding {
    output: Joiner,
    errors: Joiner,
    lost: Arc<Lost>,
}

/// What came, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Came<'a> {
    pub to: &'a Forward,
    pub name: &'a str,
    pub pid: i32,
    pub run: u32,
    pub uid: u32,
    pub at_ms: u64,
    pub is_error: bool,
    pub bytes: &'a [u8],
}

/// Who hangs holds up those on the same way at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Host,
    Udp,
    Journal,
}

/// The ways to the threads that send; each begins with its first line.
#[derive(Debug, Default)]
pub struct Forwarder {
    ways: BTreeMap<Way, Lines>,
    host: String,
}

#[derive(Debug)]
struct Lines {
    sender: SyncSender<Line>,
    waiting: Arc<AtomicUsize>,
}

impl Lost {
    fn one(&self) {
        self.lines.fetch_add(1, Ordering::Relaxed);
    }

    /// Those of which nobody has been told.
    fn untold(&self) -> u64 {
        self.lines.load(Ordering::Relaxed) - self.told.load(Ordering::Relaxed)
    }
}

impl Forwarding {
    /// Lines that nobody took.
    pub fn lost(&self) -> u64 {
        self.lost.lines.load(Ordering::Relaxed)
    }
}

impl Forwarder {
    pub fn new(host: String) -> Self {
        Self { ways: BTreeMap::new(), host }
    }

    pub fn take(&mut self, forwarding: &mut Forwarding, came: Came<'_>) {
        let joiner = if came.is_error { &mut forwarding.errors } else { &mut forwarding.output };
        let whole = joiner.take(None, came.bytes);
        let text_bytes_max = match came.to.to {
            ForwardTo::Host | ForwardTo::Udp(_) => TEXT_BYTES_MAX,
            ForwardTo::Journal(_) => JOURNAL_TEXT_BYTES_MAX,
        };
        for line in whole.iter().flat_map(|lines| lines.bytes.split(|byte| *byte == b'\n')) {
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            if text.is_empty() {
                continue;
            }
            let Came { to, name, pid, run, uid, at_ms, is_error, .. } = came;
            let (to, name, text) = (to.clone(), name.to_owned(), text[..text.len().min(text_bytes_max)].to_vec());
            let lost = Arc::clone(&forwarding.lost);
            let line = Line { to, name, pid, run, uid, at_ms, is_error, text, gap: None, lost };
            if self.lines(&line.to.to).is_none_or(|lines| !lines.give(line)) {
                forwarding.lost.one();
            }
        }
    }

    fn lines(&mut self, to: &ForwardTo) -> Option<&Lines> {
        let way = match to {
            ForwardTo::Host => Way::Host,
            ForwardTo::Udp(_) => Way::Udp,
            ForwardTo::Journal(_) => Way::Journal,
        };
        match self.ways.entry(way) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) => Some(new.insert(begin(&self.host)?)),
        }
    }
}

/// `None` where there can be no further thread.
fn begin(host: &str) -> Option<Lines> {
    let (sender, todo) = sync_channel(WAITING_MAX);
    let waiting = Arc::<AtomicUsize>::default();
    let mut sending = Sending { host: host.to_owned(), ..Sending::default() };
    let sent = Arc::clone(&waiting);
    let thread = std::thread::Builder::new().name("syslog".into()).stack_size(STACK_BYTES);
    thread.spawn(move || sending.send_all(&todo, &sent)).ok()?;
    Some(Lines { sender, waiting })
}

impl Lines {
    /// Whether it is on its way.
    fn give(&self, line: Line) -> bool {
        let bytes = line.text.len();
        if self.waiting.load(Ordering::Relaxed) + bytes > WAITING_BYTES_MAX {
            return false;
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let is_taken = self.sender.try_send(line).is_ok();
        if !is_taken {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_taken
    }
}

/// What the thread of a way has.
#[derive(Debug, Default)]
struct Sending {
    host: String,
    local: BTreeMap<PathBuf, Local>,
    remote: Option<UdpSocket>,
}

/// Somebody who listens on this host.
#[derive(Debug, Default)]
struct Local {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    shunned_until_ms: u64,
}

impl Sending {
    fn send_all(&mut self, lines: &Receiver<Line>, waiting: &AtomicUsize) {
        for line in lines {
            self.send_with_gap(&line);
            waiting.fetch_sub(line.text.len(), Ordering::Relaxed);
        }
    }

    fn send_with_gap(&mut self, line: &Line) {
        let missing = line.lost.untold();
        if missing > 0 && self.send(&line.gap(missing)).is_ok() {
            line.lost.told.fetch_add(missing, Ordering::Relaxed);
        }
        if self.send(line).is_err() {
            line.lost.one();
        }
    }

    fn send(&mut self, line: &Line) -> io::Result<()> {
        match &line.to.to {
            ForwardTo::Host => self.local(Path::new(HOSTS_OWN)).send(&forms::legacy(line), line.at_ms),
            ForwardTo::Journal(path) => self.local(path).send(&forms::journal(line), line.at_ms),
            ForwardTo::Udp(address) => {
                let bytes = forms::rfc5424(line, &self.host);
                to_address(&mut self.remote, *address, &bytes)
            }
        }
    }

    fn local(&mut self, path: &Path) -> &mut Local {
        if self.local.len() >= SOCKETS_MAX && !self.local.contains_key(path) {
            self.local.clear();
        }
        self.local.entry(path.to_owned()).or_insert_with(|| Local { path: path.to_owned(), ..Local::default() })
    }
}

impl Local {
    fn send(&mut self, bytes: &[u8], at_ms: u64) -> io::Result<()> {
        if at_ms < self.shunned_until_ms {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = self.try_to_send(bytes).or_else(|error| {
            self.socket = None;
            // Whoever listens there may have been started anew; one that is slow is not asked again at once.
            if error.kind() == io::ErrorKind::WouldBlock { Err(error) } else { self.try_to_send(bytes) }
        });
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.shunned_until_ms = at_ms.saturating_add(SHUNNED_MS);
        }
        sent
    }

    fn try_to_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            let made = UnixDatagram::unbound()?;
            made.connect(&self.path)?;
            made.set_write_timeout(Some(PATIENCE))?;
            self.socket = Some(made);
        }
        let Some(socket) = &self.socket else { return Ok(()) };
        match socket.send(bytes) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS)) => {
                fdpass::send_alone(socket, &memfd::sealed("procyon-line", bytes)?).map_err(io::Error::from)
            }
            Err(error) => Err(error),
        }
    }
}

fn to_address(socket: &mut Option<UdpSocket>, address: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    if socket.as_ref().and_then(|socket| socket.local_addr().ok()).is_none_or(|own| own.is_ipv6() != address.is_ipv6())
    {
        let made = UdpSocket::bind(any)?;
        made.set_nonblocking(true)?;
        *socket = Some(made);
    }
    socket.as_ref().map_or(Ok(()), |socket| socket.send_to(bytes, address).map(drop))
}

impl Line {
    /// In the place of what is missing before this one.
    fn gap(&self, missing: u64) -> Self {
        let text = format!("{missing} lines are missing here: they could not be taken in time").into_bytes();
        Self { text, is_error: true, gap: Some(missing), ..self.clone() }
    }
}

#[cfg(test)]
#[path = "forward/tests.rs"]
mod tests;
