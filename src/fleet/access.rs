//! The access rules about a container's console, as the list that goes with its definition: the keeper judges by it whom
//! the host vouches for, also while the agent is away.

use crate::container::access::{ConsoleAccess, Verb, Who};
use crate::container::console::Place;
use crate::container::spec::ContainerSpec;
use crate::northbound::nacm::audience::{Entry, Whom};
use crate::northbound::nacm::{Access, DataPath, DefaultDeny, Nacm};

/// Somebody may come to this console whom the host vouches for.
pub fn identifies(spec: &ContainerSpec) -> bool {
    spec.console.listeners.iter().any(|listener| matches!(listener.place, Place::Unix { .. }))
}

/// The list for this console; empty where nobody needs it.
pub fn of(spec: &ContainerSpec, rules: &Nacm) -> Vec<ConsoleAccess> {
    let path = format!("/procyon-console:consoles/console[name='{}']", spec.name);
    let Some(path) = DataPath::parse(&path).ok().filter(|_| identifies(spec)) else { return Vec::new() };
    // Who is in no group may not even ask for data where the defaults say so; a console is no way around that.
    let nobody = rules.subject("", &[], false);
    let may_ask = rules.exec(&nobody, "ietf-netconf", "get", DefaultDeny::Nothing).is_permit();
    let mut list: Vec<ConsoleAccess> = rules.audience(&path).into_iter().filter_map(entry).collect();
    list.iter_mut().filter(|entry| entry.who == Who::Anyone).for_each(|entry| entry.permits &= may_ask);
    list
}

fn entry(Entry { whom, access, permits }: Entry) -> Option<ConsoleAccess> {
    let verb = match access {
        Access::Read => Verb::Read,
        Access::Update => Verb::Write,
        Access::Create | Access::Delete | Access::Exec => return None,
    };
    let who = match whom {
        Whom::User(name) => Who::User(name),
        Whom::Group(name) => Who::Group(name),
        Whom::Anyone => Who::Anyone,
    };
    Some(ConsoleAccess { who, verb, permits })
}
