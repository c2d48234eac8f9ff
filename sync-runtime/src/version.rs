//! Stamps, revisions and ancestry: which state of a record knew of which.
//!
//! Plain functions on values. The model is the version vector, with the current writer's entry apart, as
//! Couchbase Lite 4 keeps it; unlike there, no entry is ever pruned.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Microseconds since 1970-01-01T00:00:00Z by the writer's clock, but above every stamp in the record's own
/// ancestry. Below 2^53, so that every JSON reader has it exact.
pub type Stamp = i64;

/// The first stamp that is too large.
pub const STAMP_LIMIT: Stamp = 1 << 53;

/// The largest stamp that is taken from a peer. Above it a record could soon not be written any more, because
/// every revision is stamped above the ones before.
pub const MAX_PEER_STAMP: Stamp = STAMP_LIMIT - (1 << 40);

/// Where a change stands in its store's commit order; the first change stands at 1.
pub type Position = i64;

/// Names one unbroken history of one store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(pub Uuid);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReplicaId {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(ReplicaId).map_err(|_| NotARevision)
    }
}

impl Serialize for ReplicaId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Uuid::encode_buffer();
        serializer.serialize_str(self.0.as_simple().encode_lower(&mut text))
    }
}

impl<'de> Deserialize<'de> for ReplicaId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = ReplicaId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a replica id")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ReplicaId, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Names one state of one record: `stamp@replica`.
///
/// ```
/// use sync_runtime::Revision;
///
/// let text = "1732147200000000@0193a1b2c3d47e8f9a0b1c2d3e4f5a6b";
/// let revision: Revision = text.parse()?;
/// assert_eq!(revision.stamp, 1732147200000000);
/// assert_eq!(revision.to_string(), text);
/// # Ok::<(), sync_runtime::NotARevision>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision {
    /// When it was written.
    pub stamp: Stamp,
    /// By whom.
    pub replica: ReplicaId,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.stamp, self.replica)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is neither `stamp@replica` nor a replica id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARevision;

impl fmt::Display for NotARevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `stamp@replica`")
    }
}

impl std::error::Error for NotARevision {}

impl FromStr for Revision {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (stamp, replica) = text.split_once('@').ok_or(NotARevision)?;
        let stamp: Stamp = stamp.parse().map_err(|_| NotARevision)?;
        if !(0..STAMP_LIMIT).contains(&stamp) {
            return Err(NotARevision);
        }
        Ok(Revision { stamp, replica: replica.parse()? })
    }
}

impl Serialize for Revision {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Revision;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a revision, `stamp@replica`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Revision, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A record's version vector: its current revision, and for every other replica that wrote it the newest
/// stamp seen.
///
/// A writer stamps above everything it has seen, and of two versions that are one only the newer stays current, so the
/// current revision is the newest of all. Two states of the same entries are therefore one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ancestry {
    /// The state that this is the ancestry of.
    pub current: Revision,
    others: Vec<(ReplicaId, Stamp)>,
}

impl Ancestry {
    /// The ancestry of a first revision.
    pub fn of(current: Revision) -> Self {
        Ancestry { current, others: Vec::new() }
    }

    /// An ancestry from its parts, in any order; an entry for the current writer is dropped.
    pub fn new(current: Revision, others: impl IntoIterator<Item = (ReplicaId, Stamp)>) -> Self {
        let mut ancestry = Ancestry::of(current);
        for (replica, stamp) in others {
            ancestry.note(Revision { stamp, replica });
        }
        ancestry
    }

    /// The entries of the writers before the current one, by replica id.
    pub fn others(&self) -> &[(ReplicaId, Stamp)] {
        &self.others
    }

    /// The newest stamp seen of this replica, or `None` if it never wrote the record.
    pub fn seen(&self, replica: ReplicaId) -> Option<Stamp> {
        if replica == self.current.replica {
            return Some(self.current.stamp);
        }
        let found = self.others.binary_search_by_key(&replica, |entry| entry.0).ok()?;
        Some(self.others[found].1)
    }

    /// Whether this state knew of that one: it is that revision, or descends from it.
    pub fn holds(&self, revision: Revision) -> bool {
        self.seen(revision.replica).is_some_and(|stamp| stamp >= revision.stamp)
    }

