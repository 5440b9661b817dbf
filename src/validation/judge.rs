//! The look itself: who is asked in which order, what they may ask, and what comes of what they say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::config::{self, Kind, Script};
use super::driver::{CliLines, Desk, Heard, Message, Seat, State, now};
use super::paths::{self, Names, PathError, Target};
use super::protocol::{self, Format, FromScript, Item, NodeSeen, QUESTIONS_MAX, Remark, Report, ToScript};
use super::report::LastLook;
use crate::northbound::judging::{COMMIT_SCRIPT, Case, Judge, Ruling, SchemaPath, Seen, View};
use crate::northbound::provider::{Change, Edit};
use crate::northbound::{Fragment, Refusal};
use crate::yang::schema::NodeKind;

/// What scripts amend is looked at once more, and must then stay as it is.
const ROUNDS: usize = 2;
/// How long a script that has just been cut off has to say how it ended.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);

/// What no script may amend: who may do what, and which scripts may run.
const CLOSED: [&str; 6] = [
    "/ietf-netconf-acm:nacm",
    "/ietf-system:system",
    "/ietf-keystore:keystore",
    "/ietf-truststore:truststore",
    config::SCRIPTS,
    config::ROOT,
];

/// Those who look at commits.
#[derive(Clone)]
pub struct Court {
    pub(super) desk: Arc<Desk>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) names: Arc<Names>,
    pub(super) cli: CliLines,
    pub(super) heard: mpsc::Sender<Heard>,
    pub(super) look_time_max: Duration,
}

impl Judge for Court {
    fn may_want(&self, changes: &[Change]) -> bool {
        let switches =
            |change: &Change| change.path.starts_with(config::SCRIPTS) || change.path.starts_with(config::ROOT);
        !self.desk.active().is_empty() || changes.iter().any(switches)
    }

    fn hear(&self, case: Case) -> Ruling {
        let court = self.clone();
        Box::pin(async move { court.look(case).await })
    }
}

/// One script's part in the case.
struct Asked {
    script: Script,
    state: watch::Receiver<State>,
    /// It was not there before this commit: all its callbacks are called.
    is_new: bool,
}

impl Court {
    async fn look(&self, case: Case) -> Result<(), Vec<Refusal>> {
        let Case { caller, mut changes, view, is_trial } = case;
        let refuse = |refusal| vec![refusal];
        let scripts = view.subtree(config::SCRIPTS).await.map_err(refuse)?;
        let switch = view.subtree(config::ROOT).await.map_err(refuse)?;
        let scripts = config::active(scripts.as_ref(), switch.as_ref());
        if scripts.is_empty() {
            return Ok(());
        }
        let asked = self.summon(&scripts).await?;
        let mut looks: BTreeMap<Script, LastLook> = BTreeMap::new();
        let outcome = self.rounds(&asked, &caller.user, &view, &mut changes, &mut looks).await;
        for (script, look) in looks {
            for warning in &look.warnings {
                self.say(format!("{script} warns: {}", shown(warning)), false).await;
            }
            if let Some(trouble) = &look.trouble {
                self.say(format!("{script}: {trouble}"), true).await;
            }
            if !look.amended.is_empty() {
                self.say(format!("{script} has amended {}", look.amended.join(", ")), false).await;
            }
            self.desk.looked(&script, look, outcome.is_ok() && !is_trial);
        }
        outcome
    }

    async fn rounds(
        &self,
        asked: &[Asked],
        user: &str,
        view: &View,
        changes: &mut Vec<Change>,
        looks: &mut BTreeMap<Script, LastLook>,
    ) -> Result<(), Vec<Refusal>> {
        for round in 1..=ROUNDS {
            let mut refusals = Vec::new();
            for one in asked {
                refusals.extend(self.ask(one, user, view, changes, looks).await);
            }
            if !refusals.is_empty() {
                return Err(refusals);
            }
            let settled = view.settle().await.map_err(|refusals| blamed(refusals, looks))?;
            if settled.amended.is_empty() {
                return Ok(());
            }
            if round == ROUNDS {
                return Err(settled.amended.iter().map(unsettled).collect());
            }
            *changes = settled.changes;
        }
        Ok(())
    }

