//! A sync that merges a thousand records, against the same sync where nothing meets.

use crate::Outcome;
use crate::figure::{median, print, seconds};
use crate::local::runtime;
use std::path::Path;
use std::time::Instant;
use sync_http::{AllowAll, HttpReplica, serve, sync_router};
use sync_runtime::Workspace;
use sync_runtime::prelude::*;
use sync_store_sql::SqlStore;
use uuid::Uuid;

const RECORDS: usize = 1_000;
const ROUNDS: usize = 9;

/// The measured record, with policies.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(methods = false)]
struct Card {
    #[sync(id)]
    id: Uuid,
    title: String,
    #[sync(merge = "last_write")]
    done: bool,
    #[sync(merge = "sum")]
    votes: i64,
    #[sync(merge = "text")]
    notes: String,
}

impl From<crate::record::Item> for Card {
    fn from(crate::record::Item { id, title, done, votes, notes }: crate::record::Item) -> Self {
        Card { id, title, done, votes, notes }
    }
}

async fn open(path: &Path) -> sync_runtime::Result<Workspace> {
    let store = SqlStore::open(&format!("sqlite:{}", path.display())).await?;
    Workspace::builder(store).model::<Card>().build().await
}

/// Edits half of the records on one device: the votes and the notes of each, and the title where that is told.
async fn edit(workspace: &Workspace, cards: &[Card], word: &str, title: bool) -> Outcome {
    let mut edited = cards.to_vec();
    for card in &mut edited {
        let now = workspace.collection::<Card>()?.get(card.id).await?.ok_or("a card is gone")?;
        *card = Card { votes: now.votes + 1, done: !now.done, ..now };
        if title {
            card.title = word.into();
        } else {
            card.notes.push_str(word);
        }
    }
    workspace.collection::<Card>()?.upsert_all(edited).await?;
    Ok(())
}

pub(crate) fn merge() -> Outcome {
    runtime()?.block_on(async {
        let folder = tempfile::tempdir()?;
        let server = open(&folder.path().join("server.db")).await?;
        let app = axum::Router::new().nest("/sync", sync_router(server.clone(), AllowAll));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let peer = HttpReplica::new(&format!("http://{}/sync", listener.local_addr()?))?;
        let task = tokio::spawn(serve(listener, app));
        let (a, b) = (open(&folder.path().join("a.db")).await?, open(&folder.path().join("b.db")).await?);
        let cards: Vec<Card> = crate::record::items(2 * RECORDS).into_iter().map(Card::from).collect();
        a.collection::<Card>()?.upsert_all(cards.clone()).await?;
        a.sync(&peer).await?;
        b.sync(&peer).await?;
        let (first, second) = cards.split_at(RECORDS);
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (of_b, times, merged) in [(second, &mut floor, 0), (first, &mut ours, RECORDS)] {
                edit(&a, first, "of a", true).await?;
                a.sync(&peer).await?;
                edit(&b, of_b, " b", false).await?;
                let start = Instant::now();
                let report = b.sync(&peer).await?;
                times.push(seconds(start));
                if report.merged_count() != merged || !report.level || report.conflict_count() != 0 {
                    return Err(format!("{merged} should merge: {report:?}").into());
                }
                a.sync(&peer).await?;
            }
        }
        print("merge", RECORDS, median(ours) * 1e3, "ms", Some(median(floor) * 1e3));
        task.abort();
        Ok(())
    })
}
