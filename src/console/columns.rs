//! Lists of consoles and of who is on them, in conserver's columns: scripts cut them by position.

use serde::{Deserialize, Serialize};

use super::roster::{Mode, Seat};
use crate::container::console::Speaks;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    Up,
    Down,
    /// It is being started.
    Init,
}

impl Condition {
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Init => "init",
        }
    }
}

/// A listener as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// `unix:PATH` or `tcp:ADDRESS:PORT`.
    pub place: String,
    pub speaks: Speaks,
    /// Why it is not open.
    pub problem: Option<String>,
}

/// One console as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub name: String,
    pub condition: Condition,
    pub server: String,
    pub server_pid: i32,
    pub command: String,
    pub pid: Option<i32>,
    /// The path of the child's terminal, where it has one.
    pub terminal: Option<String>,
    pub seats: Vec<Seat>,
    pub log: String,
    /// Restarted by itself when it ends.
    pub restarts: bool,
    pub one_writer: bool,
    pub doors: Vec<Door>,
    /// Offsets of the first byte that is kept and of the next to come.
    pub first: u64,
    pub end: u64,
}

/// Of containers as configured; others show which part of the agent looks after them.
const PLAIN: &str = "container:";

impl Listed {
    /// What people call it.
    pub fn shown(&self) -> &str {
        shown(&self.name)
    }
}

/// Of a container's whole name, what people call it.
pub fn shown(name: &str) -> &str {
    name.strip_prefix(PLAIN).unwrap_or(name)
}

/// `console -u`: state and users.
pub fn users(consoles: &[Listed]) -> String {
    hosts(consoles, None)
}

/// The same, as somebody at a console is shown it, with a star at that one.
pub fn hosts(consoles: &[Listed], own: Option<&str>) -> String {
    let line = |console: &Listed| {
        let writers: Vec<String> =
            console.seats.iter().filter(|seat| seat.mode == Mode::Write).map(Seat::who).collect();
        let who = match (writers.is_empty(), console.seats.is_empty()) {
            (false, _) => writers.join(","),
            (true, false) => "<spies>".to_owned(),
            (true, true) => "<none>".to_owned(),
        };
        let star = if own == Some(console.name.as_str()) { '*' } else { ' ' };
        format!(" {:<24.24} {star} {:<4} {who}\n", console.shown(), console.condition.word())
    };
    consoles.iter().map(line).collect()
}

/// `console -w`: who, how, for how long without a key.
pub fn who(consoles: &[Listed], now_unix_s: u64) -> String {
    let mut text = String::new();
    for console in consoles {
        for seat in &console.seats {
            let mode = if seat.mode == Mode::Write { "attach" } else { "spy" };
            let idle = idle(seat, now_unix_s);
            text.push_str(&format!(" {:<32.32}   {mode:<7} {idle:>6} {}\n", seat.who(), console.shown()));
        }
    }
    text
}

/// Who is on this console, as somebody on it is shown, with a star before themselves and when each came.
pub fn here(console: &Listed, own: u32, now_unix_s: u64, date_of: impl Fn(u64) -> String) -> String {
    let line = |seat: &Seat| {
        let mode = if seat.mode == Mode::Write { "attach" } else { "spy" };
        let star = if seat.id == own { '*' } else { ' ' };
        let (idle, since) = (idle(seat, now_unix_s), date_of(seat.since_unix_s));
        format!(" {:<32.32} {star} {mode:<7} {idle:>6} {since}\n", seat.who())
    };
    console.seats.iter().map(line).collect()
}

/// `console -x`: where the console is.
pub fn places(consoles: &[Listed]) -> String {
    let line = |console: &Listed| {
        let on = console.terminal.clone().unwrap_or_else(|| "pipes".to_owned());
        format!(" {:<24.24} on {on:<32.32} at {:>7.7} \n", console.shown(), "Local")
    };
    consoles.iter().map(line).collect()
}

/// `console -i`: fifteen fields, for programs.
pub fn details(consoles: &[Listed], now_unix_s: u64) -> String {
    consoles.iter().map(|console| detail(console, now_unix_s)).collect()
}

