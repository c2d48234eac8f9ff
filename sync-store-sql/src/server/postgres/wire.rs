//! Cells in PostgreSQL's binary form, exactly: no value passes through a type of another crate.

use crate::server::link::{Allowance, Arg, Cell, Failure, Kind, Link, Row};
use futures_util::TryStreamExt;
use sqlx::encode::IsNull;
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnection, PgRow, PgTypeInfo, PgTypeKind, PgValueFormat,
};
use sqlx::{
    Arguments, AssertSqlSafe, Column as _, Encode, Executor, Postgres, Row as _, Type, TypeInfo, ValueRef,
};
use std::sync::Arc;
use sync_runtime::BoxFuture;
use uuid::Uuid;

/// From 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const JSON: u32 = 114;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;
const JSONB: u32 = 3802;
const VOID: u32 = 2278;

/// The type of a parameter, and of an array of them.
fn oids(kind: Kind) -> (u32, u32) {
    match kind {
        Kind::Bool => (BOOL, 1000),
        Kind::Int(2) => (INT2, 1005),
        Kind::Int(4) => (INT4, 1007),
        Kind::Int(_) => (INT8, 1016),
        Kind::Float(4) => (FLOAT4, 1021),
        Kind::Float(_) => (FLOAT8, 1022),
        Kind::Numeric => (NUMERIC, 1231),
        Kind::Text | Kind::Collated => (TEXT, 1009),
        Kind::Bytes => (BYTEA, 1001),
        Kind::Uuid => (UUID, 2951),
        Kind::Instant => (TIMESTAMPTZ, 1185),
        Kind::Civil => (TIMESTAMP, 1115),
        Kind::Date => (DATE, 1182),
        Kind::Json => (JSON, 199),
        Kind::JsonParsed => (JSONB, 3807),
    }
}

impl Type<Postgres> for Arg {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(TEXT))
    }
}

impl Encode<'_, Postgres> for Arg {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Arg::One(_, Cell::Null) => return Ok(IsNull::Yes),
            Arg::One(kind, cell) => put(&mut **buffer, *kind, cell)?,
            Arg::Many(kind, cells) => {
                let nulls = cells.contains(&Cell::Null);
                let dimensions: i32 = if cells.is_empty() { 0 } else { 1 };
                buffer.extend(dimensions.to_be_bytes());
                buffer.extend(i32::from(nulls).to_be_bytes());
                buffer.extend(oids(*kind).0.to_be_bytes());
                if !cells.is_empty() {
                    buffer.extend(i32::try_from(cells.len())?.to_be_bytes());
                    buffer.extend(1_i32.to_be_bytes());
                }
                let mut one = Vec::new();
                for cell in cells {
                    if *cell == Cell::Null {
                        buffer.extend((-1_i32).to_be_bytes());
                        continue;
                    }
                    one.clear();
                    put(&mut one, *kind, cell)?;
                    buffer.extend(i32::try_from(one.len())?.to_be_bytes());
                    buffer.extend(one.iter().copied());
                }
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        let oid = match self {
            Arg::One(kind, _) => oids(*kind).0,
            Arg::Many(kind, _) => oids(*kind).1,
        };
        Some(PgTypeInfo::with_oid(Oid(oid)))
    }
}

/// Writes a value that is not null in the binary form of its kind.
fn put(buffer: &mut impl Extend<u8>, kind: Kind, cell: &Cell) -> Result<(), BoxDynError> {
    match (kind, cell) {
        (Kind::Bool, Cell::Bool(yes)) => buffer.extend([u8::from(*yes)]),
        (Kind::Int(2), Cell::Int(n)) => buffer.extend(i16::try_from(*n)?.to_be_bytes()),
        (Kind::Int(4), Cell::Int(n)) => buffer.extend(i32::try_from(*n)?.to_be_bytes()),
        (Kind::Int(_), Cell::Int(n)) => buffer.extend(n.to_be_bytes()),
        (Kind::Float(4), Cell::Float(x)) => buffer.extend((*x as f32).to_be_bytes()),
        (Kind::Float(_), Cell::Float(x)) => buffer.extend(x.to_be_bytes()),
        (Kind::Numeric, Cell::Text(text)) => put_numeric(buffer, text)?,
        (Kind::Numeric, Cell::Int(n)) => put_numeric(buffer, &n.to_string())?,
        (Kind::Text | Kind::Collated | Kind::Json, Cell::Text(text)) => buffer.extend(text.bytes()),
        (Kind::JsonParsed, Cell::Text(text)) => {
            buffer.extend([1]);
            buffer.extend(text.bytes());
        }
        (Kind::Bytes, Cell::Bytes(bytes)) => buffer.extend(bytes.iter().copied()),
        (Kind::Uuid, Cell::Uuid(id)) => buffer.extend(*id.as_bytes()),
        (Kind::Instant | Kind::Civil, Cell::Micros(micros)) => {
            buffer.extend((micros - EPOCH_MICROS).to_be_bytes());
        }
        (Kind::Date, Cell::Day(day)) => buffer.extend((day - EPOCH_DAYS).to_be_bytes()),
        (kind, cell) => return Err(format!("{} for a {kind:?}", cell.describe()).into()),
    }
    Ok(())
}

