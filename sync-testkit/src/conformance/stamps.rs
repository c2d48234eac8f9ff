//! When the fields of a record were last written, as far as that was before its revision.

use super::models::{PLAN, TASK, plan, task, text_id, with};
use super::suite::{
    ME, NOW, OTHER, PEER, Suite, altered, at, brought, brought_tombstone, delete, on_purpose, write,
};
use sync_runtime::change::{Stamps, State};
use sync_runtime::record::Record;
use sync_runtime::store::{Access, Base, Feed, Saved};
use sync_runtime::value::Value;
use sync_runtime::version::Position;
use sync_runtime::{ModelSchema, Result};

/// The stamps of these fields, each so many microseconds after [`NOW`].
fn stamps<const N: usize>(of: [(&str, i64); N]) -> Stamps {
    of.into_iter().map(|(field, after)| (field.to_owned(), NOW + after)).collect()
}

/// A state of a peer with these stamps.
fn stamped(schema: &'static ModelSchema, record: Record, after: i64, of: &Stamps) -> State {
    altered(brought(schema, record, at(after, PEER)), |change| change.stamps = Some(Box::new(of.clone())))
}

fn titled(record: Record, title: &str) -> Record {
    with(record, plan::TITLE, Value::Text(title.into()))
}

fn done(record: Record) -> Record {
    with(record, plan::DONE, Value::Bool(true))
}

async fn found(suite: &Suite, schema: &'static ModelSchema) -> Stamps {
    suite.change(schema, &text_id("a")).await.stamps
}

pub(super) async fn a_record_that_nobody_edited_has_none(suite: &mut Suite) {
    suite.track(1, &PLAN, plan("a")).await;
    assert_eq!(found(suite, &PLAN).await, stamps([]));
    assert_eq!(suite.save(2, vec![write(&PLAN, plan("a"))]).await, [Saved::Unchanged]);
    assert_eq!(found(suite, &PLAN).await, stamps([]));
}

pub(super) async fn a_field_that_is_written_has_none(suite: &mut Suite) {
    suite.track(1, &PLAN, plan("a")).await;
    suite.track(2, &PLAN, done(plan("a"))).await;
    assert_eq!(found(suite, &PLAN).await, stamps([("order", 1), ("rate", 1)]));
    let all = with(with(plan("a"), plan::ORDER, Value::Int(1)), plan::RATE, Value::Float(1.0));
    suite.track(3, &PLAN, all).await;
    assert_eq!(found(suite, &PLAN).await, stamps([]), "each was written");
}

pub(super) async fn a_field_that_stays_keeps_the_stamp_of_its_last_write(suite: &mut Suite) {
    suite.track(1, &PLAN, plan("a")).await;
    let record = done(plan("a"));
    suite.track(2, &PLAN, record.clone()).await;
    let record = titled(record, "x");
    suite.track(3, &PLAN, record.clone()).await;
    assert_eq!(found(suite, &PLAN).await, stamps([("done", 2), ("order", 1), ("rate", 1)]));
    let record = with(record, plan::ORDER, Value::Int(7));
    suite.track(4, &PLAN, record.clone()).await;
    assert_eq!(found(suite, &PLAN).await, stamps([("done", 2), ("rate", 1)]));
    suite.track(5, &PLAN, titled(record, "y")).await;
    let expected = stamps([("done", 2), ("order", 4), ("rate", 1)]);
    assert_eq!(found(suite, &PLAN).await, expected);
    let fed = suite.feed(Feed::after(0)).await;
    assert_eq!(fed[0].change.stamps.as_deref(), Some(&expected));
    if suite.reopen().await {
        assert_eq!(found(suite, &PLAN).await, expected);
    }
}

pub(super) async fn a_difference_of_one_bit_is_a_write(suite: &mut Suite) {
    let rated = |rate| with(plan("a"), plan::RATE, Value::Float(rate));
    suite.track(1, &PLAN, rated(0.0)).await;
    suite.track(2, &PLAN, rated(-0.0)).await;
    assert_eq!(found(suite, &PLAN).await, stamps([("done", 1), ("order", 1)]));
    suite.track(3, &PLAN, titled(rated(-0.0), "x")).await;
    assert_eq!(found(suite, &PLAN).await, stamps([("done", 1), ("order", 1), ("rate", 2)]));
}

