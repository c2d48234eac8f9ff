//! The pushing half of a sync: the next page, and what its answers mean here.

use super::{Session, Summary};
use crate::change::{Change, RecordName, State};
use crate::engine::arrival::Arrival;
use crate::engine::inbox::{self, Home, Matter, Parked, take_home};
use crate::engine::notes;
use crate::engine::outbox::{self, Ahead, InFull, Next, Outgoing, Paging, whole};
use crate::engine::serve::sized;
use crate::engine::settle::{self, Said, Settled};
use crate::engine::unread;
use crate::replica::{Outcome, Page, PushPage, Pushed, Rejection, Update};
use crate::store::{Access, Transaction};
use crate::version::{ReplicaId, Stamp};
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeSet, HashSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// How a sync goes on after a page was answered.
pub(super) enum Answered {
    /// With the next page; says whether the answer brought work for another push.
    Done(bool),
    /// With the same page, some records whole.
    Again,
    /// From the beginning: a new name, new numbers or a corrected clock.
    Anew,
}

/// The records of a page that was sent.
#[derive(Debug, Default, Clone)]
pub(super) struct Sent {
    /// Those that travelled, in order.
    pub(super) changes: Vec<Change>,
    /// Those that did not, with the reason why not.
    withheld: Vec<(Change, Rejection)>,
    /// Those whose records cannot be read.
    unread: Vec<Change>,
}

