use sync_runtime::prelude::*;

#[derive(Syncable)]
struct Todo {
    #[sync(id, json)]
    id: Vec<String>,
}

fn main() {}
