use sync_runtime::prelude::*;
use uuid::Uuid;

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, SyncFields)]
struct Place {
    town: String,
}

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(merge = "fields")]
    place: Place,
}

fn main() {}
