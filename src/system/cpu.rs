//! Processor time: texts of /proc/stat and /proc/PID/stat, and the percentages over 1, 5 and 15 minutes.
//!
//! A window is measured against the newest sample that is at least as old as the window; where the samples do not reach
//! back that far, against the oldest; where there is but one, against the start of the host or process.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::record::is_forbidden;
use crate::yang::value::Element;

pub const WINDOWS: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];

/// How often the totals are sampled.
pub const TOTAL_SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// How often processes are sampled, while somebody reads them.
pub const PROCESS_SAMPLE_INTERVAL: Duration = Duration::from_secs(15);

/// Processes are sampled until they have not been read for so long.
pub const PROCESS_INTEREST: Duration = Duration::from_secs(20 * 60);

/// Processes that are followed; the memory this takes is about 1.5 KiB each.
pub const PROCESSES_MAX: usize = 8192;

/// Clock ticks, as the kernel counts them since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticks {
    pub busy: u64,
    pub all: u64,
}

/// The sum of all processors, and how many there are, from the text of /proc/stat.
pub fn parse_stat(text: &str) -> Option<(Ticks, u64)> {
    let total = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let fields: Vec<u64> = total.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    if fields.len() < 4 {
        return None;
    }
    let all = fields.iter().fold(0u64, |sum, field| sum.saturating_add(*field));
    let idle = fields[3].saturating_add(fields.get(4).copied().unwrap_or(0));
    let is_processor =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let processors = text.lines().filter(is_processor).count().max(1) as u64;
    Some((Ticks { busy: all.saturating_sub(idle), all }, processors))
}

/// One process at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub name: String,
    /// Ticks since boot at which it started; with the pid this is its identity.
    pub started: u64,
    /// Ticks it has used.
    pub busy: u64,
}

/// From the text of /proc/PID/stat. The name may hold anything, also blanks and parentheses.
pub fn parse_process(text: &str) -> Option<Process> {
    let (pid, rest) = text.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    // From field 3 on: state is the first here, so utime (14) and stime (15) are 11 and 12, starttime (22) is 19.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let visible: String = name.chars().map(|c| if is_forbidden(c) { '?' } else { c }).collect();
    Some(Process {
        pid: pid.parse().ok()?,
        name: visible,
        started: number(19)?,
        busy: number(11)?.checked_add(number(12)?)?,
    })
}

/// Samples of one counter of busy ticks, against the ticks of all processors.
#[derive(Debug, Clone, Default)]
pub struct Track {
    samples: VecDeque<(Instant, Ticks)>,
    /// The counters when it all began: zero for the host.
    origin: Ticks,
}

impl Track {
    pub fn starting_at(origin: Ticks) -> Self {
        Self { samples: VecDeque::new(), origin }
    }

    /// Keeps what the longest window needs, and one sample beyond it.
    pub fn push(&mut self, now: Instant, ticks: Ticks) {
        self.samples.push_back((now, ticks));
        let longest = WINDOWS[WINDOWS.len() - 1];
        while self.samples.len() > 1 && now.saturating_duration_since(self.samples[1].0) >= longest {
            self.samples.pop_front();
        }
    }

    /// Whole percent of the machine in each window.
    pub fn percents(&self) -> [u32; 3] {
        WINDOWS.map(|window| self.percent(window))
    }

    fn percent(&self, window: Duration) -> u32 {
        let Some(&(newest_at, newest)) = self.samples.back() else { return 0 };
        let reaches_back = |(at, _): &&(Instant, Ticks)| newest_at.saturating_duration_since(*at) >= window;
        let earlier = self.samples.iter().rev().find(reaches_back).or_else(|| self.samples.front());
        let base = match earlier {
            Some((at, ticks)) if *at < newest_at => *ticks,
            _ => self.origin,
        };
        percent(newest.busy.saturating_sub(base.busy), newest.all.saturating_sub(base.all))
    }
}

fn percent(busy: u64, all: u64) -> u32 {
    if all == 0 {
        return 0;
    }
    let rounded = (u128::from(busy) * 100 + u128::from(all) / 2) / u128::from(all);
    u32::try_from(rounded.min(100)).expect("at most a hundred")
}

/// Everything that is measured.
#[derive(Debug, Default)]
pub struct Meters {
    total: Track,
    processes: BTreeMap<(u32, u64), (String, Track)>,
    read_at: Option<Instant>,
    sampled_at: Option<Instant>,
}

impl Meters {
    pub fn total(&mut self, now: Instant, ticks: Ticks) {
        self.total.push(now, ticks);
    }

    /// Somebody reads the processes: sampling begins or goes on.
    pub fn processes_are_read(&mut self, now: Instant) {
        self.read_at = Some(now);
    }

    /// Whether it is time for a sample of the processes. Forgets them when nobody has read them for long.
    pub fn wants_processes(&mut self, now: Instant) -> bool {
        let Some(read_at) = self.read_at else { return false };
        if now.saturating_duration_since(read_at) > PROCESS_INTEREST {
            *self = Self { total: std::mem::take(&mut self.total), ..Self::default() };
            return false;
        }
        self.sampled_at.is_none_or(|at| now.saturating_duration_since(at) >= PROCESS_SAMPLE_INTERVAL)
    }

    /// A sample of all processes; those that are not in it have ended.
    pub fn processes(&mut self, now: Instant, ticks: Ticks, processors: u64, seen: Vec<Process>) {
        self.sampled_at = Some(now);
        let mut former = std::mem::take(&mut self.processes);
        for process in seen.into_iter().take(PROCESSES_MAX) {
            let identity = (process.pid, process.started);
            let start = Ticks { busy: 0, all: process.started.saturating_mul(processors).min(ticks.all) };
            let (_, mut track) = former.remove(&identity).unwrap_or_else(|| (String::new(), Track::starting_at(start)));
            track.push(now, Ticks { busy: process.busy, all: ticks.all });
            self.processes.insert(identity, (process.name, track));
        }
    }

