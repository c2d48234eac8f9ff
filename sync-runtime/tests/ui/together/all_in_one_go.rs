use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(tabel = "todos", model = "", rename_all = "UPPER")]
struct Todo {
    #[sync(id, local)]
    id: Uuid,
    #[sync(rename = "the-title", ident)]
    title: String,
    #[sync(rename = "ID")]
    key: Option<Option<i64>>,
    #[sync(json, json)]
    tags: Vec<String>,
}

fn main() {}
