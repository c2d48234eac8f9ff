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

pub(super) async fn notes_outlive_a_restart(suite: &mut Suite) {
    suite.note(Room::Lease, "kept", Some(b"value")).await;
    suite.note(Room::Lease, "removed", Some(b"value")).await;
    suite.note(Room::Lease, "removed", None).await;
    if suite.reopen().await {
        assert_eq!(suite.notes(Room::Lease, "").await, [("kept".to_owned(), b"value".to_vec())]);
    }
}
