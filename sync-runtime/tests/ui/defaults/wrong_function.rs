use sync_runtime::prelude::*;
use uuid::Uuid;

fn votes() -> String {
    String::new()
}

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(default = votes)]
    votes: i64,
}

fn main() {}
