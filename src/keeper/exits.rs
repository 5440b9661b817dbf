//! How the runs of a container ended, the latest first: a file beside its logs, so that it outlives everybody.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log::RUN_LINE;
use super::protocol::Asker;
use crate::container::machine::ExitStatus;
use crate::container::spec::LogSpec;
use crate::logs::driver::{Reader, Wanted};
use crate::logs::lines::{last_lines, merged};
use crate::sys::process::Usage;

pub const FILE: &str = "exits.jsonl";
/// A file of this size becomes the old one, and the old one goes.
const FILE_BYTES_MAX: u64 = 512 * 1024;
/// Lines that a record keeps of what the run printed last.
pub const LINES_MAX: usize = 200;
/// What those lines may take.
const LINES_BYTES_MAX: usize = 64 * 1024;
/// Records that one answer holds at most, if they fit.
pub const RECORDS_MAX: usize = 32;
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub run: u32,
    pub pid: i32,
    pub started_unix_ms: u64,
    pub ended_unix_ms: u64,
    pub status: ExitStatus,
    /// Not known for a run that an earlier keeper had started.
    pub usage: Option<Usage>,
    /// Where the core file is, or who was given it.
    pub core: Option<String>,
    /// Who asked for this end; `None` when it came by itself.
    pub asked: Option<Asker>,
    pub lines: Vec<String>,
}

/// The last lines of a run as its logs have them, in the order of their seconds: more than a console remembers.
///
/// # Errors
/// A log that cannot be read.
pub fn lines_of(logs: &LogSpec, run: u32) -> io::Result<Vec<String>> {
    let wanted = Wanted { run: Some(run), last: Some(LINES_MAX), ..Wanted::default() };
    let open = |log: PathBuf| Ok(Reader::open(&log, &wanted)?.map_while(Result::ok).map(|lines| ((), lines)));
    let streams = [logs.output(), logs.errors()].map(open).into_iter().collect::<io::Result<Vec<_>>>()?;
    let bytes: Vec<u8> = merged(streams).flat_map(|((), lines)| lines.bytes).collect();
    let own = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(RUN_LINE));
    let bytes: Vec<u8> = own.flatten().copied().collect();
    let bytes = &bytes[bytes.len().saturating_sub(LINES_BYTES_MAX)..];
    Ok(to_lines(last_lines(bytes, LINES_MAX)))
}

/// As people read them.
pub fn to_lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

/// Adds one record at the end.
pub fn append(folder: &Path, record: &ExitRecord) -> io::Result<()> {
    let path = folder.join(FILE);
    if fs::metadata(&path).is_ok_and(|facts| facts.len() >= FILE_BYTES_MAX) {
        fs::rename(&path, old(folder))?;
    }
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)?.write_all(&line)
}

/// The latest records, newest first, as far as they fit into `bytes_max`.
pub fn latest(folder: &Path, count: usize, bytes_max: usize) -> io::Result<Vec<ExitRecord>> {
    let mut records = Vec::new();
    let mut bytes = 0;
    for path in [folder.join(FILE), old(folder)] {
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text?,
        };
        // A line that a dying keeper left half is no record.
        for record in text.split(|byte| *byte == b'\n').rev().filter_map(|line| serde_json::from_slice(line).ok()) {
            bytes += super::protocol::encode::<ExitRecord>(&record).len();
            if records.len() >= count || bytes > bytes_max {
                return Ok(records);
            }
            records.push(record);
        }
    }
    Ok(records)
}

fn old(folder: &Path) -> PathBuf {
    folder.join(format!("{FILE}.1"))
}

