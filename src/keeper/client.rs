//! The agent's side of the keeper's socket: orders with one answer each, and a stream of what happens.
//!
//! ```text
//!  Away -- connect, hello, list --> Connected -- connection lost --> Away (again after 20 ms .. 1 s)
//! ```
//!
//! One task owns the connection. Whenever the view of the containers may have gaps (after connecting, or when the agent
//! took its events too slowly) the whole list comes as [`KeeperEvent::Connected`].

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::exits::ExitRecord;
use super::protocol::{
    Abilities, Answer, Asker, ContainerState, Down, Entering, Entry, Event, Exited, MAGIC, Member, Order, Stream, Up,
    VERSION, Verb, decode, encode,
};
use super::refusal::KeeperRefusal;
use crate::checksum::Sha256;
use crate::console::columns::Listed;
use crate::container::machine::RunId;
use crate::container::spec::{ContainerName, ContainerSpec, Floor};
use crate::sys::fdpass;

/// Orders that wait to be sent; callers wait behind them.
const ORDERS_WAITING_MAX: usize = 256;
/// Orders that the keeper has not answered; beyond, callers wait.
const ORDERS_OPEN_MAX: usize = 256;
/// Events that the agent has not taken; beyond, they are replaced by one whole list.
const EVENTS_WAITING_MAX: usize = 1024;
const RECONNECT_FIRST: Duration = Duration::from_millis(20);
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// For everything but a release and a shutdown, which may take their grace on top.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum KeeperEvent {
    /// Everything that the keeper holds, with the doors of what runs. Comes after each connect, and again whenever the
    /// agent has fallen behind: it replaces all that was known.
    Connected {
        containers: Vec<(ContainerState, Option<OwnedFd>)>,
    },
    Changed(Box<ContainerState>),
    /// May be repeated for the same run.
    RunStarted {
        name: ContainerName,
        run: RunId,
        pid: i32,
        door: OwnedFd,
    },
    Exited(Box<Exited>),
    Mismatch {
        name: ContainerName,
        /// `None`: no checksum is configured.
        expected: Option<Sha256>,
        found: Sha256,
    },
    Released {
        name: ContainerName,
    },
    /// The containers go on; nothing is known of them until the next [`KeeperEvent::Connected`].
    Lost,
}

impl KeeperEvent {
    /// The one container it is about.
    pub fn container(&self) -> Option<&ContainerName> {
        match self {
            Self::Changed(state) => Some(&state.name),
            Self::Exited(exited) => Some(&exited.name),
            Self::RunStarted { name, .. } | Self::Mismatch { name, .. } | Self::Released { name } => Some(name),
            Self::Connected { .. } | Self::Lost => None,
        }
    }
}

type Reply = Result<(Answer, Vec<OwnedFd>), KeeperRefusal>;

#[derive(Debug)]
struct Call {
    order: Order,
    fds: Vec<OwnedFd>,
    reply: oneshot::Sender<Reply>,
}

/// A handle to give orders by; cheap to clone. The connection ends with the last one.
#[derive(Debug, Clone)]
pub struct Keeper {
    calls: mpsc::Sender<Call>,
    pid: watch::Receiver<Option<i32>>,
}

impl Keeper {
    /// Begins to connect, and goes on for as long as a handle is there. Must be called within a tokio runtime.
    pub fn connect(path: PathBuf) -> (Self, mpsc::Receiver<KeeperEvent>) {
        Self::connect_hearing(path, None)
    }

    /// The same for a part of the agent that hears of the containers of its own floor alone. A door that comes with
    /// another's container is closed here: only its own floor attends it.
    pub fn connect_for(path: PathBuf, floor: Floor) -> (Self, mpsc::Receiver<KeeperEvent>) {
        Self::connect_hearing(path, Some(floor))
    }

    fn connect_hearing(path: PathBuf, floor: Option<Floor>) -> (Self, mpsc::Receiver<KeeperEvent>) {
        let (calls, todo) = mpsc::channel(ORDERS_WAITING_MAX);
        let (events, taken) = mpsc::channel(EVENTS_WAITING_MAX);
        let (greeted, pid) = watch::channel(None);
        tokio::spawn(serve(path, floor, todo, events, greeted));
        (Self { calls, pid }, taken)
    }

