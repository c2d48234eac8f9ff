//! The example of the README: a model, a server, two devices, an edit of the same field on both while they are
//! offline, and the conflict that comes of it. A test keeps the README and this file the same.
//!
//! ```text
//! cargo run -p quickstart
//! ```

use serde::{Deserialize, Serialize};
use sync_http::{AllowAll, HttpReplica, serve, sync_router};
use sync_runtime::{Workspace, prelude::*};
use sync_store_sql::SqlStore;
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Syncable)]
struct Todo {
    #[sync(id)]
    id: Uuid,
    title: String,
    completed: bool,
}

async fn open(url: &str) -> sync_runtime::Result<Workspace> {
    Workspace::builder(SqlStore::open(url).await?).model::<Todo>().build().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The server is your own axum app, over a store of its own.
    let routes = sync_router(open("sqlite::memory:").await?, AllowAll);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let server = HttpReplica::new(&format!("http://{}/sync", listener.local_addr()?))?;
    tokio::spawn(serve(listener, axum::Router::new().nest("/sync", routes)));

    // Two devices; in an app the store is a file: `sqlite:todo.db`.
    let (laptop, phone) = (open("sqlite::memory:").await?, open("sqlite::memory:").await?);
    let (on_laptop, on_phone) = (laptop.collection::<Todo>()?, phone.collection::<Todo>()?);
    let id = on_laptop.create(Todo { title: "eat food".into(), ..Default::default() }).await?;
    laptop.sync(&server).await?;
    phone.sync(&server).await?;

    // Writes need no connection. Here both devices edit the same field before they sync again.
    on_laptop.update(id, |todo| todo.title = "eat good food".into()).await?;
    on_phone.update(id, |todo| todo.title = "eat more food".into()).await?;
    laptop.sync(&server).await?;
    let report = phone.sync(&server).await?;
    for conflict in report.conflicts::<Todo>() {
        let [here, there] = [conflict.source(), conflict.target()].map(|todo| todo.map(|todo| &todo.title));
        println!("{:?}: {here:?} here, {there:?} there", conflict.fields());
        conflict.resolve_using_source().await?;
    }

    phone.sync(&server).await?;
    laptop.sync(&server).await?;
    assert_eq!(on_laptop.get(id).await?, on_phone.get(id).await?);
    println!("both have {:?}", on_laptop.get(id).await?);
    Ok(())
}
