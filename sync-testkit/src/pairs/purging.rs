//! Purging: tombstones go when nobody waits for them any more, and what was deleted stays so (P7).

use super::ReplicaPair;
use super::models::{ItemField, Task};
use super::scopes::{delete, of, put, sync_as, tasks};
use super::world::{Device, Register, all_models, assert_level};
use crate::flaky::{FlakyReplica, LineFault, Request};
use std::time::Duration;
use sync_runtime::replica::Caller;
use sync_runtime::{Event, Field, Right, Subscription, WorkspaceBuilder};

const DAY: i64 = 24 * 3_600_000_000;

/// Tombstones are kept for ten days, and for thirty where somebody has not seen them.
pub(super) fn short(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    all_models(builder).retention(days(10), days(30))
}

pub(super) fn short_with_tasks(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    short(builder).model::<Task>()
}

fn short_with_subscriptions(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    short_with_tasks(builder).model::<Subscription>()
}

/// Devices of the first kind, and a server of the second.
pub(super) async fn some<const N: usize>(
    pair: &dyn ReplicaPair,
    register: Register,
) -> ([Device; N], Device) {
    let mut devices = Vec::new();
    for _ in 0..N {
        devices.push(Device::open(pair, pair.a().await, register).await);
    }
    let server = Device::open(pair, pair.b().await, register).await;
    (devices.try_into().expect("as many"), server)
}

/// Lets this time pass for all of them, from the beginning of the case.
pub(super) fn pass(days: i64, devices: &[&Device]) {
    for device in devices {
        device.env.ahead(days * DAY);
    }
}

/// Purges, if the routes of a server have not done it already, and gives the tombstones that are left.
pub(super) async fn purge(device: &Device) -> Vec<String> {
    device.workspace.purge().await.expect("it purges");
    let states = device.states().await.into_iter().filter(|state| state.record.is_none());
    states.map(|state| state.change.id.to_string()).collect()
}

/// What there is any trace of, tombstones included.
async fn traces(device: &Device) -> Vec<String> {
    device.states().await.into_iter().map(|state| state.change.id.to_string()).collect()
}

/// Never before the retention, and where a replica has not seen a tombstone not before the second bound.
pub(super) async fn tombstones_go_after_the_retention_never_earlier(pair: &dyn ReplicaPair) {
    let ([a, away], server) = some(pair, short).await;
    for id in ["1", "2", "3"] {
        a.put(id, "first").await;
    }
    a.sync_clean(&server).await;
    // To have pulled once is enough to be waited for.
    away.sync_clean(&server).await;
    a.delete("1").await;
    a.sync_clean(&server).await;
    a.sync_clean(&server).await;
    pass(9, &[&a, &away, &server]);
    assert_eq!(purge(&server).await, ["1"], "not before the retention");
    assert_eq!(purge(&a).await, ["1"], "not before the retention");
    a.sync_clean(&server).await;
    pass(11, &[&a, &away, &server]);
    assert_eq!(purge(&a).await, [""; 0], "the server, which is all that it knows, has it");
    assert_eq!(purge(&server).await, ["1"], "one that is known has not seen it");
    assert_eq!(server.ids().await, ["2", "3"]);
    pass(31, &[&a, &away, &server]);
    a.sync_clean(&server).await;
    assert_eq!(purge(&server).await, [""; 0], "nobody is waited for longer than that");
    assert_eq!(traces(&server).await, ["2", "3"]);
    a.sync_clean(&server).await;
    assert_eq!(a.ids().await, ["2", "3"]);
}

/// Once everybody who is known has seen a tombstone it goes after the retention.
pub(super) async fn what_all_have_seen_goes_after_the_retention(pair: &dyn ReplicaPair) {
    let ([a, b], server) = some(pair, short).await;
    a.put("1", "first").await;
    a.put("2", "first").await;
    for device in [&a, &b] {
        device.sync_clean(&server).await;
    }
    a.delete("1").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    pass(11, &[&a, &b, &server]);
    // How far they are is noted once a day.
    for device in [&a, &b, &a, &b] {
        device.sync_clean(&server).await;
    }
    assert_eq!(purge(&server).await, [""; 0]);
    for device in [&a, &b] {
        let report = device.sync_clean(&server).await;
        assert_eq!(report.pulled, 0, "who has seen it need not compare: {report:?}");
    }
    // One that is new starts without it.
    let ([late], _) = some(pair, short).await;
    late.sync_clean(&server).await;
    assert_eq!(traces(&late).await, ["2"]);
}

