//! The commits that are kept: which there are, how they are named, how they are undone.
//!
//! ```text
//!  dropped | 1000000007 | 1000000008 | ... | newest        running = all of them, one after the other
//! ```
//! Kept commits follow each other without a gap, so running as it was after any of them is reached by undoing the later
//! ones. What a commit costs does not depend on how many are kept. Pure: records are read by whoever asks.
//!
//! Must not know: files, clocks, who may see what.

use std::collections::{BTreeMap, VecDeque};

use super::shells::is_mere_container;
use super::{CandidateId, Datastores, Side};
use crate::northbound::provider::{Change, Edit};
use crate::northbound::{Kind, Refusal};
use crate::store::commits::CommitMeta;
use crate::yang::diff::Diff;
use crate::yang::tree::{Node, Tree};

/// As in `procyon-history`.
pub const LABEL_BYTES_MAX: usize = 30;
/// As in `procyon-history`; characters, not bytes.
pub const COMMENT_CHARACTERS_MAX: usize = 1024;

/// How much is kept. The newest commit always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub commits: usize,
    /// Of the changes, as they are recorded.
    pub bytes: u64,
}

/// One commit that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: u64,
    pub bytes: u64,
    pub meta: CommitMeta,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryRefused {
    #[error("there is no commit `{name}` in the history{}", kept(*.range))]
    NoSuchCommit { name: String, range: Option<(u64, u64)> },
    #[error("{asked} commits are meant, {kept} are kept")]
    FewerCommits { asked: usize, kept: usize },
    #[error("commit {id} has the label `{label}` already")]
    LabelTaken { label: String, id: u64 },
    #[error("`{label}` cannot be a label: letters, digits, `_` and `-`, a letter first, at most {LABEL_BYTES_MAX}")]
    BadLabel { label: String },
    #[error("a comment has 1 to {COMMENT_CHARACTERS_MAX} characters")]
    BadComment,
}

impl From<HistoryRefused> for Refusal {
    fn from(refused: HistoryRefused) -> Self {
        let refusal = Refusal::new(Kind::InvalidValue, refused.to_string());
        match refused {
            HistoryRefused::NoSuchCommit { .. } | HistoryRefused::FewerCommits { .. } => {
                refusal.mend("/config-manager/global/config-commit/commits lists them")
            }
            HistoryRefused::LabelTaken { .. } => refusal.mend("choose another label"),
            HistoryRefused::BadLabel { .. } | HistoryRefused::BadComment => refusal,
        }
    }
}

#[derive(Debug)]
pub struct History {
    /// Oldest first, ids without a gap.
    entries: VecDeque<Entry>,
    labels: BTreeMap<String, u64>,
    bytes: u64,
    limits: Limits,
}

impl History {
    /// `entries` as they were found on disk, newest first; those behind a gap are not part of it.
    pub fn new(limits: Limits, newest_first: impl IntoIterator<Item = Entry>) -> Self {
        let mut history = Self { entries: VecDeque::new(), labels: BTreeMap::new(), bytes: 0, limits };
        for entry in newest_first {
            if history.entries.front().is_some_and(|next| entry.id + 1 != next.id) {
                break;
            }
            history.note(&entry);
            history.entries.push_front(entry);
        }
        history
    }

    pub fn push(&mut self, entry: Entry) {
        self.note(&entry);
        self.entries.push_back(entry);
    }

    fn note(&mut self, entry: &Entry) {
        self.bytes += entry.bytes;
        if let Some(label) = &entry.meta.label {
            self.labels.insert(label.clone(), entry.id);
        }
    }

    /// There is more than the limits allow.
    pub fn has_surplus(&self) -> bool {
        self.entries.len() > 1 && (self.entries.len() > self.limits.commits || self.bytes > self.limits.bytes)
    }

