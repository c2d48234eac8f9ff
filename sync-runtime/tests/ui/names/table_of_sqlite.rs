use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(table = "sqlite_todo")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
