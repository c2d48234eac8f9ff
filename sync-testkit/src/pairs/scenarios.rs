//! The histories that offline apps are asked about, as the seeds of this project tell them.

use super::ReplicaPair;
use super::merging::{cards, create, edit, get, the_card, two_level, two_with_cards, with};
use super::models::{Card, CardField};
use super::world::{Device, assert_level};
use crate::flaky::Request;
use sync_runtime::{ConflictKind, Side, Stamp, Status};

const HOUR: i64 = 3_600_000_000;

async fn remove(device: &Device) {
    let records = device.workspace.collection::<Card>().expect("the model is registered");
    assert!(records.delete("1").await.expect("a record is deleted"));
}

async fn conflicts(device: &Device) -> Vec<sync_runtime::Conflict<Card>> {
    device.workspace.conflicts::<Card>().await.expect("conflicts are read")
}

/// An edit that arrives weeks late merges with all that happened since, field by field.
pub(super) async fn an_update_that_arrives_weeks_late(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    let now = pair.env().now();
    a.env.freeze(now);
    edit::<Card>(&a, |card| (card.votes, card.color, card.title) = (11, "of a".into(), "of a".into())).await;
    for week in 1..=6 {
        server.env.freeze(now + week * 7 * 24 * HOUR);
        edit::<Card>(&server, |card| (card.votes, card.color) = (card.votes + 1, "of the server".into()))
            .await;
    }
    a.env.freeze(now + 43 * 24 * HOUR);
    a.sync_clean(&server).await;
    let card = the_card(&server).await;
    assert_eq!((card.votes, card.color.as_str(), card.title.as_str()), (17, "of the server", "of a"));
    assert_level(&[&a, &server]).await;
}

/// Deleted on the server while edited offline: the user is asked whether to restore it.
pub(super) async fn deleted_on_the_server_while_edited_offline(pair: &dyn ReplicaPair) {
    for restore in [true, false] {
        let (a, server) = two_level(pair).await;
        edit::<Card>(&a, |card| card.title = "edited".into()).await;
        remove(&server).await;
        a.sync(&server).await;
        let conflict = conflicts(&a).await.remove(0);
        assert_eq!((conflict.kind(), conflict.target()), (ConflictKind::Delete, None));
        assert_eq!(conflict.source().map(|card| card.title.as_str()), Some("edited"));
        match restore {
            true => conflict.resolve_using_source().await.expect("it is resolved"),
            false => conflict.resolve_using_target().await.expect("it is resolved"),
        }
        a.sync_clean(&server).await;
        let title = get::<Card>(&server).await.map(|card| card.title);
        assert_eq!(title.as_deref(), restore.then_some("edited"));
        assert_level(&[&a, &server]).await;
    }
}

/// Edited on the server while deleted offline: the user is asked whether it is really to go.
pub(super) async fn edited_on_the_server_while_deleted_offline(pair: &dyn ReplicaPair) {
    for really in [true, false] {
        let (a, server) = two_level(pair).await;
        remove(&a).await;
        edit::<Card>(&server, |card| card.title = "edited".into()).await;
        a.sync(&server).await;
        let conflict = conflicts(&a).await.remove(0);
        assert_eq!((conflict.kind(), conflict.source()), (ConflictKind::Delete, None));
        match really {
            true => conflict.resolve_using_source().await.expect("it is resolved"),
            false => conflict.resolve_using_target().await.expect("it is resolved"),
        }
        a.sync_clean(&server).await;
        assert_eq!(get::<Card>(&a).await.is_none(), really);
        assert_level(&[&a, &server]).await;
    }
}

/// Both deleted it: they agree.
pub(super) async fn both_deleted(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    remove(&a).await;
    remove(&server).await;
    a.sync_clean(&server).await;
    assert_level(&[&a, &server]).await;
}

