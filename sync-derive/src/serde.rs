//! Reads `#[serde(…)]`: honours `rename`, `rename_all`, `skip` and `default`, lets pass what does not change the
//! shape of a record, and refuses the rest, because a record is not written through serde.

use crate::attributes::{FieldDefault, WholeDefault};
use crate::case::JsonRule;
use crate::errors::Errors;
use crate::words::{self, Behind, Word};
use proc_macro2::Span;
use syn::{Attribute, Expr, ExprLit, ExprPath, Lit, LitStr};

/// What the struct's `#[serde(…)]` says.
#[derive(Default)]
pub(crate) struct OnStruct {
    /// `rename = "…"`
    pub(crate) rename: Option<LitStr>,
    /// `rename_all = "…"`
    pub(crate) rename_all: Option<LitStr>,
    /// `default` or `default = "…"`
    pub(crate) default: Option<WholeDefault>,
}

/// What a field's `#[serde(…)]` says.
#[derive(Default)]
pub(crate) struct OnField {
    /// `rename = "…"`
    pub(crate) rename: Option<LitStr>,
    /// `skip`
    pub(crate) skip: Option<Span>,
    /// `default` or `default = "…"`
    pub(crate) default: Option<(Span, FieldDefault)>,
}

/// Reads the struct's `#[serde(…)]`; `named` and `rule` say whether `#[sync(…)]` has given these already.
pub(crate) fn of_struct(attributes: &[Attribute], named: bool, rule: bool, errors: &mut Errors) -> OnStruct {
    let mut found = OnStruct::default();
    for word in all_words(attributes) {
        match word.text().as_str() {
            "rename" if named => {}
            "rename_all" if rule => {}
            "rename" => found.rename = one_name(&word, "model", errors),
            "rename_all" => found.rename_all = one_name(&word, "rename_all", errors),
            "default" => {
                found.default = Some(function(&word).map_or(WholeDefault::Trait, WholeDefault::Call));
            }
            // None of these changes what a record looks like.
            "crate" | "bound" | "expecting" | "deny_unknown_fields" => {}
            other => refuse(&word, other, errors),
        }
    }
    found
}

/// Reads a field's `#[serde(…)]`; `named` says whether `#[sync(…)]` has given it a name already.
pub(crate) fn of_field(attributes: &[Attribute], named: bool, errors: &mut Errors) -> OnField {
    let mut found = OnField::default();
    for word in all_words(attributes) {
        match word.text().as_str() {
            "rename" if named => {}
            "rename" => found.rename = one_name(&word, "rename", errors),
            "skip" => found.skip = Some(word.span()),
            "default" => {
                let default = function(&word).map_or(FieldDefault::Trait, FieldDefault::Call);
                found.default = Some((word.span(), default));
            }
            "skip_serializing_if" => skip_if(&word, errors),
            "skip_serializing" | "skip_deserializing" => {
                let message = format!(
                    "`{}` skips one way only, which a synced field cannot; `#[sync(local)]` or `#[serde(skip)]` \
                     keeps the field on this device",
                    word.text()
                );
                errors.at(word.span(), message);
            }
            "bound" | "borrow" => {}
            other => refuse(&word, other, errors),
        }
    }
    found
}

/// Leaving out what is empty loses nothing, as a record always has all its fields; any other condition might be
/// meant to keep a value from leaving the device.
fn skip_if(word: &Word, errors: &mut Errors) {
    let last = function(word).and_then(|path| path.path.segments.last().map(|last| last.ident.to_string()));
    if !matches!(last.as_deref(), Some("is_none" | "is_empty")) {
        let message = "a synced field is never skipped, so only conditions that end in `is_none` or `is_empty` \
                       are allowed; `#[sync(local)]` keeps a field on this device";
        errors.at(word.span(), message);
    }
}

fn refuse(word: &Word, text: &str, errors: &mut Errors) {
    let message = format!(
        "serde's `{text}` would have no effect: records are not written through serde; of `#[serde(…)]`, \
         `Syncable` follows `rename`, `rename_all`, `skip` and `default`"
    );
    errors.at(word.span(), message);
}

fn one_name(word: &Word, ours: &str, errors: &mut Errors) -> Option<LitStr> {
    match &word.value {
        Behind::List(list) => {
            let message = format!(
                "a record is written and read under one name; give it with `#[sync({ours} = \"…\")]`"
            );
            errors.at(list.span(), message);
            None
        }
        Behind::Value(Expr::Lit(ExprLit { lit: Lit::Str(name), .. })) => Some(name.clone()),
        // What else stands here is serde's to report.
        _ => None,
    }
}

fn function(word: &Word) -> Option<ExprPath> {
    match &word.value {
        Behind::Value(Expr::Lit(ExprLit { lit: Lit::Str(path), .. })) => path.parse().ok(),
        _ => None,
    }
}

fn all_words(attributes: &[Attribute]) -> Vec<Word> {
    let serde = attributes.iter().filter(|attribute| attribute.path().is_ident("serde"));
    // What cannot be read is serde's to report.
    serde.flat_map(|attribute| words::of(attribute, &mut Errors::default())).collect()
}

/// Reads `#[serde(…)]` of a struct inside a field, which is written through serde: the rule of its fields' names.
pub(crate) fn of_nested_struct(attributes: &[Attribute], errors: &mut Errors) -> JsonRule {
    let mut rule = JsonRule::default();
    for word in all_words(attributes) {
        match word.text().as_str() {
            // A rule that does not exist is serde's to report.
            "rename_all" => rule = written(&word).map(|name| JsonRule::from_name(&name)).unwrap_or_default(),
            // None of these changes what the JSON looks like.
            "rename" | "default" | "crate" | "bound" | "expecting" | "deny_unknown_fields" => {}
            other => refuse_nested(&word, other, errors),
        }
    }
    rule
}

/// Reads `#[serde(…)]` of a field of such a struct: the name that it gives.
pub(crate) fn name_of_nested_field(attributes: &[Attribute], errors: &mut Errors) -> Option<String> {
    let mut name = None;
    for word in all_words(attributes) {
        match word.text().as_str() {
            "rename" => name = written(&word).or(name),
            "default" | "bound" | "borrow" => {}
            other => refuse_nested(&word, other, errors),
        }
    }
    name
}

fn refuse_nested(word: &Word, text: &str, errors: &mut Errors) {
    let message = format!(
        "`SyncFields` cannot follow serde's `{text}`: each field is one value in the JSON, under one name; of \
         `#[serde(…)]`, it follows `rename` and `rename_all`"
    );
    errors.at(word.span(), message);
}

/// The name that serde writes: that of `rename = "…"`, or that after `serialize` in `rename(…)`.
fn written(word: &Word) -> Option<String> {
    let text = |value: &Expr| match value {
        Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => Some(name.value()),
        _ => None,
    };
    match &word.value {
        Behind::Value(value) => text(words::ungroup(value)),
        Behind::List(list) => {
            let words = words::inside(list, "serde");
            let written = words.iter().find(|word| word.text() == "serialize")?;
            match &written.value {
                Behind::Value(value) => text(words::ungroup(value)),
                _ => None,
            }
        }
        _ => None,
    }
}
