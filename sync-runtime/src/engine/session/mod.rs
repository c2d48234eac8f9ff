//! One sync with a peer: push, pull, until both are level or a bound is reached and said.

mod lease;
mod only;
mod pull;
mod push;
mod refused;
mod sweep;
mod unwanted;

use super::Engine;
use super::accounts;
use super::arrival::{Arrival, Merging};
use super::inbox::{self, Home, Parked};
use super::notes::{self, PeerState, peer_key};
use super::outbox::{InFull, Next};
use super::parents;
use super::parts::Parts;
use super::rebase::Rebased;
use super::rename::{self, RENAMING};
use crate::env::fresh_replica;
use crate::query::{Filter, Only};
use crate::replica::{Caller, Description, Exchange, Exchanged, Limits, Pull, Pulled, PushPage, Replica};
use crate::schema::ModelSchema;
use crate::store::{Access, Room};
use crate::version::ReplicaId;
use crate::{Error, ErrorKind, Result};
use futures_util::future::join;
use lease::{Held, claim, lease, release};
use push::{Answered, Sent};
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// How often push and pull are repeated while one brings work for the other.
const ROUNDS: usize = 3;
/// How often a new name, a lost history or a corrected clock may start a sync anew.
const RESTARTS: usize = 6;
/// How far a sync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Records that the peer has answered.
    pub pushed: usize,
    /// About how many records are still to push.
    pub to_push: usize,
    /// Records that came.
    pub pulled: usize,
    /// About how many records are still to come.
    pub to_pull: usize,
}

/// What a sync does.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) push: bool,
    pub(crate) pull: bool,
    /// Of these models only what matches is pulled.
    pub(crate) only: Only,
    /// Records in a page; the peer's limit holds as well.
    pub(crate) page: usize,
    pub(crate) progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("push", &self.push).field("pull", &self.pull).finish_non_exhaustive()
    }
}

/// What came of a sync.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) peer: Option<ReplicaId>,
    pub(crate) pushed: usize,
    pub(crate) pulled: usize,
    pub(crate) parked: Vec<Parked>,
    pub(crate) rebased: Vec<Rebased>,
    pub(crate) requests: usize,
    /// Whether both were level at the end.
    pub(crate) level: bool,
}

impl Summary {
    /// Adds what came home; says whether it brought work for another push.
    fn take_in(&mut self, home: Home) -> bool {
        self.rebased.extend(home.rebased);
        self.file(home.parked);
        home.news
    }

    /// Adds entries; one of the same record is replaced.
    pub(crate) fn file(&mut self, parked: Vec<Parked>) {
        for entry in parked {
            self.parked.retain(|other| (other.schema.name, &other.id) != (entry.schema.name, &entry.id));
            self.parked.push(entry);
        }
    }
}

/// Why a round ended early.
enum Turn {
    /// Push and pull are done.
    Done,
    /// Who the peer is, or who this is, changed: begin anew.
    Anew,
}

