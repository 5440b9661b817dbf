//! What agents order.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::EpollFlags;
use tracing::info;

use super::{CONTAINERS_MAX, Driver, Source, moment, runs};
use crate::checksum::Sha256;
use crate::container::machine::{Input, Machine};
use crate::container::spec::{ContainerName, ContainerSpec};
use crate::keeper::gate::Frozen;
use crate::keeper::held::{Held, committed};
use crate::keeper::protocol::{
    Abilities, Answer, Asker, CHECKSUMS_MAX, Entering, Entry, MEMBERS_ASKED_MAX, Order, PAGE_BYTES_MAX,
    PAGE_ENTRIES_MAX, SPEC_BYTES_MAX, Stream, TAIL_BYTES_MAX, Verb, encode,
};
use crate::keeper::refusal::KeeperRefusal;
use crate::keeper::sockets::{self, Tried};
use crate::keeper::tape::{TAPE_BYTES_FIRST, Tape};
use crate::keeper::worker::Job;
use crate::sys::tree::Tree;
use crate::sys::{confinement, memfd, spawn};

/// Orders that wait for a worker, of all agents.
const TICKETS_MAX: usize = 512;
/// A grace longer than a day is a mistake.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);

/// An order that waits for a worker.
#[derive(Debug)]
pub(super) struct Ticket {
    link: u32,
    id: u64,
    spec: Option<Arc<ContainerSpec>>,
}

impl Driver {
    /// Descriptors that come with an order of another kind are closed.
    pub(super) fn order(&mut self, link: u32, id: u64, order: Order, fds: Vec<OwnedFd>) {
        let outcome = match order {
            Order::Seat { name, entry, said } => self.seat(&name, &entry, &said, fds),
            order => self.carry_out(link, id, order),
        };
        match outcome {
            Ok(Some((answer, fds))) => self.answer(link, id, Ok(answer), fds),
            Ok(None) => {}
            Err(refusal) => self.answer(link, id, Err(refusal), vec![]),
        }
    }

