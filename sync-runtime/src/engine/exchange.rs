//! One exchange: what is pushed is taken, and what is asked for is read, in one transaction where that can be.

use super::admission;
use super::adopt::adopt_all;
use super::apply::{apply, meets_too_much};
use super::arrival::Arrival;
use super::grants::{self, Grants};
use super::notes::{self, Extent, PusherState, pusher_key};
use super::purge::{self, Horizon, Seen};
use super::reading::{self, Asked, feed_page};
use super::scopes;
use super::seal::Seal;
use super::serve::{PUSHED, stage, staged, unstage};
use crate::change::Change;
use crate::replica::{
    Caller, Exchange, Exchanged, Limits, Outcome, Pull, PushPage, Pushed, Rejection, Update,
};
use crate::store::{Room, Transaction};
use crate::version::{Position, ReplicaId};
use crate::{Error, ErrorKind, Result};

/// About how many changes a pull reads where this is the newest position.
pub(super) fn to_read(pull: &Pull, newest: Position) -> usize {
    let behind = newest - pull.since.map_or(0, |since| since.position);
    usize::try_from(behind).unwrap_or(0).min(pull.limit)
}

/// An exchange, with all that its transactions need.
pub(super) struct Asks {
    pub(super) caller: Caller,
    pub(super) exchange: Exchange,
    pub(super) arrival: Arrival,
    pub(super) limits: Limits,
    pub(super) seal: Seal,
    /// Whether what the caller sees of the feed depends on scopes.
    pub(super) by_scope: bool,
}

impl Asks {
    /// Takes what is pushed, and reads what is asked for where that can be in the same transaction. `None` where more
    /// than so many changes are to be read.
    pub(super) async fn turn(&self, tx: &mut dyn Transaction, most: usize) -> Result<Option<Turn>> {
        let Asks { caller, exchange, arrival, limits, seal, by_scope } = self;
        let (models, from, now) = (&arrival.models, exchange.from, arrival.now);
        let me = tx.replica().await?;
        let mut answer = Exchanged { replica: me, now, taken: 0, pushed: None, pulled: None };
        if exchange.to != me {
            return Ok(Some(Turn { answer, page: None, seen: None, puller: Puller::default() }));
        }
        let before = match &exchange.pull {
            Some(pull) => {
                let newest = tx.newest().await?;
                if to_read(pull, newest) > most {
                    return Ok(None);
                }
                newest
            }
            None => 0,
        };
        let Known { mut pusher, seen, wrote_purged, puller } = Known::of(tx, from, *by_scope).await?;
        let horizon = puller.horizon;
        let mut noted = None;
        pusher.belongs_to(caller, from)?;
        if let Some(pull) = &exchange.pull {
            noted = match pull.since.filter(|since| since.replica == me) {
                None => seen.asks(before, now),
                // One that was made up does not make a replica one that has seen everything.
                Some(since) if !seal.believes(caller, models, since) => None,
                Some(since) => seen.after(since.position, pull.horizon, horizon, now),
            };
        }
        if let Some(push) = exchange.push.clone() {
            admission::claim(tx, caller, models, from, &mut pusher).await?;
            let unseen = !noted.unwrap_or(seen).is_good(horizon);
            let mut arrival = Arrival { purged: horizon.stamp, unseen, ..arrival.clone() };
            if let Some(pushed_by) = &mut arrival.pushed_by {
                pushed_by.is_first = !puller.has_pushed && !wrote_purged;
            }
            answer.pushed = Some(take_page(tx, &arrival, limits, from, &mut pusher, push).await?);
        }
        answer.taken = pusher.number;
        // Where positions are given out at the commit, what the push changed is read after it.
        let stored = answer.pushed.as_ref().is_some_and(Pushed::stored);
        let unseen = exchange.pull.is_some()
            && (stored && tx.newest().await? == before || *by_scope && answer.pushed.is_some());
        let page = if unseen { None } else { self.page(tx, me, &puller).await? };
        Ok(Some(Turn { answer, page, seen: noted, puller }))
    }

