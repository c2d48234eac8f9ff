//! The engine on both ends of the wire: what syncs in one process syncs over HTTP, also when connections break.

mod common;

use common::{served_with, todo_id, url};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use sync_http::{AllowAll, HttpReplica, SyncRoutes};
use sync_runtime::prelude::*;
use sync_runtime::replica::Limits;
use sync_runtime::{Result, Workspace};
use sync_store_memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq, Syncable)]
struct Task {
    #[sync(id)]
    id: Uuid,
    title: String,
    completed: bool,
    rank: i64,
    weight: f64,
    notes: Option<String>,
    data: Vec<u8>,
    tags: Vec<String>,
}

fn task(n: i64) -> Task {
    Task {
        id: todo_id(n as u64),
        title: format!("task {n}"),
        completed: n % 2 == 0,
        rank: i64::MAX - n,
        weight: if n % 3 == 0 { -0.0 } else { n as f64 / 7.0 },
        notes: (n % 5 == 0).then(|| "Grüße 🎉".to_owned()),
        data: vec![0, 255, n as u8],
        tags: vec!["a".to_owned(), format!("{n}")],
    }
}

async fn workspace(limits: Limits) -> Result<Workspace> {
    Workspace::builder(MemoryStore::new()).model::<Task>().limits(limits).build().await
}

async fn all(workspace: &Workspace) -> Result<Vec<Task>> {
    workspace.collection::<Task>()?.find(Query::all()).await
}

async fn served(workspace: &Workspace) -> SocketAddr {
    served_with(SyncRoutes::new(workspace.clone(), AllowAll)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_devices_come_level_through_a_server() -> Result<()> {
    for json in [false, true] {
        let small = Limits { page_records: 40, ..Limits::default() };
        let server = workspace(small).await?;
        let address = served(&server).await;
        let connect = || {
            let builder = HttpReplica::builder(&url(address));
            if json { builder.json().build() } else { builder.build() }
        };
        let (a, b) = (workspace(Limits::default()).await?, workspace(Limits::default()).await?);
        let (a_server, b_server) = (connect()?, connect()?);
        let tasks = a.collection::<Task>()?;
        tasks.upsert_all((0..250).map(task)).await?;
        let report = a.sync(&a_server).await?;
        assert_eq!((report.pushed, report.level), (250, true), "{report:?}");
        let report = b.sync(&b_server).await?;
        assert_eq!((report.pulled, report.level), (250, true), "{report:?}");
        assert_eq!(all(&a).await?, all(&b).await?);

        let before = a_server.traffic().requests;
        assert!(a.sync(&a_server).await?.level);
        assert_eq!(a_server.traffic().requests, before + 1, "an idle sync is one request");

        let ids: Vec<_> = all(&a).await?.iter().map(|task| task.id).collect();
        tasks.update(ids[0], |task| task.title = "ours".into()).await?;
        tasks.update(ids[1], |task| task.notes = None).await?;
        tasks.delete(ids[2]).await?;
        b.collection::<Task>()?.update(ids[0], |task| task.title = "theirs".into()).await?;
        b.sync(&b_server).await?;
        let report = a.sync(&a_server).await?;
        let mut conflicts = report.conflicts::<Task>();
        assert_eq!(conflicts.len(), 1, "{report:?}");
        let conflict = conflicts.remove(0);
        assert_eq!(conflict.source().map(|task| task.title.as_str()), Some("ours"));
        assert_eq!(conflict.target().map(|task| task.title.as_str()), Some("theirs"));
        conflict.resolve_using_source().await?;
        assert!(a.sync(&a_server).await?.level);
        assert!(b.sync(&b_server).await?.level);
        assert_eq!(all(&a).await?, all(&b).await?);
        assert_eq!(all(&a).await?, all(&server).await?);
        assert_eq!(all(&b).await?.len(), 249);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_replicate_one_way_between_two_servers() -> Result<()> {
    let (one, two) = (workspace(Limits::default()).await?, workspace(Limits::default()).await?);
    one.collection::<Task>()?.upsert_all((0..120).map(task)).await?;
    let (from, to) =
        (HttpReplica::new(&url(served(&one).await))?, HttpReplica::new(&url(served(&two).await))?);
    let report = Task::replicate(&from, &to).await?;
    assert_eq!((report.applied, report.level), (120, true), "{report:?}");
    assert_eq!(all(&one).await?, all(&two).await?);
    Ok(())
}

/// Passes connections on, and cuts each after as many bytes as it was told to, in both directions together.
async fn cutting(server: SocketAddr, after: Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let after = after.load(Ordering::SeqCst);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.expect("connects");
                let (mut there, mut back) = (vec![0; 4096], vec![0; 4096]);
                let mut left = after as usize;
                while left > 0 {
                    let (read, bytes, to) = tokio::select! {
                        read = client.read(&mut there) => (read, &there, &mut server),
                        read = server.read(&mut back) => (read, &back, &mut client),
                    };
                    let Ok(read @ 1..) = read else { return };
                    let passed = read.min(left);
                    left -= passed;
                    if to.write_all(&bytes[..passed]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_is_cut_anywhere_is_done_once_when_repeated() -> Result<()> {
    let server = workspace(Limits { page_records: 20, ..Limits::default() }).await?;
    let after = Arc::new(AtomicU64::new(u64::MAX >> 1));
    let through = url(cutting(served(&server).await, after.clone()).await);
    let (a, b) = (workspace(Limits::default()).await?, workspace(Limits::default()).await?);
    let (tasks, others) = (a.collection::<Task>()?, b.collection::<Task>()?);
    let mut cut = 0;
    let mut made = 0;
    for bytes in (1..6000).step_by(97) {
        tasks.upsert_all((0..5).map(|n| task(made + n))).await?;
        others.upsert_all((5..8).map(|n| task(made + n))).await?;
        made += 8;
        after.store(bytes, Ordering::SeqCst);
        for device in [&a, &b] {
            // A connection of its own each time, so that the count begins anew.
            let peer = HttpReplica::builder(&through).request_timeout(Duration::from_secs(5)).build()?;
            if let Err(error) = device.sync(&peer).await {
                assert!(error.is_retryable(), "{error}");
                cut += 1;
            }
        }
    }
    assert!(cut > 20, "only {cut} syncs were cut");
    after.store(u64::MAX >> 1, Ordering::SeqCst);
    let peer = HttpReplica::new(&through)?;
    for device in [&a, &b, &a, &b] {
        let report = device.sync(&peer).await?;
        assert_eq!((report.conflict_count(), report.rejected.len()), (0, 0), "{report:?}");
    }
    let (here, there) = (all(&a).await?, all(&b).await?);
    assert_eq!(here.len() as i64, made);
    assert_eq!(here, there);
    assert_eq!(here, all(&server).await?);
    Ok(())
}
