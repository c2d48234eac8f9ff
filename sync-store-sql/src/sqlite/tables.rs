//! The tables of the models and those of the library: made where absent, checked where there.

use super::codec::{self, Encoding};
use super::connection::{Conn, Settings};
use super::parents;
use super::statements::Statements;
use super::triggers;
use super::unique::{self, UniqueKey};
use crate::names::{self, quoted};
use rusqlite::{Connection, OptionalExtension};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use sync_runtime::schema::{FieldSchema, ForeignKey, ModelSchema};
use sync_runtime::version::ReplicaId;
use sync_runtime::{Error, ErrorKind, Models, Result};

/// The layout of the library's own tables that this program knows.
const FORMAT: i64 = 1;

/// `position` is the row id, so the next one is the largest plus one; the newest row is never removed, only moved
/// to the end, so no position is used twice.
///
/// `sync_state.stamp`, `grp`, `put_model` and `put_id` are what a writing library hands to the triggers; they are
/// null outside its transaction.
const OWN_TABLES: &str = "
CREATE TABLE sync_replica(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE sync_model(n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, \"table\" TEXT NOT NULL UNIQUE);
CREATE TABLE sync_state(one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, me INTEGER,
  keep_through INTEGER, stamp INTEGER, grp INTEGER, put_model INTEGER, put_id);
CREATE TABLE sync_change(position INTEGER PRIMARY KEY, model INTEGER NOT NULL, id NOT NULL, kind INTEGER NOT NULL,
  stamp INTEGER NOT NULL, writer INTEGER NOT NULL, others TEXT, prev_stamp INTEGER, prev_writer INTEGER,
  grp INTEGER, origin INTEGER, merged TEXT, unknown BLOB, stamps TEXT);
CREATE UNIQUE INDEX sync_change_record ON sync_change(model, id);
CREATE TABLE sync_note(room TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (room, key))
  WITHOUT ROWID;
";

/// A column of a model's table.
#[derive(Debug)]
pub(crate) struct Column {
    /// Quoted.
    pub(crate) name: String,
    pub(crate) encoding: Encoding,
    /// Whether the database fills it by itself.
    pub(crate) generated: bool,
}

/// A model's table as it is in the database.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) schema: &'static ModelSchema,
    /// The model's number in `sync_change`.
    pub(crate) number: i64,
    /// One for each field of the schema, in its order.
    pub(crate) columns: Vec<Column>,
    pub(crate) unique: Vec<UniqueKey>,
    /// Whether the row id is the id, or a unique key besides it.
    pub(crate) rowid_is_key: bool,
    /// Whether a write to this table touches no other record.
    pub(crate) simple: bool,
    /// Whether the database may store other values than it was given.
    pub(crate) verify: bool,
    pub(crate) sql: Statements,
}

impl Table {
    pub(crate) fn name(&self) -> String {
        quoted(self.schema.table)
    }

    /// The columns that travel.
    pub(crate) fn travelling_columns(&self) -> Vec<&str> {
        self.schema.replicated().map(|(index, _)| self.columns[index].name.as_str()).collect()
    }
}

/// The tables of all models, as they were when the database's schema had this version.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    by_model: HashMap<&'static str, Arc<Table>>,
    by_number: HashMap<i64, Arc<Table>>,
    /// Those between the models, as they were when the store was prepared.
    pub(crate) foreign_keys: Vec<ForeignKey>,
    pub(crate) schema_version: i64,
    /// Whether no write to any of them has an effect on anything but its own record.
    pub(crate) simple: bool,
    /// The first replica id that the database ever had, which tells that its tracking is still the same one.
    first: Option<Vec<u8>>,
}

impl Tables {
    pub(crate) fn of(&self, schema: &ModelSchema) -> Result<&Arc<Table>> {
        self.by_model.get(schema.name).ok_or_else(|| {
            let mut known: Vec<_> = self.by_model.keys().copied().collect();
            known.sort_unstable();
            names::not_prepared(schema, &known)
        })
    }

