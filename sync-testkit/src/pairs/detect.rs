//! What is a change, and what is said of it.

use super::ReplicaPair;
use super::models::{Item, List, Tag};
use super::world::{Device, assert_level, two};
use sync_runtime::change::ChangeKind;
use sync_runtime::version::{Relation, compare};
use sync_runtime::{ErrorKind, Query};

/// The changes of items at `b` since this was called last, as `kind id`.
async fn since(b: &Device, seen: &mut i64) -> Vec<String> {
    let states = b.states().await.into_iter().filter(|state| state.change.position > *seen);
    let changes: Vec<_> = states.map(|state| state.change).collect();
    *seen = changes.last().map_or(*seen, |change| change.position);
    changes.into_iter().map(|change| format!("{} {}", change.kind, change.id)).collect()
}

/// LoopBack: change detection: "detects "create"", ""updateOrCreate"", ""prototype.save"",
/// ""prototype.updateAttributes"", ""deleteById"", ""prototype.delete"".
pub(super) async fn detects_create_update_upsert_and_delete(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    let items = b.workspace.collection::<Item>().expect("the model is registered");
    let mut seen = 0;
    items.create(Item::new("1", "created")).await.expect("an item is made");
    assert_eq!(since(&b, &mut seen).await, ["create 1"]);
    items.update("1", |item| item.title = "updated".into()).await.expect("an item is saved");
    assert_eq!(since(&b, &mut seen).await, ["update 1"]);
    items.upsert(Item::new("1", "upserted")).await.expect("an item is saved");
    assert_eq!(since(&b, &mut seen).await, ["update 1"]);
    items.upsert(Item::new("2", "upserted")).await.expect("an item is saved");
    assert_eq!(since(&b, &mut seen).await, ["create 2"]);
    items.delete("1").await.expect("an item is deleted");
    assert_eq!(since(&b, &mut seen).await, ["delete 1"]);
    items.create(Item::new("1", "made anew")).await.expect("an item is made");
    assert_eq!(since(&b, &mut seen).await, ["create 1"]);
}

/// LoopBack: "detects "updateAll"", ""deleteAll"", ""upsertWithWhere"", ""findOrCreate"": writes of many records,
/// and such as are decided by what is there.
pub(super) async fn detects_writes_of_many_records(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    let items = b.workspace.collection::<Item>().expect("the model is registered");
    let mut seen = 0;
    let fresh = (0..4).map(|n| Item::new(&format!("{n}"), "created"));
    items.upsert_all(fresh).await.expect("items are saved");
    assert_eq!(since(&b, &mut seen).await, ["create 0", "create 1", "create 2", "create 3"]);
    let mut all = items.find(Query::all()).await.expect("items are found");
    all.iter_mut().for_each(|item| item.count += 1);
    items.upsert_all(all).await.expect("items are saved");
    assert_eq!(since(&b, &mut seen).await, ["update 0", "update 1", "update 2", "update 3"]);
    let done = b.workspace.transaction(|tx| {
        Box::pin(async move {
            for n in 0..4 {
                let found = tx.get::<Item>(&format!("{n}")).await?;
                if found.is_some_and(|item| item.count == 1) {
                    tx.delete::<Item>(&format!("{n}")).await?;
                }
            }
            if tx.get::<Item>(&"none".to_owned()).await?.is_none() {
                tx.create(Item::new("none", "created")).await?;
            }
            Ok(())
        })
    });
    done.await.expect("the transaction commits");
    assert_eq!(since(&b, &mut seen).await, ["delete 0", "delete 1", "delete 2", "delete 3", "create none"]);
}

/// What does not differ, or does not travel, is no change.
pub(super) async fn what_does_not_differ_is_no_change(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let items = a.workspace.collection::<Item>().expect("the model is registered");
    a.put("1", "foo").await;
    a.sync_clean(&b).await;
    let before = a.change("1").await.revision();
    items.update("1", |_| ()).await.expect("an item is saved");
    items.update("1", |item| item.draft = Some("mine alone".into())).await.expect("an item is saved");
    assert_eq!(a.change("1").await.revision(), before);
    assert_eq!(a.workspace.pending(10).await.expect("what is pending"), vec![]);
    a.sync_clean(&b).await;
    assert_eq!(b.get("1").await.and_then(|item| item.draft), None, "a local field stays on its device");
    assert_eq!(a.get("1").await.and_then(|item| item.draft).as_deref(), Some("mine alone"));
}

/// A pull leaves the local fields of the record as they are.
pub(super) async fn a_pull_leaves_local_fields(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let items = a.workspace.collection::<Item>().expect("the model is registered");
    a.put("1", "foo").await;
    items.update("1", |item| item.draft = Some("mine alone".into())).await.expect("an item is saved");
    a.sync_clean(&b).await;
    b.put("1", "bar").await;
    a.sync_clean(&b).await;
    let item = a.get("1").await.expect("the item is there");
    assert_eq!((item.title.as_str(), item.draft.as_deref()), ("bar", Some("mine alone")));
}

