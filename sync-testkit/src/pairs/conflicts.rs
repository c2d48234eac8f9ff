//! Conflicts of every kind: what is said of them, and each way to resolve them.

use super::ReplicaPair;
use super::models::{Item, ItemField};
use super::world::{Device, assert_level, two};
use crate::flaky::Request;
use sync_runtime::change::ChangeKind;
use sync_runtime::replica::{Caller, Outcome, Replica, Update};
use sync_runtime::{Conflict, ConflictKind, ErrorKind, Status};

/// What one side does to item `1`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    Update,
    Delete,
}

async fn act(device: &Device, deed: Deed, title: &str) {
    match deed {
        Deed::Update => device.put("1", title).await,
        Deed::Delete => device.delete("1").await,
    }
}

/// Two devices that have item `1` in common and then did this to it.
async fn apart(pair: &dyn ReplicaPair, source: Deed, target: Deed) -> (Device, Device) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    a.sync_clean(&b).await;
    act(&a, source, "source update").await;
    act(&b, target, "target update").await;
    (a, b)
}

/// The same, replicated one way, with the one conflict that came of it.
async fn in_conflict(pair: &dyn ReplicaPair, source: Deed, target: Deed) -> (Device, Device, Conflict<Item>) {
    let (a, b) = apart(pair, source, target).await;
    let report = Item::replicate(&a.workspace, &b.line()).await.expect("it replicates");
    let mut conflicts = report.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1, "a single conflict: {report:?}");
    (a, b, conflicts.remove(0))
}

fn titles(conflict: &Conflict<Item>) -> (Option<&str>, Option<&str>) {
    let (source, target) = conflict.models();
    (source.map(|item| item.title.as_str()), target.map(|item| item.title.as_str()))
}

fn kinds(conflict: &Conflict<Item>) -> (ChangeKind, ChangeKind) {
    let (source, target) = conflict.changes();
    let (source, target) = (source.expect("a source change"), target.expect("a target change"));
    assert_eq!((source.name(), target.name()), ("Item 1".into(), "Item 1".into()));
    (source.kind, target.kind)
}

/// LoopBack: "conflict detection - both updated": "should detect a single conflict", "type should be UPDATE",
/// "conflict.changes()", "conflict.models()".
pub(super) async fn both_updated(pair: &dyn ReplicaPair) {
    let (a, _, conflict) = in_conflict(pair, Deed::Update, Deed::Update).await;
    assert_eq!(conflict.kind(), ConflictKind::Update);
    assert_eq!(conflict.id(), "1");
    assert_eq!(kinds(&conflict), (ChangeKind::Update, ChangeKind::Update));
    assert_eq!(titles(&conflict), (Some("source update"), Some("target update")));
    assert_eq!(conflict.base().map(|item| item.title.as_str()), Some("foo"));
    assert_eq!(conflict.fields(), [ItemField::Title]);
    assert_eq!(a.status("1").await, Status::Conflicted);
}

