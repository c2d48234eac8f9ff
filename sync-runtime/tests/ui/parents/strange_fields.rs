//! Fields that cannot have a parent, and parents that are none, all reported in one go.

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
    #[sync(json, parent = Artist)]
    kept_as_json: Uuid,
    #[sync(local, parent = Artist)]
    stays_here: Uuid,
    #[sync(parent)]
    nameless: Uuid,
    #[sync(parent = 3)]
    a_number: Uuid,
    #[sync(parent = Artist, parent = Artist)]
    twice: Uuid,
}

fn main() {}
