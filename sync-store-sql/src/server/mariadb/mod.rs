//! MariaDB: what it says otherwise than others.

mod inspect;
mod own;
mod plan;
mod triggers;
mod wire;

pub(crate) use inspect::{Database, database, own_prefix};
pub(crate) use plan::Scratch;
pub(crate) use wire::MyLink;

use super::link::{Arg, Cell, Kind};
use super::statement::{Dialect, Rows, Statement, Then};
use super::tables::{Column, IdType};
use super::transaction::unique_group;
use crate::filter::Words;
use crate::names::Quote;
use std::time::Duration;
use sync_runtime::store::Access;
use sync_runtime::value::FieldType;
use sync_runtime::version::{Position, Stamp};

/// How values are told apart and kept, whatever the server's own settings are.
const MODE: &str = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES";

/// The most parameters that a statement can have.
const PARAMETERS: usize = 65_535;

/// The values of several rows that one statement has: a packet has at most 16 MiB if nobody said otherwise, and as JSON a
/// value may be six times as long.
const BYTES: usize = 2 << 20;

/// MariaDB's way to say things.
#[derive(Debug)]
pub(crate) struct MariaDb;

static WORDS: Words =
    Words { all: "TRUE", none: "FALSE", same: "<=>", if_null: "coalesce", place_in: "instr" };

/// The settings that every statement needs.
///
/// With `innodb_snapshot_isolation` a row that somebody changed since the snapshot cannot be written, which is an error
/// instead of a lost update. A long list of values is to stay a look-up by key, not to become a join.
fn settings() -> String {
    format!(
        "innodb_snapshot_isolation = ON, sql_mode = '{MODE}', time_zone = '+00:00', \
         in_predicate_conversion_threshold = 0"
    )
}

impl MariaDb {
    /// Sets columns of one row, whose values are parameters.
    fn update_one(&self, rows: &Rows<'_>, row: &[Cell], key: usize) -> Statement {
        let mut statement = Statement::new(format!("UPDATE {} SET ", rows.into));
        let pairs: Vec<_> = rows.columns.iter().zip(row).collect();
        let (same, set) = pairs.split_at(key);
        for (pairs, between) in [(set, ", "), (same, " AND ")] {
            for (place, ((name, kind), cell)) in pairs.iter().enumerate() {
                statement.push(if place == 0 { "" } else { between }).push(name).push(" = ");
                statement.bind(self, Arg::One(*kind, (*cell).clone()));
            }
            if between == ", " {
                statement.push(" WHERE ");
            }
        }
        statement
    }
}

impl Dialect for MariaDb {
    fn quote(&self) -> Quote {
        Quote::Backtick
    }

    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn parameter(&self, _: usize) -> String {
        "?".to_owned()
    }

    fn begin(&self, access: Access, busy_timeout: Duration, of_app: bool) -> String {
        let mode = if access.write { "READ WRITE" } else { "READ ONLY" };
        let settings = match of_app {
            true => String::new(),
            false => {
                let timeout = busy_timeout.as_secs().max(1);
                let settings = settings();
                format!(
                    "SESSION {settings}, innodb_lock_wait_timeout = {timeout}, lock_wait_timeout = {timeout}, "
                )
            }
        };
        format!(
            "SET {settings}@sync_writing = 1; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
             START TRANSACTION WITH CONSISTENT SNAPSHOT, {mode}"
        )
    }

    fn one_of(&self, statement: &mut Statement, column: &str, kind: Kind, cells: Vec<Cell>) {
        if cells.is_empty() {
            statement.push("FALSE");
            return;
        }
        statement.push(&format!("{column} IN ("));
        for (place, cell) in cells.into_iter().enumerate() {
            statement.push(if place == 0 { "" } else { ", " }).bind(self, Arg::One(kind, cell));
        }
        statement.push(")");
    }

    fn one_row_of(&self, statement: &mut Statement, columns: &[(String, Kind)], rows: Vec<Vec<Cell>>) {
        if rows.is_empty() {
            statement.push("FALSE");
            return;
        }
        // A list of rows, or a condition for each of them, would cost the optimizer more than the look-up by key.
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let kinds: Vec<Kind> = columns.iter().map(|(_, kind)| *kind).collect();
        let given = kinds.iter().enumerate().map(|(place, kind)| given(place, *kind));
        let given = given.collect::<Vec<_>>().join(", ");
        statement.push(&format!("({}) IN (SELECT {given} FROM ", names.join(", ")));
        json_table(statement, &rows, &kinds, kinds.len());
        statement.push(" v)");
    }

