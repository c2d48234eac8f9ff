use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id, local)]
    id: Uuid,
}

fn main() {}
