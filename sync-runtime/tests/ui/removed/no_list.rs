use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(removed = "subject")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

#[derive(Syncable)]
#[sync(removed)]
struct Task {
    #[sync(id)]
    id: Uuid,
}

#[derive(Syncable)]
struct Note {
    #[sync(id)]
    id: Uuid,
    #[sync(removed("text"))]
    title: String,
}

fn main() {}
