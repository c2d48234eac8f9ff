use sync_runtime::prelude::*;
use uuid::Uuid;

fn check(_: &Todo) -> bool {
    true
}

#[derive(Syncable)]
#[sync(validate = check)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
