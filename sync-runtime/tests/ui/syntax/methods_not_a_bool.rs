use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(methods = "no")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