    /// Asks one script; what it has against the commit.
    async fn ask(
        &self,
        one: &Asked,
        user: &str,
        view: &View,
        changes: &[Change],
        looks: &mut BTreeMap<Script, LastLook>,
    ) -> Vec<Refusal> {
        let look = looks.entry(one.script.clone()).or_default();
        let began = now();
        let asking = self.consult(one, user, view, changes, &mut look.amended);
        let outcome = tokio::time::timeout(self.look_time_max, asking).await;
        look.duration += began.elapsed();
        let trouble = match outcome {
            Ok(Ok((seat, report))) => {
                look.count(&seat, &report);
                let refusals = report.errors.iter().flat_map(|remark| objections(&one.script, remark)).collect();
                look.errors = report.errors;
                // A second look does not take back what the first has warned of.
                for warning in report.warnings {
                    if !look.warnings.contains(&warning) {
                        look.warnings.push(warning);
                    }
                }
                match report.crash {
                    None => return refusals,
                    Some(traceback) => format!("an exception that it did not catch\n{}", traceback.trim_end()),
                }
            }
            Ok(Err(trouble)) => trouble,
            Err(_) => {
                drop(self.messages.send(Message::Dismiss { script: one.script.clone() }).await);
                format!("it did not come to an end within {} s, and is started again", self.look_time_max.as_secs())
            }
        };
        look.trouble = Some(trouble.clone());
        vec![unable(&one.script, &trouble)]
    }

