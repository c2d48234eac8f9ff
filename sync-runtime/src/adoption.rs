//! Adoption: the rows that were in a table before a workspace was opened with its model get their changes.

use crate::codec::{self, Reader};
use crate::engine::{Engine, notes, parents};
use crate::env::BoxFuture;
use crate::query::{Comparison, Filter, Selection};
use crate::record::{Id, Record};
use crate::schema::{ModelSchema, Models};
use crate::store::{Access, Room, Transaction};
use crate::value::Value;
use crate::version::Stamp;
use crate::{Error, ErrorKind, Result, Workspace};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::future::IntoFuture;
use std::ops::ControlFlow;
use std::time::Duration;

/// The most rows in a batch.
const BATCH: usize = 1_000;
/// The rows in the first batch of a table, of which nobody knows yet how large they are.
const FIRST: usize = 100;
/// About the most bytes in a batch: what was written together travels in one page, where it fits.
const BATCH_BYTES: usize = 3 << 20;
/// The longest rest between two batches.
const REST: Duration = Duration::from_millis(100);

/// How far the adoption of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// The model whose table it is.
    pub model: &'static str,
    /// How many of its rows were gone through, before an interruption too.
    pub rows: u64,
    /// How many rows there are, as far as is known.
    pub total: u64,
}

type Tell<'a> = Box<dyn FnMut(&Adopted) -> ControlFlow<()> + Send + 'a>;

/// An adoption about to run; await it. See [`Workspace::adopt`].
#[must_use = "an adoption runs when it is awaited"]
pub struct Adopt<'a> {
    workspace: &'a Workspace,
    tell: Tell<'a>,
}

impl fmt::Debug for Adopt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopt").field("workspace", self.workspace).finish_non_exhaustive()
    }
}

impl Workspace {
    /// Starts tracking the rows that were in the tables before this workspace was opened with their models: they get a
    /// change each, as if they were made now, and travel with the next sync. Gives how many did.
    ///
    /// Goes through all models, parents before their children, in batches of up to 1,000 rows. Each batch is a
    /// transaction of its own, so other writers come in between. It may be interrupted at any point, also by the end of
    /// the process, and goes on from there when it is called again. Rows that were written meanwhile are tracked already
    /// and left alone; so is everything, where nothing is left to do, which costs one small read.
    ///
    /// Await it, or ask for its progress first:
    ///
    /// ```
    /// # use sync_runtime::{Result, Workspace};
    /// # use std::ops::ControlFlow;
    /// # async fn example(workspace: &Workspace) -> Result<()> {
    /// let tracked = workspace
    ///     .adopt()
    ///     .progress(|step| {
    ///         println!("{}: {} of {} rows", step.model, step.rows, step.total);
    ///         ControlFlow::Continue(())
    ///     })
    ///     .await?;
    /// println!("{tracked} rows are tracked from now on");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What is written past the tracking later on, with triggers off, is for [`Workspace::rectify_all_changes`].
    ///
    /// # Errors
    /// What the store fails with, such as a row that is no record of its model; the batches before stand.
    pub fn adopt(&self) -> Adopt<'_> {
        Adopt { workspace: self, tell: Box::new(|_| ControlFlow::Continue(())) }
    }
}

impl<'a> Adopt<'a> {
    /// Tells how far it is after each batch; `Break` ends it there.
    pub fn progress(self, tell: impl FnMut(&Adopted) -> ControlFlow<()> + Send + 'a) -> Self {
        Adopt { tell: Box::new(tell), ..self }
    }

    async fn run(mut self) -> Result<u64> {
        let engine = self.workspace.engine();
        let mut tracked = 0;
        for schema in parents::models_in_order(engine.models()) {
            let ended = self.table(engine, schema, &mut tracked).await;
            if ended
                .map_err(|error| error.context(format!("adopting the rows of {}", schema.name)))?
                .is_break()
            {
                break;
            }
        }
        Ok(tracked)
    }

