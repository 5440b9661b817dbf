//! Who is attached to a console, and who of them may type.
//!
//! Two rules: *shared*, procServ's way, where everybody with the right to write types at any time; and *one writer*,
//! conserver's way, where the second to come watches until the first leaves, or takes the console by force. Texts in
//! brackets are conserver's, to the letter.

use serde::{Deserialize, Serialize};

/// Attached to one console at once; a further one is refused.
pub const SEATS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Rule {
    #[default]
    Shared,
    OneWriter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    Write,
    Spy,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Wish {
    /// To write, or else to watch.
    #[default]
    Attach,
    /// To write, whoever does now.
    Force,
    Spy,
}

/// One who is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    pub id: u32,
    pub user: String,
    pub host: String,
    /// By right; whether it does is its mode.
    pub may_write: bool,
    pub mode: Mode,
    pub since_unix_s: u64,
    pub typed_unix_s: u64,
}

impl Seat {
    /// `alice@localhost`.
    pub fn who(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }
}

/// What comes of a wish.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// To who wished.
    pub answer: String,
    /// To others.
    pub others: Vec<(u32, String)>,
    /// Worth a mark: `bob@localhost bumped alice@localhost`.
    pub mark: Option<String>,
}

#[derive(Debug, Default)]
pub struct Roster {
    rule: Rule,
    seats: Vec<Seat>,
    /// Who would type as soon as nobody does, in the order in which they asked, or lost it.
    waiting: Vec<u32>,
}

impl Roster {
    pub fn new(rule: Rule) -> Self {
        Self { rule, ..Self::default() }
    }

    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    pub fn is_full(&self) -> bool {
        self.seats.len() >= SEATS_MAX
    }

