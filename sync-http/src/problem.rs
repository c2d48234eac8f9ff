//! Problem documents (RFC 9457): how an error travels.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use sync_runtime::{Error, ErrorKind};

/// The media type of a problem document.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// An error as it travels, always as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// `urn:syncable:problem:` and the code.
    #[serde(rename = "type", default)]
    pub(crate) uri: String,
    /// The kind in words.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What was being done and went wrong.
    pub(crate) detail: String,
    /// The stable code: [`ErrorKind::code`].
    pub(crate) code: String,
    /// Whether trying the same again may succeed.
    #[serde(default)]
    pub(crate) retryable: bool,
    /// How long to wait before that, in seconds; travels as the `Retry-After` header.
    #[serde(skip)]
    pub(crate) retry_after: Option<u64>,
}

impl Problem {
    /// A problem of this kind, with the status that goes with it.
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        let (status, title) = status_of(kind);
        let error = Error::new(kind, "");
        Problem {
            uri: format!("urn:syncable:problem:{}", kind.code()),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code: kind.code().to_owned(),
            retryable: error.is_retryable(),
            retry_after: (kind == ErrorKind::Busy).then_some(1),
        }
    }

    /// The same problem under another status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Problem { status, ..self }
    }

    /// The problem that tells a peer of this error.
    ///
    /// What happened inside the storage is the server's own affair: its words may name files and hosts.
    pub(crate) fn of(error: &Error) -> Self {
        let hidden = matches!(error.kind(), ErrorKind::Storage | ErrorKind::Unreachable);
        let detail = match hidden {
            true => "the server could not do this; its own log says why".to_owned(),
            false => error.to_string(),
        };
        let problem = Problem::new(error.kind(), detail);
        Problem {
            retryable: error.is_retryable(),
            retry_after: error.retry_after().map(|wait| wait.as_secs().max(1)).or(problem.retry_after),
            ..problem
        }
    }

    /// The error that this problem tells of.
    pub(crate) fn into_error(self, retry_after: Option<Duration>) -> Error {
        let kind = ErrorKind::from_code(&self.code).unwrap_or_else(|| kind_of(self.status));
        let error = Error::new(kind, self.detail).retryable(self.retryable);
        match retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

fn status_of(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::InvalidValue => (422, "a value does not fit its field"),
        ErrorKind::Invalid => (422, "the model refuses the record"),
        ErrorKind::NotFound => (404, "not found"),
        ErrorKind::Exists => (409, "a record with this id exists"),
        ErrorKind::Moved => (409, "the record changed meanwhile"),
        ErrorKind::Gone => (410, "not there any more"),
        ErrorKind::UnknownModel => (422, "the server does not know the model"),
        ErrorKind::Forbidden => (403, "not allowed"),
        ErrorKind::Unauthorized => (401, "not signed in"),
        ErrorKind::Constraint => (409, "a constraint refuses the record"),
        ErrorKind::Busy => (503, "the server is busy"),
        ErrorKind::Storage => (500, "the server failed"),
        ErrorKind::Unreachable => (502, "the server cannot reach another"),
        ErrorKind::Protocol => (400, "not understood"),
        ErrorKind::TooLarge => (413, "too large"),
        ErrorKind::Incompatible => (409, "the two sides do not fit each other"),
        ErrorKind::Closed => (503, "the server is closing"),
        ErrorKind::Usage => (400, "cannot be"),
        _ => (500, "the server failed"),
    }
}

/// The kind of an answer without a problem document, or with one of somebody else.
pub(crate) fn kind_of(status: u16) -> ErrorKind {
    match status {
        401 | 407 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        413 => ErrorKind::TooLarge,
        408 | 429 | 502 | 503 | 504 => ErrorKind::Unreachable,
        500..=599 => ErrorKind::Storage,
        _ => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_storage_says_stays_inside() {
        let error = Error::new(ErrorKind::Storage, "/home/alice/secret.db is full");
        let problem = Problem::of(&error);
        assert_eq!((problem.status, problem.code.as_str()), (500, "storage"));
        assert!(!serde_json::to_string(&problem).expect("json").contains("secret"));
    }

    #[test]
    fn an_error_comes_back_as_its_kind() {
        let error = Error::new(ErrorKind::Moved, "Todo 7 is in another revision");
        let back = Problem::of(&error).into_error(None);
        assert_eq!((back.kind(), back.is_retryable()), (ErrorKind::Moved, true));
        assert_eq!(back.to_string(), error.to_string());
        let strange = Problem { code: "from the future".into(), ..Problem::new(ErrorKind::Busy, "") };
        assert_eq!(strange.into_error(None).kind(), ErrorKind::Unreachable);
    }
}
