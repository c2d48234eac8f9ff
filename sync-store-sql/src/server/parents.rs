//! The columns that hold the id of a parent: those that models declare, and the foreign keys between their tables.

use super::link::{Cell, Row};
use super::prepare::{Catalog, Session, column_of};
use super::tables::Tables;
use crate::names::PREFIX;
use sync_runtime::schema::{ForeignKey, ModelSchema};
use sync_runtime::{Models, Result};

/// A foreign key of one column, by the names in the database.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) child: String,
    pub(crate) column: String,
    pub(crate) parent: String,
    /// The column of the parent that it points to.
    pub(crate) target: String,
}

impl Reference {
    /// The four names in a row.
    pub(crate) fn of(row: Row) -> Option<Self> {
        let text = |cell| match cell {
            Cell::Text(text) => Some(text),
            _ => None,
        };
        let names: Option<Vec<String>> = row.into_iter().map(text).collect();
        let [child, column, parent, target] = <[String; 4]>::try_from(names?).ok()?;
        Some(Reference { child, column, parent, target })
    }
}

/// The foreign keys between the tables of the models that point to an id.
pub(super) async fn foreign_keys(
    session: &mut Session<'_>,
    catalog: &dyn Catalog,
    models: &Models,
) -> Result<Vec<ForeignKey>> {
    let of_table = |table: &str| {
        let exact = models.iter().find(|model| model.schema.table == table);
        exact.or_else(|| models.iter().find(|model| model.schema.table.eq_ignore_ascii_case(table)))
    };
    let of_column = |schema: &'static ModelSchema, column: &str| {
        let exact = schema.position(column);
        exact.or_else(|| schema.fields.iter().position(|field| field.name.eq_ignore_ascii_case(column)))
    };
    let mut keys = Vec::new();
    for reference in catalog.references(session).await? {
        let (Some(child), Some(parent)) = (of_table(&reference.child), of_table(&reference.parent)) else {
            continue;
        };
        let to_id = of_column(parent.schema, &reference.target) == Some(parent.schema.id);
        let place = of_column(child.schema, &reference.column);
        let place = place.filter(|place| to_id && child.schema.fields[*place].replicated());
        if let Some(place) = place.filter(|_| !parent.schema.has_composite_id()) {
            keys.push(ForeignKey { child: child.schema.name, field: place, parent: parent.schema.name });
        }
    }
    Ok(keys)
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