    async fn consult(
        &self,
        one: &Asked,
        user: &str,
        view: &View,
        changes: &[Change],
        amended: &mut Vec<String>,
    ) -> Result<(Arc<Seat>, Report), String> {
        let seat = seated(one.state.clone()).await?;
        let callbacks = callbacks(&one.script, &seat, changes, one.is_new);
        if callbacks.is_empty() {
            return Ok((seat, Report::default()));
        }
        let mut state = one.state.clone();
        match self.converse(&one.script, &seat, callbacks, user, view, changes, amended).await {
            Ok(report) => Ok((seat, report)),
            Err(broken) => {
                // The keeper hears of its end at about the same time, and starts it again.
                let ended = state.wait_for(|state| !matches!(state, State::Seated(_) | State::Waiting { why: None }));
                if let Ok(Ok(ended)) = tokio::time::timeout(LAST_WORDS_TIME, ended).await
                    && let State::Waiting { why: Some(why) } | State::Refused { why } = &*ended
                {
                    return Err(why.clone());
                }
                drop(self.messages.send(Message::Dismiss { script: one.script.clone() }).await);
                Err(format!("it does not say what was agreed: {broken}"))
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one conversation, and what it is about")]
    async fn converse(
        &self,
        script: &Script,
        seat: &Seat,
        callbacks: Vec<usize>,
        user: &str,
        view: &View,
        changes: &[Change],
        amended: &mut Vec<String>,
    ) -> std::io::Result<Report> {
        let mut line = seat.line.lock().await;
        line.say(&ToScript::Look { callbacks, user: user.to_owned() }).await?;
        for _ in 0..QUESTIONS_MAX {
            let answer = match line.hear().await? {
                FromScript::Done(report) => return Ok(report),
                question => self.answer(script, question, view, changes, amended).await,
            };
            let answer = answer.unwrap_or_else(|(exception, message)| ToScript::Refused { exception, message });
            line.say(&answer).await?;
        }
        Err(std::io::Error::other(format!("it asked more than {QUESTIONS_MAX} questions")))
    }

    async fn answer(
        &self,
        script: &Script,
        question: FromScript,
        view: &View,
        changes: &[Change],
        amended: &mut Vec<String>,
    ) -> Result<ToScript, (&'static str, String)> {
        let wrong = |error: PathError| (error.name(), error.to_string());
        let over = |refusal: Refusal| ("UnexpectedError", refusal.to_string());
        Ok(match question {
            FromScript::Get { base, path } => {
                let target = self.names.resolve(base.as_deref(), &path).map_err(wrong)?;
                if !target.is_one() {
                    let keys = "one entry: name its keys, or ask with get_list".to_owned();
                    return Err(("InvalidNodeKind", format!("`{path}` is not {keys}")));
                }
                let seen = view.node(target.path()).await.map_err(over)?;
                ToScript::Node(seen.map(|seen| told(&target, seen)))
            }
            FromScript::List { base, path } => {
                let target = self.names.resolve(base.as_deref(), &path).map_err(wrong)?;
                let node = target.node();
                if !matches!(node.kind(), NodeKind::List | NodeKind::LeafList) {
                    return Err(("InvalidNodeKind", format!("`{path}` is no list: ask with get_node")));
                }
                let of = SchemaPath { module: node.module().name().to_owned(), name: node.name().to_owned() };
                let entries = view.entries(target.parent(), of).await.map_err(over)?;
                ToScript::Nodes(entries.into_iter().map(|seen| told(&target, seen)).collect())
            }
            FromScript::Set { base, path, value } => {
                let target = self.names.resolve(base.as_deref(), &path).map_err(wrong)?;
                let value = target.text_of(&value).map_err(wrong)?;
                self.amend(script, view, &target, target.setting(value.as_deref()), amended).await?
            }
            FromScript::Delete { base, path } => {
                let target = self.names.resolve(base.as_deref(), &path).map_err(wrong)?;
                self.amend(script, view, &target, target.removal(), amended).await?
            }
            FromScript::Target { format: Format::Cli } => {
                let (taken, set) = paths::taken_and_set(&self.names, changes);
                ToScript::Lines((self.cli)(&taken, &set))
            }
            FromScript::Target { format: Format::Sysdb } => ToScript::Items(changes.iter().filter_map(item).collect()),
            FromScript::Register { .. } | FromScript::Ready | FromScript::Done(_) => {
                return Err(("InvalidAPICall", "callbacks are registered before the first commit".to_owned()));
            }
        })
    }

    async fn amend(
        &self,
        script: &Script,
        view: &View,
        target: &Target,
        edit: String,
        amended: &mut Vec<String>,
    ) -> Result<ToScript, (&'static str, String)> {
        let path = target.path();
        if script.kind == Kind::Precommit {
            return Err(("InvalidAPICall", "a precommit script looks, and changes nothing".to_owned()));
        }
        if CLOSED.iter().any(|closed| path.starts_with(closed)) {
            return Err(("InvalidAPICall", format!("`{path}` is not for scripts to change")));
        }
        match view.amend(Fragment(edit.into())).await {
            Ok(()) => {
                if !amended.contains(&path) {
                    amended.push(path);
                }
                Ok(ToScript::Ok)
            }
            Err(refusals) => {
                let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                Err(("BadDatatype", said.join("; ")))
            }
        }
    }

    async fn summon(&self, scripts: &[Script]) -> Result<Vec<Asked>, Vec<Refusal>> {
        let active = self.desk.active();
        let (reply, answer) = oneshot::channel();
        let stopping = |script: &Script| vec![unable(script, "the agent is shutting down")];
        let summons = Message::Summon { scripts: scripts.to_vec(), reply };
        self.messages.send(summons).await.map_err(|_| stopping(&scripts[0]))?;
        let states = answer.await.map_err(|_| stopping(&scripts[0]))?;
        let asked = scripts.iter().zip(states);
        Ok(asked
            .map(|(script, state)| Asked { script: script.clone(), state, is_new: !active.contains(script) })
            .collect())
    }

    async fn say(&self, text: String, is_trouble: bool) {
        // When the agent is shutting down nobody listens any more.
        drop(self.heard.send(Heard::Said { text, is_trouble }).await);
    }
}

/// Waits until the script can be asked; why it cannot.
async fn seated(mut state: watch::Receiver<State>) -> Result<Arc<Seat>, String> {
    let settled = state.wait_for(|state| !matches!(state, State::Waiting { why: None })).await;
    match settled.as_deref() {
        Ok(State::Seated(seat)) => Ok(Arc::clone(seat)),
        Ok(State::Refused { why } | State::Waiting { why: Some(why) }) => Err(why.clone()),
        Ok(State::Waiting { why: None }) | Err(_) => Err("the agent is shutting down".to_owned()),
    }
}

fn callbacks(script: &Script, seat: &Seat, changes: &[Change], is_new: bool) -> Vec<usize> {
    if script.kind == Kind::Precommit {
        return vec![0];
    }
    let wants = |paths: &Vec<Vec<(String, String)>>| {
        is_new || paths.iter().any(|path| changes.iter().any(|change| paths::concerns(path, change)))
    };
    let wanted = seat.registered.iter().enumerate().filter(|(_, callback)| wants(&callback.paths));
    wanted.map(|(at, _)| at).collect()
}

impl LastLook {
    fn count(&mut self, seat: &Seat, report: &Report) {
        self.calls = self.calls.saturating_add(1);
        let last = report.calls.len();
        for (at, called) in report.calls.iter().enumerate() {
            let Some(callback) = seat.registered.get(called.callback) else { continue };
            let counts = self.callbacks.entry(callback.name.clone()).or_default();
            counts.calls = counts.calls.saturating_add(1);
            counts.duration += Duration::from_micros(called.microseconds);
            counts.errors = counts.errors.saturating_add(called.errors);
            counts.warnings = counts.warnings.saturating_add(called.warnings);
            counts.modifications = counts.modifications.saturating_add(called.modifications);
            // None is called after one that raises.
            counts.crash = report.crash.clone().filter(|_| at + 1 == last);
        }
    }
}

fn told(target: &Target, seen: Seen) -> NodeSeen {
    let node = target.node();
    let value = seen.value.map_or(serde_json::Value::Null, |text| paths::typed(node, &text));
    NodeSeen { path: seen.path, name: node.name().to_owned(), value }
}

/// `gl/module/container/list/key/leaf` and what it is set to.
fn item(change: &Change) -> Option<Item> {
    let value = match &change.edit {
        Edit::Create { value } => value.clone()?,
        Edit::Modify { value } => value.clone(),
        Edit::Delete | Edit::Move => return None,
    };
    let kind = if value.parse::<i64>().is_ok() { "uint" } else { "string" };
    let mut name = "gl".to_owned();
    for step in crate::yang::path::steps(&change.path)? {
        name.push('/');
        name.push_str(step.name);
        for part in step.predicates.split('[').filter_map(|part| part.split_once('=')) {
            name.push('/');
            name.push_str(part.1.trim_end_matches(']').trim_matches(['\'', '"']));
        }
    }
    Some(Item { name, value: (kind.to_owned(), value) })
}

fn objections(script: &Script, remark: &Remark) -> Vec<Refusal> {
    let message = format!("ERROR: {} ({script})", remark.message);
    let refusal = || Refusal::new(crate::northbound::Kind::OperationFailed, message.clone()).tagged(COMMIT_SCRIPT);
    if remark.paths.is_empty() {
        return vec![refusal()];
    }
    remark.paths.iter().map(|path| refusal().at(path.clone())).collect()
}

fn unable(script: &Script, trouble: &str) -> Refusal {
    let remedy = match script.kind {
        Kind::Config => format!(
            "mend the script, or take it out: no script config {0}; its log is {0}_config below /harddisk:/mirror/script-mgmt/logs",
            script.name
        ),
        Kind::Precommit => format!(
            "mend the script, or take it out: no script precommit {0} activate; its log is {0}_precommit below \
             /harddisk:/mirror/script-mgmt/logs",
            script.name
        ),
    };
    let message = format!("the commit is refused, because the {script} cannot be asked: {trouble}");
    Refusal::new(crate::northbound::Kind::OperationFailed, message).mend(remedy).tagged(COMMIT_SCRIPT)
}

/// What scripts made of the configuration is not valid.
fn blamed(refusals: Vec<Refusal>, looks: &BTreeMap<Script, LastLook>) -> Vec<Refusal> {
    let amenders: Vec<String> =
        looks.iter().filter(|(_, look)| !look.amended.is_empty()).map(|(script, _)| script.to_string()).collect();
    let by = amenders.join(", ");
    refusals
        .into_iter()
        .map(|refusal| {
            let message = format!("as amended by the {by}: {}", refusal.message);
            Refusal { message, ..refusal }
        })
        .collect()
}

fn unsettled(change: &Change) -> Refusal {
    let message = "scripts amend what scripts have amended: the commit does not settle".to_owned();
    Refusal::new(crate::northbound::Kind::OperationFailed, message).at(change.path.clone()).tagged(COMMIT_SCRIPT)
}

fn shown(remark: &protocol::Remark) -> String {
    if remark.paths.is_empty() {
        remark.message.clone()
    } else {
        format!("{} ({})", remark.message, remark.paths.join(", "))
    }
}
