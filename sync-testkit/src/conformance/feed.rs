//! The feed: changes in the order of positions, cut where asked for, and nothing skipped.

use super::models::{COUNTER, TASK, counter, task, text_id, with, without};
use super::suite::{ME, NOW, OTHER, PEER, Suite, altered, at, brought, plain, write};
use serde_json::json;
use sync_runtime::record::{Record, Unknown};
use sync_runtime::store::Feed;
use sync_runtime::value::Value;
use sync_runtime::version::{Ancestry, Position};

/// Five tasks at positions 1 to 5.
async fn five(suite: &Suite) {
    suite.tasks(0, &["e", "d", "c", "b", "a"]).await;
}

pub(super) async fn changes_come_by_position(suite: &mut Suite) {
    five(suite).await;
    suite.track(1, &TASK, task("c", "second")).await;
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["e", "d", "b", "a", "c"]);
    let positions: Vec<_> =
        suite.feed(Feed::after(0)).await.iter().map(|state| state.change.position).collect();
    assert_eq!(positions, [1, 2, 4, 5, 6]);
}

pub(super) async fn changes_start_after_a_position(suite: &mut Suite) {
    five(suite).await;
    assert_eq!(suite.feed_ids(Feed::after(3)).await, ["b", "a"]);
    assert_eq!(suite.feed_ids(Feed::after(5)).await, [""; 0]);
    assert_eq!(suite.feed_ids(Feed::after(-1)).await.len(), 5);
    assert_eq!(suite.feed_ids(Feed::after(Position::MIN)).await.len(), 5);
    assert_eq!(suite.feed_ids(Feed::after(Position::MAX)).await, [""; 0]);
}

pub(super) async fn changes_end_through_a_position(suite: &mut Suite) {
    five(suite).await;
    let ids = |after, through| suite.feed_ids(Feed { through, ..Feed::after(after) });
    assert_eq!(ids(0, 2).await, ["e", "d"]);
    assert_eq!(ids(1, 2).await, ["d"]);
    for (after, through) in [(2, 2), (3, 2), (0, 0), (0, -1), (Position::MAX, Position::MIN)] {
        assert_eq!(ids(after, through).await, [""; 0], "after {after} through {through}");
    }
}

pub(super) async fn changes_are_limited(suite: &mut Suite) {
    five(suite).await;
    let ids = |limit| suite.feed_ids(Feed { limit, ..Feed::after(1) });
    assert_eq!(ids(0).await, [""; 0]);
    assert_eq!(ids(1).await, ["d"]);
    assert_eq!(ids(3).await, ["d", "c", "b"]);
    assert_eq!(ids(99).await.len(), 4);
}

pub(super) async fn changes_stop_before_the_bytes_asked_for(suite: &mut Suite) {
    five(suite).await;
    let full = suite.feed(Feed { data: true, ..Feed::after(0) }).await;
    let size = full[0].record.as_ref().map(Record::size).expect("a record");
    let ids = |bytes| suite.feed_ids(Feed { bytes, data: true, ..Feed::after(0) });
    assert_eq!(ids(size).await.len(), 1);
    assert_eq!(ids(size * 3).await.len(), 3);
    assert_eq!(ids(size * 3 - 1).await.len(), 2);
    assert_eq!(ids(0).await.len(), 1, "at least one");
    assert_eq!(ids(usize::MAX).await.len(), 5);
}

pub(super) async fn a_record_larger_than_the_bytes_comes_alone(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.track(1, &TASK, task("large", &"x".repeat(10_000))).await;
    suite.tasks(2, &["b"]).await;
    let page = |after| suite.feed_ids(Feed { bytes: 1_000, data: true, ..Feed::after(after) });
    assert_eq!(page(0).await, ["a"]);
    assert_eq!(page(1).await, ["large"]);
    assert_eq!(page(2).await, ["b"]);
}

pub(super) async fn bytes_do_not_count_where_no_records_are_read(suite: &mut Suite) {
    five(suite).await;
    assert_eq!(suite.feed_ids(Feed { bytes: 1, ..Feed::after(0) }).await.len(), 5);
}

pub(super) async fn tombstones_take_no_bytes(suite: &mut Suite) {
    five(suite).await;
    for id in ["e", "d", "c", "b", "a"] {
        suite.remove(1, &TASK, &text_id(id)).await;
    }
    assert_eq!(suite.feed_ids(Feed { bytes: 1, data: true, ..Feed::after(0) }).await.len(), 5);
}

pub(super) async fn what_a_peer_brought_does_not_go_back_to_it(suite: &mut Suite) {
    suite.tasks(0, &["mine"]).await;
    suite.put_one(brought(&TASK, task("theirs", "x"), at(1, PEER))).await;
    suite.put_one(brought(&TASK, task("others", "x"), at(1, OTHER))).await;
    let without = |peer| suite.feed_ids(Feed { not_from: peer, ..Feed::after(0) });
    assert_eq!(without(None).await, ["mine", "theirs", "others"]);
    assert_eq!(without(Some(PEER)).await, ["mine", "others"]);
    assert_eq!(without(Some(OTHER)).await, ["mine", "theirs"]);
    assert_eq!(without(Some(ME)).await, ["mine", "theirs", "others"]);
    suite.track(2, &TASK, task("theirs", "mine now")).await;
    assert_eq!(without(Some(PEER)).await, ["mine", "others", "theirs"]);
}

