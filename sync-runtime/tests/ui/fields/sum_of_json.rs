use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
struct Place {
    #[sync(json, merge = "sum")]
    height: i64,
}

fn main() {}
