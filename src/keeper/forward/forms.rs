//! What a line looks like to those who take it. Pure.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Line;

const INFORMATIONAL: u8 = 6;
const WARNING: u8 = 4;
/// RFC 5424, section 6.2.5.
const APP_NAME_MAX: usize = 48;

fn severity(line: &Line) -> u8 {
    if line.is_error { WARNING } else { INFORMATIONAL }
}

fn priority(line: &Line) -> u8 {
    line.to.facility * 8 + severity(line)
}

fn stream(line: &Line) -> &'static str {
    if line.is_error { "errors" } else { "output" }
}

fn at(line: &Line) -> Timestamp {
    Timestamp::from_millisecond(i64::try_from(line.at_ms).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX)
}

/// As `syslog(3)` writes it.
pub(super) fn legacy(line: &Line) -> Vec<u8> {
    let at = at(line).to_zoned(TimeZone::system()).strftime("%b %e %H:%M:%S").to_string();
    let head = format!("<{}>{at} {}[{}]: ", priority(line), line.name, line.pid);
    [head.as_bytes(), &line.text].concat()
}

pub(super) fn rfc5424(line: &Line, host: &str) -> Vec<u8> {
    let name = &line.name[..line.name.len().min(APP_NAME_MAX)];
    let head = format!("<{}>1 {:.3} {host} {name} {} {} - ", priority(line), at(line), line.pid, stream(line));
    [head.as_bytes(), &line.text].concat()
}

/// One entry in a journal's native protocol. `UNIT` is what a service of that name would be found by.
pub(super) fn journal(line: &Line) -> Vec<u8> {
    let Line { name, pid, run, uid, .. } = line;
    let mut entry = format!(
        "PRIORITY={}\nSYSLOG_FACILITY={}\nSYSLOG_IDENTIFIER={name}\nSYSLOG_PID={pid}\nUNIT={name}.service\n\
         PROCYON_CONTAINER={name}\nPROCYON_STREAM={}\nPROCYON_RUN={run}\nPROCYON_UID={uid}\n",
        severity(line),
        line.to.facility,
        stream(line),
    )
    .into_bytes();
    if *pid > 0 {
        // Of a privileged sender a journal adds what it knows of that process.
        let _ = writeln!(entry, "OBJECT_PID={pid}");
    }
    if let Some(missing) = line.gap {
        let _ = writeln!(entry, "PROCYON_MISSING={missing}");
    }
    entry.extend_from_slice(b"MESSAGE=");
    entry.extend_from_slice(&line.text);
    entry.push(b'\n');
    entry
}
