//! Records come back as they were saved, by id, in order, and only where they were saved.

use super::models::{COUNTER, EVERYTHING, STRANGER, TASK, counter, everything, task, text_id, with, without};
use super::suite::{ME, NOW, Suite, brought, delete, expecting, on_purpose, write};
use serde_json::json;
use sync_runtime::ErrorKind;
use sync_runtime::change::{ChangeKind, State};
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::Id;
use sync_runtime::store::{Access, Base, Expect, Feed, Room, Saved};
use sync_runtime::value::Value;
use uuid::Uuid;

pub(super) async fn a_fresh_store_is_empty(suite: &mut Suite) {
    assert_eq!(suite.replica().await, ME);
    assert_eq!(suite.newest().await, 0);
    assert!(suite.feed(Feed::after(0)).await.is_empty());
    assert_eq!(suite.task("a").await, None);
    assert_eq!(suite.changes(&TASK, &[text_id("a")]).await.len(), 1);
    assert!(suite.changes(&TASK, &[text_id("a")]).await[0].is_none());
    assert_eq!(suite.count(&TASK, Filter::All).await, 0);
    assert!(suite.select(&EVERYTHING, Selection::default()).await.is_empty());
    assert!(suite.task_bases("a").await.is_empty());
    for room in Room::ALL {
        assert!(suite.notes(room, "").await.is_empty());
    }
}

pub(super) async fn creating_makes_the_record_and_its_change(suite: &mut Suite) {
    let record = task("a", "hello");
    suite.track(1, &TASK, record.clone()).await;
    assert_eq!(suite.task("a").await, Some(record));
    let change = suite.task_change("a").await;
    assert_eq!((change.model, &change.id, change.kind), ("Task", &text_id("a"), ChangeKind::Create));
    assert_eq!(suite.newest().await, change.position);
}

pub(super) async fn updating_replaces_every_field(suite: &mut Suite) {
    suite.track(1, &EVERYTHING, everything(1)).await;
    let mut record = everything(1);
    for (name, value) in
        [("flag", Value::Bool(false)), ("large", Value::Int(9)), ("text", Value::Text("new".into()))]
    {
        for place in super::models::places(name) {
            record.set(place, value.clone());
        }
    }
    suite.track(2, &EVERYTHING, record.clone()).await;
    let id = Id::Uuid(Uuid::from_u128(1));
    assert_eq!(suite.record(&EVERYTHING, &id).await, Some(record));
    assert_eq!(suite.change(&EVERYTHING, &id).await.kind, ChangeKind::Update);
    assert_eq!(suite.count(&EVERYTHING, Filter::All).await, 1);
}

pub(super) async fn deleting_leaves_a_tombstone_and_no_record(suite: &mut Suite) {
    suite.tasks(1, &["a", "b"]).await;
    suite.remove(2, &TASK, &text_id("a")).await;
    assert_eq!(suite.task("a").await, None);
    assert_eq!(suite.task_change("a").await.kind, ChangeKind::Delete);
    assert_eq!(suite.count(&TASK, Filter::All).await, 1);
    assert!(suite.task("b").await.is_some(), "its neighbour stays");
}

pub(super) async fn a_deleted_record_can_be_made_again(suite: &mut Suite) {
    suite.track(1, &TASK, with(task("a", "old"), task::DRAFT, Value::Text("of the old".into()))).await;
    suite.remove(2, &TASK, &text_id("a")).await;
    suite.track(3, &TASK, without(task("a", "new"), task::DRAFT)).await;
    let record = with(task("a", "new"), task::DRAFT, Value::Text("no draft".into()));
    assert_eq!(suite.task("a").await, Some(record), "local fields of the deleted record are gone");
}

pub(super) async fn records_come_in_the_order_of_the_ids(suite: &mut Suite) {
    suite.tasks(1, &["a", "b", "c"]).await;
    let ids = ["c", "missing", "a", "c"].map(text_id).to_vec();
    let records = suite.look(move |t| Box::pin(async move { t.read(&TASK, &ids).await })).await;
    assert_eq!(records, [Some(task("c", "first")), None, Some(task("a", "first")), Some(task("c", "first"))]);
    let none = suite.look(|t| Box::pin(async move { t.read(&TASK, &[]).await })).await;
    assert!(none.is_empty());
}

pub(super) async fn changes_come_in_the_order_of_the_ids(suite: &mut Suite) {
    suite.tasks(1, &["a", "b"]).await;
    suite.remove(2, &TASK, &text_id("a")).await;
    let changes = suite.changes(&TASK, &["b", "missing", "a", "b"].map(text_id)).await;
    let kinds: Vec<_> = changes.iter().map(|change| change.as_ref().map(|change| change.kind)).collect();
    let create = Some(ChangeKind::Create);
    assert_eq!(kinds, [create, None, Some(ChangeKind::Delete), create]);
}

