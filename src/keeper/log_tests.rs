use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::keeper::console::{begin, log_what_came};
use crate::keeper::tape::{Origin, Tape};
use crate::logs::driver::{Reader, Wanted, pack_aside};

const NOW: u64 = 1_795_267_800_000;

fn spec(folder: &Path, bytes_max: u64, files_max: u8) -> LogSpec {
    LogSpec { bytes_max, files_max, compress: false, ..LogSpec::in_dir(folder) }
}

fn log(folder: &Path, bytes_max: u64, files_max: u8) -> LogFile {
    LogFile::new(folder.join("stdout.log"), &spec(folder, bytes_max, files_max))
}

fn at() -> Zoned {
    "2021-08-20T06:30:20[UTC]".parse().unwrap()
}

/// Name and content of each file of the log, in the order of writing.
fn files(folder: &Path) -> Vec<(String, String)> {
    let names = super::folder(&folder.join("x"));
    let pieces = names::pieces("stdout.log", names.iter().map(String::as_str));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    pieces.iter().map(|piece| (piece.file(), read(&piece.file()))).collect()
}

#[test]
fn a_separator_stands_on_a_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path(), 1000, 2);
    log.separate(RunId(1_632_914_459), &at());
    log.append(b"no newline", NOW);
    log.separate(RunId(1_632_914_460), &at());
    assert_eq!(
        fs::read_to_string(log.path()).unwrap(),
        "-----Run ID:1632914459  Fri Aug 20 06:30:20 2021-----\nno newline\n\
         -----Run ID:1632914460  Fri Aug 20 06:30:20 2021-----\n"
    );
}

#[test]
fn a_full_file_is_put_aside_at_the_end_of_a_line_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path(), 8, 2);
    for line in ["one\n", "two\n", "three\n", "four\n", "five\n", "a line that is longer than a file\n", "end\n"] {
        log.append(line.as_bytes(), NOW);
    }
    assert!(!log.settle(), "nothing is packed that shall not be");
    let said: Vec<String> = files(dir.path()).into_iter().map(|(name, text)| format!("{name} {text:?}")).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    stdout.log-20261121-133000.006 "onger th"
    stdout.log-20261121-133000.007 "an a fil"
    stdout.log "e\nend\n"
    "#);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6, "each with its marks, and nothing else");
}

#[test]
fn a_file_is_put_aside_when_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let spec = LogSpec { age_max: Some(Duration::from_secs(60)), ..spec(dir.path(), 1000, 2) };
    let mut log = LogFile::new(dir.path().join("stdout.log"), &spec);
    for seconds in [0, 30, 59, 60, 200] {
        log.append(format!("{seconds}\n").as_bytes(), NOW + seconds * 1000);
        log.close();
    }
    let texts: Vec<String> = files(dir.path()).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["0\n30\n59\n", "60\n", "200\n"]);
}

#[test]
fn a_disk_that_refuses_costs_only_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("missing");
    let mut log = log(&folder, 100, 2);
    log.append(b"lost", NOW);
    assert_eq!(log.dropped(), 4);
    fs::create_dir(&folder).unwrap();
    log.append(b"kept", NOW);
    assert_eq!(fs::read(log.path()).unwrap(), b"kept");
}

#[test]
fn a_file_that_was_removed_is_made_anew_at_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path(), 1000, 2);
    log.append(b"old\n", NOW);
    fs::remove_file(log.path()).unwrap();
    log.separate(RunId(1), &at());
    assert!(fs::read_to_string(log.path()).unwrap().starts_with("-----Run ID:1  "));
}

/// Somebody prints these; then the keeper writes them, and dies before it can tell.
fn print_and_die(tape: &mut Tape, log: &mut LogFile, bytes: &[u8]) -> Unlogged {
    begin(tape, Origin::Output, log);
    tape.room()[..bytes.len()].copy_from_slice(bytes);
    tape.came(bytes.len());
    log.append(bytes, NOW);
    Tape::adopt(tape.fd().unwrap().try_clone_to_owned().unwrap()).unwrap().1
}

