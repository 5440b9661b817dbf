//! The fast path held against the full one: random modules, random edits, the same verdicts, trees, records and errors.
//!
//! Everything follows from a seed, so a failure can be played again.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::edit::Edit;
use super::*;
use crate::northbound::{Fragment, WithDefaults};
use crate::yang::schema::{ModuleSpec, SchemaNode};
use crate::yang::segments::{Segments, SightId};
use crate::yang::select::{self, Entries, Seen, Sight, View};
use crate::yang::tree::Node;

struct Dice(u64, World);

/// What there is in a random schema. A seed says the same in one world only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    /// One module, whose constraints name what they look at.
    Plain,
    /// A second one, whose constraints may look at the first one, and wildcards.
    Wide,
    /// Two modules, in which many leaves name entries by their keys and many values are unique.
    Keyed,
}

impl Dice {
    fn new(seed: u64, world: World) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, world)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn is_keyed(&self) -> bool {
        self.1 == World::Keyed
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Leaf,
    LeafList { user: bool },
    Container { presence: bool },
    List { user: bool },
    Choice,
    Case,
}

/// A node of a random module. Names are unique in it, so a node's place follows from its name.
#[derive(Debug)]
struct Plan {
    name: String,
    kind: Kind,
    children: Vec<Plan>,
}

impl Plan {
    fn random(dice: &mut Dice, depth: usize, count: &mut usize) -> Plan {
        *count += 1;
        let name = format!("n{count}");
        let kind = match dice.roll(if depth == 0 { 4 } else { 12 }) {
            0..=2 => Kind::Leaf,
            3 => Kind::LeafList { user: dice.one_in(2) },
            4 | 5 => Kind::Container { presence: dice.one_in(2) },
            6..=9 => Kind::List { user: dice.one_in(4) },
            _ => Kind::Choice,
        };
        let children = match kind {
            Kind::Leaf | Kind::LeafList { .. } => Vec::new(),
            Kind::Container { .. } | Kind::List { .. } => {
                (0..1 + dice.roll(4)).map(|_| Plan::random(dice, depth - 1, count)).collect()
            }
            Kind::Choice | Kind::Case => (0..2)
                .map(|_| {
                    *count += 1;
                    let name = format!("n{count}");
                    let children = (0..1 + dice.roll(2)).map(|_| Plan::random(dice, depth - 1, count)).collect();
                    Plan { name, kind: Kind::Case, children }
                })
                .collect(),
        };
        Plan { name, kind, children }
    }

    /// The data path of every data node, as names.
    fn paths(&self, above: &[String], into: &mut Vec<(Vec<String>, Kind)>) {
        let mut here = above.to_vec();
        if !matches!(self.kind, Kind::Choice | Kind::Case) {
            here.push(self.name.clone());
            into.push((here.clone(), self.kind));
        }
        for child in &self.children {
            child.paths(&here, into);
        }
    }

    fn yang(&self, dice: &mut Dice, above: &[String], own: &str, all: &[(Vec<String>, Kind)], text: &mut String) {
        let mut here = above.to_vec();
        if !matches!(self.kind, Kind::Choice | Kind::Case) {
            here.push(format!("{own}{}", self.name));
        }
        let name = &self.name;
        let mut inside = String::new();
        if dice.one_in(6) && self.kind != Kind::Case {
            let _ = write!(inside, "when \"{}\";", expression(dice, &here, all));
        }
        let word = match self.kind {
            Kind::Leaf => {
                inside.push_str(&leaf_type(dice, &here, all));
                match dice.roll(6) {
                    0 => inside.push_str("mandatory true;"),
                    1 | 2 => inside.push_str("default a;"),
                    _ => {}
                }
                "leaf"
            }
            Kind::LeafList { user } => {
                inside.push_str(&leaf_type(dice, &here, all));
                match dice.roll(6) {
                    0 => inside.push_str("min-elements 1;"),
                    1 => inside.push_str("max-elements 2;"),
                    2 => inside.push_str("default a; default b;"),
                    _ => {}
                }
                inside.push_str(if user { "ordered-by user;" } else { "" });
                "leaf-list"
            }
            Kind::Container { presence } => {
                inside.push_str(if presence { "presence p;" } else { "" });
                "container"
            }
            Kind::List { user } => {
                inside.push_str("key k; leaf k { type string; }");
                inside.push_str(if user { "ordered-by user;" } else { "" });
                match dice.roll(if dice.is_keyed() { 4 } else { 12 }) {
                    0 if !dice.is_keyed() => inside.push_str("min-elements 1;"),
                    1 if !dice.is_keyed() => inside.push_str("max-elements 2;"),
                    2 => {
                        if let Some(leaf) = self.children.iter().find(|child| child.kind == Kind::Leaf) {
                            let _ = write!(inside, "unique {};", leaf.name);
                        }
                    }
                    _ => {}
                }
                "list"
            }
            Kind::Choice => {
                match dice.roll(5) {
                    0 => inside.push_str("mandatory true;"),
                    1 => _ = write!(inside, "default {};", self.children[0].name),
                    _ => {}
                }
                "choice"
            }
            Kind::Case => "case",
        };
        if dice.one_in(5) && !matches!(self.kind, Kind::Choice | Kind::Case) {
            let _ = write!(inside, "must \"{}\" {{ error-app-tag t{name}; }}", expression(dice, &here, all));
        }
        for child in &self.children {
            child.yang(dice, &here, own, all, &mut inside);
        }
        let _ = writeln!(text, "{word} {name} {{ {inside} }}");
    }

