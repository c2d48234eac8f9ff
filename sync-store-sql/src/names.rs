//! How things are named in a database: quoted, and everything of ours under a prefix of its own.

use sync_runtime::schema::{FieldSchema, ModelSchema};
use sync_runtime::{Error, ErrorKind, Result};

/// What every table, index and trigger of this library starts with.
pub(crate) const PREFIX: &str = "sync_";

/// Stands before the name of a field in `sync_adding` whose column was there before the model had it. No field begins so.
pub(crate) const UNTOLD: &str = "+";

/// The places of the fields that are new in a model and travel.
#[derive(Debug, Default)]
pub(crate) struct New {
    /// Those whose columns have not yet taken what peers had sent of them.
    pub(crate) added: Vec<usize>,
    /// Those whose columns were in the table before, and nobody was told of what stands in them.
    pub(crate) untold: Vec<usize>,
}

/// How a database quotes names.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quote {
    /// `"name"`, as in the standard.
    #[cfg(feature = "postgres")]
    Double,
    /// `` `name` ``.
    #[cfg(feature = "mariadb")]
    Backtick,
}

#[cfg(feature = "server")]
impl Quote {
    /// A name as SQL takes it, whatever characters it has.
    pub(crate) fn name(self, name: &str) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Quote::Double => quoted(name),
            #[cfg(feature = "mariadb")]
            Quote::Backtick => format!("`{}`", name.replace('`', "``")),
        }
    }
}

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
    base_of(schema.table)
}

/// The table that keeps overwritten states of the records in this table.
pub(crate) fn base_of(table: &str) -> String {
    format!("{PREFIX}base_{table}")
}

/// The view that shows a model's changes to people.
pub(crate) fn change_view(table: &str) -> String {
    format!("{table}_change")
}

/// A trigger on a model's table. What it is for comes first, so that no two tables can meet in one name.
pub(crate) fn trigger(event: &str, schema: &ModelSchema) -> String {
    trigger_on(event, schema.table)
}

/// As [`trigger`], by the table's name.
pub(crate) fn trigger_on(event: &str, table: &str) -> String {
    format!("{PREFIX}{event}_{table}")
}

/// An index on a model's base table.
pub(crate) fn base_index(by: &str, schema: &ModelSchema) -> String {
    format!("{PREFIX}index_{by}_{}", schema.table)
}

/// What the names of the indexes on a table's columns with ids of parents start with.
pub(crate) fn parent_indexes(table: &str) -> String {
    format!("{PREFIX}parent_{table}.")
}

/// The error for a model that a store was not prepared for.
pub(crate) fn not_prepared(schema: &ModelSchema, known: &[&str]) -> Error {
    let known = match known.is_empty() {
        true => "none is".to_owned(),
        false => format!("prepared are {}", known.join(", ")),
    };
    let message = format!("the model `{}` was not prepared in this store; {known}", schema.name);
    Error::new(ErrorKind::UnknownModel, message)
}

/// A table that does not fit its model.
pub(crate) fn misfit(schema: &ModelSchema, why: impl std::fmt::Display) -> Error {
    let message = format!("the table `{}` does not fit the model `{}`: {why}", schema.table, schema.name);
    Error::new(ErrorKind::Incompatible, message)
}

/// A table that somebody else made, and that may not be used.
pub(crate) fn not_adopted(schema: &ModelSchema) -> Error {
    misfit(
        schema,
        "another program made it; allow its use with `#[sync(adopt)]` on the struct, or for all models with \
         `SqlStoreBuilder::adopt`, or choose another name with `#[sync(table = \"…\")]`",
    )
}

/// A model whose records are in another table than it says now.
pub(crate) fn moved_table(schema: &ModelSchema, table: &str) -> Error {
    misfit(schema, format!("the model's records are in `{table}`; keep that name with `table = \"{table}\"`"))
}

/// Two models with one table.
pub(crate) fn shared_table(schema: &ModelSchema) -> Error {
    let message = format!(
        "two models use the table `{}`; give `{}` another one with `table`",
        schema.table, schema.name
    );
    Error::new(ErrorKind::Usage, message)
}

/// A field that the records that are there cannot have.
pub(crate) fn required_is_new(schema: &ModelSchema, field: &FieldSchema) -> Error {
    misfit(
        schema,
        format!(
            "the field `{}` is new and required, and the records that are there have no value for it; give it a \
             `default`, or make it an `Option`",
            field.name
        ),
    )
}

/// Whether a column is that of a field which the model had once.
pub(crate) fn is_removed(schema: &ModelSchema, column: &str) -> bool {
    schema.removed.iter().any(|removed| removed.eq_ignore_ascii_case(column))
}

/// A column that the records of the model have no value for.
pub(crate) fn left_over(column: &str) -> String {
    format!(
        "the column `{column}` is no field of the model, is required and has no default; if the field is called otherwise \
         now, give it `#[sync(rename = \"{column}\")]`, and if there is none any more, give the struct \
         `#[sync(removed(\"{column}\"))]`"
    )
}

/// Something where the view of a model's changes belongs.
pub(crate) fn view_in_the_way(schema: &ModelSchema, kind: &str, name: &str) -> Error {
    misfit(
        schema,
        format!("the {kind} `{name}` stands where the view of its changes belongs; rename one of them"),
    )
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

/// Checks that the names of a model's table, of the view of its changes and of its columns are not cut off by a database
/// that has names of at most so many of these.
///
/// # Errors
/// [`ErrorKind::Usage`] with the name at fault.
#[cfg(feature = "server")]
pub(crate) fn check_length(schema: &ModelSchema, most: usize, unit: LengthIn) -> Result<()> {
    let refused = |name: &str, length: usize, what: &str| {
        let message = format!(
            "the model `{}` uses the name `{name}`; {what} has {length} {unit}, and this database takes {most}: choose \
             another one with `table` or `rename`",
            schema.name
        );
        Err(Error::new(ErrorKind::Usage, message))
    };
    for name in std::iter::once(schema.table).chain(schema.fields.iter().map(|field| field.name)) {
        let length = unit.length(name);
        if length > most {
            return refused(name, length, "it");
        }
    }
    let view = change_view(schema.table);
    match unit.length(&view) {
        length if length > most => {
            refused(schema.table, length, &format!("the view of its changes, `{view}`,"))
        }
        _ => Ok(()),
    }
}

/// What the length of a name is counted in.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LengthIn {
    #[cfg(feature = "postgres")]
    Bytes,
    #[cfg(feature = "mariadb")]
    Characters,
}

#[cfg(feature = "server")]
impl LengthIn {
    fn length(self, name: &str) -> usize {
        match self {
            #[cfg(feature = "postgres")]
            LengthIn::Bytes => name.len(),
            #[cfg(feature = "mariadb")]
            LengthIn::Characters => name.chars().count(),
        }
    }
}

#[cfg(feature = "server")]
impl std::fmt::Display for LengthIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "postgres")]
            LengthIn::Bytes => "bytes",
            #[cfg(feature = "mariadb")]
            LengthIn::Characters => "characters",
        })
    }
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
            adopt: false,
            removed: &[],
            scope: None,
        };
        let error = check(&schema).expect_err("a table of ours");
        assert!(error.to_string().contains("`Sync_state`"), "{error}");
    }
}
