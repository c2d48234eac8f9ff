//! What is pushed to a peer: numbered pages, frozen before they are sent, sent again unchanged until answered.

use super::notes::{self, InFlight, Part, PeerState};
use super::page::{self, Cut, FeedPart};
use crate::change::{Change, Group, RecordName, State};
use crate::planted::{self, Bug};
use crate::record::{Id, patch};
use crate::replica::{Limits, Outcome, Update};
use crate::schema::Models;
use crate::store::{Base, Feed, Transaction};
use crate::version::{Position, ReplicaId};
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How many runs of parents are remembered that a peer has from behind what was pushed.
const EARLY: usize = 1_000;

/// A frozen page on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) number: u64,
    pub(crate) digest: u64,
    pub(crate) group_open: bool,
    pub(crate) through: Position,
    /// The updates: patches where the peer's state is known.
    pub(crate) updates: Vec<Update>,
    /// What is in it and is not sent, with the reason why not.
    pub(crate) left_out: Vec<(Change, String)>,
    /// Whether the peer is asked first what it lacks.
    pub(crate) diff_first: bool,
    /// Whether more stands behind this page.
    pub(crate) more: bool,
}

/// The records of one page that the peer wants whole. Under a new name, taken meanwhile, the next page may be another
/// one, of which it wanted nothing yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFull {
    number: u64,
    digest: u64,
    pub(crate) records: HashSet<RecordName>,
    /// What it stored before the page went once more.
    stored: HashSet<RecordName>,
}

impl InFull {
    /// What is wanted of this page.
    fn of(&self, number: u64, digest: u64) -> Option<&HashSet<RecordName>> {
        (self.number == number && self.digest == digest).then_some(&self.records)
    }

    /// Forgets what was wanted of another page.
    pub(crate) fn go_on_with(&mut self, page: Option<&Outgoing>) {
        let (number, digest) = page.map_or((0, 0), |page| (page.number, page.digest));
        if self.of(number, digest).is_none() {
            *self = InFull { number, digest, ..InFull::default() };
        }
    }

    /// The page goes once more with these whole. What the peer stored this time it will only know then.
    pub(crate) fn again(&mut self, wanted: Vec<RecordName>, sent: &[Change], outcomes: &[Outcome]) {
        self.records.extend(wanted);
        let stored = sent.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Applied));
        self.stored.extend(stored.map(|(change, _)| change.record_name()));
    }

    /// Says of what the peer stored before the page went once more that it did.
    pub(crate) fn correct(&self, sent: &[Change], outcomes: &mut [Outcome]) {
        if self.stored.is_empty() {
            return;
        }
        for (change, outcome) in sent.iter().zip(outcomes) {
            if matches!(outcome, Outcome::Known) && self.stored.contains(&change.record_name()) {
                *outcome = Outcome::Applied;
            }
        }
    }
}

/// The next part of the feed, read while the page before it is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Ahead {
    after: Position,
    part: FeedPart,
    digest: u64,
}

impl Ahead {
    /// Whether it is what would be read now.
    async fn is_still_so(&self, tx: &mut dyn Transaction, peer: &PeerState) -> Result<bool> {
        let begins = self.after == peer.sent() && peer.staged_group.is_none();
        Ok(begins && self.part.newest == tx.newest().await?)
    }
}

/// What pages for a peer are made by.
#[derive(Debug, Clone)]
pub(crate) struct Paging {
    pub(crate) models: Models,
    pub(crate) limits: Limits,
    /// The most records that the peer takes in a page.
    pub(crate) room: usize,
}

/// Reads the part of the feed after a position, but for what came from one peer; `within` is a group of which a part was
/// sent before.
pub(crate) async fn ahead(
    tx: &mut dyn Transaction,
    not_from: Option<ReplicaId>,
    after: Position,
    within: Option<Group>,
    paging: &Paging,
) -> Result<Ahead> {
    let Paging { models, limits, room } = paging;
    let cut = Cut {
        after,
        not_from,
        schema: None,
        records: limits.page_records,
        bytes: limits.page_bytes,
        data: true,
        within,
        room: *room,
        view: None,
    };
    let part = page::cut(tx, models, &cut).await?;
    let digest = page::digest(part.states.iter().chain(&part.early))?;
    Ok(Ahead { after, part, digest })
}