pub(super) async fn what_is_left_out_does_not_count_towards_the_limit(suite: &mut Suite) {
    for n in 0..6 {
        suite.put_one(brought(&TASK, task(&n.to_string(), "x"), at(1, PEER))).await;
        suite.track(2, &COUNTER, counter(n, 0)).await;
    }
    let feed = Feed { limit: 3, not_from: Some(PEER), ..Feed::after(0) };
    assert_eq!(suite.feed_ids(feed).await, ["0", "1", "2"]);
    let feed = Feed { limit: 2, schema: Some(&COUNTER), ..Feed::after(2) };
    assert_eq!(suite.feed(feed).await.iter().map(|state| state.change.position).collect::<Vec<_>>(), [4, 6]);
}

pub(super) async fn what_is_left_out_takes_no_bytes(suite: &mut Suite) {
    suite.put_one(brought(&TASK, task("large", &"x".repeat(10_000)), at(1, PEER))).await;
    suite.tasks(1, &["a"]).await;
    suite.put_one(brought(&TASK, task("large too", &"x".repeat(10_000)), at(1, PEER))).await;
    suite.tasks(2, &["b"]).await;
    let feed = Feed { bytes: 1_000, data: true, not_from: Some(PEER), ..Feed::after(0) };
    assert_eq!(suite.feed_ids(feed).await, ["a", "b"]);
}

pub(super) async fn one_model_may_be_asked_for(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite.track(1, &COUNTER, counter(1, 1)).await;
    suite.tasks(2, &["b"]).await;
    let of = |schema| suite.feed_ids(Feed { schema, ..Feed::after(0) });
    assert_eq!(of(Some(&TASK)).await, ["a", "b"]);
    assert_eq!(of(Some(&COUNTER)).await, ["1"]);
    assert_eq!(of(Some(&super::models::EVERYTHING)).await, [""; 0]);
    assert_eq!(of(None).await, ["a", "1", "b"]);
}

pub(super) async fn records_come_only_if_asked_for_and_without_local_fields(suite: &mut Suite) {
    suite.track(0, &TASK, with(task("a", "x"), task::DRAFT, Value::Text("private".into()))).await;
    suite.tasks(1, &["gone"]).await;
    suite.remove(2, &TASK, &text_id("gone")).await;
    let bare = suite.feed(Feed::after(0)).await;
    assert!(bare.iter().all(|state| state.record.is_none()));
    let full = suite.feed(Feed { data: true, ..Feed::after(0) }).await;
    assert_eq!(full[0].record, Some(without(without(task("a", "x"), task::DRAFT), task::SEEN)));
    assert!(full[1].change.is_delete() && full[1].record.is_none());
}

pub(super) async fn changes_come_with_everything_about_them(suite: &mut Suite) {
    let state = altered(brought(&TASK, task("a", "x"), at(9, PEER)), |change| {
        change.ancestry = Ancestry::new(at(9, PEER), [(OTHER, NOW + 3), (ME, NOW + 2)]);
        change.kind = sync_runtime::change::ChangeKind::Update;
        change.merged = Some((at(2, ME), at(3, OTHER)));
        change.previous = Some(at(3, OTHER));
        change.group = Some(5);
        change.unknown = Some(Box::new(Unknown::from([("size".to_owned(), json!(1.0))])));
    });
    let mut expected = plain(&state.change);
    suite.put_one(state).await;
    (expected.position, expected.group) = (1, Some(1));
    let feed = suite.feed(Feed { data: true, ..Feed::after(0) }).await;
    assert_eq!(plain(&feed[0].change), expected);
    assert_eq!(suite.task_change("a").await, expected);
    let states = suite.states(&TASK, &[text_id("a")]).await;
    assert_eq!(plain(&states[0].as_ref().expect("a state").change), expected);
}

pub(super) async fn paging_gives_every_change_once(suite: &mut Suite) {
    for n in 0..40 {
        suite.track(n, &COUNTER, counter(n, 0)).await;
        suite.tasks(n, &[&n.to_string()]).await;
        if n % 3 == 0 {
            suite.remove(n + 1, &TASK, &text_id(&n.to_string())).await;
        }
        if n % 5 == 0 {
            suite.track(n + 1, &COUNTER, counter(n / 2, n + 1)).await;
        }
    }
    let whole: Vec<_> = suite.feed(Feed::after(0)).await.iter().map(|state| plain(&state.change)).collect();
    assert_eq!(whole.len(), 80);
    for limit in [1, 3, 7, 80] {
        let (mut paged, mut after) = (Vec::new(), 0);
        loop {
            let page = suite.feed(Feed { limit, ..Feed::after(after) }).await;
            let Some(last) = page.last() else { break };
            after = last.change.position;
            paged.extend(page.iter().map(|state| plain(&state.change)));
        }
        assert_eq!(paged, whole, "by pages of {limit}");
    }
}

pub(super) async fn a_write_between_two_pages_comes_in_a_later_one(suite: &mut Suite) {
    five(suite).await;
    assert_eq!(suite.feed_ids(Feed { limit: 2, ..Feed::after(0) }).await, ["e", "d"]);
    suite.save(1, vec![write(&TASK, task("d", "second")), write(&TASK, task("c", "second"))]).await;
    assert_eq!(suite.feed_ids(Feed::after(2)).await, ["b", "a", "d", "c"]);
}
