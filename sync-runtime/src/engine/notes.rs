//! The engine's own small rows in a store: what is remembered of peers, leases.

use super::parts::{self, Parts};
use crate::caller::Caller;
use crate::change::{Change, Group};
use crate::replica::{Exit, Update};
use crate::store::{Room, Transaction};
use crate::version::{Checkpoint, Position, ReplicaId, Stamp};
use crate::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What is remembered of a peer that this replica syncs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PeerState {
    /// As whom the peer knows the one who calls; `None` if it never said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// Everything up to here is at the peer, or parked here with the reason why not.
    pub(crate) pushed: Position,
    /// The highest position that the peer ever acknowledged, under whatever name.
    pub(crate) held: Position,
    /// What stands behind `pushed` and is at the peer already, brought along as parents: runs of positions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) early: Vec<(Position, Position)>,
    /// How many pages were numbered; the next one gets one more.
    pub(crate) numbered: u64,
    /// The page that was sent under the last number and is not answered yet.
    pub(crate) in_flight: Option<InFlight>,
    /// The parts that are staged at the peer, as the begin of a group larger than a page.
    pub(crate) staged: Vec<Part>,
    /// The group that they are of.
    pub(crate) staged_group: Option<Group>,
    /// Whether to ask what the peer lacks before sending, up to this position.
    pub(crate) diff_through: Position,
    /// The peer lost pages that it had answered: up to here it is offered what came from it as well, as it may have lost that.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) lost_through: Position,
    /// Everything of the peer up to here is here, or parked with the reason why not.
    pub(crate) pulled: Option<Checkpoint>,
    /// The models that what was pulled does not cover: the peer did not have them then, or gave no right to read them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) without: BTreeSet<String>,
    /// The scopes that what was pulled covers; `None` where this replica may read every scope of the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scopes: Option<BTreeSet<String>>,
    /// Scopes that it does not cover, each with a checkpoint of its own, which stands still while the scope may not be read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) apart: BTreeMap<String, Apart>,
    /// What of it is not subscribed to any more and is on its way out.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) dropping: BTreeSet<String>,
    /// What was asked for, where that was not everything: a digest of the filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<u64>,
    /// Whether what is here and does not match is still to be looked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) narrowing: bool,
    /// The peer's horizon, as it told when this was pulled; where nothing counts as pulled any more, up to where this replica
    /// knows of every tombstone that the peer has purged.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) horizon: Position,
    /// Whether what is here, and was at the peer, is to be looked for there, after everything was compared: the peer has
    /// purged the tombstones.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sweep: bool,
    /// Records that left their scope at the peer and are here still, as others that are here need them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) leaving: Vec<Leaving>,
    /// Whether revisions are compared first while pulling, because this replica may hold most of what comes.
    pub(crate) pull_by_diff: bool,
    /// Everything of the peer up to here is staged here.
    pub(crate) pulled_staged: Option<Checkpoint>,
}

/// How far a scope was pulled that is pulled by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Apart {
    /// `None` where nothing of it was, or does not count any more.
    pub(crate) pulled: Option<Checkpoint>,
    /// The peer's horizon then, as [`PeerState::horizon`].
    pub(crate) horizon: Position,
}

impl Apart {
    /// The same, as if nothing counted as pulled.
    fn anew(self) -> Apart {
        Apart { pulled: None, horizon: self.passed() }
    }

    /// Up to where this replica knows of every tombstone of the scope that the peer has purged.
    fn passed(self) -> Position {
        self.pulled.map_or(self.horizon, |pulled| pulled.position.max(self.horizon))
    }
}

fn is_zero(position: &Position) -> bool {
    *position == 0
}

/// A record that left its scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leaving {
    pub(crate) model: String,
    pub(crate) id: String,
    pub(crate) scope: String,
    /// Whether it is there still, and not wanted here any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unwanted: bool,
    /// Whether it only does not match what is pulled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unmatched: bool,
}

