//! Files of programs whose `Todo` is another one.

use crate::program::Place;
use jiff::civil::Date;
use sync_runtime::Workspace;
use sync_runtime::store::Store;
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;
use tokio::runtime::Runtime;
use uuid::Uuid;

mod older {
    use super::{Date, Uuid};
    use sync_runtime::prelude::*;

    /// From before there were votes.
    #[derive(Debug, Default, Syncable)]
    pub(super) struct Todo {
        #[sync(id)]
        id: Uuid,
        pub(super) text: String,
        done: bool,
        priority: Option<String>,
        completed: Option<Date>,
        created: Option<Date>,
        place: i64,
    }
}

async fn add_without_votes(store: impl Store) {
    let workspace = Workspace::builder(store).model::<older::Todo>().build().await.unwrap();
    let todos = workspace.collection::<older::Todo>().unwrap();
    let mut todo = older::Todo::default();
    todo.text = "Eat pizza".into();
    todos.create(todo).await.unwrap();
    workspace.close();
}

#[test]
fn a_file_from_before_there_were_votes_opens() {
    let place = Place::new();
    let (sqlite, journal) = (place.path("old.db"), place.path("old.journal"));
    Runtime::new().unwrap().block_on(async {
        add_without_votes(SqlStore::open(&format!("sqlite:{}", sqlite.display())).await.unwrap()).await;
        add_without_votes(MemoryStore::open_file(&journal).await.unwrap()).await;
    });
    for store in ["sqlite:old.db", "memory:old.journal"] {
        let list = place.json(&format!("list --store {store}"));
        assert_eq!((&list[0]["text"], &list[0]["votes"]), (&"Eat pizza".into(), &0.into()));
        let id = list[0]["id"].as_str().unwrap();
        assert_eq!(place.json(&format!("vote {id} --store {store}"))["votes"], 1);
        assert_eq!(place.export(store), "Eat pizza votes:1\n");
    }
}
