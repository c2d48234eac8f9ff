//! The pulling half of a sync: page after page, with the checkpoint that covers them.

use super::{Session, Summary};
use crate::engine::adopt::adopt_all;
use crate::engine::arrival::Arrival;
use crate::engine::inbox::{self, Home, take_home};
use crate::engine::leaving;
use crate::engine::notes::{self, Apart, Leaving, PeerState};
use crate::engine::parts::Parts;
use crate::engine::reading;
use crate::engine::replicate::as_asked;
use crate::engine::serve::{self, sized};
use crate::env::BoxFuture;
use crate::planted::{self, Bug};
use crate::query::{Filter, Selection};
use crate::record::Id;
use crate::replica::{Caller, Exchange, Exchanged, Exit, FeedPage, Pull, Pulled, Update};
use crate::schema::ModelSchema;
use crate::store::{Access, Feed, Transaction};
use crate::version::{Checkpoint, Position, ReplicaId};
use crate::{ErrorKind, Result};
use futures_util::future::Either;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// Records of several pulled pages that are applied in one local transaction, while memory stays bounded.
const APPLY_RECORDS: usize = 1_000;
/// Bytes of the same.
const APPLY_BYTES: usize = 3 << 20;

/// Pages that came and are not applied yet.
#[derive(Clone)]
struct Batch {
    updates: Vec<Update>,
    bytes: usize,
    /// Covers all of them.
    checkpoint: Checkpoint,
    /// Whether the last group goes on in the next page.
    open: bool,
    /// The models that they do not cover.
    without: BTreeSet<String>,
    /// The scopes that they cover, where not all may be read.
    scopes: Option<BTreeSet<String>>,
    /// Those that may be read as well and are not wanted.
    unwanted: BTreeSet<String>,
    /// Records that left a scope in the last of them.
    exits: Vec<Exit>,
    /// Whether others did of which nothing is told.
    withheld: bool,
    /// The peer's horizon.
    horizon: Position,
}

impl Batch {
    fn is_full(&self) -> bool {
        // What left in one page may be back in the next.
        !self.exits.is_empty()
            || self.open
            || self.updates.len() >= APPLY_RECORDS
            || self.bytes >= APPLY_BYTES
    }
}

/// What came of pulling some scopes by themselves.
enum Beside {
    Covers(Home),
    /// These may not be read any more.
    Without(Vec<String>),
}

/// What the future in this slot ends with, which empties it; an empty one never ends.
fn poll_slot<T>(slot: &mut Option<BoxFuture<'_, T>>, context: &mut Context<'_>) -> Poll<T> {
    let polled = slot.as_mut().map_or(Poll::Pending, |future| future.as_mut().poll(context));
    if polled.is_ready() {
        *slot = None;
    }
    polled
}

