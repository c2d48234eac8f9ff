//! The triggers that track a table of MariaDB, whoever writes to it; see the rule *triggers that miss nothing*.
//!
//! One for each kind of write, after each row of it. A cascade fires no triggers here, so each one between two models
//! is written into the triggers of the table that it starts from. Nothing fires for `TRUNCATE`.
//!
//! What a writing library hands over stands in `sync_writing` and `sync_put`, in the rows of its connection. The
//! session's variable `@sync_writing` only says that it is worth a look: it outlives a transaction, the rows do not.
//!
//! Before a record is looked for with a lock, it is looked for without one: a lock on what is not there would keep
//! others from inserting near it. Only `SELECT … INTO` looks without a lock; `IF EXISTS (SELECT …)` takes one.

use super::MariaDb;
use super::inspect::Cascade;
use crate::names::literal;
use crate::server::link::Kind;
use crate::server::statement::Dialect;
use crate::server::tables::{CHANGE, Column, IdType, Table, change_columns};
use crate::server::transaction::rows::OWN;
use sync_runtime::Merge;
use sync_runtime::record::MAX_ID_BYTES;
use sync_runtime::schema::FieldSchema;
use sync_runtime::value::FieldType;

/// One trigger: its name, when it runs, and what it does.
#[derive(Debug)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) when: &'static str,
    pub(super) body: String,
}

impl Trigger {
    /// Without the database, whose name would stand in every dump.
    pub(super) fn create(&self, table: &str) -> String {
        format!("CREATE OR REPLACE TRIGGER {} {} ON {table} FOR EACH ROW {}", self.name, self.when, self.body)
    }
}

/// All triggers of a table, from which these cascades start.
///
/// Names stand without their database: a trigger knows its own, whatever it is called by then.
pub(super) fn all(table: &Table, cascades: &[Cascade]) -> Vec<Trigger> {
    let writer = Writer { table };
    let mut triggers = vec![writer.insert(), writer.update(), writer.delete()];
    let deletes: Vec<_> = cascades.iter().filter_map(Cascade::on_delete).collect();
    if !deletes.is_empty() {
        // Who has switched foreign keys off gets no cascade from the database either.
        let body = format!(
            "BEGIN\n  IF @@SESSION.foreign_key_checks THEN\n  {};\n  END IF;\nEND",
            deletes.join(";\n  ")
        );
        triggers.push(writer.trigger("gone", "BEFORE DELETE", body));
    }
    let updates: Vec<_> = cascades.iter().filter_map(Cascade::on_update).collect();
    if !updates.is_empty() {
        // The children point to the new key before it is there, for the length of these statements. Those of the children
        // have to know that it was not the session who switched foreign keys off.
        let body = format!(
            "BEGIN
  DECLARE sync_checks INT DEFAULT @@SESSION.foreign_key_checks;
  DECLARE sync_outer INT DEFAULT @sync_moving;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN
    SET SESSION foreign_key_checks = sync_checks;
    SET @sync_moving = sync_outer;
    RESIGNAL;
  END;
  IF sync_checks OR sync_outer THEN
  SET SESSION foreign_key_checks = 0;
  SET @sync_moving = 1;
  {};
  SET SESSION foreign_key_checks = sync_checks;
  SET @sync_moving = sync_outer;
  END IF;
END",
            updates.join(";\n  ")
        );
        triggers.push(writer.trigger("moved", "BEFORE UPDATE", body));
    }
    triggers
}

/// The time of a statement that the library does not stamp.
const NOW: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))";

struct Writer<'t> {
    table: &'t Table,
}

