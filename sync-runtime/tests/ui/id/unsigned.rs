use sync_runtime::prelude::*;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: u32,
}

fn main() {}
