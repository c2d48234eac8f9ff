//! What a peer had sent of a field before the model had it: kept among the unknown fields of the change, and taken
//! from there into the new column.

use super::tables::Table;
use super::transaction::bind_key;
use crate::names::{self, quoted};
use crate::records::fitting;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, Statement, params};
use sync_runtime::record::{Id, Unknown};

/// Changes that are looked at together, so that memory does not grow with their number.
const PAGE: usize = 1_000;

/// Takes what is known of these fields, by their places, out of the changes and the bases of the table's records.
pub(super) fn learn(sql: &Connection, table: &Table, added: &[usize]) -> rusqlite::Result<()> {
    let changes = Source {
        select: format!(
            "SELECT position, unknown, id FROM sync_change \
             WHERE model = {} AND unknown IS NOT NULL AND position > ?1 ORDER BY position LIMIT ?2",
            table.number
        ),
        take: "UPDATE sync_change SET unknown = ?2 WHERE position = ?1".to_owned(),
        // The triggers may know the columns by now, and nothing of it is to be tracked.
        tell: Some(format!("UPDATE sync_state SET put_model = {}, put_id = ?1 WHERE one = 1", table.number)),
        set: |column: &str| {
            let (key, value) = (table.key_is(|nth, _| nth + 1), table.key().count() + 1);
            format!("UPDATE {} SET {column} = ?{value} WHERE {key}", table.name())
        },
        bind: |set: &mut Statement<'_>, id: &Value| match id {
            Value::Text(id) if table.schema.has_composite_id() => {
                bind_key(set, table, &Id::Text(id.clone()), |nth, _| nth + 1)
            }
            id => set.raw_bind_parameter(1, id),
        },
    };
    changes.learn(sql, table, added)?;
    sql.execute("UPDATE sync_state SET put_model = NULL, put_id = NULL WHERE one = 1", [])?;
    learn_bases(sql, table, added)
}

/// The same for bases alone.
pub(super) fn learn_bases(sql: &Connection, table: &Table, added: &[usize]) -> rusqlite::Result<()> {
    let (base, rowid) = (quoted(&names::base_table(table.schema)), table.base_rowid);
    let bases = Source {
        select: format!(
            "SELECT {rowid}, sync_unknown, {rowid} FROM {base} \
             WHERE sync_unknown IS NOT NULL AND {rowid} > ?1 ORDER BY {rowid} LIMIT ?2"
        ),
        take: format!("UPDATE {base} SET sync_unknown = ?2 WHERE {rowid} = ?1"),
        tell: None,
        set: |column: &str| format!("UPDATE {base} SET {column} = ?2 WHERE {rowid} = ?1"),
        bind: |set: &mut Statement<'_>, row: &Value| set.raw_bind_parameter(1, row),
    };
    bases.learn(sql, table, added)
}

/// Where unknown fields are kept.
struct Source<S, B> {
    /// Number, unknown fields and key of those after a number.
    select: String,
    /// Sets the unknown fields that are left, by number.
    take: String,
    /// Tells the triggers which record is written, by key.
    tell: Option<String>,
    /// The statement that sets a column of the record, by key; the value is its last parameter.
    set: S,
    /// Binds the key.
    bind: B,
}

impl<S, B> Source<S, B>
where
    S: Fn(&str) -> String,
    B: Fn(&mut Statement<'_>, &Value) -> rusqlite::Result<()>,
{
    fn learn(&self, sql: &Connection, table: &Table, added: &[usize]) -> rusqlite::Result<()> {
        let mut after = i64::MIN;
        loop {
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let rows = sql
                .prepare_cached(&self.select)?
                .query_map(params![after, PAGE as i64], read)?
                .collect::<rusqlite::Result<Vec<(i64, Vec<u8>, Value)>>>()?;
            for (number, unknown, key) in &rows {
                after = *number;
                // What cannot be read is reported where it is read as part of its change.
                let Ok(mut unknown) = serde_json::from_slice::<Unknown>(unknown) else { continue };
                if let Some(tell) = &self.tell {
                    sql.prepare_cached(tell)?.execute([key])?;
                }
                let mut taken = false;
                for &place in added {
                    let field = &table.schema.fields[place];
                    let Some(sent) = unknown.remove(field.name) else { continue };
                    taken = true;
                    if let Some(value) = fitting(field, sent) {
                        let column = &table.columns[place];
                        let mut set = sql.prepare_cached(&(self.set)(&column.name))?;
                        (self.bind)(&mut set, key)?;
                        let last = set.parameter_count();
                        set.raw_bind_parameter(last, column.encoding.encode(&value))?;
                        set.raw_execute()?;
                    }
                }
                if taken {
                    let left = match unknown.is_empty() {
                        true => None,
                        false => serde_json::to_vec(&unknown).ok(),
                    };
                    sql.prepare_cached(&self.take)?.execute(params![number, left])?;
                }
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }
}