impl Writer<'_> {
    fn trigger(&self, event: &str, when: &'static str, body: String) -> Trigger {
        Trigger { name: format!("sync_{event}_{}", self.table.number), when, body }
    }

    /// The key of a row.
    fn key(&self, row: &str) -> String {
        self.table.change_id(&MariaDb, row)
    }

    /// That the key is short enough to be an id, as a further condition. No record has a longer one, and so it is not
    /// tracked.
    fn is_id(&self, key: &str) -> String {
        match self.table.id_type() {
            IdType::Text => format!(" AND OCTET_LENGTH({key}) <= {MAX_ID_BYTES}"),
            _ => String::new(),
        }
    }

    fn base(&self) -> String {
        format!("sync_base_{}", self.table.number)
    }

    /// Each field that travels, but for those of the id, and whether the rows `OLD` and `NEW` differ in it, to the bit.
    fn differences(&self) -> Vec<(&'static FieldSchema, String)> {
        let fields = self.table.schema.replicated().filter(|(index, _)| !self.table.schema.is_key(*index));
        fields.map(|(index, field)| (field, differs(&self.table.columns[index]))).collect()
    }

    fn differ(&self) -> String {
        let parts: Vec<_> = self.differences().into_iter().map(|(_, differs)| differs).collect();
        if parts.is_empty() { "FALSE".to_owned() } else { parts.join("\n    OR ") }
    }

    /// `Change::stamps_after` in SQL, where the row `OLD` becomes `NEW`: on top of the change that stands there, whose
    /// stamp is in `prev_stamp` by then.
    fn stamps_after(&self) -> String {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (field, differs) in self.differences() {
            let path = |name: &str| literal(&format!("$.{}", serde_json::Value::from(name)));
            // A path that leads nowhere changes nothing.
            removed.push(format!("IF({differs}, {}, '$.sync_none')", path(field.name)));
            if matches!(field.merge, Merge::LastWrite) {
                added.push(format!("IF({differs}, '$.sync_none.none', {}), prev_stamp", path(field.name)));
            }
        }
        let left = |from: &str| match removed.is_empty() {
            true => from.to_owned(),
            false => format!("JSON_REMOVE({from}, {})", removed.join(", ")),
        };
        match added.is_empty() {
            true => format!("IF(kind = 2 OR stamps IS NULL, NULL, NULLIF({}, '{{}}'))", left("stamps")),
            false => format!(
                "IF(kind = 2, NULL, NULLIF(JSON_INSERT({}, {}), '{{}}'))",
                left("coalesce(stamps, '{}')"),
                added.join(", ")
            ),
        }
    }

    /// What runs where the record of this key is not one that the library puts.
    fn unless_put(&self, key: &str, statements: &[String]) -> String {
        let statements: String = statements.iter().map(|statement| format!("    {statement};\n")).collect();
        format!(
            "SET sync_found = 0;
  IF sync_model <=> {number} THEN
    SELECT count(*) INTO sync_found FROM sync_put p
      WHERE p.connection = CONNECTION_ID() AND p.turn = sync_turn AND p.id = {key};
  END IF;
  IF sync_found = 0{is_id} THEN
{statements}  END IF",
            number = self.table.number,
            is_id = self.is_id(key),
        )
    }

    /// A body that knows the store's name, the time and what the library handed over. A store that was not opened yet,
    /// since somebody made its tables by hand, has no name and tracks nothing yet but what is inserted.
    fn body(&self, statements: &str) -> String {
        format!(
            "BEGIN
  DECLARE sync_me, sync_model, sync_found INT;
  DECLARE sync_keep, sync_at, sync_least, sync_group, sync_turn BIGINT;
  DECLARE sync_there BOOL;
  DECLARE sync_others LONGTEXT;
  SELECT s.me, s.keep_through INTO sync_me, sync_keep FROM sync_state s;
  IF @sync_writing IS NOT NULL THEN
    SELECT max(w.stamp), max(w.grp), max(w.put_model), max(w.turn) INTO sync_at, sync_group, sync_model, sync_turn
      FROM sync_writing w WHERE w.connection = CONNECTION_ID();
  END IF;
  SET sync_at = coalesce(sync_at, {NOW});
  IF sync_me IS NOT NULL THEN
  {statements}
  END IF;
END"
        )
    }

    /// Makes a change of the record of this key, which has none.
    fn make(&self, key: &str, kind: &str, at: &str, writer: &str, group: &str) -> String {
        let number = self.table.number;
        format!(
            "INSERT INTO sync_change(model, id, kind, position, stamp, writer, grp)
        VALUES ({number}, {key}, {kind}, -NEXT VALUE FOR sync_written, {at}, {writer}, {group})"
        )
    }

    /// Tracks the record of this key.
    ///
    /// A record that is made has no change most often: an insert that may fail costs less then than one that says what
    /// else to do. One that is changed has a change, and an insert that fails costs most of all.
    fn track(&self, key: &str, kind: u8, stamps: &str) -> String {
        let number = self.table.number;
        // An update of a record that is not tracked makes it.
        let (first, then) = match kind {
            1 => ("0".to_owned(), "IF(kind = 2, 0, 1)".to_owned()),
            other => (other.to_string(), other.to_string()),
        };
        let insert = self.make(key, &first, "sync_at", "sync_me", "sync_group");
        // Made one after the other: later ones see what the earlier ones set.
        let set = |position: &str| {
            format!(
                "prev_stamp = stamp, prev_writer = IF(writer = {OWN}, sync_me, writer), stamps = {stamps}, stamp = greatest(sync_at, 1 + prev_stamp),
          others = IF(prev_writer = sync_me, others,
            JSON_SET(coalesce(others, '{{}}'), CONCAT('$.\"', prev_writer, '\"'), prev_stamp)),
          writer = sync_me, kind = {then}, position = {position}, grp = sync_group, origin = NULL, merged = NULL,
          unknown = {unknown}",
                unknown = if kind == 2 { "NULL" } else { "unknown" },
            )
        };
        let write = match kind {
            0 => format!(
                "SET sync_there = FALSE;
      BEGIN
        DECLARE CONTINUE HANDLER FOR 1062 SET sync_there = TRUE;
        {insert};
      END;
      IF sync_there THEN
        UPDATE sync_change SET {} WHERE model = {number} AND id = {key};
      END IF",
                set("-NEXT VALUE FOR sync_written")
            ),
            _ => format!(
                "SET sync_there = TRUE;
      {insert}
        ON DUPLICATE KEY UPDATE {}",
                set("VALUES(position)")
            ),
        };
        format!(
            "{write};
      IF sync_there THEN
        SELECT count(*), max(c.others) INTO sync_found, sync_others
          FROM sync_change c WHERE c.model = {number} AND c.id = {key};
        IF sync_found = 0 THEN
          SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'sync_written gives a number twice; restart it above all positions';
        END IF;
        IF sync_others IS NOT NULL THEN
          SELECT 1 + max(v.v) INTO sync_least FROM JSON_TABLE(sync_others, '$.*' COLUMNS(v BIGINT PATH '$')) v;
          UPDATE sync_change SET stamp = greatest(stamp, coalesce(sync_least, 0)),
            others = NULLIF(JSON_REMOVE(others, CONCAT('$.\"', sync_me, '\"')), '{{}}')
            WHERE model = {number} AND id = {key};
        END IF;
      END IF"
        )
    }

    /// Keeps a state as base: of the row `OLD`, or the tombstone of a key that is made anew.
    fn keep(&self, key: &str, row: Option<&str>) -> String {
        let schema = self.table.schema;
        let values: Vec<_> = self
            .table
            .travelling()
            .map(|(field, column)| match row {
                Some(row) => format!("{row}.{}", column.name),
                None if schema.is_key(field) => format!("NEW.{}", column.name),
                None => "NULL".to_owned(),
            })
            .collect();
        let change = change_columns("c.").replace("c.position", "greatest(c.position, 0)");
        let columns: Vec<_> = self
            .table
            .travelling()
            .map(|(_, column)| column.name.clone())
            .chain(CHANGE.map(|(name, _)| format!("sync_{name}")))
            .chain(["sync_until".to_owned(), "sync_open".to_owned()])
            .collect();
        let set: Vec<_> = columns.iter().map(|name| format!("{name} = VALUES({name})")).collect();
        let kind = if row.is_some() { "c.kind <> 2" } else { "c.kind = 2" };
        format!(
            "INSERT INTO {base}({columns})
        SELECT {values}, {change}, 0, TRUE FROM sync_change c WHERE c.model = {number} AND c.id = {key}
          AND {kind} AND (c.position BETWEEN 1 AND sync_keep OR c.origin IS NOT NULL)
        ON DUPLICATE KEY UPDATE {set}",
            base = self.base(),
            columns = columns.join(", "),
            values = values.join(", "),
            number = self.table.number,
            set = set.join(", "),
        )
    }

    /// Keeps what is overwritten, where bases are kept at all, and notes where the open one of the record ended, whose
    /// change is about to move on.
    fn kept(&self, key: &str, row: &str, state: Option<&str>) -> String {
        let (base, number) = (self.base(), self.table.number);
        let same = self.table.same_key("b", row);
        format!(
            "IF sync_keep IS NOT NULL THEN
      SELECT count(*) INTO sync_found FROM sync_change c WHERE c.model = {number} AND c.id = {key};
    END IF;
    IF sync_found > 0 THEN
      SELECT count(*) INTO sync_found FROM {base} b WHERE {same} AND b.sync_open;
      IF sync_found > 0 THEN
        UPDATE {base} b FORCE INDEX (sync_revision) STRAIGHT_JOIN sync_change c FORCE INDEX (PRIMARY)
          ON c.model = {number} AND c.id = {key}
          SET b.sync_open = FALSE, b.sync_until = greatest(b.sync_until, c.position)
          WHERE b.sync_open AND {same} AND c.position > 0;
      END IF;
      {};
    END IF",
            self.keep(key, state),
        )
    }

    fn made(&self) -> String {
        let key = self.key("NEW");
        self.unless_put(&key, &[self.kept(&key, "NEW", None), self.track(&key, 0, "NULL")])
    }

    fn gone(&self) -> String {
        let key = self.key("OLD");
        self.unless_put(&key, &[self.kept(&key, "OLD", Some("OLD")), self.track(&key, 2, "NULL")])
    }

    /// Each statement and each variable of a trigger costs as much as a field of the row, so what other programs insert
    /// most often, a record of a new id, takes as few of them as can be. Not even the store's name is looked for.
    fn insert(&self) -> Trigger {
        let key = self.key("NEW");
        let body = format!(
            "BEGIN
  DECLARE sync_rest BOOL DEFAULT @sync_writing IS NOT NULL;
  IF NOT sync_rest{is_id} THEN
    BEGIN
      DECLARE CONTINUE HANDLER FOR 1062 SET sync_rest = TRUE;
      {make};
    END;
  END IF;
  IF sync_rest THEN
{rest};
  END IF;
END",
            is_id = self.is_id(&key),
            make = self.make(&key, "0", NOW, &OWN.to_string(), "NULL"),
            rest = self.body(&format!("{};", self.made())),
        );
        self.trigger("insert", "AFTER INSERT", body)
    }

    fn delete(&self) -> Trigger {
        self.trigger("delete", "AFTER DELETE", self.body(&format!("{};", self.gone())))
    }

    fn update(&self) -> Trigger {
        let (old, new) = (self.key("OLD"), self.key("NEW"));
        let changed = self.unless_put(
            &new,
            &[self.kept(&new, "OLD", Some("OLD")), self.track(&new, 1, &self.stamps_after())],
        );
        // What did not change costs nothing more.
        let body = format!(
            "IF NOT ({old} <=> {new}) THEN
  {};
  {};
  ELSE
  {changed};
  END IF;",
            self.gone(),
            self.made(),
        );
        let body = self.body(&body);
        let body = format!(
            "IF NOT ({old} <=> {new}) OR {} THEN
{body};
END IF",
            self.differ()
        );
        self.trigger("update", "AFTER UPDATE", format!("BEGIN\n{body};\nEND"))
    }
}

