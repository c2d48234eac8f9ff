use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(with = larger)]
    votes: i64,
}

fn larger(_: &i64, a: &i64, b: &i64) -> Result<i128, String> {
    Ok((*a.max(b)).into())
}

fn main() {}
