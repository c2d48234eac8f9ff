//! Statements as they are put together, and what differs between the databases.

use super::link::{Arg, Cell, Kind, Row};
use super::tables::{Column, IdType};
use crate::filter::Words;
use crate::names::Quote;
use std::fmt;
use std::time::Duration;
use sync_runtime::store::Access;
use sync_runtime::version::{Position, Stamp};

/// A statement with its parameters.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) args: Vec<Arg>,
}

/// What an insert does with rows whose key is there already.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then<'a> {
    /// The statement fails.
    Fail,
    /// They take the place of what is there, in these columns; by this key.
    Replace { key: &'a str, set: &'a [String] },
}

/// Rows for a table, column by column.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// The table, quoted.
    pub(crate) into: &'a str,
    /// The quoted names and the kinds of the values.
    pub(crate) columns: Vec<(String, Kind)>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// Columns that take the same expression in each row.
    pub(crate) computed: Vec<(&'static str, String)>,
}

impl Rows<'_> {
    /// The values of each column.
    pub(crate) fn by_column(self) -> Vec<(String, Kind, Vec<Cell>)> {
        let count = self.rows.len();
        let columns = self.columns.into_iter();
        let mut columns: Vec<_> =
            columns.map(|(name, kind)| (name, kind, Vec::with_capacity(count))).collect();
        for row in self.rows {
            for (column, cell) in columns.iter_mut().zip(row) {
                column.2.push(cell);
            }
        }
        columns
    }
}

/// How one database says what all of them can do.
pub(crate) trait Dialect: fmt::Debug + Send + Sync + 'static {
    /// How names are quoted.
    fn quote(&self) -> Quote;

    /// The words of conditions.
    fn words(&self) -> &'static Words;

    /// The parameter at this place, the first being 1.
    fn parameter(&self, place: usize) -> String;

    /// Begins a transaction that sees one snapshot, and waits so long for a lock; on a connection of the store's own, or
    /// on one of the app's, whose settings stay as they are.
    fn begin(&self, access: Access, busy_timeout: Duration, of_app: bool) -> String;

    /// Adds a condition that a column's value is one of these.
    fn one_of(&self, statement: &mut Statement, column: &str, kind: Kind, cells: Vec<Cell>);

    /// Whether each part of [`Room::Scope`] is a room of its own in the table of notes, which may be partitioned by it.
    fn keeps_parts_apart(&self) -> bool {
        false
    }

    /// Adds a condition that the values of several columns are one of these rows.
    fn one_row_of(&self, statement: &mut Statement, columns: &[(String, Kind)], rows: Vec<Vec<Cell>>);

    /// The beginning of an update of some rows `t` of a table, up to what is set; this index finds them.
    fn update_some(&self, table: &str, _index: Option<&str>) -> String {
        format!("UPDATE {table} t SET")
    }

    /// The beginning of a delete of some rows `t` of a table, up to the condition; this index finds them.
    fn delete_some(&self, table: &str, _index: Option<&str>) -> String {
        format!("DELETE FROM {table} t WHERE")
    }

    /// What ends a `SELECT` from `t`, perhaps joined to more, whose rows of `t` are to be locked; in a transaction of the
    /// store's own, or in one of the app's, of which nobody knows what it sees.
    fn lock(&self, of_app: bool) -> &'static str;

    /// How many rows the database says that it touched, where a statement writes so many.
    fn touched(&self, rows: usize, update: bool) -> u64;

    /// An id in a column of a table, as `sync_change` has it.
    fn key_of(&self, expression: &str, column: &Column, ty: IdType) -> String;

    /// An id of `sync_change`, as a table's own column has it.
    fn id_of_key(&self, key: &str, column: &Column, ty: IdType) -> String;

    /// A part of an id, as `Id::of_parts` writes it.
    fn part_of(&self, expression: &str, column: &Column) -> String;

    /// The parts of an id together, as `sync_change` has it.
    fn joined(&self, parts: &mut dyn Iterator<Item = String>) -> String;

    /// The part at this place of an id of `sync_change`, as its own column has it.
    fn part_of_key(&self, key: &str, place: usize, column: &Column) -> String;

    /// A value of a column, compared and ordered as `Value::order` says.
    fn compared(&self, column: &Column, expression: &str) -> String;

    /// Inserts rows.
    fn insert(&self, rows: Rows<'_>, then: Then<'_>) -> Statement;

    /// Sets columns of rows that are there; so many of the first columns are the key, which this index keeps unique.
    fn update(&self, rows: Rows<'_>, key: usize, index: Option<&str>) -> Statement;

    /// Hands to the triggers what the library knows: the time of its writes, and a number for those of one transaction.
    fn tell_stamp(&self, own: &str, stamp: Stamp, group: Position) -> Statement;

    /// Has constraints look at each statement instead of the end, where they can wait for that.
    fn check_at_once(&self) -> Option<&'static str> {
        None
    }

    /// What makes the triggers listen on a connection of the app's.
    fn listen(&self) -> Option<Statement> {
        None
    }

    /// Tells the triggers which records of a model are being put, or that none is any more.
    fn tell_put(&self, own: &str, put: Option<(i64, Vec<Cell>)>) -> Vec<Statement>;

    /// Takes away what the triggers were told, where that would outlive the transaction.
    fn clean(&self, _own: &str) -> Option<String> {
        None
    }

    /// How many rows of so many columns one statement can insert.
    fn most_rows(&self, _columns: usize) -> usize {
        usize::MAX
    }

    /// About how many bytes of values one statement may have, where it has more than one row.
    fn most_bytes(&self) -> usize {
        64 << 20
    }

    /// A position for a change that is not committed yet: below zero, and lower than all before it.
    fn pending_position(&self, own: &str) -> String;

    /// Gives the committed changes their positions, in a transaction of its own.
    fn number(&self, own: &str) -> String;

    /// For how many microseconds the oldest transaction has been open that writes tracked records; null where there is
    /// none.
    fn oldest_writer(&self, own: &str) -> String;

    /// Gives in one row of texts what the store knows of itself: the number of its replica, through which position bases
    /// are kept, the newest position, and a name of the history that the database goes on in; null where it cannot tell.
    fn own(&self, own: &str) -> String;

    /// Something that differs whenever anybody committed.
    fn version(&self, own: &str) -> String;
}

/// Rows in parts that one statement can insert.
pub(crate) fn in_parts(dialect: &dyn Dialect, rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut parts: Vec<Vec<Row>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let size: usize = row.iter().map(Cell::size).sum();
        bytes += size;
        match parts.last_mut() {
            Some(part) if part.len() < dialect.most_rows(row.len()) && bytes <= dialect.most_bytes() => {
                part.push(row);
            }
            _ => {
                bytes = size;
                parts.push(vec![row]);
            }
        }
    }
    parts
}

impl Statement {
    pub(crate) fn new(sql: impl Into<String>) -> Self {
        Statement { sql: sql.into(), args: Vec::new() }
    }

    pub(crate) fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a parameter and its placeholder.
    pub(crate) fn bind(&mut self, dialect: &dyn Dialect, arg: Arg) -> &mut Self {
        self.args.push(arg);
        let parameter = dialect.parameter(self.args.len());
        self.push(&parameter)
    }
}