/// Until it is resolved, also where nothing else is to do, and by the sync that pulls only.
pub(super) async fn a_conflict_that_stands_is_reported_by_every_sync(pair: &dyn ReplicaPair) {
    let (a, b) = apart(pair, Deed::Update, Deed::Update).await;
    assert_eq!(a.sync(&b).await.conflicts::<Item>().len(), 1);
    assert_eq!(a.sync(&b).await.conflicts::<Item>().len(), 1, "nothing else is to do");
    a.put("2", "another").await;
    let report = a.sync(&b).await;
    assert_eq!((report.pushed, report.conflict_count()), (1, 1));
    let mut pulled = a.workspace.sync(&b.line()).pull_only().await.expect("it pulls").conflicts::<Item>();
    assert_eq!(
        titles(&pulled.remove(0)),
        (Some("target update"), Some("source update")),
        "the peer is the source"
    );
    for conflict in report.conflicts::<Item>() {
        conflict.resolve_using_source().await.expect("it is resolved");
    }
    a.sync_clean(&b).await;
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// LoopBack: "conflict detection - source deleted".
pub(super) async fn source_deleted(pair: &dyn ReplicaPair) {
    let (_, _, conflict) = in_conflict(pair, Deed::Delete, Deed::Update).await;
    assert_eq!(conflict.kind(), ConflictKind::Delete);
    assert_eq!(kinds(&conflict), (ChangeKind::Delete, ChangeKind::Update));
    assert_eq!(titles(&conflict), (None, Some("target update")));
    assert_eq!(conflict.base().map(|item| item.title.as_str()), Some("foo"));
}

/// LoopBack: "conflict detection - target deleted".
pub(super) async fn target_deleted(pair: &dyn ReplicaPair) {
    let (_, _, conflict) = in_conflict(pair, Deed::Update, Deed::Delete).await;
    assert_eq!(conflict.kind(), ConflictKind::Delete);
    assert_eq!(kinds(&conflict), (ChangeKind::Update, ChangeKind::Delete));
    assert_eq!(titles(&conflict), (Some("source update"), None));
}

/// LoopBack: "conflict detection - both deleted": "should not detect a conflict".
pub(super) async fn both_deleted_is_no_conflict(pair: &dyn ReplicaPair) {
    let (a, b) = apart(pair, Deed::Delete, Deed::Delete).await;
    let report = Item::replicate(&a.workspace, &b.replica).await.expect("it replicates");
    assert_eq!(report.conflict_count(), 0);
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// Both made a record of one id.
pub(super) async fn both_created(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "source").await;
    b.put("1", "target").await;
    let mut conflicts = a.sync(&b).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    let conflict = conflicts.remove(0);
    assert_eq!(conflict.kind(), ConflictKind::Update);
    assert_eq!(kinds(&conflict), (ChangeKind::Create, ChangeKind::Create));
    assert_eq!(titles(&conflict), (Some("source"), Some("target")));
    assert_eq!(conflict.base(), None, "the two have nothing in common");
    conflict.resolve_using_target().await.expect("it is resolved");
    a.sync_clean(&b).await;
    assert_eq!(a.title("1").await.as_deref(), Some("target"));
    assert_level(&[&a, &b]).await;
}

/// Both made, or changed, a record to the same content: that is no conflict.
pub(super) async fn the_same_content_is_no_conflict(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "same").await;
    b.put("1", "same").await;
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
    a.put("1", "same again").await;
    b.put("1", "same again").await;
    a.sync_clean(&b).await;
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
    b.put("1", "then another").await;
    a.sync_clean(&b).await;
    assert_eq!(a.title("1").await.as_deref(), Some("then another"));
}

/// One deleted the record and made it anew, the other changed it.
pub(super) async fn made_anew_against_updated(pair: &dyn ReplicaPair) {
    let (a, b) = apart(pair, Deed::Delete, Deed::Update).await;
    a.put("1", "made anew").await;
    let conflicts = a.sync(&b).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(titles(&conflicts[0]), (Some("made anew"), Some("target update")));
    assert_eq!(conflicts[0].kind(), ConflictKind::Update);
}

/// In a sync the workspace is the source; in a pull the peer is, and `swap_parties` turns that round.
pub(super) async fn swap_parties_turns_source_and_target_round(pair: &dyn ReplicaPair) {
    let (a, b) = apart(pair, Deed::Update, Deed::Update).await;
    let mut pulled = a.workspace.sync(&b.replica).pull_only().await.expect("it pulls").conflicts::<Item>();
    assert_eq!(pulled.len(), 1);
    let pulled = pulled.remove(0);
    assert_eq!(titles(&pulled), (Some("target update"), Some("source update")), "the source is the peer");
    let swapped = pulled.swap_parties();
    assert_eq!(titles(&swapped), (Some("source update"), Some("target update")));
    let (source, target) = swapped.changes();
    assert_eq!(source.map(|change| change.revision()), Some(a.change("1").await.revision()));
    assert_eq!(target.map(|change| change.revision()), Some(b.change("1").await.revision()));
    swapped.swap_parties().resolve_using_source().await.expect("it is resolved");
    assert_eq!(a.title("1").await.as_deref(), Some("target update"));
    a.sync_clean(&b).await;
    assert_level(&[&a, &b]).await;
}

/// A pull by `replicate` files the conflict at the target, with the source as source.
pub(super) async fn a_pull_by_replicate_files_the_conflict_at_the_target(pair: &dyn ReplicaPair) {
    let (a, b) = apart(pair, Deed::Update, Deed::Update).await;
    let report = Item::replicate(&b.line(), &a.workspace).await.expect("it replicates");
    let conflicts = report.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(titles(&conflicts[0]), (Some("target update"), Some("source update")), "the source is b");
    let kept = a.conflicts().await;
    assert_eq!(titles(&kept[0]), (Some("source update"), Some("target update")), "a keeps it as its own");
    assert_eq!(kept[0].peer(), b.workspace.id().await.expect("an id"));
    assert_eq!(a.title("1").await.as_deref(), Some("source update"), "nothing is overwritten");
}

