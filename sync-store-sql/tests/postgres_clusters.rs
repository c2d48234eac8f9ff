//! A database that was restored into another cluster, or whose standby took over with commits missing, is noticed: the
//! store goes on under a new replica id, and what was lost comes back from the peers. With clusters of the test's own.

#![cfg(feature = "postgres")]

#[path = "common/cluster.rs"]
mod cluster;
#[path = "common/restart.rs"]
mod restart;

use cluster::{Cluster, done};
use restart::{Card, device, refused};
use std::process::Command;
use std::time::{Duration, Instant};
use sync_runtime::prelude::*;
use sync_runtime::{ErrorKind, Workspace};
use sync_store_sql::SqlStore;

async fn workspace(cluster: &Cluster) -> Workspace {
    restart::server(&cluster.url()).await
}

fn card(id: i64, title: &str) -> Card {
    Card { id, title: title.to_owned() }
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

#[test]
fn rule_durable_before_seen_where_the_database_acknowledges_before_it_writes() {
    runtime().block_on(async {
        // What is committed is written whenever that is, ten seconds from now at the latest.
        let cluster = Cluster::with("-c synchronous_commit=off -c wal_writer_delay=10s");
        let (server, phone) = (workspace(&cluster).await, device().await);
        let cards = phone.collection::<Card>().expect("registered");
        for id in 0..50 {
            cards.create(card(id, "acknowledged")).await.expect("made");
            phone.sync(&server).await.expect("synced");
        }
        cluster.psql("INSERT INTO card VALUES (50, 'seen by the phone')");
        phone.sync(&server).await.expect("synced");
        cluster.psql("INSERT INTO card VALUES (51, 'acknowledged by nobody of ours')");
        cluster.kill();
        cluster.start();
        let after = titles(&server).await;
        assert_eq!(after, titles(&phone).await, "nobody has what the database lost");
        assert_eq!(after.len(), 51);
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
        let (server, phone) = (workspace(&old).await, device().await);
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
        let restored = workspace(&fresh).await;
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
        let (server, phone) = (workspace(&primary).await, device().await);
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
        let promoted = if in_place { server } else { workspace(&standby).await };
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
        let (server, phone) = (workspace(&cluster).await, device().await);
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
