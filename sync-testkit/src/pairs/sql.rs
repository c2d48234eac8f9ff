//! What only a database brings: constraints, triggers, other programs. The second party has SQL.

use super::ReplicaPair;
use super::merging::{edit, the_card, two_level};
use super::models::{Album, Artist, Card, Entry, Item, List};
use super::parents::{album, artist, conflicts, delete, get, make, music};
use super::world::{Device, all_models, assert_level};
use crate::flaky::{LineFault, Request};
use sync_runtime::{ErrorKind, Query, Status, WorkspaceBuilder};

/// Tables with a foreign key, as an app has them that was there before.
const FAMILY: &str = "CREATE TABLE pair_list(id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL);
    CREATE TABLE pair_entry(id TEXT PRIMARY KEY NOT NULL, list TEXT NOT NULL REFERENCES pair_list(id),
    text TEXT NOT NULL)";

/// Tables of models with declared parents, with what the database says of them.
fn collection_of_music(on_delete: &str) -> String {
    format!(
        "CREATE TABLE pair_artist(id TEXT PRIMARY KEY NOT NULL, title TEXT NOT NULL, best TEXT);
        CREATE TABLE pair_album(id TEXT PRIMARY KEY NOT NULL, title TEXT NOT NULL,
        artist TEXT REFERENCES pair_artist(id) {on_delete}, \"before\" TEXT REFERENCES pair_album(id) {on_delete})"
    )
}

/// A database that stores titles in capitals, whoever writes them.
const CAPITALS: &str =
    "CREATE TRIGGER capital_insert AFTER INSERT ON pair_item WHEN new.title <> upper(new.title)
    BEGIN UPDATE pair_item SET title = upper(title) WHERE id = new.id; END;
    CREATE TRIGGER capital_update AFTER UPDATE ON pair_item WHEN new.title <> upper(new.title)
    BEGIN UPDATE pair_item SET title = upper(title) WHERE id = new.id; END";

fn family(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<List>().model::<Entry>()
}

/// A device without constraints and a database with a foreign key.
async fn with_family(pair: &dyn ReplicaPair) -> (Device, Device) {
    let a = Device::open(pair, pair.a().await, family).await;
    let party = pair.b().await;
    party.sql(FAMILY).await;
    (a, Device::open(pair, party, family).await)
}

/// A device and a database that stores titles in capitals.
async fn with_capitals(pair: &dyn ReplicaPair) -> (Device, Device) {
    let a = Device::open(pair, pair.a().await, all_models).await;
    let b = Device::open(pair, pair.b().await, all_models).await;
    b.workspace.close();
    b.party.sql(CAPITALS).await;
    (a, b.restart().await)
}

/// A device without constraints and a database with foreign keys between declared models.
async fn with_music(pair: &dyn ReplicaPair, on_delete: &str) -> (Device, Device) {
    let a = Device::open(pair, pair.a().await, music).await;
    let party = pair.b().await;
    party.sql(&collection_of_music(on_delete)).await;
    (a, Device::open(pair, party, music).await)
}

async fn make_entry(device: &Device, id: &str, list: &str) {
    let entries = device.workspace.collection::<Entry>().expect("the model is registered");
    entries.create(Entry::new(id, list)).await.expect("an entry is made");
}

async fn make_list(device: &Device, id: &str) {
    let lists = device.workspace.collection::<List>().expect("the model is registered");
    lists.create(List::new(id, "foo")).await.expect("a list is made");
}

async fn entries(device: &Device) -> u64 {
    let entries = device.workspace.collection::<Entry>().expect("the model is registered");
    entries.count(Query::all()).await.expect("entries are counted")
}

/// Syncs; what a constraint refused at first was taken with its page, not in a request of its own after it.
async fn in_one_exchange(a: &Device, b: &Device) {
    let line = b.line();
    let report = a.workspace.sync(&line).await.expect("it syncs");
    assert!(report.level && report.rejected.is_empty(), "{report:?}");
    assert_eq!(line.requests(), [Request::Describe, Request::Exchange]);
}

/// In a page, children that stand before their parents arrive with them.
pub(super) async fn rule_parents_first_in_a_page(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_entry(&a, "1", "l").await;
    make_entry(&a, "2", "l").await;
    make_list(&a, "l").await;
    in_one_exchange(&a, &b).await;
    assert_eq!(entries(&b).await, 2);
    assert_level(&[&a, &b]).await;
}

/// Parents that were deleted before their children go with them.
pub(super) async fn rule_parents_first_deletes_go_children_first(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_list(&a, "l").await;
    make_entry(&a, "1", "l").await;
    a.sync_clean(&b).await;
    let lists = a.workspace.collection::<List>().expect("the model is registered");
    lists.delete("l").await.expect("a list is deleted");
    a.workspace
        .collection::<Entry>()
        .expect("the model is registered")
        .delete("1")
        .await
        .expect("it is deleted");
    in_one_exchange(&a, &b).await;
    assert_eq!(entries(&b).await, 0);
    assert_level(&[&a, &b]).await;
}

/// A pulled child whose parent comes in a later page is tried again then.
pub(super) async fn rule_parents_first_over_pages_of_a_pull(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_entry(&a, "1", "l").await;
    make_entry(&a, "2", "l").await;
    make_list(&a, "l").await;
    let first = b.workspace.sync(&a.line()).page_size(1).await.expect("it syncs");
    assert_eq!(first.rejected, vec![], "the parent came before the end of the pull");
    assert_eq!(entries(&b).await, 2);
    assert_level(&[&a, &b]).await;
}

/// A pulled child whose parent does not come at all is parked with the reason, and comes when the parent does.
pub(super) async fn rule_parents_first_a_pulled_orphan_waits(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_entry(&a, "1", "l").await;
    let report = b.sync(&a).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(report.rejected[0].code, "constraint");
    assert!(report.rejected[0].by_us);
    let b = b.restart().await;
    make_list(&a, "l").await;
    b.sync(&a).await;
    assert_eq!(entries(&b).await, 1);
    let rejected = b.workspace.rejected::<Entry>().await.expect("what was refused");
    assert_eq!(rejected, vec![]);
    assert_level(&[&a, &b]).await;
}

/// A pushed child whose parent comes in a later page is tried again then.
pub(super) async fn rule_parents_first_over_pages_of_a_push(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_entry(&a, "1", "l").await;
    make_entry(&a, "2", "l").await;
    make_list(&a, "l").await;
    a.workspace.sync(&b.replica).page_size(1).await.expect("it syncs");
    let report = a.sync(&b).await;
    assert_eq!(report.rejected, vec![]);
    assert_eq!(entries(&b).await, 2, "the children are not left behind");
    assert_eq!(a.workspace.rejected::<Entry>().await.expect("what was refused"), vec![]);
    assert_level(&[&a, &b]).await;
}

/// A pushed child whose parent never comes is parked with the reason; all others flow.
pub(super) async fn rule_parents_first_a_pushed_orphan_is_parked(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_list(&a, "l").await;
    make_entry(&a, "1", "nobody").await;
    make_entry(&a, "2", "l").await;
    let report = a.sync(&b).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!((report.rejected[0].code.as_str(), report.rejected[0].by_us), ("constraint", false));
    assert_eq!(entries(&b).await, 1);
    let status = a.workspace.status::<Entry>("1").await.expect("a status");
    assert!(matches!(status, Some(Status::Rejected(_))), "{status:?}");
}

/// With declared parents nothing is refused at first: each page brings them, pushed and pulled.
pub(super) async fn rule_parents_first_with_foreign_keys(pair: &dyn ReplicaPair) {
    for push in [true, false] {
        for size in [1, 2, 100] {
            let (a, b) = with_music(pair, "").await;
            make(&a, Album { before: Some("1".into()), ..album("2", "x") }).await;
            make(&a, album("1", "x")).await;
            make(&a, Item::new("i", "foo")).await;
            make(&a, artist("x")).await;
            let line = if push { b.line() } else { a.line() };
            let workspace = if push { &a.workspace } else { &b.workspace };
            let report = workspace.sync(&line).page_size(size).await.expect("it syncs");
            assert!(report.level && report.rejected.is_empty(), "{report:?}");
            assert!(!line.requests().contains(&Request::BulkUpdate), "nothing is sent a second time");
            assert_level(&[&a, &b]).await;
        }
    }
}

/// A record that a constraint refuses is tried again after each later page; at the end of the pull it was not rejected.
pub(super) async fn rule_parents_first_rejected_only_at_the_end_of_a_pull(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_entry(&a, "1", "l").await;
    // More than one transaction takes: the parent comes in another one.
    let lists = a.workspace.collection::<List>().expect("the model is registered");
    let many = (0..1_200).map(|n| List::new(&format!("k{n}"), "foo"));
    for list in many {
        lists.create(list).await.expect("a list is made");
    }
    make_list(&a, "l").await;
    make_entry(&a, "2", "nobody").await;
    let report = b.workspace.sync(&a.line()).page_size(400).await.expect("it syncs");
    assert_eq!(report.rejected.len(), 1, "{:?}", report.rejected);
    assert_eq!(report.rejected[0].id.to_string(), "2");
    assert_eq!(entries(&b).await, 1);
}

/// A cascade takes no child along that the other side has not seen: the delete of its parent waits before it.
pub(super) async fn rule_parents_first_a_cascade_swallows_no_unsent_child(pair: &dyn ReplicaPair) {
    let (a, b) = with_music(pair, "ON DELETE CASCADE").await;
    make(&a, artist("x")).await;
    make(&a, album("l", "x")).await;
    a.sync_clean(&b).await;
    make(&b, Album { title: "unsent".into(), ..album("l", "x") }).await;
    make(&b, album("m", "x")).await;
    delete::<Artist>(&a, "x").await;
    let report = b.sync(&a).await;
    assert_eq!(report.conflict_count() + report.rejected.len(), 1, "{report:?}");
    assert_eq!(get::<Album>(&b, "l").await.expect("it is there").title, "unsent");
    assert!(get::<Album>(&b, "m").await.is_some());
    // The same where the delete is pushed to the database.
    let report = a.sync(&b).await;
    assert_eq!(get::<Album>(&b, "l").await.expect("it is there").title, "unsent");
    assert!(report.rejected.is_empty(), "{report:?}");
    // People decide for the delete: both go, on both sides.
    conflicts::<Artist>(&b).await.remove(0).resolve_manually(None).await.expect("it is resolved");
    assert!(get::<Album>(&b, "l").await.is_none() && get::<Album>(&b, "m").await.is_none());
    b.sync(&a).await;
    a.sync(&b).await;
    assert_eq!((conflicts::<Artist>(&a).await.len(), conflicts::<Artist>(&b).await.len()), (0, 0));
    assert_level(&[&a, &b]).await;
}

/// Another program deleted a parent at the server, whose cascade took a child along that was edited elsewhere: the edit
/// is a conflict, and keeping it brings the parent back.
pub(super) async fn rule_parents_first_a_cascade_at_the_server_swallows_no_unsent_edit(
    pair: &dyn ReplicaPair,
) {
    let (a, b) = with_music(pair, "ON DELETE CASCADE").await;
    make(&a, artist("x")).await;
    make(&a, album("l", "x")).await;
    a.sync_clean(&b).await;
    make(&a, Album { title: "unsent".into(), ..album("l", "x") }).await;
    b.party.sql("PRAGMA foreign_keys = ON; DELETE FROM pair_artist WHERE id = 'x'").await;
    assert!(get::<Album>(&b, "l").await.is_none(), "the cascade took it");
    let report = a.sync(&b).await;
    assert_eq!(report.conflicts::<Album>().len(), 1, "{report:?}");
    assert_eq!(get::<Album>(&a, "l").await.expect("it is there").title, "unsent");
    assert!(get::<Artist>(&a, "x").await.is_some(), "the parent waits");
    conflicts::<Album>(&a).await.remove(0).resolve_using_source().await.expect("it is resolved");
    let report = a.sync(&b).await;
    assert_eq!((report.level, report.conflict_count(), report.rejected.len()), (true, 0, 0), "{report:?}");
    assert_eq!(get::<Album>(&b, "l").await.expect("it is there").title, "unsent");
    assert!(get::<Artist>(&b, "x").await.is_some());
    assert_level(&[&a, &b]).await;
}

/// A pushed child whose parent the server deleted is one conflict with it, and either way of resolving ends level.
pub(super) async fn rule_parents_first_a_child_without_parent_is_one_conflict(pair: &dyn ReplicaPair) {
    for keep in [true, false] {
        let (a, b) = with_music(pair, "").await;
        make(&a, artist("x")).await;
        a.sync_clean(&b).await;
        make(&a, album("l", "x")).await;
        delete::<Artist>(&b, "x").await;
        let report = a.sync(&b).await;
        assert_eq!((report.conflict_count(), report.rejected.len()), (1, 0), "{report:?}");
        let conflict = report.conflicts::<Artist>().remove(0);
        conflict.resolve_manually(keep.then(|| artist("x"))).await.expect("it is resolved");
        a.sync(&b).await;
        let report = a.sync(&b).await;
        assert_eq!(
            (report.level, report.conflict_count(), report.rejected.len()),
            (true, 0, 0),
            "{report:?}"
        );
        assert_eq!(get::<Artist>(&b, "x").await.is_some(), keep);
        assert_eq!(get::<Album>(&b, "l").await.is_some(), keep);
        let rejected = a.workspace.rejected::<Album>().await.expect("what was refused");
        assert_eq!(rejected, vec![]);
        assert_level(&[&a, &b]).await;
    }
}

/// A pull that a constraint refuses overwrites nothing, so it thaws no page in flight.
pub(super) async fn rule_frozen_page_outlives_a_refused_pull(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_list(&b, "l").await;
    make_entry(&b, "1", "l").await;
    let line = a.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    b.workspace.sync(&line).await.expect_err("the answer is lost");
    let there = a.workspace.collection::<Entry>().expect("the model is registered");
    there.update("1", |entry| entry.list = "nobody".into()).await.expect("an entry is saved");
    let pulled = b.workspace.sync(&line).pull_only().await.expect("it pulls");
    assert_eq!(pulled.rejected.len(), 1, "{pulled:?}");
    b.workspace.sync(&line).await.expect("it syncs");
    let pages = line.pages();
    assert_eq!((pages[0].number, pages[0].digest), (pages[1].number, pages[1].digest));
    assert_eq!(pages.len(), 2);
}

/// Both records of one id stay, and no cascade takes a child along on the way.
pub(super) async fn keeping_both_keeps_foreign_keys(pair: &dyn ReplicaPair) {
    let (a, b) = with_music(pair, "ON DELETE CASCADE").await;
    for (device, site) in [(&a, "a"), (&b, "b")] {
        make(device, Artist { title: site.into(), ..artist("x") }).await;
        make(device, album(&format!("of {site}"), "x")).await;
    }
    b.sync(&a).await;
    let conflict = conflicts::<Artist>(&b).await.remove(0);
    conflict.resolve_keeping_both("y").await.expect("it is resolved");
    b.sync_clean(&a).await;
    for device in [&a, &b] {
        for (id, site) in [("x", "a"), ("y", "b")] {
            assert_eq!(get::<Artist>(device, id).await.expect("an artist").title, site);
            let name = format!("of {site}");
            assert_eq!(get::<Album>(device, name.as_str()).await, Some(album(&name, id)));
        }
    }
    assert_level(&[&a, &b]).await;
}

/// The database's own write is refused by its constraint, by name.
pub(super) async fn a_local_write_that_a_constraint_refuses(pair: &dyn ReplicaPair) {
    let (_, b) = with_family(pair).await;
    let entries = b.workspace.collection::<Entry>().expect("the model is registered");
    let error = entries.create(Entry::new("1", "nobody")).await.expect_err("there is no such list");
    assert_eq!(error.kind(), ErrorKind::Constraint, "{error}");
    assert!(error.to_string().contains("Entry 1"), "{error}");
}

/// A parent that was deleted while the database has a live child of it: nothing is torn, and it is told.
pub(super) async fn rule_parents_first_a_parents_tombstone_waits(pair: &dyn ReplicaPair) {
    let (a, b) = with_family(pair).await;
    make_list(&a, "l").await;
    a.sync_clean(&b).await;
    make_entry(&b, "1", "l").await;
    a.workspace
        .collection::<List>()
        .expect("the model is registered")
        .delete("l")
        .await
        .expect("it is deleted");
    let report = a.sync(&b).await;
    assert_eq!(report.rejected.len() + report.conflict_count(), 1, "{report:?}");
    let lists = b.workspace.collection::<List>().expect("the model is registered");
    assert!(lists.get("l").await.expect("a list is read").is_some(), "the child is not an orphan");
    assert_eq!(entries(&b).await, 1);
}

/// A trigger changes what was pushed: that is a revision of its own on top of the sent one, and comes back.
pub(super) async fn rule_one_revision_one_content_a_trigger_amends_a_push(pair: &dyn ReplicaPair) {
    let (a, b) = with_capitals(pair).await;
    a.put("1", "foo").await;
    a.put("2", "GOOD ALREADY").await;
    let sent = (a.change("1").await.revision(), a.change("2").await.revision());
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("FOO"));
    let amended = b.change("1").await;
    assert_eq!(amended.revision().replica, b.workspace.id().await.expect("an id"));
    assert!(amended.ancestry.holds(sent.0));
    assert_eq!(b.change("2").await.revision(), sent.1);
    assert_eq!(a.title("1").await.as_deref(), Some("FOO"), "it comes back");
    assert_level(&[&a, &b]).await;
    a.put("1", "bar").await;
    a.sync_clean(&b).await;
    assert_eq!(a.title("1").await.as_deref(), Some("BAR"));
    assert_level(&[&a, &b]).await;
}

