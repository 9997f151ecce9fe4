//! What a type in a method's signature is on its way: references are sent as what they refer to.
//!
//! Relies on the words of a type alone; whether it can be sent at all the compiler says, of the code that uses it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::visit::Visit;
use syn::visit_mut::VisitMut;
use syn::{
    Error, Expr, GenericArgument, Lifetime, Path, PathArguments, PathSegment, QSelf, Result, ReturnType, Token, Type,
    TypeFnPtr, TypeImplTrait, TypeNever, TypePtr, TypeReference, TypeTraitObject, parse_quote, visit, visit_mut,
};

/// How an argument is taken.
pub(super) enum Taken {
    /// As a value.
    Value,
    /// By reference.
    Lent,
    /// As an `Option` of a reference.
    MaybeLent,
}

/// An argument's type.
pub(super) struct Argument {
    pub(super) taken: Taken,
    /// What the proxy takes: what the method does, without named lifetimes.
    pub(super) ty: Type,
    /// What arrives.
    pub(super) owned: Type,
}

impl Argument {
    /// # Errors
    /// It cannot be an argument, by its syntax.
    pub(super) fn of(ty: &Type) -> Result<Self> {
        refuse(ty, Place::Argument)?;
        let mut plain = ty.clone();
        WithoutLifetimes.visit_type_mut(&mut plain);
        if let Type::Reference(reference) = bare(&plain) {
            let owned = owned(&reference.elem);
            no_reference_in(&reference.elem, IN_ARGUMENT)?;
            return Ok(Self { taken: Taken::Lent, owned, ty: plain });
        }
        if let Some([inner]) = generic_arguments(&plain, "Option").as_deref()
            && let Type::Reference(reference) = bare(inner)
        {
            let elem = owned(&reference.elem);
            no_reference_in(&reference.elem, IN_ARGUMENT)?;
            return Ok(Self { taken: Taken::MaybeLent, owned: with_arguments(&plain, &[elem]), ty: plain });
        }
        no_reference_in(ty, IN_ARGUMENT)?;
        Ok(Self { taken: Taken::Value, owned: plain.clone(), ty: plain })
    }
}

const IN_ARGUMENT: &str = "an argument may be a reference, or an `Option` of one, but hold none: take what is inside by \
                           value, such as `&[String]` for `&[&str]`";
const IN_RESULT: &str = "a result may be a reference to a value, and an `Option`, `Result`, `Vec` or tuple of such; of \
                         other types with references return an owned form";

/// A method's result.
pub(super) struct Output {
    pub(super) ty: Type,
    /// What arrives at the caller.
    pub(super) owned: Type,
}

impl Output {
    /// # Errors
    /// It cannot be a result, by its syntax.
    pub(super) fn of(output: &ReturnType) -> Result<Self> {
        let ReturnType::Type(_, ty) = output else {
            let unit: Type = parse_quote!(());
            return Ok(Self { owned: unit.clone(), ty: unit });
        };
        refuse(ty, Place::Result)?;
        Ok(Self { owned: owned_result(ty)?, ty: (**ty).clone() })
    }

