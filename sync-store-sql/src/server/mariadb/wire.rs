//! Cells in MariaDB's binary form. Times travel as text on their way in: the driver has no type for them without
//! another crate.

use crate::server::link::{Allowance, Arg, Cell, Failure, Kind, Link, Row};
use futures_util::TryStreamExt;
use jiff::{SignedDuration, civil};
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlDatabaseError, MySqlRow};
use sqlx::{Arguments, AssertSqlSafe, Decode, Executor, MySql, Row as _, Type, TypeInfo, ValueRef};
use std::sync::Arc;
use sync_runtime::BoxFuture;
use sync_runtime::value::date_text;

/// Statements with more parameters than this are not kept prepared: their text follows from the number of rows.
const KEPT: usize = 64;

/// Statements up to this size fit into a packet of any server that is used in earnest; most are smaller.
const SMALL: usize = 4 << 20;

/// What a value takes in a packet besides itself.
const PER_VALUE: usize = 16;

/// Times without a zone are in UTC here; those of the last day have no place among jiff's points in time.
const EPOCH: civil::DateTime = civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A point in time as MariaDB reads it, in UTC.
pub(super) fn time_text(micros: i64) -> Option<String> {
    let time = EPOCH.checked_add(SignedDuration::from_micros(micros)).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

fn add(arguments: &mut MySqlArguments, arg: Arg) -> Result<(), BoxDynError> {
    let (kind, cell) = match arg {
        Arg::One(kind, cell) => (kind, cell),
        Arg::Many(kind, cells) => return Err(format!("{} values for one {kind:?}", cells.len()).into()),
    };
    match (kind, cell) {
        (_, Cell::Null) => arguments.add(None::<i64>),
        (_, Cell::Bool(yes)) => arguments.add(i8::from(yes)),
        (_, Cell::Int(n)) => arguments.add(n),
        (_, Cell::Float(x)) => arguments.add(x),
        (_, Cell::Text(text)) => arguments.add(text),
        (_, Cell::Bytes(bytes)) => arguments.add(bytes),
        (Kind::Bytes, Cell::Uuid(id)) => arguments.add(id.as_bytes().to_vec()),
        (_, Cell::Uuid(id)) => arguments.add(id.hyphenated().to_string()),
        (_, Cell::Micros(micros)) => arguments.add(time_text(micros).ok_or("a time out of range")?),
        (_, Cell::Odd(what)) => Err(format!("{what} for a {kind:?}").into()),
        (_, Cell::Day(day)) => arguments.add(date_text(day).ok_or("a day out of range")?),
    }
}

fn arguments(args: Vec<Arg>) -> Result<MySqlArguments, Failure> {
    let mut arguments = MySqlArguments::default();
    for arg in args {
        add(&mut arguments, arg).map_err(|error| Failure::Other(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

/// A whole number of as many bytes as there are.
fn integer(bytes: &[u8], unsigned: bool) -> Result<Cell, BoxDynError> {
    Ok(Cell::Int(match bytes.len() {
        8 if unsigned => {
            let number = i64::try_from(u64::from_le_bytes(bytes.try_into()?));
            return Ok(number.map_or(Cell::Odd("a number above 2^63"), Cell::Int));
        }
        1 if unsigned => bytes[0].into(),
        1 => i64::from(bytes[0] as i8),
        2 if unsigned => u16::from_le_bytes(bytes.try_into()?).into(),
        2 => i16::from_le_bytes(bytes.try_into()?).into(),
        4 if unsigned => u32::from_le_bytes(bytes.try_into()?).into(),
        4 => i32::from_le_bytes(bytes.try_into()?).into(),
        8 => i64::from_le_bytes(bytes.try_into()?),
        more => return Err(format!("a whole number of {more} bytes").into()),
    }))
}

/// A date, or a date and time, behind its length.
fn civil(bytes: &[u8]) -> Result<civil::DateTime, BoxDynError> {
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let micros = u32::from_le_bytes([at(8), at(9), at(10), at(11)]);
    let part = |place: usize| i8::try_from(at(place));
    Ok(civil::DateTime::new(
        i16::from_le_bytes([at(1), at(2)]),
        part(3)?,
        part(4)?,
        part(5)?,
        part(6)?,
        part(7)?,
        i32::try_from(micros)? * 1_000,
    )?)
}

/// What MariaDB takes for a date unless it is told not to.
const NO_DAY: &str = "a date without a day, a month or a year";

/// The cell in this column.
fn cell(row: &MySqlRow, column: usize) -> Result<Cell, BoxDynError> {
    let value = row.try_get_raw(column)?;
    let (is_null, info) = (value.is_null(), value.type_info().into_owned());
    let is_text = <str as Type<MySql>>::compatible(&info);
    // To the driver a date of zeros is null as well; that one has bytes.
    let bytes = match <&[u8] as Decode<MySql>>::decode(value) {
        Err(_) if is_null => return Ok(Cell::Null),
        bytes => bytes?,
    };
    let text = || Ok::<_, BoxDynError>(Cell::Text(std::str::from_utf8(bytes)?.to_owned()));
    Ok(match info.name() {
        "FLOAT" => Cell::Float(f32::from_le_bytes(bytes.try_into()?).into()),
        "DOUBLE" => Cell::Float(f64::from_le_bytes(bytes.try_into()?)),
        "DATE" => {
            let day = civil(bytes).ok().and_then(|time| EPOCH.date().until(time.date()).ok());
            day.map_or(Cell::Odd(NO_DAY), |days| Cell::Day(days.get_days()))
        }
        "DATETIME" | "TIMESTAMP" => {
            let time = civil(bytes).ok().map(|time| time.duration_since(EPOCH).as_micros());
            time.and_then(|micros| i64::try_from(micros).ok()).map_or(Cell::Odd(NO_DAY), Cell::Micros)
        }
        "DECIMAL" | "ENUM" | "SET" => text()?,
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => integer(bytes, false)?,
        name if name.ends_with("UNSIGNED") || name == "YEAR" => integer(bytes, true)?,
        _ if is_text => text()?,
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "CHAR" | "VARCHAR"
        | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" => Cell::Bytes(bytes.to_vec()),
        name => return Err(format!("a value of the type `{name}`, which is not known here").into()),
    })
}

/// The text in this column.
fn text(row: &MySqlRow, column: usize) -> Result<Cell, BoxDynError> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    Ok(Cell::Text(<&str as Decode<MySql>>::decode(value)?.to_owned()))
}

/// What to do about an error.
pub(super) fn failure(error: sqlx::Error) -> Failure {
    let sqlx::Error::Database(database) = &error else {
        return match error {
            sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                Failure::Other(error)
            }
            _ => Failure::Lost(error),
        };
    };
    let Some(database) = database.try_downcast_ref::<MySqlDatabaseError>() else {
        return Failure::Other(error);
    };
    let state = database.code().unwrap_or_default().to_owned();
    match (database.number(), state.as_str()) {
        // Changed since the snapshot, which undoes the whole transaction; lock timeout; deadlock, which undoes it too;
        // a table or a statement that somebody redefined meanwhile.
        (1020 | 1205 | 1213 | 1412 | 1615, _) => Failure::Conflict(error),
        (1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1419 | 1698, _) => Failure::Denied(error),
        // A packet that is too long, which it is the next time as well.
        (1153, _) => Failure::Other(error),
        // Too many connections, shut down, killed, gone.
        (1040 | 1053 | 1080 | 1152..=1161 | 1203 | 1226 | 1927 | 2006 | 2013, _) => Failure::Lost(error),
        // A trigger of the app's said no; a column has no default; a value that no longer fits.
        (1644 | 1364 | 1366 | 1265, _) => refused(database),
        (_, state) if state.starts_with("23") || state.starts_with("22") || state.starts_with("45") => {
            refused(database)
        }
        _ => Failure::Other(error),
    }
}

/// The reason without the values, which are nobody's business.
fn refused(error: &MySqlDatabaseError) -> Failure {
    let message = error.message();
    let (reason, constraint) = match error.number() {
        1062 | 1586 => {
            let key = message.rsplit_once(" for key ").map_or("", |(_, key)| key).trim_matches(['\'', '`']);
            // Some versions put the table before the key.
            let key = key.rsplit_once('.').map_or(key, |(_, key)| key);
            (format!("duplicate entry for the key `{key}`"), Some(key.to_owned()))
        }
        1265 | 1292 | 1366 => {
            let column = message.split_once(" for column ").map_or("", |(_, column)| column);
            (format!("a value of another form for the column {column}"), None)
        }
        _ => (message.to_owned(), None),
    };
    Failure::Refused { reason, constraint }
}

/// A connection that somebody owns: the pool's, or the one of a user's transaction.
#[derive(Debug)]
pub(crate) struct MyLink<'c> {
    pub(crate) connection: &'c mut MySqlConnection,
    /// Whether its settings are the app's, so that each statement has to bring its own.
    pub(crate) of_app: bool,
}

impl MyLink<'_> {
    fn text(&self, sql: &str) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(match self.of_app {
            true => format!("SET STATEMENT {} FOR {sql}", super::settings()).into(),
            false => sql.into(),
        })
    }

    /// Refuses a statement that no packet holds. The server would close the connection, often before it has said why, and
    /// that looks like one that was lost.
    async fn fits(&mut self, sql: &str, args: &[Arg]) -> Result<(), Failure> {
        let size = |arg: &Arg| match arg {
            Arg::One(_, cell) => cell.size(),
            Arg::Many(_, cells) => cells.iter().map(Cell::size).sum(),
        };
        let bytes = sql.len() + args.iter().map(|arg| size(arg) + PER_VALUE).sum::<usize>();
        if bytes <= SMALL {
            return Ok(());
        }
        let asked =
            sqlx::query_scalar::<_, u64>("SELECT @@max_allowed_packet").fetch_one(&mut *self.connection);
        let most = asked.await.map_err(failure)?;
        if u64::try_from(bytes).is_ok_and(|bytes| bytes < most) {
            return Ok(());
        }
        let message =
            format!("a statement of {bytes} bytes, and the server's `max_allowed_packet` is {most}");
        Err(Failure::Other(sqlx::Error::Encode(message.into())))
    }
}

