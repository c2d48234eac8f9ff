//! A filter as it travels: by the names of fields.

use crate::message::{Choice, Chosen};
use serde::de::{self, DeserializeSeed, MapAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Display;
use sync_runtime::codec::{self, Fields, List, Map, Plain, Reader, required};
use sync_runtime::query::{Comparison, Filter};
use sync_runtime::{FieldSchema, ModelSchema, Value};

/// How deep filters may nest.
const MAX_DEPTH: usize = 32;
/// The most values and parts of a filter, those of its parts included.
const MOST_PARTS: usize = 10_000;

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ComparisonText {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl From<Comparison> for ComparisonText {
    fn from(comparison: Comparison) -> Self {
        match comparison {
            Comparison::Equal => ComparisonText::Equal,
            Comparison::NotEqual => ComparisonText::NotEqual,
            Comparison::Less => ComparisonText::Less,
            Comparison::LessOrEqual => ComparisonText::LessOrEqual,
            Comparison::Greater => ComparisonText::Greater,
            Comparison::GreaterOrEqual => ComparisonText::GreaterOrEqual,
        }
    }
}

impl From<ComparisonText> for Comparison {
    fn from(text: ComparisonText) -> Self {
        match text {
            ComparisonText::Equal => Comparison::Equal,
            ComparisonText::NotEqual => Comparison::NotEqual,
            ComparisonText::Less => Comparison::Less,
            ComparisonText::LessOrEqual => Comparison::LessOrEqual,
            ComparisonText::Greater => Comparison::Greater,
            ComparisonText::GreaterOrEqual => Comparison::GreaterOrEqual,
        }
    }
}

pub(crate) struct ValueText<'a>(&'a Value);

impl Serialize for ValueText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::value(self.0).serialize(serializer)
    }
}

/// A [`Filter`] to write.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FilterText<'a> {
    All,
    Compare(CompareText<'a>),
    OneOf { field: &'static str, values: Vec<ValueText<'a>> },
    Contains { field: &'static str, text: &'a str },
    And(Vec<FilterText<'a>>),
    Or(Vec<FilterText<'a>>),
    Not(Box<FilterText<'a>>),
}

#[derive(Serialize)]
pub(crate) struct CompareText<'a> {
    field: &'static str,
    is: ComparisonText,
    value: ValueText<'a>,
}

impl<'a> FilterText<'a> {
    pub(crate) fn of(schema: &'static ModelSchema, filter: &'a Filter) -> Self {
        let name = |field: usize| schema.fields.get(field).map_or("", |field| field.name);
        let parts = |parts: &'a [Filter]| parts.iter().map(|part| FilterText::of(schema, part)).collect();
        match filter {
            Filter::All => FilterText::All,
            Filter::Compare(field, is, value) => FilterText::Compare(CompareText {
                field: name(*field),
                is: (*is).into(),
                value: ValueText(value),
            }),
            Filter::OneOf(field, values) => {
                FilterText::OneOf { field: name(*field), values: values.iter().map(ValueText).collect() }
            }
            Filter::Contains(field, text) => FilterText::Contains { field: name(*field), text },
            Filter::And(all) => FilterText::And(parts(all)),
            Filter::Or(any) => FilterText::Or(parts(any)),
            Filter::Not(part) => FilterText::Not(Box::new(FilterText::of(schema, part))),
        }
    }
}

/// Reads a [`Filter`] over the fields of a model that travel.
#[derive(Clone, Copy)]
pub(crate) struct ReadFilter<'r> {
    reader: &'r Reader,
    schema: &'static ModelSchema,
    depth: usize,
}

impl<'r> ReadFilter<'r> {
    pub(crate) fn seed(reader: &'r Reader, schema: &'static ModelSchema) -> Chosen<Self> {
        Chosen(ReadFilter { reader, schema, depth: 1 })
    }

    fn deeper<E: de::Error>(self) -> Result<Chosen<Self>, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(Chosen(ReadFilter { depth: self.depth + 1, ..self })),
            false => Err(E::custom(format_args!("filters nested deeper than {MAX_DEPTH}"))),
        }
    }

    fn parts<E: de::Error>(self) -> Result<List<Chosen<Self>>, E> {
        Ok(List { item: self.deeper()?, most: MOST_PARTS, what: "filters" })
    }
}

