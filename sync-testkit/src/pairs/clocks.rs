//! Clocks that are wrong harm only the records that they wrote, and lock nobody out.

use super::ReplicaPair;
use super::models::Item;
use super::world::{assert_level, three, two};

const HOUR: i64 = 3_600_000_000;

/// A clock an hour fast: the push is refused, the device learns how far it is off, takes a new name, and goes on.
pub(super) async fn a_fast_clock_is_corrected(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.env.ahead(HOUR);
    a.put("1", "from the future").await;
    a.put("2", "from the future").await;
    let before = a.workspace.id().await.expect("an id");
    a.sync_clean(&b).await;
    assert_ne!(a.workspace.id().await.expect("an id"), before, "it took a new name");
    let now = pair.env().now();
    for id in ["1", "2"] {
        let stamp = b.change(id).await.revision().stamp;
        assert!(stamp <= now + 120_000_000, "the stamp is still ahead by {}", stamp - now);
    }
    let name = a.workspace.id().await.expect("an id");
    a.put("1", "goes on").await;
    a.sync_clean(&b).await;
    assert_eq!(a.workspace.id().await.expect("an id"), name, "once is enough");
    assert_level(&[&a, &b]).await;
}

/// The correction outlives a restart.
pub(super) async fn the_correction_outlives_a_restart(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.env.ahead(HOUR);
    a.put("1", "foo").await;
    a.sync_clean(&b).await;
    let a = a.restart().await;
    let name = a.workspace.id().await.expect("an id");
    a.put("1", "bar").await;
    a.sync_clean(&b).await;
    assert_eq!(a.workspace.id().await.expect("an id"), name);
    assert_level(&[&a, &b]).await;
}

/// A clock that jumps ahead between two syncs: what was sent before stays, what is unsent is stamped anew.
pub(super) async fn a_clock_that_jumps_ahead(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.put("1", "foo").await;
    a.put("2", "foo").await;
    a.sync_clean(&b).await;
    a.env.ahead(24 * HOUR);
    a.put("1", "tomorrow").await;
    a.delete("2").await;
    a.put("3", "tomorrow").await;
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("tomorrow"));
    assert_eq!(b.ids().await, ["1", "3"]);
    // The clock is put right; the correction is too much then, which only makes it slow.
    a.env.ahead(0);
    a.put("1", "today").await;
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("today"));
    assert_level(&[&a, &b]).await;
}

/// An edit on top of a record whose refused stamp was far ahead still counts as newer, here and there.
pub(super) async fn edits_after_the_correction_are_newer(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    a.env.ahead(HOUR);
    a.put("1", "from the future").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    b.put("1", "of b").await;
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    assert_eq!(a.title("1").await.as_deref(), Some("of b"));
    assert_level(&[&a, &server, &b]).await;
}

/// Within two minutes a fast clock is accepted as it is.
pub(super) async fn a_little_ahead_is_accepted(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    a.env.ahead(60_000_000);
    a.put("1", "foo").await;
    let name = a.workspace.id().await.expect("an id");
    a.sync_clean(&b).await;
    assert_eq!(a.workspace.id().await.expect("an id"), name);
    b.put("1", "of b, whose clock is behind that").await;
    a.sync_clean(&b).await;
    assert_eq!(a.title("1").await.as_deref(), Some("of b, whose clock is behind that"));
    assert_level(&[&a, &b]).await;
}

/// A slow clock, or one at zero: its edits on top of others' are newer nevertheless.
pub(super) async fn a_slow_clock_edits_on_top(pair: &dyn ReplicaPair) {
    for slow in [Some(-HOUR), None] {
        let (a, b) = two(pair).await;
        match slow {
            Some(behind) => a.env.ahead(behind),
            None => a.env.freeze(0),
        }
        b.put("1", "of b").await;
        a.put("2", "of a").await;
        a.sync_clean(&b).await;
        a.put("1", "of a, on top").await;
        a.put("1", "of a, on top again").await;
        a.sync_clean(&b).await;
        assert_eq!(b.title("1").await.as_deref(), Some("of a, on top again"));
        b.put("2", "of b, on top").await;
        a.sync_clean(&b).await;
        a.delete("2").await;
        a.sync_clean(&b).await;
        assert_eq!(b.ids().await, ["1"]);
        assert_level(&[&a, &b]).await;
    }
}

/// A clock that stands still: every edit is newer than the one before.
pub(super) async fn a_clock_that_stands_still(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let now = pair.env().now();
    a.env.freeze(now);
    b.env.freeze(now);
    for n in 0..5 {
        a.put("1", &format!("a{n}")).await;
        a.sync_clean(&b).await;
        b.put("1", &format!("b{n}")).await;
        a.sync_clean(&b).await;
    }
    assert_eq!(a.title("1").await.as_deref(), Some("b4"));
    assert_level(&[&a, &b]).await;
}

/// Equal stamps of two writers: a conflict like any other, the same at both, and equal content joins.
pub(super) async fn equal_stamps(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    let now = pair.env().now();
    a.env.freeze(now);
    b.env.freeze(now);
    a.put("1", "of a").await;
    b.put("1", "of b").await;
    a.put("2", "equal").await;
    b.put("2", "equal").await;
    assert_eq!(a.change("1").await.revision().stamp, b.change("1").await.revision().stamp);
    let conflicts = a.sync(&b).await.conflicts::<Item>();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(b.title("1").await.as_deref(), Some("of b"));
    a.conflicts().await.remove(0).resolve_using_source().await.expect("it is resolved");
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("of a"));
    assert_level(&[&a, &b]).await;
}

/// A server whose clock is slow refuses everybody's stamps as ahead; nobody is locked out.
pub(super) async fn a_slow_server_locks_nobody_out(pair: &dyn ReplicaPair) {
    let (a, server, b) = three(pair).await;
    server.env.ahead(-HOUR);
    a.put("1", "of a").await;
    a.sync_clean(&server).await;
    b.put("2", "of b").await;
    b.sync_clean(&server).await;
    a.sync_clean(&server).await;
    a.put("2", "of a, on top").await;
    a.sync_clean(&server).await;
    b.sync_clean(&server).await;
    assert_eq!(b.title("2").await.as_deref(), Some("of a, on top"));
    assert_level(&[&a, &server, &b]).await;
}

/// A record that somebody else stamped in the future can be carried on by a device with a good clock.
pub(super) async fn a_pulled_stamp_from_the_future_goes_on(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    b.env.ahead(HOUR);
    b.put("1", "from the future").await;
    a.sync_clean(&b).await;
    assert_eq!(a.title("1").await.as_deref(), Some("from the future"), "pulled stamps are accepted");
    b.env.ahead(0);
    a.put("1", "edited on top").await;
    a.sync_clean(&b).await;
    assert_eq!(b.title("1").await.as_deref(), Some("edited on top"));
    assert_level(&[&a, &b]).await;
}