    /// The page that is asked for, if one is.
    pub(super) async fn page(
        &self,
        tx: &mut dyn Transaction,
        me: ReplicaId,
        puller: &Puller,
    ) -> Result<Option<reading::Answer>> {
        let Some(pull) = &self.exchange.pull else { return Ok(None) };
        let Puller { horizon, has_pushed, grants } = puller;
        let asked = Asked {
            caller: &self.caller,
            seal: self.seal,
            from: Some(self.exchange.from),
            pull,
            has_pushed: *has_pushed,
            grants,
            horizon: Some(*horizon),
        };
        feed_page(tx, me, &self.arrival.models, &self.limits, asked).await.map(Some)
    }
}

/// What came of the first transaction of an exchange.
pub(super) struct Turn {
    pub(super) answer: Exchanged,
    /// The page, if one was asked for and could be read here.
    pub(super) page: Option<reading::Answer>,
    /// What is to be noted of how far the peer pulled.
    pub(super) seen: Option<Seen>,
    /// For a page that is read by itself.
    pub(super) puller: Puller,
}

/// What is known of a replica that calls, and what it may have missed.
pub(super) struct Known {
    pusher: PusherState,
    pub(super) seen: Seen,
    /// Whether it wrote something that was purged, whoever brought it.
    wrote_purged: bool,
    pub(super) puller: Puller,
}

/// What decides, beside its wish, what a replica gets.
#[derive(Clone, Default)]
pub(super) struct Puller {
    pub(super) horizon: Horizon,
    /// Whether it had pushed before.
    has_pushed: bool,
    /// Since when it gets which parts.
    grants: Grants,
}

impl Known {
    pub(super) async fn of(tx: &mut dyn Transaction, replica: ReplicaId, by_scope: bool) -> Result<Known> {
        let mut keys = vec![
            pusher_key(replica),
            purge::horizon_key(),
            purge::seen_key(replica),
            purge::writer_key(replica),
        ];
        if by_scope {
            keys.push(grants::key(replica));
        }
        let rows = tx.notes_of(Room::Peer, &keys).await?;
        let mut rows = keys.iter().zip(rows).map(|(key, row)| (key.as_str(), row));
        let mut next = || rows.next().and_then(|(key, row)| Some((key, row?)));
        let pusher: PusherState = notes::parsed(next())?;
        let (horizon, seen) = (notes::parsed(next())?, notes::parsed(next())?);
        let wrote_purged = next().is_some();
        let grants = notes::parsed(next())?;
        let has_pushed = pusher.has_pushed();
        Ok(Known { pusher, seen, wrote_purged, puller: Puller { horizon, has_pushed, grants } })
    }
}

