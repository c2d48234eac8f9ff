//! The calls of a replica one by one: who may make them, what they do, how they fail.

use super::ReplicaPair;
use super::models::{Item, List, Measure};
use super::world::{Device, two};
use sync_runtime::prelude::Query;
use sync_runtime::query::{Comparison, Filter};
use sync_runtime::replica::{
    Caller, Exchange, Page, Pull, Pulled, PushPage, RemoteWrite, Replica, Update, Wanted,
};
use sync_runtime::value::MAX_VALUE_BYTES;
use sync_runtime::{Error, ErrorKind, Id, Result, Syncable, Value, WorkspaceBuilder};

fn forbidden<T: std::fmt::Debug>(what: &str, done: Result<T>) {
    let error = done.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{what}: {error}");
    assert!(error.to_string().contains("reader"), "{what} names who: {error}");
}

fn id(text: &str) -> Id {
    Id::Text(text.into())
}

async fn page_of(device: &Device) -> Page {
    let updates = device.states().await.into_iter().map(|state| Update { state, based_on: None });
    Page { updates: updates.collect(), group_open: false }
}

fn pull(device: &Device) -> Pull {
    let models = device.engine().models().clone();
    Pull { since: None, limit: usize::MAX, data: true, model: None, models }
}

/// Permission is decided in the call's transaction: a caller who may not write changes nothing, whatever call it
/// makes, and a push together with a pull is refused as a whole.
pub(super) async fn rule_permission_in_the_transaction_a_reader_writes_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("2", "of b").await;
    let reader = Caller::named("a reader").read_only();
    let before = b.picture().await;
    let page = page_of(&a).await;
    let updates = page.updates.clone();
    let exchange = Exchange {
        from: a.workspace.id().await.expect("an id"),
        to: b.workspace.id().await.expect("an id"),
        push: Some(PushPage { number: 1, digest: 1, page }),
        pull: Some(pull(&a)),
    };
    let engine = b.engine();
    forbidden("push", Replica::exchange(engine, &reader, exchange.clone()).await);
    forbidden("bulk_update", Replica::bulk_update(engine, &reader, updates).await);
    let delete = RemoteWrite { schema: Item::SCHEMA, id: id("2"), record: None, expect: None };
    forbidden("write", Replica::write(engine, &reader, vec![delete]).await);
    assert_eq!(b.picture().await, before);
    let allowed = Replica::exchange(engine, &reader, Exchange { push: None, ..exchange }).await;
    assert!(matches!(allowed.expect("a reader may pull").pulled, Some(Pulled::Page(_))));
    a.sync_clean(&b).await;
    assert_eq!(b.ids().await, ["1", "2"], "the page number of the refused push is free");
}

/// A caller who may not read learns nothing: no record, no change, no position.
pub(super) async fn rule_permission_in_the_transaction_a_stranger_learns_nothing(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    b.put("2", "of b").await;
    let mut stranger = Caller::named("no reader");
    stranger.read = false;
    let engine = b.engine();
    let (from, to) = (a.workspace.id().await.expect("an id"), b.workspace.id().await.expect("an id"));
    let exchange = Exchange { from, to, push: None, pull: Some(pull(&a)) };
    forbidden("pull", Replica::exchange(engine, &stranger, exchange).await);
    forbidden("changes", Replica::changes(engine, &stranger, pull(&a)).await);
    let change = b.change("2").await;
    forbidden("diff", Replica::diff(engine, &stranger, vec![change.clone()]).await);
    forbidden("create_updates", Replica::create_updates(engine, &stranger, vec![change]).await);
    forbidden("checkpoint", Replica::checkpoint(engine, &stranger).await);
    forbidden("read", Replica::read(engine, &stranger, Item::SCHEMA, Wanted::Ids(vec![id("2")])).await);
    forbidden("watch", Replica::watch(engine, &stranger).await);
}

/// `read` by id gives tombstones too; by filter it gives live records in order, as many as asked for, after an id.
pub(super) async fn read_gives_records_with_their_changes(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    for n in 0..5 {
        b.put(&format!("{n}"), "foo").await;
    }
    b.delete("3").await;
    let owner = Caller::owner();
    let read = |wanted| b.replica.read(&owner, Item::SCHEMA, wanted);
    let states = read(Wanted::Ids(vec![id("3"), id("none"), id("1")])).await.expect("it is read");
    let shown: Vec<_> =
        states.iter().map(|state| (state.change.id.to_string(), state.record.is_some())).collect();
    assert_eq!(shown, [("3".to_owned(), false), ("1".to_owned(), true)]);
    assert_eq!(states[1].change.revision(), b.change("1").await.revision());
    let filter = Filter::Compare(1, Comparison::Equal, Value::Text("foo".into()));
    let matching =
        read(Wanted::Matching { filter, after: Some(id("0")), limit: 2 }).await.expect("it is read");
    let ids: Vec<_> = matching.iter().map(|state| state.change.id.to_string()).collect();
    assert_eq!(ids, ["1", "2"]);
}

