//! Measures the project against floors taken in the same run.
//!
//! `cargo run --release -p bench [-- WORKLOAD…]` prints one JSON line per figure:
//! `{"workload":…,"n":…,"value":…,"unit":…,"floor":…,"ratio":…}`. Without a workload it runs all. Times are
//! medians of rounds in which floor and ours take turns; on a busy machine only the ratios mean something.

mod compile;
mod figure;
mod live;
mod local;
mod mariadb;
mod memory;
mod merge;
mod network;
mod postgres;
mod record;
mod scope;

use std::error::Error;

/// What a workload ends with.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const WORKLOADS: [(&str, &str); 18] = [
    ("insert", "tracked single insert on SQLite"),
    ("update", "tracked single update on SQLite"),
    ("bulk", "100,000 tracked inserts on SQLite in batches of 1,000"),
    ("memory", "tracked single write in memory"),
    ("pull", "first pull of 100,000 records over HTTP, into SQLite and into memory"),
    ("push", "first push of 100,000 records over HTTP"),
    ("scale", "first pull of 100,000 against 10,000"),
    ("idle", "a sync with nothing to do, and with one changed record"),
    ("live", "an edit that reaches a thousand listening clients, against a bare route that answers as many"),
    ("scope", "a pull of a scope of 100 records beside 1,000,000 others, against 10,000"),
    ("merge", "a sync that merges 1,000 records, against one without conflicts"),
    ("peak", "peak memory of client and server in a first pull of 100,000"),
    ("postgres-bulk", "100,000 tracked inserts by plain SQL on PostgreSQL"),
    ("postgres-pull", "a pull of 100,000 records from PostgreSQL, against selecting and encoding them"),
    ("postgres-page", "a page of 1,000 in the middle of a million records on PostgreSQL, against 10,000"),
    ("postgres-pushers", "what eight pushers to PostgreSQL gain over one, against eight that insert"),
    ("mariadb-bulk", "100,000 tracked inserts by plain SQL on MariaDB"),
    ("compile", "cargo check of 200 models"),
];

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == memory::ROLE) {
        return memory::child(&arguments[1..]);
    }
    if let Some(unknown) = arguments.iter().find(|name| !WORKLOADS.iter().any(|(known, _)| known == name)) {
        let known: Vec<String> = WORKLOADS.iter().map(|(name, what)| format!("  {name:16} {what}")).collect();
        return Err(format!("no workload `{unknown}`; there are\n{}", known.join("\n")).into());
    }
    // The floors use the same HTTP client as the project, which wants to be told whose cryptography to use.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a provider is installed already")?;
    for (name, _) in WORKLOADS {
        if !arguments.is_empty() && !arguments.iter().any(|wanted| wanted == name) {
            continue;
        }
        match name {
            "insert" => local::insert()?,
            "update" => local::update()?,
            "bulk" => local::bulk()?,
            "memory" => local::in_memory()?,
            "pull" => network::pull()?,
            "push" => network::push()?,
            "scale" => network::scale()?,
            "idle" => network::idle()?,
            "live" => live::live_updates()?,
            "scope" => scope::pull()?,
            "merge" => merge::merge()?,
            "postgres-bulk" => postgres::bulk()?,
            "postgres-pull" => postgres::pull()?,
            "postgres-page" => postgres::page()?,
            "mariadb-bulk" => mariadb::bulk()?,
            "postgres-pushers" => postgres::pushers()?,
            "peak" => memory::peak()?,
            _ => compile::check()?,
        }
    }
    Ok(())
}
