use sync_runtime::prelude::*;
use uuid::Uuid;

struct TodoId(Uuid);

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: TodoId,
}

fn main() {}
