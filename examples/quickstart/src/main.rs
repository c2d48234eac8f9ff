//! The example of the README: a model, a server, a phone, an edit of the same field on both sides, and the conflict
//! that comes of it. A check keeps the README and this file the same.
//!
//! ```text
//! cargo run -p quickstart
//! ```

use sync_http::{AllowAll, HttpReplica, serve, sync_router};
use sync_runtime::{Workspace, prelude::*};
use sync_store_sql::SqlStore;

#[derive(Debug, Default, PartialEq, Syncable)]
struct Todo {
    #[sync(id)]
    id: uuid::Uuid,
    title: String,
}

async fn open(url: &str) -> sync_runtime::Result<Workspace> {
    Workspace::builder(SqlStore::open(url).await?).model::<Todo>().build().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A server is your own axum app. In an app the stores are files: `sqlite:todo.db`.
    let (cloud, phone) = (open("sqlite::memory:").await?, open("sqlite::memory:").await?);
    let app = axum::Router::new().nest("/sync", sync_router(cloud.clone(), AllowAll));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let server = HttpReplica::new(&format!("http://{}/sync", listener.local_addr()?))?;
    tokio::spawn(serve(listener, app));

    let (on_phone, in_cloud) = (phone.collection::<Todo>()?, cloud.collection::<Todo>()?);
    let id = on_phone.create(Todo { title: "eat food".into(), ..Default::default() }).await?;
    phone.sync(&server).await?;

    // Writes need no connection. Both sides edit the same field before they sync again.
    on_phone.update(id, |todo| todo.title = "eat good food".into()).await?;
    in_cloud.update(id, |todo| todo.title = "eat more food".into()).await?;
    for conflict in phone.sync(&server).await?.conflicts::<Todo>() {
        println!("{:?}: {:?} here, {:?} there", conflict.fields(), conflict.source(), conflict.target());
        conflict.resolve_using_source().await?;
    }
    phone.sync(&server).await?;
    assert_eq!(on_phone.get(id).await?, in_cloud.get(id).await?);
    Ok(())
}
