use sync_runtime::prelude::*;
use uuid::Uuid;

fn check(_: &String) -> Result<(), String> {
    Ok(())
}

#[derive(Syncable)]
#[sync(validate = check)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
}

fn main() {}
