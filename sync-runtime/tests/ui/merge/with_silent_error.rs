use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(with = larger)]
    votes: i64,
}

struct Silent;

fn larger(_: &i64, a: &i64, b: &i64) -> Result<i64, Silent> {
    if a == b { Err(Silent) } else { Ok(*a.max(b)) }
}

fn main() {}
