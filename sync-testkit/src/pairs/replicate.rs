//! One way: what LoopBack's `replicate` does.

use super::ReplicaPair;
use super::models::{Item, ItemField, List};
use super::world::{Device, assert_level, two};
use crate::flaky::{FlakyReplica, LineFault, Request};
use sync_runtime::methods::replicate_all;
use sync_runtime::replica::{Caller, Pull, Pulled, Replica};
use sync_runtime::{AsReplica, Condition, ErrorKind, Field, ReplicationReport};

/// Replicates items, which must meet no conflict and no refusal and end level.
async fn replicate_clean(source: &dyn AsReplica, target: &dyn AsReplica) -> ReplicationReport {
    let report = Item::replicate(source, target).await.expect("it replicates");
    assert_eq!((report.conflict_count(), report.level), (0, true), "{report:?}");
    assert_eq!(report.rejected, vec![]);
    report
}

/// LoopBack: "Replicate data using the target model", also its promise variant.
pub(super) async fn replicates_data_using_the_target_model(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let report = replicate_clean(&a.workspace, &b.replica).await;
    assert_eq!(report.applied, 1);
    assert_eq!(b.get("1").await, a.get("1").await);
    assert_level(&[&a, &b]).await;
}

/// The other direction: the target is the workspace, the source is reached as a peer.
pub(super) async fn replicates_from_a_peer_into_a_workspace(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    b.put("1", "foo").await;
    assert_eq!(replicate_clean(&b.replica, &a.workspace).await.applied, 1);
    assert_level(&[&a, &b]).await;
}

/// LoopBack: "applies "since" filter on source changes", also its promise variant.
pub(super) async fn applies_since_filter_on_source_changes(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    let since = List::checkpoint(&a.workspace).await.expect("a checkpoint");
    a.put("2", "second").await;
    let report = Item::replicate(&a.workspace, &b.replica).since(since).await.expect("it replicates");
    assert_eq!(report.applied, 1);
    assert_eq!(b.ids().await, ["2"], "the first is skipped");
}

/// LoopBack: "applies "since" filter on target changes": there it only saves the target work, here the target
/// needs none. A checkpoint that is not of the source's history compares everything and sends what is lacking.
pub(super) async fn a_since_of_another_history_compares_everything(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    replicate_clean(&a.workspace, &b.replica).await;
    a.put("2", "second").await;
    let foreign = List::checkpoint(&b.replica).await.expect("a checkpoint");
    let report = Item::replicate(&a.workspace, &b.replica).since(foreign).await.expect("it replicates");
    assert_eq!(report.applied, 1, "what the target has is not sent again");
    assert_level(&[&a, &b]).await;
}

/// LoopBack: "uses different "since" value for source and target", also its promise variant.
pub(super) async fn uses_different_since_values_for_source_and_target(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    for n in 0..3 {
        a.put(&format!("a{n}"), "of a").await;
    }
    b.put("b0", "of b").await;
    let first = replicate_clean(&a.workspace, &b.replica).await.checkpoints;
    assert_ne!(first.source.position, first.target.position);
    assert_ne!(first.source.replica, first.target.replica);
    a.put("a3", "of a").await;
    b.put("b1", "of b").await;
    let there = Item::replicate(&a.workspace, &b.replica).since(first.source).await.expect("it replicates");
    assert_eq!(there.applied, 1);
    let back = Item::replicate(&b.replica, &a.workspace).since(first.target).await.expect("it replicates");
    assert_eq!(back.applied, 1, "only what is newer at the target, and not what came from here");
    assert_eq!(a.ids().await, ["a0", "a1", "a2", "a3", "b1"]);
}

/// LoopBack: "picks up changes made during replication".
pub(super) async fn picks_up_changes_made_during_replication(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("init", "init").await;
    let source = FlakyReplica::new(&a.workspace);
    let workspace = a.workspace.clone();
    source.after(Request::CreateUpdates, move || {
        Box::pin(async move {
            let items = workspace.collection::<Item>().expect("the model is registered");
            items.create(Item::new("racer", "racer")).await.expect("an item is made");
        })
    });
    replicate_clean(&source, &b.replica).await;
    assert_eq!(b.ids().await, ["init", "racer"]);
}

