//! What is not subscribed to any more leaves this store.

use super::Session;
use crate::Result;
use crate::engine::leaving::{self, Why};
use crate::engine::notes;
use crate::engine::parts::Parts;
use crate::query::{Filter, Selection};
use crate::record::Id;
use crate::replica::Exit;
use crate::schema::ModelSchema;
use crate::store::{Access, Transaction};
use std::sync::atomic::Ordering;

impl Session<'_> {
    /// Takes away what is here of parts that are not wanted, page by page; a sync that was cut goes on there. It is done after
    /// a pull: what this replica pushed does not come back to it, so the checkpoint has to be behind that first.
    pub(super) async fn drop_unwanted(&self) -> Result<()> {
        if !self.drops.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let id = self.id;
        let peer = self.engine.read(move |tx| Box::pin(async move { notes::peer(tx, id).await })).await?;
        if peer.dropping.is_empty() && peer.leaving.iter().any(|left| left.unwanted) {
            self.take_out_waiting().await?;
        }
        for part in peer.dropping {
            for (scope, models) in Parts::named([&part]).iter() {
                for model in self.engine.models().iter() {
                    let schema = model.schema;
                    let is_meant = models.is_none_or(|models| models.contains(schema.name));
                    if schema.scope.is_some() && is_meant {
                        let in_scope = schema.in_scopes([scope.as_str()].into_iter()).unwrap_or(Filter::All);
                        self.take_out(schema, in_scope, Some(scope)).await?;
                    }
                }
            }
            self.run_leased(Access::WRITE, move |tx| {
                Box::pin(async move {
                    let mut peer = notes::peer(tx, id).await?;
                    peer.dropping.remove(&part);
                    notes::set_peer(tx, id, &peer).await
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Takes away what was not wanted before, and had to wait for its edits to be sent, or for others to go.
    async fn take_out_waiting(&self) -> Result<()> {
        let (id, arrival) = (self.id, self.arrival());
        self.run_leased(Access::WRITE.long(), move |tx| {
            Box::pin(async move {
                let mut peer = notes::peer(tx, id).await?;
                leaving::take_away(tx, &arrival, id, &mut peer, Vec::new(), Why::Unwanted).await?;
                notes::set_peer(tx, id, &peer).await
            })
        })
        .await
    }

    /// Takes away, page by page, the records that match; where a scope is given, those in it, which are not wanted any more.
    pub(super) async fn take_out(
        &self,
        schema: &'static ModelSchema,
        filter: Filter,
        scope: Option<&str>,
    ) -> Result<()> {
        let (id, limit, scope) = (self.id, self.limits().page_records, scope.map(str::to_owned));
        let mut after: Option<Id> = None;
        loop {
            let behind = after.take().map(|id| schema.after_id(&id)).transpose()?;
            let filter = Filter::And([filter.clone()].into_iter().chain(behind).collect());
            let selection =
                Selection { filter, limit: Some(limit as u64), lenient: true, ..Selection::default() };
            let (scope, arrival) = (scope.clone(), self.arrival());
            let last = self.run_leased(Access::WRITE.long(), move |tx| {
                Box::pin(async move {
                    let (last, exits) = chosen(tx, schema, &selection, scope.as_deref()).await?;
                    let why = if scope.is_some() { Why::Unwanted } else { Why::Unmatched };
                    let mut peer = notes::peer(tx, id).await?;
                    leaving::take_away(tx, &arrival, id, &mut peer, exits, why).await?;
                    notes::set_peer(tx, id, &peer).await?;
                    Ok(last)
                })
            });
            after = last.await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// The records of a selection as exits, where a scope is given those in it; and the last id that was looked at.
async fn chosen(
    tx: &mut dyn Transaction,
    schema: &'static ModelSchema,
    selection: &Selection,
    scope: Option<&str>,
) -> Result<(Option<Id>, Vec<Exit>)> {
    let (mut last, mut exits) = (None, Vec::new());
    for record in tx.select(schema, selection).await? {
        let (id, is_in) = (schema.id_of(&record)?, schema.scope_of(&record).unwrap_or_default());
        last = Some(id.clone());
        if scope.is_none_or(|scope| scope == is_in) {
            exits.push(Exit { schema, id, scope: is_in, unmatched: scope.is_none() });
        }
    }
    Ok((last, exits))
}
