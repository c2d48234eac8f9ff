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
        let composite = self.schema.has_composite_id();
        let parts = self.key().enumerate().map(|(nth, (place, column))| {
            let (name, number) = (&column.name, parameter(nth, place));
            let is_uuid = self.schema.fields[place].ty == FieldType::Uuid;
            match composite && is_uuid && column.encoding.affinity() == Affinity::Text {
                // Other programs write them in capitals too, and one id has one text.
                true => format!("{name} IN (?{number}, upper(?{number}))"),
                false => format!("{name} = ?{number}"),
            }
        });
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// That two rows have the same key.
    pub(crate) fn same_key(&self, a: &str, b: &str) -> String {
        let parts =
            self.key_names().into_iter().map(|name| format!("{} = {}", named(a, name), named(b, name)));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// That two rows have not the same key, in any part.
    pub(crate) fn other_key(&self, a: &str, b: &str) -> String {
        let parts =
            self.key_names().into_iter().map(|name| format!("{} IS NOT {}", named(a, name), named(b, name)));
        any(parts.collect())
    }

    /// That two rows have not the same key to the bit.
    pub(crate) fn rekeyed(&self, a: &str, b: &str) -> String {
        let parts = self.key_names().into_iter().map(|name| {
            let (a, b) = (named(a, name), named(b, name));
            format!("({a} IS NOT {b} COLLATE BINARY OR typeof({a}) <> typeof({b}))")
        });
        any(parts.collect())
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
