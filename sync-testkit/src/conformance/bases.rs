//! Bases: which overwritten states are kept, how they come back, and how they go.

use super::models::{COUNTER, TASK, counter, task, text_id, with, without};
use super::suite::{
    ME, NOW, OTHER, PEER, Plain, Suite, altered, at, brought, brought_tombstone, plain, write,
};
use serde_json::json;
use sync_runtime::change::ChangeKind;
use sync_runtime::record::{Id, Record, Unknown};
use sync_runtime::store::{Base, Saved};
use sync_runtime::value::Value;
use sync_runtime::version::{Ancestry, Position};

/// What a base has of the title, its revision, and where it was overwritten.
fn shown(base: &Base) -> (Option<String>, sync_runtime::Revision, Position) {
    let title =
        base.state.record.as_ref().and_then(|record| record.get(task::TITLE)).map(|value| match value {
            Value::Text(title) => title.clone(),
            other => panic!("a title: {other:?}"),
        });
    (title, base.state.change.revision(), base.until)
}

async fn kept(suite: &Suite, id: &str) -> Vec<(Option<String>, sync_runtime::Revision, Position)> {
    suite.task_bases(id).await.iter().map(shown).collect()
}

fn title(title: &str) -> Option<String> {
    Some(title.to_owned())
}

fn bare(id: &str, title: &str) -> Record {
    without(without(task(id, title), task::DRAFT), task::SEEN)
}

pub(super) async fn a_store_starts_without_keeping_any(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.put_one(brought(&TASK, task("b", "theirs"), at(1, PEER))).await;
    suite.save(2, vec![write(&TASK, task("a", "mine")), write(&TASK, task("b", "mine"))]).await;
    assert!(suite.bases_between(Position::MIN, Position::MAX).await.is_empty());
}

pub(super) async fn a_state_through_the_position_is_kept(suite: &mut Suite) {
    suite.tasks(0, &["a", "b", "c"]).await;
    suite.keep(Some(2)).await;
    suite.save(1, ["a", "b", "c"].map(|id| write(&TASK, task(id, "edited"))).to_vec()).await;
    assert_eq!(kept(suite, "a").await, [(title("first"), at(0, ME), 4)]);
    assert_eq!(kept(suite, "b").await, [(title("first"), at(0, ME), 5)], "at the position itself");
    assert!(kept(suite, "c").await.is_empty(), "above the position");
}

pub(super) async fn a_state_that_a_peer_brought_is_kept_wherever_it_stands(suite: &mut Suite) {
    suite.keep(Some(0)).await;
    suite.put_one(brought(&TASK, task("a", "theirs"), at(1, PEER))).await;
    suite.put_one(altered(brought(&TASK, task("b", "mine"), at(1, ME)), |change| change.origin = None)).await;
    suite.save(2, vec![write(&TASK, task("a", "edited")), write(&TASK, task("b", "edited"))]).await;
    assert_eq!(kept(suite, "a").await, [(title("theirs"), at(1, PEER), 3)]);
    assert!(kept(suite, "b").await.is_empty());
}

pub(super) async fn nothing_is_kept_when_nothing_is_asked_for_any_more(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.put_one(brought(&TASK, task("b", "theirs"), at(1, PEER))).await;
    suite.keep(Some(9)).await;
    suite.keep(None).await;
    suite.save(2, vec![write(&TASK, task("a", "x")), write(&TASK, task("b", "x"))]).await;
    assert!(suite.bases_between(Position::MIN, Position::MAX).await.is_empty());
}

pub(super) async fn rule_frozen_page_keeps_what_was_sent_at_the_first_edit_only(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.keep(Some(1)).await;
    suite.track(1, &TASK, task("a", "second")).await;
    suite.track(2, &TASK, task("a", "third")).await;
    suite.remove(3, &TASK, &text_id("a")).await;
    assert_eq!(kept(suite, "a").await, [(title("first"), at(0, ME), 2)]);
}

