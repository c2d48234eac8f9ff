//! What a peer refused for now is sent once more.

use super::sweep::exit_of;
use super::{Session, Summary};
use crate::Result;
use crate::change::{Change, State};
use crate::engine::inbox::{self, Parked, take_home};
use crate::engine::leaving::{self, Why};
use crate::engine::notes;
use crate::engine::outbox::whole;
use crate::engine::serve::sized;
use crate::record::Id;
use crate::replica::{Exit, Outcome, Update};
use crate::store::Access;
use std::collections::HashSet;

/// What a peer had refused and knows by now.
struct Known {
    entries: Vec<Parked>,
    /// Those that are deleted. A first pull of the scope that they went to passed their tombstones by; what is live comes with
    /// its scope.
    deleted: Vec<Update>,
    /// Those that are not where this replica pulls any more.
    gone: Vec<Exit>,
}

impl Session<'_> {
    /// rule: parents first. Sends once more what the peer refused for now: its parent may have come in a later
    /// page, or everything may have been compared since. Says whether something came home that the peer does not hold so.
    pub(super) async fn push_refused(&self, summary: &mut Summary) -> Result<bool> {
        let (id, models) = (self.id, self.engine.models().clone());
        let refused =
            self.engine.run(Access::READ.long(), move |tx| Box::pin(inbox::refused_for_now(tx, models, id)));
        let mut news = false;
        // What the caller has no right to any more, the peer does not even know of.
        let mut refused = refused.await?;
        refused.retain(|(_, state)| self.held.contains(state.change.schema.name));
        for part in refused.chunks(self.limits().page_records) {
            summary.requests += 1;
            let updates = part.iter().map(|(_, state)| whole(state.clone())).collect();
            let me = Some(self.me);
            let outcomes = self.holding_lease(self.peer.bulk_update(self.caller, me, updates)).await?;
            if outcomes.len() != part.len() {
                return Err(self.odd("the number of its answers is not that of the records sent"));
            }
            let (mut theirs, mut taken, mut known) = (Vec::new(), Vec::new(), Vec::new());
            for ((entry, sent), outcome) in part.iter().cloned().zip(outcomes) {
                match outcome {
                    Outcome::Rejected(_) | Outcome::NeedWhole => continue,
                    Outcome::Conflict(there) if inbox::waits_there(&sent.change, &there) => continue,
                    Outcome::Applied => {}
                    Outcome::Known => {
                        known.push((entry, sent));
                        continue;
                    }
                    Outcome::Amended(state) | Outcome::Conflict(state) => theirs.push(whole(*state)),
                }
                taken.push(entry);
            }
            let mut exits = Vec::new();
            if let Some(known) = self.as_they_stand(known, summary).await? {
                theirs.extend(known.deleted);
                taken.extend(known.entries);
                exits = known.gone;
            }
            if !taken.is_empty() {
                news |= self.take_in_refused(taken, theirs, exits, summary).await?;
            }
        }
        Ok(news)
    }

    /// Where the peer has the records that it knew already: what took them away passed by while their refusals stood. `None`
    /// where there are none, or where that cannot be said just now.
    async fn as_they_stand(
        &self,
        known: Vec<(Parked, State)>,
        summary: &mut Summary,
    ) -> Result<Option<Known>> {
        if known.is_empty() {
            return Ok(None);
        }
        let changes: Vec<Change> = known.iter().map(|(_, state)| state.change.clone()).collect();
        summary.requests += 1;
        let diff = self.holding_lease(self.peer.diff(self.caller, changes.clone())).await?;
        let Some(absent) = self.absent(&diff).await? else { return Ok(None) };
        let (mut there, mut deleted) = (HashSet::new(), Vec::new());
        let is_absent = |change: &Change| absent.contains(&change.record_name());
        let present: Vec<Change> = changes.into_iter().filter(|change| !is_absent(change)).collect();
        if !present.is_empty() {
            summary.requests += 1;
            deleted = self.holding_lease(self.peer.create_updates(self.caller, present)).await?;
            there.extend(deleted.iter().map(|update| update.state.change.record_name()));
            deleted.retain(|update| update.state.record.is_none());
        }
        let (mut entries, mut gone) = (Vec::new(), Vec::new());
        for (entry, state) in known {
            if is_absent(&state.change) {
                gone.extend(exit_of(state)?);
            } else if !there.contains(&state.change.record_name()) {
                // It may not be read just now; it is asked for again.
                continue;
            }
            entries.push(entry);
        }
        Ok(Some(Known { entries, deleted, gone }))
    }

    async fn take_in_refused(
        &self,
        taken: Vec<Parked>,
        theirs: Vec<Update>,
        exits: Vec<Exit>,
        summary: &mut Summary,
    ) -> Result<bool> {
        let (id, arrival, access) = (self.id, self.arrival(), sized(Access::WRITE, taken.len()));
        let settled: HashSet<(&str, Id)> =
            taken.iter().map(|entry| (entry.schema.name, entry.id.clone())).collect();
        let home = self.run_leased(access, move |tx| {
            Box::pin(async move {
                for entry in &taken {
                    inbox::remove(tx, entry).await?;
                }
                let mut home = take_home(tx, &arrival, theirs).await?;
                let mut peer = notes::peer(tx, id).await?;
                let is_back = peer.took(taken.iter().map(|entry| (entry.schema.name, entry.id.to_string())));
                if !exits.is_empty() {
                    leaving::take_away(tx, &arrival, id, &mut peer, exits, Why::Left(&mut home)).await?;
                    notes::set_peer(tx, id, &peer).await?;
                } else if is_back {
                    notes::set_peer(tx, id, &peer).await?;
                }
                Ok(home)
            })
        });
        let home = home.await?;
        summary.parked.retain(|entry| !settled.contains(&(entry.schema.name, entry.id.clone())));
        Ok(summary.take_in(home))
    }
}
