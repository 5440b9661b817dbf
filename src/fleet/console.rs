//! A container's console as it is configured, and as the keeper is given it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::definition::{number, octal, text, texts};
use crate::console::{breaks, keys};
use crate::container::console::{ActingKeys, ConsoleSpec, ListenerSpec, Network, Place, SOCKET_MODE_DEFAULT, Speaks};
use crate::keeper::attach;
use crate::yang::value::Element;

/// Whatever is not said here is said by the template, or is the house's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Console {
    pub one_writer: Option<bool>,
    pub replay_lines: Option<u16>,
    pub motd: Option<String>,
    pub marks: Option<bool>,
    pub mark_every: Option<Duration>,
    pub title: Option<String>,
    pub ignored: Option<String>,
    /// As they are written; empty switches one off.
    pub kill: Option<String>,
    pub toggle: Option<String>,
    pub logout: Option<String>,
    pub breaks: BTreeMap<String, Break>,
    pub listeners: BTreeMap<String, Listener>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Break {
    pub send: String,
    /// In milliseconds.
    pub pause: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listener {
    pub unix: Option<Unix>,
    pub tcp: Option<Tcp>,
    pub speaks: Speaks,
    pub write: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unix {
    pub path: String,
    pub owner: Option<String>,
    pub group: Option<String>,
    pub mode: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tcp {
    pub address: Option<IpAddr>,
    pub port: u16,
    pub sources: Vec<String>,
}

/// Somebody else's console, in the place of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connect {
    pub unix: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub telnet: Option<bool>,
}

impl Connect {
    pub fn from_element(element: &Element) -> Self {
        Self {
            unix: text(element, "unix"),
            host: text(element, "host"),
            port: number(element.text_of("port")),
            telnet: element.text_of("speaks").map(|speaks| speaks == "telnet"),
        }
    }

    /// The arguments of the program that connects, behind its own name; `path` fills in an instance.
    ///
    /// # Errors
    /// It does not say whereto, or says two places.
    pub fn arguments<E>(
        &self,
        mut path: impl FnMut(&str) -> Result<String, E>,
        refused: impl Fn(String, &str) -> E,
    ) -> Result<[String; 3], E> {
        let (target, telnet) = match (&self.unix, &self.host, self.port) {
            (Some(unix), None, None) => (format!("unix:{}", path(unix)?), self.telnet.unwrap_or(false)),
            (None, Some(host), Some(port)) => {
                let host = path(host)?;
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                (format!("tcp:{host}:{port}"), self.telnet.unwrap_or(true))
            }
            _ => return Err(refused("say whereto it connects: unix, or host and port".to_owned(), "connect")),
        };
        let speaks = if telnet { "telnet" } else { "raw" };
        Ok([attach::ARGUMENT.to_owned(), target, speaks.to_owned()])
    }
}

impl Console {
    pub fn from_element(element: &Element) -> Self {
        Self {
            one_writer: element.text_of("writers").map(|writers| writers == "one"),
            replay_lines: number(element.text_of("replay-lines")),
            motd: text(element, "message-of-the-day"),
            marks: number(element.text_of("marks")),
            mark_every: number(element.text_of("mark-every")).map(Duration::from_secs),
            title: text(element, "title"),
            ignored: text(element, "ignored-keys"),
            kill: key(element, "kill-key"),
            toggle: key(element, "toggle-key"),
            logout: key(element, "logout-key"),
            breaks: element
                .children_named("break")
                .filter_map(|entry| {
                    let sent = Break { send: text(entry, "send")?, pause: number(entry.text_of("pause")) };
                    Some((text(entry, "name")?, sent))
                })
                .collect(),
            listeners: element
                .children_named("listener")
                .filter_map(|entry| Some((text(entry, "name")?, Listener::from_element(entry))))
                .collect(),
        }
    }

    #[must_use]
    pub fn over(self, below: &Self) -> Self {
        let merged = |own: Option<String>, below: &Option<String>| own.or_else(|| below.clone());
        let mut breaks = below.breaks.clone();
        breaks.extend(self.breaks);
        let mut listeners = below.listeners.clone();
        listeners.extend(self.listeners);
        Self {
            one_writer: self.one_writer.or(below.one_writer),
            replay_lines: self.replay_lines.or(below.replay_lines),
            motd: merged(self.motd, &below.motd),
            marks: self.marks.or(below.marks),
            mark_every: self.mark_every.or(below.mark_every).filter(|every| !every.is_zero()),
            title: merged(self.title, &below.title),
            ignored: merged(self.ignored, &below.ignored),
            kill: merged(self.kill, &below.kill),
            toggle: merged(self.toggle, &below.toggle),
            logout: merged(self.logout, &below.logout),
            breaks,
            listeners,
        }
    }

    /// `fill` fills in an instance.
    ///
    /// # Errors
    /// What does not resolve, with the node below `console` that it is about.
    pub fn resolve<E>(
        &self,
        has_terminal: bool,
        mut fill: impl FnMut(&str) -> Result<String, E>,
        refused: impl Fn(String, &str) -> E,
    ) -> Result<ConsoleSpec, E> {
        let mut listeners = Vec::new();
        for (name, listener) in &self.listeners {
            let at = format!("listener[name='{name}']");
            if listener.write && listener.speaks == Speaks::Log {
                return Err(refused(format!("listener {name} is a log port: nobody can type there"), &at));
            }
            if listener.write && !has_terminal {
                let why = format!("listener {name} lets people type, and the container has no terminal to type to");
                return Err(refused(why, &at));
            }
            let place = match (&listener.unix, &listener.tcp) {
                (Some(unix), _) => Place::Unix {
                    path: fill(&unix.path)?.into(),
                    mode: unix.mode.unwrap_or(SOCKET_MODE_DEFAULT),
                    owner: unix.owner.as_deref().map(&mut fill).transpose()?,
                    group: unix.group.as_deref().map(&mut fill).transpose()?,
                },
                (None, Some(tcp)) => {
                    let address = tcp.address.unwrap_or(Ipv4Addr::LOCALHOST.into());
                    Place::Tcp { address: SocketAddr::new(address, tcp.port) }
                }
                (None, None) => return Err(refused(format!("listener {name} has no place: give unix or tcp"), &at)),
            };
            let sources = listener.tcp.iter().flat_map(|tcp| &tcp.sources).filter_map(|text| Network::parse(text));
            let (speaks, write) = (listener.speaks, listener.write);
            listeners.push(ListenerSpec { place, speaks, write, sources: sources.collect() });
        }
        let mut sequences = Vec::new();
        for (name, Break { send, pause }) in &self.breaks {
            let at = format!("break[name='{name}']/send");
            let pause = pause.unwrap_or(breaks::PAUSE_MILLIS);
            let pieces = breaks::parse(send, pause).map_err(|why| refused(format!("break {name}: {why}"), &at))?;
            sequences.extend(name.bytes().next().map(|letter| (letter, pieces)));
        }
        for (leaf, key) in [("kill-key", &self.kill), ("toggle-key", &self.toggle), ("logout-key", &self.logout)] {
            let count = key.as_ref().map_or(0, |key| keys::keys(key.as_bytes()).len());
            if count > 1 {
                return Err(refused(
                    format!("{leaf} is {count} keys: give one, such as ^X, or nothing for none"),
                    leaf,
                ));
            }
        }
        let house = ActingKeys::default();
        let key = |own: &Option<String>, house| own.as_ref().map_or(house, |key| keys::key(key.as_bytes()));
        Ok(ConsoleSpec {
            one_writer: self.one_writer.unwrap_or(false),
            replay_lines: self.replay_lines.unwrap_or(0),
            motd: self.motd.as_deref().map(&mut fill).transpose()?.unwrap_or_default(),
            marks: self.marks.unwrap_or(false),
            ignored: self.ignored.as_ref().map(|text| keys::keys(text.as_bytes())).unwrap_or_default(),
            keys: ActingKeys {
                kill: key(&self.kill, house.kill),
                toggle: key(&self.toggle, house.toggle),
                logout: key(&self.logout, house.logout),
            },
            breaks: sequences,
            listeners,
            mark_every: self.mark_every.filter(|every| !every.is_zero()),
            title: self.title.as_deref().map(&mut fill).transpose()?,
        })
    }
}

impl Listener {
    fn from_element(element: &Element) -> Self {
        Self {
            unix: element.child("unix").map(|unix| Unix {
                path: text(unix, "path").unwrap_or_default(),
                owner: text(unix, "owner"),
                group: text(unix, "group"),
                mode: unix.text_of("mode").and_then(octal),
            }),
            tcp: element.child("tcp").map(|tcp| Tcp {
                address: number(tcp.text_of("address")),
                port: number(tcp.text_of("port")).unwrap_or_default(),
                sources: texts(tcp, "source"),
            }),
            speaks: match element.text_of("speaks") {
                Some("raw") => Speaks::Raw,
                Some("log") => Speaks::Log,
                _ => Speaks::ProcServ,
            },
            write: number(element.text_of("write")).unwrap_or(false),
        }
    }
}

/// An empty leaf is there too, and says that there is no such key.
fn key(element: &Element, leaf: &str) -> Option<String> {
    element.child(leaf).map(|leaf| leaf.text.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(children: Vec<Element>) -> Console {
        Console::from_element(&Element::node("console", children))
    }

    fn listener(name: &str, children: Vec<Element>) -> Element {
        let mut all = vec![Element::leaf("name", name)];
        all.extend(children);
        Element::node("listener", all)
    }

    fn resolved(console: &Console, has_terminal: bool) -> Result<ConsoleSpec, String> {
        console.resolve(has_terminal, |text| Ok(text.replace("%i", "one")), |why, at| format!("{at}: {why}"))
    }

    #[test]
    fn a_console_says_what_its_template_does_not() {
        let template = console(vec![
            Element::leaf("writers", "one"),
            Element::leaf("ignored-keys", "^C^D"),
            Element::leaf("mark-every", "300"),
            Element::leaf("title", "IOC %i"),
            listener("main", vec![Element::node("unix", vec![Element::leaf("path", "/run/%i/control")])]),
        ]);
        let tcp = Element::node("tcp", vec![Element::leaf("port", "2000"), Element::leaf("source", "10.0.0.0/8")]);
        let own = console(vec![
            Element::leaf("kill-key", ""),
            Element::leaf("logout-key", "^Q"),
            listener("telnet", vec![tcp, Element::leaf("write", "true")]),
        ]);
        let spec = resolved(&own.over(&template), true).unwrap();
        assert!(spec.one_writer);
        assert_eq!((spec.mark_every, spec.title.as_deref()), (Some(Duration::from_secs(300)), Some("IOC one")));
        let never = console(vec![Element::leaf("mark-every", "0")]);
        assert_eq!(resolved(&never.over(&template), true).unwrap().mark_every, None);
        assert_eq!(spec.ignored, [3, 4]);
        assert_eq!(spec.keys, ActingKeys { kill: None, toggle: Some(0x14), logout: Some(0x11) });
        let places: Vec<String> = spec.listeners.iter().map(|listener| listener.place.to_string()).collect();
        assert_eq!(places, ["unix:/run/one/control", "tcp:127.0.0.1:2000"]);
        assert_eq!((spec.listeners[0].write, spec.listeners[1].write), (false, true));
        assert_eq!(spec.listeners[1].sources, [Network::parse("10.0.0.0/8").unwrap()]);
    }

    #[test]
    fn a_foreign_console_is_a_socket_or_a_port() {
        let connect = |leaves: &[(&'static str, &str)]| {
            let leaves = leaves.iter().map(|(leaf, value)| Element::leaf(*leaf, value)).collect();
            Connect::from_element(&Element::node("connect", leaves))
                .arguments(|text| Ok(text.replace("%i", "one")), |why, at| format!("{at}: {why}"))
                .map(|words| words.join(" "))
        };
        assert_eq!(connect(&[("unix", "/run/%i/control")]), Ok("--attach unix:/run/one/control raw".into()));
        assert_eq!(connect(&[("host", "::1"), ("port", "2000")]), Ok("--attach tcp:[::1]:2000 telnet".into()));
        let raw = [("host", "lantronix"), ("port", "10001"), ("speaks", "raw")];
        assert_eq!(connect(&raw), Ok("--attach tcp:lantronix:10001 raw".into()));
        for wrong in [&[("host", "x")][..], &[], &[("unix", "/x"), ("host", "h")]] {
            assert_eq!(connect(wrong), Err("connect: say whereto it connects: unix, or host and port".into()));
        }
    }

    #[test]
    fn what_does_not_resolve_names_the_node() {
        let tcp = || Element::node("tcp", vec![Element::leaf("port", "1")]);
        let said = |children: Vec<Element>| resolved(&console(children), false).unwrap_err();
        assert_eq!(
            said(vec![listener("a", vec![tcp(), Element::leaf("write", "true")])]),
            "listener[name='a']: listener a lets people type, and the container has no terminal to type to"
        );
        let log = vec![tcp(), Element::leaf("write", "true"), Element::leaf("speaks", "log")];
        assert!(said(vec![listener("a", log)]).ends_with("nobody can type there"));
        assert!(said(vec![listener("a", vec![])]).ends_with("has no place: give unix or tcp"));
        let wrong = Element::node("break", vec![Element::leaf("name", "1"), Element::leaf("send", "\\q")]);
        assert!(said(vec![Element::leaf("kill-key", "XY")]).starts_with("kill-key: kill-key is 2 keys"));
        assert_eq!(said(vec![wrong]), "break[name='1']/send: break 1: \\q stands for nothing");
    }
}
