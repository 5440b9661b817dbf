//! What get-config of a long list costs in the agent, before the reply is framed and encrypted: printed anew, read again, and
//! read after a commit of one entry; by one who sees all of it, and by one from whom a leaf of each entry is hidden. And what
//! it costs those who read little, and commits, that long lists are kept.
//!
//! Processor time, the median of some rounds.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and may fall over")]

mod list;

use std::hint::black_box;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use procyon::datastore::edit::Edit;
use procyon::datastore::{CandidateId, Datastores};
use procyon::northbound::filter::{Content, Filter, Selection};
use procyon::northbound::{DefaultOperation, ErrorOption, Fragment, WithDefaults};
use procyon::yang::schema::SchemaNode;
use procyon::yang::segments::{Segments, SightId};
use procyon::yang::select::{self, Entries, Seen, Sight, View};
use procyon::yang::tree::Node;

use list::{entries, stored};

const MANY: usize = 10_000;
const FEW: usize = 5;
const ROUNDS: usize = 61;
/// What takes little is done so often in a round.
const OFTEN: u32 = 200;

fn main() {
    let schema = list::schema();

    for (who, sight) in [("all of each entry", None), ("a leaf of each hidden", Some(&WithoutArguments as &dyn Sight))]
    {
        let mut stores = stored(schema, MANY);
        let (anew, first) = in_turn(|which| {
            let segments = Segments::default();
            timed(|| read(&stores, sight, (which == 1).then_some(&segments)))
        });
        let segments = Segments::default();
        read(&stores, sight, Some(&segments));
        let again = rounds(|| read(&stores, sight, Some(&segments)));
        let (mut number, printed) = (MANY, segments.printed());
        let after_commit = (0..ROUNDS).map(|_| {
            commit(&mut stores, number);
            number += 1;
            timed(|| read(&stores, sight, Some(&segments)))
        });
        let after_commit = median(after_commit.collect());
        assert_eq!(segments.printed() - printed, u64::try_from(ROUNDS).unwrap(), "one entry after each commit");
        println!("{MANY} entries, {who}: {anew:.2?} printed anew, {first:.2?} the first time");
        for (what, time) in [("again", again), ("after a commit", after_commit)] {
            println!("    {what}: {time:.2?}, {:.2} of printing anew (0.5 is wanted)", ratio(time, anew));
        }
        let mut others = stored(schema, MANY);
        let (kept, never_read) = in_turn(|which| {
            let (stores, reads) = if which == 0 { (&mut stores, true) } else { (&mut others, false) };
            number += 1;
            let time = timed(|| commit(stores, number));
            if reads {
                read(stores, sight, Some(&segments));
            }
            time
        });
        println!("    commit of one: {kept:.2?}, where nobody reads {never_read:.2?}: {:.2}", ratio(kept, never_read));
        println!("    kept: {} KiB", segments.bytes() / 1024);
    }

    let stores = stored(schema, FEW);
    let segments = Segments::default();
    let (with, without) = in_turn(|which| {
        let segments = (which == 0).then_some(&segments);
        timed(|| (0..OFTEN).for_each(|_| read(&stores, None, segments))) / OFTEN
    });
    println!("{FEW} entries: {with:.2?}, without a look at what is kept {without:.2?}: {:.2}", ratio(with, without));
}

struct WithoutArguments;

impl Sight for WithoutArguments {
    fn sees(&self, node: Node<'_>) -> Seen {
        if node.name() == "arguments" { Seen::Nothing } else { Seen::Itself }
    }

    fn entries(&self, _: SchemaNode) -> Entries {
        Entries::Alike(SightId(1))
    }
}

fn read(stores: &Datastores, sight: Option<&dyn Sight>, segments: Option<&Segments>) {
    let all = Selection {
        namespace: Some("urn:bench".to_owned()),
        name: "top".to_owned(),
        attributes: Vec::new(),
        content: Content::Selected,
    };
    let print = |view: &View<'_>| match segments {
        Some(segments) => view.print_kept(WithDefaults::Explicit, segments),
        None => view.print_xml(WithDefaults::Explicit),
    };
    let filter = Filter::Subtree(vec![all]);
    black_box(select::with_view(stores.running(), Some(&filter), sight, false, print).unwrap());
}

fn commit(stores: &mut Datastores, number: usize) {
    let edit = Edit::parse(&Fragment(entries(number..number + 1).into())).unwrap();
    stores.edit_candidate(CandidateId::Shared, &edit, DefaultOperation::Merge, ErrorOption::StopOnError, None).unwrap();
    let proposal = stores.propose(CandidateId::Shared).unwrap();
    assert!(proposal.is_partial(), "such a commit is judged by what it touches");
    stores.accept(&proposal);
}

fn rounds(mut round: impl FnMut()) -> Duration {
    median((0..ROUNDS).map(|_| timed(&mut round)).collect())
}

/// Two that are compared, turn about: both see the same machine.
fn in_turn(mut round: impl FnMut(usize) -> Duration) -> (Duration, Duration) {
    let (one, other) = (0..ROUNDS).map(|_| (round(0), round(1))).unzip();
    (median(one), median(other))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = processor_time();
    work();
    processor_time() - begun
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