impl Session<'_> {
    /// rule: frozen page. The next page to send, durable before it leaves; nothing is written where there is none.
    /// Records in `in_full` are sent whole; `ahead` is what was read already.
    pub(super) async fn outgoing(&self, in_full: &InFull, ahead: Option<Ahead>) -> Result<Next> {
        let (id, paging) = (self.id, self.paging());
        let waiting = self.engine.run(Access::READ.feed(), move |tx| {
            Box::pin(async move {
                let peer = notes::peer(tx, id).await?;
                Ok(tx.newest().await? - peer.sent() + i64::from(peer.in_flight.is_some()))
            })
        });
        let waiting = waiting.await?;
        if waiting <= 0 {
            return Ok(Next::Nothing);
        }
        let access = sized(Access::WRITE, usize::try_from(waiting).unwrap_or(usize::MAX)).durable();
        let in_full = in_full.clone();
        self.run_leased(access, move |tx| {
            Box::pin(async move { outbox::next(tx, id, &paging, &in_full, ahead).await })
        })
        .await
    }

    fn paging(&self) -> Paging {
        let limits = self.limits();
        // What was halved once is not filled up again by parents.
        let room = if limits == self.limits { self.room } else { limits.page_records };
        Paging { models: self.engine.models().clone(), limits, room }
    }

    /// Reads what the next page will most likely be, while this one is on its way.
    pub(super) async fn read_ahead(&self, outgoing: Option<&Outgoing>) -> Result<Option<Ahead>> {
        let Some(after) = outgoing.filter(|page| page.more && !page.group_open).map(|page| page.through)
        else {
            return Ok(None);
        };
        let (id, paging) = (self.id, self.paging());
        let read = self.engine.run(Access::READ.long(), move |tx| {
            Box::pin(async move {
                let not_from = notes::peer(tx, id).await?.not_from(id, after);
                outbox::ahead(tx, not_from, after, None, &paging).await
            })
        });
        read.await.map(Some)
    }

    /// The page as it travels: without the models that the peer does not hold, and after a new name without what
    /// it has. Takes the updates out of `outgoing`.
    pub(super) async fn page(
        &self,
        outgoing: &mut Outgoing,
        summary: &mut Summary,
    ) -> Result<(PushPage, Sent)> {
        let updates = std::mem::take(&mut outgoing.updates).into_iter();
        let (updates, strange): (Vec<Update>, Vec<Update>) =
            updates.partition(|update| holds(&self.held, &update.state.change));
        let (unread, mut updates): (Vec<Update>, Vec<Update>) =
            updates.into_iter().partition(|update| update.state.lacks_record());
        if outgoing.diff_first {
            let changes = updates.iter().map(|update| update.state.change.clone()).collect();
            summary.requests += 1;
            let diff = self.holding_lease(self.peer.diff(self.caller, changes)).await?;
            let wanted = diff.deltas.into_iter().chain(diff.conflicts.into_iter().map(|(mine, _)| mine));
            let wanted: HashSet<RecordName> = wanted.map(|change| change.record_name()).collect();
            updates.retain(|update| wanted.contains(&update.state.change.record_name()));
        }
        self.pushes(&updates);
        let sent = Sent {
            changes: updates.iter().map(|update| update.state.change.clone()).collect(),
            withheld: withheld(
                strange.into_iter().map(|update| update.state.change),
                std::mem::take(&mut outgoing.left_out),
            ),
            unread: unread.into_iter().map(|update| update.state.change).collect(),
        };
        let page = Page { updates, group_open: outgoing.group_open };
        Ok((PushPage { number: outgoing.number, digest: outgoing.digest, page }, sent))
    }

    /// Notes which parts these are pushed into. One that is sent as a patch was there before.
    fn pushes(&self, updates: &[Update]) {
        let mut parts = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        for update in updates.iter().filter(|update| update.based_on.is_none()) {
            let State { change, record } = &update.state;
            let record = record.as_ref().filter(|_| change.schema.scope.is_some());
            if let Some(Ok(scope)) = record.map(|record| change.schema.scope_of(record)) {
                parts.add(scope, change.schema.name);
            }
        }
    }

    /// The names of the parts that records were pushed into by this sync.
    pub(super) fn pushed_into(&self) -> BTreeSet<String> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner).names()
    }

    /// Goes on by what the peer said to a page.
    pub(super) async fn answered(
        &self,
        outgoing: &Outgoing,
        sent: Sent,
        pushed: Option<Pushed>,
        peer_now: Stamp,
        in_full: &mut InFull,
        summary: &mut Summary,
    ) -> Result<Answered> {
        let (id, number) = (self.id, outgoing.number);
        match pushed {
            Some(Pushed::Applied(mut outcomes)) => {
                // Answers of staged parts come before those of the page.
                let of_page = outcomes.len().saturating_sub(sent.changes.len());
                let of_page = &mut outcomes[of_page..];
                let wanted = wanted_whole(&sent.changes, of_page);
                if wanted.iter().any(|record| in_full.records.contains(record)) {
                    return Err(self.odd("it wants a record whole that came whole"));
                }
                if !wanted.is_empty() {
                    in_full.again(wanted, &sent.changes, of_page);
                    return Ok(Answered::Again);
                }
                in_full.correct(&sent.changes, of_page);
                summary.pushed += sent.changes.len();
                let home = self.absorb(number, sent, outcomes).await?;
                Ok(Answered::Done(summary.take_in(home)))
            }
            Some(Pushed::Staged) => {
                let staged = self.run_leased(Access::WRITE, move |tx| {
                    Box::pin(async move { outbox::staged(tx, id, number).await })
                });
                staged.await?;
                summary.pushed += sent.changes.len();
                Ok(Answered::Done(false))
            }
            Some(Pushed::TakeNewName) => {
                self.take_new_name().await?;
                Ok(Answered::Anew)
            }
            Some(Pushed::Expected(number)) => {
                self.restart(number).await?;
                Ok(Answered::Anew)
            }
            Some(Pushed::ClockAhead) => {
                self.engine.correct_clock(peer_now).await?;
                self.take_new_name().await?;
                Ok(Answered::Anew)
            }
            None => Err(self.odd("it did not answer the page")),
        }
    }

    /// Goes on after the peer, or something on the way to it, took a page for too large: with half of it, or without the
    /// one record that is too large by itself, which is parked.
    pub(super) async fn too_large(
        &self,
        outgoing: Option<&Outgoing>,
        sent: &Sent,
        error: Error,
    ) -> Result<()> {
        let id = self.id;
        let number = outgoing.map(|page| page.number);
        match (number, &sent.changes[..]) {
            (Some(_), []) => Err(error),
            (Some(number), [one]) => {
                let (position, reason) = (one.position, error.to_string());
                self.run_leased(Access::WRITE, move |tx| {
                    Box::pin(async move { outbox::leave_out(tx, id, number, position, reason).await })
                })
                .await
            }
            (None, _) if self.limits().page_records <= 1 => Err(error),
            (None, _) => {
                self.halved.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            (Some(number), _) => {
                self.halved.fetch_add(1, Ordering::Relaxed);
                self.run_leased(Access::WRITE, move |tx| {
                    Box::pin(async move { outbox::thaw(tx, id, number).await })
                })
                .await
            }
        }
    }

    /// Begins anew with a peer that lost pages which it had answered: its history broke.
    pub(super) async fn restart(&self, expected: u64) -> Result<()> {
        let id = self.id;
        self.begin_pull_by_diff().await?;
        self.run_leased(Access::WRITE, move |tx| {
            Box::pin(async move { outbox::restart(tx, id, expected).await })
        })
        .await
    }

    /// Takes the answer to a page: what the peer holds instead comes home, the rest is acknowledged.
    async fn absorb(&self, number: u64, sent: Sent, outcomes: Vec<Outcome>) -> Result<Home> {
        let id = self.id;
        let arrival = self.arrival();
        let access = sized(Access::WRITE, outcomes.len());
        let held = self.held.clone();
        let home = self.run_leased(access, move |tx| {
            Box::pin(async move {
                let peer = notes::peer(tx, id).await?;
                if peer.numbered != number || peer.in_flight.is_none() {
                    return Ok(Some(Home::default()));
                }
                let mut sent = sent;
                if !peer.staged.is_empty() {
                    let (states, left_out) = outbox::unanswered(tx, id).await?;
                    let (there, strange): (Vec<State>, Vec<State>) =
                        states.into_iter().partition(|state| holds(&held, &state.change));
                    let (unread, sent_whole): (Vec<State>, Vec<State>) =
                        there.into_iter().partition(State::lacks_record);
                    sent = Sent {
                        changes: changes_of(sent_whole).collect(),
                        withheld: withheld(changes_of(strange), left_out),
                        unread: changes_of(unread).collect(),
                    };
                }
                if outcomes.len() != sent.changes.len() {
                    return Ok(None);
                }
                let Sent { changes, withheld, unread } = sent;
                let answers = changes.into_iter().zip(outcomes);
                take_answers(tx, &arrival, id, number, answers, Unsent { withheld, unread }).await.map(Some)
            })
        });
        let odd = || self.odd("the number of its answers is not that of the records sent");
        home.await?.ok_or_else(odd)
    }
}

