//! What decides where both sides changed something: `merge = "…"` and `with = …`, and `on_delete = "…"`.

use crate::attributes::located;
use crate::errors::Errors;
use crate::words::Word;
use proc_macro2::{Ident, Span};
use syn::{ExprPath, LitStr};

/// What decides over a field.
#[derive(Clone)]
pub(crate) enum Merge {
    /// A policy, and where its name stands.
    Policy(Policy, Span),
    /// A user's function.
    With(ExprPath),
}

/// A policy of `merge = "…"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Manual,
    LastWrite,
    ServerWins,
    ClientWins,
    Min,
    Max,
    Sum,
    Union,
    List,
    Text,
    Fields,
}

const POLICIES: [(&str, Policy); 11] = [
    ("manual", Policy::Manual),
    ("last_write", Policy::LastWrite),
    ("server_wins", Policy::ServerWins),
    ("client_wins", Policy::ClientWins),
    ("min", Policy::Min),
    ("max", Policy::Max),
    ("sum", Policy::Sum),
    ("union", Policy::Union),
    ("list", Policy::List),
    ("text", Policy::Text),
    ("fields", Policy::Fields),
];

/// The policies of `on_delete`, with the variants of the runtime's enum.
const ON_DELETE: [(&str, &str); 4] = [
    ("manual", "Manual"),
    ("keep_edit", "KeepEdit"),
    ("keep_delete", "KeepDelete"),
    ("last_write", "LastWrite"),
];

impl Policy {
    /// The policy as the attribute writes it.
    pub(crate) fn name(self) -> &'static str {
        POLICIES.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }

    /// Whether it fits fields of every type.
    pub(crate) fn fits_all(self) -> bool {
        matches!(self, Policy::Manual | Policy::LastWrite | Policy::ServerWins | Policy::ClientWins)
    }

    /// Whether it needs the value of a Rust type, which JSON does not have.
    pub(crate) fn needs_type(self) -> bool {
        matches!(self, Policy::Min | Policy::Max | Policy::Sum | Policy::Text)
    }
}

/// Names in backticks, with commas.
pub(crate) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The policy of `merge = "…"`; `None` with a report if there is no such one.
fn policy(word: &Word, known: &[(&str, Policy)], errors: &mut Errors) -> Option<(Policy, LitStr)> {
    let name = word.string(errors)?;
    let text = name.value();
    let found = POLICIES.iter().find(|(known, _)| *known == text);
    if let Some((_, policy)) = found {
        return Some((*policy, name));
    }
    let message = match text.trim_start().starts_with("with") {
        true => {
            "a function of your own stands without `merge`: `#[sync(with = path::to::function)]`".to_owned()
        }
        false => format!(
            "no such policy; the policies are {}, and a function of your own by `with = path::to::function`",
            listed(known.iter().map(|(name, _)| *name))
        ),
    };
    errors.on(&name, message);
    None
}

/// The words `merge` and `with` on a field of a model.
pub(crate) fn of_field(word: &Word, errors: &mut Errors) -> Option<Merge> {
    if word.text() == "with" {
        return word.path(errors, "path::to::function").map(Merge::With);
    }
    let (policy, at) = policy(word, &POLICIES, errors)?;
    Some(Merge::Policy(policy, at.span()))
}

/// The word `merge` on a model.
pub(crate) fn of_struct(word: &Word, errors: &mut Errors) -> Option<Merge> {
    let (policy, at) = policy(word, &POLICIES, errors)?;
    if policy.fits_all() {
        return Some(Merge::Policy(policy, at.span()));
    }
    let fitting = POLICIES.iter().filter(|(_, policy)| policy.fits_all()).map(|(name, _)| *name);
    let name = policy.name();
    let message = format!(
        "`{name}` does not fit fields of every type; give it to each field that it is for. The policies that fit all \
         are {}",
        listed(fitting)
    );
    errors.on(&at, message);
    None
}

/// The word `merge` or `with` on a field of a struct inside a field.
pub(crate) fn of_nested_field(word: &Word, errors: &mut Errors) -> Option<Merge> {
    if word.text() == "with" {
        return of_field(word, errors);
    }
    let (policy, at) = nested(word, errors)?;
    Some(Merge::Policy(policy, at.span()))
}

/// The word `merge` on a struct inside a field; there is nothing to note, as `manual` is what holds without it.
pub(crate) fn of_nested_struct(word: &Word, errors: &mut Errors) {
    match nested(word, errors) {
        None | Some((Policy::Manual, _)) => {}
        Some((policy, at)) => {
            let message = format!(
                "`{}` does not fit fields of every type; give it to each field that it is for. Only `manual` fits all",
                policy.name()
            );
            errors.on(&at, message);
        }
    }
}

fn nested(word: &Word, errors: &mut Errors) -> Option<(Policy, LitStr)> {
    let known: Vec<_> = nested_policies().collect();
    let (policy, at) = policy(word, &known, errors)?;
    let reason = match policy {
        Policy::LastWrite => {
            "one field inside a JSON column has no stamp of its own, so nobody knows which side changed it later"
        }
        Policy::ServerWins | Policy::ClientWins => "one field inside a JSON column belongs to no side",
        _ => return Some((policy, at)),
    };
    let message =
        format!("{reason}; put `{}` on the field of the model, for the whole column", policy.name());
    errors.on(&at, message);
    None
}

fn nested_policies() -> impl Iterator<Item = (&'static str, Policy)> {
    POLICIES.into_iter().filter(|(_, policy)| !policy.fits_all() || *policy == Policy::Manual)
}

/// The word `on_delete`: the variant of the runtime's enum.
pub(crate) fn on_delete(word: &Word, errors: &mut Errors) -> Option<Ident> {
    let name = word.string(errors)?;
    let text = name.value();
    let found = ON_DELETE.iter().find(|(known, _)| *known == text);
    if found.is_none() {
        let known = listed(ON_DELETE.iter().map(|(name, _)| *name));
        errors.on(&name, format!("no such policy; `on_delete` takes {known}"));
    }
    found.map(|(_, variant)| Ident::new(variant, located(&name)))
}
