//! Several people on one device: each has records, a queue and a replica id of their own there.

use super::ReplicaPair;
use super::models::{Card, Item, Task};
use super::world::{Device, two};
use crate::flaky::{FlakyReplica, LineFault, Request};
use std::collections::BTreeSet;
use sync_runtime::replica::{Caller, Limits};
use sync_runtime::{ErrorKind, Right, SyncReport, WorkspaceBuilder};

fn models(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Item>().model::<Task>().model::<Card>()
}

async fn device(pair: &dyn ReplicaPair) -> Device {
    Device::open(pair, pair.a().await, models).await
}

async fn server(pair: &dyn ReplicaPair) -> Device {
    Device::open(pair, pair.b().await, models).await
}

/// Somebody who may write in a scope of the same name, and models that have none.
fn named(subject: &str) -> Caller {
    Caller::named(subject).with(Right::Write).in_scope(subject, Right::Write)
}

fn line(server: &Device, subject: &str) -> FlakyReplica {
    FlakyReplica::new(&server.workspace).calling_as(named(subject))
}

async fn sign_in(device: &Device, subject: &str) {
    let id = device.workspace.sign_in(subject).await.expect("the subject signs in");
    assert_eq!(device.workspace.id().await.expect("an id is read"), id);
    let signed_in = device.workspace.signed_in().await.expect("the subject is read");
    assert_eq!(signed_in.as_deref(), Some(subject));
}

async fn sync_as(device: &Device, server: &Device, subject: &str) -> SyncReport {
    let report = device.workspace.sync(&line(server, subject)).await.expect("the sync succeeds");
    assert!(report.level, "not level: {report:?}");
    report
}

async fn put_task(device: &Device, id: &str, project: &str, part_of: Option<&str>) {
    let tasks = device.workspace.collection::<Task>().expect("the model is registered");
    let task =
        Task { id: id.into(), project: project.into(), title: id.into(), part_of: part_of.map(Into::into) };
    tasks.upsert(task).await.expect("a task is saved");
}

/// The ids of items and tasks.
async fn everything(device: &Device) -> BTreeSet<String> {
    let tasks = device.workspace.collection::<Task>().expect("the model is registered");
    let tasks = tasks.find(sync_runtime::Query::all()).await.expect("tasks are found");
    device.ids().await.into_iter().chain(tasks.into_iter().map(|task| task.id)).collect()
}

fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.into_iter().map(Into::into).collect()
}

async fn lying_aside(device: &Device) -> Vec<(String, u64, u64)> {
    let accounts = device.workspace.accounts().await.expect("accounts are listed").into_iter();
    accounts.map(|account| (account.subject, account.records, account.unsent)).collect()
}

/// What was edited before anybody signed in is the first one's, under the replica id that it was written with.
pub(super) async fn what_was_edited_before_belongs_to_the_first_who_signs_in(pair: &dyn ReplicaPair) {
    let (phone, server) = (device(pair).await, server(pair).await);
    let id = phone.workspace.id().await.expect("an id is read");
    phone.put("1", "before").await;
    assert_eq!(phone.workspace.signed_in().await.expect("nobody is read"), None);
    sign_in(&phone, "alice").await;
    sign_in(&phone, "alice").await;
    assert_eq!(phone.workspace.id().await.expect("an id is read"), id);
    sync_as(&phone, &server, "alice").await;
    assert_eq!(server.change("1").await.revision().replica, id);
    assert_eq!(lying_aside(&phone).await, []);
    for strange in [String::new(), "x".repeat(256)] {
        let error = phone.workspace.sign_in(strange).await.expect_err("no such name");
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }
}