/// `write` is tracked where it is made, all or nothing, and refuses what moved meanwhile.
pub(super) async fn write_is_tracked_at_the_target(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    b.put("1", "of b").await;
    let items = b.workspace.collection::<Item>().expect("the model is registered");
    items.update("1", |item| item.draft = Some("of this device".into())).await.expect("an item is saved");
    let before = b.change("1").await.revision();
    let record = Item { draft: Some("not the caller's".into()), ..Item::new("1", "by a client") };
    let write = RemoteWrite {
        schema: Item::SCHEMA,
        id: id("1"),
        record: Some(record.to_record().expect("a record")),
        expect: Some(before),
    };
    let states = b.replica.write(&Caller::owner(), vec![write.clone()]).await.expect("it is written");
    assert_eq!(states[0].change.revision(), b.change("1").await.revision());
    assert_eq!(states[0].change.revision().replica, b.workspace.id().await.expect("an id"));
    let item = b.get("1").await.expect("it is there");
    assert_eq!((item.title.as_str(), item.draft.as_deref()), ("by a client", Some("of this device")));
    let other = Item::new("2", "beside").to_record().expect("a record");
    let beside = RemoteWrite { schema: Item::SCHEMA, id: id("2"), record: Some(other), expect: None };
    let error = b.replica.write(&Caller::owner(), vec![beside, write]).await.expect_err("it moved");
    assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
    assert_eq!(b.ids().await, ["1"], "all or nothing");
    a.sync_clean(&b).await;
    assert_eq!(a.title("1").await.as_deref(), Some("by a client"));
}

/// `write` refuses a record of another id, by name.
pub(super) async fn write_refuses_another_id(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    let record = Some(Item::new("2", "foo").to_record().expect("a record"));
    let write = RemoteWrite { schema: Item::SCHEMA, id: id("1"), record, expect: None };
    let error = b.replica.write(&Caller::owner(), vec![write]).await.expect_err("another id");
    assert_eq!(error.kind(), ErrorKind::InvalidValue, "{error}");
    assert!(error.to_string().contains("Item 1"), "{error}");
    assert_eq!(b.ids().await.len(), 0);
}

/// A value that not every store could hold is refused where it is written, by its field, on every store alike.
pub(super) async fn a_value_that_no_store_holds_is_refused_where_it_is_written(pair: &dyn ReplicaPair) {
    let device = Device::open(pair, pair.a().await, |builder| builder.model::<Measure>()).await;
    let measures = device.workspace.collection::<Measure>().expect("the model is registered");
    let fine = Measure { id: "fine".into(), value: -0.0, ..Measure::default() };
    measures.create(fine.clone()).await.expect("it is made");
    let with = |edit: fn(&mut Measure)| {
        let mut measure = Measure { id: "1".into(), ..Measure::default() };
        edit(&mut measure);
        measure
    };
    let cases = [
        ("value", with(|measure| measure.value = f64::NAN)),
        ("value", with(|measure| measure.value = f64::INFINITY)),
        ("value", with(|measure| measure.value = f64::NEG_INFINITY)),
        ("small", with(|measure| measure.small = Some(f32::NAN))),
        ("unit", with(|measure| measure.unit = "a\0b".into())),
        ("unit", with(|measure| measure.unit = "x".repeat(MAX_VALUE_BYTES + 1))),
        ("notes", with(|measure| measure.notes = vec!["fine".into(), "\0".into()])),
        ("id", with(|measure| measure.id = "a\0".into())),
        ("id", with(|measure| measure.id = "x".repeat(256))),
    ];
    for (field, measure) in cases {
        let mut errors = vec![measures.create(measure.clone()).await.map(|_| ()).expect_err(field)];
        if field != "id" {
            let edited = measures.update("fine", |it| *it = Measure { id: it.id.clone(), ..measure.clone() });
            errors.push(edited.await.map(|_| ()).expect_err(field));
        }
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidValue, "{field}: {error}");
            assert!(error.to_string().contains(&format!("`{field}`")), "{field}: {error}");
        }
    }
    let found = measures.find(Query::all()).await.expect("they are found");
    assert_eq!(found, std::slice::from_ref(&fine));
    assert!(found[0].value.is_sign_negative());
}

/// `watch` gives another number whenever something was committed.
pub(super) async fn watch_differs_after_every_commit(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let watch = async || b.replica.watch(&Caller::owner()).await.expect("a number");
    let first = watch().await;
    b.put("1", "foo").await;
    let second = watch().await;
    assert_ne!(first, second);
    a.put("2", "foo").await;
    a.sync_clean(&b).await;
    assert_ne!(second, watch().await);
}

/// `describe` names the replica, its clock, its limits and its models.
pub(super) async fn describe_names_replica_limits_and_models(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    let description = b.replica.describe(&Caller::owner()).await.expect("a description");
    assert_eq!(description.replica, b.workspace.id().await.expect("an id"));
    assert!((description.now - pair.env().now()).abs() < 60_000_000);
    assert_eq!(&description.limits, b.engine().limits());
    let names: Vec<_> = description.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["Item", "List", "Tag"]);
    let fields: Vec<_> = description.models[0].fields.iter().map(|field| field.0.as_str()).collect();
    assert_eq!(fields, ["id", "title", "count", "done"], "no local field");
}

