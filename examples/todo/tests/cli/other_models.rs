//! Files and servers of programs whose `Todo` is another one: older, or stricter.

use crate::program::Place;
use jiff::civil::Date;
use sync_http::{AllowAll, serve, sync_router};
use sync_runtime::Workspace;
use sync_runtime::store::Store;
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;
use tokio::net::TcpListener;
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

mod stricter {
    use super::{Date, Uuid};
    use sync_runtime::prelude::*;

    /// Of a server that wants to be asked nicely.
    #[derive(Debug, Default, Syncable)]
    #[sync(validate = check, merge = "last_write")]
    pub(super) struct Todo {
        #[sync(id)]
        id: Uuid,
        #[sync(merge = "manual")]
        text: String,
        done: bool,
        #[sync(merge = "manual")]
        priority: Option<String>,
        completed: Option<Date>,
        created: Option<Date>,
        place: i64,
        #[sync(merge = "sum", default)]
        votes: i64,
    }

    fn check(todo: &Todo) -> Result<(), &'static str> {
        if todo.text.ends_with('!') { Err("no need to shout") } else { Ok(()) }
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

#[test]
fn what_the_server_refuses_is_sent_again_or_given_up() {
    let place = Place::new();
    let runtime = Runtime::new().unwrap();
    let url = runtime.block_on(async {
        let store = MemoryStore::new();
        let workspace = Workspace::builder(store).model::<stricter::Todo>().build().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, sync_router(workspace, AllowAll)));
        url
    });
    let sync = format!("sync --json --server {url}");
    let id = place.add("sqlite:todo.db", "2026-11-20 Eat pizza");
    let end = &id[id.len() - 6..];
    place.run(&sync).json(0);
    assert_eq!(place.json("status")["synced"], 1);

    place.run_with(["edit", end, "Eat pizza!"]);
    let reason = format!("Todo {id}: no need to shout");
    assert_eq!(place.run(&sync).json(3)["refused"][0]["reason"], reason.as_str());
    let status = place.json("status");
    assert_eq!((&status["synced"], &status["to_send"]), (&0.into(), &0.into()));
    assert_eq!(status["refused"][0]["id"], id.as_str());
    let told = place.run("status").out;
    assert!(
        told.contains(&format!("the server refuses {reason}\n")) && told.contains("todo revert"),
        "{told}"
    );
    assert!(place.run("list").out.contains("refused"));

    assert_eq!(place.json(&format!("retry {end}"))["stands"]["text"], "Eat pizza!");
    assert_eq!(place.json("status")["to_send"], 1);
    place.run(&format!("retry {end}")).fails(1, &["nobody refuses"]);
    place.run(&sync).json(3);
    assert_eq!(place.json(&format!("revert {end}"))["stands"]["text"], "Eat pizza");
    assert_eq!(place.run(&sync).json(0)["level"], true);
    assert_eq!(place.json("status")["synced"], 1);
}
