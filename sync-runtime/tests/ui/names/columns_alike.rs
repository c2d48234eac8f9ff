use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
    #[sync(rename = "title")]
    text: String,
}

fn main() {}
