//! What is left to do after something else came between: a comparison, a sign-in, a new name, a peer that was rolled back.

use super::ReplicaPair;
use super::models::{Item, ItemField, Task};
use super::purging::{pass, purge, short, some};
use super::scopes::{self, delete, ids, of, put, sync_as, tasks};
use super::world::{Device, three, two};
use crate::flaky::{FlakyReplica, LineFault, Request};
use std::collections::{BTreeMap, BTreeSet};
use sync_runtime::replica::Caller;
use sync_runtime::{BoxFuture, Field, Right, Subscription, WorkspaceBuilder};

fn with_subscriptions(builder: WorkspaceBuilder) -> WorkspaceBuilder {
    builder.model::<Item>().model::<Task>().model::<Subscription>()
}

/// What was brought by a replication and is gone by the time of the first sync leaves with that.
pub(super) async fn what_was_replicated_and_deleted_is_told(pair: &dyn ReplicaPair) {
    let (server, a) = (scopes::server(pair).await, scopes::device(pair).await);
    let caller = of("a", &["a"]);
    put(&a, "1", "a", "first").await;
    put(&a, "2", "a", "first").await;
    let line = FlakyReplica::new(&server.workspace).calling_as(caller.clone());
    sync_runtime::replicate_all(&a.workspace, &line, None).await.expect("it replicates");
    assert_eq!(ids(&server).await, ["1", "2"]);
    delete(&server, "1").await;
    put(&server, "2", "b", "moved").await;
    for _ in 0..3 {
        sync_as(&a, &server, &caller).await;
    }
    assert_eq!(tasks(&a).await.into_keys().collect::<Vec<_>>(), [""; 0]);
}

/// A filter's exits are told in a comparison too: what was compared anew was pulled before.
pub(super) async fn what_ceased_to_match_leaves_with_a_comparison(pair: &dyn ReplicaPair) {
    for purges in [false, true] {
        let ([phone], server) = some(pair, short).await;
        for id in ["1", "2", "3"] {
            server.put(id, "made").await;
        }
        let sync = async || {
            phone.workspace.sync(&server.replica).only(ItemField::Done.eq(false)).await.expect("it syncs")
        };
        sync().await;
        assert_eq!(phone.ids().await, ["1", "2", "3"]);
        let items = server.workspace.collection::<Item>().expect("the model is registered");
        items.update("1", |item| item.done = true).await.expect("an item is saved");
        items.update("1", |item| item.title = "changed".into()).await.expect("an item is saved");
        match purges {
            false => {
                server.workspace.restored().await.expect("a new name is taken");
            }
            true => {
                server.delete("2").await;
                pass(40, &[&phone, &server]);
                assert_eq!(purge(&server).await, [""; 0]);
            }
        }
        for _ in 0..3 {
            sync().await;
        }
        assert!(phone.get("1").await.is_none_or(|item| item.title == "changed"), "stale for ever");
    }
}

/// A peer that was rolled back makes pages be sent anew, and forgets nothing of what was pulled from it.
pub(super) async fn what_was_unsubscribed_while_the_peer_was_rolled_back_leaves(pair: &dyn ReplicaPair) {
    let server = Device::open(pair, pair.b().await, with_subscriptions).await;
    let a = Device::open(pair, pair.a().await, with_subscriptions).await;
    let caller = of("alice", &["a", "b"]).in_scope(Subscription::scope_of("alice"), Right::Write);
    let wanted = a.workspace.collection::<Subscription>().expect("the model is registered");
    wanted.upsert(Subscription::new::<Task>("alice", ["a", "b"])).await.expect("a subscription is saved");
    put(&server, "a1", "a", "first").await;
    put(&server, "b1", "b", "first").await;
    sync_as(&a, &server, &caller).await;
    assert_eq!(ids(&a).await, ["a1", "b1"]);
    let backup = server.backup().await;
    put(&a, "a2", "a", "first").await;
    sync_as(&a, &server, &caller).await;
    let server = server.rolled_back(backup).await;
    for n in 0..9 {
        put(&server, &format!("new {n}"), "a", "first").await;
    }
    wanted.upsert(Subscription::new::<Task>("alice", ["a"])).await.expect("a subscription is saved");
    for _ in 0..3 {
        sync_as(&a, &server, &caller).await;
    }
    assert!(!ids(&a).await.contains(&"b1".to_owned()), "what is not wanted stays");
}