/// How a conflict is resolved, and what the title is afterwards.
type Way = fn(Conflict<Item>) -> sync_runtime::BoxFuture<'static, sync_runtime::Result<()>>;

const WAYS: [(&str, Way); 5] = [
    ("resolve", |conflict| Box::pin(conflict.resolve())),
    ("source", |conflict| Box::pin(conflict.resolve_using_source())),
    ("target", |conflict| Box::pin(conflict.resolve_using_target())),
    ("manual", |conflict| Box::pin(conflict.resolve_manually(Some(Item::new("1", "manual"))))),
    ("delete", |conflict| Box::pin(conflict.resolve_manually(None))),
];

fn expected(way: &str, source: Deed, target: Deed) -> Option<&'static str> {
    match (way, source, target) {
        ("resolve" | "source", Deed::Update, _) => Some("source update"),
        ("target", _, Deed::Update) => Some("target update"),
        ("manual", ..) => Some("manual"),
        _ => None,
    }
}

async fn every_way(pair: &dyn ReplicaPair, source: Deed, target: Deed) {
    for (name, way) in WAYS {
        let (a, b) = apart(pair, source, target).await;
        let before = (a.change("1").await, b.change("1").await);
        let mut conflicts = a.sync(&b).await.conflicts::<Item>();
        assert_eq!(conflicts.len(), 1, "{name}");
        way(conflicts.remove(0)).await.expect(name);
        let expected = expected(name, source, target);
        assert_eq!(a.title("1").await.as_deref(), expected, "{name}");
        let after = a.change("1").await;
        assert!(after.ancestry.holds(before.0.revision()) && after.ancestry.holds(before.1.revision()));
        assert_eq!(a.conflicts().await.len(), 0, "{name}");
        assert_ne!(a.status("1").await, Status::Conflicted);
        a.sync_clean(&b).await;
        assert_eq!(b.title("1").await.as_deref(), expected, "{name}");
        assert_eq!(a.status("1").await, Status::Synced);
        assert_level(&[&a, &b]).await;
    }
}

/// Each way of resolving an update against an update.
pub(super) async fn update_against_update_resolved_every_way(pair: &dyn ReplicaPair) {
    every_way(pair, Deed::Update, Deed::Update).await;
}

/// Each way of resolving a delete against an update.
pub(super) async fn delete_against_update_resolved_every_way(pair: &dyn ReplicaPair) {
    every_way(pair, Deed::Delete, Deed::Update).await;
}

/// Each way of resolving an update against a delete.
pub(super) async fn update_against_delete_resolved_every_way(pair: &dyn ReplicaPair) {
    every_way(pair, Deed::Update, Deed::Delete).await;
}

/// A value of another id, or one that no store could hold, resolves nothing.
pub(super) async fn a_value_that_does_not_fit_resolves_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = apart(pair, Deed::Update, Deed::Update).await;
    a.sync(&b).await;
    let mut conflicts = a.conflicts().await;
    let error = conflicts.remove(0).resolve_manually(Some(Item::new("2", "manual"))).await;
    assert_eq!(error.expect_err("another id").kind(), ErrorKind::Usage);
    let mut conflicts = a.conflicts().await;
    let error = conflicts.remove(0).resolve_manually(Some(Item::new("1", "U+0000: \0"))).await;
    assert_eq!(error.expect_err("no value").kind(), ErrorKind::InvalidValue);
    assert_eq!(a.conflicts().await.len(), 1);
    assert_eq!(a.ids().await, ["1"]);
}

/// A resolution that only one of the two makes is brought to the other by replication too.
pub(super) async fn a_resolution_goes_by_replicate_too(pair: &dyn ReplicaPair) {
    let (a, b, conflict) = in_conflict(pair, Deed::Update, Deed::Update).await;
    conflict.resolve_using_target().await.expect("it is resolved");
    let report = Item::replicate(&a.workspace, &b.replica).await.expect("it replicates");
    assert_eq!((report.applied, report.conflict_count()), (1, 0));
    assert_level(&[&a, &b]).await;
}

/// The fields in dispute: those that differ; all that travel where one side deleted the record.
pub(super) async fn fields_in_dispute_are_named(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    a.put("2", "foo").await;
    a.sync_clean(&b).await;
    a.put("1", "of a").await;
    a.count("1", 5).await;
    b.put("1", "of b").await;
    b.count("1", 6).await;
    a.delete("2").await;
    b.count("2", 7).await;
    a.sync(&b).await;
    let conflicts = a.conflicts().await;
    assert_eq!(conflicts[0].fields(), [ItemField::Title, ItemField::Count]);
    assert_eq!(conflicts[1].fields(), [ItemField::Title, ItemField::Count, ItemField::Done]);
}

