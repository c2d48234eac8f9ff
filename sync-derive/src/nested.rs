//! Reads what `#[derive(SyncFields)]` is for: a struct that is one JSON value in a field of a model.

use crate::attributes::{self, FieldMerge, for_each_word};
use crate::check::no_json;
use crate::errors::Errors;
use crate::policy::{self, Merge};
use crate::serde;
use syn::ext::IdentExt;
use syn::{Attribute, Data, DataStruct, DeriveInput, ExprPath, Fields, Generics, Ident, Type};

/// The words on the struct.
const ON_STRUCT: [&str; 2] = ["merge", "crate"];
/// The words on a field.
const ON_FIELD: [&str; 3] = ["merge", "with", "json"];

/// The struct.
pub(crate) struct Nested<'a> {
    /// The struct.
    pub(crate) ident: &'a Ident,
    /// Its generics, which are refused.
    pub(crate) generics: &'a Generics,
    /// The crate that generated code names, where it is not `::sync_runtime`.
    pub(crate) runtime: Option<ExprPath>,
    /// Its fields, in order.
    pub(crate) fields: Vec<NestedField<'a>>,
}

/// One of its fields.
pub(crate) struct NestedField<'a> {
    /// Its name in the JSON.
    pub(crate) name: String,
    /// Its type.
    pub(crate) ty: &'a Type,
    /// What decides where both sides changed it.
    pub(crate) merge: Option<Merge>,
}

/// The struct; where there is a report, with what could be read.
pub(crate) fn build<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Nested<'a> {
    let mut runtime = None;
    for_each_word(&input.attrs, errors, |word, errors| match word.text().as_str() {
        "merge" => policy::of_nested_struct(word, errors),
        "crate" => runtime = word.path(errors, "path::to::sync_runtime"),
        other if ON_FIELD.contains(&other) => {
            errors.at(word.span(), format!("`{other}` belongs on a field"));
        }
        other => attributes::unknown(word, other, "a `SyncFields` struct", &ON_STRUCT, errors),
    });
    if !input.generics.params.is_empty() || input.generics.where_clause.is_some() {
        let message = "a `SyncFields` struct has no generic parameters: what its fields merge by is fixed";
        match &input.generics.where_clause {
            Some(clause) if input.generics.params.is_empty() => errors.on(clause, message),
            _ => errors.on(&input.generics, message),
        }
    }
    let rule = serde::of_nested_struct(&input.attrs, errors);
    let fields = named_fields(input, errors).into_iter().flatten().filter_map(|field| {
        let merge = read_field(&field.attrs, errors);
        let text = field.ident.as_ref()?.unraw().to_string();
        let name = serde::name_of_nested_field(&field.attrs, errors);
        Some(NestedField { name: name.unwrap_or_else(|| rule.apply(&text)), ty: &field.ty, merge })
    });
    let fields = fields.collect();
    Nested { ident: &input.ident, generics: &input.generics, runtime, fields }
}

fn named_fields<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Option<&'a Fields> {
    match &input.data {
        Data::Struct(DataStruct { fields: fields @ Fields::Named(_), .. }) => return Some(fields),
        Data::Struct(DataStruct { fields: Fields::Unnamed(fields), .. }) => {
            errors.on(fields, "a `SyncFields` struct has named fields: it merges by their names")
        }
        Data::Struct(_) => {
            errors.on(&input.ident, "a `SyncFields` struct has fields: without any there is nothing to merge")
        }
        Data::Enum(data) => errors.on(
            &data.enum_token,
            "an enum cannot be `SyncFields`: two variants have no fields in common; merge it as a whole, with \
             another policy",
        ),
        Data::Union(data) => {
            errors.on(&data.union_token, "a union cannot be `SyncFields`; derive it on a struct")
        }
    }
    None
}

fn read_field(attributes: &[Attribute], errors: &mut Errors) -> Option<Merge> {
    let mut merge = FieldMerge::default();
    let mut json = false;
    for_each_word(attributes, errors, |word, errors| match word.text().as_str() {
        "merge" | "with" => merge.note(word, policy::of_nested_field(word, errors), errors),
        "json" => {
            word.no_value(errors);
            json = true;
        }
        other if ON_STRUCT.contains(&other) => {
            errors.at(word.span(), format!("`{other}` belongs on the struct"));
        }
        other => attributes::unknown(word, other, "a field of a `SyncFields` struct", &ON_FIELD, errors),
    });
    if let Some(Merge::Policy(policy, at)) = merge.merge
        && json
        && policy.needs_type()
    {
        errors.at(at, no_json(policy, "`manual`, "));
    }
    merge.merge
}
