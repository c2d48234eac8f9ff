//! Records whose id is made of several fields: one text for changes and peers, columns of their own in the store.

use super::models::{
    LINK, SEAT, SEAT_GROWN, SHARE, composite_models, link, seat, share, text_id, with, without,
};
use super::suite::{
    ME, NOW, OTHER, PEER, Suite, altered, at, brought, brought_tombstone, delete, expecting, plain, write,
};
use serde_json::json;
use sync_runtime::change::ChangeKind;
use sync_runtime::query::{Comparison, Filter, Selection};
use sync_runtime::record::{Id, Record, Unknown};
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Expect, Feed, Put, Saved};
use sync_runtime::value::Value;
use sync_runtime::version::Position;

/// Halls whose texts have in them what separates and escapes the parts of an id, and what databases compare otherwise
/// than by bytes.
const HALLS: [&str; 12] = ["a/b", "a", "b", "%", "%2F", "/", "ä", "A", "a ", "2F", "'", "a%25"];

async fn prepared(suite: &Suite) {
    suite.store.prepare(&composite_models(&SEAT), OTHER).await.expect("prepared with more models");
}

fn id(schema: &'static ModelSchema, record: &Record) -> Id {
    schema.id_of(record).expect("the record has an id")
}

fn seat_id(hall: &str, number: i64) -> Id {
    id(&SEAT, &seat(hall, number, ""))
}

fn titled(title: &str, record: &Option<Record>) -> bool {
    record.as_ref().and_then(|record| record.get(seat::TITLE)) == Some(&Value::Text(title.to_owned()))
}

/// The halls and numbers of these seats.
fn places(seats: &[Record]) -> Vec<(String, i64)> {
    let place = |seat: &Record| match (seat.get(seat::HALL), seat.get(seat::NUMBER)) {
        (Some(Value::Text(hall)), Some(Value::Int(number))) => (hall.clone(), *number),
        other => panic!("a hall and a number: {other:?}"),
    };
    seats.iter().map(place).collect()
}

pub(super) async fn an_id_of_several_fields_is_one_text_in_changes(suite: &mut Suite) {
    prepared(suite).await;
    suite.track(1, &SEAT, seat("a/b", 7, "x")).await;
    suite.track(2, &SEAT, seat("%", -1, "x")).await;
    suite.track(3, &SHARE, share(0xabc, 2, 3)).await;
    let ids = suite.feed_ids(Feed::after(0)).await;
    assert_eq!(ids, ["a%2Fb/7", "%25/-1", "00000000-0000-0000-0000-000000000abc/2"]);
    let change = suite.change(&SEAT, &text_id("a%2Fb/7")).await;
    assert_eq!((change.kind, change.ancestry.current, change.position), (ChangeKind::Create, at(1, ME), 1));
    let fed = suite.feed(Feed { data: true, ..Feed::after(0) }).await;
    let records: Vec<_> = fed.into_iter().map(|state| state.record).collect();
    let bare = |seat: Record| Some(without(seat, seat::DRAFT));
    assert_eq!(records, [bare(seat("a/b", 7, "x")), bare(seat("%", -1, "x")), Some(share(0xabc, 2, 3))]);
}

pub(super) async fn each_id_of_several_fields_finds_its_own_record(suite: &mut Suite) {
    prepared(suite).await;
    let mut seats = Vec::new();
    for (n, hall) in HALLS.into_iter().enumerate() {
        for number in [n as i64, i64::MIN, i64::MAX] {
            seats.push(seat(hall, number, &format!("{hall} {number}")));
        }
    }
    let saved = suite.save(1, seats.iter().map(|seat| write(&SEAT, seat.clone())).collect()).await;
    assert!(saved.iter().all(|saved| *saved == Saved::Tracked), "{saved:?}");
    let ids: Vec<Id> = seats.iter().rev().map(|seat| id(&SEAT, seat)).collect();
    let asked = ids.clone();
    let records = suite.look(move |t| Box::pin(async move { t.read(&SEAT, &asked).await })).await;
    assert_eq!(records, seats.iter().rev().cloned().map(Some).collect::<Vec<_>>());
    for (state, seat) in suite.states(&SEAT, &ids).await.into_iter().zip(seats.iter().rev()) {
        let state = state.expect("it is tracked");
        assert_eq!(state.change.id, id(&SEAT, seat));
        assert_eq!(state.record, Some(without(seat.clone(), seat::DRAFT)));
    }
    for missing in [seat_id("a/b", 1), seat_id("c", 0), seat_id("a%2Fb", 0)] {
        assert_eq!(suite.record(&SEAT, &missing).await, None, "{missing}");
        assert!(suite.changes(&SEAT, &[missing]).await[0].is_none());
    }
}

