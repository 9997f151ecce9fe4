//! What `#[repr(..)]` says of a type's layout.
//!
//! Relies on the compiler to refuse what contradicts itself.

use proc_macro2::{Ident, Span, TokenStream};
use syn::spanned::Spanned;
use syn::{Attribute, Result, parenthesized, token};

/// The words of it that matter here.
#[derive(Default)]
pub(super) struct Repr {
    /// Fields are where C puts them, or there is one field alone.
    pub(super) fixed: bool,
    /// Fields may stand where their type cannot be read in one piece.
    pub(super) packed: Option<Span>,
    /// The integer that an enum is.
    pub(super) integer: Option<Ident>,
}

const INTEGERS: [&str; 12] = ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];

impl Repr {
    /// What the attributes of a type say.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn of(attrs: &[Attribute]) -> Result<Self> {
        let mut repr = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("repr")) {
            attr.parse_nested_meta(|meta| {
                if meta.path.is_ident("C") || meta.path.is_ident("transparent") {
                    repr.fixed = true;
                }
                if meta.path.is_ident("packed") {
                    repr.packed = Some(meta.path.span());
                }
                if let Some(ident) = meta.path.get_ident().filter(|ident| INTEGERS.iter().any(|int| *ident == int)) {
                    repr.integer = Some(ident.clone());
                }
                if meta.input.peek(token::Paren) {
                    let number;
                    parenthesized!(number in meta.input);
                    number.parse::<TokenStream>()?;
                }
                Ok(())
            })?;
        }
        Ok(repr)
    }
}
