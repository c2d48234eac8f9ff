//! Looks at the model as a whole: names that databases can have, no two alike, an id.

use crate::errors::Errors;
use crate::model::{Default, Field, Model, Name};
use crate::policy::{Merge, Policy};
use std::collections::HashMap;
use syn::ext::IdentExt;

/// The longest name that every database can have, in bytes; PostgreSQL's is the shortest.
const MAX_NAME_BYTES: usize = 63;
/// The most fields that make an id together.
const MAX_ID_FIELDS: usize = 4;

/// Checks the model; the places of the fields that make its id, none if there is none.
pub(crate) fn check(model: &Model<'_>, errors: &mut Errors) -> Vec<usize> {
    if not_empty_or_long(&model.name, "model", errors) && model.name.text.contains(char::is_control) {
        errors.at(model.name.span, "a model's name has no control characters");
    }
    if identifier(&model.table, "table", "table", errors) && starts_with(&model.table.text, "sqlite_") {
        errors.at(model.table.span, "SQLite keeps the tables that start with `sqlite_` for itself");
    }
    for field in &model.fields {
        identifier(&field.name, "column", "rename", errors);
    }
    for field in &model.fields {
        policy(field, errors);
        parent(field, errors);
    }
    scope(model, errors);
    no_two_alike(model, errors);
    removed(model, errors);
    an_id(model, errors)
}

fn not_empty_or_long(name: &Name, of: &str, errors: &mut Errors) -> bool {
    let bytes = name.text.len();
    if bytes == 0 {
        errors.at(name.span, format!("the name of a {of} cannot be empty"));
    } else if bytes > MAX_NAME_BYTES {
        let message = format!("the name of a {of} has at most {MAX_NAME_BYTES} bytes; this has {bytes}");
        errors.at(name.span, message);
    }
    (1..=MAX_NAME_BYTES).contains(&bytes)
}

