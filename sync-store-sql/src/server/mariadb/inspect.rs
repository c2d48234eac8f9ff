//! What MariaDB says otherwise when tables are made and looked at.

use super::{MODE, MariaDb, own, triggers};
use crate::names::{self, LengthIn, Quote, literal};
use crate::references::Reference;
use crate::server::catalog::{Catalog, Found, Session, Thing, texts};
use crate::server::link::{Arg, Cell, Failure, Kind, Link, Row};
use crate::server::parents::reference;
use crate::server::statement::Dialect;
use crate::server::tables::Table;
use crate::server::unadopt::Held;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;
use sync_runtime::schema::ModelSchema;
use sync_runtime::value::{self, FieldType, Value};
use sync_runtime::{Error, ErrorKind, Models, Result};

/// The longest name of a table.
const LONGEST_NAME: usize = 64;

/// The database that a connection works in.
///
/// # Errors
/// [`ErrorKind::Usage`] where the URL names none; [`ErrorKind::Incompatible`] for a server that cannot be used.
pub(crate) async fn database(link: &mut dyn Link, location: &str) -> Result<String> {
    let found = link.fetch("SELECT VERSION(), DATABASE()", vec![]).await;
    let found = found.map_err(|failure| failure.at(location))?;
    let Some([Cell::Text(version), database]) = found.first().map(Vec::as_slice) else {
        return Err(Error::new(ErrorKind::Storage, format!("`{location}` does not say what it is")));
    };
    if !version.contains("MariaDB") {
        let message = format!("`{location}` is MySQL {version}, which is not supported; use MariaDB");
        return Err(Error::new(ErrorKind::Incompatible, message));
    }
    match link.fetch("SELECT @@innodb_snapshot_isolation", vec![]).await {
        Ok(_) => {}
        Err(Failure::Other(_)) => {
            let message = format!(
                "`{location}` is MariaDB {version}, which loses updates of transactions that meet; 10.6.18, 10.11.8 and \
                 11.4 are the oldest that can be used"
            );
            return Err(Error::new(ErrorKind::Incompatible, message));
        }
        Err(failure) => return Err(failure.at(location)),
    }
    match database {
        Cell::Text(database) => Ok(database.clone()),
        _ => {
            let message = format!("the URL of `{location}` names no database; write `mysql://host/database`");
            Err(Error::new(ErrorKind::Usage, message))
        }
    }
}

/// What stands before the names of the library's own things.
pub(crate) fn own_prefix(database: &str) -> String {
    format!("{}.", Quote::Backtick.name(database))
}

/// A foreign key from one model's table to another's, which changes or deletes rows by itself.
#[derive(Debug, Clone)]
pub(super) struct Cascade {
    parent: String,
    child: String,
    /// The columns of the child, and those of the parent that they point to.
    columns: Vec<(String, String)>,
    on_delete: String,
    on_update: String,
}

impl Cascade {
    fn child(&self) -> String {
        Quote::Backtick.name(&self.child)
    }

    /// The rows of the child that point to `OLD`.
    fn pointing(&self) -> String {
        let name = |name: &str| Quote::Backtick.name(name);
        let pairs =
            self.columns.iter().map(|(child, parent)| format!("{} = OLD.{}", name(child), name(parent)));
        pairs.collect::<Vec<_>>().join(" AND ")
    }

    fn set(&self, value: impl Fn(&str) -> String) -> String {
        let pairs = self.columns.iter().map(|(child, parent)| {
            format!("{} = {}", Quote::Backtick.name(child), value(&Quote::Backtick.name(parent)))
        });
        pairs.collect::<Vec<_>>().join(", ")
    }

    /// What the database does to the children of a row that is deleted, as a statement.
    pub(super) fn on_delete(&self) -> Option<String> {
        match self.on_delete.as_str() {
            "CASCADE" => Some(format!("DELETE FROM {} WHERE {}", self.child(), self.pointing())),
            "SET NULL" => Some(format!(
                "UPDATE {} SET {} WHERE {}",
                self.child(),
                self.set(|_| "NULL".to_owned()),
                self.pointing()
            )),
            _ => None,
        }
    }

