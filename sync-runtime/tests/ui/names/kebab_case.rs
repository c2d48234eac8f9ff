use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(rename_all = "kebab-case")]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
