use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
#[sync(json)]
struct Place {
    #[sync(crate = sync_runtime)]
    town: String,
}

fn main() {}