/// Whether a column of the rows `OLD` and `NEW` differs, to the bit.
fn differs(column: &Column) -> String {
    let (o, n) = (format!("OLD.{}", column.name), format!("NEW.{}", column.name));
    match (column.ty, column.kind) {
        // The same number may be written in several ways; zero has a sign.
        (FieldType::Float | FieldType::Float32, Kind::Text) => format!(
            "NOT (CAST({o} AS DOUBLE) <=> CAST({n} AS DOUBLE)) \
             OR CAST({o} AS DOUBLE) = 0 AND LEFT(LTRIM({o}), 1) = '-' <> (LEFT(LTRIM({n}), 1) = '-')"
        ),
        (_, Kind::Text | Kind::Collated) => format!("NOT (CAST({o} AS BINARY) <=> CAST({n} AS BINARY))"),
        _ => format!("NOT ({o} <=> {n})"),
    }
}

/// The view that shows a model's changes to people.
pub(super) fn view(table: &Table, own: &str, name: &str) -> String {
    let id = MariaDb.id_of_key("c.id", &table.columns[table.schema.id], table.id_type());
    let revision = |stamp: &str, of: &str| format!("CONCAT({stamp}, '@', LOWER(HEX({of}.id)))");
    format!(
        "CREATE SQL SECURITY INVOKER VIEW {name} AS
SELECT CASE WHEN c.position > 0 THEN c.position END AS `position`, {id} AS `id`,
  CASE c.kind WHEN 0 THEN 'create' WHEN 1 THEN 'update' ELSE 'delete' END AS `kind`, {} AS `revision`,
  {} AS `previous`, c.grp AS `group`, LOWER(HEX(o.id)) AS `origin`
FROM {own}sync_state s JOIN {own}sync_change c JOIN {own}sync_replica w ON w.n = IF(c.writer = {OWN}, s.me, c.writer)
LEFT JOIN {own}sync_replica p ON p.n = c.prev_writer LEFT JOIN {own}sync_replica o ON o.n = c.origin
WHERE c.model = {}",
        revision("c.stamp", "w"),
        revision("c.prev_stamp", "p"),
        table.number
    )
}
