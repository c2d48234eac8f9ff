//! A server that was rolled back, and devices that may write what is theirs and not hand on what others wrote.

use super::ReplicaPair;
use super::models::Task;
use super::scopes::{device, ids, of, put, server, sync_as, sync_clean, tasks};
use super::world::Device;
use crate::flaky::FlakyReplica;
use sync_runtime::Rejected;

async fn refused(device: &Device) -> Vec<Rejected> {
    device.workspace.rejected::<Task>().await.expect("what was refused is read")
}

/// A server that has lost what `b` brought and `a` had pulled, and was written on, so that `a` notices when it comes; with
/// both of them.
async fn rolled_back(pair: &dyn ReplicaPair) -> (Device, Device, Device) {
    let (server, a, b) = (server(pair).await, device(pair).await, device(pair).await);
    let (alice, bob, carol) = (of("alice", &["a"]), of("bob", &["a"]), of("carol", &["a"]));
    put(&server, "0", "a", "first").await;
    put(&a, "mine", "a", "first").await;
    sync_clean(&a, &server, &alice).await;
    sync_clean(&b, &server, &bob).await;
    let backup = server.backup().await;
    for id in ["1", "2", "3"] {
        put(&b, id, "a", "by b").await;
    }
    sync_clean(&b, &server, &bob).await;
    put(&a, "mine too", "a", "second").await;
    sync_clean(&a, &server, &alice).await;
    let server = server.rolled_back(backup).await;
    let c = device(pair).await;
    for n in 0..10 {
        put(&c, &format!("c{n}"), "a", "meanwhile").await;
    }
    sync_clean(&c, &server, &carol).await;
    (server, a, b)
}

/// What a device may not give back is refused, and stays with it; once its author has given it back, nothing is left of the
/// refusal, and it leaves the device with its scope.
pub(super) async fn what_others_gave_back_is_refused_no_more(pair: &dyn ReplicaPair) {
    let (server, a, b) = rolled_back(pair).await;
    let (alice, bob) = (of("alice", &["a"]), of("bob", &["a"]));
    sync_as(&a, &server, &alice).await;
    assert_eq!(refused(&a).await.len(), 3, "these are not a's to hand on");
    for id in ["1", "2", "3"] {
        assert_eq!(tasks(&a).await[id].1, "by b", "and stay with it");
    }
    sync_clean(&b, &server, &bob).await;
    sync_clean(&a, &server, &alice).await;
    assert_eq!(refused(&a).await.len(), 0);
    put(&server, "1", "b", "elsewhere").await;
    sync_clean(&a, &server, &alice).await;
    assert!(!ids(&a).await.contains(&"1".to_owned()), "what left is gone");
    assert_eq!(tasks(&a).await, {
        let mut there = tasks(&server).await;
        there.retain(|_, (project, _)| project == "a");
        there
    });
}

/// Who pulls before it has offered what may be lost looks for what is gone once it has.
pub(super) async fn what_left_a_rolled_back_server_is_looked_for_after_the_push(pair: &dyn ReplicaPair) {
    let (server, a, _) = rolled_back(pair).await;
    let alice = of("alice", &["a"]);
    put(&server, "mine", "b", "elsewhere").await;
    let line = FlakyReplica::new(&server.workspace).calling_as(alice.clone());
    a.workspace.sync(&line).pull_only().await.expect("it pulls");
    for _ in 0..2 {
        sync_as(&a, &server, &alice).await;
    }
    assert!(!ids(&a).await.contains(&"mine".to_owned()), "{:?}", ids(&a).await);
}
