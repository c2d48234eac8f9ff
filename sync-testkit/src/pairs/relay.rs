//! Two clients with a server between them: LoopBack's "complex setup".

use super::ReplicaPair;
use super::models::{Item, List};
use super::world::{Device, assert_level, three};
use sync_runtime::{AsReplica, Checkpoint, Conflict};

/// Three devices; item `1` was made at the first and is at the server.
async fn with_item(pair: &dyn ReplicaPair) -> (Device, Device, Device) {
    let (a, server, b) = three(pair).await;
    a.put("1", "v1").await;
    replicate(&a.workspace, &server.replica, None).await;
    (a, server, b)
}

/// Replicates items since a checkpoint, without conflicts; gives the next one.
async fn replicate(source: &dyn AsReplica, target: &dyn AsReplica, since: Option<Checkpoint>) -> Checkpoint {
    let run = Item::replicate(source, target);
    let run = match since {
        Some(since) => run.since(since),
        None => run,
    };
    let report = run.await.expect("it replicates");
    assert_eq!((report.conflict_count(), report.level), (0, true), "{report:?}");
    report.checkpoints.source
}

/// LoopBack: clientA-server-clientB: "replicates new models".
pub(super) async fn replicates_new_models(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    replicate(&server.replica, &b.workspace, None).await;
    assert_eq!(b.get("1").await, a.get("1").await);
    assert_level(&[&a, &server, &b]).await;
}

/// LoopBack: "propagates updates with no false conflicts".
pub(super) async fn propagates_updates_with_no_false_conflicts(pair: &dyn ReplicaPair) {
    for with_since in [false, true] {
        let (a, server, b) = with_item(pair).await;
        let keep = |checkpoint| Some(checkpoint).filter(|_| with_since);
        a.put("1", "v2").await;
        let up = keep(replicate(&a.workspace, &server.replica, None).await);
        let down = keep(replicate(&server.replica, &b.workspace, None).await);
        a.put("1", "v3").await;
        let up = keep(replicate(&a.workspace, &server.replica, up).await);
        a.put("1", "v4").await;
        replicate(&a.workspace, &server.replica, up).await;
        replicate(&server.replica, &b.workspace, down).await;
        assert_eq!(b.title("1").await.as_deref(), Some("v4"));
        assert_level(&[&a, &server, &b]).await;
    }
}

/// LoopBack: "propagates deletes with no false conflicts".
pub(super) async fn propagates_deletes_with_no_false_conflicts(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    replicate(&server.replica, &b.workspace, None).await;
    a.delete("1").await;
    replicate(&a.workspace, &server.replica, None).await;
    replicate(&server.replica, &b.workspace, None).await;
    assert_eq!(b.get("1").await, None);
    assert_level(&[&a, &server, &b]).await;
}

/// LoopBack: "correctly replicates multiple checkpoints" and "allows specifying since": each run goes on where
/// the last one began, and nothing is left out.
pub(super) async fn replicates_checkpoint_after_checkpoint(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    let (mut up, mut down) = (None, None);
    for n in 0..5 {
        a.put("1", &format!("round {n}")).await;
        a.put(&format!("of round {n}"), "foo").await;
        up = Some(replicate(&a.workspace, &server.replica, up).await);
        if n % 2 == 0 {
            down = Some(replicate(&server.replica, &b.workspace, down).await);
        }
    }
    assert_eq!(b.ids().await.len(), 6);
    assert_level(&[&a, &server, &b]).await;
    let changes = List::changes(&server.replica, None).await.expect("changes");
    assert_eq!(changes.len(), 0, "no list was made");
}

/// LoopBack: bidirectional sync: "propagates CREATE".
pub(super) async fn bidirectional_sync_propagates_create(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    assert_eq!(b.get("1").await, a.get("1").await);
    assert_level(&[&a, &server, &b]).await;
}

/// LoopBack: "propagates CREATE+UPDATE".
pub(super) async fn bidirectional_sync_propagates_create_and_update(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    a.put("1", "v2").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    assert_eq!(b.title("1").await.as_deref(), Some("v2"));
    assert_level(&[&a, &server, &b]).await;
}

/// LoopBack: "propagates DELETE".
pub(super) async fn bidirectional_sync_propagates_delete(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    b.sync_clean(&server).await;
    a.put("never seen", "v1").await;
    a.sync_clean(&server).await;
    a.delete("1").await;
    a.delete("never seen").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    assert_eq!(b.ids().await.len(), 0);
    assert_level(&[&a, &server, &b]).await;
}

