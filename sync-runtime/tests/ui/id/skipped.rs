use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Syncable)]
struct Todo {
    #[sync(id)]
    #[serde(skip)]
    id: Uuid,
}

fn main() {}
