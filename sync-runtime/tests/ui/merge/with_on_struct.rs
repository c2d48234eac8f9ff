use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(with = larger)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    votes: i64,
}

fn main() {}
