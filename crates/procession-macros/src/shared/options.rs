//! What `#[shared(..)]` says: on a block its settings, on a method that clients may not call it.

use proc_macro2::{Ident, Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, ImplItem, LitStr, Meta, Path, Result, Token, Visibility, parse_quote};

/// The settings of a block.
pub(super) struct Options {
    /// The proxy's name, if it is not the usual one.
    pub(super) proxy: Option<Ident>,
    /// The type's name in messages, if it is not its own.
    pub(super) name: Option<String>,
    /// Who sees the proxy.
    pub(super) visibility: Visibility,
    /// The path of `procession-manager`.
    pub(super) home: Option<Path>,
}

const KNOWN: &str =
    "the settings are `proxy = \"Name\"`, `name = \"name in messages\"`, `vis = \"pub(crate)\"` and `crate = path`";

impl Options {
    /// What stands in the parentheses.
    ///
    /// # Errors
    /// Something there is no setting of a block.
    pub(super) fn parse(arguments: TokenStream) -> Result<Self> {
        let (mut proxy, mut name, mut visibility, mut home) = (None, None, None, None);
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("proxy") {
                return once(&mut proxy, &meta, |meta| text::<Ident>(meta, "the name of a struct"));
            }
            if meta.path.is_ident("name") {
                return once(&mut name, &meta, label);
            }
            if meta.path.is_ident("vis") {
                return once(&mut visibility, &meta, |meta| {
                    text::<Visibility>(meta, "a visibility, such as `pub(crate)`")
                });
            }
            if meta.path.is_ident("crate") {
                return once(&mut home, &meta, |meta| meta.value()?.call(Path::parse_mod_style));
            }
            if meta.path.is_ident("skip") {
                return Err(
                    meta.error("`skip` goes on a method: a block of which nothing is shared needs no `#[shared]`")
                );
            }
            Err(meta.error(KNOWN))
        });
        parser.parse2(arguments)?;
        let visibility = visibility.unwrap_or_else(|| parse_quote!(pub));
        Ok(Self { proxy, name, visibility, home })
    }
}

fn once<T>(
    slot: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    read: impl FnOnce(&ParseNestedMeta<'_>) -> Result<T>,
) -> Result<()> {
    if slot.is_some() {
        return Err(meta.error("this is set already"));
    }
    *slot = Some(read(meta)?);
    Ok(())
}

fn text<T: Parse>(meta: &ParseNestedMeta<'_>, what: &str) -> Result<T> {
    let text = string(meta, what)?;
    text.parse().map_err(|_| Error::new(text.span(), format!("this is not {what}")))
}

fn label(meta: &ParseNestedMeta<'_>) -> Result<String> {
    let text = string(meta, "the name of the type in messages")?;
    if text.value().is_empty() {
        return Err(Error::new(text.span(), "a type without a name cannot be told from others in messages"));
    }
    Ok(text.value())
}

fn string(meta: &ParseNestedMeta<'_>, what: &str) -> Result<LitStr> {
    let missing = |span: Span| Error::new(span, format!("write {what} in quotation marks after `=`"));
    if !meta.input.peek(Token![=]) {
        return Err(missing(meta.path.span()));
    }
    let value = meta.value()?;
    let at = value.span();
    value.parse().map_err(|_| missing(at))
}

/// Whether clients may not call it.
///
/// # Errors
/// Its attribute says something else, or it is no method.
pub(super) fn is_skipped(item: &ImplItem) -> Result<bool> {
    let mut skip = false;
    for attr in attributes_of(item) {
        if is_ours_at_times(attr) {
            let message = "whether a method is shared cannot depend on the configuration: write two methods, each with \
                           its `#[cfg(..)]`";
            return Err(Error::new_spanned(attr, message));
        }
        if !is_ours(attr) {
            continue;
        }
        if !matches!(item, ImplItem::Fn(_)) {
            return Err(Error::new_spanned(attr, "only methods are shared, so nothing else needs this attribute"));
        }
        let only = "the only setting of a method is `#[shared(skip)]`";
        let Meta::List(_) = &attr.meta else { return Err(Error::new_spanned(attr, only)) };
        attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("skip") {
                return Err(meta.error(only));
            }
            skip = true;
            Ok(())
        })?;
    }
    Ok(skip)
}

/// Whether it is this macro's, and so for nobody else to see.
pub(super) fn is_for_us_alone(attr: &Attribute) -> bool {
    is_ours(attr) || is_ours_at_times(attr)
}

fn is_ours(attr: &Attribute) -> bool {
    is_called(&attr.meta, "shared")
}

fn is_called(meta: &Meta, name: &str) -> bool {
    meta.path().segments.last().is_some_and(|segment| segment.ident == name)
}

/// Whether it is this macro's under a condition.
fn is_ours_at_times(attr: &Attribute) -> bool {
    let Meta::List(list) = &attr.meta else { return false };
    if !attr.path().is_ident("cfg_attr") {
        return false;
    }
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default();
    parts.iter().skip(1).any(|meta| is_called(meta, "shared"))
}

fn attributes_of(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of an item of a block, to change.
pub(super) fn attributes_to_change(item: &mut ImplItem) -> Option<&mut Vec<Attribute>> {
    match item {
        ImplItem::Fn(item) => Some(&mut item.attrs),
        ImplItem::Const(item) => Some(&mut item.attrs),
        ImplItem::Type(item) => Some(&mut item.attrs),
        ImplItem::Macro(item) => Some(&mut item.attrs),
        _ => None,
    }
}
