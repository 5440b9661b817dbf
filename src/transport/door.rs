//! The door of the TLS listeners: as many may wait to be known as the settings say, fair between sources.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::ssh::Limits;
use crate::ssh::admission::{Admission, ConnectionId, Full, Stage, Verdict};

#[derive(Debug)]
pub(super) struct Door(Mutex<Inside>);

#[derive(Debug)]
struct Inside {
    admission: Admission,
    waiting: BTreeMap<ConnectionId, CancellationToken>,
}

impl Door {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Mutex::new(Inside { admission: Admission::new(limits), waiting: BTreeMap::new() }))
    }

    /// A place for a newcomer, and the token that ends it when somebody else takes that.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr) -> Result<(Place, CancellationToken), Full> {
        let mut inside = self.lock();
        // Nobody is known before the handshake is over, so they are alike: the oldest gives way.
        let id = match inside.admission.arrive(source, |_| Stage::Silent) {
            Verdict::Admit(id) => id,
            Verdict::AdmitInsteadOf { admitted, ended } => {
                if let Some(ended) = inside.waiting.remove(&ended) {
                    ended.cancel();
                }
                admitted
            }
            Verdict::TurnAway(full) => return Err(full),
        };
        let displaced = CancellationToken::new();
        inside.waiting.insert(id, displaced.clone());
        Ok((Place { door: self.clone(), id }, displaced))
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    id: ConnectionId,
}

impl Place {
    /// It is known now and waits no more. False when it has had to give way.
    pub(super) fn proven(&self) -> bool {
        let mut inside = self.door.lock();
        inside.waiting.remove(&self.id);
        inside.admission.prove(self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.lock();
        inside.waiting.remove(&self.id);
        inside.admission.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_silent_connections_displaces_itself() {
        let limits = Limits { unauthenticated: 4, unauthenticated_per_source: 2, ..Limits::default() };
        let door = Arc::new(Door::new(&limits));
        let source = |last: u8| IpAddr::from([192, 0, 2, last]);
        let places: Vec<_> = (0..3).map(|_| door.enter(source(1)).unwrap()).collect();
        assert!(places[0].1.is_cancelled() && !places[0].0.proven());
        assert!(!places[1].1.is_cancelled() && places[1].0.proven());
        assert!(door.enter(source(2)).is_ok());
    }
}
