//! What one database says of its tables, and how it defines them: all that preparing does otherwise on each.

use super::link::{Arg, Cell, Failure, Kind, Link, Row};
use super::statement::{Dialect, Statement};
use super::tables::Table;
use super::unadopt::Held;
use crate::names::LengthIn;
use crate::references::Reference;
use std::fmt::Debug;
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::value::{FieldType, Value};
use sync_runtime::{Error, Result};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    Table,
    View,
    /// Something else, by what people call it.
    Other(&'static str),
}

/// A column as the database describes it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    /// Its type as it is written in a definition.
    pub(crate) declared: String,
    /// The name of its type alone.
    pub(crate) ty: String,
    pub(crate) nullable: bool,
    /// Whether a row needs a value for it.
    pub(crate) required: bool,
    pub(crate) generated: bool,
    /// Whether equal means equal bytes in it.
    pub(crate) by_bytes: bool,
    /// Whether it keeps times less exactly than to the microsecond.
    pub(crate) coarse: bool,
    /// The collation of a text, where the database does not find it by itself; else empty.
    pub(crate) collation: String,
}

/// A connection while it is prepared, with what its errors need to say.
pub(crate) struct Session<'s> {
    pub(crate) link: &'s mut dyn Link,
    pub(crate) location: &'s str,
    /// What to do where the role lacks a right.
    pub(crate) rights: String,
    /// What was defined so far.
    pub(crate) done: Vec<String>,
}

impl<'s> Session<'s> {
    pub(crate) fn new(link: &'s mut dyn Link, location: &'s str, rights: String) -> Self {
        Session { link, location, rights, done: Vec::new() }
    }

    pub(super) fn failed(&self, failure: Failure, doing: &str) -> Error {
        let denied = matches!(failure, Failure::Denied(_));
        let mut error = failure.at(self.location);
        if denied {
            error = error.context(self.rights.clone());
        }
        error.context(doing.to_owned())
    }

    pub(crate) async fn fetch(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>> {
        let fetched = self.link.fetch(sql, args).await;
        fetched.map_err(|failure| self.failed(failure, "preparing the store"))
    }

    pub(crate) async fn script(&mut self, sql: &str, doing: &str) -> Result<()> {
        let run = self.link.script(sql).await;
        run.map_err(|failure| self.failed(failure, doing))?;
        self.done.push(sql.trim().trim_end_matches(';').to_owned());
        Ok(())
    }

    pub(super) async fn run(&mut self, statement: Statement) -> Result<Vec<Row>> {
        self.fetch(&statement.sql, statement.args).await
    }
}

/// What one database says otherwise when tables are made and looked at.
#[sync_runtime::async_trait]
pub(crate) trait Catalog: Debug + Send + Sync {
    fn dialect(&self) -> &'static dyn Dialect;

    /// What stands before the names of the library's own tables.
    fn own(&self) -> &str;

    /// What to do where the role lacks a right.
    fn rights(&self) -> String;

    /// Whether definitions roll back with their transaction. Where they do not, each step is made so that it can be
    /// done again.
    fn transactional(&self) -> bool;

    /// Makes the library's own tables; where the database can, in so many partitions.
    fn own_tables(&self, partitions: Option<u16>) -> String;

    /// Makes what else is the library's own.
    async fn own_functions(&self, session: &mut Session<'_>) -> Result<()>;

    /// What tells the triggers that there is a name, whatever they see. It does not roll back, so it comes last before the
    /// commit: what waits for that is tracked, or fails and is tried again.
    fn named_now(&self) -> Option<String> {
        None
    }

    async fn kind_of(&self, session: &mut Session<'_>, name: &str) -> Result<Option<Thing>>;

    /// The columns of a table in their order; none where there is no table.
    async fn columns(&self, session: &mut Session<'_>, table: &str) -> Result<Vec<Found>>;

    /// The names of the constraints and indexes that keep these columns, and no fewer, unique together.
    async fn unique_keys(
        &self,
        session: &mut Session<'_>,
        table: &str,
        columns: &[&Found],
    ) -> Result<Vec<String>>;

    /// Whether somebody else's triggers run on writes to this table.
    async fn has_foreign_triggers(&self, session: &mut Session<'_>, table: &str) -> Result<bool>;

    /// What else keeps this table from being tracked.
    async fn misfits(&self, session: &mut Session<'_>, schema: &ModelSchema) -> Result<Vec<String>>;

    /// The kind of a column for a field of this type, and whether it may change values; or what it should be.
    fn fitting(&self, ty: FieldType, column: &Found) -> Result<(Kind, bool), &'static str>;

    /// What to do about an id that does not compare by bytes.
    fn by_bytes(&self) -> &'static str;

    /// The type that a column is declared with, for a field of this type; of an id of so many parts.
    fn declared(&self, ty: FieldType, parts: Option<usize>) -> &'static str;

    /// The type of a column of a change.
    fn named(&self, kind: Kind) -> &'static str;

    /// A value as an SQL literal, for a column's default.
    fn literal(&self, ty: FieldType, value: &Value) -> String;

    /// How long a name can be.
    fn longest_name(&self) -> (usize, LengthIn);

    /// Has this column of a table take null.
    fn make_nullable(&self, table: &str, column: &Found) -> String;

    /// What stands behind the columns of a table that is made.
    fn table_options(&self) -> &'static str;

    /// Makes the table of overwritten states, with these columns of the model and of its changes.
    fn base_table(&self, table: &Table, columns: &str) -> String;

    /// Makes the triggers, and again those that an earlier program made otherwise or that somebody took away.
    async fn triggers(&self, session: &mut Session<'_>, table: &Table) -> Result<()>;

    /// The foreign keys of one column.
    async fn references(&self, session: &mut Session<'_>) -> Result<Vec<Reference>>;

    /// Whether an index begins with this column.
    async fn is_indexed(&self, session: &mut Session<'_>, table: &str, column: &str) -> Result<bool>;

    /// Makes an index on one column.
    fn parent_index(&self, name: &str, table: &Table, column: &Found) -> String;

    /// What takes away all that the library made, in this order; where it stops half-way it can be done again.
    async fn remains(&self, session: &mut Session<'_>, held: &[Held]) -> Result<Vec<String>>;

    /// Ends what is done while nobody else defines anything.
    fn end(&self, well: bool) -> String;

    /// Whether a view shows changes of ours.
    async fn is_own_view(&self, session: &mut Session<'_>, name: &str) -> Result<bool>;

    /// Makes the view that shows a model's changes to people.
    fn view(&self, table: &Table, name: &str) -> String;
}

/// The column of a field: by its name, or by its name in another case.
pub(super) fn column_of<'f>(found: &'f [Found], field: &FieldSchema) -> Option<&'f Found> {
    let exact = found.iter().find(|column| column.name == field.name);
    exact.or_else(|| found.iter().find(|column| column.name.eq_ignore_ascii_case(field.name)))
}

/// The texts that stand first in rows.
pub(crate) fn texts(rows: Vec<Row>) -> Vec<String> {
    let text = |row: Row| match row.into_iter().next() {
        Some(Cell::Text(text)) => Some(text),
        _ => None,
    };
    rows.into_iter().filter_map(text).collect()
}
