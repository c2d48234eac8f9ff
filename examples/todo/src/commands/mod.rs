//! The commands; one file for each kind.

pub(crate) mod edit;
pub(crate) mod files;
pub(crate) mod list;
pub(crate) mod serve;
pub(crate) mod sync;

use serde_json::{Value, json};
use sync_runtime::Rejected;

/// Refused records, a sentence each.
fn refusals(rejected: &[Rejected]) -> impl Iterator<Item = String> {
    rejected.iter().map(|entry| {
        let by = if entry.by_us { "this list" } else { "the server" };
        format!("{by} refuses {} {}: {}", entry.model, entry.id, entry.reason)
    })
}

/// Refused records, for programs.
fn refusals_json(rejected: &[Rejected]) -> Vec<Value> {
    let value = |entry: &Rejected| {
        json!({
            "id": entry.id.to_string(),
            "by_us": entry.by_us,
            "code": entry.code,
            "reason": entry.reason,
        })
    };
    rejected.iter().map(value).collect()
}