    pub fn seat(&self, id: u32) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.id == id)
    }

    pub fn writes(&self, id: u32) -> bool {
        self.seat(id).is_some_and(|seat| seat.mode == Mode::Write)
    }

    /// Users and loggers, as procServ counts them.
    pub fn counts(&self) -> (usize, usize) {
        let writers = self.seats.iter().filter(|seat| seat.may_write).count();
        (writers, self.seats.len() - writers)
    }

    /// `None` where the console is full.
    pub fn enter(&mut self, mut seat: Seat, wish: Wish) -> Option<Outcome> {
        if self.is_full() {
            return None;
        }
        seat.mode = Mode::Spy;
        let id = seat.id;
        self.seats.push(seat);
        Some(self.wish(id, wish))
    }

    /// One who is there wants another mode.
    pub fn wish(&mut self, id: u32, wish: Wish) -> Outcome {
        let Some(seat) = self.seat(id) else { return Outcome::default() };
        let (who, may_write, mode) = (seat.who(), seat.may_write, seat.mode);
        let say = |text: &str| Outcome { answer: format!("[{text}]\r\n"), ..Outcome::default() };
        self.waiting.retain(|waiting| *waiting != id);
        if wish == Wish::Spy {
            self.set(id, Mode::Spy);
            return Outcome { mark: (mode == Mode::Write).then(|| format!("{who} detached")), ..say("spying") };
        }
        if !may_write {
            return say("read-only");
        }
        if mode == Mode::Write {
            return say("ok");
        }
        let before = match self.rule {
            Rule::Shared => None,
            Rule::OneWriter => {
                self.seats.iter().find(|other| other.mode == Mode::Write).map(|other| (other.id, other.who()))
            }
        };
        match (before, wish) {
            (None, _) => {
                self.set(id, Mode::Write);
                Outcome { mark: Some(format!("{who} attached")), ..say("attached") }
            }
            (Some((other, other_who)), Wish::Force) => {
                self.set(other, Mode::Spy);
                self.set(id, Mode::Write);
                self.waiting.push(other);
                Outcome {
                    answer: format!("[bumped {other_who}]\r\n"),
                    others: vec![(other, format!("\r\n[forced to `spy' mode by {who}]\r\n"))],
                    mark: Some(format!("{who} bumped {other_who}")),
                }
            }
            (Some((_, other_who)), _) => {
                self.waiting.push(id);
                say(&format!("no, {other_who} is attached"))
            }
        }
    }

    /// Nobody may be left who types: then the first of those who wait does.
    pub fn promote(&mut self) -> Option<Outcome> {
        if self.rule == Rule::Shared || self.seats.iter().any(|seat| seat.mode == Mode::Write) {
            return None;
        }
        let at = self.waiting.iter().position(|id| self.seat(*id).is_some_and(|seat| seat.may_write))?;
        let id = self.waiting.remove(at);
        self.set(id, Mode::Write);
        let who = self.seat(id).map(Seat::who)?;
        let others = vec![(id, "\r\n[attached]\r\n".to_owned())];
        Some(Outcome { others, mark: Some(format!("{who} attached")), ..Outcome::default() })
    }

    /// Another rule from now on; who may not type any more by it, the first to have come excepted.
    pub fn set_rule(&mut self, rule: Rule) -> Vec<u32> {
        self.rule = rule;
        if rule == Rule::Shared {
            return Vec::new();
        }
        let writers = self.seats.iter_mut().filter(|seat| seat.mode == Mode::Write).skip(1);
        writers
            .map(|seat| {
                seat.mode = Mode::Spy;
                seat.id
            })
            .collect()
    }

    /// Another right from now on; whether somebody who typed may not any more.
    pub fn set_right(&mut self, id: u32, may_write: bool) -> bool {
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id) else { return false };
        seat.may_write = may_write;
        let typed = seat.mode == Mode::Write;
        if !may_write {
            seat.mode = Mode::Spy;
        }
        typed && !may_write
    }

    pub fn leave(&mut self, id: u32) -> Option<Seat> {
        self.waiting.retain(|waiting| *waiting != id);
        let at = self.seats.iter().position(|seat| seat.id == id)?;
        Some(self.seats.remove(at))
    }

    pub fn typed(&mut self, id: u32, unix_s: u64) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id) {
            seat.typed_unix_s = unix_s;
        }
    }

    fn set(&mut self, id: u32, mode: Mode) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id) {
            seat.mode = mode;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(id: u32, user: &str, may_write: bool) -> Seat {
        let host = "localhost".into();
        Seat { id, user: user.into(), host, may_write, mode: Mode::Spy, since_unix_s: 0, typed_unix_s: 0 }
    }

    #[test]
    fn with_one_writer_the_second_watches_until_it_uses_force() {
        let mut roster = Roster::new(Rule::OneWriter);
        assert_eq!(roster.enter(seat(1, "alice", true), Wish::Attach).unwrap().answer, "[attached]\r\n");
        let second = roster.enter(seat(2, "bob", true), Wish::Attach).unwrap();
        assert_eq!(second.answer, "[no, alice@localhost is attached]\r\n");
        assert_eq!((roster.writes(1), roster.writes(2)), (true, false));
        let forced = roster.wish(2, Wish::Force);
        assert_eq!(forced.answer, "[bumped alice@localhost]\r\n");
        assert_eq!(forced.others, [(1, "\r\n[forced to `spy' mode by bob@localhost]\r\n".to_owned())]);
        assert_eq!(forced.mark.as_deref(), Some("bob@localhost bumped alice@localhost"));
        assert_eq!((roster.writes(1), roster.writes(2)), (false, true));
        roster.leave(2);
        assert_eq!(roster.wish(1, Wish::Attach).answer, "[attached]\r\n");
    }

    #[test]
    fn who_waits_to_type_does_when_the_writer_leaves_or_only_watches() {
        let mut roster = Roster::new(Rule::OneWriter);
        for (id, user) in [(1, "alice"), (2, "bob"), (3, "carol")] {
            roster.enter(seat(id, user, true), Wish::Attach).unwrap();
        }
        roster.wish(3, Wish::Force);
        assert_eq!(roster.promote(), None, "somebody types");
        roster.leave(3);
        let next = roster.promote().unwrap();
        assert_eq!(next.others, [(2, "\r\n[attached]\r\n".to_owned())]);
        assert_eq!((next.answer.as_str(), next.mark.as_deref()), ("", Some("bob@localhost attached")));
        roster.wish(2, Wish::Spy);
        assert_eq!(roster.promote().unwrap().others[0].0, 1, "she has lost it by force");
        roster.wish(1, Wish::Spy);
        assert_eq!(roster.promote(), None, "who only watches does not wait");
    }

    #[test]
    fn where_it_is_shared_all_who_may_write_do() {
        let mut roster = Roster::new(Rule::Shared);
        roster.enter(seat(1, "alice", true), Wish::Attach).unwrap();
        assert_eq!(roster.enter(seat(2, "bob", true), Wish::Attach).unwrap().answer, "[attached]\r\n");
        assert_eq!(roster.enter(seat(3, "carol", false), Wish::Force).unwrap().answer, "[read-only]\r\n");
        assert_eq!((roster.writes(1), roster.writes(2), roster.writes(3)), (true, true, false));
        assert_eq!(roster.counts(), (2, 1));
        assert_eq!(roster.wish(1, Wish::Spy).answer, "[spying]\r\n");
        assert!(!roster.writes(1));
    }

    #[test]
    fn a_rule_or_a_right_that_changes_holds_for_those_who_are_there() {
        let mut roster = Roster::new(Rule::Shared);
        for (id, user) in [(1, "alice"), (2, "bob"), (3, "carol")] {
            roster.enter(seat(id, user, true), Wish::Attach).unwrap();
        }
        assert_eq!(roster.set_rule(Rule::OneWriter), [2, 3]);
        assert_eq!((roster.writes(1), roster.writes(2)), (true, false));
        assert!(roster.set_right(1, false));
        assert!(!roster.set_right(1, false), "it is told once");
        assert_eq!(roster.wish(1, Wish::Force).answer, "[read-only]\r\n");
        assert_eq!(roster.wish(2, Wish::Attach).answer, "[attached]\r\n");
        assert_eq!(roster.set_rule(Rule::Shared), [] as [u32; 0]);
    }

    #[test]
    fn a_full_console_takes_nobody() {
        let mut roster = Roster::default();
        for id in 0..u32::try_from(SEATS_MAX).unwrap() {
            roster.enter(seat(id, "x", true), Wish::Spy).unwrap();
        }
        assert_eq!(roster.enter(seat(99, "late", true), Wish::Attach), None);
    }

    proptest::proptest! {
        #[test]
        fn there_is_never_more_than_one_writer_of_one(wishes in proptest::collection::vec((0_u32..6, 0_u8..4), 0..60)) {
            let mut roster = Roster::new(Rule::OneWriter);
            for (id, wish) in wishes {
                let wish = match wish { 0 => Some(Wish::Attach), 1 => Some(Wish::Force), 2 => Some(Wish::Spy), _ => None };
                match wish {
                    None => drop(roster.leave(id)),
                    Some(wish) if roster.seat(id).is_some() => drop(roster.wish(id, wish)),
                    Some(wish) => drop(roster.enter(seat(id, "x", id != 3), wish)),
                }
                drop(roster.promote());
                let writers = roster.seats().iter().filter(|seat| seat.mode == Mode::Write).count();
                proptest::prop_assert!(writers <= 1 && !roster.writes(3));
            }
        }
    }
}
