//! The `after` relation between apps: who waits for whom, and whether a wait could never end.

use std::collections::{BTreeMap, BTreeSet};

use super::registration::AppName;

/// Apps and what each starts after.
pub type After = BTreeMap<AppName, Vec<AppName>>;

/// A cycle in `after`, as the names along it; the first name is the least, and is not repeated at the end.
pub fn cycle(after: &After) -> Option<Vec<AppName>> {
    let mut done = BTreeSet::new();
    for start in after.keys() {
        let mut trail: Vec<(&AppName, usize)> = vec![(start, 0)];
        while let Some((app, next)) = trail.pop() {
            if done.contains(app) {
                continue;
            }
            let Some(dependency) = after.get(app).and_then(|list| list.get(next)) else {
                done.insert(app);
                continue;
            };
            trail.push((app, next + 1));
            if let Some(from) = trail.iter().position(|(on_trail, _)| *on_trail == dependency) {
                return Some(from_the_least(trail[from..].iter().map(|(app, _)| (*app).clone()).collect()));
            }
            trail.push((dependency, 0));
        }
    }
    None
}

fn from_the_least(mut names: Vec<AppName>) -> Vec<AppName> {
    if let Some(least) = (0..names.len()).min_by_key(|at| &names[*at]) {
        names.rotate_left(least);
    }
    names
}

/// The apps in an order in which each comes after those it waits for. Names that nobody registered are left out.
/// Apps on a cycle (which a commit refuses) come last, in the order of their names.
pub fn start_order(after: &After) -> Vec<AppName> {
    let mut order: Vec<AppName> = Vec::with_capacity(after.len());
    let mut left: BTreeSet<&AppName> = after.keys().collect();
    loop {
        let ready: Vec<&AppName> = left
            .iter()
            .copied()
            .filter(|app| after[*app].iter().all(|dependency| *dependency == **app || !left.contains(dependency)))
            .collect();
        if ready.is_empty() {
            order.extend(left.into_iter().cloned());
            return order;
        }
        for app in ready {
            left.remove(app);
            order.push(app.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> After {
        text.split_whitespace()
            .map(|word| {
                let (app, list) = word.split_once('>').unwrap_or((word, ""));
                (AppName::new(app), list.split(',').filter(|name| !name.is_empty()).map(AppName::new).collect())
            })
            .collect()
    }

    fn names(list: Vec<AppName>) -> String {
        list.iter().map(AppName::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn cycles_are_named_from_their_least_member() {
        for (graph, expected) in [
            ("a>b b>c c", None),
            ("a>b b>a", Some("a b")),
            ("z>b b>c c>z q>z", Some("b c z")),
            ("a>a", Some("a")),
            ("a>missing", None),
            ("a>c,b b>c c", None),
        ] {
            assert_eq!(cycle(&after(graph)).map(names).as_deref(), expected, "{graph}");
        }
    }

    #[test]
    fn each_app_comes_after_what_it_waits_for() {
        assert_eq!(names(start_order(&after("a>b b>c c d>missing"))), "c d b a");
        assert_eq!(names(start_order(&after("a>b b>a c"))), "c a b");
    }
}
