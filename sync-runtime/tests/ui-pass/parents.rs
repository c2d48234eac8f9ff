//! Parents of every kind: another model, an optional one, one's own, one that is one's own child, by path, by the id.

mod models {
    use sync_runtime::prelude::*;
    use uuid::Uuid;

    #[derive(Syncable)]
    pub struct Artist {
        #[sync(id)]
        pub id: Uuid,
    }

    #[derive(Syncable)]
    #[sync(model = "Record")]
    pub struct Album {
        #[sync(id)]
        pub id: String,
        #[sync(parent = Artist)]
        pub artist: Uuid,
        #[sync(parent = "super::Track")]
        pub best: Option<i64>,
    }
}

use sync_runtime::prelude::*;
use uuid::Uuid;

type Owner = Option<Uuid>;

#[derive(Syncable)]
struct Track {
    #[sync(id)]
    id: i64,
    #[sync(parent = models::Album)]
    album: String,
    #[sync(parent = models::Artist)]
    guest: Owner,
    #[sync(parent = Track)]
    next: Option<i64>,
    #[sync(parent = Self)]
    before: Option<i64>,
}

/// Its id is that of its parent.
#[derive(Syncable)]
struct Lyrics {
    #[sync(id, parent = Track)]
    track: i64,
    text: String,
}

fn main() {
    let parents = |schema: &'static sync_runtime::ModelSchema| schema.parents().collect::<Vec<_>>();
    assert_eq!(parents(models::Album::SCHEMA), [(1, "Artist"), (2, "Track")]);
    assert_eq!(parents(Track::SCHEMA), [(1, "Record"), (2, "Artist"), (3, "Track"), (4, "Track")]);
    assert_eq!(parents(Lyrics::SCHEMA), [(0, "Track")]);
    assert_eq!(parents(models::Artist::SCHEMA), []);
}
