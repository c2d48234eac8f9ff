//! Builds the model from the struct and its attributes.

use crate::attributes::{self, FieldDefault, FieldMerge, RenameAll, StructAttributes, WholeDefault};
use crate::case::{self, Rule};
use crate::errors::Errors;
use crate::policy::{Merge, Policy};
use proc_macro2::Span;
use quote::format_ident;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Data, DataStruct, DeriveInput, ExprPath, Field as SynField, Fields, GenericArgument, Ident, LitStr,
    PathArguments, Type, Visibility,
};

/// The model.
pub(crate) struct Model<'a> {
    /// The struct.
    pub(crate) ident: &'a Ident,
    /// Who sees the struct.
    pub(crate) vis: &'a Visibility,
    /// The enum of its fields.
    pub(crate) field_enum: Ident,
    /// The crate that generated code names, where it is not `::sync_runtime`.
    pub(crate) runtime: Option<ExprPath>,
    /// Its name on the wire.
    pub(crate) name: Name,
    /// Its table.
    pub(crate) table: Name,
    /// Whether its table may be one that somebody else made.
    pub(crate) adopt: bool,
    /// The names of fields that it had once.
    pub(crate) removed: Vec<Name>,
    /// The function that checks a record.
    pub(crate) validate: Option<ExprPath>,
    /// What decides where one side deleted what the other changed: a variant of the runtime's enum.
    pub(crate) on_delete: Option<Ident>,
    /// The function that tells a record's scope, with the word that says it.
    pub(crate) scope: Option<(Span, ExprPath)>,
    /// Whether the struct gets methods.
    pub(crate) methods: bool,
    /// Its fields, in order.
    pub(crate) fields: Vec<Field<'a>>,
}

/// One field.
pub(crate) struct Field<'a> {
    /// The field in the struct.
    pub(crate) ident: &'a Ident,
    /// Its type.
    pub(crate) ty: &'a Type,
    /// Its name on the wire and as column.
    pub(crate) name: Name,
    /// Its variant of the field enum.
    pub(crate) variant: Ident,
    /// The word that makes it the id.
    pub(crate) id: Option<Span>,
    /// The model of the record whose id it holds, with the word that says so.
    pub(crate) parent: Option<(Span, ExprPath)>,
    /// The word that makes it the record's scope.
    pub(crate) scope: Option<Span>,
    /// The word that keeps it on the device.
    pub(crate) local: Option<Span>,
    /// The word that makes it the server's own.
    pub(crate) server: Option<Span>,
    /// The word that keeps it as JSON.
    pub(crate) json: Option<Span>,
    /// Its value in records that lack it.
    pub(crate) default: Option<Default>,
    /// What decides where both sides changed it; the struct's where it says nothing itself.
    pub(crate) merge: Option<Merge>,
    /// Its own word for that.
    pub(crate) merge_word: Option<Ident>,
    /// Its type was refused.
    pub(crate) refused: bool,
    /// One of its words is unknown, and might have been meant for any other.
    pub(crate) misspelt: bool,
}

/// The value of a field in records that lack it.
pub(crate) enum Default {
    /// Its own, with the word that gives it.
    Own(Span, FieldDefault),
    /// The field of what this function returns, or of the struct's own `Default`.
    OfStruct(Option<ExprPath>),
}

/// A name and where it comes from.
pub(crate) struct Name {
    /// The name.
    pub(crate) text: String,
    /// The string or identifier that gives it.
    pub(crate) span: Span,
}

impl Name {
    fn new(given: Option<LitStr>, otherwise: impl FnOnce() -> String, of: &Ident) -> Self {
        match given {
            Some(given) => Name { text: given.value(), span: given.span() },
            None => Name { text: otherwise(), span: of.span() },
        }
    }
}

/// The model of a struct with named fields and without generics; `None` with a report for anything else.
///
/// The fields' attributes are read in any case, so that their mistakes are reported too.
pub(crate) fn build<'a>(
    input: &'a DeriveInput,
    attributes: StructAttributes,
    errors: &mut Errors,
) -> Option<Model<'a>> {
    let generic = refuse_generics(input, errors);
    let fields = named_fields(input, errors)?;
    let text = input.ident.unraw().to_string();
    let rule = rule(attributes.rename_all, fields, errors);
    let default = attributes.default.map(|default| match default {
        WholeDefault::Trait => None,
        WholeDefault::Call(path) => Some(path),
    });
    let of_struct = OfStruct { rule, default, merge: attributes.merge };
    let fields =
        fields.into_iter().filter_map(|field| build_field(field, &of_struct, generic, errors)).collect();
    let capital = match text.starts_with(char::is_uppercase) {
        true => text.clone(),
        false => case::pascal(&text),
    };
    (!generic).then(|| Model {
        ident: &input.ident,
        vis: &input.vis,
        field_enum: format_ident!("{capital}Field", span = attributes::located(&input.ident)),
        runtime: attributes.runtime,
        name: Name::new(attributes.model, || text.clone(), &input.ident),
        table: Name::new(attributes.table, || case::snake(&text), &input.ident),
        adopt: attributes.adopt,
        removed: attributes
            .removed
            .iter()
            .map(|name| Name { text: name.value(), span: name.span() })
            .collect(),
        validate: attributes.validate,
        on_delete: attributes.on_delete,
        scope: attributes.scope,
        methods: attributes.methods,
        fields,
    })
}

