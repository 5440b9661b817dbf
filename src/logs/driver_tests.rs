use std::io::Write as _;

use super::*;
use crate::logs::marks::{Mark, RunMark, first_line};

const BEGIN: u64 = 1_795_267_800;

/// A log whose lines name their second, 1,000 bytes a second; put aside each so many seconds.
fn log(folder: &Path, seconds: u64, aside_after: u64) -> PathBuf {
    let path = folder.join("stdout.log");
    let (mut file, mut times) = (Vec::new(), first_line(1));
    for second in BEGIN..BEGIN + seconds {
        if file.is_empty() {
            times = first_line(1);
        }
        let offset = file.len() as u64;
        times += &Mark { second, offset, is_exact: true }.line();
        times += &RunMark { second, offset, run: 7, uid: u32::try_from(second % 2).unwrap() }.line();
        for line in 0..10 {
            writeln!(file, "{second} {line} {}", "x".repeat(100 - 14)).unwrap();
        }
        let is_last = second + 1 == BEGIN + seconds;
        if (second + 1 - BEGIN).is_multiple_of(aside_after) || is_last {
            let name = if is_last { "stdout.log".to_owned() } else { names::aside("stdout.log", second * 1000 + 999) };
            fs::write(folder.join(&name), &file).unwrap();
            fs::write(folder.join(names::times_of(&name)), &times).unwrap();
            file.clear();
        }
    }
    path
}

fn read(log: &Path, wanted: Wanted) -> (String, u64) {
    let mut reader = Reader::open(log, &wanted).unwrap();
    let text = reader.by_ref().flat_map(|lines| lines.unwrap().bytes).collect();
    (String::from_utf8(text).unwrap(), reader.bytes_read())
}

fn seconds(text: &str) -> Vec<u64> {
    let mut seconds: Vec<u64> =
        text.lines().map(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap() - BEGIN).collect();
    seconds.dedup();
    seconds
}

#[test]
fn a_question_by_time_reads_what_it_answers_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), 3000, 1000);
    for is_packed in [false, true] {
        if is_packed {
            pack_aside(&log).unwrap();
        }
        for at in [0, 1, 999, 1000, 1710, 2990] {
            let wanted = Wanted { since: Some(BEGIN + at), until: Some(BEGIN + at + 5), ..Wanted::default() };
            let (text, bytes) = read(&log, wanted);
            assert_eq!(seconds(&text), (at..=at + 5).collect::<Vec<_>>());
            assert_eq!(text.lines().count(), 60);
            assert!(bytes < 300_000, "{bytes} bytes of 3,000,000 were read for second {at}, packed: {is_packed}");
        }
        let (text, bytes) = read(&log, Wanted { last: Some(25), ..Wanted::default() });
        assert_eq!((text.lines().count(), seconds(&text)), (25, vec![2997, 2998, 2999]));
        assert!(bytes < 500_000, "{bytes} bytes of 3,000,000 were read for the last lines");
        let (text, _) = read(&log, Wanted::default());
        assert_eq!((text.lines().count(), seconds(&text).len()), (30_000, 3000));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6, "two packed files, one that is written, and their marks");
}

#[test]
fn the_last_lines_go_back_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), 31, 10);
    for is_packed in [false, true] {
        if is_packed {
            pack_aside(&log).unwrap();
        }
        for lines in [0, 1, 10, 11, 30, 299, 310, 1000] {
            let (text, _) = read(&log, Wanted { last: Some(lines), ..Wanted::default() });
            assert_eq!(text.lines().count(), lines.min(310));
        }
        let wanted = Wanted { last: Some(12), until: Some(BEGIN + 20), ..Wanted::default() };
        assert_eq!(seconds(&read(&log, wanted).0), [19, 20]);
        let wanted = Wanted { last: Some(12), uid: Some(1), ..Wanted::default() };
        let (text, _) = read(&log, wanted);
        assert!(text.lines().count() == 12 && seconds(&text).iter().all(|at| (at + BEGIN) % 2 == 1), "{text}");
    }
}

#[test]
fn a_log_without_marks_is_told_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("out.log");
    fs::write(&log, "one\ntwo\nthree").unwrap();
    assert_eq!(read(&log, Wanted { since: Some(BEGIN), ..Wanted::default() }).0, "one\ntwo\nthree");
    assert_eq!(read(&log, Wanted { last: Some(2), ..Wanted::default() }).0, "two\nthree");
    assert_eq!(read(&dir.path().join("none/out.log"), Wanted::default()).0, "");
}

#[test]
fn what_is_added_is_followed_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("out.log");
    let add = |text: &str| {
        OpenOptions::new().create(true).append(true).open(&log).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let mut place = Place::default();
    let mut next = |bytes_max| {
        let (bytes, end) = added(&log, place, bytes_max).unwrap();
        place = end;
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(next(100), "");
    add("one\n");
    assert_eq!(next(100), "one\n");
    add("two\n");
    fs::rename(&log, dir.path().join(names::aside("out.log", BEGIN * 1000))).unwrap();
    add("three\n");
    fs::rename(&log, dir.path().join(names::aside("out.log", BEGIN * 1000 + 1))).unwrap();
    add("four\n");
    assert_eq!(next(6), "two\nth");
    assert_eq!(next(100), "ree\nfour\n");
    assert_eq!(next(100), "");
}
