//! `keep_in_sync` and `watch`.

use super::ReplicaPair;
use super::models::{Item, List};
use super::world::{Device, assert_level, two};
use crate::flaky::{FlakyReplica, Request};
use futures_util::future::join;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use sync_runtime::{Caller, Connection, ErrorKind, Live, Watch};

/// How long a case waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);
/// Long enough for something to happen that must not.
const A_WHILE: Duration = Duration::from_millis(250);

async fn eventually(pair: &dyn ReplicaPair, what: &str, mut so: impl AsyncFnMut() -> bool) {
    let mut waited = Duration::ZERO;
    while !so().await {
        assert!(waited < PATIENCE, "it never came to pass that {what}");
        pair.env().sleep(LOOK).await;
        waited += LOOK;
    }
}

fn exchanges(line: &FlakyReplica) -> usize {
    line.requests().iter().filter(|request| **request == Request::Exchange).count()
}

async fn online(pair: &dyn ReplicaPair, live: &Live) {
    eventually(pair, "the first sync ends", async || live.synced() > 0).await;
}

/// The first sync runs at once.
pub(super) async fn keep_in_sync_starts_at_once(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("2", "of b").await;
    let live = a.workspace.keep_in_sync(&b.replica).start();
    online(pair, &live).await;
    assert_level(&[&a, &b]).await;
    assert_eq!(live.last_error(), None);
}

/// A local write is synced soon, without waiting for the time.
pub(super) async fn keep_in_sync_syncs_after_a_local_write(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let live = a.workspace.keep_in_sync(&b.replica).start();
    online(pair, &live).await;
    a.put("1", "of a").await;
    eventually(pair, "the write arrives", async || b.title("1").await.is_some()).await;
    a.delete("1").await;
    eventually(pair, "the delete arrives", async || b.title("1").await.is_none()).await;
    assert_ne!(live.connection(), Connection::Stopped);
}

/// What others wrote comes when the time has come, or when somebody asks.
pub(super) async fn keep_in_sync_pulls_from_time_to_time(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let live = a.workspace.keep_in_sync(&b.replica).every(Duration::from_millis(50)).start();
    online(pair, &live).await;
    b.put("1", "of b").await;
    eventually(pair, "the time comes", async || a.title("1").await.is_some()).await;
    drop(live);
    let live = a.workspace.keep_in_sync(&b.replica).every(Duration::from_secs(3_600)).start();
    online(pair, &live).await;
    b.put("2", "of b").await;
    eventually(pair, "it syncs when asked", async || {
        live.sync_now();
        a.title("2").await.is_some()
    })
    .await;
}

/// It does not sync where there is nothing to do.
pub(super) async fn keep_in_sync_rests_where_there_is_nothing_to_do(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("2", "of b").await;
    let line = b.line();
    let live = a.workspace.keep_in_sync(&line).start();
    online(pair, &live).await;
    pair.env().sleep(A_WHILE).await;
    let before = exchanges(&line);
    pair.env().sleep(A_WHILE).await;
    assert_eq!(exchanges(&line), before, "{:?}", line.requests());
    assert_eq!(live.connection(), Connection::Online);
}

/// After failures it waits, longer each time, and goes on when the line is good again.
pub(super) async fn keep_in_sync_backs_off_after_failures(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    a.env.haste(200);
    let line = b.line();
    line.down(true);
    let live = a.workspace.keep_in_sync(&line).start();
    eventually(pair, "it failed five times", async || {
        line.requests().len() >= 6 && live.connection() == Connection::Offline
    })
    .await;
    let slept = a.env.slept();
    let mut longest = Duration::from_secs(1);
    for (n, wait) in slept.iter().take(5).enumerate() {
        assert!(*wait >= longest / 2 && *wait <= longest, "wait {n} is {wait:?}, not about {longest:?}");
        longest *= 2;
    }
    assert!(live.last_error().expect("an error").contains("lost"), "{:?}", live.last_error());
    line.down(false);
    eventually(pair, "it goes on", async || live.connection() == Connection::Online).await;
    assert_eq!(live.last_error(), None);
    assert_level(&[&a, &b]).await;
}

/// While it waits after a failure, a local write does not hurry it, but somebody who asks does.
pub(super) async fn keep_in_sync_can_be_hurried_after_a_failure(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let line = b.line();
    line.down(true);
    let live = a.workspace.keep_in_sync(&line).start();
    eventually(pair, "it failed", async || live.connection() == Connection::Offline).await;
    line.down(false);
    a.put("1", "of a").await;
    eventually(pair, "it syncs when asked", async || {
        live.sync_now();
        b.title("1").await.is_some()
    })
    .await;
}

/// One way it only sends.
pub(super) async fn keep_in_sync_one_way_only_sends(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    b.put("1", "of b").await;
    let live = a.workspace.keep_in_sync(&b.replica).every(Duration::from_millis(30)).one_way().start();
    a.put("2", "of a").await;
    eventually(pair, "the write arrives", async || b.title("2").await.is_some()).await;
    eventually(pair, "a few more syncs run", async || live.synced() > 3).await;
    assert_eq!(a.ids().await, ["2"]);
}

