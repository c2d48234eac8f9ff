//! Every call gives over HTTP, in every format and encoding, what it gives in the same process.

mod common;

use common::*;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use sync_http::HttpReplica;
use sync_runtime::query::{Comparison, Filter};
use sync_runtime::record::{Id, Record};
use sync_runtime::replica::{
    Caller, Exchange, Page, Pull, Pulled, PushPage, Pushed, RemoteWrite, Replica, Update, Wanted,
};
use sync_runtime::{Checkpoint, ErrorKind, ReplicaId, Revision, Right, Value};
use uuid::Uuid;

fn clients(url: &str) -> Vec<HttpReplica> {
    let builder = || HttpReplica::builder(url);
    let builders = [builder(), builder().compress(false), builder().json(), builder().json().compress(false)];
    builders.into_iter().map(|builder| builder.build().expect("builds")).collect()
}

fn push(number: u64, updates: Vec<Update>, group_open: bool) -> Exchange {
    let push = PushPage { number, digest: u64::MAX - number, page: Page { updates, group_open } };
    Exchange { from: PEER, to: ME, push: Some(push), pull: None }
}

fn same(what: &str, here: &impl Debug, there: &impl Debug) {
    assert_eq!(format!("{here:?}"), format!("{there:?}"), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_gives_over_http_what_it_gives_here() {
    let caller = Caller::owner();
    for which in 0..4 {
        let seeded = || Shelf::with((0..40).map(|n| todo(n, "eat food")).chain([tag("home")]));
        let here = seeded();
        let address = served(seeded()).await;
        let there = clients(&url(address)).swap_remove(which);

        same("describe", &here.describe(&caller).await, &there.describe(&caller).await);
        same("checkpoint", &here.checkpoint(&caller).await, &there.checkpoint(&caller).await);

        let pulls = [
            pull(None, 1000),
            pull(None, 7),
            pull(Some(Checkpoint::new(ME, 38)), 10),
            pull(Some(Checkpoint::new(PEER, 1)), 10),
            Pull { data: false, ..pull(None, 5) },
            Pull { model: Some(&TAG), ..pull(None, 100) },
        ];
        for pull in pulls {
            let exchange = Exchange { from: PEER, to: ME, push: None, pull: Some(pull.clone()) };
            same(
                "pull",
                &here.exchange(&caller, exchange.clone()).await,
                &there.exchange(&caller, exchange).await,
            );
            same("changes", &here.changes(&caller, pull.clone()).await, &there.changes(&caller, pull).await);
        }

        let mut patch = todo(3, "patched");
        patch.record.as_mut().expect("a record").take(4);
        let unknown = [("later".to_owned(), serde_json::json!({"x": [1, null]}))];
        patch.change.unknown = Some(Box::new(unknown.into_iter().collect()));
        let patch = Update { based_on: Some(todo(3, "").change.revision()), state: patch };
        let deleted = state(&TODO, Id::Uuid(todo_id(5)), None, 900);
        let titles = ["eat more", "amend", "conflict", "whole", "storage"];
        let mut updates: Vec<_> = (100..).zip(titles).map(|(n, title)| update(todo(n, title))).collect();
        updates.extend([patch, update(deleted), update(todo(0, "known"))]);
        let pushes = [
            push(1, updates.clone(), false),
            push(2, updates.clone(), true),
            push(997, vec![], false),
            push(998, vec![], false),
            push(999, vec![], false),
            Exchange { to: PEER, ..push(3, updates.clone(), false) },
            Exchange {
                pull: Some(pull(Some(Checkpoint::new(ME, 40)), 3)),
                ..push(4, updates.clone(), false)
            },
        ];
        for exchange in pushes {
            let what = format!("push {:?}", exchange.push.as_ref().map(|push| push.number));
            same(
                &what,
                &here.exchange(&caller, exchange.clone()).await,
                &there.exchange(&caller, exchange).await,
            );
        }

        let changes: Vec<_> = [todo(1, "").change, todo(200, "").change, todo(7, "").change].to_vec();
        let moved = state(&TODO, Id::Uuid(todo_id(2)), None, 901).change;
        let changes = [changes, vec![moved]].concat();
        same("diff", &here.diff(&caller, changes.clone()).await, &there.diff(&caller, changes.clone()).await);
        let updates = here.create_updates(&caller, changes.clone()).await;
        same("create_updates", &updates, &there.create_updates(&caller, changes).await);
        let updates: Vec<_> = (300..330).map(|n| update(todo(n, "bulk"))).collect();
        same(
            "bulk",
            &here.bulk_update(&caller, None, updates.clone()).await,
            &there.bulk_update(&caller, None, updates).await,
        );

        let filters = [
            Filter::All,
            Filter::Compare(3, Comparison::GreaterOrEqual, Value::Int(20)),
            Filter::OneOf(3, vec![Value::Int(1), Value::Int(i64::MAX)]),
            Filter::Not(Box::new(Filter::And(vec![
                Filter::Contains(1, "eat".into()),
                Filter::Or(vec![Filter::Compare(2, Comparison::Equal, Value::Bool(true))]),
                Filter::Compare(4, Comparison::NotEqual, Value::Null),
            ]))),
        ];
        for filter in filters {
            let wanted = Wanted::Matching { filter, after: Some(Id::Uuid(Uuid::nil())), limit: 9 };
            same(
                "read",
                &here.read(&caller, &TODO, wanted.clone()).await,
                &there.read(&caller, &TODO, wanted).await,
            );
        }
        let wanted = Wanted::Ids((0..30).map(|n| Id::Uuid(todo_id(n))).collect());
        same(
            "read",
            &here.read(&caller, &TODO, wanted.clone()).await,
            &there.read(&caller, &TODO, wanted).await,
        );

        let write = |record: Option<Record>| RemoteWrite {
            schema: &TODO,
            id: Id::Uuid(todo_id(1)),
            record,
            expect: Some(Revision { stamp: 9, replica: ME }),
        };
        let writes = vec![write(todo(1, "written").record), write(None)];
        same("write", &here.write(&caller, writes.clone()).await, &there.write(&caller, writes).await);
    }
}

#[tokio::test]
async fn a_bad_record_is_refused_alone_and_not_with_its_page() {
    let shelf = Arc::new(Shelf::default());
    let address = served(shelf.clone()).await;
    for client in clients(&url(address)) {
        let before = shelf.len();
        let mut bad = todo(before as u64 + 1000, "bad");
        bad.record.as_mut().expect("a record").set(3, Value::Text("not a number".into()));
        let good = todo(before as u64 + 1, "good");
        let exchange = push(1, vec![update(bad), update(good)], false);
        let answer = client.exchange(&Caller::owner(), exchange).await.expect("answers");
        let Some(Pushed::Applied(outcomes)) = answer.pushed else { panic!("{answer:?}") };
        let shown = format!("{outcomes:?}");
        assert!(shown.contains("field `rank`: expected integer, found text"), "{shown}");
        assert!(shown.ends_with("Applied]"), "{shown}");
        assert_eq!(shelf.len(), before + 1);
    }
}

#[tokio::test]
async fn models_that_the_app_lacks_are_left_out_and_counted() {
    let address = served(Shelf::with([todo(1, "a"), tag("x"), todo(2, "b")])).await;
    for client in clients(&url(address)) {
        for asked_before in [false, true] {
            if asked_before {
                client.describe(&Caller::owner()).await.expect("describes");
            }
            let older = Pull { models: models(&[&TODO]), ..pull(None, 10) };
            let pulled = client.changes(&Caller::owner(), older).await.expect("answers");
            let Pulled::Page(page) = pulled else { panic!("no page") };
            assert_eq!((page.page.updates.len(), page.skipped, page.checkpoint.position), (2, 1, 3));
        }
    }
}

#[tokio::test]
async fn a_server_without_a_wanted_model_sends_what_it_has() {
    let shelf = Shelf::with([todo(1, "a")]).knowing(&[&TODO]);
    let client = HttpReplica::new(&url(served(shelf).await)).expect("a URL");
    let Pulled::Page(page) = client.changes(&Caller::owner(), pull(None, 10)).await.expect("answers") else {
        panic!("no page")
    };
    assert_eq!((page.page.updates.len(), page.skipped), (1, 0));
    let error =
        client.bulk_update(&Caller::owner(), None, vec![update(tag("x"))]).await.expect_err("unknown there");
    assert_eq!(error.kind(), ErrorKind::UnknownModel);
    assert!(error.to_string().contains("`Tag`"), "{error}");
}

/// A replica whose description can be counted, and whose id can change.
#[tokio::test]
async fn the_description_is_asked_for_once_until_another_replica_answers() {
    let client = HttpReplica::new(&url(served(Shelf::default()).await)).expect("a URL");
    for _ in 0..3 {
        client.describe(&Caller::owner()).await.expect("describes");
    }
    assert_eq!(client.traffic().requests, 1);
    let exchange = |to: ReplicaId| Exchange { from: PEER, to, push: None, pull: None };
    client.exchange(&Caller::owner(), exchange(ME)).await.expect("answers");
    client.describe(&Caller::owner()).await.expect("describes");
    assert_eq!(client.traffic().requests, 2);
    let answer = client.exchange(&Caller::owner(), exchange(PEER)).await.expect("answers");
    assert_eq!(answer.replica, ME);
    client.describe(&Caller::owner()).await.expect("describes");
    assert_eq!(client.traffic().requests, 4);
}

#[tokio::test]
async fn errors_of_the_replica_come_back_as_their_kind() {
    let client = HttpReplica::new(&url(served(Shelf::default()).await)).expect("a URL");
    let write = |title: &str, expect| RemoteWrite {
        schema: &TODO,
        id: Id::Uuid(todo_id(1)),
        record: todo(1, title).record,
        expect,
    };
    let caller = Caller::owner();
    let error = client.write(&caller, vec![write("storage", None)]).await.expect_err("fails");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Storage, false));
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    let error = client.write(&caller, vec![write("busy", None)]).await.expect_err("fails");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Busy, true));
    assert_eq!(error.retry_after().map(|wait| wait.as_secs()), Some(7));
    let expect = Some(Revision { stamp: 1, replica: ME });
    let error = client.write(&caller, vec![write("moved", expect)]).await.expect_err("fails");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Moved, true));
    assert!(error.to_string().contains("is in another revision"), "{error}");
    let mut misfit = write("bad", None);
    misfit.record.as_mut().expect("a record").set(2, Value::Int(7));
    let error = client.write(&caller, vec![misfit]).await.expect_err("fails");
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert!(error.to_string().contains("field `completed`: expected bool"), "{error}");
}

