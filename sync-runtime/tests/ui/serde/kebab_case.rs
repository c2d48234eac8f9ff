use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Syncable)]
#[serde(rename_all = "kebab-case")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    due_on: i64,
}

fn main() {}
