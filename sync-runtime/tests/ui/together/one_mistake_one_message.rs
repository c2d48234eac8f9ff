use sync_runtime::prelude::*;
use uuid::Uuid;

struct Money(i64);

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    // Misspelt, so the field is not JSON; the type is not reported on top.
    #[sync(jsn)]
    price: Money,
}

fn main() {
    // Neither are the uses of what the derive would have made.
    let _ = Todo::SCHEMA;
    let _ = TodoField::Price;
    let _ = Todo::checkpoint;
    let _: fn(&Todo) -> Uuid = Todo::id;
}
