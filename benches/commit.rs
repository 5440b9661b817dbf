//! What an edit of one entry and its commit cost, by how much is stored and by how many commits are kept; what the disk adds
//! to that, beside the bare disk; and one edit of many entries.
//!
//! Each row is printed when it is measured and has a time of its own, so that all of it ends within minutes. Beside each time
//! of the clock stands the processor's, which other work on the machine does not change.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints, and may fall over"
)]

mod list;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use procyon::datastore::edit::Edit;
use procyon::datastore::history::{Entry, History, Limits as HistoryLimits};
use procyon::datastore::{CandidateId, Datastores};
use procyon::northbound::{DefaultOperation, ErrorOption, Fragment};
use procyon::store::commits::{CommitMeta, CommitStore, Limits};
use procyon::store::driver::HostDisk;
use procyon::yang::schema::Schema;

use list::{entries, stored};

const SIZES: &[usize] = &[5, 1_000, 10_000, 100_000];
const KEPT: &[usize] = &[0, 1_000, 5_000];
const MANY: usize = 10_000;
/// A row ends after so many rounds, or when its time is over.
const ROUNDS: usize = 300;
const ROW_TIME: Duration = Duration::from_secs(8);
/// The disk is slower, and varies more.
const DISK_ROUNDS: usize = 200;

fn main() {
    let schema = list::schema();
    println!("load {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());

    let mut stores = stored(schema, 0);
    let config = entries(0..MANY);
    let many = rounds(1, |_| drop(commit(&mut stores, &config)));
    many.print(&format!("{MANY} entries in one edit and commit"));
    drop(stores);

    let mut costs = Vec::new();
    for size in SIZES {
        let mut stores = stored(schema, *size);
        let row = rounds(ROUNDS, |round| drop(commit(&mut stores, &one(round))));
        row.print(&format!("one entry, {size:>6} stored, in memory"));
        costs.push(row.processor);
    }
    println!("    at 100,000 over 1,000: {:.2} (at most 1.3 is wanted)", costs[3] / costs[1]);

    // In memory: what the disk does is another row.
    let shm = tempfile::tempdir_in("/dev/shm").unwrap();
    for kept in KEPT {
        let mut device = Device::new(schema, &shm.path().join(kept.to_string()), 1_000, *kept);
        rounds(ROUNDS, |round| device.commit(round))
            .print(&format!("one entry, {kept:>5} commits kept, files in memory"));
    }

    let on_disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for size in [5, 10_000] {
        let mut device = Device::new(schema, &on_disk.path().join(size.to_string()), size, 0);
        // Turn about, so that both see the same disk.
        let mut bare = Vec::new();
        let row = rounds(DISK_ROUNDS, |round| {
            device.commit(round);
        });
        rounds(DISK_ROUNDS, |round| bare.push(timed(|| bare_commit(on_disk.path(), round))));
        bare.sort_unstable();
        row.print(&format!("one entry, {size:>6} stored, on disk"));
        println!("    the bare disk, file and folder forced: {:.3} ms p50", millis(bare[bare.len() / 2]));
    }
}

/// What a row has found, in milliseconds.
struct Row {
    median: f64,
    max: f64,
    /// Of the processor, one round on the average.
    processor: f64,
}

impl Row {
    fn print(&self, what: &str) {
        let Self { median, max, processor } = self;
        println!("{what}: {median:.3} ms p50, {max:.3} ms max, {processor:.3} ms of processor");
    }
}

fn rounds(most: usize, mut round: impl FnMut(usize)) -> Row {
    let (begun, processor) = (Instant::now(), processor_time());
    let mut times = Vec::new();
    while times.len() < most && (times.is_empty() || begun.elapsed() < ROW_TIME) {
        times.push(timed(|| round(times.len())));
    }
    let processor = (processor_time() - processor).as_secs_f64() * 1e3 / f64::from(u32::try_from(times.len()).unwrap());
    times.sort_unstable();
    Row { median: millis(times[times.len() / 2]), max: millis(times[times.len() - 1]), processor }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

/// What any durable commit costs at least: a file written and forced, and its name forced.
fn bare_commit(dir: &Path, round: usize) {
    let mut file = File::create(dir.join(format!("bare-{round}"))).unwrap();
    file.write_all(one(round).as_bytes()).unwrap();
    file.sync_data().unwrap();
    File::open(dir).unwrap().sync_all().unwrap();
}

/// The datastores with their store and history, as the agent puts them together.
struct Device {
    stores: Datastores,
    commits: CommitStore,
    history: History,
}

impl Device {
    fn new(schema: &'static Schema, dir: &Path, size: usize, kept: usize) -> Self {
        let (mut commits, _) = CommitStore::open(Arc::new(HostDisk), dir.to_owned(), Limits::default()).unwrap();
        let mut history = History::new(HistoryLimits { commits: usize::MAX, bytes: u64::MAX }, []);
        for _ in 0..kept {
            let id = commits.append(meta(), b"<top/>").unwrap();
            history.push(Entry { id, bytes: 6, meta: meta() });
        }
        Self { stores: stored(schema, size), commits, history }
    }

    fn commit(&mut self, round: usize) {
        let diff = commit(&mut self.stores, &one(round));
        let id = self.commits.append(meta(), &diff).unwrap();
        self.history.push(Entry { id, bytes: diff.len() as u64, meta: meta() });
    }
}

fn meta() -> CommitMeta {
    CommitMeta {
        user: "admin".to_owned(),
        client: "NETCONF".to_owned(),
        session: 1,
        time: "2026-11-21T00:00:00Z".to_owned(),
        label: None,
        comment: None,
    }
}

fn one(round: usize) -> String {
    entries(500_000 + round..500_001 + round)
}

/// Answers the record that is written to disk.
fn commit(stores: &mut Datastores, config: &str) -> Vec<u8> {
    let edit = Edit::parse(&Fragment(config.to_owned().into())).unwrap();
    stores.edit_candidate(CandidateId::Shared, &edit, DefaultOperation::Merge, ErrorOption::StopOnError, None).unwrap();
    let proposal = stores.propose(CandidateId::Shared).unwrap();
    assert!(proposal.is_partial(), "such a commit is judged by what it touches");
    let record = proposal.diff.print_xml().to_vec();
    stores.accept(&proposal);
    record
}