/// The answer to an amended record was lost: the retry ends the same, and nothing is amended twice.
pub(super) async fn rule_one_revision_one_content_after_a_lost_answer(pair: &dyn ReplicaPair) {
    let (a, b) = with_capitals(pair).await;
    a.put("1", "foo").await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).await.expect_err("the answer is lost");
    let amended = b.change("1").await.revision();
    a.workspace.sync(&line).await.expect("the line is good again");
    assert_eq!(b.change("1").await.revision(), amended);
    assert_eq!(a.title("1").await.as_deref(), Some("FOO"));
    a.count("1", 1).await;
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// A trigger changes what was pulled: the peer gets to know of it.
pub(super) async fn rule_one_revision_one_content_a_trigger_amends_a_pull(pair: &dyn ReplicaPair) {
    let (a, b) = with_capitals(pair).await;
    a.put("1", "foo").await;
    b.sync_clean(&a).await;
    assert_eq!(b.title("1").await.as_deref(), Some("FOO"));
    assert_eq!(a.title("1").await.as_deref(), Some("FOO"), "the same sync brings it there");
    assert_level(&[&a, &b]).await;
}

/// What another program writes with plain SQL travels like any write, and is merged like any.
pub(super) async fn writes_of_other_programs_travel(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, all_models).await;
    let b = Device::open(pair, pair.b().await, all_models).await;
    a.put("1", "foo").await;
    a.put("2", "foo").await;
    a.sync_clean(&b).await;
    b.party.sql("UPDATE pair_item SET title = 'by another program' WHERE id = '1'").await;
    b.party.sql("DELETE FROM pair_item WHERE id = '2'").await;
    b.party.sql("INSERT INTO pair_item(id, title, \"count\", done) VALUES ('3', 'new', 1, 0)").await;
    a.sync_clean(&b).await;
    assert_eq!(a.ids().await, ["1", "3"]);
    assert_eq!(a.title("1").await.as_deref(), Some("by another program"));
    assert_level(&[&a, &b]).await;
    a.put("1", "of a").await;
    b.party.sql("UPDATE pair_item SET title = 'again' WHERE id = '1'").await;
    let conflicts = a.sync(&b).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].base().map(|item| item.title.as_str()), Some("by another program"));
}

