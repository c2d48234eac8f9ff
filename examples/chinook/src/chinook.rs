//! The Chinook sample database: a shop for music, with 11 tables.

use crate::round_trip::{Edits, Records, Sample, Tables, records_of};
use jiff::Timestamp;
use rust_decimal::Decimal;
use std::path::Path;
use sync_runtime::prelude::*;
use sync_runtime::{Workspace, WorkspaceBuilder};

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "Artist", adopt, rename_all = "PascalCase")]
struct Artist {
    #[sync(id)]
    artist_id: i64,
    name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "Album", adopt, rename_all = "PascalCase")]
struct Album {
    #[sync(id)]
    album_id: i64,
    title: String,
    #[sync(parent = Artist)]
    artist_id: i64,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "Employee", adopt, rename_all = "PascalCase")]
struct Employee {
    #[sync(id)]
    employee_id: i64,
    last_name: String,
    first_name: String,
    title: Option<String>,
    #[sync(parent = Employee)]
    reports_to: Option<i64>,
    birth_date: Option<Timestamp>,
    hire_date: Option<Timestamp>,
    address: Option<String>,
    city: Option<String>,
    state: Option<String>,
    country: Option<String>,
    postal_code: Option<String>,
    phone: Option<String>,
    fax: Option<String>,
    email: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "Customer", adopt, rename_all = "PascalCase")]
struct Customer {
    #[sync(id)]
    customer_id: i64,
    first_name: String,
    last_name: String,
    company: Option<String>,
    address: Option<String>,
    city: Option<String>,
    state: Option<String>,
    country: Option<String>,
    postal_code: Option<String>,
    phone: Option<String>,
    fax: Option<String>,
    email: String,
    #[sync(parent = Employee)]
    support_rep_id: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "Genre", adopt, rename_all = "PascalCase")]
struct Genre {
    #[sync(id)]
    genre_id: i64,
    name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "MediaType", adopt, rename_all = "PascalCase")]
struct MediaType {
    #[sync(id)]
    media_type_id: i64,
    name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "Track", adopt, rename_all = "PascalCase")]
struct Track {
    #[sync(id)]
    track_id: i64,
    name: String,
    #[sync(parent = Album)]
    album_id: Option<i64>,
    #[sync(parent = MediaType)]
    media_type_id: i64,
    #[sync(parent = Genre)]
    genre_id: Option<i64>,
    composer: Option<String>,
    milliseconds: i64,
    bytes: Option<i64>,
    unit_price: Decimal,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "Invoice", adopt, rename_all = "PascalCase")]
struct Invoice {
    #[sync(id)]
    invoice_id: i64,
    #[sync(parent = Customer)]
    customer_id: i64,
    invoice_date: Timestamp,
    billing_address: Option<String>,
    billing_city: Option<String>,
    billing_state: Option<String>,
    billing_country: Option<String>,
    billing_postal_code: Option<String>,
    total: Decimal,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "InvoiceLine", adopt, rename_all = "PascalCase")]
struct InvoiceLine {
    #[sync(id)]
    invoice_line_id: i64,
    #[sync(parent = Invoice)]
    invoice_id: i64,
    #[sync(parent = Track)]
    track_id: i64,
    unit_price: Decimal,
    quantity: i64,
}

#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "Playlist", adopt, rename_all = "PascalCase")]
struct Playlist {
    #[sync(id)]
    playlist_id: i64,
    name: Option<String>,
}

/// The id is made of both.
#[derive(Debug, Clone, PartialEq, Syncable)]
#[sync(table = "PlaylistTrack", adopt, rename_all = "PascalCase")]
struct PlaylistTrack {
    #[sync(id, parent = Playlist)]
    playlist_id: i64,
    #[sync(id, parent = Track)]
    track_id: i64,
}

/// The scripts of the sample.
#[derive(Debug)]
pub(crate) struct Chinook {
    script: String,
    sqlite: String,
    mariadb: String,
}

impl Chinook {
    /// Reads the scripts for SQLite and MySQL in a folder.
    pub(crate) fn read(folder: &Path) -> std::io::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name));
        let script = read("Chinook_Sqlite.sql")?;
        let mariadb = definitions(&read("Chinook_MySql.sql")?);
        Ok(Chinook { sqlite: definitions(&script), mariadb, script })
    }
}

/// The statements of a script that make tables, keys and indexes.
fn definitions(script: &str) -> String {
    let statements = script.split(";\n").map(|statement| {
        let begins = |line: &&str| {
            ["CREATE TABLE", "CREATE INDEX", "ALTER TABLE"].iter().any(|word| line.starts_with(word))
        };
        let lines: Vec<&str> = statement.lines().skip_while(|line| !begins(line)).collect();
        if lines.is_empty() { String::new() } else { lines.join("\n") + ";\n" }
    });
    statements.collect()
}

impl Sample for Chinook {
    const NAME: &'static str = "Chinook";

    fn script(&self) -> &str {
        self.script.trim_start_matches('\u{feff}')
    }

    fn tables(&self) -> Tables<'_> {
        Tables { sqlite: &self.sqlite, mariadb: &self.mariadb }
    }

    fn models(builder: WorkspaceBuilder) -> WorkspaceBuilder {
        let builder = builder.model::<Artist>().model::<Album>().model::<Employee>().model::<Customer>();
        let builder = builder.model::<Genre>().model::<MediaType>().model::<Track>().model::<Invoice>();
        builder.model::<InvoiceLine>().model::<Playlist>().model::<PlaylistTrack>()
    }

    async fn records(workspace: &Workspace) -> sync_runtime::Result<Records> {
        records_of!(
            workspace,
            Artist,
            Album,
            Employee,
            Customer,
            Genre,
            MediaType,
            Track,
            Invoice,
            InvoiceLine,
            Playlist,
            PlaylistTrack
        )
    }

    fn edits(&self) -> Edits {
        Edits {
            sql: [
                "UPDATE Album SET Title = 'For Those About To Sync' WHERE AlbumId = 1;
                 UPDATE Track SET UnitPrice = 1.5 WHERE TrackId = 3503;
                 INSERT INTO Artist VALUES (1000, 'Žofie');
                 INSERT INTO Album VALUES (1000, 'Début', 1000);",
                "UPDATE \"Customer\" SET \"Email\" = 'luis@example.org', \"Company\" = NULL WHERE \"CustomerId\" = 1;
                 DELETE FROM \"PlaylistTrack\" WHERE \"PlaylistId\" = 1 AND \"TrackId\" <= 10;
                 UPDATE \"Invoice\" SET \"Total\" = '2.00' WHERE \"InvoiceId\" = 1;",
                "UPDATE Employee SET ReportsTo = 1 WHERE EmployeeId = 8;
                 UPDATE PlaylistTrack SET PlaylistId = 2 WHERE PlaylistId = 9;
                 DELETE FROM InvoiceLine WHERE InvoiceId = 2;",
                "INSERT INTO Playlist VALUES (1000, NULL);
                 INSERT INTO PlaylistTrack SELECT 1000, TrackId FROM Track WHERE AlbumId = 1;
                 DELETE FROM PlaylistTrack WHERE PlaylistId = 17;
                 UPDATE Genre SET Name = 'rock' WHERE GenreId = 1;",
            ],
            changed: 6,
            made: 14,
            deleted: 41,
        }
    }
}
