//! The statements of one table, written once: most of them run for each record.

use super::tables::Table;
use super::triggers::{self, CHANGE};
use crate::names::{self, quoted};
use sync_runtime::schema::FieldSchema;

/// The statements of one table; `?n` is the value of the n-th field, the first being 1. Where `?1` is an id, the parts
/// of one that several fields make are `?1`, `?2` and so on.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    /// All columns of the record with id `?1`.
    pub(crate) read: String,
    /// The columns that travel of the record with id `?1`.
    pub(crate) travelling: String,
    /// All columns, without a condition.
    pub(crate) select: String,
    pub(crate) insert: String,
    /// [`ROWS`] records at once, or none of them.
    pub(crate) insert_many: String,
    pub(crate) update: String,
    /// Leaves the local fields as they are.
    pub(crate) update_travelling: String,
    /// The record with id `?1`.
    pub(crate) delete: String,
    pub(crate) clear_notes: String,
    /// The bases of the record with id `?1`, in the order in which they were overwritten.
    pub(crate) bases_of: String,
    /// The bases of the record with id `?1`, taken away.
    pub(crate) drop_bases_of: String,
    /// The bases with a position above `?1` and up to `?2`.
    pub(crate) bases_between: String,
    /// The columns that travel, those of the change, and `sync_until`.
    pub(crate) add_base: String,
    /// The bases that were overwritten up to position `?1`.
    pub(crate) drop_bases: String,
}

/// How many rows a statement inserts that inserts several: SQLite then does once what each statement costs.
pub(crate) const ROWS: usize = 32;

/// The parameters that a statement can have.
const MOST_PARAMETERS: usize = 32_766;

/// The values of [`ROWS`] rows of so many parameters, of which these are used; each row ends with these constants.
pub(crate) fn many(parameters: usize, used: &[usize], constants: &[&str]) -> String {
    let row = |row: usize| {
        let values = used.iter().map(|number| format!("?{}", row * parameters + number));
        let values: Vec<_> = values.chain(constants.iter().map(|&constant| constant.to_owned())).collect();
        format!("({})", values.join(", "))
    };
    (0..ROWS).map(row).collect::<Vec<_>>().join(", ")
}

impl Table {
    /// An update of those fields that `set` says, by id.
    pub(crate) fn update_of(&self, set: impl Fn(usize, &FieldSchema) -> bool) -> String {
        let assignments: Vec<_> = self
            .schema
            .fields
            .iter()
            .enumerate()
            .filter(|(index, field)| {
                !self.schema.is_key(*index) && !self.columns[*index].generated && set(*index, field)
            })
            .map(|(index, _)| format!("{} = ?{}", self.columns[index].name, index + 1))
            .collect();
        let id = &self.columns[self.schema.id].name;
        let assignments = match assignments.is_empty() {
            true => format!("{id} = {id}"),
            false => assignments.join(", "),
        };
        format!(
            "UPDATE OR ABORT {} SET {assignments} WHERE {}",
            self.name(),
            self.key_is(|_, place| place + 1)
        )
    }

    /// Whether SQLite takes the parameters of [`ROWS`] records in one statement.
    pub(super) fn fits_many(&self) -> bool {
        self.columns.len() * ROWS <= MOST_PARAMETERS
    }

    /// Writes the statements, by what the table has.
    pub(super) fn write_statements(&mut self) {
        let (keys, key_is) = (self.key_names().join(", "), self.key_is(|nth, _| nth + 1));
        let all: Vec<_> = self.columns.iter().map(|column| column.name.clone()).collect();
        let written: Vec<_> =
            self.columns.iter().enumerate().filter(|(_, column)| !column.generated).collect();
        let (removed, constants): (Vec<_>, Vec<_>) =
            self.removed.iter().map(|(name, value)| (name.as_str(), *value)).unzip();
        let names = written.iter().map(|(_, column)| column.name.as_str()).chain(removed);
        let names = names.collect::<Vec<_>>().join(", ");
        let numbers: Vec<_> = written.iter().map(|(index, _)| index + 1).collect();
        let values = numbers.iter().map(|number| format!("?{number}"));
        let values = values.chain(constants.iter().map(|&constant| constant.to_owned()));
        let select = format!("SELECT {} FROM {}", all.join(", "), self.name());
        let base = quoted(&names::base_table(self.schema));
        self.sql = Statements {
            read: format!("{select} WHERE {key_is}"),
            travelling: format!(
                "SELECT {} FROM {} WHERE {key_is}",
                self.travelling_columns().join(", "),
                self.name()
            ),
            select,
            insert: format!(
                "INSERT INTO {}({}) VALUES ({}) ON CONFLICT({keys}) DO NOTHING",
                self.name(),
                names,
                values.collect::<Vec<_>>().join(", ")
            ),
            insert_many: format!(
                "INSERT OR ABORT INTO {}({}) VALUES {}",
                self.name(),
                names,
                many(self.columns.len(), &numbers, &constants)
            ),
            update: self.update_of(|_, _| true),
            update_travelling: self.update_of(|_, field| field.replicated()),
            delete: format!("DELETE FROM {} WHERE {key_is}", self.name()),
            clear_notes: format!("DELETE FROM {base} WHERE sync_until IS NULL"),
            bases_of: self.select_bases(&key_is),
            drop_bases_of: format!("DELETE FROM {base} WHERE sync_until IS NOT NULL AND {key_is}"),
            bases_between: self.select_bases("sync_position > ?1 AND sync_position <= ?2"),
            add_base: self.add_base(),
            drop_bases: format!("DELETE FROM {base} WHERE sync_until <= ?1"),
        };
    }

    /// Rows without `sync_until` are the triggers' notes.
    fn select_bases(&self, condition: &str) -> String {
        format!(
            "SELECT {}, {}, sync_until, {} FROM {} WHERE sync_until IS NOT NULL AND {condition} \
             ORDER BY sync_position, sync_until",
            self.travelling_columns().join(", "),
            triggers::base_change_columns(),
            self.id_of(""),
            quoted(&names::base_table(self.schema)),
        )
    }

    fn add_base(&self) -> String {
        let change = CHANGE.map(|column| format!("sync_{column}"));
        let columns: Vec<_> = self
            .travelling_columns()
            .into_iter()
            .chain(change.iter().map(String::as_str))
            .chain(["sync_until"])
            .collect();
        let values: Vec<_> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
        let set: Vec<_> = columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        format!(
            "INSERT INTO {}({}) VALUES ({}) ON CONFLICT({}, sync_stamp, sync_writer, sync_position) \
             WHERE sync_until IS NOT NULL DO UPDATE SET {}",
            quoted(&names::base_table(self.schema)),
            columns.join(", "),
            values.join(", "),
            self.key_names().join(", "),
            set.join(", ")
        )
    }
}
