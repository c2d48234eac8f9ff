//! A database that was restored into another cluster, or whose standby took over with commits missing, is noticed: the
//! store goes on under a new replica id, and what was lost comes back from the peers. With clusters of the test's own.

#![cfg(feature = "postgres")]

#[path = "common/restart.rs"]
mod restart;

use restart::{Card, device, refused};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use sync_runtime::prelude::*;
use sync_runtime::{ErrorKind, Workspace};
use sync_store_sql::SqlStore;

fn card(id: i64, title: &str) -> Card {
    Card { id, title: title.to_owned() }
}

/// Where PostgreSQL's own programs are.
fn programs() -> PathBuf {
    let told = Command::new("pg_config").arg("--bindir").output();
    let told = told.ok().filter(|told| told.status.success());
    let folders = told.map(|told| PathBuf::from(String::from_utf8_lossy(&told.stdout).trim())).into_iter();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders = folders.chain(debian.map(|version| version.path().join("bin")));
    folders
        .find(|folder| folder.join("initdb").exists())
        .expect("initdb; `scripts/services` installs PostgreSQL")
}

/// A command of PostgreSQL, which refuses to be run by root.
fn as_postgres(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut command = match is_root {
        true => {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.current_dir("/");
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A cluster of the test's own, which goes with it.
struct Cluster {
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    fn place() -> (PathBuf, u16) {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(format!("/tmp/sync-cluster-{}-{number}", std::process::id()));
        // A free port, as far as one can know.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        (folder, listener.local_addr().expect("an address").port())
    }

    fn new() -> Self {
        let (folder, port) = Self::place();
        let data = folder.to_string_lossy().into_owned();
        let initdb = programs().join("initdb");
        done(as_postgres(&initdb).args([
            "-D",
            &data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-sync",
        ]));
        let cluster = Cluster { folder, port };
        cluster.start();
        cluster
    }

    /// A standby of this cluster, as it is now.
    fn standby(&self) -> Self {
        let (folder, port) = Self::place();
        let (data, from) = (folder.to_string_lossy().into_owned(), self.port.to_string());
        let backup = programs().join("pg_basebackup");
        done(as_postgres(&backup).args([
            "-h",
            "127.0.0.1",
            "-p",
            &from,
            "-U",
            "postgres",
            "-D",
            &data,
            "-R",
            "--no-sync",
            "-c",
            "fast",
        ]));
        let standby = Cluster { folder, port };
        standby.start();
        standby
    }

    fn control(&self, arguments: &[&str]) {
        let program = programs().join("pg_ctl");
        let data = self.folder.to_string_lossy().into_owned();
        done(as_postgres(&program).args(["-D", &data, "-w"]).args(arguments));
    }

    fn start(&self) {
        let options = format!(
            "-c port={} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=40 \
             -c max_prepared_transactions=4",
            self.port
        );
        let log = format!("{}/log", self.folder.display());
        self.control(&["-l", &log, "-o", &options, "start"]);
    }

    fn stop(&self) {
        self.control(&["-m", "immediate", "stop"]);
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    async fn workspace(&self) -> Workspace {
        restart::server(&self.url()).await
    }

    fn psql(&self, sql: &str) -> String {
        let told = done(Command::new("psql").args([&self.url(), "-X", "-q", "-A", "-t", "-c", sql]));
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let program = programs().join("pg_ctl");
        let data = self.folder.to_string_lossy().into_owned();
        let _ = as_postgres(&program).args(["-D", &data, "-m", "immediate", "stop"]).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_database_that_is_down_read_only_or_closed_to_us_is_named() {
    runtime().block_on(async {
        let cluster = Cluster::new();
        cluster.psql("CREATE ROLE reader LOGIN");
        let url = format!("postgres://reader@127.0.0.1:{}/postgres", cluster.port);
        let (kind, retry, text) = refused(&url).await;
        assert_eq!((kind, retry), (ErrorKind::Storage, false));
        assert!(text.contains("GRANT CREATE, USAGE ON SCHEMA \"public\""), "{text}");
        cluster.psql("ALTER DATABASE postgres SET default_transaction_read_only = on");
        let (kind, _, text) = refused(&cluster.url()).await;
        assert_eq!(kind, ErrorKind::Storage);
        assert!(text.contains("read-only"), "{text}");
        cluster.stop();
        let (kind, retry, text) = refused(&cluster.url()).await;
        assert_eq!((kind, retry), (ErrorKind::Storage, true));
        assert!(text.contains(&cluster.port.to_string()), "{text}");
    });
}

#[test]
fn a_database_that_restarts_in_the_middle_of_a_sync_loses_nothing() {
    runtime().block_on(async {
        let cluster = Cluster::new();
        restart::loses_nothing(&cluster.url(), || cluster.stop(), || cluster.start()).await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn titles(workspace: &Workspace) -> Vec<String> {
    let cards = workspace.collection::<Card>().expect("registered").find(Query::all()).await.expect("cards");
    cards.into_iter().map(|card| card.title).collect()
}

#[test]
fn a_restore_into_another_cluster_is_noticed() {
    runtime().block_on(async {
        let (old, fresh) = (Cluster::new(), Cluster::new());
        let (server, phone) = (old.workspace().await, device().await);
        let cards = server.collection::<Card>().expect("registered");
        cards.create(card(1, "before the backup")).await.expect("made");
        phone.sync(&server).await.expect("synced");
        let dump = done(Command::new("pg_dump").args([&old.url(), "--no-owner"]));
        // After the backup the phone sends an edit that the restored database lacks.
        phone
            .collection::<Card>()
            .expect("registered")
            .create(card(2, "after the backup"))
            .await
            .expect("made");
        phone.sync(&server).await.expect("synced");
        let name = server.id().await.expect("a name");
        let file = format!("{}.sql", fresh.folder.display());
        std::fs::write(&file, dump.stdout).expect("a file");
        done(Command::new("psql").args([&fresh.url(), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", &file]));
        std::fs::remove_file(&file).expect("removed");
        let restored = fresh.workspace().await;
        assert_ne!(restored.id().await.expect("a name"), name, "a new name");
        phone.sync(&restored).await.expect("synced");
        assert_eq!(titles(&restored).await, ["before the backup", "after the backup"]);
        assert_eq!(titles(&phone).await, titles(&restored).await);
    });
}

/// Fails over to a standby that lacks the last commit, which opens anew, or takes the place of the primary while the
/// server goes on.
fn fail_over(in_place: bool) {
    runtime().block_on(async {
        let primary = Cluster::new();
        let (server, phone) = (primary.workspace().await, device().await);
        let cards = server.collection::<Card>().expect("registered");
        cards.create(card(1, "on both")).await.expect("made");
        phone.sync(&server).await.expect("synced");
        let name = server.id().await.expect("a name");
        let mut standby = primary.standby();
        let until = Instant::now() + Duration::from_secs(20);
        while standby.psql("SELECT count(*) FROM card") != "1" && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The standby hears of nothing from now on, and the primary goes on for a while.
        standby.psql("ALTER SYSTEM SET primary_conninfo = ''");
        standby.psql("SELECT pg_reload_conf()");
        while standby.psql("SELECT count(*) FROM pg_stat_wal_receiver") != "0" && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cards.create(card(2, "lost with the primary")).await.expect("made");
        phone.sync(&server).await.expect("synced");
        primary.stop();
        if in_place {
            standby.stop();
            standby.port = primary.port;
            standby.start();
        }
        standby.psql("SELECT pg_promote(true, 30)");
        let promoted = if in_place { server } else { standby.workspace().await };
        let promoted_cards = promoted.collection::<Card>().expect("registered");
        promoted_cards.create(card(3, "at a position that was given out before")).await.expect("made");
        phone.sync(&promoted).await.expect("synced");
        assert_ne!(promoted.id().await.expect("a name"), name, "a new name");
        let expected = ["on both", "lost with the primary", "at a position that was given out before"];
        assert_eq!(titles(&promoted).await, expected);
        assert_eq!(titles(&phone).await, expected);
    });
}

#[test]
fn a_standby_that_took_over_without_the_last_commits_is_noticed() {
    fail_over(false);
}

#[test]
fn a_standby_that_takes_over_under_an_open_server_is_noticed() {
    fail_over(true);
}

#[test]
fn a_prepared_transaction_and_writers_of_other_databases_hold_up_nothing_else() {
    runtime().block_on(async {
        let cluster = Cluster::new();
        let (server, phone) = (cluster.workspace().await, device().await);
        cluster.psql("CREATE DATABASE other");
        let elsewhere = format!("postgres://postgres@127.0.0.1:{}/other", cluster.port);
        let in_other = |sql: &str| done(Command::new("psql").args([&elsewhere, "-X", "-q", "-c", sql]));
        in_other("CREATE TABLE t(id int); BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'elsewhere'");
        cluster.psql("BEGIN; INSERT INTO card VALUES (1, 'prepared'); PREPARE TRANSACTION 'here'");
        cluster.psql("INSERT INTO card VALUES (2, 'committed')");
        phone.sync(&server).await.expect("synced");
        assert_eq!(titles(&phone).await, ["committed"]);
        let store = SqlStore::open(&cluster.url()).await.expect("the database opens");
        Workspace::builder(store.clone()).model::<Card>().build().await.expect("a workspace");
        let held = store.feed_status().await.expect("a status");
        assert!(held.oldest_writer.is_some_and(|open| open > Duration::ZERO), "{held:?}");
        cluster.psql("COMMIT PREPARED 'here'");
        phone.sync(&server).await.expect("synced");
        assert_eq!(titles(&phone).await, ["prepared", "committed"]);
        let free = store.feed_status().await.expect("a status");
        assert_eq!((free.waiting, free.oldest_writer), (0, None));
        in_other("ROLLBACK PREPARED 'elsewhere'");
    });
}
