//! States that are put stand exactly as given, apart from position, group and what stays on the device.

use super::models::{COUNTER, EVERYTHING, TASK, counter, everything, task, text_id, with, without};
use super::suite::{ME, NOW, OTHER, PEER, Suite, altered, at, brought, brought_tombstone, plain, write};
use serde_json::json;
use sync_runtime::change::{ChangeKind, State};
use sync_runtime::query::Filter;
use sync_runtime::record::Unknown;
use sync_runtime::store::{Feed, Put, Saved};
use sync_runtime::value::Value;
use sync_runtime::version::{Ancestry, Position};

fn in_group(id: &str, group: Option<Position>) -> State {
    altered(brought(&TASK, task(id, "x"), at(1, PEER)), |change| change.group = group)
}

pub(super) async fn a_state_stands_as_given(suite: &mut Suite) {
    let state = altered(brought(&EVERYTHING, everything(1), at(9, PEER)), |change| {
        change.kind = ChangeKind::Update;
        change.ancestry = Ancestry::new(at(9, PEER), [(OTHER, NOW + 3), (ME, NOW + 2)]);
        change.merged = Some((at(2, ME), at(3, OTHER)));
        change.previous = Some(at(3, OTHER));
        change.unknown = Some(Box::new(Unknown::from([("size".to_owned(), json!({"n": [1, -0.5, null]}))])));
    });
    let (mut expected, record, id) = (plain(&state.change), state.record.clone(), state.change.id.clone());
    suite.put_one(state).await;
    expected.position = 1;
    assert_eq!(suite.change(&EVERYTHING, &id).await, expected);
    assert_eq!(suite.record(&EVERYTHING, &id).await, record);
    if suite.reopen().await {
        assert_eq!(suite.change(&EVERYTHING, &id).await, expected);
    }
}

pub(super) async fn the_ancestry_of_many_writers_stands_as_given(suite: &mut Suite) {
    let others =
        (1..200_u128).map(|n| (sync_runtime::ReplicaId(uuid::Uuid::from_u128(n * 7_919)), NOW - n as i64));
    let ancestry = Ancestry::new(at(9, PEER), others);
    let given = ancestry.clone();
    suite
        .put_one(altered(brought(&TASK, task("a", "x"), at(9, PEER)), |change| change.ancestry = given))
        .await;
    assert_eq!(suite.task_change("a").await.ancestry, ancestry);
    suite.track(10, &TASK, task("a", "y")).await;
    assert_eq!(suite.task_change("a").await.ancestry, ancestry.next(NOW + 10, ME));
}

pub(super) async fn a_state_takes_the_next_position_whatever_it_says(suite: &mut Suite) {
    suite.tasks(0, &["mine"]).await;
    for (id, position) in [("zero", 0), ("low", 1), ("high", 1_000_000), ("negative", -7)] {
        suite.put_one(altered(in_group(id, None), |change| change.position = position)).await;
    }
    assert_eq!(suite.newest().await, 5);
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["mine", "zero", "low", "high", "negative"]);
    assert_eq!(suite.task_change("high").await.position, 4);
}

pub(super) async fn a_state_put_again_takes_a_new_position(suite: &mut Suite) {
    suite.put(vec![in_group("a", None), in_group("b", None)]).await;
    suite.put_one(in_group("a", None)).await;
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["b", "a"]);
    assert_eq!(suite.task_change("a").await.position, 3);
}

pub(super) async fn one_call_may_put_a_record_twice(suite: &mut Suite) {
    let second = brought(&TASK, task("a", "second"), at(2, PEER));
    assert_eq!(suite.put(vec![in_group("a", None), second]).await, [Put::Stored, Put::Stored]);
    assert_eq!(
        suite.task("a").await.and_then(|mut record| record.take(task::TITLE)),
        Some(Value::Text("second".into()))
    );
    assert_eq!(suite.feed(Feed::after(0)).await.len(), 1);
}

pub(super) async fn an_older_state_may_be_put_over_a_newer_one(suite: &mut Suite) {
    suite.tasks(5, &["a"]).await;
    suite.track(6, &TASK, task("a", "second")).await;
    let state = altered(brought(&TASK, task("a", "older"), at(1, OTHER)), |change| change.origin = None);
    suite.put_one(state).await;
    let change = suite.task_change("a").await;
    assert_eq!((change.ancestry, change.origin), (Ancestry::of(at(1, OTHER)), None));
}

