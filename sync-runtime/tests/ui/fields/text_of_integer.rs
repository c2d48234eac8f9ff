use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
struct Place {
    #[sync(merge = "text")]
    height: i64,
}

fn main() {}
