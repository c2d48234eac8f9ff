//! P8: one record that is refused is parked with the reason; all others flow. And the four statuses.

use super::ReplicaPair;
use super::models::{Item, StrictItem};
use super::world::{Device, all_models, assert_level, two};
use crate::flaky::{LineFault, Request};
use sync_runtime::replica::Limits;
use sync_runtime::{Error, ErrorKind, Status, WorkspaceBuilder};

fn strict(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<StrictItem>()
}

fn items_only(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Item>()
}

/// A device and a server that refuses poison.
async fn strict_server(pair: &dyn ReplicaPair) -> (Device, Device) {
    let a = Device::open(pair, pair.a().await, items_only).await;
    let b = Device::open(pair, pair.b().await, strict).await;
    (a, b)
}

/// A device that refuses poison and a server that does not.
async fn strict_device(pair: &dyn ReplicaPair) -> (Device, Device) {
    let a = Device::open(pair, pair.a().await, strict).await;
    let b = Device::open(pair, pair.b().await, items_only).await;
    (a, b)
}

async fn strict_title(device: &Device, id: &str) -> Option<String> {
    let items = device.workspace.collection::<StrictItem>().expect("the model is registered");
    items.get(id).await.expect("an item is read").map(|item| item.title)
}

fn is_rejected(status: &Status) -> bool {
    matches!(status, Status::Rejected(reason) if reason.contains("no poison here"))
}

/// A record that the target's `validate` refuses is parked with the reason; the others of its page flow.
pub(super) async fn a_refused_record_is_parked_and_the_others_flow(pair: &dyn ReplicaPair) {
    for size in [1, 2, 100] {
        let (a, b) = strict_server(pair).await;
        for id in ["1", "2", "4", "5"] {
            a.put(id, "fine").await;
        }
        a.put("3", "poison").await;
        a.put("6", "fine").await;
        let report = a.workspace.sync(&b.replica).page_size(size).await.expect("it syncs");
        assert_eq!(report.rejected.len(), 1, "{report:?}");
        let rejected = &report.rejected[0];
        assert_eq!((rejected.model, rejected.id.to_string().as_str(), rejected.by_us), ("Item", "3", false));
        assert_eq!(rejected.code, "invalid");
        assert!(
            rejected.reason.contains("no poison here") && rejected.reason.contains("Item 3"),
            "{rejected:?}"
        );
        for id in ["1", "2", "4", "5", "6"] {
            assert_eq!(strict_title(&b, id).await.as_deref(), Some("fine"));
            assert_eq!(a.status(id).await, Status::Synced);
        }
        assert_eq!(strict_title(&b, "3").await, None);
        assert!(is_rejected(&a.status("3").await));
        assert_eq!(a.title("3").await.as_deref(), Some("poison"), "it stays usable here");
    }
}

/// What is parked is not sent again and again, stays over a restart, and is told when asked for.
pub(super) async fn a_refused_record_is_not_sent_again_by_itself(pair: &dyn ReplicaPair) {
    let (a, b) = strict_server(pair).await;
    a.put("1", "poison").await;
    a.sync(&b).await;
    let a = a.restart().await;
    assert!(is_rejected(&a.status("1").await));
    let line = b.line();
    a.workspace.sync(&line).await.expect("it syncs");
    assert_eq!(line.pages().len(), 0);
    let rejected = a.workspace.rejected::<Item>().await.expect("what was refused");
    assert_eq!(rejected.len(), 1);
    assert!(is_rejected(&a.status("1").await));
}

/// An edit that the target accepts clears the entry.
pub(super) async fn an_edit_clears_the_entry(pair: &dyn ReplicaPair) {
    let (a, b) = strict_server(pair).await;
    a.put("1", "poison").await;
    a.sync(&b).await;
    a.count("1", 1).await;
    assert_eq!(a.status("1").await, Status::NeedsSync, "another try is due");
    assert_eq!(a.sync(&b).await.rejected.len(), 1, "still poison");
    assert!(is_rejected(&a.status("1").await));
    a.put("1", "cured").await;
    a.sync_clean(&b).await;
    assert_eq!(strict_title(&b, "1").await.as_deref(), Some("cured"));
    assert_eq!(a.status("1").await, Status::Synced);
    assert_eq!(a.workspace.rejected::<Item>().await.expect("what was refused"), vec![]);
}

