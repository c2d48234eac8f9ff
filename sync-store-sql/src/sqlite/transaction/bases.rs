//! Bases: states that were overwritten here, each in a row of its model's base table.

use super::super::connection::Replicas;
use super::super::tables::Table;
use super::super::triggers::CHANGE;
use super::SqliteTransaction;
use super::rows::{self, Bad};
use rusqlite::{Connection, Row};
use std::sync::Arc;
use sync_runtime::Result;
use sync_runtime::change::State;
use sync_runtime::record::Id;
use sync_runtime::store::Base;
use sync_runtime::version::Position;

/// A base, if a record can have its id; without its record where that cannot be read.
fn base(
    sql: &Connection,
    replicas: &mut Replicas,
    table: &Table,
    row: &Row<'_>,
) -> Result<Option<Base>, Bad> {
    let width = table.travelling_columns().len();
    let Some(id) = rows::possible_id(table, row, width + CHANGE.len() + 1)? else { return Ok(None) };
    let change = rows::change(sql, replicas, table, id, row, width)?;
    let reading = rows::reading(table, row, false)?;
    let record = Some(reading.record).filter(|_| !change.is_delete() && reading.misread.is_none());
    Ok(Some(Base { state: State { change, record }, until: row.get(width + CHANGE.len())? }))
}

impl SqliteTransaction {
    pub(super) fn bases_of(&mut self, table: &Table, id: &Id) -> Result<Vec<Base>> {
        self.rows(|conn| {
            let mut select = conn.sql.prepare_cached(&table.sql.bases_of)?;
            rows::bind_key(&mut select, table, id, |nth, _| nth + 1)?;
            let mut found = select.raw_query();
            let mut bases = Vec::new();
            while let Some(row) = found.next()? {
                bases.extend(base(&conn.sql, &mut conn.replicas, table, row)?);
            }
            bases.retain(|base| !base.state.lacks_record());
            Ok(bases)
        })
    }

    pub(super) fn bases_in(&mut self, after: Position, through: Position) -> Result<Vec<Base>> {
        let tables: Vec<Arc<Table>> = self.tables.iter().cloned().collect();
        let mut bases = Vec::new();
        for table in tables {
            self.rows(|conn| {
                let mut select = conn.sql.prepare_cached(&table.sql.bases_between)?;
                let mut found = select.query([after, through])?;
                while let Some(row) = found.next()? {
                    bases.extend(base(&conn.sql, &mut conn.replicas, &table, row)?);
                }
                Ok(())
            })?;
        }
        bases.sort_by_key(|base| (base.state.change.position, base.until));
        Ok(bases)
    }

    pub(super) fn bases_added(&mut self, bases: Vec<Base>) -> Result<()> {
        self.writing()?;
        for base in &bases {
            self.tables.of(base.state.change.schema)?;
        }
        for base in bases {
            let table = self.table(base.state.change.schema)?;
            self.add_base(&table, &base)?;
        }
        Ok(())
    }

    pub(super) fn add_base(&mut self, table: &Table, base: &Base) -> Result<()> {
        let State { change, record } = &base.state;
        self.sql(|conn| {
            let change_values = rows::change_values(&conn.sql, &mut conn.replicas, change)?;
            let mut insert = conn.sql.prepare_cached(&table.sql.add_base)?;
            let before =
                |place: usize| table.schema.replicated().take_while(|(index, _)| *index < place).count();
            rows::bind_key(&mut insert, table, &change.id, |_, place| before(place) + 1)?;
            let mut parameter = 0;
            for (index, _) in table.schema.replicated() {
                parameter += 1;
                if !table.schema.is_key(index)
                    && let Some(value) = record.as_ref().and_then(|record| record.get(index))
                {
                    insert.raw_bind_parameter(parameter, table.columns[index].encoding.encode(value))?;
                }
            }
            for value in change_values.iter() {
                parameter += 1;
                insert.raw_bind_parameter(parameter, value)?;
            }
            insert.raw_bind_parameter(parameter + 1, base.until)?;
            insert.raw_execute()
        })?;
        Ok(())
    }

    pub(super) fn bases_dropped(&mut self, until: Position) -> Result<()> {
        self.writing()?;
        let tables: Vec<Arc<Table>> = self.tables.iter().cloned().collect();
        for table in tables {
            self.sql(|conn| conn.sql.prepare_cached(&table.sql.drop_bases)?.execute([until]))?;
        }
        Ok(())
    }
}
