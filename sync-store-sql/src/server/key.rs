//! How the rows of a table are found by the ids of their records, whether one column is the id or several make it.
//!
//! A change names its record by one value in either case, see `Id::of_parts`. Rows are found by their own columns, for
//! which there is an index.

use super::link::{Arg, Cell, Kind};
use super::statement::{Dialect, Statement};
use super::tables::{Column, Table};
use crate::records::misread;
use sync_runtime::record::{Id, Record};
use sync_runtime::{Error, Result, Value};

impl Table {
    /// The columns of the id, in order.
    pub(crate) fn key(&self) -> impl Iterator<Item = &Column> + Clone {
        let places: Vec<usize> = self.schema.key().collect();
        places.into_iter().map(|place| &self.columns[place])
    }

    /// The names of these columns behind a prefix, such as `t.`.
    pub(crate) fn key_names(&self, prefix: &str) -> String {
        let names: Vec<String> = self.key().map(|column| format!("{prefix}{}", column.name)).collect();
        names.join(", ")
    }

    /// Whether two rows have the same id: `a.x = b.x AND …`.
    pub(crate) fn same_key(&self, a: &str, b: &str) -> String {
        let pairs: Vec<String> = self.key().map(|column| format!("{a}.{0} = {b}.{0}", column.name)).collect();
        pairs.join(" AND ")
    }

    /// Whether a row of an outer join is none. No column of an id is null.
    pub(crate) fn is_none(&self, row: &str) -> String {
        format!("{row}.{} IS NULL", self.columns[self.schema.id].name)
    }

    /// The id of a row as `sync_change` has it; `row` is how the row is called.
    pub(crate) fn change_id(&self, dialect: &dyn Dialect, row: &str) -> String {
        if !self.schema.has_composite_id() {
            let column = &self.columns[self.schema.id];
            return dialect.key_of(&format!("{row}.{}", column.name), column, self.id_type());
        }
        let part = |column: &Column| dialect.part_of(&format!("{row}.{}", column.name), column);
        dialect.joined(&mut self.key().map(part))
    }

    /// Whether a row is the one that a change is of; `id` is the id in the change.
    pub(crate) fn is_of_change(&self, dialect: &dyn Dialect, row: &str, id: &str) -> String {
        if !self.schema.has_composite_id() {
            let column = &self.columns[self.schema.id];
            return format!("{row}.{} = {}", column.name, dialect.id_of_key(id, column, self.id_type()));
        }
        let parts = self.key().enumerate().map(|(place, column)| {
            format!("{row}.{} = {}", column.name, dialect.part_of_key(id, place, column))
        });
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// Adds the condition that a row is that of one of these records; the prefix stands before its columns.
    pub(crate) fn one_of<'i>(
        &self,
        dialect: &dyn Dialect,
        statement: &mut Statement,
        prefix: &str,
        ids: impl IntoIterator<Item = &'i Id>,
    ) {
        let columns: Vec<(String, Kind)> =
            self.key().map(|column| (format!("{prefix}{}", column.name), column.kind)).collect();
        // No row has an id that is none.
        let cells: Vec<Vec<Cell>> = ids.into_iter().filter_map(|id| self.key_cells(id).ok()).collect();
        match <[(String, Kind); 1]>::try_from(columns) {
            Ok([(column, kind)]) => {
                dialect.one_of(statement, &column, kind, cells.into_iter().flatten().collect());
            }
            Err(columns) => dialect.one_row_of(statement, &columns, cells),
        }
    }

    /// Adds the condition that a row has these values in the columns of its id.
    pub(crate) fn has_key(&self, dialect: &dyn Dialect, statement: &mut Statement, cells: Vec<Cell>) {
        for (place, (column, cell)) in self.key().zip(cells).enumerate() {
            statement.push(if place == 0 { "" } else { " AND " }).push(&column.name).push(" = ");
            statement.bind(dialect, Arg::One(column.kind, cell));
        }
    }

    /// The id as the columns hold it.
    ///
    /// # Errors
    /// Where no record of the model can have the id.
    pub(crate) fn key_cells(&self, id: &Id) -> Result<Vec<Cell>> {
        let values = self.schema.id_values(id)?.into_iter();
        Ok(values.map(|(place, value)| self.columns[place].encode(&value)).collect())
    }

    /// The id that the cells of these columns hold.
    pub(crate) fn id(&self, found: impl IntoIterator<Item = Cell>) -> Result<Id> {
        let mut record = Record::absent(self.schema);
        for (place, cell) in self.schema.key().zip(found) {
            let value: Result<Value, String> = self.columns[place].decode(cell);
            record.set(place, value.map_err(|found| misread(self.schema, place, "of unknown id", &found))?);
        }
        self.schema.id_of(&record).map_err(Error::from)
    }
}
