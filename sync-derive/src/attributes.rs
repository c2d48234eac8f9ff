//! Reads `#[sync(…)]` on the struct and on its fields, with the `#[serde(…)]` beside it.

use crate::case::Rule;
use crate::errors::Errors;
use crate::policy::{self, Merge};
use crate::serde;
use crate::words::{self, Behind, Word};
use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, ExprPath, Lit, LitStr};

/// The words on the struct.
const ON_STRUCT: [&str; 11] = [
    "model",
    "table",
    "adopt",
    "removed",
    "rename_all",
    "validate",
    "merge",
    "on_delete",
    "scope",
    "crate",
    "methods",
];
/// The words on a field.
const ON_FIELD: [&str; 10] =
    ["id", "parent", "scope", "local", "server", "json", "rename", "default", "merge", "with"];

/// What the attributes of the struct say.
pub(crate) struct StructAttributes {
    /// The model's name.
    pub(crate) model: Option<LitStr>,
    /// The table's name.
    pub(crate) table: Option<LitStr>,
    /// Whether the table may be one that somebody else made.
    pub(crate) adopt: bool,
    /// The names of fields that it had once.
    pub(crate) removed: Vec<LitStr>,
    /// How fields are named that have no name of their own.
    pub(crate) rename_all: Option<RenameAll>,
    /// The function that checks a record.
    pub(crate) validate: Option<ExprPath>,
    /// What decides over fields that do not say it themselves.
    pub(crate) merge: Option<Merge>,
    /// What decides where one side deleted what the other changed: a variant of the runtime's enum.
    pub(crate) on_delete: Option<Ident>,
    /// The function that tells a record's scope, with the word that says it.
    pub(crate) scope: Option<(Span, ExprPath)>,
    /// The crate that generated code names, where it is not `::sync_runtime`.
    pub(crate) runtime: Option<ExprPath>,
    /// Whether the struct gets methods.
    pub(crate) methods: bool,
    /// What fields without a default of their own take theirs from.
    pub(crate) default: Option<WholeDefault>,
}

/// A rule of `rename_all`, or one of serde's that makes names which columns cannot have.
pub(crate) enum RenameAll {
    /// Each field by this rule.
    By(Rule),
    /// serde's kebab cases, which columns cannot have.
    Kebab(LitStr),
}

/// `#[serde(default)]` on the struct.
pub(crate) enum WholeDefault {
    /// The struct's own `Default`.
    Trait,
    /// A function that returns the struct.
    Call(ExprPath),
}

/// What the attributes of a field say. A span is that of the word which says it.
pub(crate) struct FieldAttributes {
    /// It is the id.
    pub(crate) id: Option<Span>,
    /// The model of the record whose id it holds.
    pub(crate) parent: Option<(Span, ExprPath)>,
    /// It holds the record's scope.
    pub(crate) scope: Option<Span>,
    /// It stays on the device.
    pub(crate) local: Option<Span>,
    /// Only the server sets it.
    pub(crate) server: Option<Span>,
    /// It is kept as one JSON value.
    pub(crate) json: Option<Span>,
    /// Its name.
    pub(crate) rename: Option<LitStr>,
    /// Its value in records that lack it.
    pub(crate) default: Option<(Span, FieldDefault)>,
    /// What decides where both sides changed it.
    pub(crate) merge: FieldMerge,
    /// A word on it is unknown.
    pub(crate) misspelt: bool,
}

/// What a field says of merging.
#[derive(Default)]
pub(crate) struct FieldMerge {
    /// The word that says it, `merge` or `with`, also where what it says was refused.
    pub(crate) word: Option<Ident>,
    /// What it says.
    pub(crate) merge: Option<Merge>,
}

impl FieldMerge {
    /// Notes `merge` or `with`, of which a field has one.
    pub(crate) fn note(&mut self, word: &Word, merge: Option<Merge>, errors: &mut Errors) {
        match &self.word {
            Some(_) => errors
                .at(word.span(), "a field has one policy: `merge = \"…\"` or `with = path::to::function`"),
            None => *self = FieldMerge { word: Some(word.name.clone()), merge },
        }
    }
}

/// The value of a field in records that lack it.
pub(crate) enum FieldDefault {
    /// `Default::default()`
    Trait,
    /// What this function returns.
    Call(ExprPath),
    /// This text, as the field's type.
    Text(LitStr),
    /// The value of this expression.
    Value(Expr),
}