#[tokio::test]
async fn long_lists_go_in_parts_that_fit() {
    let limits = sync_runtime::replica::Limits { page_records: 10, body: 2500, ..Default::default() };
    let shelf = Arc::new(Shelf::limited(limits));
    let client =
        HttpReplica::builder(&url(served(shelf.clone()).await)).compress(false).build().expect("a URL");
    client.describe(&Caller::owner()).await.expect("describes");
    let updates: Vec<_> = (0..45).map(|n| update(todo(n, "many"))).collect();
    let outcomes = client.bulk_update(&Caller::owner(), None, updates.clone()).await.expect("applies");
    assert_eq!((outcomes.len(), shelf.len()), (45, 45));
    let changes: Vec<_> = updates.iter().map(|update| update.state.change.clone()).collect();
    assert!(client.diff(&Caller::owner(), changes.clone()).await.expect("answers").deltas.is_empty());
    assert_eq!(client.create_updates(&Caller::owner(), changes).await.expect("answers").len(), 45);

    let mut large = todo(500, "large");
    large.record.as_mut().expect("a record").set(4, Value::Text("x".repeat(3000)));
    let error = client.bulk_update(&Caller::owner(), None, vec![update(large)]).await.expect_err("too large");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::TooLarge, false));
}

#[tokio::test]
async fn a_token_is_asked_for_before_every_request() {
    struct Token;
    #[sync_runtime::async_trait]
    impl sync_http::Policy for Token {
        async fn caller(&self, request: &axum::http::request::Parts) -> Result<Caller, sync_http::Refusal> {
            match request.headers.get("authorization").map(|value| value.to_str().expect("text")) {
                Some("Bearer 1") => Ok(Caller::named("one").with(Right::Read)),
                Some(_) => Err(sync_http::Refusal::forbidden("another token, please")),
                None => Err(sync_http::Refusal::unauthorized("sign in first")),
            }
        }
    }
    let address = served_by(Shelf::default(), Token).await;
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let client = HttpReplica::builder(&url(address))
        .token_from(move || match counted.fetch_add(1, Ordering::SeqCst) {
            0 => None,
            n => Some(n.to_string()),
        })
        .build()
        .expect("builds");
    let caller = Caller::owner();
    let error = client.checkpoint(&caller).await.expect_err("no token");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unauthorized, false));
    assert!(error.to_string().contains("sign in first"), "{error}");
    client.checkpoint(&caller).await.expect("the first token is good");
    let error = client.checkpoint(&caller).await.expect_err("the second is not");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    count.store(1, Ordering::SeqCst);
    let write = RemoteWrite { schema: &TODO, id: Id::Uuid(todo_id(1)), record: None, expect: None };
    let error = client.write(&caller, vec![write]).await.expect_err("may only read");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}
