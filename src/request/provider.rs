//! The runs' face to the northbound: the rpcs `run` and `stop`.

use std::sync::Arc;

use super::driver::Handle;
use super::refusals;
use super::run::{Account, LogLevel, Order, RUNTIME_SECONDS_DEFAULT, RequestId};
use crate::checksum::Sha256;
use crate::container::words;
use crate::northbound::provider::{Call, Later, Proposal, Provider};
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

const ACTIONS: &str = "Cisco-IOS-XR-infra-script-mgmt-act";
const RUN: &str = "/Cisco-IOS-XR-infra-script-mgmt-act:run";
const STOP: &str = "/Cisco-IOS-XR-infra-script-mgmt-act:stop";

/// What the repository knows of a script that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnShelf {
    pub script_type: &'static str,
    pub found: Sha256,
    pub committed: Option<Sha256>,
}

/// The exec shelf as runs see it; `None` for a script that is not there.
pub type Shelf = Arc<dyn Fn(&str) -> Option<OnShelf> + Send + Sync>;

/// Puts what is at a URL on the exec shelf, if it has the checksum that is configured for its name; that name.
pub type Fetch = Arc<dyn Fn(String, String) -> Later<String> + Send + Sync>;

/// The folder of the harddisk that a path names, made where it is not there yet; named below the harddisk.
pub type LogPlace = Arc<dyn Fn(String) -> Later<String> + Send + Sync>;

/// Returns when the script of that name may be run on that user's request: some are fetched anew before.
pub type BeforeRun = Arc<dyn Fn(String, String) -> Later<()> + Send + Sync>;

pub struct RequestProvider {
    handle: Handle,
    shelf: Shelf,
    fetch: Fetch,
    before_run: BeforeRun,
    log_place: LogPlace,
}

impl RequestProvider {
    pub fn new(handle: Handle, shelf: Shelf, fetch: Fetch, before_run: BeforeRun, log_place: LogPlace) -> Self {
        Self { handle, shelf, fetch, before_run, log_place }
    }
}

impl Provider for RequestProvider {
    fn name(&self) -> &'static str {
        "request"
    }

    fn calls(&self) -> &'static [&'static str] {
        &[RUN, STOP]
    }

    fn apply(&mut self, _: &Proposal<'_>) {}

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let (handle, shelf, fetch) = (self.handle.clone(), Arc::clone(&self.shelf), Arc::clone(&self.fetch));
        let (before_run, log_place) = (Arc::clone(&self.before_run), Arc::clone(&self.log_place));
        Box::pin(async move {
            match call.path.as_str() {
                RUN => {
                    let asked = call.input.text_of("script-name").unwrap_or_default().to_owned();
                    check_way(&call.input)?;
                    // A URL, or a folder of the device: the script is added to the repository first.
                    let user = call.caller.user.clone();
                    let script = if asked.contains('/') {
                        fetch(asked, user).await?
                    } else {
                        before_run(asked.clone(), user).await?;
                        asked
                    };
                    let mut order = order(&call, &script, &shelf)?;
                    if let Some(path) = call.input.text_of("log-path") {
                        order.log_path = Some(log_place(path.to_owned()).await?);
                    }
                    let script = order.script.clone();
                    let id = handle.run(order).await?;
                    let sentence = format!("Script run scheduled: {script}. Request ID: {id}");
                    Ok(response("script-run-response", sentence, Some(id)))
                }
                STOP => {
                    let text = call.input.text_of("request-id").unwrap_or_default();
                    let id = text.parse().map_err(|_| refusals::invalid(format!("`{text}` is no request id")))?;
                    let id = handle.stop(RequestId(id), call.input.text_of("description").map(str::to_owned)).await?;
                    Ok(response("script-stop-response", format!("Request {id} is stopped"), None))
                }
                other => Err(Refusal::new(Kind::OperationNotSupported, format!("`{other}` is not for runs"))),
            }
        })
    }
}

fn response(container: &'static str, sentence: String, id: Option<RequestId>) -> Vec<Element> {
    let leaves = [
        Some(Element::leaf("response", sentence)),
        Element::leaf_if("request-id", id),
        Some(Element::leaf("status", "True")),
    ];
    vec![Element::node(container, leaves.into_iter().flatten().collect()).in_module(ACTIONS)]
}

fn check_way(input: &Element) -> Result<(), Refusal> {
    if let Some(vrf) = input.text_of("vrf").filter(|vrf| *vrf != "default") {
        return Err(refusals::invalid(format!(
            "vrf `{vrf}` does not exist on this device; leave vrf out or use default"
        )));
    }
    Ok(())
}

/// What is asked, checked against the repository: nothing begins that could not run.
fn order(call: &Call, script: &str, shelf: &Shelf) -> Result<Order, Refusal> {
    let input = &call.input;
    let on_shelf = shelf(script).ok_or_else(|| refusals::no_such_script(script))?;
    let found = on_shelf.found.to_string();
    let expected = on_shelf.committed.ok_or_else(|| refusals::no_checksum(script, &found))?;
    if expected != on_shelf.found {
        return Err(refusals::mismatch(script, &expected.to_string(), &found));
    }
    if let Some(text) = input.text_of("checksum") {
        let given = Sha256::parse(text).map_err(refusals::invalid)?;
        if given != expected {
            return Err(refusals::mismatch(script, text, &found));
        }
    }
    let arguments = input.text_of("argument-list").unwrap_or_default();
    let words = words::split(arguments).map_err(|open| refusals::invalid(format!("argument-list: {open}")))?;
    let log_level = match input.text_of("log-level") {
        Some(word) => LogLevel::parse(word).ok_or_else(|| refusals::invalid(format!("`{word}` is no log level")))?,
        None => LogLevel::default(),
    };
    let runtime = input.text_of("max-runtime").and_then(|text| text.parse().ok());
    Ok(Order {
        script_type: on_shelf.script_type.to_owned(),
        script: script.to_owned(),
        sha256: expected,
        arguments: arguments.to_owned(),
        words,
        description: input.text_of("description").map(str::to_owned),
        log_level,
        max_runtime_seconds: runtime.unwrap_or(RUNTIME_SECONDS_DEFAULT),
        account: account(call),
        environment: Vec::new(),
        log_path: None,
    })
}

/// A script has the rights of whoever runs it; one that a script runs, those of that script.
fn account(call: &Call) -> Account {
    Account { user: call.caller.user.clone(), groups: call.caller.groups.clone() }
}
