//! The calls of a replica one by one: what they do, how they fail.

use super::ReplicaPair;
use super::models::{Item, List, Measure};
use super::world::{Device, two};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use sync_runtime::prelude::Query;
use sync_runtime::query::{Comparison, Filter};
use sync_runtime::replica::{Caller, RemoteWrite, Replica, Wanted, Watching};
use sync_runtime::value::MAX_VALUE_BYTES;
use sync_runtime::{BoxFuture, Error, ErrorKind, Id, Syncable, Value, WorkspaceBuilder};

fn id(text: &str) -> Id {
    Id::Text(text.into())
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

/// `watch` tells whoever listens that something was committed that they have not brought themselves; at once where
/// something was since the checkpoint that they have.
pub(super) async fn watch_tells_what_others_commit(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    a.sync_clean(&b).await;
    let owner = Caller::owner();
    let since = Some(b.replica.checkpoint(&owner).await.expect("a checkpoint"));
    let watching = Watching { from: Some(a.workspace.id().await.expect("an id")), since };
    let told = Mutex::new(Vec::new());
    let tell = |checkpoint| told.lock().expect("no panic").push(checkpoint);
    let mut listening = pin!(b.replica.watch(&owner, watching, &tell));
    // Gives what was told until then.
    let mut told_after = async |what: BoxFuture<'_, ()>, wait: Duration| {
        let waited = async {
            what.await;
            let most = Instant::now() + wait;
            while told.lock().expect("no panic").is_empty() && Instant::now() < most {
                pair.env().sleep(Duration::from_millis(10)).await;
            }
        };
        match select(pin!(waited), listening.as_mut()).await {
            Either::Left(_) => std::mem::take(&mut *told.lock().expect("no panic")),
            Either::Right((ended, _)) => panic!("it ends while it is listened to: {ended:?}"),
        }
    };
    let (short, long) = (Duration::from_millis(600), Duration::from_secs(10));
    assert_eq!(told_after(Box::pin(async {}), short).await, [], "nothing is new");
    let told = told_after(Box::pin(b.put("2", "of b")), long).await;
    assert_eq!(told, [b.replica.checkpoint(&owner).await.expect("a checkpoint")]);
    a.put("3", "of a").await;
    let own = told_after(Box::pin(async { drop(a.sync_clean(&b).await) }), short).await;
    assert_eq!(own, [], "what it brought itself is not told");
    let (newest, heard) = (b.replica.checkpoint(&owner).await.expect("a checkpoint"), Mutex::new(None));
    let tell = |checkpoint| *heard.lock().expect("no panic") = Some(checkpoint);
    let late = b.replica.watch(&owner, Watching { since, ..Watching::default() }, &tell);
    let wait = async {
        while heard.lock().expect("no panic").is_none() {
            pair.env().sleep(Duration::from_millis(10)).await;
        }
    };
    select(pin!(late), pin!(wait)).await;
    assert_eq!(heard.into_inner().expect("no panic"), Some(newest), "what was missed is told at once");
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
