//! The commit store, whatever the disk does.

use super::super::disk::simulated::Simulated;
use super::*;

fn open(disk: &Arc<Simulated>) -> Result<(CommitStore, Recovered), StoreError> {
    let limits = Limits { commits_between_snapshots: 3, ..Limits::default() };
    CommitStore::open(Arc::clone(disk) as Arc<dyn Disk>, PathBuf::from("/config"), limits)
}

fn diffs(recovered: &Recovered) -> Vec<String> {
    let snapshot = recovered.snapshot.iter().map(|(_, bytes)| bytes.clone());
    let commits = recovered.commits.iter().map(|record| record.diff.clone());
    snapshot.chain(commits).map(|bytes| String::from_utf8(bytes).unwrap()).collect()
}

#[test]
fn what_was_appended_is_recovered_with_the_snapshot_in_front() {
    let disk = Arc::new(Simulated::default());
    let (mut store, recovered) = open(&disk).unwrap();
    assert_eq!(recovered, Recovered::default());
    for text in ["a", "b", "c"] {
        store.append(CommitMeta::default(), text.as_bytes()).unwrap();
    }
    assert!(store.wants_snapshot());
    store.snapshot(FIRST_COMMIT_ID + 2, b"abc").unwrap();
    assert!(!store.wants_snapshot());
    assert_eq!(store.append(CommitMeta::default(), b"d").unwrap(), FIRST_COMMIT_ID + 3);
    let (store, recovered) = open(&disk).unwrap();
    assert_eq!(diffs(&recovered), ["abc", "d"]);
    assert_eq!(store.ids().unwrap().len(), 4);
    assert_eq!(store.read(FIRST_COMMIT_ID).unwrap().diff, b"a");
}

#[test]
fn commits_before_the_oldest_snapshot_may_go() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    assert_eq!(store.needed_after().unwrap(), FIRST_COMMIT_ID - 1);
    for id in FIRST_COMMIT_ID..FIRST_COMMIT_ID + 9 {
        store.append(CommitMeta::default(), b"x").unwrap();
        if store.wants_snapshot() {
            store.snapshot(id, b"s").unwrap();
        }
    }
    // Of three snapshots two are kept.
    assert_eq!(store.needed_after().unwrap(), FIRST_COMMIT_ID + 5);
    for id in FIRST_COMMIT_ID..=store.needed_after().unwrap() {
        store.forget(id).unwrap();
    }
    // The newest snapshot may turn out to be damaged.
    disk.write(&PathBuf::from(format!("/config/snapshot-{}", FIRST_COMMIT_ID + 8)), b"?").unwrap();
    let (store, recovered) = open(&disk).unwrap();
    assert_eq!(diffs(&recovered), ["s", "x", "x", "x"]);
    assert_eq!(store.last_id(), FIRST_COMMIT_ID + 8);
}

/// What a store was told and answered until the power went.
struct Life {
    acknowledged: u64,
    /// As many were recorded together when the power went.
    in_flight: u64,
    steps: usize,
}

fn text(index: u64) -> Vec<u8> {
    format!("<c>{index}</c>").repeat(1 + usize::try_from(index % 5).unwrap()).into_bytes()
}

/// Commits of several sizes, alone and in groups, with snapshots in between, on a disk that loses power after so many steps.
fn live(disk: &Arc<Simulated>, groups: &[u64]) -> Life {
    let mut acknowledged = 0;
    let mut in_flight = 0;
    if let Ok((mut store, _)) = open(disk) {
        for size in groups {
            in_flight = *size;
            let together = (acknowledged..acknowledged + size).map(|index| (CommitMeta::default(), text(index)));
            match store.append_together(together.collect()) {
                Ok(first) => assert_eq!(first, FIRST_COMMIT_ID + acknowledged),
                Err(_) => break,
            }
            acknowledged += size;
            in_flight = 0;
            if store.wants_snapshot() {
                let _ = store.snapshot(store.last_id(), format!("upto{}", acknowledged - 1).as_bytes());
            }
        }
    }
    Life { acknowledged, in_flight, steps: disk.steps_taken() }
}

