//! Between the repository and those who run its exec scripts: neither knows the other.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag};

use crate::container::scripts::LOGS;
use crate::northbound::{Kind, Refusal};
use crate::request::driver::{Checksums, Handle as Requests};
use crate::request::logs::Executions;
use crate::request::provider::{Fetch, LogPlace, OnShelf, Shelf};
use crate::script::handle::{AddRequest, Handle as Scripts, Manner};
use crate::script::name::{ScriptKey, ScriptName, ScriptType};
use crate::script::plan::Requested;
use crate::script::provider::{Executions as ExecutionViews, change_refused};
use crate::settings::Layout;
use crate::sys::beneath::{self, Root};

const DEVICE_HARDDISK: &str = "/harddisk:";
/// What of the harddisk is not for logs, but for the folder of logs in it.
const REPOSITORY: &str = "mirror/script-mgmt";
/// Folders that are made for logs are for everybody to look into; the files in them are not.
const FOLDER_MODE: u32 = 0o755;

/// What stands on the exec shelf under a name.
pub(super) fn shelf(scripts: Scripts) -> Shelf {
    Arc::new(move |name| {
        let name = ScriptName::parse(name).ok()?;
        let described = scripts.describe(ScriptType::Exec, &name)?;
        Some(OnShelf { script_type: ScriptType::Exec.as_str(), found: described.found, committed: described.committed })
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
            let request = AddRequest {
                manner: Manner::Add,
                script_type: ScriptType::Exec,
                source,
                scripts: vec![requested],
                user,
            };
            scripts.add(request).await.map_err(|error| change_refused(&error, "nothing was run"))?;
            Ok(name.to_string())
        })
    })
}

pub(super) fn checksums(scripts: Scripts) -> Checksums {
    Arc::new(move |script_type| {
        let Ok(script_type) = ScriptType::parse(script_type) else { return Vec::new() };
        scripts.checksums(script_type).into_iter().map(|(name, sum)| (name.to_string(), sum)).collect()
    })
}

/// The folder that `log-path` names.
pub(super) fn log_place(layout: Layout) -> LogPlace {
    Arc::new(move |text| {
        let layout = layout.clone();
        Box::pin(async move {
            let made = tokio::task::spawn_blocking(move || make_log_place(&layout, &text));
            made.await.map_err(|_| Refusal::new(Kind::ResourceDenied, "the agent is shutting down"))?
        })
    })
}

/// Step by step, and through no link: the keeper, which may write anywhere, follows this path later.
fn make_log_place(layout: &Layout, text: &str) -> Result<String, Refusal> {
    let invalid = |why: String| Refusal::new(Kind::InvalidValue, format!("log-path `{text}` {why}"));
    let real = layout.real_path(text).map_err(|error| invalid(format!("cannot be used: {error}")))?;
    let below = real.strip_prefix(layout.harddisk()).unwrap_or(&real);
    if below.starts_with(REPOSITORY) && !below.starts_with(LOGS) {
        return Err(invalid("lies in the script repository; name another folder, such as harddisk:/logs".to_owned()));
    }
    let shown = below.to_str().ok_or_else(|| invalid("is no text".to_owned()))?;
    let failed =
        |errno: Errno| Refusal::new(Kind::OperationFailed, format!("log-path `{text}` cannot be made: {errno}"));
    let root = Root::open(&layout.harddisk()).map_err(failed)?;
    let mut made = PathBuf::new();
    for step in below {
        made.push(step);
        match root.make_folder(&made, Mode::from_bits_truncate(FOLDER_MODE)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let found = root.stat(&made).map_err(failed)?;
        if beneath::kind(&found) != SFlag::S_IFDIR {
            return Err(failed(Errno::ENOTDIR));
        }
    }
    Ok(shown.to_owned())
}

pub(super) fn executions(requests: Requests, harddisk: PathBuf) -> ExecutionViews {
    let device_harddisk = DEVICE_HARDDISK.to_owned();
    let executions = Executions { handle: requests, harddisk, device_harddisk, zone: TimeZone::system() };
    Arc::new(move |selection| Box::pin(executions.clone().view(selection)))
}
