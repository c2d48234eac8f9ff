//! The id of a record in SQL: one column, or several.
//!
//! `sync_change` names a record by one value. Where several columns make the id, that is the text of
//! [`Id::of_parts`](sync_runtime::Id::of_parts), which SQL makes out of a row here; the way back is only needed for ids
//! that are bound, part by part, so that a row is found by its own columns and their index.

use super::codec::{Affinity, Encoding};
use super::tables::{Column, Table};
use sync_runtime::FieldType;

impl Table {
    /// The columns that make the id, each with its place among the fields.
    pub(crate) fn key(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.schema.key().map(|place| (place, &self.columns[place]))
    }

    /// Their names.
    pub(crate) fn key_names(&self) -> Vec<&str> {
        self.key().map(|(_, column)| column.name.as_str()).collect()
    }

    /// How an id stands in `sync_change`.
    pub(crate) fn id_encoding(&self) -> Encoding {
        match self.schema.has_composite_id() {
            true => Encoding::TEXT,
            false => self.columns[self.schema.id].encoding,
        }
    }

    /// The id of a row as it stands in `sync_change`; null for a row that cannot be tracked. `row` is the name of the
    /// row, or empty.
    ///
    /// Of several columns, none may be null, and each has to be in a form in which the row is found again by its id.
    pub(crate) fn id_of(&self, row: &str) -> String {
        let parts: Vec<_> = self.key().map(|(place, column)| (place, named(row, &column.name))).collect();
        match parts.as_slice() {
            [(_, column)] => column.clone(),
            parts => {
                let texts: Vec<_> =
                    parts.iter().map(|(place, column)| self.part_of_id(*place, column)).collect();
                format!("({})", texts.join(" || '/' || "))
            }
        }
    }

    /// One part of the id as text.
    fn part_of_id(&self, place: usize, column: &str) -> String {
        let encoding = self.columns[place].encoding;
        match self.schema.fields[place].ty {
            FieldType::Uuid if encoding.affinity() == Affinity::Text => {
                format!(
                    "iif({column} COLLATE BINARY IN (lower({column}), upper({column})), lower({column}), NULL)"
                )
            }
            FieldType::Uuid => {
                let digits = |from: usize, count: usize| format!("substr(hex({column}), {from}, {count})");
                let groups =
                    [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)].map(|(from, count)| digits(from, count));
                let text = groups.join(" || '-' || ");
                format!("iif(typeof({column}) = 'blob' AND length({column}) = 16, lower({text}), NULL)")
            }
            FieldType::Text => {
                let text = format!("replace(replace({column}, '%', '%25'), '/', '%2F')");
                format!("iif(typeof({column}) = 'text' AND length({column}) > 0, {text}, NULL)")
            }
            _ => format!("iif(typeof({column}) = 'integer', {column}, NULL)"),
        }
    }

    /// That a row has the key whose parts are bound: the n-th part, which is the field at this place, to the
    /// parameter that `parameter` gives.
    pub(crate) fn key_is(&self, parameter: impl Fn(usize, usize) -> usize) -> String {
        let parts = self.key().enumerate().map(|(nth, (place, column))| {
            let (name, number) = (self.compared(column, &column.name), parameter(nth, place));
            // Other programs write UUIDs in capitals too, and one id has one text.
            let is_uuid = self.schema.fields[place].ty == FieldType::Uuid;
            match self.schema.has_composite_id() && is_uuid && column.encoding.affinity() == Affinity::Text {
                true => format!("{name} IN (?{number}, upper(?{number}))"),
                false => format!("{name} = ?{number}"),
            }
        });
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// A column of the key as it is compared: by bytes, as the index of the key does. The column by itself may not.
    fn compared(&self, column: &Column, name: &str) -> String {
        match self.schema.has_composite_id() && column.encoding.affinity() == Affinity::Text {
            true => format!("{name} COLLATE BINARY"),
            false => name.to_owned(),
        }
    }

    /// That two rows have the same key.
    pub(crate) fn same_key(&self, a: &str, b: &str) -> String {
        self.each_key(a, "=", b).join(" AND ")
    }

    /// That two rows have not the same key, in any part.
    pub(crate) fn other_key(&self, a: &str, b: &str) -> String {
        any(self.each_key(a, "IS NOT", b))
    }

    fn each_key(&self, a: &str, operator: &str, b: &str) -> Vec<String> {
        let parts = self.key().map(|(_, column)| {
            let a = self.compared(column, &named(a, &column.name));
            format!("{a} {operator} {}", named(b, &column.name))
        });
        parts.collect()
    }

    /// That two rows have not the same id, to the bit.
    pub(crate) fn rekeyed(&self, a: &str, b: &str) -> String {
        let parts = self.key_names().into_iter().map(|name| {
            let (a, b) = (named(a, name), named(b, name));
            format!("({a} IS NOT {b} COLLATE BINARY OR typeof({a}) <> typeof({b}))")
        });
        let differ = any(parts.collect());
        match self.schema.has_composite_id() {
            // A part may be written in two ways that are the same text.
            true => format!("({differ} AND {} IS NOT {})", self.id_of(a), self.id_of(b)),
            false => differ,
        }
    }
}