    /// What it does to the children of a row whose key changes.
    pub(super) fn on_update(&self) -> Option<String> {
        let set = match self.on_update.as_str() {
            "CASCADE" => self.set(|parent| format!("NEW.{parent}")),
            "SET NULL" => self.set(|_| "NULL".to_owned()),
            _ => return None,
        };
        let same = self.columns.iter().map(|(_, parent)| {
            let parent = Quote::Backtick.name(parent);
            format!("CAST(OLD.{parent} AS BINARY) <=> CAST(NEW.{parent} AS BINARY)")
        });
        let same = same.collect::<Vec<_>>().join(" AND ");
        Some(format!("UPDATE {} SET {set} WHERE {} AND NOT ({same})", self.child(), self.pointing()))
    }
}

/// What the catalogue of a database says.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    own: String,
    /// The tables of the models.
    models: Vec<&'static str>,
    busy_timeout: Duration,
    /// Read once, as the catalogue of foreign keys takes some 10 ms to read.
    cascades: OnceLock<Vec<Cascade>>,
}

impl Database {
    pub(crate) fn new(name: String, models: &Models, busy_timeout: Duration) -> Self {
        let models = models.iter().map(|model| model.schema.table).collect();
        Database { own: own_prefix(&name), name, models, busy_timeout, cascades: OnceLock::new() }
    }

    /// The settings that preparing needs: literals as they are written here, and bounded waits.
    pub(crate) fn settings(&self) -> String {
        let timeout = self.busy_timeout.as_secs().max(1);
        format!(
            "SET SESSION sql_mode = '{MODE}', time_zone = '+00:00', innodb_lock_wait_timeout = {timeout}, \
             lock_wait_timeout = {timeout}"
        )
    }

    /// What lets two processes that open one database at once prepare it one after the other: 1 where it is held.
    pub(crate) fn lock(&self) -> String {
        let timeout = self.busy_timeout.as_secs().max(1);
        format!("SELECT GET_LOCK(CONCAT('sync ', SHA1({})), {timeout})", literal(&self.name))
    }

    /// The foreign keys of the database that change rows by themselves.
    async fn cascades(&self, session: &mut Session<'_>) -> Result<Vec<Cascade>> {
        if let Some(known) = self.cascades.get() {
            return Ok(known.clone());
        }
        let select = "SELECT r.CONSTRAINT_NAME, r.REFERENCED_TABLE_NAME, r.TABLE_NAME, r.DELETE_RULE, r.UPDATE_RULE, \
                      k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS r \
                      JOIN information_schema.KEY_COLUMN_USAGE k ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA \
                      AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME \
                      WHERE r.CONSTRAINT_SCHEMA = ? AND r.UNIQUE_CONSTRAINT_SCHEMA = ? \
                      AND (r.DELETE_RULE IN ('CASCADE', 'SET NULL') OR r.UPDATE_RULE IN ('CASCADE', 'SET NULL')) \
                      ORDER BY r.TABLE_NAME, r.CONSTRAINT_NAME, k.ORDINAL_POSITION";
        let name = Arg::text(self.name.as_str());
        let mut found: BTreeMap<(String, String), Cascade> = BTreeMap::new();
        for row in session.fetch(select, vec![name.clone(), name]).await? {
            let row = row.into_iter().map(|cell| match cell {
                Cell::Text(text) => Some(text),
                _ => None,
            });
            let Some(row) = row.collect::<Option<Vec<String>>>() else { continue };
            let Ok([key, parent, child, on_delete, on_update, column, to]) = <[String; 7]>::try_from(row)
            else {
                continue;
            };
            let cascade = found.entry((child.clone(), key)).or_insert_with(|| Cascade {
                parent,
                child,
                columns: Vec::new(),
                on_delete,
                on_update,
            });
            cascade.columns.push((column, to));
        }
        let found: Vec<Cascade> = found.into_values().collect();
        Ok(self.cascades.get_or_init(|| found).clone())
    }

