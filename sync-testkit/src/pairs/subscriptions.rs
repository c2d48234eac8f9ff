//! Subscriptions: of what somebody may read, what they want.

use super::ReplicaPair;
use super::models::{Item, ItemField, Memo, Task};
use super::world::Device;
use crate::flaky::FlakyReplica;
use std::collections::BTreeSet;
use sync_runtime::replica::{Caller, Limits};
use sync_runtime::{Field, Right, Subscription, SyncReport, WorkspaceBuilder};

fn models(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Item>().model::<Task>().model::<Memo>().model::<Subscription>()
}

async fn device(pair: &dyn ReplicaPair) -> Device {
    Device::open(pair, pair.a().await, models).await
}

async fn server(pair: &dyn ReplicaPair, page: usize) -> Device {
    let server = Device::open(pair, pair.b().await, models).await;
    server.limited(Limits { page_records: page, ..Limits::default() }).await
}

/// Somebody who may write in these scopes, and to what they want.
fn of(subject: &str, scopes: &[&str]) -> Caller {
    let caller = Caller::named(subject).with(Right::Write);
    let caller = caller.in_scope(Subscription::scope_of(subject), Right::Write);
    scopes.iter().fold(caller, |caller, scope| caller.in_scope(*scope, Right::Write))
}

fn alice() -> Caller {
    of("alice", &["a", "b", "c", "h/1", "h/2"])
}

async fn sync_as(device: &Device, server: &Device, caller: Caller) -> SyncReport {
    let line = FlakyReplica::new(&server.workspace).calling_as(caller);
    let report = device.workspace.sync(&line).await.expect("the sync succeeds");
    assert!(report.level, "not level: {report:?}");
    report
}

async fn sync_clean(device: &Device, server: &Device) -> SyncReport {
    let report = sync_as(device, server, alice()).await;
    assert_eq!((report.conflict_count(), report.rejected.len()), (0, 0), "{report:?}");
    report
}

async fn put(device: &Device, id: &str, project: &str) {
    let tasks = device.workspace.collection::<Task>().expect("the model is registered");
    let task = Task { id: id.into(), project: project.into(), title: id.into(), part_of: None };
    tasks.upsert(task).await.expect("a task is saved");
}

async fn want(device: &Device, scopes: &[&str]) {
    let wanted = device.workspace.collection::<Subscription>().expect("the model is registered");
    let scopes = scopes.iter().copied();
    wanted.upsert(Subscription::new::<Task>("alice", scopes)).await.expect("a subscription is saved");
}

/// The tasks that are on the device.
async fn live(device: &Device) -> BTreeSet<String> {
    let tasks = device.workspace.collection::<Task>().expect("the model is registered");
    let found = tasks.find(sync_runtime::Query::all()).await.expect("tasks are found").into_iter();
    found.map(|task| task.id).collect()
}

/// The same; of what is not there, there is no trace.
async fn tasks(device: &Device) -> BTreeSet<String> {
    let states = device.states().await.into_iter().filter(|state| state.change.schema.name == "Task");
    let traces: BTreeSet<String> = states.map(|state| state.change.id.to_string()).collect();
    assert_eq!(live(device).await, traces);
    traces
}

fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.into_iter().map(Into::into).collect()
}

/// A server with tasks and memos in three scopes, and items in none.
async fn filled(pair: &dyn ReplicaPair, page: usize) -> Device {
    let server = server(pair, page).await;
    for number in 1..=2 {
        for project in ["a", "b", "c", "d"] {
            put(&server, &format!("{project}{number}"), project).await;
        }
        let memos = server.workspace.collection::<Memo>().expect("the model is registered");
        memos.create(Memo { id: number, house: "h".into(), floor: number }).await.expect("a memo is made");
        server.put(&number.to_string(), "for everybody").await;
    }
    server
}

async fn memos(device: &Device) -> usize {
    let memos = device.workspace.collection::<Memo>().expect("the model is registered");
    memos.find(sync_runtime::Query::all()).await.expect("memos are found").len()
}