/// A device that was away for longer compares everything: no deleted record comes back, none of its edits is lost, and
/// what it has does not come again.
pub(super) async fn a_device_that_was_away_too_long_compares_everything(pair: &dyn ReplicaPair) {
    let ([a, away], server) = some(pair, short).await;
    for number in 0..20 {
        a.put(&format!("{number:02}"), "first").await;
    }
    a.sync_clean(&server).await;
    away.sync_clean(&server).await;
    // Edited while it was away: one that is deleted then, one that is there, and one that is new.
    away.put("03", "edited").await;
    away.put("06", "edited").await;
    away.put("new", "made").await;
    for id in ["00", "01", "02", "03"] {
        a.delete(id).await;
    }
    a.put("05", "changed").await;
    a.sync_clean(&server).await;
    pass(40, &[&a, &away, &server]);
    a.sync_clean(&server).await;
    for device in [&server, &a] {
        assert_eq!(purge(device).await, [""; 0]);
    }
    let report = away.sync(&server).await;
    assert!(report.pulled <= 2, "the rest does not come again: {report:?}");
    // What it had to send twice comes back once.
    assert!(away.sync_clean(&server).await.pulled <= 1);
    assert_eq!(away.sync_clean(&server).await.pulled, 0);
    a.sync_clean(&server).await;
    let ids = server.ids().await;
    assert!(
        !ids.iter().any(|id| ["00", "01", "02"].contains(&id.as_str())),
        "deleted stays deleted: {ids:?}"
    );
    assert_eq!(away.ids().await, ids);
    assert_eq!(a.ids().await, ids);
    assert_eq!(server.title("06").await.as_deref(), Some("edited"));
    assert_eq!(server.title("new").await.as_deref(), Some("made"));
    assert_eq!(server.title("03").await.as_deref(), Some("edited"), "an edit is kept");
    assert_eq!(away.title("05").await.as_deref(), Some("changed"));
    assert_level(&[&a, &away, &server]).await;
}

/// What was deleted so long ago does not come back from one that never heard of it, under whatever name.
pub(super) async fn what_was_purged_does_not_come_back(pair: &dyn ReplicaPair) {
    let ([a, hub, other], server) = some(pair, short).await;
    for id in ["1", "2"] {
        a.put(id, "first").await;
    }
    a.sync_clean(&server).await;
    // One that has it from another, and never met this server.
    a.sync_clean(&hub).await;
    other.sync_clean(&hub).await;
    a.delete("1").await;
    a.sync_clean(&server).await;
    pass(40, &[&a, &hub, &other, &server]);
    a.sync_clean(&server).await;
    assert_eq!(purge(&server).await, [""; 0]);
    let before = server.picture().await;
    let line = FlakyReplica::new(&server.replica);
    let report = other.workspace.sync(&line).push_only().await.expect("the sync succeeds");
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(report.rejected[0].code, "gone");
    assert_eq!(server.picture().await, before);
    // What it makes itself is taken.
    other.put("3", "made").await;
    other.workspace.sync(&line).push_only().await.expect("the sync succeeds");
    assert_eq!(server.ids().await, ["2", "3"]);
}

/// Nor from who wrote it and meets this server for the first time: others had brought it.
pub(super) async fn what_was_purged_does_not_come_back_from_who_wrote_it(pair: &dyn ReplicaPair) {
    let ([a, hub], server) = some(pair, short).await;
    for id in ["1", "2"] {
        a.put(id, "first").await;
    }
    a.sync_clean(&hub).await;
    hub.sync_clean(&server).await;
    server.delete("1").await;
    pass(40, &[&a, &hub, &server]);
    assert_eq!(purge(&server).await, [""; 0]);
    a.put("new", "made").await;
    let report = a.sync(&server).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(report.rejected[0].code, "gone");
    assert_eq!(server.ids().await, ["2", "new"], "what it makes is taken");
}

/// A first pull that goes on after some was purged is no old one, and one that stands before the horizon is.
pub(super) async fn a_pull_in_many_pages_passes_the_horizon(pair: &dyn ReplicaPair) {
    let ([a, late], server) = some(pair, short).await;
    for number in 0..12 {
        a.put(&format!("{number:02}"), "first").await;
    }
    a.delete("11").await;
    a.put("12", "after").await;
    a.sync_clean(&server).await;
    pass(40, &[&a, &late, &server]);
    a.sync_clean(&server).await;
    assert_eq!(purge(&server).await, [""; 0]);
    let limits = sync_runtime::replica::Limits { page_records: 2, ..Default::default() };
    let server = server.limited(limits).await;
    let report = late.sync_clean(&server).await;
    assert_eq!((report.pulled, late.ids().await.len()), (12, 12));
    assert!(report.requests < 12, "page after page, once: {report:?}");
    assert_eq!(late.sync_clean(&server).await.requests, 1);
}