    fn is_model(&self, table: &str) -> bool {
        self.models.iter().any(|model| model.eq_ignore_ascii_case(table))
    }

    /// Whether cascades lead from one table to another.
    fn leads(&self, cascades: &[Cascade], from: &str, to: &str) -> bool {
        let (mut reached, mut next) = (vec![from.to_owned()], 0);
        while next < reached.len() {
            let children =
                cascades.iter().filter(|cascade| cascade.parent.eq_ignore_ascii_case(&reached[next]));
            let children: Vec<String> = children.map(|cascade| cascade.child.clone()).collect();
            if children.iter().any(|child| child.eq_ignore_ascii_case(to)) {
                return true;
            }
            for child in children {
                if !reached.contains(&child) {
                    reached.push(child);
                }
            }
            next += 1;
        }
        false
    }
}

#[sync_runtime::async_trait]
impl Catalog for Database {
    fn dialect(&self) -> &'static dyn Dialect {
        &MariaDb
    }

    fn own(&self) -> &str {
        &self.own
    }

    fn rights(&self) -> String {
        format!(
            "the user that is connected lacks a right; an administrator may run `GRANT CREATE, ALTER, INDEX, TRIGGER, \
             CREATE VIEW, CREATE TEMPORARY TABLES, SELECT, INSERT, UPDATE, DELETE, DROP ON {}* TO …`, and where the \
             server keeps a binary log, `SET GLOBAL log_bin_trust_function_creators = ON`",
            self.own
        )
    }

    fn transactional(&self) -> bool {
        false
    }

    fn own_tables(&self, _: Option<u16>) -> String {
        own::tables(&self.own)
    }

    async fn own_functions(&self, _: &mut Session<'_>) -> Result<()> {
        Ok(())
    }

    async fn kind_of(&self, session: &mut Session<'_>, name: &str) -> Result<Option<Thing>> {
        let select =
            "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
        let found = texts(session.fetch(select, vec![Arg::text(self.name.as_str()), Arg::text(name)]).await?);
        Ok(found.first().map(|kind| match kind.as_str() {
            "BASE TABLE" => Thing::Table,
            "VIEW" => Thing::View,
            "SEQUENCE" => Thing::Other("sequence"),
            "SYSTEM VERSIONED" => Thing::Other("table with its own history"),
            _ => Thing::Other("thing of another kind"),
        }))
    }

    async fn columns(&self, session: &mut Session<'_>, table: &str) -> Result<Vec<Found>> {
        let select = "SELECT COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, IS_NULLABLE = 'YES', \
             IS_NULLABLE = 'NO' AND COLUMN_DEFAULT IS NULL AND EXTRA NOT LIKE '%auto_increment%' \
             AND IS_GENERATED = 'NEVER', IS_GENERATED <> 'NEVER', \
             CHARACTER_SET_NAME, COLLATION_NAME, coalesce(DATETIME_PRECISION, 6) < 6 \
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";
        let args = vec![Arg::text(self.name.as_str()), Arg::text(table)];
        let column = |row: Row| match <[Cell; 9]>::try_from(row) {
            Ok(
                [
                    Cell::Text(name),
                    Cell::Text(declared),
                    Cell::Text(ty),
                    Cell::Int(nullable),
                    Cell::Int(required),
                    Cell::Int(generated),
                    charset,
                    collation,
                    Cell::Int(coarse),
                ],
            ) => {
                let (declared, by_bytes) = match (charset, collation) {
                    (Cell::Text(charset), Cell::Text(collation)) => {
                        let by_bytes = collation == "utf8mb4_nopad_bin";
                        (format!("{declared} CHARACTER SET {charset} COLLATE {collation}"), by_bytes)
                    }
                    _ => (declared, true),
                };
                Some(Found {
                    name,
                    declared,
                    ty,
                    nullable: nullable != 0,
                    required: required != 0,
                    generated: generated != 0,
                    by_bytes,
                    coarse: coarse != 0,
                    collation: String::new(),
                })
            }
            _ => None,
        };
        Ok(session.fetch(select, args).await?.into_iter().filter_map(column).collect())
    }

    async fn unique_keys(
        &self,
        session: &mut Session<'_>,
        table: &str,
        columns: &[&Found],
    ) -> Result<Vec<String>> {
        let select = "SELECT INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
             AND NON_UNIQUE = 0 GROUP BY INDEX_NAME HAVING max(SUB_PART) IS NULL \
             AND GROUP_CONCAT(COLUMN_NAME ORDER BY COLUMN_NAME SEPARATOR '\n') = ? ORDER BY INDEX_NAME <> 'PRIMARY'";
        let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable_by_key(|name| name.to_uppercase());
        let args = vec![Arg::text(self.name.as_str()), Arg::text(table), Arg::text(names.join("\n"))];
        Ok(texts(session.fetch(select, args).await?))
    }

    async fn has_foreign_triggers(&self, session: &mut Session<'_>, table: &str) -> Result<bool> {
        let select = "SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? \
             AND EVENT_OBJECT_TABLE = ? AND LEFT(TRIGGER_NAME, 5) <> ? LIMIT 1";
        let args = vec![Arg::text(self.name.as_str()), Arg::text(table), Arg::text(names::PREFIX)];
        Ok(!session.fetch(select, args).await?.is_empty())
    }

    async fn misfits(&self, session: &mut Session<'_>, schema: &ModelSchema) -> Result<Vec<String>> {
        let mut misfits = Vec::new();
        let view = names::change_view(schema.table);
        if view.chars().count() > LONGEST_NAME {
            misfits.push(format!(
                "the view of its changes would be `{view}`, and a name has at most {LONGEST_NAME} characters here; \
                 choose a shorter one with `table`"
            ));
        }
        let select = "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
        let args = vec![Arg::text(self.name.as_str()), Arg::text(schema.table)];
        let engine = texts(session.fetch(select, args).await?).pop();
        if let Some(engine) = engine.filter(|engine| engine != "InnoDB") {
            misfits.push(format!(
                "its engine {engine} has no transactions; run `ALTER TABLE {} ENGINE=InnoDB`",
                Quote::Backtick.name(schema.table)
            ));
        }
        let cascades = self.cascades(session).await?;
        for cascade in cascades.iter().filter(|cascade| cascade.parent.eq_ignore_ascii_case(schema.table)) {
            let from = format!("the cascade from `{}` to `{}`", cascade.parent, cascade.child);
            if cascade.child.eq_ignore_ascii_case(schema.table)
                || self.leads(&cascades, &cascade.child, schema.table)
            {
                misfits.push(format!(
                    "{from} leads back to the table, and no trigger can follow it; make it `RESTRICT`"
                ));
            } else if !self.is_model(&cascade.child) {
                let lost = self.models.iter().find(|model| self.leads(&cascades, &cascade.child, model));
                if let Some(lost) = lost {
                    misfits.push(format!(
                        "{from} leads on to `{lost}`, and no trigger can follow it through a table that is no model's; \
                         make it `RESTRICT`"
                    ));
                }
            }
        }
        let from_outside = |cascade: &&Cascade| {
            cascade.child.eq_ignore_ascii_case(schema.table) && !self.is_model(&cascade.parent)
        };
        for Cascade { parent, child, .. } in cascades.iter().filter(from_outside) {
            misfits.push(format!(
                "the cascade from `{parent}` to `{child}` changes its rows past every trigger, as `{parent}` is no \
                 model's; make it one, or the cascade `RESTRICT`"
            ));
        }
        Ok(misfits)
    }

    fn fitting(&self, ty: FieldType, column: &Found) -> Result<(Kind, bool), &'static str> {
        fitting(ty, column)
    }

    fn by_bytes(&self) -> &'static str {
        "; two ids that differ in case or in spaces would be one: declare it `VARCHAR(255) CHARACTER SET utf8mb4 \
         COLLATE utf8mb4_nopad_bin`"
    }

    fn declared(&self, ty: FieldType, parts: Option<usize>) -> &'static str {
        match ty {
            FieldType::Bool => "TINYINT(1)",
            FieldType::Int { .. } => "BIGINT",
            // A double forgets the sign of zero.
            FieldType::Float | FieldType::Float32 => {
                "VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
            }
            FieldType::Bytes => "LONGBLOB",
            FieldType::Uuid => "BINARY(16)",
            FieldType::Timestamp => "DATETIME(6)",
            FieldType::Date => "DATE",
            // An index takes 3,072 bytes, four for each character.
            _ if parts.is_some_and(|parts| parts > 3) => {
                "VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
            }
            _ if parts.is_some_and(|parts| parts == 3) => {
                "VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
            }
            _ if parts.is_some() => "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
            _ => "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        }
    }

    fn named(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Int(2) => "SMALLINT",
            Kind::Int(4) => "INT",
            Kind::Int(_) => "BIGINT",
            Kind::Bytes => "LONGBLOB",
            _ => "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        }
    }

    fn literal(&self, ty: FieldType, value: &Value) -> String {
        match value {
            Value::Null => "NULL".to_owned(),
            Value::Bool(yes) => u8::from(*yes).to_string(),
            Value::Int(n) => format!("({n})"),
            Value::Float(x) => format!("'{x:?}'"),
            Value::Text(text) | Value::Decimal(text) => format!("({})", literal(text)),
            Value::Bytes(bytes) => format!("({})", hex(bytes)),
            Value::Uuid(id) => hex(id.as_bytes()),
            Value::Timestamp(micros) => {
                super::wire::time_text(*micros).map_or("NULL".to_owned(), |time| format!("'{time}'"))
            }
            Value::Date(day) => value::date_text(*day).map_or("NULL".to_owned(), |day| format!("'{day}'")),
            Value::Json(json) if ty == FieldType::Json => format!("({})", literal(&json.to_string())),
            Value::Json(_) => "NULL".to_owned(),
        }
    }

    fn longest_name(&self) -> (usize, LengthIn) {
        (64, LengthIn::Characters)
    }

    fn make_nullable(&self, table: &str, column: &Found) -> String {
        format!(
            "ALTER TABLE {table} MODIFY COLUMN {} {} NULL",
            Quote::Backtick.name(&column.name),
            column.declared
        )
    }

    fn table_options(&self) -> &'static str {
        own::OPTIONS
    }

    fn base_table(&self, table: &Table, columns: &str) -> String {
        let id = table.key_names("");
        format!(
            "CREATE TABLE IF NOT EXISTS {}({columns}, sync_until BIGINT NOT NULL, sync_open TINYINT(1) NOT NULL, \
             UNIQUE KEY sync_revision ({id}, sync_stamp, sync_writer, sync_position), \
             KEY sync_by_position (sync_position), KEY sync_by_until (sync_until)){}",
            table.base,
            own::OPTIONS
        )
    }

    async fn triggers(&self, session: &mut Session<'_>, table: &Table) -> Result<()> {
        let mut cascades = self.cascades(session).await?;
        cascades.retain(|cascade| {
            cascade.parent.eq_ignore_ascii_case(table.schema.table) && self.is_model(&cascade.child)
        });
        let select = "SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS \
             WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? AND LEFT(TRIGGER_NAME, 5) = ?";
        let args =
            vec![Arg::text(self.name.as_str()), Arg::text(table.schema.table), Arg::text(names::PREFIX)];
        let there = session.fetch(select, args).await?;
        let wanted = triggers::all(table, &cascades);
        for trigger in &wanted {
            let same =
                |row: &Row| row[..] == [Cell::Text(trigger.name.clone()), Cell::Text(trigger.body.clone())];
            if !there.iter().any(same) {
                let doing = format!("making the trigger `{}` on `{}`", trigger.name, table.schema.table);
                let name = Quote::Backtick.name(table.schema.table);
                session.script(&trigger.create(&name), &doing).await?;
            }
        }
        // Those of cascades that are gone.
        for name in texts(there).into_iter().filter(|name| wanted.iter().all(|trigger| trigger.name != *name))
        {
            let drop = format!("DROP TRIGGER IF EXISTS {}{}", self.own, Quote::Backtick.name(&name));
            session.script(&drop, &format!("removing the trigger `{name}`")).await?;
        }
        Ok(())
    }

    async fn is_own_view(&self, session: &mut Session<'_>, name: &str) -> Result<bool> {
        let select = "SELECT 1 FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
             AND LOCATE('sync_change', VIEW_DEFINITION) > 0";
        let args = vec![Arg::text(self.name.as_str()), Arg::text(name)];
        Ok(!session.fetch(select, args).await?.is_empty())
    }

    async fn references(&self, session: &mut Session<'_>) -> Result<Vec<Reference>> {
        let select = "SELECT TABLE_NAME, max(COLUMN_NAME), max(REFERENCED_TABLE_NAME), max(REFERENCED_COLUMN_NAME) \
             FROM information_schema.KEY_COLUMN_USAGE WHERE CONSTRAINT_SCHEMA = ? AND REFERENCED_TABLE_SCHEMA = ? \
             GROUP BY TABLE_NAME, CONSTRAINT_NAME HAVING count(*) = 1 ORDER BY 1, 2, 3";
        let name = Arg::text(self.name.as_str());
        let found = session.fetch(select, vec![name.clone(), name]).await?;
        Ok(found.into_iter().filter_map(reference).collect())
    }

    async fn is_indexed(&self, session: &mut Session<'_>, table: &str, column: &str) -> Result<bool> {
        let select = "SELECT 1 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
             AND COLUMN_NAME = ? AND SEQ_IN_INDEX = 1 LIMIT 1";
        let args = vec![Arg::text(self.name.as_str()), Arg::text(table), Arg::text(column)];
        Ok(!session.fetch(select, args).await?.is_empty())
    }

    fn parent_index(&self, name: &str, table: &Table, column: &Found) -> String {
        // A text of any length is indexed by its beginning.
        let part = if column.ty.ends_with("text") { "(63)" } else { "" };
        let (name, column) = (Quote::Backtick.name(name), Quote::Backtick.name(&column.name));
        format!("CREATE INDEX {name} ON {}({column}{part})", table.name)
    }

    async fn remains(&self, session: &mut Session<'_>, held: &[Held]) -> Result<Vec<String>> {
        let table = |name: &str| format!("{}{}", self.own, Quote::Backtick.name(name));
        let mut statements = Vec::new();
        // Those first that a write of somebody would fail in.
        let select = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS \
             WHERE TRIGGER_SCHEMA = ? AND LEFT(TRIGGER_NAME, 5) = ? ORDER BY 1";
        let args = vec![Arg::text(self.name.as_str()), Arg::text(names::PREFIX)];
        for trigger in texts(session.fetch(select, args).await?) {
            statements.push(format!("DROP TRIGGER IF EXISTS {}", table(&trigger)));
        }
        for Held { number, table: of } in held {
            let view = names::change_view(of);
            if self.is_own_view(session, &view).await? {
                statements.push(format!("DROP VIEW IF EXISTS {}", table(&view)));
            }
            statements.push(format!("DROP TABLE IF EXISTS {}sync_base_{number}", self.own));
            let select = "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND LEFT(INDEX_NAME, 12) = ?";
            let args = vec![Arg::text(self.name.as_str()), Arg::text(of.as_str()), Arg::text("sync_parent_")];
            for index in texts(session.fetch(select, args).await?) {
                statements.push(format!("DROP INDEX {} ON {}", Quote::Backtick.name(&index), table(of)));
            }
        }
        for own in ["change", "note", "newest", "replica", "state", "writing", "put", "adding"] {
            statements.push(format!("DROP TABLE IF EXISTS {}sync_{own}", self.own));
        }
        statements.push(format!("DROP SEQUENCE IF EXISTS {}sync_written", self.own));
        statements.push(format!("DROP TABLE IF EXISTS {}sync_model", self.own));
        Ok(statements)
    }

    fn end(&self, _: bool) -> String {
        format!("DO RELEASE_LOCK(CONCAT('sync ', SHA1({})))", literal(&self.name))
    }

    fn view(&self, table: &Table, name: &str) -> String {
        triggers::view(table, &self.own, name)
    }
}

