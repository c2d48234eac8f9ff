use sync_runtime::prelude::*;

#[derive(Syncable)]
struct Todo {}

fn main() {}
