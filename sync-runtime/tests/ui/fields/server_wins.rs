use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
struct Place {
    #[sync(merge = "server_wins")]
    town: String,
    #[sync(merge = "client_wins")]
    zip: String,
}

fn main() {}