    /// Which function of `Call` sends it, and what that is given of the method's result.
    ///
    /// What borrows is copied only if it is read as a vector, which may be one of numbers.
    pub(super) fn sent(&self, result: &Ident) -> (Ident, TokenStream) {
        let [answer, answer_lent] = ["answer", "answer_lent"].map(|name| Ident::new(name, Span::call_site()));
        let ty = bare(&self.ty);
        if !borrows(ty) {
            return (answer, quote!(&#result));
        }
        let is_lent = match ty {
            Type::Reference(reference) if has_size(&reference.elem) => return (answer, quote!(#result)),
            Type::Reference(reference) => !matches!(bare(&reference.elem), Type::Slice(_)),
            Type::Tuple(_) => true,
            _ => ["Option", "Result"].iter().any(|name| generic_arguments(ty, name).is_some()),
        };
        if is_lent {
            return (answer_lent, quote!(&#result));
        }
        let owned = sent(ty, quote!(#result));
        (answer, quote!(&#owned))
    }
}

/// The types in it that can be sent by themselves. None for what becomes a proxy, of which another block sees to it.
pub(super) fn parts(ty: &Type) -> Vec<Type> {
    let ty = bare(ty);
    if has_hosted(ty) {
        return Vec::new();
    }
    if !borrows(ty) {
        return vec![ty.clone()];
    }
    if let Type::Reference(reference) = ty {
        return match bare(&reference.elem) {
            Type::Slice(slice) => parts(&slice.elem),
            elem => vec![owned(elem)],
        };
    }
    if let Type::Tuple(tuple) = ty {
        return tuple.elems.iter().flat_map(parts).collect();
    }
    for container in ["Option", "Result", "Vec"] {
        if let Some(arguments) = generic_arguments(ty, container) {
            return arguments.iter().flat_map(parts).collect();
        }
    }
    Vec::new()
}

fn has_hosted(ty: &Type) -> bool {
    struct Found(bool);
    impl Visit<'_> for Found {
        fn visit_path_segment(&mut self, segment: &PathSegment) {
            self.0 |= segment.ident == "Hosted" && !segment.arguments.is_empty();
            visit::visit_path_segment(self, segment);
        }
    }
    let mut found = Found(false);
    found.visit_type(ty);
    found.0
}

/// What arrives for a result of this type.
fn owned_result(ty: &Type) -> Result<Type> {
    let ty = bare(ty);
    if !borrows(ty) {
        return Ok(ty.clone());
    }
    if let Type::Reference(reference) = ty {
        no_reference_in(&reference.elem, IN_RESULT)?;
        return Ok(owned(&reference.elem));
    }
    if let Type::Tuple(tuple) = ty {
        let mut tuple = tuple.clone();
        for elem in &mut tuple.elems {
            *elem = owned_result(elem)?;
        }
        return Ok(Type::Tuple(tuple));
    }
    for container in ["Option", "Result", "Vec"] {
        if let Some(arguments) = generic_arguments(ty, container) {
            let owned: Result<Vec<_>> = arguments.iter().map(owned_result).collect();
            return Ok(with_arguments(ty, &owned?));
        }
    }
    if let Some([inner]) = generic_arguments(ty, "Cow").as_deref() {
        no_reference_in(inner, IN_RESULT)?;
        return Ok(owned(inner));
    }
    no_reference_in(ty, IN_RESULT)?;
    Ok(ty.clone())
}

/// An expression of this type, which may hold references, as one of [`owned_result`].
fn sent(ty: &Type, result: TokenStream) -> TokenStream {
    let ty = bare(ty);
    if !borrows(ty) {
        return result;
    }
    let item = Ident::new("item", Span::mixed_site());
    let each = |ty: &Type| {
        let sent = sent(ty, quote!(#item));
        quote!(|#item| #sent)
    };
    if let Type::Tuple(tuple) = ty {
        let names = (0..tuple.elems.len()).map(|index| Ident::new(&format!("item_{index}"), Span::mixed_site()));
        let names: Vec<_> = names.collect();
        let parts = tuple.elems.iter().zip(&names).map(|(ty, name)| sent(ty, quote!(#name)));
        return quote!({
            let (#(#names,)*) = #result;
            (#(#parts,)*)
        });
    }
    if let Some([some]) = generic_arguments(ty, "Option").as_deref() {
        let each = each(some);
        return quote!(::core::option::Option::map(#result, #each));
    }
    if let Some([ok, error]) = generic_arguments(ty, "Result").as_deref() {
        let (ok, error) = (each(ok), each(error));
        return quote!(::core::result::Result::map_err(::core::result::Result::map(#result, #ok), #error));
    }
    if let Some([of]) = generic_arguments(ty, "Vec").as_deref() {
        let each = each(of);
        return quote! {
            ::core::iter::Iterator::collect::<::std::vec::Vec<_>>(::core::iter::Iterator::map(
                ::core::iter::IntoIterator::into_iter(#result),
                #each,
            ))
        };
    }
    if generic_arguments(ty, "Cow").is_some() {
        return quote!(::std::borrow::Cow::into_owned(#result));
    }
    quote!(::std::borrow::ToOwned::to_owned(#result))
}

/// What a reference to this type is sent as.
fn owned(elem: &Type) -> Type {
    let elem = bare(elem);
    if let Type::Slice(slice) = elem {
        let item = &slice.elem;
        return parse_quote!(::std::vec::Vec<#item>);
    }
    match elem {
        Type::Path(path) if path.path.is_ident("str") => parse_quote!(::std::string::String),
        // Also right if it is a type of the user's with that name and a size.
        elem if !has_size(elem) => parse_quote!(<#elem as ::std::borrow::ToOwned>::Owned),
        elem => elem.clone(),
    }
}

/// Whether its values have one size, as far as its name tells.
fn has_size(ty: &Type) -> bool {
    let without = |last: &Ident| ["str", "Path", "OsStr", "CStr"].iter().any(|name| last == name);
    match bare(ty) {
        Type::Path(path) => !path.path.segments.last().is_some_and(|last| without(&last.ident)),
        Type::Slice(_) => false,
        _ => true,
    }
}

/// The type without parentheses, and without the groups that other macros put around types.
pub(super) fn bare(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        }
    }
}

/// The types in the angle brackets, if the type's last word is this.
fn generic_arguments(ty: &Type, name: &str) -> Option<Vec<Type>> {
    let Type::Path(path) = bare(ty) else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some(types.collect())
}

/// The same type with other types in the angle brackets.
fn with_arguments(ty: &Type, arguments: &[Type]) -> Type {
    let mut ty = bare(ty).clone();
    if let Type::Path(path) = &mut ty
        && let Some(last) = path.path.segments.last_mut()
    {
        last.arguments = PathArguments::AngleBracketed(parse_quote!(<#(#arguments),*>));
    }
    ty
}

/// Where a type stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Argument,
    Result,
}

/// Refuses what cannot be sent, by its syntax.
fn refuse(ty: &Type, place: Place) -> Result<()> {
    let mut refusals = Refusals { place, faults: super::Faults::default() };
    refusals.visit_type(ty);
    refusals.faults.result()
}

struct Refusals {
    place: Place,
    faults: super::Faults,
}

impl Visit<'_> for Refusals {
    fn visit_type_impl_trait(&mut self, ty: &TypeImplTrait) {
        let message = match self.place {
            Place::Argument => "a proxy has to know the type of what it sends: name a type instead of `impl Trait`",
            Place::Result => {
                "a proxy has to know the type of what arrives: name a type instead of `impl Trait`, such as \
                              `Vec<T>` for `impl Iterator<Item = T>`"
            }
        };
        self.faults.add(Error::new_spanned(ty, message));
    }

    fn visit_type_reference(&mut self, ty: &TypeReference) {
        if let Some(mutability) = &ty.mutability {
            let message = match self.place {
                Place::Argument => {
                    "what the method writes there would stay in the server: take the value, and return it"
                }
                Place::Result => {
                    "a client cannot write into the server's memory: return a value, and share a method \
                                  that changes it"
                }
            };
            let mut tokens = ty.and_token.to_token_stream();
            mutability.to_tokens(&mut tokens);
            self.faults.add(Error::new_spanned(tokens, message));
            return;
        }
        let is_static = ty.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static");
        if is_static && self.place == Place::Argument {
            let message = "what arrives lives no longer than the call: leave `'static` out, or take an owned value";
            self.faults.add(Error::new_spanned(&ty.lifetime, message));
            return;
        }
        visit::visit_type_reference(self, ty);
    }

    fn visit_type_trait_object(&mut self, ty: &TypeTraitObject) {
        let message = "a value behind a trait cannot be sent, as nobody could tell what it was: name its type, or an enum of \
                       all that it may be";
        self.faults.add(Error::new_spanned(ty, message));
    }

    fn visit_type_never(&mut self, ty: &TypeNever) {
        let message = "a call of a method that never returns would never end: mark the method with `#[shared(skip)]`";
        self.faults.add(Error::new_spanned(ty, message));
    }

    fn visit_type_fn_ptr(&mut self, ty: &TypeFnPtr) {
        let message = "a function has another address in another process: send an enum that names it";
        self.faults.add(Error::new_spanned(ty, message));
    }

    fn visit_type_ptr(&mut self, ty: &TypePtr) {
        let message = "an address means nothing in another process: send the value";
        self.faults.add(Error::new_spanned(ty, message));
    }

    fn visit_path(&mut self, path: &Path) {
        if self.place == Place::Argument
            && let Some(last) = path.segments.last()
            && last.ident == "Hosted"
            && !last.arguments.is_empty()
        {
            let message = "clients have no `Hosted`: take the proxy of that type";
            self.faults.add(Error::new_spanned(path, message));
            return;
        }
        visit::visit_path(self, path);
    }
}

/// Refuses a type in which something is borrowed.
fn no_reference_in(ty: &Type, message: &str) -> Result<()> {
    lifetime_in(ty).map_or(Ok(()), |span| Err(Error::new(span, message)))
}

fn borrows(ty: &Type) -> bool {
    lifetime_in(ty).is_some()
}

/// Where the type names a lifetime other than `'static`, or holds a reference.
pub(super) fn lifetime_in(ty: &Type) -> Option<Span> {
    struct Borrows(Option<Span>);
    impl Visit<'_> for Borrows {
        fn visit_lifetime(&mut self, lifetime: &Lifetime) {
            if lifetime.ident != "static" {
                self.0.get_or_insert(lifetime.span());
            }
        }

        fn visit_type_reference(&mut self, reference: &TypeReference) {
            self.0.get_or_insert(reference.and_token.span);
        }

        fn visit_type_fn_ptr(&mut self, _: &TypeFnPtr) {}
    }
    let mut found = Borrows(None);
    found.visit_type(ty);
    found.0
}

/// Takes named lifetimes out of references.
struct WithoutLifetimes;

impl VisitMut for WithoutLifetimes {
    fn visit_type_reference_mut(&mut self, ty: &mut TypeReference) {
        ty.lifetime = None;
        visit_mut::visit_type_reference_mut(self, ty);
    }
}

/// Writes out `Self`, for where that is another type.
pub(super) struct WithoutSelf<'a>(pub(super) &'a Type);

impl WithoutSelf<'_> {
    /// `Self::Rest` as `<Type>::Rest`.
    fn write_out(&self, qself: &mut Option<QSelf>, path: &mut Path) {
        let begins = path.segments.first().is_some_and(|first| first.ident == "Self") && path.leading_colon.is_none();
        if qself.is_some() || !begins || path.segments.len() < 2 {
            return;
        }
        let of = self.0;
        *qself = Some(QSelf {
            lt_token: <Token![<]>::default(),
            ty: Box::new(of.clone()),
            position: 0,
            as_token: None,
            gt_token: <Token![>]>::default(),
        });
        path.segments = std::mem::take(&mut path.segments).into_iter().skip(1).collect();
        path.leading_colon = Some(<Token![::]>::default());
    }
}

impl VisitMut for WithoutSelf<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        visit_mut::visit_type_mut(self, ty);
        if let Type::Path(path) = ty {
            if path.qself.is_none() && path.path.is_ident("Self") {
                *ty = self.0.clone();
                return;
            }
            self.write_out(&mut path.qself, &mut path.path);
        }
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        visit_mut::visit_expr_mut(self, expr);
        if let Expr::Path(path) = expr {
            self.write_out(&mut path.qself, &mut path.path);
        }
    }
}

/// Writes the proxy's type for each `Hosted`.
pub(super) struct AsProxies<'a>(pub(super) &'a TokenStream);

impl VisitMut for AsProxies<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        visit_mut::visit_type_mut(self, ty);
        if let Some([hosted]) = generic_arguments(ty, "Hosted").as_deref() {
            let home = self.0;
            *ty = parse_quote!(<#hosted as #home::Shared>::Proxy);
        }
    }
}
