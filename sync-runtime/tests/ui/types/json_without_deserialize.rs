use sync_runtime::prelude::*;
use uuid::Uuid;

use serde::Serialize;

#[derive(Serialize)]
struct Money(i64);

#[derive(Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    #[sync(json)]
    price: Money,
}

fn main() {}
