//! The triggers that track a table, whoever writes to it; see the rule *triggers that miss nothing*.
//!
//! They are written for the oldest program that may write, SQLite 3.40, and must work under every outer conflict
//! policy, with `recursive_triggers` on and off:
//!
//! - They upsert with `ON CONFLICT`, because an outer `OR IGNORE` would override an inner `OR REPLACE`.
//! - A row that `REPLACE` removes fires no delete trigger. So a BEFORE trigger notes the rows that collide with the
//!   new one: a copy in the base table without `sync_until`. What an ignored insert noted stays behind, so a note is
//!   only a hint: the AFTER triggers settle all notes, and a trigger on that looks at what became of each row.
//! - `sync_state` holds what a writing library hands over: stamp, group, and the record that it tracks by itself. It
//!   is set and cleared inside the transaction, so it cannot outlive it.
//!
//! They are for other programs, and for what cascades and an app's own triggers do to records beside the one that the
//! library writes. Where there are neither, the library's connection has them off, which halves the price of a write.
//!
//! One difference is invisible to SQL: another program that writes the float `0.0` over `-0.0`. Writes by the
//! library keep the two apart by their storage type. And a new unique key is known to them from the next write by the
//! library on.

use super::codec::Affinity;
use super::tables::Table;
use crate::names::{self, quoted};
use sync_runtime::Merge;
use sync_runtime::schema::FieldSchema;

/// The columns of a change, as `sync_change` has them and, prefixed, each base table.
pub(crate) const CHANGE: [&str; 12] = [
    "kind",
    "position",
    "stamp",
    "writer",
    "others",
    "prev_stamp",
    "prev_writer",
    "grp",
    "origin",
    "merged",
    "unknown",
    "stamps",
];

/// The change columns of a base table, in the order of [`CHANGE`].
pub(crate) fn base_change_columns() -> String {
    CHANGE.map(|column| format!("sync_{column}")).join(", ")
}

fn prefixed(prefix: &str) -> String {
    CHANGE.map(|column| format!("{prefix}.{column}")).join(", ")
}

/// Paths, or paths with their values, that one call of a JSON function gets; SQLite takes a hundred arguments.
const ARGUMENTS: usize = 40;

/// The database's clock in microseconds, for writers that hand over no stamp. `unixepoch('subsec')` is too new.
pub(super) const CLOCK: &str = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000 \
                     + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000";

/// `Ancestry::after` in SQL, for the change that is there already; `kind` and `stamps` are the new ones. A tombstone
/// stands unless `only` is so, which is empty where it is not asked.
fn on_top(kind: &str, stamps: &str, only: &str) -> String {
    let only = if only.is_empty() { String::new() } else { format!("\n  WHERE kind <> 2 OR {only}") };
    format!(
        "ON CONFLICT (model, id) DO UPDATE SET
    position = excluded.position,
    kind = {kind},
    stamp = max(excluded.stamp, 1 + CASE WHEN others IS NULL THEN stamp
      ELSE (SELECT max(max(value), sync_change.stamp) FROM json_each(sync_change.others)) END),
    writer = excluded.writer,
    others = CASE WHEN writer = excluded.writer THEN others
      ELSE json_remove(json_set(ifnull(others, '{{}}'), '$.\"' || writer || '\"', stamp),
                       '$.\"' || excluded.writer || '\"') END,
    prev_stamp = stamp, prev_writer = writer,
    grp = excluded.grp, origin = NULL, merged = NULL,
    unknown = CASE excluded.kind WHEN 2 THEN NULL ELSE unknown END,
    stamps = {stamps}{only}"
    )
}

/// One trigger: its name and the whole statement that makes it.
#[derive(Debug)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// What the triggers of a table are for, as their names say it.
pub(super) const EVENTS: [&str; 8] =
    ["insert", "update", "rekey", "delete", "settle", "replace", "displace", "move"];

/// All triggers of a table, those on its base table included.
pub(crate) fn all(table: &Table) -> Vec<Trigger> {
    let writer = Writer::new(table);
    let mut triggers =
        vec![writer.insert(), writer.update(), writer.rekey(), writer.delete(), writer.settle()];
    triggers.push(writer.before_insert());
    triggers.push(writer.before_update());
    triggers.extend(writer.move_only());
    triggers
}

