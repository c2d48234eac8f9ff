use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo<const N: usize> {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
