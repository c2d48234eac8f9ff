//! A MariaDB that is down, restarts in the middle of a sync, is read-only, or lets us make no triggers: each is named,
//! and loses nothing. With a server of the test's own.

#![cfg(feature = "mariadb")]

#[path = "common/restart.rs"]
mod restart;

use restart::refused;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use sync_runtime::ErrorKind;

/// A program of MariaDB; the server is often not on the path.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let mut programs = folders.map(|folder| folder.join(name));
    let found = programs.find(|program| program.exists());
    found.unwrap_or_else(|| panic!("{name}; `scripts/services` installs MariaDB"))
}

/// A command of the server, which refuses to be run by root.
fn as_mysql(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut command = match is_root {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=mysql", "--regid=mysql", "--clear-groups", "--"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A server of the test's own, which goes with it.
struct Server {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Server {
    fn new() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(format!("/tmp/sync-mariadb-{}-{number}", std::process::id()));
        // A free port, as far as one can know.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a port").port();
        // Two at once get into each other's way, now and then.
        static ONE: Mutex<()> = Mutex::new(());
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut install = as_mysql(&program("mariadb-install-db"));
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        let made = install.arg(format!("--datadir={}", folder.display())).status();
        assert!(made.is_ok_and(|made| made.success()), "mariadb-install-db makes {}", folder.display());
        drop(alone);
        let mut server = Server { folder, port, process: None };
        server.start();
        server.sql("CREATE DATABASE cards");
        server
    }

    fn start(&mut self) {
        let at = self.folder.display();
        let process = as_mysql(&program("mariadbd"))
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"])
            .arg(format!("--datadir={at}"))
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={at}/socket"))
            .arg(format!("--pid-file={at}/pid"))
            .spawn();
        self.process = Some(process.expect("mariadbd runs"));
        let until = Instant::now() + Duration::from_secs(60);
        while !self.tells("SELECT 1").status.success() {
            assert!(Instant::now() < until, "mariadbd in {at} answers");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// As if the machine lost its power.
    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is killed");
            process.wait().expect("it ends");
        }
    }

    fn tells(&self, sql: &str) -> std::process::Output {
        let port = self.port.to_string();
        let client =
            ["--no-defaults", "--protocol=TCP", "-h", "127.0.0.1", "-u", "root", "-N", "-B", "-P", &port];
        Command::new(program("mariadb")).args(client).args(["-e", sql]).output().expect("mariadb runs")
    }

    fn sql(&self, sql: &str) -> String {
        let told = self.tells(sql);
        assert!(told.status.success(), "{sql}: {}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    }

    fn url(&self, user: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}/cards", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        // What is left of it is in a folder for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

#[test]
fn a_database_that_is_down_read_only_or_closed_to_us_is_named() {
    runtime().block_on(async {
        let mut server = Server::new();
        server.sql(
            "CREATE USER reader@'127.0.0.1'; GRANT SELECT, INSERT, UPDATE, DELETE ON cards.* TO reader@'127.0.0.1'",
        );
        let (kind, retry, text) = refused(&server.url("reader")).await;
        assert_eq!((kind, retry), (ErrorKind::Storage, false), "{text}");
        assert!(text.contains("GRANT CREATE, ALTER, INDEX, TRIGGER"), "{text}");
        server.sql("GRANT ALL ON cards.* TO reader@'127.0.0.1'; SET GLOBAL read_only = 1");
        let (kind, _, text) = refused(&server.url("reader")).await;
        assert_eq!(kind, ErrorKind::Storage, "{text}");
        assert!(text.contains("read-only"), "{text}");
        server.stop();
        let (kind, retry, text) = refused(&server.url("root")).await;
        assert_eq!((kind, retry), (ErrorKind::Storage, true), "{text}");
        assert!(text.contains(&server.port.to_string()), "{text}");
    });
}

#[test]
fn a_database_that_restarts_in_the_middle_of_a_sync_loses_nothing() {
    runtime().block_on(async {
        let database = RefCell::new(Server::new());
        let url = database.borrow().url("root");
        restart::loses_nothing(&url, || database.borrow_mut().stop(), || database.borrow_mut().start()).await;
    });
}
