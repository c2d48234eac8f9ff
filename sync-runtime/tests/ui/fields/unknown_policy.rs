use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
struct Place {
    #[sync(merge = "newest")]
    town: String,
}

fn main() {}
