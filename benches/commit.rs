//! What an edit of one entry and its commit cost, by how many entries are stored; and one edit of many entries.
//!
//! Prints milliseconds and, what can be compared between machines, ratios. In memory: the disk is not measured here.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints, and may fall over"
)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use procyon::datastore::edit::Edit;
use procyon::datastore::{CandidateId, Datastores};
use procyon::northbound::{DefaultOperation, ErrorOption, Fragment};
use procyon::yang::schema::{ModuleSpec, Schema};
use procyon::yang::tree::Tree;

const MODULE: &str = "module bench { yang-version 1.1; namespace urn:bench; prefix b;
  container top {
    list app {
      key name;
      leaf name { type string; }
      leaf executable { type string; mandatory true; }
      leaf arguments { type string; }
      leaf policy { type enumeration { enum always; enum never; enum on-failure; } default on-failure; }
      leaf retries { type uint32; default 3; must \". > 0\"; }
    }
  }
}";

const SIZES: &[usize] = &[5, 1_000, 10_000, 100_000];
const MANY: usize = 10_000;
const ROUNDS: usize = 300;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bench.yang"), MODULE).unwrap();
    let module = ModuleSpec { name: "bench".to_owned(), revision: None, features: Vec::new() };
    let schema = Schema::load(&[dir.path().to_owned()], &[module]).unwrap();

    let mut costs = Vec::new();
    for size in SIZES {
        let mut stores = stored(schema, *size);
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|round| {
                let begun = Instant::now();
                commit(&mut stores, &entries(500_000 + round..500_001 + round));
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        let median = times[ROUNDS / 2].as_secs_f64() * 1e3;
        println!(
            "one entry, {size:>6} stored: {median:.3} ms p50, {:.3} ms max",
            times[ROUNDS - 1].as_secs_f64() * 1e3
        );
        costs.push(median);
    }
    println!("cost at 100,000 stored over the cost at 1,000: {:.2} (at most 1.3 is wanted)", costs[3] / costs[1]);

    let mut stores = stored(schema, 0);
    let begun = Instant::now();
    commit(&mut stores, &entries(0..MANY));
    println!("{MANY} entries in one edit and commit: {:.3} s", begun.elapsed().as_secs_f64());
}

fn stored(schema: &'static Schema, size: usize) -> Datastores {
    let mut tree = Tree::parse_config(schema, entries(0..size).as_bytes()).unwrap();
    tree.validate_config().unwrap();
    Datastores::new(schema, tree)
}

fn entries(range: std::ops::Range<usize>) -> String {
    let mut text = String::from("<top xmlns=\"urn:bench\">");
    for index in range {
        let _ = write!(
            text,
            "<app><name>app-{index:06}</name><executable>/usr/bin/app-{index}</executable>\
             <arguments>--id {index} --verbose</arguments><policy>always</policy><retries>7</retries></app>"
        );
    }
    text.push_str("</top>");
    text
}

fn commit(stores: &mut Datastores, config: &str) {
    let edit = Edit::parse(&Fragment(config.to_owned().into())).unwrap();
    stores.edit_candidate(CandidateId::Shared, &edit, DefaultOperation::Merge, ErrorOption::StopOnError, None).unwrap();
    let proposal = stores.propose(CandidateId::Shared).unwrap();
    assert!(proposal.is_partial(), "such a commit is judged by what it touches");
    stores.accept(&proposal);
}
