//! Transactions beside each other: writers one after another, readers on a snapshot of their own.

use super::models::{COUNTER, TASK, counter, task, text_id};
use super::suite::{NOW, Suite, write};
use futures_channel::oneshot;
use futures_util::future::{join, join_all};
use std::sync::Arc;
use sync_runtime::Result;
use sync_runtime::query::Filter;
use sync_runtime::record::Id;
use sync_runtime::store::{Access, Feed, Store, Transaction, transact};
use sync_runtime::value::Value;

async fn increment(t: &mut dyn Transaction, id: i64) -> Result<i64> {
    let record = t.read(&COUNTER, &[Id::Int(id)]).await?.remove(0);
    let count = match record.as_ref().and_then(|record| record.get(1)) {
        Some(Value::Int(count)) => count + 1,
        _ => 1,
    };
    t.save(vec![write(&COUNTER, counter(id, count))], NOW).await?;
    Ok(count)
}

pub(super) async fn writers_do_not_lose_each_others_increments(suite: &mut Suite) {
    let one = || transact(&*suite.store, Access::WRITE, |t| Box::pin(increment(t, 1)));
    let mut counts: Vec<i64> =
        join_all((0..40).map(|_| one())).await.into_iter().map(|count| count.expect("a commit")).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=40).collect::<Vec<_>>());
    // Where positions are given out when they are asked for, most of these changes were overwritten without one.
    assert!((1..=40).contains(&suite.newest().await));
}

pub(super) async fn writers_on_threads_do_not_lose_each_others_increments(suite: &mut Suite) {
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let store: Arc<dyn Store> = suite.store.clone();
            std::thread::spawn(move || {
                pollster::block_on(async move {
                    for _ in 0..25 {
                        transact(&*store, Access::WRITE, move |t| {
                            Box::pin(async move {
                                increment(t, 0).await?;
                                increment(t, n + 1).await
                            })
                        })
                        .await
                        .expect("a commit");
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("the writer ends well"));
    assert_eq!(suite.record(&COUNTER, &Id::Int(0)).await, Some(counter(0, 100)));
    for n in 1..=4 {
        assert_eq!(suite.record(&COUNTER, &Id::Int(n)).await, Some(counter(n, 25)));
    }
    assert!((5..=200).contains(&suite.newest().await));
}

pub(super) async fn readers_on_threads_see_transactions_whole(suite: &mut Suite) {
    suite.save(0, (0..4).map(|id| write(&COUNTER, counter(id, 0))).collect()).await;
    let writer = {
        let store = suite.store.clone();
        std::thread::spawn(move || {
            for n in 1..=60 {
                let writes: Vec<_> = (0..4).map(|id| write(&COUNTER, counter(id, n))).collect();
                let saved = transact(&*store, Access::WRITE, move |t| {
                    Box::pin(async move { t.save(writes, NOW + n).await })
                });
                pollster::block_on(saved).expect("a commit");
            }
        })
    };
    let mut last = 0;
    while last < 60 {
        let (counts, positions, newest) = suite
            .look(|t| {
                Box::pin(async move {
                    let first = t.read(&COUNTER, &[Id::Int(0), Id::Int(1)]).await?;
                    let feed = t.feed(&Feed { data: true, ..Feed::after(0) }).await?;
                    let rest = t.read(&COUNTER, &[Id::Int(2), Id::Int(3)]).await?;
                    let records =
                        first.into_iter().chain(rest).chain(feed.iter().map(|state| state.record.clone()));
                    let counts: Vec<Value> = records
                        .map(|record| record.and_then(|mut record| record.take(1)).expect("a count"))
                        .collect();
                    let positions: Vec<_> = feed.iter().map(|state| state.change.position).collect();
                    Ok((counts, positions, t.newest().await?))
                })
            })
            .await;
        assert!(counts.iter().all(|count| count == &counts[0]), "half of a transaction: {counts:?}");
        // A transaction that committed last may have no positions yet, and then none of its changes has one.
        assert!(
            positions.is_empty() || positions == [newest - 3, newest - 2, newest - 1, newest],
            "half of a transaction: {positions:?} up to {newest}"
        );
        let Value::Int(count) = counts[0] else { panic!("a count: {counts:?}") };
        assert!(count >= last, "a commit was taken back");
        last = count;
    }
    writer.join().expect("the writer ends well");
}

pub(super) async fn a_reader_keeps_its_snapshot_while_a_writer_commits(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    if !suite.factory.reads_beside_a_writer() {
        return;
    }
    let (looked, has_looked) = oneshot::channel();
    let (committed, has_committed) = oneshot::channel::<()>();
    let reader = suite.run_once(Access::READ.long().feed(), move |t| {
        Box::pin(async move {
            let before = t.newest().await?;
            looked.send(()).expect("the writer waits");
            has_committed.await.expect("the writer commits");
            let titles = t.read(&TASK, &["a", "b"].map(text_id)).await?;
            let count = t.count(&TASK, &Filter::All).await?;
            Ok((before, t.newest().await?, t.feed(&Feed::after(0)).await?.len(), titles, count))
        })
    });
    let writer = async {
        has_looked.await.expect("the reader looks");
        suite.save(1, vec![write(&TASK, task("a", "second")), write(&TASK, task("b", "new"))]).await;
        committed.send(()).expect("the reader waits");
    };
    let (read, ()) = join(reader, writer).await;
    let (before, after, fed, titles, count) = read.expect("the transaction reads");
    assert_eq!((before, after, fed, count), (1, 1, 1, 1));
    assert_eq!(titles, [Some(task("a", "first")), None]);
    assert_eq!(suite.newest().await, 3);
}

pub(super) async fn nobody_reads_what_is_not_committed(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    if !suite.factory.reads_beside_a_writer() {
        return;
    }
    let before = suite.everything().await;
    let (wrote, has_written) = oneshot::channel();
    let (looked, has_looked) = oneshot::channel::<()>();
    let writer = suite.write_once(move |t| {
        Box::pin(async move {
            t.save(vec![write(&TASK, task("a", "second")), write(&TASK, task("b", "new"))], NOW + 1).await?;
            wrote.send(()).expect("the reader waits");
            has_looked.await.expect("the reader looks");
            Ok(())
        })
    });
    let reader = async {
        has_written.await.expect("the writer writes");
        let version = suite.version().await;
        assert_eq!(suite.everything().await, before);
        if suite.factory.tells_only_of_its_own_commits() {
            assert_eq!(suite.version().await, version);
        }
        looked.send(()).expect("the writer waits");
    };
    join(writer, reader).await;
    assert_eq!(suite.newest().await, 3);
}

pub(super) async fn a_writer_waits_for_the_one_before(suite: &mut Suite) {
    let (begun, has_begun) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let first = suite.write_once(move |t| {
        Box::pin(async move {
            increment(t, 1).await?;
            begun.send(()).expect("the second waits");
            released.await.expect("released");
            increment(t, 1).await
        })
    });
    let second = async {
        has_begun.await.expect("the first begins");
        let wish = suite.write(|t| Box::pin(increment(t, 1)));
        let release = async { release.send(()).expect("the first waits") };
        join(wish, release).await.0
    };
    assert_eq!(join(first, second).await, (2, 3));
}
