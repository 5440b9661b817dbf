//! The open sessions: who is in, since when, and how to end one.
//!
//! Must not know: what a session may do (NACM), or how its bytes travel.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::handle::Opening;
use super::mailbox::Mailbox;
use super::{Caller, Client, Kind, Refusal, SessionId};

/// One open session.
#[derive(Debug)]
pub struct Session {
    pub caller: Caller,
    /// Seconds since the Unix epoch.
    pub opened_unix: i64,
    /// Where its notifications go, once it has subscribed.
    pub mailbox: Mailbox,
    killed: watch::Sender<Option<SessionId>>,
}

#[derive(Debug)]
pub struct Sessions {
    open: BTreeMap<SessionId, Session>,
    last: u32,
    max: usize,
    per_user: usize,
}

impl Sessions {
    /// `max` sessions at once, and `per_user` of one user; a further one is refused.
    pub fn new(max: usize, per_user: usize) -> Self {
        Self { open: BTreeMap::new(), last: 0, max, per_user }
    }

    /// # Errors
    /// `resource-denied` when `max` sessions are open, or `per_user` of this user.
    pub fn open(
        &mut self,
        opening: Opening,
        now_unix: i64,
    ) -> Result<(Caller, watch::Receiver<Option<SessionId>>), Refusal> {
        if self.open.len() >= self.max {
            return Err(Refusal::new(Kind::ResourceDenied, format!("all {} sessions are in use", self.max))
                .mend("close one, or raise limits.sessions in procyon.toml"));
        }
        if self.held_by(&opening) >= self.per_user {
            let message = format!("all {} sessions of user `{}` are in use", self.per_user, opening.user);
            return Err(Refusal::new(Kind::ResourceDenied, message)
                .mend("close one, or raise limits.sessions_per_user in procyon.toml"));
        }
        // RFC 6241 section 8.1 wants a positive number; one that wrapped must not meet a session still open.
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.open.contains_key(&SessionId(self.last)) {
                break;
            }
        }
        let session = SessionId(self.last);
        let Opening { user, groups, client, origin } = opening;
        let caller = Caller { session, user, groups, client, origin };
        let (killed, receiver) = watch::channel(None);
        self.open.insert(
            session,
            Session { caller: caller.clone(), opened_unix: now_unix, mailbox: Mailbox::default(), killed },
        );
        Ok((caller, receiver))
    }

    /// The sessions that count against this one: those on the box do not, their doors have bounds of their own.
    fn held_by(&self, opening: &Opening) -> usize {
        let is_remote = |client: &Client| matches!(client, Client::Netconf | Client::Tls | Client::Shell);
        if !is_remote(&opening.client) {
            return 0;
        }
        let same = |session: &&Session| session.caller.user == opening.user && is_remote(&session.caller.client);
        self.open.values().filter(same).count()
    }

    pub fn close(&mut self, session: SessionId) -> Option<Session> {
        self.open.remove(&session)
    }

    /// Tells the front end of `session` to end it.
    ///
    /// # Errors
    /// RFC 6241 section 7.9: `invalid-value` for the killer's own session and for one that is not open.
    pub fn kill(&mut self, session: SessionId, by: SessionId) -> Result<(), Refusal> {
        if session == by {
            return Err(Refusal::new(Kind::InvalidValue, "a session cannot kill itself").mend("use close-session"));
        }
        let open = self
            .open
            .get(&session)
            .ok_or_else(|| Refusal::new(Kind::InvalidValue, format!("session {session} is not open")))?;
        open.killed.send_replace(Some(by));
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.open.values()
    }

    pub fn get(&self, session: SessionId) -> Option<&Session> {
        self.open.get(&session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening {
        Opening { user: "ann".into(), groups: vec![], client: Client::Netconf, origin: "here".into() }
    }

    #[test]
    fn ids_are_positive_and_never_shared() {
        let mut sessions = Sessions::new(3, 3);
        sessions.last = u32::MAX - 1;
        let ids: Vec<u32> = (0..3).map(|_| sessions.open(opening(), 0).unwrap().0.session.0).collect();
        assert_eq!(ids, [u32::MAX, 1, 2]);
        assert_eq!(sessions.open(opening(), 0).unwrap_err().kind, Kind::ResourceDenied);
    }

    #[test]
    fn one_user_does_not_take_all_places() {
        let mut sessions = Sessions::new(4, 2);
        for _ in 0..2 {
            sessions.open(opening(), 0).unwrap();
        }
        let refusal = sessions.open(opening(), 0).unwrap_err();
        insta::assert_snapshot!(refusal, @"all 2 sessions of user `ann` are in use; close one, or raise limits.sessions_per_user in procyon.toml");
        let script = Client::Script { app: "a".into(), run_id: 1 };
        sessions.open(Opening { client: script, ..opening() }, 0).unwrap();
        sessions.open(Opening { user: "bob".into(), ..opening() }, 0).unwrap();
    }

    #[test]
    fn a_killed_session_hears_of_its_killer() {
        let mut sessions = Sessions::new(2, 2);
        let (victim, killed) = sessions.open(opening(), 0).unwrap();
        let (killer, _) = sessions.open(opening(), 0).unwrap();
        assert!(sessions.kill(killer.session, killer.session).is_err());
        assert!(sessions.kill(SessionId(99), killer.session).is_err());
        sessions.kill(victim.session, killer.session).unwrap();
        assert_eq!(*killed.borrow(), Some(killer.session));
    }
}