struct Writer<'t> {
    table: &'t Table,
    name: String,
    base: String,
    model: i64,
}

impl<'t> Writer<'t> {
    fn new(table: &'t Table) -> Self {
        Writer {
            name: quoted(table.schema.table),
            base: quoted(&names::base_table(table.schema)),
            model: table.number,
            table,
        }
    }

    fn trigger(&self, event: &str, head: &str, on: &str, when: &str, body: &[String]) -> Trigger {
        let name = names::trigger(event, self.table.schema);
        let when = if when.is_empty() { String::new() } else { format!("\nWHEN {when}") };
        let body: String = body.iter().map(|statement| format!("  {statement};\n")).collect();
        let sql = format!("CREATE TRIGGER {} {head} ON {on}{when}\nBEGIN\n{body}END", quoted(&name));
        Trigger { name, sql }
    }

    /// Whether two rows differ in a field that travels, to the bit.
    fn differ(&self, a: &str, b: &str) -> String {
        let parts: Vec<_> = self.differences(a, b).into_iter().map(|(_, differs)| differs).collect();
        if parts.is_empty() { "0".to_owned() } else { parts.join("\n  OR ") }
    }

    /// Each field that travels, but for the id, and whether two rows differ in it.
    fn differences(&self, a: &str, b: &str) -> Vec<(&'static FieldSchema, String)> {
        let mut parts = Vec::new();
        for (index, field) in self.table.schema.replicated() {
            if self.table.schema.is_key(index) {
                continue;
            }
            let encoding = self.table.columns[index].encoding;
            let column = quoted(field.name);
            let (a, b) = (format!("{a}.{column}"), format!("{b}.{column}"));
            let differs = match encoding.affinity() {
                Affinity::Integer => format!("{a} IS NOT {b}"),
                Affinity::Text => format!("{a} IS NOT {b} COLLATE BINARY"),
                Affinity::Real => format!("{a} IS NOT {b}"),
                _ if encoding.is_decimal_number() => format!("{a} IS NOT {b}"),
                _ if encoding.is_float() => {
                    format!("({a} IS NOT {b} OR ({a} = 0 AND typeof({a}) <> typeof({b})))")
                }
                _ => format!("({a} IS NOT {b} COLLATE BINARY OR typeof({a}) <> typeof({b}))"),
            };
            parts.push((field, differs));
        }
        parts
    }

    /// `Change::stamps_after` in SQL, where the row `a` of the change that is there already becomes `b`.
    fn stamps_after(&self, a: &str, b: &str) -> String {
        // Not all paths can be left out: `$[0]` is nowhere in an object, and `$` is there already.
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for (field, differs) in self.differences(a, b) {
            let path = names::literal(&format!("$.\"{}\"", field.name));
            removed.push(format!("iif({differs}, {path}, '$[0]')"));
            if matches!(field.merge, Merge::LastWrite) {
                added.push(format!("iif({differs}, '$', {path}), sync_change.stamp"));
            }
        }
        let call = |name: &str, on: String, arguments: &[String]| {
            arguments.chunks(ARGUMENTS).fold(on, |on, some| format!("{name}({on}, {})", some.join(", ")))
        };
        // Most changes of a model without such a field have none, and need no more than to know that.
        let stamps = match added.is_empty() {
            true => "sync_change.stamps".to_owned(),
            false => "ifnull(sync_change.stamps, '{}')".to_owned(),
        };
        let after = call("json_insert", call("json_remove", stamps, &removed), &added);
        match added.is_empty() {
            true => format!("CASE WHEN sync_change.stamps IS NOT NULL THEN nullif({after}, '{{}}') END"),
            false => format!("nullif({after}, '{{}}')"),
        }
    }

    /// `s` is `sync_state`: this record is not the one that is being put.
    fn not_put(&self, id: &str) -> String {
        format!("(s.put_model IS NOT {} OR s.put_id IS NOT {id})", self.model)
    }

    /// Tracks the record of this id. `from` may join more to `sync_state s`.
    fn track(&self, id: &str, kind: &str, from: &str, and: &str, on_top: &str) -> String {
        format!(
            "INSERT INTO sync_change(model, id, kind, stamp, writer, grp)
  SELECT {}, {id}, {kind}, ifnull(s.stamp, {CLOCK}), s.me, s.grp
  FROM sync_state s{from} WHERE s.one = 1 AND {} AND {id} IS NOT NULL{and}
  {on_top}",
            self.model,
            self.not_put(id),
        )
    }

