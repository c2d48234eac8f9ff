//! Preparing again, growing a model, and what is there after a restart.

use super::models::{
    COUNTER, EVERYTHING, TASK, TASK_BROKEN, TASK_GROWN, counter, everything, models, models_with, task,
    text_id, with,
};
use super::suite::{
    ME, NOW, OTHER, PEER, Suite, altered, at, brought, brought_tombstone, on_purpose, plain, write,
};
use serde_json::json;
use sync_runtime::query::{Comparison, Filter, Selection};
use sync_runtime::record::{Record, Unknown};
use sync_runtime::store::{Access, Base, Feed, Room, Saved};
use sync_runtime::value::Value;
use sync_runtime::version::Position;
use sync_runtime::{ErrorKind, Result};

pub(super) async fn preparing_again_changes_nothing(suite: &mut Suite) {
    suite.tasks(0, &["a", "b"]).await;
    suite.remove(1, &TASK, &text_id("b")).await;
    suite.note(Room::Peer, "key", Some(&[1])).await;
    let before = suite.everything().await;
    for _ in 0..3 {
        suite.store.prepare(&models(), OTHER).await.expect("prepared again");
        assert_eq!(suite.everything().await, before);
    }
    assert_eq!(suite.replica().await, ME, "a store keeps the name that it has");
}

pub(super) async fn a_model_may_come_later(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    let mut grown = models();
    let schema = &super::models::STRANGER;
    grown.add(sync_runtime::schema::Model { schema, check: |_| Ok(()) });
    suite.store.prepare(&grown, OTHER).await.expect("prepared with one model more");
    let record = Record::new(task("s", "x").values()[..2].to_vec());
    suite.track(1, schema, record.clone()).await;
    assert_eq!(suite.record(schema, &text_id("s")).await, Some(record));
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["a", "s"]);
}

/// A task as it was before, with the values that the added fields of [`TASK_GROWN`] take.
fn grown(before: &Record) -> Record {
    let mut record = Record::absent(&TASK_GROWN);
    for (index, field) in TASK_GROWN.fields.iter().enumerate() {
        let value = TASK.position(field.name).and_then(|index| before.get(index)).cloned();
        record.set(index, value.or_else(|| field.missing()).expect("a value or a default"));
    }
    record
}

pub(super) async fn an_added_field_has_its_default_in_older_records(suite: &mut Suite) {
    let old = with(with(task("a", "x"), task::ORDER, Value::Int(3)), task::DRAFT, Value::Text("mine".into()));
    suite.track(0, &TASK, old.clone()).await;
    suite.tasks(1, &["b"]).await;
    let before: Vec<_> = suite.feed(Feed::after(0)).await.iter().map(|state| plain(&state.change)).collect();
    suite.store.prepare(&models_with(&TASK_GROWN), OTHER).await.expect("prepared with more fields");
    assert_eq!(suite.record(&TASK_GROWN, &text_id("a")).await, Some(grown(&old)));
    let named = grown(&old);
    let value = |name: &str| named.get(TASK_GROWN.position(name).expect("a field")).cloned();
    assert_eq!(value("priority"), Some(Value::Int(5)));
    assert_eq!(value("due"), Some(Value::Null));
    assert_eq!(value("labels"), Some(Value::Json(json!(["it's", {"new": 1.5}]))));
    assert_eq!(value("zoom"), Some(Value::Float(-0.25)));
    let after: Vec<_> = suite.feed(Feed::after(0)).await.iter().map(|state| plain(&state.change)).collect();
    assert_eq!(after, before, "a default is no edit");
    let place = TASK_GROWN.position("priority").expect("a field");
    let filter = Filter::Compare(place, Comparison::Equal, Value::Int(5));
    assert_eq!(suite.count(&TASK_GROWN, filter).await, 2);
}