impl Leaving {
    pub(crate) fn of(exit: Exit, unwanted: bool) -> Leaving {
        let (model, id) = (exit.schema.name.to_owned(), exit.id.to_string());
        Leaving { model, id, scope: exit.scope, unwanted, unmatched: exit.unmatched }
    }
}

/// A part of the feed as it stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The last position that it covers; it begins where the one before ended.
    pub(crate) through: Position,
    /// The newest position at that moment: what was overwritten by then was not in the part any more.
    pub(crate) newest: Position,
    /// The positions behind it that it holds as well, as it brings parents along: each the first and last of a run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) early: Vec<(Position, Position)>,
    /// What stands in it and is not sent, as it is too large for the way: positions, with what was said of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) left_out: BTreeMap<Position, String>,
}

impl Part {
    /// The highest position in it.
    pub(crate) fn highest(&self) -> Position {
        self.early.last().map_or(self.through, |(_, last)| self.through.max(*last))
    }
}

/// A frozen page: the changes between what was pushed (or staged) and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InFlight {
    /// What it covers.
    pub(crate) part: Part,
    /// Of its states.
    pub(crate) digest: u64,
    /// Whether the group of its last change goes on in the next page.
    pub(crate) group_open: bool,
    /// That group, where it goes on.
    #[serde(default)]
    pub(crate) group: Option<Group>,
}

impl PeerState {
    /// Nothing counts as pulled any more: everything is compared.
    pub(crate) fn pulled_anew(self) -> Self {
        PeerState {
            pulled: None,
            pulled_staged: None,
            pull_by_diff: true,
            without: BTreeSet::new(),
            apart: self.scopes_apart().map(|(scope, apart)| (scope, apart.anew())).collect(),
            scopes: None,
            horizon: self.common().passed(),
            ..self
        }
    }

    /// The same where nothing that was pulled says what the peer has purged since.
    pub(crate) fn forgotten(self) -> Self {
        let apart = self.scopes_apart().map(|(scope, _)| (scope, Apart::default())).collect();
        PeerState { apart, horizon: 0, ..self.pulled_anew() }
    }

    /// Nothing counts as pushed any more: the peer is asked what it lacks up to this position, as a page may have arrived
    /// whose answer was lost. What was pulled stays so.
    pub(crate) fn pushed_anew(self, newest: Position) -> Self {
        PeerState {
            pushed: 0,
            held: self.held.max(self.pushed),
            early: Vec::new(),
            numbered: 0,
            in_flight: None,
            staged: Vec::new(),
            staged_group: None,
            diff_through: newest,
            ..self
        }
    }

    /// How far everything was pulled that has no checkpoint of its own.
    fn common(&self) -> Apart {
        Apart { pulled: self.pulled, horizon: self.horizon }
    }

    /// Up to where this replica knows of every tombstone that the peer has purged in these scopes, and elsewhere.
    pub(crate) fn passed(&self, scopes: Option<&BTreeSet<String>>) -> Position {
        let common = self.common().passed();
        let of_scope = |scope: &String| match (self.apart.get(scope), &self.scopes) {
            (Some(apart), _) => apart.passed(),
            (None, Some(scopes)) if scopes.contains(scope) => common,
            (None, None) if self.apart.is_empty() => common,
            // Nothing of it was pulled, and something of it may have been written here.
            (None, _) => 0,
        };
        match scopes {
            Some(scopes) => scopes.iter().map(of_scope).fold(common, Position::min),
            None if self.apart.is_empty() && self.scopes.is_none() => common,
            None => 0,
        }
    }

    /// Keeps what is still of use of a peer that has a new name.
    pub(crate) fn take_over(&mut self, former: &PeerState) {
        self.held = self.held.max(former.held).max(former.pushed);
        self.apart.extend(former.scopes_apart().map(|(scope, _)| (scope, Apart::default())));
        self.dropping.extend(former.dropping.iter().cloned());
        self.leaving.extend(former.leaving.iter().cloned());
    }

