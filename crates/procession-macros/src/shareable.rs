//! `#[derive(Shareable)]`: an implementation of the trait, with its claims as constant assertions.
//!
//! Relies on `procession-shm` having, under one path, the trait `Shareable`, the constant `SHAREABLE_ALIGN_MAX` and the
//! module `derived`.
//!
//! # Safety
//! What is written here implements an unsafe trait for a type of the user. What that promises is asserted in the code
//! itself, while it is compiled: each field is `Shareable`, begins where the one before it ends, and the type ends with
//! the last; so every byte belongs to a field. Of an enum every byte is its number. Both constants of the trait assert
//! it, so memory cannot be taken for a value of a type for which it does not hold, also of a generic one.

mod enums;
mod repr;
mod structs;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, GenericParam, Path, Result, WherePredicate, parse_quote};

use crate::home;
use repr::Repr;

/// What a struct and an enum say in different ways.
struct Claims {
    /// What must hold of the types of its fields.
    bounds: Vec<WherePredicate>,
    /// Whether all bits are a value: a constant expression.
    any_bits: TokenStream,
    /// Statements that do not compile if the layout is not what the claims rest on.
    layout: TokenStream,
    /// Constant expressions, each the signature of a field or a variant.
    parts: Vec<TokenStream>,
    /// Whether the slice `bytes` is a value: the body of a function.
    is_valid: TokenStream,
}

/// The implementation for a type.
///
/// # Errors
/// The type cannot be shared, as far as its text tells.
pub(crate) fn derive(item: &DeriveInput) -> Result<TokenStream> {
    let shm = match named_home(&item.attrs)? {
        Some(path) => quote!(#path),
        None => home::shm()?,
    };
    for param in &item.generics.params {
        if let GenericParam::Lifetime(param) = param {
            let message = "a type with a lifetime refers to something, and a reference means nothing in another \
                           process: hold the value, or its index in a shared array";
            return Err(Error::new_spanned(param, message));
        }
    }
    let repr = Repr::of(&item.attrs)?;
    let claims = match &item.data {
        Data::Struct(data) => structs::claims(item, data, &repr, &shm)?,
        Data::Enum(data) => enums::claims(item, data, &repr, &shm)?,
        Data::Union(data) => {
            let message = "a union does not tell which of its fields it holds: use a struct, or an array of bytes";
            return Err(Error::new(data.union_token.span, message));
        }
    };
    Ok(implementation(item, &claims, &shm))
}

fn implementation(item: &DeriveInput, claims: &Claims, shm: &TokenStream) -> TokenStream {
    let Claims { bounds, any_bits, layout, parts, is_valid } = claims;
    let name = &item.ident;
    let mut generics = item.generics.clone();
    for param in generics.type_params_mut() {
        param.bounds.push(parse_quote!(#shm::Shareable));
    }
    generics.make_where_clause().predicates.extend(bounds.iter().cloned());
    let (parameters, arguments, conditions) = generics.split_for_impl();
    let label = name.to_string();
    let too_aligned = format!(
        "`{label}` has an alignment above SHAREABLE_ALIGN_MAX, 64 bytes: memory is laid out for a cache line at most"
    );
    let assertions = quote! {
        #layout
        ::core::assert!(::core::mem::align_of::<#name #arguments>() <= #shm::SHAREABLE_ALIGN_MAX, #too_aligned);
    };
    // Of a generic type only an instance has a layout; whoever uses one evaluates the constants.
    let at_once = generics.params.is_empty().then(|| quote!(const _: () = { #assertions };));
    quote! {
        #[automatically_derived]
        unsafe impl #parameters #shm::Shareable for #name #arguments #conditions {
            const ANY_BITS: bool = {
                #assertions
                #any_bits
            };
            const SIGNATURE: u64 = {
                #assertions
                #shm::derived::signature(#label, &[::core::mem::size_of::<Self>() as u64, #(#parts),*])
            };

            fn is_valid(bytes: &[u8]) -> bool {
                #is_valid
            }
        }
        #at_once
    }
}

/// What `#[shareable(crate = path)]` says.
fn named_home(attrs: &[Attribute]) -> Result<Option<Path>> {
    let mut path = None;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("shareable")) {
        attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("the only setting is `crate = path`"));
            }
            path = Some(meta.value()?.call(Path::parse_mod_style)?);
            Ok(())
        })?;
    }
    Ok(path)
}

/// An error at the place of the derive, for what is missing in the text.
fn missing(message: &str) -> Error {
    Error::new(Span::call_site(), message)
}
