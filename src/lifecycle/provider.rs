//! The lifecycle's face to the northbound: definitions and settings from commits, calls to its driver.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::{Notify, mpsc, oneshot};

use super::access::Declared;
use super::definition::{Definition, ProcessName, VERSION_BYTES_MAX, full_path, text};
use super::driver::{FILE_BYTES_MAX, FileCall, Message, Part};
use super::graph::{self, Needs};
use super::manager::Verb;
use super::tree::{self, CONFIGURED, Configured, STATE};
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery, Trying};
use crate::northbound::{Kind, Refusal};
use crate::yang::path::{key_values, steps};
use crate::yang::value::Element;

const START: &str = "/procyon-process:process-start";
const STOP: &str = "/procyon-process:process-stop";
const RESTART: &str = "/procyon-process:process-restart";
const RESYNC: &str = "/procyon-process:process-resync";
const SET_VERSION: &str = "/procyon-process:process-set-version";
const TEST: &str = "/procyon-process:process-configtest";
const WHY: &str = "/procyon-process:process-why";
const EXPORT: &str = "/procyon-process:process-export";
const REGISTER: &str = "/procyon-process:imdb-register";
const UNREGISTER: &str = "/procyon-process:imdb-unregister";
const READ: &str = "/procyon-process:file-read";
const REPLACE: &str = "/procyon-process:file-replace";
const DELETE: &str = "/procyon-process:file-delete";

/// Where a commit leaves what is configured, and the driver finds it: an apply can neither refuse nor wait.
#[derive(Debug, Default)]
pub struct Commits {
    left: Mutex<Option<Configured>>,
    arrived: Notify,
}

impl Commits {
    fn leave(&self, configured: Configured) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(configured);
        self.arrived.notify_one();
    }

    /// What was left since the last time.
    pub fn fetch(&self) -> Option<Configured> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until something may have been left.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// The lifecycle as the northbound sees it.
pub struct Lifecycle {
    driver: mpsc::Sender<Message>,
    commits: Arc<Commits>,
}

impl Lifecycle {
    pub fn new(driver: mpsc::Sender<Message>, commits: Arc<Commits>) -> Self {
        // Where nothing is configured no commit comes: nothing is what is configured then.
        commits.leave(Configured::default());
        Self { driver, commits }
    }
}

impl Lifecycle {
    /// The configuration test of a definition that nobody has committed.
    fn try_out(&self, definition: Definition, limit: Duration) -> Later<()> {
        let driver = self.driver.clone();
        Box::pin(async move {
            let name = definition.name;
            let (reply, answer) = oneshot::channel();
            let message = Message::TryOut { name: name.clone(), command: definition.configtest, limit, reply };
            let Some(trial) = ask(&driver, message, answer).await?? else { return Ok(()) };
            if trial.has_passed() {
                return Ok(());
            }
            let said: Vec<&str> = trial.output.iter().map(|line| line.text.as_str()).collect();
            let message = format!("the configuration test of process `{name}` fails: {}", said.join(" | "));
            Err(Refusal::new(Kind::OperationFailed, message)
                .at(format!("{CONFIGURED}/process[name='{name}']"))
                .mend("mend what it complains of, or commit and mend it then: a commit does not run the test")
                .tagged("configtest-failed"))
        })
    }
}

/// The process that a changed node belongs to.
fn process_of(path: &str) -> Option<&str> {
    let steps = steps(path)?;
    let (_, name) = *key_values(steps.get(1)?.predicates)?.first()?;
    Some(name)
}

