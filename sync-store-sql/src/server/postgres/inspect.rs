//! What PostgreSQL says otherwise when tables are made and looked at.

use super::triggers;
use super::{Postgres, own};
use crate::names::{self, LengthIn, literal, quoted};
use crate::references::Reference;
use crate::server::catalog::{Catalog, Found, Session, Thing, texts};
use crate::server::link::{Arg, Cell, Kind, Link, Row};
use crate::server::parents::reference;
use crate::server::statement::Dialect;
use crate::server::tables::Table;
use crate::server::unadopt::Held;
use jiff::{SignedDuration, Timestamp};
use sync_runtime::schema::ModelSchema;
use sync_runtime::value::{self, FieldType, Value};
use sync_runtime::{Error, ErrorKind, Result};

/// The schema that a connection works in.
///
/// # Errors
/// [`ErrorKind::Usage`] where its search path names none that is there.
pub(crate) async fn schema(link: &mut dyn Link, location: &str) -> Result<String> {
    let found =
        link.fetch("SELECT current_schema()::text, current_setting('server_version_num')::int4", vec![]);
    let found = found.await.map_err(|failure| failure.at(location))?;
    match found.first().map(Vec::as_slice) {
        Some([_, Cell::Int(version)]) if *version < 130_000 => {
            let message =
                format!("`{location}` is PostgreSQL {}; 13 is the oldest that can be used", version / 10_000);
            Err(Error::new(ErrorKind::Incompatible, message))
        }
        Some([Cell::Text(schema), _]) => Ok(schema.clone()),
        _ => {
            let message = format!("the search path of `{location}` names no schema that is there; set one");
            Err(Error::new(ErrorKind::Usage, message))
        }
    }
}

/// What stands before the names of the library's own things.
pub(crate) fn own_prefix(schema: &str) -> String {
    format!("{}.", quoted(schema))
}

/// What the catalogue of a schema says.
#[derive(Debug)]
pub(crate) struct Schema {
    name: String,
    own: String,
}

impl Schema {
    pub(crate) fn new(name: String) -> Self {
        let own = own_prefix(&name);
        Schema { name, own }
    }

    /// What lets two processes that open one database at once prepare it one after the other.
    pub(crate) fn lock(&self) -> String {
        format!("SELECT pg_advisory_xact_lock(hashtextextended('sync ' || {}, 0))", literal(&self.name))
    }

    /// Makes a function, unless it is there just so.
    async fn function(&self, session: &mut Session<'_>, name: &str, create: &str) -> Result<()> {
        let body = create.split("$sync$").nth(1).unwrap_or_default().to_owned();
        let select = "SELECT p.prosrc FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace \
                      WHERE s.nspname = $1 AND p.proname = $2";
        let found = session.fetch(select, vec![Arg::text(self.name.as_str()), Arg::text(name)]).await?;
        if found.first().map(Vec::as_slice) == Some(&[Cell::Text(body)]) {
            return Ok(());
        }
        session.script(create, &format!("making the function `{name}`")).await
    }

    fn table(&self, name: &str) -> String {
        format!("{}{}", self.own, quoted(name))
    }
}

