use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Syncable)]
#[serde(tag = "type")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