    /// Forgets what is too much, oldest first, and says what may be removed. Commits after `needed_after` stay: somebody
    /// recovers from them, or may still undo them.
    pub fn drop_surplus(&mut self, needed_after: u64) -> Vec<u64> {
        let mut dropped = Vec::new();
        while self.has_surplus() && self.entries.front().is_some_and(|oldest| oldest.id <= needed_after) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes;
            if let Some(label) = &oldest.meta.label {
                self.labels.remove(label);
            }
            dropped.push(oldest.id);
        }
        dropped
    }

    pub fn newest_first(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev()
    }

    /// The commit of that id or label.
    pub fn find(&self, name: &str) -> Result<u64, HistoryRefused> {
        let id = self.labels.get(name).copied().or_else(|| name.parse().ok());
        let range = self.entries.front().zip(self.entries.back()).map(|(oldest, newest)| (oldest.id, newest.id));
        id.filter(|id| range.is_some_and(|(oldest, newest)| (oldest..=newest).contains(id)))
            .ok_or_else(|| HistoryRefused::NoSuchCommit { name: name.to_owned(), range })
    }

    /// The ids of the newest `count`, newest first.
    pub fn last(&self, count: usize) -> Result<Vec<u64>, HistoryRefused> {
        let kept = self.entries.len();
        if count > kept {
            return Err(HistoryRefused::FewerCommits { asked: count, kept });
        }
        Ok(self.newest_first().take(count).map(|entry| entry.id).collect())
    }

    /// The ids of all commits after `id`, newest first.
    pub fn after(&self, id: u64) -> Vec<u64> {
        self.newest_first().map(|entry| entry.id).take_while(|kept| *kept > id).collect()
    }

    /// May a new commit be called and described so?
    pub fn may_be_noted(&self, label: Option<&str>, comment: Option<&str>) -> Result<(), HistoryRefused> {
        if let Some(label) = label {
            let is_sound = label.len() <= LABEL_BYTES_MAX
                && label.starts_with(|first: char| first.is_ascii_alphabetic())
                && label.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'));
            if !is_sound {
                return Err(HistoryRefused::BadLabel { label: label.to_owned() });
            }
            if let Some(id) = self.labels.get(label) {
                return Err(HistoryRefused::LabelTaken { label: label.to_owned(), id: *id });
            }
        }
        match comment.map(|comment| comment.chars().count()) {
            Some(0) => Err(HistoryRefused::BadComment),
            Some(count) if count > COMMENT_CHARACTERS_MAX => Err(HistoryRefused::BadComment),
            Some(_) | None => Ok(()),
        }
    }
}

/// The tree without the changes of these records, the newest given first.
pub fn undone(tree: &Tree, newest_first: impl IntoIterator<Item = Result<Vec<u8>, Refusal>>) -> Result<Tree, Refusal> {
    let mut next = tree.duplicate();
    next.strip_defaults();
    for record in newest_first {
        Diff::parse(tree.schema(), &record?)?.reverse().apply_to_written(&mut next)?;
    }
    next.add_defaults();
    Ok(next)
}

/// What is undone of one commit that others followed.
#[derive(Debug)]
pub struct Undone {
    pub next: Tree,
    /// What stays because a later commit touched it, too.
    pub left: Vec<Refusal>,
}

/// Running without the change from `before` to `after`, which later ones followed. Where they touched the same nodes
/// `winner` says who wins: the candidate is the way back, running the later ones. Without a winner those are refused by name.
pub fn without(before: Tree, mut after: Tree, running: &Tree, winner: Option<Side>) -> Result<Undone, Vec<Refusal>> {
    after.validate_config()?;
    // The same as somebody who goes back from `after` to `before` while running moves under him.
    let mut trial = Datastores::new(running.schema(), after);
    trial.replace_candidate(CandidateId::Shared, before);
    let moved = trial.propose_tree(running.duplicate(), None)?;
    trial.accept(&moved);
    let conflicts = trial.conflicts(CandidateId::Shared);
    let told = |paths: Vec<String>| paths.into_iter().map(later_changed).collect::<Vec<_>>();
    if winner.is_none() && !conflicts.is_empty() {
        return Err(told(conflicts));
    }
    if trial.update(CandidateId::Shared, winner).is_err() {
        // How both sides order a list cannot be put together, whoever wins.
        return Err(told(trial.conflicts(CandidateId::Shared)));
    }
    let left = if winner == Some(Side::Running) { told(conflicts) } else { Vec::new() };
    Ok(Undone { next: trial.candidate(CandidateId::Shared).duplicate(), left })
}

fn later_changed(path: String) -> Refusal {
    Refusal::new(Kind::OperationFailed, format!("{path} was changed by a later commit, too")).at(path).mend(
        "roll back to this commit, which undoes the later ones with it; `force` overrides what they did to these nodes",
    )
}

/// One node that differs, with the value that it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub change: Change,
    pub old_value: Option<String>,
}