/// An edit by another program has a base too, kept by the trigger that tracked it: it merges, and its increment counts.
pub(super) async fn rule_exact_base_an_edit_by_another_program_has_one(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    // Bases are kept for peers that one has pushed to.
    b.sync_clean(&a).await;
    b.party.sql("UPDATE pair_card SET votes = votes + 2, color = 'by another program' WHERE id = '1'").await;
    edit::<Card>(&a, |card| (card.votes, card.title) = (11, "of a".into())).await;
    let report = b.sync_clean(&a).await;
    assert_eq!(report.merged_count(), 1);
    let card = the_card(&a).await;
    assert_eq!((card.votes, card.title.as_str(), card.color.as_str()), (13, "of a", "by another program"));
    assert_level(&[&a, &b]).await;
}

/// The stamp of a field that another program wrote decides `last_write` as any other.
pub(super) async fn last_write_goes_by_the_stamp_of_another_program(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    b.sync_clean(&a).await;
    edit::<Card>(&a, |card| card.color = "first".into()).await;
    // The clock of the database has milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(5));
    b.party.sql("UPDATE pair_card SET color = 'second' WHERE id = '1'").await;
    std::thread::sleep(std::time::Duration::from_millis(5));
    edit::<Card>(&a, |card| card.best = 99).await;
    a.sync_clean(&b).await;
    let card = the_card(&b).await;
    assert_eq!((card.color.as_str(), card.best), ("second", 99));
    assert_level(&[&a, &b]).await;
}

