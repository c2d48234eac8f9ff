use sync_runtime::prelude::*;

#[derive(Syncable)]
union Number {
    whole: i64,
    real: f64,
}

fn main() {}
