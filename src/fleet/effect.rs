//! What a commit does to a container, and because of what.

use super::definition::OnChange;
use super::resolve::Resolved;
use crate::container::spec::ContainerSpec;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    None,
    Create,
    Remove,
    /// Holds at once; the program is not touched.
    Live,
    /// Holds from the next start on; the program is not touched.
    NextStart,
    Restart,
}

impl Effect {
    pub fn yang(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Live => "live",
            Self::NextStart => "next-start",
            Self::Restart => "restart",
        }
    }
}

pub fn effect(before: Option<&Resolved>, after: Option<&Resolved>) -> (Effect, Vec<&'static str>) {
    match (before, after) {
        (None, None) => (Effect::None, Vec::new()),
        (None, Some(_)) => (Effect::Create, Vec::new()),
        (Some(_), None) => (Effect::Remove, Vec::new()),
        (Some(before), Some(after)) if before == after => (Effect::None, Vec::new()),
        (Some(before), Some(after)) => change(before, after),
    }
}

fn change(before: &Resolved, after: &Resolved) -> (Effect, Vec<&'static str>) {
    let started = differing(&STARTED_WITH, &before.spec, &after.spec);
    if !started.is_empty() {
        let effect = match after.on_change {
            OnChange::Restart => Effect::Restart,
            OnChange::NextStart => Effect::NextStart,
        };
        return (effect, started);
    }
    let prepared = differing(&PREPARED_WITH, &before.spec, &after.spec);
    if !prepared.is_empty() {
        return (Effect::NextStart, prepared);
    }
    (Effect::Live, differing(&LIVE, &before.spec, &after.spec))
}

type Part = (&'static str, fn(&ContainerSpec, &ContainerSpec) -> bool);

/// What a program gets when it starts: together they are what [`ContainerSpec::starts_as`] compares.
const STARTED_WITH: [Part; 12] = [
    ("command", |one, other| one.program != other.program),
    ("working-directory", |one, other| one.cwd != other.cwd),
    ("environment", |one, other| one.env != other.env),
    ("user", |one, other| one.user != other.user),
    ("groups", |one, other| {
        (&one.provision.group, &one.provision.groups) != (&other.provision.group, &other.provision.groups)
    }),
    ("umask", |one, other| one.umask != other.umask),
    ("nice", |one, other| one.provision.nice != other.provision.nice),
    ("limits", |one, other| one.rlimits != other.rlimits),
    ("resources", |one, other| one.provision.resources != other.provision.resources),
    ("new-privileges", |one, other| one.no_new_privs != other.no_new_privs),
    ("readiness", |one, other| {
        (one.provision.readiness, one.provision.watchdog) != (other.provision.readiness, other.provision.watchdog)
    }),
    ("terminal", |one, other| (one.terminal, one.provision.window) != (other.terminal, other.provision.window)),
];

const PREPARED_WITH: [Part; 3] = [
    ("log", |one, other| one.logs.output != other.logs.output),
    ("directory", |one, other| one.provision.folders != other.provision.folders),
    ("required-path", |one, other| one.provision.required != other.provision.required),
];

const LIVE: [Part; 8] = [
    ("log", |one, other| one.logs != other.logs),
    ("restart", |one, other| {
        (one.restart, one.holdoff, &one.rules.delays, one.rules.start_limit)
            != (other.restart, other.holdoff, &other.rules.delays, other.rules.start_limit)
    }),
    ("stop", |one, other| (one.stop_signal, one.rules.stop_timeout) != (other.stop_signal, other.rules.stop_timeout)),
    ("readiness", |one, other| one.provision.ready_timeout != other.provision.ready_timeout),
    ("after", |one, other| one.after != other.after),
    ("console", |one, other| one.console != other.console),
    ("access", |one, other| one.access != other.access),
    ("survivors", |one, other| one.survivors != other.survivors),
];

fn differing(parts: &[Part], before: &ContainerSpec, after: &ContainerSpec) -> Vec<&'static str> {
    parts.iter().filter(|(_, differs)| differs(before, after)).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::definition::{Definition, Entry};
    use crate::fleet::resolve::{Places, resolve};

    fn made(change: impl FnOnce(&mut Definition)) -> Resolved {
        let mut definition = Definition { command: Some("run".into()), ..Definition::default() };
        change(&mut definition);
        let places = Places::anywhere();
        resolve(&Entry { name: "x".into(), definition, ..Entry::default() }, None, &places).unwrap()
    }

    #[test]
    fn a_change_restarts_waits_or_holds_at_once() {
        let before = made(|_| {});
        let said = |change: fn(&mut Definition)| {
            let (effect, because) = effect(Some(&before), Some(&made(change)));
            format!("{} {}", effect.yang(), because.join(" "))
        };
        assert_eq!(said(|_| {}), "none ");
        assert_eq!(said(|new| new.command = Some("run faster".into())), "restart command");
        assert_eq!(said(|new| new.user = Some("other".into())), "restart user");
        assert_eq!(
            said(|new| {
                new.nice = Some(5);
                new.on_change = Some(OnChange::NextStart);
            }),
            "next-start nice"
        );
        assert_eq!(said(|new| new.required_paths = [("/x".into(), None)].into()), "next-start required-path");
        assert_eq!(said(|new| new.holdoff = Some(Duration::from_secs(3))), "live restart");
        assert_eq!(said(|new| new.description = Some("new".into())), "live ");
        assert_eq!(effect(Some(&before), None).0, Effect::Remove);
    }

    #[test]
    fn what_restarts_here_is_what_the_keeper_calls_another_start() {
        let before = made(|_| {});
        let changes: [fn(&mut Definition); 6] = [
            |new| new.command = Some("other".into()),
            |new| new.umask = Some(0o077),
            |new| new.terminal = Some(Default::default()),
            |new| new.memory = Some(1 << 20),
            |new| new.stop_signal = Some(2),
            |new| new.directories = [("/x".into(), Default::default())].into(),
        ];
        for change in changes {
            let after = made(change);
            let restarts = effect(Some(&before), Some(&after)).0 == Effect::Restart;
            assert_eq!(restarts, !before.spec.starts_as(&after.spec), "{after:?}");
        }
    }
}