    /// A random edit of this node, as XML.
    fn edit(&self, dice: &mut Dice, text: &mut String) {
        let name = &self.name;
        let operation = match dice.roll(14) {
            0 => " nc:operation='delete'",
            1 | 2 => " nc:operation='remove'",
            3 | 4 => " nc:operation='replace'",
            5 => " nc:operation='create'",
            6 => " nc:operation='none-such'",
            _ => "",
        };
        let operation = if operation.contains("none-such") && !dice.one_in(20) { "" } else { operation };
        let value = *dice.pick(if dice.is_keyed() { &["1", "2", "3", "4"] } else { &["a", "b", "c"] });
        let place = match dice.roll(4) {
            0 => " y:insert='first'",
            1 => " y:insert='last'",
            _ => "",
        };
        match self.kind {
            Kind::Leaf => _ = write!(text, "<{name}{operation}>{value}</{name}>"),
            Kind::LeafList { user } => {
                let place = if user { place } else { "" };
                let _ = write!(text, "<{name}{operation}{place}>{value}</{name}>");
            }
            Kind::Container { .. } | Kind::List { .. } => {
                let place = if self.kind == (Kind::List { user: true }) { place } else { "" };
                let _ = write!(text, "<{name}{operation}{place}>");
                if matches!(self.kind, Kind::List { .. }) {
                    let _ = write!(text, "<k>{}</k>", dice.pick(&["1", "2", "3", "4", "5", "6"]));
                }
                if operation.is_empty() || !dice.one_in(3) {
                    self.edit_children(dice, text);
                }
                let _ = write!(text, "</{name}>");
            }
            Kind::Choice => dice.pick(&self.children).edit_children(dice, text),
            Kind::Case => self.edit_children(dice, text),
        }
    }

    fn edit_children(&self, dice: &mut Dice, text: &mut String) {
        for child in &self.children {
            if !dice.one_in(3) {
                child.edit(dice, text);
            }
            if matches!(child.kind, Kind::List { .. } | Kind::LeafList { .. }) && dice.one_in(2) {
                child.edit(dice, text);
            }
        }
    }
}

fn path_to(dice: &mut Dice, from: &[String], to: &[String]) -> String {
    if dice.one_in(4) {
        return format!("/{}", to.join("/"));
    }
    let common = from.iter().zip(to).take_while(|(one, other)| one == other).count();
    let up = vec![".."; from.len() - common];
    let steps: Vec<&str> = up.into_iter().chain(to[common..].iter().map(String::as_str)).collect();
    if steps.is_empty() { ".".to_owned() } else { steps.join("/") }
}

