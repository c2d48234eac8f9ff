use sync_runtime::prelude::*;
use uuid::Uuid;

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Place {
    town: String,
}

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(json, merge = "union")]
    place: Place,
}

fn main() {}
