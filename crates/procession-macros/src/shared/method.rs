//! The methods and constructors of a block, as far as they can be shared.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, FnArg, GenericParam, ImplItemFn, Meta, Pat, PatType, Receiver, ReceiverKind, Result, Safety,
    Token, Type,
};

use super::types::{self, Output};
use super::{Faults, own, unraw};

/// How many arguments a method may have.
///
/// They travel as a tuple, and serde knows tuples of so many.
const ARGUMENTS_MAX: usize = 16;

/// Names that a proxy has uses for of its own.
const TAKEN: [&str; 10] =
    ["as_raw", "clone", "clone_from", "deserialize", "eq", "fmt", "from_raw", "hash", "ne", "serialize"];

/// A method that clients may call.
pub(super) struct Method<'a> {
    pub(super) function: Function<'a>,
    /// It takes `&mut self`.
    pub(super) is_exclusive: bool,
    pub(super) output: Output,
}

/// What methods and constructors have.
pub(super) struct Function<'a> {
    pub(super) item: &'a ImplItemFn,
    pub(super) arguments: Vec<Argument<'a>>,
}

/// An argument.
pub(super) struct Argument<'a> {
    pub(super) name: &'a Ident,
    pub(super) ty: types::Argument,
}

impl<'a> Method<'a> {
    /// # Errors
    /// It cannot be called from another process.
    pub(super) fn of(item: &'a ImplItemFn) -> Result<Self> {
        let mut faults = Faults::default();
        let is_exclusive = faults.keep(item.sig.receiver().map_or(Ok(false), exclusive));
        faults.keep(name(&item.sig.ident));
        let function = faults.keep(Function::of(item));
        let output = faults.keep(Output::of(&item.sig.output));
        match (function, is_exclusive, output) {
            (Some(function), Some(is_exclusive), Some(output)) if faults.0.is_none() => {
                Ok(Self { function, is_exclusive, output })
            }
            _ => Err(faults.0.unwrap_or_else(|| Error::new_spanned(&item.sig, "this method cannot be shared"))),
        }
    }

    pub(super) fn name(&self) -> &'a Ident {
        &self.function.item.sig.ident
    }
}

