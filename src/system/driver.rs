//! Reads /proc and the clock; writes the log file. One task owns all that is measured and logged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::cpu::{self, Meters, Process};
use super::provider::{MEMORY, MONITORING, SYSLOG, SYSTEM_STATE, SYSTEM_TIME, SystemProvider};
use super::record::{History, Record, Severity};
use super::{clock, memory};
use crate::clock::Clock;
use crate::sys::tree;
use crate::yang::value::Element;

/// Questions and log lines that wait for the task. A line that finds it full is counted as lost.
pub const INPUTS_WAITING_MAX: usize = 1024;

/// Lines that wait for one who listens.
const LINES_WAITING_MAX: usize = 512;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The key of this host in lists of nodes.
    pub node_name: String,
    /// What log lines and prompts begin with.
    pub log_node_name: String,
    pub log_file: PathBuf,
    /// A log file that has grown beyond this is set aside.
    pub log_bytes_max: u64,
    /// Log files that have been set aside and are kept.
    pub log_files_max: usize,
    /// Messages in the history.
    pub messages_max: usize,
    /// The folder of the kernel's figures, or one that is laid out like it.
    pub figures: PathBuf,
    /// What the time of the device is.
    pub clock: Clock,
}

impl Settings {
    /// The usual places below the state folder of a root.
    pub fn below(state: &Path) -> Self {
        Self {
            node_name: "0/RP0/CPU0".to_owned(),
            log_node_name: "RP/0/RP0/CPU0".to_owned(),
            log_file: state.join("syslog.log"),
            log_bytes_max: 4 * 1024 * 1024,
            log_files_max: 4,
            messages_max: 2000,
            figures: PathBuf::from(super::FIGURES),
            clock: Clock::of_the_host(),
        }
    }
}

