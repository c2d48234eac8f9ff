//! The tables of the models and those of the library: made where absent, checked where there.

use super::codec::{self, Encoding};
use super::connection::{Conn, Settings};
use super::statements::Statements;
use super::tables::{
    CHANGES, Column, Table, Tables, first_replica, is_our_view, kind_of, removed, schema_version,
};
use super::transaction::late;
use super::unique;
use super::{learning, parents, triggers};
use crate::names::{self, New, quoted};
use rusqlite::{Connection, OptionalExtension};
use std::cell::RefCell;
use std::collections::BTreeSet;
use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::version::ReplicaId;
use sync_runtime::{Error, ErrorKind, Models, Result};

/// The layout of the library's own tables that this program knows.
const FORMAT: i64 = 1;

/// `position` is the row id, so the next one is the largest plus one; the newest row is never removed, only moved
/// to the end, so no position is used twice.
///
/// `sync_state.stamp`, `grp`, `put_model` and `put_id` are what a writing library hands to the triggers; they are
/// null outside its transaction. `sync_adding` names columns that are new and have not yet taken what peers had sent of
/// them.
const OWN_TABLES: &str = "
CREATE TABLE sync_replica(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
CREATE TABLE sync_model(n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, \"table\" TEXT NOT NULL UNIQUE);
CREATE TABLE sync_adding(model INTEGER NOT NULL, field TEXT NOT NULL, PRIMARY KEY (model, field)) WITHOUT ROWID;
CREATE TABLE sync_state(one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, me INTEGER,
  keep_through INTEGER, stamp INTEGER, grp INTEGER, put_model INTEGER, put_id);
CREATE TABLE sync_change(position INTEGER PRIMARY KEY, model INTEGER NOT NULL, id NOT NULL, kind INTEGER NOT NULL,
  stamp INTEGER NOT NULL, writer INTEGER NOT NULL, others TEXT, prev_stamp INTEGER, prev_writer INTEGER,
  grp INTEGER, origin INTEGER, merged TEXT, unknown BLOB, stamps TEXT);
CREATE UNIQUE INDEX sync_change_record ON sync_change(model, id);
CREATE TABLE sync_note(room TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (room, key))
  WITHOUT ROWID;
";

/// A connection while it is prepared.
pub(super) struct Session<'c> {
    pub(super) sql: &'c Connection,
    /// What was defined so far.
    done: RefCell<Vec<String>>,
}

impl<'c> Session<'c> {
    pub(super) fn new(sql: &'c Connection) -> Self {
        Session { sql, done: RefCell::default() }
    }

    /// Runs what defines something, and notes it.
    pub(super) fn define(&self, statement: &str) -> rusqlite::Result<()> {
        self.sql.execute_batch(statement)?;
        self.done.borrow_mut().push(statement.trim().trim_end_matches(';').to_owned());
        Ok(())
    }
}

/// Makes or checks everything that the models need, inside the transaction that is open on the connection; gives the
/// statements that it took as well.
pub(crate) fn prepare(
    conn: &mut Conn,
    settings: &Settings,
    models: &Models,
    fresh: ReplicaId,
    adopt: bool,
) -> Result<(Tables, Vec<String>)> {
    let failed = |error| settings.failed(error);
    let session = &Session::new(&conn.sql);
    if !own_tables(session, settings)? {
        // Not among what was defined: each database has a name of its own.
        let number = conn.replicas.number(&conn.sql, fresh).map_err(failed)?;
        let insert = "INSERT INTO sync_state(one, format, me) VALUES (1, ?1, ?2)";
        conn.sql.execute(insert, [FORMAT, number]).map_err(failed)?;
    }
    let mut tables = Tables::new();
    let mut taken = BTreeSet::new();
    for model in models.iter() {
        names::check(model.schema)?;
        if !taken.insert(model.schema.table.to_ascii_lowercase()) {
            return Err(names::shared_table(model.schema));
        }
        let (schema, adopt) = (model.schema, adopt || model.schema.adopt);
        let (table, remade) = Preparing { session, settings, schema, adopt }.table()?;
        tables.remade.extend(remade.then_some(schema));
        tables.add(table);
    }
    tables.foreign_keys = parents::foreign_keys(&conn.sql, models).map_err(failed)?;
    for key in &tables.foreign_keys {
        let child = models.get(key.child)?.schema;
        parents::index(session, child, key.field).map_err(failed)?;
    }
    tables.schema_version = schema_version(&conn.sql).map_err(failed)?;
    tables.late = late::are_there(&conn.sql).map_err(failed)?;
    tables.first = first_replica(&conn.sql).map_err(failed)?;
    let done = session.done.take();
    Ok((tables, done))
}

/// The tables looked at again, after some program changed the database's schema, inside a writing transaction.
pub(crate) fn refreshed(sql: &Connection, settings: &Settings, tables: &Tables) -> Result<Tables> {
    let first = first_replica(sql).map_err(|error| settings.failed(error))?;
    if first != tables.first {
        return Err(removed(&settings.file));
    }
    let mut again = Tables::new();
    again.first = first;
    for table in tables.iter() {
        let session = &Session::new(sql);
        let preparing = Preparing { session, settings, schema: table.schema, adopt: true };
        let table = preparing.inspect(table.number)?;
        // A new unique key is something else that a row can be replaced by.
        if preparing.triggers(&table)? {
            again.remade.push(table.schema);
        }
        again.add(table);
    }
    again.schema_version = schema_version(sql).map_err(|error| settings.failed(error))?;
    again.late = late::are_there(sql).map_err(|error| settings.failed(error))?;
    Ok(again)
}

/// Makes the library's own tables if they are absent; whether the store has its name there already.
fn own_tables(session: &Session<'_>, settings: &Settings) -> Result<bool> {
    let failed = |error| settings.failed(error);
    if kind_of(session.sql, "sync_state").map_err(failed)?.is_none() {
        session.define(OWN_TABLES).map_err(failed)?;
    }
    let format: Option<i64> = session
        .sql
        .query_row("SELECT format FROM sync_state", [], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    if let Some(format) = format.filter(|format| *format > FORMAT) {
        let message = format!(
            "`{}` has layout {format}, which a newer version of this program made; this one knows {FORMAT}: update it",
            settings.file
        );
        return Err(Error::new(ErrorKind::Incompatible, message));
    }
    Ok(format.is_some())
}

/// The type of a column in a `STRICT` table that holds what it is given.
const ANY: &str = "ANY";

/// Whether the table was made with `STRICT`.
fn is_strict(sql: &Connection, table: &str) -> rusqlite::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM pragma_table_list(?1) WHERE schema = 'main' AND strict)";
    sql.query_row(select, [table], |row| row.get(0))
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
    session: &'c Session<'c>,
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

    /// The table, and whether it was known and had lost its triggers. One that was absent is no record of what was deleted:
    /// somebody is about to put it back, and until then its changes are left alone.
    fn table(&self) -> Result<(Table, bool)> {
        let (number, known) = self.number()?;
        let kind = kind_of(self.session.sql, self.schema.table).map_err(|error| self.failed(error))?;
        match kind.as_deref() {
            None => self.make()?,
            Some("table") if known || self.adopt => {}
            Some("table") => {
                return Err(names::not_adopted(self.schema));
            }
            Some(other) => {
                return Err(self.refused(format!("it is a {other}; choose another name with `table`")));
            }
        }
        let New { added, untold } = if known { self.add_columns(number)? } else { New::default() };
        let table = self.inspect(number)?;
        self.base(&table)?;
        for (place, _) in self.schema.parents() {
            parents::index(self.session, self.schema, place).map_err(|error| self.failed(error))?;
        }
        if !added.is_empty() {
            self.learn(&table, &added).map_err(|error| self.failed(error))?;
        }
        if !untold.is_empty() {
            learning::learn_bases(self.session.sql, &table, &untold).map_err(|error| self.failed(error))?;
        }
        let had_none = self.triggers(&table)?;
        self.view(&table)?;
        // The triggers were not all there when it was inspected.
        Ok((self.inspect(number)?, known && had_none && kind.is_some()))
    }

    /// The model's number, and whether the database knew the model before.
    fn number(&self) -> Result<(i64, bool)> {
        let known: Option<(i64, String)> = self
            .session
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
                let next = "SELECT ifnull(max(n), 0) + 1 FROM sync_model";
                let number: i64 = self
                    .session
                    .sql
                    .query_row(next, [], |row| row.get(0))
                    .map_err(|error| self.failed(error))?;
                let insert = format!(
                    "INSERT INTO sync_model(n, name, \"table\") VALUES ({number}, {}, {})",
                    names::literal(self.schema.name),
                    names::literal(self.schema.table)
                );
                match self.session.define(&insert) {
                    Ok(()) => Ok((number, false)),
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
        self.session.define(&create).map_err(|error| self.failed(error))
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

    /// Makes a column of each field that is new in the model.
    fn add_columns(&self, number: i64) -> Result<New> {
        let found = self.columns(self.schema.table)?;
        let begun = self.begun(number).map_err(|error| self.failed(error))?;
        // It has the fields that the model had when it was prepared last.
        let based = self.columns(&names::base_table(self.schema))?;
        let strict = is_strict(self.session.sql, self.schema.table).map_err(|error| self.failed(error))?;
        let name = quoted(self.schema.table);
        let New { mut added, mut untold } = New::default();
        for (index, field) in self.schema.fields.iter().enumerate() {
            if found.iter().any(|column| column.name.eq_ignore_ascii_case(field.name)) {
                let noted = format!("{}{}", names::UNTOLD, field.name);
                let is_based = || based.iter().any(|column| column.name.eq_ignore_ascii_case(field.name));
                if begun.iter().any(|name| name == field.name) {
                    added.push(index);
                } else if begun.contains(&noted) {
                    untold.push(index);
                } else if field.replicated() && !based.is_empty() && !is_based() {
                    self.note(number, &noted)?;
                    untold.push(index);
                }
                continue;
            }
            if !field.nullable && field.default.is_none() {
                let count = format!("SELECT EXISTS (SELECT 1 FROM {name})");
                let filled: bool = self
                    .session
                    .sql
                    .query_row(&count, [], |row| row.get(0))
                    .map_err(|error| self.failed(error))?;
                if filled {
                    return Err(names::required_is_new(self.schema, field));
                }
            }
            if field.replicated() {
                self.note(number, field.name)?;
                added.push(index);
            }
            let add = format!("ALTER TABLE {name} ADD COLUMN {}", self.definition(field, strict));
            self.session.define(&add).map_err(|error| self.failed(error))?;
        }
        Ok(New { added, untold })
    }

    /// Notes what is to be done about a field once the tables are as they should be.
    fn note(&self, number: i64, field: &str) -> Result<()> {
        let field = names::literal(field);
        let note = format!("INSERT OR IGNORE INTO sync_adding(model, field) VALUES ({number}, {field})");
        self.session.define(&note).map_err(|error| self.failed(error))
    }

    /// The columns whose adding was begun by hand.
    fn begun(&self, number: i64) -> rusqlite::Result<Vec<String>> {
        let mut select = self.session.sql.prepare("SELECT field FROM sync_adding WHERE model = ?1")?;
        select.query_map([number], |row| row.get(0))?.collect()
    }

    /// Fills new columns with what peers had sent of them.
    fn learn(&self, table: &Table, added: &[usize]) -> rusqlite::Result<()> {
        learning::learn(self.session.sql, table, added)?;
        let done = "DELETE FROM sync_adding WHERE model = ?1 AND substr(field, 1, 1) <> ?2";
        self.session.sql.execute(done, rusqlite::params![table.number, names::UNTOLD]).map(|_| ())
    }

    fn columns(&self, table: &str) -> Result<Vec<Found>> {
        let select = "SELECT name, type, \"notnull\", dflt_value IS NULL, hidden FROM pragma_table_xinfo(?1)";
        let found = || -> rusqlite::Result<Vec<Found>> {
            let strict = is_strict(self.session.sql, table)?;
            let mut select = self.session.sql.prepare(select)?;
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
        let mut removed = Vec::new();
        for column in found.iter().filter(|column| column.required) {
            if self.schema.fields.iter().any(|field| field.name.eq_ignore_ascii_case(&column.name)) {
                continue;
            }
            match names::is_removed(self.schema, &column.name) {
                true => removed.push(column),
                false => misfits.push(names::left_over(&column.name)),
            }
        }
        let unique =
            unique::keys(self.session.sql, self.schema, &mut misfits).map_err(|error| self.failed(error))?;
        for column in &removed {
            let is = |name: &String| name.eq_ignore_ascii_case(&column.name);
            let single = unique.keys.iter().any(|key| key.columns.iter().all(|(name, _)| is(name)));
            if single || self.refers(&column.name).map_err(|error| self.failed(error))? {
                misfits.push(format!(
                    "the column `{}` of a removed field is required, and being unique or a foreign key it takes no plain \
                     value; make the table again with that column without `NOT NULL`",
                    column.name
                ));
            }
        }
        // It keeps the columns of fields that are gone.
        let based = self.columns(&names::base_table(self.schema))?;
        let fields = self.schema.fields.iter().map(|field| field.name);
        let taken: Vec<&str> = based.iter().map(|column| column.name.as_str()).chain(fields).collect();
        let is_free = |name: &&str| !taken.iter().any(|taken| taken.eq_ignore_ascii_case(name));
        let base_rowid = unique::ROWID.into_iter().find(is_free).unwrap_or_else(|| {
            misfits
                .push(format!("its columns take all names of the row id (`{}`)", unique::ROWID.join("`, `")));
            "rowid"
        });
        if !misfits.is_empty() {
            return Err(self.refused(misfits.join("; ")));
        }
        let foreign = self.has_foreign_triggers()?;
        let lossy = columns.iter().any(|column| column.generated || column.encoding.is_lossy());
        let mut table = Table {
            schema: self.schema,
            number,
            simple: !foreign && !self.is_parent()? && !self.replaces()?,
            verify: foreign || lossy,
            columns,
            removed: removed
                .iter()
                .map(|column| (quoted(&column.name), codec::plain(&column.declared)))
                .collect(),
            unique: unique.keys,
            computed_key: unique.computed,
            rowid_names: unique.rowid_names,
            rowid_is_hidden: unique.rowid_is_hidden,
            base_rowid,
            sql: Statements::default(),
        };
        table.write_statements();
        Ok(table)
    }

    /// Whether somebody else's triggers run on writes to this table.
    fn has_foreign_triggers(&self) -> Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' \
                      AND tbl_name = ?1 COLLATE NOCASE AND substr(name, 1, 5) <> ?2)";
        self.session
            .sql
            .query_row(select, [self.schema.table, names::PREFIX], |row| row.get(0))
            .map_err(|error| self.failed(error))
    }

    /// Whether a key of this table may say that a row goes where another one comes.
    fn replaces(&self) -> Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' \
                      AND name = ?1 COLLATE NOCASE AND sql LIKE '%conflict%replace%')";
        self.session
            .sql
            .query_row(select, [self.schema.table], |row| row.get(0))
            .map_err(|error| self.failed(error))
    }

    /// Whether a column is in a foreign key of its table.
    fn refers(&self, column: &str) -> rusqlite::Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM pragma_foreign_key_list(?1) \
                      WHERE \"from\" = ?2 COLLATE NOCASE)";
        self.session.sql.query_row(select, [self.schema.table, column], |row| row.get(0))
    }

    /// Whether another table's foreign key points here, so that deletes may cascade.
    fn is_parent(&self) -> Result<bool> {
        let select = "SELECT EXISTS (SELECT 1 FROM sqlite_schema s, pragma_foreign_key_list(s.name) k \
                      WHERE s.type = 'table' AND k.\"table\" = ?1 COLLATE NOCASE)";
        self.session
            .sql
            .query_row(select, [self.schema.table], |row| row.get(0))
            .map_err(|error| self.failed(error))
    }

    /// Makes the table of overwritten states. Its columns have no type, so that they hold what they are given.
    fn base(&self, table: &Table) -> Result<()> {
        let base_name = names::base_table(self.schema);
        let base = quoted(&base_name);
        let failed = |error| self.failed(error);
        if kind_of(self.session.sql, &base_name).map_err(failed)?.is_none() {
            let columns: Vec<_> = self.schema.replicated().map(|(_, field)| quoted(field.name)).collect();
            let changes = triggers::base_change_columns();
            let id = table.key_names().join(", ");
            let index = |by: &str| quoted(&names::base_index(by, self.schema));
            let made = [
                format!("CREATE TABLE {base}({}, {changes}, sync_until)", columns.join(", ")),
                format!(
                    "CREATE UNIQUE INDEX {} ON {base}({id}, sync_stamp, sync_writer, sync_position) \
                     WHERE sync_until IS NOT NULL",
                    index("revision")
                ),
                format!("CREATE INDEX {} ON {base}(sync_position)", index("position")),
                format!("CREATE INDEX {} ON {base}(sync_until)", index("until")),
            ];
            return made.iter().try_for_each(|create| self.session.define(create)).map_err(failed);
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
            self.session.define(&add).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes the triggers, and again those that an earlier program made otherwise or that somebody took away. Whether the
    /// table had none at all, as one that was made again under its name.
    fn triggers(&self, table: &Table) -> Result<bool> {
        let any = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' \
                   AND tbl_name = ?1 COLLATE NOCASE AND substr(name, 1, 5) = ?2)";
        let any = self.session.sql.query_row(any, [self.schema.table, names::PREFIX], |row| row.get(0));
        let had_any: bool = any.map_err(|error| self.failed(error))?;
        let select = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1";
        for trigger in triggers::all(table) {
            let made: rusqlite::Result<Option<String>> =
                self.session.sql.query_row(select, [&trigger.name], |row| row.get(0)).optional();
            let made = made.map_err(|error| self.failed(error))?;
            if made.as_deref() == Some(&trigger.sql) {
                continue;
            }
            if made.is_some() {
                let drop = format!("DROP TRIGGER {}", quoted(&trigger.name));
                self.session.define(&drop).map_err(|error| self.failed(error))?;
            }
            self.session.define(&trigger.sql).map_err(|error| self.failed(error))?;
        }
        Ok(!had_any)
    }

    fn view(&self, table: &Table) -> Result<()> {
        let name = names::change_view(self.schema.table);
        if let Some(kind) = kind_of(self.session.sql, &name).map_err(|error| self.failed(error))? {
            return match is_our_view(self.session.sql, &name).map_err(|error| self.failed(error))? {
                true => Ok(()),
                false => Err(names::view_in_the_way(self.schema, &kind, &name)),
            };
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
        self.session.define(&create).map_err(|error| self.failed(error))
    }
}