pub(super) async fn each_state_that_was_sent_is_kept(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.keep(Some(1)).await;
    suite.track(1, &TASK, task("a", "second")).await;
    suite.keep(Some(2)).await;
    suite.track(2, &TASK, task("a", "third")).await;
    suite.track(3, &TASK, task("a", "fourth")).await;
    let expected = [(title("first"), at(0, ME), 2), (title("second"), at(1, ME), 3)];
    assert_eq!(kept(suite, "a").await, expected, "oldest first");
}

pub(super) async fn two_edits_in_one_transaction_keep_the_first_state(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.keep(Some(1)).await;
    suite.save(1, vec![write(&TASK, task("a", "second")), write(&TASK, task("a", "third"))]).await;
    assert_eq!(kept(suite, "a").await, [(title("first"), at(0, ME), 2)]);
}

pub(super) async fn a_delete_keeps_the_state_that_it_ends(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.keep(Some(1)).await;
    suite.remove(1, &TASK, &text_id("a")).await;
    assert_eq!(kept(suite, "a").await, [(title("first"), at(0, ME), 2)]);
    suite.track(2, &TASK, task("a", "again")).await;
    assert_eq!(kept(suite, "a").await.len(), 1, "the tombstone was not sent");
}

pub(super) async fn a_record_made_again_keeps_the_tombstone(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.remove(1, &TASK, &text_id("a")).await;
    suite.put_one(brought_tombstone(&TASK, &text_id("b"), at(2, PEER))).await;
    suite.keep(Some(2)).await;
    suite.save(3, vec![write(&TASK, task("a", "again")), write(&TASK, task("b", "again"))]).await;
    assert_eq!(kept(suite, "a").await, [(None, at(1, ME), 4)]);
    assert_eq!(kept(suite, "b").await, [(None, at(2, PEER), 5)]);
    assert!(suite.task_bases("a").await[0].state.change.is_delete());
}

pub(super) async fn a_first_write_has_nothing_to_keep(suite: &mut Suite) {
    suite.keep(Some(Position::MAX)).await;
    suite.tasks(0, &["a"]).await;
    assert!(suite.bases_between(Position::MIN, Position::MAX).await.is_empty());
}

pub(super) async fn a_base_is_the_whole_state_without_local_fields(suite: &mut Suite) {
    let state = altered(brought(&TASK, task("a", "theirs"), at(9, PEER)), |change| {
        change.kind = ChangeKind::Update;
        change.ancestry = Ancestry::new(at(9, PEER), [(OTHER, NOW + 3)]);
        change.merged = Some((at(2, PEER), at(3, OTHER)));
        change.previous = Some(at(3, OTHER));
        change.group = Some(5);
        change.unknown = Some(Box::new(Unknown::from([("size".to_owned(), json!(1.0))])));
    });
    suite.put_one(state).await;
    suite
        .save(10, vec![write(&TASK, with(task("a", "theirs"), task::DRAFT, Value::Text("private".into())))])
        .await;
    let before = suite.task_change("a").await;
    suite.keep(Some(0)).await;
    suite.track(11, &TASK, task("a", "mine")).await;
    let check = |bases: &[Base]| {
        assert_eq!(bases.len(), 1);
        assert_eq!(plain(&bases[0].state.change), before);
        assert_eq!(bases[0].state.record, Some(bare("a", "theirs")));
        assert_eq!(bases[0].until, 2);
    };
    check(&suite.task_bases("a").await);
    check(&suite.bases_between(0, 1).await);
    if suite.reopen().await {
        check(&suite.task_bases("a").await);
    }
}

pub(super) async fn a_local_edit_keeps_nothing(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.keep(Some(9)).await;
    let local = with(task("a", "first"), task::DRAFT, Value::Text("mine".into()));
    assert_eq!(suite.save(1, vec![write(&TASK, local)]).await, [Saved::Unchanged]);
    assert!(suite.task_bases("a").await.is_empty());
}

