//! A MariaDB database of its own for each test, made and dropped by it.

#![allow(dead_code, unreachable_pub)]

use sqlx::mysql::MySqlPoolOptions;
use sqlx::{AssertSqlSafe, Executor, MySqlPool, Row};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Runtime;

/// Where the tests' databases and their connections live.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

static ADMIN: LazyLock<MySqlPool> = LazyLock::new(|| {
    let _inside = RUNTIME.enter();
    MySqlPoolOptions::new().max_connections(4).connect_lazy(&base_url()).expect("a URL")
});

/// The server that the tests use; `scripts/services` starts it and says where it is.
pub fn base_url() -> String {
    std::env::var("SYNC_TEST_MARIADB").unwrap_or_else(|_| "mysql://root@127.0.0.1:3306/mysql".into())
}

/// A database that is dropped at the end.
#[derive(Debug)]
pub struct Database(pub String);

impl Database {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = Database(format!("sync_test_{}_{number}", std::process::id()));
        admin(&format!("CREATE OR REPLACE DATABASE {}", database.0));
        database
    }

    /// A copy of the database as it stands, by way of a dump.
    pub fn copied(&self) -> Self {
        let copy = Database::new();
        let dump = client("mariadb-dump").args(["--hex-blob", "--routines", "--triggers", &self.0]).output();
        let dump = dump.expect("the mariadb-dump program; `scripts/services` installs it");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let dump = String::from_utf8(dump.stdout).expect("text").replace(&self.0, &copy.0);
        let told = copy.mariadb(&dump);
        assert!(!told.contains("ERROR"), "{told}");
        copy
    }

    /// A URL whose connections work in this database.
    pub fn url(&self) -> String {
        let base = base_url();
        let (server, _) = base.rsplit_once('/').expect("a URL with a database");
        format!("{server}/{}", self.0)
    }

    /// Runs SQL in this database over a connection of the tests.
    pub fn sql(&self, sql: &str) {
        admin(&format!("USE {}; {sql}", self.0));
    }

    /// Runs SQL as if the table had no triggers: they cannot be turned off here, so they are taken away and made again.
    pub fn without_triggers(&self, table: &str, sql: &str) {
        let select = format!(
            "SELECT concat(TRIGGER_NAME, ' ', ACTION_TIMING, ' ', EVENT_MANIPULATION, ' ON `', EVENT_OBJECT_TABLE, \
             '` FOR EACH ROW ', ACTION_STATEMENT), TRIGGER_NAME FROM information_schema.TRIGGERS \
             WHERE EVENT_OBJECT_SCHEMA = '{}' AND EVENT_OBJECT_TABLE = '{table}' AND TRIGGER_NAME LIKE 'sync%'",
            self.0
        );
        let rows = std::thread::scope(|scope| {
            let read = scope.spawn(|| {
                RUNTIME.block_on(async { sqlx::query(AssertSqlSafe(select)).fetch_all(&*ADMIN).await })
            });
            read.join().expect("the thread ends").expect("the triggers are listed")
        });
        let triggers: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for (_, name) in &triggers {
            self.sql(&format!("DROP TRIGGER {name}"));
        }
        self.sql(sql);
        for (trigger, _) in &triggers {
            self.sql(&format!("CREATE TRIGGER {trigger}"));
        }
    }

    /// Runs SQL by the `mariadb` program; gives what it prints, errors included.
    pub fn mariadb(&self, sql: &str) -> String {
        let mut child = client("mariadb")
            .args(["--skip-column-names", "--batch", "--force", &self.0])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the mariadb program; `scripts/services` installs it");
        std::io::Write::write_all(&mut child.stdin.take().expect("its input"), sql.as_bytes())
            .expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

/// One of MariaDB's own programs, with where the server is.
fn client(program: &str) -> Command {
    let (user, password, host, port) = parts(&base_url());
    let mut command = Command::new(program);
    command.args(["--no-defaults", "--default-character-set=utf8mb4"]);
    command.args(["-u", &user, "-h", &host, "-P", &port]).env("MYSQL_PWD", password);
    command
}

/// User, password, host and port of a URL.
fn parts(url: &str) -> (String, String, String, String) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (server, _) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = server.rsplit_once('@').unwrap_or(("root", server));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (host, port) = server.split_once(':').unwrap_or((server, "3306"));
    (user.to_owned(), password.to_owned(), host.to_owned(), port.to_owned())
}

impl Drop for Database {
    fn drop(&mut self) {
        admin(&format!("DROP DATABASE IF EXISTS {}", self.0));
    }
}

fn admin(sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    let run = std::thread::scope(|scope| {
        scope.spawn(|| RUNTIME.block_on(async { (&*ADMIN).execute(sqlx::raw_sql(sql)).await })).join()
    });
    run.expect("the thread ends").expect("the SQL runs; `scripts/services` starts the database");
}
