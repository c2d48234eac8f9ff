use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id, with = later)]
    id: Uuid,
}

fn main() {}
