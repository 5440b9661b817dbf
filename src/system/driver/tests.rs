//! The task against the real kernel: a file and /proc.

use std::time::Duration;

use super::*;
use crate::northbound::provider::{Provider, StateQuery};
use crate::system::provider::{HARDDISK, MONITORING};

const BOUND: Duration = Duration::from_secs(10);

async fn state(system: &System, root: &'static str) -> Element {
    let asked = system.provider.state(root, StateQuery { selection: None });
    let found = tokio::time::timeout(BOUND, asked).await.expect("an answer in time").unwrap();
    assert_eq!(found.len(), 1, "{root}");
    found.into_iter().next().unwrap()
}

/// The texts in the history, as soon as there are `count` of them.
async fn texts(system: &System, count: usize) -> Vec<String> {
    let wait = async {
        loop {
            let messages = state(system, SYSLOG).await;
            let messages = messages.child("messages").unwrap();
            let texts: Vec<_> =
                messages.children_named("message").map(|message| message.text_of("text").unwrap().to_owned()).collect();
            if texts.len() >= count {
                return texts;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.expect("the messages arrive")
}

#[tokio::test]
async fn a_script_s_line_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::start(Settings::below(folder.path()));
    let packet = br#"{"process":"python3_xr","pid":7,"category":"OS","group":"SCRIPT_MGMT","severity":6,"code":"INFO","text":"hello"}"#;
    system.log.log(Record::from_packet(packet).unwrap());
    assert_eq!(texts(&system, 1).await, ["hello"]);
    let line = fs::read_to_string(folder.path().join("syslog.log")).unwrap();
    let expected = ": python3_xr[7]: %OS-SCRIPT_MGMT-6-INFO : hello\n";
    assert!(line.starts_with("RP/0/RP0/CPU0:") && line.ends_with(expected), "{line}");
}

#[tokio::test]
async fn the_log_file_is_set_aside_when_it_has_grown() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::below(folder.path());
    (settings.log_bytes_max, settings.log_files_max) = (1, 2);
    let system = System::start(settings);
    for commit in 1..=4 {
        system.log.log(Record::committed("fred", commit, 1));
    }
    texts(&system, 4).await;
    let holds = |name: &str, commit: &str| {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains(&format!("changes {commit}'")), "{name}: {text}");
    };
    holds("syslog.log", "4");
    holds("syslog.log.1", "3");
    holds("syslog.log.2", "2");
    assert!(!folder.path().join("syslog.log.3").exists());
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_still_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::below(folder.path());
    settings.log_file = folder.path().join("absent/syslog.log");
    let system = System::start(settings);
    system.log.log(Record::committed("fred", 7, 1));
    assert_eq!(texts(&system, 1).await.len(), 1);
}

#[tokio::test]
async fn the_host_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::start(Settings::below(folder.path()));
    let monitoring = state(&system, MONITORING).await;
    let node = monitoring.child("cpu-utilization").unwrap();
    assert_eq!(node.text_of("node-name"), Some("0/RP0/CPU0"));
    assert!(node.text_of("total-cpu-one-minute").unwrap().parse::<u32>().unwrap() <= 100);
    let own = std::process::id().to_string();
    assert!(node.children_named("process-cpu").any(|process| process.text_of("process-id") == Some(own.as_str())));
    let memory = state(&system, MEMORY).await;
    let summary = memory.descend(&["nodes", "node", "summary"]).unwrap();
    assert!(summary.text_of("page-size").unwrap().parse::<u64>().unwrap().is_power_of_two());
    let time = state(&system, SYSTEM_TIME).await;
    assert_eq!(time.child("uptime").unwrap().text_of("host-name"), Some(system.host_name.borrow().as_str()));
    assert_eq!(state(&system, SYSTEM_STATE).await.child("platform").unwrap().text_of("os-name"), Some("Linux"));
    assert_eq!(state(&system, HARDDISK).await.children, []);
}
