//! Fields that no server can set, and a policy where the server's value stands anyway.

use sync_runtime::prelude::*;

#[derive(Syncable)]
struct Account {
    #[sync(id, server)]
    id: String,
    #[sync(local, server)]
    draft: Option<String>,
    #[sync(server, merge = "sum")]
    credit: i64,
    #[sync(server = true)]
    role: Option<String>,
}

fn main() {}
