//! A todo list that works offline and syncs: every command of a small program, written with the library.
//!
//! ```text
//! cargo run -p todo -- demo                         # two devices, a server, a conflict, a merge; takes seconds
//!
//! cargo run -p todo -- serve                        # one terminal: a server on this machine
//! export TODO_SERVER=http://127.0.0.1:4000/sync     # another terminal
//! cargo run -p todo -- import examples/todo/data/todo.txt
//! cargo run -p todo -- list
//! cargo run -p todo -- sync
//! ```
//!
//! What to read: `model.rs` is all that a user writes to get a model, `commands/` is the use of a workspace, and
//! `commands/serve.rs` is a server.

mod app;
mod cli;
mod commands;
mod demo;
pub mod model;
mod output;
mod table;
mod todotxt;

use app::App;
use clap::Parser;
use cli::{Cli, Command};
use output::Output;
use serde_json::json;
use std::process::ExitCode;

/// Conflicts, or records that somebody refuses, wait for the user.
const WAITING: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    match run(cli, output).await {
        Ok(code) => code,
        // Whoever read the output has had enough of it.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.downcast_ref::<sync_runtime::Error>().map(|error| error.kind().code());
            match output.is_json() {
                true => eprintln!("{}", json!({ "error": output::sentence(&error), "code": code })),
                false => eprintln!("error: {}", output::sentence(&error)),
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli, output: Output) -> anyhow::Result<ExitCode> {
    let app = App { store: cli.store, server: cli.server, output };
    let waiting = match cli.command {
        Command::Serve(options) => commands::serve::run(&app, options).await.map(|()| false),
        Command::Add(options) => commands::edit::add(&app, options).await.map(|()| false),
        Command::List(options) => commands::list::list(&app, options).await.map(|()| false),
        Command::Edit(options) => commands::edit::edit(&app, options).await.map(|()| false),
        Command::Done(options) => commands::edit::done(&app, options).await.map(|()| false),
        Command::Vote(options) => commands::edit::vote(&app, options).await.map(|()| false),
        Command::Rm(options) => commands::edit::rm(&app, options).await.map(|()| false),
        Command::Status => commands::list::status(&app).await.map(|()| false),
        Command::Sync => commands::sync::sync(&app).await,
        Command::Conflicts => commands::conflicts::conflicts(&app).await,
        Command::Resolve(options) => commands::conflicts::resolve(&app, options).await.map(|()| false),
        Command::Retry(options) => commands::refused::retry(&app, options).await.map(|()| false),
        Command::Revert(options) => commands::refused::revert(&app, options).await.map(|()| false),
        Command::Import(options) => commands::files::import(&app, options).await.map(|()| false),
        Command::Export(options) => commands::files::export(&app, options).await.map(|()| false),
        Command::Demo(options) => demo::run(options, app.output).await.map(|()| false),
    }?;
    Ok(if waiting { ExitCode::from(WAITING) } else { ExitCode::SUCCESS })
}
