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

async fn edit(workspace: &Workspace, id: i64, edit: impl Fn(&mut late::Card) + Send + Sync) {
    let cards = workspace.collection::<late::Card>().expect("it is registered");
    cards.update(id, edit).await.expect("it is edited");
}

/// The table is empty and has the columns `extra` and `rank`. What a peer had sent of them is what stood there before.
pub async fn with_what_a_peer_had_sent(url: &str, sql: &dyn Fn(&str)) {
    let there = Workspace::builder(MemoryStore::new()).model::<late::Card>().build().await;
    let there = there.expect("a workspace");
    let made = there.collection::<late::Card>().expect("it is registered");
    for id in 1..=5 {
        let card = late::Card { id, name: "a".to_owned(), extra: Some("hello".to_owned()), rank: 9 };
        made.create(card).await.expect("it is made");
    }
    let store = SqlStore::open(url).await.expect("it opens");
    let here = Workspace::builder(store).model::<early::Card>().build().await.expect("a workspace");
    sync(&here, &there).await;
    let early = here.collection::<early::Card>().expect("it is registered");
    early.update(5, |card| card.name = "ours".to_owned()).await.expect("it is edited");
    here.close();
    sql("UPDATE card SET extra = 'mine' WHERE id IN (2, 4)");
    sql("UPDATE card SET extra = 'hello', `rank` = 9 WHERE id = 3");
    edit(&there, 2, |card| card.name = "theirs".to_owned()).await;
    edit(&there, 4, |card| card.extra = Some("theirs".to_owned())).await;
    edit(&there, 5, |card| card.extra = Some("theirs".to_owned())).await;

    let here = with_late(url).await;
    let learned = |extra: [&str; 5], names: [&str; 5]| {
        let cards = extra.into_iter().zip(names).enumerate();
        cards.map(|(n, (extra, name))| format!("{} {name} Some({extra:?}) 9", n + 1)).collect::<Vec<_>>()
    };
    let before = ["hello", "mine", "hello", "mine", "hello"];
    assert_eq!(cards(&here).await, learned(before, ["a", "a", "a", "a", "ours"]));
    let pending = here.pending(10).await.expect("what is to be sent");
    let mut pending: Vec<String> = pending.iter().map(|change| change.id.to_string()).collect();
    pending.sort();
    assert_eq!(pending, ["2", "4", "5"], "what was learned is no edit");
    let report = here.sync(&there).await.expect("it syncs");
    assert_eq!(report.conflict_count(), 1, "{report:?}");
    let conflicts = here.conflicts::<late::Card>().await.expect("conflicts");
    assert_eq!(conflicts.len(), 1, "both wrote `extra` of 4");
    let there = cards(&there).await;
    let after = ["hello", "mine", "hello", "theirs", "theirs"];
    assert_eq!(there, learned(after, ["a", "theirs", "a", "a", "ours"]), "the rest is merged");
    let here = cards(&here).await;
    assert_eq!((&here[..3], &here[4]), (&there[..3], &there[4]));
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
