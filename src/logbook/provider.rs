//! The face to the northbound: `/procyon-log:logs` and the rpc `show-log`. Whoever may read an entry of the one may read
//! its log by the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tokio::sync::Semaphore;

use super::answer::{Latest, Told};
use super::driver::{Ear, joined, of_folders, of_keeper, since, tell};
use super::question::{Cursor, LINES_DEFAULT, Question, Source, Stream, cursor, cursor_text};
use crate::keeper::client::Keeper;
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::{Caller, Kind, Refusal};
use crate::yang::value::Element;

const MODULE: &str = "procyon-log";
const STATE: &str = "/procyon-log:logs";
const SHOW: &str = "/procyon-log:show-log";
/// Text in one answer; the earliest is left out.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Lines in one answer.
const LINES_MAX: usize = 20_000;
/// Questions that are being answered at once, waiting ones included; a further one waits its turn.
const QUESTIONS_MAX: usize = 32;

/// Whether somebody may read what stands at a path.
pub type Permits = Arc<dyn Fn(Caller, String) -> Later<()> + Send + Sync>;

/// What finds the logs and reads them.
#[derive(Clone)]
pub struct Logbook {
    keeper: Keeper,
    folder: PathBuf,
    permits: Permits,
    now: fn() -> Timestamp,
    turns: Arc<Semaphore>,
}

impl Logbook {
    pub fn new(keeper: Keeper, folder: PathBuf, permits: Permits, now: fn() -> Timestamp) -> Self {
        Self { keeper, folder, permits, now, turns: Arc::new(Semaphore::new(QUESTIONS_MAX)) }
    }

    async fn sources(&self) -> Result<Vec<Source>, Refusal> {
        // While the keeper is away its logs are found in the house's folders, but for those that are elsewhere.
        let known = of_keeper(&self.keeper).await.unwrap_or_default();
        let folder = self.folder.clone();
        blocking(move || joined(known, of_folders(&folder).unwrap_or_default())).await
    }

    async fn show(self, call: Call) -> Result<Vec<Element>, Refusal> {
        let now = || (self.now)().to_zoned(TimeZone::system());
        let asked = asked(&call.input, &now())?;
        let _turn = self.turns.acquire().await.map_err(|_| gone())?;
        let mut sources = self.sources().await?;
        sources.retain(|source| source.is_meant(&asked.question.names));
        let mut readable = Vec::new();
        let mut denied = None;
        for source in sources {
            match (self.permits)(call.caller.clone(), path_of(&source.name)).await {
                Ok(()) => readable.push(source),
                Err(refusal) => denied = Some(refusal),
            }
        }
        if readable.is_empty() && !asked.question.names.is_empty() {
            // Who may not read a log does not learn whether there is one, unless the rules are about all of them.
            let none = Refusal::new(Kind::DataMissing, "no log has such a name").mend("logs of procyon-log lists them");
            return Err(denied.filter(|_| asked.question.names.iter().any(|name| name.contains('*'))).unwrap_or(none));
        }
        let now = u64::try_from((self.now)().as_second()).unwrap_or(0);
        blocking(move || asked.answer(&readable, now))
            .await?
            .map_err(|error| Refusal::new(Kind::OperationFailed, error.to_string()))
    }
}

impl Provider for Logbook {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[STATE]
    }

    fn calls(&self) -> &'static [&'static str] {
        &[SHOW]
    }

    fn apply(&mut self, _: &Proposal<'_>) {}

    fn state(&self, _: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        let logbook = self.clone();
        Box::pin(async move {
            let entry = |source: &Source| {
                let leaves = vec![
                    Element::leaf("name", &source.name),
                    Element::leaf("output-file", source.output.display()),
                    Element::leaf("error-file", source.errors.display()),
                ];
                Element::node("log", leaves)
            };
            let entries = logbook.sources().await?.iter().map(entry).collect();
            Ok(vec![Element::node("logs", entries).in_module(MODULE)])
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        Box::pin(self.clone().show(call))
    }
}

/// One question, with how it is to be answered.
#[derive(Debug)]
struct Asked {
    question: Question,
    cursor: Option<Cursor>,
    wait: Duration,
    lines_max: usize,
}

fn asked(input: &Element, now: &Zoned) -> Result<Asked, Refusal> {
    let invalid = |error: super::question::Misunderstood| Refusal::new(Kind::InvalidValue, error.to_string());
    let number = |leaf: &str| input.text_of(leaf).and_then(|text| text.parse::<u32>().ok());
    let mut question = Question {
        names: input.children_named("name").filter_map(|name| name.text.clone()).collect(),
        stream: input.text_of("stream").and_then(|word| Stream::BOTH.into_iter().find(|it| it.word() == word)),
        ..Question::default()
    };
    question.times(input.text_of("since"), input.text_of("until"), now).map_err(invalid)?;
    question.wanted.uid = number("uid");
    let last = number("last").and_then(|last| usize::try_from(last).ok());
    let default = if question.is_unbounded() { LINES_DEFAULT } else { LINES_MAX };
    let lines_max = last.unwrap_or(default).min(LINES_MAX);
    question.wanted.last = Some(lines_max);
    Ok(Asked {
        question,
        cursor: input.text_of("cursor").map(cursor).transpose().map_err(invalid)?,
        wait: Duration::from_secs(number("wait").map_or(0, u64::from)),
        lines_max,
    })
}

impl Asked {
    fn answer(self, sources: &[Source], now: u64) -> std::io::Result<Vec<Element>> {
        let mut latest = Latest::new(self.lines_max, TEXT_BYTES_MAX);
        let cursor = match self.cursor {
            None => tell(sources, &self.question, |told| {
                latest.push(told);
                Ok(())
            })?,
            Some(mut cursor) => {
                // Heard before it is looked for: nothing comes in between.
                let mut ear = if self.wait.is_zero() { None } else { Some(Ear::of(sources)?) };
                let mut told = since(sources, &self.question, &mut cursor, now)?;
                if let (true, Some(ear)) = (told.is_empty(), &mut ear) {
                    ear.listen(Some(self.wait))?;
                    told = since(sources, &self.question, &mut cursor, now)?;
                }
                latest = Latest::new(usize::MAX, usize::MAX);
                told.into_iter().for_each(|told| latest.push(told));
                cursor
            }
        };
        let (told, is_cut) = latest.take();
        let mut output: Vec<Element> = told.iter().map(lines).collect();
        output.push(Element::leaf("cut", is_cut).in_module(MODULE));
        output.push(Element::leaf("cursor", cursor_text(&cursor)).in_module(MODULE));
        Ok(output)
    }
}

fn lines(told: &Told) -> Element {
    let at = told.lines.second.and_then(|second| Timestamp::from_second(i64::try_from(second).ok()?).ok());
    let mut leaves = vec![Element::leaf("name", &told.name), Element::leaf("stream", told.stream.word())];
    leaves.extend(Element::leaf_if("time", at));
    leaves.push(Element::leaf("text", printable(&String::from_utf8_lossy(&told.lines.bytes))));
    Element::node("lines", leaves).in_module(MODULE)
}

/// Without the characters that XML cannot carry.
fn printable(text: &str) -> String {
    text.chars().filter(|next| !next.is_control() || matches!(next, '\n' | '\t')).collect()
}

fn path_of(name: &str) -> String {
    format!("{STATE}/log[name='{name}']")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| gone())
}

fn gone() -> Refusal {
    Refusal::new(Kind::ResourceDenied, "the agent is shutting down")
}
