//! Taking away what is left of records that are gone.

use super::models::{TASK, task, text_id};
use super::suite::{ME, PEER, Suite, at, brought_tombstone, write};
use sync_runtime::change::ChangeKind;
use sync_runtime::record::Id;
use sync_runtime::store::Feed;
use sync_runtime::version::Position;

fn ids(ids: &[&str]) -> Vec<Id> {
    ids.iter().map(|id| text_id(id)).collect()
}

async fn erase(suite: &Suite, gone: &[&str]) {
    let gone = ids(gone);
    suite.write(move |t| Box::pin(async move { t.erase(&TASK, &gone).await })).await;
}

async fn left(suite: &Suite) -> Vec<String> {
    suite.feed_ids(Feed::after(0)).await
}

pub(super) async fn what_is_gone_leaves_no_trace(suite: &mut Suite) {
    suite.keep(Some(Position::MAX)).await;
    suite.tasks(0, &["a", "b", "c"]).await;
    suite.track(1, &TASK, task("a", "second")).await;
    suite.remove(2, &TASK, &text_id("a")).await;
    suite.put_one(brought_tombstone(&TASK, &text_id("d"), at(3, PEER))).await;
    assert!(!suite.task_bases("a").await.is_empty());
    erase(suite, &["a", "d"]).await;
    assert_eq!(left(suite).await, ["b", "c"]);
    assert_eq!(suite.changes(&TASK, &ids(&["a", "d"])).await.into_iter().flatten().count(), 0);
    assert!(suite.states(&TASK, &ids(&["a"])).await[0].is_none());
    assert!(suite.task_bases("a").await.is_empty());
    assert!(suite.bases_between(Position::MIN, Position::MAX).await.is_empty());
}

pub(super) async fn what_is_there_stays(suite: &mut Suite) {
    suite.tasks(0, &["a", "b"]).await;
    erase(suite, &["a", "never"]).await;
    erase(suite, &[]).await;
    assert_eq!(left(suite).await, ["a", "b"]);
    assert!(suite.task("a").await.is_some());
}

pub(super) async fn no_position_is_given_out_twice(suite: &mut Suite) {
    suite.tasks(0, &["a", "b", "c"]).await;
    for id in ["c", "b"] {
        suite.remove(1, &TASK, &text_id(id)).await;
    }
    let newest = suite.newest().await;
    erase(suite, &["b", "c"]).await;
    assert_eq!(suite.newest().await, newest);
    suite.tasks(2, &["d"]).await;
    assert_eq!(suite.newest().await, newest + 1);
    suite.remove(3, &TASK, &text_id("d")).await;
    erase(suite, &["d"]).await;
    assert_eq!(suite.newest().await, newest + 2);
    assert_eq!(left(suite).await, ["a"]);
    // Made, deleted and erased in one transaction, as a record that leaves is.
    let gone = brought_tombstone(&TASK, &text_id("e"), at(4, PEER));
    suite
        .write(move |t| {
            Box::pin(async move {
                t.put(&[gone], super::suite::NOW).await?;
                t.erase(&TASK, &[text_id("e")]).await
            })
        })
        .await;
    assert!(suite.newest().await >= newest + 2);
    suite.tasks(5, &["f"]).await;
    assert!(suite.newest().await > newest + 2);
    assert_eq!(left(suite).await, ["a", "f"]);
    suite.remove(6, &TASK, &text_id("f")).await;
    erase(suite, &["f"]).await;
    let newest = suite.newest().await;
    if suite.reopen().await {
        assert_eq!(suite.newest().await, newest);
        suite.tasks(7, &["g"]).await;
        assert_eq!(suite.newest().await, newest + 1);
    }
}

pub(super) async fn what_was_erased_can_be_made_anew(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.remove(1, &TASK, &text_id("a")).await;
    erase(suite, &["a"]).await;
    suite.save(2, vec![write(&TASK, task("a", "anew"))]).await;
    let change = suite.task_change("a").await;
    assert_eq!((change.kind, change.previous), (ChangeKind::Create, None));
    assert_eq!(change.ancestry.current, at(2, ME));
    suite.remove(3, &TASK, &text_id("a")).await;
    assert_eq!(suite.task_change("a").await.kind, ChangeKind::Delete);
}

pub(super) async fn erasing_rolls_back(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.remove(1, &TASK, &text_id("a")).await;
    let before = suite.everything().await;
    let failed = suite
        .run(sync_runtime::store::Access::WRITE, |t| {
            Box::pin(async move {
                t.erase(&TASK, &[text_id("a")]).await?;
                Err::<(), _>(sync_runtime::Error::new(sync_runtime::ErrorKind::Usage, "on purpose"))
            })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(suite.everything().await, before);
}
