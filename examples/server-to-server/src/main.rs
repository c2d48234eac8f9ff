//! Two servers with different stores that keep each other level: what is written at one is at the other in a moment.
//! `cargo run -p server-to-server`

use axum::http::request::Parts;
use std::time::Duration;
use sync_http::{HttpReplica, Policy, Refusal, serve, sync_router};
use sync_runtime::store::Store;
use sync_runtime::{Caller, Right, Workspace, prelude::*};
use sync_store_memory::MemoryStore;
use sync_store_sql::SqlStore;

#[derive(Debug, Default, PartialEq, Syncable)]
struct Price {
    #[sync(id)]
    item: String,
    cents: i64,
}

/// Lets the other server in, which hands on what its own clients wrote.
struct OtherServer(String);

#[sync_runtime::async_trait]
impl Policy for OtherServer {
    async fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
        match request.headers.get("authorization").is_some_and(|given| *given == format!("Bearer {}", self.0))
        {
            true => Ok(Caller::named("the other server").with(Right::Replicate)),
            false => Err(Refusal::unauthorized("this is between servers")),
        }
    }
}

async fn server(store: impl Store, secret: &str) -> Result<(Workspace, String), Box<dyn std::error::Error>> {
    let workspace = Workspace::builder(store).model::<Price>().build().await?;
    let routes = sync_router(workspace.clone(), OtherServer(secret.to_owned()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/sync", listener.local_addr()?);
    tokio::spawn(serve(listener, axum::Router::new().nest("/sync", routes)));
    Ok((workspace, url))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = uuid::Uuid::now_v7().to_string();
    let (west, _) = server(SqlStore::open("sqlite::memory:").await?, &secret).await?;
    let (east, url) = server(MemoryStore::new(), &secret).await?;
    // One of the two asks, and listens to the other; that brings both ways.
    let live = west.keep_in_sync(&HttpReplica::builder(&url).token(&secret).build()?).start();
    let (of_west, of_east) = (west.collection::<Price>()?, east.collection::<Price>()?);
    of_west.create(Price { item: "bread".into(), cents: 320 }).await?;
    live.flush().await?;
    println!("from west to east: {:?}", of_east.get("bread").await?);
    of_east.update("bread", |price| price.cents = 350).await?;
    while of_west.get("bread").await? != of_east.get("bread").await? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("from east to west: {:?}", of_west.get("bread").await?);
    Ok(())
}