#[sync_runtime::async_trait]
impl Catalog for Schema {
    fn dialect(&self) -> &'static dyn Dialect {
        &Postgres
    }

    fn own(&self) -> &str {
        &self.own
    }

    fn rights(&self) -> String {
        let (role, schema) = ("CURRENT_USER", quoted(&self.name));
        format!(
            "the role that is connected lacks a right; an owner may run `GRANT CREATE, USAGE ON SCHEMA {schema} TO {role}` \
             and `GRANT TRIGGER, SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}` with that \
             role's name"
        )
    }

    fn transactional(&self) -> bool {
        true
    }

    fn own_tables(&self, partitions: Option<u16>) -> String {
        own::tables(&self.own, partitions)
    }

    async fn own_functions(&self, session: &mut Session<'_>) -> Result<()> {
        self.function(session, "sync_own", &own::knowing(&self.own)).await?;
        self.function(session, "sync_number", &own::numbering(&quoted(&self.name), &self.own)).await
    }

    fn named_now(&self) -> Option<String> {
        let own = &self.own;
        Some(format!(
            "SELECT nextval('{}sync_written') FROM {own}sync_state WHERE NOT (SELECT is_called FROM {own}sync_written)",
            own.replace('\'', "''")
        ))
    }

    async fn kind_of(&self, session: &mut Session<'_>, name: &str) -> Result<Option<Thing>> {
        let select = "SELECT CASE WHEN EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) \
             AND c.relkind = 'r' THEN 'i' ELSE c.relkind::text END FROM pg_class c WHERE c.oid = to_regclass($1)";
        let found = texts(session.fetch(select, vec![Arg::text(self.table(name))]).await?);
        Ok(found.first().map(|kind| match kind.as_str() {
            "r" => Thing::Table,
            "v" => Thing::View,
            "m" => Thing::Other("materialized view"),
            "p" => Thing::Other("partitioned table"),
            // A statement on one table of a family fires no statement triggers of the others.
            "i" => Thing::Other("partition, or a table that inherits or is inherited from"),
            "f" => Thing::Other("foreign table"),
            _ => Thing::Other("thing of another kind"),
        }))
    }

    async fn columns(&self, session: &mut Session<'_>, table: &str) -> Result<Vec<Found>> {
        let select = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
             coalesce(b.typname, t.typname)::text, NOT a.attnotnull, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', \
             a.attgenerated <> '', coalesce(l.collisdeterministic, TRUE), \
             coalesce(quote_ident(s.nspname) || '.' || quote_ident(l.collname), '') \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype \
             LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace s ON s.oid = l.collnamespace \
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        let found = session.fetch(select, vec![Arg::text(self.table(table))]).await?;
        let column = |row: Row| match <[Cell; 8]>::try_from(row) {
            Ok(
                [
                    Cell::Text(name),
                    Cell::Text(declared),
                    Cell::Text(ty),
                    Cell::Bool(nullable),
                    Cell::Bool(required),
                    Cell::Bool(generated),
                    Cell::Bool(deterministic),
                    Cell::Text(collation),
                ],
            ) => Some(Found {
                name,
                nullable,
                required,
                generated,
                by_bytes: deterministic && ty != "citext" && ty != "bpchar",
                coarse: declared.starts_with("time") && declared.contains('('),
                declared,
                ty,
                collation,
            }),
            _ => None,
        };
        Ok(found.into_iter().filter_map(column).collect())
    }

    async fn unique_keys(
        &self,
        session: &mut Session<'_>,
        table: &str,
        columns: &[&Found],
    ) -> Result<Vec<String>> {
        let select = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
             AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\") FROM pg_attribute a \
                  WHERE a.attrelid = i.indrelid AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])) \
               = (SELECT array_agg(n ORDER BY n COLLATE \"C\") FROM unnest($2::text[]) n) \
             ORDER BY i.indisprimary DESC";
        let names = columns.iter().map(|column| Cell::Text(column.name.clone())).collect();
        let args = vec![Arg::text(self.table(table)), Arg::Many(Kind::Text, names)];
        Ok(texts(session.fetch(select, args).await?))
    }

    async fn has_foreign_triggers(&self, session: &mut Session<'_>, table: &str) -> Result<bool> {
        let select = "SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal \
                      AND NOT starts_with(tgname::text, $2) LIMIT 1";
        let args = vec![Arg::text(self.table(table)), Arg::text(names::PREFIX)];
        Ok(!session.fetch(select, args).await?.is_empty())
    }

    async fn misfits(&self, _: &mut Session<'_>, _: &ModelSchema) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn fitting(&self, ty: FieldType, column: &Found) -> Result<(Kind, bool), &'static str> {
        fitting(ty, &column.ty)
    }

    fn by_bytes(&self) -> &'static str {
        ""
    }

    fn declared(&self, ty: FieldType, _: Option<usize>) -> &'static str {
        declared(ty)
    }

    fn named(&self, kind: Kind) -> &'static str {
        named(kind)
    }

    fn literal(&self, _: FieldType, value: &Value) -> String {
        sql_literal(value)
    }

    fn longest_name(&self) -> (usize, LengthIn) {
        (63, LengthIn::Bytes)
    }

    fn make_nullable(&self, table: &str, column: &Found) -> String {
        format!("ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL", quoted(&column.name))
    }

    fn table_options(&self) -> &'static str {
        ""
    }

    fn base_table(&self, table: &Table, columns: &str) -> String {
        let id = table.key_names("");
        let index = |by: &str| quoted(&format!("{}index_{by}_{}", names::PREFIX, table.number));
        format!(
            "CREATE TABLE {base}({columns}, sync_until int8 NOT NULL, sync_open bool NOT NULL);
             CREATE UNIQUE INDEX {} ON {base}({id}, sync_stamp, sync_writer, sync_position);
             CREATE INDEX {} ON {base}(sync_position);
             CREATE INDEX {} ON {base}(sync_until);",
            index("revision"),
            index("position"),
            index("until"),
            base = table.base,
        )
    }

    async fn triggers(&self, session: &mut Session<'_>, table: &Table) -> Result<()> {
        for trigger in triggers::all(table, &self.own, &quoted(&self.name)) {
            self.function(session, &trigger.name, &trigger.function).await?;
            let select = "SELECT tgenabled IN ('O', 'A') FROM pg_trigger WHERE tgrelid = to_regclass($1) AND tgname = $2";
            let args = vec![Arg::text(table.name.as_str()), Arg::text(trigger.name.as_str())];
            let found = session.fetch(select, args).await?;
            let doing = format!("making the trigger `{}` on `{}`", trigger.name, table.schema.table);
            match found.first().map(Vec::as_slice) {
                None => session.script(&trigger.create, &doing).await?,
                Some([Cell::Bool(true)]) => {}
                // Somebody disabled it, as a restore does that was cut off.
                Some(_) => {
                    let enable =
                        format!("ALTER TABLE {} ENABLE TRIGGER {}", table.name, quoted(&trigger.name));
                    session.script(&enable, &doing).await?;
                }
            }
        }
        Ok(())
    }

    async fn is_own_view(&self, session: &mut Session<'_>, name: &str) -> Result<bool> {
        let select = "SELECT strpos(pg_get_viewdef(to_regclass($1)), 'sync_change') > 0";
        let found = session.fetch(select, vec![Arg::text(self.table(name))]).await?;
        Ok(found.first().map(Vec::as_slice) == Some(&[Cell::Bool(true)]))
    }

    async fn references(&self, session: &mut Session<'_>) -> Result<Vec<Reference>> {
        let select = "SELECT c.relname::text, a.attname::text, p.relname::text, t.attname::text FROM pg_constraint f \
             JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class p ON p.oid = f.confrelid \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = f.conkey[1] \
             JOIN pg_attribute t ON t.attrelid = p.oid AND t.attnum = f.confkey[1] \
             WHERE f.contype = 'f' AND cardinality(f.conkey) = 1 AND c.relnamespace = p.relnamespace \
             AND c.relnamespace = $1::text::regnamespace ORDER BY 1, 2, 3";
        let found = session.fetch(select, vec![Arg::text(quoted(&self.name))]).await?;
        Ok(found.into_iter().filter_map(reference).collect())
    }

    async fn is_indexed(&self, session: &mut Session<'_>, table: &str, column: &str) -> Result<bool> {
        let select = "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
             WHERE i.indrelid = to_regclass($1) AND i.indpred IS NULL AND lower(a.attname::text) = lower($2) LIMIT 1";
        let args = vec![Arg::text(self.table(table)), Arg::text(column)];
        Ok(!session.fetch(select, args).await?.is_empty())
    }

    fn parent_index(&self, name: &str, table: &Table, column: &Found) -> String {
        format!("CREATE INDEX {} ON {}({})", quoted(name), table.name, quoted(&column.name))
    }

    async fn remains(&self, session: &mut Session<'_>, held: &[Held]) -> Result<Vec<String>> {
        let mut statements = Vec::new();
        // The triggers go with their functions.
        let select = "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = $1::text::regnamespace \
             AND starts_with(p.proname::text, $2) ORDER BY 1";
        let args = vec![Arg::text(quoted(&self.name)), Arg::text(names::PREFIX)];
        for function in texts(session.fetch(select, args).await?) {
            statements.push(format!("DROP FUNCTION {function} CASCADE"));
        }
        for Held { number, table } in held {
            let view = self.table(&names::change_view(table));
            if self.is_own_view(session, &names::change_view(table)).await? {
                statements.push(format!("DROP VIEW {view}"));
            }
            statements.push(format!("DROP TABLE IF EXISTS {}sync_base_{number}", self.own));
            let select = "SELECT c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                 WHERE i.indrelid = to_regclass($1) AND starts_with(c.relname::text, $2)";
            let args = vec![Arg::text(self.table(table)), Arg::text(format!("{}parent_", names::PREFIX))];
            for index in texts(session.fetch(select, args).await?) {
                statements.push(format!("DROP INDEX {index}"));
            }
        }
        for table in ["adding", "change", "note", "newest", "replica", "state", "model"] {
            statements.push(format!("DROP TABLE IF EXISTS {}sync_{table}", self.own));
        }
        statements.push(format!("DROP SEQUENCE IF EXISTS {}sync_written", self.own));
        Ok(statements)
    }

    fn end(&self, well: bool) -> String {
        if well { "COMMIT" } else { "ROLLBACK" }.to_owned()
    }

    fn view(&self, table: &Table, name: &str) -> String {
        triggers::view(table, &self.own, name)
    }
}

