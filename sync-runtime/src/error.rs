//! The one error of the project: what kind of thing failed, what was being done, and whether to try again.
//!
//! A conflict is not an error: it is a value in a report (see [`crate::conflict`]).

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, coarse enough to branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value cannot be held by every store, or does not fit its field.
    InvalidValue,
    /// The model's own `validate` function refused the record.
    Invalid,
    /// The record to change does not exist.
    NotFound,
    /// A record with this id exists already.
    Exists,
    /// The record changed between reading and saving.
    Moved,
    /// The record is not there any more for this replica: it left its scope, or was deleted so long ago that nobody
    /// remembers it.
    Gone,
    /// The model is not registered with this workspace, or the peer does not know it.
    UnknownModel,
    /// The caller has no right to do this.
    Forbidden,
    /// The caller is not known; signing in may help.
    Unauthorized,
    /// A constraint of the database refused the record.
    Constraint,
    /// Another process or task holds what is needed.
    Busy,
    /// The storage failed: full disk, broken file, lost connection.
    Storage,
    /// The peer cannot be reached.
    Unreachable,
    /// The peer answered with something that is not this protocol.
    Protocol,
    /// Something is larger than the announced limit.
    TooLarge,
    /// Two sides speak different versions, or schemas that do not fit each other.
    Incompatible,
    /// The workspace or its store was closed.
    Closed,
    /// The program asked for something that cannot be, such as an empty page.
    Usage,
}

impl ErrorKind {
    /// The stable code that stands in problem documents and logs.
    pub fn code(self) -> &'static str {
        match self {
            ErrorKind::InvalidValue => "invalid_value",
            ErrorKind::Invalid => "invalid",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Exists => "exists",
            ErrorKind::Moved => "moved",
            ErrorKind::Gone => "gone",
            ErrorKind::UnknownModel => "unknown_model",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::Constraint => "constraint",
            ErrorKind::Busy => "busy",
            ErrorKind::Storage => "storage",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Protocol => "protocol",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Incompatible => "incompatible",
            ErrorKind::Closed => "closed",
            ErrorKind::Usage => "usage",
        }
    }

    /// The kind with this code, or `None` if no kind has it.
    pub fn from_code(code: &str) -> Option<Self> {
        const ALL: [ErrorKind; 18] = [
            ErrorKind::InvalidValue,
            ErrorKind::Invalid,
            ErrorKind::NotFound,
            ErrorKind::Exists,
            ErrorKind::Moved,
            ErrorKind::Gone,
            ErrorKind::UnknownModel,
            ErrorKind::Forbidden,
            ErrorKind::Unauthorized,
            ErrorKind::Constraint,
            ErrorKind::Busy,
            ErrorKind::Storage,
            ErrorKind::Unreachable,
            ErrorKind::Protocol,
            ErrorKind::TooLarge,
            ErrorKind::Incompatible,
            ErrorKind::Closed,
            ErrorKind::Usage,
        ];
        ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Why something failed: a kind to branch on, a sentence to read, and the cause beneath it.
///
/// ```
/// use sync_runtime::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Busy, "the file is locked").context("saving Todo 7");
/// assert_eq!(error.to_string(), "saving Todo 7: the file is locked");
/// assert!(error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<String>,
    retryable: bool,
    retry_after: Option<std::time::Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind; whether a retry helps follows from the kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, ErrorKind::Busy | ErrorKind::Unreachable | ErrorKind::Moved);
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            retryable,
            retry_after: None,
            source: None,
        }))
    }

    /// Adds what was being done; the outermost stands first in the message.
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.0.context.push(doing.into());
        self
    }

    /// Keeps the error beneath this one.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether trying the same again may succeed, where the kind alone does not tell.
    pub fn retryable(mut self, yes: bool) -> Self {
        self.0.retryable = yes;
        self
    }

    /// Says how long to wait before trying again, as a server asked for.
    pub fn with_retry_after(mut self, wait: std::time::Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying the same again may succeed.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// How long a server asked to wait before the next try, or `None` if it did not say.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        self.0.retry_after
    }

    /// Whether the record to change does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether a record with this id exists already.
    pub fn is_exists(&self) -> bool {
        self.kind() == ErrorKind::Exists
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doing in self.0.context.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.0.kind).field("message", &self.to_string());
        if let Some(source) = &self.0.source {
            shown.field("source", source);
        }
        shown.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// What fallible calls of this project return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_code() {
        for kind in [ErrorKind::Busy, ErrorKind::InvalidValue, ErrorKind::Usage] {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(ErrorKind::from_code("no such code"), None);
    }

    #[test]
    fn context_stands_outermost_first() {
        let error = Error::new(ErrorKind::Storage, "disk full").context("saving").context("syncing");
        assert_eq!(error.to_string(), "syncing: saving: disk full");
        assert!(!error.is_retryable());
    }
}
