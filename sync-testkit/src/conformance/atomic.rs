//! A transaction happens whole or not at all, wherever its work fails, and is seen by itself while it runs.

use super::models::{COUNTER, TASK, counter, task, text_id};
use super::suite::{NOW, OTHER, PEER, Suite, at, brought, delete, on_purpose, plain, write};
use futures_channel::oneshot;
use futures_util::FutureExt;
use std::task::{Context, Poll, Waker};
use sync_runtime::change::ChangeKind;
use sync_runtime::query::{Filter, Selection};
use sync_runtime::record::Id;
use sync_runtime::store::{Access, Base, Feed, Room, Transaction, transact_once};
use sync_runtime::version::{Position, ReplicaId};
use sync_runtime::{Error, Result};
use uuid::Uuid;

/// How many steps [`step`] knows.
const STEPS: usize = 11;

/// One of the calls that write, each different from the others.
async fn step(t: &mut dyn Transaction, step: usize) -> Result<()> {
    let id = text_id("a");
    match step {
        0 => t.save(vec![write(&TASK, task("a", "saved"))], NOW + 9).await.map(drop),
        1 => t
            .save(vec![write(&COUNTER, counter(1, 1)), delete(&TASK, &text_id("b"))], NOW + 9)
            .await
            .map(drop),
        2 => t.put(&[brought(&TASK, task("a", "put"), at(50, PEER))], NOW).await.map(drop),
        3 => t.note(Room::Peer, "set", Some(vec![9])).await,
        4 => t.note(Room::Parked, "removed", None).await,
        5 => t.keep_bases_through(Some(Position::MAX)).await,
        6 => t.save(vec![delete(&TASK, &id)], NOW + 60).await.map(drop),
        7 => {
            t.add_bases(vec![Base { state: brought(&TASK, task("c", "base"), at(1, OTHER)), until: 99 }])
                .await
        }
        8 => t.drop_bases(Position::MAX - 1).await,
        9 => t.rename(ReplicaId(Uuid::from_u128(0xDEAD))).await,
        _ => t.save(vec![write(&TASK, task("d", "saved"))], NOW + 61).await.map(drop),
    }
}

/// Makes something of everything that the steps then change.
async fn furnish(suite: &Suite) {
    suite.tasks(0, &["a", "b", "c"]).await;
    suite.note(Room::Parked, "removed", Some(b"still here")).await;
    suite.add_bases(vec![Base { state: brought(&TASK, task("b", "base"), at(2, OTHER)), until: 2 }]).await;
}

pub(super) async fn an_error_after_any_call_undoes_them_all(suite: &mut Suite) {
    furnish(suite).await;
    let before = suite.everything().await;
    for last in 0..STEPS {
        let failed: Result<()> = suite
            .run(Access::WRITE, move |t| {
                Box::pin(async move {
                    for n in 0..=last {
                        step(t, n).await?;
                    }
                    Err(on_purpose())
                })
            })
            .await;
        let error = failed.expect_err("the work failed");
        assert!(error.to_string().contains("on purpose"), "the work's own error comes back: {error}");
        assert_eq!(suite.everything().await, before, "after {last} and what stands before it");
    }
    // The same calls do change something, so that the comparison above could have failed.
    for n in 0..STEPS {
        let shown = suite.everything().await;
        suite.write(move |t| Box::pin(async move { step(t, n).await })).await;
        // What is asked for alone is not to be seen.
        assert_eq!(suite.everything().await == shown, n == 5, "step {n}");
    }
}

pub(super) async fn what_is_kept_as_base_is_undone_with_its_transaction(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    let failed: Result<()> = suite
        .run(Access::WRITE, |t| {
            Box::pin(async move {
                t.keep_bases_through(Some(100)).await?;
                t.save(vec![write(&TASK, task("a", "undone"))], NOW).await?;
                assert_eq!(t.bases(&TASK, &[text_id("a")]).await?[0].len(), 1);
                Err(on_purpose())
            })
        })
        .await;
    assert!(failed.is_err());
    assert!(suite.task_bases("a").await.is_empty());
    suite.track(1, &TASK, task("a", "after")).await;
    assert!(suite.task_bases("a").await.is_empty(), "what was asked for was undone too");
}

pub(super) async fn a_transaction_sees_what_it_wrote(suite: &mut Suite) {
    suite.tasks(0, &["a"]).await;
    suite
        .write(|t| {
            Box::pin(async move {
                t.save(vec![write(&TASK, task("b", "new")), delete(&TASK, &text_id("a"))], NOW + 1).await?;
                let ids = ["a", "b"].map(text_id);
                assert_eq!(t.read(&TASK, &ids).await?, [None, Some(task("b", "new"))]);
                assert_eq!(t.select(&TASK, &Selection::default()).await?, [task("b", "new")]);
                assert_eq!(t.count(&TASK, &Filter::All).await?, 1);
                let changes = t.changes(&TASK, &ids).await?;
                let kinds: Vec<_> = changes.iter().flatten().map(|change| change.kind).collect();
                assert_eq!(kinds, [ChangeKind::Delete, ChangeKind::Create]);
                // Where positions are given out at the commit, neither of them has one yet.
                let feed = t.feed(&Feed::after(1)).await?;
                let fed: Vec<_> = feed.iter().map(|state| state.change.position).collect();
                let newest = t.newest().await?;
                assert!(
                    (newest == 3 && fed == [2, 3]) || (newest == 1 && fed.is_empty()),
                    "{newest} {fed:?}"
                );
                let states = t.states(&TASK, &ids).await?;
                assert_eq!(
                    states.iter().flatten().map(|state| state.record.is_some()).collect::<Vec<_>>(),
                    [false, true]
                );
                t.note(Room::Staged, "k", Some(vec![1])).await?;
                assert_eq!(t.notes(Room::Staged, "").await?, [("k".to_owned(), vec![1])]);
                Ok(())
            })
        })
        .await;
}

