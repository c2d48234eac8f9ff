//! What the change of a tracked write says: kind, revision, ancestry, previous revision, position, group.

use super::models::{COUNTER, EVERYTHING, TASK, counter, everything, task, text_id, with};
use super::suite::{
    ME, NOW, OTHER, PEER, Suite, altered, at, brought, brought_tombstone, delete, on_purpose, write,
};
use serde_json::json;
use sync_runtime::Result;
use sync_runtime::change::ChangeKind;
use sync_runtime::record::{Id, Unknown};
use sync_runtime::store::{Access, Feed, Saved};
use sync_runtime::value::Value;
use sync_runtime::version::{Ancestry, Relation, ReplicaId, compare};
use uuid::Uuid;

pub(super) async fn the_first_write_is_a_create_without_past(suite: &mut Suite) {
    suite.tasks(7, &["a"]).await;
    let change = suite.task_change("a").await;
    assert_eq!(change.kind, ChangeKind::Create);
    assert_eq!(change.ancestry, Ancestry::of(at(7, ME)));
    assert_eq!((change.previous, change.merged, change.origin), (None, None, None));
    assert_eq!((change.position, change.group), (1, Some(1)));
    assert!(change.unknown.is_empty());
}

pub(super) async fn an_update_descends_from_what_it_replaces(suite: &mut Suite) {
    suite.tasks(1, &["a"]).await;
    let before = suite.task_change("a").await;
    suite.track(9, &TASK, task("a", "second")).await;
    let change = suite.task_change("a").await;
    assert_eq!(change.kind, ChangeKind::Update);
    assert_eq!(change.ancestry.current, at(9, ME));
    assert_eq!(change.previous, Some(before.ancestry.current));
    assert_eq!(compare(&change.ancestry, &before.ancestry), Relation::Newer);
}

pub(super) async fn rewriting_ones_own_record_touches_no_vector(suite: &mut Suite) {
    suite.tasks(1, &["a"]).await;
    for n in 2..6 {
        suite.track(n, &TASK, task("a", &n.to_string())).await;
        assert!(suite.task_change("a").await.ancestry.others().is_empty());
    }
}

pub(super) async fn a_clock_that_stands_still_does_not_stop_revisions(suite: &mut Suite) {
    suite.tasks(5, &["a"]).await;
    suite.track(5, &TASK, task("a", "second")).await;
    assert_eq!(suite.task_change("a").await.ancestry.current, at(6, ME));
    suite.remove(5, &TASK, &text_id("a")).await;
    assert_eq!(suite.task_change("a").await.ancestry.current, at(7, ME));
}

pub(super) async fn a_clock_that_runs_behind_stamps_above_the_past(suite: &mut Suite) {
    suite.put_one(brought(&TASK, task("a", "ahead"), at(1_000_000, PEER))).await;
    suite.track(3, &TASK, task("a", "mine")).await;
    let change = suite.task_change("a").await;
    assert_eq!(change.ancestry, Ancestry::new(at(1_000_001, ME), [(PEER, NOW + 1_000_000)]));
}

pub(super) async fn stamps_rise_above_every_entry_of_the_ancestry(suite: &mut Suite) {
    // An ancestry whose newest stamp is not its current one cannot come from a good peer, but is survived.
    let state = brought(&TASK, task("a", "x"), at(10, PEER));
    let ancestry = Ancestry::new(at(10, PEER), [(OTHER, NOW + 99)]);
    suite.put_one(altered(state, |change| change.ancestry = ancestry)).await;
    suite.track(20, &TASK, task("a", "y")).await;
    assert_eq!(suite.task_change("a").await.ancestry.current, at(100, ME));
}

pub(super) async fn writing_over_a_peers_state_keeps_the_peer_in_the_ancestry(suite: &mut Suite) {
    suite.put_one(brought(&TASK, task("a", "theirs"), at(1, PEER))).await;
    suite.track(2, &TASK, task("a", "mine")).await;
    let mine = suite.task_change("a").await;
    assert_eq!(mine.kind, ChangeKind::Update);
    assert_eq!(mine.ancestry, Ancestry::new(at(2, ME), [(PEER, NOW + 1)]));
    assert_eq!((mine.previous, mine.origin), (Some(at(1, PEER)), None));
    // The peer writes on top, then another, then this store again.
    let theirs = mine.ancestry.next(NOW + 3, PEER).next(NOW + 4, OTHER);
    let state = altered(brought(&TASK, task("a", "again"), at(4, OTHER)), |change| change.ancestry = theirs);
    suite.put_one(state).await;
    suite.track(5, &TASK, task("a", "last")).await;
    let ancestry = suite.task_change("a").await.ancestry;
    assert_eq!(ancestry, Ancestry::new(at(5, ME), [(PEER, NOW + 3), (OTHER, NOW + 4)]));
}

