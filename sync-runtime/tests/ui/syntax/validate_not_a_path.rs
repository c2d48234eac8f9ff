use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
#[sync(validate = |todo| todo.check())]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