impl Session<'_> {
    /// The wish for what came since the last pull, and the models that the pulls up to now did not cover.
    pub(super) async fn wish(&self) -> Result<(Pull, BTreeSet<String>)> {
        let id = self.id;
        let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
        let pull = self.pull_since(peer.pulled_staged.or(peer.pulled), peer.horizon);
        Ok((pull, peer.without))
    }

    /// The models of this replica that a page does not cover.
    fn without(&self, page: &FeedPage) -> BTreeSet<String> {
        let names = self.engine.models().iter().map(|model| model.schema.name);
        names.filter(|name| !page.covers(name)).map(str::to_owned).collect()
    }

    /// Pulls page after page: the next ones are fetched while those that came are applied.
    ///
    /// `taken` is the page of this replica that the peer took last: nobody else may push under its name meanwhile.
    pub(super) async fn pull(&self, first: FeedPage, taken: u64, summary: &mut Summary) -> Result<bool> {
        let mut news = false;
        let mut end = Ok(());
        let (mut since, mut horizon, mut more) = (first.checkpoint, first.horizon, first.more);
        let scopes = first.scopes.clone();
        let mut collected = Some(self.collect(None, first, summary));
        let mut fetching: Option<BoxFuture<'_, Result<Exchanged>>> = None;
        let mut applying: Option<BoxFuture<'_, Result<Home>>> = None;
        loop {
            if applying.is_none()
                && let Some(batch) = collected.take_if(|batch| !more || batch.is_full())
            {
                applying = Some(Box::pin(self.take(batch)));
            }
            if more && fetching.is_none() && !collected.as_ref().is_some_and(Batch::is_full) {
                fetching = Some(Box::pin(self.fetch(since, horizon)));
            }
            if applying.is_none() && fetching.is_none() {
                return end.map(|()| news);
            }
            let ended = poll_fn(|context| match poll_slot(&mut fetching, context) {
                Poll::Ready(answer) => Poll::Ready(Either::Left(answer)),
                Poll::Pending => poll_slot(&mut applying, context).map(Either::Right),
            });
            match ended.await {
                Either::Left(Ok(answer)) => {
                    summary.requests += 1;
                    match answer.pulled {
                        Some(Pulled::Page(page))
                            if answer.replica == self.id
                                && answer.taken == taken
                                && page.scopes == scopes =>
                        {
                            let is_stuck = page.more && page.checkpoint.position <= since.position;
                            (since, horizon, more) = (page.checkpoint, page.horizon, page.more);
                            if is_stuck {
                                (more, end) = (false, Err(self.odd("a pull comes no further")));
                            }
                            collected = Some(self.collect(collected, page, summary));
                        }
                        // The peer, or this replica, is not who it was; what came so far is good, and the next sync
                        // goes on from there.
                        _ => more = false,
                    }
                }
                // Once more, for less.
                Either::Left(Err(error))
                    if error.kind() == ErrorKind::TooLarge && self.limits().page_records > 1 =>
                {
                    self.halved.fetch_add(1, Ordering::Relaxed);
                }
                // What came before is good.
                Either::Left(Err(error)) => (more, end) = (false, Err(error)),
                Either::Right(home) => {
                    let home = home?;
                    news |= summary.take_in(home);
                }
            }
        }
    }

    /// Adds a page to those that were not applied yet.
    fn collect(&self, before: Option<Batch>, page: FeedPage, summary: &mut Summary) -> Batch {
        let without = self.without(&page);
        let updates = page.page.updates;
        summary.pulled += updates.len();
        self.progress(summary, 0, usize::try_from(page.ahead).unwrap_or(0));
        let size = |update: &Update| update.state.size().max(32);
        let mut batch = before.unwrap_or(Batch {
            updates: Vec::new(),
            bytes: 0,
            checkpoint: page.checkpoint,
            open: false,
            without: BTreeSet::new(),
            scopes: page.scopes,
            unwanted: page.unwanted,
            exits: Vec::new(),
            withheld: false,
            horizon: page.horizon,
        });
        batch.without.extend(without);
        batch.exits.extend(page.exits);
        batch.withheld |= page.withheld;
        batch.bytes += updates.iter().map(size).sum::<usize>();
        batch.updates.extend(updates);
        let (checkpoint, horizon) = (page.checkpoint, page.horizon);
        Batch { checkpoint, horizon, open: page.page.group_open, ..batch }
    }

    /// Fetches the page after a checkpoint.
    async fn fetch(&self, since: Checkpoint, horizon: Position) -> Result<Exchanged> {
        let pull = Some(self.pull_since(Some(since), horizon));
        let exchange = Exchange { from: self.me, to: self.id, push: None, pull };
        self.holding_lease(self.peer.exchange(self.caller, exchange)).await
    }

    /// Applies pulled updates and moves the checkpoint that covers them, in one transaction.
    async fn take(&self, batch: Batch) -> Result<Home> {
        let id = self.id;
        let arrival = self.arrival();
        let checkpoint = batch.checkpoint;
        if batch.updates.is_empty() && batch.exits.is_empty() && !batch.withheld {
            let current =
                self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
            let covered = batch.without.is_subset(&current.without);
            if covered
                && current.scopes == batch.scopes
                && current.pulled == Some(checkpoint)
                && current.pulled_staged.is_none()
                && current.leaving.is_empty()
            {
                return Ok(Home::default());
            }
        }
        if planted::on(Bug::CheckpointFirst) {
            let early = self.engine.run(Access::WRITE, move |tx| {
                Box::pin(async move {
                    let peer = notes::peer(tx, id).await?;
                    notes::set_peer(tx, id, &PeerState { pulled: Some(checkpoint), ..peer }).await
                })
            });
            early.await?;
        }
        self.drops.fetch_or(!batch.unwanted.is_empty(), Ordering::Relaxed);
        self.sweeps.fetch_or(batch.withheld, Ordering::Relaxed);
        let (access, pushed) = (sized(Access::WRITE, batch.updates.len()), self.pushed_into());
        self.run_leased(access, move |tx| {
            Box::pin(async move { take_pulled(tx, &arrival, id, batch, &pushed).await })
        })
        .await
    }

    /// Whether the peer covers other scopes now than what was pulled before; what is to be done about it is noted then.
    pub(super) async fn rescopes(&self, page: &FeedPage) -> Result<bool> {
        let (id, covered, unwanted) = (self.id, page.scopes.clone(), page.unwanted.clone());
        let known = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
        let mut drops = known.clone();
        drops.split(covered.iter().flatten().chain(&unwanted));
        let pushed = self.pushed_into();
        self.drops.fetch_or(!known.dropping.is_empty(), Ordering::Relaxed);
        let is_level = known.scopes == covered && !drops.drops(&unwanted, &pushed);
        if known.pulled.is_none() || is_level {
            return Ok(false);
        }
        self.run_leased(Access::WRITE, move |tx| {
            Box::pin(async move {
                // What is staged of a group is of the scopes before.
                serve::unstage(tx, &staged_prefix(id)).await?;
                let mut peer = notes::peer(tx, id).await?;
                peer.pulled_staged = None;
                let peer = match covered.is_none() {
                    // Every scope may be read: most of it is here already.
                    true => peer.pulled_anew(),
                    false => {
                        peer.split(covered.iter().flatten().chain(&unwanted));
                        peer.drops(&unwanted, &pushed);
                        peer.rescope(covered.as_ref());
                        peer
                    }
                };
                notes::set_peer(tx, id, &peer).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Pulls those of the scopes that may be read now which were not covered, each from where it stood, up to where all the
    /// others are.
    pub(super) async fn catch_up(&self, mut readable: BTreeSet<String>, summary: &mut Summary) -> Result<()> {
        let id = self.id;
        loop {
            let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
            let Some(goal) = peer.pulled else { return Ok(()) };
            let mut open = peer.apart.iter().filter(|(scope, _)| readable.contains(*scope));
            let Some((first, from)) = open.next().map(|(scope, from)| (scope.clone(), *from)) else {
                return Ok(());
            };
            // Those that stand at one place go together.
            let group: BTreeSet<String> = open
                .filter(|(_, other)| **other == from)
                .map(|(scope, _)| scope.clone())
                .chain([first])
                .collect();
            let Some(pulled) = self.pull_apart(&group, from, goal, summary).await? else {
                return Ok(());
            };
            match pulled {
                Beside::Covers(home) => {
                    summary.take_in(home);
                }
                Beside::Without(scopes) => readable.retain(|scope| !scopes.contains(scope)),
            }
        }
    }

    /// One page of some scopes, or all of a group that is larger; `None` if the peer is not who it was.
    async fn pull_apart(
        &self,
        group: &BTreeSet<String>,
        from: Apart,
        goal: Checkpoint,
        summary: &mut Summary,
    ) -> Result<Option<Beside>> {
        let (mut updates, mut exits, mut withheld, mut from) = (Vec::new(), Vec::new(), false, from);
        // Where something of them is here already, what is gone of them is to come as well.
        if from.pulled.is_none() && self.holds_any(group).await? {
            from.pulled = Some(Checkpoint::new(self.id, 0));
        }
        loop {
            let scopes = Some(group.clone());
            let pull =
                Pull { scopes, through: Some(goal.position), ..self.pull_since(from.pulled, from.horizon) };
            let answer = self.exchange(None, Some(pull), summary).await?;
            let page = match answer.pulled {
                _ if answer.replica != self.id => return Ok(None),
                Some(Pulled::Page(page)) => page,
                Some(Pulled::Purged) => {
                    self.begin_comparison().await?;
                    return Ok(None);
                }
                Some(Pulled::UnknownCheckpoint) | None => {
                    self.begin_pull_by_diff().await?;
                    return Ok(None);
                }
            };
            let covered = page.scopes.clone().unwrap_or_else(|| group.clone());
            if covered != *group {
                return Ok(Some(Beside::Without(group.difference(&covered).cloned().collect())));
            }
            summary.pulled += page.page.updates.len();
            updates.extend(page.page.updates);
            exits.extend(page.exits);
            withheld |= page.withheld;
            from = Apart { pulled: Some(page.checkpoint), horizon: page.horizon };
            if page.page.group_open && page.more {
                continue;
            }
            let (id, arrival, group, is_level) = (
                self.id,
                self.arrival(),
                group.clone(),
                !page.more || page.checkpoint.position >= goal.position,
            );
            let access = sized(Access::WRITE, updates.len());
            let home = self.run_leased(access, move |tx| {
                Box::pin(async move {
                    let mut peer = notes::peer(tx, id).await?;
                    peer.sweep |= withheld;
                    peer.came(&updates);
                    let mut home = take_home(tx, &arrival, updates).await?;
                    leaving::leave(tx, &arrival, id, &mut peer, exits, &mut home).await?;
                    for scope in group {
                        match (is_level, &mut peer.scopes) {
                            (true, Some(scopes)) => {
                                peer.apart.remove(&scope);
                                scopes.insert(scope);
                            }
                            _ => drop(peer.apart.insert(scope, from)),
                        }
                    }
                    notes::set_peer(tx, id, &peer).await?;
                    Ok(home)
                })
            });
            return home.await.map(|home| Some(Beside::Covers(home)));
        }
    }

    /// Whether any record of these parts is here.
    async fn holds_any(&self, parts: &BTreeSet<String>) -> Result<bool> {
        let (parts, models) = (Parts::named(parts), self.engine.models().clone());
        self.engine
            .run(Access::READ.long(), move |tx| {
                Box::pin(async move {
                    for model in models.iter().filter(|model| model.schema.scope.is_some()) {
                        if holds(tx, model.schema, &parts).await? {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                })
            })
            .await
    }

    /// Whether revisions are to be compared first.
    pub(super) async fn pulls_by_diff(&self) -> Result<bool> {
        let id = self.id;
        let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await }));
        Ok(peer.await?.pull_by_diff)
    }

    /// The checkpoint is of no use, as it is not of the peer's history or passed by what may be read now: starts from the
    /// beginning.
    pub(super) async fn begin_pull_by_diff(&self) -> Result<()> {
        self.begin_anew(PeerState::forgotten).await
    }

    /// The peer purged tombstones that this replica has not seen: starts from the beginning, and looks at the end what the
    /// peer does not have any more.
    pub(super) async fn begin_comparison(&self) -> Result<()> {
        self.begin_anew(|peer| PeerState { sweep: true, ..peer.pulled_anew() }).await
    }

    async fn begin_anew(&self, anew: fn(PeerState) -> PeerState) -> Result<()> {
        let id = self.id;
        self.run_leased(Access::WRITE, move |tx| {
            Box::pin(async move {
                serve::unstage(tx, &staged_prefix(id)).await?;
                let peer = anew(notes::peer(tx, id).await?);
                notes::set_peer(tx, id, &peer).await
            })
        })
        .await
    }

    /// Compares revisions first, and fetches only what is lacking here.
    pub(super) async fn pull_by_diff(&self, summary: &mut Summary) -> Result<bool> {
        let id = self.id;
        let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await }));
        let peer = peer.await?;
        let (mut since, mut horizon) = (peer.pulled, peer.horizon);
        let mut by_scope = since.is_some() && peer.scopes.is_some();
        let mut seen: Option<Position> = None;
        let mut news = false;
        let (mut changes, mut exits, mut withheld) = (Vec::new(), Vec::new(), false);
        loop {
            let pull = Pull { data: false, ..self.pull_since(since, horizon) };
            summary.requests += 1;
            let asked = self.holding_lease(self.peer.changes(self.caller, pull));
            let page = match asked.await? {
                Pulled::Page(page) => page,
                // Its history broke again, or it purged meanwhile; the next sync begins anew.
                Pulled::UnknownCheckpoint => {
                    self.begin_pull_by_diff().await?;
                    return Ok(news);
                }
                Pulled::Purged => {
                    self.begin_comparison().await?;
                    return Ok(news);
                }
            };
            if page.horizon > seen.unwrap_or_else(|| peer.passed(page.scopes.as_ref())) {
                // What was purged since comes in no page.
                self.begin_sweep().await?;
            }
            seen = Some(page.horizon);
            if by_scope && page.scopes.is_none() {
                // Every scope may be read since the last page; what came up to there was of some.
                self.begin_pull_by_diff().await?;
                return Ok(news);
            }
            by_scope = page.scopes.is_some();
            let (checkpoint, without, scopes) = (page.checkpoint, self.without(&page), page.scopes.clone());
            (since, horizon) = (Some(checkpoint), page.horizon);
            changes.extend(page.page.updates.into_iter().map(|update| update.state.change));
            exits.extend(page.exits);
            withheld |= page.withheld;
            if page.page.group_open {
                continue;
            }
            let (here, models) = (std::mem::take(&mut changes), self.engine.models().clone());
            let diff = self.engine.run(Access::READ.long(), move |tx| {
                Box::pin(async move { reading::diff(tx, &models, &Caller::owner(), here).await })
            });
            let diff = diff.await?;
            let lacking: Vec<_> =
                diff.deltas.into_iter().chain(diff.conflicts.into_iter().map(|(theirs, _)| theirs)).collect();
            let mut updates = Vec::new();
            if !lacking.is_empty() {
                summary.requests += 1;
                let asked = self.holding_lease(self.peer.create_updates(self.caller, lacking.clone()));
                updates = as_asked(&lacking, asked.await?);
            }
            summary.pulled += updates.len();
            let batch = Batch {
                updates,
                bytes: 0,
                checkpoint,
                open: false,
                without,
                scopes,
                unwanted: page.unwanted,
                exits: std::mem::take(&mut exits),
                withheld,
                horizon,
            };
            let home = self.take(batch).await?;
            news |= summary.take_in(home);
            self.progress(summary, 0, usize::try_from(page.ahead).unwrap_or(0));
            if !page.more {
                if self.sweep(summary).await? {
                    self.end_comparison().await?;
                }
                return Ok(news);
            }
        }
    }

    /// Looks at the end of the comparison what the peer does not have any more.
    async fn begin_sweep(&self) -> Result<()> {
        let id = self.id;
        self.run_leased(Access::WRITE, move |tx| {
            Box::pin(async move {
                let peer = notes::peer(tx, id).await?;
                notes::set_peer(tx, id, &PeerState { sweep: true, ..peer }).await
            })
        })
        .await
    }

    pub(super) fn pull_since(&self, since: Option<Checkpoint>, horizon: Position) -> Pull {
        let models = self.engine.models().clone();
        let only = self.only.clone();
        Pull { since, horizon, only, limit: self.limits().page_records, ..Pull::of(models) }
    }
}