#[test]
fn a_log_that_is_emptied_under_a_keeper_is_not_doubled_by_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let (mut tape, mut before) = (Tape::new(), log(dir.path(), 1000, 2));
    before.append(b"before\n", NOW);
    File::options().write(true).truncate(true).open(before.path()).unwrap();
    let unlogged = print_and_die(&mut tape, &mut before, b"after\n");
    assert_eq!(unlogged.bytes, b"after\n");
    let mut successor = log(dir.path(), 1000, 2);
    successor.complete(&unlogged, NOW);
    successor.append(b"and on\n", NOW + 1000);
    assert_eq!(fs::read_to_string(successor.path()).unwrap(), "after\nand on\n");
    let wanted = Wanted { since: Some(NOW / 1000 + 1), ..Wanted::default() };
    let found: Vec<u8> =
        Reader::open(successor.path(), &wanted).unwrap().flat_map(|lines| lines.unwrap().bytes).collect();
    assert_eq!(found, b"and on\n", "and its marks are of what is in it now");
}

#[test]
fn a_log_that_is_removed_under_a_running_program_is_there_again_with_what_it_prints_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut tape, mut log) = (Tape::new(), log(dir.path(), 1000, 2));
    for (index, text) in [&b"old\n"[..], b"new\n"].into_iter().enumerate() {
        if index == 1 {
            fs::remove_file(log.path()).unwrap();
        }
        begin(&mut tape, Origin::Output, &mut log);
        tape.room()[..text.len()].copy_from_slice(text);
        tape.came(text.len());
        log_what_came(&mut tape, &mut log, NOW);
    }
    assert_eq!(fs::read_to_string(log.path()).unwrap(), "new\n");
}

/// A disk on which there is room for so many bytes.
#[derive(Debug, Clone)]
struct Small {
    room: Arc<AtomicU32>,
}

impl Files for Small {
    fn open(&mut self, path: &Path, follow_links: bool) -> io::Result<File> {
        Host.open(path, follow_links)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.load(Ordering::Relaxed);
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // The kernel takes what has room, and refuses the rest.
        let count = Host.write(file, &bytes[..bytes.len().min(room as usize)])?;
        self.room.store(room - u32::try_from(count).unwrap(), Ordering::Relaxed);
        Ok(count)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        Host.rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        Host.remove(path)
    }

    fn add(&mut self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn put(&mut self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_full_disk_costs_what_is_printed_meanwhile_to_the_byte_and_the_log_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Small { room: Arc::new(AtomicU32::new(7)) };
    let spec = spec(dir.path(), 1000, 2);
    let mut log = LogFile::on(disk.clone(), spec.output(), &spec);
    log.append(b"one\n", NOW);
    log.append(b"two and more\n", NOW);
    log.append(b"nothing of this\n", NOW);
    assert_eq!((log.dropped(), fs::read_to_string(log.path()).unwrap()), (26, "one\ntwo".to_owned()));
    disk.room.store(u32::MAX, Ordering::Relaxed);
    log.append(b"\nthree\n", NOW + 5000);
    assert_eq!((log.dropped(), fs::read_to_string(log.path()).unwrap()), (26, "one\ntwo\nthree\n".to_owned()));
    let found: Vec<u8> =
        Reader::open(log.path(), &Wanted::default()).unwrap().flat_map(|it| it.unwrap().bytes).collect();
    assert_eq!(found, b"one\ntwo\nthree\n", "also without any marks");
}

#[test]
fn a_clock_that_is_put_back_a_day_and_forward_again_leaves_the_log_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let spec = LogSpec { age_max: Some(Duration::from_secs(3600)), ..spec(dir.path(), 12, 20) };
    let mut log = LogFile::new(spec.output(), &spec);
    const DAY: u64 = 86_400_000;
    let mut expected = Vec::new();
    for (number, now_ms) in
        [NOW, NOW + 1000, NOW - DAY, NOW - DAY + 1000, NOW + DAY, NOW - DAY, NOW + 2 * DAY].into_iter().enumerate()
    {
        let line = format!("line {number}\n").into_bytes();
        log.append(&line, now_ms);
        // A keeper that begins while the clock is wrong.
        log = LogFile::new(spec.output(), &spec);
        expected.extend(line);
    }
    assert_eq!(whole(&spec, &Wanted::default()), expected);
}

#[test]
fn what_somebody_has_put_in_the_place_of_a_log_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let (victim, mut log) = (dir.path().join("victim"), log(dir.path(), 1000, 2));
    fs::write(&victim, "mine").unwrap();
    std::os::unix::fs::symlink(&victim, log.path()).unwrap();
    log.append(b"line\n", NOW);
    assert_eq!((log.dropped(), fs::read_to_string(&victim).unwrap()), (5, "mine".to_owned()));
}