    /// The scopes that anything was pulled of, each with how far.
    fn scopes_apart(&self) -> impl Iterator<Item = (String, Apart)> {
        let covered = self.scopes.iter().flatten().map(|scope| (scope.clone(), self.common()));
        covered.chain(self.apart.iter().map(|(scope, apart)| (scope.clone(), *apart)))
    }

    /// The peer covers these scopes from now on. One that it does not any more keeps the checkpoint that it has; one that
    /// is new is to be pulled by itself first.
    pub(crate) fn rescope(&mut self, covered: Option<&BTreeSet<String>>) {
        let Some(covered) = covered else {
            (self.scopes, self.apart) = (None, BTreeMap::new());
            self.leaving.retain(|left| !left.unwanted);
            self.dropping.clear();
            return;
        };
        let common = self.common();
        self.scopes = Some(match self.scopes.take() {
            None => {
                self.apart.retain(|scope, _| !covered.contains(scope));
                covered.clone()
            }
            Some(before) => {
                // What is gone of it is still to be looked for, which a pull from there would not lead to.
                let apart = if self.sweep { Apart::default() } else { common };
                for lost in before.difference(covered) {
                    self.apart.insert(lost.clone(), apart);
                }
                for gained in covered.difference(&before) {
                    self.apart.entry(gained.clone()).or_default();
                }
                before.intersection(covered).cloned().collect()
            }
        });
        let covered = Parts::named(covered);
        self.leaving.retain(|left| !left.unwanted || !covered.hold(&left.model, &left.scope));
        self.dropping = self.dropping.difference(&covered.names()).cloned().collect();
    }

    /// The peer told scopes as a whole before, and tells of each model by itself now: what was pulled is in these parts.
    pub(crate) fn split<'n>(&mut self, parts: impl Iterator<Item = &'n String>) {
        let mut wholes = BTreeSet::new();
        for part in parts {
            let Some(whole) = parts::whole(part) else { continue };
            if let Some(scopes) = self.scopes.as_mut().filter(|scopes| scopes.contains(whole)) {
                scopes.insert(part.clone());
                wholes.insert(whole.to_owned());
            }
            if let Some(apart) = self.apart.get(whole).copied() {
                self.apart.insert(part.clone(), apart);
                wholes.insert(whole.to_owned());
            }
        }
        for whole in wholes {
            self.apart.remove(&whole);
            if let Some(scopes) = &mut self.scopes {
                scopes.remove(&whole);
            }
        }
    }

    /// These parts of what was pulled, or written and pushed, are not wanted here; whether there are any.
    pub(crate) fn drops(&mut self, unwanted: &BTreeSet<String>, pushed: &BTreeSet<String>) -> bool {
        let had = |part: &&String| {
            pushed.contains(*part)
                || self.apart.contains_key(*part)
                || self.scopes.as_ref().is_some_and(|scopes| scopes.contains(*part))
        };
        let drops: Vec<String> = unwanted.iter().filter(had).cloned().collect();
        for part in &drops {
            self.apart.remove(part);
            if let Some(scopes) = &mut self.scopes {
                scopes.remove(part);
            }
        }
        self.dropping.extend(drops.iter().cloned());
        !drops.is_empty()
    }

    /// What came is not on its way out any more.
    pub(crate) fn came(&mut self, updates: &[Update]) {
        if self.leaving.is_empty() {
            return;
        }
        let came: HashSet<(&str, String)> = updates
            .iter()
            .filter(|update| update.state.record.is_some())
            .map(|update| (update.state.change.schema.name, update.state.change.id.to_string()))
            .collect();
        self.leaving.retain(|left| !came.contains(&(left.model.as_str(), left.id.clone())));
    }

    /// The peer took edits of these records: they did not leave, or are back. Whether any of them was on its way out.
    pub(crate) fn took<'n>(&mut self, records: impl Iterator<Item = (&'n str, String)>) -> bool {
        if self.leaving.is_empty() {
            return false;
        }
        let (records, before): (HashSet<_>, usize) = (records.collect(), self.leaving.len());
        self.leaving
            .retain(|left| left.unwanted || !records.contains(&(left.model.as_str(), left.id.clone())));
        self.leaving.len() < before
    }

    /// Whether the peer acknowledged the change that stood at this position.
    pub(crate) fn has_acknowledged(&self, position: Position) -> bool {
        position <= self.pushed || self.early.iter().any(|(first, last)| (*first..=*last).contains(&position))
    }

    /// Whether the peer has this change, which stands here: it brought it, and has not been rolled back since, or it
    /// acknowledged it.
    pub(crate) fn has(&self, peer: ReplicaId, change: &Change) -> bool {
        change.origin == Some(peer) && change.position > self.lost_through
            || self.has_acknowledged(change.position)
    }

    /// Whether the peer is still to be offered what it may have lost.
    pub(crate) fn is_offering_back(&self) -> bool {
        self.lost_through > self.pushed
    }

    /// Whose changes a page that begins after this position leaves out: what the peer brought is nothing to push.
    pub(crate) fn not_from(&self, peer: ReplicaId, after: Position) -> Option<ReplicaId> {
        (after >= self.lost_through).then_some(peer)
    }

    /// Where the next page starts: after this position.
    pub(crate) fn sent(&self) -> Position {
        self.staged.last().map_or(self.pushed, |part| part.through)
    }

    /// The highest position whose state the peer may hold.
    pub(crate) fn seen(&self) -> Position {
        self.in_flight.as_ref().map_or(self.sent(), |page| page.part.highest()).max(self.held)
    }
}

