use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
    #[sync(rename = "Title")]
    text: String,
}

fn main() {}
