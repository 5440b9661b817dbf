//! What strangers may send, as laws (`fuzz/trials.rs`): the kept corpus, and so many mutations of it with each run.
//!
//! `FUZZ_SEED=N` plays others, `FUZZ_ROUNDS=N` more of them. For hours, and guided by coverage: `scripts/fuzz`. What that
//! finds is kept in `fuzz/corpus` and is played here from then on.

#![expect(clippy::unwrap_used, reason = "a test may fall over")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[path = "../fuzz/trials.rs"]
mod trials;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const ROUNDS: u64 = 4_000;

/// Longer inputs find nothing that shorter ones do not.
const INPUT_BYTES_MAX: usize = 4_096;

#[test]
fn streams_are_cut_into_the_same_messages_however_they_arrive() {
    play("framing", trials::framing);
}

#[test]
fn a_hello_is_read_or_refused() {
    play("hello", trials::hello);
}

#[test]
fn every_message_is_answered_once_with_well_formed_xml() {
    play("rpc", trials::rpc);
}

#[test]
fn an_edit_is_done_whole_or_not_at_all() {
    play("edit_config", trials::edit_config);
}

#[test]
fn a_filter_selects_a_part_of_the_tree() {
    play("filter", trials::filter);
}

fn play(target: &str, trial: fn(&[u8])) {
    let corpus = corpus(target);
    for (name, input) in &corpus {
        assert!(holds(trial, input), "corpus/{target}/{name}: {:?}", String::from_utf8_lossy(input));
    }
    let words = words();
    let seed = number("FUZZ_SEED").unwrap_or(2026);
    for round in 0..number("FUZZ_ROUNDS").unwrap_or(ROUNDS) {
        let mut chance = Chance(seed.wrapping_mul(1_000_003).wrapping_add(round) | 1);
        let mut input = corpus[chance.below(corpus.len())].1.clone();
        for _ in 0..=chance.below(4) {
            let other = &corpus[chance.below(corpus.len())].1;
            mutate(&mut input, other, &words, &mut chance);
        }
        input.truncate(INPUT_BYTES_MAX);
        assert!(holds(trial, &input), "seed {seed}, round {round}: {:?}", String::from_utf8_lossy(&input));
    }
}

fn holds(trial: fn(&[u8]), input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| trial(input))).is_ok()
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(ROOT).join("fuzz/corpus").join(target);
    let mut corpus: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
        .collect();
    corpus.sort();
    assert!(!corpus.is_empty());
    corpus
}

/// The words of the dictionary that `scripts/fuzz` uses as well.
fn words() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(Path::new(ROOT).join("fuzz/xml.dict")).unwrap();
    let unquoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    unquoted.map(|word| word.replace("\\\"", "\"").replace("\\x0a", "\n").into_bytes()).collect()
}

fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[Vec<u8>], chance: &mut Chance) {
    let (from, to) = chance.range(input.len());
    match chance.below(8) {
        0 => drop(input.drain(from..to)),
        1 => {
            let piece = input[from..to].to_vec();
            input.splice(to..to, piece);
        }
        2 | 3 => drop(input.splice(from..from, words[chance.below(words.len())].iter().copied())),
        4 => drop(input.splice(from..to, words[chance.below(words.len())].iter().copied())),
        5 => {
            let (first, last) = chance.range(other.len());
            input.splice(from..to, other[first..last].iter().copied());
        }
        6 if from < input.len() => input[from] ^= 1 << chance.below(8),
        _ => {
            // A whole element, as far as that can be told: what lies between two that open.
            let opens: Vec<usize> = (0..input.len()).filter(|&at| input[at] == b'<').collect();
            if let [_, _, ..] = opens[..] {
                let (first, last) = chance.range(opens.len() - 1);
                let piece = input[opens[first]..opens[last]].to_vec();
                let at = opens[chance.below(opens.len())];
                input.splice(at..at, piece);
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The same numbers for the same seed (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        for shift in [13, 7, 17] {
            self.0 ^= if shift == 7 { self.0 >> shift } else { self.0 << shift };
        }
        usize::try_from(self.0 >> 16).unwrap() % bound.max(1)
    }

    /// A piece of something so long; mostly a short one.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        let reach = if self.below(4) == 0 { length } else { 16 };
        (from, (from + self.below(reach + 1)).min(length))
    }
}