/// What turns `before` into `after`, as far as `is_visible` tells of it; the flag says whether to look in `after`.
pub fn differences(before: &Tree, after: &Tree, is_visible: impl Fn(&str, bool) -> bool) -> Vec<Difference> {
    let mut found = Vec::new();
    for change in Diff::between(before, after).into_changes() {
        let is_mere = |tree: &Tree| tree.find(&change.path).is_some_and(is_mere_container);
        match change.edit {
            Edit::Delete => found.extend(before.find(&change.path).into_iter().flat_map(gone)),
            Edit::Create { .. } if is_mere(after) => {}
            Edit::Create { .. } | Edit::Move => found.push(Difference { change, old_value: None }),
            Edit::Modify { .. } => {
                let old_value = before.find(&change.path).and_then(|node| node.value().map(str::to_owned));
                found.push(Difference { change, old_value });
            }
        }
    }
    found.retain(|it| is_visible(&it.change.path, it.change.edit != Edit::Delete));
    found
}

/// What was deleted with `node`: itself, or what it held when it only held others.
fn gone(node: Node<'_>) -> Vec<Difference> {
    if node.is_default() {
        Vec::new()
    } else if is_mere_container(node) {
        node.children().flat_map(gone).collect()
    } else {
        let change = Change { path: node.path(), edit: Edit::Delete };
        vec![Difference { change, old_value: node.value().map(str::to_owned) }]
    }
}

