use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize)]
struct Height(i64);

#[derive(Serialize, Deserialize, SyncFields)]
struct Place {
    #[sync(merge = "min")]
    height: Height,
}

fn main() {}
