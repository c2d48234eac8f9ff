//! Two records that were made apart under one id, and both stay.

use super::ReplicaPair;
use super::models::{Album, Item, Track};
use super::parents::{album, conflicts, delete, get, make, music, track, two};
use super::world::{Device, all_models, assert_level};
use sync_runtime::{ErrorKind, Query, Syncable};

/// The albums and tracks of a device in short: `7 of a`, `1 in 7 of a`.
async fn collection(device: &Device) -> Vec<String> {
    let albums = device.workspace.collection::<Album>().expect("the model is registered");
    let tracks = device.workspace.collection::<Track>().expect("the model is registered");
    let albums = albums.find(Query::all()).await.expect("albums are found");
    let tracks = tracks.find(Query::all()).await.expect("tracks are found");
    let albums = albums.iter().map(|album| format!("{} of {}", album.id, album.title));
    let tracks = tracks.iter().map(|track| format!("{} in {} of {}", track.id, track.album, track.title));
    albums.chain(tracks).collect()
}

fn album_of(id: &str, site: &str) -> Album {
    Album { title: site.into(), artist: None, ..album(id, "x") }
}

fn track_of(id: i64, album: &str, site: &str) -> Track {
    Track { title: site.into(), ..track(id, album) }
}

/// Two sites that each made album `7`, with these tracks, and have met.
async fn clash(pair: &dyn ReplicaPair, of_a: [i64; 2], of_b: [i64; 2]) -> (Device, Device) {
    let (a, b) = two(pair).await;
    for (device, site, tracks) in [(&a, "a", of_a), (&b, "b", of_b)] {
        make(device, album_of("7", site)).await;
        for id in tracks {
            make(device, track_of(id, "7", site)).await;
        }
    }
    a.sync(&b).await;
    (a, b)
}

async fn keep_both<T: Syncable>(device: &Device, id: impl Into<T::Id>, new_id: impl Into<T::Id>) {
    let mut found = device.workspace.conflicts_of::<T>(id).await.expect("conflicts are read").into_iter();
    let conflict = found.next().expect("a conflict");
    conflict.resolve_keeping_both(new_id).await.expect("it is resolved");
}

/// The peer's record keeps the id; this replica's gets the new one, and its tracks follow it. So it comes to everybody.
pub(super) async fn both_records_stay_each_with_its_children(pair: &dyn ReplicaPair) {
    let (a, b) = clash(pair, [1, 2], [11, 12]).await;
    keep_both::<Album>(&a, "7", "8").await;
    let both = ["7 of b", "8 of a", "1 in 8 of a", "2 in 8 of a", "11 in 7 of b", "12 in 7 of b"];
    assert_eq!(collection(&a).await, both);
    a.sync_clean(&b).await;
    assert_eq!(collection(&b).await, both);
    assert_level(&[&a, &b]).await;
    let c = Device::open(pair, pair.a().await, music).await;
    c.sync_clean(&b).await;
    assert_eq!(collection(&c).await, both);
    // They are two records from now on.
    make(&b, album_of("8", "b again")).await;
    make(&c, album_of("7", "c")).await;
    for device in [&a, &c, &a] {
        device.sync_clean(&b).await;
    }
    assert_eq!(collection(&a).await[..2], ["7 of c", "8 of b again"]);
    assert_level(&[&a, &b, &c]).await;
}

/// Numbers of tracks clash as those of albums do. It does not matter which conflict is resolved first.
pub(super) async fn children_that_clash_too_are_kept_twice_in_any_order(pair: &dyn ReplicaPair) {
    for album_first in [true, false] {
        let (a, b) = clash(pair, [1, 2], [1, 2]).await;
        if album_first {
            keep_both::<Album>(&a, "7", "8").await;
        }
        keep_both::<Track>(&a, 1, 101).await;
        keep_both::<Track>(&a, 2, 102).await;
        if !album_first {
            keep_both::<Album>(&a, "7", "8").await;
        }
        let both = ["7 of b", "8 of a", "1 in 7 of b", "2 in 7 of b", "101 in 8 of a", "102 in 8 of a"];
        assert_eq!(collection(&a).await, both, "album first: {album_first}");
        a.sync_clean(&b).await;
        assert_eq!(collection(&b).await, both, "album first: {album_first}");
        assert_level(&[&a, &b]).await;
    }
}

/// A model that is its own parent: the record may name itself, and others of its model may name it.
pub(super) async fn what_names_itself_or_the_record_names_the_new_id(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    for (device, site, later) in [(&a, "a", "9"), (&b, "b", "10")] {
        make(device, Album { before: Some("7".into()), ..album_of("7", site) }).await;
        make(device, Album { before: Some("7".into()), ..album_of(later, site) }).await;
    }
    a.sync(&b).await;
    keep_both::<Album>(&a, "7", "8").await;
    a.sync_clean(&b).await;
    for device in [&a, &b] {
        for (id, site, before) in [("7", "b", "7"), ("8", "a", "8"), ("9", "a", "8"), ("10", "b", "7")] {
            let expected = Album { before: Some(before.into()), ..album_of(id, site) };
            assert_eq!(get::<Album>(device, id).await, Some(expected));
        }
    }
    assert_level(&[&a, &b]).await;
}

