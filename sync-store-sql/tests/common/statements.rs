//! How many statements a page costs.

#![allow(unreachable_pub)]

use crate::counting::Counting;
use std::ops::RangeInclusive;
use sync_runtime::change::{Change, ChangeKind, State};
use sync_runtime::prelude::*;
use sync_runtime::replica::{
    Caller, Exchange, Outcome, Page, Pull, Pulled, PushPage, Pushed, Replica, Update,
};
use sync_runtime::version::{Ancestry, ReplicaId, Revision};
use sync_runtime::{Id, Right, Workspace};
use sync_store_sql::SqlStore;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Line {
    #[sync(id)]
    id: i64,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Task {
    #[sync(id)]
    id: i64,
    #[sync(scope)]
    project: String,
    title: String,
}

const RECORDS: i64 = 1_000;
const SCOPES: i64 = 300;
/// What one page may cost.
const MOST: usize = 10;

fn page(from: ReplicaId, ids: RangeInclusive<i64>, stamp: i64, before: Option<i64>) -> Page {
    let update = |id: i64| {
        let ancestry = Ancestry::of(Revision { stamp: before.unwrap_or(stamp), replica: from });
        let change = Change {
            schema: Line::SCHEMA,
            id: Id::Int(id),
            kind: if before.is_some() { ChangeKind::Update } else { ChangeKind::Create },
            ancestry: if before.is_some() { ancestry.next(stamp, from) } else { ancestry },
            merged: None,
            previous: before.map(|stamp| Revision { stamp, replica: from }),
            position: 0,
            group: None,
            origin: None,
            unknown: None,
            stamps: None,
        };
        let record = Line { id, text: format!("line {id} at {stamp}") }.to_record().expect("a record");
        Update { state: State { change, record: Some(record) }, based_on: None }
    };
    Page { updates: ids.map(update).collect(), group_open: false }
}

/// What was run, but for what begins and ends the transaction, and the word to others, which may come whenever it likes.
fn of_the_page(counting: &Counting) -> Vec<String> {
    let mut said = counting.said();
    let beside = ["COMMIT", "BEGIN", "START TRANSACTION", "pg_notify"];
    said.retain(|sql| !beside.iter().any(|word| sql.contains(word)));
    said
}

/// A page of a thousand that is pushed, one that changes them, and one that is pulled.
pub async fn a_page_is_few_statements(url: &str, counting: &Counting) {
    let store = SqlStore::builder(url).connections(1).open().await.expect("a store");
    let workspace = Workspace::builder(store).model::<Line>().build().await.expect("a workspace");
    let (engine, to) = (workspace.engine(), workspace.id().await.expect("an id"));
    let (from, other) = (ReplicaId(Uuid::from_u128(7)), ReplicaId(Uuid::from_u128(8)));
    // With the first record the pusher gets its number here, once and for all.
    let pages = [(0..=0, None), (1..=RECORDS, None), (1..=RECORDS, Some(2)), (1..=RECORDS, Some(3))];
    for (number, (ids, before)) in (1..).zip(pages) {
        counting.said();
        let push = PushPage { number, digest: number, page: page(from, ids, number as i64, before) };
        let exchange = Exchange { from, to, push: Some(push), pull: None };
        let answer = engine.exchange(&Caller::owner(), exchange).await.expect("an answer");
        match answer.pushed {
            Some(Pushed::Applied(outcomes)) => {
                assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied)), "{outcomes:?}");
            }
            other => panic!("{other:?}"),
        }
        let said = of_the_page(counting);
        assert!(number == 1 || said.len() <= MOST, "pushing: {} statements: {said:#?}", said.len());
    }
    for _ in 0..2 {
        counting.said();
        let limit = RECORDS as usize;
        let pull = Pull { limit, ..Pull::of(engine.models().clone()) };
        let exchange = Exchange { from: other, to, push: None, pull: Some(pull) };
        let answer = engine.exchange(&Caller::owner(), exchange).await.expect("an answer");
        let Some(Pulled::Page(page)) = answer.pulled else { panic!("no page") };
        assert_eq!(page.page.updates.len(), RECORDS as usize);
        let said = of_the_page(counting);
        assert!(said.len() <= MOST, "pulling: {} statements: {said:#?}", said.len());
    }
}

/// Who may read many scopes pulls with as many statements as who may read one: just what was changed is looked at.
pub async fn a_pull_looks_into_no_scope_where_nothing_was_changed(url: &str, counting: &Counting) {
    let store = SqlStore::builder(url).connections(1).open().await.expect("a store");
    let workspace = Workspace::builder(store).model::<Task>().build().await.expect("a workspace");
    let tasks = workspace.collection::<Task>().expect("the model");
    let task = |id: i64, title: &str| Task { id, project: format!("project {id}"), title: title.to_owned() };
    tasks.upsert_all((0..SCOPES).map(|id| task(id, "made"))).await.expect("records");
    let (engine, to) = (workspace.engine(), workspace.id().await.expect("an id"));
    let one = Caller::named("alice").with(Right::Read).in_scope("project 7", Right::Read);
    let all = (0..SCOPES).fold(Caller::named("bob").with(Right::Read), |caller, id| {
        caller.in_scope(format!("project {id}"), Right::Read)
    });
    let mut said = Vec::new();
    for (caller, from, reads) in [(&one, 8, 1), (&all, 9, SCOPES as usize)] {
        let (mut since, from) = (None, ReplicaId(Uuid::from_u128(from)));
        let mut counts = Vec::new();
        // The first pull is noted. Then there is nothing; then one change; then nothing again.
        for (turn, expected) in [reads, 0, 1, 0].into_iter().enumerate() {
            if turn == 2 {
                tasks.upsert(task(7, &format!("changed {turn} by {from}"))).await.expect("a change");
            }
            counting.said();
            let pull = Pull { since, limit: RECORDS as usize, ..Pull::of(engine.models().clone()) };
            let exchange = Exchange { from, to, push: None, pull: Some(pull) };
            let answer = engine.exchange(caller, exchange).await.expect("an answer");
            let Some(Pulled::Page(page)) = answer.pulled else { panic!("no page") };
            assert_eq!(page.page.updates.len(), expected, "turn {turn}");
            since = Some(page.checkpoint);
            counts.push(of_the_page(counting).len());
        }
        said.push(counts);
    }
    assert_eq!(said[0][1..], said[1][1..], "of one scope and of {SCOPES}");
}
