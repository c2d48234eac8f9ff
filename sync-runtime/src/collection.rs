//! The records of one model: create, get, find, update, delete; every write is tracked with it.

use crate::change::Change;
use crate::env::fresh_uuid;
use crate::query::Query;
use crate::record::{Id, Record};
use crate::schema::ModelSchema;
use crate::store::{Access, Expect, Saved, Transaction, Write};
use crate::syncable::{ModelId, Syncable};
use crate::version::{Revision, Stamp};
use crate::watch::Watch;
use crate::workspace::Workspace;
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::marker::PhantomData;

/// How often an update is tried again because the record changed between reading and saving.
const ATTEMPTS: usize = 50;

/// The records of one model in a workspace.
///
/// ```
/// use sync_runtime::prelude::*;
/// # use sync_runtime::{Workspace, Result};
///
/// #[derive(Debug, Clone, PartialEq, Syncable)]
/// struct Todo {
///     #[sync(id)]
///     id: String,
///     title: String,
///     completed: bool,
/// }
///
/// async fn tidy(workspace: &Workspace) -> Result<u64> {
///     let todos = workspace.collection::<Todo>()?;
///     let id = todos.create(Todo { id: String::new(), title: "eat food".into(), completed: false }).await?;
///     todos.update(id, |todo| todo.completed = true).await?;
///     for done in todos.find(Query::all().filter(TodoField::Completed.eq(true))).await? {
///         todos.delete(done.id).await?;
///     }
///     todos.count(Query::all()).await
/// }
/// ```
pub struct Collection<T> {
    workspace: Workspace,
    model: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Collection { workspace: self.workspace.clone(), model: PhantomData }
    }
}

impl<T: Syncable> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collection").field(&T::SCHEMA.name).finish()
    }
}

impl<T: Syncable> Collection<T> {
    pub(crate) fn new(workspace: Workspace) -> Self {
        Collection { workspace, model: PhantomData }
    }

    /// Makes a record and gives its id. An empty id (nil UUID, empty text) is filled with a fresh v7 UUID.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if there is a record of this id; [`ErrorKind::InvalidValue`] or
    /// [`ErrorKind::Invalid`] if the value cannot be stored; [`ErrorKind::Constraint`] if the database refuses it.
    pub async fn create(&self, mut value: T) -> Result<T::Id> {
        self.fill_id(&mut value);
        let id = value.id();
        self.save(&value, Expect::Absent).await.map_err(|error| doing::<T>(error, "creating", &id))?;
        Ok(id)
    }