    /// `None` when the answer comes later.
    fn carry_out(&mut self, link: u32, id: u64, order: Order) -> Result<Option<(Answer, Vec<OwnedFd>)>, KeeperRefusal> {
        let done = Ok(Some((Answer::Done, vec![])));
        if self.shutdown.is_some()
            && matches!(
                order,
                Order::Define { .. }
                    | Order::Start { .. }
                    | Order::Restart { .. }
                    | Order::Ask { verb: Verb::Start | Verb::Restart, .. }
            )
        {
            return Err(KeeperRefusal::ShuttingDown);
        }
        match order {
            Order::Define { spec } => self.define(link, id, *spec).map(|()| None),
            Order::Start { name } => {
                let slot = self.slot_to_run(&name)?;
                self.ordered_to_start(slot);
                self.give(slot, Input::Start);
                done
            }
            Order::Stop { name } => {
                let slot = self.slot(&name)?;
                self.give(slot, Input::Stop);
                done
            }
            Order::Kill { name } => {
                let slot = self.slot(&name)?;
                self.give(slot, Input::Kill);
                done
            }
            Order::Restart { name } => {
                let slot = self.slot_to_run(&name)?;
                self.give(slot, Input::Restart);
                done
            }
            Order::Release { name, grace } => {
                let slot = self.slot(&name)?;
                if let Some(held) = self.held.get_mut(&slot) {
                    held.release_waiters.push((link, id));
                }
                self.give(slot, Input::Release { grace: grace.min(GRACE_MAX) });
                Ok(None)
            }
            Order::SetExpected { name, sha256 } => {
                let slot = self.slot(&name)?;
                self.set_expected(slot, sha256);
                done
            }
            Order::SetChecksums { name, checksums } => {
                let slot = self.slot(&name)?;
                self.set_checksums(slot, &checksums)?;
                done
            }
            Order::List { after } => self.list(after.as_ref()).map(Some),
            Order::Attach { name } => {
                let slot = self.slot(&name)?;
                self.attach(slot).map(|stream| Some((Answer::Attached, vec![stream])))
            }
            Order::TailLog { name, stream, lines } => {
                let slot = self.slot(&name)?;
                let Some(held) = self.held.get(&slot) else { return Err(KeeperRefusal::NotDefined { name }) };
                let log = match stream {
                    Stream::Output => &held.output_log,
                    Stream::Errors => &held.errors_log,
                };
                let path = log.path().to_owned();
                let ticket = self.ticket(Ticket { link, id, spec: None })?;
                self.workers.give(Job::Tail { ticket, path, lines, bytes_max: TAIL_BYTES_MAX });
                Ok(None)
            }
            Order::Console { name, entry } => {
                let slot = self.slot(&name)?;
                self.enter(slot, *entry).map(|socket| Some((Answer::Attached, vec![socket])))
            }
            Order::Consoles { after } => Ok(Some(self.consoles(after.as_ref()))),
            Order::Broadcast { name, who, text } => {
                name.as_ref().map(|name| self.slot(name)).transpose()?;
                let count = self.broadcast(name.as_ref(), &who, &text);
                Ok(Some((Answer::Count(count), vec![])))
            }
            Order::Disconnect { name, user, by } => {
                name.as_ref().map(|name| self.slot(name)).transpose()?;
                let count = self.disconnect(name.as_ref(), &user, &by);
                Ok(Some((Answer::Count(count), vec![])))
            }
            Order::Ask { name, verb, by } => self.ask(&name, verb, by).map(|()| Some((Answer::Done, vec![]))),
            Order::Update { spec } => self.update(*spec).map(|()| Some((Answer::Done, vec![]))),
            Order::Exits { name, count } => {
                let slot = self.slot(&name)?;
                let folder = self.held.get(&slot).map(|held| held.spec.logs.dir.clone()).unwrap_or_default();
                let ticket = self.ticket(Ticket { link, id, spec: None })?;
                self.workers.give(Job::Exits { ticket, folder, count, bytes_max: PAGE_BYTES_MAX });
                Ok(None)
            }
            Order::Members { names } => {
                if names.len() > MEMBERS_ASKED_MAX {
                    let (what, count) = ("the list of containers".into(), names.len());
                    return Err(KeeperRefusal::TooMany { what, count, count_max: MEMBERS_ASKED_MAX });
                }
                let trees = names.iter().map(|name| self.slot(name).map(|slot| self.running_tree(slot)));
                let trees = trees.collect::<Result<Vec<_>, _>>()?;
                let ticket = self.ticket(Ticket { link, id, spec: None })?;
                self.workers.give(Job::Members { ticket, trees });
                Ok(None)
            }
            // Taken before.
            Order::Seat { .. } => Err(KeeperRefusal::Lost),
            Order::Abilities => {
                let groups = self.groups.as_ref();
                let abilities = Abilities {
                    no_groups: groups.err().cloned(),
                    can_limit_memory: groups.is_ok_and(|groups| groups.can_limit_memory),
                    can_limit_processes: groups.is_ok_and(|groups| groups.can_limit_processes),
                    can_limit_cpu: groups.is_ok_and(|groups| groups.can_limit_cpu),
                    can_confine: confinement::is_there(),
                    kept: self.deposit.kept(),
                };
                Ok(Some((Answer::Abilities(abilities), vec![])))
            }
            Order::Shutdown { grace } => {
                self.begin_shutdown(grace.min(GRACE_MAX), Some((link, id)));
                Ok(None)
            }
        }
    }