/// About how many bytes a change takes beside its record.
const PER_CHANGE: usize = 256;

/// How many records there are, and about how many bytes they have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Extent {
    /// The same with these.
    pub(crate) fn with(self, updates: &[Update]) -> Self {
        let bytes = updates.iter().map(|update| update.state.size() + PER_CHANGE).sum::<usize>();
        Extent { records: self.records + updates.len(), bytes: self.bytes.saturating_add(bytes) }
    }

    fn is_nothing(&self) -> bool {
        self.records == 0
    }
}

/// What is remembered of a replica that pushes here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PusherState {
    /// The number of the last page that was taken.
    pub(crate) number: u64,
    /// Its digest.
    pub(crate) digest: u64,
    /// Whether it left its group open.
    pub(crate) open: bool,
    /// Whether parts of a group are kept.
    #[serde(default)]
    pub(crate) parts: bool,
    /// What these parts have in all.
    #[serde(default, skip_serializing_if = "Extent::is_nothing")]
    pub(crate) extent: Extent,
    /// Whether it pushed here already when this store took its name; pages are numbered anew since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) formerly: bool,
    /// The stable name of who pushed first under this replica id; `None` if nobody with a name did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
}

impl PusherState {
    /// Whether anything was pushed under this replica id.
    pub(crate) fn has_pushed(&self) -> bool {
        self.number > 0 || self.formerly
    }

    /// Fails where the replica id is somebody else's. They learn no more than that.
    pub(crate) fn belongs_to(&self, caller: &Caller, id: ReplicaId) -> Result<()> {
        match (&self.subject, caller.subject()) {
            (Some(first), Some(now)) if first != now => Err(PusherState::of_another(caller, id)),
            _ => Ok(()),
        }
    }

    /// What a caller learns of a replica id that is not its own.
    pub(crate) fn of_another(caller: &Caller, id: ReplicaId) -> Error {
        let who = caller.subject().unwrap_or("the owner");
        Error::new(ErrorKind::Forbidden, format!("the replica id {id} is not one of {who}'s"))
    }
}

