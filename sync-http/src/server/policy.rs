//! Who a request comes from, and what they may do.

use crate::problem::Problem;
use axum::http::request::Parts;
use std::fmt;
use std::sync::Arc;
use sync_runtime::ErrorKind;
use sync_runtime::replica::Caller;

/// Turns a request into the caller that it comes from, or refuses it. Asked before anything of the body is
/// read.
///
/// What the caller may do is then decided by the engine, inside the transaction of each call.
///
/// ```
/// use axum::http::request::Parts;
/// use sync_http::{Policy, Refusal};
/// use sync_runtime::replica::Caller;
///
/// struct Token(String);
///
/// #[sync_runtime::async_trait]
/// impl Policy for Token {
///     async fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
///         let given = request.headers.get("authorization").and_then(|value| value.to_str().ok());
///         match given.and_then(|value| value.strip_prefix("Bearer ")) {
///             Some(token) if token == self.0 => Ok(Caller::named("alice")),
///             Some(_) => Err(Refusal::forbidden("this token may not sync")),
///             None => Err(Refusal::unauthorized("sign in first")),
///         }
///     }
/// }
/// ```
#[sync_runtime::async_trait]
pub trait Policy: Send + Sync + 'static {
    /// The caller.
    async fn caller(&self, request: &Parts) -> Result<Caller, Refusal>;
}

#[sync_runtime::async_trait]
impl<P: Policy + ?Sized> Policy for Arc<P> {
    async fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
        (**self).caller(request).await
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