    /// Keeps a state as base. `values` are the record's columns, `change` the change columns, `until` the position of
    /// what overwrites it; `from` gives them, joined to `sync_state s`.
    fn keep(&self, values: &str, change: &str, until: &str, from: &str, wanted: &str) -> String {
        let columns = self.columns("");
        let replaced: Vec<_> = self
            .table
            .schema
            .replicated()
            .map(|(_, field)| quoted(field.name))
            .chain(CHANGE.map(|column| format!("sync_{column}")))
            .chain(["sync_until".to_owned()])
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        format!(
            "INSERT INTO {}({columns}, {}, sync_until)
  SELECT {values}, {change}, {until}
  FROM sync_state s CROSS JOIN {from} AND s.one = 1 AND s.keep_through IS NOT NULL AND {wanted}
  ON CONFLICT ({}, sync_stamp, sync_writer, sync_position) WHERE sync_until IS NOT NULL DO UPDATE SET
    {}",
            self.base,
            base_change_columns(),
            self.table.key_names().join(", "),
            replaced.join(", ")
        )
    }

    /// Keeps the state that the row `old` held and change `c` stood for.
    fn keep_old(&self) -> String {
        let id = self.table.id_of("old");
        self.keep(
            &self.columns("old."),
            &prefixed("c"),
            "(SELECT max(position) + 1 FROM sync_change)",
            &format!("sync_change c WHERE c.model = {} AND c.id = {id} AND c.kind <> 2", self.model),
            &format!("(c.position <= s.keep_through OR c.origin IS NOT NULL) AND {}", self.not_put(&id)),
        )
    }

    /// Keeps the tombstone that a record made anew stands on.
    fn keep_tombstone(&self) -> String {
        let id = self.table.id_of("new");
        let nulls: Vec<_> = self
            .table
            .schema
            .replicated()
            .map(|(index, field)| match self.table.schema.is_key(index) {
                true => format!("new.{}", quoted(field.name)),
                false => "NULL".to_owned(),
            })
            .collect();
        self.keep(
            &nulls.join(", "),
            &prefixed("c"),
            "(SELECT max(position) + 1 FROM sync_change)",
            &format!("sync_change c WHERE c.model = {} AND c.id = {id} AND c.kind = 2", self.model),
            &format!("(c.position <= s.keep_through OR c.origin IS NOT NULL) AND {}", self.not_put(&id)),
        )
    }

    /// The record's columns that travel.
    fn columns(&self, prefix: &str) -> String {
        let columns =
            self.table.schema.replicated().map(|(_, field)| format!("{prefix}{}", quoted(field.name)));
        columns.collect::<Vec<_>>().join(", ")
    }

    /// Has what became of the noted rows looked at, and says of each whether it is gone. Without notes it costs one look
    /// into an empty index.
    ///
    /// That is said here because a trigger on the base table must not name this one: it would stand in the way of who
    /// drops the table and makes it again under its name.
    fn settle_notes(&self) -> String {
        format!(
            "UPDATE {base} SET sync_grp = NOT EXISTS (SELECT 1 FROM {name} t WHERE {same}) WHERE sync_until IS NULL",
            base = self.base,
            name = self.name,
            same = self.table.same_key("t", &self.base),
        )
    }