pub(super) async fn a_write_with_the_same_content_over_a_peers_state_stays_the_peers(suite: &mut Suite) {
    suite.put_one(brought(&TASK, task("a", "same"), at(1, PEER))).await;
    let before = suite.task_change("a").await;
    assert_eq!(suite.save(2, vec![write(&TASK, task("a", "same"))]).await, [Saved::Unchanged]);
    assert_eq!(suite.task_change("a").await, before);
}

pub(super) async fn a_tombstone_descends_from_what_it_deletes(suite: &mut Suite) {
    suite.put_one(brought(&TASK, task("a", "theirs"), at(1, PEER))).await;
    suite.remove(2, &TASK, &text_id("a")).await;
    let change = suite.task_change("a").await;
    assert_eq!(change.kind, ChangeKind::Delete);
    assert_eq!(change.ancestry, Ancestry::new(at(2, ME), [(PEER, NOW + 1)]));
    assert_eq!((change.previous, change.origin), (Some(at(1, PEER)), None));
}

pub(super) async fn a_record_made_again_descends_from_its_tombstone(suite: &mut Suite) {
    suite.tasks(1, &["a"]).await;
    suite.remove(2, &TASK, &text_id("a")).await;
    suite.track(1, &TASK, task("a", "again")).await;
    let change = suite.task_change("a").await;
    assert_eq!(change.kind, ChangeKind::Create);
    assert_eq!(change.ancestry.current, at(3, ME));
    assert_eq!(change.previous, Some(at(2, ME)));
}

pub(super) async fn a_record_made_again_descends_from_a_peers_tombstone(suite: &mut Suite) {
    suite.put_one(brought_tombstone(&TASK, &text_id("a"), at(50, PEER))).await;
    suite.track(1, &TASK, task("a", "again")).await;
    let change = suite.task_change("a").await;
    assert_eq!(change.kind, ChangeKind::Create);
    assert_eq!(change.ancestry, Ancestry::new(at(51, ME), [(PEER, NOW + 50)]));
    assert_eq!(change.previous, Some(at(50, PEER)));
}

pub(super) async fn a_write_forgets_that_the_one_before_was_a_merge(suite: &mut Suite) {
    let merged = Some((at(1, PEER), at(2, OTHER)));
    let ancestry = Ancestry::new(at(3, PEER), [(OTHER, NOW + 2)]);
    let state = altered(brought(&TASK, task("a", "merged"), at(3, PEER)), |change| {
        change.ancestry = ancestry;
        change.merged = merged;
    });
    suite.put_one(state).await;
    assert_eq!(suite.task_change("a").await.merged, merged);
    suite.track(4, &TASK, task("a", "mine")).await;
    assert_eq!(suite.task_change("a").await.merged, None);
}

pub(super) async fn unknown_fields_stay_until_the_record_is_deleted(suite: &mut Suite) {
    let unknown =
        Unknown::from([("color".to_owned(), json!({"r": 1, "alpha": 0.5})), ("x y".to_owned(), json!("z"))]);
    let state = brought(&TASK, task("a", "x"), at(1, PEER));
    suite.put_one(altered(state, |change| change.unknown = Some(Box::new(unknown.clone())))).await;
    suite.track(2, &TASK, task("a", "y")).await;
    suite.track(3, &TASK, task("a", "z")).await;
    assert_eq!(suite.task_change("a").await.unknown, unknown);
    suite.remove(4, &TASK, &text_id("a")).await;
    assert!(suite.task_change("a").await.unknown.is_empty());
    suite.track(5, &TASK, task("a", "again")).await;
    assert!(suite.task_change("a").await.unknown.is_empty());
}

pub(super) async fn a_transaction_is_one_group_named_by_its_first_change(suite: &mut Suite) {
    suite.tasks(1, &["before"]).await;
    suite
        .write(|t| {
            Box::pin(async move {
                t.save(vec![write(&TASK, task("a", "x")), write(&COUNTER, counter(1, 1))], NOW).await?;
                t.note(sync_runtime::store::Room::Peer, "key", Some(vec![1])).await?;
                t.save(vec![delete(&TASK, &text_id("before")), write(&TASK, task("b", "x"))], NOW).await
            })
        })
        .await;
    suite.tasks(2, &["after"]).await;
    let groups: Vec<_> = suite.feed(Feed::after(0)).await.iter().map(|state| state.change.group).collect();
    assert_eq!(groups, [Some(2), Some(2), Some(2), Some(2), Some(6)]);
}

pub(super) async fn a_group_survives_a_record_written_twice(suite: &mut Suite) {
    suite
        .write(|t| {
            Box::pin(async move {
                t.save(vec![write(&TASK, task("a", "x"))], NOW).await?;
                t.save(vec![write(&TASK, task("b", "x"))], NOW).await?;
                t.save(vec![write(&TASK, task("a", "y"))], NOW).await
            })
        })
        .await;
    let group = suite.task_change("b").await.group;
    assert!(group.is_some());
    assert_eq!(
        suite.task_change("a").await.group,
        group,
        "although no change stands at that position any more"
    );
}