/// It ends when it is dropped, and when the workspace is closed.
pub(super) async fn keep_in_sync_ends_when_dropped(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let line = b.line();
    let live = a.workspace.keep_in_sync(&line).every(Duration::from_millis(10)).start();
    online(pair, &live).await;
    drop(live);
    pair.env().sleep(A_WHILE).await;
    let before = line.requests().len();
    a.put("1", "of a").await;
    pair.env().sleep(A_WHILE).await;
    assert_eq!(line.requests().len(), before);
    let live = a.workspace.keep_in_sync(&line).every(Duration::from_millis(10)).start();
    online(pair, &live).await;
    a.workspace.close();
    eventually(pair, "it stops", async || live.connection() == Connection::Stopped).await;
}

/// What came of each sync is told.
pub(super) async fn keep_in_sync_tells_what_came_of_each_sync(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    let (sender, receiver) = std::sync::mpsc::channel();
    let line = b.line();
    line.down(true);
    let live = a.workspace.keep_in_sync(&line).on_sync(move |done| {
        let _ = sender.send(done.as_ref().map(|report| report.pushed).map_err(|error| error.kind()));
    });
    let live = live.start();
    eventually(pair, "it failed", async || live.connection() == Connection::Offline).await;
    line.down(false);
    eventually(pair, "it syncs when asked", async || {
        live.sync_now();
        live.synced() > 0
    })
    .await;
    let told: Vec<_> = receiver.try_iter().collect();
    assert_eq!(told.first(), Some(&Err(ErrorKind::Unreachable)));
    assert!(told.contains(&Ok(1)), "{told:?}");
}

