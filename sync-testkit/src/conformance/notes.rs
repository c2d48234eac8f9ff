//! Notes: opaque bytes by room and key.

use super::suite::{NOW, Suite};
use sync_runtime::store::Room;

async fn keys(suite: &Suite, prefix: &str) -> Vec<String> {
    suite.notes(Room::Peer, prefix).await.into_iter().map(|(key, _)| key).collect()
}

pub(super) async fn a_note_is_set_replaced_and_removed(suite: &mut Suite) {
    suite.note(Room::Peer, "key", Some(b"one")).await;
    assert_eq!(suite.notes(Room::Peer, "").await, [("key".to_owned(), b"one".to_vec())]);
    suite.note(Room::Peer, "key", Some(b"two")).await;
    assert_eq!(suite.notes(Room::Peer, "key").await, [("key".to_owned(), b"two".to_vec())]);
    suite.note(Room::Peer, "key", None).await;
    assert!(suite.notes(Room::Peer, "").await.is_empty());
    suite.note(Room::Peer, "key", None).await;
    assert!(suite.notes(Room::Peer, "").await.is_empty());
}

pub(super) async fn rooms_are_kept_apart(suite: &mut Suite) {
    for room in Room::ALL {
        suite.note(room, "key", Some(room.name().as_bytes())).await;
    }
    for room in Room::ALL {
        assert_eq!(suite.notes(room, "").await, [("key".to_owned(), room.name().as_bytes().to_vec())]);
    }
    suite.note(Room::Parked, "key", None).await;
    assert_eq!(suite.notes(Room::Staged, "").await.len(), 1);
}

pub(super) async fn notes_come_by_the_bytes_of_their_keys(suite: &mut Suite) {
    for key in ["b", "a", "B", "ä", "a/2", "a/10", "🦀", "\u{ffff}", "Z", "a ", "aa"] {
        suite.note(Room::Peer, key, Some(&[])).await;
    }
    let expected = ["B", "Z", "a", "a ", "a/10", "a/2", "aa", "b", "ä", "\u{ffff}", "🦀"];
    assert_eq!(keys(suite, "").await, expected);
}

pub(super) async fn a_prefix_is_no_pattern(suite: &mut Suite) {
    for key in ["a%b", "a_b", "axb", "A%b", "a*b", "a\\b", "a'b", "a", "b", "a[x]"] {
        suite.note(Room::Peer, key, Some(&[1])).await;
    }
    assert_eq!(keys(suite, "a%").await, ["a%b"]);
    assert_eq!(keys(suite, "a_").await, ["a_b"]);
    assert_eq!(keys(suite, "a*").await, ["a*b"]);
    assert_eq!(keys(suite, "a\\").await, ["a\\b"]);
    assert_eq!(keys(suite, "a'").await, ["a'b"]);
    assert_eq!(keys(suite, "a[").await, ["a[x]"]);
    assert_eq!(keys(suite, "A").await, ["A%b"]);
    assert_eq!(keys(suite, "a").await.len(), 8);
    assert_eq!(keys(suite, "c").await, [""; 0]);
}

pub(super) async fn a_prefix_may_end_in_the_last_character(suite: &mut Suite) {
    for key in ["\u{10ffff}", "\u{10ffff}\u{10ffff}", "x\u{10ffff}", "x\u{10ffff}y", "y"] {
        suite.note(Room::Peer, key, Some(&[1])).await;
    }
    assert_eq!(keys(suite, "x\u{10ffff}").await, ["x\u{10ffff}", "x\u{10ffff}y"]);
    assert_eq!(keys(suite, "\u{10ffff}").await.len(), 2);
}

pub(super) async fn a_note_holds_any_bytes(suite: &mut Suite) {
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 253) as u8).collect();
    for (key, value) in
        [("empty", vec![]), ("zeros", vec![0; 3]), ("all", (0..=255).collect()), ("large", large)]
    {
        suite.note(Room::Staged, key, Some(&value)).await;
        assert!(suite.notes(Room::Staged, key).await == [(key.to_owned(), value)], "{key}");
    }
}