/// What is subscribed to comes, from the first pull on, to every device of its person; a model that nobody subscribed to
/// comes as before.
pub(super) async fn a_subscription_brings_its_scopes_and_no_others(pair: &dyn ReplicaPair) {
    for page in [1, 3, 1_000] {
        let server = filled(pair, page).await;
        let (phone, tablet, other) = (device(pair).await, device(pair).await, device(pair).await);
        sync_clean(&tablet, &server).await;
        assert_eq!(tasks(&tablet).await.len(), 6, "who says nothing wants all that there is for them");
        want(&phone, &["a"]).await;
        sync_clean(&phone, &server).await;
        assert_eq!(tasks(&phone).await, ids(["a1", "a2"]));
        assert_eq!((memos(&phone).await, phone.ids().await.len()), (2, 2));
        sync_clean(&tablet, &server).await;
        assert_eq!(tasks(&tablet).await, ids(["a1", "a2"]), "what is not wanted any more left");
        sync_as(&other, &server, of("bob", &["b"])).await;
        assert_eq!(tasks(&other).await, ids(["b1", "b2"]), "it is alice's alone");
        put(&server, "a3", "a").await;
        put(&server, "b3", "b").await;
        put(&phone, "a4", "a").await;
        assert_eq!(sync_clean(&phone, &server).await.pulled, 1);
        sync_clean(&tablet, &server).await;
        assert_eq!(tasks(&tablet).await, ids(["a1", "a2", "a3", "a4"]));
        assert_eq!(sync_clean(&tablet, &server).await.pulled, 0, "nothing comes twice");
    }
}

/// A scope that is added comes from its beginning, what was deleted there before leaving no trace; one that is taken out
/// leaves; and without a subscription everything is there again.
pub(super) async fn a_scope_that_is_added_comes_and_one_that_is_taken_out_leaves(pair: &dyn ReplicaPair) {
    for page in [1, 3, 1_000] {
        let server = filled(pair, page).await;
        let (mut phone, tablet) = (device(pair).await, device(pair).await);
        want(&phone, &["a"]).await;
        for device in [&phone, &tablet] {
            sync_clean(device, &server).await;
        }
        put(&server, "b1", "b").await;
        want(&phone, &["b", "d"]).await;
        for device in [&phone, &tablet] {
            sync_clean(device, &server).await;
            assert_eq!(tasks(device).await, ids(["b1", "b2"]), "and d is not hers to read");
        }
        put(&server, "b3", "b").await;
        put(&server, "a3", "a").await;
        want(&phone, &[]).await;
        sync_clean(&phone, &server).await;
        assert_eq!(tasks(&phone).await, ids([]));
        want(&phone, &["a", "b"]).await;
        phone = phone.restart().await;
        for device in [&phone, &tablet] {
            sync_clean(device, &server).await;
            assert_eq!(tasks(device).await, ids(["a1", "a2", "a3", "b1", "b2", "b3"]));
        }
        let wanted = phone.workspace.collection::<Subscription>().expect("the model is registered");
        wanted.delete(&Subscription::id_of("alice", "Task")).await.expect("it is deleted");
        for device in [&phone, &tablet] {
            sync_clean(device, &server).await;
            assert_eq!(tasks(device).await.len(), 8);
            assert_eq!(sync_clean(device, &server).await.pulled, 0, "nothing comes twice");
        }
    }
}

/// What was edited here and is not wanted any more goes to the server before it leaves; where the server cannot take it, it
/// stays until somebody has decided.
pub(super) async fn an_edit_of_what_is_not_wanted_any_more_is_sent_first(pair: &dyn ReplicaPair) {
    let server = filled(pair, 1_000).await;
    let (phone, tablet) = (device(pair).await, device(pair).await);
    want(&phone, &["a", "b"]).await;
    for device in [&phone, &tablet] {
        sync_clean(device, &server).await;
    }
    // The tablet does not know of it yet, and has edits of all kinds.
    want(&phone, &["b"]).await;
    sync_clean(&phone, &server).await;
    let edited = tablet.workspace.collection::<Task>().expect("the model is registered");
    edited.update("a1", |task| task.title = "edited".into()).await.expect("a task is saved");
    edited.delete("a2").await.expect("a task is deleted");
    put(&tablet, "a3", "a").await;
    let line = FlakyReplica::new(&server.workspace).calling_as(alice());
    tablet.workspace.sync(&line).pull_only().await.expect("the pull succeeds");
    assert_eq!(live(&tablet).await, ids(["a1", "a3", "b1", "b2"]), "what is not sent stays");
    sync_clean(&tablet, &server).await;
    sync_clean(&tablet, &server).await;
    let there = live(&server).await;
    assert!(there.contains("a1") && there.contains("a3") && !there.contains("a2"), "{there:?}");
    let of_server = server.workspace.collection::<Task>().expect("the model is registered");
    let title = of_server.get("a1").await.expect("a task is read").map(|task| task.title);
    assert_eq!(title.as_deref(), Some("edited"));
    assert_eq!(live(&tablet).await, ids(["b1", "b2"]));
}

