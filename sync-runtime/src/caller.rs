//! Who makes a call, and what they may do.

use crate::change::State;
use crate::env::{MaybeSend, MaybeSync};
use crate::record::{Id, Record};
use crate::replica::Rejection;
use crate::schema::{ModelSchema, Models};
use crate::syncable::Syncable;
use crate::version::Stamp;
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a caller may do with the records of a model. Each right has those before it in it.
///
/// The names are those of LoopBack's access types. There, a reader needs REPLICATE because a pull makes a checkpoint at
/// the server; here nothing has to be written for a pull, and REPLICATE guards what could rewrite history.
///
/// ```
/// use sync_runtime::Right;
///
/// assert!(Right::Replicate > Right::Write && Right::Write > Right::Read && Right::Read > Right::Nothing);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Right {
    /// Nothing; not even to learn that the model is there.
    #[default]
    Nothing,
    /// To read records and their changes, and so to pull.
    Read,
    /// To make, change and delete records, and so to push one's own edits.
    Write,
    /// To hand on what others wrote, as it stands: for servers that sync with each other, and for devices that may bring
    /// a server back what it lost. Such a caller also sets the fields that are the server's own.
    Replicate,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Right::Nothing => "nothing",
            Right::Read => "READ",
            Right::Write => "WRITE",
            Right::Replicate => "REPLICATE",
        })
    }
}

/// Who makes a call, and what they may do. Travels with each call; the engine asks it inside the transaction.
///
/// Cheap to clone.
///
/// ```
/// use sync_runtime::{Caller, Right};
///
/// let alice = Caller::named("alice").with(Right::Read).with_on("Todo", Right::Write);
/// assert_eq!(alice.subject(), Some("alice"));
/// assert_eq!((alice.right_on("Todo"), alice.right_on("Price")), (Right::Write, Right::Read));
/// assert_eq!(Caller::named("nobody").right_on("Todo"), Right::Nothing);
/// assert_eq!(Caller::owner().right_on("Todo"), Right::Replicate);
/// ```
#[derive(Debug, Clone)]
pub struct Caller {
    /// `None` is the owner of the store.
    granted: Option<Arc<Granted>>,
    /// As whom a peer knows the owner.
    known_as: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
struct Granted {
    subject: String,
    right: Right,
    by_model: BTreeMap<String, Right>,
    /// In scopes that are not named.
    anywhere: Right,
    by_scope: BTreeMap<String, Right>,
    until: Option<Stamp>,
    guard: Option<Arc<dyn Guard>>,
}

impl Caller {
    /// The owner of the store: a device's own app. May do everything.
    pub fn owner() -> Self {
        Caller { granted: None, known_as: None }
    }

    /// Somebody with a stable name: not that of a token, which changes, but that of the person or device that it was
    /// given to. Has no right yet.
    pub fn named(subject: impl Into<String>) -> Self {
        let granted = Arc::new(Granted {
            subject: subject.into(),
            right: Right::Nothing,
            by_model: BTreeMap::new(),
            anywhere: Right::Nothing,
            by_scope: BTreeMap::new(),
            until: None,
            guard: None,
        });
        Caller { granted: Some(granted), known_as: None }
    }

    /// The same caller, whom a peer knows by this subject ([`crate::replica::Description::subject`]): a replica that asks
    /// for tokens sends nothing with one of somebody else.
    ///
    /// ```
    /// use sync_runtime::Caller;
    ///
    /// let caller = Caller::owner().as_known(Some("alice".to_owned()));
    /// assert_eq!(caller.known_as(), Some("alice"));
    /// assert_eq!(caller.subject(), None, "the owner of the store still");
    /// ```
    pub fn as_known(&self, subject: Option<String>) -> Self {
        Caller { known_as: subject.map(Arc::from), ..self.clone() }
    }

    /// The subject by which a peer knows the caller; `None` where it does not tell callers apart, or was not asked.
    pub fn known_as(&self) -> Option<&str> {
        self.known_as.as_deref()
    }

    /// With this right on every model that is not named by [`Caller::with_on`].
    pub fn with(self, right: Right) -> Self {
        self.granted(|granted| granted.right = right)
    }

    /// With this right on the model of this name ([`crate::ModelSchema::name`]), whatever holds for the others.
    pub fn with_on(self, model: impl Into<String>, right: Right) -> Self {
        self.granted(|granted| {
            granted.by_model.insert(model.into(), right);
        })
    }

