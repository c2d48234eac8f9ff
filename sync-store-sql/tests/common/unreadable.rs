//! A row with a value that no peer can take, which another program wrote: nothing waits for it, and nothing is lost.

#![allow(dead_code, unreachable_pub)]

use crate::world::{World, field, optional};
use sync_runtime::prelude::*;
use sync_runtime::query::Selection;
use sync_runtime::schema::ModelSchema;
use sync_runtime::store::{Access, Expect, Saved, Write};
use sync_runtime::{ErrorKind, FieldType, Id, Status, SyncReport, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "gauge", adopt)]
struct Gauge {
    #[sync(id)]
    id: i64,
    name: String,
    value: Option<f64>,
}

fn gauge(id: i64) -> Gauge {
    Gauge { id, name: format!("made {id}"), value: Some(0.5) }
}

async fn over_memory() -> Workspace {
    Workspace::builder(MemoryStore::new()).model::<Gauge>().build().await.expect("a workspace")
}

async fn names(workspace: &Workspace) -> Vec<String> {
    let gauges = workspace.collection::<Gauge>().expect("it is registered");
    let all = gauges.find(Query::all()).await.expect("gauges");
    all.into_iter().map(|gauge| format!("{} {}", gauge.id, gauge.name)).collect()
}

async fn rename(workspace: &Workspace, id: i64, name: &str) {
    let gauges = workspace.collection::<Gauge>().expect("it is registered");
    gauges.update(id, |gauge| gauge.name = name.to_owned()).await.expect("it is renamed");
}

async fn sync(here: &Workspace, there: &Workspace) -> SyncReport {
    let report = here.sync(there).await.expect("what cannot be read keeps nothing from syncing");
    assert!(report.level, "{report:?}");
    report
}

fn refused(report: &SyncReport) -> Vec<(Id, String)> {
    report.rejected.iter().map(|rejected| (rejected.id.clone(), rejected.reason.clone())).collect()
}

