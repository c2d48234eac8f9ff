use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(rename_all = "camelCase")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    due_on: String,
    due__on: String,
}

fn main() {}
