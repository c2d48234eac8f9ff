use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(table = "todo\"; DROP TABLE x; --")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