/// Whether any record of a model is here that is in one of these parts.
async fn holds(tx: &mut dyn Transaction, schema: &'static ModelSchema, parts: &Parts) -> Result<bool> {
    let scopes = parts.scopes_of(schema.name);
    if scopes.clone().next().is_none() {
        return Ok(false);
    }
    // Where only the record as a whole tells its scope, each is asked.
    let (filter, limit) = schema.in_scopes(scopes).map_or((Filter::All, APPLY_RECORDS), |filter| (filter, 1));
    let mut after: Option<Id> = None;
    loop {
        let behind = after.as_ref().map(|id| schema.after_id(id)).transpose()?;
        let filter = Filter::And([filter.clone()].into_iter().chain(behind).collect());
        let selection =
            Selection { filter, limit: Some(limit as u64), lenient: true, ..Selection::default() };
        let records = tx.select(schema, &selection).await?;
        let is_in = |record| schema.scope_of(record).is_ok_and(|scope| parts.hold(schema.name, &scope));
        if records.iter().any(is_in) {
            return Ok(true);
        }
        match records.last() {
            Some(last) if records.len() == limit => after = Some(schema.id_of(last)?),
            _ => return Ok(false),
        }
    }
}

async fn take_pulled(
    tx: &mut dyn Transaction,
    arrival: &Arrival,
    id: ReplicaId,
    batch: Batch,
    pushed: &BTreeSet<String>,
) -> Result<Home> {
    let Batch { updates, checkpoint, open, without, scopes, unwanted, exits, withheld, horizon, .. } = batch;
    let mut peer = notes::peer(tx, id).await?;
    peer.sweep |= withheld;
    if peer.pulled.is_none() || peer.scopes != scopes {
        peer.split(scopes.iter().flatten().chain(&unwanted));
        peer.drops(&unwanted, pushed);
        peer.rescope(scopes.as_ref());
    }
    peer.without.extend(without);
    let prefix = staged_prefix(id);
    if open {
        let updates = adopt_all(&arrival.models, updates);
        serve::stage(tx, &prefix, checkpoint.position.unsigned_abs(), &updates).await?;
        peer.pulled_staged = Some(checkpoint);
        // What left with the group goes with the rest of it.
        peer.leaving.extend(exits.into_iter().map(|exit| Leaving::of(exit, false)));
        notes::set_peer(tx, id, &peer).await?;
        return Ok(Home::default());
    }
    let updates = match peer.pulled_staged {
        Some(_) => {
            let mut staged = serve::staged(tx, arrival, &prefix).await?;
            serve::unstage(tx, &prefix).await?;
            staged.extend(updates);
            staged
        }
        None => updates,
    };
    let before = tx.newest().await?;
    let level_before = peer.in_flight.is_none() && peer.staged.is_empty() && before <= peer.pushed;
    peer.came(&updates);
    let mut home = take_home(tx, arrival, updates).await?;
    home.add(inbox::retry_refused(tx, arrival).await?);
    leaving::leave(tx, arrival, id, &mut peer, exits, &mut home).await?;
    let newest: Position = tx.newest().await?;
    if level_before && !home.news {
        // Nothing of this store is waiting for the peer, and what came is the peer's own: nothing to look through.
        let feed = Feed { not_from: Some(id), limit: 1, ..Feed::after(before) };
        if tx.feed(&feed).await?.is_empty() {
            peer.pushed = newest;
        }
    }
    let older = |seen: Checkpoint| seen.replica == checkpoint.replica && seen.position > checkpoint.position;
    if !peer.pulled.is_some_and(older) {
        (peer.pulled, peer.horizon) = (Some(checkpoint), horizon);
    }
    peer.pulled_staged = None;
    notes::set_peer(tx, id, &peer).await?;
    Ok(home)
}

/// Where the parts of a group are kept that is larger than a page of this peer.
pub(super) fn staged_prefix(peer: ReplicaId) -> String {
    format!("pull/{peer}/")
}
