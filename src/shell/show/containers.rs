//! `show container`, `container start` and its like.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::super::command::Matched;
use super::super::data::Item;
use super::super::grammar::Grammar;
use super::{all, descend, table as columns};
use crate::yang::xml::XmlElement;

const NAMESPACE: &str = "urn:procyon:container";
const CONSOLES: &str = "urn:procyon:console";
/// What consoles and logs call a container.
const FLOOR: &str = "container:";

/// Of all containers what a line shows, of one all there is, its console too.
pub(super) fn filter(name: Option<&str>) -> String {
    let (container, console) = match name {
        Some(name) => {
            let name = escape(name);
            let console =
                format!(r#"<consoles xmlns="{CONSOLES}"><console><name>{FLOOR}{name}</name></console></consoles>"#);
            (format!("<name>{name}</name>"), console)
        }
        None => ("<name/><state/><pid/><restarts/><users/><loggers/><why/>".to_owned(), String::new()),
    };
    format!(r#"<containers-state xmlns="{NAMESPACE}"><container>{container}</container></containers-state>{console}"#)
}

pub(super) fn render(name: Option<&str>, grammar: &Grammar, items: &[Item]) -> String {
    match name {
        Some(name) => info(name, grammar, items),
        None => table(grammar, items),
    }
}

fn table(grammar: &Grammar, items: &[Item]) -> String {
    let containers = all(grammar, descend(grammar, items, &["containers-state"]), "container");
    let rows: Vec<Vec<String>> = containers
        .into_iter()
        .map(|container| {
            let of = |leaf: &str| container.text(grammar, leaf);
            let number = |leaf: &str| of(leaf).unwrap_or("0").to_owned();
            vec![
                of("name").unwrap_or("").to_owned(),
                state(of("state").unwrap_or("")),
                of("pid").unwrap_or("-").to_owned(),
                number("restarts"),
                number("users"),
                number("loggers"),
                of("why").unwrap_or("").to_owned(),
            ]
        })
        .collect();
    let headers =
        [("Name", 14), ("State", 15), ("PID", 7), ("Restarts", 8), ("Typing", 6), ("Watching", 8), ("Why", 3)];
    columns(&headers, &rows, true)
}

/// `restart-pending` as people read it.
fn state(yang: &str) -> String {
    let words = yang.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    });
    words.collect::<Vec<String>>().join(" ")
}

fn info(name: &str, grammar: &Grammar, items: &[Item]) -> String {
    let containers = all(grammar, descend(grammar, items, &["containers-state"]), "container");
    let Some(container) = containers.into_iter().find(|container| container.text(grammar, "name") == Some(name)) else {
        return format!("% There is no container `{name}`; `show container` lists them\n");
    };
    let text = |leaf: &str| container.text(grammar, leaf).map(str::to_owned);
    let mut out = format!("Container: {name}\n");
    let yes = |leaf: &str| text(leaf).filter(|value| value == "true").map(|_| "Yes".to_owned());
    let waits: Vec<&str> =
        all(grammar, Some(container), "waiting-for").into_iter().map(|item| item.value.as_str()).collect();
    let facts = [
        ("Description", text("description")),
        ("State", text("state").map(|yang| state(&yang))),
        ("Why", text("why")),
        ("It says", text("status-text")),
        ("Waits for", (!waits.is_empty()).then(|| waits.join(", "))),
        ("Process ID", text("pid")),
        ("Run ID", text("run-id")),
        ("Started", text("started")),
        ("Restarts", text("restarts")),
        ("Next restart", text("next-restart")),
        ("Definition has changed", yes("outdated")),
        ("Console is lost", yes("console-lost")),
        ("Log file", text("log-file")),
        ("Log bytes lost", text("log-bytes-lost").filter(|lost| lost != "0")),
    ];
    for (title, value) in facts {
        if let Some(value) = value {
            let _ = writeln!(out, "  {title:<28} : {value}");
        }
    }
    let processes = all(grammar, Some(container), "process");
    section(&mut out, "Processes", &processes, |process| {
        let of = |leaf: &str| process.text(grammar, leaf).unwrap_or("");
        format!("{:<7} {}", of("pid"), of("command"))
    });
    let consoles = all(grammar, descend(grammar, items, &["consoles"]), "console");
    let console = consoles
        .into_iter()
        .find(|console| console.text(grammar, "name").and_then(|known| known.strip_prefix(FLOOR)) == Some(name));
    section(&mut out, "Console listens at", &all(grammar, console, "listener"), |listener| {
        let problem = listener.text(grammar, "problem").map(|problem| format!(": {problem}")).unwrap_or_default();
        format!("{}{problem}", listener.text(grammar, "place").unwrap_or(""))
    });
    section(&mut out, "At the console", &all(grammar, console, "user"), |user| {
        let of = |leaf: &str| user.text(grammar, leaf).unwrap_or("");
        format!(
            "{} from {} ({}), idle {} s",
            of("name"),
            of("from"),
            of("mode"),
            user.text(grammar, "idle").unwrap_or("0")
        )
    });
    section(&mut out, "How it ended before, the last one first", &all(grammar, Some(container), "exit"), |exit| {
        exited(grammar, exit)
    });
    out
}

