use sync_runtime::prelude::*;
use uuid::Uuid;

type Title = Option<String>;

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(merge = "sum")]
    title: Title,
}

fn main() {}
