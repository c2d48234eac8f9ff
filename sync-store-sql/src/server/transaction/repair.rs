//! Repairing the tracking of records that were written where the triggers were off, or before there were any; and taking
//! away what is left of records that are gone.

use super::super::link::{Arg, Cell, Kind};
use super::super::statement::Statement;
use super::super::tables::{Table, id_of_key, key};
use super::put::Groups;
use super::{SqlTransaction, changes_of, rows};
use crate::records::is_possible;
use std::collections::HashSet;
use sync_runtime::Result;
use sync_runtime::change::{Change, ChangeKind};
use sync_runtime::record::Id;
use sync_runtime::schema::ModelSchema;
use sync_runtime::version::{Ancestry, Revision, Stamp};

impl SqlTransaction<'_> {
    /// Takes away tombstones and the bases of their records.
    pub(super) async fn erased(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<()> {
        self.writing()?;
        if ids.is_empty() {
            return Ok(());
        }
        let table = self.table(schema)?;
        let dialect = self.dialect();
        let change = self.own_table("change");
        let mut gone = Statement::new(format!("SELECT c.id FROM {change} c WHERE c.kind = 2 AND "));
        changes_of(&mut gone, dialect, &table, ids);
        let mut keys = Vec::new();
        for mut row in self.fetch(gone).await? {
            keys.extend(row.pop());
        }
        if keys.is_empty() {
            return Ok(());
        }
        let id = |cell: &Cell| match cell {
            Cell::Bytes(key) => id_of_key(table.id_type(), key.clone()),
            _ => None,
        };
        let gone: Vec<Id> = keys.iter().filter_map(id).collect();
        let mut delete = Statement::new(format!("DELETE FROM {change} WHERE model = "));
        delete.bind(dialect, Arg::One(Kind::Int(4), Cell::Int(table.number))).push(" AND ");
        dialect.one_of(&mut delete, "id", Kind::Bytes, keys);
        self.execute(delete).await?;
        let mut bases =
            Statement::new(format!("{} ", dialect.delete_some(&table.base, Some("sync_revision"))));
        table.one_of(dialect, &mut bases, "t.", &gone);
        self.execute(bases).await?;
        Ok(())
    }

    pub(super) async fn untracked_ids(
        &mut self,
        schema: &'static ModelSchema,
        only: Option<&[Id]>,
        after: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<Id>> {
        if only.is_some_and(<[Id]>::is_empty) {
            return Ok(Vec::new());
        }
        let table = self.table(schema)?;
        let (mut after, mut ids) = (after.map(key), Vec::new());
        loop {
            let keys = self.untracked_keys(&table, only, after, limit).await?;
            let ended = keys.len() < limit;
            after = keys.last().cloned();
            let found = keys.into_iter().filter_map(|key| id_of_key(table.id_type(), key));
            ids.extend(found.filter(|id| is_possible(schema, id)).take(limit - ids.len()));
            if ended || ids.len() >= limit {
                return Ok(ids);
            }
        }
    }

    /// The keys of what is untracked, those of ids among them that no record can have.
    async fn untracked_keys(
        &mut self,
        table: &Table,
        only: Option<&[Id]>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let dialect = self.dialect();
        let own_key = table.change_id(dialect, "t");
        let (change, model) = (self.own_table("change"), table.number);
        let mut select = Statement::new(format!(
            "SELECT x.id FROM (SELECT {own_key} AS id FROM {} t LEFT JOIN {change} c \
             ON c.model = {model} AND c.id = {own_key} WHERE (c.id IS NULL OR c.kind = 2)",
            table.name
        ));
        if let Some(only) = only {
            select.push(" AND ");
            table.one_of(dialect, &mut select, "t.", only);
        }
        select.push(&format!(
            " UNION ALL SELECT c.id FROM {change} c LEFT JOIN {} t ON {} \
             WHERE c.model = {model} AND c.kind <> 2 AND {}",
            table.name,
            table.is_of_change(dialect, "t", "c.id"),
            table.is_none("t")
        ));
        if let Some(only) = only {
            select.push(" AND ");
            let keys = only.iter().map(|id| Cell::Bytes(key(id))).collect();
            dialect.one_of(&mut select, "c.id", Kind::Bytes, keys);
        }
        select.push(") x");
        if let Some(after) = after {
            select.push(" WHERE x.id > ").bind(dialect, Arg::bytes(after));
        }
        select.push(&format!(" ORDER BY x.id LIMIT {}", i64::try_from(limit).unwrap_or(i64::MAX)));
        let found = self.fetch(select).await?;
        let key = |mut row: Vec<Cell>| match row.pop() {
            Some(Cell::Bytes(key)) => Ok(key),
            _ => Err(rows::corrupt("an id is null")),
        };
        found.into_iter().map(key).collect()
    }

    pub(super) async fn retracked(
        &mut self,
        schema: &'static ModelSchema,
        ids: &[Id],
        now: Stamp,
    ) -> Result<Vec<bool>> {
        self.writing()?;
        let table = self.table(schema)?;
        let broken = self.untracked_ids(schema, Some(ids), None, usize::MAX).await?;
        if !broken.is_empty() {
            self.track_anew(&table, &broken, now).await?;
        }
        let broken: HashSet<Id> = broken.into_iter().collect();
        Ok(ids.iter().map(|id| broken.contains(id)).collect())
    }

    /// Makes the changes of records whose tracking is broken, by whether they are there.
    async fn track_anew(&mut self, table: &Table, ids: &[Id], now: Stamp) -> Result<()> {
        let there = self.locked_ids(table, ids).await?;
        let before = self.changes_by_id(table, ids).await?;
        let me = self.own().await?.replica;
        self.know([me]).await?;
        let group = Some(Groups::unique());
        let changes: Vec<Change> = ids
            .iter()
            .zip(before)
            .map(|(id, before)| {
                let exists = there.contains(id);
                let kind = if exists { ChangeKind::Create } else { ChangeKind::Delete };
                Change {
                    schema: table.schema,
                    id: id.clone(),
                    kind,
                    ancestry: match &before {
                        Some(before) => before.ancestry.next(now, me),
                        None => Ancestry::of(Revision { stamp: now, replica: me }),
                    },
                    merged: None,
                    previous: before.as_ref().map(Change::revision),
                    position: 0,
                    group,
                    origin: None,
                    unknown: before.and_then(|before| before.unknown).filter(|_| exists),
                    stamps: None,
                }
            })
            .collect();
        self.write_changes(table, &changes).await
    }
}