    /// The record with this id, or `None` if there is none.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn get(&self, id: impl Into<T::Id>) -> Result<Option<T>> {
        let id = id.into();
        let found = self.workspace.engine().read({
            let id = id.to_id();
            move |tx| Box::pin(async move { tx.read(T::SCHEMA, &[id]).await })
        });
        let found = found.await.map_err(|error| doing::<T>(error, "reading", &id))?.pop().flatten();
        found.map(T::from_record).transpose().map_err(|error| doing::<T>(error.into(), "reading", &id))
    }

    /// The records that match, in order.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidValue`] if a condition has a value that its field cannot hold; what the store fails with.
    pub async fn find(&self, query: Query<T>) -> Result<Vec<T>> {
        let finding = |error: Error| error.context(format!("finding {}", T::SCHEMA.name));
        let selection = query.selection().map_err(|error| finding(error.into()))?;
        let found = self.workspace.engine().run(Access::READ.long(), move |tx| {
            Box::pin(async move { tx.select(T::SCHEMA, &selection).await })
        });
        let records = found.await.map_err(finding)?.into_iter();
        records.map(T::from_record).collect::<Result<_, _>>().map_err(|error| finding(error.into()))
    }

    /// How many records match; order, skip and limit do not count.
    ///
    /// # Errors
    /// As [`Collection::find`].
    pub async fn count(&self, query: Query<T>) -> Result<u64> {
        let filter = query.selection()?.filter;
        let counted = self
            .workspace
            .engine()
            .run(Access::READ.long(), move |tx| Box::pin(async move { tx.count(T::SCHEMA, &filter).await }));
        counted.await.map_err(|error| error.context(format!("counting {}", T::SCHEMA.name)))
    }

    /// Changes a record: reads it, runs the closure, saves if nobody else changed it meanwhile, else again. Gives
    /// the record as it was saved.
    ///
    /// The closure runs in the caller's task, so it may borrow; it may run more than once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such record; [`ErrorKind::Usage`] if the closure changed the id;
    /// otherwise as [`Collection::create`].
    pub async fn update(&self, id: impl Into<T::Id>, mut change: impl FnMut(&mut T)) -> Result<T> {
        let id = id.into();
        for _ in 0..ATTEMPTS {
            let key = id.to_id();
            let read = self.workspace.engine().read(move |tx| Box::pin(read_at(tx, T::SCHEMA, key)));
            let found = read.await.map_err(|error| doing::<T>(error, "updating", &id))?;
            let Some((record, revision)) = found else {
                return Err(doing::<T>(
                    Error::new(ErrorKind::NotFound, "there is no such record"),
                    "updating",
                    &id,
                ));
            };
            let value = T::from_record(record).map_err(|error| doing::<T>(error.into(), "updating", &id))?;
            let mut value = value;
            change(&mut value);
            if value.id() != id {
                let message = "the closure changed the id; delete the record and create another";
                return Err(doing::<T>(Error::new(ErrorKind::Usage, message), "updating", &id));
            }
            let expect = revision.map_or(Expect::Present, Expect::At);
            match self.save(&value, expect).await {
                Ok(_) => return Ok(value),
                Err(error) if error.kind() == ErrorKind::Moved => continue,
                Err(error) => return Err(doing::<T>(error, "updating", &id)),
            }
        }
        let message = format!("the record was changed by others {ATTEMPTS} times in a row");
        Err(doing::<T>(Error::new(ErrorKind::Moved, message), "updating", &id))
    }

    /// Makes the record, or replaces the one with its id. Gives the id, filled as by [`Collection::create`].
    ///
    /// # Errors
    /// As [`Collection::create`], but never [`ErrorKind::Exists`].
    pub async fn upsert(&self, mut value: T) -> Result<T::Id> {
        self.fill_id(&mut value);
        let id = value.id();
        self.save(&value, Expect::Any).await.map_err(|error| doing::<T>(error, "saving", &id))?;
        Ok(id)
    }

    /// Makes or replaces many records in one transaction, all or none.
    ///
    /// # Errors
    /// As [`Collection::upsert`], with the id of the first record that failed.
    pub async fn upsert_all(&self, values: impl IntoIterator<Item = T>) -> Result<()> {
        let mut writes = Vec::new();
        for mut value in values {
            self.fill_id(&mut value);
            let write = write_of(&value, Expect::Any);
            writes.push(write.map_err(|error| doing::<T>(error, "saving", &value.id()))?);
        }
        let now = self.workspace.engine().write_clock().await?;
        let access = crate::engine::sized_write(writes.len());
        let work = self.workspace.engine().run(access, move |tx| {
            Box::pin(async move {
                let ids: Vec<Id> = writes.iter().map(|write| write.id.clone()).collect();
                for (outcome, id) in tx.save(writes, now).await?.into_iter().zip(ids) {
                    saved(outcome, T::SCHEMA, &id)
                        .map_err(|error| error.context(format!("saving {} {id}", T::SCHEMA.name)))?;
                }
                Ok(())
            })
        });
        work.await
    }

    /// Deletes a record; says whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::Constraint`] if the database refuses it; what the store fails with.
    pub async fn delete(&self, id: impl Into<T::Id>) -> Result<bool> {
        let id = id.into();
        let write = Write { schema: T::SCHEMA, id: id.to_id(), record: None, expect: Expect::Any };
        match self.write(write).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(doing::<T>(error, "deleting", &id)),
        }
    }

    /// The change of a record, tombstones included; `None` if it was never tracked. LoopBack's `findLastChange`.
    ///
    /// # Errors
    /// What the store fails with.
    #[doc(alias = "findLastChange")]
    pub async fn find_last_change(&self, id: impl Into<T::Id>) -> Result<Option<Change>> {
        let key = id.into().to_id();
        let found = self
            .workspace
            .engine()
            .run(Access::READ.feed(), move |tx| Box::pin(async move { tx.changes(T::SCHEMA, &[key]).await }));
        Ok(found.await?.pop().flatten())
    }

    /// Observes the records of this model: whatever changes them, this program, a sync, or another program.
    pub fn watch(&self) -> Watch<T> {
        Watch::new(self.workspace.engine().clone())
    }

    fn fill_id(&self, value: &mut T) {
        let env = self.workspace.engine().env().clone();
        if let Some(fresh) = value.id().filled(&|| fresh_uuid(&*env)) {
            value.set_id(fresh);
        }
    }

    async fn save(&self, value: &T, expect: Expect) -> Result<bool> {
        self.write(write_of(value, expect)?).await
    }

    async fn write(&self, write: Write) -> Result<bool> {
        let now = self.workspace.engine().write_clock().await?;
        self.workspace
            .engine()
            .run(Access::WRITE, move |tx| Box::pin(async move { write_one(tx, write, now).await }))
            .await
    }
}

