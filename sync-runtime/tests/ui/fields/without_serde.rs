use sync_runtime::prelude::*;

#[derive(SyncFields)]
struct Place {
    #[sync(merge = "text")]
    town: String,
}

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: i64,
    #[sync(json, merge = "fields")]
    place: Place,
}

fn main() {}