fn kept(range: Option<(u64, u64)>) -> String {
    range.map(|(oldest, newest)| format!(", which has {oldest} to {newest}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yang::testing::schema;

    fn entry(id: u64, bytes: u64, label: Option<&str>) -> Entry {
        let meta = CommitMeta { label: label.map(str::to_owned), ..CommitMeta::default() };
        Entry { id, bytes, meta }
    }

    fn history(commits: usize, bytes: u64) -> History {
        let limits = Limits { commits, bytes };
        History::new(
            limits,
            [entry(13, 10, Some("new")), entry(12, 10, None), entry(11, 10, Some("old")), entry(9, 1, None)],
        )
    }

    #[test]
    fn what_is_too_much_goes_oldest_first_unless_it_is_needed() {
        let mut kept = history(2, 1000);
        assert_eq!(kept.drop_surplus(10), Vec::<u64>::new());
        assert_eq!(kept.drop_surplus(20), [11]);
        assert!(kept.find("old").is_err() && kept.find("11").is_err());
        kept.push(entry(14, 2000, None));
        // Too many bytes whatever is dropped: the newest stays.
        assert_eq!(kept.drop_surplus(20), [12, 13]);
        assert_eq!(kept.newest_first().map(|entry| entry.id).collect::<Vec<_>>(), [14]);
        assert!(kept.may_be_noted(Some("new"), None).is_ok());
    }

    #[test]
    fn commits_are_found_by_id_and_label_and_none_behind_a_gap() {
        let kept = history(10, 1000);
        assert_eq!(kept.find("new"), Ok(13));
        assert_eq!(kept.find("11"), Ok(11));
        assert!(kept.find("10").unwrap_err().to_string().contains("11 to 13"));
        assert!(kept.find("9").is_err() && kept.find("14").is_err() && kept.find("").is_err());
        assert_eq!(kept.last(2), Ok(vec![13, 12]));
        assert!(kept.last(4).is_err());
        assert_eq!(kept.after(11), [13, 12]);
    }

    #[test]
    fn a_label_is_a_word_of_its_own() {
        let kept = history(10, 1000);
        assert!(matches!(kept.may_be_noted(Some("new"), None), Err(HistoryRefused::LabelTaken { id: 13, .. })));
        for bad in ["", "1000000001", "two words", "é", &"x".repeat(31)] {
            assert!(matches!(kept.may_be_noted(Some(bad), None), Err(HistoryRefused::BadLabel { .. })), "{bad}");
        }
        assert!(kept.may_be_noted(Some("before-upgrade_2"), Some("ü")).is_ok());
        assert_eq!(kept.may_be_noted(None, Some("")), Err(HistoryRefused::BadComment));
        assert_eq!(kept.may_be_noted(None, Some(&"x".repeat(1025))), Err(HistoryRefused::BadComment));
    }

    fn tree(inside: &str) -> Tree {
        let text = format!("<top xmlns='urn:sample'>{inside}</top>");
        let mut tree = Tree::parse_config(schema(), text.as_bytes()).unwrap();
        tree.validate_config().unwrap();
        tree
    }

    fn record(before: &Tree, after: &Tree) -> Result<Vec<u8>, Refusal> {
        Ok(Diff::between(before, after).print_xml().to_vec())
    }

    #[test]
    fn commits_are_undone_one_after_the_other() {
        let states = [
            tree("<name>a</name>"),
            tree("<name>b</name><mtu>80</mtu><item><name>x</name></item>"),
            tree("<mtu>1500</mtu><item><name>x</name><port>1</port></item><rule><id>1</id></rule>"),
        ];
        let records = [record(&states[1], &states[2]), record(&states[0], &states[1])];
        let back = undone(&states[2], records).unwrap();
        assert!(back.is_same(&states[0]), "{back:?}");
        assert!(undone(&states[2], [record(&states[0], &states[1])]).is_err());
    }

    #[test]
    fn one_commit_is_undone_below_later_ones_unless_they_touched_the_same() {
        let before = tree("<name>a</name>");
        let after = tree("<name>b</name><item><name>x</name></item>");
        let running = tree("<name>b</name><item><name>x</name></item><mtu>80</mtu>");
        let undone = |running: &Tree, winner| without(before.duplicate(), after.duplicate(), running, winner);
        let next = undone(&running, None).unwrap().next;
        assert!(next.is_same(&tree("<name>a</name><mtu>80</mtu>")), "{next:?}");

        let running = tree("<name>c</name><item><name>x</name><port>1</port></item><mtu>80</mtu>");
        let paths = |refusals: &[Refusal]| -> Vec<String> {
            refusals.iter().filter_map(|refusal| refusal.path.clone()).collect()
        };
        let both = ["/sample:top/item[name='x']/port", "/sample:top/name"];
        assert_eq!(paths(&undone(&running, None).unwrap_err()), both);
        let Undone { next, left } = undone(&running, Some(Side::Running)).unwrap();
        assert_eq!(paths(&left), both);
        assert!(next.is_same(&running), "{next:?}");
        let Undone { next, left } = undone(&running, Some(Side::Candidate)).unwrap();
        assert!(left.is_empty() && next.is_same(&tree("<name>a</name><mtu>80</mtu>")), "{left:?} {next:?}");
    }

    #[test]
    fn what_no_later_commit_touched_is_undone_beside_what_one_did() {
        let (before, after) = (tree("<name>a</name><mtu>80</mtu>"), tree("<name>b</name><mtu>1500</mtu>"));
        let running = tree("<name>c</name><mtu>1500</mtu>");
        let Undone { next, left } = without(before, after, &running, Some(Side::Running)).unwrap();
        assert!(next.is_same(&tree("<name>c</name><mtu>80</mtu>")), "{next:?}");
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn what_later_commits_put_into_the_same_container_stays() {
        let before = tree("");
        let after = tree("<inner><a>1</a></inner>");
        let running = tree("<inner><a>1</a><b>2</b></inner>");
        let next = without(before.duplicate(), after.duplicate(), &running, None).unwrap().next;
        assert!(next.is_same(&tree("<inner><b>2</b></inner>")), "{next:?}");
        let mut next = without(before.duplicate(), after.duplicate(), &after, None).unwrap().next;
        next.validate_config().unwrap();
        assert!(next.is_same(&before), "{next:?}");
        assert!(Diff::between(&before, &next).is_empty());
    }

    #[test]
    fn differences_tell_old_and_new_and_hide_what_is_not_to_be_seen() {
        let before = tree("<name>a</name><mtu>80</mtu><inner><a>1</a></inner><item><name>x</name></item>");
        let after = tree("<name>b</name><item><name>y</name></item>");
        let brief = |hidden: &str| -> Vec<String> {
            differences(&before, &after, |path, _| !path.contains(hidden))
                .into_iter()
                .map(|it| format!("{} {:?} {:?}", it.change.path, it.change.edit, it.old_value))
                .collect()
        };
        insta::assert_snapshot!(brief("nothing").join("\n"), @r#"
        /sample:top/name Modify { value: "b" } Some("a")
        /sample:top/mtu Delete Some("80")
        /sample:top/inner/a Delete Some("1")
        /sample:top/item[name='x'] Delete None
        /sample:top/item[name='y'] Create { value: None } None
        /sample:top/item[name='y']/name Create { value: Some("y") } None
        "#);
        assert_eq!(brief("item").len(), 3);
    }
}