/// The write that saves a value, once its own `validate` has passed.
pub(crate) fn write_of<T: Syncable>(value: &T, expect: Expect) -> Result<Write> {
    value.validate().map_err(|reason| Error::new(ErrorKind::Invalid, reason))?;
    let record = value.to_record()?;
    let id = T::SCHEMA.id_of(&record)?;
    Ok(Write { schema: T::SCHEMA, id, record: Some(record), expect })
}

/// Saves one write; says whether a change was made.
pub(crate) async fn write_one(tx: &mut dyn Transaction, write: Write, now: Stamp) -> Result<bool> {
    let (schema, id) = (write.schema, write.id.clone());
    match tx.save(vec![write], now).await?.pop() {
        Some(outcome) => saved(outcome, schema, &id),
        None => Err(Error::new(ErrorKind::Storage, "the store gave no answer to a write")),
    }
}

/// What a save came to: whether a change was made, or the error that says why nothing was done.
pub(crate) fn saved(saved: Saved, schema: &'static ModelSchema, id: &Id) -> Result<bool> {
    let name = || format!("{} {id}", schema.name);
    match saved {
        Saved::Tracked => Ok(true),
        Saved::Unchanged => Ok(false),
        Saved::Exists => Err(Error::new(ErrorKind::Exists, format!("{} exists already", name()))),
        Saved::Missing => Err(Error::new(ErrorKind::NotFound, format!("there is no {}", name()))),
        Saved::Moved => {
            Err(Error::new(ErrorKind::Moved, format!("{} changed between reading and saving", name())))
        }
        Saved::Refused(reason) => {
            Err(Error::new(ErrorKind::Constraint, format!("the database refuses {}: {reason}", name())))
        }
    }
}

/// A record with its local fields, and the revision it is in; `None` for the revision if it is not tracked yet.
pub(crate) async fn read_at(
    tx: &mut dyn Transaction,
    schema: &'static ModelSchema,
    id: Id,
) -> Result<Option<(Record, Option<Revision>)>> {
    let ids = [id];
    let Some(record) = tx.read(schema, &ids).await?.pop().flatten() else {
        return Ok(None);
    };
    let change = tx.changes(schema, &ids).await?.pop().flatten();
    Ok(Some((record, change.filter(|change| !change.is_delete()).map(|change| change.revision()))))
}

pub(crate) fn doing<T: Syncable>(error: Error, what: &str, id: &T::Id) -> Error {
    error.context(format!("{what} {} {}", T::SCHEMA.name, id.to_id()))
}
