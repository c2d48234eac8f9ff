//! The field cannot hold the id of its parent.

use sync_runtime::prelude::*;
use uuid::Uuid;

#[derive(Syncable)]
struct Artist {
    #[sync(id)]
    id: Uuid,
}

#[derive(Syncable)]
struct Album {
    #[sync(id)]
    id: Uuid,
    #[sync(parent = Artist)]
    artist: Option<i64>,
}

fn main() {}
