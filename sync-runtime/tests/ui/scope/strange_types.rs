//! Types that are no scope.

use sync_runtime::prelude::*;

#[derive(Syncable)]
struct OfBool {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    secret: bool,
}

#[derive(Syncable)]
struct OfFloat {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    height: Option<f64>,
}

#[derive(Syncable)]
struct OfBytes {
    #[sync(id)]
    id: String,
    #[sync(scope)]
    key: Vec<u8>,
}

fn main() {}