pub(super) async fn states_that_were_put_do_not_join_the_group_of_tracked_writes(suite: &mut Suite) {
    suite
        .write(|t| {
            Box::pin(async move {
                let state = brought(&TASK, task("put", "x"), at(1, PEER));
                t.put(&[altered(state, |change| change.group = Some(77))], NOW).await?;
                t.save(vec![write(&TASK, task("a", "x")), write(&TASK, task("b", "x"))], NOW).await
            })
        })
        .await;
    assert_eq!(suite.task_change("put").await.group, Some(1));
    assert_eq!(suite.task_change("a").await.group, Some(2));
    assert_eq!(suite.task_change("b").await.group, Some(2));
}

pub(super) async fn positions_follow_the_order_of_writing(suite: &mut Suite) {
    suite.tasks(1, &["z", "a", "m"]).await;
    suite.track(2, &EVERYTHING, everything(1)).await;
    for (id, position) in [("z", 1), ("a", 2), ("m", 3)] {
        assert_eq!(suite.task_change(id).await.position, position);
    }
    assert_eq!(suite.newest().await, 4);
}

pub(super) async fn a_record_has_one_change_that_moves_with_each_write(suite: &mut Suite) {
    suite.tasks(1, &["a", "b"]).await;
    suite.track(2, &TASK, task("a", "second")).await;
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["b", "a"]);
    assert_eq!(suite.task_change("a").await.position, 3);
    suite.remove(3, &TASK, &text_id("b")).await;
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["a", "b"]);
    assert_eq!(suite.newest().await, 4);
}

pub(super) async fn a_position_is_never_given_out_twice(suite: &mut Suite) {
    suite.tasks(1, &["a", "b"]).await;
    suite.remove(2, &TASK, &text_id("b")).await;
    assert_eq!(suite.newest().await, 3);
    let failed: Result<()> = suite
        .run(Access::WRITE, |t| {
            Box::pin(async move {
                t.save(vec![write(&TASK, task("c", "x"))], NOW).await?;
                Err(on_purpose())
            })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(suite.newest().await, 3, "what was rolled back stands nowhere");
    suite.tasks(3, &["c"]).await;
    assert_eq!(suite.task_change("c").await.position, 4);
    if suite.reopen().await {
        assert_eq!(suite.newest().await, 4);
        suite.tasks(4, &["d"]).await;
        assert_eq!(suite.task_change("d").await.position, 5);
    }
}

pub(super) async fn a_renamed_store_writes_under_its_new_name(suite: &mut Suite) {
    suite.tasks(1, &["a", "b"]).await;
    let before = suite.everything().await;
    let fresh = ReplicaId(Uuid::from_u128(0xF));
    suite.rename(fresh).await;
    assert_eq!(suite.replica().await, fresh);
    assert_eq!(
        suite.everything().await,
        before.replacen(&ME.to_string(), &fresh.to_string(), 1),
        "no change is touched"
    );
    suite.track(2, &TASK, task("a", "second")).await;
    let change = suite.task_change("a").await;
    assert_eq!(change.ancestry, Ancestry::new(at(2, fresh), [(ME, NOW + 1)]));
    assert_eq!(change.previous, Some(at(1, ME)));
    if suite.reopen().await {
        assert_eq!(suite.replica().await, fresh);
    }
}

pub(super) async fn a_store_renamed_inside_a_transaction_writes_both_names(suite: &mut Suite) {
    let fresh = ReplicaId(Uuid::from_u128(0xF));
    suite
        .write(move |t| {
            Box::pin(async move {
                t.save(vec![write(&TASK, task("a", "x"))], NOW).await?;
                t.rename(fresh).await?;
                assert_eq!(t.replica().await?, fresh);
                t.save(vec![write(&TASK, task("b", "x"))], NOW).await
            })
        })
        .await;
    assert_eq!(suite.task_change("a").await.ancestry.current.replica, ME);
    assert_eq!(suite.task_change("b").await.ancestry.current.replica, fresh);
}

pub(super) async fn every_kind_of_id_is_tracked(suite: &mut Suite) {
    suite.track(1, &COUNTER, counter(-5, 1)).await;
    suite.track(2, &COUNTER, counter(-5, 2)).await;
    suite.track(3, &EVERYTHING, everything(5)).await;
    suite.track(4, &EVERYTHING, with(everything(5), 0, Value::Bool(false))).await;
    let number = suite.change(&COUNTER, &Id::Int(-5)).await;
    let uuid = suite.change(&EVERYTHING, &Id::Uuid(Uuid::from_u128(5))).await;
    assert_eq!((number.previous, number.position), (Some(at(1, ME)), 2));
    assert_eq!((uuid.previous, uuid.position), (Some(at(3, ME)), 4));
}
