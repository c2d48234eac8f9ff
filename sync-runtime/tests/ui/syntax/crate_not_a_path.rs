use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(crate = 5)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