    /// With this right in the scope of this name, as far as the right on the model goes. Of models without scopes it says
    /// nothing; of models with them, a caller may do nothing in a scope that is not named.
    ///
    /// ```
    /// use sync_runtime::{Caller, Right, prelude::*};
    ///
    /// #[derive(Syncable)]
    /// struct Task {
    ///     #[sync(id)]
    ///     id: i64,
    ///     #[sync(scope)]
    ///     project: String,
    /// }
    ///
    /// let alice = Caller::named("alice").with(Right::Write).in_scope("bridge", Right::Read);
    /// assert_eq!(alice.right_in(Task::SCHEMA, "bridge"), Right::Read);
    /// assert_eq!(alice.right_in(Task::SCHEMA, "tower"), Right::Nothing);
    /// let robot = Caller::named("robot").with(Right::Write).in_every_scope(Right::Replicate);
    /// assert_eq!(robot.right_in(Task::SCHEMA, "tower"), Right::Write);
    /// ```
    pub fn in_scope(self, scope: impl Into<String>, right: Right) -> Self {
        self.granted(|granted| {
            granted.by_scope.insert(scope.into(), right);
        })
    }

    /// With this right in every scope, and with more where [`Caller::in_scope`] says so: for administrators, and for servers
    /// that sync with each other.
    pub fn in_every_scope(self, right: Right) -> Self {
        self.granted(|granted| granted.anywhere = right)
    }

    /// Known until this moment, in microseconds since 1970: when the token ends that says who it is. A stream of events
    /// ends then; a single call is not looked at again.
    pub fn until(self, end: Stamp) -> Self {
        self.granted(|granted| granted.until = Some(end))
    }

    /// Asks this guard for each write of the caller, inside the transaction of the write.
    pub fn guarded_by(self, guard: Arc<dyn Guard>) -> Self {
        self.granted(|granted| granted.guard = Some(guard))
    }

    fn granted(self, set: impl FnOnce(&mut Granted)) -> Self {
        let Some(mut granted) = self.granted else { return self };
        set(Arc::make_mut(&mut granted));
        Caller { granted: Some(granted), ..self }
    }

    /// The stable name; `None` is the owner of the store.
    pub fn subject(&self) -> Option<&str> {
        self.granted.as_ref().map(|granted| granted.subject.as_str())
    }

    /// What the caller may do with the model of this name.
    pub fn right_on(&self, model: &str) -> Right {
        match &self.granted {
            None => Right::Replicate,
            Some(granted) => granted.by_model.get(model).copied().unwrap_or(granted.right),
        }
    }

    /// What the caller may do with records of this model in this scope; of a model without scopes, with all of them.
    pub fn right_in(&self, schema: &ModelSchema, scope: &str) -> Right {
        let right = self.right_on(schema.name);
        match (&self.granted, schema.scope) {
            (Some(granted), Some(_)) => right
                .min(granted.by_scope.get(scope).map_or(granted.anywhere, |own| granted.anywhere.max(*own))),
            _ => right,
        }
    }

    /// What the caller may do with this record, by the scope that it is in. What cannot tell its scope is nobody's.
    pub(crate) fn right_to(&self, schema: &ModelSchema, record: &Record) -> Right {
        match schema.scope {
            None => self.right_on(schema.name),
            Some(_) => schema.scope_of(record).map_or(Right::Nothing, |scope| self.right_in(schema, &scope)),
        }
    }

    /// The scopes that the caller may read; `None` where it may read any.
    pub(crate) fn scopes(&self) -> Option<BTreeSet<String>> {
        let granted = self.granted.as_ref()?;
        let may_read = |(scope, right): (&String, &Right)| (*right >= Right::Read).then(|| scope.clone());
        (granted.anywhere < Right::Read).then(|| granted.by_scope.iter().filter_map(may_read).collect())
    }

    /// When the caller ends to be known, in microseconds since 1970; `None` if it does not.
    pub fn ends(&self) -> Option<Stamp> {
        self.granted.as_ref().and_then(|granted| granted.until)
    }

    /// Fails where the caller has a lower right on this model.
    pub(crate) fn needs(&self, right: Right, model: &str) -> Result<()> {
        match self.right_on(model) >= right {
            true => Ok(()),
            false => Err(self.refused(right, &format!("on {model}"))),
        }
    }

