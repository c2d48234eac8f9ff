//! A sync server for an app with users.
//!
//! ```sh
//! export SYNC_SECRET='at least 32 bytes that nobody can guess'
//! cargo run -p server -- serve --database postgres://localhost/todos
//! cargo run -p server -- token alice            # what a sign-in page would hand out
//! ```
//!
//! Several of these may run over one PostgreSQL or MariaDB: nothing is kept in the process.

mod model;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::http::request::Parts;
use axum::routing::get;
use clap::{Args, Parser, Subcommand};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use metrics_exporter_prometheus::PrometheusBuilder;
use model::Todo;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use sync_http::{Policy, Refusal, health_router, serve_until, sync_router};
use sync_runtime::{Attempt, Caller, Right, Workspace};
use sync_store_sql::SqlStore;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

/// Who tokens are for.
const AUDIENCE: &str = "todos";

#[derive(Parser)]
#[command(about = "A sync server for an app with users.")]
struct Cli {
    /// Signs the tokens; at least 32 bytes.
    #[arg(long, env = "SYNC_SECRET", hide_env_values = true)]
    secret: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until Ctrl-C or SIGTERM.
    Serve(Serve),
    /// Prints a token for a user, good for an hour.
    Token {
        /// The user.
        user: String,
        /// Only to read.
        #[arg(long)]
        read_only: bool,
    },
}

#[derive(Args)]
struct Serve {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// `sqlite:FILE`, `postgres://…` or `mysql://…`.
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite:server.db", hide_env_values = true)]
    database: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[arg(long, default_value = "info")]
    log: LevelFilter,
}

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    aud: String,
    /// In seconds since 1970.
    exp: u64,
    read_only: bool,
}

/// Everybody with a good token syncs what is theirs.
struct Users(DecodingKey);

#[sync_runtime::async_trait]
impl Policy for Users {
    async fn caller(&self, request: &Parts) -> Result<Caller, Refusal> {
        let header = request.headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| Refusal::unauthorized("sign in first"))?;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        let claims = decode::<Claims>(token, &self.0, &rules)
            .map_err(|_| Refusal::unauthorized("this token is not good, or not good any more"))?
            .claims;
        let right = if claims.read_only { Right::Read } else { Right::Write };
        let end = i64::try_from(claims.exp).unwrap_or(0).saturating_mul(1_000_000);
        let own = claims.sub.clone();
        Ok(Caller::named(claims.sub).with(right).in_scope(own, right).until(end))
    }

    fn check(&self, _: &Caller, write: &Attempt<'_>) -> Result<(), String> {
        let Some((before, _)) = write.of::<Todo>()? else { return Ok(()) };
        match before.is_some_and(|todo| todo.flagged) {
            true => Err("this todo is being looked at by the people of the service".into()),
            false => Ok(()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cli.secret.len() >= 32, "the secret has fewer than 32 bytes");
    match cli.command {
        Command::Serve(options) => run(options, DecodingKey::from_secret(cli.secret.as_bytes())).await,
        Command::Token { user, read_only } => {
            let exp = SystemTime::now() + Duration::from_secs(3600);
            let exp = exp.duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
            let claims = Claims { sub: user, aud: AUDIENCE.into(), exp, read_only };
            println!(
                "{}",
                encode(&Header::default(), &claims, &EncodingKey::from_secret(cli.secret.as_bytes()))?
            );
            Ok(())
        }
    }
}

async fn run(options: Serve, key: DecodingKey) -> Result<()> {
    tracing_subscriber::fmt().with_max_level(options.log).with_writer(std::io::stderr).init();
    let store = SqlStore::open(&options.database).await?;
    let workspace = Workspace::builder(store).model::<Todo>().build().await?;
    let figures = PrometheusBuilder::new().install_recorder()?;
    let app = Router::new()
        .nest("/sync", sync_router(workspace.clone(), Users(key)))
        .merge(health_router(workspace))
        // A proxy keeps this one from the world.
        .route("/metrics", get(move || async move { figures.render() }));
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("{} cannot be listened on", options.listen))?;
    println!("serving http://{}/sync; Ctrl-C ends it", listener.local_addr()?);
    serve_until(listener, app, asked_to_end()).await?;
    Ok(())
}

/// Ends at Ctrl-C, and at the SIGTERM with which service managers end a program.
async fn asked_to_end() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal(SignalKind::terminate()) {
        tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = terminate.recv() => {} }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}
