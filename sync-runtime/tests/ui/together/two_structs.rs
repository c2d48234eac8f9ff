use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo {
    #[sync(ident)]
    id: Uuid,
}

#[derive(Syncable)]
struct List {
    #[sync(id)]
    id: Uuid,
    #[sync(renam = "text")]
    title: String,
}

fn main() {}
