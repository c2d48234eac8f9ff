//! The pushing half of a sync: the next page, and what its answers mean here.

use super::{RecordName, Session, Summary, record_of};
use crate::change::{Change, State};
use crate::engine::apply::Arrival;
use crate::engine::inbox::{self, Home, Matter, Parked, take_home};
use crate::engine::notes;
use crate::engine::outbox::{self, Next, Outgoing, whole};
use crate::engine::serve::sized;
use crate::replica::{Outcome, PushPage, Pushed, Rejection};
use crate::store::{Access, Transaction};
use crate::version::{ReplicaId, Stamp};
use crate::{ErrorKind, Result};
use std::collections::HashSet;

/// How a sync goes on after a page was answered.
pub(super) enum Answered {
    /// With the next page; says whether the answer brought work for another push.
    Done(bool),
    /// With the same page, some records whole.
    Again,
    /// From the beginning: a new name, new numbers or a corrected clock.
    Anew,
}

impl Session<'_> {
    /// rule: frozen page. The next page to send, durable before it leaves; nothing is written where there is none.
    pub(super) async fn outgoing(&self) -> Result<Next> {
        let (id, limits) = (self.id, self.limits);
        let waiting = self.engine.read(move |tx| {
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
        self.run_leased(access, move |tx| {
            Box::pin(async move { outbox::next(tx, id, limits.page_records, limits.page_bytes).await })
        })
        .await
    }

    /// The page as it travels: without the models that the peer does not hold, and after a new name without what
    /// it has.
    pub(super) async fn page(
        &self,
        outgoing: &Outgoing,
        in_full: &HashSet<RecordName>,
        summary: &mut Summary,
    ) -> Result<PushPage> {
        let known = |state: &&State| holds(&self.held, state);
        let mut lacking = None;
        if !outgoing.states.iter().all(|state| known(&state)) {
            let places = outgoing.states.iter().enumerate().filter(|(_, state)| known(state));
            lacking = Some(places.map(|(place, _)| place).collect());
        }
        if outgoing.diff_first {
            let changes = outgoing.states.iter().filter(known).map(|state| state.change.clone()).collect();
            summary.requests += 1;
            let diff = self.holding_lease(self.peer.diff(self.caller, changes)).await?;
            let wanted = diff.deltas.into_iter().chain(diff.conflicts.into_iter().map(|(mine, _)| mine));
            let wanted: HashSet<RecordName> = wanted.map(|change| (change.schema.name, change.id)).collect();
            let places =
                outgoing.states.iter().enumerate().filter(|(_, state)| {
                    wanted.contains(&(state.change.schema.name, state.change.id.clone()))
                });
            lacking = Some(places.map(|(place, _)| place).collect());
        }
        Ok(outgoing.page(in_full, lacking.as_ref()))
    }

    /// Goes on by what the peer said to a page.
    pub(super) async fn answered(
        &self,
        outgoing: &Outgoing,
        sent: Vec<RecordName>,
        pushed: Option<Pushed>,
        peer_now: Stamp,
        in_full: &mut HashSet<RecordName>,
        summary: &mut Summary,
    ) -> Result<Answered> {
        let (id, number) = (self.id, outgoing.number);
        match pushed {
            Some(Pushed::Applied(outcomes)) => {
                let wanted = wanted_whole(&sent, &outcomes);
                if wanted.iter().any(|record| in_full.contains(record)) {
                    return Err(self.odd("it wants a record whole that came whole"));
                }
                if !wanted.is_empty() {
                    in_full.extend(wanted);
                    return Ok(Answered::Again);
                }
                in_full.clear();
                let home = self.absorb(outgoing, &sent, outcomes).await?;
                summary.pushed += sent.len();
                summary.file(home.parked);
                Ok(Answered::Done(home.news))
            }
            Some(Pushed::Staged) => {
                let staged = self.run_leased(Access::WRITE, move |tx| {
                    Box::pin(async move { outbox::staged(tx, id, number).await })
                });
                staged.await?;
                summary.pushed += sent.len();
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

    /// rule: parents first. Sends once more what only a constraint of the peer refused: its parent may have come in
    /// a later page. Says whether something came home that the peer does not hold so.
    pub(super) async fn push_refused(&self, summary: &mut Summary) -> Result<bool> {
        let (id, arrival) = (self.id, self.engine.arrival(Some(self.id)));
        let models = arrival.models.clone();
        let refused = self
            .engine
            .run(Access::READ.long(), move |tx| Box::pin(inbox::refused_by_constraint(tx, models, id)));
        let mut news = false;
        for part in refused.await?.chunks(self.limits.page_records) {
            summary.requests += 1;
            let updates = part.iter().map(|(_, state)| whole(state.clone())).collect();
            let outcomes = self.holding_lease(self.peer.bulk_update(self.caller, updates)).await?;
            if outcomes.len() != part.len() {
                return Err(self.odd("the number of its answers is not that of the records sent"));
            }
            let (part, arrival) = (part.to_vec(), arrival.clone());
            let access = sized(Access::WRITE, part.len());
            let taken = self.run_leased(access, move |tx| {
                Box::pin(async move {
                    let mut theirs = Vec::new();
                    let mut settled = Vec::new();
                    for ((entry, _), outcome) in part.into_iter().zip(outcomes) {
                        match outcome {
                            Outcome::Rejected(_) | Outcome::NeedWhole => continue,
                            Outcome::Applied | Outcome::Known => {}
                            Outcome::Amended(state) | Outcome::Conflict(state) => theirs.push(whole(*state)),
                        }
                        inbox::remove(tx, &entry).await?;
                        settled.push((entry.schema.name, entry.id));
                    }
                    Ok((take_home(tx, &arrival, theirs).await?, settled))
                })
            });
            let (home, settled) = taken.await?;
            summary.parked.retain(|entry| !settled.contains(&(entry.schema.name, entry.id.clone())));
            summary.file(home.parked);
            news |= home.news;
        }
        Ok(news)
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
    async fn absorb(&self, outgoing: &Outgoing, sent: &[RecordName], outcomes: Vec<Outcome>) -> Result<Home> {
        let (id, number) = (self.id, outgoing.number);
        let arrival = self.engine.arrival(Some(id));
        let access = sized(Access::WRITE, outcomes.len());
        let sent: HashSet<RecordName> = sent.iter().cloned().collect();
        let held = self.held.clone();
        let mut states = outgoing.states.clone();
        let odd = self.odd("the number of its answers is not that of the records sent");
        self.run_leased(access, move |tx| {
            Box::pin(async move {
                let peer = notes::peer(tx, id).await?;
                if peer.numbered != number || peer.in_flight.is_none() {
                    return Ok(Home::default());
                }
                let in_parts = !peer.staged.is_empty();
                if in_parts {
                    states = outbox::unanswered(tx, id).await?;
                }
                let (mut states, strange): (Vec<State>, Vec<State>) =
                    states.into_iter().partition(|state| holds(&held, state));
                if !in_parts {
                    states.retain(|state| sent.contains(&record_of(state)));
                }
                if outcomes.len() != states.len() {
                    return Err(odd);
                }
                let answers = states.into_iter().zip(outcomes);
                take_answers(tx, &arrival, id, number, answers, strange).await
            })
        })
        .await
    }
}

/// The records that the peer wants whole. Answers of staged parts come before those of the page.
fn wanted_whole(sent: &[RecordName], outcomes: &[Outcome]) -> Vec<RecordName> {
    let of_page = &outcomes[outcomes.len().saturating_sub(sent.len())..];
    let wanted = sent.iter().zip(of_page).filter(|(_, outcome)| matches!(outcome, Outcome::NeedWhole));
    wanted.map(|(record, _)| record.clone()).collect()
}

/// Whether the peer holds the model of a state.
fn holds(held: &HashSet<String>, state: &State) -> bool {
    held.contains(state.change.schema.name)
}

async fn take_answers(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    peer: ReplicaId,
    number: u64,
    answers: impl Iterator<Item = (State, Outcome)>,
    strange: Vec<State>,
) -> Result<Home> {
    let mut theirs = Vec::new();
    let mut settled = Vec::new();
    let mut parked = Vec::new();
    let mut refuse = |change: Change, rejection: Rejection| {
        let matter = Matter::Rejected { revision: change.revision(), rejection };
        parked.push(Parked { schema: change.schema, id: change.id, peer, since: arrival.now, matter });
    };
    // Nobody can miss the delete of what they never had.
    for change in strange.into_iter().map(|state| state.change).filter(|change| !change.is_delete()) {
        let reason = format!("{}: the peer does not hold the model `{}`", change.name(), change.schema.name);
        let code = ErrorKind::UnknownModel.code().to_owned();
        refuse(change, Rejection { code, reason });
    }
    for (state, outcome) in answers {
        let change = state.change;
        match outcome {
            Outcome::Applied | Outcome::Known | Outcome::NeedWhole => {
                settled.push((change.schema, change.id))
            }
            Outcome::Amended(state) | Outcome::Conflict(state) => theirs.push(whole(*state)),
            Outcome::Rejected(rejection) => refuse(change, rejection),
        }
    }
    inbox::settle(tx, &arrival.models, settled).await?;
    // The bases are still there: they go with the acknowledgement.
    let mut home = take_home(tx, arrival, theirs).await?;
    for mut entry in parked {
        let ids = std::slice::from_ref(&entry.id);
        let current = tx.changes(entry.schema, ids).await?.pop().flatten();
        // An edit made since may be what the peer accepts; it will be sent.
        if !inbox::is_settled(&entry.matter, current.as_ref()) {
            inbox::park(tx, &arrival.models, &mut entry).await?;
            home.parked.push(entry);
        }
    }
    outbox::acknowledge(tx, peer, number).await?;
    Ok(home)
}
