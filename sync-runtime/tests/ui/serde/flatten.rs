use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Place {
    town: String,
}

#[derive(Serialize, Deserialize, Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[serde(flatten)]
    #[sync(json)]
    place: Place,
}

fn main() {}