#[test]
fn marks_that_were_damaged_are_mended_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let times = dir.path().join("stdout.log.times");
    for (damage, missed) in [("", ""), ("nonsense\n", ""), ("t 99999", "")] {
        let _ = fs::remove_file(dir.path().join("stdout.log"));
        let mut log = log(dir.path(), 1000, 2);
        log.append(b"one\n", NOW);
        log.append(b"two\n", NOW + 5000);
        let marks = fs::read_to_string(&times).unwrap();
        fs::write(&times, if damage.is_empty() { String::new() } else { marks + damage }).unwrap();
        log.close();
        log.append(b"three\n", NOW + 9000);
        let wanted = Wanted { since: Some(NOW / 1000 + 7), ..Wanted::default() };
        let lines = Reader::open(log.path(), &wanted).unwrap().map(|lines| lines.unwrap().bytes);
        let found = String::from_utf8(lines.flatten().collect()).unwrap();
        assert!(found.ends_with("three\n"), "{damage:?}: {found:?}");
        let mended = Marks::parse(&fs::read(&times).unwrap(), Some(14));
        assert!(!mended.is_damaged && mended.marks.last().unwrap().is_exact, "{missed}{mended:?}");
    }
}

/// The disk, until it is too late: then nothing happens any more, not even to the memory of this process.
#[derive(Debug, Clone)]
struct Mortal {
    steps_left: Arc<AtomicU32>,
}

struct Killed;

impl Mortal {
    fn new(steps: u32) -> Self {
        Self { steps_left: Arc::new(AtomicU32::new(steps)) }
    }

    fn step(&self) {
        let left = self.steps_left.load(Ordering::Relaxed);
        if left == 0 {
            resume_unwind(Box::new(Killed));
        }
        self.steps_left.store(left - 1, Ordering::Relaxed);
    }
}

impl Files for Mortal {
    fn open(&mut self, path: &Path, follow_links: bool) -> io::Result<File> {
        self.step();
        Host.open(path, follow_links)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        if self.steps_left.load(Ordering::Relaxed) == 0 {
            // The kernel came half way.
            let _ = Host.write(file, &bytes[..bytes.len() / 2]);
        }
        self.step();
        Host.write(file, bytes)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step();
        Host.rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step();
        Host.remove(path)
    }

    fn add(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.steps_left.load(Ordering::Relaxed) == 0 {
            let _ = Host.add(path, &bytes[..bytes.len() / 2]);
        }
        self.step();
        Host.add(path, bytes)
    }

    fn put(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step();
        Host.put(path, bytes)
    }
}