fn expression(dice: &mut Dice, here: &[String], all: &[(Vec<String>, Kind)]) -> String {
    // Near things are more likely to be asked for, as in modules that people write.
    let near: Vec<&(Vec<String>, Kind)> =
        all.iter().filter(|(path, _)| path.len() > 1 && path[..path.len() - 1] == here[..here.len() - 1]).collect();
    let (to, kind) = if near.is_empty() || dice.one_in(3) { dice.pick(all) } else { *dice.pick(&near) };
    if to.len() < 2 {
        return "true()".to_owned();
    }
    let mut path = path_to(dice, here, to);
    if dice.1 == World::Wide && dice.one_in(8) && to.len() > 2 && path.ends_with(to[to.len() - 1].as_str()) {
        path.truncate(path.len() - to[to.len() - 1].len());
        path.push('*');
    }
    let is_leaf = matches!(kind, Kind::Leaf | Kind::LeafList { .. });
    match dice.roll(if is_leaf { 8 } else { 4 }) {
        0 => format!("not({path})"),
        1 => format!("count({path}) &lt; 3").replace("&lt;", "<"),
        2 => format!("{path} or true()"),
        3 => path,
        4 => format!("not({path} = 'a')"),
        5 => format!("{path} != 'b'"),
        6 => format!("string-length({path}) = 1 or not({path})"),
        _ if dice.one_in(12) => format!("count(//{}) < 4", to[to.len() - 1]),
        _ => format!("{path} = 'a' or {path} = 'b' or not({path})"),
    }
}

fn leaf_type(dice: &mut Dice, here: &[String], all: &[(Vec<String>, Kind)]) -> String {
    if dice.is_keyed() && dice.one_in(2) {
        let lists: Vec<&Vec<String>> =
            all.iter().filter(|(_, kind)| matches!(kind, Kind::List { .. })).map(|(path, _)| path).collect();
        if !lists.is_empty() {
            let mut to = (*dice.pick(&lists)).clone();
            let prefix = to.last().and_then(|name| name.split_once(':')).map(|(prefix, _)| format!("{prefix}:"));
            to.push(prefix.unwrap_or_default() + "k");
            return format!("type leafref {{ path \"{}\"; }}", path_to(dice, here, &to));
        }
    }
    let targets: Vec<&Vec<String>> = all
        .iter()
        .filter(|(path, kind)| *kind == Kind::Leaf && path != here && path.len() > 1)
        .map(|(path, _)| path)
        .collect();
    if !targets.is_empty() && dice.one_in(8) {
        let to = *dice.pick(&targets);
        return format!("type leafref {{ path \"{}\"; }}", path_to(dice, here, to));
    }
    "type string;".to_owned()
}

/// One top container of a random module.
struct Part {
    plan: Plan,
    module: &'static str,
}

impl Part {
    fn random(dice: &mut Dice, module: &'static str, top: &str, count: &mut usize) -> Self {
        let children = (0..2 + dice.roll(3)).map(|_| Plan::random(dice, 3, count)).collect();
        Self { plan: Plan { name: top.to_owned(), kind: Kind::Container { presence: false }, children }, module }
    }

    /// Its data nodes, with the prefixes that constraints name them by.
    fn paths(&self, prefix: &str) -> Vec<(Vec<String>, Kind)> {
        let mut all = Vec::new();
        self.plan.paths(&[], &mut all);
        all.iter_mut().flat_map(|(path, _)| path).for_each(|name| name.insert_str(0, prefix));
        all
    }

    fn yang(&self, dice: &mut Dice, head: &str, own: &str, all: &[(Vec<String>, Kind)]) -> String {
        let mut body = String::new();
        for child in &self.plan.children {
            child.yang(dice, &[format!("{own}{}", self.plan.name)], own, all, &mut body);
        }
        let (module, top) = (self.module, &self.plan.name);
        format!("module {module} {{ yang-version 1.1; namespace urn:{module}; {head}\ncontainer {top} {{\n{body}}}\n}}")
    }

    fn random_edit(&self, dice: &mut Dice) -> String {
        let mut inside = String::new();
        // Mostly small edits: one place at a time.
        if dice.one_in(3) {
            self.plan.edit_children(dice, &mut inside);
        } else {
            dice.pick(&self.plan.children).edit(dice, &mut inside);
        }
        let (module, top) = (self.module, &self.plan.name);
        format!(
            "<{top} xmlns='urn:{module}' xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0' \
             xmlns:y='urn:ietf:params:xml:ns:yang:1'>{inside}</{top}>"
        )
    }
}

