//! The `async_trait` attribute of `sync_runtime`.

use proc_macro2::TokenStream;
use quote::quote;

/// The item under the attribute of the `async-trait` crate, as the target wants it.
pub(crate) fn expand(item: TokenStream) -> TokenStream {
    quote! {
        #[cfg_attr(not(target_arch = "wasm32"), ::sync_runtime::__private::async_trait)]
        #[cfg_attr(target_arch = "wasm32", ::sync_runtime::__private::async_trait(?Send))]
        #item
    }
}