/// LoopBack: "returns new current checkpoints to callback".
pub(super) async fn returns_new_current_checkpoints(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    b.put("2", "bar").await;
    let before = (List::checkpoint(&a.workspace).await, List::checkpoint(&b.replica).await);
    let report = replicate_clean(&a.workspace, &b.replica).await;
    let (source, target) = (before.0.expect("a checkpoint"), before.1.expect("a checkpoint"));
    assert_eq!((report.checkpoints.source, report.checkpoints.target), (source, target));
    let again = Item::replicate(&a.workspace, &b.replica).since(source).await.expect("it replicates");
    assert_eq!(again.applied, 0, "they go on where the last run began");
}

/// LoopBack: "leaves current target checkpoint empty": what a replication wrote is no work of the target's own.
pub(super) async fn leaves_nothing_to_send_back(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    replicate_clean(&a.workspace, &b.replica).await;
    let back = replicate_clean(&b.replica, &a.workspace).await;
    assert_eq!(back.applied, 0);
    assert!(b.engine().id().await.expect("an id") != a.change("1").await.revision().replica);
    assert_level(&[&a, &b]).await;
}

/// Runs a replication of items from `a`, with this done at `b` just before the updates arrive there.
async fn with_third_party(
    a: &Device,
    b: &Device,
    meanwhile: impl FnOnce(sync_runtime::Collection<Item>) -> sync_runtime::BoxFuture<'static, ()>
    + Send
    + 'static,
) -> ReplicationReport {
    let line = b.line();
    let items = b.workspace.collection::<Item>().expect("the model is registered");
    line.before(Request::BulkUpdate, move || meanwhile(items));
    Item::replicate(&a.workspace, &line).await.expect("it replicates")
}

async fn one_conflict_resolved_using_ours(a: &Device, b: &Device, report: ReplicationReport) {
    let mut conflicts = report.conflicts::<Item>();
    let ids: Vec<_> = conflicts.iter().map(|conflict| conflict.id().clone()).collect();
    assert_eq!(ids, ["1"]);
    conflicts.remove(0).resolve().await.expect("it is resolved");
    replicate_clean(&a.workspace, &b.replica).await;
    assert_eq!(a.get("1").await, b.get("1").await);
    assert_level(&[a, b]).await;
}

/// LoopBack: "detects UPDATE made during UPDATE".
pub(super) async fn detects_update_made_during_update(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    replicate_clean(&a.workspace, &b.replica).await;
    a.put("1", "source").await;
    let report = with_third_party(&a, &b, |items| {
        Box::pin(async move {
            items.update("1", |item| item.title = "3rd-party".into()).await.expect("an item is saved");
        })
    });
    one_conflict_resolved_using_ours(&a, &b, report.await).await;
    assert_eq!(b.title("1").await.as_deref(), Some("source"));
}

/// LoopBack: "detects CREATE made during CREATE".
pub(super) async fn detects_create_made_during_create(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "source").await;
    let report = with_third_party(&a, &b, |items| {
        Box::pin(async move {
            items.create(Item::new("1", "3rd-party")).await.expect("an item is made");
        })
    });
    one_conflict_resolved_using_ours(&a, &b, report.await).await;
    assert_eq!(b.title("1").await.as_deref(), Some("source"));
}

/// LoopBack: "detects UPDATE made during DELETE".
pub(super) async fn detects_update_made_during_delete(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    replicate_clean(&a.workspace, &b.replica).await;
    a.delete("1").await;
    let report = with_third_party(&a, &b, |items| {
        Box::pin(async move {
            items.update("1", |item| item.title = "3rd-party".into()).await.expect("an item is saved");
        })
    });
    one_conflict_resolved_using_ours(&a, &b, report.await).await;
    assert_eq!(b.title("1").await, None);
}

/// LoopBack: "handles DELETE made during DELETE".
pub(super) async fn handles_delete_made_during_delete(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    replicate_clean(&a.workspace, &b.replica).await;
    a.delete("1").await;
    let report = with_third_party(&a, &b, |items| {
        Box::pin(async move {
            assert!(items.delete("1").await.expect("an item is deleted"));
        })
    });
    assert_eq!(report.await.conflict_count(), 0);
    replicate_clean(&a.workspace, &b.replica).await;
    replicate_clean(&b.replica, &a.workspace).await;
    assert_eq!((a.get("1").await, b.get("1").await), (None, None));
    assert_level(&[&a, &b]).await;
}