/// The kind of a column of this type for a field, and whether it may change values; or what it should be.
fn fitting(ty: FieldType, column: &str) -> Result<(Kind, bool), &'static str> {
    match ty {
        FieldType::Bool => match column {
            "bool" => Ok((Kind::Bool, false)),
            _ => Err("boolean"),
        },
        FieldType::Int { .. } => match column {
            "int2" => Ok((Kind::Int(2), false)),
            "int4" => Ok((Kind::Int(4), false)),
            "int8" => Ok((Kind::Int(8), false)),
            _ => Err("bigint, integer or smallint"),
        },
        FieldType::Float | FieldType::Float32 => match column {
            "float8" => Ok((Kind::Float(8), false)),
            "float4" => Ok((Kind::Float(4), ty == FieldType::Float)),
            _ => Err("double precision or real"),
        },
        FieldType::Text => match column {
            "text" | "varchar" => Ok((Kind::Text, false)),
            "bpchar" => Ok((Kind::Text, true)),
            _ => Err("text or varchar"),
        },
        FieldType::Bytes => match column {
            "bytea" => Ok((Kind::Bytes, false)),
            _ => Err("bytea"),
        },
        FieldType::Uuid => match column {
            "uuid" => Ok((Kind::Uuid, false)),
            "bytea" => Ok((Kind::Bytes, false)),
            "text" | "varchar" => Ok((Kind::Text, false)),
            _ => Err("uuid, text or bytea"),
        },
        FieldType::Timestamp => match column {
            "timestamptz" => Ok((Kind::Instant, false)),
            "timestamp" => Ok((Kind::Civil, false)),
            "int8" => Ok((Kind::Int(8), false)),
            _ => Err("timestamptz, timestamp or bigint"),
        },
        FieldType::Date => match column {
            "date" => Ok((Kind::Date, false)),
            "text" => Ok((Kind::Text, false)),
            _ => Err("date"),
        },
        FieldType::Decimal => match column {
            "numeric" => Ok((Kind::Numeric, true)),
            "text" | "varchar" => Ok((Kind::Text, false)),
            _ => Err("numeric or text"),
        },
        _ => match column {
            "json" => Ok((Kind::Json, false)),
            "jsonb" => Ok((Kind::JsonParsed, true)),
            "text" => Ok((Kind::Text, false)),
            _ => Err("json, jsonb or text"),
        },
    }
}