pub(super) async fn a_record_is_updated_deleted_and_made_again(suite: &mut Suite) {
    prepared(suite).await;
    let (mine, beside) = (seat_id("a/b", 1), seat_id("a/b", 2));
    suite.save(1, [1, 2].map(|number| write(&SEAT, seat("a/b", number, "first"))).to_vec()).await;
    suite.track(2, &SEAT, seat("a/b", 1, "second")).await;
    assert_eq!(suite.save(3, vec![write(&SEAT, seat("a/b", 1, "second"))]).await, [Saved::Unchanged]);
    assert!(titled("second", &suite.record(&SEAT, &mine).await));
    assert!(titled("first", &suite.record(&SEAT, &beside).await), "its neighbour stays");
    let change = suite.change(&SEAT, &mine).await;
    assert_eq!((change.kind, change.previous), (ChangeKind::Update, Some(at(1, ME))));
    suite.remove(4, &SEAT, &mine).await;
    assert_eq!(suite.record(&SEAT, &mine).await, None);
    assert!(suite.record(&SEAT, &beside).await.is_some());
    assert_eq!(suite.save(5, vec![delete(&SEAT, &mine)]).await, [Saved::Missing]);
    suite.track(6, &SEAT, without(seat("a/b", 1, "third"), seat::DRAFT)).await;
    let again = suite.record(&SEAT, &mine).await.expect("it is there again");
    assert_eq!(again.get(seat::DRAFT), Some(&Value::Text("no draft".into())));
    let change = suite.change(&SEAT, &mine).await;
    assert_eq!((change.kind, change.previous), (ChangeKind::Create, Some(at(4, ME))));
}

pub(super) async fn a_record_may_be_nothing_but_its_id(suite: &mut Suite) {
    prepared(suite).await;
    suite.track(1, &LINK, link("a/", "b")).await;
    assert_eq!(suite.save(2, vec![write(&LINK, link("a/", "b"))]).await, [Saved::Unchanged]);
    suite.put_one(brought(&LINK, link("a", "/b"), at(3, PEER))).await;
    suite.put_one(brought(&LINK, link("a", "/b"), at(4, PEER))).await;
    let selected = suite.select(&LINK, Selection::default()).await;
    assert_eq!(selected, [link("a", "/b"), link("a/", "b")]);
    assert_eq!(suite.feed_ids(Feed::after(0)).await, ["a%2F/b", "a/%2Fb"]);
    suite.remove(5, &LINK, &text_id("a/%2Fb")).await;
    assert_eq!(suite.select(&LINK, Selection::default()).await, [link("a/", "b")]);
}

pub(super) async fn expectations_hold_for_ids_of_several_fields(suite: &mut Suite) {
    prepared(suite).await;
    let first = write(&SHARE, share(1, 2, 3));
    let second = write(&SHARE, share(1, 2, 4));
    assert_eq!(suite.save(1, vec![expecting(first.clone(), Expect::Present)]).await, [Saved::Missing]);
    assert_eq!(suite.save(2, vec![expecting(first, Expect::Absent)]).await, [Saved::Tracked]);
    assert_eq!(suite.save(3, vec![expecting(second.clone(), Expect::Absent)]).await, [Saved::Exists]);
    assert_eq!(suite.save(4, vec![expecting(second.clone(), Expect::At(at(9, ME)))]).await, [Saved::Moved]);
    assert_eq!(suite.save(5, vec![expecting(second, Expect::At(at(2, ME)))]).await, [Saved::Tracked]);
    assert_eq!(suite.record(&SHARE, &id(&SHARE, &share(1, 2, 0))).await, Some(share(1, 2, 4)));
}

pub(super) async fn an_id_that_no_record_can_have_finds_nothing(suite: &mut Suite) {
    prepared(suite).await;
    suite.track(1, &SEAT, seat("a", 1, "x")).await;
    for text in ["a", "a/", "/1", "a/01", "a/x", "a/1/1", "%61/1"] {
        assert_eq!(suite.record(&SEAT, &text_id(text)).await, None, "{text}");
        assert!(suite.states(&SEAT, &[text_id(text)]).await[0].is_none(), "{text}");
        assert_eq!(suite.save(2, vec![delete(&SEAT, &text_id(text))]).await, [Saved::Missing], "{text}");
    }
    assert_eq!(suite.count(&SEAT, Filter::All).await, 1);
}