/// Both made a record of one id: what can be decided without a common past is, the rest is for people.
pub(super) async fn both_created_the_same_id(pair: &dyn ReplicaPair) {
    let (a, server) = two_with_cards(pair).await;
    create(&a, Card { id: "1".into(), title: "of a".into(), best: 1, ..Card::default() }).await;
    create(&server, Card { id: "1".into(), title: "of the server".into(), best: 2, ..Card::default() }).await;
    a.sync(&server).await;
    let conflict = conflicts(&a).await.remove(0);
    assert_eq!((conflict.fields(), conflict.base()), (vec![CardField::Title], None));
    conflict.resolve_field(CardField::Title, Side::Source).resolve_fields().await.expect("it is resolved");
    a.sync_clean(&server).await;
    let card = the_card(&server).await;
    assert_eq!((card.title.as_str(), card.best), ("of a", 2));
    assert_level(&[&a, &server]).await;
}

/// Both set the same field to the same value: that value stands, and no one is asked.
pub(super) async fn the_same_field_to_the_same_value(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    edit::<Card>(&a, |card| (card.title, card.best) = ("agreed".into(), 6)).await;
    edit::<Card>(&server, |card| (card.title, card.place) = ("agreed".into(), "there".into())).await;
    a.sync_clean(&server).await;
    let card = the_card(&a).await;
    assert_eq!((card.title.as_str(), card.best, card.place.as_str()), ("agreed", 6, "there"));
    assert_level(&[&a, &server]).await;
}

/// Two edits of a `last_write` field, the one of `a` a minute before or after the server's, with the clock of `a` off
/// as `wrong` says. Whose stood.
async fn winner(pair: &dyn ReplicaPair, later: bool, wrong: impl Fn(Stamp) -> Stamp) -> String {
    let (a, server) = two_level(pair).await;
    let now = pair.env().now();
    let (of_a, of_server) = if later { (now + 60_000_000, now) } else { (now - 60_000_000, now) };
    server.env.freeze(of_server);
    a.env.freeze(wrong(of_a));
    edit::<Card>(&a, |card| card.color = "of a".into()).await;
    edit::<Card>(&server, |card| card.color = "of the server".into()).await;
    server.env.freeze(now + 61_000_000);
    a.env.freeze(wrong(now + 61_000_000));
    let report = a.sync_clean(&server).await;
    assert_eq!(the_card(&a).await.color, the_card(&server).await.color);
    let lost = report.merged::<Card>()[0].fields[0].lost.clone();
    assert!(lost.is_some(), "what was lost is told");
    assert_level(&[&a, &server]).await;
    the_card(&server).await.color
}

/// A clock that is right, for comparison.
pub(super) async fn last_writer_wins_with_a_clock_that_is_right(pair: &dyn ReplicaPair) {
    assert_eq!(winner(pair, true, |now| now).await, "of a");
    assert_eq!(winner(pair, false, |now| now).await, "of the server");
}

/// An hour slow: edits of that clock are older than they are, so they lose; both hold the same, and it is told.
pub(super) async fn last_writer_wins_with_a_clock_an_hour_slow(pair: &dyn ReplicaPair) {
    assert_eq!(winner(pair, true, |now| now - HOUR).await, "of the server");
    assert_eq!(winner(pair, false, |now| now - HOUR).await, "of the server");
}

/// An hour fast: the push is refused, the clock corrected, and the edit stamped anew; it does not win for an hour.
pub(super) async fn last_writer_wins_with_a_clock_an_hour_fast(pair: &dyn ReplicaPair) {
    assert_eq!(winner(pair, true, |now| now + HOUR).await, "of a");
    let (a, server) = two_level(pair).await;
    let now = pair.env().now();
    server.env.freeze(now);
    a.env.freeze(now + HOUR);
    edit::<Card>(&a, |card| card.color = "of a".into()).await;
    a.sync_clean(&server).await;
    server.env.freeze(now + 1_000_000);
    edit::<Card>(&server, |card| card.color = "of the server".into()).await;
    a.env.freeze(now + HOUR + 500_000);
    edit::<Card>(&a, |card| card.color = "of a again".into()).await;
    a.sync_clean(&server).await;
    assert_eq!(the_card(&a).await.color, "of the server", "half a second later");
    assert_level(&[&a, &server]).await;
}