pub(super) async fn states_come_in_the_order_of_the_ids_without_local_fields(suite: &mut Suite) {
    suite.track(1, &TASK, with(task("a", "x"), task::DRAFT, Value::Text("private".into()))).await;
    suite.tasks(2, &["gone"]).await;
    suite.remove(3, &TASK, &text_id("gone")).await;
    let states = suite.states(&TASK, &["gone", "missing", "a"].map(text_id)).await;
    let gone = states[0].as_ref().expect("a tombstone is a state");
    assert!(gone.change.is_delete() && gone.record.is_none());
    assert!(states[1].is_none());
    let live = states[2].as_ref().expect("a record is a state");
    assert_eq!(live.record, Some(without(without(task("a", "x"), task::DRAFT), task::SEEN)));
    assert_eq!(super::suite::plain(&live.change), suite.task_change("a").await);
}

pub(super) async fn states_come_as_long_as_there_is_room_for_them(suite: &mut Suite) {
    let names: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let long = "x".repeat(1_000);
    suite.save(1, names.iter().map(|name| write(&TASK, task(name, &long))).collect()).await;
    let ids: Vec<Id> = names.iter().map(|name| text_id(name)).collect();
    let found = suite.look(move |t| {
        Box::pin(async move {
            let narrow = t.states_within(&TASK, &ids, 10_000).await?;
            // The transaction goes on.
            let wide = t.states_within(&TASK, &ids, 1_000_000).await?;
            Ok((narrow, wide, t.states(&TASK, &ids).await?))
        })
    });
    let (narrow, wide, all) = found.await;
    assert_eq!(narrow.map(|states| states.len()), None, "40,000 bytes are more than 10,000");
    let plain = |states: Vec<Option<State>>| -> Vec<_> {
        states.into_iter().flatten().map(|state| (state.change.id, state.record)).collect()
    };
    assert_eq!(wide.map(plain).map(|states| states.len()), Some(40));
    assert_eq!(plain(all).len(), 40);
}

pub(super) async fn writes_of_one_batch_see_the_ones_before(suite: &mut Suite) {
    let id = text_id("a");
    let writes = vec![
        expecting(write(&TASK, task("a", "one")), Expect::Absent),
        expecting(write(&TASK, task("a", "two")), Expect::Absent),
        expecting(write(&TASK, task("a", "three")), Expect::Present),
        expecting(delete(&TASK, &id), Expect::Present),
        expecting(write(&TASK, task("a", "four")), Expect::Present),
        expecting(write(&TASK, task("a", "five")), Expect::Absent),
        write(&TASK, task("a", "five")),
    ];
    let saved = suite.save(1, writes).await;
    let (tracked, unchanged) = (Saved::Tracked, Saved::Unchanged);
    let outcomes = [
        tracked.clone(),
        Saved::Exists,
        tracked.clone(),
        tracked.clone(),
        Saved::Missing,
        tracked,
        unchanged,
    ];
    assert_eq!(saved, outcomes);
    assert_eq!(suite.task("a").await, Some(task("a", "five")));
}

pub(super) async fn a_write_that_was_not_done_leaves_the_others(suite: &mut Suite) {
    suite.tasks(1, &["b"]).await;
    let writes = vec![
        write(&TASK, task("a", "x")),
        expecting(write(&TASK, task("b", "x")), Expect::Absent),
        write(&TASK, task("c", "x")),
    ];
    assert_eq!(suite.save(2, writes).await, [Saved::Tracked, Saved::Exists, Saved::Tracked]);
    assert_eq!(suite.task("b").await, Some(task("b", "first")));
    assert!(suite.task("a").await.is_some() && suite.task("c").await.is_some());
}

pub(super) async fn an_empty_batch_does_nothing(suite: &mut Suite) {
    assert!(suite.save(1, vec![]).await.is_empty());
    assert!(suite.put(vec![]).await.is_empty());
    assert_eq!(suite.newest().await, 0);
}

pub(super) async fn saving_the_same_again_makes_no_change(suite: &mut Suite) {
    suite.track(1, &EVERYTHING, everything(1)).await;
    let before = suite.everything().await;
    assert_eq!(suite.save(2, vec![write(&EVERYTHING, everything(1))]).await, [Saved::Unchanged]);
    assert_eq!(suite.everything().await, before);
}