    fn seat(
        &mut self,
        name: &ContainerName,
        entry: &Entering,
        said: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<Option<(Answer, Vec<OwnedFd>)>, KeeperRefusal> {
        let slot = self.slot(name)?;
        let Some(socket) = fds.into_iter().next() else { return Err(KeeperRefusal::Lost) };
        self.seat_client(slot, socket, entry, said)?;
        Ok(Some((Answer::Done, vec![])))
    }

    fn slot(&self, name: &ContainerName) -> Result<u32, KeeperRefusal> {
        self.slots.get(name).copied().ok_or_else(|| KeeperRefusal::NotDefined { name: name.clone() })
    }

    fn slot_to_run(&self, name: &ContainerName) -> Result<u32, KeeperRefusal> {
        let slot = self.slot(name)?;
        match self.held.get(&slot) {
            Some(held) if held.machine.is_being_released() => Err(KeeperRefusal::BeingReleased { name: name.clone() }),
            _ => Ok(slot),
        }
    }

    fn ticket(&mut self, ticket: Ticket) -> Result<u64, KeeperRefusal> {
        if self.tickets.len() >= TICKETS_MAX {
            return Err(KeeperRefusal::Busy { what: format!("{TICKETS_MAX} orders") });
        }
        self.next_ticket += 1;
        self.tickets.insert(self.next_ticket, ticket);
        Ok(self.next_ticket)
    }

    fn define(&mut self, link: u32, id: u64, spec: ContainerSpec) -> Result<(), KeeperRefusal> {
        spec.check().map_err(|why| KeeperRefusal::InvalidSpec { why: why.to_string() })?;
        let bytes = encode(&spec).len();
        if bytes > SPEC_BYTES_MAX {
            return Err(KeeperRefusal::SpecTooLarge { bytes, bytes_max: SPEC_BYTES_MAX });
        }
        self.may_define(&spec.name)?;
        let spec = Arc::new(spec);
        let ticket = self.ticket(Ticket { link, id, spec: Some(Arc::clone(&spec)) })?;
        self.workers.give(Job::Freeze { ticket, spec });
        Ok(())
    }

    fn may_define(&self, name: &ContainerName) -> Result<(), KeeperRefusal> {
        if self.slots.contains_key(name) {
            return Err(KeeperRefusal::AlreadyDefined { name: name.clone() });
        }
        if self.held.len() >= CONTAINERS_MAX {
            return Err(KeeperRefusal::TooManyContainers { count: self.held.len() });
        }
        Ok(())
    }

    pub(super) fn frozen(&mut self, ticket: u64, frozen: Result<Option<Frozen>, KeeperRefusal>, tried: Vec<Tried>) {
        let Some(Ticket { link, id, spec: Some(spec) }) = self.tickets.remove(&ticket) else { return };
        let name = spec.name.clone();
        let result = frozen.and_then(|frozen| self.hold(spec, frozen));
        if result.is_ok() {
            let slot = self.slots.get(&name).copied().unwrap_or_default();
            self.doors_were_tried(slot, tried);
        } else {
            let open = tried.into_iter().filter_map(|tried| Some((tried.spec.place, tried.socket.ok()?)));
            sockets::exchange(open.collect(), Vec::new());
        }
        self.answer(link, id, result.map(|()| Answer::Done), vec![]);
    }

    fn hold(&mut self, spec: Arc<ContainerSpec>, frozen: Option<Frozen>) -> Result<(), KeeperRefusal> {
        // Another order for the same name may have been quicker, or a shutdown may have begun.
        self.may_define(&spec.name)?;
        if self.shutdown.is_some() {
            return Err(KeeperRefusal::ShuttingDown);
        }
        let pipe = || {
            runs::pipe()
                .map_err(|error| KeeperRefusal::System { what: "making pipes".into(), reason: error.to_string() })
        };
        let machine = Machine::new(spec.restart, spec.holdoff).with_rules(spec.rules.clone());
        let mut held = Held::new(spec, machine, frozen, (pipe()?, pipe()?));
        held.defined_unix_ms = moment().unix_ms;
        info!(name = %held.spec.name, "defined");
        let slot = self.take_in_container(held)?;
        self.take_up_survivors(slot);
        self.publish(slot);
        Ok(())
    }

    /// Watches the container's streams and gives it a slot.
    pub(super) fn take_in_container(&mut self, held: Held) -> Result<u32, KeeperRefusal> {
        let failed =
            |error: nix::Error| KeeperRefusal::System { what: "watching output".into(), reason: error.to_string() };
        let slot = self.fresh_id();
        self.watch(&held.output.read, Source::Output(slot), EpollFlags::EPOLLIN).map_err(failed)?;
        self.watch(&held.errors.read, Source::Errors(slot), EpollFlags::EPOLLIN).map_err(failed)?;
        self.slots.insert(held.spec.name.clone(), slot);
        self.tapes_bytes += held.console.tape.as_ref().map_or(TAPE_BYTES_FIRST, Tape::capacity);
        self.held.insert(slot, held);
        self.mark_from_now(slot);
        self.share_tapes();
        Ok(slot)
    }

    fn set_expected(&mut self, slot: u32, sha256: Option<Sha256>) {
        let Some(held) = self.held.get_mut(&slot) else { return };
        // What has no checksum of its own, a command, is never compared.
        let expected = committed(&held.spec).and(sha256);
        if held.expected != expected {
            held.expected = expected;
            // Even if the machine does not care now, the report and the deposit do.
            self.give(slot, Input::ExpectedChanged);
        }
    }

    fn set_checksums(&mut self, slot: u32, checksums: &[(String, Sha256)]) -> Result<(), KeeperRefusal> {
        if checksums.len() > CHECKSUMS_MAX {
            let what = "the list of checksums".into();
            return Err(KeeperRefusal::TooMany { what, count: checksums.len(), count_max: CHECKSUMS_MAX });
        }
        let map: serde_json::Map<String, serde_json::Value> =
            checksums.iter().map(|(file, sum)| (file.clone(), sum.to_string().into())).collect();
        let fd = memfd::sealed("procyon-checksums", serde_json::Value::Object(map).to_string().as_bytes())
            .map_err(|error| KeeperRefusal::System { what: "sealing checksums".into(), reason: error.to_string() })?;
        if let Some(held) = self.held.get_mut(&slot) {
            held.checksums = Some(fd);
        }
        self.deposit(slot);
        Ok(())
    }

    fn list(&self, after: Option<&ContainerName>) -> Result<(Answer, Vec<OwnedFd>), KeeperRefusal> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut entries, mut doors, mut bytes, mut more) = (Vec::new(), Vec::new(), 0, false);
        let moment = moment();
        for slot in self.slots.range::<ContainerName, _>((from, Bound::Unbounded)).map(|(_, slot)| slot) {
            let Some(held) = self.held.get(slot) else { continue };
            let state = held.report(moment);
            bytes += encode(&state).len() + 1;
            if entries.len() >= PAGE_ENTRIES_MAX || bytes > PAGE_BYTES_MAX {
                more = true;
                break;
            }
            let door = held.machine.process().and(held.run.as_ref()).map(|run| run.door.try_clone()).transpose();
            let door = door.map_err(|error| KeeperRefusal::System {
                what: "handing over doors".into(),
                reason: error.to_string(),
            })?;
            entries.push(Entry { state, door: door.is_some() });
            doors.extend(door);
        }
        Ok((Answer::Page { entries, more }, doors))
    }

    pub(super) fn read_came(&mut self, ticket: u64, answer: Result<Answer, KeeperRefusal>) {
        if let Some(Ticket { link, id, .. }) = self.tickets.remove(&ticket) {
            self.answer(link, id, answer, vec![]);
        }
    }

    fn ask(&mut self, name: &ContainerName, verb: Verb, by: Asker) -> Result<(), KeeperRefusal> {
        let slot = match verb {
            Verb::Start | Verb::Restart => self.slot_to_run(name)?,
            Verb::Stop | Verb::Kill | Verb::Signal(_) => self.slot(name)?,
        };
        info!(%name, ?verb, by = %by.who, from = %by.from, "asked");
        let Some(held) = self.held.get_mut(&slot) else { return Err(KeeperRefusal::Lost) };
        if verb != Verb::Start && held.machine.process().is_some() {
            held.asked = Some(by);
        }
        let input = match verb {
            Verb::Start => Input::Start,
            Verb::Stop => Input::Stop,
            Verb::Kill => Input::Kill,
            Verb::Restart => Input::Restart,
            Verb::Signal(signal) => {
                let Some((pid, _)) = held.machine.process() else {
                    return Err(KeeperRefusal::NotRunning { name: name.clone() });
                };
                return spawn::signal_group(pid, signal).map_err(|error| KeeperRefusal::System {
                    what: format!("sending signal {signal}"),
                    reason: error.to_string(),
                });
            }
        };
        self.give(slot, input);
        Ok(())
    }

    fn update(&mut self, spec: ContainerSpec) -> Result<(), KeeperRefusal> {
        spec.check().map_err(|why| KeeperRefusal::InvalidSpec { why: why.to_string() })?;
        let bytes = encode(&spec).len();
        if bytes > SPEC_BYTES_MAX {
            return Err(KeeperRefusal::SpecTooLarge { bytes, bytes_max: SPEC_BYTES_MAX });
        }
        let slot = self.slot(&spec.name)?;
        let Some(held) = self.held.get_mut(&slot) else { return Err(KeeperRefusal::Lost) };
        if committed(&held.spec).is_some() || committed(&spec).is_some() {
            return Err(KeeperRefusal::NotExchanged);
        }
        if *held.spec == spec {
            return Ok(());
        }
        let same_start = held.spec.starts_as(&spec);
        if let Some(run) = &mut held.run {
            run.outdated |= !same_start;
        }
        held.output_log.set_limits(&spec.logs);
        held.errors_log.set_limits(&spec.logs);
        let (policy, rules, holdoff) = (spec.restart, spec.rules.clone(), spec.holdoff);
        let other_console = held.spec.console != spec.console || held.spec.access != spec.access;
        held.spec = Arc::new(spec);
        info!(name = %held.spec.name, outdated = !same_start, "definition changed");
        if other_console {
            self.console_changed(slot);
        }
        self.give(slot, Input::Rules { policy, rules, holdoff });
        // The deposit holds the definition, whether the report shows the change or not.
        self.deposit(slot);
        Ok(())
    }

    fn running_tree(&self, slot: u32) -> Tree {
        let leader = self.held.get(&slot).and_then(|held| held.machine.process()).map(|(pid, _)| pid);
        self.tree_of(slot, leader)
    }
}
