use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(merge = "max", with = larger)]
    votes: i64,
}

fn main() {}
