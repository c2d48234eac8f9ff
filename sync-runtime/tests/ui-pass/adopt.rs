use sync_runtime::prelude::*;

#[derive(Syncable)]
#[sync(table = "Album", adopt)]
struct Album {
    #[sync(id)]
    id: i64,
    title: String,
}

#[derive(Syncable)]
struct Artist {
    #[sync(id)]
    id: i64,
}

fn main() {
    assert!(Album::SCHEMA.adopt);
    assert_eq!(Album::SCHEMA.table, "Album");
    assert!(!Artist::SCHEMA.adopt, "whoever does not say it means a table of its own");
}
