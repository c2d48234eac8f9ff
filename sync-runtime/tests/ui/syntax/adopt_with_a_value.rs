use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(table = "todos", adopt = true)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(adopt)]
    title: String,
}

fn main() {}
