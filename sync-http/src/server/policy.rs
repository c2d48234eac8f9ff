//! Who a request comes from, and what they may do.

use crate::problem::Problem;
use axum::http::request::Parts;
use std::fmt;
use std::sync::Arc;
use sync_runtime::{Attempt, Caller, ErrorKind, Guard};

/// Says who a request comes from and what they may do, and has the last word on each of their writes.
///
/// A request is authenticated before anything of its body is read: by a token, a session, a client's certificate,
/// whatever the app has. What its caller may do with each model are [`Right`](sync_runtime::Right)s; the engine keeps to
/// them inside the transaction of each call. A model without [`Right::Read`](sync_runtime::Right::Read) is not there for
/// the caller, whatever it asks.
///
/// ```
/// use axum::http::request::Parts;
/// use sync_http::{Policy, Refusal};
/// use sync_runtime::{Attempt, Caller, Right, prelude::*};
///
/// #[derive(Syncable)]
/// struct Note {
///     #[sync(id)]
///     id: i64,
///     author: String,
///     text: String,
/// }
///
/// struct Token(String);
///
/// #[sync_runtime::async_trait]
/// impl Policy for Token {
///     async fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
///         let given = request.headers.get("authorization").and_then(|value| value.to_str().ok());
///         match given.and_then(|value| value.strip_prefix("Bearer ")) {
///             Some(token) if token == self.0 => Ok(Caller::named("alice").with(Right::Write)),
///             Some(_) => Err(Refusal::forbidden("this token may not sync")),
///             None => Err(Refusal::unauthorized("sign in first")),
///         }
///     }
///
///     fn check(&self, caller: &Caller, write: &Attempt<'_>) -> Result<(), String> {
///         let Some((before, after)) = write.of::<Note>()? else { return Ok(()) };
///         match before.iter().chain(&after).all(|note| Some(note.author.as_str()) == caller.subject()) {
///             true => Ok(()),
///             false => Err("a note is its author's".into()),
///         }
///     }
/// }
/// ```
#[sync_runtime::async_trait]
pub trait Policy: Send + Sync + 'static {
    /// The caller, with a stable name: that of the person or device, as a token changes. Replica ids, and so unsent edits,
    /// belong to it.
    async fn caller(&self, request: &Parts) -> Result<Caller, Refusal>;

    /// Whether the caller may make this write, else the reason why not, for the caller to read. Asked inside the
    /// transaction of the write, for each record (rule *permission in the transaction*); it waits for nothing.
    ///
    /// The default allows what the rights allow. The owner of the store ([`AllowAll`]) is not asked about.
    #[allow(clippy::missing_errors_doc, reason = "the error is the answer")]
    fn check(&self, caller: &Caller, write: &Attempt<'_>) -> Result<(), String> {
        let _ = (caller, write);
        Ok(())
    }
}

/// Asks a policy about writes.
pub(super) struct ByPolicy(pub(super) Arc<dyn Policy>);

impl fmt::Debug for ByPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByPolicy")
    }
}

impl Guard for ByPolicy {
    fn check(&self, caller: &Caller, write: &Attempt<'_>) -> Result<(), String> {
        self.0.check(caller, write)
    }
}

#[sync_runtime::async_trait]
impl<P: Policy + ?Sized> Policy for Arc<P> {
    async fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
        (**self).caller(request).await
    }

    fn check(&self, caller: &Caller, write: &Attempt<'_>) -> Result<(), String> {
        (**self).check(caller, write)
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    kind: ErrorKind,
    reason: String,
}

impl Refusal {
    /// The caller is not known; signing in may help. Status 401.
    pub fn unauthorized(reason: impl Into<String>) -> Self {
        Refusal { kind: ErrorKind::Unauthorized, reason: reason.into() }
    }

    /// The caller is known and may not do this. Status 403.
    pub fn forbidden(reason: impl Into<String>) -> Self {
        Refusal { kind: ErrorKind::Forbidden, reason: reason.into() }
    }

    pub(super) fn into_problem(self) -> Problem {
        Problem::new(self.kind, self.reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

/// Lets everybody do everything, as the owner of the store. For tests, and for a server that only listens on
/// this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

#[sync_runtime::async_trait]
impl Policy for AllowAll {
    async fn caller(&self, _request: &Parts) -> Result<Caller, Refusal> {
        Ok(Caller::owner())
    }
}