    /// Tracks the row `new` as made: an update if it took the place of a noted row of the same id, and then only if
    /// it differs from that.
    fn track_new(&self) -> String {
        let (id, same) = (self.table.id_of("new"), self.table.same_key("n", "new"));
        // The note may be older than a write of the library, which has the triggers off. The plus keeps SQLite from
        // looking for it by its position.
        let noted = format!(
            " LEFT JOIN {} n ON n.sync_until IS NULL AND {same}
    AND +n.sync_position = (SELECT position FROM sync_change WHERE model = {} AND id = {id})",
            self.base, self.model,
        );
        let differs = format!("\n  AND (n.sync_kind IS NULL OR {})", self.differ("n", "new"));
        // Without a note it is made anew, and this gives null.
        let stamps = format!(
            "(SELECT {} FROM {} n WHERE n.sync_until IS NULL AND {same}
      AND +n.sync_position = sync_change.position)",
            self.stamps_after("n", "new"),
            self.base,
        );
        let on_top = on_top("excluded.kind", &stamps, &self.still_there());
        self.track(&id, "n.sync_kind IS NOT NULL", &noted, &differs, &on_top)
    }

    /// Whether no trigger of the app's, which ran before this one, has taken the row `new` away.
    fn still_there(&self) -> String {
        format!("EXISTS (SELECT 1 FROM {} t WHERE {})", self.name, self.table.same_key("t", "new"))
    }

    /// Tracks the record of this id as deleted.
    fn track_gone(&self, id: &str, and: &str) -> String {
        self.track(id, "2", "", and, &on_top("2", "NULL", ""))
    }

    fn insert(&self) -> Trigger {
        let body = [self.keep_tombstone(), self.track_new(), self.settle_notes()];
        self.trigger("insert", "AFTER INSERT", &self.name, "", &body)
    }

    fn update(&self) -> Trigger {
        let id = self.table.id_of("new");
        let stamps = format!("CASE WHEN sync_change.kind <> 2 THEN {} END", self.stamps_after("old", "new"));
        let kind = "CASE sync_change.kind WHEN 2 THEN 0 ELSE 1 END";
        let on_top = on_top(kind, &stamps, &self.still_there());
        let body = [self.keep_old(), self.track(&id, "0", "", "", &on_top), self.settle_notes()];
        let when = format!("NOT {}\n  AND ({})", self.table.rekeyed("old", "new"), self.differ("old", "new"));
        self.trigger("update", "AFTER UPDATE", &self.name, &when, &body)
    }

    fn rekey(&self) -> Trigger {
        let old = self.table.id_of("old");
        let gone = self.track_gone(&old, "");
        let body = [self.keep_old(), gone, self.keep_tombstone(), self.track_new(), self.settle_notes()];
        self.trigger("rekey", "AFTER UPDATE", &self.name, &self.table.rekeyed("old", "new"), &body)
    }

    fn delete(&self) -> Trigger {
        let id = self.table.id_of("old");
        let body = [self.keep_old(), self.track_gone(&id, ""), self.settle_notes()];
        self.trigger("delete", "AFTER DELETE", &self.name, "", &body)
    }

    /// For each note that is settled: a row that is gone without a tombstone was replaced, and gets one; and what was
    /// overwritten exactly once since is kept as base. The note goes.
    fn settle(&self) -> Trigger {
        let id = self.table.id_of("old");
        let gone = format!(
            "\n  AND new.sync_grp
  AND NOT EXISTS (SELECT 1 FROM sync_change c WHERE c.model = {model} AND c.id = {id} AND c.kind = 2)",
            model = self.model
        );
        let keep = self.keep(
            &self.columns("old."),
            &CHANGE.map(|column| format!("old.sync_{column}")).join(", "),
            "c.position",
            &format!("sync_change c WHERE c.model = {} AND c.id = {id}", self.model),
            "c.prev_stamp = old.sync_stamp AND c.prev_writer = old.sync_writer \
             AND (old.sync_position <= s.keep_through OR old.sync_origin IS NOT NULL)",
        );
        let done = format!("DELETE FROM {} WHERE {1} = old.{1}", self.base, self.table.base_rowid);
        let body = [self.track_gone(&id, &gone), keep, done];
        self.trigger("settle", "AFTER UPDATE OF sync_grp", &self.base, "old.sync_until IS NULL", &body)
    }

    /// Notes the tracked rows that match one of these conditions on `t`.
    fn note(&self, collisions: &[String]) -> [String; 2] {
        let columns = self.columns("");
        let note = format!(
            "INSERT INTO {}({columns}, {}, sync_until)
  SELECT {}, {}, NULL FROM {} t JOIN sync_change c ON c.model = {} AND c.id = {} AND c.kind <> 2
  WHERE {}",
            self.base,
            base_change_columns(),
            self.columns("t."),
            prefixed("c"),
            self.name,
            self.model,
            self.table.id_of("t"),
            collisions.join(" OR ")
        );
        [self.settle_notes(), note]
    }

    fn before_insert(&self) -> Trigger {
        let collisions = self.collisions();
        let when = self.any(&collisions);
        self.trigger("replace", "BEFORE INSERT", &self.name, &when, &self.note(&collisions))
    }

    fn before_update(&self) -> Trigger {
        let other = self.table.other_key("t", "old");
        let collisions: Vec<_> =
            self.collisions().into_iter().map(|collision| format!("({collision} AND {other})")).collect();
        // `OF` keeps other updates cheap. It goes by the names that a statement uses, of which a row id has several.
        let unique: Vec<_> =
            self.table.unique.iter().flat_map(|key| &key.columns).map(|(column, _)| quoted(column)).collect();
        let key = self.table.key().map(|(place, _)| quoted(self.table.schema.fields[place].name));
        let of: Vec<_> = unique.iter().cloned().chain(key).chain(self.rowid_names()).collect();
        let partial = self.table.unique.iter().any(|key| key.only.is_some());
        let head = match self.table.computed_key || partial {
            true => "BEFORE UPDATE".to_owned(),
            false => format!("BEFORE UPDATE OF {}", of.join(", ")),
        };
        let mut moved = vec![self.table.rekeyed("old", "new")];
        moved.extend(unique.iter().map(|column| format!("old.{column} IS NOT new.{column} COLLATE BINARY")));
        moved.extend(self.rowid().map(|rowid| format!("old.{rowid} IS NOT new.{rowid}")));
        // A row can come under a partial key by any column.
        if partial {
            moved = vec!["1".to_owned()];
        }
        let when = format!("({}) AND ({})", moved.join(" OR "), self.any(&collisions));
        self.trigger("displace", &head, &self.name, &when, &self.note(&collisions))
    }

    /// Has what became of noted rows looked at after an update that is none of the record, where such a one may replace
    /// others.
    fn move_only(&self) -> Option<Trigger> {
        let travels = |name: &str| {
            self.table.schema.replicated().any(|(_, field)| field.name.eq_ignore_ascii_case(name))
        };
        let keys = &self.table.unique;
        let is_seen =
            keys.iter().all(|key| key.only.is_none() && key.columns.iter().all(|(name, _)| travels(name)));
        let head = match (is_seen, self.rowid()) {
            (false, _) => "AFTER UPDATE".to_owned(),
            (true, Some(_)) => {
                format!("AFTER UPDATE OF {}", self.rowid_names().collect::<Vec<_>>().join(", "))
            }
            (true, None) => return None,
        };
        let when = format!(
            "EXISTS (SELECT 1 FROM {} WHERE sync_until IS NULL)\n  AND NOT {}\n  AND NOT ({})",
            self.base,
            self.table.rekeyed("old", "new"),
            self.differ("old", "new")
        );
        Some(self.trigger("move", &head, &self.name, &when, &[self.settle_notes()]))
    }

    /// The names by which a statement can write the row id, apart from that of a column.
    fn rowid_names(&self) -> impl Iterator<Item = String> {
        self.table.rowid_names.iter().map(|name| quoted(name))
    }

    /// The row id, where it is no column.
    fn rowid(&self) -> Option<String> {
        self.rowid_names().next().filter(|_| self.table.rowid_is_hidden)
    }

    /// For the id and each other unique key: that the row `t` has the value of the row `new`.
    fn collisions(&self) -> Vec<String> {
        let id = self.table.same_key("t", "new");
        let id = if self.table.schema.has_composite_id() { format!("({id})") } else { id };
        let others = self.table.unique.iter().map(|key| {
            let parts = key.columns.iter().map(|(column, collation)| {
                let column = quoted(column);
                format!("t.{column} = new.{column} COLLATE {}", quoted(collation))
            });
            let parts: Vec<_> = parts.chain(key.only.iter().map(|only| format!("({only})"))).collect();
            format!("({})", parts.join(" AND "))
        });
        // The new row has one before it is inserted only where the statement names it.
        let rowid = self.rowid().map(|rowid| format!("t.{rowid} = new.{rowid}"));
        std::iter::once(id).chain(others).chain(rowid).collect()
    }

    fn any(&self, collisions: &[String]) -> String {
        let exists = collisions
            .iter()
            .map(|collision| format!("EXISTS (SELECT 1 FROM {} t WHERE {collision})", self.name));
        exists.collect::<Vec<_>>().join(" OR ")
    }
}