/// The same where a page was lost, and somebody else had the device before it went once more.
pub(super) async fn what_was_unsubscribed_and_not_sent_leaves(pair: &dyn ReplicaPair) {
    let server = Device::open(pair, pair.b().await, with_subscriptions).await;
    let a = Device::open(pair, pair.a().await, with_subscriptions).await;
    let caller = of("alice", &["a", "b"]).in_scope(Subscription::scope_of("alice"), Right::Write);
    a.workspace.sign_in("alice").await.expect("alice signs in");
    put(&server, "a1", "a", "first").await;
    put(&server, "b1", "b", "first").await;
    put(&a, "a2", "a", "first").await;
    sync_as(&a, &server, &caller).await;
    assert_eq!(ids(&a).await, ["a1", "a2", "b1"]);
    let wanted = a.workspace.collection::<Subscription>().expect("the model is registered");
    wanted.upsert(Subscription::new::<Task>("alice", ["a"])).await.expect("a subscription is saved");
    let line = FlakyReplica::new(&server.workspace).calling_as(caller.clone());
    line.next(Request::Exchange, LineFault::LoseRequest);
    a.workspace.sync(&line).await.expect_err("the request is lost");
    for name in ["bob", "alice"] {
        a.workspace.sign_in(name).await.expect("they sign in");
    }
    for _ in 0..3 {
        sync_as(&a, &server, &caller).await;
    }
    assert_eq!(ids(&a).await, ["a1", "a2"], "what is not wanted leaves");
}

/// Who signs in while another one's page is on its way gives it no name: it would be theirs at the peer.
pub(super) async fn a_page_goes_under_the_name_that_it_was_made_under(pair: &dyn ReplicaPair) {
    let (a, server, other) = three(pair).await;
    let caller = |name: &str| Caller::named(name).with(Right::Write);
    let line_of = |name: &str| FlakyReplica::new(&server.workspace).calling_as(caller(name));
    a.workspace.sign_in("alice").await.expect("alice signs in");
    a.put("0", "of alice").await;
    a.workspace
        .sync(&FlakyReplica::new(&other.workspace).calling_as(caller("alice")))
        .await
        .expect("it syncs");
    a.put("1", "of alice").await;
    let line = line_of("alice");
    let workspace = a.workspace.clone();
    line.after(Request::Diff, move || -> BoxFuture<'static, ()> {
        Box::pin(async move {
            workspace.sign_in("bob").await.expect("bob signs in");
        })
    });
    // What comes of it is for nobody to hear any more.
    drop(a.workspace.sync(&line).await);
    assert_eq!(a.workspace.signed_in().await.expect("it is read").as_deref(), Some("bob"));
    a.put("2", "of bob").await;
    a.workspace.sync(&line_of("bob")).await.expect("bob syncs");
}

/// A new name that the store takes is taken once by each who has records here.
pub(super) async fn a_new_name_is_taken_once(pair: &dyn ReplicaPair) {
    let (a, server) = two(pair).await;
    let caller = |name: &str| Caller::named(name).with(Right::Write);
    let mut names = BTreeMap::<&str, BTreeSet<String>>::new();
    for round in 0..6 {
        for name in ["alice", "bob"] {
            a.workspace.sign_in(name).await.expect("they sign in");
            a.put(&format!("of {name}"), &format!("{round}")).await;
            let line = FlakyReplica::new(&server.workspace).calling_as(caller(name));
            a.workspace.sync(&line).await.expect("it syncs");
            if round > 1 {
                let id = a.workspace.id().await.expect("an id").to_string();
                names.entry(name).or_default().insert(id);
            }
        }
        if round == 0 {
            a.workspace.restored().await.expect("a new name is taken");
        }
    }
    assert!(names.values().all(|names| names.len() == 1), "{names:?}");
}

/// A server that takes a new name goes on with what it wrote before, as those have it too who only ever compared with it.
pub(super) async fn what_was_compared_stays_what_it_was_under_a_new_name(pair: &dyn ReplicaPair) {
    let (server, a, other) =
        (scopes::server(pair).await, scopes::device(pair).await, scopes::server(pair).await);
    let caller = of("a", &["a"]);
    // With another peer known, it compares with the next one.
    sync_as(&a, &other, &caller).await;
    put(&server, "1", "a", "first").await;
    let line = FlakyReplica::new(&server.workspace).calling_as(caller.clone());
    a.workspace.sync(&line).await.expect("it syncs");
    assert_eq!(line.requests(), [Request::Describe, Request::Changes, Request::CreateUpdates]);
    server.workspace.restored().await.expect("a new name is taken");
    put(&a, "1", "a", "edited").await;
    scopes::sync_clean(&a, &server, &caller).await;
    assert_eq!(tasks(&server).await["1"].1, "edited");
}
