use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct SyncTodo {
    #[sync(id)]
    id: Uuid,
}

fn main() {}
