//! Whose records are here. Each subject that signs in on a store has records, unsent edits and a replica id of its own there;
//! those of the others lie aside as they stood until their subject is back, and no call shows them.
//!
//! In [`Room::Account`] stand, below the escaped name of a subject, its [`Aside`], its states and the bases of those that
//! were not at a peer in parts of a page's size, and what was noted and parked of its peers.

use super::leaving::tombstone;
use super::notes::{self, PeerState};
use super::rename::{self, RENAMING};
use super::scopes::{self, SEPARATOR, escaped};
use super::{Engine, unread};
use crate::change::State;
use crate::codec::{self, Reader};
use crate::env::fresh_replica;
use crate::query::Filter;
use crate::record::{Id, MAX_ID_BYTES};
use crate::replica::Rejection;
use crate::schema::{ModelSchema, Models};
use crate::store::{Access, Base, Expect, Feed, Put, Room, Transaction, Write};
use crate::version::{ReplicaId, Stamp};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The key of who is signed in.
const SIGNED_IN: &str = "account";
/// How many states are laid aside at a time, and what their records take.
const PART: usize = 500;
const PART_BYTES: usize = 4 << 20;

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedIn {
    pub(crate) subject: String,
    /// Whether what was laid aside came back, but for what can only be told once it has positions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unfinished: bool,
    /// Whether the store was copied or restored while it lay aside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    renew: bool,
}

/// Of what lies aside of a subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Aside {
    replica: ReplicaId,
    records: u64,
    unsent: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    renew: bool,
}

/// What lies aside in a store of a subject that is not signed in; see [`crate::Workspace::accounts`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The name that it signed in with.
    pub subject: String,
    /// Its records.
    pub records: u64,
    /// Its edits that no peer has yet.
    pub unsent: u64,
}

/// What the keys begin with of what lies aside of a subject.
fn below(subject: &str) -> String {
    format!("{}{SEPARATOR}", escaped(subject))
}

fn head(subject: &str) -> String {
    format!("{}head", below(subject))
}

fn states_of(subject: &str) -> String {
    format!("{}state{SEPARATOR}", below(subject))
}

fn bases_of(subject: &str) -> String {
    format!("{}base{SEPARATOR}", below(subject))
}

fn notes_of(subject: &str, room: Room) -> String {
    format!("{}{}{SEPARATOR}", below(subject), room.name())
}

/// Who is signed in; `None` where nobody ever was.
pub(crate) async fn signed_in(tx: &mut dyn Transaction) -> Result<Option<SignedIn>> {
    notes::load(tx, Room::Peer, SIGNED_IN).await
}

/// The names by which peers know this store's caller.
async fn known_as(tx: &mut dyn Transaction) -> Result<Vec<String>> {
    Ok(notes::peers(tx).await?.into_iter().filter_map(|(_, peer)| peer.subject).collect())
}

/// Fails where a peer knows who calls by another name than that of who is signed in, and than before: nothing may be sent
/// to it then, and nothing taken.
pub(crate) fn check(
    peer: Option<&PeerState>,
    signed_in: Option<&SignedIn>,
    told: Option<&str>,
) -> Result<()> {
    let Some(told) = told else { return Ok(()) };
    let before = peer.and_then(|peer| peer.subject.as_deref());
    let mine = signed_in.map(|account| account.subject.as_str()).or(before);
    match mine.filter(|mine| *mine != told && before != Some(told)) {
        None => Ok(()),
        Some(mine) => {
            let message = format!(
                "the peer knows who calls as `{told}`, and the records here are those of `{mine}`: nothing was sent; \
                 `Workspace::sign_in` goes over to those of `{told}`"
            );
            Err(Error::new(ErrorKind::Forbidden, message))
        }
    }
}

/// What lies aside must not go on under the replica ids that it had: the store was copied or restored.
pub(crate) async fn renew(tx: &mut dyn Transaction) -> Result<()> {
    for (subject, aside) in all_aside(tx).await? {
        notes::save(tx, Room::Account, &head(&subject), &Aside { renew: true, ..aside }).await?;
    }
    Ok(())
}