    /// The keeper's process id, when it greets within `limit`.
    pub async fn pid(&self, limit: Duration) -> Option<i32> {
        let mut pid = self.pid.clone();
        let known = tokio::time::timeout(limit, pid.wait_for(Option::is_some)).await;
        known.ok()?.ok().and_then(|pid| *pid)
    }

    /// Waits until the keeper is away, or all is over.
    pub async fn lost(&self) {
        let mut pid = self.pid.clone();
        if pid.wait_for(Option::is_none).await.is_err() {
            std::future::pending().await
        }
    }

    /// Activates: from here on the bytes, arguments, policy and user of the spec are frozen.
    pub async fn define(&self, spec: ContainerSpec) -> Result<(), KeeperRefusal> {
        self.done(Order::Define { spec: Box::new(spec) }).await
    }

    pub async fn start(&self, name: ContainerName) -> Result<(), KeeperRefusal> {
        self.done(Order::Start { name }).await
    }

    /// Returns when the stop signal is sent, not when the program has ended.
    pub async fn stop(&self, name: ContainerName) -> Result<(), KeeperRefusal> {
        self.done(Order::Stop { name }).await
    }

    pub async fn kill(&self, name: ContainerName) -> Result<(), KeeperRefusal> {
        self.done(Order::Kill { name }).await
    }

    pub async fn restart(&self, name: ContainerName) -> Result<(), KeeperRefusal> {
        self.done(Order::Restart { name }).await
    }

    /// Returns when everything that the container held is gone.
    pub async fn release(&self, name: ContainerName, grace: Duration) -> Result<(), KeeperRefusal> {
        self.done(Order::Release { name, grace }).await
    }

    pub async fn set_expected(&self, name: ContainerName, sha256: Option<Sha256>) -> Result<(), KeeperRefusal> {
        self.done(Order::SetExpected { name, sha256 }).await
    }

    pub async fn set_checksums(
        &self,
        name: ContainerName,
        checksums: Vec<(String, Sha256)>,
    ) -> Result<(), KeeperRefusal> {
        self.done(Order::SetChecksums { name, checksums }).await
    }

    /// Every container in the order of names, with the door of what runs.
    pub async fn list(&self) -> Result<Vec<(ContainerState, Option<OwnedFd>)>, KeeperRefusal> {
        let mut containers = Vec::new();
        let mut after = None;
        loop {
            let (answer, doors) = self.call(Order::List { after }).await?;
            let Answer::Page { entries, more } = answer else { return Err(KeeperRefusal::WrongAnswer) };
            after = entries.last().map(|entry| entry.state.name.clone());
            containers.extend(with_doors(entries, doors));
            if !more || after.is_none() {
                return Ok(containers);
            }
        }
    }

