//! conserver's `procs.cf`: the consoles of this device that have a listener, for a conserver in front of them.

use crate::console::columns::Listed;
use crate::container::console::Speaks;

/// Blocks in the order of names; a console that conserver cannot reach is named with the reason.
pub fn procs_cf(consoles: &[Listed]) -> String {
    consoles.iter().map(block).collect()
}

fn block(console: &Listed) -> String {
    let name = console.shown();
    let takes = |letter: char| letter.is_ascii_alphanumeric() || "-_.@:".contains(letter);
    if !name.chars().all(takes) {
        return format!("# {name}: conserver takes no such name\n");
    }
    // A socket is for this host alone, so it comes first; a log port hears nothing.
    let mut doors: Vec<_> = console.doors.iter().filter(|door| door.speaks != Speaks::Log).collect();
    doors.sort_by_key(|door| !door.place.starts_with("unix:"));
    let Some(door) = doors.first() else {
        return format!("# {name}: it has no listener\n");
    };
    let place = match (door.place.strip_prefix("unix:"), door.place.strip_prefix("tcp:")) {
        (Some(path), _) => format!("    type uds;\n    uds {path};\n"),
        (None, Some(address)) => {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
            let host = match host.trim_matches(['[', ']']) {
                "0.0.0.0" => "127.0.0.1",
                "::" => "::1",
                host => host,
            };
            let protocol = if door.speaks == Speaks::Raw { "    protocol raw;\n" } else { "" };
            format!("    type host;\n    host {host};\n    port {port};\n{protocol}")
        }
        (None, None) => return format!("# {name}: {} is no place for conserver\n", door.place),
    };
    format!("console {name} {{\n{place}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::columns::{Condition, Door};

    fn console(name: &str, doors: &[(&str, Speaks)]) -> Listed {
        let doors = doors.iter().map(|(place, speaks)| Door { place: (*place).into(), speaks: *speaks, problem: None });
        Listed {
            name: format!("container:{name}"),
            condition: Condition::Up,
            server: "h".into(),
            server_pid: 1,
            command: "x".into(),
            pid: None,
            terminal: None,
            seats: vec![],
            log: "/l".into(),
            restarts: true,
            one_writer: false,
            doors: doors.collect(),
            first: 0,
            end: 0,
        }
    }

    #[test]
    fn each_console_is_where_conserver_finds_it() {
        let file = procs_cf(&[
            console(
                "test-ioc",
                &[("tcp:127.0.0.1:9", Speaks::Log), ("unix:/var/run/procServ/test-ioc/control", Speaks::ProcServ)],
            ),
            console("telnet", &[("tcp:0.0.0.0:2000", Speaks::ProcServ)]),
            console("raw", &[("tcp:[::1]:2001", Speaks::Raw)]),
            console("bare", &[]),
        ]);
        insta::assert_snapshot!(file, @r"
        console test-ioc {
            type uds;
            uds /var/run/procServ/test-ioc/control;
        }
        console telnet {
            type host;
            host 127.0.0.1;
            port 2000;
        }
        console raw {
            type host;
            host ::1;
            port 2001;
            protocol raw;
        }
        # bare: it has no listener
        ");
    }
}