/// Modules that libyang takes, and their plans; most random ones are.
fn random_schema(dice: &mut Dice) -> Option<(&'static Schema, Vec<Part>, String)> {
    let mut count = 0;
    let mut parts = vec![Part::random(dice, "random", "top", &mut count)];
    let mut all = parts[0].paths("");
    let mut texts = vec![parts[0].yang(dice, "prefix r;", "", &all)];
    if dice.1 != World::Plain {
        let other = Part::random(dice, "other", "more", &mut count);
        let mut seen = other.paths("o:");
        if dice.one_in(2) {
            all = parts[0].paths("r:");
            seen.append(&mut all);
        }
        texts.push(other.yang(dice, "prefix o; import random { prefix r; }", "o:", &seen));
        parts.push(other);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut modules = Vec::new();
    for (part, text) in parts.iter().zip(&texts) {
        std::fs::write(dir.path().join(format!("{}.yang", part.module)), text).unwrap();
        modules.push(ModuleSpec { name: part.module.to_owned(), revision: None, features: Vec::new() });
    }
    let schema = Schema::load(&[dir.path().to_owned()], &modules).ok()?;
    Some((schema, parts, texts.join("\n")))
}

fn random_edit(parts: &[Part], dice: &mut Dice) -> (String, Edit) {
    let text = match parts {
        [only] => only.random_edit(dice),
        parts if dice.one_in(5) => parts.iter().map(|part| part.random_edit(dice)).collect(),
        parts => dice.pick(parts).random_edit(dice),
    };
    let edit = Edit::parse(&Fragment(text.clone().into())).unwrap();
    (text, edit)
}

type Errors = BTreeSet<(Option<String>, String, Option<String>)>;

fn errors(refusals: &[Refusal]) -> Errors {
    refusals
        .iter()
        .map(|refusal| (refusal.path.clone(), format!("{:?}", refusal.kind), refusal.app_tag.clone()))
        .collect()
}

fn written(tree: &Tree) -> String {
    for mode in [WithDefaults::Explicit, WithDefaults::ReportAll, WithDefaults::Trim] {
        assert_eq!(tree.print_xml(mode), tree.print_by_libyang(mode), "{mode:?}");
    }
    String::from_utf8(tree.print_xml(WithDefaults::Explicit).to_vec()).unwrap()
}

fn told(changes: &[Change]) -> BTreeSet<String> {
    changes.iter().map(|change| format!("{change:?}")).collect()
}

/// Somebody who does not see some names, wherever they stand.
struct Blind(usize);

impl Sight for Blind {
    fn sees(&self, node: Node<'_>) -> Seen {
        let is_hidden = node.name().len() % 2 == self.0 % 2 && node.name().ends_with(['1', '4', '7']);
        if is_hidden { Seen::Nothing } else { Seen::Itself }
    }

    fn entries(&self, _: SchemaNode) -> Entries {
        Entries::Alike(SightId(self.0.try_into().unwrap()))
    }
}

/// What is kept of running is what would be printed of it.
fn compare_kept(running: &Tree, segments: &Segments, dice: &mut Dice) -> Result<(), String> {
    let (blind, all) = (Blind(dice.roll(2)), dice.one_in(2));
    let sight = if all { None } else { Some(&blind as &dyn Sight) };
    let mode = *dice.pick(&[WithDefaults::Explicit, WithDefaults::ReportAll, WithDefaults::Trim]);
    let printed =
        |view: &View<'_>| (view.print_kept(mode, segments), view.to_tree().print_by_libyang(mode), view.is_of(running));
    let (kept, anew, is_kept) = select::with_view(running, None, sight, false, printed).unwrap();
    assert!(is_kept);
    if kept == anew { Ok(()) } else { Err(format!("kept {kept:?} is not {anew:?}, {mode:?}")) }
}

#[derive(Debug, Default)]
struct Tally {
    partial: usize,
    whole: usize,
    refused: usize,
}

/// One random module and a series of edits and commits on it.
fn play(seed: u64, world: World, steps: usize, tally: &mut Tally) -> Result<(), String> {
    let mut dice = Dice::new(seed, world);
    let Some((schema, parts, text)) = random_schema(&mut dice) else { return Ok(()) };
    let mut running = Tree::new(schema);
    if running.validate_config().is_err() {
        // What an empty device cannot be starts from nothing at all.
        return Ok(());
    }
    let mut stores = Datastores::new(schema, running.duplicate());
    let id = CandidateId::Shared;
    let mut candidate = running.duplicate();
    let mut log = vec![text];
    // Which readings there are decides nothing about the edits.
    let (segments, mut readers) = (Segments::new(1, 1 << 16), Dice::new(!seed, world));
    for _ in 0..steps {
        let (xml, edit) = random_edit(&parts, &mut dice);
        let option = *dice.pick(&[
            ErrorOption::StopOnError,
            ErrorOption::RollbackOnError,
            ErrorOption::ContinueOnError,
            ErrorOption::ContinueOnError,
        ]);
        let operation = if dice.one_in(25) { DefaultOperation::Replace } else { DefaultOperation::Merge };
        log.push(format!("edit {option:?} {operation:?} {xml}"));
        let fail = |what: &str, fast: &dyn std::fmt::Debug, full: &dyn std::fmt::Debug| {
            format!("seed {seed}, {world:?}: {what}\n{}\nfast {fast:?}\nfull {full:?}", log.join("\n"))
        };
        let mut next = candidate.duplicate();
        let full = edit.apply(&mut next, operation, option, None);
        let fast = stores.edit_candidate(id, &edit, operation, option, None);
        let (full, fast) = (full.map_err(|all| errors(&all)), fast.map_err(|all| errors(&all)));
        if full != fast {
            return Err(fail("the edits are answered differently", &fast, &full));
        }
        if full.is_ok() || option == ErrorOption::ContinueOnError {
            // Edited back to running is clean.
            candidate = if Diff::between(&running, &next).is_empty() { running.duplicate() } else { next };
        }
        let seen = stores.candidate(id);
        if written(&seen) != written(&candidate) {
            return Err(fail("the candidates differ", &written(&seen), &written(&candidate)));
        }
        drop(seen);
        if dice.one_in(3) {
            continue;
        }
        log.push("commit".to_owned());
        let fail = |what: &str, fast: &dyn std::fmt::Debug, full: &dyn std::fmt::Debug| {
            format!("seed {seed}, {world:?}: {what}\n{}\nfast {fast:?}\nfull {full:?}", log.join("\n"))
        };
        let mut next = candidate.duplicate();
        let full = next.validate_change(&running).map_err(|all| errors(&all));
        match (stores.propose(id), full) {
            (Ok(proposal), Ok(())) => {
                let (diff, changes) = (Diff::between(&running, &next), diff::changes(&running, &next));
                if told(&changes) != told(&diff::changes_by_libyang(&running, &next)) {
                    return Err(fail(
                        "libyang sees other changes",
                        &changes,
                        &diff::changes_by_libyang(&running, &next),
                    ));
                }
                let by_libyang = diff::record_by_libyang(&running, &next).into_changes();
                if told(&diff.changes()) != told(&by_libyang) {
                    return Err(fail("libyang records other changes", &diff.changes(), &by_libyang));
                }
                if told(&proposal.diff.changes()) != told(&diff.changes()) {
                    return Err(fail("the records differ", &proposal.diff.changes(), &diff.changes()));
                }
                if told(&proposal.changes) != told(&changes) {
                    return Err(fail("the changes differ", &proposal.changes, &changes));
                }
                // Whoever holds running keeps it; then it is a copy that is changed.
                let held = readers.one_in(3).then(|| Arc::clone(stores.running()));
                stores.stage(&proposal);
                if !stores.running().is_same(&next) {
                    return Err(fail("what is staged differs", stores.running(), &next));
                }
                if readers.one_in(2) {
                    compare_kept(stores.running(), &segments, &mut readers)
                        .map_err(|what| fail("staged", &what, &proposal.diff))?;
                }
                stores.unstage(&proposal);
                if readers.one_in(2) {
                    compare_kept(stores.running(), &segments, &mut readers)
                        .map_err(|what| fail("unstaged", &what, &proposal.diff))?;
                }
                drop(held);
                if !stores.running().is_same(&running) {
                    return Err(fail("what was unstaged differs", stores.running(), &running));
                }
                let mut replayed = running.duplicate();
                replayed.strip_defaults();
                let replayed = Diff::parse(schema, &proposal.diff.print_xml())
                    .and_then(|record| record.apply_to_written(&mut replayed))
                    .map(|()| written(&replayed));
                if replayed.as_ref().ok() != Some(&written(&next)) {
                    return Err(fail("the record leads elsewhere", &replayed, &written(&next)));
                }
                let mut undone = next.duplicate();
                undone.strip_defaults();
                let undone = Diff::parse(schema, &proposal.diff.print_xml())
                    .and_then(|record| record.reverse().apply_to_written(&mut undone))
                    .map(|()| written(&undone));
                if undone.as_ref().ok() != Some(&written(&running)) {
                    return Err(fail("the record does not lead back", &undone, &written(&running)));
                }
                match (proposal.is_empty(), proposal.is_partial()) {
                    (true, _) => {}
                    (false, true) => tally.partial += 1,
                    (false, false) => tally.whole += 1,
                }
                stores.accept(&proposal);
                if readers.one_in(2) {
                    compare_kept(stores.running(), &segments, &mut readers)
                        .map_err(|what| fail("committed", &what, &proposal.diff))?;
                }
                running = next;
                candidate = running.duplicate();
                if !stores.running().is_same(&running) {
                    return Err(fail("running differs", stores.running(), &running));
                }
                let mut recovered = Tree::parse_stored(schema, written(&running).as_bytes()).unwrap();
                let valid = recovered.validate_config().map_err(|all| errors(&all));
                if valid.is_err() || written(&recovered) != written(&running) {
                    return Err(fail("a restart ends elsewhere", &(valid, recovered), &running));
                }
            }
            (Err(fast), Err(full)) => {
                tally.refused += 1;
                if errors(&fast) != full {
                    return Err(fail("the errors differ", &errors(&fast), &full));
                }
                if dice.one_in(2) {
                    stores.discard(id);
                    candidate = running.duplicate();
                }
            }
            (fast, full) => return Err(fail("the verdicts differ", &fast.map(|proposal| proposal.diff), &full)),
        }
    }
    Ok(())
}

#[test]
fn the_fast_path_is_taken_and_comes_out_as_the_full_one() {
    let mut tally = Tally::default();
    for seed in 0..400 {
        let world = if seed % 3 == 0 { World::Wide } else { World::Plain };
        play(seed, world, 20, &mut tally).unwrap_or_else(|difference| panic!("{difference}"));
    }
    assert!(tally.partial > 150 && tally.whole > 150 && tally.refused > 50, "{tally:?}");
}

#[test]
fn entries_that_are_named_by_key_and_unique_values_come_out_as_in_the_whole() {
    let mut tally = Tally::default();
    for seed in 0..300 {
        play(seed, World::Keyed, 20, &mut tally).unwrap_or_else(|difference| panic!("{difference}"));
    }
    assert!(tally.partial > 25 && tally.whole > 25 && tally.refused > 50, "{tally:?}");
}

/// Edits to and fro, after which libyang's own marks of a `when` that was true differ from one path to the other.
#[test]
fn the_marks_that_edits_left_behind_decide_nothing() {
    for (what, seed) in [
        ("defaults after a restart, one", 961_601_713_396_437_004),
        ("defaults after a restart, two", 722_060_430_423_641_405),
        ("a default in a unique that is not there", 16_697_315_409_235_035_606),
        (
            "a commit taken back, whose last thing in a container goes before the old one is there again",
            770_597_441_011_021_864,
        ),
        ("a default that came while its when was true, then was written", 17_256_298_952_338_088_002),
        ("a default whose when counts entries, of which a fragment has few", 14_642_204_990_113_524_105),
        ("a container that goes while a node in it waits for its own when", 12_672_428_833_401_317_915),
    ] {
        play(seed, World::Plain, 25, &mut Tally::default()).unwrap_or_else(|difference| panic!("{what}: {difference}"));
    }
}

/// The same modules each time, unless `PROPTEST_RNG_SEED` says others: a hunt for seeds is a command, not a dice that a build
/// throws.
fn config() -> ProptestConfig {
    let config = ProptestConfig { cases: 60, ..ProptestConfig::default() };
    match config.rng_seed {
        RngSeed::Random => ProptestConfig { rng_seed: RngSeed::Fixed(6241), ..config },
        RngSeed::Fixed(_) => config,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn fast_and_full_agree_on_any_module_and_any_edits(
        seed: u64,
        world in prop_oneof![Just(World::Plain), Just(World::Wide), Just(World::Keyed)],
    ) {
        let outcome = play(seed, world, 25, &mut Tally::default());
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
