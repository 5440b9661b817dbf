//! Between the event manager and those who tell it what happens, or do what it wants: none knows the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::lines;
use crate::eem::driver::{HAPPENINGS_WAITING_MAX, Runner, Say, ScriptRun, StatusOf};
use crate::eem::happening::Happening;
use crate::northbound::handle::{Handle, Opening};
use crate::northbound::notifications::Wish;
use crate::northbound::{Client, Kind, Refusal, Request, SessionEnd};
use crate::request::driver::Handle as Requests;
use crate::request::run::{Account, LogLevel, Order, RequestId};
use crate::script::handle::Handle as Scripts;
use crate::script::name::{ScriptName, ScriptType};
use crate::system::SystemLog;
use crate::system::driver::Line;

/// Who asks for what the event manager does, in the history and in the list of sessions.
const NAME: &str = "event-manager";
/// How long a refused subscription is left alone.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
/// What these write in the system log is about scripts that events run: an event on it would have no end.
const NOT_HEARD: [&str; 2] = [lines::SCRIPT_MANAGER, lines::EVENT_MANAGER];

/// Tells the event manager, and never waits for it.
#[derive(Clone)]
pub(super) struct Teller(mpsc::Sender<Happening>);

pub(super) fn teller() -> (Teller, mpsc::Receiver<Happening>) {
    let (sender, receiver) = mpsc::channel(HAPPENINGS_WAITING_MAX);
    (Teller(sender), receiver)
}

impl Teller {
    pub(super) fn tell(&self, happening: Happening) {
        if self.0.try_send(happening).is_err() {
            warn!("something happened that the event manager could not look at: it has too much to do");
        }
    }
}

/// Runs a script of the eem shelf on behalf of the account that its action names.
pub(super) fn runner(requests: Requests, scripts: Scripts) -> Runner {
    Arc::new(move |run: ScriptRun| {
        let (requests, scripts) = (requests.clone(), scripts.clone());
        Box::pin(async move {
            let is_there =
                ScriptName::parse(&run.script).is_ok_and(|name| scripts.describe(ScriptType::Eem, &name).is_some());
            if !is_there {
                let refusal = Refusal::new(Kind::DataMissing, format!("there is no eem script `{}`", run.script));
                return Err(refusal.mend(format!("`script add eem SOURCE {}`", run.script)));
            }
            let mut environment = run.environment;
            environment.push(("PROCYON_EVENT".to_owned(), run.event));
            let order = Order {
                script_type: ScriptType::Eem.as_str().to_owned(),
                script: run.script,
                sha256: run.sha256,
                arguments: String::new(),
                words: Vec::new(),
                description: Some(run.description),
                log_level: LogLevel::default(),
                max_runtime_seconds: run.max_run_seconds,
                account: Account { user: run.username, groups: Vec::new() },
                environment,
                log_path: None,
            };
            requests.run(order).await.map(|id| id.0)
        })
    })
}

pub(super) fn status_of(requests: Requests) -> StatusOf {
    Arc::new(move |id| {
        let runs = requests.runs();
        let run = runs.iter().find(|run| run.id == RequestId(id))?;
        let value = run.return_value.map(|value| format!(", return value {value}")).unwrap_or_default();
        Some(format!("request {id}: {}{value}", run.status().as_str()))
    })
}

pub(super) fn say(syslog: SystemLog) -> Say {
    Arc::new(move |text, is_trouble| syslog.log(lines::event_manager(text, is_trouble)))
}

/// Lines of the system log become happenings.
pub(super) async fn listen_to_lines(mut lines: broadcast::Receiver<Arc<Line>>, teller: Teller) {
    loop {
        match lines.recv().await {
            Ok(line) if NOT_HEARD.contains(&line.process.as_str()) => {}
            Ok(line) => teller.tell(Happening::Log { severity: line.severity, line: line.text.clone() }),
            Err(broadcast::error::RecvError::Lagged(count)) => {
                warn!(count, "lines of the system log came too fast for the event manager");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Notifications become happenings while a trigger wants them, by a session like any subscriber's.
pub(super) async fn listen_to_notifications(
    northbound: Handle,
    teller: Teller,
    mut wanted: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            wants = wanted.wait_for(|wants| *wants) => if wants.is_err() { return },
            () = stop.cancelled() => return,
        }
        let listening = listen_while_wanted(&northbound, &teller, &mut wanted, &stop);
        if let Err(refusals) = listening.await {
            let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            warn!(refusals = said.join("; "), "the event manager does not hear of notifications now");
            tokio::select! {
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

async fn listen_while_wanted(
    northbound: &Handle,
    teller: &Teller,
    wanted: &mut watch::Receiver<bool>,
    stop: &CancellationToken,
) -> Result<(), Vec<Refusal>> {
    let opening = Opening { user: NAME.to_owned(), groups: Vec::new(), client: Client::Agent, origin: NAME.to_owned() };
    let mut ticket = northbound.open(opening).await.map_err(|refusal| vec![refusal])?;
    let subscribed = northbound.ask(&ticket.caller, Request::CreateSubscription(Wish::default())).await;
    while subscribed.is_ok() {
        let notice = tokio::select! {
            notice = ticket.mailbox.next() => notice,
            // Killed by somebody: a new session is opened.
            _ = ticket.killed.changed() => break,
            unwanted = wanted.wait_for(|wants| !*wants) => {
                drop(unwanted);
                break;
            }
            () = stop.cancelled() => break,
        };
        let name = format!("{}:{}", notice.module, notice.name);
        teller.tell(Happening::Notification { name, xml: String::from_utf8_lossy(&notice.body).into_owned() });
    }
    northbound.close(ticket.caller.session, SessionEnd::Closed).await;
    subscribed.map(drop)
}
