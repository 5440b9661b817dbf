//! Between the scripts that are kept up to date and the repository that holds them: neither knows the other.

use std::sync::Arc;

use super::lines;
use crate::appmgr;
use crate::clock::Clock;
use crate::northbound::provider::Later;
use crate::northbound::{Kind, Refusal};
use crate::request;
use crate::script::handle::{AddRequest, ChangeError, Handle as Scripts, Manner, ScriptProblem};
use crate::script::name::{ScriptKey, ScriptName, ScriptType};
use crate::script::plan::Requested;
use crate::script::provider::change_refused;
use crate::script::repository::Status;
use crate::script::source::Source;
use crate::system::SystemLog;
use crate::system::sealed::Seal;
use crate::update::config::{Origin, Wrong};
use crate::update::driver::{Handle, Order, Parts};
use crate::update::provider::Fetched;

pub(super) fn parts(clock: Clock, scripts: Scripts, seal: Arc<Seal>, syslog: SystemLog) -> Parts {
    let (fetching, fetched_with) = (scripts.clone(), Arc::clone(&seal));
    let checking = scripts.clone();
    Parts {
        clock,
        fetch: Arc::new(move |order| Box::pin(fetch(fetching.clone(), Arc::clone(&fetched_with), order))),
        is_outdated: Arc::new(move |script_type, script| is_outdated(&scripts, script_type, script)),
        check: Arc::new(move |key, origin| source_of(&checking, &seal, &key.script, origin).map(drop)),
        say: Arc::new(move |text| syslog.log(lines::script(text, true))),
    }
}

/// What is asked before an exec script runs.
pub(super) fn before_runs(updates: Handle) -> request::provider::BeforeRun {
    Arc::new(move |script, by| before(updates.clone(), ScriptType::Exec, script, by))
}

/// What is asked before somebody activates or starts an app.
pub(super) fn before_apps(updates: Handle) -> appmgr::provider::BeforeRun {
    Arc::new(move |script, by| before(updates.clone(), ScriptType::Process, script, by))
}

fn before(updates: Handle, script_type: ScriptType, script: String, by: String) -> Later<()> {
    Box::pin(async move { updates.before_run(script_type.as_str(), script, by).await })
}

async fn fetch(scripts: Scripts, seal: Arc<Seal>, order: Order) -> Result<Fetched, Refusal> {
    let Order { script_type, script, origin, by } = order;
    let invalid = |why: String| Refusal::new(Kind::InvalidValue, why);
    let script_type = ScriptType::parse(script_type).map_err(|error| invalid(error.to_string()))?;
    let (name, source) = source_of(&scripts, &seal, &script, &origin).map_err(|(_, why)| invalid(why))?;
    let key = ScriptKey::new(script_type, name.clone());
    // Where none is configured yet, it comes to be looked at; it does not run before one is.
    let requested = Requested { expected: scripts.checksum(&key), name: name.clone() };
    let before = scripts.describe(script_type, &name).map(|there| there.found);
    let request = AddRequest { manner: Manner::Update, script_type, source, scripts: vec![requested], user: by };
    scripts.add(request).await.map_err(|error| refused(&key, &error))?;
    let after = scripts.describe(script_type, &name).map(|there| there.found);
    Ok(if before == after { Fetched::Same } else { Fetched::New })
}

fn refused(key: &ScriptKey, error: &ChangeError) -> Refusal {
    let refusal = change_refused(error, "nothing was replaced");
    let ChangeError::Scripts { problems } = error else { return refusal };
    match problems.as_slice() {
        [ScriptProblem::WrongChecksum { found, .. }] => refusal
            .mend(format!(
                "to take what is there now, configure `script {} {} checksum SHA256 {found}` and commit",
                key.script_type, key.name
            ))
            .tagged("checksum-mismatch"),
        _ => refusal,
    }
}

/// The folder to fetch from, and the name of the script in it.
fn source_of(scripts: &Scripts, seal: &Seal, script: &str, origin: &Origin) -> Result<(ScriptName, Source), Wrong> {
    let name = ScriptName::parse(script).map_err(|error| (None, error.to_string()))?;
    let at = |leaf: &'static str, why: String| (Some(leaf), why);
    // A URL of the script itself is as good as that of its folder.
    let folder = origin.url.strip_suffix(script).filter(|folder| folder.ends_with(['/', ':'])).unwrap_or(&origin.url);
    let source = scripts.parse_source(folder).map_err(|error| at("url", error.to_string()))?;
    if source.has_account() {
        let why =
            "a URL that is configured must not hold a user or a password: configure username and password beside it";
        return Err(at("url", why.to_owned()));
    }
    let password = match &origin.password {
        Some(sealed) => Some(seal.open(sealed).ok_or_else(|| {
            at("password", "the password was sealed by another device, or its key is gone; write it anew".to_owned())
        })?),
        None => None,
    };
    match (&origin.username, password) {
        (Some(username), _) if username.contains(':') => {
            Err(at("username", "the name of an account cannot hold a colon".to_owned()))
        }
        (Some(username), password) => {
            let password = password.unwrap_or_default();
            Ok((name, source.with_account(username, &password)))
        }
        (None, Some(_)) => Err(at("password", "a password needs a username beside it".to_owned())),
        (None, None) => Ok((name, source)),
    }
}

fn is_outdated(scripts: &Scripts, script_type: &str, script: &str) -> bool {
    let (Ok(script_type), Ok(name)) = (ScriptType::parse(script_type), ScriptName::parse(script)) else { return false };
    scripts.describe(script_type, &name).is_none_or(|there| there.status == Status::ChecksumMismatch)
}