pub(super) async fn queries_order_by_the_fields_of_the_id(suite: &mut Suite) {
    prepared(suite).await;
    let given = [("b", 1), ("a", 10), ("a", 9), ("a/b", 2), ("a", -1), ("B", 3), ("a ", 4)];
    let seats = given.map(|(hall, number)| write(&SEAT, seat(hall, number, "x"))).to_vec();
    suite.save(1, seats).await;
    let ordered = [("B", 3), ("a", -1), ("a", 9), ("a", 10), ("a ", 4), ("a/b", 2), ("b", 1)];
    let expected = ordered.map(|(hall, number)| (hall.to_owned(), number));
    assert_eq!(places(&suite.select(&SEAT, Selection::default()).await), expected);
    let by_title = Selection { order: vec![(seat::TITLE, true)], ..Selection::default() };
    assert_eq!(places(&suite.select(&SEAT, by_title).await), expected, "records of equal order");
    let by_number = Selection { order: vec![(seat::NUMBER, true)], limit: Some(2), ..Selection::default() };
    assert_eq!(places(&suite.select(&SEAT, by_number).await), [("a".to_owned(), 10), ("a".to_owned(), 9)]);
    let hall = Filter::Compare(seat::HALL, Comparison::Equal, Value::Text("a".into()));
    assert_eq!(suite.count(&SEAT, hall).await, 3);
    suite.save(2, [(9, 1), (1, 2), (1, -2)].map(|(o, l)| write(&SHARE, share(o, l, 0))).to_vec()).await;
    let shares = suite.select(&SHARE, Selection::default()).await;
    assert_eq!(shares, [share(1, -2, 0), share(1, 2, 0), share(9, 1, 0)]);
}