    /// Fails where the caller has a lower right on every one of these models.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`], with who the caller is.
    pub fn needs_anywhere(&self, right: Right, models: &Models) -> Result<()> {
        // A replica without models has nothing to hide, but is not everybody's either.
        let anywhere = self.right_on("") >= right
            || models.iter().any(|model| self.right_on(model.schema.name) >= right);
        match anywhere {
            true => Ok(()),
            false => Err(self.refused(right, "on any model")),
        }
    }

    fn refused(&self, right: Right, on: &str) -> Error {
        let who = self.subject().unwrap_or("the owner");
        Error::new(ErrorKind::Forbidden, format!("{who} has not the right {right} {on}"))
    }

    /// Says whether the caller may make this write.
    pub(crate) fn check(&self, write: &Attempt<'_>) -> Result<(), Rejection> {
        let Some(guard) = self.granted.as_ref().and_then(|granted| granted.guard.as_ref()) else {
            return Ok(());
        };
        // A guard that panics must not end the transaction of everybody else's records.
        let checked = catch_unwind(AssertUnwindSafe(|| guard.check(self, write)));
        let refused = checked.unwrap_or_else(|_| Err("the check of this write panicked".to_owned()));
        refused.map_err(|reason| Rejection { code: ErrorKind::Forbidden.code().to_owned(), reason })
    }
}

/// Says of each write whether its caller may make it, inside the transaction of the write (rule *permission in the
/// transaction*): what it is shown of the record as it was is so until the write is committed.
///
/// It is asked while other writers may wait, so it decides by what it is given and what it knows, and waits for nothing.
///
/// ```
/// use sync_runtime::{Attempt, Caller, Guard, prelude::*};
///
/// #[derive(Syncable)]
/// struct Note {
///     #[sync(id)]
///     id: i64,
///     author: String,
///     text: String,
/// }
///
/// #[derive(Debug)]
/// struct OwnNotes;
///
/// impl Guard for OwnNotes {
///     fn check(&self, caller: &Caller, write: &Attempt<'_>) -> Result<(), String> {
///         let Some((before, after)) = write.of::<Note>()? else { return Ok(()) };
///         let mut authors = before.iter().chain(&after).map(|note| note.author.as_str());
///         match authors.all(|author| Some(author) == caller.subject()) {
///             true => Ok(()),
///             false => Err("a note is its author's".into()),
///         }
///     }
/// }
/// ```
pub trait Guard: fmt::Debug + MaybeSend + MaybeSync + 'static {
    /// `Ok`, or the reason why not, for the caller to read.
    #[allow(clippy::missing_errors_doc, reason = "the error is the answer")]
    fn check(&self, caller: &Caller, write: &Attempt<'_>) -> Result<(), String>;
}

/// A write that a caller is about to make.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    schema: &'static ModelSchema,
    id: &'a Id,
    before: Option<&'a Record>,
    after: Option<&'a Record>,
}

impl<'a> Attempt<'a> {
    /// A write of the record of this id: what is here, and what would be.
    pub(crate) fn new(
        schema: &'static ModelSchema,
        id: &'a Id,
        before: Option<&'a Record>,
        after: Option<&'a Record>,
    ) -> Self {
        Attempt { schema, id, before, after }
    }

    /// What would become of the state that is here.
    pub(crate) fn of_states(before: Option<&'a State>, after: &'a State) -> Self {
        let before = before.and_then(|before| before.record.as_ref());
        Attempt::new(after.change.schema, &after.change.id, before, after.record.as_ref())
    }

    /// The model.
    pub fn model(&self) -> &'static ModelSchema {
        self.schema
    }

    /// The record's id.
    pub fn id(&self) -> &'a Id {
        self.id
    }

    /// The record as it is here; `None` if there is none.
    pub fn before(&self) -> Option<&'a Record> {
        self.before
    }

    /// The record as it would be; `None` if it is deleted.
    pub fn after(&self) -> Option<&'a Record> {
        self.after
    }

    /// The record as it is and as it would be; `None` if the write is to another model.
    ///
    /// # Errors
    /// A sentence, where the record is not one of the struct any more; a guard hands it on.
    #[expect(clippy::type_complexity, reason = "two values that a guard takes apart at once")]
    pub fn of<T: Syncable>(&self) -> Result<Option<(Option<T>, Option<T>)>, String> {
        if self.schema.name != T::SCHEMA.name {
            return Ok(None);
        }
        let read = |record: Option<&Record>| {
            record.cloned().map(T::from_record).transpose().map_err(|error| error.to_string())
        };
        Ok(Some((read(self.before)?, read(self.after)?)))
    }
}
