//! How things are named in a database: quoted, and everything of ours under a prefix of its own.

use sync_runtime::schema::ModelSchema;
use sync_runtime::{Error, ErrorKind, Result};

/// What every table, index and trigger of this library starts with.
pub(crate) const PREFIX: &str = "sync_";

/// A name as SQL takes it, whatever characters it has.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The table that keeps overwritten states of a model's records.
pub(crate) fn base_table(schema: &ModelSchema) -> String {
    format!("{PREFIX}base_{}", schema.table)
}

/// The view that shows a model's changes to people.
pub(crate) fn change_view(schema: &ModelSchema) -> String {
    format!("{}_change", schema.table)
}

/// A trigger on a model's table. What it is for comes first, so that no two tables can meet in one name.
pub(crate) fn trigger(event: &str, schema: &ModelSchema) -> String {
    format!("{PREFIX}{event}_{}", schema.table)
}

/// An index on a model's base table.
pub(crate) fn base_index(by: &str, schema: &ModelSchema) -> String {
    format!("{PREFIX}index_{by}_{}", schema.table)
}

/// Checks that a model's table and columns have names that no database and no table of ours is in the way of.
///
/// # Errors
/// [`ErrorKind::Usage`] with the name at fault.
pub(crate) fn check(schema: &ModelSchema) -> Result<()> {
    let names = std::iter::once(schema.table).chain(schema.fields.iter().map(|field| field.name));
    for name in names {
        let lower = name.to_ascii_lowercase();
        if lower.starts_with(PREFIX) || lower.starts_with("sqlite_") {
            let message = format!(
                "the model `{}` uses the name `{name}`; names that start with `{PREFIX}` or `sqlite_` are taken: \
                 choose another one with `table` or `rename`",
                schema.name
            );
            return Err(Error::new(ErrorKind::Usage, message));
        }
        if name.is_empty() || name.contains('\0') {
            let message = format!("the model `{}` has a table or field without a usable name", schema.name);
            return Err(Error::new(ErrorKind::Usage, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_stays_inside_it() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn names_of_ours_are_taken() {
        let schema = ModelSchema {
            name: "State",
            table: "Sync_state",
            fields: &[],
            id: 0,
            on_delete: sync_runtime::OnDelete::Manual,
        };
        let error = check(&schema).expect_err("a table of ours");
        assert!(error.to_string().contains("`Sync_state`"), "{error}");
    }
}