pub(super) async fn a_transaction_sets_many_notes(suite: &mut Suite) {
    let now = NOW;
    suite
        .write(move |t| {
            Box::pin(async move {
                for n in 0..500 {
                    t.note(Room::Staged, &format!("{n:04}"), Some(format!("{}", now + n).into_bytes()))
                        .await?;
                }
                for n in (0..500).filter(|n| n % 2 == 0) {
                    t.note(Room::Staged, &format!("{n:04}"), None).await?;
                }
                Ok(())
            })
        })
        .await;
    assert_eq!(suite.notes(Room::Staged, "").await.len(), 250);
    assert_eq!(suite.notes(Room::Staged, "000").await.len(), 5);
}

pub(super) async fn notes_come_behind_a_key_up_to_a_limit(suite: &mut Suite) {
    for key in ["a", "a/1", "a/2", "a/3", "a/3x", "b", "b/1"] {
        suite.note(Room::Scope, key, Some(key.as_bytes())).await;
    }
    suite.note(Room::Peer, "a/25", Some(b"of another room")).await;
    for (prefix, after, limit, expected) in [
        ("a/", "a/1", 2, vec!["a/2", "a/3"]),
        ("a/", "a/1", 9, vec!["a/2", "a/3", "a/3x"]),
        ("a/", "", 1, vec!["a/1"]),
        ("a/", "a/15", 9, vec!["a/2", "a/3", "a/3x"]),
        ("a/", "a/3x", 9, vec![]),
        ("a/", "b", 9, vec![]),
        ("", "a/3", 2, vec!["a/3x", "b"]),
        ("c", "", 9, vec![]),
        ("a/", "a/1", 0, vec![]),
    ] {
        let found = suite
            .look(move |t| Box::pin(async move { t.notes_after(Room::Scope, prefix, after, limit).await }));
        let found: Vec<(String, Vec<u8>)> = found.await;
        assert!(found.iter().all(|(key, value)| key.as_bytes() == value));
        let keys: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected, "{prefix} after {after}, at most {limit}");
    }
}

pub(super) async fn notes_come_by_their_keys(suite: &mut Suite) {
    suite.note(Room::Scope, "one", Some(b"1")).await;
    suite.note(Room::Scope, "two", Some(b"2")).await;
    suite.note(Room::Peer, "three", Some(b"3")).await;
    let keys = ["two", "three", "one", "TWO", "two"].map(str::to_owned);
    let found = suite.look(move |t| Box::pin(async move { t.notes_of(Room::Scope, &keys).await })).await;
    let (one, two) = (Some(b"1".to_vec()), Some(b"2".to_vec()));
    assert_eq!(found, [two.clone(), None, one, None, two]);
    let none = suite.look(move |t| Box::pin(async move { t.notes_of(Room::Scope, &[]).await })).await;
    assert_eq!(none, Vec::<Option<Vec<u8>>>::new());
}

pub(super) async fn many_notes_are_set_at_once(suite: &mut Suite) {
    let key = |n: usize| format!("{n:05}");
    let rows = |of: std::ops::Range<usize>, value: Option<&[u8]>| -> Vec<(String, Option<Vec<u8>>)> {
        of.map(|n| (key(n), value.map(<[u8]>::to_vec))).collect()
    };
    for rows in [
        rows(0..2_000, Some(b"first")),
        rows(500..1_000, Some(b"second")).into_iter().chain(rows(0..500, None)).collect(),
        rows(1_500..2_500, None),
        Vec::new(),
    ] {
        suite.write(move |t| Box::pin(async move { t.note_all(Room::Scope, rows).await })).await;
    }
    let notes = suite.notes(Room::Scope, "").await;
    assert_eq!(notes.len(), 1_000);
    let expected =
        (500..1_500).map(|n| (key(n), if n < 1_000 { b"second".to_vec() } else { b"first".to_vec() }));
    assert!(notes.into_iter().eq(expected));
}

pub(super) async fn notes_outlive_a_restart(suite: &mut Suite) {
    suite.note(Room::Lease, "kept", Some(b"value")).await;
    suite.note(Room::Lease, "removed", Some(b"value")).await;
    suite.note(Room::Lease, "removed", None).await;
    if suite.reopen().await {
        assert_eq!(suite.notes(Room::Lease, "").await, [("kept".to_owned(), b"value".to_vec())]);
    }
}
