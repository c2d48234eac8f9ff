use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Todo(Uuid, String);

fn main() {}