/// Fails where what stands here in place of what was pushed is more than fits an answer: nothing of the page is taken
/// then, and it comes again in two.
fn fits_an_answer(outcomes: &[Outcome], limits: &Limits) -> Result<()> {
    let (bytes, most) = (outcomes.iter().map(size_of).sum::<usize>(), room_for_conflicts(limits));
    if outcomes.len() > 1 && bytes > most {
        let message = format!("{bytes} bytes of records conflict with this page; an answer holds {most}");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

/// Takes a numbered page: once, however often it comes. What is known of the pusher moves on with it.
async fn take_page(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    limits: &Limits,
    from: ReplicaId,
    pusher: &mut PusherState,
    push: PushPage,
) -> Result<Pushed> {
    if push.page.updates.len() > limits.page_records {
        let message = format!(
            "a page of {} records; at most {} are accepted",
            push.page.updates.len(),
            limits.page_records
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    let repeated = push.number == pusher.number && push.digest == pusher.digest && push.number > 0;
    if !repeated {
        if push.number <= pusher.number {
            return Ok(Pushed::TakeNewName);
        }
        if push.number > pusher.number + 1 {
            return Ok(Pushed::Expected(pusher.number + 1));
        }
    }
    let latest = arrival.latest();
    let is_ahead =
        |change: &Change| change.revision().replica == from && admission::leads(change, latest, |_| true);
    if push.page.updates.iter().any(|update| is_ahead(&update.state.change)) {
        return Ok(Pushed::ClockAhead);
    }
    let staged_key = format!("{PUSHED}{from}/");
    let (mut parts, mut extent) = (pusher.parts, pusher.extent);
    if parts && !repeated && !pusher.open {
        // The parts of the last group are kept until a page after it comes, in case its answer was lost.
        unstage(tx, &staged_key).await?;
        (parts, extent) = (false, Extent::default());
    }
    // Nothing is kept for those whose records are all going to be refused.
    let open = push.page.group_open && arrival.may_write_any();
    let (formerly, subject) = (pusher.formerly, pusher.subject.take());
    let (number, digest, parts) = (push.number, push.digest, parts || open);
    let whole = if parts { extent.with(&push.page.updates) } else { extent };
    // A part that comes again was counted before.
    if open && !repeated {
        extent = whole;
    }
    *pusher = PusherState { number, digest, open, parts, extent, formerly, subject };
    notes::save(tx, Room::Peer, &pusher_key(from), pusher).await?;
    let has_room = |bytes: usize| arrival.room().is_none_or(|room| bytes <= room);
    if open {
        match has_room(extent.bytes) {
            true => stage(tx, &staged_key, number, &adopt_all(&arrival.models, push.page.updates)).await?,
            false => unstage(tx, &staged_key).await?,
        }
        return Ok(Pushed::Staged);
    }
    if parts && !has_room(whole.bytes) {
        return Ok(Pushed::Applied(too_large_together(whole.records, limits)));
    }
    let mut updates = match parts {
        true => staged(tx, arrival, &staged_key).await?,
        false => Vec::new(),
    };
    updates.extend(push.page.updates);
    if parts && meets_too_much(tx, arrival, &updates).await? {
        return Ok(Pushed::Applied(too_large_together(updates.len(), limits)));
    }
    let deletes: Vec<bool> = updates.iter().map(|update| update.state.change.is_delete()).collect();
    let mut outcomes = apply_pushed(tx, arrival, updates).await?;
    match parts {
        false => fits_an_answer(&outcomes, limits)?,
        true => shorten(&mut outcomes, &deletes, limits),
    }
    Ok(Pushed::Applied(outcomes))
}

/// A group in parts that is too large is refused as it is written, together: it cannot come again in smaller ones.
fn too_large_together(records: usize, limits: &Limits) -> Vec<Outcome> {
    let reason = format!(
        "the {records} records that were written together, or what they change here, have more than {} bytes; write fewer \
         in one transaction",
        limits.transaction_bytes
    );
    let code = ErrorKind::TooLarge.code().to_owned();
    vec![Outcome::Rejected(Rejection { code, reason }); records]
}

/// A group in parts cannot come again in smaller ones: of those conflicts that no answer holds it is told that there are
/// too many, and what stands here comes with the next pull.
fn shorten(outcomes: &mut [Outcome], deletes: &[bool], limits: &Limits) {
    let mut left = room_for_conflicts(limits);
    for (outcome, is_delete) in outcomes.iter_mut().zip(deletes) {
        let size = size_of(outcome);
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => {
                let reason = "it conflicts with what is here, as does so much else of what was written with it that \
                              one answer cannot hold it; what is here comes with the next pull";
                // One that only waits for a child is to come again by itself.
                let kind = if *is_delete { ErrorKind::Constraint } else { ErrorKind::TooLarge };
                let code = kind.code().to_owned();
                *outcome = Outcome::Rejected(Rejection { code, reason: reason.to_owned() });
            }
        }
    }
}

/// How many bytes of conflicts an answer has room for. As text they may be some times as much.
fn room_for_conflicts(limits: &Limits) -> usize {
    limits.decompressed / 4
}

fn size_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Conflict(state) => state.size(),
        _ => 0,
    }
}

/// Applies what somebody pushed who holds it.
pub(super) async fn apply_pushed(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    updates: Vec<Update>,
) -> Result<Vec<Outcome>> {
    // Who may read every scope reads the feed itself, which has every tombstone.
    if arrival.pushed_by.as_ref().is_none_or(|pusher| pusher.caller.scopes().is_none()) {
        return Ok(apply(tx, arrival, updates).await?.outcomes);
    }
    let held: Vec<_> = updates.iter().map(scopes::held).collect();
    let outcomes = apply(tx, arrival, updates).await?.outcomes;
    let taken =
        held.into_iter().zip(&outcomes).filter(|(_, outcome)| !matches!(outcome, Outcome::Rejected(_)));
    scopes::note_held(tx, taken.filter_map(|(held, _)| held).collect()).await?;
    Ok(outcomes)
}