/// `find_last_change`: kind, revision and the one before, tombstones included; none where nothing ever was.
pub(super) async fn find_last_change_tells_kind_and_revisions(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    let items = b.workspace.collection::<Item>().expect("the model is registered");
    assert!(items.find_last_change("1").await.expect("a change is read").is_none());
    b.put("1", "foo").await;
    let created = b.change("1").await;
    assert_eq!((created.kind, created.previous), (ChangeKind::Create, None));
    assert_eq!(created.revision().replica, b.workspace.id().await.expect("an id"));
    b.put("1", "bar").await;
    let updated = b.change("1").await;
    assert_eq!((updated.kind, updated.previous), (ChangeKind::Update, Some(created.revision())));
    assert_eq!(compare(&updated.ancestry, &created.ancestry), Relation::Newer);
    b.delete("1").await;
    let deleted = b.change("1").await;
    assert_eq!((deleted.kind, deleted.previous), (ChangeKind::Delete, Some(updated.revision())));
    assert!(created.position < updated.position && updated.position < deleted.position);
}

/// A change knows who wrote it, also where others brought it.
pub(super) async fn a_change_names_its_writer_wherever_it_goes(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    a.sync_clean(&b).await;
    assert_eq!(b.change("1").await.revision(), a.change("1").await.revision());
    b.put("1", "bar").await;
    a.sync_clean(&b).await;
    let there = a.change("1").await;
    assert_eq!(there.revision().replica, b.workspace.id().await.expect("an id"));
    assert!(there.ancestry.seen(a.workspace.id().await.expect("an id")).is_some());
}

/// `rectify_change`: the record gets a revision of its own and travels; where there is nothing, nothing is done.
pub(super) async fn rectify_change_makes_a_record_travel(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let lists = a.workspace.collection::<List>().expect("the model is registered");
    assert!(!List::rectify_change(&a.workspace, "1".into()).await.expect("it is rectified"));
    lists.create(List::new("1", "foo")).await.expect("a list is made");
    a.sync_clean(&b).await;
    let before = lists.find_last_change("1").await.expect("a change").expect("the list was tracked");
    assert!(List::rectify_change(&a.workspace, "1".into()).await.expect("it is rectified"));
    let after = lists.find_last_change("1").await.expect("a change").expect("the list was tracked");
    assert_eq!(after.previous, Some(before.revision()));
    assert_eq!(compare(&after.ancestry, &before.ancestry), Relation::Newer);
    assert_eq!(a.sync_clean(&b).await.pushed, 1);
    assert_level(&[&a, &b]).await;
}

/// `rectify_all_changes` and `enable_change_tracking` find nothing to do where everything is tracked.
pub(super) async fn rectify_all_changes_leaves_what_is_tracked(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let lists = a.workspace.collection::<List>().expect("the model is registered");
    for n in 0..3 {
        lists.create(List::new(&format!("{n}"), "foo")).await.expect("a list is made");
    }
    a.sync_clean(&b).await;
    assert_eq!(List::rectify_all_changes(&a.workspace).await.expect("it is rectified"), 0);
    assert_eq!(a.workspace.enable_change_tracking::<List>().await.expect("it is tracked"), 0);
    assert_eq!(a.sync_clean(&b).await.pushed, 0);
}

/// `update_last_change`: a change that knew of the other side's is in no conflict with it.
pub(super) async fn update_last_change_takes_away_the_conflict(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    let theirs = b.change("1").await.ancestry;
    assert!(a.workspace.update_last_change::<Item>("1", &theirs).await.expect("it is updated"));
    assert!(!a.workspace.update_last_change::<Item>("1", &theirs).await.expect("it knows already"));
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("of a"));
    assert_level(&[&a, &b]).await;
    let error = a.workspace.update_last_change::<Item>("none", &theirs).await.expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A change of each model goes its way, whatever the type of its id.
pub(super) async fn detects_changes_of_every_model(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let lists = a.workspace.collection::<List>().expect("the model is registered");
    lists.create(List::new("1", "bar")).await.expect("a list is made");
    let tags = a.workspace.collection::<Tag>().expect("the model is registered");
    tags.create(Tag::new(1, "baz")).await.expect("a tag is made");
    tags.create(Tag::new(i64::MIN, "least")).await.expect("a tag is made");
    assert_eq!(a.sync_clean(&b).await.pushed, 4);
    let there = b.workspace.collection::<Tag>().expect("the model is registered");
    assert_eq!(there.get(i64::MIN).await.expect("a tag is read"), Some(Tag::new(i64::MIN, "least")));
    assert_level(&[&a, &b]).await;
}
