//! `Conflict::resolve_keeping_both` where ids are made of those of parents: those children are made anew.

use std::sync::{Arc, LazyLock};
use sync_http::{AllowAll, HttpReplica, serve, sync_router};
use sync_runtime::prelude::*;
use sync_runtime::replica::Replica;
use sync_runtime::{ErrorKind, Workspace};
use sync_store_memory::MemoryStore;

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(methods = false)]
struct Playlist {
    #[sync(id)]
    id: i64,
    site: String,
}

/// A place in a playlist: its id has that of the playlist in it.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(methods = false)]
struct Place {
    #[sync(id, parent = Playlist)]
    playlist: i64,
    #[sync(id)]
    number: i64,
    song: String,
    #[sync(local)]
    played: i64,
}

/// A child of a place, which holds that id in one field.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(methods = false)]
struct Remark {
    #[sync(id)]
    id: i64,
    #[sync(parent = Place)]
    place: (i64, i64),
}

/// What hangs on a playlist by its own id.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(methods = false)]
struct Cover {
    #[sync(id, parent = Playlist)]
    playlist: i64,
    picture: String,
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().expect("a runtime"));

async fn site() -> Workspace {
    let builder = Workspace::builder(MemoryStore::new());
    let builder = builder.model::<Playlist>().model::<Place>().model::<Remark>().model::<Cover>();
    builder.build().await.expect("the workspace opens")
}

/// The workspace as a server's client reaches it.
async fn served(workspace: &Workspace) -> Arc<dyn Replica> {
    let app = axum::Router::new().nest("/sync", sync_router(workspace.clone(), AllowAll));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, app));
    Arc::new(HttpReplica::new(&format!("http://{address}/sync")).expect("a good address"))
}

async fn make<T: Syncable>(workspace: &Workspace, value: T) {
    workspace.collection::<T>().expect("the model is registered").upsert(value).await.expect("it is saved");
}

async fn all<T: Syncable>(workspace: &Workspace) -> Vec<T> {
    let records = workspace.collection::<T>().expect("the model is registered");
    records.find(Query::all()).await.expect("records are found")
}

fn place(playlist: i64, number: i64, song: &str, played: i64) -> Place {
    Place { playlist, number, song: song.into(), played }
}

/// Playlist 7 of this site, with places of these numbers, the first of which has a remark, and a cover.
async fn fill(workspace: &Workspace, site: &str, numbers: [i64; 2], remark: i64) {
    make(workspace, Playlist { id: 7, site: site.into() }).await;
    for number in numbers {
        make(workspace, place(7, number, site, number)).await;
    }
    make(workspace, Remark { id: remark, place: (7, numbers[0]) }).await;
    make(workspace, Cover { playlist: 7, picture: site.into() }).await;
}

/// Everything that travels, in short.
async fn told(workspace: &Workspace) -> Vec<String> {
    let playlists =
        all::<Playlist>(workspace).await.into_iter().map(|one| format!("{} of {}", one.id, one.site));
    let places = all::<Place>(workspace).await;
    let places = places.into_iter().map(|one| format!("{}/{} of {}", one.playlist, one.number, one.song));
    let remarks = all::<Remark>(workspace).await;
    let remarks =
        remarks.into_iter().map(|one| format!("remark {} on {}/{}", one.id, one.place.0, one.place.1));
    let covers = all::<Cover>(workspace).await;
    let covers = covers.into_iter().map(|one| format!("cover {} of {}", one.playlist, one.picture));
    playlists.chain(places).chain(remarks).chain(covers).collect()
}

async fn assert_level(a: &Workspace, server: &Arc<dyn Replica>, b: &Workspace) {
    let report = a.sync(server).await.expect("it syncs");
    assert!(report.level && report.conflict_count() == 0 && report.rejected.is_empty(), "{report:?}");
    assert_eq!(told(a).await, told(b).await);
    for place in all::<Place>(a).await {
        let id = (place.playlist, place.number);
        let change = async |workspace: &Workspace| {
            let places = workspace.collection::<Place>().expect("the model is registered");
            places.find_last_change(id).await.expect("a change is read").expect("it is tracked").ancestry
        };
        assert_eq!(change(a).await, change(b).await, "{id:?}");
    }
}

#[test]
fn children_whose_id_has_the_parents_in_it_are_made_anew() {
    RUNTIME.block_on(async {
        // The numbers of the two sites differ, or are the same, so that these records conflict too.
        for of_b in [[11, 12], [1, 2]] {
            let (a, b) = (site().await, site().await);
            let server = served(&b).await;
            fill(&a, "a", [1, 2], 50).await;
            fill(&b, "b", of_b, 60).await;
            a.sync(&server).await.expect("it syncs");
            let conflict = a.conflicts::<Playlist>().await.expect("conflicts").remove(0);
            conflict.resolve_keeping_both(8).await.expect("it is resolved");
            let of_b = of_b.map(|number| format!("7/{number} of b"));
            let both = [
                "7 of b",
                "8 of a",
                &of_b[0],
                &of_b[1],
                "8/1 of a",
                "8/2 of a",
                "remark 50 on 8/1",
                &format!("remark 60 on {}", of_b[0].trim_end_matches(" of b")),
                "cover 7 of b",
                "cover 8 of a",
            ];
            assert_eq!(told(&a).await, both);
            assert_level(&a, &server, &b).await;
            let played = |of: &[Place]| {
                of.iter().filter(|place| place.playlist == 8).map(|place| place.played).collect::<Vec<_>>()
            };
            assert_eq!(played(&all::<Place>(&a).await), [1, 2], "what stays on the device went along");
            let c = site().await;
            c.sync(&server).await.expect("it syncs");
            assert_eq!(told(&c).await, both);
        }
    });
}

#[test]
fn an_id_that_a_child_would_get_may_be_taken() {
    RUNTIME.block_on(async {
        let (a, b) = (site().await, site().await);
        fill(&a, "a", [1, 2], 50).await;
        fill(&b, "b", [11, 12], 60).await;
        make(&a, place(8, 2, "an orphan", 0)).await;
        a.sync(&b).await.expect("it syncs");
        let before = told(&a).await;
        let conflict = a.conflicts::<Playlist>().await.expect("conflicts").remove(0);
        let error = conflict.resolve_keeping_both(8).await.expect_err("it is taken");
        assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
        assert!(error.to_string().contains("Place 8/2"), "{error}");
        assert_eq!(told(&a).await, before, "nothing was done");
        let conflict = a.conflicts::<Playlist>().await.expect("conflicts").remove(0);
        conflict.resolve_keeping_both(9).await.expect("it is resolved");
    });
}
