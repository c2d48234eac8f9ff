use sync_runtime::prelude::*;
use uuid::Uuid;

struct Money(i64);

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    price: Money,
}

fn main() {}
