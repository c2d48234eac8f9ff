//! Parents first: records with declared parents arrive after them and go before them.

use super::ReplicaPair;
use super::models::{Album, Artist, Item, Track};
use super::world::{Device, assert_level};
use crate::flaky::{LineFault, Request, ids_of};
use sync_runtime::replica::{Caller, Exchange, Limits, Pull, Pulled};
use sync_runtime::{Conflict, Query, Status, Syncable, WorkspaceBuilder};

pub(super) fn music(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Artist>().model::<Album>().model::<Track>().model::<Item>()
}

/// Two devices with music.
pub(super) async fn two(pair: &dyn ReplicaPair) -> (Device, Device) {
    (Device::open(pair, pair.a().await, music).await, Device::open(pair, pair.b().await, music).await)
}

pub(super) fn artist(id: &str) -> Artist {
    Artist { id: id.into(), title: "foo".into(), best: None }
}

pub(super) fn album(id: &str, artist: &str) -> Album {
    Album { id: id.into(), title: "foo".into(), artist: Some(artist.into()), before: None }
}

pub(super) fn track(id: i64, album: &str) -> Track {
    Track { id, album: album.into(), title: "foo".into() }
}

pub(super) async fn make<T: Syncable>(device: &Device, value: T) {
    let records = device.workspace.collection::<T>().expect("the model is registered");
    records.upsert(value).await.expect("a record is saved");
}

pub(super) async fn delete<T: Syncable>(device: &Device, id: impl Into<T::Id>) {
    let records = device.workspace.collection::<T>().expect("the model is registered");
    assert!(records.delete(id).await.expect("a record is deleted"), "there was one");
}

pub(super) async fn get<T: Syncable>(device: &Device, id: impl Into<T::Id>) -> Option<T> {
    let records = device.workspace.collection::<T>().expect("the model is registered");
    records.get(id).await.expect("a record is read")
}

async fn count<T: Syncable>(device: &Device) -> u64 {
    let records = device.workspace.collection::<T>().expect("the model is registered");
    records.count(Query::all()).await.expect("records are counted")
}

/// The conflicts of a model that wait on a device.
pub(super) async fn conflicts<T: Syncable>(device: &Device) -> Vec<Conflict<T>> {
    device.workspace.conflicts::<T>().await.expect("conflicts are read")
}

/// The names of all records of a device, tombstones included, in the order in which they came.
async fn feed(device: &Device) -> Vec<String> {
    device.states().await.iter().map(|state| state.change.name()).collect()
}

/// The ids of the records in each page that went over a line.
fn pages(line: &crate::flaky::FlakyReplica) -> Vec<Vec<String>> {
    line.pages().iter().map(|page| ids_of(page).iter().map(ToString::to_string).collect()).collect()
}

/// A page that is pushed brings the parents of its records along, and theirs, however late those stand in the feed.
pub(super) async fn rule_parents_first_a_push_brings_parents_along(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    make(&a, track(1, "l")).await;
    make(&a, track(2, "l")).await;
    make(&a, album("l", "x")).await;
    for n in 0..3 {
        make(&a, Item::new(&format!("i{n}"), "foo")).await;
    }
    make(&a, artist("x")).await;
    let line = b.line();
    let report = a.workspace.sync(&line).page_size(2).await.expect("it syncs");
    assert!(report.level && report.rejected.is_empty(), "{report:?}");
    assert_eq!(pages(&line)[0], ["1", "2", "l", "x"], "both tracks, with what they need");
    assert_eq!(feed(&b).await[..4], ["Artist x", "Album l", "Track 1", "Track 2"]);
    assert_level(&[&a, &b]).await;
    let line = b.line();
    assert_eq!(a.workspace.sync(&line).await.expect("it syncs").pushed, 0);
}