/// With scopes: tombstones and exits go, and who was away too long is brought level all the same.
pub(super) async fn exits_go_with_the_tombstones(pair: &dyn ReplicaPair) {
    let ([away], server) = some(pair, short_with_tasks).await;
    let caller = Caller::named("a").with(Right::Write).in_scope("a", Right::Write);
    let line = FlakyReplica::new(&server.workspace).calling_as(caller);
    for id in ["deleted", "moved", "stays"] {
        put(&server, id, "a", "first").await;
    }
    away.workspace.sync(&line).await.expect("the sync succeeds");
    put(&server, "moved", "b", "second").await;
    delete(&server, "deleted").await;
    pass(40, &[&away, &server]);
    assert_eq!(purge(&server).await, [""; 0]);
    let report = away.workspace.sync(&line).await.expect("the sync succeeds");
    assert_eq!(tasks(&away).await.into_keys().collect::<Vec<_>>(), ["stays"], "{report:?}");
    assert!(report.rejected.is_empty(), "{report:?}");
}

/// Who asks for something else than before compares everything, and is told of what was deleted and purged meanwhile too.
pub(super) async fn another_filter_passes_the_horizon(pair: &dyn ReplicaPair) {
    let ([a], server) = some(pair, short).await;
    for id in ["1", "2"] {
        server.put(id, "first").await;
    }
    a.sync_clean(&server).await;
    server.delete("1").await;
    pass(31, &[&a, &server]);
    assert_eq!(purge(&server).await, [""; 0]);
    a.workspace.sync(&server.replica).only(ItemField::Done.eq(false)).await.expect("the sync succeeds");
    assert_eq!(a.ids().await, ["2"]);
}

/// A scope that was revoked, granted again in a sync that compares everything, is compared from where it was left.
pub(super) async fn a_scope_that_was_out_of_reach_passes_the_horizon(pair: &dyn ReplicaPair) {
    let ([a], server) = some(pair, short_with_tasks).await;
    let sync = async |scopes: &[&str], done: bool| {
        let line = FlakyReplica::new(&server.workspace).calling_as(of("a", scopes));
        a.workspace.sync(&line).only(ItemField::Done.eq(done)).await.expect("the sync succeeds")
    };
    for id in ["1", "2"] {
        put(&server, id, "a", "first").await;
    }
    sync(&["a"], false).await;
    sync(&[], false).await;
    delete(&server, "1").await;
    pass(31, &[&a, &server]);
    assert_eq!(purge(&server).await, [""; 0]);
    server.put("later", "for everybody").await;
    sync(&[], false).await;
    sync(&["a"], true).await;
    assert_eq!(tasks(&a).await.into_keys().collect::<Vec<_>>(), ["2"]);
}

/// A record that went to a scope which may be read and is not wanted is not there for who compares: it leaves.
pub(super) async fn what_moved_to_where_it_is_not_wanted_leaves_with_the_comparison(pair: &dyn ReplicaPair) {
    let ([a, witness], server) = some(pair, short_with_subscriptions).await;
    let caller = of("a", &["a", "b"]).in_scope(Subscription::scope_of("a"), Right::Write);
    let wanted = a.workspace.collection::<Subscription>().expect("the model is registered");
    wanted.create(Subscription::new::<Task>("a", ["a"])).await.expect("a subscription is saved");
    for id in ["deleted", "moved", "stays"] {
        put(&server, id, "a", "first").await;
    }
    sync_as(&a, &server, &caller).await;
    put(&server, "moved", "b", "second").await;
    delete(&server, "deleted").await;
    // Somebody looks, so that the move is known, and forgotten with what is purged.
    sync_as(&witness, &server, &caller).await;
    pass(40, &[&a, &server]);
    assert_eq!(purge(&server).await, [""; 0]);
    sync_as(&a, &server, &caller).await;
    assert_eq!(tasks(&a).await.into_keys().collect::<Vec<_>>(), ["stays"]);
}