pub(super) async fn a_local_field_is_saved_without_a_change(suite: &mut Suite) {
    suite.tasks(1, &["a"]).await;
    let before = suite.task_change("a").await;
    let record =
        with(with(task("a", "first"), task::DRAFT, Value::Text("mine".into())), task::SEEN, Value::Int(3));
    assert_eq!(suite.save(2, vec![write(&TASK, record.clone())]).await, [Saved::Unchanged]);
    assert_eq!(suite.task("a").await, Some(record));
    assert_eq!(suite.task_change("a").await, before);
    assert_eq!(suite.newest().await, before.position);
}

pub(super) async fn a_local_field_rides_along_with_a_change(suite: &mut Suite) {
    suite.tasks(1, &["a"]).await;
    let record = with(task("a", "second"), task::DRAFT, Value::Text("mine".into()));
    suite.track(2, &TASK, record.clone()).await;
    assert_eq!(suite.task("a").await, Some(record));
}

pub(super) async fn an_absent_local_field_stays_as_it_was(suite: &mut Suite) {
    suite.track(1, &TASK, with(task("a", "x"), task::DRAFT, Value::Text("kept".into()))).await;
    suite.track(2, &TASK, without(without(task("a", "y"), task::DRAFT), task::SEEN)).await;
    assert_eq!(suite.task("a").await, Some(with(task("a", "y"), task::DRAFT, Value::Text("kept".into()))));
}

pub(super) async fn an_absent_field_of_a_new_record_takes_its_default(suite: &mut Suite) {
    let sparse = [task::DONE, task::ORDER, task::DRAFT, task::SEEN].into_iter().fold(task("a", "x"), without);
    suite.track(1, &TASK, sparse).await;
    let record = with(task("a", "x"), task::DRAFT, Value::Text("no draft".into()));
    assert_eq!(suite.task("a").await, Some(record));
}

pub(super) async fn a_write_without_a_required_field_is_refused_by_name(suite: &mut Suite) {
    let writes = vec![
        write(&TASK, task("a", "x")),
        write(&TASK, without(task("b", "x"), task::TITLE)),
        write(&TASK, task("c", "x")),
    ];
    let saved = suite.save(1, writes).await;
    let Saved::Refused(reason) = &saved[1] else { panic!("{saved:?}") };
    assert!(reason.contains("title"), "the reason names the field: {reason}");
    assert_eq!((&saved[0], &saved[2]), (&Saved::Tracked, &Saved::Tracked));
    assert_eq!(suite.task("b").await, None);
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["a", "c"]);
}

pub(super) async fn a_difference_of_one_bit_is_a_change(suite: &mut Suite) {
    suite
        .track(1, &EVERYTHING, with(everything(1), super::models::places("float")[0], Value::Float(0.0)))
        .await;
    let mut record = everything(1);
    let steps = [
        ("float", Value::Float(-0.0)),
        ("float", Value::Float(f64::from_bits(1))),
        ("decimal", Value::Decimal("12.5".into())),
        ("decimal", Value::Decimal("12.500".into())),
        ("text", Value::Text("Text".into())),
        ("text", Value::Text("text ".into())),
        ("json", Value::Json(json!({"a": [1.0, null, "b"]}))),
        ("json", Value::Json(json!({"a": [1, null, "b"]}))),
        ("bytes", Value::Bytes(vec![])),
        ("maybe_text", Value::Text(String::new())),
        ("maybe_bytes", Value::Bytes(vec![])),
    ];
    for (name, value) in steps {
        let place = EVERYTHING.position(name).expect("a field");
        record.set(place, value.clone());
        suite.track(2, &EVERYTHING, record.clone()).await;
        let stored = suite.record(&EVERYTHING, &Id::Uuid(Uuid::from_u128(1))).await;
        assert_eq!(stored.as_ref().and_then(|stored| stored.get(place)), Some(&value));
        assert_eq!(
            suite.save(3, vec![write(&EVERYTHING, record.clone())]).await,
            [Saved::Unchanged],
            "{value:?}"
        );
    }
}

pub(super) async fn ids_of_text_are_told_apart_to_the_byte(suite: &mut Suite) {
    let long = "x".repeat(255);
    let ids = [
        "a", "A", "a ", " a", "á", "a\u{301}", "'", "\"", "`", "\\", "%", "_", ";--", "0", "00", "🦀", &long,
    ];
    suite.tasks(1, &ids).await;
    assert_eq!(suite.count(&TASK, Filter::All).await, ids.len() as u64);
    for id in ids {
        assert_eq!(suite.task(id).await, Some(task(id, "first")), "{id}");
    }
    suite.remove(2, &TASK, &text_id("A")).await;
    assert!(suite.task("a").await.is_some() && suite.task("A").await.is_none());
}

