//! The command `procyon console`, in conserver's words: lists of consoles and of who is on them, and a seat at one.
//!
//! It speaks with the keeper, not with the agent, so it works while the agent is away, and goes on at the exact byte when
//! the keeper is followed by another. Must not know: YANG, accounts; the keeper's socket lets in its own account and root
//! only.

mod command;
mod seat;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser};

use crate::console::columns::{self, Listed};
use crate::console::conserver::{self, REPLAY_LINES};
use crate::console::escape;
use crate::console::roster::{SEATS_MAX, Wish};
use crate::container::spec::ContainerName;
use crate::keeper::client::Keeper;
use crate::keeper::protocol::Entering;
use crate::keeper::tape::{TAPE_BYTES_FIRST, TAPE_BYTES_MAX};
use crate::moving::export;
use crate::settings::Layout;

/// Where conserver's client looks for its server, and finds ours if there is one.
pub const CONSERVER_PORT: u16 = 782;
/// How long the keeper has to greet.
const KEEPER_TIME_MAX: Duration = Duration::from_secs(2);

/// conserver's options, as far as they have a meaning here.
#[derive(Debug, Clone, Args)]
pub struct Asked {
    /// Attach with the right to type (the default); watch if somebody else has it.
    #[arg(short = 'a', group = "what")]
    attach: bool,
    /// As -a, after the last 20 lines.
    #[arg(short = 'A', group = "what")]
    attach_replay: bool,
    /// Attach and take the right to type from who has it.
    #[arg(short = 'f', group = "what")]
    force: bool,
    /// As -f, after the last 20 lines.
    #[arg(short = 'F', group = "what")]
    force_replay: bool,
    /// Watch only.
    #[arg(short = 's', group = "what")]
    spy: bool,
    /// As -s, after the last 20 lines.
    #[arg(short = 'S', group = "what")]
    spy_replay: bool,
    /// List consoles with their state and users.
    #[arg(short = 'u', group = "what")]
    users: bool,
    /// List who is attached, how, and for how long without a key.
    #[arg(short = 'w', group = "what")]
    who: bool,
    /// List all details, fifteen fields for programs.
    #[arg(short = 'i', group = "what")]
    info: bool,
    /// List where consoles are.
    #[arg(short = 'x', group = "what")]
    examine: bool,
    /// Show version and built-in defaults.
    #[arg(short = 'V', group = "what")]
    defaults: bool,
    /// Tell everybody on the console, or on all.
    #[arg(short = 'b', value_name = "TEXT", group = "what")]
    broadcast: Option<String>,
    /// End a user's attachments, on all consoles or on one.
    #[arg(short = 'd', value_name = "USER[@CONSOLE]", group = "what")]
    disconnect: Option<String>,
    /// Another escape sequence, two keys.
    #[arg(short = 'e', value_name = "KEYS", default_value = "^Ec")]
    escape: String,
    /// Be shown to others under this name.
    #[arg(short = 'l', value_name = "USER")]
    user: Option<String>,
    /// The console, or an unambiguous beginning of its name.
    pub name: Option<String>,
}

/// Words as they come over SSH, separated by blanks.
///
/// # Errors
/// What is wrong with them, or what help says.
pub fn parse(words: &str) -> Result<Asked, clap::Error> {
    let words = std::iter::once("console").chain(words.split_whitespace());
    Line::try_parse_from(words).map(|line| line.asked)
}

#[derive(Parser)]
#[command(name = "console")]
struct Line {
    #[command(flatten)]
    asked: Asked,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Sit { wish: Wish, replay_lines: u16 },
    List(List),
    Defaults,
    Broadcast(String),
    Disconnect { user: String, console: Option<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Users,
    Who,
    Info,
    Places,
}

impl Asked {
    pub fn what(&self) -> What {
        let replay = u16::try_from(REPLAY_LINES).unwrap_or(u16::MAX);
        let seats = [
            (self.force, Wish::Force, 0),
            (self.force_replay, Wish::Force, replay),
            (self.spy, Wish::Spy, 0),
            (self.spy_replay, Wish::Spy, replay),
            (self.attach, Wish::Attach, 0),
            (self.attach_replay, Wish::Attach, replay),
        ];
        let lists =
            [(self.users, List::Users), (self.who, List::Who), (self.info, List::Info), (self.examine, List::Places)];
        if self.defaults {
            return What::Defaults;
        }
        if let Some(text) = &self.broadcast {
            return What::Broadcast(text.clone());
        }
        if let Some(whom) = &self.disconnect {
            let (user, console) = whom.split_once('@').map_or((whom.as_str(), None), |(user, at)| (user, Some(at)));
            return What::Disconnect { user: user.to_owned(), console: console.map(str::to_owned) };
        }
        if let Some((_, list)) = lists.into_iter().find(|(is_asked, _)| *is_asked) {
            return What::List(list);
        }
        let seat = seats.into_iter().find(|(is_asked, ..)| *is_asked);
        match (seat, &self.name) {
            (Some((_, wish, replay_lines)), _) => What::Sit { wish, replay_lines },
            (None, Some(_)) => What::Sit { wish: Wish::Attach, replay_lines: replay },
            (None, None) => What::List(List::Users),
        }
    }