impl Provider for Lifecycle {
    fn name(&self) -> &'static str {
        "lifecycle"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[CONFIGURED]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[STATE]
    }

    fn calls(&self) -> &'static [&'static str] {
        &[START, STOP, RESTART, RESYNC, SET_VERSION, TEST, WHY, EXPORT, REGISTER, UNREGISTER, READ, REPLACE, DELETE]
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let (configured, unfit) = tree::configured(proposal.config.subtree(CONFIGURED).as_ref());
        let refuse = |message: String| Refusal::new(Kind::InvalidValue, message).at(CONFIGURED);
        let mut refusals: Vec<Refusal> = unfit.into_iter().map(|unfit| refuse(unfit.to_string())).collect();
        let needs: Needs = configured
            .definitions
            .iter()
            .map(|(name, definition)| (name.clone(), definition.needs().cloned().collect()))
            .collect();
        for cycle in graph::cycles(&needs) {
            let mut names: Vec<&str> = cycle.iter().map(ProcessName::as_str).collect();
            names.extend(names.first().copied());
            let message = format!("processes would wait for each other for ever: {}", names.join(" -> "));
            refusals.push(refuse(message).tagged("start-cycle"));
        }
        let mut declared = Declared::default();
        for definition in configured.definitions.values() {
            if let Err(conflict) = declared.add(definition) {
                refusals.push(refuse(conflict.to_string()).tagged("access-conflict"));
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    fn trials(&self, proposal: &Proposal<'_>) -> Vec<Trying> {
        let (Configured { definitions, settings, .. }, _) =
            tree::configured(proposal.config.subtree(CONFIGURED).as_ref());
        if !settings.tests_at_validate {
            return Vec::new();
        }
        let changed: BTreeSet<&str> = proposal.changes.iter().filter_map(|change| process_of(&change.path)).collect();
        let limit = settings.limits.configtest;
        let tried = definitions.into_values().filter(|definition| changed.contains(definition.name.as_str()));
        tried.map(|definition| Trying { right: TEST, work: self.try_out(definition, limit) }).collect()
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let (configured, unfit) = tree::configured(proposal.config.subtree(CONFIGURED).as_ref());
        for unfit in unfit {
            tracing::error!(%unfit, "a committed definition cannot be read; its process is not managed");
        }
        self.commits.leave(configured);
    }

    fn state(&self, _: &'static str, query: StateQuery) -> Later<Vec<Element>> {
        let driver = self.driver.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            ask(&driver, Message::View { selection: query.selection, reply }, answer).await.map(|element| vec![element])
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let driver = self.driver.clone();
        Box::pin(async move { carry_out(&driver, call).await })
    }
}

async fn carry_out(driver: &mpsc::Sender<Message>, call: Call) -> Result<Vec<Element>, Refusal> {
    let input = &call.input;
    let done = |()| Vec::new();
    match call.path.as_str() {
        START => order(driver, Verb::Start, &call).await,
        STOP => order(driver, Verb::Stop, &call).await,
        RESTART => order(driver, Verb::Restart, &call).await,
        RESYNC => order(driver, Verb::Resync, &call).await,
        SET_VERSION => {
            let name = name(input)?;
            let version = text("the version", leaf(input, "version")?, VERSION_BYTES_MAX).map_err(invalid)?;
            let (reply, answer) = oneshot::channel();
            ask(driver, Message::SetVersion { name, version, reply }, answer).await?.map(done)
        }
        TEST => {
            let (reply, answer) = oneshot::channel();
            let wait = input.text_of("wait") != Some("false");
            let message = Message::Trial { name: name(input)?, by: call.caller.user.clone(), wait, reply };
            let Some(trial) = ask(driver, message, answer).await?? else { return Ok(Vec::new()) };
            let output = trial.output.iter().map(|line| Element::leaf("output", &line.text));
            Ok(std::iter::once(Element::leaf("passed", trial.has_passed())).chain(output).collect())
        }
        WHY => {
            let (reply, answer) = oneshot::channel();
            ask(driver, Message::Why { name: name(input)?, reply }, answer).await?
        }
        EXPORT => {
            let (reply, answer) = oneshot::channel();
            let name = name(input)?;
            let file = name.file_name();
            let xml = ask(driver, Message::Export { name, reply }, answer).await??;
            Ok(vec![Element::leaf("file-name", file), Element::leaf("xml", xml)])
        }
        REGISTER | UNREGISTER => {
            let table = text("the table", leaf(input, "table")?, 255).map_err(invalid)?;
            let (reply, answer) = oneshot::channel();
            let is_registered = call.path == REGISTER;
            ask(driver, Message::Imdb { table, is_registered, reply }, answer).await?.map(done)
        }
        READ => {
            let content = file(driver, &call, FileCall::Read { path: path(input)?, part: part(input) }).await?;
            Ok(vec![Element::leaf("content", BASE64.encode(content))])
        }
        REPLACE => {
            let mode = mode(leaf(input, "mode")?)?;
            let encoded: String = leaf(input, "content")?.split_ascii_whitespace().collect();
            let content = BASE64
                .decode(encoded)
                .map_err(|error| Refusal::new(Kind::InvalidValue, format!("the content is not base64: {error}")))?;
            let replace = FileCall::Replace { path: path(input)?, mode, content };
            file(driver, &call, replace).await.map(|_| Vec::new())
        }
        DELETE => file(driver, &call, FileCall::Delete { path: path(input)? }).await.map(|_| Vec::new()),
        other => Err(Refusal::new(Kind::OperationNotSupported, format!("`{other}` is not for processes"))),
    }
}

async fn order(driver: &mpsc::Sender<Message>, verb: Verb, call: &Call) -> Result<Vec<Element>, Refusal> {
    let names = call.input.children_named("name").filter_map(|name| name.text.as_deref());
    let names: Vec<ProcessName> = names.map(ProcessName::parse).collect::<Result<_, _>>().map_err(invalid)?;
    let (reply, answer) = oneshot::channel();
    let message = Message::Call { verb, names, by: call.caller.user.clone(), reply };
    ask(driver, message, answer).await?.map(|()| Vec::new())
}

async fn file(driver: &mpsc::Sender<Message>, call: &Call, file: FileCall) -> Result<Vec<u8>, Refusal> {
    let (reply, answer) = oneshot::channel();
    ask(driver, Message::File { call: file, by: call.caller.user.clone(), reply }, answer).await?
}

async fn ask<T>(driver: &mpsc::Sender<Message>, message: Message, answer: oneshot::Receiver<T>) -> Result<T, Refusal> {
    let gone = || Refusal::new(Kind::ResourceDenied, "the lifecycle is shutting down");
    driver.send(message).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}

fn leaf<'e>(input: &'e Element, name: &str) -> Result<&'e str, Refusal> {
    let missing = || Refusal::new(Kind::MissingElement { element: name.to_owned() }, format!("`{name}` is missing"));
    input.text_of(name).ok_or_else(missing)
}

fn name(input: &Element) -> Result<ProcessName, Refusal> {
    ProcessName::parse(leaf(input, "name")?).map_err(invalid)
}

fn path(input: &Element) -> Result<PathBuf, Refusal> {
    full_path("path", leaf(input, "path")?).map_err(invalid)
}

/// The part of a file that is asked for, if it is not the whole.
fn part(input: &Element) -> Option<Part> {
    let number = |leaf: &str| input.text_of(leaf).and_then(|text| text.parse().ok());
    let (offset, length) = (number("offset"), number("length"));
    (offset.is_some() || length.is_some())
        .then(|| Part { offset: offset.unwrap_or(0), length: length.unwrap_or(FILE_BYTES_MAX as u64) })
}

/// Whoever writes a file says who may use it; a file that nobody may run or read on purpose is a mistake.
pub fn mode(text: &str) -> Result<u32, Refusal> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| (0o101..=0o777).contains(mode));
    mode.ok_or_else(|| {
        Refusal::new(Kind::InvalidValue, format!("`{text}` is no mode")).mend("write it in octal, from 101 to 777")
    })
}

fn invalid(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Kind::InvalidValue, error.to_string())
}
