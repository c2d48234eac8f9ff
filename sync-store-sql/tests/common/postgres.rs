//! A PostgreSQL schema of its own for each test, made and dropped by it.

#![allow(dead_code, unreachable_pub)]

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Executor, PgPool};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Runtime;

/// Where the tests' databases and their connections live.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

static ADMIN: LazyLock<PgPool> = LazyLock::new(|| {
    let _inside = RUNTIME.enter();
    PgPoolOptions::new().max_connections(4).connect_lazy(&base_url()).expect("a URL")
});

/// The server that the tests use; `scripts/services` starts it and says where it is.
pub fn base_url() -> String {
    std::env::var("SYNC_TEST_POSTGRES")
        .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".into())
}

/// A schema that is dropped at the end.
#[derive(Debug)]
pub struct Schema(pub String);

impl Schema {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sync_test_{}_{number}", std::process::id());
        let schema = Schema(name);
        admin(&format!("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}", schema.0));
        schema
    }

    /// A copy of the schema as it stands, by way of a dump.
    pub fn copied(&self) -> Self {
        let copy = Schema::new();
        let dump = Command::new("pg_dump")
            .args([&base_url(), "--schema", &self.0, "--inserts", "--no-owner"])
            .output()
            .expect("the pg_dump program; `scripts/services` installs it");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let dump = String::from_utf8(dump.stdout).expect("text").replace(&self.0, &copy.0);
        let dump = dump.replace(&format!("CREATE SCHEMA {};", copy.0), "");
        let told = copy.psql(&dump);
        assert!(!told.contains("ERROR"), "{told}");
        copy
    }

    /// A URL whose connections work in this schema.
    pub fn url(&self) -> String {
        let url = base_url();
        let sign = if url.contains('?') { '&' } else { '?' };
        format!("{url}{sign}options=-c%20search_path%3D{}", self.0)
    }

    /// Runs SQL in this schema over a connection of the tests.
    pub fn sql(&self, sql: &str) {
        admin(&format!("BEGIN; SET LOCAL search_path = {}; {sql}; COMMIT", self.0));
    }

    /// Runs SQL by the `psql` program; gives what it prints, errors included.
    pub fn psql(&self, sql: &str) -> String {
        let mut child = Command::new("psql")
            .args([&base_url(), "-X", "-q", "-A", "-t"])
            .env("PGOPTIONS", format!("-c search_path={}", self.0))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the psql program; `scripts/services` installs it");
        std::io::Write::write_all(&mut child.stdin.take().expect("its input"), sql.as_bytes())
            .expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // A sync that the test left running still ends its transaction; where both wait for each other, PostgreSQL lets one
        // of the two fail.
        let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.0);
        let mut done = run(&drop);
        while done.as_ref().is_err_and(is_deadlock) {
            done = run(&drop);
        }
        done.expect("the schema is dropped");
    }
}

fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("40P01")
}

fn admin(sql: &str) {
    run(sql).expect("the SQL runs; `scripts/services` starts the database");
}

fn run(sql: &str) -> sqlx::Result<()> {
    let sql = AssertSqlSafe(sql.to_owned());
    let run = std::thread::scope(|scope| {
        scope.spawn(|| RUNTIME.block_on(async { (&*ADMIN).execute(sqlx::raw_sql(sql)).await })).join()
    });
    run.expect("the thread ends").map(|_| ())
}
