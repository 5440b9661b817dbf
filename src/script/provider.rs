//! The repository's northbound face: checksums in, status views and the answers of `add`, `add-checksum` and `remove` out.
//!
//! Must not know how a request came in, nor how files are moved.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::config;
use super::fetch::FetchError;
use super::handle::{AddRequest, ChangeError, Handle, Manner, RemoveRequest, ScriptProblem};
use super::name::{ScriptName, ScriptType};
use super::plan::{RepositoryError, Requested, SCRIPTS_PER_CALL_MAX};
use super::shelves::ShelfError;
use super::views;
use crate::checksum::Sha256;
use crate::northbound::filter::Selection;
use crate::northbound::provider::{Call, Later, Proposal, Provider, StateQuery};
use crate::northbound::wanted::Wanted;
use crate::northbound::{Kind, Refusal};
use crate::shown::shown;
use crate::yang::value::Element;

const ACTIONS: &str = "Cisco-IOS-XR-infra-script-mgmt-act";
const ADD: &str = "/Cisco-IOS-XR-infra-script-mgmt-act:add";
const ADD_CHECKSUM: &str = "/Cisco-IOS-XR-infra-script-mgmt-act:add-checksum";
const REMOVE: &str = "/Cisco-IOS-XR-infra-script-mgmt-act:remove";

/// The names that the one node of this device answers to.
const OWN_LOCATIONS: [&str; 4] = ["0/RP0/CPU0", "0/RP0", "all", "local"];

/// The other half of the state below [`views::ROOT`]: the container `execution`, as far as a filter on it asks for it.
/// Runs have another owner.
pub type Executions = Arc<dyn Fn(Option<Selection>) -> Later<Element> + Send + Sync>;

#[derive(Clone)]
pub struct ScriptProvider {
    handle: Handle,
    zone: TimeZone,
    executions: Executions,
}

impl ScriptProvider {
    /// `zone` is what times are shown in; the device's own is `TimeZone::system()`.
    pub fn new(handle: Handle, zone: TimeZone, executions: Executions) -> Self {
        Self { handle, zone, executions }
    }
}

impl Provider for ScriptProvider {
    fn name(&self) -> &'static str {
        "script"
    }

    fn config_roots(&self) -> &'static [&'static str] {
        &[config::ROOT]
    }

    fn state_roots(&self) -> &'static [&'static str] {
        &[views::ROOT]
    }

    fn calls(&self) -> &'static [&'static str] {
        &[ADD, ADD_CHECKSUM, REMOVE]
    }

    fn takes_each_proposal_alone(&self) -> bool {
        true
    }

    fn validate(&self, proposal: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        let (_, errors) = config::read(proposal.config.subtree(config::ROOT).as_ref());
        if errors.is_empty() { Ok(()) } else { Err(errors.into_iter().map(Refusal::from).collect()) }
    }

    /// Checksums need nothing reserved.
    fn prepare(&mut self, _proposal: &Proposal<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn apply(&mut self, proposal: &Proposal<'_>) {
        let (committed, errors) = config::read(proposal.config.subtree(config::ROOT).as_ref());
        for error in errors {
            tracing::error!(%error, "a committed checksum cannot be read; its script will not run");
        }
        self.handle.commit(committed);
    }

    fn state(&self, _root: &'static str, query: StateQuery) -> Later<Vec<Element>> {
        let (handle, zone, executions) = (self.handle.clone(), self.zone.clone(), Arc::clone(&self.executions));
        Box::pin(async move {
            let selection = query.selection.as_ref();
            let mut halves = Vec::new();
            halves.extend(views::status(&handle.inventory(), &handle.committed(), &zone, selection));
            if let Some(wanted) = Wanted::new(selection).handed_on("execution") {
                halves.push(executions(wanted).await?);
            }
            Ok(vec![Element::node("script", halves).in_module(views::MODULE)])
        })
    }

    fn call(&self, call: Call) -> Later<Vec<Element>> {
        let handle = self.handle.clone();
        Box::pin(async move {
            match call.path.as_str() {
                ADD => add(&handle, &call, names(&call.input)?).await,
                ADD_CHECKSUM => add(&handle, &call, sums(&call.input)?).await,
                REMOVE => remove(&handle, &call).await,
                other => Err(Refusal::new(Kind::OperationNotSupported, format!("`{other}` is not for the repository"))),
            }
        })
    }
}

async fn add(handle: &Handle, call: &Call, scripts: Vec<Requested>) -> Result<Vec<Element>, Refusal> {
    check_way(&call.input)?;
    let source = handle.parse_source(text(&call.input, "source")?).map_err(invalid)?;
    let script_type = script_type(&call.input)?;
    let names: Vec<ScriptName> = scripts.iter().map(|script| script.name.clone()).collect();
    let with_sums = scripts.iter().any(|script| script.expected.is_some());
    let request = AddRequest { manner: Manner::Add, script_type, source, scripts, user: call.caller.user.clone() };
    handle.add(request).await.map_err(|error| change_refused(&error, "nothing was added"))?;
    let container = if with_sums { "script-add-checksum-response" } else { "script-add-response" };
    Ok(responses(container, &names, "has been added to the script repository"))
}

async fn remove(handle: &Handle, call: &Call) -> Result<Vec<Element>, Refusal> {
    let script_type = script_type(&call.input)?;
    let names: Vec<ScriptName> = names(&call.input)?.into_iter().map(|script| script.name).collect();
    let request = RemoveRequest { script_type, names: names.clone(), user: call.caller.user.clone() };
    handle.remove(request).await.map_err(|error| change_refused(&error, "nothing was removed"))?;
    Ok(responses("script-remove-response", &names, "has been deleted from the script repository"))
}