/// The kind of a column of this type for a field, and whether it may change values; or what it should be.
fn fitting(ty: FieldType, column: &Found) -> Result<(Kind, bool), &'static str> {
    let text = if column.by_bytes { Kind::Text } else { Kind::Collated };
    let is_text = matches!(column.ty.as_str(), "varchar" | "text" | "tinytext" | "mediumtext" | "longtext");
    // Other character sets lack characters.
    let narrow = !column.declared.contains("CHARACTER SET utf8mb4 ");
    let unsigned = column.declared.contains("unsigned");
    match (ty, column.ty.as_str()) {
        (FieldType::Bool, "tinyint") => Ok((Kind::Bool, false)),
        (FieldType::Bool, _) => Err("tinyint(1)"),
        (FieldType::Int { .. }, "bigint") => Ok((Kind::Int(8), unsigned)),
        (FieldType::Int { .. }, "int" | "mediumint") => Ok((Kind::Int(4), unsigned)),
        (FieldType::Int { .. }, "smallint" | "tinyint") => Ok((Kind::Int(2), unsigned)),
        (FieldType::Int { .. }, _) => Err("a whole number"),
        (FieldType::Float | FieldType::Float32, "varchar") if column.by_bytes => Ok((Kind::Text, false)),
        // They forget the sign of zero.
        (FieldType::Float | FieldType::Float32, "double") => Ok((Kind::Float(8), true)),
        (FieldType::Float | FieldType::Float32, "float") => Ok((Kind::Float(4), true)),
        (FieldType::Float | FieldType::Float32, _) => {
            Err("double, float or varchar(32) character set utf8mb4 collate utf8mb4_nopad_bin")
        }
        (FieldType::Text, "char") => Ok((text, true)),
        (FieldType::Text, "enum") => Ok((Kind::Collated, true)),
        (FieldType::Text, _) if is_text => Ok((text, narrow)),
        (FieldType::Text, _) => Err("varchar or text"),
        (FieldType::Bytes, "varbinary" | "blob" | "tinyblob" | "mediumblob" | "longblob") => {
            Ok((Kind::Bytes, false))
        }
        (FieldType::Bytes, _) => Err("blob or varbinary"),
        (FieldType::Uuid, "uuid") => Ok((Kind::Uuid, false)),
        (FieldType::Uuid, "binary" | "varbinary") => Ok((Kind::Bytes, false)),
        (FieldType::Uuid, "char") => Ok((text, false)),
        (FieldType::Uuid, _) if is_text => Ok((text, false)),
        (FieldType::Uuid, _) => Err("uuid, binary(16) or char(36)"),
        (FieldType::Timestamp, "datetime") => Ok((Kind::Civil, false)),
        // Its years are few.
        (FieldType::Timestamp, "timestamp") => Ok((Kind::Instant, true)),
        (FieldType::Timestamp, "bigint") => Ok((Kind::Int(8), unsigned)),
        (FieldType::Timestamp, _) => Err("datetime(6), timestamp or bigint"),
        (FieldType::Date, "date") => Ok((Kind::Date, false)),
        (FieldType::Date, _) if is_text && column.by_bytes => Ok((Kind::Text, false)),
        (FieldType::Date, _) => Err("date"),
        (FieldType::Decimal, "decimal") => Ok((Kind::Numeric, true)),
        (FieldType::Decimal, _) if is_text => Ok((text, false)),
        (FieldType::Decimal, _) => Err("decimal or text"),
        (_, _) if is_text => Ok((text, narrow)),
        (_, _) => Err("json or text"),
    }
}

/// Bytes as a literal.
fn hex(bytes: &[u8]) -> String {
    format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