/// P1: a delete is an edit; while no peer has it, it stays, however long its device is offline.
pub(super) async fn a_delete_that_no_peer_has_is_never_purged(pair: &dyn ReplicaPair) {
    let ([a], server) = some(pair, short).await;
    a.put("1", "first").await;
    a.sync_clean(&server).await;
    a.delete("1").await;
    pass(400, &[&a, &server]);
    assert_eq!(purge(&a).await, ["1"], "nobody else knows of it");
    a.sync_clean(&server).await;
    assert_eq!(server.ids().await, [""; 0]);
    assert_eq!(purge(&a).await, [""; 0], "the server has it");
}

/// A delete that the peer refused stays until somebody has decided what becomes of it.
pub(super) async fn a_delete_that_was_refused_is_not_purged(pair: &dyn ReplicaPair) {
    let ([a], server) = some(pair, short_with_tasks).await;
    put(&server, "1", "a", "first").await;
    sync_as(&a, &server, &of("a", &["a"])).await;
    delete(&a, "1").await;
    let reader = Caller::named("a").with(Right::Write).in_scope("a", Right::Read);
    assert_eq!(sync_as(&a, &server, &reader).await.rejected.len(), 1);
    pass(400, &[&a, &server]);
    assert_eq!(purge(&a).await, ["1"], "it waits");
    a.workspace.retry::<Task>("1").await.expect("it is tried again");
    sync_as(&a, &server, &of("a", &["a"])).await;
    assert_eq!(tasks(&server).await.len(), 0);
    // `retry` made a revision of it, which has to become old.
    pass(800, &[&a, &server]);
    assert_eq!(purge(&a).await, [""; 0]);
}

/// An edit that came back after it was deleted and purged, as its device never learnt that it had arrived, is newer than
/// the tombstone that others remember: they are told, and do not differ for ever.
pub(super) async fn what_comes_back_after_its_tombstone_is_newer_than_it(pair: &dyn ReplicaPair) {
    let ([a, b], server) = some(pair, short).await;
    a.put("1", "first").await;
    a.sync_clean(&server).await;
    a.put("1", "edited").await;
    let line = FlakyReplica::new(&server.replica);
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).await.expect_err("the answer is lost");
    assert_eq!(server.title("1").await.as_deref(), Some("edited"));
    b.sync_clean(&server).await;
    b.delete("1").await;
    b.sync_clean(&server).await;
    pass(40, &[&a, &b, &server]);
    assert_eq!(purge(&server).await, [""; 0]);
    a.sync(&server).await;
    assert_eq!(server.title("1").await.as_deref(), Some("edited"), "an edit is kept");
    a.sync_clean(&server).await;
    let report = b.sync(&server).await;
    assert_eq!(report.conflict_count(), 1, "it was deleted here and edited there: {report:?}");
}

/// Who watches a model and comes late is told what left it for a week; what was told for so long is forgotten.
pub(super) async fn what_left_is_told_for_a_week(pair: &dyn ReplicaPair) {
    let ([a], server) = some(pair, short_with_tasks).await;
    let caller = of("a", &["a"]);
    for id in ["1", "2", "3"] {
        put(&server, id, "a", "first").await;
    }
    sync_as(&a, &server, &caller).await;
    let mut watch = a.workspace.collection::<Task>().expect("the model is registered").watch();
    watch.start().await.expect("it starts");
    put(&server, "1", "b", "second").await;
    sync_as(&a, &server, &caller).await;
    pass(6, &[&a, &server]);
    put(&server, "2", "b", "second").await;
    sync_as(&a, &server, &caller).await;
    pass(8, &[&a, &server]);
    a.workspace.purge().await.expect("it purges");
    let told = watch.next().await.expect("events are told");
    assert_eq!(told, [Event { id: "2".to_owned(), deleted: true, from_peer: true }]);
}

/// A server that took a new name remembers who pushed to it before: what they bring of what was purged is nothing new.
pub(super) async fn a_server_under_a_new_name_knows_who_pushed_before(pair: &dyn ReplicaPair) {
    let ([a, b], server) = some(pair, short).await;
    a.put("1", "first").await;
    for device in [&a, &b] {
        device.sync_clean(&server).await;
    }
    b.delete("1").await;
    b.sync_clean(&server).await;
    pass(40, &[&a, &b, &server]);
    assert_eq!(purge(&server).await, [""; 0]);
    server.workspace.restored().await.expect("a new name is taken");
    let report = a.sync(&server).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(report.rejected[0].code, "gone");
    assert_eq!(server.ids().await, [""; 0]);
    b.sync_clean(&server).await;
    assert_eq!(a.ids().await, ["1"], "what becomes of it is for a person to say");
}
