use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(removed("subject", "Done"))]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
    #[sync(rename = "done")]
    completed: bool,
}

fn main() {}
