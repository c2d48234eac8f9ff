//! PostgreSQL: what it says otherwise than others.

mod inspect;
mod listen;
mod own;
mod triggers;
mod wire;

pub(crate) use inspect::{Schema, own_prefix, schema};
pub(crate) use listen::Notify;
pub(crate) use wire::PgLink;

use super::link::{Arg, Cell, Kind};
use super::statement::{Dialect, Rows, Statement, Then};
use super::tables::{Column, IdType};
use crate::filter::Words;
use crate::names::{Quote, literal};
use sqlx::Executor;
use std::time::Duration;
use sync_runtime::store::Access;
use sync_runtime::value::FieldType;
use sync_runtime::version::{Position, Stamp};

/// PostgreSQL's way to say things.
#[derive(Debug)]
pub(crate) struct Postgres;

static WORDS: Words = Words {
    all: "TRUE",
    none: "FALSE",
    same: "IS NOT DISTINCT FROM",
    if_null: "coalesce",
    place_in: "strpos",
};

impl Dialect for Postgres {
    fn quote(&self) -> Quote {
        Quote::Double
    }

    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn parameter(&self, place: usize) -> String {
        format!("${place}")
    }

    fn begin(&self, access: Access, busy_timeout: Duration, _: bool) -> String {
        let mode = if access.write { "" } else { " READ ONLY" };
        let timeout = busy_timeout.as_millis();
        // Pages are looked up by ids and positions, for which there are indexes; of a thousand ids the planner thinks
        // otherwise. Queries of the app are planned as ever.
        let by_index = match access.write || access.feed {
            true => "; SET LOCAL enable_seqscan = off; SET LOCAL jit = off",
            false => "",
        };
        // A plan that was made and kept while the table was small reads all of it for a thousand ids.
        let as_it_is = if access.long { "; SET LOCAL plan_cache_mode = force_custom_plan" } else { "" };
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ{mode}; SET LOCAL lock_timeout = {timeout}{by_index}{as_it_is}"
        )
    }

    fn check_at_once(&self) -> Option<&'static str> {
        Some("SET CONSTRAINTS ALL IMMEDIATE")
    }

    fn keeps_parts_apart(&self) -> bool {
        true
    }

    fn one_of(&self, statement: &mut Statement, column: &str, kind: Kind, mut cells: Vec<Cell>) {
        // One alone is looked up by the index whatever the plan that is kept, see `begin`.
        match cells.pop() {
            Some(cell) if cells.is_empty() => {
                statement.push(&format!("{column} = ")).bind(self, Arg::One(kind, cell));
            }
            last => {
                cells.extend(last);
                statement.push(&format!("{column} = ANY(")).bind(self, Arg::Many(kind, cells)).push(")");
            }
        }
    }

    fn one_row_of(&self, statement: &mut Statement, columns: &[(String, Kind)], rows: Vec<Vec<Cell>>) {
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        statement.push(&format!("({}) IN (SELECT * FROM unnest(", names.join(", ")));
        let rows = Rows { into: "", columns: columns.to_vec(), rows, computed: Vec::new() };
        bind_columns(statement, rows);
        statement.push("))");
    }

    fn lock(&self, _: bool) -> &'static str {
        " FOR UPDATE OF t"
    }

    fn touched(&self, rows: usize, _: bool) -> u64 {
        rows as u64
    }

    fn key_of(&self, expression: &str, column: &Column, ty: IdType) -> String {
        match (ty, column.kind) {
            (IdType::Int, _) => format!("int8send({expression}::int8 # (-9223372036854775808)::int8)"),
            (IdType::Uuid, Kind::Uuid) => format!("uuid_send({expression})"),
            (IdType::Uuid, Kind::Bytes) => expression.to_owned(),
            (IdType::Uuid, _) => format!("uuid_send({expression}::uuid)"),
            (IdType::Text, _) => format!("convert_to({expression}::text, 'UTF8')"),
        }
    }

    fn id_of_key(&self, key: &str, column: &Column, ty: IdType) -> String {
        match (ty, column.kind) {
            (IdType::Int, kind) => {
                let number =
                    format!("(('x' || encode({key}, 'hex'))::bit(64)::int8 # (-9223372036854775808)::int8)");
                match kind {
                    Kind::Int(2) => format!("{number}::int2"),
                    Kind::Int(4) => format!("{number}::int4"),
                    _ => number,
                }
            }
            (IdType::Uuid, Kind::Uuid) => format!("encode({key}, 'hex')::uuid"),
            (IdType::Uuid, Kind::Bytes) => key.to_owned(),
            (IdType::Uuid, _) => format!("encode({key}, 'hex')::uuid::text"),
            (IdType::Text, _) => collated(&format!("convert_from({key}, 'UTF8')"), &column.collation),
        }
    }

    fn part_of(&self, expression: &str, column: &Column) -> String {
        match (column.ty, column.kind) {
            (FieldType::Uuid, Kind::Bytes) => format!("encode({expression}, 'hex')::uuid::text"),
            (FieldType::Uuid, _) => format!("{expression}::uuid::text"),
            (FieldType::Text, _) => {
                format!("replace(replace({expression}::text, '%', '%25'), '/', '%2F')")
            }
            _ => format!("{expression}::text"),
        }
    }

    fn joined(&self, parts: &mut dyn Iterator<Item = String>) -> String {
        format!("convert_to({}, 'UTF8')", parts.collect::<Vec<_>>().join(" || '/' || "))
    }

    fn part_of_key(&self, key: &str, place: usize, column: &Column) -> String {
        let part = format!("split_part(convert_from({key}, 'UTF8'), '/', {})", place + 1);
        match (column.ty, column.kind) {
            (FieldType::Uuid, Kind::Uuid) => format!("{part}::uuid"),
            (FieldType::Uuid, Kind::Bytes) => format!("decode(replace({part}, '-', ''), 'hex')"),
            (FieldType::Text, _) => {
                collated(&format!("replace(replace({part}, '%2F', '/'), '%25', '%')"), &column.collation)
            }
            (_, Kind::Int(size)) => format!("{part}::int{size}"),
            _ => collated(&part, &column.collation),
        }
    }

    fn compared(&self, column: &Column, expression: &str) -> String {
        match (column.ty, column.kind) {
            (FieldType::Decimal, _) => format!("({expression}::numeric)"),
            (FieldType::Text, _) => format!("({expression} COLLATE \"C\")"),
            (FieldType::Json, _) => format!("({expression}::text COLLATE \"C\")"),
            _ => expression.to_owned(),
        }
    }

    fn insert(&self, rows: Rows<'_>, then: Then<'_>) -> Statement {
        let mut statement = Statement::new(format!("INSERT INTO {}(", rows.into));
        let into = rows.into;
        let mut names: Vec<String> = rows.columns.iter().map(|(name, _)| name.clone()).collect();
        names.extend(rows.computed.iter().map(|(name, _)| (*name).to_owned()));
        statement.push(&names.join(", ")).push(") OVERRIDING SYSTEM VALUE SELECT v.*");
        for (_, expression) in &rows.computed {
            statement.push(", ").push(expression);
        }
        statement.push(" FROM unnest(");
        bind_columns(&mut statement, rows);
        statement.push(") v");
        if let Then::Replace { key, set } = then {
            let set: Vec<_> = set.iter().map(|name| format!("{name} = excluded.{name}")).collect();
            statement.push(&format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", ")));
        }
        debug_assert!(statement.sql.contains(into));
        statement
    }

    fn update(&self, rows: Rows<'_>, key: usize, _: Option<&str>) -> Statement {
        let names: Vec<String> = rows.columns.iter().map(|(name, _)| name.clone()).collect();
        let aliases: Vec<String> = (0..names.len()).map(|place| format!("v{place}")).collect();
        let set: Vec<_> =
            names.iter().zip(&aliases).skip(key).map(|(name, alias)| format!("{name} = v.{alias}")).collect();
        let set = if set.is_empty() { format!("{0} = t.{0}", names[0]) } else { set.join(", ") };
        let mut statement = Statement::new(format!("UPDATE {} t SET {set} FROM unnest(", rows.into));
        bind_columns(&mut statement, rows);
        let same = names.iter().zip(&aliases).take(key).map(|(name, alias)| format!("t.{name} = v.{alias}"));
        let same = same.collect::<Vec<_>>().join(" AND ");
        statement.push(&format!(") v({}) WHERE {same}", aliases.join(", ")));
        statement
    }

    fn tell_stamp(&self, _: &str, stamp: Stamp, _: Position) -> Statement {
        let mut statement = Statement::new("SELECT set_config('sync.stamp', ");
        statement.bind(self, Arg::text(stamp.to_string())).push(", true)");
        statement
    }

    fn tell_put(&self, _: &str, put: Option<(i64, Vec<Cell>)>) -> Vec<Statement> {
        let Some((model, keys)) = put else {
            return vec![Statement::new("SELECT set_config('sync.put_model', '', true)")];
        };
        let mut statement = Statement::new("SELECT set_config('sync.put_model', ");
        statement.bind(self, Arg::text(model.to_string())).push(", true), set_config('sync.put_ids', ");
        statement.bind(self, Arg::Many(Kind::Bytes, keys)).push("::text, true)");
        vec![statement]
    }

    fn pending_position(&self, own: &str) -> String {
        format!("-nextval('{}')", format!("{own}sync_written").replace('\'', "''"))
    }

    fn number(&self, own: &str) -> String {
        format!("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT {own}sync_number(); COMMIT; ")
    }

    /// A transaction that is prepared for two phases belongs to no connection any more, and is as old as its preparation.
    fn oldest_writer(&self, own: &str) -> String {
        format!(
            "SELECT (extract(epoch FROM max(clock_timestamp() - coalesce(a.xact_start, p.prepared))) * 1000000)::int8 \
             FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
             LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' \
               AND x.virtualtransaction = l.virtualtransaction \
             LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid \
             WHERE l.relation = {}::regclass AND l.mode = 'RowExclusiveLock' AND l.granted",
            literal(&format!("{own}sync_change"))
        )
    }

    fn own(&self, own: &str) -> String {
        format!("SELECT * FROM {own}sync_own()")
    }

    fn version(&self, _: &str) -> String {
        // Changes when any transaction that writes begins or ends, here or in another database of the cluster.
        "SELECT pg_current_snapshot()::text".to_owned()
    }
}

/// Text out of bytes has a collation of its own, which the index of a column does not fit and which may not be mixed with
/// that of the column.
fn collated(text: &str, collation: &str) -> String {
    if collation.is_empty() { text.to_owned() } else { format!("({text} COLLATE {collation})") }
}

/// rule: durable before seen. Where commits are acknowledged before they are on the disk, those of this connection are
/// not; a setting that asks for more than that stays.
pub(crate) async fn durable(connection: &mut sqlx::PgConnection) -> sqlx::Result<()> {
    let on = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
    connection.execute(sqlx::raw_sql(on)).await.map(drop)
}

/// Adds the values of each column as one array.
fn bind_columns(statement: &mut Statement, rows: Rows<'_>) {
    for (place, (_, kind, cells)) in rows.by_column().into_iter().enumerate() {
        statement.push(if place == 0 { "" } else { ", " });
        statement.bind(&Postgres, Arg::Many(kind, cells));
    }
}
