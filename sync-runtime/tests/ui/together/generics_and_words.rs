use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(tabel = "todos")]
struct Todo<T> {
    #[sync(id)]
    id: Uuid,
    #[sync(lokal)]
    value: T,
}

fn main() {}
