use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

impl Todo {
    fn changes(&self) -> usize {
        0
    }
}

fn main() {}
