//! What procServ says, to the letter: scripts read it.

use std::fmt::Write as _;

use super::keys::{self, Keys, QUIT, START};
use crate::container::machine::ExitStatus;

/// Whose words are used. They differ in what a restart mode is called and whether one-shot is among those the key steps
/// through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wording {
    #[default]
    V2_7,
    V2_8,
}

/// What happens when the program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartMode {
    #[default]
    On,
    Off,
    OneShot,
}

pub const VERSION: &str = "procServ Process Server 2.7.0";
/// Between blocks of the server's lines.
pub const RULE: &str = "@@@ @@@ @@@ @@@ @@@\r\n";

impl RestartMode {
    fn name(self) -> &'static str {
        match self {
            Self::On => "ON",
            Self::Off => "OFF",
            Self::OneShot => "ONESHOT",
        }
    }

    /// What the toggle key makes of it.
    pub fn next(self, wording: Wording) -> Self {
        match (self, wording) {
            (Self::On, _) => Self::Off,
            (Self::Off, Wording::V2_8) => Self::OneShot,
            (Self::Off | Self::OneShot, _) => Self::On,
        }
    }
}

/// What the banner and the messages speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub wording: Wording,
    pub keys: Keys,
    pub server_pid: u32,
    pub server_folder: String,
    pub child_folder: String,
    /// The child's name in messages.
    pub name: String,
    /// What it is started as, by the command line.
    pub command: String,
    /// What is executed.
    pub executed: String,
    /// The log file, and whether it could be opened.
    pub log_file: Option<(String, bool)>,
    pub server_started: String,
}

/// The child as the banner shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Child<'t> {
    Down,
    Runs { pid: i32, started: &'t str },
}

/// How many others are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Others {
    pub users: usize,
    pub loggers: usize,
}

impl Facts {
    /// What a new client reads; one that only watches gets less of it.
    pub fn banner(&self, mode: RestartMode, child: Child<'_>, others: Option<Others>) -> String {
        let mut text = String::new();
        if others.is_some() {
            let _ = write!(text, "@@@ Welcome to procServ ({VERSION})\r\n{}", self.use_line(mode));
            if let Some(logout) = self.keys.logout {
                let _ = write!(text, "@@@ Use {} to logout from procServ server\r\n", keys::name(logout));
            }
        }
        let Self { server_pid, server_folder, child_folder, name, command, .. } = self;
        let _ = write!(
            text,
            "@@@ procServ server PID: {server_pid}\r\n@@@ Server startup directory: {server_folder}\r\n\
             @@@ Child startup directory: {child_folder}\r\n"
        );
        if name == command {
            let _ = write!(text, "@@@ Child started as: {command}\r\n");
        } else {
            let _ = write!(text, "@@@ Child \"{name}\" started as: {command}\r\n");
        }
        if let (Wording::V2_8, Some((file, opened))) = (self.wording, &self.log_file) {
            let problem = if *opened { "" } else { "unable to open log file " };
            let _ = write!(text, "@@@ Child log file: {problem}{file}\r\n");
        }
        match child {
            Child::Down => _ = write!(text, "@@@ Child \"{name}\" is SHUT DOWN\r\n"),
            Child::Runs { pid, .. } => _ = write!(text, "@@@ Child \"{name}\" PID: {pid}\r\n"),
        }
        let _ = write!(text, "@@@ procServ server started at: {}\r\n", self.server_started);
        if let Child::Runs { started, .. } = child {
            let _ = write!(text, "@@@ Child \"{name}\" started at: {started}\r\n");
        }
        if let Some(Others { users, loggers }) = others {
            let _ = write!(text, "@@@ {users} user(s) and {loggers} logger(s) connected (plus you)\r\n");
        }
        if child == Child::Down {
            text.push_str(&self.down_line());
        }
        text
    }

    fn use_line(&self, mode: RestartMode) -> String {
        let kill = self.keys.kill.map_or_else(
            || "Kill command disabled, ".to_owned(),
            |key| format!("Use {} to kill the child, ", keys::name(key)),
        );
        let toggle = self.keys.toggle.map_or_else(
            || "auto restart toggle disabled".to_owned(),
            |key| format!("use {} to toggle auto restart", keys::name(key)),
        );
        format!("@@@ {kill}{} is {}, {toggle}\r\n", self.mode_words(), self.mode_name(mode))
    }

    fn mode_words(&self) -> &'static str {
        match self.wording {
            Wording::V2_7 => "auto restart",
            Wording::V2_8 => "auto restart mode",
        }
    }

    /// 2.7 knows two states; one-shot does not restart.
    fn mode_name(&self, mode: RestartMode) -> &'static str {
        match (self.wording, mode) {
            (Wording::V2_7, RestartMode::OneShot) => RestartMode::Off.name(),
            _ => mode.name(),
        }
    }

    fn down_line(&self) -> String {
        let kill = self.keys.kill.map_or_else(String::new, |key| format!(" or {}", keys::name(key)));
        let logout =
            self.keys.logout.map_or_else(String::new, |key| format!(", {} closes this connection", keys::name(key)));
        let (start, quit) = (keys::name(START), keys::name(QUIT));
        format!("@@@ {start}{kill} restarts the child, {quit} quits the server{logout}\r\n")
    }

    pub fn toggled(&self, mode: RestartMode) -> String {
        format!("\r\n@@@ Toggled {} to {}\r\n", self.mode_words(), self.mode_name(mode))
    }

    /// Before a start; the first says the same.
    pub fn starting(&self) -> String {
        let mut text = format!("@@@ Restarting child \"{}\"\r\n", self.name);
        if self.name != self.executed {
            let _ = write!(text, "@@@    (as {})\r\n", self.executed);
        }
        text
    }

    pub fn started(&self, pid: i32) -> String {
        format!("@@@ The PID of new child \"{}\" is: {pid}\r\n{RULE}", self.name)
    }

    pub fn cannot_start(&self, folder_problem: Option<&str>, problem: &str) -> String {
        let folder = folder_problem.map_or_else(String::new, |reason| {
            format!("procServ: child could not chdir to {}, {reason}\r\n", self.child_folder)
        });
        format!("{RULE}{folder}procServ: child could not execute: {}, {problem}\r\n", self.executed)
    }

    /// The program has ended and its status is known.
    pub fn ended(pid: i32, status: ExitStatus) -> String {
        let how = match status {
            ExitStatus::Code(code) => format!(" Normal exit status = {code}"),
            ExitStatus::Signal { number, .. } => format!(" The process was killed by signal {number}"),
            ExitStatus::Unknown | ExitStatus::NotSpawned => String::new(),
        };
        format!("\r\n{RULE}@@@ Received a sigChild for process {pid}.{how}\r\n")
    }

    /// And what becomes of it.
    pub fn down(&self, time: &str, mode: RestartMode) -> String {
        let next = match mode {
            RestartMode::On => "a new one will be restarted shortly",
            RestartMode::Off => "auto restart is disabled",
            RestartMode::OneShot => "oneshot mode: server will exit",
        };
        format!("@@@ Current time: {time}\r\n@@@ Child process is shutting down, {next}\r\n{}", self.down_line())
    }
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;