pub(super) async fn an_added_field_is_written_and_tracked(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.store.prepare(&models_with(&TASK_GROWN), OTHER).await.expect("prepared with more fields");
    let record = grown(&task("a", "first"));
    assert_eq!(suite.save(1, vec![write(&TASK_GROWN, record.clone())]).await, [Saved::Unchanged]);
    let place = TASK_GROWN.position("priority").expect("a field");
    let edited = with(record, place, Value::Int(9));
    suite.track(2, &TASK_GROWN, edited.clone()).await;
    assert_eq!(suite.record(&TASK_GROWN, &text_id("a")).await, Some(edited.clone()));
    let local = with(edited, TASK_GROWN.position("zoom").expect("a field"), Value::Float(2.0));
    assert_eq!(suite.save(3, vec![write(&TASK_GROWN, local.clone())]).await, [Saved::Unchanged]);
    assert_eq!(suite.record(&TASK_GROWN, &text_id("a")).await, Some(local.clone()));
    suite.put_one(brought(&TASK_GROWN, grown(&task("b", "theirs")), at(4, PEER))).await;
    if suite.reopen_with(&models_with(&TASK_GROWN)).await {
        assert_eq!(suite.record(&TASK_GROWN, &text_id("a")).await, Some(local));
    }
}

pub(super) async fn an_added_field_takes_over_what_a_peer_had_sent(suite: &mut Suite) {
    let sent = |priority: serde_json::Value| {
        let unknown = Unknown::from([
            ("priority".to_owned(), priority),
            ("due".to_owned(), json!(1_700_000_000_123_456_i64)),
            ("zoom".to_owned(), json!(7.5)),
            ("color".to_owned(), json!("red")),
        ]);
        Some(Box::new(unknown))
    };
    let theirs = |id, priority| {
        let state = brought(&TASK, task(id, "theirs"), at(1, PEER));
        altered(state, |change| change.unknown = sent(priority))
    };
    suite.put(vec![theirs("fits", json!(8)), theirs("does not", json!("high"))]).await;
    suite.store.prepare(&models_with(&TASK_GROWN), OTHER).await.expect("prepared with more fields");
    for (id, priority) in [("fits", 8), ("does not", 5)] {
        let record = suite.record(&TASK_GROWN, &text_id(id)).await.expect("the record");
        let value = |name: &str| record.get(TASK_GROWN.position(name).expect("a field")).cloned();
        assert_eq!(value("priority"), Some(Value::Int(priority)), "{id}");
        assert_eq!(value("due"), Some(Value::Timestamp(1_700_000_000_123_456)));
        assert_eq!(value("zoom"), Some(Value::Float(-0.25)), "a local field is not the peer's");
        let change = suite.change(&TASK_GROWN, &text_id(id)).await;
        assert_eq!(change.ancestry.current, at(1, PEER), "what is known better is no edit");
        assert_eq!(change.unknown.get("color"), Some(&json!("red")), "still not known");
        assert_eq!(change.unknown.get("due"), None, "the record's own now");
    }
}

pub(super) async fn an_added_field_has_its_default_in_older_bases(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.keep(Some(1)).await;
    suite.track(1, &TASK, task("a", "second")).await;
    suite.store.prepare(&models_with(&TASK_GROWN), OTHER).await.expect("prepared with more fields");
    let bases = suite.look(|t| Box::pin(async move { t.bases(&TASK_GROWN, &[text_id("a")]).await })).await;
    let expected = grown(&task("a", "first")).without_local(&TASK_GROWN);
    assert_eq!(bases[0][0].state.record, Some(expected));
}

pub(super) async fn a_field_added_between_two_starts_has_its_default(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    if suite.reopen_with(&models_with(&TASK_GROWN)).await {
        assert_eq!(suite.record(&TASK_GROWN, &text_id("a")).await, Some(grown(&task("a", "first"))));
        suite.track(1, &TASK_GROWN, grown(&task("b", "new"))).await;
        assert!(suite.reopen_with(&models_with(&TASK_GROWN)).await);
        let all = suite.select(&TASK_GROWN, Selection::default()).await;
        assert_eq!(all, [grown(&task("a", "first")), grown(&task("b", "new"))]);
    }
}

