//! Lines of the system log: what a record holds, how it reads, and the bounded history of them.
//!
//! Text from outside is made harmless here: lengths are bounded and control characters become blanks, so that nobody
//! can forge a second line.

use std::collections::VecDeque;

use jiff::Zoned;
use serde::Deserialize;

use crate::yang::value::Element;

/// Largest packet that is looked at.
pub const PACKET_BYTES_MAX: usize = 16 * 1024;

/// A longer text is cut.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Process, category, group and code: a longer word is cut.
pub const WORD_BYTES_MAX: usize = 64;

/// RFC 5424 section 6.2.1; the number is the one in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "u8")]
pub enum Severity {
    Emergency = 0,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Informational,
    Debug,
}

impl TryFrom<u8> for Severity {
    type Error = RecordError;

    fn try_from(number: u8) -> Result<Self, RecordError> {
        use Severity::{Alert, Critical, Debug, Emergency, Error, Informational, Notice, Warning};
        let all = [Emergency, Alert, Critical, Error, Warning, Notice, Informational, Debug];
        all.get(usize::from(number)).copied().ok_or(RecordError::UnknownSeverity { number })
    }
}

impl Severity {
    /// 0 to 7.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The enum of Cisco-IOS-XR-infra-syslog-oper.
    fn yang(self) -> &'static str {
        match self {
            Severity::Emergency => "message-severity-emergency",
            Severity::Alert => "message-severity-alert",
            Severity::Critical => "message-severity-critical",
            Severity::Error => "message-severity-error",
            Severity::Warning => "message-severity-warning",
            Severity::Notice => "message-severity-notice",
            Severity::Informational => "message-severity-informational",
            Severity::Debug => "message-severity-debug",
        }
    }
}

/// One message: `process[pid]: %CATEGORY-GROUP-severity-CODE : text`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Record {
    pub process: String,
    #[serde(default)]
    pub pid: u32,
    pub category: String,
    pub group: String,
    pub severity: Severity,
    pub code: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("a log packet of more than {PACKET_BYTES_MAX} bytes")]
    TooLong,
    #[error("a log packet that is no record: {reason}")]
    NoRecord { reason: String },
    #[error("severity {number} does not exist; it is 0 (emergency) to 7 (debug)")]
    UnknownSeverity { number: u8 },
}

impl Record {
    /// Reads the JSON object that the on-box library sends through the door of its run.
    pub fn from_packet(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(RecordError::TooLong);
        }
        let record: Record =
            serde_json::from_slice(bytes).map_err(|error| RecordError::NoRecord { reason: error.to_string() })?;
        Ok(record.harmless())
    }

    /// The line that a commit leaves.
    pub fn committed(user: &str, commit: u64, pid: u32) -> Self {
        Self {
            process: "config".to_owned(),
            pid,
            category: "MGBL".to_owned(),
            group: "CONFIG".to_owned(),
            severity: Severity::Informational,
            code: "DB_COMMIT".to_owned(),
            text: format!(
                "Configuration committed by user '{user}'. Use 'show configuration commit changes {commit}' to view \
                 the changes."
            ),
        }
    }

    /// The same record without control characters, cut to the bounds.
    #[must_use]
    pub fn harmless(mut self) -> Self {
        for word in [&mut self.process, &mut self.category, &mut self.group, &mut self.code] {
            let visible = word.chars().filter(|c| !is_forbidden(*c) && !c.is_whitespace());
            *word = cut(visible, WORD_BYTES_MAX);
        }
        let visible = self.text.chars().map(|c| if is_forbidden(c) { ' ' } else { c });
        self.text = cut(visible, TEXT_BYTES_MAX);
        self
    }

    /// `NODE:Mon dd HH:MM:SS.mmm TZ: process[pid]: %CATEGORY-GROUP-severity-CODE : text`
    pub fn line(&self, node: &str, at: &Zoned) -> String {
        let Record { process, pid, category, group, severity, code, text } = self;
        let severity = *severity as u8;
        let stamp = at.strftime("%b %e %H:%M:%S%.3f %Z");
        format!("{node}:{stamp}: {process}[{pid}]: %{category}-{group}-{severity}-{code} : {text}")
    }
}

/// Control characters, and what XML 1.0 cannot hold.
pub(super) fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

fn cut(text: impl Iterator<Item = char>, bytes_max: usize) -> String {
    let mut kept = String::new();
    for c in text {
        if kept.len() + c.len_utf8() > bytes_max {
            break;
        }
        kept.push(c);
    }
    kept
}

/// The newest messages.
#[derive(Debug)]
pub struct History {
    kept: VecDeque<(u32, Zoned, Record)>,
    kept_max: usize,
    next: u32,
}

impl History {
    pub fn new(kept_max: usize) -> Self {
        Self { kept: VecDeque::new(), kept_max, next: 1 }
    }

