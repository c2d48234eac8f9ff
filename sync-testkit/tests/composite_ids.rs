//! Ids of several fields, from the struct to the peer and back, over the stores that have them.

use std::sync::{Arc, LazyLock};
use sync_http::{AllowAll, HttpReplica, serve, sync_router};
use sync_runtime::prelude::*;
use sync_runtime::replica::{Caller, Replica, Wanted};
use sync_runtime::{ErrorKind, Side, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(merge = "last_write")]
struct Seat {
    #[sync(merge = "manual")]
    guest: String,
    #[sync(id)]
    hall: String,
    #[sync(id)]
    number: i64,
    #[sync(merge = "sum")]
    price: i64,
    #[sync(local)]
    seen: bool,
}

/// A child of a seat, which holds the id of two fields in one.
#[derive(Debug, Clone, Default, PartialEq, Syncable)]
#[sync(methods = false)]
struct Coat {
    #[sync(id)]
    id: i64,
    #[sync(parent = Seat)]
    seat: (String, i64),
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().expect("a runtime"));

/// The stores that keep such models.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Memory,
    Sqlite,
}

const KINDS: [Kind; 2] = [Kind::Memory, Kind::Sqlite];

async fn device(kind: Kind) -> Workspace {
    let builder = match kind {
        Kind::Memory => Workspace::builder(MemoryStore::new()),
        Kind::Sqlite => Workspace::builder(SqlStore::open("sqlite::memory:").await.expect("a store")),
    };
    builder.model::<Seat>().model::<Coat>().build().await.expect("the workspace opens")
}

/// The workspace as a server's client reaches it.
async fn served(workspace: &Workspace) -> Arc<dyn Replica> {
    let app = axum::Router::new().nest("/sync", sync_router(workspace.clone(), AllowAll));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, app));
    Arc::new(HttpReplica::new(&format!("http://{address}/sync")).expect("a good address"))
}

fn seat(hall: &str, number: i64) -> Seat {
    Seat { hall: hall.into(), number, guest: "foo".into(), ..Seat::default() }
}

fn id(hall: &str, number: i64) -> (String, i64) {
    (hall.into(), number)
}

#[test]
fn records_with_ids_of_two_fields_are_kept_found_and_synced() {
    for kind in KINDS {
        RUNTIME.block_on(async {
            let (a, b) = (device(kind).await, device(kind).await);
            let server = served(&b).await;
            let seats = a.collection::<Seat>().expect("the model is registered");
            for seat in [seat("north", 1), seat("north", 2), seat("a/b", 1), seat("50%", -1)] {
                seats.create(seat).await.expect("a seat is made");
            }
            let twice = seats.create(seat("north", 1)).await.expect_err("there is one");
            assert!(twice.is_exists() && twice.to_string().contains("north/1"), "{twice}");
            let found = seats.get(id("a/b", 1)).await.expect("a seat is read").expect("it is there");
            assert_eq!(found, seat("a/b", 1));
            let all = seats.find(Query::all()).await.expect("seats are found");
            let order: Vec<_> = all.iter().map(|seat| (seat.hall.as_str(), seat.number)).collect();
            assert_eq!(
                order,
                [("50%", -1), ("a/b", 1), ("north", 1), ("north", 2)],
                "by one field after the other"
            );

            let report = a.sync(&server).await.expect("it syncs");
            assert!(report.level && report.rejected.is_empty(), "{report:?}");
            let there = b.collection::<Seat>().expect("the model is registered");
            assert_eq!(there.find(Query::all()).await.expect("seats are found"), all);

            // A patch, a conflict in one field with a sum in another, and a delete.
            seats
                .update(id("a/b", 1), |seat| (seat.guest, seat.price) = ("of a".into(), 3))
                .await
                .expect("saved");
            there
                .update(id("a/b", 1), |seat| (seat.guest, seat.price) = ("of b".into(), 4))
                .await
                .expect("saved");
            assert!(there.delete(id("north", 2)).await.expect("it is deleted"));
            let report = a.sync(&server).await.expect("it syncs");
            let conflict = report.conflicts::<Seat>().remove(0);
            assert_eq!(conflict.id(), &id("a/b", 1));
            assert_eq!(conflict.fields(), [SeatField::Guest]);
            conflict
                .resolve_field(SeatField::Guest, Side::Target)
                .resolve_fields()
                .await
                .expect("it is resolved");
            assert!(a.sync(&server).await.expect("it syncs").level);
            for seats in [&seats, &there] {
                let seat = seats.get(id("a/b", 1)).await.expect("a seat is read").expect("it is there");
                assert_eq!((seat.guest.as_str(), seat.price), ("of b", 7));
                assert!(seats.get(id("north", 2)).await.expect("a seat is read").is_none());
            }
        });
    }
}