async fn all_aside(tx: &mut dyn Transaction) -> Result<Vec<(String, Aside)>> {
    let mut found = Vec::new();
    let mut after = String::new();
    // Looks from one subject to the next, past all that lies below it.
    while let Some((key, _)) = tx.notes_after(Room::Account, "", &after, 1).await?.pop() {
        let Some((escaped, _)) = key.split_once(SEPARATOR) else { break };
        let subject = scopes::unescaped(escaped);
        if let Some(aside) = notes::load(tx, Room::Account, &head(&subject)).await? {
            found.push((subject.clone(), aside));
        }
        after = format!("{}\u{10ffff}", below(&subject));
    }
    Ok(found)
}

impl Engine {
    /// Goes over to the records of this subject. See [`crate::Workspace::sign_in`].
    pub(crate) async fn sign_in(&self, subject: String) -> Result<ReplicaId> {
        if subject.is_empty() || subject.len() > MAX_ID_BYTES {
            let message = format!(
                "the name of a subject has 1 to {MAX_ID_BYTES} bytes; this one has {}",
                subject.len()
            );
            return Err(Error::new(ErrorKind::Usage, message));
        }
        self.check_history().await?;
        self.finish_sign_in().await?;
        let (models, fresh, now) = (self.models().clone(), fresh_replica(&**self.env()), self.now());
        self.run(RENAMING, move |tx| {
            Box::pin(async move { go_over(tx, &models, &subject, fresh, now).await })
        })
        .await?;
        self.finish_sign_in().await?;
        for kept in self.kept() {
            kept.turn_over();
        }
        self.id().await
    }

    /// Gives what came back the bases that it had, now that it has positions.
    pub(crate) async fn finish_sign_in(&self) -> Result<()> {
        let account = self.read(|tx| Box::pin(async move { signed_in(tx).await })).await?;
        if !account.is_some_and(|account| account.unfinished) {
            return Ok(());
        }
        let (models, fresh, now) = (self.models().clone(), fresh_replica(&**self.env()), self.now());
        self.run(RENAMING, move |tx| Box::pin(async move { finish(tx, &models, fresh, now).await })).await
    }

    /// Who is signed in; where nobody did by name, as whom a peer knows the caller.
    pub(crate) async fn signed_in(&self) -> Result<Option<String>> {
        self.read(|tx| {
            Box::pin(async move {
                match signed_in(tx).await? {
                    Some(account) => Ok(Some(account.subject)),
                    None => Ok(known_as(tx).await?.into_iter().next()),
                }
            })
        })
        .await
    }

    /// What lies aside.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>> {
        let aside = self.read(|tx| Box::pin(async move { all_aside(tx).await })).await?.into_iter();
        let account = |(subject, Aside { records, unsent, .. })| Account { subject, records, unsent };
        Ok(aside.map(account).collect())
    }

    /// Takes away what lies aside of a subject; whether there was something.
    pub(crate) async fn forget_account(&self, subject: String) -> Result<bool> {
        self.run(Access::WRITE.long().durable(), move |tx| {
            Box::pin(async move {
                let known: Option<Aside> = notes::load(tx, Room::Account, &head(&subject)).await?;
                while take_next(tx, &below(&subject)).await?.is_some() {}
                Ok(known.is_some())
            })
        })
        .await
    }
}

/// Takes the first row below a key away, and gives it.
async fn take_next(tx: &mut dyn Transaction, prefix: &str) -> Result<Option<(String, Vec<u8>)>> {
    let Some(row) = tx.notes_after(Room::Account, prefix, prefix, 1).await?.pop() else { return Ok(None) };
    tx.note(Room::Account, &row.0, None).await?;
    Ok(Some(row))
}

