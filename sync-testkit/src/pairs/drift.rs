//! P13: an old app and a new server, and the reverse.

use super::ReplicaPair;
use super::models::{DemandingItem, DisownedItem, Item, List, OwnedItem, RicherItem, StrangeItem};
use super::world::{Device, all_models, assert_level};
use sync_runtime::methods::replicate_all;
use sync_runtime::prelude::Query;
use sync_runtime::{ErrorKind, WorkspaceBuilder};

fn old(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Item>()
}

fn new(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<RicherItem>()
}

fn demanding(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<DemandingItem>()
}

fn owned(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<OwnedItem>()
}

fn disowned(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<DisownedItem>()
}

async fn owner(device: &Device, id: &str) -> (String, String) {
    let items = device.workspace.collection::<OwnedItem>().expect("the model is registered");
    let item = items.get(id).await.expect("an item is read").expect("it is there");
    (item.title, item.owner)
}

async fn own(device: &Device, id: &str, owner: &str) {
    let items = device.workspace.collection::<OwnedItem>().expect("the model is registered");
    items.update(id, |item| item.owner = owner.into()).await.expect("an item is saved");
}

async fn richer(device: &Device, id: &str) -> RicherItem {
    let items = device.workspace.collection::<RicherItem>().expect("the model is registered");
    items.get(id).await.expect("an item is read").expect("it is there")
}

async fn put_richer(device: &Device, id: &str, color: &str, priority: i64) {
    let items = device.workspace.collection::<RicherItem>().expect("the model is registered");
    let item = RicherItem {
        id: id.into(),
        title: "new".into(),
        color: Some(color.into()),
        priority,
        ..Default::default()
    };
    items.upsert(item).await.expect("an item is saved");
}

/// An old app pulls from a new server, edits, and pushes: the fields that it does not know come back as they were.
pub(super) async fn an_old_app_keeps_the_fields_of_a_new_server(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, old).await;
    let b = Device::open(pair, pair.b().await, new).await;
    put_richer(&b, "1", "red", 7).await;
    a.sync_clean(&b).await;
    assert_eq!(a.title("1").await.as_deref(), Some("new"));
    a.put("1", "edited by the old app").await;
    a.put("1", "edited by the old app again").await;
    a.sync_clean(&b).await;
    let item = richer(&b, "1").await;
    assert_eq!(item.title, "edited by the old app again");
    assert_eq!((item.color.as_deref(), item.priority), (Some("red"), 7));
}

/// A new app pushes to an old server, and another new app pulls: the fields ride along through the server.
pub(super) async fn fields_ride_along_through_an_old_server(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, new).await;
    let b = Device::open(pair, pair.b().await, old).await;
    let c = Device::open(pair, pair.a().await, new).await;
    put_richer(&a, "1", "red", 7).await;
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("new"));
    c.sync_clean(&b).await;
    assert_eq!(richer(&c, "1").await, richer(&a, "1").await);
    put_richer(&a, "1", "blue", 8).await;
    a.sync_clean(&b).await;
    b.put("1", "edited at the old server").await;
    c.sync_clean(&b).await;
    a.sync_clean(&b).await;
    for device in [&a, &c] {
        let item = richer(device, "1").await;
        assert_eq!(item.title, "edited at the old server");
        assert_eq!((item.color.as_deref(), item.priority), (Some("blue"), 8));
    }
}

/// A record of an old app comes to a new one without the new fields: they have their defaults.
pub(super) async fn a_new_required_field_has_its_default(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, old).await;
    let b = Device::open(pair, pair.b().await, new).await;
    a.put("1", "old").await;
    a.sync_clean(&b).await;
    let item = richer(&b, "1").await;
    assert_eq!((item.title.as_str(), item.color, item.priority), ("old", None, 3));
    put_richer(&b, "1", "red", 4).await;
    a.sync_clean(&b).await;
    a.put("1", "old again").await;
    a.sync_clean(&b).await;
    let item = richer(&b, "1").await;
    assert_eq!((item.title.as_str(), item.color.as_deref(), item.priority), ("old again", Some("red"), 4));
}

/// A new app pulls from an old server.
pub(super) async fn a_new_app_pulls_from_an_old_server(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, new).await;
    let b = Device::open(pair, pair.b().await, old).await;
    b.put("1", "old").await;
    a.sync_clean(&b).await;
    assert_eq!(richer(&a, "1").await.priority, 3);
    put_richer(&a, "1", "red", 9).await;
    a.sync_clean(&b).await;
    b.put("1", "edited at the old server").await;
    a.sync_clean(&b).await;
    let item = richer(&a, "1").await;
    assert_eq!((item.title.as_str(), item.priority), ("edited at the old server", 9));
}

/// A required field without a default: the record is refused by the field's name, and nothing else is.
pub(super) async fn a_required_field_without_default_is_refused_by_name(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, old).await;
    let b = Device::open(pair, pair.b().await, demanding).await;
    a.put("1", "has no owner").await;
    let report = a.sync(&b).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert!(report.rejected[0].reason.contains("owner"), "{:?}", report.rejected);
    let items = b.workspace.collection::<DemandingItem>().expect("the model is registered");
    assert_eq!(items.get("1").await.expect("an item is read"), None);
}