    /// Over two tables: a condition on rows is made a join in no other update.
    fn update_some(&self, table: &str, index: Option<&str>) -> String {
        format!("UPDATE {table} t{} JOIN (SELECT 1) sync_one SET", forced(index))
    }

    fn delete_some(&self, table: &str, index: Option<&str>) -> String {
        format!("DELETE t FROM {table} t{} WHERE", forced(index))
    }

    /// Nothing in a transaction of our own: a write of a row that changed since the snapshot fails, and a locking read of
    /// rows that are not there would keep everybody from inserting near them.
    fn lock(&self, of_app: bool) -> &'static str {
        if of_app { " FOR UPDATE" } else { "" }
    }

    fn touched(&self, rows: usize, _: bool) -> u64 {
        rows as u64
    }

    fn key_of(&self, expression: &str, column: &Column, ty: IdType) -> String {
        match (ty, column.kind) {
            (IdType::Int, _) => format!("UNHEX(LPAD(HEX({expression} ^ 9223372036854775808), 16, '0'))"),
            (IdType::Uuid, Kind::Bytes) => expression.to_owned(),
            (IdType::Uuid, _) => format!("UNHEX(REPLACE({expression}, '-', ''))"),
            (IdType::Text, _) => format!("CAST({expression} AS BINARY)"),
        }
    }

    fn id_of_key(&self, key: &str, column: &Column, ty: IdType) -> String {
        match (ty, column.kind) {
            (IdType::Int, _) => {
                format!("CAST(CAST(CONV(HEX({key}), 16, 10) AS UNSIGNED) ^ 9223372036854775808 AS SIGNED)")
            }
            (IdType::Uuid, Kind::Bytes) => key.to_owned(),
            (IdType::Uuid, _) => uuid_text(key),
            (IdType::Text, _) => format!("CONVERT({key} USING utf8mb4) COLLATE utf8mb4_nopad_bin"),
        }
    }

    fn part_of(&self, expression: &str, column: &Column) -> String {
        let text = match (column.ty, column.kind) {
            (FieldType::Uuid, Kind::Bytes) => uuid_text(expression),
            (FieldType::Uuid, _) => format!("LOWER({expression})"),
            (FieldType::Text, _) => {
                format!("REPLACE(REPLACE(CONVERT({expression} USING utf8mb4), '%', '%25'), '/', '%2F')")
            }
            _ => expression.to_owned(),
        };
        format!("CAST({text} AS BINARY)")
    }

    fn joined(&self, parts: &mut dyn Iterator<Item = String>) -> String {
        format!("CONCAT({})", parts.collect::<Vec<_>>().join(", '/', "))
    }

    fn part_of_key(&self, key: &str, place: usize, column: &Column) -> String {
        let text = format!("CONVERT({key} USING utf8mb4) COLLATE utf8mb4_nopad_bin");
        let part = format!("SUBSTRING_INDEX(SUBSTRING_INDEX({text}, '/', {}), '/', -1)", place + 1);
        match (column.ty, column.kind) {
            (FieldType::Uuid, Kind::Bytes) => format!("UNHEX(REPLACE({part}, '-', ''))"),
            // Compared as the column compares, perhaps without case.
            (FieldType::Uuid, _) => format!("CONVERT({part} USING ascii)"),
            (FieldType::Text, _) => format!("REPLACE(REPLACE({part}, '%2F', '/'), '%25', '%')"),
            (FieldType::Int { .. }, _) => format!("CAST({part} AS SIGNED)"),
            _ => part,
        }
    }

    fn compared(&self, column: &Column, expression: &str) -> String {
        match (column.ty, column.kind) {
            (FieldType::Decimal, Kind::Text | Kind::Collated) => {
                format!("CAST({expression} AS DECIMAL(65,30))")
            }
            (FieldType::Float | FieldType::Float32, Kind::Text) => format!("CAST({expression} AS DOUBLE)"),
            (_, Kind::Collated) => format!("CAST({expression} AS BINARY)"),
            (FieldType::Uuid, Kind::Uuid) => format!("CAST({expression} AS CHAR(36))"),
            _ => expression.to_owned(),
        }
    }

    fn insert(&self, rows: Rows<'_>, then: Then<'_>) -> Statement {
        let mut names: Vec<String> = rows.columns.iter().map(|(name, _)| name.clone()).collect();
        names.extend(rows.computed.iter().map(|(name, _)| (*name).to_owned()));
        let mut statement =
            Statement::new(format!("INSERT INTO {}({}) VALUES ", rows.into, names.join(", ")));
        for (place, row) in rows.rows.into_iter().enumerate() {
            statement.push(if place == 0 { "(" } else { ", (" });
            for (column, (cell, (_, kind))) in row.into_iter().zip(&rows.columns).enumerate() {
                statement.push(if column == 0 { "" } else { ", " }).bind(self, Arg::One(*kind, cell));
            }
            for (_, expression) in &rows.computed {
                statement.push(", ").push(expression);
            }
            statement.push(")");
        }
        if let Then::Replace { set, .. } = then {
            let set: Vec<_> = set.iter().map(|name| format!("{name} = VALUES({name})")).collect();
            statement.push(&format!(" ON DUPLICATE KEY UPDATE {}", set.join(", ")));
        }
        statement
    }

    fn update(&self, rows: Rows<'_>, key: usize, index: Option<&str>) -> Statement {
        // As JSON the values of one record may not fit into a packet.
        if let [row] = rows.rows.as_slice()
            && row.iter().map(Cell::size).sum::<usize>() > BYTES
        {
            return self.update_one(&rows, row, key);
        }
        let pairs: Vec<String> = rows
            .columns
            .iter()
            .enumerate()
            .map(|(place, (name, kind))| format!("t.{name} = {}", given(place, *kind)))
            .collect();
        let (same, set) = pairs.split_at(key);
        let set = match set.is_empty() {
            true => format!("t.{0} = t.{0}", rows.columns[0].0),
            false => set.join(", "),
        };
        let mut statement = Statement::new("UPDATE ");
        let kinds: Vec<Kind> = rows.columns.iter().map(|(_, kind)| *kind).collect();
        json_table(&mut statement, &rows.rows, &kinds, key);
        let same = same.join(" AND ");
        let (into, forced) = (rows.into, forced(index));
        statement.push(&format!(" v STRAIGHT_JOIN {into} t{forced} ON {same} SET {set}"));
        statement
    }

    fn tell_stamp(&self, own: &str, stamp: Stamp, group: Position) -> Statement {
        let mut statement = Statement::new(format!(
            "INSERT INTO {own}sync_writing(connection, stamp, grp) VALUES (CONNECTION_ID(), "
        ));
        statement.bind(self, Arg::int(stamp)).push(", ").bind(self, Arg::int(group));
        // A transaction is one group, however often it tells the time.
        statement.push(") ON DUPLICATE KEY UPDATE stamp = VALUES(stamp), grp = coalesce(grp, VALUES(grp))");
        statement
    }

    fn listen(&self) -> Option<Statement> {
        Some(Statement::new("SET @sync_writing = 1"))
    }

    fn tell_put(&self, own: &str, put: Option<(i64, Vec<Cell>)>) -> Vec<Statement> {
        let Some((model, keys)) = put else {
            let sql =
                format!("UPDATE {own}sync_writing SET put_model = NULL WHERE connection = CONNECTION_ID()");
            return vec![Statement::new(sql)];
        };
        // What was told before stays until the end: to delete it here would lock others out of the gaps.
        let turn = unique_group();
        let mut telling = Statement::new(format!(
            "INSERT INTO {own}sync_writing(connection, put_model, turn) VALUES (CONNECTION_ID(), "
        ));
        telling.bind(self, Arg::int(model)).push(", ").bind(self, Arg::int(turn));
        telling.push(") ON DUPLICATE KEY UPDATE put_model = VALUES(put_model), turn = VALUES(turn)");
        let mut told = vec![telling];
        if !keys.is_empty() {
            let into = format!("{own}sync_put");
            let columns = vec![("turn".to_owned(), Kind::Int(8)), ("id".to_owned(), Kind::Bytes)];
            let rows = keys.into_iter().map(|key| vec![Cell::Int(turn), key]).collect();
            let computed = vec![("connection", "CONNECTION_ID()".to_owned())];
            told.push(self.insert(Rows { into: &into, columns, rows, computed }, Then::Fail));
        }
        told
    }

    fn clean(&self, own: &str) -> Option<String> {
        // By the key, so that nobody else's rows are even looked at.
        Some(format!(
            "DELETE w, p FROM {own}sync_writing w FORCE INDEX (PRIMARY) \
             LEFT JOIN {own}sync_put p FORCE INDEX (PRIMARY) ON p.connection = w.connection \
             WHERE w.connection = CONNECTION_ID()"
        ))
    }

    fn most_bytes(&self) -> usize {
        BYTES
    }

    fn most_rows(&self, columns: usize) -> usize {
        (PARAMETERS / columns.max(1)).max(1)
    }

    fn pending_position(&self, own: &str) -> String {
        format!("-NEXT VALUE FOR {own}sync_written")
    }

    fn number(&self, own: &str) -> String {
        own::numbering(own)
    }

    fn own(&self, own: &str) -> String {
        format!(
            "SELECT CAST(s.me AS CHAR), CAST(s.keep_through AS CHAR), CAST(n.newest AS CHAR), NULL \
             FROM {own}sync_state s CROSS JOIN {own}sync_newest n"
        )
    }

    /// Of those that wrote anything, by connections to this database. Needs the right `PROCESS`.
    fn oldest_writer(&self, _: &str) -> String {
        "SET STATEMENT time_zone = 'SYSTEM' FOR SELECT max(TIMESTAMPDIFF(MICROSECOND, x.trx_started, NOW(6))) \
         FROM information_schema.INNODB_TRX x JOIN information_schema.PROCESSLIST p ON p.ID = x.trx_mysql_thread_id \
         WHERE x.trx_rows_modified > 0 AND p.DB = DATABASE()"
            .to_owned()
    }

    fn version(&self, own: &str) -> String {
        // The log's end moves with every write and commit of anybody; it is told once a write has begun, so what is
        // exact for changes stands beside it.
        format!(
            "SELECT (SELECT newest FROM {own}sync_newest), (SELECT min(position) FROM {own}sync_change), \
             (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_LSN_CURRENT')"
        )
    }
}