/// A record that moves to a scope that its person may read, and does not want, leaves; one that moves to one that they want
/// comes.
pub(super) async fn a_record_that_moves_out_of_what_is_wanted_leaves(pair: &dyn ReplicaPair) {
    let server = filled(pair, 1_000).await;
    let phone = device(pair).await;
    want(&phone, &["a"]).await;
    sync_clean(&phone, &server).await;
    put(&server, "a1", "b").await;
    put(&server, "b1", "a").await;
    sync_clean(&phone, &server).await;
    assert_eq!(tasks(&phone).await, ids(["a2", "b1"]));
    put(&server, "a1", "a").await;
    sync_clean(&phone, &server).await;
    assert_eq!(tasks(&phone).await, ids(["a1", "a2", "b1"]));
}

/// It says what is wanted, not what is allowed; and it is its owner's alone.
pub(super) async fn a_subscription_allows_nothing(pair: &dyn ReplicaPair) {
    let server = filled(pair, 1_000).await;
    let (phone, stranger) = (device(pair).await, device(pair).await);
    want(&phone, &["a", "d"]).await;
    sync_clean(&phone, &server).await;
    assert_eq!(tasks(&phone).await, ids(["a1", "a2"]));
    want(&stranger, &["b"]).await;
    let report = sync_as(&stranger, &server, of("mallory", &["b"])).await;
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    let wanted = stranger.workspace.collection::<Subscription>().expect("the model is registered");
    let mut squatting = Subscription::new::<Memo>("mallory", ["b"]);
    squatting.id = Subscription::id_of("alice", "Memo");
    wanted.create(squatting).await.expect_err("it takes another one's place");
    sync_clean(&phone, &server).await;
    assert_eq!(tasks(&phone).await, ids(["a1", "a2"]));
}

/// What was written on the device itself leaves as everything else does, and is back when it is wanted again.
pub(super) async fn what_was_written_here_comes_back_when_it_is_wanted_again(pair: &dyn ReplicaPair) {
    for page in [1, 1_000] {
        let (phone, server) = (device(pair).await, server(pair, page).await);
        want(&phone, &["a", "b"]).await;
        put(&phone, "own", "a").await;
        sync_clean(&phone, &server).await;
        want(&phone, &["b"]).await;
        sync_clean(&phone, &server).await;
        assert_eq!(tasks(&phone).await, ids([]));
        want(&phone, &["a", "b"]).await;
        sync_clean(&phone, &server).await;
        assert_eq!(tasks(&phone).await, ids(["own"]));
    }
}

/// What is written into a scope that is not wanted goes to the server and leaves: no edit of others would come to it.
pub(super) async fn what_is_written_into_what_is_not_wanted_is_sent_and_leaves(pair: &dyn ReplicaPair) {
    for page in [1, 1_000] {
        let (phone, server) = (device(pair).await, server(pair, page).await);
        want(&phone, &["a"]).await;
        sync_clean(&phone, &server).await;
        put(&phone, "kept", "a").await;
        put(&phone, "sent", "b").await;
        sync_clean(&phone, &server).await;
        assert_eq!((tasks(&phone).await, live(&server).await), (ids(["kept"]), ids(["kept", "sent"])));
        want(&phone, &["a", "b"]).await;
        sync_clean(&phone, &server).await;
        assert_eq!(tasks(&phone).await, ids(["kept", "sent"]));
    }
}