/// Never two syncs of a pair at once: not by hand beside it, not two by hand.
pub(super) async fn one_sync_of_a_pair_at_a_time(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    let line = b.line();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..3 {
        let (entering, seen, env) = (running.clone(), most.clone(), pair.env());
        line.before(Request::Exchange, move || {
            Box::pin(async move {
                seen.fetch_max(entering.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                env.sleep(Duration::from_millis(60)).await;
            })
        });
        let leaving = running.clone();
        line.after(Request::Exchange, move || {
            Box::pin(async move {
                leaving.fetch_sub(1, Ordering::SeqCst);
            })
        });
    }
    let live = a.workspace.keep_in_sync(&line).start();
    let (first, second) =
        join(a.workspace.sync(&line).into_future(), a.workspace.sync(&line).into_future()).await;
    first.expect("it syncs");
    second.expect("it syncs");
    online(pair, &live).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_level(&[&a, &b]).await;
}

/// A conflict does not stop it, and a resolution is sent like any write.
pub(super) async fn keep_in_sync_goes_on_over_conflicts(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    let live = a.workspace.keep_in_sync(&b.replica).start();
    online(pair, &live).await;
    assert_eq!(a.conflicts().await.len(), 1);
    a.put("2", "beside").await;
    eventually(pair, "others flow", async || b.title("2").await.is_some()).await;
    a.conflicts().await.remove(0).resolve_using_source().await.expect("it is resolved");
    eventually(pair, "the resolution arrives", async || b.title("1").await.as_deref() == Some("of a")).await;
}

/// Waits for the next events, at most as long as a case waits; tells each as text.
async fn told(watch: &mut Watch<Item>) -> Vec<String> {
    let events = watch.next().await.expect("events");
    let shown = events.into_iter().map(|event| {
        let what = if event.deleted { "gone" } else { "there" };
        let whence = if event.from_peer { "peer" } else { "here" };
        format!("{} {what} {whence}", event.id)
    });
    shown.collect()
}

async fn watching(device: &Device) -> Watch<Item> {
    let mut watch = device.workspace.collection::<Item>().expect("the model is registered").watch();
    watch.start().await.expect("it starts");
    watch
}

/// A watch tells local writes in order, not what was before it, and nothing of other models.
pub(super) async fn watch_tells_local_writes_in_order(pair: &dyn ReplicaPair) {
    let (a, _) = two(pair).await;
    a.put("past", "foo").await;
    let mut watch = watching(&a).await;
    a.put("1", "foo").await;
    a.put("2", "foo").await;
    let lists = a.workspace.collection::<List>().expect("the model is registered");
    lists.create(List::new("1", "no item")).await.expect("a list is made");
    a.delete("past").await;
    assert_eq!(told(&mut watch).await, ["1 there here", "2 there here", "past gone here"]);
    a.put("2", "bar").await;
    a.put("1", "bar").await;
    a.put("2", "baz").await;
    assert_eq!(told(&mut watch).await, ["1 there here", "2 there here"], "several changes of one as one");
}

/// A watch tells what a sync brought, and what was pushed here.
pub(super) async fn watch_tells_what_a_sync_brought(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let (mut here, mut there) = (watching(&a).await, watching(&b).await);
    a.put("1", "of a").await;
    b.put("2", "of b").await;
    a.sync_clean(&b).await;
    assert_eq!(told(&mut here).await, ["1 there here", "2 there peer"]);
    assert_eq!(told(&mut there).await, ["2 there here", "1 there peer"]);
}

/// A watch that waits is woken by a write, and by a sync.
pub(super) async fn watch_is_woken(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let mut watch = watching(&a).await;
    let (seen, ()) = join(told(&mut watch), async {
        pair.env().sleep(Duration::from_millis(20)).await;
        a.put("1", "foo").await;
    })
    .await;
    assert_eq!(seen, ["1 there here"]);
    b.put("2", "of b").await;
    let (seen, ()) = join(told(&mut watch), async {
        pair.env().sleep(Duration::from_millis(20)).await;
        a.sync_clean(&b).await;
    })
    .await;
    assert_eq!(seen, ["2 there peer"]);
}

/// More changes than are told at a time come one batch after another, each once.
pub(super) async fn watch_tells_many_in_batches(pair: &dyn ReplicaPair) {
    let (a, _) = two(pair).await;
    let mut watch = watching(&a).await;
    let items = a.workspace.collection::<Item>().expect("the model is registered");
    let many = (0..1_200).map(|n| Item::new(&format!("{n:04}"), "foo"));
    items.upsert_all(many).await.expect("items are saved");
    let mut seen = Vec::new();
    while seen.len() < 1_200 {
        seen.extend(told(&mut watch).await);
    }
    assert_eq!(seen.len(), 1_200);
    assert!(seen.is_sorted());
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
}

/// A watch ends with the workspace, by an error.
pub(super) async fn watch_ends_when_the_workspace_is_closed(pair: &dyn ReplicaPair) {
    let (a, _) = two(pair).await;
    let mut watch = watching(&a).await;
    let (ended, ()) = join(watch.next(), async {
        pair.env().sleep(Duration::from_millis(20)).await;
        a.workspace.close();
    })
    .await;
    assert_eq!(ended.expect_err("it is closed").kind(), ErrorKind::Closed);
}

/// What the peer commits comes as soon as it says so, however long the next sync would be away; what this replica brought
/// itself starts none.
pub(super) async fn keep_in_sync_hears_of_writes_of_the_peer(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let line = b.line();
    let live = a.workspace.keep_in_sync(&line).every(Duration::from_secs(3600)).start();
    online(pair, &live).await;
    eventually(pair, "it listens", async || line.requests().contains(&Request::Watch)).await;
    pair.env().sleep(A_WHILE).await;
    b.put("1", "of b").await;
    eventually(pair, "the write arrives", async || a.title("1").await.as_deref() == Some("of b")).await;
    a.put("2", "of a").await;
    eventually(pair, "the write is sent", async || b.title("2").await.is_some()).await;
    pair.env().sleep(A_WHILE).await;
    let before = exchanges(&line);
    pair.env().sleep(A_WHILE * 3).await;
    assert_eq!(exchanges(&line), before, "it rests");
}

/// The state says what is being done, with whom, what is left to do, and why it does not go on.
pub(super) async fn the_connection_says_how_it_stands(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    assert_eq!(a.workspace.connection().await.expect("it is read"), []);
    let line = b.line();
    let live = a.workspace.keep_in_sync(&line).every(Duration::from_secs(3600)).start();
    online(pair, &live).await;
    a.put("1", "of a").await;
    live.flush().await.expect("it is sent");
    assert_eq!(b.title("1").await.as_deref(), Some("of a"), "what was flushed is there");
    let state = async || a.workspace.connection().await.expect("it is read").pop().expect("one is kept");
    eventually(pair, "it rests", async || state().await.connection == Connection::Online).await;
    let before = state().await;
    assert_eq!(before.peer, Some(b.workspace.id().await.expect("an id")));
    assert_eq!((before.pending, before.behind, before.error), (0, 0, None));
    assert!(before.last_success.is_some());
    line.down(true);
    a.put("2", "of a").await;
    eventually(pair, "it failed", async || state().await.connection == Connection::Offline).await;
    let offline = state().await;
    assert_eq!((offline.pending, offline.last_success), (1, before.last_success));
    assert!(offline.error.expect("an error").contains("lost"));
    let flushing = live.flush();
    let mended = async {
        line.down(false);
        live.sync_now();
    };
    join(flushing, mended).await.0.expect("it is sent in the end");
    assert_eq!((b.title("2").await.as_deref(), state().await.pending), (Some("of a"), 0));
    let stranger = FlakyReplica::new(&b.workspace).calling_as(Caller::named("a stranger"));
    let blocked = a.workspace.keep_in_sync(&stranger).start();
    drop(live);
    eventually(pair, "it is refused", async || blocked.connection() == Connection::Blocked).await;
    let error = blocked.state().await.expect("it is read").error.expect("an error");
    assert!(error.contains("a stranger has not the right READ"), "{error}");
    a.workspace.close();
    eventually(pair, "it stops", async || blocked.connection() == Connection::Stopped).await;
    assert_eq!(blocked.flush().await.expect_err("nothing is sent any more").kind(), ErrorKind::Closed);
}