/// Everything that can wake the task, beside time.
#[derive(Debug)]
pub(super) enum Input {
    Log(Record),
    State { root: &'static str, with_processes: bool, reply: oneshot::Sender<Vec<Element>> },
}

/// Writes to the system log from anywhere; never waits.
#[derive(Debug, Clone)]
pub struct SystemLog {
    inputs: mpsc::Sender<Input>,
    lost: Arc<AtomicU64>,
}

impl SystemLog {
    pub fn log(&self, record: Record) {
        if self.inputs.try_send(Input::Log(record.harmless())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A line of the system log, for those who listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub process: String,
    /// RFC 5424: 0 to 7.
    pub severity: u8,
    /// As it stands in the file.
    pub text: String,
}

/// The running part and what others hold of it. The task ends when the provider and every log are dropped.
pub struct System {
    pub provider: SystemProvider,
    pub log: SystemLog,
    /// Tells every line to those who listen; who is slow misses some, and learns how many.
    pub lines: broadcast::Sender<Arc<Line>>,
    pub host_name: watch::Receiver<String>,
    pub task: JoinHandle<()>,
}

impl System {
    pub fn start(settings: Settings) -> Self {
        let (inputs, receiver) = mpsc::channel(INPUTS_WAITING_MAX);
        let kernel_host_name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let kernel_host_name = kernel_host_name.unwrap_or_else(|| "localhost".to_owned());
        let (name_sender, host_name) = watch::channel(kernel_host_name.clone());
        let lost = Arc::new(AtomicU64::new(0));
        let log = SystemLog { inputs: inputs.clone(), lost: Arc::clone(&lost) };
        let (lines, _) = broadcast::channel(LINES_WAITING_MAX);
        let worker = Worker {
            lines: lines.clone(),
            history: History::new(settings.messages_max),
            meters: Meters::default(),
            file: None,
            host_name: host_name.clone(),
            lost,
            settings,
        };
        let provider = SystemProvider { inputs, host_name: name_sender, kernel_host_name };
        Self { provider, log, lines, host_name, task: tokio::spawn(worker.run(receiver)) }
    }
}

struct Worker {
    lines: broadcast::Sender<Arc<Line>>,
    settings: Settings,
    history: History,
    meters: Meters,
    /// The log file and its length; opened at the first line, and again after trouble.
    file: Option<(File, u64)>,
    host_name: watch::Receiver<String>,
    lost: Arc<AtomicU64>,
}

impl Worker {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut ticks = tokio::time::interval(cpu::TOTAL_SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Log(record)) => self.write(record),
                    Some(Input::State { root, with_processes, reply }) => {
                        // Who has gone away in the meantime needs no answer.
                        let _ = reply.send(self.state(root, with_processes).await);
                    }
                    None => break,
                },
                _ = ticks.tick() => self.sample().await,
            }
        }
    }

    fn figure(&self, name: &str) -> Option<String> {
        String::from_utf8(tree::read_whole(self.settings.figures.join(name)).ok()?).ok()
    }

    async fn sample(&mut self) {
        let Some((ticks, processors)) = self.figure("stat").as_deref().and_then(cpu::parse_stat) else { return };
        let now = instant_now();
        self.meters.total(now, ticks);
        if self.meters.wants_processes(now) {
            let seen = tokio::task::spawn_blocking(scan_processes).await.unwrap_or_default();
            self.meters.processes(now, ticks, processors, seen);
        }
    }

    async fn state(&mut self, root: &'static str, with_processes: bool) -> Vec<Element> {
        let node = &self.settings.node_name;
        let now = self.zoned_now();
        let uptime = |figures: &Self| figures.figure("uptime").as_deref().and_then(clock::parse_uptime);
        match root {
            MONITORING => {
                let instant = instant_now();
                if self.settings.figures != Path::new(super::FIGURES) {
                    // Figures that somebody sets are seen at once.
                    self.sample().await;
                }
                if with_processes {
                    self.meters.processes_are_read(instant);
                }
                if with_processes && self.meters.wants_processes(instant) {
                    self.sample().await;
                }
                vec![self.meters.state(&self.settings.node_name)]
            }
            MEMORY => {
                let page_size = fs::read("/proc/self/auxv").ok().and_then(|bytes| memory::page_size(&bytes));
                let memory = self.figure("meminfo").as_deref().and_then(memory::parse_meminfo);
                memory.map(|memory| memory::summary(node, memory, page_size.unwrap_or(0))).into_iter().collect()
            }
            SYSTEM_TIME => {
                let name = self.host_name.borrow().clone();
                vec![clock::system_time(&now, &name, uptime(self).unwrap_or(0.0))]
            }
            SYSTEM_STATE => {
                let boot = uptime(self)
                    .and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok())
                    .and_then(|uptime| now.timestamp().checked_sub(uptime).ok());
                vec![clock::system_state(now.timestamp(), boot, &platform())]
            }
            SYSLOG => vec![self.history.state(node)],
            _ => Vec::new(),
        }
    }

    fn write(&mut self, record: Record) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.write_one(lost_lines(lost));
        }
        self.write_one(record);
    }

    fn write_one(&mut self, record: Record) {
        let now = self.zoned_now();
        let line = record.line(&self.settings.log_node_name, &now);
        if let Err(error) = self.append(&line) {
            self.file = None;
            warn!(path = %self.settings.log_file.display(), %error, "a line of the system log is not on disk");
        }
        if self.lines.receiver_count() > 0 {
            let line = Line { process: record.process.clone(), severity: record.severity.number(), text: line };
            // They may all have gone in this moment.
            let _ = self.lines.send(Arc::new(line));
        }
        self.history.push(now, record);
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let path = &self.settings.log_file;
        if self.file.as_ref().is_some_and(|(_, length)| *length >= self.settings.log_bytes_max) {
            self.file = None;
            rotate(path, self.settings.log_files_max)?;
        }
        let (file, length) = match &mut self.file {
            Some(open) => open,
            closed => {
                let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
                let length = file.metadata()?.len();
                closed.insert((file, length))
            }
        };
        let bytes = format!("{line}\n");
        file.write_all(bytes.as_bytes())?;
        *length += bytes.len() as u64;
        Ok(())
    }

    fn zoned_now(&self) -> Zoned {
        let unix_ms = i64::try_from(self.settings.clock.moment().unix_ms).unwrap_or_default();
        Timestamp::from_millisecond(unix_ms).unwrap_or_default().to_zoned(TimeZone::system())
    }
}

fn lost_lines(lost: u64) -> Record {
    Record {
        process: "syslog".to_owned(),
        pid: std::process::id(),
        category: "OS".to_owned(),
        group: "SYSLOG".to_owned(),
        severity: Severity::Warning,
        code: "LOST".to_owned(),
        text: format!("{lost} messages were lost because they came faster than they could be written"),
    }
}

/// `log` becomes `log.1`, `log.1` becomes `log.2`; the last one goes.
fn rotate(path: &Path, kept_max: usize) -> io::Result<()> {
    let numbered = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if kept_max == 0 {
        return fs::remove_file(path);
    }
    for number in (1..kept_max).rev() {
        if numbered(number).exists() {
            fs::rename(numbered(number), numbered(number + 1))?;
        }
    }
    fs::rename(path, numbered(1))
}

fn scan_processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    entries
        .flatten()
        .filter(|entry| is_process(&entry.file_name()))
        // A process may end between the listing and the reading; its name may be any bytes.
        .filter_map(|entry| fs::read(entry.path().join("stat")).ok())
        .filter_map(|bytes| cpu::parse_process(&String::from_utf8_lossy(&bytes)))
        .take(cpu::PROCESSES_MAX)
        .collect()
}

fn platform() -> clock::Platform {
    let kernel = |name: &str| read(&format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
    clock::Platform {
        os_name: kernel("ostype"),
        os_release: kernel("osrelease"),
        os_version: kernel("version"),
        machine: std::env::consts::ARCH.to_owned(),
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[expect(clippy::disallowed_methods, reason = "the driver reads the clock for the pure parts")]
fn instant_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