async fn go_over(
    tx: &mut dyn Transaction,
    models: &Models,
    subject: &str,
    fresh: ReplicaId,
    now: Stamp,
) -> Result<()> {
    let account = SignedIn { subject: subject.to_owned(), unfinished: false, renew: false };
    let before = match signed_in(tx).await? {
        Some(before) if before.subject == subject => return Ok(()),
        Some(before) if before.unfinished => {
            let message = format!("another process signs `{}` in on this store just now", before.subject);
            return Err(Error::new(ErrorKind::Busy, message));
        }
        Some(before) => before.subject,
        None => {
            let known = known_as(tx).await?;
            match known.first().filter(|_| !known.iter().any(|known| known == subject)) {
                Some(before) => before.clone(),
                // Nobody was here before: what is here is the first one's.
                None => return notes::save(tx, Room::Peer, SIGNED_IN, &account).await,
            }
        }
    };
    if !notes::pushers(tx).await?.is_empty() {
        let message = format!(
            "signing in as `{subject}`: other replicas push to this store, so its records are not those of `{before}` \
             alone; a store that serves others stays with who it is"
        );
        return Err(Error::new(ErrorKind::Usage, message));
    }
    lay_aside(tx, &before).await?;
    clear(tx, models, &before, now).await?;
    // Whoever syncs just now does it for the one before, and commits nothing more.
    for (key, _) in tx.notes(Room::Lease, "").await? {
        tx.note(Room::Lease, &key, None).await?;
    }
    let aside: Option<Aside> = notes::load(tx, Room::Account, &head(subject)).await?;
    tx.keep_bases_through(None).await?;
    let account = match aside {
        None => {
            tx.rename(fresh).await?;
            account
        }
        Some(aside) => {
            tx.rename(aside.replica).await?;
            bring_back(tx, models, subject, now).await?;
            SignedIn { unfinished: true, renew: aside.renew, ..account }
        }
    };
    notes::save(tx, Room::Peer, SIGNED_IN, &account).await
}

/// Writes everything that is here into the rows of a subject.
async fn lay_aside(tx: &mut dyn Transaction, subject: &str) -> Result<()> {
    let peers = notes::peers(tx).await?;
    let mut aside = Aside { replica: tx.replica().await?, records: 0, unsent: 0, renew: false };
    let (mut part, mut after) = (0_u64, 0);
    loop {
        let feed = Feed { limit: PART, bytes: PART_BYTES, data: true, ..Feed::after(after) };
        let states = tx.feed(&feed).await?;
        let Some(last) = states.last() else { break };
        (after, part) = (last.change.position, part + 1);
        let mut bases = Vec::new();
        let mut kept = Vec::with_capacity(states.len());
        for state in states {
            // Nobody could bring it back.
            if state.lacks_record() {
                let Rejection { reason, .. } = unread::refusal(tx, &state.change).await?;
                return Err(Error::new(ErrorKind::InvalidValue, reason)
                    .context(format!("laying the records of `{subject}` aside")));
            }
            let mut state = with_local_fields(tx, state).await?;
            let change = &state.change;
            let schema = change.schema;
            aside.records += u64::from(state.record.is_some());
            if change.origin.is_none()
                && !peers.iter().any(|(_, peer)| peer.has_acknowledged(change.position))
            {
                aside.unsent += 1;
            }
            let is_everywhere = |(id, peer): &(ReplicaId, PeerState)| {
                change.origin == Some(*id) || peer.has_acknowledged(change.position)
            };
            if !peers.iter().all(is_everywhere) {
                let ids = std::slice::from_ref(&change.id);
                let of_record = tx.bases(schema, ids).await?.into_iter().flatten();
                bases.extend(of_record.map(|base| at_a_peer(&peers, base.state)));
            }
            state = at_a_peer(&peers, state);
            kept.push(state);
        }
        let states = codec::to_json(&kept.iter().map(codec::stored).collect::<Vec<_>>())?;
        let mut rows = vec![(format!("{}{part:020}", states_of(subject)), Some(states))];
        if !bases.is_empty() {
            let bases = codec::to_json(&bases.iter().map(codec::stored).collect::<Vec<_>>())?;
            rows.push((format!("{}{part:020}", bases_of(subject)), Some(bases)));
        }
        tx.note_all(Room::Account, rows).await?;
    }
    for (id, _) in &peers {
        super::serve::unstage(tx, &format!("pull/{id}/")).await?;
    }
    for (room, prefix) in NOTED {
        let rows = tx.notes(room, prefix).await?;
        let key = |key: &String| format!("{}{key}", notes_of(subject, room));
        tx.note_all(
            Room::Account,
            rows.iter().map(|(name, value)| (key(name), Some(value.clone()))).collect(),
        )
        .await?;
        tx.note_all(room, rows.into_iter().map(|(name, _)| (name, None)).collect()).await?;
    }
    notes::save(tx, Room::Account, &head(subject), &aside).await
}