pub(super) async fn only_fields_that_merge_by_them_get_any(suite: &mut Suite) {
    suite.tasks(1, &["a"]).await;
    suite.track(2, &TASK, with(task("a", "first"), task::DONE, Value::Bool(true))).await;
    assert_eq!(found(suite, &TASK).await, stamps([]));
}

pub(super) async fn a_local_edit_leaves_them(suite: &mut Suite) {
    suite.track(1, &PLAN, plan("a")).await;
    suite.track(2, &PLAN, done(plan("a"))).await;
    let before = found(suite, &PLAN).await;
    let local = with(done(plan("a")), plan::DRAFT, Value::Text("mine".into()));
    assert_eq!(suite.save(3, vec![write(&PLAN, local)]).await, [Saved::Unchanged]);
    assert_eq!(found(suite, &PLAN).await, before);
}

pub(super) async fn a_field_left_as_a_peer_wrote_it_keeps_the_peers_stamp(suite: &mut Suite) {
    // The peer's clock is ahead, so the stamp of the write is not its time.
    suite.put_one(stamped(&PLAN, plan("a"), 50, &stamps([("order", -20)]))).await;
    suite.track(1, &PLAN, done(plan("a"))).await;
    assert_eq!(suite.change(&PLAN, &text_id("a")).await.ancestry.current, at(51, ME));
    assert_eq!(found(suite, &PLAN).await, stamps([("order", -20), ("rate", 50)]));
    suite.track(2, &PLAN, titled(done(plan("a")), "x")).await;
    assert_eq!(found(suite, &PLAN).await, stamps([("done", 51), ("order", -20), ("rate", 50)]));
}

pub(super) async fn writes_of_one_transaction_build_on_each_other(suite: &mut Suite) {
    let batch = vec![write(&PLAN, plan("a")), write(&PLAN, done(plan("a")))];
    let last = vec![write(&PLAN, titled(done(plan("a")), "x"))];
    suite
        .write(|t| {
            Box::pin(async move {
                t.save(batch, NOW + 1).await?;
                t.save(last, NOW + 9).await
            })
        })
        .await;
    assert_eq!(found(suite, &PLAN).await, stamps([("done", 2), ("order", 1), ("rate", 1)]));
}

pub(super) async fn a_delete_drops_them_and_a_record_made_again_has_none(suite: &mut Suite) {
    suite.track(1, &PLAN, plan("a")).await;
    suite.track(2, &PLAN, done(plan("a"))).await;
    suite.remove(3, &PLAN, &text_id("a")).await;
    assert_eq!(found(suite, &PLAN).await, stamps([]));
    suite.track(4, &PLAN, done(plan("a"))).await;
    assert_eq!(found(suite, &PLAN).await, stamps([]));
    suite.track(5, &PLAN, plan("a")).await;
    assert_eq!(found(suite, &PLAN).await, stamps([("order", 4), ("rate", 4)]));
    // A tombstone with stamps cannot come from a good peer, but leaves nothing behind either.
    let tombstone = brought_tombstone(&PLAN, &text_id("a"), at(6, PEER));
    let given = stamps([("done", 1), ("title", 1)]);
    suite.put_one(altered(tombstone, |change| change.stamps = Some(Box::new(given)))).await;
    suite.track(7, &PLAN, plan("a")).await;
    assert_eq!(found(suite, &PLAN).await, stamps([]));
}

pub(super) async fn a_repaired_record_has_none(suite: &mut Suite) {
    suite.put_one(stamped(&PLAN, plan("a"), 1, &stamps([("done", 0)]))).await;
    let retrack = async |suite: &Suite, after| {
        let ids = [text_id("a")];
        suite.write(move |t| Box::pin(async move { t.retrack(&PLAN, &ids, NOW + after).await })).await
    };
    if !suite.factory.write_untracked(&suite.store, &PLAN, &text_id("a"), None).await {
        return;
    }
    assert_eq!(retrack(suite, 2).await, [true]);
    assert_eq!(found(suite, &PLAN).await, stamps([]));
    suite.factory.write_untracked(&suite.store, &PLAN, &text_id("a"), Some(plan("a"))).await;
    assert_eq!(retrack(suite, 3).await, [true]);
    assert_eq!(found(suite, &PLAN).await, stamps([]));
}