    pub(crate) fn numbered(&self, number: i64) -> Option<&Arc<Table>> {
        self.by_number.get(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_number.values()
    }

    fn add(&mut self, table: Table) {
        let table = Arc::new(table);
        self.simple &= table.simple;
        self.by_number.insert(table.number, table.clone());
        self.by_model.insert(table.schema.name, table);
    }
}

/// Makes or checks everything that the models need, inside the transaction that is open on the connection.
pub(crate) fn prepare(
    conn: &mut Conn,
    settings: &Settings,
    models: &Models,
    fresh: ReplicaId,
    adopt: bool,
) -> Result<Tables> {
    let failed = |error| settings.failed(error);
    own_tables(&conn.sql, settings)?;
    let me: Option<i64> =
        conn.sql.query_row("SELECT me FROM sync_state", [], |row| row.get(0)).map_err(failed)?;
    if me.is_none() {
        let number = conn.replicas.number(&conn.sql, fresh).map_err(failed)?;
        conn.sql.execute("UPDATE sync_state SET me = ?1", [number]).map_err(failed)?;
    }
    let mut tables = Tables { simple: true, ..Tables::default() };
    let mut taken = BTreeSet::new();
    for model in models.iter() {
        names::check(model.schema)?;
        if !taken.insert(model.schema.table.to_ascii_lowercase()) {
            return Err(names::shared_table(model.schema));
        }
        let (schema, adopt) = (model.schema, adopt || model.schema.adopt);
        tables.add(Preparing { sql: &conn.sql, settings, schema, adopt }.table()?);
    }
    tables.foreign_keys = parents::foreign_keys(&conn.sql, models).map_err(failed)?;
    for key in &tables.foreign_keys {
        let child = models.get(key.child)?.schema;
        parents::index(&conn.sql, child, key.field).map_err(failed)?;
    }
    tables.schema_version = schema_version(&conn.sql).map_err(failed)?;
    tables.first = first_replica(&conn.sql).map_err(failed)?;
    Ok(tables)
}

/// The tables looked at again, after some program changed the database's schema, inside a writing transaction.
pub(crate) fn refreshed(sql: &Connection, settings: &Settings, tables: &Tables) -> Result<Tables> {
    let first = first_replica(sql).map_err(|error| settings.failed(error))?;
    if first != tables.first {
        return Err(removed(&settings.file));
    }
    let mut again = Tables { simple: true, first, ..Tables::default() };
    for table in tables.iter() {
        let preparing = Preparing { sql, settings, schema: table.schema, adopt: true };
        let table = preparing.inspect(table.number)?;
        // A new unique key is something else that a row can be replaced by.
        preparing.triggers(&table)?;
        again.add(table);
    }
    again.schema_version = schema_version(sql).map_err(|error| settings.failed(error))?;
    Ok(again)
}

/// The first replica id of the database, or `None` where nothing is tracked.
fn first_replica(sql: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    match kind_of(sql, "sync_replica")? {
        Some(_) => {
            sql.query_row("SELECT id FROM sync_replica ORDER BY n LIMIT 1", [], |row| row.get(0)).optional()
        }
        None => Ok(None),
    }
}

/// The error for a store whose tracking was taken away.
pub(super) fn removed(file: &str) -> Error {
    let message = format!("the tracking was removed from `{file}` while this store was open; open it again");
    Error::new(ErrorKind::Closed, message)
}

pub(crate) fn schema_version(sql: &Connection) -> rusqlite::Result<i64> {
    sql.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))
}

fn own_tables(sql: &Connection, settings: &Settings) -> Result<()> {
    let failed = |error| settings.failed(error);
    if kind_of(sql, "sync_state").map_err(failed)?.is_none() {
        sql.execute_batch(OWN_TABLES).map_err(failed)?;
        sql.execute("INSERT INTO sync_state(one, format) VALUES (1, ?1)", [FORMAT]).map_err(failed)?;
        return Ok(());
    }
    let format: i64 = sql.query_row("SELECT format FROM sync_state", [], |row| row.get(0)).map_err(failed)?;
    if format > FORMAT {
        let message = format!(
            "`{}` has layout {format}, which a newer version of this program made; this one knows {FORMAT}: update it",
            settings.file
        );
        return Err(Error::new(ErrorKind::Incompatible, message));
    }
    Ok(())
}

/// `table`, `view` or `index`, or `None` if nothing has this name.
fn kind_of(sql: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    sql.query_row(
        "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type <> 'trigger'",
        [name],
        |row| row.get(0),
    )
    .optional()
}

/// The type of a column in a `STRICT` table that holds what it is given.
const ANY: &str = "ANY";

/// Whether the table was made with `STRICT`.
fn is_strict(sql: &Connection, table: &str) -> rusqlite::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM pragma_table_list(?1) WHERE schema = 'main' AND strict)";
    sql.query_row(select, [table], |row| row.get(0))
}

