//! Indexes on the columns that hold the id of a parent: a delete looks whether its record has children.

use crate::names::quoted;
use rusqlite::Connection;
use sync_runtime::ModelSchema;

/// Makes an index on each column of a declared parent that has none.
pub(super) fn index(sql: &Connection, schema: &ModelSchema) -> rusqlite::Result<()> {
    for (place, _) in schema.parents() {
        let (table, column) = (schema.table, schema.fields[place].name);
        // One over several columns helps too, if this is the first of them.
        let has_one: bool = sql.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) i JOIN pragma_index_info(i.name) c ON c.seqno = 0
             WHERE NOT i.partial AND c.name = ?2 COLLATE NOCASE)",
            [table, column],
            |row| row.get(0),
        )?;
        if !has_one {
            let name = quoted(&format!("sync_parent_{table}.{column}"));
            let (table, column) = (quoted(table), quoted(column));
            sql.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {name} ON {table}({column})"))?;
        }
    }
    Ok(())
}
