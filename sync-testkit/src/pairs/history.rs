//! Rule *one replica id, one history*: copies, restored backups, servers that were rolled back.

use super::ReplicaPair;
use super::models::{Item, ItemField, Task};
use super::purging;
use super::scopes;
use super::world::{assert_level, three, two};
use crate::flaky::FlakyReplica;
use sync_runtime::replica::{Exchange, Limits, Pull, Pulled, Replica};
use sync_runtime::{Caller, Checkpoint, Field, Right, Status};

/// A device whose store was copied while it was closed: both go on; one of them takes a new name, no edit is lost.
pub(super) async fn rule_one_replica_id_one_history_a_copy_takes_a_new_name(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    a.put("1", "start").await;
    a.sync_clean(&server).await;
    let copy = a.copy().await;
    assert_eq!(copy.workspace.id().await.expect("an id"), a.workspace.id().await.expect("an id"));
    a.put("of the original", "foo").await;
    copy.put("of the copy", "bar").await;
    a.sync_clean(&server).await;
    copy.sync_clean(&server).await;
    assert_ne!(copy.workspace.id().await.expect("an id"), a.workspace.id().await.expect("an id"));
    a.sync_clean(&server).await;
    assert_eq!(server.ids().await, ["1", "of the copy", "of the original"]);
    assert_level(&[&a, &server, &copy]).await;
}

/// Both the original and the copy edited the same record before they synced: that is a conflict, not a loss.
pub(super) async fn rule_one_replica_id_one_history_a_copy_in_conflict(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    a.put("1", "start").await;
    a.sync_clean(&server).await;
    let copy = a.copy().await;
    // Equal clocks, so that the two edits have one revision.
    let now = pair.env().now();
    a.env.freeze(now);
    a.put("1", "of the original").await;
    copy.put("1", "of the copy").await;
    assert_eq!(a.change("1").await.revision(), copy.change("1").await.revision());
    a.sync_clean(&server).await;
    let conflicts = copy.sync(&server).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1, "two edits of one revision");
    assert_eq!(conflicts[0].base().map(|item| item.title.as_str()), Some("start"));
    assert_eq!(conflicts[0].target().map(|item| item.title.as_str()), Some("of the original"));
    assert_eq!(server.title("1").await.as_deref(), Some("of the original"));
}

/// A copy that only reads gets what the original wrote after the copy was made.
pub(super) async fn rule_one_replica_id_one_history_a_copy_that_only_reads(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    a.put("1", "start").await;
    a.sync_clean(&server).await;
    let copy = a.copy().await;
    a.put("1", "of the original").await;
    a.put("2", "of the original").await;
    a.sync_clean(&server).await;
    copy.sync_clean(&server).await;
    assert_eq!(copy.title("1").await.as_deref(), Some("of the original"));
    assert_level(&[&a, &server, &copy]).await;
}

/// A device is restored from a backup: what it had sent after the backup comes back.
pub(super) async fn rule_one_replica_id_one_history_a_restored_device_gets_back_what_it_sent(
    pair: &dyn ReplicaPair,
) {
    for edits_before_it_syncs in [false, true] {
        let (a, server) = two(pair).await;
        a.put("1", "start").await;
        a.put("2", "start").await;
        a.sync_clean(&server).await;
        let backup = a.backup().await;
        a.put("1", "after the backup").await;
        a.put("3", "after the backup").await;
        a.delete("2").await;
        a.sync_clean(&server).await;
        let a = a.rolled_back(backup).await;
        assert_eq!(a.title("1").await.as_deref(), Some("start"));
        if edits_before_it_syncs {
            a.put("4", "after the restore").await;
        }
        a.sync_clean(&server).await;
        assert_eq!(a.title("1").await.as_deref(), Some("after the backup"));
        assert_eq!(a.title("3").await.as_deref(), Some("after the backup"));
        assert_eq!(a.get("2").await, None);
        assert_eq!(server.title("4").await.is_some(), edits_before_it_syncs);
        assert_level(&[&a, &server]).await;
    }
}

