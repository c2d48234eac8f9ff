//! Bases: states that were overwritten here, each in a row of its model's base table.
//!
//! A base whose overwriting change has no position yet is open: until somebody writes the record again, that change is
//! the record's own, and says where it stands.

use super::super::link::{Arg, Cell, Kind, Row};
use super::super::statement::{Rows, Statement, Then, in_parts};
use super::super::tables::{CHANGE, Column, Table, change_columns};
use super::{SqlTransaction, rows};
use crate::records::{Reading, possible_id};
use std::collections::HashMap;
use sync_runtime::Result;
use sync_runtime::change::State;
use sync_runtime::record::{Id, Record};
use sync_runtime::store::Base;
use sync_runtime::version::Position;

impl SqlTransaction<'_> {
    /// The bases of a model: `b`, with the change of the record, `c`.
    fn select_bases(&self, table: &Table) -> Statement {
        Statement::new(format!(
            "SELECT {}, {}, CASE WHEN NOT b.sync_open THEN b.sync_until WHEN c.position < 0 THEN {} \
             ELSE greatest(b.sync_until, coalesce(c.position, 0)) END FROM {} b \
             LEFT JOIN {} c ON c.model = {} AND c.id = {} WHERE ",
            table.names("b.", false),
            change_columns("b.sync_"),
            Position::MAX,
            table.base,
            self.own_table("change"),
            table.number,
            table.change_id(self.dialect(), "b"),
        ))
    }

    async fn bases_found(&mut self, table: &Table, select: Statement) -> Result<Vec<Base>> {
        let found = self.fetch(select).await?;
        let width = table.width(false);
        self.know_all_in(&found, width).await?;
        let mut bases = Vec::with_capacity(found.len());
        for mut row in found {
            let until = row.pop();
            let columns = row.split_off(width);
            let Reading { record, misread } = table.reading(row, false);
            let Some(id) = possible_id(table.schema, &record) else { continue };
            let change = rows::change(&self.replicas, table, id, &columns)?;
            let record = Some(record).filter(|_| !change.is_delete() && misread.is_none());
            let Some(Cell::Int(until)) = until else { return Err(rows::corrupt("a base has no end")) };
            bases.push(Base { state: State { change, record }, until });
        }
        bases.sort_by_key(|base| (base.state.change.position, base.until));
        Ok(bases)
    }

    pub(super) async fn bases_of(&mut self, table: &Table, ids: &[Id]) -> Result<Vec<Vec<Base>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = self.select_bases(table);
        table.one_of(self.dialect(), &mut select, "b.", ids);
        let mut found: HashMap<Id, Vec<Base>> = HashMap::new();
        let bases = self.bases_found(table, select).await?.into_iter();
        for base in bases.filter(|base| !base.state.lacks_record()) {
            found.entry(base.state.change.id.clone()).or_default().push(base);
        }
        Ok(ids.iter().map(|id| found.get(id).cloned().unwrap_or_default()).collect())
    }

    pub(super) async fn bases_in(&mut self, after: Position, through: Position) -> Result<Vec<Base>> {
        let dialect = self.dialect();
        let mut bases = Vec::new();
        for table in self.tables.all() {
            let mut select = self.select_bases(&table);
            select.push("b.sync_position > ").bind(dialect, Arg::int(after));
            select.push(" AND b.sync_position <= ").bind(dialect, Arg::int(through));
            bases.extend(self.bases_found(&table, select).await?);
        }
        bases.sort_by_key(|base| (base.state.change.position, base.until));
        Ok(bases)
    }

    pub(super) async fn bases_added(&mut self, bases: Vec<Base>) -> Result<()> {
        use sync_runtime::store::Transaction;
        self.writing()?;
        for base in &bases {
            self.tables.of(base.state.change.schema)?;
        }
        if bases.is_empty() {
            return Ok(());
        }
        self.know(bases.iter().flat_map(|base| rows::replicas_of(&base.state.change))).await?;
        let newest = self.newest().await?;
        let mut by_model: Vec<(&'static str, Vec<Base>)> = Vec::new();
        for base in bases {
            let name = base.state.change.schema.name;
            match by_model.iter_mut().find(|(model, _)| *model == name) {
                Some((_, bases)) => bases.push(base),
                None => by_model.push((name, vec![base])),
            }
        }
        for (_, bases) in by_model {
            let table = self.table(bases[0].state.change.schema)?;
            // Of equal ones the last stands.
            let mut rows: Vec<(Row, Row)> = Vec::with_capacity(bases.len());
            for base in bases {
                let (key, row) = self.base_row(&table, base, newest)?;
                rows.retain(|(other, _)| *other != key);
                rows.push((key, row));
            }
            let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
            for part in in_parts(self.dialect(), rows) {
                let insert = self.base_insert(&table, part);
                self.execute(insert).await?;
            }
        }
        Ok(())
    }

    /// A base as a row, and what names it.
    fn base_row(&self, table: &Table, base: Base, newest: Position) -> Result<(Row, Row)> {
        let State { change, record } = base.state;
        let mut record = record.unwrap_or_else(|| Record::absent(table.schema));
        table.schema.identify(&mut record, &change.id)?;
        let cell = |(field, column): (usize, &Column)| {
            record.get(field).map_or(Cell::Null, |value| column.encode(value))
        };
        let mut row: Row = table.travelling().map(cell).collect();
        // A state that was overwritten before it got a position never stood anywhere.
        let position = if change.position == Position::MAX { 0 } else { change.position };
        let change = sync_runtime::change::Change { position, ..change };
        let cells = rows::change_cells(&self.replicas, &change)?;
        let key = [table.key_cells(&change.id)?, cells[1..=3].to_vec()].concat();
        row.extend(cells);
        let open = base.until > newest;
        row.extend([Cell::Int(base.until), Cell::Bool(open)]);
        Ok((key, row))
    }

    fn base_insert(&self, table: &Table, rows: Vec<Row>) -> Statement {
        let columns: Vec<(String, Kind)> = table
            .travelling()
            .map(|(_, column)| (column.name.clone(), column.kind))
            .chain(CHANGE.map(|(name, kind)| (format!("sync_{name}"), kind)))
            .chain([("sync_until".to_owned(), Kind::Int(8)), ("sync_open".to_owned(), Kind::Bool)])
            .collect();
        let set: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let key = format!("{}, sync_stamp, sync_writer, sync_position", table.key_names(""));
        let rows = Rows { into: &table.base, columns, rows, computed: Vec::new() };
        self.dialect().insert(rows, Then::Replace { key: &key, set: &set })
    }

    /// Notes where the open bases of these records ended, before their changes move on.
    pub(super) async fn close_bases(&mut self, table: &Table, ids: &[&Id]) -> Result<()> {
        let dialect = self.dialect();
        let key = table.change_id(dialect, "t");
        let mut update = Statement::new(format!(
            "{} sync_open = false, sync_until = greatest(sync_until, (SELECT c.position FROM {change} c \
             WHERE c.model = {model} AND c.id = {key})) WHERE sync_open AND EXISTS (SELECT 1 FROM {change} c \
             WHERE c.model = {model} AND c.id = {key} AND c.position > 0) AND ",
            dialect.update_some(&table.base, Some("sync_revision")),
            change = self.own_table("change"),
            model = table.number,
        ));
        table.one_of(dialect, &mut update, "t.", ids.iter().copied());
        self.execute(update).await?;
        Ok(())
    }

    pub(super) async fn bases_dropped(&mut self, until: Position) -> Result<()> {
        self.writing()?;
        let dialect = self.dialect();
        for table in self.tables.all() {
            let key = table.change_id(dialect, &table.base);
            let mut delete = Statement::new(format!("DELETE FROM {} WHERE sync_until <= ", table.base));
            delete.bind(dialect, Arg::int(until));
            delete.push(&format!(
                " AND (NOT sync_open OR NOT EXISTS (SELECT 1 FROM {} c WHERE c.model = {} AND c.id = {key} \
                 AND (c.position < 0 OR c.position > ",
                self.own_table("change"),
                table.number
            ));
            delete.bind(dialect, Arg::int(until)).push(")))");
            self.execute(delete).await?;
        }
        Ok(())
    }
}