/// Whoever else wrote a child may have meant the peer's record.
pub(super) async fn a_child_that_the_peer_wrote_too_stays_with_the_peers_record(pair: &dyn ReplicaPair) {
    let (a, b) = clash(pair, [1, 2], [11, 12]).await;
    make(&a, track_of(11, "7", "b, then a")).await;
    make(&b, track_of(2, "7", "a, then b")).await;
    a.sync(&b).await;
    keep_both::<Album>(&a, "7", "8").await;
    a.sync_clean(&b).await;
    let both =
        ["7 of b", "8 of a", "1 in 8 of a", "2 in 7 of a, then b", "11 in 7 of b, then a", "12 in 7 of b"];
    for device in [&a, &b] {
        assert_eq!(collection(device).await, both);
    }
    assert_level(&[&a, &b]).await;
}

/// A store that took a new replica id wrote all of it nevertheless.
pub(super) async fn children_written_under_a_former_name_go_along(pair: &dyn ReplicaPair) {
    let (a, b) = two(pair).await;
    make(&a, album_of("7", "a")).await;
    make(&a, track_of(1, "7", "a")).await;
    a.workspace.restored().await.expect("it takes a new name");
    make(&a, track_of(2, "7", "a")).await;
    make(&b, album_of("7", "b")).await;
    a.sync(&b).await;
    keep_both::<Album>(&a, "7", "8").await;
    a.sync_clean(&b).await;
    for device in [&a, &b] {
        assert_eq!(collection(device).await, ["7 of b", "8 of a", "1 in 8 of a", "2 in 8 of a"]);
    }
    assert_level(&[&a, &b]).await;
}

pub(super) async fn what_stays_on_the_device_goes_along(pair: &dyn ReplicaPair) {
    let a = Device::open(pair, pair.a().await, all_models).await;
    let b = Device::open(pair, pair.b().await, all_models).await;
    make(&a, Item { draft: Some("of a".into()), ..Item::new("1", "a") }).await;
    make(&b, Item { draft: Some("of b".into()), ..Item::new("1", "b") }).await;
    a.sync(&b).await;
    keep_both::<Item>(&a, "1", "2").await;
    a.sync_clean(&b).await;
    assert_eq!(get::<Item>(&a, "1").await, Some(Item::new("1", "b")));
    let mine = Item { draft: Some("of a".into()), ..Item::new("2", "a") };
    assert_eq!(get::<Item>(&a, "2").await, Some(mine));
    let theirs = Item { draft: Some("of b".into()), ..Item::new("1", "b") };
    assert_eq!(get::<Item>(&b, "1").await, Some(theirs), "nobody touches it there");
    assert_eq!(get::<Item>(&b, "2").await, Some(Item::new("2", "a")));
    assert_level(&[&a, &b]).await;
}

/// An id that is taken, a side that moved, versions of one record: nothing is done then, and the conflict stands.
pub(super) async fn it_is_refused_where_something_would_be_lost(pair: &dyn ReplicaPair) {
    let (a, b) = clash(pair, [1, 2], [11, 12]).await;
    make(&a, album_of("8", "taken")).await;
    let before = a.states().await;
    for taken in ["8", "7"] {
        let conflict = conflicts::<Album>(&a).await.remove(0);
        let error = conflict.resolve_keeping_both(taken).await.expect_err("there is one");
        assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
        assert!(error.to_string().contains(&format!("Album {taken}")), "{error}");
    }
    let stale = conflicts::<Album>(&a).await.remove(0);
    assert_eq!(format!("{before:?}"), format!("{:?}", a.states().await), "nothing was done");
    make(&a, album_of("7", "a again")).await;
    let error = stale.resolve_keeping_both("9").await.expect_err("it moved");
    assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
    assert_eq!(get::<Album>(&a, "9").await, None);
    keep_both::<Album>(&a, "7", "9").await;
    a.sync_clean(&b).await;
    assert_eq!(get::<Album>(&b, "9").await, Some(album_of("9", "a again")));
    // Versions of one record, and a delete against an edit.
    make(&a, album_of("7", "edited by a")).await;
    make(&b, album_of("7", "edited by b")).await;
    delete::<Album>(&a, "8").await;
    make(&b, album_of("8", "edited by b")).await;
    a.sync(&b).await;
    let found = conflicts::<Album>(&a).await;
    assert_eq!(found.len(), 2);
    for conflict in found {
        let error = conflict.resolve_keeping_both("10").await.expect_err("it is one record");
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains("choose a side"), "{error}");
    }
    assert_eq!(get::<Album>(&a, "10").await, None);
    assert_eq!(conflicts::<Album>(&a).await.len(), 2, "they stand");
}
