//! Filters: a sync that pulls only what matches.

use super::ReplicaPair;
use super::models::{Item, ItemField, List, Task, TaskField};
use super::scopes;
use super::world::{Device, all_models};
use crate::flaky::{FlakyReplica, Request};
use sync_runtime::replica::Limits;
use sync_runtime::{BoxFuture, Condition, Field, Status, SyncReport};

fn open() -> Condition<Item> {
    ItemField::Done.eq(false)
}

async fn device(pair: &dyn ReplicaPair) -> Device {
    Device::open(pair, pair.a().await, all_models).await
}

/// A server with items `1` to `4`, of which the even ones are done.
async fn server(pair: &dyn ReplicaPair, page: usize) -> Device {
    let server = Device::open(pair, pair.b().await, all_models).await;
    let server = server.limited(Limits { page_records: page, ..Limits::default() }).await;
    for number in 1..=4 {
        server.put(&number.to_string(), "made").await;
        done(&server, &number.to_string(), number % 2 == 0).await;
    }
    server
}

async fn done(device: &Device, id: &str, done: bool) {
    let items = device.workspace.collection::<Item>().expect("the model is registered");
    items.update(id, |item| item.done = done).await.expect("an item is saved");
}

async fn sync_only(device: &Device, server: &Device, only: Option<Condition<Item>>) -> SyncReport {
    let sync = device.workspace.sync(&server.replica);
    let sync = match only {
        Some(only) => sync.only(only),
        None => sync,
    };
    let report = sync.await.expect("the sync succeeds");
    assert!(report.level, "not level: {report:?}");
    assert_eq!((report.conflict_count(), report.rejected.len()), (0, 0), "{report:?}");
    report
}

/// What did not match and had to wait stays once everything is asked for again.
pub(super) async fn what_waited_under_another_filter_stays(pair: &dyn ReplicaPair) {
    let (a, server) = (scopes::device(pair).await, scopes::server(pair).await);
    scopes::put(&server, "whole", "a", "closed").await;
    let all = server.workspace.collection::<Task>().expect("the model is registered");
    let part = Task { id: "part".into(), part_of: Some("whole".into()), ..Task::default() };
    all.create(part).await.expect("a task is made");
    a.sync_clean(&server).await;
    let sync = a.workspace.sync(&server.replica).only(TaskField::Title.eq(""));
    assert!(sync.await.expect("the sync succeeds").level);
    assert_eq!(scopes::ids(&a).await, ["part", "whole"], "a child needs it");
    a.sync_clean(&server).await;
    scopes::delete(&server, "part").await;
    a.sync_clean(&server).await;
    assert_eq!(scopes::ids(&a).await, ["whole"]);
}

/// Of a model that is narrowed only what matches comes, page by page as well as at once; of others everything.
pub(super) async fn only_what_matches_comes(pair: &dyn ReplicaPair) {
    for page in [1, 3, 1_000] {
        let (phone, server) = (device(pair).await, server(pair, page).await);
        let lists = server.workspace.collection::<List>().expect("the model is registered");
        lists.create(List::new("1", "a list")).await.expect("a list is made");
        let report = sync_only(&phone, &server, Some(open())).await;
        assert_eq!((phone.ids().await, report.pulled), (vec!["1".to_owned(), "3".to_owned()], 3));
        server.put("2", "changed").await;
        server.put("3", "changed").await;
        server.put("5", "new").await;
        phone.put("6", "by the phone").await;
        assert_eq!(sync_only(&phone, &server, Some(open())).await.pulled, 2);
        assert_eq!(phone.ids().await, ["1", "3", "5", "6"]);
        assert_eq!(phone.title("3").await.as_deref(), Some("changed"));
        assert_eq!(server.ids().await.len(), 6);
        assert_eq!(sync_only(&phone, &server, Some(open())).await.pulled, 0, "nothing comes twice");
    }
}