/// A record that was fine and is edited into poison: the target keeps what it has, and gets the cure as a whole.
pub(super) async fn a_fine_record_made_poison_is_cured_again(pair: &dyn ReplicaPair) {
    let (a, b) = strict_server(pair).await;
    a.put("1", "fine").await;
    a.sync_clean(&b).await;
    a.put("1", "poison").await;
    a.count("1", 5).await;
    assert_eq!(a.sync(&b).await.rejected.len(), 1);
    assert_eq!(strict_title(&b, "1").await.as_deref(), Some("fine"));
    a.put("1", "cured").await;
    a.sync_clean(&b).await;
    let items = b.workspace.collection::<StrictItem>().expect("the model is registered");
    let item = items.get("1").await.expect("an item is read").expect("it is there");
    assert_eq!((item.title.as_str(), item.count), ("cured", 5));
    assert_level(&[&a, &b]).await;
}

/// The refused record is deleted: nothing is left to do.
pub(super) async fn deleting_the_refused_record_clears_the_entry(pair: &dyn ReplicaPair) {
    let (a, b) = strict_server(pair).await;
    a.put("1", "poison").await;
    a.sync(&b).await;
    a.delete("1").await;
    a.sync_clean(&b).await;
    assert_eq!(a.status("1").await, Status::Synced);
    assert_level(&[&a, &b]).await;
}

/// A retry without an edit: `rectify_change` sends the record once more, and a target that is lenient by now takes it.
pub(super) async fn a_retry_clears_the_entry_once_the_target_is_lenient(pair: &dyn ReplicaPair) {
    let (a, b) = strict_server(pair).await;
    a.put("1", "poison").await;
    a.sync(&b).await;
    let b = b.restart_as(items_only).await;
    assert!(a.workspace.rectify_change::<Item>("1").await.expect("it is rectified"));
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("poison"));
    assert_eq!(a.status("1").await, Status::Synced);
    assert_level(&[&a, &b]).await;
}

/// The answer that told the refusal was lost: the page is answered again, and parks it.
pub(super) async fn a_refusal_whose_answer_was_lost_is_told_again(pair: &dyn ReplicaPair) {
    let (a, b) = strict_server(pair).await;
    a.put("1", "poison").await;
    a.put("2", "fine").await;
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).await.expect_err("the answer is lost");
    assert_eq!(a.status("1").await, Status::NeedsSync);
    assert_eq!(a.workspace.sync(&line).await.expect("it syncs").rejected.len(), 1);
    assert!(is_rejected(&a.status("1").await));
}

/// A refusal on pull is parked as well; the checkpoint goes on; nothing else is held up.
pub(super) async fn a_record_refused_on_pull_is_parked(pair: &dyn ReplicaPair) {
    for size in [1, 2, 100] {
        let (a, b) = strict_device(pair).await;
        b.put("1", "fine").await;
        b.put("2", "poison").await;
        b.put("3", "fine").await;
        let report = a.workspace.sync(&b.replica).page_size(size).await.expect("it syncs");
        assert_eq!(report.rejected.len(), 1, "{report:?}");
        assert!(report.rejected[0].by_us);
        assert_eq!(strict_title(&a, "2").await, None);
        assert_eq!(strict_title(&a, "3").await.as_deref(), Some("fine"));
        let rejected = a.workspace.rejected::<StrictItem>().await.expect("what was refused");
        assert_eq!((rejected.len(), rejected[0].by_us), (1, true));
        let line = b.line();
        assert_eq!(a.workspace.sync(&line).await.expect("it syncs").pulled, 0, "it is not fetched again");
        b.put("2", "cured").await;
        a.sync_clean(&b).await;
        assert_eq!(strict_title(&a, "2").await.as_deref(), Some("cured"));
        assert_eq!(a.workspace.rejected::<StrictItem>().await.expect("what was refused"), vec![]);
        assert_level(&[&a, &b]).await;
    }
}

/// An edit here of a record whose newer state was refused here is a conflict, not an overwriting.
pub(super) async fn an_edit_over_a_state_refused_here_overwrites_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = strict_device(pair).await;
    b.put("1", "fine").await;
    a.sync_clean(&b).await;
    b.put("1", "poison").await;
    a.sync(&b).await;
    assert_eq!(strict_title(&a, "1").await.as_deref(), Some("fine"));
    let items = a.workspace.collection::<StrictItem>().expect("the model is registered");
    items.update("1", |item| item.count = 7).await.expect("an item is saved");
    a.sync(&b).await;
    assert_eq!(
        b.title("1").await.as_deref(),
        Some("poison"),
        "an edit that had not seen it overwrites nothing"
    );
    let conflicts = a.workspace.conflicts::<StrictItem>().await.expect("conflicts are read");
    let rejected = a.workspace.rejected::<StrictItem>().await.expect("what was refused");
    assert_eq!(conflicts.len() + rejected.len(), 1, "it is told: {conflicts:?} {rejected:?}");
}