/// Another subject goes on under another replica id and sees nothing of the first one's; what that one did not send stays,
/// and goes out under the first id when they are back.
pub(super) async fn another_subject_sees_nothing_and_sends_nothing_of_the_first(pair: &dyn ReplicaPair) {
    for page in [1, 1_000] {
        let server = server(pair).await.limited(Limits { page_records: page, ..Limits::default() }).await;
        let mut phone = device(pair).await;
        server.put("everybody's", "from the server").await;
        for owner in ["alice", "bob"] {
            put_task(&server, &format!("{owner}'s"), owner, None).await;
        }
        sign_in(&phone, "alice").await;
        put_task(&phone, "parent", "alice", None).await;
        put_task(&phone, "child", "alice", Some("parent")).await;
        // The parent's change stands behind the child's.
        put_task(&phone, "parent", "alice", None).await;
        phone.put("synced", "by alice").await;
        sync_as(&phone, &server, "alice").await;
        let alice = phone.workspace.id().await.expect("an id is read");
        let items = phone.workspace.collection::<Item>().expect("the model is registered");
        phone.put("synced", "and changed").await;
        items.update("synced", |item| item.draft = Some("of alice".into())).await.expect("an item is saved");
        phone.put("unsent", "by alice").await;
        phone.delete("everybody's").await;
        put_task(&phone, "child", "alice", None).await;
        let before = phone.picture().await;

        sign_in(&phone, "bob").await;
        let bob = phone.workspace.id().await.expect("an id is read");
        assert_ne!(alice, bob);
        assert_eq!(phone.picture().await.len(), 0, "not even a tombstone is to be seen");
        assert_eq!(everything(&phone).await, ids([]));
        assert_eq!(lying_aside(&phone).await, [("alice".to_owned(), 5, 4)]);
        phone = phone.restart().await;
        put_task(&phone, "of bob", "bob", None).await;
        sync_as(&phone, &server, "bob").await;
        assert_eq!(everything(&phone).await, ids(["everybody's", "synced", "bob's", "of bob"]));
        assert_eq!(phone.title("synced").await.as_deref(), Some("by alice"), "as the server has it");
        assert_eq!(server.title("unsent").await, None, "nothing of another's queue is sent");
        assert!(server.title("everybody's").await.is_some());

        sign_in(&phone, "alice").await;
        assert_eq!(phone.workspace.id().await.expect("an id is read"), alice);
        assert_eq!(phone.picture().await, before, "all is as it was, ancestry and all");
        let items = phone.workspace.collection::<Item>().expect("the model is registered");
        let synced = items.get("synced").await.expect("an item is read").expect("there is one");
        assert_eq!(synced.draft.as_deref(), Some("of alice"), "what stays on the device came back too");
        assert_eq!(lying_aside(&phone).await.len(), 1, "bob's lies aside now");
        let report = sync_as(&phone, &server, "alice").await;
        assert_eq!((report.conflict_count(), report.rejected.len()), (0, 0), "{report:?}");
        assert_eq!(report.pushed, 4, "only what was not sent is");
        assert_eq!(server.title("unsent").await.as_deref(), Some("by alice"));
        assert_eq!(server.title("synced").await.as_deref(), Some("and changed"));
        assert_eq!(server.title("everybody's").await, None);
        assert_eq!(server.change("unsent").await.revision().replica, alice);

        sign_in(&phone, "bob").await;
        assert_eq!(phone.workspace.id().await.expect("an id is read"), bob);
        sync_as(&phone, &server, "bob").await;
        assert_eq!(everything(&phone).await, ids(["synced", "unsent", "bob's", "of bob"]));
        assert!(phone.workspace.forget_account("alice").await.expect("it is forgotten"));
        assert!(!phone.workspace.forget_account("alice").await.expect("it is not there"));
        assert_eq!(lying_aside(&phone).await, []);
        sign_in(&phone, "alice").await;
        assert_ne!(phone.workspace.id().await.expect("an id is read"), alice, "nothing is known of her");
    }
}