pub(super) async fn local_fields_stay_under_a_state(suite: &mut Suite) {
    let mine =
        with(with(task("a", "mine"), task::DRAFT, Value::Text("draft".into())), task::SEEN, Value::Int(8));
    suite.track(0, &TASK, mine.clone()).await;
    // What a state says of local fields does not count, whether it says anything or not.
    let foreign = with(task("a", "theirs"), task::DRAFT, Value::Text("foreign".into()));
    suite.put_one(brought(&TASK, foreign, at(1, PEER))).await;
    assert_eq!(suite.task("a").await, Some(with(mine.clone(), task::TITLE, Value::Text("theirs".into()))));
    let bare = without(without(task("a", "again"), task::DRAFT), task::SEEN);
    suite.put_one(brought(&TASK, bare, at(2, PEER))).await;
    assert_eq!(suite.task("a").await, Some(with(mine, task::TITLE, Value::Text("again".into()))));
}

pub(super) async fn local_fields_of_a_new_record_take_their_defaults(suite: &mut Suite) {
    let foreign =
        with(with(task("a", "x"), task::DRAFT, Value::Text("foreign".into())), task::SEEN, Value::Int(1));
    suite.put_one(brought(&TASK, foreign, at(1, PEER))).await;
    let record = with(task("a", "x"), task::DRAFT, Value::Text("no draft".into()));
    assert_eq!(suite.task("a").await, Some(record));
}

pub(super) async fn local_fields_go_with_a_tombstone(suite: &mut Suite) {
    suite.track(0, &TASK, with(task("a", "x"), task::DRAFT, Value::Text("mine".into()))).await;
    suite.put_one(brought_tombstone(&TASK, &text_id("a"), at(1, PEER))).await;
    suite.put_one(brought(&TASK, task("a", "again"), at(2, PEER))).await;
    let record = with(task("a", "again"), task::DRAFT, Value::Text("no draft".into()));
    assert_eq!(suite.task("a").await, Some(record));
}

pub(super) async fn absent_fields_that_travel_take_their_defaults(suite: &mut Suite) {
    let sparse = without(without(task("a", "x"), task::DONE), task::ORDER);
    suite.put_one(brought(&TASK, sparse, at(1, PEER))).await;
    assert_eq!(
        suite.task("a").await,
        Some(with(task("a", "x"), task::DRAFT, Value::Text("no draft".into())))
    );
    // Also over a record that had other values: a state is whole, it is no patch.
    suite.track(2, &TASK, with(task("a", "x"), task::DONE, Value::Bool(true))).await;
    suite.put_one(brought(&TASK, without(task("a", "y"), task::DONE), at(3, PEER))).await;
    assert_eq!(
        suite.task("a").await.and_then(|mut record| record.take(task::DONE)),
        Some(Value::Bool(false))
    );
}

pub(super) async fn a_state_without_a_required_field_is_refused_by_name(suite: &mut Suite) {
    let states = vec![
        in_group("a", Some(4)),
        altered(brought(&TASK, without(task("b", "x"), task::TITLE), at(1, PEER)), |change| {
            change.group = Some(4)
        }),
        in_group("c", Some(4)),
    ];
    let outcomes = suite.put(states).await;
    let Put::Refused(reason) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert!(reason.contains("title"), "the reason names the field: {reason}");
    assert_eq!((&outcomes[0], &outcomes[2]), (&Put::Stored, &Put::Stored));
    assert_eq!(suite.task("b").await, None);
    assert!(suite.changes(&TASK, &[text_id("b")]).await[0].is_none());
    assert_eq!(suite.task_change("c").await.group, suite.task_change("a").await.group);
}

pub(super) async fn a_group_is_named_by_the_first_state_that_was_stored(suite: &mut Suite) {
    let refused = brought(&TASK, without(task("a", "x"), task::TITLE), at(1, PEER));
    let states = vec![
        altered(refused, |change| change.group = Some(4)),
        in_group("b", Some(4)),
        in_group("c", Some(4)),
    ];
    suite.put(states).await;
    let (b, c) = (suite.task_change("b").await, suite.task_change("c").await);
    assert_eq!((b.group, c.group), (Some(b.position), Some(b.position)));
}

pub(super) async fn a_tombstone_removes_the_record(suite: &mut Suite) {
    suite.tasks(0, &["a", "b"]).await;
    suite.put_one(brought_tombstone(&TASK, &text_id("a"), at(9, PEER))).await;
    assert_eq!(suite.task("a").await, None);
    assert_eq!(suite.count(&TASK, Filter::All).await, 1);
    let change = suite.task_change("a").await;
    assert_eq!((change.kind, change.ancestry), (ChangeKind::Delete, Ancestry::of(at(9, PEER))));
    assert_eq!(change.origin, Some(PEER));
}

