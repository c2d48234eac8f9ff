use serde::{Deserialize, Serialize};
use sync_runtime::prelude::*;

#[derive(Serialize, Deserialize, SyncFields)]
struct Place {
    #[sync(with = longer)]
    town: String,
}

fn longer(_: &i64, _: &i64, _: &i64) -> Result<String, String> {
    Ok(String::new())
}

fn main() {}