/// The digits of a decimal in groups of four around the point, as PostgreSQL has them.
fn put_numeric(buffer: &mut impl Extend<u8>, text: &str) -> Result<(), BoxDynError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let filled = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let groups = |text: &str| -> Result<Vec<i16>, BoxDynError> {
        let groups = text.as_bytes().chunks(4).map(|group| Ok(std::str::from_utf8(group)?.parse()?));
        groups.collect()
    };
    let before = groups(&padded)?;
    let mut all = [before.clone(), groups(&filled)?].concat();
    let mut weight = i16::try_from(before.len())? - 1;
    while all.first() == Some(&0) {
        all.remove(0);
        weight -= 1;
    }
    while all.last() == Some(&0) {
        all.pop();
    }
    let zero = all.is_empty();
    buffer.extend(i16::try_from(all.len())?.to_be_bytes());
    buffer.extend(if zero { 0_i16 } else { weight }.to_be_bytes());
    buffer.extend(if negative && !zero { 0x4000_u16 } else { 0 }.to_be_bytes());
    buffer.extend(i16::try_from(fraction.len())?.to_be_bytes());
    for group in all {
        buffer.extend(group.to_be_bytes());
    }
    Ok(())
}

/// The decimal's text with its scale.
fn numeric(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(2 * at..2 * at + 2)?.try_into().ok()?));
    let (count, weight) = (usize::from(word(0)?), i32::from(word(1)? as i16));
    let (sign, scale) = (word(2)?, usize::from(word(3)?));
    match sign {
        0 | 0x4000 => {}
        0xC000 => return Some("NaN".to_owned()),
        _ => return Some("Infinity".to_owned()),
    }
    let group = |place: i32| match usize::try_from(place) {
        Ok(place) if place < count => word(4 + place),
        _ => Some(0),
    };
    let mut text = String::new();
    for place in 0..=weight {
        text.push_str(&format!("{:04}", group(place)?));
    }
    let whole = text.trim_start_matches('0');
    let mut text =
        format!("{}{}", if sign == 0x4000 { "-" } else { "" }, if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let mut fraction = String::new();
        let mut place = weight + 1;
        // A weight below -1 leaves groups of zeros between the point and the first digit.
        for skipped in weight.min(-1)..-1 {
            let _ = skipped;
            fraction.push_str("0000");
        }
        if weight < -1 {
            place = 0;
        }
        while fraction.len() < scale {
            fraction.push_str(&format!("{:04}", group(place)?));
            place += 1;
        }
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(text)
}

/// What the columns of a row hold: the number of each type, which text has whatever its name is.
fn types(row: &PgRow) -> Vec<u32> {
    let number = |info: &PgTypeInfo| match info.kind() {
        PgTypeKind::Enum(_) => TEXT,
        _ => info.oid().map_or(0, |oid| oid.0),
    };
    row.columns().iter().map(|column| number(column.type_info())).collect()
}

/// The cell in this column, which is of this type.
fn cell(row: &PgRow, column: usize, ty: u32) -> Result<Cell, BoxDynError> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    if value.format() != PgValueFormat::Binary {
        return Err("a value in text form".into());
    }
    let bytes = value.as_bytes()?;
    let text = || Ok::<_, BoxDynError>(Cell::Text(std::str::from_utf8(bytes)?.to_owned()));
    Ok(match ty {
        BOOL => Cell::Bool(bytes.first() == Some(&1)),
        INT2 => Cell::Int(i16::from_be_bytes(bytes.try_into()?).into()),
        INT4 => Cell::Int(i32::from_be_bytes(bytes.try_into()?).into()),
        INT8 => Cell::Int(i64::from_be_bytes(bytes.try_into()?)),
        FLOAT4 => Cell::Float(f32::from_be_bytes(bytes.try_into()?).into()),
        FLOAT8 => Cell::Float(f64::from_be_bytes(bytes.try_into()?)),
        NUMERIC => Cell::Text(numeric(bytes).ok_or("a numeric of another form")?),
        BYTEA => Cell::Bytes(bytes.to_vec()),
        UUID => Cell::Uuid(Uuid::from_slice(bytes)?),
        TIMESTAMP | TIMESTAMPTZ => {
            let micros = Some(i64::from_be_bytes(bytes.try_into()?)).filter(|micros| *micros > i64::MIN);
            let micros = micros.and_then(|micros| micros.checked_add(EPOCH_MICROS));
            micros.map_or(Cell::Odd("a time at infinity"), Cell::Micros)
        }
        DATE => {
            let day = Some(i32::from_be_bytes(bytes.try_into()?)).filter(|day| *day > i32::MIN);
            let day = day.and_then(|day| day.checked_add(EPOCH_DAYS));
            day.map_or(Cell::Odd("a day at infinity"), Cell::Day)
        }
        JSONB => Cell::Text(std::str::from_utf8(bytes.get(1..).unwrap_or_default())?.to_owned()),
        // Text by any name: `varchar`, `name`, a domain over one of them.
        TEXT | JSON | 1042 | 1043 | 18 | 19 => text()?,
        VOID => Cell::Null,
        _ => {
            let name = value.type_info();
            return Err(format!("a value of the type `{}`, which is not known here", name.name()).into());
        }
    })
}

