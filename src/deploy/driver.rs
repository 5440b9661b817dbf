//! Carries a deployment out, says each step, and takes all of it back where one fails.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::link::Link;
pub use super::link::Target;
use super::plan::{Activation, App, Found, Health, Plan, Registration, Wanted, differences, health};
use super::words;

/// Between two looks at an app.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long an app may take to be running at all.
const START_MAX: Duration = Duration::from_secs(30);
/// What a confirmed commit is given beyond the time for which the app is watched.
const CONFIRM_SLACK: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    pub script: PathBuf,
    pub target: Target,
    pub app: String,
    pub arguments: Option<String>,
    pub restart: Option<String>,
    pub max_retries: Option<u32>,
    /// How long the app has to run for the deployment to stand.
    pub healthy: Duration,
    /// Nothing is changed.
    pub is_check: bool,
    pub shows_differences: bool,
}

/// Does it on a runtime of its own.
///
/// # Errors
/// What went wrong; everything is as it was before, or the error says what is not.
pub fn run(order: &Order) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(deploy(order))
}

async fn deploy(order: &Order) -> anyhow::Result<()> {
    let bytes =
        tokio::fs::read(&order.script).await.with_context(|| format!("{} cannot be read", order.script.display()))?;
    let script = order.script.file_name().and_then(|name| name.to_str());
    let script = script.with_context(|| format!("{} has no name to give it", order.script.display()))?.to_owned();
    let sum = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    let registration = Registration {
        executable: script.clone(),
        arguments: order.arguments.clone(),
        restart: order.restart.clone(),
        max_retries: order.max_retries.map(|count| count.to_string()),
    };
    let wanted = Wanted { app: order.app.clone(), script, sum, registration };
    let mut work = Work { link: Link::open(&order.target).await?, wanted, healthy: order.healthy, undo: Vec::new() };
    let found = work.look().await?;
    let plan = Plan::of(&work.wanted, &found);
    if order.shows_differences || order.is_check {
        for line in differences(&work.wanted, &found, &plan) {
            say(&line)?;
        }
    }
    if plan.is_empty() {
        return say(&format!("unchanged: {} runs {}", work.wanted.app, work.wanted.script));
    }
    if order.is_check {
        return say("would change; nothing was done");
    }
    let done = tokio::select! {
        done = work.carry_out(&plan, &found, &bytes) => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    match done {
        Ok(()) => say(&format!("deployed: {} runs {}", work.wanted.app, work.wanted.script)),
        Err(error) => {
            say(&format!("failed: {error:#}"))?;
            work.take_back().await.context("not all could be taken back")?;
            bail!("the deployment was taken back; the device is as it was")
        }
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// What takes a step back.
enum Undo {
    Deactivate,
    CancelCommit,
    DiscardChanges,
    Unlock,
    /// The script that was there, or none.
    Restore(Option<(String, Vec<u8>)>),
    Activate,
}

struct Work {
    link: Link,
    wanted: Wanted,
    healthy: Duration,
    /// Last first.
    undo: Vec<Undo>,
}

impl Work {
    async fn look(&mut self) -> anyhow::Result<Found> {
        let client = &mut self.link.client;
        let mut found = Found {
            in_repository: words::sum_in(&client.ask(&words::get_scripts()).await?, &self.wanted.script),
            ..Found::default()
        };
        words::read_config(&client.ask(&words::get_config(&self.wanted)).await?, &mut found);
        found.app = self.app().await?;
        Ok(found)
    }

    async fn app(&mut self) -> anyhow::Result<App> {
        Ok(words::read_app(&self.link.client.ask(&words::get_app(&self.wanted.app)).await?))
    }

    async fn ask(&mut self, operation: &str) -> anyhow::Result<()> {
        self.link.client.ask(operation).await?;
        Ok(())
    }

    async fn carry_out(&mut self, plan: &Plan, found: &Found, bytes: &[u8]) -> anyhow::Result<()> {
        let Wanted { app, script, sum, .. } = self.wanted.clone();
        if found.app.is_activated {
            self.undo.push(Undo::Activate);
        }
        if plan.uploads {
            let before = match &found.in_repository {
                Some(sum) => Some((sum.clone(), self.link.fetch(&script).await?)),
                None => None,
            };
            let folder = self.link.put(&app, &script, bytes).await?;
            self.undo.push(Undo::Restore(before));
            self.ask(&words::add(&script, &folder, &sum)).await?;
            say(&format!("added {script}, sha256 {sum}"))?;
        }
        if plan.configures {
            self.ask("<lock><target><candidate/></target></lock>").await.context("somebody edits the candidate")?;
            self.undo.push(Undo::Unlock);
            self.undo.push(Undo::DiscardChanges);
            self.ask(&words::configure(&self.wanted)).await?;
            let timeout = (self.healthy + START_MAX + CONFIRM_SLACK).as_secs();
            self.ask(&format!("<commit><confirmed/><confirm-timeout>{timeout}</confirm-timeout></commit>")).await?;
            self.undo.push(Undo::CancelCommit);
            say(&format!("committed, to be confirmed within {timeout} s"))?;
        }
        if plan.activation != Activation::None {
            if plan.activation == Activation::Again {
                self.ask(&words::act("deactivate", &app)).await?;
            }
            self.ask(&words::act("activate", &app)).await?;
            self.undo.push(Undo::Deactivate);
            say(&format!("activated {app}"))?;
        }
        self.watch().await?;
        if plan.configures {
            self.ask("<commit/>").await?;
            self.ask("<unlock><target><candidate/></target></unlock>").await?;
            say("confirmed")?;
        }
        Ok(())
    }

    /// Until the app has run for long enough, without having been started again.
    async fn watch(&mut self) -> anyhow::Result<()> {
        let begun = now();
        let mut up: Option<(Option<String>, Instant)> = None;
        loop {
            // It counts from the activation on.
            match health(&self.app().await?, 0) {
                Health::Ill(illness) => bail!("{illness}"),
                Health::NotYet if now() - begun > START_MAX => {
                    bail!("the app does not run within {} s", START_MAX.as_secs())
                }
                Health::NotYet => {}
                Health::Up { run } => match &up {
                    Some((known, _)) if *known != run => bail!("the app was started again"),
                    Some((_, since)) if now() - *since >= self.healthy => {
                        return say(&format!("healthy for {} s", self.healthy.as_secs()));
                    }
                    Some(_) => {}
                    None => up = Some((run, now())),
                },
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Each step is tried, also when one before it has failed.
    async fn take_back(&mut self) -> anyhow::Result<()> {
        let mut failed = Vec::new();
        while let Some(step) = self.undo.pop() {
            let (what, done) = self.take_one_back(step).await;
            match done {
                Ok(()) => say(&format!("taken back: {what}"))?,
                Err(error) => failed.push(format!("{what}: {error:#}")),
            }
        }
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
    }

    async fn take_one_back(&mut self, step: Undo) -> (&'static str, anyhow::Result<()>) {
        let (app, script) = (self.wanted.app.clone(), self.wanted.script.clone());
        match step {
            Undo::Deactivate => ("the activation", self.ask(&words::act("deactivate", &app)).await),
            Undo::CancelCommit => ("the commit", self.ask("<cancel-commit/>").await),
            Undo::DiscardChanges => ("the edits", self.ask("<discard-changes/>").await),
            Undo::Unlock => ("the lock", self.ask("<unlock><target><candidate/></target></unlock>").await),
            Undo::Restore(None) => ("the script", self.ask(&words::remove(&script)).await),
            Undo::Restore(Some((sum, bytes))) => {
                let folder = self.link.put(&app, &script, &bytes).await;
                let restored = match folder {
                    Ok(folder) => self.ask(&words::add(&script, &folder, &sum)).await,
                    Err(error) => Err(error),
                };
                ("the script", restored)
            }
            // It may never have been taken down.
            Undo::Activate => {
                let activated = match self.app().await {
                    Ok(app) if app.is_activated => Ok(()),
                    Ok(_) => self.ask(&words::act("activate", &app)).await,
                    Err(error) => Err(error),
                };
                ("the app is activated as before", activated)
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
fn now() -> Instant {
    Instant::now()
}
