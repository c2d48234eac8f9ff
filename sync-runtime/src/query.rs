//! A small typed query: which records, in which order, how many.

use crate::record::Record;
use crate::schema::ModelSchema;
use crate::syncable::{Field, FieldValue, Syncable};
use crate::value::{Value, ValueError};
use std::cmp::Ordering;
use std::marker::PhantomData;

/// How a field is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal, to the bit; null equals null.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less than; null is not less than anything.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
}

/// Which records, by the places of their fields. Stores evaluate it; apps write [`Query`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Every record.
    All,
    /// A field against a value. Apart from equality, a comparison with null is false.
    Compare(usize, Comparison, Value),
    /// A field that has one of these values.
    OneOf(usize, Vec<Value>),
    /// A text field that has this text in it, compared by bytes.
    Contains(usize, String),
    /// All of these.
    And(Vec<Filter>),
    /// At least one of these.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
}

impl Filter {
    /// Whether a record matches. The reference for every store.
    pub fn matches(&self, record: &Record) -> bool {
        let value = |field: &usize| record.get(*field).unwrap_or(&Value::Null);
        match self {
            Filter::All => true,
            Filter::Compare(field, Comparison::Equal, to) => same(value(field), to),
            Filter::Compare(field, Comparison::NotEqual, to) => !same(value(field), to),
            Filter::Compare(field, comparison, to) => {
                let value = value(field);
                if value.is_null() || to.is_null() {
                    return false;
                }
                let order = value.order(to);
                match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
            Filter::OneOf(field, values) => values.iter().any(|to| same(value(field), to)),
            Filter::Contains(field, part) => {
                matches!(value(field), Value::Text(text) if text.contains(part.as_str()))
            }
            Filter::And(all) => all.iter().all(|filter| filter.matches(record)),
            Filter::Or(any) => any.iter().any(|filter| filter.matches(record)),
            Filter::Not(filter) => !filter.matches(record),
        }
    }
}

fn same(a: &Value, b: &Value) -> bool {
    a.is_null() == b.is_null() && a.order(b) == Ordering::Equal
}

/// What a store is asked for. Records of equal order come by id, so that every store gives one sequence.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Which records.
    pub filter: Filter,
    /// By which fields; `true` is descending.
    pub order: Vec<(usize, bool)>,
    /// How many to leave out first.
    pub skip: u64,
    /// How many at most; `None` is all.
    pub limit: Option<u64>,
    /// Whether a value that cannot be read leaves its field absent, rather than to fail the whole selection.
    pub lenient: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Selection { filter: Filter::All, order: Vec::new(), skip: 0, limit: None, lenient: false }
    }
}

impl Selection {
    /// How two records stand in this selection's order.
    pub fn compare(&self, schema: &ModelSchema, a: &Record, b: &Record) -> Ordering {
        fn value(record: &Record, field: usize) -> &Value {
            record.get(field).unwrap_or(&Value::Null)
        }
        for (field, descending) in self.order.iter().copied().chain(schema.key().map(|place| (place, false)))
        {
            let order = value(a, field).order(value(b, field));
            let order = if descending { order.reverse() } else { order };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

/// Which records of a model an app wants.
///
/// Conditions come from the fields of the model's field enum; a value that the field cannot hold makes the
/// query fail where it is run, with the field's name.
///
/// ```
/// use sync_runtime::prelude::*;
///
/// #[derive(Debug, Clone, Syncable)]
/// struct Todo {
///     #[sync(id)]
///     id: String,
///     title: String,
///     completed: bool,
/// }
///
/// let open = Query::all()
///     .filter(TodoField::Completed.eq(false))
///     .order_by(TodoField::Title)
///     .limit(10);
/// # let _: Query<Todo> = open;
/// ```
pub struct Query<T> {
    selection: Result<Selection, ValueError>,
    model: PhantomData<fn() -> T>,
}

impl<T> Clone for Query<T> {
    fn clone(&self) -> Self {
        Query { selection: self.selection.clone(), model: PhantomData }
    }
}

impl<T> std::fmt::Debug for Query<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Query").field(&self.selection).finish()
    }
}

impl<T> Default for Query<T> {
    fn default() -> Self {
        Query { selection: Ok(Selection::default()), model: PhantomData }
    }
}

impl<T: Syncable> Query<T> {
    /// All records, by id.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only records that match this too.
    pub fn filter(self, condition: Condition<T>) -> Self {
        self.with(|selection| {
            let filter = condition.0?;
            selection.filter = match std::mem::replace(&mut selection.filter, Filter::All) {
                Filter::All => filter,
                before => Filter::And(vec![before, filter]),
            };
            Ok(())
        })
    }