#[test]
fn the_fields_of_an_id_do_not_change() {
    for kind in KINDS {
        RUNTIME.block_on(async {
            let a = device(kind).await;
            let seats = a.collection::<Seat>().expect("the model is registered");
            seats.create(seat("north", 1)).await.expect("a seat is made");
            let error = seats.update(id("north", 1), |seat| seat.number = 2).await.expect_err("another id");
            assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
            let error = seats.create(seat("", 1)).await.expect_err("a part is empty");
            assert!(error.to_string().contains("hall"), "{error}");
            let error = seats.create(seat(&"/".repeat(90), 1)).await.expect_err("it is too long");
            assert!(error.to_string().contains("at most 255 bytes"), "{error}");
            assert_eq!(seats.get(id(&"/".repeat(90), 1)).await.expect("nothing is that long"), None);
        });
    }
}

#[test]
fn a_server_reads_from_an_id_on() {
    for kind in KINDS {
        RUNTIME.block_on(async {
            let b = device(kind).await;
            let seats = b.collection::<Seat>().expect("the model is registered");
            for (hall, number) in [("a", 2), ("a", 10), ("b", 1), ("b/", 1)] {
                seats.create(seat(hall, number)).await.expect("a seat is made");
            }
            let server = served(&b).await;
            let after = Seat::SCHEMA.id_of(&seat("a", 2).to_record().expect("a record")).expect("an id");
            let wanted =
                Wanted::Matching { filter: sync_runtime::query::Filter::All, after: Some(after), limit: 2 };
            let states = server.read(&Caller::owner(), Seat::SCHEMA, wanted).await.expect("it is read");
            let ids: Vec<_> = states.iter().map(|state| state.change.id.to_string()).collect();
            assert_eq!(ids, ["a/10", "b/1"]);
        });
    }
}

#[test]
fn a_parent_may_have_an_id_of_two_fields() {
    for kind in KINDS {
        RUNTIME.block_on(async {
            let (a, b) = (device(kind).await, device(kind).await);
            let server = served(&b).await;
            let coats = a.collection::<Coat>().expect("the model is registered");
            coats.create(Coat { id: 1, seat: id("a/b", 1) }).await.expect("a coat is made");
            let seats = a.collection::<Seat>().expect("the model is registered");
            seats.create(seat("other", 1)).await.expect("a seat is made");
            seats.create(seat("a/b", 1)).await.expect("a seat is made");
            a.sync(&server).page_size(1).await.expect("it syncs");
            let order: Vec<_> =
                Seat::changes(&b, None).await.expect("changes").iter().map(|c| c.position).collect();
            let child = b.collection::<Coat>().expect("the model is registered").find_last_change(1).await;
            let child = child.expect("a change is read").expect("it was tracked");
            assert!(order[0] < child.position, "the parent came first");
            // The delete of a parent waits for its child.
            assert!(seats.delete(id("a/b", 1)).await.expect("it is deleted"));
            let report = a.sync(&server).await.expect("it syncs");
            assert_eq!(report.conflicts::<Seat>().len(), 1);
        });
    }
}