/// Checks a name that databases have to take; `word` is the attribute that gives another one.
fn identifier(name: &Name, of: &str, word: &str, errors: &mut Errors) -> bool {
    if !not_empty_or_long(name, of, errors) {
        return false;
    }
    let strange = name.text.chars().find(|letter| !letter.is_ascii_alphanumeric() && *letter != '_');
    if let Some(letter) = strange {
        let message = format!(
            "the name of a {of} has only the letters a to z, digits and `_`, no `{}`; give another with \
             `#[sync({word} = \"…\")]`",
            if letter.is_control() { letter.escape_debug().to_string() } else { letter.to_string() }
        );
        errors.at(name.span, message);
    } else if starts_with(&name.text, "sync_") {
        let message = format!(
            "`{}`: names that start with `sync_` are kept for tracking; give another with \
             `#[sync({word} = \"…\")]`",
            name.text
        );
        errors.at(name.span, message);
    } else {
        return true;
    }
    false
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A policy is for fields that two sides can change; whether it fits the type is for rustc to say, in most cases.
fn policy(field: &Field<'_>, errors: &mut Errors) {
    if let Some(word) = &field.merge_word {
        let word_text = word.unraw();
        if field.id.is_some() {
            let message =
                format!("the id names the record and never changes, so `{word_text}` has nothing to decide");
            return errors.at(word.span(), message);
        }
        if field.local.is_some() {
            let message = format!(
                "a local field never leaves this device, so `{word_text}` has no other side to merge with"
            );
            return errors.at(word.span(), message);
        }
    }
    if let Some(word) = field.server {
        if field.id.is_some() {
            let message = "whoever makes a record names it, so its id cannot be the server's to set";
            return errors.at(word, message);
        }
        if field.local.is_some() {
            let message = "a local field never leaves this device, so no server can set it";
            return errors.at(word, message);
        }
        if let Some(merge) = &field.merge_word {
            let message = "the server sets this field, so where both sides changed it, its value stands: leave out \
                           `server` or the policy";
            return errors.at(merge.span(), message);
        }
    }
    match field.merge {
        Some(Merge::Policy(policy, at)) if policy.needs_type() && field.json.is_some() => {
            errors.at(at, no_json(policy, "`manual`, `last_write`, `server_wins`, `client_wins`, "));
        }
        Some(Merge::Policy(Policy::Fields, at)) if field.json.is_none() => {
            let message = "`fields` fits a struct that is kept as JSON: `#[sync(json, merge = \"fields\")]`, with \
                           `#[derive(SyncFields)]` on the struct";
            errors.at(at, message);
        }
        _ => {}
    }
}

/// A parent is known by the id that the field holds, wherever the record goes; whether it can hold one is for rustc.
fn parent(field: &Field<'_>, errors: &mut Errors) {
    let Some((word, _)) = field.parent else { return };
    if field.json.is_some() {
        errors.at(
            word,
            "the id of a parent is no JSON: leave out `json`, and give the field the type of that id",
        );
    }
    if field.local.is_some() {
        errors.at(word, "a local field never leaves this device, so no other can send the parent along");
    }
}

/// A record has one scope, which everybody who has the record can tell.
fn scope(model: &Model<'_>, errors: &mut Errors) {
    let mut first = None;
    for (field, word) in model.fields.iter().filter_map(|field| Some((field, field.scope?))) {
        if model.scope.is_some() {
            let message =
                "a record has one scope, and `scope = …` on the struct tells it: leave out one of the two";
            errors.at(word, message);
        } else if let Some(first) = first {
            let message = format!(
                "a record has one scope, and the field `{first}` holds it: leave out one of the two; to make it of \
                 both, give the struct `scope = Self::method`"
            );
            errors.at(word, message);
        }
        first.get_or_insert(field.ident);
        if field.local.is_some() {
            let message = "a local field never leaves this device, so no other could tell the scope: put `scope` on a \
                           field that travels";
            errors.at(word, message);
        }
        if field.json.is_some() {
            errors
                .at(word, "a scope is no JSON: leave out `json`, or give the struct `scope = Self::method`");
        }
    }
}

/// What to say of a policy that needs a type and stands on a JSON field; `all` are those that fit every type.
pub(crate) fn no_json(policy: Policy, all: &str) -> String {
    format!(
        "`{}` fits only fields without `json`, whose type it can see; with `json`, {all}`union`, `list`, `fields` and \
         `with = path::to::function` can fit",
        policy.name()
    )
}

fn no_two_alike(model: &Model<'_>, errors: &mut Errors) {
    let mut names = HashMap::new();
    let mut variants = HashMap::new();
    for field in &model.fields {
        // Databases compare column names without regard to case.
        let first = *names.entry(field.name.text.to_ascii_lowercase()).or_insert(field);
        if first.name.text == field.name.text && first.ident != field.ident {
            let message = format!("the name `{}` is taken by the field `{}`", field.name.text, first.ident);
            errors.at(field.name.span, message);
        } else if first.ident != field.ident {
            let message = format!(
                "the name `{}` is taken: the field `{}` has `{}`, which databases take for the same",
                field.name.text, first.ident, first.name.text
            );
            errors.at(field.name.span, message);
        }
        let first = *variants.entry(&field.variant).or_insert(field);
        if first.ident != field.ident {
            let message = format!(
                "`{}` and `{}` would both be `{}::{}`; call one of the two differently in Rust, and keep its column \
                 with `#[sync(rename = \"…\")]`",
                first.ident, field.ident, model.field_enum, field.variant
            );
            errors.at(field.ident.span(), message);
        }
    }
}

/// What was removed is no field any more.
fn removed(model: &Model<'_>, errors: &mut Errors) {
    for (place, removed) in model.removed.iter().enumerate() {
        let is = |name: &Name| name.text.eq_ignore_ascii_case(&removed.text);
        if removed.text.is_empty() {
            errors.at(removed.span, "the name of a removed field cannot be empty");
        } else if let Some(field) = model.fields.iter().find(|field| is(&field.name)) {
            let message = format!(
                "`{}` is not removed: the field `{}` has this name; a field that is called otherwise in Rust alone \
                 keeps its name with `#[sync(rename = \"…\")]`",
                removed.text, field.ident
            );
            errors.at(removed.span, message);
        } else if model.removed[..place].iter().any(is) {
            errors.at(removed.span, format!("`{}` is named twice", removed.text));
        }
    }
}

fn an_id(model: &Model<'_>, errors: &mut Errors) -> Vec<usize> {
    let ids: Vec<_> = model
        .fields
        .iter()
        .enumerate()
        .filter_map(|(place, field)| Some((place, field, field.id?)))
        .collect();
    // A misspelt word may have been meant to be `id`, and has been reported.
    if ids.is_empty() && !model.fields.iter().any(|field| field.misspelt) {
        let message = "no field is the id; mark the one that names a record with `#[sync(id)]`: a Uuid, a String \
                       or an i64";
        errors.at(model.ident.span(), message);
    }
    if let Some((_, _, word)) = ids.get(MAX_ID_FIELDS) {
        errors.at(*word, format!("at most {MAX_ID_FIELDS} fields make an id together"));
    }
    for (_, field, _) in &ids {
        if let Some(word) = field.local {
            errors.at(word, "the id names the record on every device, so it cannot stay on this one");
        }
        if let Some(word) = field.json {
            errors.at(word, "an id is a Uuid, a String or an i64, not JSON");
        }
        if let Some(Default::Own(word, _)) = field.default {
            errors.at(word, "an id has no default: a record without one is no record");
        }
    }
    ids.into_iter().map(|(place, _, _)| place).collect()
}