/// A restored device edits a record that it had edited and sent after the backup: a conflict, not a loss.
pub(super) async fn rule_one_replica_id_one_history_a_restored_device_overwrites_nothing(
    pair: &dyn ReplicaPair,
) {
    let (a, server) = two(pair).await;
    a.put("1", "start").await;
    a.sync_clean(&server).await;
    let backup = a.backup().await;
    a.put("1", "after the backup").await;
    a.sync_clean(&server).await;
    let a = a.rolled_back(backup).await;
    a.put("1", "after the restore").await;
    let conflicts = a.sync(&server).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(server.title("1").await.as_deref(), Some("after the backup"));
    assert_eq!(a.title("1").await.as_deref(), Some("after the restore"));
}

/// A device with unsent edits, restored by its user, says so: `restored` keeps the edits and loses nothing.
pub(super) async fn rule_one_replica_id_one_history_restored_by_hand(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    a.put("1", "start").await;
    a.sync_clean(&server).await;
    a.put("1", "unsent").await;
    a.put("2", "unsent").await;
    let before = a.workspace.id().await.expect("an id");
    let fresh = a.workspace.restored().await.expect("it takes a new name");
    assert_ne!(fresh, before);
    assert_eq!(a.workspace.id().await.expect("an id"), fresh);
    assert_eq!(a.change("1").await.revision().replica, fresh, "unsent edits are stamped anew");
    a.sync_clean(&server).await;
    assert_eq!(server.title("1").await.as_deref(), Some("unsent"));
    assert_eq!(server.ids().await, ["1", "2"]);
    assert_eq!(a.status("1").await, Status::Synced);
    assert_level(&[&a, &server]).await;
}

/// What was written before the first sync goes out under the new name, by who may push no more than their own edits.
pub(super) async fn rule_one_replica_id_one_history_a_new_name_before_the_first_sync(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    a.put("1", "first").await;
    a.workspace.restored().await.expect("a new name is taken");
    let line = FlakyReplica::new(&server.workspace).calling_as(Caller::named("a").with(Right::Write));
    let report = a.workspace.sync(&line).await.expect("the sync succeeds");
    assert!(report.rejected.is_empty(), "{report:?}");
    assert_eq!(server.ids().await, ["1"]);
}

/// What a peer refused is settled once it takes it, also under another name.
pub(super) async fn rule_one_replica_id_one_history_a_refusal_goes_over_to_the_new_name(
    pair: &dyn ReplicaPair,
) {
    let (a, server) = (scopes::device(pair).await, scopes::server(pair).await);
    scopes::put(&a, "1", "b", "first").await;
    assert_eq!(scopes::sync_as(&a, &server, &scopes::of("a", &["a"])).await.rejected.len(), 1);
    server.workspace.restored().await.expect("a new name is taken");
    scopes::sync_as(&a, &server, &scopes::of("a", &["a", "b"])).await;
    assert_eq!(scopes::tasks(&server).await.len(), 1);
    let refused = a.workspace.rejected::<Task>().await.expect("what was refused is read");
    assert!(refused.is_empty(), "{refused:?}");
}

