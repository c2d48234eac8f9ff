//! The columns that hold the id of a parent: those that models declare, and the foreign keys between their tables.

use super::catalog::{Catalog, Session, column_of};
use super::link::{Cell, Row};
use super::tables::Tables;
use crate::names::PREFIX;
use crate::references::Reference;
use sync_runtime::schema::ForeignKey;
use sync_runtime::{Models, Result};

/// The foreign keys between the tables of the models that point to an id.
pub(super) async fn foreign_keys(
    session: &mut Session<'_>,
    catalog: &dyn Catalog,
    models: &Models,
) -> Result<Vec<ForeignKey>> {
    let references = catalog.references(session).await?;
    Ok(references.iter().filter_map(|reference| reference.between(models)).collect())
}

/// The foreign key whose four names are in a row.
pub(super) fn reference(row: Row) -> Option<Reference> {
    let text = |cell| match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    };
    let names: Option<Vec<String>> = row.into_iter().map(text).collect();
    let [child, column, parent, target] = <[String; 4]>::try_from(names?).ok()?;
    Some(Reference { child, column, parent, target })
}

/// Makes an index on each column that holds the id of a parent and has none: a delete looks whether its record has
/// children.
pub(super) async fn index(
    session: &mut Session<'_>,
    catalog: &dyn Catalog,
    tables: &Tables,
    keys: &[ForeignKey],
) -> Result<()> {
    for table in tables.all() {
        let declared = table.schema.parents().map(|(place, _)| place);
        let found = keys.iter().filter(|key| key.child == table.schema.name);
        let mut places: Vec<usize> = declared.chain(found.map(|key| key.field)).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let field = table.schema.fields[place].name;
            if catalog.is_indexed(session, table.schema.table, field).await? {
                continue;
            }
            let name = format!("{PREFIX}parent_{}_{place}", table.number);
            let columns = catalog.columns(session, table.schema.table).await?;
            let Some(column) = column_of(&columns, &table.schema.fields[place]) else { continue };
            let create = catalog.parent_index(&name, &table, column);
            let doing = format!("making an index on `{field}` of `{}`", table.schema.table);
            session.script(&create, &doing).await?;
        }
    }
    Ok(())
}
