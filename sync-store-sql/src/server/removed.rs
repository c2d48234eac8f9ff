//! Columns of fields that were removed from a model. They stay with their values, and new records have none.

use super::catalog::{Catalog, Found, Session};
use crate::names;
use sync_runtime::Result;
use sync_runtime::schema::ModelSchema;

/// The columns of the table that a row needs a value for and that are no field of the model.
pub(super) fn without_field<'f>(
    schema: &'static ModelSchema,
    found: &'f [Found],
) -> impl Iterator<Item = &'f Found> {
    let is_field =
        |column: &Found| schema.fields.iter().any(|field| field.name.eq_ignore_ascii_case(&column.name));
    found.iter().filter(move |column| column.required && !is_field(column))
}

/// Has the columns of removed fields take null, so that records without them can be made.
pub(super) async fn release(
    session: &mut Session<'_>,
    catalog: &dyn Catalog,
    schema: &'static ModelSchema,
    table: &str,
    found: &[Found],
) -> Result<()> {
    for column in without_field(schema, found).filter(|column| names::is_removed(schema, &column.name)) {
        let doing = format!("having the column `{}` of `{}` take null", column.name, schema.table);
        session.script(&catalog.make_nullable(table, column), &doing).await?;
    }
    Ok(())
}