/// A peer that knows who calls by another name is sent nothing and asked for nothing, with or without having signed in.
pub(super) async fn nothing_is_sent_in_anothers_name(pair: &dyn ReplicaPair) {
    for signs_in in [true, false] {
        let (phone, server) = (device(pair).await, server(pair).await);
        if signs_in {
            sign_in(&phone, "alice").await;
        }
        phone.put("1", "by alice").await;
        if !signs_in {
            sync_as(&phone, &server, "alice").await;
            assert_eq!(phone.workspace.signed_in().await.expect("it is read").as_deref(), Some("alice"));
        }
        phone.put("2", "by alice").await;
        put_task(&server, "bob's", "bob", None).await;
        let line = line(&server, "bob");
        let error = phone.workspace.sync(&line).await.expect_err("it is not her token");
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
        for part in ["`alice`", "`bob`", "sign_in"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(line.requests(), [Request::Describe]);
        assert_eq!(everything(&phone).await, ids(["1", "2"]));
        sign_in(&phone, "bob").await;
        sync_as(&phone, &server, "bob").await;
        assert_eq!(server.title("2").await, None);
        assert!(everything(&phone).await.contains("bob's"));
        sign_in(&phone, "alice").await;
        sync_as(&phone, &server, "alice").await;
        assert_eq!(server.title("2").await.as_deref(), Some("by alice"));
        assert!(!everything(&phone).await.contains("bob's"));
    }
}

/// A page whose answer was lost counts once when its writer is back, and merges go on from the bases that there were.
pub(super) async fn rule_exact_base_after_somebody_else_had_the_device(pair: &dyn ReplicaPair) {
    let (phone, server) = (device(pair).await, server(pair).await);
    let votes = async |device: &Device| {
        let cards = device.workspace.collection::<Card>().expect("the model is registered");
        let card = cards.get("1").await.expect("a card is read").expect("there is one");
        (card.votes, card.title)
    };
    let vote = async |device: &Device, votes: i64, title: Option<&str>| {
        let cards = device.workspace.collection::<Card>().expect("the model is registered");
        let saved = cards.update("1", |card| {
            card.votes += votes;
            if let Some(title) = title {
                card.title = title.into();
            }
        });
        saved.await.expect("a card is saved");
    };
    sign_in(&phone, "alice").await;
    let cards = phone.workspace.collection::<Card>().expect("the model is registered");
    cards.create(Card { id: "1".into(), ..Card::default() }).await.expect("a card is made");
    sync_as(&phone, &server, "alice").await;
    vote(&phone, 1, None).await;
    let cut = line(&server, "alice");
    cut.next(Request::Exchange, LineFault::LoseAnswer);
    phone.workspace.sync(&cut).await.expect_err("its answer was lost");
    assert_eq!(votes(&server).await.0, 1);
    vote(&phone, 10, None).await;
    sign_in(&phone, "bob").await;
    sync_as(&phone, &server, "bob").await;
    vote(&phone, 100, None).await;
    sync_as(&phone, &server, "bob").await;
    vote(&server, 1_000, Some("the server's")).await;
    sign_in(&phone, "alice").await;
    let report = sync_as(&phone, &server, "alice").await;
    assert_eq!((report.conflict_count(), report.rejected.len()), (0, 0), "{report:?}");
    assert_eq!(votes(&server).await, (1_111, "the server's".to_owned()), "each vote counts once");
    sync_as(&phone, &server, "alice").await;
    assert_eq!(votes(&phone).await, votes(&server).await);
    // What she has, and the server too, is a base still.
    vote(&phone, 1, None).await;
    sign_in(&phone, "bob").await;
    sign_in(&phone, "alice").await;
    vote(&phone, 1, None).await;
    vote(&server, 0, Some("again the server's")).await;
    let report = sync_as(&phone, &server, "alice").await;
    assert_eq!(report.conflict_count(), 0, "{report:?}");
    assert_eq!(votes(&server).await, (1_113, "again the server's".to_owned()));
}

/// Conflicts and refusals are their subject's too.
pub(super) async fn conflicts_and_refusals_lie_aside(pair: &dyn ReplicaPair) {
    let (phone, server) = (device(pair).await, server(pair).await);
    sign_in(&phone, "alice").await;
    phone.put("1", "one").await;
    sync_as(&phone, &server, "alice").await;
    phone.put("1", "alice's").await;
    server.put("1", "the server's").await;
    put_task(&phone, "strange", "bob", None).await;
    let report = sync_as(&phone, &server, "alice").await;
    assert_eq!((report.conflict_count(), report.rejected.len()), (1, 1), "{report:?}");
    sign_in(&phone, "bob").await;
    assert_eq!(phone.conflicts().await.len(), 0);
    let rejected = async || phone.workspace.rejected::<Task>().await.expect("refusals are read").len();
    assert_eq!(rejected().await, 0);
    sync_as(&phone, &server, "bob").await;
    sign_in(&phone, "alice").await;
    assert_eq!((phone.conflicts().await.len(), rejected().await), (1, 1));
    let conflict = phone.conflicts().await.remove(0);
    conflict.resolve_using_source().await.expect("it is resolved");
    sync_as(&phone, &server, "alice").await;
    assert_eq!(server.title("1").await.as_deref(), Some("alice's"));
    assert_eq!((phone.conflicts().await.len(), rejected().await), (0, 1));
}

/// A sync that is under way while somebody else signs in brings nothing of the first one's to the other, and sends nothing of
/// the other's.
pub(super) async fn a_sync_under_way_ends_with_its_subject(pair: &dyn ReplicaPair) {
    for request in [Request::Describe, Request::Exchange] {
        for when in ["before", "after"] {
            let (phone, server) = (device(pair).await, server(pair).await);
            put_task(&server, "alice's", "alice", None).await;
            sign_in(&phone, "alice").await;
            phone.put("unsent", "by alice").await;
            let line = line(&server, "alice");
            let workspace = phone.workspace.clone();
            let hook = move || -> sync_runtime::BoxFuture<'static, ()> {
                Box::pin(async move {
                    workspace.sign_in("bob").await.expect("bob signs in");
                    let items = workspace.collection::<Item>().expect("the model is registered");
                    items.create(Item::new("bob's", "unsent")).await.expect("an item is made");
                })
            };
            match when {
                "before" => line.before(request, hook),
                _ => line.after(request, hook),
            }
            let ended = phone.workspace.sync(&line).await;
            assert!(ended.is_err(), "{request:?} {when}: {ended:?}");
            assert_eq!(everything(&phone).await, ids(["bob's"]), "{request:?} {when}");
            assert_eq!(server.title("bob's").await, None, "{request:?} {when}");
            sync_as(&phone, &server, "bob").await;
            assert!(server.title("bob's").await.is_some());
            assert!(!everything(&phone).await.contains("alice's"));
            sign_in(&phone, "alice").await;
            let report = sync_as(&phone, &server, "alice").await;
            assert_eq!((report.conflict_count(), report.rejected.len()), (0, 0), "{report:?}");
            assert!(server.title("unsent").await.is_some());
            assert_eq!(everything(&phone).await, ids(["alice's", "bob's", "unsent"]));
        }
    }
}

