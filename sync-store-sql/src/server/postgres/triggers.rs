//! The triggers that track a table of PostgreSQL, whoever writes to it; see the rule *triggers that miss nothing*.
//!
//! One for each kind of statement, after it, over all the rows that it touched: a row trigger costs twice as much.
//! Cascades are statements of their own here. `TRUNCATE` has a trigger before it, while the rows are still there.
//!
//! A store that was not opened yet, since somebody made its tables by hand, has no name and tracks nothing. A transaction
//! whose snapshot is older than the name does not see it either, but what a sequence says has no snapshot.
//!
//! What a writing library hands over stands in settings that end with its transaction: `sync.stamp`, the time of its
//! writes, and `sync.put_model` with `sync.put_ids`, the records that it tracks by itself: of a statement that touched
//! nothing else there is nothing to track.

use crate::names::literal;
use crate::server::statement::Dialect;
use crate::server::tables::{CHANGE, Column, IdType, Table, change_columns};
use sync_runtime::Merge;
use sync_runtime::schema::FieldSchema;

use super::Postgres;
use crate::server::link::Kind;

/// Paths that one call of a JSON function gets; PostgreSQL takes a hundred arguments.
const ARGUMENTS: usize = 40;

/// One trigger with its function: their names and the statements that make them.
#[derive(Debug)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) function: String,
    pub(super) create: String,
}

/// All triggers of a table. `own` stands before the names of the library's own things, whose schema is `schema`.
pub(super) fn all(table: &Table, own: &str, schema: &str) -> Vec<Trigger> {
    let writer = Writer { table, own, schema };
    vec![writer.insert(), writer.update(), writer.delete(), writer.truncate()]
}

struct Writer<'t> {
    table: &'t Table,
    own: &'t str,
    schema: &'t str,
}

