//! A caller that goes away, after any number of polls, leaves no transaction open behind it and takes nothing back that
//! was acknowledged.

#![cfg(feature = "mariadb")]

#[path = "common/cancel.rs"]
mod cancel;
#[path = "common/mariadb.rs"]
mod mariadb;
#[path = "common/plain.rs"]
mod plain;
#[path = "common/world.rs"]
mod world;

use mariadb::{Database, RUNTIME};
use sqlx::{Connection, MySqlConnection};

#[test]
fn a_dropped_caller_leaves_no_transaction_open_and_loses_nothing() {
    let database = Database::new();
    let open = format!(
        "SELECT count(*) FROM information_schema.INNODB_TRX x
         JOIN information_schema.PROCESSLIST p ON p.ID = x.trx_mysql_thread_id
         WHERE p.DB = '{}' AND p.ID <> CONNECTION_ID()",
        database.0
    );
    RUNTIME.block_on(async {
        let plain = MySqlConnection::connect(&database.url()).await.expect("a connection");
        cancel::a_dropped_caller_leaves_nothing_open(&database.url(), Box::new(plain), &open).await;
    });
    cancel::what_was_acknowledged_is_there(&database.url());
}
