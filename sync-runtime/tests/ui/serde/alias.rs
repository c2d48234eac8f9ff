use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[serde(alias = "text")]
    title: String,
}

fn main() {}