/// What there is to send.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing.
    Nothing,
    /// This page; it was frozen in this transaction or before.
    Page(Box<Outgoing>),
    /// The page in flight cannot be made again as it was: the history is broken, take a new name.
    Broken,
}

/// rule: frozen page. Freezes the next page for a peer, or finds the one that was sent and not answered.
///
/// What was sent is not stored a second time: it is the states that stood between two positions, some of them
/// kept as bases since. So a record that was not edited costs nothing. Records in `in_full` are sent whole; `ahead` is
/// what was read already.
pub(crate) async fn next(
    tx: &mut dyn Transaction,
    peer_id: ReplicaId,
    paging: &Paging,
    in_full: &InFull,
    ahead: Option<Ahead>,
) -> Result<Next> {
    let mut peer = notes::peer(tx, peer_id).await?;
    let (states, frozen, more) = match peer.in_flight.clone() {
        Some(frozen) => {
            let not_from = peer.not_from(peer_id, peer.sent());
            let states = frozen_states(tx, not_from, peer.sent(), &frozen.part).await?;
            if page::digest(&states)? != frozen.digest {
                return Ok(Next::Broken);
            }
            let more = tx.newest().await? > frozen.part.through;
            (states, frozen, more)
        }
        None => {
            let ahead = match ahead {
                Some(ahead) if ahead.is_still_so(tx, &peer).await? => ahead,
                _ => {
                    let not_from = peer.not_from(peer_id, peer.sent());
                    self::ahead(tx, not_from, peer.sent(), peer.staged_group, paging).await?
                }
            };
            let FeedPart { mut states, early, through, more, group_open, newest } = ahead.part;
            // A group of which a part is staged is closed, if need be by an empty page.
            if states.is_empty() && peer.staged.is_empty() {
                if through > peer.pushed {
                    peer.pushed = through;
                    notes::set_peer(tx, peer_id, &peer).await?;
                }
                return Ok(Next::Nothing);
            }
            let group = states.last().and_then(|state| state.change.group).filter(|_| group_open);
            let part = Part { through, newest, early: runs(&early), left_out: BTreeMap::new() };
            states.extend(early);
            let frozen = InFlight { part, digest: ahead.digest, group_open, group };
            peer.in_flight = Some(frozen.clone());
            peer.numbered += 1;
            notes::set_peer(tx, peer_id, &peer).await?;
            let horizon = super::apply::horizon(tx).await?;
            tx.keep_bases_through(horizon).await?;
            (states, frozen, more)
        }
    };
    let (states, left_out) = without_left_out(states, &frozen.part);
    // A group in parts is decided as a whole at the end, when the parts cannot be asked for again one by one.
    let in_parts = frozen.group_open || !peer.staged.is_empty();
    let updates = match in_parts {
        true => states.into_iter().map(whole).collect(),
        false => patches(tx, peer_id, &peer, states, in_full.of(peer.numbered, frozen.digest)).await?,
    };
    Ok(Next::Page(Box::new(Outgoing {
        number: peer.numbered,
        digest: frozen.digest,
        group_open: frozen.group_open,
        through: frozen.part.through,
        left_out,
        diff_first: peer.diff_through > peer.sent() && !in_parts,
        updates,
        more,
    })))
}

/// The update that carries a whole state.
pub(crate) fn whole(state: State) -> Update {
    Update { state, based_on: None }
}

/// The positions of these states as runs: of each the first and the last.
fn runs(states: &[State]) -> Vec<(Position, Position)> {
    let mut runs: Vec<(Position, Position)> = Vec::new();
    for position in states.iter().map(|state| state.change.position) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == position => *last = position,
            _ => runs.push((position, position)),
        }
    }
    runs
}

/// The states of a page when it was frozen: those after a position, and those that it brings along.
async fn frozen_states(
    tx: &mut dyn Transaction,
    not_from: Option<ReplicaId>,
    after: Position,
    part: &Part,
) -> Result<Vec<State>> {
    let mut states = states_between(tx, not_from, (after, part.through), part.newest).await?;
    for (first, last) in &part.early {
        states.extend(states_between(tx, not_from, (first - 1, *last), part.newest).await?);
    }
    Ok(states)
}