/// A parent that stands before its child was sent already, and is not sent again.
pub(super) async fn rule_parents_first_a_parent_that_is_there_is_not_sent_again(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    make(&a, artist("x")).await;
    make(&a, album("l", "x")).await;
    make(&a, track(1, "l")).await;
    make(&a, Item::new("i", "foo")).await;
    let line = b.line();
    a.workspace.sync(&line).page_size(1).await.expect("it syncs");
    assert_eq!(pages(&line), [["x"], ["l"], ["1"], ["i"]]);
    // What the peer itself brought it has, wherever it stands here.
    make(&b, artist("y")).await;
    make(&a, album("m", "y")).await;
    a.sync_clean(&b).await;
    make(&b, Artist { title: "of b".into(), ..artist("y") }).await;
    make(&a, Album { title: "again".into(), ..album("m", "y") }).await;
    a.workspace.sync(&b.replica).pull_only().await.expect("it pulls");
    make(&a, Item::new("i", "again")).await;
    let line = b.line();
    a.workspace.sync(&line).page_size(1).await.expect("it syncs");
    assert_eq!(pages(&line), [["m"], ["i"]]);
    assert_level(&[&a, &b]).await;
}

/// A page that is pulled brings them too; not those that the puller brought.
pub(super) async fn rule_parents_first_a_pull_brings_parents_along(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    make(&b, track(1, "l")).await;
    make(&b, Item::new("i", "foo")).await;
    make(&b, album("l", "x")).await;
    make(&b, artist("x")).await;
    let (from, to) = (a.workspace.id().await.expect("an id"), b.workspace.id().await.expect("an id"));
    let models = a.engine().models().clone();
    let mut since = None;
    let mut seen = Vec::new();
    loop {
        let pull = Pull { since, limit: 1, ..Pull::of(models.clone()) };
        let exchange = Exchange { from, to, push: None, pull: Some(pull) };
        let answer = b.replica.exchange(&Caller::owner(), exchange).await.expect("it is answered");
        let Some(Pulled::Page(page)) = answer.pulled else { panic!("no page") };
        let ids = page.page.updates.iter().map(|update| update.state.change.id.to_string());
        seen.push(ids.collect::<Vec<_>>().join(" "));
        if !page.more {
            break;
        }
        since = Some(page.checkpoint);
    }
    assert_eq!(seen, ["1 l x", "i", "l x", "x"]);
    a.workspace.sync(&b.replica).page_size(1).await.expect("it syncs");
    assert_level(&[&a, &b]).await;
    assert_eq!(feed(&a).await[..3], ["Artist x", "Album l", "Track 1"]);
}

/// What was written together with a parent comes along with it, so that nobody sees half of it.
pub(super) async fn rule_parents_first_a_parent_comes_with_its_group(pair: &dyn ReplicaPair) {
    for push in [true, false] {
        let (a, b) = two(pair).await;
        let (writer, reader) = if push { (&a, &b) } else { (&b, &a) };
        make(writer, album("l", "x")).await;
        make(writer, Item::new("i", "foo")).await;
        let written = writer.workspace.transaction(|tx| {
            Box::pin(async move {
                tx.upsert(&Item::new("paid", "foo")).await?;
                tx.upsert(&artist("x")).await?;
                tx.upsert(&Item::new("received", "foo")).await
            })
        });
        written.await.expect("the transaction commits");
        for step in 0..20 {
            let line = b.line();
            (0..step % 3).for_each(|_| line.next(Request::Exchange, LineFault::Repeat));
            line.next(Request::Exchange, LineFault::LoseAnswer);
            let _ = a.workspace.sync(&line).page_size(1).await;
            let there = [get::<Item>(reader, "paid").await, get::<Item>(reader, "received").await];
            let there = [there[0].is_some(), there[1].is_some(), get::<Artist>(reader, "x").await.is_some()];
            assert!(there == [true; 3] || there == [false; 3], "push {push}, step {step}: {there:?}");
            assert!(there[0] || get::<Album>(reader, "l").await.is_none(), "the child came first");
        }
        a.workspace.sync(&b.replica).page_size(1).await.expect("it syncs");
        assert_level(&[&a, &b]).await;
    }
}