/// Syncs with a peer.
pub(crate) async fn sync(engine: &Engine, peer: &dyn Replica, plan: Plan) -> Result<Summary> {
    let owner = Caller::owner();
    let (mut summary, mut halved) = (Summary::default(), 0);
    let wanted = plan.only.clone()?;
    engine.check_history().await?;
    for _ in 0..RESTARTS {
        let description = peer.describe(&owner).await?;
        let id = description.replica;
        if id == engine.id().await? {
            // A peer that described itself before may have taken a new name since.
            if peer.checkpoint(&owner).await?.replica != id {
                continue;
            }
            let message = "a replica cannot sync with itself; if one of the two is a copy of the other's file, \
                           open the copy with a new name (`Workspace::restored`)";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        description.check_against(engine.models())?;
        summary.peer = Some(id);
        let _claim = claim(engine, id).await?;
        let (lease, me) = lease(engine, id).await?;
        let limits = limits(&plan, &description);
        let room = description.limits.page_records;
        let held: HashSet<String> = description.models.into_iter().map(|model| model.name).collect();
        let only = wanted.iter().filter(|(schema, _)| held.contains(schema.name)).cloned().collect();
        let held = Arc::new(held);
        let upstream = engine.is_upstream(id).await;
        let caller = &owner.as_known(description.subject.clone());
        let session = Session {
            me,
            engine,
            peer,
            id,
            caller,
            plan: &plan,
            only,
            limits,
            halved: AtomicU32::new(halved),
            room,
            held,
            upstream,
            pushed: Mutex::default(),
            drops: AtomicBool::new(false),
            sweeps: AtomicBool::new(false),
            lease,
        };
        let turn = session.run(description.former, description.subject, &mut summary).await;
        // What was too large once is too large when it begins anew.
        halved = session.halved.load(Ordering::Relaxed);
        let released = release(engine, id).await;
        if session.lease.is_lost() {
            // What it was told last may be long past; whoever took over went on from there.
            continue;
        }
        let turn = turn?;
        released?;
        match turn {
            Turn::Done => return Ok(summary),
            Turn::Anew => continue,
        }
    }
    let message = format!("the sync with {} began anew {RESTARTS} times without an end", name(summary.peer));
    Err(Error::new(ErrorKind::Busy, message))
}

fn name(peer: Option<ReplicaId>) -> String {
    peer.map_or_else(|| "the peer".to_owned(), |peer| peer.to_string())
}

fn limits(plan: &Plan, description: &Description) -> Limits {
    let announced = description.limits;
    Limits { page_records: announced.page_records.min(plan.page).max(1), ..announced }
}

struct Session<'a> {
    /// The name under which all of this sync is.
    me: ReplicaId,
    engine: &'a Engine,
    peer: &'a dyn Replica,
    id: ReplicaId,
    caller: &'a Caller,
    plan: &'a Plan,
    /// Of these models only what matches is pulled.
    only: Vec<(&'static ModelSchema, Filter)>,
    limits: Limits,
    /// How often a page was halved because the peer, or something on the way to it, takes no larger one.
    halved: AtomicU32,
    /// The most records that the peer takes in a page.
    room: usize,
    /// The models that the peer holds.
    held: Arc<HashSet<String>>,
    /// Whether the peer is declared upstream.
    upstream: bool,
    /// The parts that records were pushed into.
    pushed: Mutex<Parts>,
    /// Whether something is here that is not wanted.
    drops: AtomicBool,
    /// Whether something is to be looked for that is gone at the peer.
    sweeps: AtomicBool,
    /// That nobody else syncs the pair meanwhile.
    lease: Arc<Held>,
}

impl Session<'_> {
    async fn run(
        &self,
        former: Vec<ReplicaId>,
        subject: Option<String>,
        summary: &mut Summary,
    ) -> Result<Turn> {
        let asked = self.meet(former, subject).await?;
        self.narrow(asked).await?;
        for _ in 0..ROUNDS {
            let pushed = summary.pushed;
            let news = match self.round(summary).await? {
                Some(news) => news,
                None => return Ok(Turn::Anew),
            };
            self.drop_unmatched(summary.pushed > pushed).await?;
            self.drop_unwanted().await?;
            self.sweep_withheld(summary).await?;
            let looks_again = self.plan.pull && self.sweeps.load(Ordering::Relaxed);
            if !(news && self.plan.push || looks_again) {
                summary.level = true;
                return Ok(Turn::Done);
            }
        }
        Ok(Turn::Done)
    }

    /// First contact: with other peers known, this one may be one of them under a new name, so revisions are
    /// compared before any record travels. `subject` is as whom it knows this store's caller. Returns what of it was asked
    /// for the last time, see [`PeerState::only`].
    async fn meet(&self, former: Vec<ReplicaId>, subject: Option<String>) -> Result<Option<u64>> {
        let id = self.id;
        let known = self.engine.read(move |tx| {
            Box::pin(async move {
                let peer = notes::load::<PeerState>(tx, Room::Peer, &peer_key(id)).await?;
                Ok((peer, accounts::signed_in(tx).await?))
            })
        });
        let (known, account) = known.await?;
        accounts::check(known.as_ref(), account.as_ref(), subject.as_deref())?;
        if account.is_some_and(|account| account.unfinished) {
            self.engine.finish_sign_in().await?;
        }
        if let Some(peer) = known {
            let asked = peer.only;
            self.sweeps.fetch_or(peer.sweep, Ordering::Relaxed);
            if subject.is_some() && peer.subject != subject {
                self.run_leased(Access::WRITE, move |tx| {
                    Box::pin(async move {
                        let peer = notes::peer(tx, id).await?;
                        notes::set_peer(tx, id, &PeerState { subject, ..peer }).await
                    })
                })
                .await?;
            }
            return Ok(asked);
        }
        let models = self.engine.models().clone();
        self.run_leased(Access::WRITE.feed(), move |tx| {
            Box::pin(async move {
                let others = notes::peers(tx).await?;
                let mut state = PeerState { subject: subject.clone(), ..PeerState::default() };
                if !others.is_empty() {
                    state.diff_through = tx.newest().await?;
                    state.pull_by_diff = true;
                }
                // What is known of it under a former name is of no use any more, but for what is here of it.
                for (name, before) in others.iter().filter(|(name, _)| former.contains(name)) {
                    accounts::check(Some(before), None, subject.as_deref())?;
                    state.take_over(before);
                    inbox::hand_over(tx, &models, *name, id).await?;
                    tx.note(Room::Peer, &peer_key(*name), None).await?;
                }
                notes::set_peer(tx, id, &state).await?;
                let horizon = super::apply::horizon(tx).await?;
                tx.keep_bases_through(horizon).await
            })
        })
        .await?;
        Ok(None)
    }

    /// Pushes what there is, pulls what there is. Says whether the pull brought work for another push; `None` if
    /// the sync must begin anew.
    async fn round(&self, summary: &mut Summary) -> Result<Option<bool>> {
        let mut news = false;
        let mut pull = self.plan.pull;
        let by_diff = pull && self.pulls_by_diff().await?;
        let mut in_full = InFull::default();
        let mut ahead = None;
        let goal = self.engine.run(Access::READ.feed(), |tx| tx.newest()).await?;
        let pulled_before = summary.pulled;
        let mut compared = false;
        // Whether the pull waits for a page of one record to be answered by itself.
        let mut apart = false;
        loop {
            let next =
                if self.plan.push { self.outgoing(&in_full, ahead.take()).await? } else { Next::Nothing };
            let mut outgoing = match next {
                Next::Broken => {
                    self.take_new_name().await?;
                    return Ok(None);
                }
                Next::Nothing => None,
                Next::Page(outgoing) => Some(outgoing),
            };
            in_full.go_on_with(outgoing.as_deref());
            let last = outgoing
                .as_ref()
                .is_none_or(|outgoing| !outgoing.group_open && (!outgoing.more || outgoing.through >= goal));
            let wish = if pull && last && !by_diff && !apart { Some(self.wish().await?) } else { None };
            let (wish, without) = wish.unzip();
            let wished = wish.is_some();
            if outgoing.is_some() || wished {
                let (page, sent) = match &mut outgoing {
                    Some(outgoing) => {
                        self.page(outgoing, summary).await.map(|(page, sent)| (Some(page), sent))?
                    }
                    None => (None, Sent::default()),
                };
                let expected = outgoing.as_deref().filter(|_| !last);
                let (read, answer) =
                    join(self.read_ahead(expected), self.exchange(page, wish, summary)).await;
                let answer = match answer {
                    // It may be what was asked for that is too large, and not the record.
                    Err(error)
                        if error.kind() == ErrorKind::TooLarge
                            && wished
                            && outgoing.is_some()
                            && sent.changes.len() <= 1 =>
                    {
                        apart = true;
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::TooLarge => {
                        self.too_large(outgoing.as_deref(), &sent, error).await?;
                        continue;
                    }
                    answer => answer?,
                };
                ahead = read?;
                if answer.replica != self.id {
                    return Ok(None);
                }
                if outgoing.is_none() && self.mends(answer.taken).await? {
                    return Ok(None);
                }
                if let Some(outgoing) = &outgoing {
                    match self
                        .answered(outgoing, sent, answer.pushed, answer.now, &mut in_full, summary)
                        .await?
                    {
                        Answered::Done(brought) => news |= brought,
                        Answered::Again => continue,
                        Answered::Anew => return Ok(None),
                    }
                    let left = if outgoing.more { goal - outgoing.through } else { 0 };
                    self.progress(summary, usize::try_from(left).unwrap_or(0), 0);
                    if std::mem::take(&mut apart) {
                        continue;
                    }
                }
                match answer.pulled {
                    // What was pulled before passed by a model that may be read now.
                    Some(Pulled::Page(page)) if without.iter().flatten().any(|model| page.covers(model)) => {
                        self.begin_pull_by_diff().await?;
                        return Ok(None);
                    }
                    // So it covers other scopes: what is new is pulled by itself, up to where the others are.
                    Some(Pulled::Page(page)) if self.rescopes(&page).await? => {
                        self.catch_up(page.scopes.unwrap_or_default(), summary).await?;
                        return Ok(None);
                    }
                    Some(Pulled::Page(page)) => {
                        news |= self.pull(page, answer.taken, summary).await?;
                        pull = false;
                    }
                    Some(Pulled::UnknownCheckpoint) => {
                        self.begin_pull_by_diff().await?;
                        news |= self.pull_by_diff(summary).await?;
                        pull = false;
                    }
                    Some(Pulled::Purged) => {
                        self.begin_comparison().await?;
                        news |= self.pull_by_diff(summary).await?;
                        // The peer takes what it had to refuse once it is shown a checkpoint that is good.
                        compared = true;
                        continue;
                    }
                    None if wished => return Err(self.odd("it did not answer the wish for changes")),
                    None => {}
                }
            }
            if last && outgoing.is_some() {
                news |= self.push_refused(summary).await?;
            }
            if last && pull && by_diff {
                news |= self.pull_by_diff(summary).await?;
            }
            // A delete may have waited for a child that the peer has no more; and after a comparison the peer takes what
            // it had to refuse before.
            let may_help = summary.pulled > pulled_before && parents::are_known(self.engine.models());
            if last && self.plan.push && (outgoing.is_none() && may_help || compared) {
                news |= self.push_refused(summary).await?;
            }
            if last {
                return Ok(Some(news));
            }
        }
    }

    /// What the peer takes in a page, as far as that is known by now.
    fn limits(&self) -> Limits {
        let halved = self.halved.load(Ordering::Relaxed).min(usize::BITS - 1);
        let half = |limit: usize| (limit >> halved).max(1);
        let Limits { page_records, page_bytes, .. } = self.limits;
        Limits { page_records: half(page_records), page_bytes: half(page_bytes), ..self.limits }
    }

    /// rule: one replica id, one history. Sees by the last page that the peer took whether this store was copied or
    /// restored, or the peer rolled back; says whether the sync must begin anew for it.
    async fn mends(&self, taken: u64) -> Result<bool> {
        let id = self.id;
        let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
        let answered = peer.numbered - u64::from(peer.in_flight.is_some()).min(peer.numbered);
        if taken > peer.numbered {
            self.take_new_name().await?;
        } else if taken < answered {
            self.restart(taken + 1).await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// What comes from the peer, and how it is merged.
    fn arrival(&self) -> Arrival {
        Arrival { merging: Merging::By { upstream: self.upstream }, ..self.engine.arrival(Some(self.id)) }
    }

    /// Goes on under a new name.
    async fn take_new_name(&self) -> Result<()> {
        let (fresh, now) = (fresh_replica(&**self.engine.env()), self.engine.now());
        self.run_leased(RENAMING, move |tx| {
            Box::pin(async move { rename::take_new_name(tx, fresh, now).await })
        })
        .await
    }

    fn odd(&self, what: &str) -> Error {
        Error::new(ErrorKind::Protocol, format!("syncing with {}: {what}", self.id))
    }

    fn progress(&self, summary: &Summary, to_push: usize, to_pull: usize) {
        if let Some(progress) = &self.plan.progress {
            progress(Progress { pushed: summary.pushed, to_push, pulled: summary.pulled, to_pull });
        }
    }

    /// One round trip, with the lease renewed while it lasts.
    async fn exchange(
        &self,
        push: Option<PushPage>,
        pull: Option<Pull>,
        summary: &mut Summary,
    ) -> Result<Exchanged> {
        summary.requests += 1;
        let exchange = Exchange { from: self.me, to: self.id, push, pull };
        let answer = self.holding_lease(self.peer.exchange(self.caller, exchange)).await?;
        self.engine.trust_clock(answer.now).await?;
        Ok(answer)
    }
}