pub(super) async fn a_tombstone_of_a_record_that_never_was_is_kept(suite: &mut Suite) {
    suite.put_one(brought_tombstone(&COUNTER, &sync_runtime::Id::Int(1), at(9, PEER))).await;
    assert_eq!(suite.newest().await, 1);
    assert_eq!(suite.change(&COUNTER, &sync_runtime::Id::Int(1)).await.kind, ChangeKind::Delete);
    assert_eq!(suite.feed(Feed::after(0)).await.len(), 1);
}

pub(super) async fn a_tombstone_may_be_put_over_a_tombstone(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.remove(1, &TASK, &text_id("a")).await;
    suite.put_one(brought_tombstone(&TASK, &text_id("a"), at(9, PEER))).await;
    let change = suite.task_change("a").await;
    assert_eq!((change.position, change.ancestry), (3, Ancestry::of(at(9, PEER))));
}

pub(super) async fn a_record_may_be_put_over_a_tombstone(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.remove(1, &TASK, &text_id("a")).await;
    suite.put_one(brought(&TASK, task("a", "back"), at(9, PEER))).await;
    assert!(suite.task("a").await.is_some());
    assert_eq!(suite.task_change("a").await.kind, ChangeKind::Create);
    assert_eq!(suite.save(10, vec![write(&TASK, task("a", "on"))]).await, [Saved::Tracked]);
    assert_eq!(suite.task_change("a").await.kind, ChangeKind::Update);
}

pub(super) async fn groups_are_numbered_anew_by_runs(suite: &mut Suite) {
    suite.tasks(0, &["mine"]).await;
    let groups = [Some(70), Some(70), None, Some(70), Some(3), Some(3), None, None, Some(1)];
    let states = groups.iter().enumerate().map(|(n, group)| in_group(&n.to_string(), *group)).collect();
    suite.put(states).await;
    let mut found = Vec::new();
    for n in 0..groups.len() {
        found.push(suite.task_change(&n.to_string()).await.group);
    }
    assert_eq!(found, [Some(2), Some(2), None, Some(5), Some(6), Some(6), None, None, Some(10)]);
}

pub(super) async fn groups_of_two_calls_are_two(suite: &mut Suite) {
    suite
        .write(|t| {
            Box::pin(async move {
                t.put(&[in_group("a", Some(9)), in_group("b", Some(9))], NOW).await?;
                t.put(&[in_group("c", Some(9)), in_group("d", Some(9))], NOW).await
            })
        })
        .await;
    for (id, group) in [("a", 1), ("b", 1), ("c", 3), ("d", 3)] {
        assert_eq!(suite.task_change(id).await.group, Some(group), "{id}");
    }
}

pub(super) async fn a_state_is_not_tracked_once_more(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.put(vec![brought(&TASK, task("a", "theirs"), at(5, PEER)), in_group("b", None)]).await;
    assert_eq!(suite.newest().await, 3, "one position for each state");
    assert_eq!(suite.task_change("a").await.ancestry.current, at(5, PEER));
}

/// New counters with these ids, in groups of ten. Stores may take a long run of new records in another way than one.
fn long_run(ids: std::ops::RangeInclusive<i64>) -> Vec<State> {
    let one = |id| {
        let state = brought(&COUNTER, counter(id, id * 10), at(100 + id, PEER));
        altered(state, |change| change.group = Some(1_000 + (id - 1) / 10))
    };
    ids.map(one).collect()
}

pub(super) async fn a_long_run_of_new_records_stands_as_given(suite: &mut Suite) {
    suite.put(long_run(101..=145)).await;
    // Before, between and behind those that are there.
    for ids in [1..=100, 146..=200] {
        let states = long_run(ids);
        let outcomes = suite.put(states.clone()).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Put::Stored), "{outcomes:?}");
        let newest = suite.newest().await;
        let found = suite.feed(Feed { data: true, ..Feed::after(newest - states.len() as i64) }).await;
        assert_eq!(found.len(), states.len());
        for (place, (found, state)) in (0..).zip(found.into_iter().zip(states)) {
            let mut expected = plain(&state.change);
            expected.position = newest - outcomes.len() as i64 + 1 + place;
            expected.group = found.change.group;
            assert_eq!((plain(&found.change), found.record), (expected, state.record));
        }
    }
    for (id, first) in [(1, 1), (10, 1), (11, 11), (37, 31), (100, 91)] {
        let group = suite.change(&COUNTER, &sync_runtime::Id::Int(id)).await.group;
        assert_eq!(group, Some(45 + first), "{id}");
    }
}

