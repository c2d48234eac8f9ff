//! What a replica does that cannot be told of everything that is gone: its peer has purged tombstones which it never saw, or
//! keeps back what left a scope before it was known to get that. It looks for what the peer does not have any more, or not
//! where it pulls.

use super::{Session, Summary};
use crate::Result;
use crate::change::{Change, RecordName, State};
use crate::engine::inbox::Home;
use crate::engine::leaving::{self, Why};
use crate::engine::notes::{self, PeerState};
use crate::engine::parts::Parts;
use crate::query::{Filter, Selection};
use crate::record::Id;
use crate::replica::{Diff, Exit};
use crate::schema::ModelSchema;
use crate::store::{Access, Transaction};
use crate::version::ReplicaId;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

impl Session<'_> {
    /// Looks for what is gone where a pull was not told of it all.
    pub(super) async fn sweep_withheld(&self, summary: &mut Summary) -> Result<()> {
        // Where everything is compared, that looks too, at its end.
        if !self.sweeps.load(Ordering::Relaxed) || self.pulls_by_diff().await? {
            return Ok(());
        }
        if self.sweep(summary).await? { self.end_comparison().await } else { Ok(()) }
    }

    /// Everything was compared, and what is gone was looked for.
    pub(super) async fn end_comparison(&self) -> Result<()> {
        let id = self.id;
        self.run_leased(Access::WRITE, move |tx| {
            Box::pin(async move {
                let peer = notes::peer(tx, id).await?;
                let sweep = peer.sweep && peer.is_offering_back();
                let ended = PeerState { pull_by_diff: false, sweep, ..peer.clone() };
                if ended == peer { Ok(()) } else { notes::set_peer(tx, id, &ended).await }
            })
        })
        .await
    }

    /// Takes away the records that were at the peer, were not edited here since, and are not there any more: they were
    /// deleted, and their tombstones purged, or left. Everything else stays, and is pushed. Says whether it came to its end;
    /// where other scopes are covered meanwhile, the next sync sees to that first.
    pub(super) async fn sweep(&self, summary: &mut Summary) -> Result<bool> {
        let id = self.id;
        let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
        // What is gone there may have got lost, and is looked for once that is offered.
        if peer.is_offering_back() {
            self.sweeps.store(false, Ordering::Relaxed);
            return Ok(true);
        }
        let mut done = true;
        for model in self.engine.models().iter().filter(|_| peer.sweep) {
            let schema = model.schema;
            let is_there = self.held.contains(schema.name) && !peer.without.contains(schema.name);
            done = done && (!is_there || self.sweep_model(schema, summary).await?);
        }
        self.sweeps.store(!done, Ordering::Relaxed);
        Ok(done)
    }

    /// The records of which a peer has nothing where this replica pulls, by its answer; `None` if it does not cover the scopes
    /// any more that were pulled. One that is not there because nothing of its scope may be read just now must not be taken
    /// for one that left: it would not come again with its scope.
    pub(super) async fn absent(&self, diff: &Diff) -> Result<Option<HashSet<RecordName>>> {
        let id = self.id;
        let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
        let covers = match (&peer.scopes, &diff.scopes) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(pulled), Some(covered)) => pulled.is_subset(covered),
        };
        let absent = diff.absent.iter().filter_map(|place| diff.deltas.get(*place));
        let absent: HashSet<RecordName> = absent.map(Change::record_name).collect();
        Ok(Some(absent).filter(|absent| covers || absent.is_empty()))
    }

    async fn sweep_model(&self, schema: &'static ModelSchema, summary: &mut Summary) -> Result<bool> {
        let (id, limit) = (self.id, self.limits().page_records);
        let mut after: Option<Id> = None;
        loop {
            let behind = after.clone();
            let found = self.engine.run(Access::READ.long().feed(), move |tx| {
                Box::pin(async move { settled(tx, schema, id, behind, limit).await })
            });
            let (last, states) = found.await?;
            let Some(last) = last else { return Ok(true) };
            after = Some(last);
            if states.is_empty() {
                continue;
            }
            let changes: Vec<_> = states.iter().map(|state| state.change.clone()).collect();
            summary.requests += 1;
            let diff = self.holding_lease(self.peer.diff(self.caller, changes)).await?;
            let Some(absent) = self.absent(&diff).await? else { return Ok(false) };
            let gone = states.into_iter().filter(|state| absent.contains(&state.change.record_name()));
            let exits: Result<Vec<Exit>> = gone.filter_map(|state| exit_of(state).transpose()).collect();
            let (exits, arrival) = (exits?, self.arrival());
            if exits.is_empty() {
                continue;
            }
            let home = self.run_leased(Access::WRITE.long(), move |tx| {
                Box::pin(async move {
                    let (mut peer, mut home) = (notes::peer(tx, id).await?, Home::default());
                    leaving::take_away(tx, &arrival, id, &mut peer, exits, Why::Lacking(&mut home)).await?;
                    notes::set_peer(tx, id, &peer).await?;
                    Ok(home)
                })
            });
            summary.take_in(home.await?);
        }
    }
}

/// A record that is gone, as one that left its scope; `None` of one that is deleted here.
pub(super) fn exit_of(State { change, record }: State) -> Result<Option<Exit>> {
    let (schema, id) = (change.schema, change.id);
    let Some(record) = record else { return Ok(None) };
    Ok(Some(Exit { schema, id, scope: schema.scope_of(&record)?, unmatched: false }))
}

/// Records behind an id that are at the peer as they stand here, as far as is known; with the last id that was looked at.
async fn settled(
    tx: &mut dyn Transaction,
    schema: &'static ModelSchema,
    id: ReplicaId,
    after: Option<Id>,
    limit: usize,
) -> Result<(Option<Id>, Vec<State>)> {
    let peer: PeerState = notes::peer(tx, id).await?;
    let filter = after.map(|id| schema.after_id(&id)).transpose()?.unwrap_or(Filter::All);
    let selection = Selection { filter, limit: Some(limit as u64), lenient: true, ..Selection::default() };
    let records = tx.select(schema, &selection).await?;
    let ids: Vec<Id> =
        records.iter().map(|record| schema.id_of(record)).collect::<std::result::Result<_, _>>()?;
    let states = tx.states(schema, &ids).await?.into_iter().flatten();
    let parts = peer.scopes.as_ref().map(Parts::named);
    let is_settled = |state: &State| {
        let covered = match (&parts, schema.scope, &state.record) {
            (Some(parts), Some(_), Some(record)) => {
                schema.scope_of(record).is_ok_and(|scope| parts.hold(schema.name, &scope))
            }
            _ => true,
        };
        covered && state.record.is_some() && peer.has(id, &state.change)
    };
    Ok((ids.last().cloned(), states.filter(is_settled).collect()))
}
