//! Copies one database into another, one way: first some records of one model, then all of everything, then only
//! what changed since. Both files are ordinary SQLite databases; look into them with the `sqlite3` program.
//!
//! ```text
//! cargo run -p replicate                            # two files in a temporary folder
//! cargo run -p replicate -- source.db target.db     # two files of yours, made if they are missing
//! ```

use serde::{Deserialize, Serialize};
use sync_runtime::{ReplicationReport, Result, Workspace, prelude::*, replicate_all};
use sync_store_sql::SqlStore;
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Syncable)]
struct Author {
    #[sync(id)]
    id: Uuid,
    name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Syncable)]
struct Book {
    #[sync(id)]
    id: Uuid,
    author: Uuid,
    title: String,
    year: i64,
}

async fn open(file: &str) -> Result<Workspace> {
    let store = SqlStore::open(&format!("sqlite:{file}")).await?;
    Workspace::builder(store).model::<Author>().model::<Book>().build().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let files: Vec<String> = std::env::args().skip(1).collect();
    let (from, to) = match &files[..] {
        [] => {
            let file = |name: &str| folder.path().join(name).display().to_string();
            (file("source.db"), file("target.db"))
        }
        [from, to] => (from.clone(), to.clone()),
        _ => return Err("usage: replicate [SOURCE.db TARGET.db]".into()),
    };
    let (source, target) = (open(&from).await?, open(&to).await?);
    println!("{from} -> {to}");
    let books = source.collection::<Book>()?;
    if books.count(Query::all()).await? == 0 {
        fill(&source).await?;
    }

    // One model, and of that only the records that match.
    let report = Book::replicate(&source, &target).filter(BookField::Year.lt(1950)).await?;
    show("books before 1950", &report);

    // Every model. What the target has already is not sent again.
    let report = replicate_all(&source, &target, None).await?;
    show("all of everything", &report);

    // Only what changed since: the cost is that of the changes, whatever the size of the database.
    let title = "The Dispossessed";
    let author = source.collection::<Author>()?.find(Query::all().limit(1)).await?;
    let author = author.first().map(|author| author.id).unwrap_or_default();
    books.create(Book { author, title: title.into(), year: 1974, ..Book::default() }).await?;
    let report = replicate_all(&source, &target, Some(report.checkpoints.source)).await?;
    show("one more book", &report);

    for (name, workspace) in [("source", &source), ("target", &target)] {
        let authors = workspace.collection::<Author>()?.count(Query::all()).await?;
        let books = workspace.collection::<Book>()?.count(Query::all()).await?;
        println!("{name}: {authors} authors, {books} books");
    }
    let all = Query::all().order_by(BookField::Title);
    let copy = target.collection::<Book>()?.find(all.clone()).await?;
    if books.find(all).await? != copy {
        return Err("the target holds other books than the source".into());
    }
    Ok(())
}

fn show(what: &str, report: &ReplicationReport) {
    let (applied, conflicts, rejected) = (report.applied, report.conflict_count(), report.rejected.len());
    println!("{what}: {applied} records applied, {conflicts} conflicts, {rejected} refused");
}

/// A small library.
async fn fill(workspace: &Workspace) -> Result<()> {
    let library = [
        ("Mary Shelley", &[("Frankenstein", 1818), ("The Last Man", 1826)][..]),
        ("H. G. Wells", &[("The Time Machine", 1895), ("The Invisible Man", 1897)]),
        ("Ursula K. Le Guin", &[("A Wizard of Earthsea", 1968), ("The Left Hand of Darkness", 1969)]),
        ("Stanisław Lem", &[("Solaris", 1961), ("The Cyberiad", 1965)]),
    ];
    for (name, books) in library {
        let author = Author { name: name.into(), ..Author::default() };
        let author = workspace.collection::<Author>()?.create(author).await?;
        let books = books.iter().map(|(title, year)| {
            let (title, year) = ((*title).to_owned(), *year);
            Book { id: Uuid::nil(), author, title, year }
        });
        workspace.collection::<Book>()?.upsert_all(books).await?;
    }
    Ok(())
}
