//! The tables of the models and those of the library on PostgreSQL: made where absent, checked where there.

use super::triggers::{self, QUOTE};
use super::{Postgres, own};
use crate::names::{self, literal, quoted};
use crate::server::learning::learn;
use crate::server::link::{Arg, Cell, Failure, Kind, Link, Row};
use crate::server::tables::{CHANGE, Column, Table, Tables};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::value::{self, FieldType, Value};
use sync_runtime::version::ReplicaId;
use sync_runtime::{Error, ErrorKind, Models, Result};

/// What a store is prepared with.
pub(crate) struct Wish<'w> {
    pub(crate) location: &'w str,
    pub(crate) models: &'w Models,
    pub(crate) fresh: ReplicaId,
    pub(crate) adopt: bool,
}

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

/// Makes or checks everything that the models need, inside the transaction that is open on the connection.
pub(crate) async fn prepare(link: &mut dyn Link, schema: &str, wish: &Wish<'_>) -> Result<Tables> {
    let own = own_prefix(schema);
    let mut preparing = Preparing { link, location: wish.location, own: &own, schema };
    // Two processes that open one database at once prepare it one after the other.
    let lock = format!("SELECT pg_advisory_xact_lock(hashtextextended('sync ' || {}, 0))", literal(schema));
    preparing.fetch(&lock, vec![]).await?;
    preparing.own_tables(wish.fresh).await?;
    let mut tables = Tables::default();
    let mut taken = BTreeSet::new();
    for model in wish.models.iter() {
        names::check(model.schema)?;
        if !taken.insert(model.schema.table.to_lowercase()) {
            return Err(names::shared_table(model.schema));
        }
        tables.add(preparing.table(model.schema, wish.adopt).await?);
    }
    Ok(tables)
}

/// A column as the database describes it.
struct Found {
    name: String,
    place: i64,
    declared: String,
    /// The name of its type, or of the one that a domain is over.
    ty: String,
    required: bool,
    generated: bool,
    deterministic: bool,
}

struct Preparing<'p> {
    link: &'p mut dyn Link,
    location: &'p str,
    own: &'p str,
    schema: &'p str,
}

