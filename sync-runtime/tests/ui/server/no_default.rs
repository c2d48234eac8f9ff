//! A record that a device makes has the field's default until the server sets it.

use sync_runtime::prelude::*;

#[derive(Syncable)]
struct Account {
    #[sync(id)]
    id: String,
    #[sync(server)]
    member: uuid::Uuid,
    #[sync(server, json)]
    plan: Plan,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
enum Plan {
    Free,
    Paid,
}

fn main() {}
