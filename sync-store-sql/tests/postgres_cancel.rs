//! A caller that goes away, after any number of polls, leaves no transaction open behind it and takes nothing back that
//! was acknowledged.

#![cfg(feature = "postgres")]

#[path = "common/cancel.rs"]
mod cancel;
#[path = "common/plain.rs"]
mod plain;
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/world.rs"]
mod world;

use postgres::{RUNTIME, Schema};
use sqlx::{Connection, PgConnection};

#[test]
fn a_dropped_caller_leaves_no_transaction_open_and_loses_nothing() {
    let schema = Schema::new();
    let url = format!("{}&application_name={}", schema.url(), schema.0);
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND xact_start IS NOT NULL",
        schema.0
    );
    RUNTIME.block_on(async {
        let plain = PgConnection::connect(&schema.url()).await.expect("a connection");
        cancel::a_dropped_caller_leaves_nothing_open(&url, Box::new(plain), &open).await;
    });
    cancel::what_was_acknowledged_is_there(&schema.url());
}
