//! What in a table is unique: the id, which has to be, and the keys besides it, by which a row can be replaced.

use rusqlite::{Connection, OptionalExtension};
use sync_runtime::schema::ModelSchema;

/// A unique key besides the id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UniqueKey {
    /// Its columns with their collations.
    pub(crate) columns: Vec<(String, String)>,
    /// The condition of a partial index.
    pub(crate) only: Option<String>,
}

/// The unique keys of a model's table.
pub(super) struct Unique {
    /// Those besides the id.
    pub(super) keys: Vec<UniqueKey>,
    /// Whether a column in one of them is computed, so that a write to another column changes it.
    pub(super) computed: bool,
    /// The names by which the row id can be written that no column has; none where there is no row id.
    pub(super) rowid_names: Vec<&'static str>,
    /// Whether the row id is no column, so that it is a key beside these.
    pub(super) rowid_is_hidden: bool,
}

/// The names of the row id.
pub(super) const ROWID: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// Finds the unique keys; adds what does not fit the model to `misfits`.
pub(super) fn keys(
    sql: &Connection,
    schema: &ModelSchema,
    misfits: &mut Vec<String>,
) -> rusqlite::Result<Unique> {
    let id: Vec<_> = schema.key().map(|place| schema.fields[place].name).collect();
    let is_id = |columns: &[(String, String)]| {
        let named = |name: &&str| columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
        columns.len() == id.len() && id.iter().all(named)
    };
    let mut keys: Vec<UniqueKey> = Vec::new();
    let mut id_is_key = false;
    for (index, create) in indexes(sql, schema)? {
        let Some(columns) = columns_of(sql, &index)? else {
            misfits.push(format!(
                "the unique index `{index}` is on an expression, so a row that it replaces cannot be tracked"
            ));
            continue;
        };
        let only = create.as_deref().and_then(partial_condition);
        if only.is_some() || !is_id(&columns) {
            keys.push(UniqueKey { columns, only });
            continue;
        }
        id_is_key = true;
        for (name, collation) in columns {
            if !collation.eq_ignore_ascii_case("BINARY") {
                misfits.push(format!("the id `{name}` does not compare by bytes but by `{collation}`"));
            }
        }
    }
    // A key that is the row id has no index.
    let rowid = rowid_column(sql, schema)?;
    if let Some(name) = &rowid {
        let columns = vec![(name.clone(), "BINARY".to_owned())];
        match is_id(&columns) {
            true => id_is_key = true,
            false => keys.push(UniqueKey { columns, only: None }),
        }
    }
    match id.as_slice() {
        _ if id_is_key => {}
        [id] => misfits.push(format!("the id `{id}` is neither the primary key nor unique")),
        id => misfits.push(format!(
            "the columns of the id (`{}`) are neither the primary key nor unique together",
            id.join("`, `")
        )),
    }
    let columns = columns(sql, schema)?;
    let is_computed = |name: &String| columns.iter().any(|(column, computed)| *computed && column == name);
    let computed = keys.iter().flat_map(|key| &key.columns).any(|(name, _)| is_computed(name));
    let is_column = |name: &&str| columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
    let mut rowid_names: Vec<&'static str> = ROWID.into_iter().filter(|name| !is_column(name)).collect();
    if !has_rowid(sql, schema)? {
        rowid_names.clear();
    }
    let rowid_is_hidden = rowid.is_none() && !rowid_names.is_empty();
    Ok(Unique { keys, computed, rowid_names, rowid_is_hidden })
}

/// The columns of the table, and whether each is computed.
fn columns(sql: &Connection, schema: &ModelSchema) -> rusqlite::Result<Vec<(String, bool)>> {
    let mut select = sql.prepare("SELECT name, hidden > 1 FROM pragma_table_xinfo(?1)")?;
    select.query_map([schema.table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Whether the table has row ids.
fn has_rowid(sql: &Connection, schema: &ModelSchema) -> rusqlite::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM pragma_table_list(?1) WHERE schema = 'main' AND NOT wr)";
    sql.query_row(select, [schema.table], |row| row.get(0))
}

/// The unique indexes of the table, each with the statement that made it, where one did.
fn indexes(sql: &Connection, schema: &ModelSchema) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let mut select = sql.prepare(
        "SELECT l.name, s.sql FROM pragma_index_list(?1) l LEFT JOIN sqlite_schema s \
         ON s.type = 'index' AND s.name = l.name WHERE l.\"unique\" AND l.origin <> 'pk' \
         UNION ALL SELECT name, NULL FROM pragma_index_list(?1) WHERE origin = 'pk'",
    )?;
    select.query_map([schema.table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The columns of an index with their collations, or `None` where one of them is an expression.
fn columns_of(sql: &Connection, index: &str) -> rusqlite::Result<Option<Vec<(String, String)>>> {
    let mut select = sql.prepare("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
    let columns = select.query_map([index], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let columns = columns.collect::<rusqlite::Result<Vec<(Option<String>, String)>>>()?;
    Ok(columns.into_iter().map(|(name, collation)| Some((name?, collation))).collect())
}

/// The column that is another name for the row id, if there is one.
fn rowid_column(sql: &Connection, schema: &ModelSchema) -> rusqlite::Result<Option<String>> {
    let select = "SELECT max(name) FROM pragma_table_info(?1) WHERE pk > 0 \
                  HAVING count(*) = 1 AND max(upper(type)) = 'INTEGER' \
                  AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
    sql.query_row(select, [schema.table], |row| row.get(0)).optional()
}

/// The condition of a partial index, from the statement that made it: what follows `WHERE` after its columns.
fn partial_condition(create: &str) -> Option<String> {
    let mut depth = 0_usize;
    let mut quote = None;
    for (place, character) in create.char_indices() {
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let rest = create[place + 1..].trim_start();
                    let condition = rest.get(..5).filter(|word| word.eq_ignore_ascii_case("where"));
                    return condition.map(|_| rest[5..].trim().to_owned());
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_of_a_partial_index_is_found() {
        let cases = [
            ("CREATE UNIQUE INDEX i ON t(a, b)", None),
            ("CREATE UNIQUE INDEX i ON t(a) WHERE b > 1", Some("b > 1")),
            ("CREATE UNIQUE INDEX \"i (x)\" ON [t)](\"a)\")\n where (b) = ')'", Some("(b) = ')'")),
        ];
        for (create, condition) in cases {
            assert_eq!(partial_condition(create).as_deref(), condition, "{create}");
        }
    }
}