/// What one keeper does with what is printed until it dies; its successor completes the log.
fn live_and_die(tape: Tape, files: &Mortal, spec: &LogSpec, prints: &[(Vec<u8>, u64)]) -> (Tape, usize) {
    let path = spec.output();
    let mut printed = 0_usize;
    let fd = tape.fd().unwrap().try_clone_to_owned().unwrap();
    let life = catch_unwind(AssertUnwindSafe(|| {
        let (mut tape, mut log) = (tape, LogFile::on(files.clone(), path.clone(), spec));
        log.begin_run(RunId(1), 1001);
        for (bytes, now_ms) in prints {
            begin(&mut tape, Origin::Output, &mut log);
            tape.room()[..bytes.len()].copy_from_slice(bytes);
            printed += 1;
            tape.came(bytes.len());
            log_what_came(&mut tape, &mut log, *now_ms);
        }
    }));
    if let Err(other) = life
        && !other.is::<Killed>()
    {
        resume_unwind(other);
    }
    let (mut tape, unlogged) = Tape::adopt(fd).unwrap();
    let now_ms = prints.get(printed.saturating_sub(1)).map_or(NOW, |(_, now_ms)| *now_ms);
    let mut log = LogFile::new(path, spec);
    log.begin_run(RunId(1), 1001);
    log.complete(&unlogged, now_ms);
    begin(&mut tape, Origin::Output, &mut log);
    log.settle();
    (tape, printed)
}

fn whole(spec: &LogSpec, wanted: &Wanted) -> Vec<u8> {
    Reader::open(&spec.output(), wanted).unwrap().flat_map(|lines| lines.unwrap().bytes).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Keepers die one after the other, at any step on the disk: between putting aside and opening anew, in the middle
    /// of a write, before the marks follow their log. What has been printed is in the files, once, in its order, and
    /// can be found by its time.
    #[test]
    fn wherever_a_keeper_dies_the_log_is_whole(
        prints in proptest::collection::vec(("[a-z]{0,9}\n?[a-z]{0,9}\n", 0_u64..2500), 1..40),
        lives in proptest::collection::vec(0_u32..25, 0..8),
        bytes_max in 6_u64..60, is_stamped: bool, is_packed: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let stamp = is_stamped.then(|| "%s ".to_owned());
        let spec = LogSpec { stamp, compress: is_packed, ..spec(dir.path(), bytes_max, u8::MAX) };
        let mut now_ms = NOW;
        let prints: Vec<(Vec<u8>, u64)> = prints.into_iter().map(|(text, later)| {
            now_ms += later;
            (text.into_bytes(), now_ms)
        }).collect();
        let (mut tape, mut done) = (Tape::new(), 0);
        for steps in lives.into_iter().chain([u32::MAX]) {
            let (successor, printed) = live_and_die(tape, &Mortal::new(steps), &spec, &prints[done..]);
            (tape, done) = (successor, done + printed);
            if is_packed {
                pack_aside(&spec.output()).unwrap();
            }
        }
        prop_assert_eq!(done, prints.len());
        let expected: Vec<u8> = prints.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let found = String::from_utf8(whole(&spec, &Wanted::default())).unwrap();
        let stamps = |line: &str| line.split_once(' ').map(|(stamp, text)| (stamp.parse::<u64>().unwrap(), text.to_owned()));
        if is_stamped {
            let lines: Option<Vec<(u64, String)>> = found.lines().map(stamps).collect();
            let lines = lines.expect("each line has a stamp");
            let text: String = lines.iter().map(|(_, text)| format!("{text}\n")).collect();
            prop_assert_eq!(text.into_bytes(), expected);
            prop_assert!(lines.is_sorted_by_key(|(at, _)| *at));
        } else {
            prop_assert_eq!(found.into_bytes(), expected);
        }
        // What was printed in a second is found by it.
        for (bytes, at_ms) in prints {
            let second = at_ms / 1000;
            let wanted = Wanted { since: Some(second), until: Some(second), uid: Some(1001), ..Wanted::default() };
            let found = whole(&spec, &wanted);
            for line in bytes.split(|byte| *byte == b'\n') {
                prop_assert!(found.windows(line.len().max(1)).any(|part| part == line) || line.is_empty());
            }
        }
    }
}
