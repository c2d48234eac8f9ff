//! `#[derive(Syncable)]` and `#[derive(SyncFields)]`, re-exported by `sync_runtime`; depend on that.
//!
//! Four steps, each in its place: `attributes` reads `#[sync(…)]` and `#[serde(…)]`, `model` builds the model
//! from them, `check` looks across fields, `emit` writes the code and cannot fail. Every step collects its
//! mistakes in one `errors::Errors`, so that a user sees all of them at once.

#![forbid(unsafe_code)]

mod async_trait;
mod attributes;
mod case;
mod check;
mod emit;
mod errors;
mod model;
mod nested;
mod policy;
mod serde;
mod words;

use errors::Errors;
use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a model: its schema, its conversion to and from records, an enum of its fields, and methods on
/// the struct itself.
///
/// The attributes are in `docs/attributes.md`; the trait is `sync_runtime::Syncable`.
#[proc_macro_derive(Syncable, attributes(sync))]
pub fn derive_syncable(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let mut errors = Errors::default();
    let attributes = attributes::of_struct(&input.attrs, &mut errors);
    let runtime = attributes.runtime.clone();
    let model = model::build(&input, attributes, &mut errors);
    let id = model.as_ref().map(|model| check::check(model, &mut errors)).unwrap_or_default();
    let errors = errors.into_compile_errors();
    match (model, id.as_slice()) {
        (Some(model), [_, ..]) if errors.is_empty() => emit::model(&model, &id),
        (Some(model), _) => emit::broken_model(&model, &id, errors),
        (None, _) => emit::no_model(&input, runtime.as_ref(), errors),
    }
    .into()
}

/// Makes a struct that is one JSON value in a field of a model merge field by field, by
/// `#[sync(json, merge = "fields")]` on that field.
///
/// The attributes are in `docs/attributes.md`; the trait is `sync_runtime::SyncFields`.
#[proc_macro_derive(SyncFields, attributes(sync))]
pub fn derive_sync_fields(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let mut errors = Errors::default();
    let nested = nested::build(&input, &mut errors);
    emit::nested(&nested, errors.into_compile_errors()).into()
}

/// The `async_trait` attribute, with `Send` futures except on wasm32, where nothing is `Send`.
#[proc_macro_attribute]
pub fn async_trait(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    async_trait::expand(item.into()).into()
}
