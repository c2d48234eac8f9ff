use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo<T> {
    #[sync(id)]
    id: Uuid,
    value: T,
}

fn main() {}
