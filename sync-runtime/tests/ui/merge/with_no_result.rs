use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(with = larger)]
    votes: i64,
}

fn larger(_: &i64, a: &i64, b: &i64) -> i64 {
    *a.max(b)
}

fn main() {}
