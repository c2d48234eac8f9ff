use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(rename_all = "Title Case")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
