use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize)]
struct Height {
    metres: i64,
}

#[derive(Serialize, Deserialize, SyncFields)]
#[serde(tag = "kind")]
struct Place {
    #[serde(flatten)]
    height: Height,
    #[serde(skip)]
    draft: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

fn main() {}
