use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Syncable)]
#[serde(transparent)]
struct Todo {
    #[sync(id)]
    id: Uuid,
}

fn main() {}