fn responses(container: &'static str, names: &[ScriptName], sentence: &str) -> Vec<Element> {
    let response = |name: &ScriptName| {
        let leaves = vec![
            Element::leaf("script-name", name),
            Element::leaf("response", format!("{name} {sentence}")),
            Element::leaf("status", "True"),
        ];
        Element::node("responses", leaves)
    };
    vec![Element::node(container, names.iter().map(response).collect()).in_module(ACTIONS)]
}

/// The scripts that `add` and `remove` name.
fn names(input: &Element) -> Result<Vec<Requested>, Refusal> {
    let texts: Vec<&str> = input.children_named("script-name").filter_map(|leaf| leaf.text.as_deref()).collect();
    let scripts = texts.iter().map(|text| (*text, None));
    requested(scripts)
}

/// The scripts that `add-checksum` names, each with its sum.
fn sums(input: &Element) -> Result<Vec<Requested>, Refusal> {
    let entries: Vec<&Element> = input.children_named("script-checksums").collect();
    if let Some(entry) = entries.iter().find(|entry| entry.text_of("checksum").is_none()) {
        let name = entry.text_of("script-name").unwrap_or_default();
        return Err(Refusal::new(
            Kind::MissingElement { element: "checksum".to_owned() },
            format!("`{name}` has none"),
        ));
    }
    let other = entries.iter().find_map(|entry| entry.text_of("checksum-type").filter(|word| *word != "SHA256"));
    if let Some(other) = other {
        return Err(invalid(format!("checksum type `{other}` is not supported; use SHA256")));
    }
    requested(entries.iter().map(|entry| (entry.text_of("script-name").unwrap_or_default(), entry.text_of("checksum"))))
}

/// Parses all names and sums, and names everything that is wrong with them at once.
fn requested<'a>(
    scripts: impl ExactSizeIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Vec<Requested>, Refusal> {
    let count = scripts.len();
    if count > SCRIPTS_PER_CALL_MAX {
        return Err(invalid(RepositoryError::TooManyScripts { count }).tagged("too-many-elements"));
    }
    let (mut requested, mut problems) = (Vec::new(), Vec::new());
    for (name, sum) in scripts {
        let parsed = ScriptName::parse(name);
        match sum.map(Sha256::parse).transpose() {
            Ok(expected) => match parsed {
                Ok(name) => requested.push(Requested { name, expected }),
                Err(error) => problems.push(error.to_string()),
            },
            Err(error) => {
                problems.extend(parsed.err().map(|error| error.to_string()));
                problems.push(format!("`{}`: {error}", shown(name)));
            }
        }
    }
    if problems.is_empty() { Ok(requested) } else { Err(invalid(problems.join("; "))) }
}

fn script_type(input: &Element) -> Result<ScriptType, Refusal> {
    ScriptType::parse(text(input, "script-type")?).map_err(invalid)
}

/// Routing instances and other nodes are a router's; what they would change here is refused rather than overlooked.
fn check_way(input: &Element) -> Result<(), Refusal> {
    if let Some(vrf) = input.text_of("vrf").filter(|vrf| *vrf != "default") {
        return Err(invalid(format!("vrf `{vrf}` does not exist on this device; leave vrf out or use default")));
    }
    let own = |location: &&str| OWN_LOCATIONS.iter().any(|own| own.eq_ignore_ascii_case(location));
    if let Some(location) = input.text_of("location").filter(|location| !own(location)) {
        return Err(invalid(format!(
            "location `{location}` is not a node of this device; use 0/RP0/CPU0 or leave it out"
        )));
    }
    Ok(())
}

fn text<'a>(input: &'a Element, leaf: &str) -> Result<&'a str, Refusal> {
    let missing = || Refusal::new(Kind::MissingElement { element: leaf.to_owned() }, format!("`{leaf}` is missing"));
    input.text_of(leaf).ok_or_else(missing)
}

fn invalid(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Kind::InvalidValue, error.to_string())
}

/// The refusal of a change of the repository.
pub fn change_refused(error: &ChangeError, outcome: &str) -> Refusal {
    let kind = match error {
        ChangeError::Refused(RepositoryError::NotFound { .. }) => Kind::DataMissing,
        ChangeError::Refused(RepositoryError::ScriptInUse { .. }) | ChangeError::Busy { .. } => Kind::InUse,
        ChangeError::Refused(RepositoryError::ShelfFull { .. }) => Kind::ResourceDenied,
        ChangeError::Refused(_) => Kind::InvalidValue,
        ChangeError::Scripts { problems } if problems.iter().all(is_wrong_checksum) => Kind::InvalidValue,
        ChangeError::Shelf(ShelfError::NoSpace { .. }) | ChangeError::TooManyAdds { .. } => Kind::ResourceDenied,
        ChangeError::Scripts { problems } if problems.iter().any(is_full_disk) => Kind::ResourceDenied,
        ChangeError::Scripts { .. } | ChangeError::Shelf(_) | ChangeError::Stopping => Kind::OperationFailed,
    };
    Refusal::new(kind, format!("{outcome}: {error}"))
}

fn is_wrong_checksum(problem: &ScriptProblem) -> bool {
    matches!(problem, ScriptProblem::WrongChecksum { .. })
}

fn is_full_disk(problem: &ScriptProblem) -> bool {
    matches!(problem, ScriptProblem::Fetch { source: FetchError::Staging(ShelfError::NoSpace { .. }), .. })
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