/// The type that a column is declared with, for a field of this type.
fn declared(ty: FieldType) -> &'static str {
    match ty {
        FieldType::Bool => "boolean",
        FieldType::Int { .. } => "bigint",
        FieldType::Float => "double precision",
        FieldType::Float32 => "real",
        FieldType::Bytes => "bytea",
        FieldType::Uuid => "uuid",
        FieldType::Timestamp => "timestamptz",
        FieldType::Date => "date",
        FieldType::Json => "json",
        // A numeric forgets a sign before zero and zeros before the first digit.
        _ => "text COLLATE \"C\"",
    }
}

/// The type of a column of ours.
fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Int(2) => "int2",
        Kind::Int(4) => "int4",
        Kind::Int(_) => "int8",
        Kind::Bytes => "bytea",
        Kind::JsonParsed => "jsonb",
        _ => "text",
    }
}

/// A value as an SQL literal, for a column's default; its type is the column's.
fn sql_literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Int(n) => format!("({n})"),
        Value::Float(x) => format!("'{x:?}'"),
        Value::Text(text) | Value::Decimal(text) => literal(text),
        Value::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'\\x{digits}'")
        }
        Value::Uuid(id) => format!("'{id}'"),
        Value::Timestamp(micros) => {
            let time = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_micros(*micros));
            time.map_or("NULL".to_owned(), |time| format!("'{time}'"))
        }
        Value::Date(day) => value::date_text(*day).map_or("NULL".to_owned(), |day| format!("'{day}'")),
        Value::Json(json) => literal(&json.to_string()),
    }
}