    /// The state at `/Cisco-IOS-XR-wdsysmon-fd-oper:system-monitoring`.
    pub fn state(&self, node: &str) -> Element {
        let mut children = vec![Element::leaf("node-name", node)];
        children.extend(minutes("total-cpu", self.total.percents()));
        children.extend(self.processes.iter().map(|((pid, _), (name, track))| {
            let mut process = vec![Element::leaf("process-name", name), Element::leaf("process-id", pid)];
            process.extend(minutes("process-cpu", track.percents()));
            Element::node("process-cpu", process)
        }));
        Element::node("system-monitoring", vec![Element::node("cpu-utilization", children)])
            .in_module("Cisco-IOS-XR-wdsysmon-fd-oper")
    }
}

fn minutes(what: &str, percents: [u32; 3]) -> impl Iterator<Item = Element> {
    let names = ["one", "five", "fifteen"].map(|number| format!("{what}-{number}-minute"));
    names.into_iter().zip(percents).map(|(name, percent)| Element::leaf(name, percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  120624 0 26734 582786 1263 0 140 150 0 0\ncpu0 58056 0 12367 294970 320 0 28 71 0 0\n\
                        cpu1 62567 0 14366 287815 942 0 111 78 0 0\nintr 1 2 3\nbtime 1795245404\n";
    const PROCESS: &str =
        "12700 (a (b) c) R 12690 12690 8211 0 -1 4194304 101 0 0 0 40 2 0 0 20 0 1 0 366769 3133440 414";

    /// Tests need some instant to count from.
    #[expect(clippy::disallowed_methods, reason = "an arbitrary origin")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn recorded_texts_are_read() {
        assert_eq!(parse_stat(STAT), Some((Ticks { busy: 147_648, all: 731_697 }, 2)));
        let process = Process { pid: 12700, name: "a (b) c".to_owned(), started: 366_769, busy: 42 };
        assert_eq!(parse_process(PROCESS), Some(process));
    }

    #[test]
    fn texts_that_are_cut_short_are_no_samples() {
        for text in ["", "cpu 1 2", "cpu  a b c d", "cpux 1 2 3 4"] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
        for text in ["", "1 (x", "1 (x) R 1 2 3", "x (y) R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"] {
            assert_eq!(parse_process(text), None, "{text}");
        }
    }

    #[test]
    fn each_window_is_measured_against_its_own_beginning() {
        let start = origin();
        let mut track = Track::default();
        // Idle for 14 minutes, then busy for one: a sample each 5 s of 1000 ticks.
        for step in 0..=180u64 {
            let busy = step.saturating_sub(168) * 1000;
            track.push(start + TOTAL_SAMPLE_INTERVAL * u32::try_from(step).unwrap(), Ticks { busy, all: step * 1000 });
        }
        assert_eq!(track.percents(), [100, 20, 7]);
        assert!(track.samples.len() <= 182);
    }

    #[test]
    fn a_young_track_averages_what_it_has() {
        let start = origin();
        let mut track = Track::starting_at(Ticks { busy: 0, all: 1000 });
        assert_eq!(track.percents(), [0, 0, 0]);
        track.push(start, Ticks { busy: 500, all: 2000 });
        assert_eq!(track.percents(), [50, 50, 50]);
        track.push(start + Duration::from_secs(5), Ticks { busy: 600, all: 3000 });
        assert_eq!(track.percents(), [10, 10, 10]);
        // A counter that went back, as some hypervisors let it, is no time at all.
        track.push(start + Duration::from_secs(10), Ticks { busy: 100, all: 2000 });
        assert_eq!(track.percents(), [0, 0, 0]);
    }

    #[test]
    fn processes_are_sampled_only_while_somebody_reads() {
        let start = origin();
        let mut meters = Meters::default();
        assert!(!meters.wants_processes(start));
        meters.processes_are_read(start);
        assert!(meters.wants_processes(start));
        let process = |busy| Process { pid: 7, name: "poll".to_owned(), started: 100, busy };
        meters.processes(start, Ticks { busy: 0, all: 1200 }, 2, vec![process(250)]);
        assert!(!meters.wants_processes(start + Duration::from_secs(14)));
        assert!(meters.wants_processes(start + Duration::from_secs(15)));
        let state = meters.state("0/RP0/CPU0");
        let row = state.descend(&["cpu-utilization", "process-cpu"]).unwrap();
        // 250 of the 1000 ticks since it started.
        assert_eq!(row.text_of("process-cpu-one-minute"), Some("25"));
        assert!(!meters.wants_processes(start + PROCESS_INTEREST + Duration::from_secs(1)));
        assert_eq!(meters.state("0/RP0/CPU0").descend(&["cpu-utilization", "process-cpu"]), None);
    }

    #[test]
    fn a_process_that_reuses_a_pid_starts_anew() {
        let start = origin();
        let mut meters = Meters::default();
        meters.processes_are_read(start);
        let process = |started, busy| Process { pid: 7, name: "poll".to_owned(), started, busy };
        meters.processes(start, Ticks { busy: 0, all: 1000 }, 1, vec![process(0, 900)]);
        meters.processes(start + PROCESS_SAMPLE_INTERVAL, Ticks { busy: 0, all: 2000 }, 1, vec![process(1000, 100)]);
        let state = meters.state("0/RP0/CPU0");
        let row = state.descend(&["cpu-utilization", "process-cpu"]).unwrap();
        assert_eq!(row.text_of("process-cpu-one-minute"), Some("10"));
    }
}
