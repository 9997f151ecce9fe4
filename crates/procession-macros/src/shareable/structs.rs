//! Structs: each field's claims, and no byte between them.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DataStruct, DeriveInput, Error, Member, Result, Type, parse_quote};

use super::repr::Repr;
use super::{Claims, missing};

/// What a struct claims.
///
/// # Errors
/// Its layout is not fixed, it has no field, or a field's type is one that cannot be shared, by its syntax.
pub(super) fn claims(item: &DeriveInput, data: &DataStruct, repr: &Repr, shm: &TokenStream) -> Result<Claims> {
    if let Some(span) = repr.packed {
        let message = "a packed struct has fields that cannot be read in one piece: leave `packed` out, and order the \
                       fields from the largest alignment to the smallest";
        return Err(Error::new(span, message));
    }
    if data.fields.is_empty() {
        let message = "a struct without fields has no bytes, so there is nothing to share";
        return Err(Error::new_spanned(&item.ident, message));
    }
    if !repr.fixed {
        let message = "needs `#[repr(C)]`, or `#[repr(transparent)]` for a single field: without it each build may lay \
                       the fields out in another way";
        return Err(missing(message));
    }
    let refused = data.fields.iter().filter_map(|field| Some(Error::new_spanned(&field.ty, refusal(&field.ty)?)));
    let refused = refused.reduce(|mut all, error| {
        all.combine(error);
        all
    });
    refused.map_or(Ok(()), Err)?;
    Ok(Fields { item, fields: members(data), shm }.claims())
}

/// Why a type cannot be shared, if its syntax tells.
fn refusal(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Reference(_) | Type::Ptr(_) => {
            Some("an address means nothing in another process: hold the value, or its index in a shared array")
        }
        Type::FnPtr(_) => Some("a function has another address in another process: hold an enum that names it"),
        Type::Slice(_) | Type::TraitObject(_) => {
            Some("a value in shared memory has a size that is known: use an array")
        }
        Type::Tuple(_) => Some("the compiler decides where the parts of a tuple are: use a `#[repr(C)]` struct"),
        Type::Array(array) => refusal(&array.elem),
        Type::Group(group) => refusal(&group.elem),
        Type::Paren(paren) => refusal(&paren.elem),
        _ => None,
    }
}

fn members(data: &DataStruct) -> Vec<(Member, &Type)> {
    data.fields.members().zip(data.fields.iter().map(|field| &field.ty)).collect()
}

/// A struct that may be shared as far as its text tells.
struct Fields<'a> {
    item: &'a DeriveInput,
    fields: Vec<(Member, &'a Type)>,
    shm: &'a TokenStream,
}

impl Fields<'_> {
    fn claims(&self) -> Claims {
        // Said as a bound, what is wrong with a field is one error at its type. A type with parameters would only never
        // be shareable then, without a word at the derive.
        let plain = self.item.generics.type_params().next().is_none();
        let bounds = self.fields.iter().filter(|_| plain).map(|(_, ty)| {
            let bound = self.named_at(ty);
            parse_quote!(#ty: #bound)
        });
        let any_bits = self.fields.iter().map(|(_, ty)| self.shareable(ty, "ANY_BITS"));
        let is_valid = self.fields.iter().map(|(member, ty)| {
            let is_valid = self.shareable(ty, "is_valid");
            quote! {
                bytes
                    .get(::core::mem::offset_of!(Self, #member)..)
                    .and_then(|bytes| bytes.get(..::core::mem::size_of::<#ty>()))
                    .is_some_and(#is_valid)
            }
        });
        Claims {
            bounds: bounds.collect(),
            any_bits: quote!(#(#any_bits)&&*),
            layout: self.layout(),
            parts: self.fields.iter().map(|(member, ty)| self.part(member, ty)).collect(),
            is_valid: quote!(#(#is_valid)&&*),
        }
    }

    /// An item of the trait, as a field's type has it.
    fn shareable(&self, ty: &Type, item: &str) -> TokenStream {
        let (bound, item) = (self.named_at(ty), Ident::new(item, place(ty)));
        quote_spanned!(place(ty)=> <#ty as #bound>::#item)
    }

    /// The trait, as if it were written where a field's type stands: one error about it is then one for the compiler,
    /// wherever derived code needs it.
    fn named_at(&self, ty: &Type) -> TokenStream {
        let there = |mut token: TokenTree| {
            token.set_span(token.span().located_at(ty.span()));
            token
        };
        let shm = self.shm;
        quote!(#shm::Shareable).into_iter().map(there).collect()
    }

    fn part(&self, member: &Member, ty: &Type) -> TokenStream {
        let (shm, signature, name) = (self.shm, self.shareable(ty, "SIGNATURE"), spelled(member));
        quote!(#shm::derived::signature(#name, &[#signature]))
    }

    /// Each field begins where the one before it ends, and the last one ends where the struct does.
    fn layout(&self) -> TokenStream {
        let remedy =
            "order the fields from the largest alignment to the smallest, or fill the gap with a field of `u8`s";
        let (name, (_, arguments, _)) = (&self.item.ident, self.item.generics.split_for_impl());
        let whole = quote!(#name #arguments);
        let each = self.fields.iter().map(|(member, ty)| {
            let message = format!("`{name}` has padding before its field `{}`: {remedy}", spelled(member));
            let outside = without_self(ty.to_token_stream(), name);
            quote_spanned! {place(ty)=>
                ::core::assert!(::core::mem::offset_of!(#whole, #member) == end, #message);
                end += ::core::mem::size_of::<#outside>();
            }
        });
        let tail = format!("`{name}` has padding after its last field: {remedy}");
        let empty = format!("`{name}` has no bytes, so there is nothing to share");
        quote! {
            let mut end = 0;
            #(#each)*
            ::core::assert!(::core::mem::size_of::<#whole>() == end, #tail);
            ::core::assert!(end > 0, #empty);
        }
    }
}

/// Where errors about a field are shown: at its type, though the code is the macro's, so that the lints of the user's
/// crate leave it alone.
fn place(ty: &Type) -> Span {
    Span::call_site().located_at(ty.span())
}

/// A field's type where there is no `Self`, such as in a constant beside the struct.
fn without_self(ty: TokenStream, name: &Ident) -> TokenStream {
    let spelled_out = |token| match token {
        TokenTree::Ident(own) if own == "Self" => {
            let mut name = name.clone();
            name.set_span(own.span());
            TokenTree::Ident(name)
        }
        TokenTree::Group(group) => TokenTree::Group(Group::new(group.delimiter(), without_self(group.stream(), name))),
        token => token,
    };
    ty.into_iter().map(spelled_out).collect()
}

/// A field's name, or its number.
fn spelled(member: &Member) -> String {
    match member {
        Member::Named(ident) => ident.to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    }
}