    pub fn push(&mut self, at: Zoned, record: Record) {
        self.kept.push_back((self.next, at, record));
        self.next = self.next.checked_add(1).unwrap_or(1);
        while self.kept.len() > self.kept_max {
            self.kept.pop_front();
        }
    }

    /// The state at `/Cisco-IOS-XR-infra-syslog-oper:syslog`.
    pub fn state(&self, node: &str) -> Element {
        let messages = self.kept.iter().map(|(id, at, record)| {
            Element::node(
                "message",
                vec![
                    Element::leaf("message-id", id),
                    Element::leaf("card-type", "RP"),
                    Element::leaf("node-name", node),
                    Element::leaf("time-stamp", at.timestamp().as_millisecond().max(0)),
                    Element::leaf("time-of-day", at.strftime("%b %e %H:%M:%S%.3f")),
                    Element::leaf("time-zone", at.strftime("%Z")),
                    Element::leaf("process-name", &record.process),
                    Element::leaf("category", &record.category),
                    Element::leaf("group", &record.group),
                    Element::leaf("message-name", &record.code),
                    Element::leaf("severity", record.severity.yang()),
                    Element::leaf("text", &record.text),
                ],
            )
        });
        let messages = Element::node("messages", messages.collect());
        Element::node("syslog", vec![messages]).in_module("Cisco-IOS-XR-infra-syslog-oper")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATAGRAM: &str = r#"{"process": "python3_xr", "pid": 68378, "category": "OS", "group": "SCRIPT_MGMT",
        "severity": 3, "code": "ERROR", "text": "Script-test_process: CPU utilization is 6, threshold value is 5"}"#;

    fn at() -> Zoned {
        "2021-09-30T18:03:54.391+00:00[UTC]".parse().unwrap()
    }

    #[test]
    fn a_script_s_record_reads_as_a_router_s_line() {
        let record = Record::from_packet(DATAGRAM.as_bytes()).unwrap();
        assert_eq!(
            record.line("RP/0/RP0/CPU0", &at()),
            "RP/0/RP0/CPU0:Sep 30 18:03:54.391 UTC: python3_xr[68378]: %OS-SCRIPT_MGMT-3-ERROR : \
             Script-test_process: CPU utilization is 6, threshold value is 5"
        );
    }

    #[test]
    fn a_commit_leaves_the_line_that_tools_look_for() {
        let line = Record::committed("cisco", 1_000_000_261, 66279).line("RP/0/RP0/CPU0", &at());
        assert!(
            line.ends_with(
                "config[66279]: %MGBL-CONFIG-6-DB_COMMIT : Configuration committed by user 'cisco'. Use 'show \
                 configuration commit changes 1000000261' to view the changes."
            ),
            "{line}"
        );
    }

    #[test]
    fn nobody_can_forge_a_second_line_or_fill_the_log() {
        let hostile = DATAGRAM.replace("CPU utilization", "a\\nRP/0/RP0/CPU0: forged\\u0000\\u001b[2J");
        let record = Record::from_packet(hostile.as_bytes()).unwrap();
        assert!(!record.text.chars().any(char::is_control), "{}", record.text);
        let long = DATAGRAM.replace("CPU", &"é".repeat(5000));
        assert!(Record::from_packet(long.as_bytes()).unwrap().text.len() <= TEXT_BYTES_MAX);
        let word = DATAGRAM.replace("python3_xr", &"p q".repeat(100));
        assert_eq!(Record::from_packet(word.as_bytes()).unwrap().process.len(), WORD_BYTES_MAX);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in ["", "{}", "[]", "{\"process\":", "null"] {
            assert!(matches!(Record::from_packet(text.as_bytes()), Err(RecordError::NoRecord { .. })), "{text}");
        }
        let severity = DATAGRAM.replace("\"severity\": 3", "\"severity\": 9");
        let error = Record::from_packet(severity.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("severity 9 does not exist"), "{error}");
        assert_eq!(Record::from_packet(&vec![b' '; PACKET_BYTES_MAX + 1]), Err(RecordError::TooLong));
    }

    #[test]
    fn the_history_keeps_the_newest() {
        let mut history = History::new(2);
        for commit in 1..=3 {
            history.push(at(), Record::committed("fred", commit, 1));
        }
        let state = history.state("0/RP0/CPU0");
        let messages = state.child("messages").unwrap();
        let ids: Vec<_> =
            messages.children_named("message").map(|message| message.text_of("message-id").unwrap()).collect();
        assert_eq!(ids, ["2", "3"]);
        let message = messages.child("message").unwrap();
        assert_eq!(message.text_of("severity"), Some("message-severity-informational"));
        assert_eq!(message.text_of("time-stamp"), Some("1633025034391"));
        assert_eq!(message.text_of("time-of-day"), Some("Sep 30 18:03:54.391"));
    }
}
