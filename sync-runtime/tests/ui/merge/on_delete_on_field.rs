use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(on_delete = "keep_edit")]
    votes: i64,
}

fn main() {}
