use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    id: Uuid,
    title: String,
}

fn main() {}