fn section(out: &mut String, title: &str, items: &[&Item], line: impl Fn(&Item) -> String) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}:");
    for item in items {
        let _ = writeln!(out, "  {}", line(item));
    }
}

/// `2026-11-21T14:35:45+00:00  run 17, signal SIGTERM, as admin asked`, and its last lines below.
fn exited(grammar: &Grammar, exit: &Item) -> String {
    let text = |leaf: &str| exit.text(grammar, leaf);
    let how = match (text("signal"), text("code")) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("code {code}"),
        (None, None) => "nobody knows how".to_owned(),
    };
    let core = text("core").map(|core| format!(", core {core}")).unwrap_or_default();
    let asked = text("asked-by").map(|by| format!(", as {by} asked")).unwrap_or_default();
    let mut line =
        format!("{}  run {}, {how}{core}{asked}", text("ended").unwrap_or("-"), text("run-id").unwrap_or("-"));
    for last in text("last-lines").unwrap_or("").lines() {
        let _ = write!(line, "\n    | {last}");
    }
    line
}

/// An order for containers: `start`, `stop`, `kill`, `restart` or `signal`.
pub fn order_request(matched: &Matched) -> String {
    const ORDERS: [&str; 5] = ["start", "stop", "kill", "restart", "signal"];
    let order = ORDERS.into_iter().find(|order| matched.has(order)).unwrap_or("start");
    let leaf = |name: &str, value: &str| format!("<{name}>{}</{name}>", escape(value));
    let mut leaves: String = matched.all("CONTAINER").into_iter().map(|name| leaf("name", name)).collect();
    leaves.extend(matched.all("GROUP").into_iter().map(|group| leaf("group", group)));
    leaves.extend(matched.get("SIGNAL").map(|signal| leaf("signal", signal)));
    let options = [("at-once", matched.get("AT-ONCE")), ("timeout", matched.get("TIMEOUT"))];
    let options: Vec<String> = options.into_iter().filter_map(|(name, value)| Some(leaf(name, value?))).collect();
    if matched.has("rolling") || !options.is_empty() {
        leaves.push_str(&format!("<rolling>{}</rolling>", options.concat()));
    }
    format!(r#"<{order} xmlns="{NAMESPACE}">{leaves}</{order}>"#)
}

/// Those that are as was asked, and the sentences about those that are not.
pub fn outcomes(reply: &[XmlElement]) -> (String, Vec<String>) {
    let (mut done, mut failed) = (String::new(), Vec::new());
    for container in reply.iter().filter(|element| &*element.name == "container") {
        let leaf =
            |name: &str| container.children.iter().find(|leaf| &*leaf.name == name).map_or("", |leaf| &leaf.text);
        let name = leaf("name");
        match leaf("outcome") {
            "done" => {
                let _ = writeln!(done, "{name}: done");
            }
            "left-alone" => failed.push(format!("% {name}: left alone, because another one failed before")),
            _ => failed.push(format!("% {name}: {}", leaf("why"))),
        }
    }
    (done, failed)
}

#[cfg(test)]
mod tests {
    use super::super::super::data::read;
    use super::super::super::testing::device;
    use super::super::super::token::split;
    use super::super::super::vocabulary::operational;
    use super::*;

    const CLOCK: &str = r#"<containers-state xmlns="urn:procyon:container"><container><name>clock</name><state>restart-pending</state>
<why>exited with 3; starts again at 14:36</why><run-id>18</run-id><restarts>2</restarts><next-restart>2026-11-21T14:36:00Z</next-restart>
<users>1</users><loggers>0</loggers><log-file>/logs/clock/stdout.log</log-file><outdated>true</outdated>
<process><pid>3781</pid><command>/bin/sh -c date</command></process>
<exit><run-id>18</run-id><ended>2026-11-21T14:35:45Z</ended><code>3</code><last-lines>one
two</last-lines></exit>
<exit><run-id>17</run-id><ended>2026-11-21T14:30:00Z</ended><signal>SIGTERM</signal><asked-by>admin</asked-by></exit></container>
</containers-state><consoles xmlns="urn:procyon:console"><console><name>container:clock</name><user><id>1</id><name>ann</name>
<from>192.0.2.7</from><mode>write</mode><idle>4</idle></user><listener><place>127.0.0.1:7001</place></listener></console></consoles>"#;

    #[test]
    fn a_container_tells_where_it_stands_who_is_at_it_and_how_it_ended() {
        let items = read(device(), CLOCK.as_bytes()).unwrap();
        insta::assert_snapshot!(render(None, device(), &items), @r"
        Name           State           PID     Restarts Typing Watching Why
        -------------- --------------- ------- -------- ------ -------- ------------------------------------
        clock          Restart Pending -       2        1      0        exited with 3; starts again at 14:36
        ");
        insta::assert_snapshot!(render(Some("clock"), device(), &items), @r"
        Container: clock
          State                        : Restart Pending
          Why                          : exited with 3; starts again at 14:36
          Run ID                       : 18
          Restarts                     : 2
          Next restart                 : 2026-11-21T14:36:00Z
          Definition has changed       : Yes
          Log file                     : /logs/clock/stdout.log

        Processes:
          3781    /bin/sh -c date

        Console listens at:
          127.0.0.1:7001

        At the console:
          ann from 192.0.2.7 (write), idle 4 s

        How it ended before, the last one first:
          2026-11-21T14:35:45Z  run 18, code 3
            | one
            | two
          2026-11-21T14:30:00Z  run 17, signal SIGTERM, as admin asked
        ");
        assert!(render(Some("none"), device(), &items).starts_with("% There is no container `none`"));
    }

    #[test]
    fn orders_are_rpcs_with_their_selection() {
        let lines = [
            "container start clock cl*",
            "container stop group web mail",
            "container restart rolling at-once 2 clock",
            "container restart timeout 5 group web",
            "container signal hup clock",
            "container kill \"group\"",
        ];
        let asked = lines.map(|line| {
            let matched = operational().commands.read(&split(line), line.len()).unwrap();
            order_request(&matched).replace(" xmlns=\"urn:procyon:container\"", "")
        });
        insta::assert_snapshot!(asked.join("\n"), @r"
        <start><name>clock</name><name>cl*</name></start>
        <stop><group>web</group><group>mail</group></stop>
        <restart><name>clock</name><rolling><at-once>2</at-once></rolling></restart>
        <restart><group>web</group><rolling><timeout>5</timeout></rolling></restart>
        <signal><name>clock</name><signal>HUP</signal></signal>
        <kill><name>group</name></kill>
        ");
    }

    #[test]
    fn what_became_of_each_is_told() {
        let reply = "<container><name>a</name><outcome>done</outcome></container><container><name>b</name><outcome>failed</outcome>
<why>it is not there</why></container><container><name>c</name><outcome>left-alone</outcome></container>";
        let (done, failed) = outcomes(&crate::yang::xml::parse(reply.as_bytes()).unwrap());
        assert_eq!(done, "a: done\n");
        assert_eq!(failed, ["% b: it is not there", "% c: left alone, because another one failed before"]);
    }
}