pub(super) async fn a_long_run_may_meet_records_and_tombstones(suite: &mut Suite) {
    suite.track(0, &COUNTER, counter(70, 7)).await;
    suite.put_one(brought_tombstone(&COUNTER, &sync_runtime::Id::Int(40), at(9, PEER))).await;
    let outcomes = suite.put(long_run(1..=100)).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Put::Stored), "{outcomes:?}");
    let expected: Vec<String> = (1..=100).map(|id: i64| id.to_string()).collect();
    assert_eq!(suite.feed_ids(Feed::after(0)).await, expected);
    assert_eq!(suite.newest().await, 102);
    for id in [40, 70] {
        let (record, change) = (
            suite.record(&COUNTER, &sync_runtime::Id::Int(id)).await,
            suite.change(&COUNTER, &sync_runtime::Id::Int(id)).await,
        );
        assert_eq!(record, Some(counter(id, id * 10)));
        assert_eq!((change.kind, change.position), (ChangeKind::Create, 2 + id));
    }
}

pub(super) async fn a_unique_field_refuses_one_of_a_long_run(suite: &mut Suite) {
    if !suite.factory.make_unique(&suite.store, &COUNTER, 1).await {
        return;
    }
    suite.track(0, &COUNTER, counter(1_000, 500)).await;
    let outcomes = suite.put(long_run(1..=100)).await;
    let refused = |outcome: &Put| matches!(outcome, Put::Refused(_));
    assert_eq!(outcomes.iter().position(refused), Some(49), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| refused(outcome)).count(), 1);
    let expected: Vec<String> =
        [1_000].into_iter().chain((1..=100).filter(|id| *id != 50)).map(|id: i64| id.to_string()).collect();
    assert_eq!(suite.feed_ids(Feed::after(0)).await, expected);
    assert_eq!(suite.newest().await, 100);
    assert_eq!(suite.record(&COUNTER, &sync_runtime::Id::Int(50)).await, None);
    let group = suite.change(&COUNTER, &sync_runtime::Id::Int(51)).await.group;
    assert_eq!(group, Some(51), "the group of the next ten begins with them");
}

pub(super) async fn a_unique_field_refuses_a_write_by_itself(suite: &mut Suite) {
    if !suite.factory.make_unique(&suite.store, &COUNTER, 1).await {
        return;
    }
    suite.track(0, &COUNTER, counter(1, 10)).await;
    let writes =
        [counter(2, 20), counter(3, 10), counter(4, 40)].map(|record| write(&COUNTER, record)).to_vec();
    let saved = suite.save(1, writes).await;
    let Saved::Refused(reason) = &saved[1] else { panic!("{saved:?}") };
    assert!(reason.contains("count"), "the reason names the constraint: {reason}");
    assert_eq!((&saved[0], &saved[2]), (&Saved::Tracked, &Saved::Tracked));
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["1", "2", "4"]);
    assert_eq!(suite.newest().await, 3);
    assert_eq!(suite.record(&COUNTER, &sync_runtime::Id::Int(1)).await, Some(counter(1, 10)));
}

pub(super) async fn a_unique_field_refuses_a_state_by_itself(suite: &mut Suite) {
    if !suite.factory.make_unique(&suite.store, &COUNTER, 1).await {
        return;
    }
    suite.track(0, &COUNTER, counter(1, 10)).await;
    let states =
        [counter(2, 20), counter(3, 10), counter(4, 40)].map(|record| brought(&COUNTER, record, at(1, PEER)));
    let outcomes = suite.put(states.to_vec()).await;
    let Put::Refused(reason) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert!(reason.contains("count"), "the reason names the constraint: {reason}");
    assert_eq!((&outcomes[0], &outcomes[2]), (&Put::Stored, &Put::Stored));
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["1", "2", "4"]);
    assert_eq!(suite.record(&COUNTER, &sync_runtime::Id::Int(1)).await, Some(counter(1, 10)));
}

pub(super) async fn a_refused_update_leaves_the_record_as_it_was(suite: &mut Suite) {
    if !suite.factory.make_unique(&suite.store, &COUNTER, 1).await {
        return;
    }
    suite.save(0, vec![write(&COUNTER, counter(1, 10)), write(&COUNTER, counter(2, 20))]).await;
    suite.keep(Some(Position::MAX)).await;
    let before = suite.everything().await;
    let saved = suite.save(1, vec![write(&COUNTER, counter(2, 10))]).await;
    assert!(matches!(saved[0], Saved::Refused(_)), "{saved:?}");
    let put = suite.put(vec![brought(&COUNTER, counter(2, 10), at(1, PEER))]).await;
    assert!(matches!(put[0], Put::Refused(_)), "{put:?}");
    assert_eq!(suite.everything().await, before);
}