/// `value` is what another program sets the value of a gauge to; `count` counts the rows that have it.
pub async fn run_through(url: &str, sql: &dyn Fn(&str), value: &str) {
    let store = SqlStore::open(url).await.expect("it opens");
    let here = Workspace::builder(store).model::<Gauge>().build().await.expect("a workspace");
    let (there, third) = (over_memory().await, over_memory().await);
    let gauges = here.collection::<Gauge>().expect("it is registered");
    for id in 1..=3 {
        gauges.create(gauge(id)).await.expect("it is made");
    }
    sync(&here, &there).await;

    sql(&format!("UPDATE gauge SET value = {value}, name = 'bad' WHERE id = 2"));
    sql("UPDATE gauge SET name = 'new' WHERE id = 3");
    let report = sync(&here, &there).await;
    assert_eq!(names(&there).await, ["1 made 1", "2 made 2", "3 new"], "the rest goes on");
    let told = refused(&report);
    assert!(matches!(&told[..], [(Id::Int(2), reason)] if reason.contains("`value` of Gauge 2")), "{told:?}");
    let rows = here.unreadable::<Gauge>(10).await.expect("it looks");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].model, &rows[0].id, rows[0].field), ("Gauge", &Some(Id::Int(2)), "value"));
    assert!(rows[0].reason.contains("correct it there"), "{rows:?}");
    let status = here.status::<Gauge>(2).await.expect("a status");
    assert_eq!(status, Some(Status::Rejected(rows[0].reason.clone())));
    let error = gauges.get(2).await.expect_err("it cannot be read");
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert!(error.to_string().contains("`value` of Gauge 2"), "{error}");
    assert!(here.pending(10).await.expect("what is to be sent").is_empty());

    // A replica that comes for the first time, and one that compares.
    sync(&third, &here).await;
    assert_eq!(names(&third).await, ["1 made 1", "3 new"]);
    here.restored().await.expect("a new name");
    sync(&here, &there).await;
    sync(&third, &here).await;
    assert_eq!(names(&third).await, ["1 made 1", "3 new"]);

    // Nobody overwrites unseen what stands there, whichever way it comes.
    rename(&there, 2, "theirs").await;
    let told = refused(&sync(&here, &there).await);
    assert!(matches!(&told[..], [(Id::Int(2), _)]), "{told:?}");
    let told = refused(&there.sync(&here).await.expect("it syncs"));
    assert!(matches!(&told[..], [(Id::Int(2), reason)] if reason.contains("`value` of Gauge 2")), "{told:?}");
    assert_eq!(here.unreadable::<Gauge>(10).await.expect("it looks"), rows, "the row stays as it is");

    // Corrected, it is an edit like any other.
    sql("UPDATE gauge SET value = 7.5, name = 'made 2' WHERE id = 2");
    for _ in 0..2 {
        sync(&here, &there).await;
    }
    assert_eq!(here.conflicts::<Gauge>().await.expect("conflicts").len(), 1, "both had edited it");
    for conflict in here.conflicts::<Gauge>().await.expect("conflicts") {
        conflict.resolve_using_source().await.expect("it is resolved");
    }
    for peer in [&there, &third, &there] {
        sync(&here, peer).await;
    }
    for workspace in [&here, &there, &third] {
        assert_eq!(names(workspace).await, ["1 made 1", "2 made 2", "3 new"]);
        assert!(workspace.unreadable::<Gauge>(10).await.expect("it looks").is_empty());
        assert!(workspace.rejected::<Gauge>().await.expect("refusals").is_empty());
    }

    // One that is made so, and deleted; and one that the library corrects.
    sql(&format!("INSERT INTO gauge(id, name, value) VALUES (4, 'four', {value}), (5, 'five', {value})"));
    assert_eq!(refused(&sync(&here, &there).await).len(), 2);
    sql("DELETE FROM gauge WHERE id = 4");
    gauges.upsert(gauge(5)).await.expect("a whole record may be written over it");
    assert!(refused(&sync(&here, &there).await).is_empty());
    assert_eq!(names(&there).await, ["1 made 1", "2 made 2", "3 new", "5 made 5"]);
    sql(&format!("UPDATE gauge SET value = {value}"));
    for id in [1, 2, 3, 5] {
        gauges.delete(id).await.expect("it may be deleted");
    }
    assert!(refused(&sync(&here, &there).await).is_empty());
    assert!(names(&there).await.is_empty());
}

/// A model with a time and a child of it.
pub static EVENT: ModelSchema = ModelSchema {
    name: "Event",
    table: "event",
    fields: &[
        field("id", FieldType::I64),
        optional("at", FieldType::Timestamp),
        optional("day", FieldType::Date),
        optional("price", FieldType::Decimal),
    ],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: true,
    removed: &[],
    scope: None,
};

/// Each of these values of a field leaves the feed standing, with the row that has it without its record.
pub fn each_is_told_without_its_record(world: &World, sql: &dyn Fn(&str), values: &[(&str, &str)]) {
    sql("INSERT INTO event(id) VALUES (1)");
    for (place, (field, value)) in values.iter().enumerate() {
        let id = i64::try_from(place).expect("a number") + 2;
        sql(&format!("INSERT INTO event(id, {field}) VALUES ({id}, {value})"));
        let states = world.feed(0);
        assert!(states[0].record.is_some());
        assert!(states.last().is_some_and(|state| state.lacks_record()), "{field} {value}");
        let wanted = [Id::Int(id), Id::Int(1)];
        let found = world.with(Access::READ, move |tx| {
            Box::pin(async move {
                let lenient = Selection { lenient: true, ..Selection::default() };
                let count = tx.select(&EVENT, &lenient).await?.len();
                Ok((tx.unreadable(&EVENT, Some(&wanted), 10).await?, count))
            })
        });
        let (found, count) = found.expect("it looks");
        assert_eq!(count, place + 2, "what looks leniently finds all");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&found[0].id, found[0].field), (&Some(Id::Int(id)), *field));
    }
    let delete = Write { schema: &EVENT, id: Id::Int(2), record: None, expect: Expect::Any };
    assert_eq!(world.save(vec![delete], 1), [Saved::Tracked]);
}