pub(super) async fn a_state_that_is_put_keeps_nothing(suite: &mut Suite) {
    suite.tasks(0, &["a", "b"]).await;
    suite.keep(Some(9)).await;
    suite.put_one(brought(&TASK, task("a", "theirs"), at(1, PEER))).await;
    suite.put_one(brought_tombstone(&TASK, &text_id("b"), at(1, PEER))).await;
    assert!(suite.bases_between(Position::MIN, Position::MAX).await.is_empty());
}

pub(super) async fn a_state_that_is_put_leaves_the_bases_that_are_there(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.keep(Some(1)).await;
    suite.track(1, &TASK, task("a", "mine")).await;
    suite.put_one(brought(&TASK, task("a", "theirs"), at(2, PEER))).await;
    assert_eq!(kept(suite, "a").await, [(title("first"), at(0, ME), 2)]);
}

pub(super) async fn bases_are_asked_for_by_record(suite: &mut Suite) {
    suite.tasks(0, &["a", "b", "c"]).await;
    suite.track(1, &COUNTER, counter(1, 1)).await;
    suite.keep(Some(4)).await;
    suite
        .save(
            2,
            vec![write(&TASK, task("a", "x")), write(&TASK, task("c", "x")), write(&COUNTER, counter(1, 2))],
        )
        .await;
    let ids = ["c", "missing", "b", "a", "c"].map(text_id);
    let bases = suite.look(move |t| Box::pin(async move { t.bases(&TASK, &ids).await })).await;
    let ids: Vec<Vec<String>> =
        bases.iter().map(|of| of.iter().map(|base| base.state.change.id.to_string()).collect()).collect();
    assert_eq!(ids, [vec!["c"], vec![], vec![], vec!["a"], vec!["c"]]);
    let counters = suite.look(|t| Box::pin(async move { t.bases(&COUNTER, &[Id::Int(1)]).await })).await;
    assert_eq!(counters[0][0].state.record, Some(counter(1, 1)));
}

pub(super) async fn bases_are_asked_for_by_the_position_of_their_state(suite: &mut Suite) {
    suite.tasks(0, &["a", "b"]).await;
    suite.track(0, &COUNTER, counter(1, 1)).await;
    suite.tasks(0, &["c"]).await;
    suite.keep(Some(4)).await;
    // Overwritten in another order than they were written.
    for write in [write(&TASK, task("c", "x")), write(&COUNTER, counter(1, 2)), write(&TASK, task("a", "x"))]
    {
        assert_eq!(suite.save(1, vec![write]).await, [Saved::Tracked]);
    }
    let between = async |after, through| -> Vec<Position> {
        suite.bases_between(after, through).await.iter().map(|base| base.state.change.position).collect()
    };
    assert_eq!(between(0, Position::MAX).await, [1, 3, 4]);
    assert_eq!(between(Position::MIN, 3).await, [1, 3]);
    assert_eq!(between(1, 3).await, [3]);
    assert_eq!(between(3, 4).await, [4]);
    for (after, through) in [(4, Position::MAX), (1, 2), (3, 3), (4, 1), (Position::MAX, Position::MIN)] {
        assert!(between(after, through).await.is_empty(), "after {after} through {through}");
    }
}

pub(super) async fn bases_are_dropped_by_what_overwrote_them(suite: &mut Suite) {
    suite.tasks(0, &["a", "b", "c"]).await;
    suite.keep(Some(3)).await;
    for id in ["c", "b", "a"] {
        suite.track(1, &TASK, task(id, "x")).await;
    }
    let left = async || {
        let mut ids: Vec<_> =
            suite.bases_between(0, 9).await.iter().map(|base| base.state.change.id.to_string()).collect();
        ids.sort();
        ids
    };
    suite.drop_bases(3).await;
    assert_eq!(left().await, ["a", "b", "c"]);
    suite.drop_bases(4).await;
    assert_eq!(left().await, ["a", "b"], "c was overwritten at 4");
    suite.drop_bases(5).await;
    assert_eq!(left().await, ["a"]);
    suite.drop_bases(Position::MAX).await;
    assert!(left().await.is_empty());
}

