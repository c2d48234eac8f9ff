use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo<'a> {
    #[sync(id)]
    id: Uuid,
    title: &'a str,
}

fn main() {}
