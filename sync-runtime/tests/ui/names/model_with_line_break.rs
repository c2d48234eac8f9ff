use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(model = "To\ndo")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
