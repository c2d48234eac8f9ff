use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Syncable)]
struct Todo {
    #[sync(id)]
    #[serde(default)]
    id: Uuid,
}

fn main() {}
