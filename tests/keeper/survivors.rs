//! Keeper and custodian are both lost: nobody holds what their programs print into any more.

use procyon::container::spec::Survivors;

use super::*;

#[tokio::test]
async fn what_outlives_keeper_and_custodian_is_ended_or_adopted_as_configured() {
    let mut bench = Bench::with("--custodian").await;
    let mut adopted = bench.shell("adopted", "exec sleep 300");
    adopted.survivors = Survivors::Adopt;
    let ended = bench.shell("ended", "trap '' PIPE; trap 'echo > asked; exit 0' TERM; while :; do sleep 0.02; done");
    let forgotten = bench.shell("forgotten", "exec sleep 300");
    let kept = bench.run(adopted.clone()).await.pid.unwrap();
    let old = bench.run(ended.clone()).await.pid.unwrap();
    let left = bench.run(forgotten).await.pid.unwrap();
    let keeper = bench.keeper_pid();
    kill(i32::try_from(bench.process.id()).unwrap());
    kill(keeper);
    bench.process.wait().unwrap();
    bench.until(|event| matches!(event, KeeperEvent::Lost).then_some(())).await;

    bench.process = begin(bench.root.path(), "--keeper");
    assert_eq!(bench.until_connected().await.len(), 0, "nothing is held before somebody defines it");
    let state = bench.run(adopted).await;
    assert_eq!((state.pid, state.console_lost), (Some(kept), true));
    assert!(is_alive(old));
    let state = bench.run(ended).await;
    assert!(state.pid != Some(old) && !state.console_lost && !is_alive(old), "{state:?}");
    assert!(bench.path("work/asked").exists(), "it had its stop signal first");
    kill(kept);
    let state =
        bench.until_state(&named("adopted"), |state| state.phase == Phase::Running && !state.console_lost).await;
    assert!(state.pid.is_some_and(|pid| pid != kept), "and its policy holds");

    bench.keeper.shutdown(Duration::from_secs(5)).await.unwrap();
    assert!(!is_alive(left), "what nobody wants any more ends with the house");
}