/// Where the kernel put the core of a process, by its pattern; `None` where it cannot be told.
pub fn core_of(cwd: &Path, pid: i32) -> Option<String> {
    let pattern = fs::read_to_string(CORE_PATTERN).ok()?;
    let pattern = pattern.trim_end();
    if let Some(command) = pattern.strip_prefix('|') {
        return Some(format!("given to {}", command.split(' ').next().unwrap_or(command)));
    }
    let with_pid = fs::read_to_string("/proc/sys/kernel/core_uses_pid").is_ok_and(|text| text.trim() == "1");
    let named = cwd.join(file_of(pattern, pid, with_pid)?);
    named.is_file().then(|| named.display().to_string())
}

/// The file name that a pattern makes, if it holds nothing but what is known here.
fn file_of(pattern: &str, pid: i32, with_pid: bool) -> Option<String> {
    let mut name = String::new();
    let mut characters = pattern.chars();
    while let Some(next) = characters.next() {
        match next {
            '%' => match characters.next()? {
                '%' => name.push('%'),
                'p' | 'P' => name.push_str(&pid.to_string()),
                _ => return None,
            },
            plain => name.push(plain),
        }
    }
    if with_pid && !pattern.contains("%p") {
        name.push_str(&format!(".{pid}"));
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::machine::RunId;
    use crate::keeper::log::LogFile;

    fn record(run: u32, lines: usize) -> ExitRecord {
        ExitRecord {
            run,
            pid: 7,
            started_unix_ms: 1,
            ended_unix_ms: 2,
            status: ExitStatus::Signal { number: 11, core: true },
            usage: None,
            core: None,
            asked: None,
            lines: vec!["x".repeat(100); lines],
        }
    }

    #[test]
    fn the_latest_records_come_first_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        for run in 0..100 {
            append(folder.path(), &record(run, 200)).unwrap();
        }
        let runs: Vec<u32> = latest(folder.path(), 5, usize::MAX).unwrap().iter().map(|record| record.run).collect();
        assert_eq!(runs, [99, 98, 97, 96, 95]);
        assert_eq!(latest(folder.path(), 5, 45_000).unwrap().len(), 2, "as many as fit");
        let all = latest(folder.path(), usize::MAX, usize::MAX).unwrap().len();
        assert!((25..100).contains(&all), "{all} are kept");
    }

    #[test]
    fn the_last_lines_of_a_run_are_read_from_its_logs() {
        let folder = tempfile::tempdir().unwrap();
        let spec = LogSpec { bytes_max: 2000, ..LogSpec::in_dir(folder.path()) };
        let mut output = LogFile::new(spec.output(), &spec);
        let mut errors = LogFile::new(spec.errors(), &spec);
        for run in 1..=3 {
            output.begin_run(RunId(run), 0);
            errors.begin_run(RunId(run), 0);
            let at = jiff::Timestamp::from_second(i64::from(run) * 1000).unwrap();
            errors.separate(RunId(run), &at.to_zoned(jiff::tz::TimeZone::UTC));
            for line in 0..150 {
                let at_ms = 1_000_000 * u64::from(run) + line * 1000;
                output.append(format!("{run} {line}\r\n").as_bytes(), at_ms);
                errors.append(format!("{run} {line}!\n").as_bytes(), at_ms);
            }
        }
        let lines = lines_of(&spec, 2).unwrap();
        assert_eq!(lines.len(), 200);
        assert_eq!((lines[0].as_str(), lines[198].as_str(), lines[199].as_str()), ("2 50", "2 149", "2 149!"));
    }

    #[test]
    fn a_line_left_half_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), &record(1, 1)).unwrap();
        let mut file = OpenOptions::new().append(true).open(folder.path().join(FILE)).unwrap();
        file.write_all(b"{\"run\":2,").unwrap();
        assert_eq!(latest(folder.path(), 5, usize::MAX).unwrap(), [record(1, 1)]);
    }

    #[test]
    fn a_core_pattern_names_a_file() {
        assert_eq!(file_of("core", 42, true).as_deref(), Some("core.42"));
        assert_eq!(file_of("/cores/%p.100%%", 42, true).as_deref(), Some("/cores/42.100%"));
        assert_eq!(file_of("core.%e", 42, false), None);
    }
}