/// A page that brought a parent along is sent again as it was, after an edit of that parent too.
pub(super) async fn rule_frozen_page_with_a_parent_is_sent_again_unchanged(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    make(&a, album("l", "x")).await;
    make(&a, Item::new("i", "foo")).await;
    make(&a, artist("x")).await;
    make(&a, artist("y")).await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).page_size(1).await.expect_err("the answer is lost");
    let a = a.restart().await;
    make(&a, Artist { title: "edited".into(), ..artist("x") }).await;
    delete::<Artist>(&a, "y").await;
    let report = a.workspace.sync(&line).page_size(1).await.expect("it syncs");
    assert!(report.level && report.conflict_count() == 0, "{report:?}");
    let sent = line.pages();
    assert_eq!(pages(&line)[0], ["l", "x"]);
    assert_eq!((sent[0].number, sent[0].digest), (sent[1].number, sent[1].digest));
    assert_eq!(pages(&line)[0], pages(&line)[1]);
    assert_eq!(get::<Artist>(&b, "x").await.expect("it is there").title, "edited");
    assert_level(&[&a, &b]).await;
}

/// The state of a parent that was sent early is the base of later edits on both sides.
pub(super) async fn rule_frozen_page_a_parent_sent_early_is_a_base(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    make(&a, album("l", "x")).await;
    make(&a, Item::new("i", "foo")).await;
    make(&a, artist("x")).await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::Repeat);
    line.next(Request::Exchange, LineFault::LoseRequest);
    a.workspace.sync(&line).page_size(1).await.expect_err("the second page is lost");
    make(&a, Artist { title: "of a".into(), ..artist("x") }).await;
    make(&b, Artist { best: Some("l".into()), ..artist("x") }).await;
    let report = a.workspace.sync(&line).page_size(1).await.expect("it syncs");
    assert_eq!((report.conflict_count(), report.merged_count()), (0, 1), "{report:?}");
    a.sync_clean(&b).await;
    let merged = get::<Artist>(&b, "x").await.expect("it is there");
    assert_eq!((merged.title.as_str(), merged.best.as_deref()), ("of a", Some("l")));
    assert_level(&[&a, &b]).await;
}

/// A new name after a parent was sent early makes no second edit of it.
pub(super) async fn rule_one_replica_id_one_history_a_parent_sent_early(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    make(&a, album("l", "x")).await;
    make(&a, Item::new("i", "foo")).await;
    make(&a, artist("x")).await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::Repeat);
    line.next(Request::Exchange, LineFault::LoseRequest);
    a.workspace.sync(&line).page_size(1).await.expect_err("the second page is lost");
    let artists = a.workspace.collection::<Artist>().expect("the model is registered");
    let before = artists.find_last_change("x").await.expect("a change is read").expect("it was tracked");
    a.workspace.restored().await.expect("it takes a new name");
    let after = artists.find_last_change("x").await.expect("a change is read").expect("it was tracked");
    assert_eq!(before.revision(), after.revision(), "the peer has it");
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// The parents that do not fit into a page make it shorter; a page never exceeds what the peer takes.
pub(super) async fn rule_parents_first_within_the_limits_of_a_page(pair: &dyn ReplicaPair) {
    for most in 1..=6 {
        let (a, b) = two(pair).await;
        let b = b.limited(Limits { page_records: most, ..Limits::default() }).await;
        for n in 0..6 {
            make(&a, track(n, &format!("l{n}"))).await;
        }
        for n in 0..6 {
            make(&a, album(&format!("l{n}"), &format!("x{}", n % 2))).await;
        }
        make(&a, artist("x0")).await;
        make(&a, artist("x1")).await;
        let line = b.line();
        let report = a.workspace.sync(&line).await.expect("it syncs");
        assert!(report.level && report.rejected.is_empty(), "{most}: {report:?}");
        assert!(pages(&line).iter().all(|page| page.len() <= most), "{most}: {:?}", pages(&line));
        if most > 2 {
            assert!(pages(&line)[0].contains(&"x0".to_owned()), "{most}: {:?}", pages(&line));
        }
        assert_level(&[&a, &b]).await;
        let c = Device::open(pair, pair.a().await, music).await;
        c.workspace.sync(&b.replica).page_size(most).await.expect("it syncs");
        assert_level(&[&b, &c]).await;
    }
}