/// At zero, as a device without a battery begins: its edits of what it has seen are still newer than that.
pub(super) async fn last_writer_wins_with_a_clock_at_zero(pair: &dyn ReplicaPair) {
    assert_eq!(winner(pair, true, |_| 0).await, "of the server");
    let (a, server) = two_level(pair).await;
    a.env.freeze(0);
    edit::<Card>(&server, |card| card.color = "of the server".into()).await;
    a.sync_clean(&server).await;
    edit::<Card>(&a, |card| card.color = "on top".into()).await;
    a.sync_clean(&server).await;
    assert_eq!(the_card(&server).await.color, "on top", "it knew what it overwrote");
    assert_level(&[&a, &server]).await;
}

/// The server's own code edits the record while it is being pushed: both edits stand, in the same sync.
pub(super) async fn the_server_edits_the_record_while_it_is_pushed(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    edit::<Card>(&a, |card| (card.votes, card.title) = (11, "of a".into())).await;
    let line = server.line();
    let there = server.workspace.clone();
    line.before(Request::Exchange, move || {
        Box::pin(async move {
            let cards = there.collection::<Card>().expect("the model is registered");
            cards.update("1", |card| (card.votes, card.best) = (20, 99)).await.expect("it is saved");
        })
    });
    let report = a.workspace.sync(&line).await.expect("the sync succeeds");
    assert!(report.level && report.conflict_count() == 0, "{report:?}");
    let card = the_card(&server).await;
    assert_eq!((card.votes, card.best, card.title.as_str()), (21, 99, "of a"));
    assert_level(&[&a, &server]).await;
}

/// A conflict at a device is gone there once another device has resolved it.
pub(super) async fn a_conflict_resolved_on_one_device_disappears_from_the_others(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    let b = Device::open(pair, pair.a().await, cards).await;
    b.sync_clean(&server).await;
    edit::<Card>(&a, |card| card.title = "of a".into()).await;
    edit::<Card>(&server, |card| card.title = "of the server".into()).await;
    // `b` has the edit of `a` from `a` itself, and meets the server's: the same conflict at two places.
    b.sync_clean(&a).await;
    assert_eq!(a.sync(&server).await.conflict_count(), 1);
    assert_eq!(b.sync(&server).await.conflict_count(), 1);
    conflicts(&a).await.remove(0).resolve_using_source().await.expect("it is resolved");
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    assert_eq!(conflicts(&b).await.len(), 0);
    assert_eq!(b.workspace.status::<Card>("1").await.expect("a status"), Some(Status::NeedsSync));
    b.sync_clean(&a).await;
    assert_eq!(b.workspace.status::<Card>("1").await.expect("a status"), Some(Status::Synced));
    assert_level(&[&a, &b, &server]).await;
}

/// A server whose own rule settles what comes: see `incoming`; here, that the device needs no policy of its own.
pub(super) async fn an_authoritative_server_settles_every_conflict(pair: &dyn ReplicaPair) {
    let (a, server) = two_level(pair).await;
    let server = with(server, |builder| {
        builder.on_incoming::<Card>(|update| match (&update.current, update.in_conflict) {
            (Some(current), true) => sync_runtime::Ruling::Store(Some(current.clone())),
            _ => sync_runtime::Ruling::Pass,
        })
    })
    .await;
    edit::<Card>(&a, |card| card.title = "of a".into()).await;
    edit::<Card>(&server, |card| card.title = "of the server".into()).await;
    a.sync_clean(&server).await;
    assert_eq!(the_card(&a).await.title, "of the server");
    assert_level(&[&a, &server]).await;
}
