//! What the app keeps. The apps on the devices have the same struct.

use sync_runtime::prelude::*;
use uuid::Uuid;

/// A thing to do, which is one user's.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
pub(crate) struct Todo {
    #[sync(id)]
    pub(crate) id: Uuid,
    /// Whose it is: the subject of the token. Nobody else gets it.
    #[sync(scope)]
    pub(crate) owner: String,
    pub(crate) title: String,
    #[sync(merge = "last_write")]
    pub(crate) done: bool,
    /// Time spent on it; what two devices add counts together.
    #[sync(merge = "sum", default)]
    pub(crate) minutes: i64,
    /// Set by the people of the service, never by an app.
    #[sync(server)]
    pub(crate) flagged: bool,
}