/// Opens what the power left: every acknowledged commit is there, and of those that were being recorded all or none.
fn check(after: Simulated, life: &Life, what: &dyn Fn() -> String) -> (Arc<Simulated>, u64) {
    let after = Arc::new(after);
    let (store, recovered) = open(&after).unwrap_or_else(|error| panic!("{}: {error}", what()));
    let found = store.last_id() + 1 - FIRST_COMMIT_ID;
    let Life { acknowledged, in_flight, .. } = *life;
    assert_eq!(recovered.lost, Vec::<PathBuf>::new(), "{}", what());
    assert!(found == acknowledged || found == acknowledged + in_flight, "{}: {found} of {acknowledged}", what());
    let snapshot = recovered.snapshot.as_ref().map_or(0, |(id, _)| id + 1 - FIRST_COMMIT_ID);
    if let Some((_, payload)) = &recovered.snapshot {
        assert_eq!(*payload, format!("upto{}", snapshot - 1).as_bytes(), "{}", what());
    }
    assert_eq!(snapshot + recovered.commits.len() as u64, found, "{}", what());
    for (record, index) in recovered.commits.iter().zip(snapshot..) {
        assert_eq!(record.diff, text(index), "{}", what());
    }
    (after, found)
}

#[test]
fn after_a_power_cut_anywhere_every_acknowledged_commit_is_there_and_groups_are_whole() {
    const CUT_POINTS: usize = 100_000;
    const GROUPS: &[u64] = &[1, 3, 1, 1, 2, 1];
    let whole = Arc::new(Simulated::default());
    let steps_max = live(&whole, GROUPS).steps;
    let mut cuts = 0;
    let mut seed = 0;
    while cuts < CUT_POINTS {
        // Each step once for each seed; the seed says which of the unforced bytes and names outlive the cut.
        for steps in 0..=steps_max {
            let disk = Arc::new(Simulated::default());
            disk.lose_power_after(steps);
            let life = live(&disk, GROUPS);
            for turn in 0..24 {
                let seed = seed * 24 + turn;
                let what = || format!("steps {steps} seed {seed}");
                let (after, found) = check(disk.after_power_cut(seed), &life, &what);
                cuts += 1;
                if turn == 0 {
                    // Recovery itself may be cut off, and goes on where it was.
                    let again = Arc::new(after.after_power_cut(seed));
                    again.lose_power_after(usize::try_from(seed).unwrap() % 8);
                    let _ = open(&again);
                    let settled = Life { acknowledged: found, in_flight: 0, steps: 0 };
                    let (_, still) = check(again.after_power_cut(seed + 1), &settled, &what);
                    assert_eq!(still, found, "{}", what());
                    cuts += 1;
                }
            }
        }
        seed += 1;
    }
}

#[test]
fn commits_go_on_while_a_snapshot_is_taken() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    for text in ["a", "b", "c"] {
        store.append(CommitMeta::default(), text.as_bytes()).unwrap();
    }
    let work = store.begin_snapshot();
    assert!(!store.wants_snapshot(), "one at a time");
    store.append(CommitMeta::default(), b"d").unwrap();
    let (before, records) = work.parts().unwrap();
    let all: Vec<u8> = records.into_iter().flat_map(|record| record.diff).collect();
    assert_eq!((before, all.as_slice()), (None, &b"abc"[..]));
    let outcome = work.write(&all);
    store.snapshot_taken(outcome).unwrap();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(diffs(&recovered), ["abc", "d"]);
}

#[test]
fn a_failed_force_refuses_the_commit_and_leaves_no_trace() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    store.append(CommitMeta::default(), b"good").unwrap();
    disk.fail_syncs(true);
    assert!(matches!(store.append(CommitMeta::default(), b"bad"), Err(StoreError::Disk { .. })));
    disk.fail_syncs(false);
    let id = store.append(CommitMeta::default(), b"next").unwrap();
    assert_eq!(id, FIRST_COMMIT_ID + 1);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(diffs(&recovered), ["good", "next"]);
}

#[test]
fn a_full_disk_refuses_the_commit_and_the_old_ones_stay() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    store.append(CommitMeta::default(), b"good").unwrap();
    disk.fill_after(20);
    assert!(store.append(CommitMeta::default(), b"no room").is_err());
    disk.fill_after(10_000);
    store.append(CommitMeta::default(), b"room").unwrap();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(diffs(&recovered), ["good", "room"]);
}

