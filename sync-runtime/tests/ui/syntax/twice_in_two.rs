use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(local)]
    #[sync(json, local)]
    title: String,
}

fn main() {}
