use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id, default)]
    id: Uuid,
}

fn main() {}