/// What a view of changes begins to read, by which it is known to be one.
const CHANGES: &str = "FROM sync_change c JOIN sync_replica w";

/// Whether there is a view of this name that shows changes.
pub(super) fn is_our_view(sql: &Connection, name: &str) -> rusqlite::Result<bool> {
    sql.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = ?1 COLLATE NOCASE
         AND instr(sql, ?2) > 0)",
        [name, CHANGES],
        |row| row.get(0),
    )
}

/// A column as the database describes it.
struct Found {
    name: String,
    declared: String,
    required: bool,
    generated: bool,
}

/// One model's part of [`prepare`].
struct Preparing<'c> {
    sql: &'c Connection,
    settings: &'c Settings,
    schema: &'static ModelSchema,
    adopt: bool,
}

impl Preparing<'_> {
    fn failed(&self, error: rusqlite::Error) -> Error {
        self.settings.failed(error).context(format!("preparing the table `{}`", self.schema.table))
    }

    fn refused(&self, why: impl std::fmt::Display) -> Error {
        names::misfit(self.schema, why)
    }

    fn table(&self) -> Result<Table> {
        let (number, known) = self.number()?;
        match kind_of(self.sql, self.schema.table).map_err(|error| self.failed(error))?.as_deref() {
            None => self.make()?,
            Some("table") if known || self.adopt => {}
            Some("table") => {
                return Err(names::not_adopted(self.schema));
            }
            Some(other) => {
                return Err(self.refused(format!("it is a {other}; choose another name with `table`")));
            }
        }
        let added = if known { self.add_columns()? } else { Vec::new() };
        let table = self.inspect(number)?;
        self.base(&table)?;
        for (place, _) in self.schema.parents() {
            parents::index(self.sql, self.schema, place).map_err(|error| self.failed(error))?;
        }
        // Before the triggers know the columns, so that nothing is tracked.
        if !added.is_empty() {
            super::learning::learn(self.sql, &table, &added).map_err(|error| self.failed(error))?;
        }
        self.triggers(&table)?;
        self.view(&table)?;
        // The triggers were not all there when it was inspected.
        self.inspect(number)
    }

    /// The model's number, and whether the database knew the model before.
    fn number(&self) -> Result<(i64, bool)> {
        let known: Option<(i64, String)> = self
            .sql
            .query_row("SELECT n, \"table\" FROM sync_model WHERE name = ?1", [self.schema.name], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(|error| self.failed(error))?;
        match known {
            Some((number, table)) if table.eq_ignore_ascii_case(self.schema.table) => Ok((number, true)),
            Some((_, table)) => Err(names::moved_table(self.schema, &table)),
            None => {
                let insert = "INSERT INTO sync_model(name, \"table\") VALUES (?1, ?2)";
                match self.sql.execute(insert, [self.schema.name, self.schema.table]) {
                    Ok(_) => Ok((self.sql.last_insert_rowid(), false)),
                    Err(error) if super::error::refusal(&error).is_some() => {
                        Err(self.refused("it holds the records of another model"))
                    }
                    Err(error) => Err(self.failed(error)),
                }
            }
        }
    }

    fn make(&self) -> Result<()> {
        let columns: Vec<_> = self
            .schema
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| match self.schema.is_key(index) {
                true => self.id_definition(field),
                false => self.definition(field, false),
            })
            .chain(self.schema.has_composite_id().then(|| {
                let names = self.schema.key().map(|place| quoted(self.schema.fields[place].name));
                format!("PRIMARY KEY ({})", names.collect::<Vec<_>>().join(", "))
            }))
            .collect();
        let create = format!("CREATE TABLE {}({})", quoted(self.schema.table), columns.join(", "));
        self.sql.execute_batch(&create).map_err(|error| self.failed(error))
    }

    fn id_definition(&self, field: &FieldSchema) -> String {
        let name = quoted(field.name);
        let declared = codec::declared(field.ty);
        // Other programs would otherwise write a UUID as text, and one id would have two forms.
        let check = match field.ty {
            sync_runtime::FieldType::Uuid => {
                format!(" CHECK (typeof({name}) = 'blob' AND length({name}) = 16)")
            }
            _ => String::new(),
        };
        let key = if self.schema.has_composite_id() { "" } else { " PRIMARY KEY" };
        format!("{name} {declared}{key} NOT NULL{check}")
    }

    /// `strict` is the table's: it has to have a type for every column.
    fn definition(&self, field: &FieldSchema, strict: bool) -> String {
        let declared = match codec::declared(field.ty) {
            "" if strict => ANY,
            declared => declared,
        };
        let mut definition = format!("{} {declared}", quoted(field.name));
        if !field.nullable {
            definition.push_str(" NOT NULL");
        }
        if let (Some(default), Ok(encoding)) =
            (field.default, Encoding::new(field.ty, codec::declared(field.ty)))
        {
            let value = default();
            definition.push_str(&format!(" DEFAULT {}", codec::literal(&encoding.encode(&value))));
        }
        definition
    }

    /// Makes a column of each field that is new in the model; gives the places of those that travel.
    fn add_columns(&self) -> Result<Vec<usize>> {
        let found = self.columns(self.schema.table)?;
        let strict = is_strict(self.sql, self.schema.table).map_err(|error| self.failed(error))?;
        let name = quoted(self.schema.table);
        let mut added = Vec::new();
        for (index, field) in self.schema.fields.iter().enumerate() {
            if found.iter().any(|column| column.name.eq_ignore_ascii_case(field.name)) {
                continue;
            }
            if !field.nullable && field.default.is_none() {
                let count = format!("SELECT EXISTS (SELECT 1 FROM {name})");
                let filled: bool =
                    self.sql.query_row(&count, [], |row| row.get(0)).map_err(|error| self.failed(error))?;
                if filled {
                    return Err(names::required_is_new(self.schema, field));
                }
            }
            let add = format!("ALTER TABLE {name} ADD COLUMN {}", self.definition(field, strict));
            self.sql.execute_batch(&add).map_err(|error| self.failed(error))?;
            if field.replicated() {
                added.push(index);
            }
        }
        Ok(added)
    }

    fn columns(&self, table: &str) -> Result<Vec<Found>> {
        let select = "SELECT name, type, \"notnull\", dflt_value IS NULL, hidden FROM pragma_table_xinfo(?1)";
        let found = || -> rusqlite::Result<Vec<Found>> {
            let strict = is_strict(self.sql, table)?;
            let mut select = self.sql.prepare(select)?;
            let rows = select.query_map([table], |row| {
                let (not_null, no_default, hidden): (bool, bool, i64) =
                    (row.get(2)?, row.get(3)?, row.get(4)?);
                let declared: String = row.get(1)?;
                Ok(Found {
                    name: row.get(0)?,
                    // There it means what no type means elsewhere, and elsewhere it is a number.
                    declared: if strict && declared.eq_ignore_ascii_case(ANY) {
                        String::new()
                    } else {
                        declared
                    },
                    required: not_null && no_default && hidden == 0,
                    generated: hidden > 1,
                })
            })?;
            rows.collect()
        };
        found().map_err(|error| self.failed(error))
    }

    /// Looks at the table as it is, and names everything in it that does not fit.
    fn inspect(&self, number: i64) -> Result<Table> {
        let found = self.columns(self.schema.table)?;
        let mut misfits = Vec::new();
        let mut columns = Vec::with_capacity(self.schema.fields.len());
        for field in self.schema.fields {
            let Some(column) = found.iter().find(|column| column.name.eq_ignore_ascii_case(field.name))
            else {
                misfits.push(format!("there is no column `{}`", field.name));
                continue;
            };
            match Encoding::new(field.ty, &column.declared) {
                Ok(encoding) => {
                    columns.push(Column { name: quoted(&column.name), encoding, generated: column.generated })
                }
                Err(expected) => misfits.push(format!(
                    "the column `{}` is declared `{}`, and a {} needs {expected}",
                    column.name, column.declared, field.ty
                )),
            }
        }
        for column in found.iter().filter(|column| column.required) {
            if self.schema.position(&column.name).is_none()
                && !self.schema.fields.iter().any(|field| field.name.eq_ignore_ascii_case(&column.name))
            {
                misfits.push(format!(
                    "the column `{}` is no field of the model, is required and has no default",
                    column.name
                ));
            }
        }
        let unique = unique::keys(self.sql, self.schema, &mut misfits).map_err(|error| self.failed(error))?;
        if !misfits.is_empty() {
            return Err(self.refused(misfits.join("; ")));
        }
        let foreign = self.has_foreign_triggers()?;
        let lossy = columns.iter().any(|column| column.generated || column.encoding.is_lossy());
        let mut table = Table {
            schema: self.schema,
            number,
            simple: !foreign && !self.is_parent()?,
            verify: foreign || lossy,
            columns,
            unique: unique.keys,
            rowid_is_key: unique.rowid,
            sql: Statements::default(),
        };
        table.write_statements();
        Ok(table)
    }

    /// Whether somebody else's triggers run on writes to this table.
    fn has_foreign_triggers(&self) -> Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' \
                      AND tbl_name = ?1 COLLATE NOCASE AND substr(name, 1, 5) <> ?2)";
        self.sql
            .query_row(select, [self.schema.table, names::PREFIX], |row| row.get(0))
            .map_err(|error| self.failed(error))
    }

    /// Whether another table's foreign key points here, so that deletes may cascade.
    fn is_parent(&self) -> Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema s, pragma_foreign_key_list(s.name) k \
                      WHERE s.type = 'table' AND k.\"table\" = ?1 COLLATE NOCASE)";
        self.sql.query_row(select, [self.schema.table], |row| row.get(0)).map_err(|error| self.failed(error))
    }

    /// Makes the table of overwritten states. Its columns have no type, so that they hold what they are given.
    fn base(&self, table: &Table) -> Result<()> {
        let base_name = names::base_table(self.schema);
        let base = quoted(&base_name);
        let failed = |error| self.failed(error);
        if kind_of(self.sql, &base_name).map_err(failed)?.is_none() {
            let columns: Vec<_> = self.schema.replicated().map(|(_, field)| quoted(field.name)).collect();
            let changes = triggers::base_change_columns();
            let id = table.key_names().join(", ");
            let index = |by: &str| quoted(&names::base_index(by, self.schema));
            let create = format!(
                "CREATE TABLE {base}({}, {changes}, sync_until);
                 CREATE UNIQUE INDEX {} ON {base}({id}, sync_stamp, sync_writer, sync_position) WHERE sync_until IS NOT NULL;
                 CREATE INDEX {} ON {base}(sync_position);
                 CREATE INDEX {} ON {base}(sync_until);",
                columns.join(", "),
                index("revision"),
                index("position"),
                index("until"),
            );
            return self.sql.execute_batch(&create).map_err(failed);
        }
        let found = self.columns(&base_name)?;
        for (index, field) in self.schema.replicated() {
            if found.iter().any(|column| column.name.eq_ignore_ascii_case(field.name)) {
                continue;
            }
            let default = match field.missing() {
                Some(value) => codec::literal(&table.columns[index].encoding.encode(&value)),
                None => "NULL".to_owned(),
            };
            let add = format!("ALTER TABLE {base} ADD COLUMN {} DEFAULT {default}", quoted(field.name));
            self.sql.execute_batch(&add).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes the triggers, and again those that an earlier program made otherwise.
    fn triggers(&self, table: &Table) -> Result<()> {
        for trigger in triggers::all(table) {
            self.make_again("trigger", &trigger.name, &trigger.sql)?;
        }
        Ok(())
    }

    fn view(&self, table: &Table) -> Result<()> {
        let name = names::change_view(self.schema.table);
        if let Some(kind) = kind_of(self.sql, &name).map_err(|error| self.failed(error))?
            && !is_our_view(self.sql, &name).map_err(|error| self.failed(error))?
        {
            return Err(names::view_in_the_way(self.schema, &kind, &name));
        }
        let create = format!(
            "CREATE VIEW {} AS SELECT c.position, c.id,
  CASE c.kind WHEN 0 THEN 'create' WHEN 1 THEN 'update' ELSE 'delete' END AS kind,
  c.stamp || '@' || lower(hex(w.id)) AS revision,
  c.prev_stamp || '@' || lower(hex(p.id)) AS previous,
  c.grp AS \"group\", lower(hex(o.id)) AS origin
{CHANGES} ON w.n = c.writer
LEFT JOIN sync_replica p ON p.n = c.prev_writer LEFT JOIN sync_replica o ON o.n = c.origin
WHERE c.model = {}",
            quoted(&name),
            table.number
        );
        self.make_again("view", &name, &create)
    }

    fn make_again(&self, kind: &str, name: &str, create: &str) -> Result<()> {
        let select = "SELECT sql FROM sqlite_schema WHERE type = ?1 AND name = ?2";
        let made: Option<String> = self
            .sql
            .query_row(select, [kind, name], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))?;
        if made.as_deref() == Some(create) {
            return Ok(());
        }
        let drop = match made {
            Some(_) => format!("DROP {kind} {};", quoted(name)),
            None => String::new(),
        };
        self.sql.execute_batch(&format!("{drop}{create}")).map_err(|error| self.failed(error))
    }
}
