//! What a peer refused for now is sent once more.

use super::{Session, Summary};
use crate::Result;
use crate::change::State;
use crate::engine::inbox::{self, Parked, take_home};
use crate::engine::leaving::{self, Why};
use crate::engine::notes;
use crate::engine::outbox::whole;
use crate::engine::replicate::as_asked;
use crate::engine::serve::sized;
use crate::record::Id;
use crate::replica::{Exit, Outcome, Update};
use crate::store::Access;
use std::collections::HashSet;

impl Session<'_> {
    /// rule: parents first. Sends once more what the peer refused for now: its parent may have come in a later
    /// page, or everything may have been compared since. Says whether something came home that the peer does not hold so.
    pub(super) async fn push_refused(&self, summary: &mut Summary) -> Result<bool> {
        let (id, models) = (self.id, self.engine.models().clone());
        let refused =
            self.engine.run(Access::READ.long(), move |tx| Box::pin(inbox::refused_for_now(tx, models, id)));
        let mut news = false;
        for part in refused.await?.chunks(self.limits().page_records) {
            summary.requests += 1;
            let updates = part.iter().map(|(_, state)| whole(state.clone())).collect();
            let me = Some(self.engine.id().await?);
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
                    Outcome::Known => known.push(sent),
                    Outcome::Amended(state) | Outcome::Conflict(state) => theirs.push(whole(*state)),
                }
                taken.push(entry);
            }
            let (newer, exits) = self.as_they_stand(known, summary).await?;
            theirs.extend(newer);
            news |= self.take_in_refused(taken, theirs, exits, summary).await?;
        }
        Ok(news)
    }

    /// The records as the peer has them, which knew what it was sent; and those that are not where this replica pulls any more.
    /// The pull passed them by while their refusals stood.
    async fn as_they_stand(
        &self,
        known: Vec<State>,
        summary: &mut Summary,
    ) -> Result<(Vec<Update>, Vec<Exit>)> {
        if known.is_empty() {
            return Ok(Default::default());
        }
        let changes: Vec<_> = known.iter().map(|state| state.change.clone()).collect();
        summary.requests += 1;
        let asked = self.holding_lease(self.peer.create_updates(self.caller, changes.clone()));
        let there = as_asked(&changes, asked.await?);
        let ids: HashSet<(&str, &Id)> = there
            .iter()
            .map(|Update { state: State { change, .. }, .. }| (change.schema.name, &change.id))
            .collect();
        let gone =
            known.into_iter().filter(|state| !ids.contains(&(state.change.schema.name, &state.change.id)));
        let exits = gone.filter_map(|state| Some((state.change, state.record?))).map(|(change, record)| {
            let (schema, id) = (change.schema, change.id);
            Ok(Exit { schema, id, scope: schema.scope_of(&record)?, unmatched: false })
        });
        let exits = exits.collect::<Result<_>>()?;
        Ok((there, exits))
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
                if !exits.is_empty() {
                    let mut peer = notes::peer(tx, id).await?;
                    leaving::take_away(tx, &arrival, id, &mut peer, exits, Why::Left(&mut home)).await?;
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