/// What lay aside in a store that was copied meanwhile goes on under another replica id, so that no revision is made twice.
pub(super) async fn rule_one_replica_id_one_history_of_what_lay_aside(pair: &dyn ReplicaPair) {
    let (phone, server) = (device(pair).await, server(pair).await);
    sign_in(&phone, "alice").await;
    phone.put("1", "one").await;
    sync_as(&phone, &server, "alice").await;
    phone.put("1", "unsent").await;
    let alice = phone.workspace.id().await.expect("an id is read");
    sign_in(&phone, "bob").await;
    let copy = phone.copy().await;
    copy.workspace.restored().await.expect("it takes another name");
    for (device, title) in [(&phone, "of the one"), (&copy, "of the other")] {
        sign_in(device, "alice").await;
        assert_eq!(device.title("1").await.as_deref(), Some("unsent"));
        device.put(title, title).await;
    }
    assert_eq!(phone.workspace.id().await.expect("an id is read"), alice);
    assert_ne!(copy.workspace.id().await.expect("an id is read"), alice);
    for device in [&phone, &copy, &phone] {
        let report = sync_as(device, &server, "alice").await;
        assert_eq!(report.rejected.len(), 0, "{report:?}");
    }
    assert_eq!(everything(&phone).await, ids(["1", "of the one", "of the other"]));
    assert_eq!(phone.picture().await, server.picture().await);
}

/// A store that others push to is no one person's.
pub(super) async fn a_server_is_nobodys(pair: &dyn ReplicaPair) {
    let (phone, server) = (device(pair).await, server(pair).await);
    phone.put("1", "one").await;
    sync_as(&phone, &server, "alice").await;
    server.workspace.sign_in("a server").await.expect("the first one is let in");
    let before = server.picture().await;
    let error = server.workspace.sign_in("another").await.expect_err("it serves others");
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert_eq!(server.picture().await, before);
}

/// Who signs out while a group is pushed in parts sends it once more as a whole when they are back.
pub(super) async fn a_group_that_was_cut_by_a_sign_in_arrives(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    let server = server.limited(Limits { page_records: 1, ..Limits::default() }).await;
    a.workspace.sign_in("alice").await.expect("somebody signs in");
    let written = a.workspace.transaction(|tx| {
        Box::pin(async move {
            for id in ["1", "2", "3"] {
                tx.upsert(&Item::new(id, "together")).await?;
            }
            Ok(())
        })
    });
    written.await.expect("the transaction commits");
    let line = server.line();
    line.next(Request::Exchange, LineFault::Repeat);
    line.next(Request::Exchange, LineFault::LoseRequest);
    a.workspace.sync(&line).await.expect_err("the line is cut");
    for subject in ["bob", "alice"] {
        a.workspace.sign_in(subject).await.expect("somebody signs in");
    }
    a.put("4", "later").await;
    a.sync_clean(&server).await;
    assert_eq!(server.ids().await, ["1", "2", "3", "4"]);
}