fn named(row: &str, column: &str) -> String {
    match row {
        "" => column.to_owned(),
        row => format!("{row}.{column}"),
    }
}

fn any(conditions: Vec<String>) -> String {
    match conditions.as_slice() {
        [condition] => condition.clone(),
        conditions => format!("({})", conditions.join(" OR ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::{Role, Settings};
    use super::super::{prepare, triggers};
    use crate::store::Durability;
    use rusqlite::Connection;
    use std::time::Duration;
    use sync_runtime::schema::{FieldSchema, Model, ModelSchema};
    use sync_runtime::{FieldType, Models, OnDelete, ReplicaId};

    const fn field(name: &'static str, ty: FieldType, part_of_id: bool) -> FieldSchema {
        FieldSchema { nullable: !part_of_id, part_of_id, ..FieldSchema::new(name, ty) }
    }

    static PLACE: ModelSchema = ModelSchema {
        name: "Place",
        table: "place",
        fields: &[
            field("owner", FieldType::Uuid, true),
            field("hall", FieldType::Text, true),
            field("n", FieldType::I64, true),
            field("code", FieldType::I64, false),
        ],
        id: 0,
        on_delete: OnDelete::Manual,
        adopt: true,
        removed: &[],
        scope: None,
    };

    fn plan(sql: &Connection, statement: &str) -> Vec<String> {
        let mut explain = sql.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).expect(statement);
        // What is not bound is null.
        let mut found = explain.raw_query();
        let mut steps = Vec::new();
        while let Some(step) = found.next().expect("a plan") {
            steps.push(step.get(3).expect("a step"));
        }
        steps
    }

    #[test]
    fn rows_are_found_by_the_index_of_their_key() {
        let tables = [
            "",
            "CREATE TABLE place(owner TEXT, hall TEXT, n INTEGER, code INTEGER UNIQUE, PRIMARY KEY (owner, hall, n)) \
             WITHOUT ROWID",
            "CREATE TABLE place(owner BLOB, hall TEXT COLLATE NOCASE, n INTEGER, code INTEGER UNIQUE); \
             CREATE UNIQUE INDEX by_key ON place(n, hall COLLATE BINARY, owner)",
        ];
        for made in tables {
            let settings = Settings {
                file: ":memory:".to_owned(),
                durability: Durability::Device,
                busy_timeout: Duration::ZERO,
            };
            let mut conn = settings.connect(Role::Writer).expect("a connection");
            conn.sql.execute_batch(made).expect("the table");
            let mut models = Models::default();
            models.add(Model { schema: &PLACE, check: |_| Ok(()) });
            let fresh = ReplicaId(uuid::Uuid::from_u128(1));
            let (tables, _) = prepare::prepare(&mut conn, &settings, &models, fresh, true).expect("prepared");
            let table = tables.of(&PLACE).expect("the table");
            let statements = &table.sql;
            for statement in
                [&statements.read, &statements.update, &statements.delete, &statements.travelling]
            {
                let plan = plan(&conn.sql, statement);
                assert_eq!(plan.len(), 1, "{plan:?}");
                assert!(plan[0].starts_with("SEARCH place USING"), "{statement}: {plan:?}");
                for column in ["owner=?", "hall=?", "n=?"] {
                    assert!(plan[0].contains(column), "{statement}: {plan:?}");
                }
            }
            let bases = plan(&conn.sql, &statements.bases_of);
            assert!(bases[0].contains("sync_index_revision_place (owner=? AND hall=? AND n=?)"), "{bases:?}");
            // What the triggers look up for each row, with a parameter where they have a value of it.
            for trigger in triggers::all(table) {
                let body = trigger.sql.split_once("BEGIN\n").map_or("", |(_, body)| body);
                let looks =
                    body.split(";\n").filter_map(|body| match body.trim_start().starts_with("UPDATE") {
                        true => Some(body),
                        false => body.find("SELECT").map(|at| &body[at..]),
                    });
                for query in looks {
                    let query = query.split("ON CONFLICT").next().unwrap_or_default();
                    let query = query.replace("new.", ":new_").replace("old.", ":old_");
                    let query = query.replace(":new_\"", ":new_").replace(":old_\"", ":old_");
                    let query =
                        ["owner", "hall", "n", "code", "rowid"].iter().fold(query, |query, column| {
                            query.replace(&format!("_{column}\""), &format!("_{column}"))
                        });
                    let plan = plan(&conn.sql, &query);
                    let scans =
                        plan.iter().find(|step| step.starts_with("SCAN") && !step.contains("CONSTANT"));
                    assert_eq!(scans, None, "{}: {query}: {plan:?}", trigger.name);
                }
            }
        }
    }
}