impl Preparing<'_> {
    fn failed(&self, failure: Failure, doing: &str) -> Error {
        let denied = matches!(failure, Failure::Denied(_));
        let mut error = failure.at(self.location);
        if denied {
            let role = "CURRENT_USER";
            error = error.context(format!(
                "the role that is connected lacks a right; an owner may run `GRANT CREATE, USAGE ON SCHEMA {} TO {role}` \
                 and `GRANT TRIGGER, SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO {role}` with that \
                 role's name",
                quoted(self.schema),
                quoted(self.schema)
            ));
        }
        error.context(doing.to_owned())
    }

    async fn fetch(&mut self, sql: &str, args: Vec<Arg>) -> Result<Vec<Row>> {
        match self.link.fetch(sql, args).await {
            Ok(rows) => Ok(rows),
            Err(failure) => Err(self.failed(failure, "preparing the store")),
        }
    }

    async fn script(&mut self, sql: &str, doing: &str) -> Result<()> {
        match self.link.script(sql).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.failed(failure, doing)),
        }
    }

    async fn execute(&mut self, sql: &str, args: Vec<Arg>) -> Result<u64> {
        match self.link.execute(sql, args).await {
            Ok(rows) => Ok(rows),
            Err(failure) => Err(self.failed(failure, "preparing the store")),
        }
    }

    /// What a name stands for: `r` a table, `v` a view and so on, or `None` for nothing.
    async fn kind_of(&mut self, table: &str) -> Result<Option<String>> {
        let select = "SELECT c.relkind::text FROM pg_class c WHERE c.oid = to_regclass($1)";
        let name = format!("{}{}", self.own, quoted(table));
        let found = self.fetch(select, vec![Arg::text(name)]).await?;
        Ok(match found.first().map(Vec::as_slice) {
            Some([Cell::Text(kind)]) => Some(kind.clone()),
            _ => None,
        })
    }

    async fn own_tables(&mut self, fresh: ReplicaId) -> Result<()> {
        let own = self.own;
        if self.kind_of("sync_state").await?.is_none() {
            self.script(&own::tables(own), "making the library's own tables").await?;
            let sql = format!(
                "WITH me AS (INSERT INTO {own}sync_replica(id) VALUES ($1) RETURNING n) \
                 INSERT INTO {own}sync_state(format, me) SELECT $2, n FROM me"
            );
            self.execute(&sql, vec![Arg::bytes(fresh.0.as_bytes().to_vec()), Arg::int(own::FORMAT)]).await?;
        }
        let found = self.fetch(&format!("SELECT format FROM {own}sync_state"), vec![]).await?;
        if let Some([Cell::Int(format)]) = found.first().map(Vec::as_slice)
            && *format > own::FORMAT
        {
            let message = format!(
                "`{}` has layout {format}, which a newer version of this program made; this one knows {}: update it",
                self.location,
                own::FORMAT
            );
            return Err(Error::new(ErrorKind::Incompatible, message));
        }
        let create = own::numbering(&quoted(self.schema), own);
        self.function("sync_number", &create).await
    }

    /// Makes a function, unless it is there just so.
    async fn function(&mut self, name: &str, create: &str) -> Result<()> {
        let body = create.split("$sync$").nth(1).unwrap_or_default().to_owned();
        let select = "SELECT p.prosrc FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace \
                      WHERE s.nspname = $1 AND p.proname = $2";
        let found = self.fetch(select, vec![Arg::text(self.schema), Arg::text(name)]).await?;
        if found.first().map(Vec::as_slice) == Some(&[Cell::Text(body)]) {
            return Ok(());
        }
        self.script(create, &format!("making the function `{name}`")).await
    }

    async fn table(&mut self, schema: &'static ModelSchema, adopt: bool) -> Result<Table> {
        let (number, known) = self.number(schema).await?;
        match self.kind_of(schema.table).await?.as_deref() {
            None => self.make(schema).await?,
            Some("r") if known || adopt => {}
            Some("r") => return Err(names::not_adopted(schema)),
            Some(kind) => {
                let kind = match kind {
                    "v" | "m" => "view",
                    "p" => "partitioned table",
                    "f" => "foreign table",
                    _ => "thing of another kind",
                };
                return Err(names::misfit(
                    schema,
                    format!("it is a {kind}; choose another name with `table`"),
                ));
            }
        }
        let added = if known { self.add_columns(schema).await? } else { Vec::new() };
        let table = self.inspect(schema, number).await?;
        self.base(&table).await?;
        // Before the triggers know the columns, so that nothing is tracked.
        if !added.is_empty() {
            let change = format!("{}sync_change", self.own);
            let learned = learn(self.link, &Postgres, &change, &table, &added).await;
            learned
                .map_err(|failure| self.failed(failure, "taking over what peers had sent of new fields"))?;
        }
        self.triggers(&table).await?;
        self.view(&table).await?;
        Ok(table)
    }

    /// The model's number, and whether the database knew the model before.
    async fn number(&mut self, schema: &'static ModelSchema) -> Result<(i64, bool)> {
        let select = format!("SELECT n, \"table\" FROM {}sync_model WHERE name = $1", self.own);
        let found = self.fetch(&select, vec![Arg::text(schema.name)]).await?;
        match found.first().map(Vec::as_slice) {
            Some([Cell::Int(number), Cell::Text(table)]) if table == schema.table => {
                return Ok((*number, true));
            }
            Some([_, Cell::Text(table)]) => return Err(names::moved_table(schema, table)),
            _ => {}
        }
        let insert =
            format!("INSERT INTO {}sync_model(name, \"table\") VALUES ($1, $2) RETURNING n", self.own);
        match self.link.fetch(&insert, vec![Arg::text(schema.name), Arg::text(schema.table)]).await {
            Ok(rows) => match rows.first().map(Vec::as_slice) {
                Some([Cell::Int(number)]) => Ok((*number, false)),
                _ => Err(Error::new(ErrorKind::Storage, "a model got no number")),
            },
            Err(Failure::Refused { .. }) => {
                Err(names::misfit(schema, "it holds the records of another model"))
            }
            Err(failure) => Err(self.failed(failure, "preparing the store")),
        }
    }

    async fn make(&mut self, schema: &'static ModelSchema) -> Result<()> {
        let columns: Vec<_> = schema
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| match index == schema.id {
                true => format!("{} {} PRIMARY KEY", quoted(field.name), declared(field.ty)),
                false => definition(field),
            })
            .collect();
        let create = format!("CREATE TABLE {}{}({})", self.own, quoted(schema.table), columns.join(", "));
        self.script(&create, &format!("making the table `{}`", schema.table)).await
    }

    /// Makes a column of each field that is new in the model; gives the places of those that travel.
    async fn add_columns(&mut self, schema: &'static ModelSchema) -> Result<Vec<usize>> {
        let found = self.columns(schema.table).await?;
        let name = format!("{}{}", self.own, quoted(schema.table));
        let mut added = Vec::new();
        for (index, field) in schema.fields.iter().enumerate() {
            if column_of(&found, field).is_some() {
                continue;
            }
            if !field.nullable && field.default.is_none() {
                let filled = self.fetch(&format!("SELECT EXISTS (SELECT 1 FROM {name})"), vec![]).await?;
                if filled.first().map(Vec::as_slice) == Some(&[Cell::Bool(true)]) {
                    return Err(names::required_is_new(schema, field));
                }
            }
            let add = format!("ALTER TABLE {name} ADD COLUMN {}", definition(field));
            self.script(&add, &format!("adding the column `{}` to `{}`", field.name, schema.table)).await?;
            if field.replicated() {
                added.push(index);
            }
        }
        Ok(added)
    }

    async fn columns(&mut self, table: &str) -> Result<Vec<Found>> {
        let select = "SELECT a.attname::text, a.attnum::int8, format_type(a.atttypid, a.atttypmod), \
             coalesce(b.typname, t.typname)::text, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', \
             a.attgenerated <> '', coalesce(l.collisdeterministic, TRUE) \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype \
             LEFT JOIN pg_collation l ON l.oid = a.attcollation \
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
        let name = format!("{}{}", self.own, quoted(table));
        let found = self.fetch(select, vec![Arg::text(name)]).await?;
        let column = |row: Row| match <[Cell; 7]>::try_from(row) {
            Ok(
                [
                    Cell::Text(name),
                    Cell::Int(place),
                    Cell::Text(declared),
                    Cell::Text(ty),
                    Cell::Bool(required),
                    Cell::Bool(generated),
                    Cell::Bool(deterministic),
                ],
            ) => Some(Found { name, place, declared, ty, required, generated, deterministic }),
            _ => None,
        };
        Ok(found.into_iter().filter_map(column).collect())
    }

    /// Looks at the table as it is, and names everything in it that does not fit.
    async fn inspect(&mut self, schema: &'static ModelSchema, number: i64) -> Result<Table> {
        let found = self.columns(schema.table).await?;
        let mut misfits = Vec::new();
        let mut columns = Vec::with_capacity(schema.fields.len());
        for field in schema.fields {
            let Some(column) = column_of(&found, field) else {
                misfits.push(format!("there is no column `{}`", field.name));
                continue;
            };
            match fitting(field.ty, &column.ty) {
                Ok((kind, lossy)) => columns.push(Column {
                    name: quoted(&column.name),
                    ty: field.ty,
                    kind,
                    generated: column.generated,
                    lossy: lossy
                        || column.generated
                        || column.declared.starts_with("time") && column.declared.contains('('),
                }),
                Err(expected) => misfits.push(format!(
                    "the column `{}` is declared `{}`, and a {} needs {expected}",
                    column.name, column.declared, field.ty
                )),
            }
        }
        for column in found.iter().filter(|column| column.required) {
            if !schema.fields.iter().any(|field| field.name.eq_ignore_ascii_case(&column.name)) {
                misfits.push(format!(
                    "the column `{}` is no field of the model, is required and has no default",
                    column.name
                ));
            }
        }
        let id = column_of(&found, schema.id_field());
        let name = format!("{}{}", self.own, quoted(schema.table));
        let keys = match id {
            Some(id) => self.id_keys(&name, id.place).await?,
            None => Vec::new(),
        };
        if let Some(id) = id {
            if keys.is_empty() {
                misfits.push(format!("the id `{}` is neither the primary key nor unique", id.name));
            }
            if !id.deterministic || id.ty == "citext" || id.ty == "bpchar" {
                misfits.push(format!("the id `{}` does not compare by bytes", id.name));
            }
        }
        if !misfits.is_empty() {
            return Err(names::misfit(schema, misfits.join("; ")));
        }
        let lossy = columns.iter().any(|column| column.lossy);
        Ok(Table {
            schema,
            number,
            verify: lossy || self.has_foreign_triggers(&name).await?,
            base: format!("{}{}", self.own, quoted(&format!("{}base_{number}", names::PREFIX))),
            name,
            columns,
            id_keys: keys,
        })
    }

    async fn id_keys(&mut self, table: &str, place: i64) -> Result<Vec<String>> {
        let select = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL \
             AND i.indnkeyatts = 1 AND i.indkey[0] = $2 ORDER BY i.indisprimary DESC";
        let found = self.fetch(select, vec![Arg::text(table), Arg::int(place)]).await?;
        let name = |mut row: Row| match row.pop() {
            Some(Cell::Text(name)) => Some(name),
            _ => None,
        };
        Ok(found.into_iter().filter_map(name).collect())
    }

    /// Whether somebody else's triggers run on writes to this table.
    async fn has_foreign_triggers(&mut self, table: &str) -> Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal \
                      AND NOT starts_with(tgname::text, $2))";
        let found = self.fetch(select, vec![Arg::text(table), Arg::text(names::PREFIX)]).await?;
        Ok(found.first().map(Vec::as_slice) == Some(&[Cell::Bool(true)]))
    }

    /// Makes the table of overwritten states.
    async fn base(&mut self, table: &Table) -> Result<()> {
        let name = format!("{}base_{}", names::PREFIX, table.number);
        let own = self.columns(table.schema.table).await?;
        let found = self.columns(&name).await?;
        let declared = |field: &FieldSchema| {
            column_of(&own, field).map_or("text", |column| column.declared.as_str()).to_owned()
        };
        if found.is_empty() {
            let columns: Vec<_> = table
                .travelling()
                .map(|(field, column)| format!("{} {}", column.name, declared(&table.schema.fields[field])))
                .collect();
            let changes = CHANGE.map(|(name, kind)| format!("sync_{name} {}", named(kind)));
            let id = &table.id_column().name;
            let index = |by: &str| QUOTE.name(&format!("{}index_{by}_{}", names::PREFIX, table.number));
            let create = format!(
                "CREATE TABLE {base}({}, {}, sync_until int8 NOT NULL, sync_open bool NOT NULL);
                 CREATE UNIQUE INDEX {} ON {base}({id}, sync_stamp, sync_writer, sync_position);
                 CREATE INDEX {} ON {base}(sync_position);
                 CREATE INDEX {} ON {base}(sync_until);",
                columns.join(", "),
                changes.join(", "),
                index("revision"),
                index("position"),
                index("until"),
                base = table.base,
            );
            return self.script(&create, &format!("making the table `{name}`")).await;
        }
        for (field, column) in table.travelling() {
            let schema = &table.schema.fields[field];
            if column_of(&found, schema).is_some() {
                continue;
            }
            let default = match schema.missing() {
                Some(value) => sql_literal(&value),
                None => "NULL".to_owned(),
            };
            let add = format!(
                "ALTER TABLE {} ADD COLUMN {} {} DEFAULT {default}",
                table.base,
                column.name,
                declared(schema)
            );
            self.script(&add, &format!("adding a column to `{name}`")).await?;
        }
        Ok(())
    }

    /// Makes the triggers, and again those that an earlier program made otherwise or that somebody took away.
    async fn triggers(&mut self, table: &Table) -> Result<()> {
        for trigger in triggers::all(table, self.own, &quoted(self.schema)) {
            self.function(&trigger.name, &trigger.function).await?;
            let select = "SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass($1) AND tgname = $2";
            let args = vec![Arg::text(table.name.as_str()), Arg::text(trigger.name.as_str())];
            if self.fetch(select, args).await?.is_empty() {
                let doing = format!("making the trigger `{}` on `{}`", trigger.name, table.schema.table);
                self.script(&trigger.create, &doing).await?;
            }
        }
        Ok(())
    }

    async fn view(&mut self, table: &Table) -> Result<()> {
        let name = names::change_view(table.schema);
        match self.kind_of(&name).await?.as_deref() {
            None | Some("v") => {}
            Some(_) => return Err(names::view_in_the_way(table.schema, "table", &name)),
        }
        let quoted_name = format!("{}{}", self.own, quoted(&name));
        let view = triggers::view(table, self.own, &quoted_name);
        self.script(&view, &format!("making the view `{name}`")).await
    }
}

/// The column of a field: by its name, or by its name in another case.
fn column_of<'f>(found: &'f [Found], field: &FieldSchema) -> Option<&'f Found> {
    let exact = found.iter().find(|column| column.name == field.name);
    exact.or_else(|| found.iter().find(|column| column.name.eq_ignore_ascii_case(field.name)))
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

fn definition(field: &FieldSchema) -> String {
    let mut definition = format!("{} {}", quoted(field.name), declared(field.ty));
    if !field.nullable {
        definition.push_str(" NOT NULL");
    }
    if let Some(default) = field.default {
        definition.push_str(&format!(" DEFAULT {}", sql_literal(&default())));
    }
    definition
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
