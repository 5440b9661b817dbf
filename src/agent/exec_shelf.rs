//! Between the repository and those who run its exec scripts: neither knows the other.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::container::spec::Sha256;
use crate::northbound::{Kind, Refusal};
use crate::request::driver::{Checksums, Handle as Requests};
use crate::request::logs::Executions;
use crate::request::provider::{Fetch, OnShelf, Shelf};
use crate::script::handle::{AddRequest, Handle as Scripts};
use crate::script::name::{ScriptKey, ScriptName, ScriptType};
use crate::script::plan::Requested;
use crate::script::provider::{Executions as ExecutionViews, change_refused};

const DEVICE_LOGS: &str = "/harddisk:/mirror/script-mgmt/logs";

/// What stands on the exec shelf under a name.
pub(super) fn shelf(scripts: Scripts) -> Shelf {
    Arc::new(move |name| {
        let name = ScriptName::parse(name).ok()?;
        let described = scripts.describe(ScriptType::Exec, &name)?;
        let sum = |text: String| Sha256::parse(&text).ok();
        Some(OnShelf {
            script_type: ScriptType::Exec.as_str(),
            found: sum(described.found.to_string())?,
            committed: described.committed.and_then(|committed| sum(committed.to_string())),
        })
    })
}

/// Adds a script to the exec shelf from the folder or server that a URL names.
pub(super) fn fetch(scripts: Scripts) -> Fetch {
    Arc::new(move |url, user| {
        let scripts = scripts.clone();
        Box::pin(async move {
            let invalid = |why: String| Refusal::new(Kind::InvalidValue, why);
            let (folder, name) = url.rsplit_once('/').unwrap_or(("", &url));
            let name = ScriptName::parse(name).map_err(|error| invalid(error.to_string()))?;
            let source = scripts.parse_source(folder).map_err(|error| invalid(error.to_string()))?;
            let key = ScriptKey::new(ScriptType::Exec, name.clone());
            let expected = scripts.checksum(&key).ok_or_else(|| {
                invalid(format!("no checksum is configured for `{name}`, so what is at {url} does not run"))
                    .mend(format!("configure it: script exec {name} checksum SHA256 SUM"))
            })?;
            let requested = Requested { name: name.clone(), expected: Some(expected) };
            let request = AddRequest { script_type: ScriptType::Exec, source, scripts: vec![requested], user };
            scripts.add(request).await.map_err(|error| change_refused(&error, "nothing was run"))?;
            Ok(name.to_string())
        })
    })
}

pub(super) fn checksums(scripts: Scripts) -> Checksums {
    Arc::new(move |script_type| {
        let Ok(script_type) = ScriptType::parse(script_type) else { return Vec::new() };
        let sums = scripts.checksums(script_type).into_iter();
        sums.filter_map(|(name, sum)| Some((name.to_string(), Sha256::parse(&sum.to_string()).ok()?))).collect()
    })
}

pub(super) fn executions(requests: Requests, logs: PathBuf) -> ExecutionViews {
    let executions =
        Executions { handle: requests, logs, device_logs: DEVICE_LOGS.to_owned(), zone: TimeZone::system() };
    Arc::new(move |selection| Box::pin(executions.clone().view(selection)))
}