    pub fn escape(&self) -> anyhow::Result<[u8; 2]> {
        match conserver::parse_keys(&self.escape) {
            Some(keys) => Ok(keys),
            None => bail!("`{}` is no escape sequence: give two keys, such as ^Ec", self.escape),
        }
    }
}

/// Carries out what was asked.
///
/// # Errors
/// No keeper on this root, or no console of that name.
pub fn run(layout: &Layout, asked: &Asked) -> anyhow::Result<()> {
    let what = asked.what();
    if what == What::Defaults {
        return print(&defaults());
    }
    let escape = asked.escape()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let socket = layout.keeper_socket();
    let user = asked.user.clone().unwrap_or_else(own_name);
    let (keeper, _events) = runtime.block_on(async { Keeper::connect(socket.clone()) });
    runtime.block_on(async {
        if keeper.pid(KEEPER_TIME_MAX).await.is_none() {
            bail!("{}", no_keeper(&socket, layout.root()));
        }
        Ok(())
    })?;
    match what {
        What::Sit { wish, replay_lines } => {
            let Some(name) = &asked.name else { bail!("name a console; `procyon console -u` lists them") };
            let entering = Entering {
                user,
                host: "localhost".into(),
                may_write: true,
                wish,
                from: None,
                replay_lines,
                escape,
                quiet: false,
            };
            seat::sit(&runtime, &keeper, &socket, name, entering)
        }
        What::List(list) => {
            let consoles = runtime.block_on(keeper.consoles())?;
            let consoles = match &asked.name {
                Some(name) => consoles.into_iter().filter(|console| console.shown().starts_with(name)).collect(),
                None => consoles,
            };
            print(&lines(list, &consoles, now_unix_s()))
        }
        What::Broadcast(text) => {
            let name = asked.name.as_deref().map(ContainerName::parse).transpose()?;
            let told = runtime.block_on(keeper.broadcast(name, format!("{user}@localhost"), text))?;
            print(&format!("told {told} user{}\n", if told == 1 { "" } else { "s" }))
        }
        What::Disconnect { user: whom, console } => {
            let name = console.as_deref().map(ContainerName::parse).transpose()?;
            let ended = runtime.block_on(keeper.disconnect(name, whom, format!("{user}@localhost")))?;
            print(&format!("disconnected {ended} user{}\n", if ended == 1 { "" } else { "s" }))
        }
        What::Defaults => Ok(()),
    }
}

/// Goes on at a console for which somebody else has held our seat (`seat`, as its marks told it) up to `offset`.
///
/// # Errors
/// No keeper on this root, or the console has gone.
pub fn go_on(layout: &Layout, seat: &str, offset: Option<u64>, typed: &[u8]) -> anyhow::Result<()> {
    let (name, entering): (ContainerName, Entering) =
        serde_json::from_str(seat).context("no seat that can be taken")?;
    let entering = Entering { from: offset, quiet: offset.is_some(), ..entering };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    seat::go_on(&runtime, &layout.keeper_socket(), name, entering, typed)
}

/// `procyon export conserver`: conserver's file of this device's consoles, on standard output.
///
/// # Errors
/// No keeper on this root.
pub fn export_conserver(layout: &Layout) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = layout.keeper_socket();
    let consoles = runtime.block_on(async {
        let (keeper, _events) = Keeper::connect(socket.clone());
        if keeper.pid(KEEPER_TIME_MAX).await.is_none() {
            bail!("{}", no_keeper(&socket, layout.root()));
        }
        Ok(keeper.consoles().await?)
    })?;
    print(&export::procs_cf(&consoles))
}

