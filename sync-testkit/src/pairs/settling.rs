//! Conflicts over time: they wait, move, survive, and go away.

use super::ReplicaPair;
use super::models::{Item, ItemField};
use super::world::{Device, assert_level, three, two};
use sync_runtime::{ErrorKind, Field, Query, Status};

/// Two devices with item `1` in conflict, filed at the first.
async fn torn(pair: &dyn ReplicaPair) -> (Device, Device) {
    let (a, b) = two(pair).await;
    a.put("1", "start").await;
    a.sync_clean(&b).await;
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    assert_eq!(a.sync(&b).await.conflict_count(), 1);
    (a, b)
}

/// A resolution after this side was edited is refused: it had not seen the edit.
pub(super) async fn resolving_what_moved_here_is_refused(pair: &dyn ReplicaPair) {
    let (a, _) = torn(pair).await;
    let conflict = a.conflicts().await.remove(0);
    a.put("1", "edited meanwhile").await;
    let error = conflict.resolve_using_target().await.expect_err("this side moved");
    assert_eq!(error.kind(), ErrorKind::Moved);
    assert!(error.to_string().contains("this side of Item 1"), "{error}");
    assert_eq!(a.title("1").await.as_deref(), Some("edited meanwhile"));
    a.conflicts().await.remove(0).resolve_using_target().await.expect("it is resolved");
    assert_eq!(a.title("1").await.as_deref(), Some("of b"));
}

/// A resolution after the other side's newer version came is refused.
pub(super) async fn resolving_what_moved_there_is_refused(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    let conflict = a.conflicts().await.remove(0);
    b.put("1", "of b again").await;
    a.sync(&b).await;
    let error = conflict.resolve_using_source().await.expect_err("the other side moved");
    assert_eq!(error.kind(), ErrorKind::Moved);
    assert!(error.to_string().contains("other side of Item 1"), "{error}");
    let conflict = a.conflicts().await.remove(0);
    assert_eq!(conflict.target().map(|item| item.title.as_str()), Some("of b again"));
    conflict.resolve_using_source().await.expect("it is resolved");
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("of a"));
    assert_level(&[&a, &b]).await;
}

/// Of two resolutions of one conflict only the first stands.
pub(super) async fn resolving_twice_is_refused(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    let (first, second) = (a.conflicts().await.remove(0), a.conflicts().await.remove(0));
    first.resolve_using_target().await.expect("it is resolved");
    assert_eq!(second.resolve_using_source().await.expect_err("it is gone").kind(), ErrorKind::Moved);
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("of b"));
    assert_level(&[&a, &b]).await;
}

/// A resolution that had not seen a later edit at the server overwrites nothing there: it is a conflict again.
pub(super) async fn a_resolution_overwrites_no_later_edit(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    b.put("1", "of b, later").await;
    a.conflicts().await.remove(0).resolve_using_source().await.expect("it is resolved");
    let conflicts = a.sync(&b).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(b.title("1").await.as_deref(), Some("of b, later"));
    assert_eq!(conflicts[0].base().map(|item| item.title.as_str()), Some("of b"), "what both come from");
}

/// A conflict that was resolved on one device disappears from the others.
pub(super) async fn a_conflict_resolved_elsewhere_disappears(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    a.put("1", "start").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    server.put("1", "of the server").await;
    a.sync(&server).await;
    b.sync(&server).await;
    assert_eq!((a.conflicts().await.len(), b.conflicts().await.len()), (1, 1));
    a.conflicts().await.remove(0).resolve_using_source().await.expect("it is resolved");
    a.sync_clean(&server).await;
    // B is in conflict with what A made of it now, and settles that; A had only its own side in it.
    b.sync(&server).await;
    let conflict = b.conflicts().await.remove(0);
    assert_eq!(conflict.target().map(|item| item.title.as_str()), Some("of a"));
    conflict.resolve_using_target().await.expect("it is resolved");
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    assert_level(&[&a, &server, &b]).await;
}

/// The same conflict, met by two devices of one user: both hold both sides; one resolves, the other is rid of it.
pub(super) async fn one_conflict_on_two_devices_is_resolved_once(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    a.put("1", "of a").await;
    b.sync_clean(&a).await;
    server.put("1", "of the server").await;
    a.sync(&server).await;
    b.sync(&server).await;
    assert_eq!((a.conflicts().await.len(), b.conflicts().await.len()), (1, 1));
    b.conflicts().await.remove(0).resolve_using_target().await.expect("it is resolved");
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    assert_eq!(a.conflicts().await.len(), 0, "resolved elsewhere");
    assert_eq!(a.status("1").await, Status::Synced);
    assert_level(&[&a, &server, &b]).await;
}

