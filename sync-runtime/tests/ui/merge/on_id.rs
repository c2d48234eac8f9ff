use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id, merge = "max")]
    id: Uuid,
}

fn main() {}
