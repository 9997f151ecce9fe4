//! Enums without fields: an integer of which some values are theirs.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Result};

use super::repr::Repr;
use super::{Claims, missing};

/// What an enum claims.
///
/// # Errors
/// It has fields, no variants, or does not say which integer it is.
pub(super) fn claims(item: &DeriveInput, data: &DataEnum, repr: &Repr, shm: &TokenStream) -> Result<Claims> {
    if data.variants.is_empty() {
        let message = "an enum without variants has no value, so there is nothing to share";
        return Err(Error::new_spanned(&item.ident, message));
    }
    if let Some(variant) = data.variants.iter().find(|variant| !variant.fields.is_empty()) {
        let message = "a variant with fields leaves bytes without a value when another is held: use a `#[repr(C)]` \
                       struct with an enum without fields beside the fields of all variants";
        return Err(Error::new_spanned(&variant.fields, message));
    }
    let Some(integer) = &repr.integer else {
        return Err(missing("an enum needs `#[repr(u8)]`, or another integer: without it its size is not fixed"));
    };
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let parts = variants.iter().map(|variant| {
        let name = variant.to_string();
        quote!(#shm::derived::signature(#name, &[Self::#variant as #integer as u64]))
    });
    let message = format!("`{}` is not as large as its integer", item.ident);
    let size = quote!(::core::mem::size_of::<#integer>());
    let (name, (_, arguments, _)) = (&item.ident, item.generics.split_for_impl());
    Ok(Claims {
        bounds: Vec::new(),
        any_bits: quote!(false),
        layout: quote!(::core::assert!(::core::mem::size_of::<#name #arguments>() == #size, #message);),
        parts: parts.collect(),
        is_valid: quote! {
            <[u8; #size] as ::core::convert::TryFrom<&[u8]>>::try_from(bytes).is_ok_and(|bytes| {
                <[#integer]>::contains(&[#(Self::#variants as #integer),*], &<#integer>::from_ne_bytes(bytes))
            })
        },
    })
}
