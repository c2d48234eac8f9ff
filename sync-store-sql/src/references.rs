//! Foreign keys of a database, as the models know them.

use sync_runtime::Models;
use sync_runtime::schema::{ForeignKey, ModelSchema};

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
    /// The key between two models, if it is one: from a field that travels to the id of the parent.
    pub(crate) fn between(&self, models: &Models) -> Option<ForeignKey> {
        let (child, parent) = (of_table(models, &self.child)?, of_table(models, &self.parent)?);
        let field = of_column(child, &self.column)?;
        let to_id = !parent.has_composite_id() && of_column(parent, &self.target) == Some(parent.id);
        let key = ForeignKey { child: child.name, field, parent: parent.name };
        (to_id && child.fields[field].replicated()).then_some(key)
    }
}

/// The model of a table: by its name, or by its name in another case.
fn of_table(models: &Models, table: &str) -> Option<&'static ModelSchema> {
    let all = || models.iter().map(|model| model.schema);
    let exact = all().find(|schema| schema.table == table);
    exact.or_else(|| all().find(|schema| schema.table.eq_ignore_ascii_case(table)))
}

/// The place of a column's field, likewise.
fn of_column(schema: &ModelSchema, column: &str) -> Option<usize> {
    let other_case = || schema.fields.iter().position(|field| field.name.eq_ignore_ascii_case(column));
    schema.position(column).or_else(other_case)
}
