//! Tracking that was broken behind the store's back is found and made good.

use super::models::{COUNTER, TASK, counter, task, text_id, with};
use super::suite::{ME, NOW, PEER, Suite, at, brought, brought_tombstone};
use sync_runtime::change::ChangeKind;
use sync_runtime::record::{Id, Record};
use sync_runtime::store::Feed;
use sync_runtime::value::Value;
use sync_runtime::version::{Ancestry, Position};

async fn untracked(suite: &Suite, only: Option<&[&str]>, after: Option<&str>, limit: usize) -> Vec<String> {
    let only: Option<Vec<Id>> = only.map(|ids| ids.iter().copied().map(text_id).collect());
    let after = after.map(text_id);
    let ids = suite
        .look(move |t| {
            Box::pin(async move { t.untracked(&TASK, only.as_deref(), after.as_ref(), limit).await })
        })
        .await;
    ids.iter().map(Id::to_string).collect()
}

async fn retrack(suite: &Suite, after: i64, ids: &[&str]) -> Vec<bool> {
    let ids: Vec<Id> = ids.iter().copied().map(text_id).collect();
    suite.write(move |t| Box::pin(async move { t.retrack(&TASK, &ids, NOW + after).await })).await
}

/// Tasks `missing` (a record without change), `risen` (a record under a tombstone), `lost` (a live change without
/// record) and two that are well. False where nobody can break anything.
async fn break_tracking(suite: &mut Suite) -> bool {
    suite.tasks(0, &["lost", "risen", "well"]).await;
    suite.remove(1, &TASK, &text_id("risen")).await;
    suite.put_one(brought_tombstone(&TASK, &text_id("well deleted"), at(2, PEER))).await;
    let rows: [(&str, Option<Record>); 3] =
        [("missing", Some(task("missing", "x"))), ("risen", Some(task("risen", "x"))), ("lost", None)];
    for (id, record) in rows {
        if !suite.factory.write_untracked(&suite.store, &TASK, &text_id(id), record).await {
            return false;
        }
    }
    true
}

pub(super) async fn a_store_in_order_has_nothing_to_repair(suite: &mut Suite) {
    suite.tasks(0, &["a", "b"]).await;
    suite.remove(1, &TASK, &text_id("b")).await;
    suite.put_one(brought(&TASK, task("c", "x"), at(2, PEER))).await;
    let before = suite.everything().await;
    assert_eq!(untracked(suite, None, None, 10).await, [""; 0]);
    assert_eq!(untracked(suite, Some(&["a", "b", "c", "never"]), None, 10).await, [""; 0]);
    assert_eq!(retrack(suite, 3, &["a", "b", "c", "never"]).await, [false; 4]);
    assert_eq!(suite.everything().await, before);
}

pub(super) async fn what_is_not_tracked_is_found(suite: &mut Suite) {
    if !break_tracking(suite).await {
        return;
    }
    assert_eq!(untracked(suite, None, None, 10).await, ["lost", "missing", "risen"]);
    assert_eq!(untracked(suite, None, None, 2).await, ["lost", "missing"]);
    assert_eq!(untracked(suite, None, Some("missing"), 10).await, ["risen"]);
    assert_eq!(untracked(suite, None, Some("m"), 1).await, ["missing"]);
    assert_eq!(untracked(suite, None, None, 0).await, [""; 0]);
    assert_eq!(
        untracked(suite, Some(&["well", "risen", "lost", "never"]), None, 10).await,
        ["lost", "risen"]
    );
    assert_eq!(untracked(suite, Some(&["risen", "lost"]), Some("lost"), 10).await, ["risen"]);
    assert_eq!(untracked(suite, Some(&[]), None, 10).await, [""; 0]);
}