/// What a trigger of the app writes while something is pulled is the app's own, and is pushed.
pub(super) async fn what_a_trigger_writes_during_a_pull_is_pushed(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, all_models).await;
    let b = Device::open(pair, pair.b().await, all_models).await;
    a.put("0", "first").await;
    b.sync_clean(&a).await;
    b.workspace.close();
    b.party
        .sql(
            "CREATE TRIGGER noted AFTER INSERT ON pair_item
            BEGIN INSERT INTO pair_list(id, name) VALUES ('of ' || new.id, 'noted'); END",
        )
        .await;
    let b = b.restart().await;
    a.put("1", "first").await;
    for _ in 0..3 {
        b.sync(&a).await;
    }
    let lists = async |device: &Device| {
        device.workspace.collection::<List>().expect("the model is registered").count(Query::all()).await
    };
    assert_eq!(lists(&b).await.expect("they are counted"), 1);
    assert_eq!(lists(&a).await.expect("they are counted"), 1, "it is pushed");
}

/// What could not be stored here, and has left the scope since, does not come once nothing is in its way any more.
pub(super) async fn what_was_refused_and_left_does_not_come(pair: &dyn ReplicaPair) {
    use super::scopes::{delete, ids, models, of, put, sync_as};
    for deletes in [false, true] {
        let a = Device::open(pair, pair.a().await, models).await;
        let b = Device::open(pair, pair.b().await, models).await;
        b.workspace.close();
        b.party.sql("CREATE UNIQUE INDEX one_title ON pair_task(title)").await;
        let b = b.restart().await;
        let caller = of("b", &["a"]);
        put(&a, "1", "a", "same").await;
        put(&a, "2", "a", "same").await;
        sync_as(&b, &a, &caller).await;
        assert_eq!(ids(&b).await, ["1"]);
        if deletes {
            delete(&a, "2").await;
        } else {
            put(&a, "2", "b", "elsewhere").await;
        }
        sync_as(&b, &a, &caller).await;
        put(&a, "1", "a", "other").await;
        for _ in 0..3 {
            sync_as(&b, &a, &caller).await;
        }
        assert_eq!(ids(&b).await, ["1"], "deletes: {deletes}");
    }
}