/// Every conflict of a sync is reported, and everything else goes on.
pub(super) async fn conflicts_hold_nothing_else_up(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    for n in 0..10 {
        a.put(&format!("{n}"), "foo").await;
    }
    a.sync_clean(&b).await;
    for n in 0..10 {
        a.put(&format!("{n}"), "of a").await;
    }
    for n in [3, 7] {
        b.put(&format!("{n}"), "of b").await;
    }
    let report = a.workspace.sync(&b.replica).page_size(2).await.expect("it syncs");
    let ids: Vec<_> = report.conflicts::<Item>().iter().map(|conflict| conflict.id().clone()).collect();
    assert_eq!(ids, ["3", "7"]);
    for n in 0..10 {
        let expected = if [3, 7].contains(&n) { "of b" } else { "of a" };
        assert_eq!(b.title(&format!("{n}")).await.as_deref(), Some(expected));
        assert_eq!(a.title(&format!("{n}")).await.as_deref(), Some("of a"));
    }
}

/// `bulk_update` gives an outcome for each update: applied, known, need whole, and for a conflict what the target
/// holds; the target compares inside its transaction, whatever a diff said before.
pub(super) async fn bulk_update_tells_conflicts(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("known", "foo").await;
    a.put("torn", "foo").await;
    a.sync_clean(&b).await;
    a.put("torn", "of a").await;
    b.put("torn", "of b").await;
    a.put("new", "foo").await;
    let states = a.states().await;
    let update = |id: &str| {
        let state = states.iter().find(|state| state.change.id.to_string() == id).expect("it is there");
        Update { state: state.clone(), based_on: None }
    };
    let patch = Update { based_on: Some(update("known").state.change.revision()), ..update("new") };
    let updates = vec![update("known"), update("torn"), patch, update("new")];
    let outcomes = b.replica.bulk_update(&Caller::owner(), None, updates).await.expect("it is updated");
    assert!(matches!(outcomes[0], Outcome::Known), "{outcomes:?}");
    let Outcome::Conflict(theirs) = &outcomes[1] else { panic!("a conflict, not {outcomes:?}") };
    assert_eq!(theirs.change.revision(), b.change("torn").await.revision());
    assert!(matches!(outcomes[2], Outcome::NeedWhole), "{outcomes:?}");
    assert!(matches!(outcomes[3], Outcome::Applied), "{outcomes:?}");
    assert_eq!(b.title("torn").await.as_deref(), Some("of b"));
}

/// `diff` names what the target lacks and what is in conflict, and nothing else.
pub(super) async fn diff_names_deltas_and_conflicts(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("known", "foo").await;
    a.put("torn", "foo").await;
    a.put("newer", "foo").await;
    a.sync_clean(&b).await;
    a.put("torn", "of a").await;
    b.put("torn", "of b").await;
    a.put("newer", "bar").await;
    a.put("new", "foo").await;
    b.put("older", "unknown to a").await;
    let changes = a.states().await.into_iter().map(|state| state.change).collect();
    let diff = b.replica.diff(&Caller::owner(), changes).await.expect("a diff");
    let mut deltas: Vec<_> = diff.deltas.iter().map(|change| change.id.to_string()).collect();
    deltas.sort();
    assert_eq!(deltas, ["new", "newer"]);
    let [(source, target)] = &diff.conflicts[..] else { panic!("one conflict, not {diff:?}") };
    assert_eq!(source.revision(), a.change("torn").await.revision());
    assert_eq!(target.revision(), b.change("torn").await.revision());
}

/// What changes between the diff and the updates is not overwritten.
pub(super) async fn a_change_after_the_diff_is_not_overwritten(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    a.sync_clean(&b).await;
    a.put("1", "of a").await;
    let line = b.line();
    let items = b.workspace.collection::<Item>().expect("the model is registered");
    line.after(Request::Diff, move || {
        Box::pin(async move {
            items.update("1", |item| item.title = "in between".into()).await.expect("an item is saved");
        })
    });
    let report = Item::replicate(&a.workspace, &line).await.expect("it replicates");
    assert_eq!((report.applied, report.conflict_count()), (0, 1));
    assert_eq!(b.title("1").await.as_deref(), Some("in between"));
}