impl Writer<'_> {
    /// The id of a row as its change has it.
    fn key(&self, row: &str) -> String {
        self.table.change_id(&Postgres, row)
    }

    /// Each field that travels, but for those of the id, and whether the rows `o` and `n` differ in it, to the bit.
    fn differences(&self) -> Vec<(&'static FieldSchema, String)> {
        let fields = self.table.schema.replicated().filter(|(index, _)| !self.table.schema.is_key(*index));
        fields.map(|(index, field)| (field, differs(&self.table.columns[index]))).collect()
    }

    fn differ(&self) -> String {
        let parts: Vec<_> = self.differences().into_iter().map(|(_, differs)| differs).collect();
        if parts.is_empty() { "FALSE".to_owned() } else { parts.join("\n    OR ") }
    }

    /// `Change::stamps_after` in SQL, on top of the change `c`, where the row `o` becomes `n`.
    fn stamps_after(&self) -> String {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (field, differs) in self.differences() {
            let name = literal(field.name);
            removed.push(format!("CASE WHEN {differs} THEN {name} END"));
            if matches!(field.merge, Merge::LastWrite) {
                added.push(format!("{name}, CASE WHEN NOT ({differs}) THEN c.stamp END"));
            }
        }
        let left = |from: &str| {
            removed
                .chunks(ARGUMENTS)
                .fold(from.to_owned(), |on, some| format!("({on} - ARRAY[{}]::text[])", some.join(", ")))
        };
        if added.is_empty() {
            return format!("CASE WHEN c.stamps IS NOT NULL THEN nullif({}, '{{}}') END", left("c.stamps"));
        }
        let added: Vec<_> = added
            .chunks(ARGUMENTS)
            .map(|some| format!("jsonb_strip_nulls(jsonb_build_object({}))", some.join(", ")))
            .collect();
        format!("nullif({} || {}, '{{}}')", added.join(" || "), left("coalesce(c.stamps, '{}')"))
    }

    /// A trigger whose function runs these statements. `touched` are the tables of the rows that it is called for, each
    /// with the name of a row of it.
    fn trigger(&self, event: &str, head: &str, touched: &[(&str, &str)], body: &[String]) -> Trigger {
        let name = format!("sync_{event}_{}", self.table.number);
        let others = touched.iter().map(|(rows, row)| {
            format!("EXISTS (SELECT FROM {rows} {row} WHERE {} <> ALL(sync_put))", self.key(row))
        });
        let others = others.collect::<Vec<_>>().join(" OR ");
        let body: String = body.iter().map(|statement| format!("  {statement};\n")).collect();
        let function = format!(
            "CREATE OR REPLACE FUNCTION {own}{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $sync$
#variable_conflict use_column
DECLARE sync_me int4; sync_keep int8; sync_put bytea[]; sync_at int8; sync_group int8;
  sync_least bytea;
BEGIN
  SELECT s.me, s.keep_through INTO sync_me, sync_keep FROM {own}sync_state s;
  IF sync_me IS NULL THEN
    IF current_setting('transaction_isolation') <> 'read committed' AND (SELECT w.is_called FROM {own}sync_written w) THEN
      RAISE EXCEPTION 'this transaction began before the table was tracked; try it again' USING ERRCODE = '40001';
    END IF;
    RETURN NULL;
  END IF;
  sync_at := coalesce(nullif(current_setting('sync.stamp', true), '')::int8,
    (extract(epoch FROM clock_timestamp()) * 1000000)::int8);
  IF current_setting('sync.put_model', true) = '{number}' THEN
    sync_put := current_setting('sync.put_ids')::bytea[];
    IF NOT ({others}) THEN RETURN NULL; END IF;
  END IF;
  sync_group := pg_current_xact_id_if_assigned()::text::int8;
{body}  RETURN NULL;
END $sync$",
            own = self.own,
            schema = self.schema,
            number = self.table.number,
        );
        let create =
            format!("CREATE TRIGGER {name} {head} FOR EACH STATEMENT EXECUTE FUNCTION {}{name}()", self.own)
                .replace("{table}", &self.table.name);
        Trigger { name, function, create }
    }

    /// Whether the record of this key is not one that the library puts.
    fn not_put(key: &str) -> String {
        format!("(sync_put IS NULL OR {key} <> ALL(sync_put))")
    }

    /// Makes changes of records: `rows` gives key, kind and stamps of each; `order` puts them in the order of writing
    /// where they are not in it.
    fn make(&self, rows: &str, order: &str) -> String {
        format!(
            "INSERT INTO {own}sync_change AS c (model, id, kind, position, stamp, writer, grp, stamps)
  SELECT {number}, s.key, s.kind, -nextval('{own_text}sync_written'), sync_at, sync_me,
    coalesce(sync_group, pg_current_xact_id()::text::int8), s.stamps
  FROM ({rows}) s WHERE {not_put}{order}",
            own = self.own,
            own_text = self.own.replace('\'', "''"),
            number = self.table.number,
            not_put = Self::not_put("s.key"),
        )
    }

    /// Makes changes of records, or moves those on that they have. A tombstone stands where a trigger of the app's has taken
    /// the row away again; that its delete was tracked before this costs a look only where there is a tombstone.
    fn track(&self, rows: &str, order: &str) -> String {
        format!(
            "{}
  ON CONFLICT (model, id) DO UPDATE SET
    position = excluded.position, kind = excluded.kind,
    stamp = greatest(excluded.stamp, 1 + c.stamp,
      1 + (SELECT max(v.value::int8) FROM jsonb_each_text(c.others) v)),
    writer = excluded.writer,
    others = CASE WHEN c.writer = excluded.writer THEN c.others
      ELSE nullif((coalesce(c.others, '{{}}') || jsonb_build_object(c.writer::text, c.stamp))
                  - excluded.writer::text, '{{}}') END,
    prev_stamp = c.stamp, prev_writer = c.writer,
    grp = excluded.grp, origin = NULL, merged = NULL,
    unknown = CASE excluded.kind WHEN 2 THEN NULL ELSE c.unknown END,
    stamps = excluded.stamps
  WHERE c.kind <> 2 OR excluded.kind = 2 OR EXISTS (SELECT FROM {} t WHERE {})",
            self.make(rows, order),
            self.table.name,
            self.table.is_of_change(&Postgres, "t", "c.id"),
        )
    }

    /// The same for rows that are new in the table. Ids are often made in the order of time: then one look, behind the
    /// least of them or at least between it and the greatest, says of all of them that they have no change yet, and to
    /// insert without minding what is there costs two thirds.
    fn track_new(&self, rows: &str) -> String {
        let key = self.key("n");
        // Numbers and UUIDs have their order without being made into keys.
        let by = match (self.table.id_type(), self.table.columns[self.table.schema.id].kind) {
            (IdType::Int, _) | (IdType::Uuid, Kind::Uuid) => self.table.key_names("n."),
            _ => key.clone(),
        };
        let end = |order: &str| format!("(SELECT {key} FROM sync_new n ORDER BY {by} {order} LIMIT 1)");
        format!(
            "sync_least := {least};
  IF EXISTS (SELECT FROM {own}sync_change c WHERE c.model = {number} AND c.id >= sync_least)
    AND EXISTS (SELECT FROM {own}sync_change c WHERE c.model = {number} AND c.id BETWEEN sync_least AND {greatest}) THEN
  {moved};
  ELSE
  {made};
  END IF",
            own = self.own,
            number = self.table.number,
            least = end("ASC"),
            greatest = end("DESC"),
            moved = self.track(rows, ""),
            made = self.make(rows, ""),
        )
    }

    /// Keeps states as bases. `from` joins the rows `o`, or `n` where a tombstone is kept, to their changes `c`.
    fn keep(&self, row: Option<&str>, from: &str) -> String {
        let schema = self.table.schema;
        let values: Vec<_> = self
            .table
            .travelling()
            .map(|(field, column)| match row {
                Some(row) => format!("{row}.{}", column.name),
                None if schema.is_key(field) => format!("n.{}", column.name),
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
        let set: Vec<_> = columns.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let kind = if row.is_some() { "c.kind <> 2" } else { "c.kind = 2" };
        format!(
            "INSERT INTO {base}({columns})
    SELECT {values}, {change}, 0, TRUE
    FROM {from} AND {kind} AND (c.position BETWEEN 1 AND sync_keep OR c.origin IS NOT NULL) AND {not_put}
    ON CONFLICT ({id}, sync_stamp, sync_writer, sync_position) DO UPDATE SET {set}",
            base = self.table.base,
            columns = columns.join(", "),
            values = values.join(", "),
            not_put = Self::not_put("c.id"),
            id = self.table.key_names(""),
            set = set.join(", "),
        )
    }

    /// Notes where the open bases of records ended, whose changes are about to move on.
    fn close(&self, row: &str, from: &str) -> String {
        // Texts of bases, and so their index, have the database's own collation.
        let same = self.table.key().map(|column| {
            let collate = if column.collation.is_empty() { "" } else { " COLLATE pg_catalog.\"default\"" };
            format!("b.{0} = {row}.{0}{collate}", column.name)
        });
        format!(
            "UPDATE {base} b SET sync_open = FALSE, sync_until = greatest(b.sync_until, c.position)
    FROM {from} JOIN {own}sync_change c ON c.model = {number} AND c.id = {key}
    WHERE b.sync_open AND {same} AND c.position > 0 AND {not_put}",
            base = self.table.base,
            own = self.own,
            number = self.table.number,
            key = self.key(row),
            same = same.collect::<Vec<_>>().join(" AND "),
            not_put = Self::not_put("c.id"),
        )
    }

    /// These statements, where bases are kept at all.
    fn if_kept(statements: &[String]) -> String {
        let statements: String = statements.iter().map(|statement| format!("    {statement};\n")).collect();
        format!("IF sync_keep IS NOT NULL THEN\n{statements}  END IF")
    }

    /// Rows joined to the changes of their records.
    fn with_change(&self, rows: &str, key: &str) -> String {
        format!("{rows} JOIN {}sync_change c ON c.model = {} AND c.id = {key}", self.own, self.table.number)
    }

    fn insert(&self) -> Trigger {
        let key = self.key("n");
        let rows = format!("SELECT {key} AS key, 0::int2 AS kind, NULL::jsonb AS stamps FROM sync_new n");
        let tombstones = self.keep(None, &format!("{} WHERE TRUE", self.with_change("sync_new n", &key)));
        let kept = Self::if_kept(&[self.close("n", "sync_new n"), tombstones]);
        let body = [kept, self.track_new(&rows)];
        let head = "AFTER INSERT ON {table} REFERENCING NEW TABLE AS sync_new";
        self.trigger("insert", head, &[("sync_new", "n")], &body)
    }

    fn update(&self) -> Trigger {
        let key = format!("coalesce({}, {})", self.key("n"), self.key("o"));
        let (no_old, no_new) = (self.table.is_none("o"), self.table.is_none("n"));
        let same = self.table.same_key("o", "n");
        let both = format!("sync_old o FULL JOIN sync_new n ON {same}");
        let changed = format!("({no_old} OR {no_new} OR {})", self.differ());
        let rows = format!(
            "SELECT {key} AS key,
      (CASE WHEN {no_new} THEN 2 WHEN {no_old} OR c.id IS NULL OR c.kind = 2 THEN 0 ELSE 1 END)::int2 AS kind,
      CASE WHEN NOT ({no_new} OR {no_old}) AND c.kind <> 2 THEN {stamps} END AS stamps,
      n.sync_place AS place
    FROM {placed} LEFT JOIN {own}sync_change c ON c.model = {number} AND c.id = {key}
    WHERE {changed}",
            placed = both
                .replace("sync_new n", "(SELECT n.*, row_number() OVER () AS sync_place FROM sync_new n) n"),
            stamps = self.stamps_after(),
            own = self.own,
            number = self.table.number,
        );
        let old = format!(
            "{} LEFT JOIN sync_new n ON {same} WHERE {changed}",
            self.with_change("sync_old o", &self.key("o"))
        );
        let made = format!(
            "{} LEFT JOIN sync_old o ON {same} WHERE {no_old}",
            self.with_change("sync_new n", &self.key("n"))
        );
        let ids = self.table.key().map(|column| format!("coalesce(n.{0}, o.{0}) AS {0}", column.name));
        let ids = ids.collect::<Vec<_>>().join(", ");
        let changed_rows = format!("(SELECT {ids} FROM {both} WHERE {changed}) x");
        let kept = [self.close("x", &changed_rows), self.keep(Some("o"), &old), self.keep(None, &made)];
        let body = [Self::if_kept(&kept), self.track(&rows, " ORDER BY s.place")];
        let head = "AFTER UPDATE ON {table} REFERENCING OLD TABLE AS sync_old NEW TABLE AS sync_new";
        self.trigger("update", head, &[("sync_old", "o"), ("sync_new", "n")], &body)
    }

    fn gone(&self, old: &str) -> [String; 2] {
        let key = self.key("o");
        let rows = format!("SELECT {key} AS key, 2::int2 AS kind, NULL::jsonb AS stamps FROM {old} o");
        let states = format!("{} WHERE TRUE", self.with_change(&format!("{old} o"), &key));
        let kept = [self.close("o", &format!("{old} o")), self.keep(Some("o"), &states)];
        [Self::if_kept(&kept), self.track(&rows, "")]
    }

    fn delete(&self) -> Trigger {
        let head = "AFTER DELETE ON {table} REFERENCING OLD TABLE AS sync_old";
        self.trigger("delete", head, &[("sync_old", "o")], &self.gone("sync_old"))
    }

    fn truncate(&self) -> Trigger {
        let rows = &self.table.name;
        self.trigger("truncate", "BEFORE TRUNCATE ON {table}", &[(rows, "o")], &self.gone(rows))
    }
}

/// Whether a column of the rows `o` and `n` differs, to the bit.
fn differs(column: &Column) -> String {
    let (o, n) = (format!("o.{}", column.name), format!("n.{}", column.name));
    match column.kind {
        Kind::Float(4) => format!("float4send({o}) IS DISTINCT FROM float4send({n})"),
        Kind::Float(_) => format!("float8send({o}) IS DISTINCT FROM float8send({n})"),
        Kind::Text => format!("{o}::text COLLATE \"C\" IS DISTINCT FROM {n}::text COLLATE \"C\""),
        Kind::Numeric | Kind::Json | Kind::JsonParsed => {
            format!("{o}::text IS DISTINCT FROM {n}::text")
        }
        _ => format!("{o} IS DISTINCT FROM {n}"),
    }
}

/// The view that shows a model's changes to people.
pub(super) fn view(table: &Table, own: &str, name: &str) -> String {
    let id = Postgres.id_of_key("c.id", &table.columns[table.schema.id], table.id_type());
    format!(
        "CREATE VIEW {name} AS SELECT CASE WHEN c.position > 0 THEN c.position END AS position, {id} AS id,
  CASE c.kind WHEN 0 THEN 'create' WHEN 1 THEN 'update' ELSE 'delete' END AS kind,
  c.stamp || '@' || encode(w.id, 'hex') AS revision,
  c.prev_stamp || '@' || encode(p.id, 'hex') AS previous,
  c.grp AS \"group\", encode(o.id, 'hex') AS origin
FROM {own}sync_change c JOIN {own}sync_replica w ON w.n = c.writer
LEFT JOIN {own}sync_replica p ON p.n = c.prev_writer LEFT JOIN {own}sync_replica o ON o.n = c.origin
WHERE c.model = {}",
        table.number
    )
}
