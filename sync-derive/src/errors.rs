//! The mistakes found so far; all of them are reported in one go.

use proc_macro2::{Span, TokenStream};
use std::fmt::Display;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors(Vec<syn::Error>);

impl Errors {
    /// A mistake at this place.
    pub(crate) fn at(&mut self, place: Span, message: impl Display) {
        self.0.push(syn::Error::new(place, message));
    }

    /// A mistake that spans all of these tokens.
    pub(crate) fn on(&mut self, tokens: &impl quote::ToTokens, message: impl Display) {
        self.0.push(syn::Error::new_spanned(tokens, message));
    }

    /// A mistake that the parser found.
    pub(crate) fn add(&mut self, error: syn::Error) {
        self.0.push(error);
    }

    /// One `compile_error!` for each; nothing if there was no mistake.
    pub(crate) fn into_compile_errors(self) -> TokenStream {
        self.0.into_iter().map(syn::Error::into_compile_error).collect()
    }
}
