//! What the configuration says of one app: the registration, read from
//! `/Cisco-IOS-XR-um-appmgr-cfg:appmgr/process-scripts/process-script`.
//!
//! Values only. Must not know: what runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::container::provision::Resources;
use crate::container::spec::RestartPolicy;
use crate::container::words;
use crate::northbound::{Kind, Refusal};
use crate::yang::value::Element;

/// The name of an app: the key of its registration, checked by the schema before it comes here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AppName(String);

impl AppName {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a policy in the configuration and operational trees.
pub fn policy_name(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Always => "always",
        RestartPolicy::Never => "never",
        RestartPolicy::OnFailure { .. } => "on-failure",
        RestartPolicy::UnlessErrored => "unless-errored",
        RestartPolicy::UnlessStopped => "unless-stopped",
    }
}

pub fn max_retries(policy: RestartPolicy) -> Option<u32> {
    match policy {
        RestartPolicy::OnFailure { max_retries } => max_retries,
        RestartPolicy::Always | RestartPolicy::Never | RestartPolicy::UnlessErrored | RestartPolicy::UnlessStopped => {
            None
        }
    }
}

/// One `process-script` entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub name: AppName,
    pub executable: Option<String>,
    pub run_args: Option<String>,
    pub restart: RestartPolicy,
    /// The account whose rights the script has over NETCONF; `None` is the account `script`.
    pub username: Option<String>,
    /// Survives a reboot when activated.
    pub autorun: bool,
    /// Apps that must be running before this one starts.
    pub after: Vec<AppName>,
    /// What all its processes together may use.
    #[serde(default)]
    pub resources: Resources,
}

impl Registration {
    /// Reads one list entry. The schema has checked names, ranges and enumerations.
    pub fn from_element(entry: &Element) -> Option<Self> {
        let name = AppName::new(entry.text_of("process-script-name")?);
        let owned = |leaf: &str| entry.text_of(leaf).map(str::to_owned);
        let max_retries = entry.text_of("max-retries").and_then(|text| text.parse().ok());
        let restart = match entry.text_of("restart") {
            Some("never") => RestartPolicy::Never,
            Some("on-failure") => RestartPolicy::OnFailure { max_retries },
            Some("unless-errored") => RestartPolicy::UnlessErrored,
            Some("unless-stopped") => RestartPolicy::UnlessStopped,
            Some(_) | None => RestartPolicy::Always,
        };
        Some(Self {
            name,
            executable: owned("executable"),
            run_args: owned("run-args"),
            restart,
            username: owned("username"),
            autorun: entry.child("autorun").is_some(),
            resources: resources_of(entry.child("resources")),
            after: entry.children_named("after").filter_map(|leaf| leaf.text.as_deref()).map(AppName::new).collect(),
        })
    }

    /// What the schema's patterns cannot say.
    ///
    /// # Errors
    /// `invalid-value` when the executable leaves the repository, or the arguments have an open quote.
    pub fn check(&self) -> Result<(), Refusal> {
        if let Some(executable) = &self.executable
            && (executable.starts_with('/') || executable.split('/').any(|part| part == ".." || part.is_empty()))
        {
            return Err(Refusal::new(
                Kind::InvalidValue,
                format!("executable `{executable}` leads out of the script repository"),
            )
            .mend("name a file of the repository, such as `poll.py`")
            .at(self.path("executable")));
        }
        if let Some(text) = &self.run_args {
            words::split(text).map_err(|open| {
                Refusal::new(Kind::InvalidValue, format!("run-args of app `{}`: {open}", self.name))
                    .at(self.path("run-args"))
            })?;
        }
        Ok(())
    }

    /// The arguments as the script gets them. A text that does not split is passed whole: `check` refuses it at commit.
    pub fn arguments(&self) -> Vec<String> {
        let text = self.run_args.as_deref().unwrap_or_default();
        words::split(text).unwrap_or_else(|_| vec![text.to_owned()])
    }

    /// The data path of one leaf of this registration.
    pub fn path(&self, leaf: &str) -> String {
        let quote = if self.name.as_str().contains('\'') { '"' } else { '\'' };
        format!(
            "/Cisco-IOS-XR-um-appmgr-cfg:appmgr/process-scripts/process-script[process-script-name={quote}{}{quote}]/{leaf}",
            self.name
        )
    }

    /// Whether a running instance that was started from `frozen` would run differently from this registration.
    /// `autorun` and `after` are no part of a run: they need no new activation.
    pub fn differs_from(&self, frozen: &Registration) -> bool {
        (&self.executable, &self.run_args, self.restart, &self.username, self.resources)
            != (&frozen.executable, &frozen.run_args, frozen.restart, &frozen.username, frozen.resources)
    }
}

fn resources_of(configured: Option<&Element>) -> Resources {
    let number = |leaf: &str| configured?.text_of(leaf)?.parse::<u64>().ok();
    Resources { memory_bytes: number("memory"), processes: number("processes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(children: Vec<Element>) -> Element {
        let mut all = vec![Element::leaf("process-script-name", "app")];
        all.extend(children);
        Element::node("process-script", all)
    }

    #[test]
    fn the_default_policy_is_always() {
        let read = Registration::from_element(&entry(vec![Element::leaf("executable", "x.py")])).unwrap();
        assert_eq!(read.restart, RestartPolicy::Always);
        assert!(!read.autorun);
    }

    #[test]
    fn max_retries_belongs_to_on_failure() {
        let read = Registration::from_element(&entry(vec![
            Element::leaf("restart", "on-failure"),
            Element::leaf("max-retries", 3),
        ]))
        .unwrap();
        assert_eq!(read.restart, RestartPolicy::OnFailure { max_retries: Some(3) });
    }

    #[test]
    fn an_executable_outside_the_repository_is_refused() {
        for bad in ["/etc/x.py", "../x.py", "a/../x.py", "a//x.py"] {
            let read = Registration::from_element(&entry(vec![Element::leaf("executable", bad)])).unwrap();
            assert!(read.check().is_err(), "{bad}");
        }
        let read = Registration::from_element(&entry(vec![Element::leaf("executable", "pack/x.py")])).unwrap();
        assert_eq!(read.check(), Ok(()));
    }
}