/// A sync that compares everything, as it asks for something else than before, takes away what is not wanted any more.
pub(super) async fn what_is_not_wanted_any_more_leaves_with_a_comparison(pair: &dyn ReplicaPair) {
    let (phone, tablet, server) = (device(pair).await, device(pair).await, filled(pair, 3).await);
    sync_clean(&phone, &server).await;
    want(&tablet, &["a"]).await;
    sync_clean(&tablet, &server).await;
    let line = FlakyReplica::new(&server.workspace).calling_as(alice());
    phone.workspace.sync(&line).only(ItemField::Done.eq(false)).await.expect("the sync succeeds");
    assert_eq!(tasks(&phone).await, ids(["a1", "a2"]));
}

/// What had to wait for its edit to be sent, and is wanted again in the sync that sends it, stays.
pub(super) async fn what_is_wanted_again_while_its_edit_is_sent_stays(pair: &dyn ReplicaPair) {
    let (server, phone, tablet) = (server(pair, 1_000).await, device(pair).await, device(pair).await);
    put(&server, "a1", "a").await;
    put(&server, "b1", "b").await;
    sync_clean(&phone, &server).await;
    want(&tablet, &["a"]).await;
    sync_clean(&tablet, &server).await;
    let edit = async |title: &str| {
        let tasks = phone.workspace.collection::<Task>().expect("the model is registered");
        let task = Task { id: "b1".into(), project: "b".into(), title: title.into(), part_of: None };
        tasks.upsert(task).await.expect("a task is saved");
    };
    // Refused, so that it stays although it is not wanted.
    edit("first").await;
    sync_as(&phone, &server, of("alice", &["a", "c"]).in_scope("b", Right::Read)).await;
    assert_eq!(live(&phone).await, ids(["a1", "b1"]));
    edit("second").await;
    want(&phone, &["a", "b"]).await;
    want(&server, &["a", "c"]).await;
    sync_as(&phone, &server, alice()).await;
    let conflicts = phone.workspace.conflicts::<Subscription>().await.expect("conflicts are read");
    for conflict in conflicts {
        let wanted = Subscription::new::<Task>("alice", ["a", "b", "c"]);
        conflict.resolve_manually(Some(wanted)).await.expect("it is resolved");
    }
    sync_as(&phone, &server, alice()).await;
    sync_as(&phone, &server, alice()).await;
    assert_eq!(tasks(&phone).await, ids(["a1", "b1"]));
}

/// A server that lets people subscribe from some day on: what they do not want then leaves the devices that had it, what they
/// want does not come again, and an edit is sent first.
pub(super) async fn who_may_subscribe_later_keeps_what_is_wanted(pair: &dyn ReplicaPair) {
    let without = |builder: WorkspaceBuilder| builder.model::<Item>().model::<Task>().model::<Memo>();
    let server = Device::open(pair, pair.b().await, without).await;
    let a = device(pair).await;
    for id in ["a1", "a2", "b1", "b2", "c1"] {
        put(&server, id, &id[..1]).await;
    }
    sync_as(&a, &server, of("alice", &["a", "b"])).await;
    sync_as(&a, &server, of("alice", &["a"])).await;
    assert_eq!(live(&a).await, ids(["a1", "a2", "b1", "b2"]));
    let server = server.restart_as(models).await;
    want(&server, &["a", "c"]).await;
    let edited = a.workspace.collection::<Task>().expect("the model is registered");
    edited.update("b2", |task| task.title = "edited".into()).await.expect("a task is saved");
    put(&server, "a3", "a").await;
    let report = sync_as(&a, &server, alice()).await;
    assert_eq!(live(&a).await, ids(["a1", "a2", "a3", "c1"]), "{report:?}");
    assert_eq!(report.pulled, 3, "two are new, and the subscription");
    for _ in 0..2 {
        assert_eq!(sync_as(&a, &server, alice()).await.requests, 1, "nothing is left to do");
    }
    let there = server.workspace.collection::<Task>().expect("the model is registered");
    let sent = there.get("b2").await.expect("a task is read").expect("it is there");
    assert_eq!(sent.title, "edited");
}