/// LoopBack: `Model.changes(since, filter)`: "Get changes since the given checkpoint".
pub(super) async fn gets_changes_since_the_given_checkpoint(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    let since = List::checkpoint(&b.replica).await.expect("a checkpoint");
    let lists = b.workspace.collection::<List>().expect("the model is registered");
    lists.create(List::new("1", "foo")).await.expect("a list is made");
    b.put("1", "an item, which is no list").await;
    let changes = List::changes(&b.replica, Some(since)).await.expect("changes");
    let ids: Vec<_> = changes.iter().map(|change| change.name()).collect();
    assert_eq!(ids, ["List 1"]);
}

/// LoopBack: "excludes changes from older checkpoints".
pub(super) async fn excludes_changes_from_older_checkpoints(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    let lists = b.workspace.collection::<List>().expect("the model is registered");
    lists.create(List::new("1", "foo")).await.expect("a list is made");
    let since = List::checkpoint(&b.replica).await.expect("a checkpoint");
    assert_eq!(List::changes(&b.replica, Some(since)).await.expect("changes").len(), 0);
    assert_eq!(List::changes(&b.replica, None).await.expect("changes").len(), 1);
}

/// Changes come in pages that cover everything once.
pub(super) async fn changes_come_in_pages_that_cover_everything_once(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    for n in 0..7 {
        b.put(&format!("{n}"), "foo").await;
    }
    let (mut since, mut ids, mut pages) = (None, Vec::new(), 0);
    loop {
        let models = b.engine().models().clone();
        let pull = Pull { since, limit: 3, data: false, ..Pull::of(models) };
        let pulled = b.replica.changes(&Caller::owner(), pull).await.expect("changes");
        let Pulled::Page(feed) = pulled else { panic!("its own checkpoint is not known") };
        pages += 1;
        assert!(feed.page.updates.len() <= 3);
        ids.extend(feed.page.updates.iter().map(|update| update.state.change.id.to_string()));
        since = Some(feed.checkpoint);
        if !feed.more {
            break;
        }
    }
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(pages, 3);
}

/// A filter keeps records away that do not match; deletes always go.
pub(super) async fn replicates_with_a_filter(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    for (id, count) in [("1", 1), ("2", 2), ("3", 3)] {
        a.put(id, "foo").await;
        a.count(id, count).await;
    }
    let filter: Condition<Item> = ItemField::Count.ge(2_i64);
    let report = Item::replicate(&a.workspace, &b.replica).filter(filter).await.expect("it replicates");
    assert_eq!(report.applied, 2);
    assert_eq!(b.ids().await, ["2", "3"]);
    a.delete("3").await;
    let filter: Condition<Item> = ItemField::Count.ge(2_i64);
    Item::replicate(&a.workspace, &b.replica).filter(filter).await.expect("it replicates");
    assert_eq!(b.ids().await, ["2"]);
}

/// A filter with a value that its field cannot hold is refused, with the field's name.
pub(super) async fn a_filter_that_does_not_fit_is_refused(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let filter: Condition<Item> = ItemField::Title.eq("U+0000: \0");
    let error = Item::replicate(&a.workspace, &b.replica).filter(filter).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert!(error.to_string().contains("title"), "{error}");
    assert_eq!(b.ids().await.len(), 0);
}

/// Pages of any size bring everything once, in either direction.
pub(super) async fn replicates_in_pages(pair: &dyn ReplicaPair) {
    for size in [1, 2, 3, 10, 11] {
        let (a, b) = two(pair).await;
        for n in 0..10 {
            a.put(&format!("a{n}"), "foo").await;
            b.put(&format!("b{n}"), "foo").await;
        }
        let report = Item::replicate(&a.workspace, &b.replica).page_size(size).await.expect("it replicates");
        assert_eq!((report.applied, report.level), (10, true));
        let report = Item::replicate(&b.replica, &a.workspace).page_size(size).await.expect("it replicates");
        assert_eq!((report.applied, report.level), (10, true));
        assert_level(&[&a, &b]).await;
    }
}

/// LoopBack: "correctly replicates without checkpoint filter".
pub(super) async fn replicates_without_checkpoint_filter(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    replicate_clean(&a.workspace, &b.replica).await;
    a.put("1", "updated").await;
    replicate_clean(&a.workspace, &b.replica).await;
    assert_eq!(b.title("1").await.as_deref(), Some("updated"));
    a.delete("1").await;
    replicate_clean(&a.workspace, &b.replica).await;
    assert_eq!(b.get("1").await, None);
    assert_level(&[&a, &b]).await;
}

