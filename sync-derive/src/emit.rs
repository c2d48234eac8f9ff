//! Writes the code. Nothing here can fail: what is wrong was found before.
//!
//! The code names nothing unqualified: it stands in a block of its own that brings in one name, `__sync`, the hidden
//! module of the runtime, and user code is put only where nothing else is in scope.

use crate::attributes::{FieldDefault, located};
use crate::model::{Default, Field, Model};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use std::collections::HashSet;
use syn::{DeriveInput, ExprPath, LitStr, Type};

/// The code of a model without mistakes; `id` is the place of its id.
pub(crate) fn model(model: &Model<'_>, id: usize) -> TokenStream {
    let Model { ident, field_enum, .. } = model;
    let (name, table) = (&model.name.text, &model.table.text);
    let id_field = &model.fields[id];
    let (id_ident, id_ty) = (id_field.ident, id_field.ty);
    let schemas = model.fields.iter().map(field_schema);
    let to_values = model.fields.iter().map(to_value);
    let read = model.fields.iter().map(read);
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
    let syncable = quote! {
        #[automatically_derived]
        impl __sync::Syncable for #ident {
            type Id = #id_ty;
            type Field = #field_enum;

            const SCHEMA: &'static __sync::ModelSchema = &__sync::ModelSchema {
                name: #name,
                table: #table,
                fields: &__sync::fields([#(#schemas),*]),
                id: #id,
                on_delete: __sync::OnDelete::Manual,
            };

            fn id(&self) -> Self::Id {
                __sync::clone_id::<Self>(&self.#id_ident)
            }

            fn set_id(&mut self, __sync_id: Self::Id) {
                self.#id_ident = __sync_id;
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
    whole(model, syncable, TokenStream::new())
}

/// The code of a model with mistakes: everything that other code may name, with bodies that never run.
pub(crate) fn broken_model(model: &Model<'_>, id: Option<usize>, errors: TokenStream) -> TokenStream {
    let Model { ident, field_enum, .. } = model;
    let id_ty = match id {
        Some(id) if model.fields[id].json.is_none() && !model.fields[id].refused => {
            let ty = model.fields[id].ty;
            quote!(#ty)
        }
        _ => quote!(__sync::Uuid),
    };
    whole(model, broken(quote!(impl __sync::Syncable for #ident), &id_ty, quote!(#field_enum)), errors)
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

fn field_schema(field: &Field<'_>) -> TokenStream {
    let name = &field.name.text;
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
    match default.is_some() || local.is_some() {
        true => quote!((#name, &__sync::FieldSchema { #default #local ..*#column })),
        false => quote!((#name, #column)),
    }
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
        None if field.local.is_some() => Some(of_type()),
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

fn to_value(field: &Field<'_>) -> TokenStream {
    let ident = field.ident;
    let to_value = match field.id {
        Some(_) => quote!(__sync::id_to_value::<Self>),
        None => conversion(field, quote!(to_value)),
    };
    quote!(#to_value(&self.#ident))
}

fn read(field: &Field<'_>) -> TokenStream {
    let ident = field.ident;
    let from_reader = match field.id {
        Some(_) => quote!(__sync::id_from_reader::<Self>),
        None => conversion(field, quote!(from_reader)),
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