/// Of the peer, the store under its new name has what it had under the old one: of these scopes, and what matched.
pub(super) async fn rule_one_replica_id_one_history_a_new_name_has_pulled_what_the_old_one_did(
    pair: &dyn ReplicaPair,
) {
    let (a, server) = (scopes::device(pair).await, scopes::server(pair).await);
    for scope in ["a", "b"] {
        scopes::put(&server, scope, scope, "first").await;
    }
    server.put("1", "not done").await;
    let sync = async |scopes: &[&str], only_done: bool| {
        let line = FlakyReplica::new(&server.workspace).calling_as(scopes::of("a", scopes));
        let sync = a.workspace.sync(&line);
        let sync = if only_done { sync.only(ItemField::Done.eq(true)) } else { sync };
        sync.await.expect("the sync succeeds");
    };
    sync(&["a"], true).await;
    a.workspace.restored().await.expect("a new name is taken");
    sync(&["a", "b"], false).await;
    assert_eq!(scopes::tasks(&a).await.into_keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(a.ids().await, ["1"]);
}

/// A record that was made, edited and deleted unsent goes on as such under the new name.
pub(super) async fn rule_one_replica_id_one_history_unsent_deletes_are_kept(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    a.put("1", "start").await;
    a.put("2", "start").await;
    a.sync_clean(&server).await;
    a.delete("1").await;
    a.put("3", "made and gone").await;
    a.delete("3").await;
    a.workspace.restored().await.expect("it takes a new name");
    a.put("2", "under the new name").await;
    a.sync_clean(&server).await;
    assert_eq!(server.ids().await, ["2"]);
    assert_level(&[&a, &server]).await;
}

/// A server that was rolled back gets back from its clients what it lost.
pub(super) async fn rule_one_replica_id_one_history_a_rolled_back_server_gets_back_what_it_lost(
    pair: &dyn ReplicaPair,
) {
    let (a, server, b) = three(pair).await;
    a.put("1", "start").await;
    a.put("2", "start").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    let backup = server.backup().await;
    a.put("1", "after the backup").await;
    b.put("3", "after the backup").await;
    a.delete("2").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    let server = server.rolled_back(backup).await;
    assert_eq!(server.ids().await, ["1", "2"]);
    a.sync(&server).await;
    b.sync(&server).await;
    a.sync(&server).await;
    b.sync(&server).await;
    assert_eq!(server.ids().await, ["1", "3"]);
    assert_eq!(server.title("1").await.as_deref(), Some("after the backup"));
    assert_level(&[&a, &server, &b]).await;
    a.sync_clean(&server).await;
    assert_eq!(a.status("1").await, Status::Synced, "the name that the server had before counts no more");
    assert_eq!(a.workspace.pending(10).await.expect("what is pending"), vec![]);
}

/// A server that was rolled back and wrote on, past the positions that its clients had seen: nothing is skipped.
pub(super) async fn rule_one_replica_id_one_history_a_rolled_back_server_that_wrote_on(
    pair: &dyn ReplicaPair,
) {
    for the_device_edits in [true, false] {
        let (a, server, b) = three(pair).await;
        a.put("1", "start").await;
        a.sync_clean(&server).await;
        b.sync_clean(&server).await;
        let backup = server.backup().await;
        for n in 0..3 {
            a.put(&format!("lost {n}"), "foo").await;
        }
        a.sync_clean(&server).await;
        let server = server.rolled_back(backup).await;
        for n in 0..9 {
            b.put(&format!("new {n}"), "bar").await;
        }
        b.sync_clean(&server).await;
        if the_device_edits {
            a.put("1", "on it goes").await;
        }
        for _ in 0..2 {
            a.sync(&server).await;
            b.sync(&server).await;
        }
        assert_eq!(a.ids().await.len(), 13, "what was written at the server meanwhile is not skipped");
        assert_eq!(server.ids().await.len(), 13, "what the server lost comes back");
        assert_level(&[&a, &server, &b]).await;
    }
}

/// What others had brought to a server that was rolled back and wrote on is given back by those who had it from there; they
/// keep it, although the server, which purged before, knows nothing of it.
pub(super) async fn rule_one_replica_id_one_history_others_give_back_what_a_server_lost(
    pair: &dyn ReplicaPair,
) {
    for (page, pulls_first, purges) in [(1_000, false, false), (2, false, true), (1_000, true, true)] {
        let ([a, b, away], server) = purging::some(pair, purging::short).await;
        let limits = Limits { page_records: page, ..Limits::default() };
        let server = server.limited(limits).await;
        server.put("gone", "start").await;
        for device in [&a, &b, &away] {
            device.put("1", "start").await;
            device.sync(&server).await;
        }
        if purges {
            server.delete("gone").await;
            a.sync(&server).await;
            purging::pass(40, &[&a, &b, &away, &server]);
            purging::purge(&server).await;
        }
        let backup = server.backup().await;
        for n in 0..5 {
            away.put(&format!("lost {n}"), "by one who is away").await;
        }
        away.put("1", "by one who is away").await;
        away.sync(&server).await;
        a.put("2", "by a").await;
        a.sync(&server).await;
        assert_eq!(a.ids().await.len(), if purges { 7 } else { 8 });
        let server = server.rolled_back(backup).await;
        for n in 0..20 {
            b.put(&format!("new {n}"), "meanwhile").await;
        }
        b.sync(&server).await;
        if pulls_first {
            a.workspace.sync(&server.replica).pull_only().await.expect("it pulls");
        }
        for _ in 0..2 {
            a.sync(&server).await;
            b.sync(&server).await;
        }
        let ids = server.ids().await;
        assert_eq!(ids.len(), if purges { 27 } else { 28 }, "what the server lost comes back: {ids:?}");
        assert_eq!(server.title("lost 4").await.as_deref(), Some("by one who is away"));
        assert_level(&[&a, &server, &b]).await;
        assert_eq!(a.sync(&server).await.requests, 1, "nothing is left to do");
    }
}

/// A server that starts empty under its old address is another replica; it gets everything.
pub(super) async fn rule_one_replica_id_one_history_a_wiped_server_gets_everything(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    a.put("1", "foo").await;
    a.put("2", "foo").await;
    a.sync_clean(&server).await;
    a.delete("2").await;
    a.sync_clean(&server).await;
    let empty = super::world::Device::open(pair, pair.b().await, super::world::all_models).await;
    a.put("3", "foo").await;
    a.sync_clean(&empty).await;
    assert_eq!(empty.ids().await, ["1", "3"]);
    assert_level(&[&a, &empty]).await;
}

/// A wiped device is a new one; it gets everything back, its own old records too.
pub(super) async fn rule_one_replica_id_one_history_a_wiped_device_gets_everything(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    a.put("1", "foo").await;
    a.put("2", "foo").await;
    a.delete("2").await;
    a.sync_clean(&server).await;
    let a = super::world::Device::open(pair, pair.a().await, super::world::all_models).await;
    a.sync_clean(&server).await;
    assert_eq!(a.ids().await, ["1"]);
    a.put("1", "goes on").await;
    a.sync_clean(&server).await;
    assert_level(&[&a, &server]).await;
}

/// A device that syncs with two servers takes a new name at one of them; the other hears nothing twice.
pub(super) async fn rule_one_replica_id_one_history_with_two_servers(pair: &dyn ReplicaPair) {
    let (a, first, _) = three(pair).await;
    let second = super::world::Device::open(pair, pair.b().await, super::world::all_models).await;
    a.put("1", "start").await;
    a.sync_clean(&first).await;
    a.sync_clean(&second).await;
    a.put("1", "sent to one").await;
    a.sync_clean(&first).await;
    a.workspace.restored().await.expect("it takes a new name");
    a.put("2", "new").await;
    a.sync_clean(&second).await;
    a.sync_clean(&first).await;
    a.sync_clean(&second).await;
    assert_level(&[&a, &first, &second]).await;
}

/// A checkpoint above the newest position tells of a rollback only where the replica gave it out itself: whoever has no right
/// to rewrite history cannot make it take a new name.
pub(super) async fn a_checkpoint_that_is_made_up_changes_no_name(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    b.put("1", "of b").await;
    let backup = b.backup().await;
    b.put("2", "of b").await;
    let reader = Caller::named("a reader").with(Right::Write);
    let given = Replica::checkpoint(b.engine(), &reader).await.expect("a checkpoint");
    let name = b.workspace.id().await.expect("an id");
    let models = b.engine().models().clone();
    let since = |since| Pull { since: Some(since), limit: 10, ..Pull::of(models.clone()) };
    let made_up = [
        Checkpoint { position: given.position + 1_000, ..given },
        Checkpoint { position: given.position + 1_000, seal: None, ..given },
    ];
    for made_up in made_up {
        let pulled = Replica::changes(b.engine(), &reader, since(made_up)).await.expect("it is answered");
        assert!(matches!(pulled, Pulled::UnknownCheckpoint), "{pulled:?}");
        let (from, to) = (a.workspace.id().await.expect("an id"), name);
        let exchange = Exchange { from, to, push: None, pull: Some(since(made_up)) };
        let answer = Replica::exchange(b.engine(), &reader, exchange).await.expect("it is answered");
        assert!(matches!(answer.pulled, Some(Pulled::UnknownCheckpoint)), "{answer:?}");
        assert_eq!(b.workspace.id().await.expect("an id"), name, "{made_up}");
    }
    let b = b.rolled_back(backup).await;
    let pulled = Replica::changes(b.engine(), &reader, since(given)).await.expect("it is answered");
    assert!(matches!(pulled, Pulled::UnknownCheckpoint), "{pulled:?}");
    assert_ne!(b.workspace.id().await.expect("an id"), name, "what it gave out itself is believed");
}