fn refuse_generics(input: &DeriveInput, errors: &mut Errors) -> bool {
    let generics = &input.generics;
    let refused = !generics.params.is_empty() || generics.where_clause.is_some();
    if refused {
        let message = "a `Syncable` struct has no generic parameters: a model has one name, one table and fields \
                       of fixed types";
        match &generics.where_clause {
            Some(clause) if generics.params.is_empty() => errors.on(clause, message),
            _ => errors.on(&generics, message),
        }
    }
    refused
}

fn named_fields<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Option<&'a Fields> {
    match &input.data {
        Data::Struct(DataStruct { fields: fields @ Fields::Named(_), .. }) => return Some(fields),
        Data::Struct(DataStruct { fields: Fields::Unnamed(fields), .. }) => {
            errors.on(fields, "a `Syncable` struct has named fields: columns and peers go by the names")
        }
        Data::Struct(_) => {
            errors.on(&input.ident, "a `Syncable` struct has fields, at least its id: `#[sync(id)] id: Uuid`")
        }
        Data::Enum(data) => errors.on(
            &data.enum_token,
            "an enum cannot be `Syncable`; derive it on a struct, which may keep the enum in a field with \
             `#[sync(json)]`",
        ),
        Data::Union(data) => {
            errors.on(&data.union_token, "a union cannot be `Syncable`; derive it on a struct")
        }
    }
    None
}

fn rule(given: Option<RenameAll>, fields: &Fields, errors: &mut Errors) -> Rule {
    match given {
        None => Rule::AsItStands,
        Some(RenameAll::By(rule)) => rule,
        Some(RenameAll::Kebab(name)) => {
            // A field of one word has the same name in every case of small letters, but `Rule` has no dashes.
            let dashes =
                |field: &SynField| field.ident.as_ref().is_some_and(|name| name.to_string().contains('_'));
            if fields.iter().any(dashes) || name.value() != "kebab-case" {
                let message = format!(
                    "a column's name cannot have a `-`; `#[sync(rename_all = \"…\")]` gives `Syncable` a rule of \
                     its own: {}",
                    Rule::names()
                );
                errors.on(&name, message);
            }
            Rule::AsItStands
        }
    }
}

/// What the struct says for its fields.
struct OfStruct {
    rule: Rule,
    default: Option<Option<ExprPath>>,
    merge: Option<Merge>,
}

fn build_field<'a>(
    field: &'a SynField,
    of_struct: &OfStruct,
    generic: bool,
    errors: &mut Errors,
) -> Option<Field<'a>> {
    let attributes = attributes::of_field(&field.attrs, errors);
    let ident = field.ident.as_ref()?;
    let text = ident.unraw().to_string();
    // In a generic struct a reference is a consequence of what has been refused already.
    let refused = generic || refuse_type(&field.ty, &attributes, errors);
    let default = match (attributes.default, &of_struct.default) {
        (Some((span, own)), _) => Some(Default::Own(span, own)),
        (None, Some(of_struct)) if attributes.id.is_none() => Some(Default::OfStruct(of_struct.clone())),
        (None, _) => None,
    };
    let FieldMerge { word: merge_word, merge } = attributes.merge;
    Some(Field {
        ident,
        ty: &field.ty,
        name: Name::new(attributes.rename, || of_struct.rule.apply(&text), ident),
        variant: variant(&text, ident),
        id: attributes.id,
        parent: attributes.parent,
        scope: attributes.scope,
        local: attributes.local,
        server: attributes.server,
        json: attributes.json,
        default,
        merge: match (merge_word.is_some() || attributes.id.is_some(), attributes.server) {
            (true, _) => merge,
            (false, Some(word)) => Some(Merge::Policy(Policy::ServerWins, word)),
            (false, None) => of_struct.merge.clone(),
        },
        merge_word,
        refused,
        misspelt: attributes.misspelt,
    })
}

/// The field's name as a variant: in capitals, and made an identifier where that is none.
fn variant(text: &str, ident: &Ident) -> Ident {
    let name = case::pascal(text);
    let span = attributes::located(ident);
    match name.chars().next() {
        None => format_ident!("Field", span = span),
        Some(first) if first.is_ascii_digit() => format_ident!("_{name}", span = span),
        Some(_) if name == "Self" => format_ident!("Self_", span = span),
        Some(_) => Ident::new(&name, span),
    }
}

/// Refuses the types that would compile and never work; whether this is one.
fn refuse_type(ty: &Type, attributes: &attributes::FieldAttributes, errors: &mut Errors) -> bool {
    let (at, message) = match ungroup(ty) {
        Type::Reference(reference) => (
            reference.span(),
            "a record owns its values: `String` in place of `&str`, `Vec<u8>` in place of `&[u8]`",
        ),
        ty => match option_of(ty) {
            Some(_) if attributes.id.is_some() => {
                (ty.span(), "an id is never absent, so it cannot be an `Option`")
            }
            Some(inner) if option_of(inner).is_some() => {
                (inner.span(), "an `Option` in an `Option`: null could mean either")
            }
            _ => return false,
        },
    };
    errors.at(at, message);
    true
}

/// Whether the last word of the type is this name, without arguments.
pub(crate) fn is_named(ty: &Type, name: &str) -> bool {
    let Type::Path(path) = ungroup(ty) else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == name && last.arguments.is_none())
}

fn option_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ungroup(ty) else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if arguments.args.len() == 1 => Some(inner),
        _ => None,
    }
}

/// The type inside parentheses and the invisible brackets that `macro_rules!` puts around one.
fn ungroup(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            other => return other,
        };
    }
}
