//! A say of the receiving side: a function of the app that sees every update which a peer pushes, inside the
//! transaction that takes it.

use crate::change::State;
use crate::record::Record;
use crate::replica::{Caller, Rejection};
use crate::schema::ModelSchema;
use crate::syncable::Syncable;
use crate::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// An update that a peer pushes, before it is taken.
#[derive(Debug)]
#[non_exhaustive]
pub struct Incoming<'a, T: Syncable> {
    /// Who pushes.
    pub caller: &'a Caller,
    /// The record as it is here; `None` if there is none.
    pub current: Option<T>,
    /// The record as the peer has it; `None` if it deleted it.
    pub incoming: Option<T>,
    /// Whether the peer did not know of what is here. Without a ruling this is a conflict, for the peer to settle.
    pub in_conflict: bool,
}

/// What becomes of an update.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling<T> {
    /// What would become of it without the function.
    Pass,
    /// It is refused, for this reason; the peer parks it.
    Reject(String),
    /// This stands, in place of both; `None` deletes the record. It is a revision of its own that descends from the
    /// peer's, and the peer gets it with the answer.
    Store(Option<T>),
}

/// A [`Ruling`] on records.
#[derive(Debug)]
pub(crate) enum Ruled {
    Pass,
    Reject(Rejection),
    Store(Option<Record>),
}

#[cfg(not(target_arch = "wasm32"))]
type Hook = Arc<dyn Fn(&Caller, Option<&State>, &State, bool) -> Result<Ruled> + Send + Sync>;
#[cfg(target_arch = "wasm32")]
type Hook = Arc<dyn Fn(&Caller, Option<&State>, &State, bool) -> Result<Ruled>>;

/// The functions of an app, by model.
#[derive(Clone, Default)]
pub(crate) struct Hooks(BTreeMap<&'static str, Hook>);

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Hooks {
    pub(crate) fn add<T: Syncable>(
        &mut self,
        rule: impl Fn(&Incoming<'_, T>) -> Ruling<T> + crate::env::MaybeSend + crate::env::MaybeSync + 'static,
    ) {
        let hook = move |caller: &Caller, current: Option<&State>, incoming: &State, in_conflict: bool| {
            let read = |state: &State| state.record.clone().map(T::from_record).transpose();
            let current = current.map(read).transpose()?.flatten();
            let incoming = Incoming { caller, current, incoming: read(incoming)?, in_conflict };
            // A function that panics must not end the transaction of everybody else's records.
            match catch_unwind(AssertUnwindSafe(|| rule(&incoming))) {
                Ok(Ruling::Pass) => Ok(Ruled::Pass),
                Ok(Ruling::Reject(reason)) => {
                    Ok(Ruled::Reject(Rejection { code: ErrorKind::Invalid.code().to_owned(), reason }))
                }
                Ok(Ruling::Store(None)) => Ok(Ruled::Store(None)),
                Ok(Ruling::Store(Some(value))) => {
                    value.validate().map_err(|reason| Error::new(ErrorKind::Invalid, reason))?;
                    Ok(Ruled::Store(Some(value.to_record()?.without_local(T::SCHEMA))))
                }
                Err(_) => Err(Error::new(ErrorKind::Invalid, "the function for incoming updates panicked")),
            }
        };
        self.0.insert(T::SCHEMA.name, Arc::new(hook));
    }

    /// Whether there is a function for this model.
    pub(crate) fn has(&self, schema: &ModelSchema) -> bool {
        self.0.contains_key(schema.name)
    }

    /// What the app says of an update.
    pub(crate) fn ask(
        &self,
        caller: &Caller,
        schema: &ModelSchema,
        current: Option<&State>,
        incoming: &State,
        in_conflict: bool,
    ) -> Ruled {
        let Some(hook) = self.0.get(schema.name) else { return Ruled::Pass };
        hook(caller, current, incoming, in_conflict).unwrap_or_else(|error| {
            let error = error.context(incoming.change.name());
            Ruled::Reject(Rejection { code: error.kind().code().to_owned(), reason: error.to_string() })
        })
    }
}