/// Reads the attributes of the struct.
pub(crate) fn of_struct(attributes: &[Attribute], errors: &mut Errors) -> StructAttributes {
    let mut found = StructAttributes {
        model: None,
        table: None,
        adopt: false,
        removed: Vec::new(),
        rename_all: None,
        validate: None,
        merge: None,
        on_delete: None,
        scope: None,
        runtime: None,
        methods: true,
        default: None,
    };
    for_each_word(attributes, errors, |word, errors| match word.text().as_str() {
        "model" => found.model = word.string(errors),
        "table" => found.table = word.string(errors),
        "adopt" => {
            word.no_value(errors);
            found.adopt = true;
        }
        "removed" => found.removed = word.strings(errors),
        "rename_all" => found.rename_all = word.string(errors).and_then(|name| rule(&name, errors)),
        "validate" => found.validate = word.path(errors, "path::to::function"),
        "merge" => found.merge = policy::of_struct(word, errors),
        "on_delete" => found.on_delete = policy::on_delete(word, errors),
        "scope" => {
            found.scope = word.path(errors, "Self::method").map(|path| (word.span(), path));
        }
        "crate" => found.runtime = word.path(errors, "path::to::sync_runtime"),
        "methods" => found.methods = word.boolean(errors).is_none_or(|methods| methods.value),
        other if ON_FIELD.contains(&other) => {
            errors.at(word.span(), format!("`{other}` belongs on a field"));
        }
        other => unknown(word, other, "a struct", &ON_STRUCT, errors),
    });
    let beside = serde::of_struct(attributes, found.model.is_some(), found.rename_all.is_some(), errors);
    found.model = found.model.or(beside.rename);
    found.rename_all = found.rename_all.or_else(|| {
        let name = beside.rename_all?;
        match name.value().as_str() {
            "kebab-case" | "SCREAMING-KEBAB-CASE" => Some(RenameAll::Kebab(name)),
            // A rule that does not exist is serde's to report.
            known => Rule::from_name(known).map(RenameAll::By),
        }
    });
    found.default = beside.default;
    found
}

fn rule(name: &LitStr, errors: &mut Errors) -> Option<RenameAll> {
    let rule = Rule::from_name(&name.value());
    if rule.is_none() {
        errors.on(name, format!("no such rule; the rules are {}", Rule::names()));
    }
    rule.map(RenameAll::By)
}

/// Reads the attributes of a field.
pub(crate) fn of_field(attributes: &[Attribute], errors: &mut Errors) -> FieldAttributes {
    let mut found = FieldAttributes {
        id: None,
        parent: None,
        scope: None,
        local: None,
        server: None,
        json: None,
        rename: None,
        default: None,
        merge: FieldMerge::default(),
        misspelt: false,
    };
    for_each_word(attributes, errors, |word, errors| {
        let flag = |errors: &mut Errors| {
            word.no_value(errors);
            Some(word.span())
        };
        match word.text().as_str() {
            "id" => found.id = flag(errors),
            "parent" => found.parent = word.path(errors, "Artist").map(|parent| (word.span(), parent)),
            "scope" => found.scope = flag(errors),
            "local" => found.local = flag(errors),
            "server" => found.server = flag(errors),
            "json" => found.json = flag(errors),
            "rename" => found.rename = word.string(errors),
            "default" => found.default = default(word, errors).map(|default| (word.span(), default)),
            "merge" | "with" => found.merge.note(word, policy::of_field(word, errors), errors),
            other if ON_STRUCT.contains(&other) => {
                errors.at(word.span(), format!("`{other}` belongs on the struct"));
            }
            other => {
                found.misspelt = true;
                unknown(word, other, "a field", &ON_FIELD, errors);
            }
        }
    });
    let beside = serde::of_field(attributes, found.rename.is_some(), errors);
    found.local = found.local.or(beside.skip);
    found.rename = found.rename.or(beside.rename);
    found.default = found.default.or(beside.default);
    found
}

fn default(word: &Word, errors: &mut Errors) -> Option<FieldDefault> {
    if let Behind::Nothing = word.value {
        return Some(FieldDefault::Trait);
    }
    let value = word.value(errors, "value")?;
    Some(match value {
        // A path whose last word is in small letters is a function, else it is a value: a constant or a variant.
        Expr::Path(path) if is_function(path) => FieldDefault::Call(path.clone()),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => FieldDefault::Text(text.clone()),
        value => FieldDefault::Value(value.clone()),
    })
}

fn is_function(path: &ExprPath) -> bool {
    let last = path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    last.trim_start_matches("r#").chars().all(|letter| !letter.is_uppercase())
}

/// Calls `read` for every word of every `#[sync(…)]`; a word given twice is reported at the second one.
pub(crate) fn for_each_word(
    attributes: &[Attribute],
    errors: &mut Errors,
    mut read: impl FnMut(&Word, &mut Errors),
) {
    let mut given = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("sync")) {
        for word in words::of(attribute, errors) {
            let text = word.text();
            if given.contains(&text) {
                errors.at(word.span(), format!("`{text}` is given twice"));
                continue;
            }
            given.push(text);
            read(&word, errors);
        }
    }
}

/// Reports a word that is unknown here.
pub(crate) fn unknown(word: &Word, text: &str, on: &str, known: &[&str], errors: &mut Errors) {
    let known = policy::listed(known.iter().copied());
    let message = format!("`#[sync(…)]` on {on} has no `{text}`; it has {known}");
    errors.at(word.span(), message);
}

/// The place of these tokens, with names resolved as in the rest of the generated code.
///
/// So what is wrong with a type is reported on the type, and lints stay quiet about code that no one wrote.
pub(crate) fn located(tokens: &impl ToTokens) -> Span {
    here(tokens.span())
}

/// The same for one place.
pub(crate) fn here(place: Span) -> Span {
    Span::call_site().located_at(place)
}
