use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(with = larger)]
    votes: i64,
}

fn larger(a: &i64, b: &i64) -> Result<i64, String> {
    Ok(*a.max(b))
}

fn main() {}
