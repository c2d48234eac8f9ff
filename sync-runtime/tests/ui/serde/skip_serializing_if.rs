use sync_runtime::prelude::*;
use uuid::Uuid;
use serde::{Deserialize, Serialize};

fn is_secret(title: &str) -> bool {
    title.starts_with('!')
}

#[derive(Serialize, Deserialize, Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[serde(skip_serializing_if = "is_secret")]
    title: String,
}

fn main() {}
