//! What the shared code needs of a connection: statements in, rows of cells out, and errors by what to do about them.

use std::fmt;
use sync_runtime::{BoxFuture, Error, ErrorKind};
use uuid::Uuid;

/// One value on its way to or from a database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
    /// Microseconds since 1970, UTC.
    Micros(i64),
    /// Days since 1970-01-01.
    Day(i32),
    /// A value that has no place here, as people would call it.
    Odd(&'static str),
}

impl Cell {
    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Cell::Text(text) => text.len(),
            Cell::Bytes(bytes) => bytes.len(),
            _ => 8,
        }
    }

    /// What it is, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Cell::Null => "null".to_owned(),
            Cell::Bool(yes) => format!("{yes}"),
            Cell::Int(n) => format!("the integer {n}"),
            Cell::Float(x) => format!("the float {x}"),
            Cell::Text(_) => "a text of another form".to_owned(),
            Cell::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Cell::Uuid(_) => "a UUID".to_owned(),
            Cell::Micros(_) => "a date and time".to_owned(),
            Cell::Day(_) => "a date".to_owned(),
            Cell::Odd(what) => (*what).to_owned(),
        }
    }
}

impl From<Option<i64>> for Cell {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Cell::Null, Cell::Int)
    }
}

/// The column types that a database has, as far as fields stand in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Bool,
    /// Whole numbers of so many bytes.
    Int(u8),
    /// Binary floats of so many bytes.
    Float(u8),
    /// Decimals with the scale that they are given.
    Numeric,
    Text,
    /// Text that compares otherwise than by its bytes.
    Collated,
    Bytes,
    Uuid,
    /// A point in time.
    Instant,
    /// A date and time without a zone, which is UTC here.
    Civil,
    Date,
    /// JSON as the text that was given.
    Json,
    /// JSON as the database understands it.
    JsonParsed,
}

/// A parameter of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    One(Kind, Cell),
    /// As many values as there are, all of one kind.
    Many(Kind, Vec<Cell>),
}

impl Arg {
    pub(crate) fn int(value: i64) -> Self {
        Arg::One(Kind::Int(8), Cell::Int(value))
    }

    pub(crate) fn optional(value: Option<i64>) -> Self {
        Arg::One(Kind::Int(8), value.into())
    }

    pub(crate) fn text(value: impl Into<String>) -> Self {
        Arg::One(Kind::Text, Cell::Text(value.into()))
    }

    pub(crate) fn bytes(value: Vec<u8>) -> Self {
        Arg::One(Kind::Bytes, Cell::Bytes(value))
    }
}

/// A row as the database gave it.
pub(crate) type Row = Vec<Cell>;

/// Why a statement failed, by what can be done about it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another transaction was in the way: done again from its beginning, this one may succeed.
    Conflict(sqlx::Error),
    /// The database refuses these values; the reason names the constraint.
    Refused { reason: String, constraint: Option<String> },
    /// The role lacks a right.
    Denied(sqlx::Error),
    /// The connection is gone or cannot be used any more.
    Lost(sqlx::Error),
    /// The rows have more bytes than may be in memory. Nothing is wrong with the connection.
    TooMuch,
    /// Anything else.
    Other(sqlx::Error),
}

/// The bytes that rows may have which are read one after the other.
#[derive(Debug)]
pub(crate) struct Allowance(pub(crate) usize);

impl Allowance {
    /// Takes the bytes of one more row.
    pub(crate) fn take(&mut self, row: &Row) -> Result<(), Failure> {
        let bytes = row.iter().map(Cell::size).sum();
        self.0 = self.0.checked_sub(bytes).ok_or(Failure::TooMuch)?;
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused { reason, .. } => f.write_str(reason),
            Failure::TooMuch => f.write_str("the rows have more bytes than may be in memory"),
            Failure::Conflict(error)
            | Failure::Denied(error)
            | Failure::Lost(error)
            | Failure::Other(error) => match error {
                sqlx::Error::Database(error) => f.write_str(error.message()),
                error => error.fmt(f),
            },
        }
    }
}

impl Failure {
    /// The failure as an error of the store at this place.
    pub(crate) fn at(self, location: &str) -> Error {
        let message = format!("`{location}`: {self}");
        match self {
            Failure::Refused { .. } => Error::new(ErrorKind::Constraint, message),
            Failure::TooMuch => Error::new(ErrorKind::TooLarge, message),
            Failure::Conflict(error) => Error::new(ErrorKind::Busy, message).with_source(error),
            Failure::Denied(error) => Error::new(ErrorKind::Storage, message).with_source(error),
            Failure::Lost(error) => {
                Error::new(ErrorKind::Storage, message).retryable(true).with_source(error)
            }
            Failure::Other(error) => Error::new(ErrorKind::Storage, message).with_source(error),
        }
    }
}

/// A connection, lent for one transaction or statement.
pub(crate) trait Link: Send + fmt::Debug {
    /// Runs a statement and gives its rows, for as long as their values have at most so many bytes.
    fn fetch_within<'l>(
        &'l mut self,
        sql: &'l str,
        args: Vec<Arg>,
        bytes: usize,
    ) -> BoxFuture<'l, Result<Vec<Row>, Failure>>;

    /// Runs a statement and gives its rows.
    fn fetch<'l>(&'l mut self, sql: &'l str, args: Vec<Arg>) -> BoxFuture<'l, Result<Vec<Row>, Failure>> {
        self.fetch_within(sql, args, usize::MAX)
    }

    /// Runs a statement and gives how many rows it touched.
    fn execute<'l>(&'l mut self, sql: &'l str, args: Vec<Arg>) -> BoxFuture<'l, Result<u64, Failure>>;

    /// Runs statements without parameters as [`Link::script`] does, and gives the last row that any of them gave, as text.
    fn begin<'l>(&'l mut self, sql: &'l str) -> BoxFuture<'l, Result<Option<Row>, Failure>>;

    /// Runs statements without parameters, in one round trip where the database can.
    fn script<'l>(&'l mut self, sql: &'l str) -> BoxFuture<'l, Result<(), Failure>>;
}