/// In a page children follow their parents, in a chain of one model too, and what was written together stays together.
pub(super) async fn rule_parents_first_the_order_in_a_page(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let chained = |id: &str, before: &str| Album { before: Some(before.into()), ..album(id, "x") };
    make(&a, chained("3", "2")).await;
    let written = a.workspace.transaction(move |tx| {
        Box::pin(async move {
            tx.upsert(&Item::new("together", "foo")).await?;
            tx.upsert(&Album { before: Some("1".into()), ..album("2", "x") }).await
        })
    });
    written.await.expect("the transaction commits");
    make(&a, album("1", "x")).await;
    make(&a, Item::new("i", "foo")).await;
    make(&a, artist("x")).await;
    a.sync_clean(&b).await;
    assert_eq!(feed(&b).await, ["Artist x", "Album 1", "Item together", "Album 2", "Album 3", "Item i"]);
    delete::<Artist>(&a, "x").await;
    delete::<Album>(&a, "1").await;
    delete::<Album>(&a, "3").await;
    delete::<Album>(&a, "2").await;
    a.sync_clean(&b).await;
    let order = feed(&b).await;
    assert_eq!(order[2..], ["Album 3", "Album 2", "Album 1", "Artist x"], "{order:?}");
    assert_level(&[&a, &b]).await;
}

/// Records that have each other as parents, and one that has itself, neither hang a sync nor stay behind.
pub(super) async fn rule_parents_first_in_a_circle(pair: &dyn ReplicaPair) {
    for size in [1, 2, 100] {
        let (a, b) = two(pair).await;
        make(&a, Album { before: Some("1".into()), ..album("1", "x") }).await;
        make(&a, Album { before: Some("3".into()), ..album("2", "x") }).await;
        make(&a, Album { before: Some("2".into()), ..album("3", "x") }).await;
        make(&a, Artist { best: Some("1".into()), ..artist("x") }).await;
        let report = a.workspace.sync(&b.replica).page_size(size).await.expect("it syncs");
        assert!(report.level && report.rejected.is_empty(), "{report:?}");
        assert_level(&[&a, &b]).await;
        for id in ["1", "2", "3"] {
            delete::<Album>(&a, id).await;
        }
        delete::<Artist>(&a, "x").await;
        let report = a.workspace.sync(&b.replica).page_size(100).await.expect("it syncs");
        assert_eq!((report.conflict_count(), report.rejected.len()), (0, 0), "{report:?}");
        assert_level(&[&a, &b]).await;
    }
}

/// A parent whose children go or move in a later page waits until then, pushed and pulled.
pub(super) async fn rule_parents_first_a_delete_waits_for_a_later_page(pair: &dyn ReplicaPair) {
    for push in [true, false] {
        let (a, b) = two(pair).await;
        let writer = if push { &a } else { &b };
        make(writer, artist("x")).await;
        make(writer, artist("y")).await;
        make(writer, album("gone", "x")).await;
        make(writer, album("moved", "x")).await;
        a.sync_clean(&b).await;
        delete::<Artist>(writer, "x").await;
        make(writer, Item::new("i", "foo")).await;
        delete::<Album>(writer, "gone").await;
        make(writer, album("moved", "y")).await;
        let report = a.workspace.sync(&b.replica).page_size(1).await.expect("it syncs");
        assert!(report.level && report.conflict_count() == 0 && report.rejected.is_empty(), "{report:?}");
        assert_level(&[&a, &b]).await;
        assert_eq!(conflicts::<Artist>(&a).await.len(), 0);
    }
}

/// One deleted a parent, the other made a child of it. It is one conflict, wherever the two meet; nothing is lost.
async fn a_waiting_parent(pair: &dyn ReplicaPair, push: bool) -> (Device, Device) {
    let (a, b) = two(pair).await;
    make(&a, artist("x")).await;
    make(&a, album("old", "x")).await;
    a.sync_clean(&b).await;
    let (deletes, makes) = if push { (&a, &b) } else { (&b, &a) };
    delete::<Album>(deletes, "old").await;
    delete::<Artist>(deletes, "x").await;
    make(makes, album("l", "x")).await;
    make(makes, track(1, "l")).await;
    let plan = a.workspace.sync(&b.replica);
    let report = if push { plan.await } else { plan.pull_only().await };
    let report = report.expect("it syncs");
    assert_eq!(report.conflict_count() + report.rejected.len(), 1, "{report:?}");
    assert!(get::<Artist>(makes, "x").await.is_some(), "the parent waits");
    assert!(get::<Album>(makes, "l").await.is_some(), "nobody lost a child");
    assert!(get::<Album>(makes, "old").await.is_none(), "the rest flows");
    let status = a.workspace.status::<Artist>("x").await.expect("a status");
    assert_eq!(status, Some(Status::Conflicted));
    let conflict = conflicts::<Artist>(&a).await.remove(0);
    assert_eq!((conflict.source().is_none(), conflict.target().is_none()), (push, !push));
    assert_eq!(conflict.base(), Some(&artist("x")));
    let reason = conflict.reason().expect("it says what it waits for");
    assert!(reason.contains("Artist x") && (push || reason.contains("Album l")), "{reason}");
    (a, b)
}