/// Who syncs a pair just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The engine that has it.
    pub(crate) holder: ReplicaId,
    /// When it ends, by this store's clock.
    pub(crate) until: Stamp,
}

/// The key of a peer that this replica syncs with.
pub(crate) fn peer_key(peer: ReplicaId) -> String {
    format!("to/{peer}")
}

/// What the keys of the replicas that push here begin with.
const PUSHERS: &str = "from/";

/// The replicas that push here, by their keys.
pub(crate) async fn pushers(tx: &mut dyn Transaction) -> Result<Vec<(String, PusherState)>> {
    let rows = tx.notes(Room::Peer, PUSHERS).await?.into_iter();
    rows.map(|(key, bytes)| parse(Room::Peer, &key, &bytes).map(|pusher| (key, pusher))).collect()
}

/// The key of a replica that pushes here.
pub(crate) fn pusher_key(pusher: ReplicaId) -> String {
    format!("{PUSHERS}{pusher}")
}

/// Reads a row; `None` if there is none.
pub(crate) async fn load<T: DeserializeOwned>(
    tx: &mut dyn Transaction,
    room: Room,
    key: &str,
) -> Result<Option<T>> {
    let found = tx.notes_of(room, &[key.to_owned()]).await?.pop().flatten();
    found.map(|bytes| parse(room, key, &bytes)).transpose()
}

/// The value of a row of what is remembered of peers, where there is one.
pub(crate) fn parsed<T: DeserializeOwned + Default>(row: Option<(&str, Vec<u8>)>) -> Result<T> {
    row.map_or_else(|| Ok(T::default()), |(key, bytes)| parse(Room::Peer, key, &bytes))
}

/// Writes a row.
pub(crate) async fn save<T: Serialize + Sync>(
    tx: &mut dyn Transaction,
    room: Room,
    key: &str,
    value: &T,
) -> Result<()> {
    tx.note(room, key, Some(written(room, key, value)?)).await
}

/// The value of a row.
pub(crate) fn written(room: Room, key: &str, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Storage, format!("cannot write the {} note {key}", room.name()))
            .with_source(error)
    })
}

/// The peers that this replica syncs with.
pub(crate) async fn peers(tx: &mut dyn Transaction) -> Result<Vec<(ReplicaId, PeerState)>> {
    let rows = tx.notes(Room::Peer, "to/").await?;
    let peers = rows.into_iter().filter_map(|(key, bytes)| {
        let peer = key.strip_prefix("to/")?.parse().ok()?;
        Some(parse(Room::Peer, &key, &bytes).map(|state| (peer, state)))
    });
    peers.collect()
}

/// The names that this replica had before.
pub(crate) async fn former(tx: &mut dyn Transaction) -> Result<Vec<ReplicaId>> {
    let rows = tx.notes(Room::Peer, "former/").await?;
    Ok(rows.iter().filter_map(|(key, _)| key.strip_prefix("former/")?.parse().ok()).collect())
}

/// Remembers that this replica had another name before.
pub(crate) async fn add_former(tx: &mut dyn Transaction, name: ReplicaId) -> Result<()> {
    tx.note(Room::Peer, &format!("former/{name}"), Some(Vec::new())).await
}

/// What is remembered of a peer; of an unknown one, nothing.
pub(crate) async fn peer(tx: &mut dyn Transaction, peer: ReplicaId) -> Result<PeerState> {
    Ok(load(tx, Room::Peer, &peer_key(peer)).await?.unwrap_or_default())
}

/// Remembers a peer.
pub(crate) async fn set_peer(tx: &mut dyn Transaction, peer: ReplicaId, state: &PeerState) -> Result<()> {
    save(tx, Room::Peer, &peer_key(peer), state).await
}

/// What a row says.
pub(crate) fn parse<T: DeserializeOwned>(room: Room, key: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("the {} note {key} of the store cannot be read", room.name());
        Error::new(ErrorKind::Storage, message).with_source(error)
    })
}
