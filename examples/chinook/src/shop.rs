//! A small bookshop of the same shape as Chinook: integer keys, foreign keys, a self-reference, a many-to-many table.

use crate::round_trip::{Edits, Records, Sample, Tables, records_of};
use jiff::Timestamp;
use rust_decimal::Decimal;
use sync_runtime::prelude::*;
use sync_runtime::{Workspace, WorkspaceBuilder};

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(adopt)]
struct Author {
    #[sync(id)]
    id: i64,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(adopt)]
struct Book {
    #[sync(id)]
    id: i64,
    #[sync(parent = Author)]
    author: i64,
    title: String,
    price: Decimal,
    published: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(adopt)]
struct Clerk {
    #[sync(id)]
    id: i64,
    name: String,
    #[sync(parent = Clerk)]
    reports_to: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(adopt)]
struct Shelf {
    #[sync(id)]
    id: i64,
    #[sync(parent = Clerk)]
    clerk: Option<i64>,
    label: String,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(adopt, table = "shelf_book")]
struct ShelfBook {
    #[sync(id, parent = Shelf)]
    shelf: i64,
    #[sync(id, parent = Book)]
    book: i64,
}

const TABLES: &str = "
CREATE TABLE author(id INTEGER PRIMARY KEY NOT NULL, name VARCHAR(80) NOT NULL);
CREATE TABLE book(id INTEGER PRIMARY KEY NOT NULL, author INTEGER NOT NULL REFERENCES author(id),
  title VARCHAR(120) NOT NULL, price NUMERIC(10,2) NOT NULL, published DATETIME);
CREATE TABLE clerk(id INTEGER PRIMARY KEY NOT NULL, name VARCHAR(80) NOT NULL, reports_to INTEGER REFERENCES clerk(id));
CREATE TABLE shelf(id INTEGER PRIMARY KEY NOT NULL, clerk INTEGER REFERENCES clerk(id), label VARCHAR(40) NOT NULL);
CREATE TABLE shelf_book(shelf INTEGER NOT NULL REFERENCES shelf(id), book INTEGER NOT NULL REFERENCES book(id),
  PRIMARY KEY (shelf, book));
";

const ROWS: &str = "
INSERT INTO author VALUES (1, 'Ursula K. Le Guin'), (2, 'Stanisław Lem'), (3, '吳明益'), (4, 'Jorge Luis Borges');
INSERT INTO book VALUES (1, 1, 'The Dispossessed', 12.50, '1974-05-01 00:00:00'), (2, 1, 'Lavinia', 9.99, NULL),
  (3, 2, 'Cyberiada', 11, '1965-01-01 00:00:00'), (4, 3, '複眼人', 14.00, '2011-01-01 12:30:00'),
  (5, 4, 'Ficciones', 8.05, '1944-01-01 00:00:00'), (6, 4, 'El Aleph', 7.90, NULL);
INSERT INTO clerk VALUES (1, 'Ada', NULL), (2, 'Ben', 1), (3, 'Cem', 2);
INSERT INTO shelf VALUES (1, 3, 'window'), (2, NULL, 'back');
INSERT INTO shelf_book VALUES (1, 1), (1, 3), (1, 4), (2, 2), (2, 5), (2, 6);
";

/// The bookshop, with the script that makes and fills its tables.
pub(crate) struct Shop(String);

impl Shop {
    pub(crate) fn new() -> Self {
        Shop(format!("{TABLES}{ROWS}"))
    }
}

impl Sample for Shop {
    const NAME: &'static str = "A bookshop";

    fn script(&self) -> &str {
        &self.0
    }

    fn tables(&self) -> Tables<'_> {
        Tables { sqlite: TABLES, mariadb: TABLES }
    }

    fn models(builder: WorkspaceBuilder) -> WorkspaceBuilder {
        builder.model::<Author>().model::<Book>().model::<Clerk>().model::<Shelf>().model::<ShelfBook>()
    }

    async fn records(workspace: &Workspace) -> sync_runtime::Result<Records> {
        records_of!(workspace, Author, Book, Clerk, Shelf, ShelfBook)
    }

    fn edits(&self) -> Edits {
        Edits {
            sql: [
                "UPDATE book SET price = 13.5 WHERE id = 1;
                 INSERT INTO author VALUES (10, 'Octavia E. Butler');
                 INSERT INTO book VALUES (10, 10, 'Kindred', 10.00, '1979-06-01 00:00:00');",
                "UPDATE clerk SET reports_to = 1 WHERE id = 3; DELETE FROM shelf_book WHERE shelf = 2 AND book = 6;",
                "UPDATE shelf_book SET shelf = 2 WHERE shelf = 1 AND book = 4; UPDATE book SET title = 'The Cyberiad' WHERE id = 3;",
                "DELETE FROM shelf_book WHERE book = 2; DELETE FROM book WHERE id = 2;",
            ],
            // Two books and a clerk; an author, a book and a place on a shelf; a book and three places.
            changed: 3,
            made: 3,
            deleted: 4,
        }
    }
}
