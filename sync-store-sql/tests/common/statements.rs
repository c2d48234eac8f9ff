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
use sync_runtime::{Id, Workspace};
use sync_store_sql::SqlStore;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Syncable)]
struct Line {
    #[sync(id)]
    id: i64,
    text: String,
}

const RECORDS: i64 = 1_000;
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

/// What was run, but for what begins and ends the transaction.
fn of_the_page(counting: &Counting) -> Vec<String> {
    let mut said = counting.said();
    said.retain(|sql| {
        !sql.contains("COMMIT") && !sql.contains("BEGIN") && !sql.contains("START TRANSACTION")
    });
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