pub(super) async fn dropping_some_bases_of_a_record_leaves_the_others(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.keep(Some(Position::MAX)).await;
    for n in 1..=3 {
        suite.track(n, &TASK, task("a", &n.to_string())).await;
    }
    suite.drop_bases(3).await;
    assert_eq!(kept(suite, "a").await, [(title("2"), at(2, ME), 4)]);
}

pub(super) async fn bases_can_be_given(suite: &mut Suite) {
    let state = altered(brought(&TASK, bare("a", "theirs"), at(5, PEER)), |change| change.position = 7);
    let expected: Plain = plain(&state.change);
    suite.add_bases(vec![Base { state, until: 8 }]).await;
    let bases = suite.task_bases("a").await;
    assert_eq!((plain(&bases[0].state.change), bases[0].until), (expected, 8));
    assert_eq!(bases[0].state.record, Some(bare("a", "theirs")));
    assert_eq!(suite.bases_between(6, 7).await.len(), 1);
    assert!(suite.bases_between(7, 8).await.is_empty());
    assert_eq!(suite.newest().await, 0, "a base is no change");
    assert_eq!(suite.task("a").await, None);
}

pub(super) async fn a_base_of_the_same_revision_and_position_is_replaced(suite: &mut Suite) {
    let base = |revision, position, until| {
        let state = brought(&TASK, bare("a", "theirs"), revision);
        Base { state: altered(state, |change| change.position = position), until }
    };
    suite.add_bases(vec![base(at(5, PEER), 1, 2), base(at(5, OTHER), 2, 3), base(at(5, PEER), 1, 6)]).await;
    let expected = [(title("theirs"), at(5, PEER), 6), (title("theirs"), at(5, OTHER), 3)];
    assert_eq!(kept(suite, "a").await, expected);
    suite.add_bases(vec![base(at(5, OTHER), 9, 10)]).await;
    assert_eq!(kept(suite, "a").await.len(), 3, "it stood at another position too");
    assert_eq!(suite.bases_between(0, 3).await.len(), 2);
    suite.drop_bases(6).await;
    assert_eq!(kept(suite, "a").await, [(title("theirs"), at(5, OTHER), 10)]);
}

pub(super) async fn a_state_that_came_again_is_kept_at_both_positions(suite: &mut Suite) {
    suite.keep(Some(0)).await;
    let theirs = || brought(&TASK, task("a", "theirs"), at(5, PEER));
    suite.put_one(theirs()).await;
    suite.track(6, &TASK, task("a", "mine")).await;
    assert_eq!(kept(suite, "a").await, [(title("theirs"), at(5, PEER), 2)]);
    suite.put_one(theirs()).await;
    suite.track(7, &TASK, task("a", "mine again")).await;
    let expected = [(title("theirs"), at(5, PEER), 2), (title("theirs"), at(5, PEER), 4)];
    assert_eq!(kept(suite, "a").await, expected);
}

pub(super) async fn what_is_asked_for_and_kept_outlives_a_restart(suite: &mut Suite) {
    suite.tasks(0, &["a", "b"]).await;
    suite.keep(Some(2)).await;
    suite.track(1, &TASK, task("a", "x")).await;
    if suite.reopen().await {
        assert_eq!(kept(suite, "a").await, [(title("first"), at(0, ME), 3)]);
        suite.track(2, &TASK, task("b", "x")).await;
        assert_eq!(kept(suite, "b").await, [(title("first"), at(0, ME), 4)]);
        assert_eq!(suite.bases_between(0, 2).await.len(), 2);
        suite.drop_bases(3).await;
        assert!(kept(suite, "a").await.is_empty());
    }
}
