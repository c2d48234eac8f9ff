//! Several processes that adopt one database at once, here several stores of one process.

#![allow(unreachable_pub)]

use crate::plain::Plain;
use sync_runtime::prelude::*;
use sync_runtime::{Result, Workspace};
use sync_store_sql::SqlStore;

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(adopt, table = "artist")]
struct Artist {
    #[sync(id)]
    id: i64,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(adopt, table = "album")]
struct Album {
    #[sync(id)]
    id: i64,
    #[sync(parent = Artist)]
    artist: i64,
    title: String,
}

const ROWS: i64 = 3_000;

async fn adopt(url: String) -> Result<(Workspace, u64)> {
    let store = SqlStore::open(&url).await?;
    let workspace = Workspace::builder(store).model::<Artist>().model::<Album>().build().await?;
    let tracked = workspace.adopt().await?;
    Ok((workspace, tracked))
}

/// Every row is tracked once, whoever comes first, and somebody writes all the while.
pub async fn adopt_at_once(url: &str, mut plain: Box<dyn Plain>) {
    plain.run("INSERT INTO artist(id, name) VALUES (1, 'one')").await;
    for first in (1..=ROWS).step_by(500) {
        let rows: Vec<String> = (first..first + 500).map(|id| format!("({id}, 1, 'album {id}')")).collect();
        plain.run(&format!("INSERT INTO album(id, artist, title) VALUES {}", rows.join(", "))).await;
    }
    let adopting: Vec<_> = (0..3).map(|_| tokio::spawn(adopt(url.to_owned()))).collect();
    for id in 1..=50 {
        plain.run(&format!("UPDATE album SET title = 'changed {id}' WHERE id = {id}")).await;
        plain.run(&format!("INSERT INTO album(id, artist, title) VALUES ({}, 1, 'new')", ROWS + id)).await;
    }
    let mut workspaces = Vec::new();
    let mut tracked = 0;
    for one in adopting {
        let (workspace, count) = one.await.expect("it ends").expect("it adopts");
        workspaces.push(workspace);
        tracked += count;
    }
    // What was written meanwhile was tracked by the triggers, once they were there.
    let all = (ROWS + 51) as u64;
    assert!((ROWS as u64 - 50..=all).contains(&tracked), "{tracked}");
    let changes = plain.numbers("SELECT count(*) FROM sync_change WHERE kind <> 2").await;
    assert_eq!(changes, [all as i64]);
    let untracked =
        "SELECT count(*) FROM album a WHERE NOT EXISTS (SELECT 1 FROM album_change c WHERE c.id = a.id)";
    assert_eq!(plain.numbers(untracked).await, [0]);
    for workspace in &workspaces {
        assert_eq!(workspace.adopt().await.expect("again"), 0, "nothing is left to do");
    }
    let copy = sync_store_memory::MemoryStore::new();
    let copy = Workspace::builder(copy).model::<Artist>().model::<Album>().build().await.expect("memory");
    copy.sync(&workspaces[0]).await.expect("a sync");
    let mine = copy.collection::<Album>().expect("albums").find(Query::all()).await.expect("albums");
    let theirs =
        workspaces[1].collection::<Album>().expect("albums").find(Query::all()).await.expect("albums");
    assert_eq!(mine, theirs);
    assert_eq!(mine.len() as u64, all - 1);
}