impl<'de> Choice<'de> for ReadFilter<'_> {
    type Output = Filter;
    const WHAT: &'static str = "a filter";

    fn alone(&self, name: &str) -> Option<Filter> {
        (name == "all").then_some(Filter::All)
    }

    fn with<A: MapAccess<'de>>(&self, name: &str, map: &mut A) -> Result<Option<Filter>, A::Error> {
        let read = self.read(name, map)?;
        // Each is looked at for each record.
        if self.depth == 1 && read.as_ref().is_some_and(|filter| parts(filter) > MOST_PARTS) {
            return Err(de::Error::custom(format_args!("more than {MOST_PARTS} filters and values")));
        }
        Ok(read)
    }
}

/// How many filters and values there are in a filter.
fn parts(filter: &Filter) -> usize {
    match filter {
        Filter::And(inner) | Filter::Or(inner) => 1 + inner.iter().map(parts).sum::<usize>(),
        Filter::Not(inner) => 1 + parts(inner),
        Filter::OneOf(_, values) => 1 + values.len(),
        _ => 1,
    }
}

impl ReadFilter<'_> {
    fn read<'de, A: MapAccess<'de>>(&self, name: &str, map: &mut A) -> Result<Option<Filter>, A::Error> {
        let on =
            |what| Map(OnField { of: *self, what, field: None, is: None, values: Vec::new(), text: None });
        Ok(Some(match name {
            "compare" => map.next_value_seed(on(What::Compare))?,
            "one_of" => map.next_value_seed(on(What::OneOf))?,
            "contains" => map.next_value_seed(on(What::Contains))?,
            "and" => Filter::And(map.next_value_seed(self.parts()?)?),
            "or" => Filter::Or(map.next_value_seed(self.parts()?)?),
            "not" => Filter::Not(Box::new(map.next_value_seed(self.deeper()?)?)),
            _ => return Ok(None),
        }))
    }
}

#[derive(Clone, Copy)]
enum What {
    Compare,
    OneOf,
    Contains,
}

/// Reads a filter on one field.
struct OnField<'r> {
    of: ReadFilter<'r>,
    what: What,
    field: Option<(usize, &'static FieldSchema)>,
    is: Option<ComparisonText>,
    values: Vec<Value>,
    text: Option<String>,
}

impl<'de> Fields<'de> for OnField<'_> {
    type Output = Filter;
    const WHAT: &'static str = "a filter on a field";
    const NAMES: &'static [&'static str] = &["field", "is", "value", "values", "text"];

    fn field<A: MapAccess<'de>>(&mut self, place: usize, map: &mut A) -> Result<(), A::Error> {
        let field = self.field.ok_or_else(|| de::Error::custom("`field` has to come first"));
        match Self::NAMES[place] {
            "field" => self.field = Some(map.next_value_seed(ReadField(self.of.schema))?),
            "is" => self.is = Some(map.next_value()?),
            "value" => self.values = vec![map.next_value_seed(self.of.reader.value(field?.1))?],
            "values" => {
                let item = self.of.reader.value(field?.1);
                self.values = map.next_value_seed(List { item, most: MOST_PARTS, what: "values" })?;
            }
            _ => self.text = Some(map.next_value()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(mut self) -> Result<Filter, E> {
        let (field, _) = required(self.field, "field")?;
        Ok(match self.what {
            What::Compare => {
                let value = required(self.values.pop(), "value")?;
                Filter::Compare(field, required(self.is, "is")?.into(), value)
            }
            What::OneOf => Filter::OneOf(field, self.values),
            What::Contains => Filter::Contains(field, required(self.text, "text")?),
        })
    }
}

/// Reads the name of a field as its place. Local fields are not there for peers.
struct ReadField(&'static ModelSchema);

impl<'de> DeserializeSeed<'de> for ReadField {
    type Value = (usize, &'static FieldSchema);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let name: String = Plain::seed().deserialize(deserializer)?;
        let found = self.0.replicated().find(|(_, field)| field.name == name);
        let unknown: &dyn Display = &format_args!("the model `{}` has no field `{name:.100}`", self.0.name);
        found.ok_or_else(|| de::Error::custom(unknown))
    }
}
