//! Repairing the tracking of records that were written where the triggers were off, or before there were any.

use super::SqliteTransaction;
use super::save::Edit;
use sync_runtime::Result;
use sync_runtime::record::Id;
use sync_runtime::schema::ModelSchema;
use sync_runtime::version::Stamp;

impl SqliteTransaction {
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
}