pub(super) async fn work_gives_back_what_it_returned(suite: &mut Suite) {
    assert_eq!(suite.write(|_| Box::pin(async { Ok(42) })).await, 42);
    assert_eq!(suite.look(|_| Box::pin(async { Ok("read") })).await, "read");
}

pub(super) async fn a_store_goes_on_after_a_failed_transaction(suite: &mut Suite) {
    for n in 0..20 {
        let failed: Result<()> = suite
            .run(if n % 2 == 0 { Access::WRITE } else { Access::READ }, |t| {
                Box::pin(async move {
                    t.newest().await?;
                    Err(on_purpose())
                })
            })
            .await;
        assert!(failed.is_err());
    }
    suite.tasks(1, &["a"]).await;
    assert_eq!(suite.newest().await, 1);
}

pub(super) async fn a_reading_transaction_cannot_write(suite: &mut Suite) {
    furnish(suite).await;
    let before = suite.everything().await;
    for n in 0..STEPS {
        let wrote = suite.run(Access::READ, move |t| Box::pin(async move { step(t, n).await })).await;
        assert!(wrote.is_err(), "step {n} went through");
        assert_eq!(suite.everything().await, before, "step {n}");
    }
    let retracked = suite
        .run(Access::READ, |t| Box::pin(async move { t.retrack(&TASK, &[text_id("a")], NOW).await }))
        .await;
    assert!(retracked.is_err());
}

pub(super) async fn long_and_durable_transactions_do_the_same(suite: &mut Suite) {
    let accesses = [Access::WRITE.long(), Access::WRITE.durable(), Access::WRITE.long().durable()];
    for (n, access) in accesses.into_iter().enumerate() {
        let record = task(&n.to_string(), "x");
        let saved = suite
            .run(access, move |t| Box::pin(async move { t.save(vec![write(&TASK, record)], NOW).await }))
            .await;
        assert!(saved.is_ok());
        let failed: Result<()> = suite
            .run(access, |t| {
                Box::pin(async move {
                    t.save(vec![write(&TASK, task("undone", "x"))], NOW).await?;
                    Err(on_purpose())
                })
            })
            .await;
        assert!(failed.is_err());
    }
    for access in [Access::READ.long(), Access::READ.durable(), Access::READ.long().durable()] {
        let count = suite.run(access, |t| Box::pin(async move { t.count(&TASK, &Filter::All).await })).await;
        assert_eq!(count.expect("a read"), 3);
    }
}

pub(super) async fn the_version_differs_after_every_commit(suite: &mut Suite) {
    let mut seen = suite.version().await;
    for n in 0..STEPS {
        suite.write(move |t| Box::pin(async move { step(t, n).await })).await;
        // A request for bases and a note that was not there leave nothing that anybody could miss.
        if ![4, 5, 8].contains(&n) {
            assert_ne!(suite.version().await, seen, "after step {n}");
        }
        seen = suite.version().await;
    }
    let draft = super::models::with(
        task("d", "saved"),
        super::models::task::DRAFT,
        sync_runtime::Value::Text("x".into()),
    );
    suite.save(70, vec![write(&TASK, draft)]).await;
    assert_ne!(suite.version().await, seen, "after a local field");
    seen = suite.version().await;
    suite.everything().await;
    if suite.factory.tells_only_of_its_own_commits() {
        assert_eq!(suite.version().await, seen, "reading commits nothing");
    }
}

pub(super) async fn a_transaction_once_begun_outlives_its_caller(suite: &mut Suite) {
    let (begun, has_begun) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let store = suite.store.clone();
    let mut caller = Box::pin(async move {
        transact_once(&*store, Access::WRITE, move |t| {
            Box::pin(async move {
                t.save(vec![write(&TASK, task("a", "begun"))], NOW).await?;
                // Nobody may be there any more to hear either.
                let _ = begun.send(());
                released.await.map_err(|_| Error::new(sync_runtime::ErrorKind::Closed, "never released"))?;
                t.save(vec![write(&TASK, task("b", "finished"))], NOW).await
            })
        })
        .await
    });
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(caller.poll_unpin(&mut context), Poll::Pending));
    // A store with threads of its own may begin a little later.
    has_begun.await.expect("the work begins");
    drop(caller);
    release.send(()).expect("the work is still there");
    assert_eq!(suite.count_of_tasks_once_it_settles().await, 2, "both writes, or neither would be left");
    assert_eq!(
        plain(suite.changes(&TASK, &[text_id("b")]).await[0].as_ref().expect("tracked")).group,
        Some(1)
    );
}

impl Suite {
    /// How many tasks there are as soon as there is any; a store with threads may need a moment.
    async fn count_of_tasks_once_it_settles(&self) -> u64 {
        for _ in 0..200 {
            let count = self.write(|t| Box::pin(async move { t.count(&TASK, &Filter::All).await })).await;
            if count > 0 {
                return count;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        0
    }
}

pub(super) async fn an_error_in_a_batch_leaves_no_half_of_it(suite: &mut Suite) {
    furnish(suite).await;
    let before = suite.everything().await;
    let stranger = sync_runtime::Record::new(task("x", "y").values()[..2].to_vec());
    let failed: Result<()> = suite
        .run(Access::WRITE, move |t| {
            Box::pin(async move {
                let writes = vec![write(&TASK, task("new", "x")), write(&super::models::STRANGER, stranger)];
                t.save(writes, NOW).await.map(drop)
            })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(suite.everything().await, before);
    assert_eq!(suite.record(&COUNTER, &Id::Int(1)).await, None);
}
