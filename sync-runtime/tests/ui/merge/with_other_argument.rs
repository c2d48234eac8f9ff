use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(with = larger)]
    votes: i64,
}

fn larger(_: &i32, a: &i32, b: &i32) -> Result<i64, String> {
    Ok((*a.max(b)).into())
}

fn main() {}