    /// A stream socket: what was printed recently, then what is printed.
    pub async fn attach(&self, name: ContainerName) -> Result<OwnedFd, KeeperRefusal> {
        match self.call(Order::Attach { name }).await? {
            (Answer::Attached, fds) => fds.into_iter().next().ok_or(KeeperRefusal::WrongAnswer),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    pub async fn tail_log(&self, name: ContainerName, stream: Stream, lines: u32) -> Result<Vec<u8>, KeeperRefusal> {
        match self.call(Order::TailLog { name, stream, lines }).await? {
            (Answer::Log { bytes }, _) => Ok(bytes),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    /// Returns when the order is taken, not when it has come about.
    pub async fn ask(&self, name: ContainerName, verb: Verb, by: Asker) -> Result<(), KeeperRefusal> {
        self.done(Order::Ask { name, verb, by }).await
    }

    /// Another definition for a container that is there.
    pub async fn update(&self, spec: ContainerSpec) -> Result<(), KeeperRefusal> {
        self.done(Order::Update { spec: Box::new(spec) }).await
    }

    /// How its latest runs ended, newest first.
    pub async fn exits(&self, name: ContainerName, count: u32) -> Result<Vec<ExitRecord>, KeeperRefusal> {
        match self.call(Order::Exits { name, count }).await? {
            (Answer::Exits { records }, _) => Ok(records),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    /// The processes of each, in the order of the names.
    pub async fn members(&self, names: Vec<ContainerName>) -> Result<Vec<Vec<Member>>, KeeperRefusal> {
        match self.call(Order::Members { names }).await? {
            (Answer::Members { members }, _) => Ok(members),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    pub async fn abilities(&self) -> Result<Abilities, KeeperRefusal> {
        match self.call(Order::Abilities).await? {
            (Answer::Abilities(abilities), _) => Ok(abilities),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    /// A seat at a console: a packet socket that speaks `console::packet`.
    pub async fn console(&self, name: ContainerName, entry: Entering) -> Result<OwnedFd, KeeperRefusal> {
        match self.call(Order::Console { name, entry: Box::new(entry) }).await? {
            (Answer::Attached, fds) => fds.into_iter().next().ok_or(KeeperRefusal::WrongAnswer),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    /// A seat for conserver's own client, which the keeper serves from here on.
    pub async fn seat(
        &self,
        name: ContainerName,
        entry: Entering,
        said: Vec<u8>,
        connection: OwnedFd,
    ) -> Result<(), KeeperRefusal> {
        let order = Order::Seat { name, entry: Box::new(entry), said };
        match self.call_with(order, vec![connection]).await? {
            (Answer::Done, _) => Ok(()),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    /// Every console in the order of names, with who is on it.
    pub async fn consoles(&self) -> Result<Vec<Listed>, KeeperRefusal> {
        let mut consoles: Vec<Listed> = Vec::new();
        loop {
            let after = consoles.last().and_then(|last| ContainerName::parse(&last.name).ok());
            let (Answer::Consoles { entries, more }, _) = self.call(Order::Consoles { after }).await? else {
                return Err(KeeperRefusal::WrongAnswer);
            };
            let is_last = !more || entries.is_empty();
            consoles.extend(entries);
            if is_last {
                return Ok(consoles);
            }
        }
    }

    /// Words for everybody on that console, or on all; how many there are.
    pub async fn broadcast(
        &self,
        name: Option<ContainerName>,
        who: String,
        text: String,
    ) -> Result<u32, KeeperRefusal> {
        self.count(Order::Broadcast { name, who, text }).await
    }

    /// Ends a user's attachments to that console, or to all; how many there were.
    pub async fn disconnect(
        &self,
        name: Option<ContainerName>,
        user: String,
        by: String,
    ) -> Result<u32, KeeperRefusal> {
        self.count(Order::Disconnect { name, user, by }).await
    }

    async fn count(&self, order: Order) -> Result<u32, KeeperRefusal> {
        match self.call(order).await? {
            (Answer::Count(count), _) => Ok(count),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    /// Ends every container in order, then the keeper; returns when that is done.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), KeeperRefusal> {
        self.done(Order::Shutdown { grace }).await
    }

    async fn done(&self, order: Order) -> Result<(), KeeperRefusal> {
        match self.call(order).await? {
            (Answer::Done, _) => Ok(()),
            _ => Err(KeeperRefusal::WrongAnswer),
        }
    }

    async fn call(&self, order: Order) -> Reply {
        self.call_with(order, Vec::new()).await
    }

    async fn call_with(&self, order: Order, fds: Vec<OwnedFd>) -> Reply {
        let limit = match &order {
            Order::Release { grace, .. } | Order::Shutdown { grace } => ANSWER_LIMIT.saturating_add(*grace),
            _ => ANSWER_LIMIT,
        };
        let bytes = encode(&order).len();
        if bytes > fdpass::FRAME_BYTES_MAX - 64 {
            return Err(KeeperRefusal::SpecTooLarge { bytes, bytes_max: super::protocol::SPEC_BYTES_MAX });
        }
        let answer = async {
            let (reply, answer) = oneshot::channel();
            self.calls.send(Call { order, fds, reply }).await.map_err(|_| KeeperRefusal::Lost)?;
            answer.await.map_err(|_| KeeperRefusal::Lost)?
        };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(KeeperRefusal::NoAnswer { seconds: limit.as_secs() }),
        }
    }
}

fn with_doors(entries: Vec<Entry>, doors: Vec<OwnedFd>) -> Vec<(ContainerState, Option<OwnedFd>)> {
    let mut doors = doors.into_iter();
    entries.into_iter().map(|entry| (entry.state, if entry.door { doors.next() } else { None })).collect()
}

async fn serve(
    path: PathBuf,
    floor: Option<Floor>,
    mut calls: mpsc::Receiver<Call>,
    events: mpsc::Sender<KeeperEvent>,
    greeted: watch::Sender<Option<i32>>,
) {
    let mut wait = RECONNECT_FIRST;
    loop {
        match open(&path).await {
            Ok((socket, pid)) => {
                greeted.send_replace(Some(pid));
                wait = RECONNECT_FIRST;
                let mut session = Session::new(socket, floor);
                match session.run(&mut calls, &events).await {
                    Ended::HandlesGone => return,
                    Ended::Connection => debug!("the connection to the keeper is lost"),
                }
                greeted.send_replace(None);
                // Those that wait in `session` learn it by their dropped channels.
                drop(session);
                if events.send(KeeperEvent::Lost).await.is_err() {
                    return;
                }
            }
            Err(error) => debug!(path = %path.display(), %error, "the keeper is not there"),
        }
        if calls.is_closed() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RECONNECT_MAX);
    }
}

async fn open(path: &Path) -> std::io::Result<(UnixStream, i32)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    // A packet socket in a stream's clothes: only its readiness is used.
    let socket = UnixStream::from_std(socket.into())?;
    let hello = encode(&Down::Hello { magic: MAGIC, version: VERSION });
    send(&socket, &hello, &[]).await?;
    let Some(Up::Hello { version, pid }) = receive(&socket).await?.and_then(|frame| decode(&frame.bytes)) else {
        return Err(std::io::Error::other("no greeting"));
    };
    if version != VERSION {
        warn!(version, own = VERSION, "the keeper speaks another version of the protocol: install both from one build");
        return Err(std::io::Error::other("another version"));
    }
    debug!(pid, "connected to the keeper");
    Ok((socket, pid))
}

async fn send(socket: &UnixStream, bytes: &[u8], fds: &[OwnedFd]) -> std::io::Result<()> {
    socket.async_io(Interest::WRITABLE, || fdpass::send(socket, bytes, fds).map_err(Into::into)).await
}

/// One frame; safe to cancel. `None` at the end of the connection.
async fn receive(socket: &UnixStream) -> std::io::Result<Option<fdpass::Frame>> {
    socket.async_io(Interest::READABLE, || fdpass::receive(socket).map_err(Into::into)).await
}

enum Ended {
    HandlesGone,
    Connection,
}

enum Pending {
    Caller(oneshot::Sender<Reply>),
    /// A page of the whole list, which the task itself asked for.
    Page,
}

/// One connection.
struct Session {
    socket: UnixStream,
    /// Whose containers are heard of; `None` is everybody's.
    floor: Option<Floor>,
    next_id: u64,
    pending: HashMap<u64, Pending>,
    unsent: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    /// The list under way.
    listed: Vec<(ContainerState, Option<OwnedFd>)>,
    listing: bool,
    /// What happened during the list; it comes behind it.
    meanwhile: VecDeque<KeeperEvent>,
    /// Events had to be dropped: a new list is due.
    behind: bool,
}

impl Session {
    fn new(socket: UnixStream, floor: Option<Floor>) -> Self {
        let mut session = Self {
            socket,
            floor,
            next_id: 0,
            pending: HashMap::new(),
            unsent: VecDeque::new(),
            listed: Vec::new(),
            listing: false,
            meanwhile: VecDeque::new(),
            behind: false,
        };
        session.unsent.extend(floor.map(|floor| (encode(&Down::Attend { floor }), Vec::new())));
        session.ask_for_page(None);
        session
    }

    async fn run(&mut self, calls: &mut mpsc::Receiver<Call>, events: &mpsc::Sender<KeeperEvent>) -> Ended {
        loop {
            let may_call = self.pending.len() < ORDERS_OPEN_MAX && self.unsent.is_empty();
            tokio::select! {
                frame = receive(&self.socket) => match frame {
                    Ok(Some(frame)) => {
                        if !self.frame_came(frame, events) {
                            return Ended::Connection;
                        }
                    }
                    Ok(None) | Err(_) => return Ended::Connection,
                },
                sent = send_first(&self.socket, &self.unsent), if !self.unsent.is_empty() => {
                    if sent.is_err() {
                        return Ended::Connection;
                    }
                    self.unsent.pop_front();
                }
                call = calls.recv(), if may_call => {
                    let Some(call) = call else { return Ended::HandlesGone };
                    self.order(call.order, call.fds, Pending::Caller(call.reply));
                }
                permit = events.reserve(), if self.behind && !self.listing => {
                    if permit.is_err() {
                        return Ended::HandlesGone;
                    }
                    drop(permit);
                    self.behind = false;
                    self.ask_for_page(None);
                }
            }
        }
    }

    fn order(&mut self, order: Order, fds: Vec<OwnedFd>, pending: Pending) {
        self.next_id += 1;
        self.pending.insert(self.next_id, pending);
        self.unsent.push_back((encode(&Down::Order { id: self.next_id, order }), fds));
    }

    fn ask_for_page(&mut self, after: Option<ContainerName>) {
        self.listing = true;
        self.order(Order::List { after }, Vec::new(), Pending::Page);
    }

    /// Whether the connection is still good.
    fn frame_came(&mut self, frame: fdpass::Frame, events: &mpsc::Sender<KeeperEvent>) -> bool {
        match decode::<Up>(&frame.bytes) {
            Some(Up::Answer { id, answer }) => match self.pending.remove(&id) {
                // A caller that has given up is no concern.
                Some(Pending::Caller(reply)) => drop(reply.send(answer.map(|answer| (answer, frame.fds)))),
                Some(Pending::Page) => return self.page_came(answer, frame.fds, events),
                None => warn!(id, "an answer that nobody asked for"),
            },
            Some(Up::Event(event)) => self.event_came(event, frame.fds, events),
            Some(Up::Hello { .. }) => {}
            None => {
                warn!("a frame from the keeper cannot be read: install both from one build");
                return false;
            }
        }
        true
    }

    fn page_came(
        &mut self,
        answer: Result<Answer, KeeperRefusal>,
        doors: Vec<OwnedFd>,
        events: &mpsc::Sender<KeeperEvent>,
    ) -> bool {
        let Ok(Answer::Page { entries, more }) = answer else { return false };
        let last = entries.last().map(|entry| entry.state.name.clone());
        let heard = with_doors(entries, doors).into_iter().filter(|(state, _)| hears(self.floor, &state.name));
        self.listed.extend(heard);
        if more && last.is_some() {
            self.ask_for_page(last);
            return true;
        }
        self.listing = false;
        let containers = std::mem::take(&mut self.listed);
        self.pass_on(KeeperEvent::Connected { containers }, events);
        for event in std::mem::take(&mut self.meanwhile) {
            self.pass_on(event, events);
        }
        true
    }

    fn event_came(&mut self, event: Event, fds: Vec<OwnedFd>, events: &mpsc::Sender<KeeperEvent>) {
        let event = match event {
            Event::Changed(state) => KeeperEvent::Changed(state),
            Event::RunStarted { name, run, pid } => match fds.into_iter().next() {
                Some(door) => KeeperEvent::RunStarted { name, run, pid, door },
                None => return warn!(%name, "a run came without its door"),
            },
            Event::Exited(exited) => KeeperEvent::Exited(exited),
            Event::Mismatch { name, expected, found } => KeeperEvent::Mismatch { name, expected, found },
            Event::Released { name } => KeeperEvent::Released { name },
        };
        if !event.container().is_none_or(|name| hears(self.floor, name)) {
            return;
        }
        if !self.listing {
            self.pass_on(event, events);
        } else if self.meanwhile.len() < EVENTS_WAITING_MAX {
            self.meanwhile.push_back(event);
        } else {
            self.behind = true;
        }
    }

    fn pass_on(&mut self, event: KeeperEvent, events: &mpsc::Sender<KeeperEvent>) {
        if self.behind || events.try_send(event).is_err() {
            self.behind = true;
        }
    }
}

/// Puts an order on the keeper's queue now, so that what is decided later does not overtake it. What comes of it goes to
/// `then`, whenever that is.
pub async fn in_order<T: Send + 'static, S: Future<Output = ()> + Send>(
    mut order: impl Future<Output = T> + Send + Unpin + 'static,
    then: impl FnOnce(T) -> S + Send + 'static,
) {
    let early = futures_util::poll!(&mut order);
    tokio::spawn(async move {
        let outcome = match early {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => order.await,
        };
        then(outcome).await;
    });
}

fn hears(floor: Option<Floor>, name: &ContainerName) -> bool {
    floor.is_none_or(|floor| name.floor() == floor)
}

async fn send_first(socket: &UnixStream, unsent: &VecDeque<(Vec<u8>, Vec<OwnedFd>)>) -> std::io::Result<()> {
    match unsent.front() {
        Some((bytes, fds)) => send(socket, bytes, fds).await,
        None => std::future::pending().await,
    }
}
