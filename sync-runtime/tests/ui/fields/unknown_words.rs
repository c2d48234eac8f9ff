use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
#[sync(table = "places")]
struct Place {
    #[sync(id)]
    town: String,
}

fn main() {}
