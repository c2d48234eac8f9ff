use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[serde(skip_serializing)]
    title: String,
}

fn main() {}