/// The text in this column.
fn text(row: &PgRow, column: usize) -> Result<Cell, BoxDynError> {
    let value = row.try_get_raw(column)?;
    Ok(if value.is_null() { Cell::Null } else { Cell::Text(value.as_str()?.to_owned()) })
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
    let code = database.code().unwrap_or_default().into_owned();
    match code.as_str() {
        // Serialization, deadlock, lock timeout.
        "40001" | "40P01" | "55P03" => Failure::Conflict(error),
        "42501" => Failure::Denied(error),
        // Shut down, crashed, too many connections.
        "57P01" | "57P02" | "57P03" | "53300" => Failure::Lost(error),
        // A trigger of the app's said no.
        "P0001" => refused(database.as_ref()),
        code if code.starts_with("23") || code.starts_with("22") => refused(database.as_ref()),
        code if code.starts_with("08") => Failure::Lost(error),
        _ => Failure::Other(error),
    }
}

fn refused(error: &dyn DatabaseError) -> Failure {
    let mut reason = error.message().to_owned();
    let detail = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.detail());
    // `Key (code)=(7) already exists.`: the columns help, the values are nobody's business.
    if let Some(columns) = detail.and_then(|detail| detail.strip_prefix("Key (")?.split_once(")=")) {
        reason = format!("{reason} on ({})", columns.0);
    }
    Failure::Refused { reason, constraint: error.constraint().map(str::to_owned) }
}

/// A connection that somebody owns: the pool's, or the one of a user's transaction.
#[derive(Debug)]
pub(crate) struct PgLink<'c>(pub(crate) &'c mut PgConnection);

fn arguments(args: Vec<Arg>) -> Result<PgArguments, Failure> {
    let mut arguments = PgArguments::default();
    for arg in args {
        arguments.add(arg).map_err(|error| Failure::Other(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

impl Link for PgLink<'_> {
    fn fetch_within<'l>(
        &'l mut self,
        sql: &'l str,
        args: Vec<Arg>,
        bytes: usize,
    ) -> BoxFuture<'l, Result<Vec<Row>, Failure>> {
        Box::pin(async move {
            let mut allowance = Allowance(bytes);
            let query = sqlx::query_with(AssertSqlSafe(Arc::<str>::from(sql)), arguments(args)?);
            let mut found = query.fetch(&mut *self.0);
            let (mut rows, mut columns) = (Vec::new(), None);
            while let Some(row) = found.try_next().await.map_err(failure)? {
                let types = columns.get_or_insert_with(|| types(&row));
                let mut cells = Row::with_capacity(types.len());
                for (column, ty) in types.iter().enumerate() {
                    let cell = cell(&row, column, *ty);
                    cells.push(cell.map_err(|error| Failure::Other(sqlx::Error::Decode(error)))?);
                }
                allowance.take(&cells)?;
                rows.push(cells);
            }
            Ok(rows)
        })
    }

    fn execute<'l>(&'l mut self, sql: &'l str, args: Vec<Arg>) -> BoxFuture<'l, Result<u64, Failure>> {
        Box::pin(async move {
            let query = sqlx::query_with(AssertSqlSafe(Arc::<str>::from(sql)), arguments(args)?);
            Ok(query.execute(&mut *self.0).await.map_err(failure)?.rows_affected())
        })
    }

    fn begin<'l>(&'l mut self, sql: &'l str) -> BoxFuture<'l, Result<Option<Row>, Failure>> {
        Box::pin(async move {
            let script = sqlx::raw_sql(AssertSqlSafe(Arc::<str>::from(sql)));
            let mut found = script.fetch(&mut *self.0);
            let mut last = None;
            while let Some(row) = found.try_next().await.map_err(failure)? {
                last = Some(row);
            }
            let text = |row: PgRow| (0..row.len()).map(|column| text(&row, column)).collect();
            let cells: Option<Result<Row, BoxDynError>> = last.map(text);
            cells.transpose().map_err(|error| Failure::Other(sqlx::Error::Decode(error)))
        })
    }

    fn script<'l>(&'l mut self, sql: &'l str) -> BoxFuture<'l, Result<(), Failure>> {
        Box::pin(async move {
            let script = sqlx::raw_sql(AssertSqlSafe(Arc::<str>::from(sql)));
            (&mut *self.0).execute(script).await.map_err(failure)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_digits_and_their_scale() {
        for text in [
            "0",
            "0.0",
            "0.000",
            "1",
            "-1",
            "10000",
            "-12.50",
            "0.00001",
            "123456789.00000001",
            "79228162514264337593543950335",
            "-0.0000000000000000000000000001",
            "10000.0001",
            "0.12345",
        ] {
            let mut bytes = Vec::new();
            put_numeric(&mut bytes, text).expect("a decimal");
            assert_eq!(numeric(&bytes).as_deref(), Some(text));
        }
    }
}
