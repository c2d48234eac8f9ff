//! The model: what a user of the library writes.

use crate::todotxt;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;
use uuid::Uuid;

/// One line of a todo.txt file.
///
/// Two devices may change a todo without knowing of each other. Where both changed one field, the later edit of that
/// field stands; the fields that say `merge` differ from that.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Syncable)]
#[sync(validate = todotxt::check, merge = "last_write")]
pub struct Todo {
    /// Made by the library where it is left empty.
    #[sync(id)]
    pub id: Uuid,
    /// What is to be done, with its `+projects`, `@contexts` and `key:value` tags, as it was written. Nobody's words are
    /// thrown away: where both wrote, people decide.
    #[sync(merge = "manual")]
    pub text: String,
    /// Whether it is done.
    pub done: bool,
    /// `A` to `Z`, `A` being the most urgent; absent where nobody said. How urgent it is, people decide too.
    #[sync(merge = "manual")]
    pub priority: Option<String>,
    /// The day it was done.
    pub completed: Option<Date>,
    /// The day it was written down.
    pub created: Option<Date>,
    /// Where it stands in the list; an exported file keeps the order of the imported one.
    pub place: i64,
    /// How many want it done: every vote counts, on whichever device it was given. A list from before there were votes
    /// has none.
    #[sync(merge = "sum", default)]
    pub votes: i64,
}
