//! Who needs whom: the cycles in it, named.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::ProcessName;

/// Each process with those that must run before it. Names that are no key are of processes that are not defined.
pub type Needs = BTreeMap<ProcessName, BTreeSet<ProcessName>>;

/// The members of each cycle, in the order in which they need each other, beginning with the first by name. What only
/// needs a member is no member.
pub fn cycles(needs: &Needs) -> Vec<Vec<ProcessName>> {
    let mut left = trimmed(needs);
    let mut cycles = Vec::new();
    while let Some(first) = left.keys().next().cloned() {
        // Everything left needs somebody left, so a walk comes back to where it was.
        let (mut path, mut at) = (Vec::new(), first);
        let begin = loop {
            if let Some(begin) = path.iter().position(|seen| *seen == at) {
                break begin;
            }
            let next = left.get(&at).and_then(|of| of.iter().find(|next| left.contains_key(*next))).cloned();
            path.push(at);
            match next {
                Some(next) => at = next,
                None => break path.len(),
            }
        };
        let mut cycle = path.split_off(begin);
        if let Some(least) = cycle.iter().enumerate().min_by_key(|(_, name)| *name).map(|(at, _)| at) {
            cycle.rotate_left(least);
        }
        for name in cycle.iter().chain(&path) {
            // What led there may be part of another cycle: it stays, unless nothing was found.
            if cycle.contains(name) || cycle.is_empty() {
                left.remove(name);
            }
        }
        if !cycle.is_empty() {
            cycles.push(cycle);
        }
        left = trimmed(&left);
    }
    cycles.sort();
    cycles
}

type Edges<'n> = BTreeMap<&'n ProcessName, BTreeSet<&'n ProcessName>>;

/// Only those that are in a cycle or between two: they lead to a cycle, and one leads to them.
fn trimmed(needs: &Needs) -> Needs {
    let defined = |name: &&ProcessName| needs.contains_key(*name);
    let edges: Edges<'_> = needs.iter().map(|(name, of)| (name, of.iter().filter(defined).collect())).collect();
    let (leading, led_to) = (leading_to_cycles(&edges), leading_to_cycles(&turned(&edges)));
    let both = leading.intersection(&led_to);
    both.filter_map(|name| Some(((*name).clone(), needs.get(*name)?.clone()))).collect()
}

/// What is left when whoever needs nobody goes, again and again.
fn leading_to_cycles<'n>(edges: &Edges<'n>) -> BTreeSet<&'n ProcessName> {
    let needing = turned(edges);
    let mut left: BTreeMap<&ProcessName, usize> = edges.iter().map(|(name, of)| (*name, of.len())).collect();
    let mut free: Vec<&ProcessName> = left.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = free.pop() {
        left.remove(name);
        for one in needing.get(name).into_iter().flatten() {
            if let Some(count) = left.get_mut(one) {
                *count -= 1;
                free.extend((*count == 0).then_some(*one));
            }
        }
    }
    left.into_keys().collect()
}

fn turned<'n>(edges: &Edges<'n>) -> Edges<'n> {
    let mut turned: Edges<'n> = edges.keys().map(|name| (*name, BTreeSet::new())).collect();
    for (name, of) in edges {
        for other in of {
            turned.entry(other).or_default().insert(name);
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needs(pairs: &[(&str, &[&str])]) -> Needs {
        let name = |text: &str| ProcessName::parse(text).unwrap();
        pairs.iter().map(|(one, of)| (name(one), of.iter().map(|other| name(other)).collect())).collect()
    }

    fn said(groups: Vec<Vec<ProcessName>>) -> Vec<String> {
        groups.iter().map(|group| group.iter().map(ProcessName::as_str).collect::<Vec<_>>().join(" ")).collect()
    }

    /// The processes in rounds: each needs only what stands in rounds before its own. Members of cycles, and who needs one,
    /// are left out.
    fn rounds(needs: &Needs) -> Vec<Vec<ProcessName>> {
        let mut placed: BTreeSet<ProcessName> = BTreeSet::new();
        let mut rounds = Vec::new();
        loop {
            let is_ready = |of: &BTreeSet<ProcessName>| {
                of.iter().all(|other| placed.contains(other) || !needs.contains_key(other))
            };
            let round: Vec<ProcessName> = needs
                .iter()
                .filter(|(name, of)| !placed.contains(*name) && is_ready(of))
                .map(|(name, _)| name.clone())
                .collect();
            if round.is_empty() {
                return rounds;
            }
            placed.extend(round.iter().cloned());
            rounds.push(round);
        }
    }

    #[test]
    fn processes_start_in_rounds() {
        let graph = needs(&[("web", &["db", "cache"]), ("db", &[]), ("cache", &["elsewhere"]), ("top", &["web"])]);
        assert_eq!(said(rounds(&graph)), ["cache db", "web", "top"]);
        assert!(cycles(&graph).is_empty());
    }

    #[test]
    fn only_members_of_a_cycle_are_named() {
        let graph = needs(&[
            ("a", &["b"]),
            ("b", &["c"]),
            ("c", &["a"]),
            ("needs-one", &["a"]),
            ("needed", &[]),
            ("x", &["y", "needed"]),
            ("y", &["x"]),
            ("alone", &[]),
        ]);
        assert_eq!(said(cycles(&graph)), ["a b c", "x y"]);
    }

    #[test]
    fn what_stands_between_two_cycles_is_in_none() {
        let graph = needs(&[("a", &["b"]), ("b", &["a", "m"]), ("m", &["x"]), ("x", &["y"]), ("y", &["x"])]);
        assert_eq!(said(cycles(&graph)), ["a b", "x y"]);
    }

    fn reaches(needs: &Needs, from: &ProcessName, to: &ProcessName) -> bool {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
        while let Some(at) = todo.pop() {
            for next in needs.get(at).into_iter().flatten() {
                if next == to {
                    return true;
                }
                if seen.insert(next) {
                    todo.push(next);
                }
            }
        }
        false
    }

    proptest! {
        #[test]
        fn a_cycle_goes_round_and_without_its_members_all_can_start(
            edges in proptest::collection::vec((0_u8..7, 0_u8..7), 0..16)
        ) {
            let name = |number: u8| ProcessName::parse(&format!("p{number}")).unwrap();
            let mut graph: Needs = (0..7).map(|number| (name(number), BTreeSet::new())).collect();
            for (one, other) in edges {
                graph.entry(name(one)).or_default().insert(name(other));
            }
            let found = cycles(&graph);
            for cycle in &found {
                for (one, next) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
                    prop_assert!(graph[one].contains(next));
                }
            }
            let members: BTreeSet<&ProcessName> = found.iter().flatten().collect();
            prop_assert!(members.iter().all(|member| reaches(&graph, member, member)));
            let sound: Needs =
                graph.iter().filter(|(one, _)| !members.contains(one)).map(|(one, of)| (one.clone(), of.clone())).collect();
            // Those who need an invalid one wait for it as for any that is not there.
            prop_assert_eq!(rounds(&sound).into_iter().flatten().count(), sound.len());
        }
    }
}