/// The console of that name, or the only one whose name begins so.
pub fn find<'n>(names: &'n [String], asked: &str) -> Result<&'n str, String> {
    // An app is called by its name alone; so is everything else while no app is called so.
    let local = |name: &String| name.split_once(':').map(|(_, local)| local.to_owned());
    let exact = names.iter().find(|name| *name == asked);
    if let Some(exact) = exact.or_else(|| names.iter().find(|name| local(name).as_deref() == Some(asked))) {
        return Ok(exact);
    }
    let begins = |name: &&String| name.starts_with(asked) || local(name).is_some_and(|local| local.starts_with(asked));
    let beginning: Vec<&String> = names.iter().filter(begins).collect();
    match beginning[..] {
        [only] => Ok(only),
        [] => Err(format!("there is no console `{asked}`: `procyon console -u` lists them")),
        [first, second, ..] => Err(format!("`{asked}` could be `{first}` or `{second}`: type more of the name")),
    }
}

pub fn lines(list: List, consoles: &[Listed], now_unix_s: u64) -> String {
    match list {
        List::Users => columns::users(consoles),
        List::Who => columns::who(consoles, now_unix_s),
        List::Info => columns::details(consoles, now_unix_s),
        List::Places => columns::places(consoles),
    }
}

pub fn defaults() -> String {
    format!(
        "procyon console {}\n\
         escape sequence: {}\n\
         replay: {REPLAY_LINES} lines, playback: {} lines\n\
         console memory: {} KiB each, up to {} KiB for a client that is behind\n\
         users of a console: {SEATS_MAX}\n\
         server: run/keeper.sock below the root; no port is open unless one is configured\n\
         listeners of a console: /procyon-container:containers/container/console; read-only, and for this host, unless told\n\
         port for conserver's client: off; {CONSERVER_PORT} on 127.0.0.1 if told (/procyon-console:conserver-listener)\n",
        env!("CARGO_PKG_VERSION"),
        conserver::keys(escape::DEFAULT),
        conserver::PLAYBACK_LINES,
        TAPE_BYTES_FIRST.div_ceil(1024),
        TAPE_BYTES_MAX / 1024,
    )
}

fn no_keeper(socket: &Path, root: &Path) -> String {
    format!("no keeper answers at {}; start everything: procyon agent --root {}", socket.display(), root.display())
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn own_name() -> String {
    let uid = nix::unistd::getuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

#[expect(clippy::disallowed_methods, reason = "a command's one look at the clock")]
pub(crate) fn now_unix_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &str) -> Option<What> {
        Some(parse(words).ok()?.what())
    }

    #[test]
    fn the_options_are_those_of_conserver() {
        let sit = |wish, replay_lines| Some(What::Sit { wish, replay_lines });
        assert_eq!(asked("e1"), sit(Wish::Attach, 20));
        assert_eq!(asked("-a e1"), sit(Wish::Attach, 0));
        assert_eq!(asked("-F e1"), sit(Wish::Force, 20));
        assert_eq!(asked("-s e1"), sit(Wish::Spy, 0));
        assert_eq!(asked(""), Some(What::List(List::Users)));
        assert_eq!(asked("-w"), Some(What::List(List::Who)));
        assert_eq!(asked("-V"), Some(What::Defaults));
        assert_eq!(asked("-d bob@e1"), Some(What::Disconnect { user: "bob".into(), console: Some("e1".into()) }));
        assert_eq!(asked("-u -w"), None);
    }

    #[test]
    fn a_beginning_is_enough_if_it_is_the_only_one() {
        let names = ["ioc-1", "ioc-10", "web"].map(str::to_owned);
        assert_eq!(find(&names, "w"), Ok("web"));
        assert_eq!(find(&names, "ioc-1"), Ok("ioc-1"));
        assert_eq!(find(&names, "ioc"), Err("`ioc` could be `ioc-1` or `ioc-10`: type more of the name".into()));
        let names = ["ioc", "container:ioc", "container:motor"].map(str::to_owned);
        assert_eq!(find(&names, "ioc"), Ok("ioc"));
        assert_eq!(find(&names, "container:ioc"), Ok("container:ioc"));
        assert_eq!(find(&names, "mot"), Ok("container:motor"));
        assert!(find(&names, "x").unwrap_err().starts_with("there is no console `x`"));
    }
}
