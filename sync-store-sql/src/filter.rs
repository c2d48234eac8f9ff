//! Filters as SQL. A condition may be null, which `WHERE` takes for false; one inside of `NOT` is true or false, so that
//! `NOT` means what [`Filter`] says. Only a bare comparison is looked up in an index.

use sync_runtime::Result;
use sync_runtime::query::{Comparison, Filter};
use sync_runtime::value::Value;

/// How one database says what conditions are made of.
#[derive(Debug)]
pub(crate) struct Words {
    /// A condition that is always true.
    pub(crate) all: &'static str,
    /// A condition that is never true.
    pub(crate) none: &'static str,
    /// The operator for "the same, or both null".
    pub(crate) same: &'static str,
    /// A function that gives its second argument where its first is null.
    pub(crate) if_null: &'static str,
    /// A function that says where in its first argument the second one begins, or 0.
    pub(crate) place_in: &'static str,
}

impl Words {
    /// The condition, false where it is null and that counts.
    fn or_none(&self, condition: String, inside_not: bool) -> String {
        match inside_not {
            true => format!("{}({condition}, {})", self.if_null, self.none),
            false => format!("({condition})"),
        }
    }
}

/// The words of SQLite.
pub(crate) const SQLITE: Words =
    Words { all: "1", none: "0", same: "IS", if_null: "ifnull", place_in: "instr" };

/// How one database names a field's column and takes a value to compare it with.
pub(crate) trait Terms {
    /// What the database's conditions are made of.
    fn words(&self) -> &'static Words;

    /// The column, compared and ordered as [`Value::order`] says.
    fn column(&self, field: usize) -> Result<String>;

    /// Binds the value as the field's column holds it, and gives its placeholder.
    ///
    /// # Errors
    /// [`sync_runtime::ErrorKind::TooLarge`] if the statement has as many values as the database allows.
    fn bind(&mut self, field: usize, value: &Value) -> Result<String>;
}

/// The condition for a filter, to stand in `WHERE`.
///
/// # Errors
/// As [`Terms::bind`], and for a field that the model does not have.
pub(crate) fn condition(filter: &Filter, terms: &mut impl Terms) -> Result<String> {
    condition_in(filter, false, terms)
}

fn condition_in(filter: &Filter, inside_not: bool, terms: &mut impl Terms) -> Result<String> {
    let words = terms.words();
    Ok(match filter {
        Filter::All => words.all.to_owned(),
        Filter::Compare(field, comparison, value) => {
            let operator = match comparison {
                Comparison::Equal | Comparison::NotEqual => words.same,
                _ if value.is_null() => return Ok(words.none.to_owned()),
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
            };
            let (column, value) = (terms.column(*field)?, terms.bind(*field, value)?);
            match comparison {
                Comparison::Equal => format!("({column} {operator} {value})"),
                Comparison::NotEqual => format!("NOT ({column} {operator} {value})"),
                _ => words.or_none(format!("{column} {operator} {value}"), inside_not),
            }
        }
        Filter::OneOf(field, values) => {
            let column = terms.column(*field)?;
            let mut placeholders = Vec::with_capacity(values.len());
            for value in values.iter().filter(|value| !value.is_null()) {
                placeholders.push(terms.bind(*field, value)?);
            }
            let listed = match placeholders.is_empty() {
                true => words.none.to_owned(),
                false => words.or_none(format!("{column} IN ({})", placeholders.join(", ")), inside_not),
            };
            match values.iter().any(Value::is_null) {
                true => format!("({listed} OR {column} IS NULL)"),
                false => listed,
            }
        }
        Filter::Contains(field, part) => {
            let column = terms.column(*field)?;
            let part = terms.bind(*field, &Value::Text(part.clone()))?;
            words.or_none(format!("{}({column}, {part}) > 0", words.place_in), inside_not)
        }
        Filter::And(all) => joined(all, ("AND", words.all), inside_not, terms)?,
        Filter::Or(any) => joined(any, ("OR", words.none), inside_not, terms)?,
        Filter::Not(filter) => format!("NOT ({})", condition_in(filter, true, terms)?),
    })
}

/// Joined as a balanced tree: databases limit how deep an expression may nest.
fn joined(
    filters: &[Filter],
    (operator, empty): (&str, &str),
    inside_not: bool,
    terms: &mut impl Terms,
) -> Result<String> {
    match filters {
        [] => Ok(empty.to_owned()),
        [filter] => condition_in(filter, inside_not, terms),
        _ => {
            let (left, right) = filters.split_at(filters.len() / 2);
            let left = joined(left, (operator, empty), inside_not, terms)?;
            let right = joined(right, (operator, empty), inside_not, terms)?;
            Ok(format!("({left} {operator} {right})"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named;

    impl Terms for Named {
        fn words(&self) -> &'static Words {
            &SQLITE
        }

        fn column(&self, field: usize) -> Result<String> {
            Ok(format!("c{field}"))
        }

        fn bind(&mut self, _: usize, _: &Value) -> Result<String> {
            Ok("?".to_owned())
        }
    }

    #[test]
    fn a_comparison_is_bare_where_null_may_count_as_false() {
        let above = || Filter::Compare(1, Comparison::Greater, Value::Int(7));
        let listed = || Filter::OneOf(2, vec![Value::Int(7)]);
        let cases = [
            (above(), "(c1 > ?)"),
            (listed(), "(c2 IN (?))"),
            (Filter::And(vec![above(), listed()]), "((c1 > ?) AND (c2 IN (?)))"),
            (Filter::Not(Box::new(above())), "NOT (ifnull(c1 > ?, 0))"),
            (
                Filter::Not(Box::new(Filter::Or(vec![above(), Filter::Not(Box::new(listed()))]))),
                "NOT ((ifnull(c1 > ?, 0) OR NOT (ifnull(c2 IN (?), 0))))",
            ),
            (Filter::Compare(1, Comparison::NotEqual, Value::Null), "NOT (c1 IS ?)"),
        ];
        for (filter, sql) in cases {
            assert_eq!(condition(&filter, &mut Named).expect("a condition"), sql, "{filter:?}");
        }
    }
}
