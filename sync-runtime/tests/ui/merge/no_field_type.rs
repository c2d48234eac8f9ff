use sync_runtime::prelude::*;
use uuid::Uuid;

struct Money(i64);

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(merge = "max")]
    price: Money,
}

fn main() {}
