use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo
where
    String: Clone,
{
    #[sync(id)]
    id: Uuid,
}

fn main() {}