/// What is noted for a subject: of its peers, and what was parked with them.
const NOTED: [(Room, &str); 2] = [(Room::Peer, "to/"), (Room::Parked, "")];

/// A state as it is laid aside. Its position means nothing when it is back; that a peer has it is said by the origin, as if
/// the peer had brought it.
fn at_a_peer(peers: &[(ReplicaId, PeerState)], mut state: State) -> State {
    let position = state.change.position;
    if state.change.origin.is_none() && position > 0 {
        let has_it = peers.iter().find(|(_, peer)| peer.has_acknowledged(position));
        state.change.origin = has_it.map(|(id, _)| *id);
    }
    state.change.position = 0;
    state
}

async fn with_local_fields(tx: &mut dyn Transaction, state: State) -> Result<State> {
    let schema = state.change.schema;
    if state.record.is_none() || !has_local_fields(schema) {
        return Ok(state);
    }
    let record = tx.read(schema, std::slice::from_ref(&state.change.id)).await?.pop().flatten();
    Ok(State { record, ..state })
}

fn has_local_fields(schema: &ModelSchema) -> bool {
    schema.fields.iter().any(|field| field.local)
}

/// Takes every record that was laid aside and its tracking away, as if none had ever been here.
async fn clear(tx: &mut dyn Transaction, models: &Models, subject: &str, now: Stamp) -> Result<()> {
    let prefix = states_of(subject);
    loop {
        let (mut after, mut refused, mut gone) = (prefix.clone(), None, 0);
        // By what was laid aside, not by the feed, as cascades write what is still to go anew.
        while let Some((key, bytes)) = tx.notes_after(Room::Account, &prefix, &after, 1).await?.pop() {
            after = key;
            let mut by_model: BTreeMap<&str, (&'static ModelSchema, Vec<State>)> = BTreeMap::new();
            for state in read(models, &bytes)? {
                let schema = state.change.schema;
                by_model.entry(schema.name).or_insert((schema, Vec::new())).1.push(tombstone(&state));
            }
            for (schema, tombstones) in by_model.into_values() {
                let ids: Vec<Id> = tombstones.iter().map(|state| state.change.id.clone()).collect();
                let tracked = tx.changes(schema, &ids).await?.into_iter().flatten();
                let tracked: BTreeSet<Id> = tracked.map(|change| change.id).collect();
                let left = tombstones.into_iter().filter(|state| tracked.contains(&state.change.id));
                let left: Vec<State> = left.collect();
                let mut ids = Vec::with_capacity(left.len());
                for (put, state) in tx.put(&left, now).await?.into_iter().zip(left) {
                    match put {
                        // A record that others here refer to goes once they are gone.
                        Put::Refused(reason) => refused = Some(format!("{}: {reason}", state.change.name())),
                        Put::Stored | Put::Differs(_) => ids.push(state.change.id),
                    }
                }
                gone += ids.len();
                tx.erase(schema, &ids).await?;
                scopes::forget(tx, schema, &ids).await?;
            }
        }
        match refused {
            None => break,
            Some(reason) if gone == 0 => {
                let message = format!("laying the records of `{subject}` aside: {reason}");
                return Err(Error::new(ErrorKind::Constraint, message));
            }
            Some(_) => {}
        }
    }
    for model in models.iter() {
        let name = model.schema.name;
        let left = tx.count(model.schema, &Filter::All).await?;
        if left > 0 {
            let message = format!(
                "laying the records aside: {left} of {name} are not tracked, so they would be left for others to see; \
                 call `rectify_all_changes::<{name}>()` first"
            );
            return Err(Error::new(ErrorKind::Storage, message));
        }
    }
    Ok(())
}

/// Puts everything back that lies aside of a subject, but for the bases.
async fn bring_back(tx: &mut dyn Transaction, models: &Models, subject: &str, now: Stamp) -> Result<()> {
    let mut refused: Vec<State> = Vec::new();
    while let Some((_, bytes)) = take_next(tx, &states_of(subject)).await? {
        let states = read(models, &bytes)?;
        refused.extend(put_back(tx, states, now).await?.0);
    }
    // A record comes after those that it refers to.
    while !refused.is_empty() {
        let before = refused.len();
        let reason;
        (refused, reason) = put_back(tx, refused, now).await?;
        if refused.len() == before {
            let reason = reason.unwrap_or_default();
            return Err(Error::new(
                ErrorKind::Constraint,
                format!("bringing the records of `{subject}` back: {reason}"),
            ));
        }
    }
    for (room, _) in NOTED {
        let prefix = notes_of(subject, room);
        let rows = tx.notes(Room::Account, &prefix).await?;
        let name = |key: &str| key.strip_prefix(&prefix).unwrap_or(key).to_owned();
        tx.note_all(room, rows.iter().map(|(key, value)| (name(key), Some(value.clone()))).collect()).await?;
        tx.note_all(Room::Account, rows.into_iter().map(|(key, _)| (key, None)).collect()).await?;
    }
    tx.note(Room::Account, &head(subject), None).await
}

fn read(models: &Models, bytes: &[u8]) -> Result<Vec<State>> {
    let reader = Reader::new(models).stored();
    reader.from_json(bytes, reader.list(usize::MAX, false), "reading what lay aside")
}

/// Puts states as they were; gives those that were refused for now, and why.
async fn put_back(
    tx: &mut dyn Transaction,
    states: Vec<State>,
    now: Stamp,
) -> Result<(Vec<State>, Option<String>)> {
    let (mut refused, mut reason, mut local) = (Vec::new(), None, Vec::new());
    for (put, state) in tx.put(&states, now).await?.into_iter().zip(states) {
        let schema = state.change.schema;
        match put {
            Put::Refused(why) => {
                reason = Some(format!("{}: {why}", state.change.name()));
                refused.push(state);
            }
            Put::Stored if has_local_fields(schema) && state.record.is_some() => {
                let State { change, record } = state;
                local.push(Write { schema, id: change.id, record, expect: Expect::Present });
            }
            Put::Stored | Put::Differs(_) => {}
        }
    }
    // Nothing in them travels, so no change is made for it.
    tx.save(local, now).await?;
    Ok((refused, reason))
}

/// What can only be done once everything that came back has a position.
async fn finish(tx: &mut dyn Transaction, models: &Models, fresh: ReplicaId, now: Stamp) -> Result<()> {
    let Some(account) = signed_in(tx).await?.filter(|account| account.unfinished) else { return Ok(()) };
    while let Some((_, bytes)) = take_next(tx, &bases_of(&account.subject)).await? {
        let mut bases = Vec::new();
        for state in read(models, &bytes)? {
            let ids = std::slice::from_ref(&state.change.id);
            if let Some(change) = tx.changes(state.change.schema, ids).await?.pop().flatten() {
                bases.push(Base { state, until: change.position });
            }
        }
        tx.add_bases(bases).await?;
    }
    let newest = tx.newest().await?;
    let mut is_in_parts = false;
    for (id, peer) in notes::peers(tx).await? {
        let numbered = peer.numbered;
        // Who took parts of a group under this name would take the next page for more of it.
        is_in_parts |= !peer.staged.is_empty() || peer.in_flight.as_ref().is_some_and(|page| page.group_open);
        // Parts of a group were not laid aside. The pages go on under the name that they had.
        let lost_through = if peer.lost_through > 0 { newest } else { 0 };
        let anew = peer.pushed_anew(newest);
        let state = PeerState { held: newest, numbered, lost_through, pulled_staged: None, ..anew };
        notes::set_peer(tx, id, &state).await?;
    }
    let horizon = super::apply::horizon(tx).await?;
    tx.keep_bases_through(horizon).await?;
    let renew = account.renew || is_in_parts;
    let account = SignedIn { unfinished: false, renew: false, ..account };
    notes::save(tx, Room::Peer, SIGNED_IN, &account).await?;
    match renew {
        true => rename::go_on_as(tx, fresh, now).await,
        false => Ok(()),
    }
}