/// The app's own write is refused before it is written.
pub(super) async fn a_local_write_is_refused_at_once(pair: &dyn ReplicaPair) {
    let (a, _) = strict_device(pair).await;
    let items = a.workspace.collection::<StrictItem>().expect("the model is registered");
    let poison = StrictItem { id: "1".into(), title: "poison".into(), ..StrictItem::default() };
    let error: Error = items.create(poison).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("Item 1"), "{error}");
    assert_eq!(a.workspace.status::<StrictItem>("1").await.expect("a status"), None);
}

/// A record above the target's limit is parked; all others flow.
pub(super) async fn a_record_above_the_limit_is_parked(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let b = b.limited(Limits { record_bytes: 1_000, ..Limits::default() }).await;
    a.put("1", "fine").await;
    a.put("2", &"x".repeat(2_000)).await;
    a.put("3", "fine").await;
    let report = a.sync(&b).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(report.rejected[0].code, "too_large");
    assert_eq!(b.ids().await, ["1", "3"]);
    a.put("2", "short").await;
    a.sync_clean(&b).await;
    assert_eq!(b.ids().await, ["1", "2", "3"]);
}

/// A model that the target does not have: its records are told of, by name, and all others flow.
pub(super) async fn a_model_that_the_target_lacks_holds_nothing_else_up(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, all_models).await;
    let b = Device::open(pair, pair.b().await, items_only).await;
    let lists = a.workspace.collection::<super::models::List>().expect("the model is registered");
    a.put("1", "fine").await;
    lists.create(super::models::List::new("1", "unknown there")).await.expect("a list is made");
    a.put("2", "fine").await;
    let report = a.sync(&b).await;
    assert_eq!(b.ids().await, ["1", "2"]);
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(report.rejected[0].code, "unknown_model");
    assert!(report.rejected[0].reason.contains("List"), "{:?}", report.rejected);
    // Once the server's app knows the model, a try brings the record.
    let b = b.restart_as(all_models).await;
    lists.update("1", |list| list.name = "known by now".into()).await.expect("a list is saved");
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// The four statuses, from a record's birth on.
pub(super) async fn the_four_statuses(pair: &dyn ReplicaPair) {
    let (a, b) = strict_server(pair).await;
    assert_eq!(a.workspace.status::<Item>("1").await.expect("a status"), None);
    a.put("1", "fine").await;
    assert_eq!(a.status("1").await, Status::NeedsSync);
    a.sync_clean(&b).await;
    assert_eq!(a.status("1").await, Status::Synced);
    a.put("1", "of a").await;
    assert_eq!(a.status("1").await, Status::NeedsSync);
    let items = b.workspace.collection::<StrictItem>().expect("the model is registered");
    items.update("1", |item| item.title = "of b".into()).await.expect("an item is saved");
    a.sync(&b).await;
    assert_eq!(a.status("1").await, Status::Conflicted);
    a.conflicts().await.remove(0).resolve_using_source().await.expect("it is resolved");
    assert_eq!(a.status("1").await, Status::NeedsSync);
    a.sync_clean(&b).await;
    assert_eq!(a.status("1").await, Status::Synced);
    a.put("1", "poison").await;
    a.sync(&b).await;
    assert!(is_rejected(&a.status("1").await));
    a.delete("1").await;
    assert_eq!(a.status("1").await, Status::NeedsSync);
    a.sync_clean(&b).await;
    assert_eq!(a.status("1").await, Status::Synced);
}

/// `pending` names what is still to be sent, oldest first, and no more than asked for.
pub(super) async fn pending_names_what_is_to_be_sent(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let pending = async |a: &Device, limit| {
        let pending = a.workspace.pending(limit).await.expect("what is pending").into_iter();
        pending.map(|change| format!("{} {} {}", change.model, change.id, change.deleted)).collect::<Vec<_>>()
    };
    for id in ["1", "2", "3"] {
        a.put(id, "foo").await;
    }
    assert_eq!(pending(&a, 2).await, ["Item 1 false", "Item 2 false"]);
    a.sync_clean(&b).await;
    assert_eq!(pending(&a, 10).await.len(), 0);
    b.put("4", "of b").await;
    a.sync_clean(&b).await;
    assert_eq!(pending(&a, 10).await.len(), 0, "what came from there is not pending");
    a.delete("2").await;
    a.put("1", "again").await;
    assert_eq!(pending(&a, 10).await, ["Item 2 true", "Item 1 false"]);
    let line = b.line();
    line.next(Request::Exchange, LineFault::LoseAnswer);
    a.workspace.sync(&line).await.expect_err("the answer is lost");
    assert_eq!(pending(&a, 10).await.len(), 2, "not acknowledged is not sent");
    a.sync_clean(&b).await;
    assert_eq!(pending(&a, 10).await.len(), 0);
}
