//! What stands in a column before its field is in the struct is told when it is, on any database.

mod common;
#[cfg(feature = "mariadb")]
#[path = "common/mariadb.rs"]
mod mariadb;
#[cfg(feature = "postgres")]
#[path = "common/postgres.rs"]
mod postgres;
#[path = "common/untold.rs"]
mod untold;

use common::{Folder, PROGRAMS};
use untold::{run_through, with_what_a_peer_had_sent};

const ROWS: &str = "INSERT INTO card VALUES (1, 'a', NULL, 7), (2, 'b', 'x', 9), (3, 'c', NULL, 7)";

#[test]
fn what_stands_in_a_column_is_told_when_its_field_is_added() {
    for program in PROGRAMS {
        let folder = Folder::new();
        let sql = |sql: &str| assert_eq!(folder.run(program, &format!("{sql};\n")), "", "{sql}");
        sql(
            "CREATE TABLE card(id INTEGER PRIMARY KEY, name TEXT NOT NULL, extra TEXT, rank INTEGER DEFAULT 7)",
        );
        sql(ROWS);
        pollster::block_on(run_through(&folder.url(), &sql));
    }
}

#[cfg(feature = "postgres")]
#[test]
fn what_stands_in_a_column_is_told_when_its_field_is_added_on_postgresql() {
    let schema = postgres::Schema::new();
    let sql = |sql: &str| assert_eq!(schema.psql(sql), "", "{sql}");
    sql("CREATE TABLE card(id int8 PRIMARY KEY, name text NOT NULL, extra text, rank int8 DEFAULT 7)");
    sql(ROWS);
    postgres::RUNTIME.block_on(run_through(&schema.url(), &sql));
}

#[cfg(feature = "mariadb")]
#[test]
fn what_stands_in_a_column_is_told_when_its_field_is_added_on_mariadb() {
    let database = mariadb::Database::new();
    let sql = |sql: &str| assert_eq!(database.mariadb(sql), "", "{sql}");
    sql("CREATE TABLE card(id BIGINT PRIMARY KEY, name TEXT NOT NULL, extra TEXT, `rank` BIGINT DEFAULT 7)");
    sql(ROWS);
    mariadb::RUNTIME.block_on(run_through(&database.url(), &sql));
}

#[test]
fn what_a_peer_had_sent_is_what_stood_in_a_column_before() {
    for program in PROGRAMS {
        let folder = Folder::new();
        let sql = |sql: &str| assert_eq!(folder.run(program, &format!("{sql};\n")), "", "{sql}");
        sql(
            "CREATE TABLE card(id INTEGER PRIMARY KEY, name TEXT NOT NULL, extra TEXT, rank INTEGER DEFAULT 7)",
        );
        pollster::block_on(with_what_a_peer_had_sent(&folder.url(), &sql));
    }
}

#[cfg(feature = "postgres")]
#[test]
fn what_a_peer_had_sent_is_what_stood_in_a_column_before_on_postgresql() {
    let schema = postgres::Schema::new();
    let sql = |sql: &str| assert_eq!(schema.psql(&sql.replace('`', "\"")), "", "{sql}");
    sql("CREATE TABLE card(id int8 PRIMARY KEY, name text NOT NULL, extra text, rank int8 DEFAULT 7)");
    postgres::RUNTIME.block_on(with_what_a_peer_had_sent(&schema.url(), &sql));
}

#[cfg(feature = "mariadb")]
#[test]
fn what_a_peer_had_sent_is_what_stood_in_a_column_before_on_mariadb() {
    let database = mariadb::Database::new();
    let sql = |sql: &str| assert_eq!(database.mariadb(sql), "", "{sql}");
    sql("CREATE TABLE card(id BIGINT PRIMARY KEY, name TEXT NOT NULL, extra TEXT, `rank` BIGINT DEFAULT 7)");
    mariadb::RUNTIME.block_on(with_what_a_peer_had_sent(&database.url(), &sql));
}
