use super::*;

/// Plays a scenario against a machine whose running is a word: the commits that are in force.
///
/// `1:confirmed=10`, `1:confirmed=10,persist=t`, `1:confirmed=10,id=t`, `1:commit`, `1:commit,id=t`, `1:cancel`,
/// `1:cancel,id=t`, `1:end`, `1:rollback`, `+5` (seconds), `restart`, `reboot`. Every commit that is let in makes one
/// more commit. The answer lists what came of each word that has an outcome, with the commits in force at the end.
fn play(scenario: &str) -> String {
    let mut world = World { confirmed: Confirmed::default(), last: 100, now: 0, told: Vec::new() };
    for word in scenario.split_whitespace() {
        world.play(word);
    }
    format!("{} = {}", world.told.join(" "), world.last - 100)
}

struct World {
    confirmed: Confirmed,
    /// The newest commit in force.
    last: u64,
    now: u64,
    told: Vec<String>,
}

impl World {
    fn now(&self) -> BootTime {
        BootTime(Duration::from_secs(self.now))
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    fn undo(&mut self, why: &str) {
        let pending = self.confirmed.pending().cloned().unwrap();
        self.undo_to(&pending, why);
        self.confirmed.undone();
    }

    fn undo_to(&mut self, pending: &Pending, why: &str) {
        self.last = pending.rollback_to;
        self.tell(format!("undone({why})"));
    }

    fn refused(&mut self, refused: ConfirmRefused) {
        let said = match refused {
            ConfirmRefused::HeldBySession { by, .. } => format!("in-use({by})"),
            ConfirmRefused::NeedsToken { .. } => "needs-token".to_owned(),
            ConfirmRefused::NoSuchToken => "no-such-token".to_owned(),
            ConfirmRefused::NothingPending => "nothing-pending".to_owned(),
        };
        self.tell(said);
    }

    fn play(&mut self, word: &str) {
        if let Some(seconds) = word.strip_prefix('+') {
            self.now += seconds.parse::<u64>().unwrap();
            if self.confirmed.time_left(self.now()) == Some(Duration::ZERO) {
                self.undo("time");
            }
            return;
        }
        if word == "restart" || word == "reboot" {
            let Some(recorded) = self.confirmed.pending().cloned() else { return };
            if word == "reboot" {
                self.now = 1;
            }
            match Confirmed::after_restart(recorded.clone(), word == "restart", self.now()) {
                Some(confirmed) => self.confirmed = confirmed,
                None => {
                    self.undo_to(&recorded, word);
                    self.confirmed = Confirmed::default();
                }
            }
            return;
        }
        let (session, rest) = word.split_once(':').unwrap();
        let session = SessionId(session.parse().unwrap());
        let mut parts = rest.split(',');
        let (verb, seconds) = match parts.next().unwrap().split_once('=') {
            Some((verb, seconds)) => (verb, seconds.parse().unwrap()),
            None => (rest.split(',').next().unwrap(), 600),
        };
        let (mut persist, mut id) = (None, None);
        for part in parts {
            match part.split_once('=').unwrap() {
                ("persist", token) => persist = Some(token.to_owned()),
                ("id", token) => id = Some(token.to_owned()),
                (other, _) => panic!("{other}"),
            }
        }
        match verb {
            "end" => {
                if self.confirmed.session_ended(session) {
                    self.undo("end");
                }
            }
            "rollback" => match self.confirmed.may_change() {
                Ok(()) => self.tell("rolled-back"),
                Err(refused) => self.refused(refused),
            },
            "cancel" => match self.confirmed.cancel(id.as_deref(), session) {
                Ok(()) => self.undo("cancel"),
                Err(refused) => self.refused(refused),
            },
            "commit" | "confirmed" => {
                let timeout = Duration::from_secs(seconds);
                let confirmed = (verb == "confirmed").then_some(Confirmation { timeout, persist });
                let asked = Asked { confirmed, persist_id: id };
                match self.confirmed.commit(&asked, session, "ann", self.last, self.now()) {
                    Ok(step) => {
                        self.tell(match &step {
                            Step::Plain => "plain",
                            Step::Wait(_) => "waits",
                            Step::Confirm => "confirmed",
                        });
                        self.last += 1;
                        self.confirmed.take(step);
                    }
                    Err(refused) => self.refused(refused),
                }
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn the_cases_that_are_known_to_be_hard() {
    for (scenario, expected) in [
        // Without parameters it is a commit.
        ("1:commit", "plain = 1"),
        ("1:confirmed=10 +9 +1", "waits undone(time) = 0"),
        ("1:confirmed=10 +9 1:commit +100", "waits confirmed = 2"),
        // The confirming commit may bring changes of its own.
        ("1:commit 1:confirmed=10 1:commit +100", "plain waits confirmed = 3"),
        // A follow-up begins the time anew; what is undone is everything since the first.
        ("1:confirmed=10 +9 1:confirmed=20 +19 +1", "waits waits undone(time) = 0"),
        ("1:confirmed=10 1:confirmed=20 1:commit", "waits waits confirmed = 3"),
        ("1:commit 1:confirmed=10 1:cancel", "plain waits undone(cancel) = 1"),
        ("1:confirmed=10 1:end", "waits undone(end) = 0"),
        // The end of another session is nothing to it.
        ("1:confirmed=10 2:end +9 1:commit", "waits confirmed = 2"),
        ("1:confirmed=10,persist=t 1:end 2:commit,id=t", "waits confirmed = 2"),
        ("1:confirmed=10,persist=t 1:end 2:cancel,id=t", "waits undone(cancel) = 0"),
        ("1:confirmed=10 2:commit 2:confirmed=5 2:cancel", "waits in-use(1) in-use(1) in-use(1) = 1"),
        ("1:confirmed=10,persist=t 2:commit,id=u 2:cancel,id=u", "waits no-such-token no-such-token = 1"),
    ] {
        assert_eq!(play(scenario), expected, "{scenario}");
    }
}

#[test]
fn tokens() {
    for (scenario, expected) in [
        // RFC 6241 section 8.4.1: they must include the token, whoever they are.
        ("1:confirmed=10,persist=t 1:commit 1:cancel", "waits needs-token needs-token = 1"),
        ("1:commit,id=t 1:confirmed=5,id=t 1:cancel,id=t", "no-such-token no-such-token no-such-token = 0"),
        ("1:confirmed=10 1:commit,id=t", "waits no-such-token = 1"),
        ("1:cancel", "nothing-pending = 0"),
        ("1:confirmed=10,persist=t 1:end 2:confirmed=5,id=t 2:end 3:commit,id=t", "waits waits confirmed = 3"),
        ("1:confirmed=10,persist=t 1:confirmed=5,id=t,persist=u 2:commit,id=t 2:commit,id=u", {
            "waits waits no-such-token confirmed = 3"
        }),
        ("1:confirmed=10 1:confirmed=10,persist=t 1:end 2:commit,id=t", "waits waits confirmed = 3"),
        ("1:confirmed=10 1:rollback 2:rollback 1:commit 2:rollback", {
            "waits in-use(1) in-use(1) confirmed rolled-back = 2"
        }),
    ] {
        assert_eq!(play(scenario), expected, "{scenario}");
    }
}

#[test]
fn restarts_and_reboots() {
    for (scenario, expected) in [
        ("1:commit 1:confirmed=10 restart", "plain waits undone(restart) = 1"),
        ("1:confirmed=10 reboot", "waits undone(reboot) = 0"),
        ("1:confirmed=10,persist=t reboot", "waits undone(reboot) = 0"),
        ("1:confirmed=10,persist=t +4 restart +5 2:commit,id=t", "waits confirmed = 2"),
        ("1:confirmed=10,persist=t +4 restart +6", "waits undone(time) = 0"),
        // Sessions of the new agent may have the numbers of old ones.
        ("1:confirmed=10,persist=t restart 1:end 1:commit 1:commit,id=t", "waits needs-token confirmed = 2"),
    ] {
        assert_eq!(play(scenario), expected, "{scenario}");
    }
}

#[test]
fn one_that_was_due_while_the_agent_was_away_is_undone_at_the_start() {
    let pending = Pending {
        rollback_to: 7,
        deadline: BootTime(Duration::from_secs(10)),
        persist: Some("t".into()),
        holder: Some(SessionId(1)),
        user: "ann".into(),
    };
    assert!(Confirmed::after_restart(pending.clone(), true, BootTime(Duration::from_secs(10))).is_none());
    assert!(Confirmed::after_restart(pending, true, BootTime(Duration::from_secs(9))).is_some());
}

#[test]
fn what_cannot_be_undone_now_is_tried_again() {
    let mut confirmed = Confirmed::default();
    let at = |seconds| BootTime(Duration::from_secs(seconds));
    let asked = Asked { confirmed: Some(Confirmation::default()), persist_id: None };
    let step = confirmed.commit(&asked, SessionId(1), "ann", 7, at(0)).unwrap();
    confirmed.take(step);
    assert_eq!(confirmed.time_left(at(599)), Some(Duration::from_secs(1)));
    assert_eq!(confirmed.time_left(at(700)), Some(Duration::ZERO));
    confirmed.put_off(at(700));
    assert_eq!(confirmed.time_left(at(700)), Some(RETRY));
    assert!(confirmed.may_change().is_err());
}