impl Link for MyLink<'_> {
    fn fetch_within<'l>(
        &'l mut self,
        sql: &'l str,
        args: Vec<Arg>,
        bytes: usize,
    ) -> BoxFuture<'l, Result<Vec<Row>, Failure>> {
        Box::pin(async move {
            let mut allowance = Allowance(bytes);
            self.fits(sql, &args).await?;
            let kept = args.len() <= KEPT;
            let query = sqlx::query_with(self.text(sql), arguments(args)?).persistent(kept);
            let mut found = query.fetch(&mut *self.connection);
            let mut rows = Vec::new();
            while let Some(row) = found.try_next().await.map_err(failure)? {
                let cells: Result<Row, BoxDynError> =
                    (0..row.len()).map(|column| cell(&row, column)).collect();
                let cells = cells.map_err(|error| Failure::Other(sqlx::Error::Decode(error)))?;
                allowance.take(&cells)?;
                rows.push(cells);
            }
            Ok(rows)
        })
    }

    fn execute<'l>(&'l mut self, sql: &'l str, args: Vec<Arg>) -> BoxFuture<'l, Result<u64, Failure>> {
        Box::pin(async move {
            self.fits(sql, &args).await?;
            let kept = args.len() <= KEPT;
            let query = sqlx::query_with(self.text(sql), arguments(args)?).persistent(kept);
            Ok(query.execute(&mut *self.connection).await.map_err(failure)?.rows_affected())
        })
    }

    fn begin<'l>(&'l mut self, sql: &'l str) -> BoxFuture<'l, Result<Option<Row>, Failure>> {
        Box::pin(async move {
            let script = sqlx::raw_sql(AssertSqlSafe(Arc::<str>::from(sql)));
            let mut found = script.fetch(&mut *self.connection);
            let mut last = None;
            while let Some(row) = found.try_next().await.map_err(failure)? {
                last = Some(row);
            }
            let text = |row: MySqlRow| (0..row.len()).map(|column| text(&row, column)).collect();
            let cells: Option<Result<Row, BoxDynError>> = last.map(text);
            cells.transpose().map_err(|error| Failure::Other(sqlx::Error::Decode(error)))
        })
    }

    fn script<'l>(&'l mut self, sql: &'l str) -> BoxFuture<'l, Result<(), Failure>> {
        Box::pin(async move {
            let script = sqlx::raw_sql(AssertSqlSafe(Arc::<str>::from(sql)));
            (&mut *self.connection).execute(script).await.map_err(failure)?;
            Ok(())
        })
    }
}