pub(super) async fn a_state_has_those_it_was_put_with(suite: &mut Suite) {
    let given = stamps([("done", -5), ("title", -4), ("not known here", -3)]);
    suite.put_one(stamped(&PLAN, plan("a"), 1, &given)).await;
    assert_eq!(found(suite, &PLAN).await, given);
    let other = stamps([("rate", -2)]);
    suite.put_one(stamped(&PLAN, done(plan("a")), 2, &other)).await;
    assert_eq!(found(suite, &PLAN).await, other, "what stood there before does not count");
    suite.put_one(brought(&PLAN, plan("a"), at(3, OTHER))).await;
    assert_eq!(found(suite, &PLAN).await, stamps([]));
    suite.put_one(stamped(&PLAN, plan("a"), 4, &given)).await;
    if suite.reopen().await {
        assert_eq!(found(suite, &PLAN).await, given);
    }
}

pub(super) async fn those_of_any_field_stay_until_it_is_written(suite: &mut Suite) {
    let given = stamps([("done", -5), ("title", -4), ("not known here", -3)]);
    suite.put_one(stamped(&PLAN, plan("a"), 1, &given)).await;
    suite.track(2, &PLAN, done(plan("a"))).await;
    let expected = [("title", -4), ("not known here", -3), ("order", 1), ("rate", 1)];
    assert_eq!(found(suite, &PLAN).await, stamps(expected));
    suite.track(3, &PLAN, titled(done(plan("a")), "x")).await;
    let expected = [("done", 2), ("not known here", -3), ("order", 1), ("rate", 1)];
    assert_eq!(found(suite, &PLAN).await, stamps(expected));
}

pub(super) async fn those_of_a_model_that_gives_none_stay_until_the_field_is_written(suite: &mut Suite) {
    let given = stamps([("done", -5), ("title", -4)]);
    suite.put_one(stamped(&TASK, task("a", "theirs"), 1, &given)).await;
    suite.track(2, &TASK, with(task("a", "theirs"), task::ORDER, Value::Int(1))).await;
    assert_eq!(found(suite, &TASK).await, given);
    suite.track(3, &TASK, with(task("a", "mine"), task::ORDER, Value::Int(1))).await;
    assert_eq!(found(suite, &TASK).await, stamps([("done", -5)]));
    suite.track(4, &TASK, with(task("a", "mine"), task::DONE, Value::Bool(true))).await;
    assert_eq!(found(suite, &TASK).await, stamps([]));
}

pub(super) async fn a_base_has_those_of_its_state(suite: &mut Suite) {
    suite.keep(Some(Position::MAX)).await;
    suite.put_one(stamped(&PLAN, plan("a"), 1, &stamps([("done", -5)]))).await;
    suite.track(2, &PLAN, titled(plan("a"), "x")).await;
    suite.track(3, &PLAN, titled(plan("a"), "y")).await;
    let given = stamps([("title", -9)]);
    let mut state = stamped(&PLAN, plan("b"), 4, &given);
    state.change.position = 9;
    suite.add_bases(vec![Base { state, until: 10 }]).await;
    let first = stamps([("done", -5)]);
    let second = stamps([("done", -5), ("order", 1), ("rate", 1)]);
    let kept = async |suite: &Suite| -> Vec<Stamps> {
        let bases = suite.bases_between(Position::MIN, Position::MAX).await;
        bases
            .into_iter()
            .map(|base| base.state.change.stamps.map(|stamps| *stamps).unwrap_or_default())
            .collect()
    };
    assert_eq!(kept(suite).await, [first.clone(), second.clone(), given.clone()]);
    if suite.reopen().await {
        assert_eq!(kept(suite).await, [first, second, given]);
    }
}

pub(super) async fn a_rollback_brings_them_back(suite: &mut Suite) {
    suite.track(1, &PLAN, plan("a")).await;
    suite.track(2, &PLAN, done(plan("a"))).await;
    let before = suite.everything().await;
    let writes = [
        vec![write(&PLAN, titled(done(plan("a")), "x"))],
        vec![write(&PLAN, plan("a"))],
        vec![delete(&PLAN, &text_id("a"))],
        vec![delete(&PLAN, &text_id("a")), write(&PLAN, plan("a"))],
    ];
    for writes in writes {
        let failed: Result<()> = suite
            .run(Access::WRITE, move |t| {
                Box::pin(async move {
                    t.save(writes, NOW + 3).await?;
                    t.put(&[stamped(&PLAN, plan("a"), 4, &stamps([("title", 0)]))], NOW).await?;
                    Err(on_purpose())
                })
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(suite.everything().await, before);
    }
}