#[test]
fn a_torn_last_commit_is_set_aside_and_a_damaged_or_missing_one_is_an_error() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    for text in ["a", "b", "c"] {
        store.append(CommitMeta::default(), text.as_bytes()).unwrap();
    }
    let path = |index: u64| PathBuf::from(format!("/config/commits/{}", FIRST_COMMIT_ID + index));
    let whole = disk.read(&path(2)).unwrap();
    disk.write(&path(2), &whole[..whole.len() - 5]).unwrap();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(diffs(&recovered), ["a", "b"]);
    assert_eq!(recovered.torn.len(), 1);

    let mut bytes = disk.read(&path(0)).unwrap();
    bytes[3] ^= 1;
    disk.write(&path(0), &bytes).unwrap();
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains("/config/commits/1000000001 is damaged"), "{error}");

    disk.remove(&path(0)).unwrap();
    assert!(matches!(open(&disk), Err(StoreError::Missing { .. })));
}

/// One byte of it is another one.
fn damage(disk: &Arc<Simulated>, path: &Path) {
    let mut bytes = disk.read(path).unwrap();
    bytes[3] ^= 1;
    disk.write(path, &bytes).unwrap();
    disk.sync_file(path).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

fn commit_files(disk: &Arc<Simulated>) -> Vec<String> {
    let mut names = disk.list(Path::new("/config/commits")).unwrap();
    names.sort();
    names
}

#[test]
fn of_a_damaged_history_the_newest_good_state_is_used_and_nothing_is_thrown_away() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    store.append(CommitMeta::default(), b"a").unwrap();
    for round in 1..=2 {
        store.append(CommitMeta::default(), b"b").unwrap();
        let together = ["c", "d"].map(|text| (CommitMeta::default(), text.as_bytes().to_vec()));
        store.append_together(together.to_vec()).unwrap();
        damage(&disk, Path::new("/config/commits/1000000002"));
        let recovered;
        (store, recovered) = open(&disk).unwrap();
        assert_eq!(diffs(&recovered), ["a"]);
        let number = if round == 1 { String::new() } else { format!("-{round}") };
        let aside = [format!("1000000002.damaged{number}"), format!("1000000003-1000000004.behind-damaged{number}")];
        assert_eq!(recovered.lost, aside.map(|name| PathBuf::from("/config/commits").join(name)));
        assert!(store.ids().unwrap() == [FIRST_COMMIT_ID] && store.last_id() == FIRST_COMMIT_ID);
    }
    // All is settled: the next start finds nothing.
    let (_, recovered) = open(&disk).unwrap();
    assert!(recovered.lost.is_empty() && commit_files(&disk).len() == 5, "{recovered:?}");
}

#[test]
fn a_power_cut_while_files_are_set_aside_leads_to_the_same_state() {
    for seed in 0..20 {
        for steps in 0..12 {
            let disk = Arc::new(Simulated::default());
            let (mut store, _) = open(&disk).unwrap();
            for text in ["a", "b", "c", "d"] {
                store.append(CommitMeta::default(), text.as_bytes()).unwrap();
            }
            damage(&disk, Path::new("/config/commits/1000000002"));
            let disk = Arc::new(disk.after_power_cut(seed));
            disk.lose_power_after(steps);
            let _ = open(&disk);
            let disk = Arc::new(disk.after_power_cut(seed + 1));
            let (store, recovered) = open(&disk).unwrap();
            assert_eq!((diffs(&recovered), store.last_id()), (vec!["a".to_owned()], FIRST_COMMIT_ID), "{seed} {steps}");
        }
    }
}

#[test]
fn behind_a_commit_that_is_missing_nothing_is_used_and_without_a_beginning_nothing_is_served() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    for text in ["a", "b", "c"] {
        store.append(CommitMeta::default(), text.as_bytes()).unwrap();
    }
    disk.remove(Path::new("/config/commits/1000000002")).unwrap();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(diffs(&recovered), ["a"]);
    assert_eq!(recovered.lost, [PathBuf::from("/config/commits/1000000003.damaged")]);
    disk.remove(Path::new("/config/commits/1000000001")).unwrap();
    disk.rename(Path::new("/config/commits/1000000003.damaged"), Path::new("/config/commits/1000000003")).unwrap();
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.starts_with("/config/commits/1000000001 is missing"), "{error}");
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_commits_and_is_set_aside() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    store.append(CommitMeta::default(), b"a").unwrap();
    store.snapshot(FIRST_COMMIT_ID, b"sum").unwrap();
    disk.write(Path::new("/config/snapshot-1000000001"), b"rubbish").unwrap();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(diffs(&recovered), ["a"]);
    assert_eq!(disk.read(Path::new("/config/snapshot-1000000001.damaged")).unwrap(), b"rubbish");
}

