//! A server: the routes of the library in an axum app.

use crate::app::{self, App};
use crate::cli;
use anyhow::{Context, Result, bail};
use axum::Router;
use serde_json::json;
use std::net::SocketAddr;
use sync_http::{AllowAll, serve, sync_router};
use sync_store_sql::Durability;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// `todo serve`
pub(crate) async fn run(app: &App, options: cli::Serve) -> Result<()> {
    only_this_machine(options.listen)?;
    // What a server has acknowledged survives a power cut.
    let workspace = app::open(&app.store, Durability::Full).await?;
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("{} cannot be listened on", options.listen))?;
    let url = format!("http://{}/sync", listener.local_addr()?);

    // Everybody may do everything, and that is written out. A server for others has a policy of its own, which
    // turns a request into a caller or refuses it.
    let routes = sync_router(workspace, AllowAll);
    let router = Router::new().nest("/sync", routes);

    let sentence = format!("serving {} at {url}; Ctrl-C ends it", app.store);
    app.output.say(sentence, &json!({ "url": url, "store": app.store }))?;
    tokio::select! {
        served = serve(listener, router) => served.context("serving")?,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for Ctrl-C")?,
        () = end_of_stdin(options.until_stdin_closes) => {}
    }
    Ok(())
}

/// `AllowAll` lets everybody who can connect read and write everything.
fn only_this_machine(address: SocketAddr) -> Result<()> {
    if !address.ip().is_loopback() {
        bail!(
            "{address} can be reached from other machines, and this server asks nobody who they are: listen on \
             127.0.0.1 or [::1], or write a server with a policy of your own"
        );
    }
    Ok(())
}

async fn end_of_stdin(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let mut buffer = [0; 64];
    let mut stdin = tokio::io::stdin();
    while stdin.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    use super::only_this_machine;

    #[test]
    fn only_addresses_of_this_machine_are_listened_on() {
        for address in ["127.0.0.1:0", "127.8.8.8:80", "[::1]:4000"] {
            assert!(only_this_machine(address.parse().expect("an address")).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:4000", "192.168.1.2:4000", "[::]:4000"] {
            let error = only_this_machine(address.parse().expect("an address")).expect_err("is refused");
            assert!(error.to_string().contains("other machines"), "{error}");
        }
    }
}
