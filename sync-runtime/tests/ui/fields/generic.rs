use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
struct Place<T> {
    value: T,
}

fn main() {}