pub(super) async fn pages_follow_the_fields_of_the_id(suite: &mut Suite) {
    prepared(suite).await;
    let mut writes = Vec::new();
    for hall in HALLS {
        writes.extend((0..3).map(|number| write(&SEAT, seat(hall, number * 5, "x"))));
    }
    suite.save(1, writes).await;
    let all = suite.select(&SEAT, Selection::default()).await;
    assert_eq!(all.len(), HALLS.len() * 3);
    let mut paged = Vec::new();
    loop {
        let selection = Selection { skip: paged.len() as u64, limit: Some(5), ..Selection::default() };
        let page = suite.select(&SEAT, selection).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

pub(super) async fn a_state_stands_as_given_under_its_id(suite: &mut Suite) {
    prepared(suite).await;
    let given = altered(brought(&SEAT, seat("a/b", 1, "theirs"), at(9, PEER)), |change| {
        change.kind = ChangeKind::Update;
        change.previous = Some(at(3, OTHER));
        change.unknown = Some(Box::new(Unknown::from([("size".to_owned(), json!(1))])));
    });
    let mut expected = plain(&given.change);
    suite.put_one(given).await;
    expected.position = 1;
    assert_eq!(suite.change(&SEAT, &seat_id("a/b", 1)).await, expected);
    let stored = suite.record(&SEAT, &seat_id("a/b", 1)).await.expect("it is there");
    assert_eq!(
        stored.get(seat::DRAFT),
        Some(&Value::Text("no draft".into())),
        "a local field is not the peer's"
    );
    assert!(titled("theirs", &Some(stored)));
    suite.put_one(brought(&SEAT, seat("a/b", 1, "newer"), at(10, PEER))).await;
    assert!(titled("newer", &suite.record(&SEAT, &seat_id("a/b", 1)).await));
    assert_eq!(suite.count(&SEAT, Filter::All).await, 1);
}

pub(super) async fn a_long_run_of_states_stands_as_given(suite: &mut Suite) {
    prepared(suite).await;
    suite.track(0, &SHARE, share(2, 40, -1)).await;
    let states: Vec<_> = (0..150).map(|n| brought(&SHARE, share(2, n, n), at(1, PEER))).collect();
    assert_eq!(suite.put(states).await, vec![Put::Stored; 150]);
    let shares = suite.select(&SHARE, Selection::default()).await;
    assert_eq!(shares, (0..150).map(|n| share(2, n, n)).collect::<Vec<_>>());
    let fed = suite.feed(Feed { data: true, ..Feed::after(1) }).await;
    assert_eq!(fed.len(), 150);
    for (n, state) in (0..150).zip(fed) {
        assert_eq!(state.change.id, id(&SHARE, &share(2, n, 0)));
        assert_eq!((state.record, state.change.origin), (Some(share(2, n, n)), Some(PEER)));
    }
}

pub(super) async fn a_tombstone_removes_only_its_record(suite: &mut Suite) {
    prepared(suite).await;
    let ids = ["a/b", "a", "b"].map(|hall| seat_id(hall, 1));
    suite.save(0, ["a/b", "a", "b"].map(|hall| write(&SEAT, seat(hall, 1, "x"))).to_vec()).await;
    suite.put_one(brought_tombstone(&SEAT, &ids[0], at(1, PEER))).await;
    suite.put_one(brought_tombstone(&SEAT, &seat_id("never", 1), at(1, PEER))).await;
    assert_eq!(suite.record(&SEAT, &ids[0]).await, None);
    assert_eq!(suite.count(&SEAT, Filter::All).await, 2);
    assert_eq!(suite.change(&SEAT, &ids[0]).await.kind, ChangeKind::Delete);
    assert_eq!(suite.change(&SEAT, &ids[1]).await.kind, ChangeKind::Create);
}

pub(super) async fn bases_are_kept_under_the_id(suite: &mut Suite) {
    prepared(suite).await;
    suite.save(0, [1, 2].map(|number| write(&SEAT, seat("a/b", number, "first"))).to_vec()).await;
    suite.keep(Some(2)).await;
    suite.track(1, &SEAT, seat("a/b", 1, "second")).await;
    suite.remove(2, &SEAT, &seat_id("a/b", 2)).await;
    let ids = vec![seat_id("a/b", 1), seat_id("a/b", 2), seat_id("a", 1)];
    let bases = suite.look(move |t| Box::pin(async move { t.bases(&SEAT, &ids).await })).await;
    assert_eq!(bases.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0]);
    for (number, bases) in (1..).zip(&bases[..2]) {
        assert_eq!(bases[0].state.change.id, seat_id("a/b", number));
        let expected = without(seat("a/b", number, "first"), seat::DRAFT);
        assert_eq!(bases[0].state.record, Some(expected));
    }
    suite.keep(Some(4)).await;
    suite.track(3, &SEAT, seat("a/b", 2, "again")).await;
    let all = suite.bases_between(Position::MIN, Position::MAX).await;
    let shown: Vec<_> =
        all.iter().map(|base| (base.state.change.id.to_string(), base.state.record.is_some())).collect();
    let expected = [("a%2Fb/1", true), ("a%2Fb/2", true), ("a%2Fb/2", false)];
    assert_eq!(shown, expected.map(|(id, record)| (id.to_owned(), record)));
    // The same once more replaces what is there.
    suite.add_bases(all.clone()).await;
    let again = suite.bases_between(Position::MIN, Position::MAX).await;
    assert_eq!(format!("{again:?}"), format!("{all:?}"));
    suite.drop_bases(Position::MAX).await;
    assert!(suite.bases_between(Position::MIN, Position::MAX).await.is_empty());
}

async fn untracked(suite: &Suite, only: Option<Vec<Id>>, after: Option<Id>, limit: usize) -> Vec<String> {
    let ids = suite
        .look(move |t| {
            Box::pin(async move { t.untracked(&SEAT, only.as_deref(), after.as_ref(), limit).await })
        })
        .await;
    ids.iter().map(Id::to_string).collect()
}

pub(super) async fn what_is_not_tracked_is_found_and_tracked(suite: &mut Suite) {
    prepared(suite).await;
    let saved = ["lost/", "risen%", "well"].map(|hall| write(&SEAT, seat(hall, 1, "x"))).to_vec();
    suite.save(0, saved).await;
    suite.remove(1, &SEAT, &seat_id("risen%", 1)).await;
    let rows = [("ä", Some(seat("ä", 1, "y"))), ("risen%", Some(seat("risen%", 1, "y"))), ("lost/", None)];
    for (hall, record) in rows {
        if !suite.factory.write_untracked(&suite.store, &SEAT, &seat_id(hall, 1), record).await {
            return;
        }
    }
    let all = ["lost%2F/1", "risen%25/1", "ä/1"];
    assert_eq!(untracked(suite, None, None, 9).await, all);
    assert_eq!(untracked(suite, None, None, 2).await, all[..2]);
    assert_eq!(untracked(suite, None, Some(text_id(all[0])), 9).await, all[1..]);
    let only = ["well", "ä", "lost/"].map(|hall| seat_id(hall, 1)).to_vec();
    assert_eq!(untracked(suite, Some(only), None, 9).await, ["lost%2F/1", "ä/1"]);
    let ids = all.map(text_id).to_vec();
    let tracked = suite.write(move |t| Box::pin(async move { t.retrack(&SEAT, &ids, NOW + 2).await })).await;
    assert_eq!(tracked, [true; 3]);
    assert_eq!(untracked(suite, None, None, 9).await, [""; 0]);
    let kinds = [ChangeKind::Delete, ChangeKind::Create, ChangeKind::Create];
    for (text, kind) in all.into_iter().zip(kinds) {
        assert_eq!(suite.change(&SEAT, &text_id(text)).await.kind, kind, "{text}");
    }
}

pub(super) async fn what_is_not_tracked_is_found_in_pages(suite: &mut Suite) {
    prepared(suite).await;
    let mut expected = Vec::new();
    for n in 0..30 {
        let record = share(7, n, n);
        let row = id(&SHARE, &record);
        if !suite.factory.write_untracked(&suite.store, &SHARE, &row, Some(record)).await {
            return;
        }
        expected.push(row);
    }
    expected.sort();
    let mut found = Vec::new();
    loop {
        let after = found.last().cloned();
        let page = suite
            .look(move |t| Box::pin(async move { t.untracked(&SHARE, None, after.as_ref(), 7).await }))
            .await;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, expected);
    let tracked = suite.write(move |t| Box::pin(async move { t.retrack(&SHARE, &found, NOW).await })).await;
    assert_eq!(tracked, [true; 30]);
    assert_eq!(suite.feed(Feed::after(0)).await.len(), 30);
}

pub(super) async fn fields_keep_their_stamps_under_the_id(suite: &mut Suite) {
    prepared(suite).await;
    let mine = seat_id("a/b", 1);
    suite.track(1, &SEAT, seat("a/b", 1, "first")).await;
    suite.track(2, &SEAT, seat("a/b", 1, "second")).await;
    let change = suite.change(&SEAT, &mine).await;
    assert_eq!(change.stamps.get("order"), Some(&(NOW + 1)), "{:?}", change.stamps);
    assert_eq!(change.stamps.len(), 1, "the id never changes, and the title has no such policy");
    suite.track(3, &SEAT, with(seat("a/b", 1, "second"), seat::ORDER, Value::Int(4))).await;
    assert!(suite.change(&SEAT, &mine).await.stamps.is_empty());
}

pub(super) async fn an_added_field_takes_over_what_was_sent(suite: &mut Suite) {
    prepared(suite).await;
    let sent = |price: i64| Some(Box::new(Unknown::from([("price".to_owned(), json!(price))])));
    for (hall, price) in [("a/b", 8), ("a", 9)] {
        let state = brought(&SEAT, seat(hall, 1, "x"), at(1, PEER));
        suite.put_one(altered(state, |change| change.unknown = sent(price))).await;
    }
    suite.store.prepare(&composite_models(&SEAT_GROWN), OTHER).await.expect("prepared with a field more");
    for (hall, price) in [("a/b", 8), ("a", 9)] {
        let record = suite.record(&SEAT_GROWN, &seat_id(hall, 1)).await.expect("the record");
        let place = SEAT_GROWN.position("price").expect("a field");
        assert_eq!(record.get(place), Some(&Value::Int(price)), "{hall}");
        assert!(suite.change(&SEAT_GROWN, &seat_id(hall, 1)).await.unknown.is_empty());
    }
}

pub(super) async fn everything_outlives_a_restart(suite: &mut Suite) {
    prepared(suite).await;
    suite.track(1, &SEAT, seat("a/b", 1, "first")).await;
    suite.remove(2, &SEAT, &seat_id("a/b", 1)).await;
    suite.track(3, &SHARE, share(1, 2, 3)).await;
    let before = suite.everything().await;
    if suite.reopen_with(&composite_models(&SEAT)).await {
        assert_eq!(suite.everything().await, before);
        suite.track(4, &SHARE, share(1, 2, 4)).await;
        assert_eq!(suite.change(&SHARE, &id(&SHARE, &share(1, 2, 0))).await.kind, ChangeKind::Update);
    }
}