#[test]
fn commits_that_share_a_file_are_read_and_forgotten_by_their_ids() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    store.append(CommitMeta::default(), b"a").unwrap();
    let together = ["b", "c", "d"].map(|text| (CommitMeta::default(), text.as_bytes().to_vec()));
    assert_eq!(store.append_together(together.to_vec()).unwrap(), FIRST_COMMIT_ID + 1);
    store.append(CommitMeta::default(), b"e").unwrap();
    for store in [&store, &open(&disk).unwrap().0] {
        assert_eq!(store.ids().unwrap(), (FIRST_COMMIT_ID..FIRST_COMMIT_ID + 5).collect::<Vec<_>>());
        let found = store.ids().unwrap().into_iter().map(|id| store.read(id).unwrap().diff);
        assert_eq!(found.collect::<Vec<_>>().concat(), b"abcde");
    }
    assert!(matches!(store.read(FIRST_COMMIT_ID + 5), Err(StoreError::Missing { .. })));
    let file = PathBuf::from("/config/commits/1000000002-1000000004");
    store.snapshot(FIRST_COMMIT_ID + 2, b"abc").unwrap();
    assert_eq!(diffs(&open(&disk).unwrap().1), ["abc", "d", "e"]);
    for id in FIRST_COMMIT_ID..FIRST_COMMIT_ID + 3 {
        store.forget(id).unwrap();
    }
    assert!(disk.read(&file).is_ok());
    store.forget(FIRST_COMMIT_ID + 3).unwrap();
    assert!(disk.read(&file).is_err());
}

#[test]
fn a_failed_force_refuses_the_whole_group_and_leaves_no_trace() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    disk.fail_syncs(true);
    let together = || ["a", "b"].map(|text| (CommitMeta::default(), text.as_bytes().to_vec())).to_vec();
    assert!(matches!(store.append_together(together()), Err(StoreError::Disk { .. })));
    disk.fail_syncs(false);
    assert_eq!(store.append_together(together()).unwrap(), FIRST_COMMIT_ID);
    assert_eq!(diffs(&open(&disk).unwrap().1), ["a", "b"]);
}

#[test]
fn what_a_newer_version_wrote_is_neither_read_nor_touched() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    store.append(CommitMeta::default(), b"a").unwrap();
    let newer = record::foreign_text("procyon-commit 2");
    let path = PathBuf::from("/config/commits/1000000002");
    disk.write(&path, &newer).unwrap();
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains("1000000002 begins with `procyon-commit 2`"), "{error}");
    assert_eq!(disk.read(&path).unwrap(), newer);
    disk.remove(&path).unwrap();
    disk.write(Path::new("/config/snapshot-1000000001"), &record::foreign_text("procyon-snapshot 2")).unwrap();
    assert!(matches!(open(&disk), Err(StoreError::OtherForm { .. })));
}

#[test]
fn what_recovery_read_is_kept_beside_and_added_to() {
    let disk = Arc::new(Simulated::default());
    let (mut store, _) = open(&disk).unwrap();
    store.append(CommitMeta::default(), b"a").unwrap();
    store.snapshot(FIRST_COMMIT_ID, b"s").unwrap();
    store.append(CommitMeta::default(), b"b").unwrap();
    let there = store.keep_original().unwrap();
    assert_eq!(disk.list(&there).unwrap(), ["1000000002", "snapshot-1000000001"]);
    store.append(CommitMeta::default(), b"c").unwrap();
    assert_eq!(store.keep_original().unwrap(), there);
    for name in ["1000000002", "1000000003"] {
        let here = disk.read(&Path::new("/config/commits").join(name)).unwrap();
        assert_eq!(disk.read(&there.join(name)).unwrap(), here);
    }
    assert_eq!(open(&disk).unwrap().0.last_id(), FIRST_COMMIT_ID + 2, "they are in nobody's way");
}
