//! Parents: the foreign keys that are in the database, and an index on each column that holds the id of a parent, because
//! a delete looks whether its record has children.

use super::prepare::Session;
use crate::names::{self, quoted};
use crate::references::Reference;
use rusqlite::Connection;
use sync_runtime::schema::ForeignKey;
use sync_runtime::{ModelSchema, Models};

/// The foreign keys between the tables of these models that are one field of the child and the id of the parent.
pub(crate) fn foreign_keys(sql: &Connection, models: &Models) -> rusqlite::Result<Vec<ForeignKey>> {
    let mut found = Vec::new();
    // Without a column it is the parent's primary key that is meant.
    let mut select = sql.prepare(
        "SELECT k.\"table\", k.\"from\", ifnull(k.\"to\",
           (SELECT max(name) FROM pragma_table_info(k.\"table\") WHERE pk > 0 HAVING count(*) = 1))
         FROM pragma_foreign_key_list(?1) k GROUP BY k.id HAVING count(*) = 1 ORDER BY k.id",
    )?;
    for model in models.iter() {
        let child = model.schema.table;
        let rows = select.query_map([child], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for row in rows {
            let (parent, column, target): (String, String, Option<String>) = row?;
            let reference =
                target.map(|target| Reference { child: child.to_owned(), column, parent, target });
            found.extend(reference.and_then(|reference| reference.between(models)));
        }
    }
    Ok(found)
}

/// Makes an index on a column that holds the id of a parent, if it has none.
pub(super) fn index(session: &Session<'_>, schema: &ModelSchema, place: usize) -> rusqlite::Result<()> {
    let (table, column) = (schema.table, schema.fields[place].name);
    // One over several columns helps too, if this is the first of them.
    let has_one: bool = session.sql.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) i JOIN pragma_index_info(i.name) c ON c.seqno = 0
         WHERE NOT i.partial AND c.name = ?2 COLLATE NOCASE)",
        [table, column],
        |row| row.get(0),
    )?;
    if !has_one {
        let name = quoted(&format!("{}{column}", names::parent_indexes(table)));
        let (table, column) = (quoted(table), quoted(column));
        session.define(&format!("CREATE INDEX IF NOT EXISTS {name} ON {table}({column})"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_runtime::schema::{FieldSchema, Model};
    use sync_runtime::{FieldType, OnDelete};

    const fn field(name: &'static str) -> FieldSchema {
        FieldSchema::new(name, FieldType::I64)
    }

    const fn schema(name: &'static str, table: &'static str, fields: &'static [FieldSchema]) -> ModelSchema {
        ModelSchema {
            name,
            table,
            fields,
            id: 0,
            on_delete: OnDelete::Manual,
            adopt: true,
            removed: &[],
            scope: None,
        }
    }

    static ARTIST: ModelSchema = schema("Artist", "artist", &[field("id"), field("code")]);
    static ALBUM: ModelSchema = schema(
        "Album",
        "album",
        &[field("id"), field("artist"), field("elder"), field("by_code"), field("other"), field("side")],
    );
    static PART: FieldSchema = FieldSchema { part_of_id: true, ..field("album") };
    static TRACK: ModelSchema =
        schema("Track", "track", &[PART, FieldSchema { part_of_id: true, ..field("n") }, field("next")]);

    #[test]
    fn foreign_keys_to_the_ids_of_other_models_are_listed() {
        let mut models = Models::default();
        for schema in [&ARTIST, &ALBUM, &TRACK] {
            models.add(Model { schema, check: |_| Ok(()) });
        }
        let sql = Connection::open_in_memory().expect("a database");
        sql.execute_batch(
            "CREATE TABLE ARTIST(\"Id\" INTEGER PRIMARY KEY, code INTEGER UNIQUE);
             CREATE TABLE stranger(id INTEGER PRIMARY KEY);
             CREATE TABLE album(id INTEGER PRIMARY KEY, Artist INTEGER REFERENCES Artist ON DELETE CASCADE,
               elder INTEGER REFERENCES album(ID), by_code INTEGER REFERENCES artist(code),
               other INTEGER REFERENCES stranger, side INTEGER, no_field INTEGER REFERENCES artist);
             CREATE TABLE track(album INTEGER REFERENCES album, n INTEGER, next INTEGER, PRIMARY KEY (album, n),
               FOREIGN KEY (album, next) REFERENCES track(album, n))",
        )
        .expect("the tables");
        let found = foreign_keys(&sql, &models).expect("the keys");
        let mut shown: Vec<_> = found.iter().map(|key| (key.child, key.field, key.parent)).collect();
        shown.sort_unstable();
        assert_eq!(shown, [("Album", 1, "Artist"), ("Album", 2, "Album"), ("Track", 0, "Album")]);
    }
}