/// Adds rows as a table; so many of the first columns are a key.
fn json_table(statement: &mut Statement, rows: &[Vec<Cell>], kinds: &[Kind], key: usize) {
    let rows = rows.iter().map(|row| format!("[{}]", row.iter().map(json).collect::<Vec<_>>().join(",")));
    let rows = rows.collect::<Vec<_>>().join(",");
    let columns = kinds.iter().enumerate();
    let columns = columns
        .map(|(place, kind)| format!("v{place} {} PATH '$[{place}]'", json_type(*kind, place < key)))
        .collect::<Vec<_>>()
        .join(", ");
    statement.push("JSON_TABLE(").bind(&MariaDb, Arg::text(format!("[{rows}]")));
    statement.push(&format!(", '$[*]' COLUMNS({columns}))"));
}

/// Has rows found by this index. A small table would be read as a whole, and every row of it locked.
fn forced(index: Option<&str>) -> String {
    index.map(|index| format!(" FORCE INDEX ({})", Quote::Backtick.name(index))).unwrap_or_default()
}

/// A value of such a row.
fn given(place: usize, kind: Kind) -> String {
    match kind {
        Kind::Bytes => format!("UNHEX(v.v{place})"),
        _ => format!("v.v{place}"),
    }
}

/// A cell inside the JSON that carries rows to an update; numbers as text, which loses nothing.
fn json(cell: &Cell) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Bool(yes) => u8::from(*yes).to_string(),
        Cell::Int(n) => text(&n.to_string()),
        Cell::Float(x) => text(&format!("{x:?}")),
        Cell::Text(given) => text(given),
        Cell::Bytes(bytes) => text(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Cell::Uuid(id) => text(&id.hyphenated().to_string()),
        Cell::Micros(micros) => wire::time_text(*micros).map_or("null".to_owned(), |time| text(&time)),
        Cell::Day(day) => sync_runtime::value::date_text(*day).map_or("null".to_owned(), |day| text(&day)),
        Cell::Odd(_) => "null".to_owned(),
    }
}

/// The type that such a cell is read as.
fn json_type(kind: Kind, is_key: bool) -> &'static str {
    match kind {
        Kind::Bool | Kind::Int(_) => "BIGINT",
        Kind::Float(_) => "DOUBLE",
        Kind::Instant | Kind::Civil | Kind::Date | Kind::Uuid => "VARCHAR(64)",
        Kind::Bytes if is_key => "VARCHAR(512)",
        // A UUID as text, whatever collation its column has.
        Kind::Collated if is_key => "VARCHAR(64) CHARACTER SET ascii",
        Kind::Text if is_key => "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        _ => "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    }
}

/// The text of a UUID that is bytes.
fn uuid_text(bytes: &str) -> String {
    let part = |from: u8, length: u8| format!("SUBSTR(HEX({bytes}), {from}, {length})");
    let parts = [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)];
    format!("LOWER(CONCAT_WS('-', {}))", parts.join(", "))
}