/// LoopBack: "does not report false conflicts".
pub(super) async fn does_not_report_false_conflicts(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    a.put("1", "v2").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    b.put("1", "v5").await;
    b.sync_clean(&server).await;
    b.put("1", "v6").await;
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    assert_eq!(a.title("1").await.as_deref(), Some("v6"));
    assert_level(&[&a, &server, &b]).await;
}

/// Work goes to and fro through the server, every step on top of the last, without a conflict.
pub(super) async fn work_goes_to_and_fro_without_conflict(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    for n in 0..4 {
        b.sync_clean(&server).await;
        b.put("1", &format!("b{n}")).await;
        b.put("1", &format!("b{n} again")).await;
        b.sync_clean(&server).await;
        a.sync_clean(&server).await;
        a.count("1", n).await;
        a.sync_clean(&server).await;
    }
    b.sync_clean(&server).await;
    assert_eq!(b.get("1").await.map(|item| (item.title, item.count)), Some(("b3 again".into(), 3)));
    assert_level(&[&a, &server, &b]).await;
}

/// The server edits as well, between its clients.
pub(super) async fn the_server_edits_too(pair: &dyn ReplicaPair) {
    let (a, server, b) = with_item(pair).await;
    a.sync_clean(&server).await;
    server.put("1", "of the server").await;
    server.put("2", "of the server").await;
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    assert_eq!(a.title("1").await.as_deref(), Some("of the server"));
    b.put("2", "of b").await;
    b.sync_clean(&server).await;
    server.delete("1").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    assert_eq!(a.ids().await, ["2"]);
    assert_level(&[&a, &server, &b]).await;
}

type Way = fn(Conflict<Item>) -> sync_runtime::BoxFuture<'static, sync_runtime::Result<()>>;

/// Item `1` is changed (or deleted) at the first client and changed at the second; the conflict is met there,
/// resolved, and brought to all.
async fn resolved(pair: &dyn ReplicaPair, delete: bool, way: Way, expected: Option<&str>) {
    let (a, server, b) = with_item(pair).await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    match delete {
        true => a.delete("1").await,
        false => a.put("1", "a").await,
    }
    a.sync_clean(&server).await;
    b.put("1", "b").await;
    let report = Item::replicate(&b.workspace, &server.line()).await.expect("it replicates");
    let mut conflicts = report.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].source().map(|item| item.title.as_str()), Some("b"), "the source is b");
    way(conflicts.remove(0)).await.expect("it is resolved");
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    assert_eq!(a.title("1").await.as_deref(), expected);
    assert_eq!(a.get("1").await, b.get("1").await);
    assert_level(&[&a, &server, &b]).await;
}

/// LoopBack: "handles UPDATE conflict resolved using "ours"".
pub(super) async fn update_conflict_resolved_using_ours(pair: &dyn ReplicaPair) {
    resolved(pair, false, |conflict| Box::pin(conflict.resolve_using_source()), Some("b")).await;
}

/// LoopBack: "handles UPDATE conflict resolved using "theirs"".
pub(super) async fn update_conflict_resolved_using_theirs(pair: &dyn ReplicaPair) {
    resolved(pair, false, |conflict| Box::pin(conflict.resolve_using_target()), Some("a")).await;
}

/// LoopBack: "handles UPDATE conflict resolved manually".
pub(super) async fn update_conflict_resolved_manually(pair: &dyn ReplicaPair) {
    let way: Way = |conflict| Box::pin(conflict.resolve_manually(Some(Item::new("1", "manual"))));
    resolved(pair, false, way, Some("manual")).await;
}

/// LoopBack: "handles DELETE conflict resolved using "ours"".
pub(super) async fn delete_conflict_resolved_using_ours(pair: &dyn ReplicaPair) {
    resolved(pair, true, |conflict| Box::pin(conflict.resolve_using_source()), Some("b")).await;
}

/// LoopBack: "handles DELETE conflict resolved using "theirs"".
pub(super) async fn delete_conflict_resolved_using_theirs(pair: &dyn ReplicaPair) {
    resolved(pair, true, |conflict| Box::pin(conflict.resolve_using_target()), None).await;
}

/// LoopBack: "handles DELETE conflict resolved as manual delete".
pub(super) async fn delete_conflict_resolved_as_manual_delete(pair: &dyn ReplicaPair) {
    resolved(pair, true, |conflict| Box::pin(conflict.resolve_manually(None)), None).await;
}

/// LoopBack: "handles DELETE conflict resolved manually".
pub(super) async fn delete_conflict_resolved_manually(pair: &dyn ReplicaPair) {
    let way: Way = |conflict| Box::pin(conflict.resolve_manually(Some(Item::new("1", "manual"))));
    resolved(pair, true, way, Some("manual")).await;
}