pub(super) async fn ids_of_numbers_reach_both_ends(suite: &mut Suite) {
    for id in [i64::MIN, -1, 0, 1, 1 << 53, i64::MAX] {
        suite.track(1, &COUNTER, counter(id, id)).await;
        assert_eq!(suite.record(&COUNTER, &Id::Int(id)).await, Some(counter(id, id)));
        assert_eq!(suite.change(&COUNTER, &Id::Int(id)).await.id, Id::Int(id));
    }
    assert_eq!(suite.count(&COUNTER, Filter::All).await, 6);
}

pub(super) async fn ids_of_uuids_reach_both_ends(suite: &mut Suite) {
    for id in [0, 1, u128::MAX >> 1, u128::MAX] {
        suite.track(1, &EVERYTHING, everything(id)).await;
        let id = Id::Uuid(Uuid::from_u128(id));
        assert_eq!(suite.change(&EVERYTHING, &id).await.id, id);
        assert!(suite.record(&EVERYTHING, &id).await.is_some());
    }
    assert_eq!(suite.count(&EVERYTHING, Filter::All).await, 4);
}

pub(super) async fn models_are_kept_apart(suite: &mut Suite) {
    suite.tasks(1, &["7"]).await;
    suite.track(2, &COUNTER, counter(7, 1)).await;
    suite.remove(3, &TASK, &text_id("7")).await;
    assert_eq!(suite.record(&COUNTER, &Id::Int(7)).await, Some(counter(7, 1)));
    assert_eq!(suite.change(&COUNTER, &Id::Int(7)).await.kind, ChangeKind::Create);
    assert_eq!(suite.count(&TASK, Filter::All).await, 0);
}

pub(super) async fn a_large_batch_is_saved_and_read(suite: &mut Suite) {
    let writes: Vec<_> = (0..2_500).map(|n| write(&COUNTER, counter(n, n * n))).collect();
    let saved = suite.save(1, writes).await;
    assert_eq!(saved.len(), 2_500);
    assert!(saved.iter().all(|saved| *saved == Saved::Tracked));
    let ids: Vec<_> = (0..2_500).rev().map(Id::Int).collect();
    let wanted = ids.clone();
    let records = suite.look(move |t| Box::pin(async move { t.read(&COUNTER, &wanted).await })).await;
    let expected: Vec<_> = (0..2_500).rev().map(|n| Some(counter(n, n * n))).collect();
    assert_eq!(records, expected);
    assert!(suite.states(&COUNTER, &ids).await.iter().all(Option::is_some));
    assert_eq!(suite.newest().await, 2_500);
}

pub(super) async fn a_model_that_was_not_prepared_is_refused_by_name(suite: &mut Suite) {
    let record = sync_runtime::Record::new(task("a", "x").values()[..2].to_vec());
    let id = text_id("a");
    let state = brought(&STRANGER, record.clone(), super::suite::at(0, super::suite::PEER));
    let ids = [id.clone()];
    for method in 0..11 {
        let (record, state, ids) = (record.clone(), state.clone(), ids.clone());
        let base = Base { state: state.clone(), until: 1 };
        let failed = suite
            .run(Access::WRITE, move |t| {
                Box::pin(async move {
                    match method {
                        0 => t.read(&STRANGER, &ids).await.map(drop),
                        1 => t.select(&STRANGER, &Selection::default()).await.map(drop),
                        2 => t.count(&STRANGER, &Filter::All).await.map(drop),
                        3 => t.changes(&STRANGER, &ids).await.map(drop),
                        4 => t.feed(&Feed { schema: Some(&STRANGER), ..Feed::after(0) }).await.map(drop),
                        5 => t.save(vec![write(&STRANGER, record)], NOW).await.map(drop),
                        6 => t.put(&[state], NOW).await.map(drop),
                        7 => t.bases(&STRANGER, &ids).await.map(drop),
                        8 => t.add_bases(vec![base]).await,
                        9 => t.untracked(&STRANGER, None, None, 1).await.map(drop),
                        _ => t.states(&STRANGER, &ids).await.map(drop),
                    }?;
                    Err(on_purpose())
                })
            })
            .await;
        let error = failed.map(|()| "nothing").expect_err("the work fails");
        assert_eq!(error.kind(), ErrorKind::UnknownModel, "method {method}: {error}");
        assert!(error.to_string().contains("Stranger"), "the error names the model: {error}");
    }
}