    /// All entries, the current writer's first.
    pub fn entries(&self) -> impl Iterator<Item = Revision> + '_ {
        let others = self.others.iter().map(|&(replica, stamp)| Revision { stamp, replica });
        std::iter::once(self.current).chain(others)
    }

    /// Whether the ancestry can be true: all of it is below [`MAX_PEER_STAMP`], and nothing above the current revision. One
    /// that comes from a peer is anybody's word.
    pub fn is_sound(&self) -> bool {
        let can_be = |entry: Revision| (0..=MAX_PEER_STAMP).contains(&entry.stamp) && entry <= self.current;
        self.entries().all(can_be)
    }

    /// The ancestry of the next revision that `me` writes on top of this one, at `now` or just above all it has seen.
    pub fn next(&self, now: Stamp, me: ReplicaId) -> Ancestry {
        let stamp = now.max(self.newest() + 1);
        let mut next = Ancestry::of(Revision { stamp, replica: me });
        for entry in self.entries() {
            next.note(entry);
        }
        next
    }

    /// The ancestry of a record written anew: on top of `before` if there was one.
    pub fn after(before: Option<&Ancestry>, now: Stamp, me: ReplicaId) -> Ancestry {
        match before {
            Some(before) => before.next(now, me),
            None => Ancestry::of(Revision { stamp: now, replica: me }),
        }
    }

    /// Both ancestries as one. The newer revision stays current, of equal stamps that of the greater replica id: where one
    /// side knew of the other, it is that side's.
    pub fn join(&self, other: &Ancestry) -> Ancestry {
        let (newer, older) = match self.current > other.current {
            true => (self, other),
            false => (other, self),
        };
        newer.join_into(older)
    }

    /// The ancestry of the next revision that `me` writes on top of both, at `now` or just above all that they have seen.
    pub fn above(&self, other: &Ancestry, now: Stamp, me: ReplicaId) -> Ancestry {
        let stamp = now.max(self.newest().max(other.newest()) + 1);
        let mut above = Ancestry::of(Revision { stamp, replica: me });
        for entry in self.entries().chain(other.entries()) {
            above.note(entry);
        }
        above
    }

    /// This ancestry with all that the other one knew. The current revision stays, so it must be the newer one.
    pub fn join_into(&self, other: &Ancestry) -> Ancestry {
        let mut joined = Ancestry::of(self.current);
        for entry in self.entries().chain(other.entries()) {
            joined.note(entry);
        }
        joined
    }

    /// Whether this is the element-wise minimum of the two: the version of the state that both come from.
    ///
    /// See the rule *exact base* of the design.
    pub fn is_meet_of(&self, a: &Ancestry, b: &Ancestry) -> bool {
        let meet = |replica| Some(a.seen(replica)?.min(b.seen(replica)?));
        self.entries().all(|entry| meet(entry.replica) == Some(entry.stamp))
            && a.entries().filter_map(|entry| meet(entry.replica).map(|_| entry.replica)).count()
                == self.others.len() + 1
    }

    /// The newest stamp of all.
    pub(crate) fn newest(&self) -> Stamp {
        self.entries().map(|entry| entry.stamp).max().unwrap_or(self.current.stamp)
    }

    fn note(&mut self, revision: Revision) {
        if revision.replica == self.current.replica {
            return;
        }
        match self.others.binary_search_by_key(&revision.replica, |entry| entry.0) {
            Ok(found) => self.others[found].1 = self.others[found].1.max(revision.stamp),
            Err(place) => self.others.insert(place, (revision.replica, revision.stamp)),
        }
    }
}

/// How two states of one record stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same revision.
    Same,
    /// The first descends from the second.
    Newer,
    /// The second descends from the first.
    Older,
    /// Neither knew of the other.
    Concurrent,
}

/// Compares two states of one record by their ancestry.
pub fn compare(a: &Ancestry, b: &Ancestry) -> Relation {
    match (a.holds(b.current), b.holds(a.current)) {
        (true, true) => Relation::Same,
        (true, false) => Relation::Newer,
        (false, true) => Relation::Older,
        (false, false) => Relation::Concurrent,
    }
}

/// "Everything committed up to here" in one history.
///
/// Opaque to callers; as text it is `position@replica`, with `~` and 16 hexadecimal digits behind it where it is sealed. It is
/// untrusted where it comes from a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Checkpoint {
    /// Whose order the position stands in.
    pub replica: ReplicaId,
    /// The last position that is covered; 0 covers nothing.
    pub position: Position,
    /// Shows to the replica that it gave the checkpoint out itself; `None` where nobody did.
    pub seal: Option<u64>,
}

impl Checkpoint {
    /// The checkpoint at this position, without a seal.
    ///
    /// ```
    /// use sync_runtime::{Checkpoint, ReplicaId};
    ///
    /// let replica: ReplicaId = "c4d1e2f3a4b5464788990a1b2c3d4e5f".parse()?;
    /// let checkpoint = Checkpoint::new(replica, 41);
    /// assert_eq!(checkpoint.to_string(), "41@c4d1e2f3a4b5464788990a1b2c3d4e5f");
    /// let sealed: Checkpoint = "41@c4d1e2f3a4b5464788990a1b2c3d4e5f~00000000000000ff".parse()?;
    /// assert_eq!(sealed, Checkpoint { seal: Some(255), ..checkpoint });
    /// # Ok::<(), sync_runtime::NotARevision>(())
    /// ```
    pub fn new(replica: ReplicaId, position: Position) -> Self {
        Checkpoint { replica, position, seal: None }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.position, self.replica)?;
        match self.seal {
            Some(seal) => write!(f, "~{seal:016x}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checkpoint {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, seal) = match text.split_once('~') {
            Some((text, seal)) if seal.len() == 16 && seal.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                (text, Some(u64::from_str_radix(seal, 16).map_err(|_| NotARevision)?))
            }
            Some(_) => return Err(NotARevision),
            None => (text, None),
        };
        let Revision { stamp, replica } = text.parse()?;
        Ok(Checkpoint { replica, position: stamp, seal })
    }
}