pub(super) async fn what_is_not_tracked_is_read_as_it_is(suite: &mut Suite) {
    if !break_tracking(suite).await {
        return;
    }
    assert_eq!(suite.task("missing").await, Some(task("missing", "x")));
    assert!(suite.changes(&TASK, &[text_id("missing")]).await[0].is_none());
    let states = suite.states(&TASK, &["missing", "lost", "risen"].map(text_id)).await;
    assert!(states[0].is_none(), "nothing was ever tracked");
    let lost = states[1].as_ref().expect("a change without record");
    assert!(!lost.change.is_delete() && lost.record.is_none());
    let risen = states[2].as_ref().expect("a tombstone");
    assert!(risen.change.is_delete() && risen.record.is_none());
    let feed = suite.feed(Feed { data: true, ..Feed::after(0) }).await;
    let fed: Vec<_> =
        feed.iter().map(|state| (state.change.id.to_string(), state.record.is_some())).collect();
    let expected = [("lost", false), ("well", true), ("risen", false), ("well deleted", false)];
    assert_eq!(fed, expected.map(|(id, record)| (id.to_owned(), record)));
}

pub(super) async fn a_record_without_change_is_tracked_as_created(suite: &mut Suite) {
    if !break_tracking(suite).await {
        return;
    }
    let newest = suite.newest().await;
    assert_eq!(retrack(suite, 9, &["missing", "well"]).await, [true, false]);
    let change = suite.task_change("missing").await;
    assert_eq!(
        (change.kind, change.ancestry, change.previous),
        (ChangeKind::Create, Ancestry::of(at(9, ME)), None)
    );
    assert_eq!((change.position, change.group), (newest + 1, Some(newest + 1)));
    assert_eq!(suite.task("missing").await, Some(task("missing", "x")));
}

pub(super) async fn a_record_under_a_tombstone_is_tracked_as_created_again(suite: &mut Suite) {
    if !break_tracking(suite).await {
        return;
    }
    assert_eq!(retrack(suite, 9, &["risen"]).await, [true]);
    let change = suite.task_change("risen").await;
    assert_eq!((change.kind, change.previous), (ChangeKind::Create, Some(at(1, ME))));
    assert_eq!(change.ancestry.current, at(9, ME));
}

pub(super) async fn a_record_that_is_gone_gets_a_tombstone(suite: &mut Suite) {
    if !break_tracking(suite).await {
        return;
    }
    suite.keep(Some(Position::MAX)).await;
    assert_eq!(retrack(suite, 9, &["lost"]).await, [true]);
    let change = suite.task_change("lost").await;
    assert_eq!((change.kind, change.previous), (ChangeKind::Delete, Some(at(0, ME))));
    assert!(suite.task_bases("lost").await.is_empty(), "nobody knows the state that was lost");
}

pub(super) async fn one_repair_is_enough(suite: &mut Suite) {
    if !break_tracking(suite).await {
        return;
    }
    assert_eq!(retrack(suite, 9, &["risen", "lost", "missing"]).await, [true; 3]);
    assert_eq!(untracked(suite, None, None, 10).await, [""; 0]);
    assert_eq!(retrack(suite, 10, &["risen", "lost", "missing"]).await, [false; 3]);
    let groups: Vec<_> = suite.feed(Feed::after(5)).await.iter().map(|state| state.change.group).collect();
    assert_eq!(groups.len(), 3);
    assert!(groups.iter().all(|group| group == &groups[0] && group.is_some()), "one transaction: {groups:?}");
}

pub(super) async fn a_table_with_data_in_it_can_be_adopted(suite: &mut Suite) {
    for n in 0..30 {
        let record = with(counter(n, n), 1, Value::Int(n * 2));
        if !suite.factory.write_untracked(&suite.store, &COUNTER, &Id::Int(n), Some(record)).await {
            return;
        }
    }
    let mut found = Vec::new();
    loop {
        let after = found.last().cloned();
        let page = suite
            .look(move |t| Box::pin(async move { t.untracked(&COUNTER, None, after.as_ref(), 7).await }))
            .await;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, (0..30).map(Id::Int).collect::<Vec<_>>());
    let tracked = suite.write(move |t| Box::pin(async move { t.retrack(&COUNTER, &found, NOW).await })).await;
    assert_eq!(tracked, [true; 30]);
    assert_eq!(suite.feed(Feed::after(0)).await.len(), 30);
}
