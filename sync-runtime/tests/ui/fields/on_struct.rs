use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
#[sync(merge = "text")]
struct Place {
    town: String,
}

fn main() {}