/// The states that stood in this range of positions when `newest` was the newest one.
async fn states_between(
    tx: &mut dyn Transaction,
    not_from: Option<ReplicaId>,
    (after, through): (Position, Position),
    newest: Position,
) -> Result<Vec<State>> {
    let feed = Feed { through, not_from, data: true, ..Feed::after(after) };
    let mut states = tx.feed(&feed).await?;
    let edited = tx.bases_between(after, through).await?.into_iter();
    // A base that was overwritten before the page was frozen was not in it.
    let is_left_out = |change: &Change| not_from.is_some() && change.origin == not_from;
    let edited = edited.filter(|base| base.until > newest && !is_left_out(&base.state.change));
    states.extend(edited.map(|base| base.state));
    states.sort_by_key(|state| state.change.position);
    // A state that was about to be overwritten, and then was not, is a base as well.
    states.dedup_by_key(|state| state.change.position);
    Ok(states)
}

/// rule: exact patch. Only what changed, where the state that the peer holds is known; else the whole record.
async fn patches(
    tx: &mut dyn Transaction,
    peer_id: ReplicaId,
    peer: &PeerState,
    states: Vec<State>,
    in_full: Option<&HashSet<RecordName>>,
) -> Result<Vec<Update>> {
    let mut edited: BTreeMap<&'static str, Vec<&State>> = BTreeMap::new();
    let may_be_patched = |state: &&State| {
        state.record.is_some()
            && state.change.previous.is_some()
            && !in_full.is_some_and(|in_full| in_full.contains(&state.change.record_name()))
    };
    for state in states.iter().filter(may_be_patched) {
        edited.entry(state.change.schema.name).or_default().push(state);
    }
    let mut known: HashMap<RecordName, State> = HashMap::new();
    for (name, edited) in edited {
        let schema = edited[0].change.schema;
        let ids: Vec<Id> = edited.iter().map(|state| state.change.id.clone()).collect();
        for (state, bases) in edited.iter().zip(tx.bases(schema, &ids).await?) {
            if let Some(held) = held(bases, &state.change, peer_id, peer) {
                known.insert((name, held.change.id.clone()), held);
            }
        }
    }
    let updates = states.into_iter().map(|state| {
        let base = known.get(&state.change.record_name());
        match (base.and_then(|base| base.record.as_ref().map(|record| (base, record))), &state.record) {
            (Some((base, before)), Some(record)) if base.change.unknown == state.change.unknown => {
                let record = patch(state.change.schema, before, record);
                let based_on = Some(base.change.revision());
                Update { state: State { record: Some(record), ..state }, based_on }
            }
            _ => whole(state),
        }
    });
    Ok(updates.collect())
}

/// What the peer holds of a record, by what is kept here, before it has this change.
pub(crate) fn held(bases: Vec<Base>, change: &Change, peer_id: ReplicaId, peer: &PeerState) -> Option<State> {
    // What came after the state was frozen is not what it was made from.
    let before = bases.into_iter().filter(|base| base.until <= change.position);
    // A state that a peer brought when a conflict was resolved never stood here: it has no position.
    let held = before.filter(|base| {
        let change = &base.state.change;
        (1..=peer.sent()).contains(&change.position) || change.origin == Some(peer_id)
    });
    // Where a conflict was resolved, the peer holds its own side of it rather than ours.
    let newest = |base: &Base| (base.until, base.state.change.origin == Some(peer_id));
    held.max_by_key(newest).map(|base| base.state)
}

/// The states of a part that are sent, and what is not, with the reason why not.
fn without_left_out(states: Vec<State>, part: &Part) -> (Vec<State>, Vec<(Change, String)>) {
    let (mut sent, mut left_out) = (Vec::with_capacity(states.len()), Vec::new());
    for state in states {
        match part.left_out.get(&state.change.position) {
            Some(reason) => left_out.push((state.change, reason.clone())),
            None => sent.push(state),
        }
    }
    (sent, left_out)
}