/// An app that was updated opens the same store: the fields that rode along are its own now.
pub(super) async fn an_updated_app_finds_the_fields_that_rode_along(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, old).await;
    let b = Device::open(pair, pair.b().await, new).await;
    put_richer(&b, "1", "red", 7).await;
    a.sync_clean(&b).await;
    a.put("1", "edited by the old app").await;
    let a = a.restart_as(new).await;
    a.sync_clean(&b).await;
    for device in [&a, &b] {
        let item = richer(device, "1").await;
        assert_eq!(
            (item.title.as_str(), item.color.as_deref(), item.priority),
            ("edited by the old app", Some("red"), 7)
        );
    }
}

/// An app that was updated and has a model more gets the records of it that its old version had passed by.
pub(super) async fn a_model_that_is_added_later_gets_its_records(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, old).await;
    let b = Device::open(pair, pair.b().await, all_models).await;
    let lists = b.workspace.collection::<List>().expect("the model is registered");
    lists.create(List::new("1", "not known to the old app")).await.expect("a list is made");
    b.put("1", "known").await;
    a.sync_clean(&b).await;
    let a = a.restart_as(all_models).await;
    a.sync_clean(&b).await;
    let here = a.workspace.collection::<List>().expect("the model is registered");
    assert!(here.get("1").await.expect("a list is read").is_some(), "it was passed by for good");
    assert_level(&[&a, &b]).await;
}

/// Conflicts between an old app and a new server can be read and resolved at the old app without erasing fields.
pub(super) async fn a_conflict_across_versions_is_resolved_without_erasing(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, old).await;
    let b = Device::open(pair, pair.b().await, new).await;
    put_richer(&b, "1", "red", 7).await;
    a.sync_clean(&b).await;
    a.put("1", "of the old app").await;
    put_richer(&b, "1", "blue", 8).await;
    let items = b.workspace.collection::<RicherItem>().expect("the model is registered");
    items.update("1", |item| item.title = "of the new app".into()).await.expect("an item is saved");
    let mut conflicts = a.sync(&b).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    conflicts.remove(0).resolve_manually(Some(Item::new("1", "resolved"))).await.expect("it is resolved");
    a.sync_clean(&b).await;
    let item = richer(&b, "1").await;
    assert_eq!(item.title, "resolved");
    assert!(item.color.is_some() && item.priority != 3, "no field was erased: {item:?}");
}

/// A field that is of another type at the peer keeps the two apart, by name, whoever asks whom.
pub(super) async fn a_field_of_another_type_is_refused_by_name(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, |builder| builder.model::<StrangeItem>()).await;
    let b = Device::open(pair, pair.b().await, new).await;
    put_richer(&b, "1", "red", 7).await;
    let items = a.workspace.collection::<StrangeItem>().expect("the model is registered");
    let unsent = StrangeItem { id: "2".into(), priority: "high".into(), ..Default::default() };
    items.create(unsent.clone()).await.expect("an item is made");
    let errors = [
        a.workspace.sync(&b.replica).await.expect_err("a sync"),
        replicate_all(&a.workspace, &b.replica, None).await.expect_err("there"),
        replicate_all(&b.replica, &a.workspace, None).await.expect_err("back"),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
        for part in ["`priority` of Item", " text ", " integer "] {
            assert!(error.to_string().contains(part), "{part} is not in: {error}");
        }
    }
    assert_eq!(items.find(Query::all()).await.expect("items are found"), [unsent]);
    assert_eq!(richer(&b, "1").await.priority, 7);
}

/// A store with records opens with an added field; without a default it is refused by name.
pub(super) async fn a_field_added_to_a_store_with_records(pair: &dyn ReplicaPair) {
    let b = Device::open(pair, pair.b().await, old).await;
    b.put("1", "old").await;
    let b = b.restart_as(new).await;
    assert_eq!(richer(&b, "1").await.priority, 3);
    b.workspace.close();
    let refused =
        demanding(b.party.builder().await).build().await.expect_err("there is a record without owner");
    assert_eq!(refused.kind(), ErrorKind::Incompatible);
    assert!(refused.to_string().contains("owner"), "{refused}");
}

/// A server whose new version has a field no more, which was required: it makes records without it, and an old app loses
/// none of its values, whoever edits.
pub(super) async fn a_removed_field_is_kept_by_an_old_app(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, owned).await;
    let b = Device::open(pair, pair.b().await, demanding).await;
    let items = a.workspace.collection::<OwnedItem>().expect("the model is registered");
    let item = OwnedItem { id: "1".into(), title: "old".into(), owner: "ann".into(), ..Default::default() };
    items.create(item).await.expect("an item is made");
    a.sync_clean(&b).await;

    let b = b.restart_as(disowned).await;
    b.put("1", "edited by the new server").await;
    b.put("2", "made by the new server").await;
    a.sync_clean(&b).await;
    assert_eq!(owner(&a, "1").await, ("edited by the new server".into(), "ann".into()));
    assert_eq!(owner(&a, "2").await, ("made by the new server".into(), "nobody".into()));

    // What the old app sends of it rides along, also to others.
    own(&a, "1", "ben").await;
    own(&a, "2", "cleo").await;
    a.sync_clean(&b).await;
    b.put("1", "edited once more").await;
    b.put("2", "edited as well").await;
    a.sync_clean(&b).await;
    let c = Device::open(pair, pair.a().await, owned).await;
    c.sync_clean(&b).await;
    for device in [&a, &c] {
        assert_eq!(owner(device, "1").await, ("edited once more".into(), "ben".into()));
        assert_eq!(owner(device, "2").await, ("edited as well".into(), "cleo".into()));
    }
    assert_level(&[&a, &b, &c]).await;
}
