//! What is named as parent is no model.

use sync_runtime::prelude::*;
use uuid::Uuid;

struct Artist;

#[derive(Syncable)]
struct Album {
    #[sync(id)]
    id: Uuid,
    #[sync(parent = Artist)]
    artist: Uuid,
}

fn main() {}