    /// Goes through the rest of a table.
    async fn table(
        &mut self,
        engine: &Engine,
        schema: &'static ModelSchema,
        tracked: &mut u64,
    ) -> Result<ControlFlow<()>> {
        let total = engine.run(Access::READ.long(), move |tx| {
            Box::pin(async move {
                match walked(tx, schema).await?.done {
                    true => Ok(None),
                    false => tx.count(schema, &Filter::All).await.map(Some),
                }
            })
        });
        let Some(total) = total.await? else { return Ok(ControlFlow::Continue(())) };
        let mut limit = FIRST;
        loop {
            let (now, began) = (engine.write_clock().await?, engine.env().now());
            let models = engine.models().clone();
            let batch = engine.run(Access::WRITE.long(), move |tx| {
                Box::pin(async move { batch(tx, &models, schema, limit, now).await })
            });
            let batch = batch.await?;
            *tracked += batch.tracked;
            if batch.read > 0 {
                let rows = batch.walked.rows;
                let step = Adopted { model: schema.name, rows, total: total.max(rows) };
                if (self.tell)(&step).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if batch.walked.done {
                return Ok(ControlFlow::Continue(()));
            }
            limit = (BATCH_BYTES / (batch.bytes / batch.read.max(1)).max(1)).clamp(1, BATCH);
            // For as long as it worked, so that a writer that looks for a free lock from time to time finds one.
            let worked =
                Duration::from_micros(engine.env().now().saturating_sub(began).max(0).unsigned_abs());
            engine.env().sleep(worked.min(REST)).await;
        }
    }
}

impl<'a> IntoFuture for Adopt<'a> {
    type Output = Result<u64>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// How far a table was gone through; kept in the store.
#[derive(Default, Serialize, Deserialize)]
struct Walked {
    /// How many rows.
    rows: u64,
    /// The id of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Box<RawValue>>,
    /// Whether there was none behind it.
    done: bool,
}

fn key(schema: &ModelSchema) -> String {
    format!("adopted/{}", schema.name)
}

async fn walked(tx: &mut dyn Transaction, schema: &ModelSchema) -> Result<Walked> {
    Ok(notes::load(tx, Room::Peer, &key(schema)).await?.unwrap_or_default())
}

/// What came of one batch.
struct Batch {
    read: usize,
    bytes: usize,
    tracked: u64,
    walked: Walked,
}

/// Tracks the next rows of a table, wherever whoever came before has ended.
async fn batch(
    tx: &mut dyn Transaction,
    models: &Models,
    schema: &'static ModelSchema,
    limit: usize,
    now: Stamp,
) -> Result<Batch> {
    let mut walked = walked(tx, schema).await?;
    if walked.done {
        return Ok(Batch { read: 0, bytes: 0, tracked: 0, walked });
    }
    let filter = match &walked.after {
        Some(after) => {
            let reader = Reader::new(models).stored();
            schema.after_id(&reader.from_json(
                after.get().as_bytes(),
                reader.id(schema),
                "reading where it ended",
            )?)?
        }
        // A primary key of SQLite may be null; such a row is no record.
        None => Filter::Compare(schema.id, Comparison::NotEqual, Value::Null),
    };
    let selection = Selection { filter, limit: Some(limit as u64), ..Selection::default() };
    let records = tx.select(schema, &selection).await?;
    let ids = records.iter().map(|record| schema.id_of(record)).collect::<Result<Vec<Id>, _>>()?;
    let tracked = tx.retrack(schema, &ids, now).await?.into_iter().filter(|done| *done).count() as u64;
    walked.rows += ids.len() as u64;
    walked.done = ids.len() < limit;
    if let Some(last) = ids.last() {
        walked.after = Some(serde_json::value::to_raw_value(&codec::id(last)).map_err(|error| {
            Error::new(ErrorKind::Storage, "cannot write where it ended").with_source(error)
        })?);
    }
    notes::save(tx, Room::Peer, &key(schema), &walked).await?;
    Ok(Batch { read: ids.len(), bytes: records.iter().map(Record::size).sum(), tracked, walked })
}
