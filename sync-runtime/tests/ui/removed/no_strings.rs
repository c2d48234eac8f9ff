use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(removed("subject", done))]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
