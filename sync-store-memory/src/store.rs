//! The store: one lock around the [`State`], and transactions that run inline.

use crate::drive::Driver;
use crate::state::{Row, State};
use crate::transaction::MemoryTransaction;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use sync_runtime::env::MaybeSend;
use sync_runtime::record::{Id, Record};
use sync_runtime::schema::{ModelSchema, Models};
use sync_runtime::store::{Access, Store, Work};
use sync_runtime::version::ReplicaId;
use sync_runtime::{BoxFuture, Result};

/// A store in memory, and with [`MemoryStore::open_file`] in a file as well. A clone is another handle on the same
/// records.
///
/// Transactions run where they are awaited, one after another, readers too: there is one lock. A wait for it ends when
/// the transactions before have ended; one that is begun inside another one of the same store is refused.
///
/// ```
/// use sync_runtime::prelude::*;
/// use sync_runtime::Workspace;
/// use sync_store_memory::MemoryStore;
///
/// #[derive(Debug, Clone, PartialEq, Syncable)]
/// struct Note {
///     #[sync(id)]
///     id: String,
///     text: String,
/// }
///
/// # pollster::block_on(async {
/// let local = Workspace::builder(MemoryStore::new()).model::<Note>().build().await?;
/// let notes = local.collection::<Note>()?;
/// notes.create(Note { id: "milk".into(), text: "buy milk".into() }).await?;
/// assert_eq!(notes.count(Query::all()).await?, 1);
/// # sync_runtime::Result::<()>::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    driver: Driver<State>,
    commits: Arc<AtomicU64>,
    #[cfg(feature = "file")]
    opened: Option<Opened>,
}

/// How the file was found.
#[cfg(feature = "file")]
#[derive(Debug)]
struct Opened {
    path: std::path::PathBuf,
    cut: Option<crate::Cut>,
}

impl MemoryStore {
    /// An empty store, which nothing outlives: each one is a replica of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store whose records are also kept in this file, which is made if there is none.
    ///
    /// A commit is in the file before [`Store::run`] returns, so it outlives the process; and on the disk, so that it
    /// outlives the machine, where [`Access::durable`] asks for it. The file grows by what each commit changed, and is
    /// compacted when it has grown to a multiple of what it holds. Beside it stands a lock file: one store at a time
    /// can use it. All records are in memory as well.
    ///
    /// # Errors
    /// [`sync_runtime::ErrorKind::Busy`] if it is open already, [`sync_runtime::ErrorKind::Incompatible`] if a newer
    /// version wrote it, [`sync_runtime::ErrorKind::Storage`] if it is another program's file or cannot be read or
    /// written. A file that is refused is left as it is.
    #[cfg(feature = "file")]
    pub async fn open_file(path: impl Into<std::path::PathBuf>) -> Result<Self> {
        let path = path.into();
        let opened = path.clone();
        let (state, cut) = blocking::unblock(move || crate::file::open(&opened)).await?;
        let opened = Some(Opened { path, cut });
        Ok(MemoryStore {
            shared: Arc::new(Shared { driver: Driver::new(state), opened, ..Shared::default() }),
        })
    }

    /// What was cut off the file when it was opened, because it was not whole; `None` if it was.
    #[cfg(feature = "file")]
    pub fn cut(&self) -> Option<&crate::Cut> {
        self.shared.opened.as_ref().and_then(|opened| opened.cut.as_ref())
    }

    /// Sets or removes a record and leaves its change as it is, as another program does to a database whose triggers
    /// are off. For tests of what finds and repairs that.
    ///
    /// # Errors
    /// [`sync_runtime::ErrorKind::UnknownModel`] if the model was not prepared.
    pub async fn write_untracked(
        &self,
        schema: &'static ModelSchema,
        id: &Id,
        record: Option<Record>,
    ) -> Result<()> {
        let id = id.clone();
        self.transact(Access::WRITE, move |transaction| {
            Box::pin(async move {
                let row = transaction.state.row(schema, &id)?;
                transaction.set_row(schema, id, Row { record: record.map(Arc::new), ..row });
                Ok(())
            })
        })
        .await
    }

    async fn transact<W>(&self, access: Access, work: W) -> Result<()>
    where
        W: for<'t> FnOnce(&'t mut MemoryTransaction) -> BoxFuture<'t, Result<()>> + MaybeSend + 'static,
    {
        let state = self.shared.driver.lock().await?;
        let commits = self.shared.commits.clone();
        let transaction = async move {
            let mut transaction = MemoryTransaction::begin(state, access.write);
            work(&mut transaction).await?;
            #[cfg(feature = "file")]
            let transaction = crate::file::keep(transaction, access.durable).await?;
            if transaction.changed() {
                commits.fetch_add(1, Ordering::Release);
            }
            transaction.commit();
            Ok(())
        };
        self.shared.driver.run(Box::pin(transaction)).await
    }

    /// A store of its own in memory with the same content, replica id and all: what a copied file is to a database.
    /// It has no file.
    ///
    /// # Errors
    /// [`sync_runtime::ErrorKind::Usage`] inside a transaction of this store.
    pub async fn copy(&self) -> Result<Self> {
        let state = self.shared.driver.lock().await?.in_memory();
        Ok(MemoryStore { shared: Arc::new(Shared { driver: Driver::new(state), ..Shared::default() }) })
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemoryStore");
        #[cfg(feature = "file")]
        if let Some(opened) = &self.shared.opened {
            shown.field("path", &opened.path);
        }
        shown.finish_non_exhaustive()
    }
}

#[sync_runtime::async_trait]
impl Store for MemoryStore {
    async fn prepare(&self, models: &Models, fresh: ReplicaId) -> Result<()> {
        let models = models.clone();
        // A new name is durable before anything is written under it.
        self.transact(Access::WRITE.durable(), move |transaction| {
            Box::pin(async move {
                transaction.state.prepare(&models)?;
                transaction.state.meta.replica.get_or_insert(fresh);
                Ok(())
            })
        })
        .await
    }

    async fn run(&self, access: Access, work: Work) -> Result<()> {
        self.transact(access, move |transaction| work.run(transaction)).await
    }

    async fn version(&self) -> Result<u64> {
        Ok(self.shared.commits.load(Ordering::Acquire))
    }
}