impl<'a> Function<'a> {
    /// # Errors
    /// Clients cannot call it, whatever it returns.
    pub(super) fn of(item: &'a ImplItemFn) -> Result<Self> {
        let mut faults = Faults::default();
        faults.keep(qualifiers(item));
        faults.keep(generics(item));
        let typed = item.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        });
        let arguments: Vec<_> = typed.filter_map(|argument| faults.keep(Argument::of(argument))).collect();
        if let Some(beyond) = arguments.get(ARGUMENTS_MAX) {
            let message = format!("a call carries {ARGUMENTS_MAX} arguments at most: name some of them in a struct");
            faults.add(Error::new_spanned(beyond.name, message));
        }
        faults.result()?;
        Ok(Self { item, arguments })
    }

    /// Patterns and types in the server.
    pub(super) fn received(&self) -> (Vec<Ident>, Vec<&Type>) {
        let name = |index| format_ident!("argument_{index}", span = Span::mixed_site());
        let names = (0..self.arguments.len()).map(name);
        (names.collect(), self.arguments.iter().map(|argument| &argument.ty.owned).collect())
    }

    /// What is handed to it, of variables with these names.
    pub(super) fn handed(&self, names: &[Ident]) -> Vec<TokenStream> {
        let handed = self.arguments.iter().zip(names).map(|(argument, name)| match argument.ty.taken {
            types::Taken::Value => quote!(#name),
            types::Taken::Lent => quote!(&#name),
            types::Taken::MaybeLent => {
                let lent = without_option(&argument.ty.ty);
                let item = Ident::new("item", Span::mixed_site());
                quote!(::core::option::Option::map(::core::option::Option::as_ref(&#name), |#item| -> #lent { #item }))
            }
        });
        handed.collect()
    }

    /// The types that travel with a call of it: those that the compiler is asked about. None of one that may not be there.
    pub(super) fn travellers(&self) -> Vec<Type> {
        if self.is_conditional() {
            return Vec::new();
        }
        self.arguments.iter().flat_map(|argument| types::parts(&argument.ty.ty)).collect()
    }

    pub(super) fn is_conditional(&self) -> bool {
        !carried_over(&self.item.attrs, &["cfg"]).is_empty()
    }

    /// The conditions and lint levels of it, for code that calls it.
    pub(super) fn attributes(&self) -> Vec<TokenStream> {
        let mut attributes = carried_over(&self.item.attrs, &["cfg"]);
        attributes.extend(self.lint_levels());
        attributes
    }

    /// The lint levels of it, for code that names its types.
    pub(super) fn lint_levels(&self) -> Vec<TokenStream> {
        let mut attributes = carried_over(&self.item.attrs, &["allow", "expect"]);
        if !carried_over(&self.item.attrs, &["deprecated"]).is_empty() {
            attributes.push(quote!(#[allow(deprecated)]));
        }
        attributes
    }
}

/// The reference in an `Option` of one.
fn without_option(ty: &Type) -> TokenStream {
    let Type::Path(path) = types::bare(ty) else { return ty.to_token_stream() };
    let syn::PathArguments::AngleBracketed(arguments) = &path.path.segments[path.path.segments.len() - 1].arguments
    else {
        return ty.to_token_stream();
    };
    arguments.args.to_token_stream()
}

impl<'a> Argument<'a> {
    fn of(argument: &'a PatType) -> Result<Self> {
        if let Some(attr) = argument.attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
            let message = "the proxy's method would have other arguments than this one: write two methods, each with its \
                           `#[cfg(..)]`";
            return Err(Error::new_spanned(attr, message));
        }
        let name = match &*argument.pat {
            Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => &name.ident,
            pattern => {
                let message =
                    "the proxy's method needs a name for this argument: give it one, and take it apart in the body";
                return Err(Error::new_spanned(pattern, message));
            }
        };
        Ok(Self { name, ty: types::Argument::of(&argument.ty)? })
    }
}

/// Whether the receiver is `&mut self`.
fn exclusive(receiver: &Receiver) -> Result<bool> {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => Ok(mutability.is_some()),
        ReceiverKind::Typed(_, ty) if is_self_reference(ty) => Ok(is_exclusive(ty)),
        ReceiverKind::Value => {
            let message = "others refer to the object too, so a call cannot use it up: take `&self` or `&mut self`, or mark \
                           the method with `#[shared(skip)]`";
            Err(Error::new_spanned(receiver, message))
        }
        _ => {
            let message = "the server has the object itself, in no pointer of yours: take `&self` or `&mut self`, or mark \
                           the method with `#[shared(skip)]`";
            Err(Error::new_spanned(receiver, message))
        }
    }
}

fn is_self_reference(ty: &Type) -> bool {
    let Type::Reference(reference) = types::bare(ty) else { return false };
    matches!(types::bare(&reference.elem), Type::Path(path) if path.path.is_ident("Self"))
}

/// Whether the type of a receiver is `&mut Self`.
pub(super) fn is_exclusive(ty: &Type) -> bool {
    matches!(types::bare(ty), Type::Reference(reference) if reference.mutability.is_some())
}

fn name(ident: &Ident) -> Result<()> {
    let name = unraw(ident);
    if !TAKEN.contains(&name.as_str()) {
        return Ok(());
    }
    let message = format!(
        "a proxy has a method `{name}` of its own: choose another name, or mark this one with `#[shared(skip)]`"
    );
    Err(Error::new_spanned(ident, message))
}

fn qualifiers(item: &ImplItemFn) -> Result<()> {
    if let Some(asyncness) = &item.sig.asyncness {
        let message = "no executor runs in a server: write a plain method, which may block, or mark this one with \
                       `#[shared(skip)]`";
        return Err(Error::new_spanned(asyncness, message));
    }
    if let Safety::Unsafe(unsafety) = &item.sig.safety {
        let message = "clients cannot vouch for what this method asks for: check it in a safe one, and mark this one with \
                       `#[shared(skip)]`";
        return Err(Error::new_spanned(unsafety, message));
    }
    if let Some(abi) = &item.sig.abi {
        let message = "a foreign calling convention means nothing between processes: leave it out, or mark the method with \
                       `#[shared(skip)]`";
        return Err(Error::new_spanned(abi, message));
    }
    Ok(())
}

fn generics(item: &ImplItemFn) -> Result<()> {
    let of_a_type = item.sig.generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_)));
    if let Some(param) = of_a_type {
        let message = "the server has to have each method compiled before it is called: name a type here, or make it a \
                       parameter of the whole `impl` block, or mark the method with `#[shared(skip)]`";
        return Err(Error::new_spanned(param, message));
    }
    if let Some(conditions) = &item.sig.generics.where_clause {
        let message = "a method is shared for all types of the block or for none: put the condition on the `impl` block, or \
                       mark the method with `#[shared(skip)]`";
        return Err(Error::new_spanned(conditions, message));
    }
    Ok(())
}

/// The attributes with these names, for code that stands beside. What is expected of the user's code is allowed there.
pub(super) fn carried_over(attrs: &[Attribute], names: &[&str]) -> Vec<TokenStream> {
    attrs.iter().filter_map(|attr| carried(&attr.meta, names)).map(|meta| quote!(#[#meta])).collect()
}

fn carried(meta: &Meta, names: &[&str]) -> Option<TokenStream> {
    let is = |name: &str| meta.path().is_ident(name);
    match meta {
        Meta::List(list) if is("cfg_attr") => {
            let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
            let mut parts = parsed.into_iter();
            let (condition, carried) = (parts.next()?, parts.filter_map(|meta| carried(&meta, names)));
            let carried: Vec<_> = carried.collect();
            (!carried.is_empty()).then(|| quote!(cfg_attr(#condition, #(#carried),*)))
        }
        Meta::List(list) if is("expect") && names.contains(&"expect") => {
            let lints = &list.tokens;
            Some(quote!(allow(#lints)))
        }
        meta if names.iter().any(|name| is(name)) => Some(meta.to_token_stream()),
        _ => None,
    }
}

impl Method<'_> {
    /// The types that travel with a call and back.
    pub(super) fn travellers(&self) -> Vec<Type> {
        let mut travellers = self.function.travellers();
        if self.function.is_conditional() {
            return travellers;
        }
        travellers.extend(types::parts(&self.output.ty));
        travellers
    }

    /// The name of the proxy's method that does not wait.
    pub(super) fn later_name(&self) -> Ident {
        format_ident!("{}_later", unraw(self.name()), span = super::place(self.name()))
    }

    /// The proxy's name for the method, at the place of the method's.
    pub(super) fn own_name(&self) -> Ident {
        own(self.name())
    }
}
