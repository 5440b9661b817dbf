//! Calls one client, for as long as it is configured (RFC 8071): the machine of `reconnect.rs` says when and where.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Manner;
use super::board::{Calls, Phase};
use super::config::{Client, Remote};
use super::driver::{Gear, Serving, Shared, now};
use super::provider::Secret;
use super::reconnect::{Action, Input, Machine};

pub(super) struct Calling {
    shared: Arc<Shared>,
    name: String,
    client: Client,
    secrets: Vec<Secret>,
    /// Said once, until it is no longer true.
    in_trouble: bool,
    calls: Calls,
}

impl Calling {
    pub(super) fn new(shared: Arc<Shared>, name: String, client: Client, secrets: Vec<Secret>) -> Self {
        let calls = Calls::new(&client.remotes[0].name, now().unix);
        Self { shared, name, client, secrets, in_trouble: false, calls }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.call() => {}
            () = stop.cancelled() => info!(client = self.name, "no longer called"),
        }
    }

    async fn call(&mut self) {
        let endpoints = self.client.remotes.len();
        let (mut machine, mut action) = Machine::new(self.client.policy.clone(), endpoints, now(), chance());
        loop {
            let input = match action {
                Action::Wait(time) => {
                    let endpoint = self.endpoint(&machine);
                    let until_unix = now().unix.saturating_add_unsigned(time.as_secs());
                    self.tell(Phase::Waiting { endpoint, until_unix });
                    sleep(time).await;
                    Input::Due
                }
                Action::Connect { endpoint } => self.connection(&mut machine, endpoint).await,
                // The connection stands while its future runs, and that has said how it ended.
                Action::Nothing => return,
            };
            action = machine.on(input, now(), chance());
        }
    }

    /// One attempt and, if it succeeds, the connection; how that ended.
    async fn connection(&mut self, machine: &mut Machine, endpoint: usize) -> Input {
        let remote = self.client.remotes[endpoint].clone();
        self.tell(Phase::Calling { endpoint: remote.name.clone() });
        let target = format!("{}:{}", remote.host, remote.port);
        let connecting = TcpStream::connect((remote.host.as_str(), remote.port));
        let connected = match timeout(self.client.max_wait, connecting).await {
            Ok(connected) => connected.and_then(|stream| stream.peer_addr().map(|peer| (stream, peer))),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        let (stream, peer) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                self.trouble(&target, &error);
                return Input::Failed;
            }
        };
        let closed = Arc::new(AtomicBool::new(false));
        let (established, establishing) = oneshot::channel();
        let serving = self.serve(&remote, endpoint, stream, peer, closed.clone(), established);
        let logged_in = || {
            info!(client = self.name, %target, "a client that was called has logged in");
            machine.on(Input::Connected, now(), chance());
            self.in_trouble = false;
            self.tell(Phase::Connected { endpoint: remote.name.clone() });
        };
        if !attended(serving, establishing, logged_in).await {
            self.trouble(&target, &"the client did not log in");
            return Input::Failed;
        }
        Input::Ended { gracefully: closed.load(Ordering::Relaxed) }
    }

    fn endpoint(&self, machine: &Machine) -> String {
        self.client.remotes[machine.endpoint()].name.clone()
    }

    fn tell(&mut self, phase: Phase) {
        self.calls.enter(phase, now().unix);
        self.shared.board.calls(&self.name, &self.calls);
    }

    fn serve(
        &self,
        remote: &Remote,
        endpoint: usize,
        stream: TcpStream,
        peer: SocketAddr,
        closed: Arc<AtomicBool>,
        established: oneshot::Sender<()>,
    ) -> impl Future<Output = ()> + use<> {
        let manner = Manner { idle: self.client.idle, closed: Some(closed) };
        let gear = self.shared.gear(&remote.transport, &self.secrets[endpoint], &manner);
        let shared = self.shared.clone();
        async move {
            match gear {
                Gear::Ssh(server) => server.attend(stream, peer, established).await,
                Gear::Tls(_) => {
                    let serving = Arc::new(Serving { manner, gear });
                    // Its configuration does not change: with another one the client is called anew.
                    let (_kept, state) = watch::channel(Some(serving.clone()));
                    shared.serve_tls(stream, peer, serving, state, None, Some(established)).await;
                }
            }
        }
    }

    fn trouble(&mut self, target: &str, error: &dyn std::fmt::Display) {
        self.calls.fail(format!("{target}: {error}"));
        if !self.in_trouble {
            warn!(client = self.name, target, %error, "a client cannot be called; trying on");
        }
        self.in_trouble = true;
    }
}

/// Sees a connection to its end; whether its client logged in. Both may be known at once: a quick client logs in, closes its
/// session and is gone before anybody looks.
async fn attended(
    serving: impl Future<Output = ()>,
    mut establishing: oneshot::Receiver<()>,
    mut logged_in: impl FnMut(),
) -> bool {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        biased;
        Ok(()) = &mut establishing => {
            logged_in();
            serving.await;
            true
        }
        () = &mut serving => {
            let was_quick = establishing.try_recv().is_ok();
            if was_quick {
                logged_in();
            }
            was_quick
        }
    }
}

/// A random number; where the system has none, the first endpoint is as good as any.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves a client that logs in or not, with so many pauses behind its login; whether and how often it was noticed.
    async fn noticed(logs_in: bool, pauses: usize) -> (bool, usize) {
        let (established, establishing) = oneshot::channel();
        let serving = async move {
            if logs_in {
                established.send(()).unwrap();
            }
            for _ in 0..pauses {
                tokio::task::yield_now().await;
            }
        };
        let mut times = 0;
        (attended(serving, establishing, || times += 1).await, times)
    }

    #[tokio::test]
    async fn a_client_that_is_gone_at_once_has_still_logged_in() {
        for pauses in [0, 1, 2] {
            assert_eq!(noticed(true, pauses).await, (true, 1), "{pauses}");
            assert_eq!(noticed(false, pauses).await, (false, 0), "{pauses}");
        }
    }
}
