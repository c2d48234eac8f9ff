//! Taking every trace of the library out of a database. The tables of the models stay, with their rows.

use super::catalog::{Catalog, Session};
use super::link::{Cell, Link};
use sync_runtime::Result;

/// A table that holds the records of a model.
#[derive(Debug)]
pub(crate) struct Held {
    /// The model's number in `sync_change`.
    pub(crate) number: i64,
    pub(crate) table: String,
}

/// Removes what the library made, where nobody else does so at the same time; nothing where it made nothing.
pub(super) async fn unadopt(link: &mut dyn Link, catalog: &dyn Catalog, location: &str) -> Result<()> {
    let mut session = Session::new(link, location, catalog.rights());
    if catalog.kind_of(&mut session, "sync_model").await?.is_none() {
        return Ok(());
    }
    let table = catalog.dialect().quote().name("table");
    let select = format!("SELECT n, {table} FROM {}sync_model ORDER BY n", catalog.own());
    let held = session.fetch(&select, Vec::new()).await?.into_iter();
    let held = held.filter_map(|row| match <[Cell; 2]>::try_from(row) {
        Ok([Cell::Int(number), Cell::Text(table)]) => Some(Held { number, table }),
        _ => None,
    });
    let held: Vec<Held> = held.collect();
    for statement in catalog.remains(&mut session, &held).await? {
        session.script(&statement, "taking the library's own things out of the database").await?;
    }
    Ok(())
}