/// A record that vanished between the diff and `create_updates` comes as the delete that it is now.
pub(super) async fn create_updates_gives_what_is_there_now(pair: &dyn ReplicaPair) {
    let (_, b) = two(pair).await;
    b.put("1", "foo").await;
    b.put("2", "foo").await;
    let deltas = vec![b.change("1").await, b.change("2").await];
    b.delete("1").await;
    b.put("2", "bar").await;
    let updates = b.replica.create_updates(&Caller::owner(), deltas).await.expect("updates");
    assert!(updates[0].state.record.is_none() && updates[0].state.change.is_delete());
    assert_eq!(updates[1].state.change.revision(), b.change("2").await.revision());
}

fn items_only(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Item>()
}

/// A model that is not registered is an error that names it and those that are.
pub(super) async fn an_unknown_model_is_named(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, items_only).await;
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::UnknownModel, "{error}");
        assert!(error.to_string().contains("`List`") && error.to_string().contains("Item"), "{error}");
    };
    refused(a.workspace.collection::<List>().expect_err("not registered"));
    refused(a.workspace.conflicts::<List>().await.expect_err("not registered"));
    refused(a.workspace.status::<List>("1").await.expect_err("not registered"));
    refused(List::rectify_change(&a.workspace, "1".into()).await.expect_err("not registered"));
    let written = a.workspace.transaction(|tx| {
        Box::pin(async move {
            tx.upsert(&Item::new("1", "foo")).await?;
            tx.upsert(&List::new("1", "foo")).await
        })
    });
    refused(written.await.expect_err("not registered"));
    assert_eq!(a.ids().await.len(), 0, "nothing of the transaction was written");
}

/// A closed workspace says so, whatever is asked of it, and its store can be opened again.
pub(super) async fn a_closed_workspace_says_so(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let items = a.workspace.collection::<Item>().expect("the model is registered");
    a.workspace.close();
    let closed = |error: Error| assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    closed(items.get("1").await.expect_err("closed"));
    closed(items.create(Item::new("2", "foo")).await.expect_err("closed"));
    closed(a.workspace.collection::<Item>().expect_err("closed"));
    closed(a.workspace.sync(&b.replica).await.expect_err("closed"));
    closed(a.workspace.transaction(|_| Box::pin(async { Ok(()) })).await.expect_err("closed"));
    closed(a.workspace.id().await.expect_err("closed"));
    closed(a.workspace.pending(1).await.expect_err("closed"));
    let a = a.restart().await;
    assert_eq!(a.title("1").await.as_deref(), Some("foo"));
}

/// A sync with itself is refused, by a clone as well, and says what to do about a copied file.
pub(super) async fn a_sync_with_itself_is_refused(pair: &dyn ReplicaPair) {
    let (a, _) = two(pair).await;
    a.put("1", "foo").await;
    let copy = a.copy().await;
    for error in [
        a.workspace.sync(&a.workspace.clone()).await.expect_err("itself"),
        a.workspace.sync(&a.replica).await.expect_err("itself"),
        a.workspace.sync(&copy.replica).await.expect_err("a copy of its file"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains("restored"), "{error}");
    }
    copy.workspace.restored().await.expect("it takes a new name");
    a.sync_clean(&copy).await;
}

/// A sync that cannot reach its peer says so, may be tried again, and has changed nothing here.
pub(super) async fn an_unreachable_peer_is_said(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    let line = b.line();
    line.down(true);
    let error = a.workspace.sync(&line).await.expect_err("the line is down");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.is_retryable());
    assert_eq!(a.ids().await, ["1"]);
    line.down(false);
    a.workspace.sync(&line).await.expect("the line is good again");
    assert_eq!(b.ids().await, ["1"]);
}

/// Push only and pull only do that alone; progress is told with totals.
pub(super) async fn push_only_and_pull_only(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    for n in 0..5 {
        a.put(&format!("a{n}"), "foo").await;
        b.put(&format!("b{n}"), "foo").await;
    }
    let pushed = a.workspace.sync(&b.replica).push_only().await.expect("it pushes");
    assert_eq!((pushed.pushed, pushed.pulled, a.ids().await.len(), b.ids().await.len()), (5, 0, 5, 10));
    a.put("a5", "foo").await;
    let (sender, receiver) = std::sync::mpsc::channel();
    let tell = move |progress: sync_runtime::Progress| {
        let _ = sender.send((progress.pulled, progress.to_pull));
    };
    let pulled =
        a.workspace.sync(&b.replica).pull_only().page_size(2).progress(tell).await.expect("it pulls");
    assert_eq!((pulled.pushed, pulled.pulled, b.ids().await.len()), (0, 5, 10));
    let told: Vec<_> = receiver.try_iter().collect();
    assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), [2, 4, 5]);
    assert!(told[0].1 > 0 && told[2].1 == 0, "{told:?}");
}