/// Towards keeping the child, the parent comes back.
pub(super) async fn rule_parents_first_a_child_that_is_kept_brings_the_parent_back(pair: &dyn ReplicaPair) {
    for push in [true, false] {
        let (a, b) = a_waiting_parent(pair, push).await;
        let a = a.restart().await;
        let conflict = conflicts::<Artist>(&a).await.remove(0);
        let kept = conflict.resolve_manually(Some(artist("x"))).await;
        kept.expect("it is resolved");
        assert_eq!(get::<Artist>(&a, "x").await, Some(artist("x")));
        let report = a.sync(&b).await;
        assert_eq!(
            (report.level, report.conflict_count(), report.rejected.len()),
            (true, 0, 0),
            "{report:?}"
        );
        assert_eq!(get::<Artist>(&b, "x").await, Some(artist("x")));
        assert_eq!((count::<Album>(&b).await, count::<Track>(&b).await), (1, 1));
        assert_eq!(conflicts::<Artist>(&a).await.len(), 0);
        assert_level(&[&a, &b]).await;
    }
}

/// Towards deleting, both go, and the children of the child.
pub(super) async fn rule_parents_first_a_delete_that_is_kept_takes_the_child_along(pair: &dyn ReplicaPair) {
    for push in [true, false] {
        let (a, b) = a_waiting_parent(pair, push).await;
        let conflict = conflicts::<Artist>(&a).await.remove(0);
        conflict.resolve_manually(None).await.expect("it is resolved");
        let report = a.sync(&b).await;
        assert_eq!(
            (report.level, report.conflict_count(), report.rejected.len()),
            (true, 0, 0),
            "{report:?}"
        );
        for device in [&a, &b] {
            assert_eq!(count::<Artist>(device).await, 0);
            assert_eq!((count::<Album>(device).await, count::<Track>(device).await), (0, 0));
        }
        assert_eq!(conflicts::<Artist>(&a).await.len(), 0);
        assert_level(&[&a, &b]).await;
    }
}

/// The child goes by itself: the delete waits no longer, and nobody has to decide.
pub(super) async fn rule_parents_first_a_delete_waits_no_longer_than_its_child(pair: &dyn ReplicaPair) {
    for push in [true, false] {
        let (a, b) = a_waiting_parent(pair, push).await;
        let makes = if push { &b } else { &a };
        delete::<Track>(makes, 1).await;
        delete::<Album>(makes, "l").await;
        a.sync(&b).await;
        a.sync_clean(&b).await;
        assert_eq!(conflicts::<Artist>(&a).await.len(), 0, "push {push}");
        assert_eq!((count::<Artist>(&a).await, count::<Artist>(&b).await), (0, 0), "push {push}");
        assert_level(&[&a, &b]).await;
    }
}

/// The deleted parent is made anew by who deleted it: nothing waits any more.
pub(super) async fn rule_parents_first_a_parent_made_anew_waits_no_longer(pair: &dyn ReplicaPair) {
    for push in [true, false] {
        let (a, b) = a_waiting_parent(pair, push).await;
        make(if push { &a } else { &b }, Artist { title: "anew".into(), ..artist("x") }).await;
        a.sync_clean(&b).await;
        assert_eq!(conflicts::<Artist>(&a).await.len(), 0, "push {push}");
        assert_eq!(get::<Artist>(&b, "x").await.expect("it is there").title, "anew");
        assert_level(&[&a, &b]).await;
    }
}