impl Serialize for Checkpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checkpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(n: u128) -> ReplicaId {
        ReplicaId(Uuid::from_u128(n))
    }

    fn at(stamp: Stamp, n: u128) -> Revision {
        Revision { stamp, replica: replica(n) }
    }

    fn ancestry(current: Revision, others: &[Revision]) -> Ancestry {
        Ancestry::new(current, others.iter().map(|entry| (entry.replica, entry.stamp)))
    }

    #[test]
    fn compare_by_cases() {
        let first = ancestry(at(10, 1), &[]);
        let cases = [
            (first.clone(), Relation::Same),
            (first.next(20, replica(1)), Relation::Older),
            (first.next(20, replica(2)), Relation::Older),
            (first.next(20, replica(2)).next(30, replica(1)), Relation::Older),
            (ancestry(at(10, 2), &[]), Relation::Concurrent),
            (ancestry(at(99, 2), &[at(9, 1)]), Relation::Concurrent),
            (ancestry(at(5, 1), &[]), Relation::Newer),
            // The same revision after it was joined with another one.
            (ancestry(at(10, 1), &[at(5, 2)]), Relation::Same),
        ];
        for (other, relation) in cases {
            assert_eq!(compare(&first, &other), relation, "{first:?} against {other:?}");
        }
    }

    #[test]
    fn what_both_have_seen_stands_above_both() {
        let (one, other) = (ancestry(at(20, 2), &[at(5, 1)]), ancestry(at(15, 1), &[at(10, 2)]));
        assert_eq!(compare(&one, &other), Relation::Concurrent);
        let above = one.above(&other, 3, replica(3));
        assert_eq!(above, ancestry(at(21, 3), &[at(15, 1), at(20, 2)]));
        assert_eq!(other.above(&one, 3, replica(3)), above);
    }

    #[test]
    fn a_stamp_is_above_everything_the_record_has_seen() {
        let slow = ancestry(at(1000, 1), &[]).next(3, replica(2));
        assert_eq!(slow.current, at(1001, 2));
        assert!(slow.holds(at(1000, 1)));
        assert_eq!(slow.next(2000, replica(2)).current, at(2000, 2));
        assert_eq!(slow.next(2000, replica(2)).others(), &[(replica(1), 1000)]);
    }

    #[test]
    fn joining_is_the_same_from_both_sides() {
        let base = ancestry(at(10, 1), &[]);
        let (a, b) = (base.next(20, replica(2)), base.next(20, replica(3)));
        assert_eq!(a.join(&b), b.join(&a));
        assert_eq!(a.join(&b).current, at(20, 3));
        assert_eq!(compare(&a.join(&b), &a), Relation::Newer);
        assert_eq!(a.join(&a), a);
    }

    #[test]
    fn rule_exact_base_is_the_elementwise_minimum() {
        let base = ancestry(at(10, 1), &[at(5, 9)]);
        let (a, b) = (base.next(20, replica(2)), base.next(30, replica(3)));
        assert!(base.is_meet_of(&a, &b));
        assert!(base.is_meet_of(&a.next(40, replica(1)), &b));
        assert!(!ancestry(at(10, 1), &[]).is_meet_of(&a, &b), "an entry is missing");
        assert!(!ancestry(at(9, 1), &[at(5, 9)]).is_meet_of(&a, &b), "an entry is too old");
        assert!(!a.is_meet_of(&a.next(50, replica(2)), &b));
        let unrelated = ancestry(at(7, 7), &[]);
        assert!(!base.is_meet_of(&a, &unrelated), "nothing in common, so no base");
    }

    #[test]
    fn an_ancestry_that_cannot_be_true_is_told() {
        assert!(ancestry(at(10, 3), &[at(10, 2), at(3, 1)]).is_sound());
        assert!(
            !ancestry(at(10, 1), &[at(10, 2), at(3, 3)]).is_sound(),
            "a writer stamps above all it has seen"
        );
        assert!(!ancestry(at(10, 1), &[at(MAX_PEER_STAMP + 1, 2)]).is_sound());
        assert!(
            !ancestry(at(MAX_PEER_STAMP + 1, 1), &[]).is_sound(),
            "nobody could write on top of it for long"
        );
    }

    #[test]
    fn revisions_read_back() {
        let revision = at(1_732_147_200_000_000, 77);
        assert_eq!(revision.to_string().parse(), Ok(revision));
        for text in
            ["", "12", "@", "x@00000000000000000000000000000001", "-1@00000000000000000000000000000001"]
        {
            assert_eq!(text.parse::<Revision>(), Err(NotARevision), "{text}");
        }
        let too_large = format!("{STAMP_LIMIT}@00000000000000000000000000000001");
        assert_eq!(too_large.parse::<Revision>(), Err(NotARevision));
    }
}
