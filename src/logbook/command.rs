//! The command `procyon logs`: what programs have printed, read from the files, whoever is away.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::answer::{Latest, Told};
use super::driver::{Ear, joined, of_folders, of_keeper, since, tell};
use super::printer::{Manner, Printer};
use super::question::{Question, Source, Stream};
use crate::keeper::client::Keeper;
use crate::settings::Layout;

/// How long the keeper has to say where logs are that are not in the house's folders.
const KEEPER_TIME_MAX: Duration = Duration::from_secs(2);
/// With -n there is an end to what is kept in memory.
const LAST_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What is followed when nothing says how much of the past is wanted.
const FOLLOWED_LINES: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Each line with its time and whose it is.
    Short,
    /// As the programs printed it.
    Cat,
}

#[derive(Debug, Clone, Args)]
pub struct Asked {
    /// Whose: names, with * and ? for any text and any character; without, everybody's.
    names: Vec<String>,
    /// From then on: yesterday, today, -1h, `2 days ago`, 14:05, 2026-11-21, `2026-11-21 14:05:30`.
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Up to then.
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// The last lines only.
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,
    /// Go on with what comes.
    #[arg(short = 'f', long)]
    follow: bool,
    /// What was printed under this account, a number or a name.
    #[arg(long, value_name = "USER")]
    uid: Option<String>,
    /// Only what came on standard error.
    #[arg(long, conflicts_with = "standard_output")]
    errors: bool,
    /// Only what came on standard output.
    #[arg(long = "output")]
    standard_output: bool,
    /// How it is shown.
    #[arg(short = 'o', long = "format", value_enum, default_value = "short")]
    format: Output,
}

/// Carries out what was asked.
///
/// # Errors
/// Times that mean nothing, names that nobody has, logs that cannot be read.
pub fn run(layout: &Layout, asked: &Asked) -> anyhow::Result<()> {
    let question = asked.question()?;
    let mut sources = sources(layout)?;
    if sources.is_empty() {
        bail!("there are no logs below {}", layout.logs().display());
    }
    sources.retain(|source| source.is_meant(&question.names));
    for name in &question.names {
        if !sources.iter().any(|source| source.is_meant(std::slice::from_ref(name))) {
            bail!("nobody called `{name}` has a log: `procyon logs` without a name shows everybody's");
        }
    }
    let manner = if asked.format == Output::Cat { Manner::Bare } else { Manner::Tagged };
    let mut printer = Printer::new(manner, TimeZone::system());
    match show(&sources, question, asked.follow, &mut printer) {
        // Whoever reads has seen enough: `procyon logs | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

impl Asked {
    fn question(&self) -> anyhow::Result<Question> {
        let mut question = Question { names: self.names.clone(), ..Question::default() };
        let now = now().to_zoned(TimeZone::system());
        question.times(self.since.as_deref(), self.until.as_deref(), &now)?;
        question.stream = match (self.standard_output, self.errors) {
            (true, _) => Some(Stream::Output),
            (_, true) => Some(Stream::Errors),
            (false, false) => None,
        };
        question.wanted.uid = self.uid.as_deref().map(account).transpose()?;
        question.wanted.last = self.lines;
        if self.follow && question.is_unbounded() {
            question.wanted.last = Some(FOLLOWED_LINES);
        }
        Ok(question)
    }
}

fn account(text: &str) -> anyhow::Result<u32> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let user = nix::unistd::User::from_name(text).with_context(|| format!("account `{text}` cannot be looked up"))?;
    match user {
        Some(user) => Ok(user.uid.as_raw()),
        None => bail!("there is no account `{text}` on this host"),
    }
}

fn sources(layout: &Layout) -> anyhow::Result<Vec<Source>> {
    let socket = layout.keeper_socket();
    let known = if socket.exists() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (keeper, _events) = Keeper::connect(socket);
            match keeper.pid(KEEPER_TIME_MAX).await {
                Some(_) => of_keeper(&keeper).await.unwrap_or_default(),
                None => Vec::new(),
            }
        })
    } else {
        Vec::new()
    };
    Ok(joined(known, of_folders(&layout.logs())?))
}

fn show(sources: &[Source], mut question: Question, follows: bool, printer: &mut Printer) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut ear = if follows { Some(Ear::of(sources)?) } else { None };
    let mut cursor = match question.wanted.last {
        None => tell(sources, &question, |told| out.write_all(&printer.print(&told)))?,
        Some(lines) => {
            let mut latest = Latest::new(lines, LAST_BYTES_MAX);
            let cursor = tell(sources, &question, |told| {
                latest.push(told);
                Ok(())
            })?;
            latest.take().0.iter().try_for_each(|told: &Told| out.write_all(&printer.print(told)))?;
            cursor
        }
    };
    out.flush()?;
    question.wanted.until = None;
    while let Some(ear) = &mut ear {
        let now = u64::try_from(now().as_second()).unwrap_or(0);
        for told in since(sources, &question, &mut cursor, now)? {
            out.write_all(&printer.print(&told))?;
        }
        out.flush()?;
        ear.listen(None)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a command's look at the clock")]
fn now() -> Timestamp {
    Timestamp::now()
}