fn detail(console: &Listed, now_unix_s: u64) -> String {
    let seats: Vec<String> = console
        .seats
        .iter()
        .map(|seat| {
            let letter = if seat.mode == Mode::Write { "w" } else { "s" };
            let right = if seat.may_write { "rw" } else { "ro" };
            let idle = now_unix_s.saturating_sub(seat.typed_unix_s);
            format!("{letter}@{}@{}@{idle}@{right}", clean(&seat.user), clean(&seat.host))
        })
        .collect();
    let pid = console.pid.map_or_else(|| "-1".to_owned(), |pid| pid.to_string());
    let fields = [
        clean(console.shown()),
        format!("{},{},0", console.server, console.server_pid),
        "|".to_owned(),
        format!("{},{pid},{}", clean(&console.command), console.terminal.clone().unwrap_or_default()),
        seats.join(","),
        console.condition.word().to_owned(),
        if console.terminal.is_some() { "rw" } else { "ro" }.to_owned(),
        format!("{},log,noact,nobrk,notask,0,-1", clean(&console.log)),
        "0".to_owned(),
        if console.restarts { "autoup" } else { "noautoup" }.to_owned(),
        String::new(),
        if console.one_writer { "" } else { "shared" }.to_owned(),
        String::new(),
        "0".to_owned(),
        String::new(),
    ];
    format!("{}\n", fields.join(":"))
}

/// What separates fields must not stand in one.
fn clean(text: &str) -> String {
    text.chars()
        .map(|letter| if matches!(letter, ':' | ',' | '@') || letter.is_control() { ' ' } else { letter })
        .collect()
}

fn idle(seat: &Seat, now_unix_s: u64) -> String {
    let minutes = now_unix_s.saturating_sub(seat.typed_unix_s) / 60;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(user: &str, mode: Mode) -> Seat {
        let (host, user) = ("localhost".to_owned(), user.to_owned());
        Seat { id: 1, user, host, may_write: true, mode, since_unix_s: 0, typed_unix_s: 100 }
    }

    fn console(name: &str, seats: Vec<Seat>) -> Listed {
        Listed {
            name: name.into(),
            condition: Condition::Up,
            server: "localhost".into(),
            server_pid: 7,
            command: "/bin/sh -c a:b".into(),
            pid: Some(9),
            terminal: Some("/dev/pts/1".into()),
            seats,
            log: "/logs/x".into(),
            restarts: true,
            one_writer: false,
            doors: vec![],
            first: 0,
            end: 0,
        }
    }

    #[test]
    fn the_columns_are_those_that_scripts_know() {
        let consoles = [
            console("e1", vec![seat("bob", Mode::Write)]),
            console("dn", vec![seat("dan", Mode::Spy)]),
            console("rd", vec![]),
        ];
        assert_eq!(
            users(&consoles),
            " e1                         up   bob@localhost\n \
             dn                         up   <spies>\n \
             rd                         up   <none>\n"
        );
        assert_eq!(hosts(&consoles[2..], Some("rd")), " rd                       * up   <none>\n");
        assert_eq!(
            who(&consoles, 130),
            " bob@localhost                      attach    0:00 e1\n \
             dan@localhost                      spy       0:00 dn\n"
        );
        let date = |_| "Sat Nov 21 13:33:15 2026".to_owned();
        assert_eq!(
            here(&consoles[0], 1, 130, date),
            " bob@localhost                    * attach    0:00 Sat Nov 21 13:33:15 2026\n"
        );
        assert_eq!(
            places(&consoles[2..]),
            " rd                       on /dev/pts/1                       at   Local \n"
        );
    }

    #[test]
    fn the_details_have_fifteen_fields_whatever_stands_in_them() {
        let text = details(&[console("e1", vec![seat("bob", Mode::Write)])], 110);
        assert_eq!(
            text,
            "e1:localhost,7,0:|:/bin/sh -c a b,9,/dev/pts/1:w@bob@localhost@10@rw:up:rw:\
             /logs/x,log,noact,nobrk,notask,0,-1:0:autoup::shared::0:\n"
        );
        assert_eq!(text.trim_end().split(':').count(), 15);
    }
}