pub(super) async fn an_added_field_without_default_is_refused_by_name(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    let before = suite.everything().await;
    let error =
        suite.store.prepare(&models_with(&TASK_BROKEN), OTHER).await.expect_err("a record has no owner");
    assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
    for word in ["Task", "owner"] {
        assert!(error.to_string().contains(word), "the error names {word}: {error}");
    }
    suite.store.prepare(&models(), OTHER).await.expect("the models as they were");
    assert_eq!(suite.everything().await, before);
}

/// Leaves something of every kind behind.
async fn furnish(suite: &Suite) {
    suite.tasks(0, &["a", "b", "c"]).await;
    suite.keep(Some(2)).await;
    suite.save(1, vec![write(&TASK, with(task("a", "x"), task::DRAFT, Value::Text("mine".into())))]).await;
    suite.remove(2, &TASK, &text_id("b")).await;
    suite
        .put(vec![
            brought(&COUNTER, counter(1, 1), at(3, PEER)),
            brought(&EVERYTHING, everything(1), at(4, OTHER)),
        ])
        .await;
    suite.put_one(brought_tombstone(&TASK, &text_id("never"), at(5, PEER))).await;
    suite.add_bases(vec![Base { state: brought(&TASK, task("c", "base"), at(1, OTHER)), until: 2 }]).await;
    for room in Room::ALL {
        suite.note(room, "key", Some(room.name().as_bytes())).await;
    }
}

pub(super) async fn everything_outlives_a_restart(suite: &mut Suite) {
    furnish(suite).await;
    let before = suite.everything().await;
    for _ in 0..3 {
        if !suite.reopen().await {
            return;
        }
        assert_eq!(suite.everything().await, before);
    }
    let draft = suite.task("a").await.and_then(|mut record| record.take(task::DRAFT));
    assert_eq!(draft, Some(Value::Text("mine".into())), "local fields too");
}

pub(super) async fn what_was_rolled_back_does_not_come_back(suite: &mut Suite) {
    furnish(suite).await;
    let before = suite.everything().await;
    let failed: Result<()> = suite
        .run(Access::WRITE.durable(), |t| {
            Box::pin(async move {
                t.save(vec![write(&TASK, task("lost", "x"))], NOW).await?;
                t.note(Room::Peer, "lost", Some(vec![1])).await?;
                Err(on_purpose())
            })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(suite.everything().await, before);
    if suite.reopen().await {
        assert_eq!(suite.everything().await, before);
    }
}

pub(super) async fn a_store_goes_on_after_a_restart(suite: &mut Suite) {
    furnish(suite).await;
    let newest = suite.newest().await;
    if !suite.reopen().await {
        return;
    }
    suite.track(10, &TASK, task("a", "after")).await;
    let change = suite.task_change("a").await;
    assert_eq!((change.position, change.group), (newest + 1, Some(newest + 1)));
    assert_eq!((change.ancestry.current, change.previous), (at(10, ME), Some(at(1, ME))));
    assert!(suite.reopen().await);
    assert_eq!(suite.task_change("a").await, change);
    assert_eq!(suite.feed(Feed::after(newest)).await.len(), 1);
    assert!(suite.bases_between(0, Position::MAX).await.len() >= 2);
}

pub(super) async fn every_commit_outlives_a_restart(suite: &mut Suite) {
    for n in 0..60 {
        suite.track(n, &COUNTER, counter(n % 7, n)).await;
        if n % 20 == 19 && !suite.reopen().await {
            return;
        }
    }
    assert_eq!(suite.newest().await, 60);
    assert_eq!(suite.feed(Feed::after(0)).await.len(), 7);
    assert_eq!(suite.record(&COUNTER, &sync_runtime::Id::Int(3)).await, Some(counter(3, 59)));
}
