//! What has to be done, from what is wanted and what there is. Pure.

use std::fmt;

/// The app as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub app: String,
    pub script: String,
    /// SHA-256, in hexadecimal digits.
    pub sum: String,
    pub registration: Registration,
}

/// What an app is registered with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    pub executable: String,
    pub arguments: Option<String>,
    pub restart: Option<String>,
    pub max_retries: Option<String>,
}

/// What the device tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Of the script in the repository.
    pub in_repository: Option<String>,
    /// That is configured.
    pub configured: Option<String>,
    pub registration: Option<Registration>,
    pub app: App,
}

/// How an app stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct App {
    pub is_activated: bool,
    pub is_pending: bool,
    pub status: String,
    /// Of the script that it was activated with.
    pub sum: Option<String>,
    pub restarts: u32,
    pub run: Option<String>,
    pub why: Option<String>,
    pub error_lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    None,
    First,
    /// It runs something else, or nothing.
    Again,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub uploads: bool,
    pub configures: bool,
    pub activation: Activation,
}

impl Plan {
    pub fn of(wanted: &Wanted, found: &Found) -> Self {
        let is_sum = |sum: &Option<String>| sum.as_deref().is_some_and(|sum| sum.eq_ignore_ascii_case(&wanted.sum));
        let uploads = !is_sum(&found.in_repository);
        let configures = !is_sum(&found.configured) || found.registration.as_ref() != Some(&wanted.registration);
        let app = &found.app;
        let is_as_wanted = app.status == "started" && is_sum(&app.sum) && !app.is_pending;
        let activation = match (app.is_activated, is_as_wanted && !uploads && !configures) {
            (false, _) => Activation::First,
            (true, true) => Activation::None,
            (true, false) => Activation::Again,
        };
        Self { uploads, configures, activation }
    }

    pub fn is_empty(&self) -> bool {
        !self.uploads && !self.configures && self.activation == Activation::None
    }
}

/// What would be done, a line each; `-` and `+` where something takes the place of something.
pub fn differences(wanted: &Wanted, found: &Found, plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let mut change = |what: &str, before: Option<&str>, after: Option<&str>| {
        if before == after {
            return;
        }
        lines.extend(before.map(|before| format!("- {what} {before}")));
        lines.extend(after.map(|after| format!("+ {what} {after}")));
    };
    if plan.uploads {
        change(&format!("file {} sha256", wanted.script), found.in_repository.as_deref(), Some(&wanted.sum));
    }
    if plan.configures {
        let checksum = format!("script process {} checksum SHA256", wanted.script);
        change(&checksum, found.configured.as_deref(), Some(&wanted.sum));
        let (before, after) = (found.registration.clone().unwrap_or_default(), &wanted.registration);
        let app = format!("appmgr process-script {}", wanted.app);
        let executable = Some(before.executable.as_str()).filter(|executable| !executable.is_empty());
        change(&format!("{app} executable"), executable, Some(&after.executable));
        change(&format!("{app} run-args"), before.arguments.as_deref(), after.arguments.as_deref());
        change(&format!("{app} restart"), before.restart.as_deref(), after.restart.as_deref());
        change(&format!("{app} max-retries"), before.max_retries.as_deref(), after.max_retries.as_deref());
    }
    match plan.activation {
        Activation::None => {}
        Activation::First => lines.push(format!("+ activate {}", wanted.app)),
        Activation::Again => lines.push(format!("+ activate {} again (it is {})", wanted.app, found.app.status)),
    }
    lines
}

/// What is known of an app that was just activated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It is on its way.
    NotYet,
    /// It runs, and is this run.
    Up {
        run: Option<String>,
    },
    Ill(Illness),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Illness {
    pub status: String,
    pub why: Option<String>,
    pub error_lines: Vec<String>,
}

impl fmt::Display for Illness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the app is `{}`", self.status)?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        self.error_lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// `restarts` is how many there were when it was activated.
pub fn health(app: &App, restarts: u32) -> Health {
    let ill = || {
        let App { status, why, error_lines, .. } = app.clone();
        Health::Ill(Illness { status, why, error_lines })
    };
    if app.restarts > restarts {
        return ill();
    }
    match app.status.as_str() {
        "started" => Health::Up { run: app.run.clone() },
        "not-started" | "start-requested" => Health::NotYet,
        _ => ill(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            app: "web".into(),
            script: "web.py".into(),
            sum: "ab".into(),
            registration: Registration {
                executable: "web.py".into(),
                arguments: Some("--port 80".into()),
                restart: Some("on-failure".into()),
                max_retries: None,
            },
        }
    }

    /// As a deployment leaves the device.
    fn done() -> Found {
        Found {
            in_repository: Some("AB".into()),
            configured: Some("ab".into()),
            registration: Some(wanted().registration),
            app: App { is_activated: true, status: "started".into(), sum: Some("ab".into()), ..App::default() },
        }
    }

    #[test]
    fn what_is_as_wanted_is_left_alone() {
        let plan = Plan::of(&wanted(), &done());
        assert!(plan.is_empty());
        assert_eq!(differences(&wanted(), &done(), &plan), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_mended_and_said() {
        let changed = |change: fn(&mut Found)| {
            let mut found = done();
            change(&mut found);
            let plan = Plan::of(&wanted(), &found);
            (plan.uploads, plan.configures, plan.activation, differences(&wanted(), &found, &plan).join("\n"))
        };
        let empty = changed(|found| *found = Found::default());
        insta::assert_snapshot!(empty.3, @r"
        + file web.py sha256 ab
        + script process web.py checksum SHA256 ab
        + appmgr process-script web executable web.py
        + appmgr process-script web run-args --port 80
        + appmgr process-script web restart on-failure
        + activate web
        ");
        assert_eq!((empty.0, empty.1, empty.2), (true, true, Activation::First));
        let other = changed(|found| found.in_repository = Some("cd".into()));
        assert_eq!((other.0, other.1, other.2), (true, false, Activation::Again));
        assert!(other.3.starts_with("- file web.py sha256 cd\n+ file web.py sha256 ab\n"));
        let arguments = changed(|found| found.registration.as_mut().unwrap().arguments = None);
        assert_eq!((arguments.0, arguments.1, arguments.2), (false, true, Activation::Again));
        let stopped = changed(|found| found.app.status = "stopped".into());
        assert_eq!((stopped.0, stopped.1, stopped.2), (false, false, Activation::Again));
        assert_eq!(stopped.3, "+ activate web again (it is stopped)");
    }

    #[test]
    fn an_app_that_was_started_again_is_not_well() {
        let app = App { status: "started".into(), restarts: 2, run: Some("9".into()), ..App::default() };
        assert_eq!(health(&app, 2), Health::Up { run: Some("9".into()) });
        assert!(matches!(health(&app, 1), Health::Ill(_)));
        let failed = App { status: "exit-failure".into(), why: Some("exited with 1".into()), ..App::default() };
        let Health::Ill(illness) = health(&failed, 0) else { panic!() };
        assert_eq!(illness.to_string(), "the app is `exit-failure`: exited with 1");
        assert_eq!(health(&App { status: "start-requested".into(), ..App::default() }, 0), Health::NotYet);
    }
}