/// A record in conflict stays usable, and an edit keeps the entry, with the edited state as its source.
pub(super) async fn a_record_in_conflict_stays_usable(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    a.put("1", "edited in conflict").await;
    a.count("1", 9).await;
    let items = a.workspace.collection::<Item>().expect("the model is registered");
    let found = items.find(Query::all().filter(ItemField::Count.eq(9_i64))).await.expect("items are found");
    assert_eq!(found.len(), 1);
    assert_eq!(a.status("1").await, Status::Conflicted);
    let conflict = a.conflicts().await.remove(0);
    assert_eq!(
        conflict.source().map(|item| (item.title.as_str(), item.count)),
        Some(("edited in conflict", 9))
    );
    assert_eq!(conflict.target().map(|item| item.title.as_str()), Some("of b"));
    assert_eq!(a.sync(&b).await.conflict_count(), 1, "and it is met again");
    assert_eq!(a.conflicts().await.len(), 1);
    assert_eq!(b.title("1").await.as_deref(), Some("of b"));
    a.delete("1").await;
    assert_eq!(a.status("1").await, Status::Conflicted, "a delete keeps it too");
    a.sync(&b).await;
    let conflict = a.conflicts().await.remove(0);
    assert_eq!(conflict.source(), None);
    conflict.resolve_using_source().await.expect("it is resolved");
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// Conflicts are in the store until they are resolved.
pub(super) async fn conflicts_survive_reopening(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    let before = a.conflicts().await.remove(0);
    let a = a.restart().await;
    assert_eq!(a.status("1").await, Status::Conflicted);
    let after = a.conflicts().await.remove(0);
    assert_eq!(
        (after.source(), after.target(), after.base()),
        (before.source(), before.target(), before.base())
    );
    assert_eq!((after.since(), after.peer()), (before.since(), before.peer()));
    after.resolve_using_target().await.expect("it is resolved");
    let a = a.restart().await;
    assert_eq!(a.conflicts().await.len(), 0);
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// A conflict stands where the sync that met it is not followed by another; an idle sync does not take it away.
pub(super) async fn an_idle_sync_leaves_the_conflict(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    for _ in 0..3 {
        a.sync(&b).await;
    }
    assert_eq!(a.conflicts().await.len(), 1);
    assert_eq!(a.status("1").await, Status::Conflicted);
    assert_eq!((a.title("1").await.as_deref(), b.title("1").await.as_deref()), (Some("of a"), Some("of b")));
}

/// Both sides come to the same content by themselves: the conflict is gone.
pub(super) async fn both_sides_becoming_equal_settles_it(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    b.put("1", "of a").await;
    a.sync(&b).await;
    a.sync(&b).await;
    assert_eq!(a.conflicts().await.len(), 0, "{:?}", a.conflicts().await);
    assert_level(&[&a, &b]).await;
}

/// Both sides delete the record in conflict: the conflict is gone.
pub(super) async fn both_sides_deleting_settles_it(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    a.delete("1").await;
    b.delete("1").await;
    a.sync(&b).await;
    a.sync(&b).await;
    assert_eq!(a.conflicts().await.len(), 0, "{:?}", a.conflicts().await);
    assert_level(&[&a, &b]).await;
}

/// The base of a conflict is kept through edits on both sides while it waits.
pub(super) async fn the_base_is_kept_while_the_conflict_waits(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    for n in 0..3 {
        a.put("1", &format!("of a {n}")).await;
        b.put("1", &format!("of b {n}")).await;
        a.put("beside", &format!("{n}")).await;
        a.sync(&b).await;
        let conflict = a.conflicts().await.remove(0);
        assert_eq!(conflict.base().map(|item| item.title.as_str()), Some("start"), "round {n}");
    }
}

/// The state that both sides come from is the base, also where it went through a third replica.
pub(super) async fn rule_exact_base_through_a_third_replica(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    b.put("1", "start").await;
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    b.sync_clean(&server).await;
    let conflicts = a.sync(&server).await.conflicts::<Item>();
    assert_eq!(conflicts[0].base().map(|item| item.title.as_str()), Some("start"));
}

/// Two merges of one conflict that were made apart have no state in common that is exactly the base: there is none.
pub(super) async fn rule_exact_base_there_is_none_after_two_merges(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    b.sync(&a).await;
    a.conflicts()
        .await
        .remove(0)
        .resolve_manually(Some(Item::new("1", "merged by a")))
        .await
        .expect("it is resolved");
    b.conflicts()
        .await
        .remove(0)
        .resolve_manually(Some(Item::new("1", "merged by b")))
        .await
        .expect("it is resolved");
    let conflicts = a.sync(&b).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].base(), None, "no single state is what both come from");
    a.conflicts().await.remove(0).resolve_using_source().await.expect("it is resolved");
    a.sync_clean(&b).await;
    b.sync_clean(&a).await;
    assert_eq!(b.conflicts().await.len(), 0);
    assert_level(&[&a, &b]).await;
}

/// After a resolution, the next conflict of the record has the other side's state, or the merge, as base.
pub(super) async fn rule_exact_base_after_a_resolution(pair: &dyn ReplicaPair) {
    let (a, b) = torn(pair).await;
    a.conflicts()
        .await
        .remove(0)
        .resolve_manually(Some(Item::new("1", "merged")))
        .await
        .expect("it is resolved");
    a.sync_clean(&b).await;
    a.put("1", "of a once more").await;
    b.put("1", "of b once more").await;
    let conflicts = a.sync(&b).await.conflicts::<Item>();
    assert_eq!(conflicts[0].base().map(|item| item.title.as_str()), Some("merged"));
}
