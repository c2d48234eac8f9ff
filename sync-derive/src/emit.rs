//! Writes the code. Nothing here can fail: what is wrong was found before.
//!
//! The code names nothing unqualified: it stands in a block of its own that brings in one name, `__sync`, the hidden
//! module of the runtime, and user code is put only where nothing else is in scope.

use crate::attributes::{FieldDefault, here, located};
use crate::model::{Default, Field, Model};
use crate::nested::{Nested, NestedField};
use crate::policy::{Merge, Policy};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use std::collections::HashSet;
use syn::{DeriveInput, ExprPath, LitStr, Type};

/// The code of a model without mistakes; `key` are the places of the fields that make its id, of which there is one at
/// least.
pub(crate) fn model(model: &Model<'_>, key: &[usize]) -> TokenStream {
    let Model { ident, field_enum, .. } = model;
    let (name, table) = (&model.name.text, &model.table.text);
    let id = key[0];
    let id_ty = id_type(model, key);
    let (id_value, set_id) = id_functions(model, key);
    let composite = key.len() > 1;
    let schemas = model.fields.iter().map(|field| field_schema(field, composite));
    let schemas = quote!(__sync::fields([#(#schemas),*]));
    let policies = model.fields.iter().enumerate();
    let policies: Vec<_> =
        policies.filter_map(|(place, field)| policy(field).map(|merge| quote!((#place, #merge)))).collect();
    let schemas = match policies.is_empty() {
        true => schemas,
        false => quote!(__sync::merged(#schemas, [#(#policies),*])),
    };
    let parents: Vec<_> = model.fields.iter().enumerate().filter_map(parent).collect();
    let schemas = match parents.is_empty() {
        true => schemas,
        false => quote!(__sync::with_parents(#schemas, [#(#parents),*])),
    };
    let scope = scope(model);
    let to_values = model.fields.iter().map(|field| to_value(field, composite));
    let read = model.fields.iter().map(|field| read(field, composite));
    let validate = model.validate.as_ref().map(|path| {
        let call = quote_spanned!(located(path)=> #path(self));
        let answer = quote_spanned!(located(path)=> __sync::Result<(), _>);
        quote! {
            const VALIDATES: __sync::bool = true;

            fn validate(&self) -> __sync::Result<(), __sync::String> {
                let __sync_answer: #answer = #call;
                __sync::validated(__sync_answer)
            }
        }
    });
    let adopt = model.adopt;
    let removed = model.removed.iter().map(|name| &name.text);
    let on_delete = model.on_delete.clone().unwrap_or_else(|| format_ident!("Manual"));
    let syncable = quote! {
        #[automatically_derived]
        impl __sync::Syncable for #ident {
            type Id = #id_ty;
            type Field = #field_enum;

            const SCHEMA: &'static __sync::ModelSchema = &__sync::ModelSchema {
                name: #name,
                table: #table,
                fields: &#schemas,
                id: #id,
                on_delete: __sync::OnDelete::#on_delete,
                adopt: #adopt,
                removed: &[#(#removed),*],
                scope: #scope,
            };

            fn id(&self) -> Self::Id {
                #id_value
            }

            fn set_id(&mut self, __sync_id: Self::Id) {
                #set_id
            }

            fn to_record(&self) -> __sync::Result<__sync::Record, __sync::ValueError> {
                __sync::to_record::<Self, _>([#(#to_values),*])
            }

            fn from_reader(__sync_reader: &mut __sync::Reader) -> __sync::Option<Self> {
                __sync::Some(Self { #(#read),* })
            }

            #validate
        }
    };
    let checks = model.fields.iter().filter_map(no_bytes).collect();
    whole(model, syncable, checks)
}

/// The code of a model with mistakes: everything that other code may name, with bodies that never run.
pub(crate) fn broken_model(model: &Model<'_>, key: &[usize], errors: TokenStream) -> TokenStream {
    let Model { ident, field_enum, .. } = model;
    let fits = |place: &usize| model.fields[*place].json.is_none() && !model.fields[*place].refused;
    let id_ty = match key {
        [] | [_, _, _, _, _, ..] => quote!(__sync::Uuid),
        key if key.iter().all(fits) => id_type(model, key),
        _ => quote!(__sync::Uuid),
    };
    whole(model, broken(quote!(impl __sync::Syncable for #ident), &id_ty, quote!(#field_enum)), errors)
}

/// The type of the id: that of its field, or a tuple of them.
fn id_type(model: &Model<'_>, key: &[usize]) -> TokenStream {
    let types: Vec<&Type> = key.iter().map(|place| model.fields[*place].ty).collect();
    match types.as_slice() {
        [ty] => quote!(#ty),
        types => quote!((#(#types),*)),
    }
}

/// The bodies of `id` and `set_id`.
fn id_functions(model: &Model<'_>, key: &[usize]) -> (TokenStream, TokenStream) {
    let idents: Vec<_> = key.iter().map(|place| model.fields[*place].ident).collect();
    match idents.as_slice() {
        [ident] => (quote!(__sync::clone_id::<Self>(&self.#ident)), quote!(self.#ident = __sync_id;)),
        idents => (
            quote!((#(__sync::core::clone::Clone::clone(&self.#idents)),*)),
            quote!((#(self.#idents),*) = __sync_id;),
        ),
    }
}

/// The code where there is no struct to make a model of.
pub(crate) fn no_model(input: &DeriveInput, runtime: Option<&ExprPath>, errors: TokenStream) -> TokenStream {
    let ident = &input.ident;
    let (parameters, arguments, clause) = input.generics.split_for_impl();
    let predicates = clause.map(|clause| &clause.predicates).into_iter().flatten();
    let head = quote! {
        impl #parameters __sync::Syncable for #ident #arguments
        where #(#predicates,)* Self: __sync::core::marker::Send + __sync::core::marker::Sync + 'static
    };
    let syncable = broken(head, &quote!(__sync::Uuid), quote!(__sync::NoField<Self>));
    block(runtime, quote!(#syncable #errors))
}

fn broken(head: TokenStream, id: &TokenStream, field_enum: TokenStream) -> TokenStream {
    quote! {
        #[automatically_derived]
        #head {
            type Id = #id;
            type Field = #field_enum;
            const SCHEMA: &'static __sync::ModelSchema = __sync::NO_SCHEMA;

            fn id(&self) -> Self::Id {
                __sync::never()
            }

            fn set_id(&mut self, _: Self::Id) {}

            fn to_record(&self) -> __sync::Result<__sync::Record, __sync::ValueError> {
                __sync::never()
            }

            fn from_reader(_: &mut __sync::Reader) -> __sync::Option<Self> {
                __sync::never()
            }
        }
    }
}

/// The trait's implementation with what stands around it: the enum of the fields and the methods.
fn whole(model: &Model<'_>, syncable: TokenStream, errors: TokenStream) -> TokenStream {
    let Model { ident, vis, field_enum, .. } = model;
    let title = format!("The fields of [`{ident}`].");
    // In a broken model two fields may have one variant; it has been reported.
    let mut seen = HashSet::new();
    let fields: Vec<_> = model.fields.iter().filter(|field| seen.insert(&field.variant)).collect();
    let places = fields.iter().map(|field| &field.variant);
    let names = fields.iter().map(|field| field.variant.to_string()).collect::<Vec<_>>().join(" ");
    let variants = fields.iter().map(|field| {
        let (variant, doc) = (&field.variant, format!("The field `{}`.", field.ident));
        quote!(#[doc = #doc] #variant)
    });
    let methods = model.methods.then(|| quote!(__sync::methods!(#vis #ident);));
    let inside = quote! {
        #syncable

        __sync::fields!(#ident, #field_enum: #names #(#places)*);
        #methods
        #errors
    };
    let inside = block(model.runtime.as_ref(), inside);
    quote! {
        #[doc = #title]
        #vis enum #field_enum {
            #(#variants),*
        }

        #inside
    }
}

/// A block in which `__sync` is the hidden module of the runtime.
fn block(runtime: Option<&ExprPath>, code: TokenStream) -> TokenStream {
    let runtime = match runtime {
        Some(path) => quote!(#path),
        None => quote!(::sync_runtime),
    };
    quote! {
        const _: () = {
            use #runtime::__private as __sync;
            #code
        };
    }
}

fn field_schema(field: &Field<'_>, composite: bool) -> TokenStream {
    let name = &field.name.text;
    if field.id.is_some() && composite {
        let ty = field.ty;
        let column = quote_spanned!(located(ty)=> __sync::part_column::<#ty>());
        return quote!((#name, &#column));
    }
    if field.id.is_some() {
        return quote!((#name, __sync::id_column::<Self>()));
    }
    let ty = field.ty;
    let column = match field.json {
        Some(_) => quote!({
            use __sync::NotNull as _;
            <__sync::Json<#ty>>::COLUMN
        }),
        None => quote_spanned!(located(ty)=> <#ty as __sync::FieldValue>::COLUMN),
    };
    let default = default(field).map(|default| {
        let to_value = conversion(field, quote!(to_value));
        quote! {
            default: __sync::Some(|| {
                let __sync_default: #ty = #default;
                __sync::default_value(#to_value(&__sync_default))
            }),
        }
    });
    let local = field.local.map(|_| quote!(local: true,));
    let server = field.server.map(|_| quote!(server: true,));
    match default.is_some() || local.is_some() || server.is_some() {
        true => quote!((#name, &__sync::FieldSchema { #default #local #server ..*#column })),
        false => quote!((#name, #column)),
    }
}

/// The place of the field and the model whose id it holds; `None` if it holds none.
///
/// The call stands at the model's path, so that rustc reports one there that is none.
fn parent((place, field): (usize, &Field<'_>)) -> Option<TokenStream> {
    let (_, path) = field.parent.as_ref()?;
    let ty = field.ty;
    let parent = quote_spanned!(located(path)=> __sync::parent::<#ty, #path>);
    Some(quote!((#place, #parent)))
}

/// What tells a record's scope.
fn scope(model: &Model<'_>) -> TokenStream {
    if let Some((_, path)) = &model.scope {
        let call = quote_spanned!(located(path)=> __sync::scope_text(#path(__sync_self)));
        let tell = quote!(|__sync_self: &Self| #call);
        return quote! {
            __sync::Some(__sync::ScopeRule::By(|__sync_record| __sync::scope_by(__sync_record, #tell)))
        };
    }
    let rule = model.fields.iter().enumerate().find_map(|(place, field)| {
        field.scope?;
        let ty = field.ty;
        let rule = quote_spanned!(located(ty)=> __sync::scope_field::<#ty>);
        Some(quote!(__sync::Some(#rule(#place))))
    });
    rule.unwrap_or_else(|| quote!(__sync::None))
}

/// What decides where both sides changed the field; `None` if nothing does.
fn policy(field: &Field<'_>) -> Option<TokenStream> {
    let ty = field.ty;
    let (policy, at) = match field.merge.as_ref().filter(|_| field.local.is_none())? {
        Merge::Policy(policy, at) => (*policy, here(*at)),
        Merge::With(path) => {
            let convert = [conversion(field, quote!(from_value)), conversion(field, quote!(to_value))];
            return Some(with(path, ty, convert));
        }
    };
    Some(match policy {
        Policy::Manual => return None,
        Policy::LastWrite => quote!(__sync::Merge::LastWrite),
        Policy::ServerWins => quote!(__sync::Merge::ServerWins),
        Policy::ClientWins => quote!(__sync::Merge::ClientWins),
        Policy::Min => quote_spanned!(at=> <__sync::Same<#ty> as __sync::OrderedField>::MERGE_MIN),
        Policy::Max => quote_spanned!(at=> <__sync::Same<#ty> as __sync::OrderedField>::MERGE_MAX),
        Policy::Sum => quote_spanned!(at=> <__sync::Same<#ty> as __sync::SumField>::MERGE),
        Policy::Text => quote_spanned!(at=> <__sync::Same<#ty> as __sync::TextField>::MERGE),
        Policy::List | Policy::Union | Policy::Fields => of_json(policy, ty, at),
    })
}

/// Refuses `list` on bytes. It stands where `cargo check` evaluates it; bytes are a `Vec` to the trait.
fn no_bytes(field: &Field<'_>) -> Option<TokenStream> {
    let ty = field.ty;
    match field.merge {
        Some(Merge::Policy(Policy::List, at)) if field.json.is_none() => {
            let column = quote_spanned!(located(ty)=> <#ty as __sync::FieldValue>::COLUMN);
            Some(quote_spanned!(here(at)=> __sync::no_bytes(#column);))
        }
        _ => None,
    }
}

/// A policy that looks into the JSON of a value.
///
/// It stands at the policy's name, so that rustc reports a type there that does not fit; the type itself stays where
/// it is, so that one which does not exist is reported once.
fn of_json(policy: Policy, ty: &Type, at: Span) -> TokenStream {
    match policy {
        Policy::Union => quote_spanned!(at=> <__sync::Same<#ty> as __sync::UnionField>::MERGE),
        Policy::List => quote_spanned!(at=> <__sync::Same<#ty> as __sync::ListField>::MERGE),
        Policy::Fields => quote_spanned!(at=> <__sync::Same<#ty> as __sync::SyncFields>::MERGE),
        _ => quote!(__sync::Merge::Manual),
    }
}

/// A user's function as a policy; `convert` are the functions from a value and to one.
///
/// All of it stands at the path, so that rustc reports a function of another shape there.
fn with(path: &ExprPath, ty: &Type, convert: [TokenStream; 2]) -> TokenStream {
    let [from_value, to_value] = convert;
    quote_spanned! {located(path)=>
        __sync::Merge::Function("with", |__sync_base, __sync_older, __sync_newer| {
            let __sync_function: fn(&#ty, &#ty, &#ty) -> __sync::Result<#ty, _> = #path;
            __sync::merged_by(
                __sync_function,
                #from_value,
                #to_value,
                [__sync_base, __sync_older, __sync_newer],
            )
        })
    }
}

/// The code of a struct inside a field; after `errors` it is there only for other code to name.
pub(crate) fn nested(nested: &Nested<'_>, errors: TokenStream) -> TokenStream {
    let ident = nested.ident;
    let (parameters, arguments, clause) = nested.generics.split_for_impl();
    let fields = nested.fields.iter().map(nested_field);
    let fields = match errors.is_empty() {
        true => quote!(&__sync::nested_fields([#(#fields),*])),
        false => quote!(&[]),
    };
    let code = quote! {
        #[automatically_derived]
        impl #parameters __sync::SyncFields for #ident #arguments #clause {
            const FIELDS: &'static [__sync::NestedField] = #fields;
        }
        #errors
    };
    block(nested.runtime.as_ref(), code)
}

fn nested_field(field: &NestedField<'_>) -> TokenStream {
    let (name, ty) = (&field.name, field.ty);
    let by_json = |merge| quote!(__sync::NestedField::json(#merge));
    let rest = match &field.merge {
        None => by_json(quote!(__sync::Merge::Manual)),
        Some(Merge::With(path)) => {
            let convert = [quote!(from_value), quote!(to_value)];
            let convert =
                convert.map(|function| quote_spanned!(located(ty)=> <#ty as __sync::JsonValue>::#function));
            by_json(with(path, ty, convert))
        }
        Some(Merge::Policy(policy, at)) => match (policy, here(*at)) {
            (Policy::Min, at) => quote_spanned!(at=> <__sync::Same<#ty> as __sync::NestedOrdered>::MIN),
            (Policy::Max, at) => quote_spanned!(at=> <__sync::Same<#ty> as __sync::NestedOrdered>::MAX),
            (Policy::Sum, at) => quote_spanned!(at=> <__sync::Same<#ty> as __sync::NestedSum>::SUM),
            (Policy::Text, at) => quote_spanned!(at=> <__sync::Same<#ty> as __sync::TextField>::NESTED),
            (other, at) => by_json(of_json(*other, ty, at)),
        },
    };
    quote!((#name, #rest))
}

/// The value of the field in records that lack it.
fn default(field: &Field<'_>) -> Option<TokenStream> {
    let ty = field.ty;
    let of_type = || quote_spanned!(located(ty)=> <#ty as __sync::HasDefault>::value());
    match &field.default {
        Some(Default::Own(_, FieldDefault::Trait)) => Some(of_type()),
        Some(Default::Own(_, FieldDefault::Call(path))) => Some(quote_spanned!(located(path)=> #path())),
        Some(Default::Own(_, FieldDefault::Text(text))) => Some(text_default(ty, text)),
        Some(Default::Own(_, FieldDefault::Value(value))) => Some(quote!(#value)),
        Some(Default::OfStruct(function)) => {
            let ident = field.ident;
            Some(match function {
                Some(path) => quote!(#path().#ident),
                None => quote!(<Self as __sync::HasDefault>::value().#ident),
            })
        }
        None if field.local.is_some() || field.server.is_some() => Some(of_type()),
        None => None,
    }
}

/// A text as the default of a `String`; for any other type it stands as it was written.
fn text_default(ty: &Type, text: &LitStr) -> TokenStream {
    match crate::model::is_named(ty, "String") {
        true => quote!(<#ty as __sync::core::convert::From<&__sync::str>>::from(#text)),
        false => quote!(#text),
    }
}

fn to_value(field: &Field<'_>, composite: bool) -> TokenStream {
    let ident = field.ident;
    let to_value = match field.id {
        Some(_) if !composite => quote!(__sync::id_to_value::<Self>),
        _ => conversion(field, quote!(to_value)),
    };
    quote!(#to_value(&self.#ident))
}

fn read(field: &Field<'_>, composite: bool) -> TokenStream {
    let ident = field.ident;
    let from_reader = match field.id {
        Some(_) if !composite => quote!(__sync::id_from_reader::<Self>),
        _ => conversion(field, quote!(from_reader)),
    };
    let or_stop = field.json.map(|_| quote!(?));
    quote!(#ident: #from_reader(__sync_reader) #or_stop)
}

/// A function of the trait that converts the field.
///
/// Every mention of a field's type looks the same and stands at the same place, so that rustc reports a type that
/// does not fit once.
fn conversion(field: &Field<'_>, function: TokenStream) -> TokenStream {
    let ty = field.ty;
    let conversion = match field.json {
        Some(_) => quote!(JsonValue),
        None => quote!(FieldValue),
    };
    quote_spanned!(located(ty)=> <#ty as __sync::#conversion>::#function)
}