/// The records that the peer wants whole.
fn wanted_whole(sent: &[Change], outcomes: &[Outcome]) -> Vec<RecordName> {
    let wanted = sent.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::NeedWhole));
    wanted.map(|(change, _)| change.record_name()).collect()
}

/// Whether the peer holds the model of a change.
fn holds(held: &HashSet<String>, change: &Change) -> bool {
    held.contains(change.schema.name)
}

/// Those of a page that do not travel: of models that the peer does not hold, and too large for the way.
fn withheld(
    strange: impl Iterator<Item = Change>,
    left_out: Vec<(Change, String)>,
) -> Vec<(Change, Rejection)> {
    // Nobody can miss the delete of what they never had.
    let strange = strange.filter(|change| !change.is_delete()).map(|change| {
        let reason = format!("{}: the peer does not hold the model `{}`", change.name(), change.schema.name);
        (change, Rejection { code: ErrorKind::UnknownModel.code().to_owned(), reason })
    });
    let left_out = left_out
        .into_iter()
        .map(|(change, reason)| (change, Rejection { code: ErrorKind::TooLarge.code().to_owned(), reason }));
    strange.chain(left_out).collect()
}

fn changes_of(states: Vec<State>) -> impl Iterator<Item = Change> {
    states.into_iter().map(|state| state.change)
}

/// The records of a page that did not travel.
struct Unsent {
    withheld: Vec<(Change, Rejection)>,
    unread: Vec<Change>,
}

async fn take_answers(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    peer: ReplicaId,
    number: u64,
    answers: impl Iterator<Item = (Change, Outcome)>,
    Unsent { withheld, unread }: Unsent,
) -> Result<Home> {
    let mut theirs = Vec::new();
    let (mut stored, mut known) = (Vec::new(), Vec::new());
    let mut parked = Vec::new();
    let mut state = notes::peer(tx, peer).await?;
    let mut refused = withheld;
    for change in unread {
        let rejection = unread::refusal(tx, &change).await?;
        refused.push((change, rejection));
    }
    let mut taken = Vec::new();
    for (change, outcome) in answers {
        let is_taken = matches!(outcome, Outcome::Applied | Outcome::Known | Outcome::Amended(_));
        if is_taken && !state.leaving.is_empty() {
            taken.push((change.schema.name, change.id.to_string()));
        }
        match outcome {
            Outcome::Applied => stored.push(Settled::of(change.schema, change.id)),
            Outcome::Known => known.push(Settled::of(change.schema, change.id)),
            // It is sent again.
            Outcome::NeedWhole => {}
            Outcome::Conflict(there) if inbox::waits_there(&change, &there) => {
                parked.push(inbox::waiting_there(arrival, peer, *there));
            }
            Outcome::Amended(state) | Outcome::Conflict(state) => theirs.push(whole(*state)),
            Outcome::Rejected(rejection) => refused.push((change, rejection)),
        }
    }
    for (change, rejection) in refused {
        let before = inbox::rejected_by(tx, &arrival.models, &change, peer).await?;
        let mut bases =
            tx.bases(change.schema, std::slice::from_ref(&change.id)).await?.pop().unwrap_or_default();
        // What it refused before it does not hold, although it was sent.
        bases.retain(|base| {
            before.as_ref().is_none_or(|(revision, _)| base.state.change.revision() != *revision)
        });
        let held = outbox::held(bases, &change, peer, &state).or(before.and_then(|(_, held)| held));
        let matter = Matter::Rejected { revision: change.revision(), rejection, held };
        parked.push(Parked { schema: change.schema, id: change.id, peer, since: arrival.now, matter });
    }
    if state.took(taken.into_iter()) {
        notes::set_peer(tx, peer, &state).await?;
    }
    settle::settle(tx, &arrival.models, Said::Stored(peer), stored).await?;
    settle::settle(tx, &arrival.models, Said::Knew(peer), known).await?;
    // The bases are still there: they go with the acknowledgement.
    let mut home = take_home(tx, arrival, theirs).await?;
    for mut entry in parked {
        let ids = std::slice::from_ref(&entry.id);
        let current = tx.changes(entry.schema, ids).await?.pop().flatten();
        // An edit made since may be what the peer accepts; it will be sent.
        if !settle::is_settled(&entry.matter, current.as_ref()) {
            inbox::park(tx, &arrival.models, &mut entry).await?;
            home.parked.push(entry);
        }
    }
    outbox::acknowledge(tx, peer, number).await?;
    Ok(home)
}