    /// By this field, smallest first, after the fields named before.
    pub fn order_by(self, field: T::Field) -> Self {
        self.with(|selection| {
            selection.order.push((field.index(), false));
            Ok(())
        })
    }

    /// By this field, largest first, after the fields named before.
    pub fn order_by_descending(self, field: T::Field) -> Self {
        self.with(|selection| {
            selection.order.push((field.index(), true));
            Ok(())
        })
    }

    /// Leaves out the first `count` records.
    pub fn skip(self, count: u64) -> Self {
        self.with(|selection| {
            selection.skip = count;
            Ok(())
        })
    }

    /// At most `count` records.
    pub fn limit(self, count: u64) -> Self {
        self.with(|selection| {
            selection.limit = Some(count);
            Ok(())
        })
    }

    pub(crate) fn selection(self) -> Result<Selection, ValueError> {
        self.selection
    }

    fn with(mut self, change: impl FnOnce(&mut Selection) -> Result<(), ValueError>) -> Self {
        self.selection = self.selection.and_then(|mut selection| change(&mut selection).map(|()| selection));
        self
    }
}

/// A condition on the fields of `T`; made by the methods of its field enum.
pub struct Condition<T>(Result<Filter, ValueError>, PhantomData<fn() -> T>);

impl<T> std::fmt::Debug for Condition<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Condition").field(&self.0).finish()
    }
}

impl<T: Syncable> Condition<T> {
    /// A field compared with a value.
    pub fn compare(field: T::Field, comparison: Comparison, value: impl FieldValue) -> Self {
        let name = T::SCHEMA.fields[field.index()].name;
        let value = value.to_value().map_err(|error| error.in_field(name));
        Condition(value.map(|value| Filter::Compare(field.index(), comparison, value)), PhantomData)
    }

    /// A field that has one of these values.
    pub fn one_of<V: FieldValue>(field: T::Field, values: impl IntoIterator<Item = V>) -> Self {
        let name = T::SCHEMA.fields[field.index()].name;
        let values = values.into_iter().map(|value| value.to_value().map_err(|error| error.in_field(name)));
        let values: Result<Vec<_>, _> = values.collect();
        Condition(values.map(|values| Filter::OneOf(field.index(), values)), PhantomData)
    }

    /// A text field that has this text in it.
    pub fn contains(field: T::Field, part: &str) -> Self {
        Condition(Ok(Filter::Contains(field.index(), part.to_owned())), PhantomData)
    }

    pub(crate) fn filter(self) -> Result<Filter, ValueError> {
        self.0
    }

    /// Both conditions.
    pub fn and(self, other: Self) -> Self {
        self.both(other, |a, b| Filter::And(vec![a, b]))
    }

    /// One of the conditions, or both.
    pub fn or(self, other: Self) -> Self {
        self.both(other, |a, b| Filter::Or(vec![a, b]))
    }

    fn both(self, other: Self, join: impl FnOnce(Filter, Filter) -> Filter) -> Self {
        Condition(self.0.and_then(|a| other.0.map(|b| join(a, b))), PhantomData)
    }
}

impl<T> std::ops::Not for Condition<T> {
    type Output = Self;

    fn not(self) -> Self {
        Condition(self.0.map(|filter| Filter::Not(Box::new(filter))), PhantomData)
    }
}

/// Which records of models to pull.
pub(crate) type Only = Result<Vec<(&'static ModelSchema, Filter)>, ValueError>;

/// The same, with one condition more.
pub(crate) fn narrowed<T: Syncable>(only: Only, condition: Condition<T>) -> Only {
    let (mut only, filter) = (only?, condition.filter()?);
    match only.iter_mut().find(|(schema, _)| schema.name == T::SCHEMA.name) {
        Some((_, before)) => *before = Filter::And(vec![before.clone(), filter]),
        None => only.push((T::SCHEMA, filter)),
    }
    Ok(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_equal_to_null_and_less_than_nothing() {
        let record = Record::new(vec![Some(Value::Null), Some(Value::Int(5))]);
        let compare = |field, comparison, value| Filter::Compare(field, comparison, value).matches(&record);
        assert!(compare(0, Comparison::Equal, Value::Null));
        assert!(!compare(0, Comparison::Less, Value::Int(1)));
        assert!(!compare(0, Comparison::GreaterOrEqual, Value::Null));
        assert!(compare(0, Comparison::NotEqual, Value::Int(1)));
        assert!(compare(1, Comparison::GreaterOrEqual, Value::Int(5)));
        assert!(!compare(1, Comparison::Less, Value::Int(5)));
        assert!(Filter::OneOf(1, vec![Value::Int(4), Value::Int(5)]).matches(&record));
        assert!(!Filter::Not(Box::new(Filter::All)).matches(&record));
    }
}
