//! Repairing the tracking of records that were written where the triggers were off, or before there were any; and taking
//! away what is left of records that are gone.

use super::super::triggers::CLOCK;
use super::save::Edit;
use super::{SqliteTransaction, rows};
use sync_runtime::Result;
use sync_runtime::record::Id;
use sync_runtime::schema::ModelSchema;
use sync_runtime::version::Stamp;

/// How many records are mended at a time.
const BATCH: usize = 1_000;

impl SqliteTransaction {
    /// Tracks what was made and deleted in tables while they had no triggers: somebody dropped them and made them again
    /// under their names, as the manual of SQLite has it.
    pub(crate) fn mend(&mut self) -> Result<()> {
        for schema in self.tables.remade.clone() {
            let mut after = None;
            loop {
                let ids = self.untracked_ids(schema, None, after.as_ref(), BATCH)?;
                let now =
                    self.sql(|conn| conn.sql.query_row(&format!("SELECT {CLOCK}"), [], |row| row.get(0)))?;
                self.retracked(schema, &ids, now)?;
                let Some(last) = ids.into_iter().next_back() else { break };
                after = Some(last);
            }
        }
        Ok(())
    }

    pub(super) fn retracked(
        &mut self,
        schema: &'static ModelSchema,
        ids: &[Id],
        now: Stamp,
    ) -> Result<Vec<bool>> {
        self.writing()?;
        let table = self.table(schema)?;
        let mut repaired = Vec::with_capacity(ids.len());
        for id in ids {
            let broken = self.is_broken(&table, id)?;
            if let Some(exists) = broken {
                let before = self.change(&table, id)?;
                let edit = if exists { Edit::Create } else { Edit::Delete };
                self.first = self.newest_position()? + 1;
                // The state before is not known, so there is none to keep.
                self.tracked(&table, id, before, None, edit, now)?;
            }
            repaired.push(broken.is_some());
        }
        Ok(repaired)
    }

    /// Takes away tombstones and the bases of their records. A position must not be given out twice, so where the newest
    /// change goes, a row that is of no record stands in its place.
    pub(super) fn erased(&mut self, schema: &'static ModelSchema, ids: &[Id]) -> Result<()> {
        self.writing()?;
        let table = self.table(schema)?;
        let (newest, me) = (self.newest_position()?, self.own()?.number);
        self.sql(|conn| {
            for id in ids {
                let delete = "DELETE FROM sync_change WHERE model = ?1 AND id = ?2 AND kind = 2";
                let mut delete = conn.sql.prepare_cached(delete)?;
                delete.raw_bind_parameter(1, table.number)?;
                rows::bind_id(&mut delete, 2, table.id_encoding(), id)?;
                if delete.raw_execute()? > 0 {
                    let mut drop = conn.sql.prepare_cached(&table.sql.drop_bases_of)?;
                    rows::bind_key(&mut drop, &table, id, |nth, _| nth + 1)?;
                    drop.raw_execute()?;
                }
            }
            let hold = "INSERT INTO sync_change(position, model, id, kind, stamp, writer) \
                        SELECT ?1, 0, 0, 2, 0, ?2 WHERE ?1 > (SELECT ifnull(max(position), 0) FROM sync_change) \
                        ON CONFLICT(model, id) DO UPDATE SET position = excluded.position";
            conn.sql.prepare_cached(hold)?.execute([newest, me])
        })?;
        Ok(())
    }
}