/// The states in the parts that are staged at the peer and in the page in flight: those that are sent, and the changes of
/// those that are not, with the reason why not.
pub(crate) async fn unanswered(
    tx: &mut dyn Transaction,
    peer_id: ReplicaId,
) -> Result<(Vec<State>, Vec<(Change, String)>)> {
    let peer = notes::peer(tx, peer_id).await?;
    let (mut states, mut left_out) = (Vec::new(), Vec::new());
    let mut after = peer.pushed;
    let in_flight = peer.in_flight.iter().map(|frozen| &frozen.part);
    for part in peer.staged.iter().chain(in_flight) {
        let of_part = frozen_states(tx, peer.not_from(peer_id, after), after, part).await?;
        let (sent, not_sent) = without_left_out(of_part, part);
        states.extend(sent);
        left_out.extend(not_sent);
        after = part.through;
    }
    Ok((states, left_out))
}

/// Notes that the page of this number is staged at the peer. Does nothing if it is not in flight any more.
pub(crate) async fn staged(tx: &mut dyn Transaction, peer_id: ReplicaId, number: u64) -> Result<()> {
    let mut peer = notes::peer(tx, peer_id).await?;
    if peer.numbered == number
        && let Some(frozen) = peer.in_flight.take()
    {
        peer.staged.push(frozen.part);
        peer.staged_group = frozen.group;
        notes::set_peer(tx, peer_id, &peer).await?;
    }
    Ok(())
}

/// Notes that the page of this number was answered in full. Returns whether it was in flight still: another
/// process may have had the same answer first.
pub(crate) async fn acknowledge(tx: &mut dyn Transaction, peer_id: ReplicaId, number: u64) -> Result<bool> {
    let mut peer = notes::peer(tx, peer_id).await?;
    if peer.numbered != number {
        return Ok(false);
    }
    let Some(frozen) = peer.in_flight.take() else {
        return Ok(false);
    };
    peer.pushed = match planted::on(Bug::AckClearsNewer) {
        true => tx.newest().await?,
        false => frozen.part.through,
    };
    peer.held = peer.held.max(peer.pushed).max(frozen.part.highest());
    let pushed = peer.pushed;
    peer.early.extend(frozen.part.early);
    peer.early.sort_unstable();
    peer.early.dedup();
    peer.early.retain(|(_, last)| *last > pushed);
    // Only a new name asks for them, and comes to the same by a comparison more.
    peer.early.truncate(EARLY);
    peer.staged.clear();
    peer.staged_group = None;
    if peer.diff_through <= peer.pushed {
        peer.diff_through = 0;
    }
    if peer.lost_through <= peer.pushed {
        peer.lost_through = 0;
    }
    notes::set_peer(tx, peer_id, &peer).await?;
    let peers = notes::peers(tx).await?;
    if let Some(everywhere) = peers.iter().map(|(_, peer)| peer.pushed).min() {
        tx.drop_bases(everywhere).await?;
    }
    Ok(true)
}

/// Takes back a page that the peer refused unread: what was in it is made into other pages.
///
/// If it was taken all the same, by a request before that one, its number comes to the peer with another content, and this
/// replica takes a new name, as after any history that broke.
pub(crate) async fn thaw(tx: &mut dyn Transaction, peer_id: ReplicaId, number: u64) -> Result<()> {
    let mut peer = notes::peer(tx, peer_id).await?;
    if peer.numbered == number && peer.in_flight.take().is_some() {
        peer.numbered -= 1;
        notes::set_peer(tx, peer_id, &peer).await?;
    }
    Ok(())
}

/// Leaves a change out of the page in flight, which goes once more without it.
pub(crate) async fn leave_out(
    tx: &mut dyn Transaction,
    peer_id: ReplicaId,
    number: u64,
    position: Position,
    reason: String,
) -> Result<()> {
    let mut peer = notes::peer(tx, peer_id).await?;
    if peer.numbered == number
        && let Some(frozen) = &mut peer.in_flight
    {
        frozen.part.left_out.insert(position, reason);
        notes::set_peer(tx, peer_id, &peer).await?;
    }
    Ok(())
}

/// Starts the numbers anew from what the peer expects: it lost pages that it had answered.
pub(crate) async fn restart(tx: &mut dyn Transaction, peer_id: ReplicaId, expected: u64) -> Result<()> {
    let newest = tx.newest().await?;
    let mut peer = notes::peer(tx, peer_id).await?;
    let numbered = expected
        .checked_sub(1)
        .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("{peer_id} expects a page number below 1")))?;
    peer = PeerState { numbered, lost_through: newest, ..peer.pushed_anew(newest) };
    notes::set_peer(tx, peer_id, &peer).await
}
