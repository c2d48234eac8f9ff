//! The statuses of records: counted, listed, exported, watched.

use super::ReplicaPair;
use super::merging::{create, edit, the_card, two_level};
use super::models::Card;
use super::world::Device;
use sync_runtime::{Conflict, Status};

async fn put(device: &Device, id: &str) {
    create(device, Card { id: id.into(), title: id.into(), ..Card::default() }).await;
}

/// Every record is in exactly one list.
pub(super) async fn records_are_listed_by_status(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    put(&a, "2").await;
    a.sync_clean(&b).await;
    edit::<Card>(&a, |card| card.title = "of a".into()).await;
    edit::<Card>(&b, |card| card.title = "of b".into()).await;
    a.sync(&b).await;
    put(&a, "3").await;
    let statuses = a.workspace.statuses::<Card>().await.expect("statuses are read");
    assert_eq!(statuses.synced, 1);
    assert_eq!((statuses.conflicted, statuses.needs_sync), (vec!["1".to_owned()], vec!["3".to_owned()]));
    assert_eq!(statuses.rejected, []);
}

/// What is pending is exact with two peers too, and can be kept outside the store.
pub(super) async fn pending_is_exact_and_can_be_exported(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    let c = Device::open(pair, pair.b().await, super::merging::cards).await;
    a.sync_clean(&c).await;
    assert_eq!(a.workspace.pending(10).await.expect("it is read"), []);
    edit::<Card>(&b, |card| card.best = 6).await;
    a.sync_clean(&b).await;
    let pending = a.workspace.pending(10).await.expect("it is read");
    assert_eq!(pending.len(), 1, "`c` does not hold what `b` wrote");
    let exported = serde_json::to_value(&pending[0]).expect("it is JSON");
    assert_eq!(exported["record"]["best"], 6);
    assert_eq!((exported["model"].as_str(), exported["id"].as_str()), (Some("Card"), Some("1")));
    a.sync_clean(&c).await;
    assert_eq!(a.workspace.pending(10).await.expect("it is read"), []);
}

/// An observer is told of every change of a status: by an edit, a sync, a resolution.
pub(super) async fn a_change_of_status_is_told(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    let mut watch = a.workspace.watch_status::<Card>().expect("the model is registered");
    watch.start().await.expect("it starts");
    let one = |status: Status| vec![("1".to_owned(), status)];
    edit::<Card>(&a, |card| card.title = "of a".into()).await;
    assert_eq!(watch.next().await.expect("a change"), one(Status::NeedsSync));
    edit::<Card>(&b, |card| card.title = "of b".into()).await;
    a.sync(&b).await;
    assert_eq!(watch.next().await.expect("a change"), one(Status::Conflicted));
    let conflict = a.workspace.conflicts::<Card>().await.expect("it is read").remove(0);
    conflict.resolve_using_target().await.expect("it is resolved");
    assert_eq!(watch.next().await.expect("a change"), one(Status::NeedsSync));
    a.sync_clean(&b).await;
    assert_eq!(watch.next().await.expect("a change"), one(Status::Synced));
}

/// An observer of conflicts is told when one comes, when a newer version of the other side comes, and when it goes.
pub(super) async fn conflicts_are_watched(pair: &dyn ReplicaPair) {
    let (a, b) = two_level(pair).await;
    let mut watch = a.workspace.watch_conflicts::<Card>().expect("the model is registered");
    watch.start().await.expect("it starts");
    edit::<Card>(&a, |card| card.title = "of a".into()).await;
    edit::<Card>(&b, |card| card.title = "of b".into()).await;
    a.sync(&b).await;
    let target = |conflicts: &[Conflict<Card>]| conflicts[0].target().map(|card| card.title.clone());
    assert_eq!(target(&watch.next().await.expect("conflicts")).as_deref(), Some("of b"));
    edit::<Card>(&b, |card| card.title = "of b again".into()).await;
    a.sync(&b).await;
    let mut conflicts = watch.next().await.expect("conflicts");
    assert_eq!(target(&conflicts).as_deref(), Some("of b again"));
    conflicts.remove(0).resolve_using_source().await.expect("it is resolved");
    assert_eq!(watch.next().await.expect("conflicts").len(), 0);
    a.sync_clean(&b).await;
    assert_eq!(the_card(&b).await.title, "of a");
}
