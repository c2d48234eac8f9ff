//! A column that was in a table before its field was in the struct.

#![allow(dead_code, unreachable_pub)]

use sync_runtime::{AsReplica, Workspace};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;

/// The model as it was.
mod early {
    use sync_runtime::prelude::*;

    #[derive(Debug, Clone, PartialEq, Syncable)]
    #[sync(table = "card", adopt)]
    pub struct Card {
        #[sync(id)]
        pub id: i64,
        pub name: String,
    }
}

/// The model with fields for two columns that are there.
mod late {
    use sync_runtime::prelude::*;

    #[derive(Debug, Clone, PartialEq, Syncable)]
    #[sync(table = "card", adopt)]
    pub struct Card {
        #[sync(id)]
        pub id: i64,
        pub name: String,
        pub extra: Option<String>,
        #[sync(default = 7)]
        pub rank: i64,
    }
}

async fn with_late(url: &str) -> Workspace {
    let store = SqlStore::open(url).await.expect("it opens");
    Workspace::builder(store).model::<late::Card>().build().await.expect("a workspace")
}

async fn sync(here: &Workspace, there: &dyn AsReplica) -> usize {
    let report = here.sync(there).await.expect("it syncs");
    assert!(report.level && report.conflict_count() == 0 && report.rejected.is_empty(), "{report:?}");
    report.pushed
}

async fn cards(workspace: &Workspace) -> Vec<String> {
    let cards = workspace.collection::<late::Card>().expect("it is registered");
    let all = cards.find(sync_runtime::Query::all()).await.expect("cards");
    all.into_iter().map(|card| format!("{} {} {:?} {}", card.id, card.name, card.extra, card.rank)).collect()
}

/// The table has rows 1 to 3 and the columns `extra` and `rank`, of which row 2 has values that are none of a new field's.
pub async fn run_through(url: &str, sql: &dyn Fn(&str)) {
    let there = Workspace::builder(MemoryStore::new()).model::<late::Card>().build().await;
    let there = there.expect("a workspace");
    let store = SqlStore::open(url).await.expect("it opens");
    let here = Workspace::builder(store).model::<early::Card>().build().await.expect("a workspace");
    here.adopt().await.expect("it is adopted");
    sync(&here, &there).await;
    let before = ["1 a None 7", "2 b None 7", "3 c None 7"];
    assert_eq!(cards(&there).await, before);
    here.close();

    let renamed = there.collection::<late::Card>().expect("it is registered");
    renamed.update(2, |card| card.name = "theirs".to_owned()).await.expect("it is renamed");
    let here = with_late(url).await;
    let pending = here.pending(10).await.expect("what is to be sent");
    assert_eq!(pending.iter().map(|change| change.id.to_string()).collect::<Vec<_>>(), ["2"]);
    sync(&here, &there).await;
    let after = ["1 a None 7", "2 theirs Some(\"x\") 9", "3 c None 7"];
    assert_eq!(cards(&there).await, after, "merged with what was edited there");
    assert_eq!(cards(&here).await, after);
    here.close();

    // It is told once.
    let here = with_late(url).await;
    assert_eq!(sync(&here, &there).await, 0);
    sql("UPDATE card SET extra = 'z' WHERE id = 3");
    assert_eq!(sync(&here, &there).await, 1);
    assert_eq!(cards(&there).await[2], "3 c Some(\"z\") 7");
}