/// A record that does not match any more leaves without a trace, and comes back when it does.
pub(super) async fn what_does_not_match_any_more_leaves(pair: &dyn ReplicaPair) {
    for page in [1, 1_000] {
        let (phone, server) = (device(pair).await, server(pair, page).await);
        sync_only(&phone, &server, Some(open())).await;
        done(&server, "1", true).await;
        done(&server, "2", false).await;
        server.delete("3").await;
        sync_only(&phone, &server, Some(open())).await;
        assert_eq!(phone.ids().await, ["2"]);
        assert!(!phone.picture().await.keys().any(|name| name.ends_with(" 1")), "it left without a trace");
        for back in [false, true, false] {
            done(&server, "1", back).await;
            server.put("1", &format!("{back}")).await;
        }
        sync_only(&phone, &server, Some(open())).await;
        assert_eq!(phone.ids().await, ["1", "2"]);
        assert_eq!(server.ids().await, ["1", "2", "4"], "nothing was deleted at the server");
        phone.put("1", "by the phone").await;
        sync_only(&phone, &server, Some(open())).await;
        assert_eq!(server.title("1").await.as_deref(), Some("by the phone"));
    }
}

/// What does not match after an edit of this replica goes to the server, and then leaves.
pub(super) async fn an_own_edit_is_sent_before_its_record_leaves(pair: &dyn ReplicaPair) {
    let (phone, server) = (device(pair).await, server(pair, 1_000).await);
    sync_only(&phone, &server, Some(open())).await;
    done(&phone, "1", true).await;
    phone.put("7", "made done").await;
    done(&phone, "7", true).await;
    phone.workspace.sync(&server.replica).only(open()).pull_only().await.expect("the pull succeeds");
    assert_eq!(phone.ids().await, ["1", "3", "7"], "what is not sent stays");
    sync_only(&phone, &server, Some(open())).await;
    assert_eq!(phone.ids().await, ["3"]);
    for id in ["1", "7"] {
        assert!(server.get(id).await.is_some_and(|item| item.done), "{id}");
    }
}

/// An edit that is made after the push of a sync, of a record that does not match at the server any more, stays and is sent
/// with the next one.
pub(super) async fn an_edit_meanwhile_is_not_lost(pair: &dyn ReplicaPair) {
    let (phone, server) = (device(pair).await, server(pair, 1_000).await);
    sync_only(&phone, &server, Some(open())).await;
    done(&server, "1", true).await;
    let line = FlakyReplica::new(&server.replica);
    let workspace = phone.workspace.clone();
    line.after(Request::Exchange, move || -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let items = workspace.collection::<Item>().expect("the model is registered");
            items.update("1", |item| item.count = 7).await.expect("an item is saved");
        })
    });
    phone.workspace.sync(&line).only(open()).await.expect("the sync succeeds");
    assert_eq!(phone.get("1").await.map(|item| item.count), Some(7));
    assert_eq!(phone.status("1").await, Status::NeedsSync, "it is no refusal");
    let report = phone.workspace.sync(&server.replica).only(open()).await.expect("the sync succeeds");
    assert_eq!(report.rejected.len(), 0, "{report:?}");
    let there = server.get("1").await.expect("an item is there");
    let sides = [there.count == 7 && there.done, report.conflict_count() == 1];
    assert!(sides.contains(&true), "merged, or for people to decide: {there:?} {report:?}");
}

/// With another filter, or none, revisions are compared: what is lacking comes, and what does not match leaves.
pub(super) async fn another_filter_compares_and_sends_what_is_lacking(pair: &dyn ReplicaPair) {
    for page in [1, 1_000] {
        let (mut phone, server) = (device(pair).await, server(pair, page).await);
        sync_only(&phone, &server, Some(open())).await;
        phone.put("3", "unsent").await;
        let report = sync_only(&phone, &server, Some(!open())).await;
        assert_eq!((phone.ids().await, report.pulled), (vec!["2".to_owned(), "4".to_owned()], 2));
        assert_eq!(server.title("3").await.as_deref(), Some("unsent"));
        phone = phone.restart().await;
        let report = sync_only(&phone, &server, None).await;
        assert_eq!((phone.ids().await.len(), report.pulled), (4, 2), "what is here does not come again");
        assert_eq!(sync_only(&phone, &server, None).await.pulled, 0);
        assert_eq!(phone.picture().await, server.picture().await);
        sync_only(&phone, &server, Some(open().and(ItemField::Id.eq("1")))).await;
        assert_eq!(phone.ids().await, ["1"]);
    }
}
