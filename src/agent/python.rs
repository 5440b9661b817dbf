//! `show-python` of procyon-agent: which interpreter scripts have here, and what they can import. The interpreter itself is
//! asked, as the account that scripts have.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::northbound::provider::{Call, Later, Proposal, Provider};
use crate::northbound::{Kind, Refusal};
use crate::settings::Python;
use crate::sys::spawn;
use crate::yang::value::Element;

const MODULE: &str = "procyon-agent";
const SHOW: &str = "/procyon-agent:show-python";
/// An interpreter that has not answered by then is not waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
/// Interpreters that are asked at once.
const ASKED_MAX: usize = 2;
/// In isolation: neither the environment nor the folder that we are in has a say.
const QUESTION: &str = r#"
import importlib.metadata, json, pkgutil, platform, sys
packages = {str(found.metadata["Name"]): found.version for found in importlib.metadata.distributions()}
print(json.dumps({
    "version": platform.python_version(),
    "implementation": platform.python_implementation(),
    "library": sorted(found.name for found in pkgutil.iter_modules([sys.argv[1]])),
    "packages": sorted(packages.items()),
}))
"#;

#[derive(Debug, Deserialize)]
struct Told {
    version: String,
    implementation: String,
    library: Vec<String>,
    packages: Vec<(String, String)>,
}

pub(super) struct PythonProvider {
    settings: Arc<Python>,
    turns: Arc<Semaphore>,
}

impl PythonProvider {
    pub(super) fn new(settings: &Python) -> Self {
        Self { settings: Arc::new(settings.clone()), turns: Arc::new(Semaphore::new(ASKED_MAX)) }
    }
}

impl Provider for PythonProvider {
    fn name(&self) -> &'static str {
        "python"
    }

    fn calls(&self) -> &'static [&'static str] {
        &[SHOW]
    }

    fn apply(&mut self, _: &Proposal<'_>) {}

    fn call(&self, _: Call) -> Later<Vec<Element>> {
        let (settings, turns) = (Arc::clone(&self.settings), Arc::clone(&self.turns));
        Box::pin(async move {
            let stopping = |_| Refusal::new(Kind::ResourceDenied, "the agent is shutting down");
            let _turn = turns.acquire().await.map_err(stopping)?;
            let told = ask(&settings).await.map_err(|reason| {
                let message = format!("the interpreter {} does not answer: {reason}", settings.interpreter.display());
                Refusal::new(Kind::OperationFailed, message).mend("set python.interpreter in procyon.toml")
            })?;
            Ok(answer(&settings, told))
        })
    }
}

async fn ask(settings: &Python) -> Result<Told, String> {
    let mut program = Command::new(&settings.interpreter);
    program.args(["-I", "-c", QUESTION]).arg(&settings.package).env_clear().current_dir("/");
    if let Some(name) = settings.account() {
        let account = spawn::account(&name).map_err(|errno| errno.to_string())?;
        let account = account.ok_or_else(|| format!("there is no account `{name}`"))?;
        program.uid(account.uid).gid(account.gid);
    }
    program.stdin(Stdio::null()).kill_on_drop(true);
    let done = tokio::time::timeout(ANSWER_TIME_MAX, program.output()).await;
    let late = |_| format!("nothing within {} s", ANSWER_TIME_MAX.as_secs());
    let done = done.map_err(late)?.map_err(|error| error.to_string())?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(said.lines().last().map_or_else(|| done.status.to_string(), str::to_owned));
    }
    serde_json::from_slice(&done.stdout).map_err(|error| format!("it says what is no answer: {error}"))
}

fn answer(settings: &Python, told: Told) -> Vec<Element> {
    let leaf = |name: &'static str, value: String| Element::leaf(name, value).in_module(MODULE);
    let mut output = vec![
        leaf("interpreter", settings.interpreter.display().to_string()),
        leaf("version", told.version),
        leaf("implementation", told.implementation),
        leaf("account", settings.account().unwrap_or_default()),
        leaf("library", settings.package.display().to_string()),
    ];
    output.extend(told.library.into_iter().map(|module| leaf("library-module", module)));
    let package = |(name, version): (String, String)| {
        let leaves = vec![Element::leaf("name", name), Element::leaf("version", version)];
        Element::node("package", leaves).in_module(MODULE)
    };
    output.extend(told.packages.into_iter().map(package));
    output
}
