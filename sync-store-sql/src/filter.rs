//! Filters as SQL. Every condition is true or false, never null, so that `NOT` means what [`Filter`] says.

use sync_runtime::Result;
use sync_runtime::query::{Comparison, Filter};
use sync_runtime::value::Value;

/// How one database names a field's column and takes a value to compare it with.
pub(crate) trait Terms {
    /// The column, compared and ordered as [`Value::order`] says.
    fn column(&self, field: usize) -> Result<String>;

    /// Binds the value as the field's column holds it, and gives its placeholder.
    ///
    /// # Errors
    /// [`sync_runtime::ErrorKind::TooLarge`] if the statement has as many values as the database allows.
    fn bind(&mut self, field: usize, value: &Value) -> Result<String>;
}

/// The condition for a filter.
///
/// # Errors
/// As [`Terms::bind`], and for a field that the model does not have.
pub(crate) fn condition(filter: &Filter, terms: &mut impl Terms) -> Result<String> {
    Ok(match filter {
        Filter::All => "1".to_owned(),
        Filter::Compare(field, comparison, value) => {
            let operator = match comparison {
                Comparison::Equal => "IS",
                Comparison::NotEqual => "IS NOT",
                _ if value.is_null() => return Ok("0".to_owned()),
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
            };
            let (column, value) = (terms.column(*field)?, terms.bind(*field, value)?);
            match comparison {
                Comparison::Equal | Comparison::NotEqual => format!("{column} {operator} {value}"),
                _ => format!("ifnull({column} {operator} {value}, 0)"),
            }
        }
        Filter::OneOf(field, values) => {
            let column = terms.column(*field)?;
            let mut placeholders = Vec::with_capacity(values.len());
            for value in values.iter().filter(|value| !value.is_null()) {
                placeholders.push(terms.bind(*field, value)?);
            }
            let listed = format!("ifnull({column} IN ({}), 0)", placeholders.join(", "));
            match values.iter().any(Value::is_null) {
                true => format!("({listed} OR {column} IS NULL)"),
                false => listed,
            }
        }
        Filter::Contains(field, part) => {
            let column = terms.column(*field)?;
            let part = terms.bind(*field, &Value::Text(part.clone()))?;
            format!("ifnull(instr({column}, {part}) > 0, 0)")
        }
        Filter::And(all) => joined(all, "AND", "1", terms)?,
        Filter::Or(any) => joined(any, "OR", "0", terms)?,
        Filter::Not(filter) => format!("NOT ({})", condition(filter, terms)?),
    })
}

/// Joined as a balanced tree: databases limit how deep an expression may nest.
fn joined(filters: &[Filter], operator: &str, empty: &str, terms: &mut impl Terms) -> Result<String> {
    match filters {
        [] => Ok(empty.to_owned()),
        [filter] => condition(filter, terms),
        _ => {
            let (left, right) = filters.split_at(filters.len() / 2);
            let left = joined(left, operator, empty, terms)?;
            let right = joined(right, operator, empty, terms)?;
            Ok(format!("({left} {operator} {right})"))
        }
    }
}