/// LoopBack: "replicates multiple updates within the same CP".
pub(super) async fn replicates_multiple_updates_within_the_same_checkpoint(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "first").await;
    replicate_clean(&a.workspace, &b.replica).await;
    a.put("1", "updated").await;
    a.put("1", "again").await;
    assert_eq!(replicate_clean(&a.workspace, &b.replica).await.applied, 1, "the newest state is sent once");
    assert_eq!(b.title("1").await.as_deref(), Some("again"));
}

/// Replicating what is level sends nothing.
pub(super) async fn replicating_again_applies_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    a.put("2", "bar").await;
    a.delete("2").await;
    replicate_clean(&a.workspace, &b.replica).await;
    assert_eq!(replicate_clean(&a.workspace, &b.replica).await.applied, 0);
    assert_level(&[&a, &b]).await;
}

/// One model at a time, or all of them.
pub(super) async fn replicates_one_model_or_all(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let lists = a.workspace.collection::<List>().expect("the model is registered");
    lists.create(List::new("1", "bar")).await.expect("a list is made");
    replicate_clean(&a.workspace, &b.replica).await;
    let there = b.workspace.collection::<List>().expect("the model is registered");
    assert_eq!(there.get("1").await.expect("a list is read"), None, "only items were asked for");
    let report = replicate_all(&a.workspace, &b.replica, None).await.expect("it replicates");
    assert_eq!((report.applied, report.level), (1, true));
    assert_level(&[&a, &b]).await;
}

/// A replica is not replicated to itself.
pub(super) async fn replicating_to_itself_is_refused(pair: &dyn ReplicaPair) {
    let (a, _) = two(pair).await;
    a.put("1", "foo").await;
    let error = Item::replicate(&a.workspace, &a.workspace).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Usage);
    let error = Item::replicate(&a.workspace, &a.line()).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Usage);
}

/// Between two remote replicas conflicts are reported as they are: there is nobody who could keep them.
pub(super) async fn between_two_remote_replicas_conflicts_are_reported_loose(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    a.put("2", "fine").await;
    let report = Item::replicate(&a.line(), &b.line()).await.expect("it replicates");
    assert_eq!((report.applied, report.conflict_count()), (1, 1));
    assert_eq!(report.conflicts::<Item>().len(), 0);
    let [(source, target)] = report.differences() else { panic!("one difference, not {report:?}") };
    assert_eq!(source.change.revision(), a.change("1").await.revision());
    assert_eq!(target.change.revision(), b.change("1").await.revision());
    assert_eq!(b.ids().await, ["1", "2"]);
}

/// A run whose messages are lost has the effect of one whose messages are not, once it is run again.
pub(super) async fn a_lost_message_is_made_good_by_the_next_run(pair: &dyn ReplicaPair) {
    let requests =
        [Request::Checkpoint, Request::Describe, Request::Diff, Request::BulkUpdate, Request::Checkpoint];
    for fault in [LineFault::LoseRequest, LineFault::LoseAnswer, LineFault::Repeat] {
        for request in requests {
            let (a, b) = two(pair).await;
            a.put("1", "foo").await;
            a.put("2", "bar").await;
            let line = b.line();
            line.next(request, fault);
            let first = Item::replicate(&a.workspace, &line).await;
            assert_eq!(first.is_ok(), fault == LineFault::Repeat, "{fault:?} of {request:?}");
            if let Err(error) = first {
                assert!(error.is_retryable(), "{error:?}");
            }
            replicate_clean(&a.workspace, &line).await;
            assert_level(&[&a, &b]).await;
        }
    }
}

/// A replication that is done in both directions over and over brings no record back as new work.
pub(super) async fn replicating_both_ways_comes_to_rest(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("2", "of b").await;
    for round in 0..3 {
        let there = replicate_clean(&a.workspace, &b.replica).await;
        let back = replicate_clean(&b.replica, &a.workspace).await;
        assert_eq!((there.applied, back.applied), if round == 0 { (1, 1) } else { (0, 0) });
    }
    assert_level(&[&a, &b]).await;
}
