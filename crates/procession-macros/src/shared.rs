//! `#[shared]`: what a type's methods are to clients, and the proxy that calls them.
//!
//! Relies on `procession-manager` having, under one path, the traits `Shared`, `Construct` and `Proxy`, what they are made
//! of, and the module `derived`. All that is written stands beside the block, without a module or a function around it, so
//! that it works wherever the block does; every name in it is a whole path, so that no name of the user's is in its way.

mod method;
mod options;
mod proxy;
mod server;
mod signature;
mod types;

use std::collections::HashSet;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{
    Error, GenericArgument, GenericParam, Generics, ImplItem, Item, ItemImpl, PathArguments, Result, Type, Visibility,
    WherePredicate, parse_quote,
};

use crate::home;
use method::{Function, Method};
use options::Options;

/// How many methods of a type clients may call.
///
/// `METHODS_MAX` of `procession-manager` says the same.
const METHODS_MAX: usize = 255;

/// What there is to know of a block.
struct Block<'a> {
    item: &'a ItemImpl,
    options: Options,
    /// The path of `procession-manager`.
    home: TokenStream,
    /// The type's name, without its parameters.
    name: Ident,
    methods: Vec<Method<'a>>,
    /// The functions called `new`: several where each is for another configuration.
    constructors: Vec<Function<'a>>,
}

/// The block as it was, with the proxy and the implementations beside it.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Impl(item)) => item,
        _ => {
            let message = "`#[shared]` goes on the `impl` block with the methods that clients may call, and \
                           `#[shared(skip)]` on a method in such a block";
            let error = Error::new(Span::call_site(), message).into_compile_error();
            return quote!(#item #error);
        }
    };
    let generated = generated(arguments, &item).unwrap_or_else(Error::into_compile_error);
    let block = without_options(item);
    quote!(#block #generated)
}

/// What stands beside the block.
fn generated(arguments: TokenStream, item: &ItemImpl) -> Result<TokenStream> {
    let block = Block::of(arguments, item)?;
    let (shared, proxy) = (server::implementations(&block), proxy::definition(&block));
    Ok(quote!(#shared #proxy))
}

impl<'a> Block<'a> {
    /// Reads a block.
    ///
    /// # Errors
    /// All that is wrong with it, each at its place.
    fn of(arguments: TokenStream, item: &'a ItemImpl) -> Result<Self> {
        let options = Options::parse(arguments)?;
        let home = match &options.home {
            Some(path) => quote!(#path),
            None => home::manager()?,
        };
        let name = name_of(item)?;
        let mut faults = Faults::default();
        let (mut methods, mut constructors) = (Vec::new(), Vec::new());
        for item in &item.items {
            let is_skipped = faults.keep(options::is_skipped(item)).unwrap_or(true);
            let ImplItem::Fn(item) = item else { continue };
            if is_skipped || matches!(item.vis, Visibility::Inherited) {
                continue;
            }
            if item.sig.receiver().is_some() {
                methods.extend(faults.keep(Method::of(item)));
            } else if item.sig.ident == "new" {
                constructors.extend(faults.keep(Function::of(item)));
            }
        }
        faults.result()?;
        if methods.is_empty() {
            let message = "there is nothing to call: no method is `pub`, takes `&self` or `&mut self`, and goes without \
                           `#[shared(skip)]`";
            return Err(Error::new_spanned(&item.self_ty, message));
        }
        for method in &methods {
            let later = format!("{}_later", unraw(method.name()));
            if let Some(other) = methods.iter().find(|other| unraw(other.name()) == later) {
                let message = format!(
                    "the proxy has a method `{later}` of its own, which calls `{}` without a wait: choose another name, or \
                     mark this one with `#[shared(skip)]`",
                    method.name()
                );
                return Err(Error::new_spanned(other.name(), message));
            }
        }
        if let Some(beyond) = methods.get(METHODS_MAX) {
            let message = format!(
                "this is method {} of those that are shared, and {METHODS_MAX} is the limit: mark some with \
                 `#[shared(skip)]`, or make one of several that differ by an argument",
                METHODS_MAX + 1
            );
            return Err(Error::new_spanned(beyond.name(), message));
        }
        Ok(Self { item, options, home, name, methods, constructors })
    }

    /// What the proxy is called.
    fn proxy(&self) -> Ident {
        self.options.proxy.clone().unwrap_or_else(|| own(&format_ident!("{}Proxy", self.name)))
    }

    /// What the type is called in messages.
    fn label(&self) -> String {
        self.options.name.clone().unwrap_or_else(|| unraw(&self.name))
    }

    /// The conditions and lint levels of the block, which hold for what stands beside it too.
    fn attributes(&self) -> Vec<TokenStream> {
        method::carried_over(&self.item.attrs, &["cfg", "allow", "expect"])
    }

    /// The same with the lint levels of all methods, for what names their types.
    fn attributes_of_all(&self) -> Vec<TokenStream> {
        let mut attributes = self.attributes();
        attributes.extend(self.methods.iter().flat_map(|method| method.function.lint_levels()));
        attributes
    }

    /// The parameters and conditions of the block, with those of `Shared` for parameters, and that these types can be sent.
    ///
    /// Said as a condition, what is wrong with a type is one error at that type, and none in what is written for it; and
    /// parameters need no bounds but those that the methods' own code needs. Of the type itself nothing is said: one that
    /// has objects of its own type would be asked for in a circle.
    fn travelling(&self, types: impl Iterator<Item = Type>) -> Generics {
        let mut generics = self.item.generics.clone();
        let parameters: Vec<_> = generics.type_params().map(|param| param.ident.clone()).collect();
        let parameters = parameters.into_iter().map(|name| -> WherePredicate {
            let bounds = located(quote!(::core::marker::Send + ::core::marker::Sync + 'static), &name);
            parse_quote!(#name: #bounds)
        });
        let mut said = HashSet::new();
        let types = types.filter(|ty| said.insert(quote!(#ty).to_string()));
        let conditions = types.map(|ty| -> WherePredicate {
            let home = &self.home;
            let bound = located(quote!(#home::derived::Travels), &ty);
            parse_quote!(#ty: #bound)
        });
        let conditions: Vec<_> = conditions.chain(parameters).collect();
        generics.make_where_clause().predicates.extend(conditions);
        generics
    }

    /// The hash of what a method looks like from outside; an expression.
    fn signature(&self, method: &Method<'_>) -> TokenStream {
        let (home, hash) = (&self.home, signature::of(&method.function.item.sig));
        let parameters = self.item.generics.params.iter().filter_map(described);
        let parameters: Vec<_> = parameters.collect();
        if parameters.is_empty() {
            return quote!(#hash);
        }
        quote!(#home::derived::signature(#hash, &[#(#parameters),*]))
    }
}

/// Code as if it were written where something of the user's stands: one error about it is then one for the compiler, wherever
/// it is said.
fn located(code: TokenStream, at: &impl Spanned) -> TokenStream {
    let there = |token: TokenTree| {
        let mut token = match token {
            // The locations of what is in a group are their own.
            TokenTree::Group(group) => TokenTree::Group(Group::new(group.delimiter(), located(group.stream(), at))),
            token => token,
        };
        token.set_span(token.span().located_at(at.span()));
        token
    };
    code.into_iter().map(there).collect()
}

/// A parameter as something that can be printed: a reference to the name of its type, or to its value.
fn described(parameter: &GenericParam) -> Option<TokenStream> {
    match parameter {
        GenericParam::Type(parameter) => Some(described_type(&parameter.ident)),
        GenericParam::Const(parameter) => {
            let name = &parameter.ident;
            Some(quote!(&#name))
        }
        GenericParam::Lifetime(_) => None,
    }
}

fn described_type(ty: impl quote::ToTokens) -> TokenStream {
    quote!(&::core::any::type_name::<#ty>())
}

/// The name of the type that a block is of.
///
/// # Errors
/// The block is one that cannot be shared, whatever its methods are.
fn name_of(item: &ItemImpl) -> Result<Ident> {
    if let Some((path, _)) = &item.trait_ {
        let message = "a trait's methods are not the type's own: put `#[shared]` on the type's `impl` block without a \
                       trait, with methods there that call the trait's";
        return Err(Error::new_spanned(path, message));
    }
    for param in &item.generics.params {
        if let GenericParam::Lifetime(param) = param {
            let message = "a type with a lifetime borrows from something, and a server outlives that: hold the value \
                           itself, or an `Arc` of it";
            return Err(Error::new_spanned(param, message));
        }
    }
    let Type::Path(path) = types::bare(&item.self_ty) else {
        let message = "only a struct, an enum or a union of this crate can be shared: wrap this type in a struct";
        return Err(Error::new_spanned(&item.self_ty, message));
    };
    let lifetime = types::lifetime_in(&item.self_ty);
    if let Some(lifetime) = lifetime {
        let message = "a type with a lifetime borrows from something, and a server outlives that: hold the value itself, \
                       or an `Arc` of it";
        return Err(Error::new(lifetime, message));
    }
    let last = path.path.segments.last().ok_or_else(|| Error::new_spanned(path, "this type has no name"))?;
    Ok(last.ident.clone())
}

/// What the type is a type of: expressions that describe its parameters in the block.
fn parameters_of(item: &ItemImpl) -> Vec<TokenStream> {
    let Type::Path(path) = types::bare(&item.self_ty) else { return Vec::new() };
    let Some(PathArguments::AngleBracketed(arguments)) = path.path.segments.last().map(|last| &last.arguments) else {
        return Vec::new();
    };
    let is_const = |ty: &Type| match ty {
        Type::Path(path) => item.generics.const_params().any(|param| path.path.is_ident(&param.ident)),
        _ => false,
    };
    let described = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) if is_const(ty) => Some(quote!(&#ty)),
        GenericArgument::Type(ty) => Some(described_type(ty)),
        GenericArgument::Const(value) => Some(quote!(&#value)),
        _ => None,
    });
    described.collect()
}

/// The block without what only this macro understands.
fn without_options(mut item: ItemImpl) -> ItemImpl {
    for item in &mut item.items {
        if let Some(attrs) = options::attributes_to_change(item) {
            attrs.retain(|attr| !options::is_for_us_alone(attr));
        }
    }
    item
}

/// An identifier of the user's as one of ours at the same place: what is written with it is found by the same name, and the
/// lints of the user's crate leave it alone.
fn own(ident: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(place(&ident));
    ident
}

/// The macro's own code, shown where the user's stands.
fn place(of: &impl Spanned) -> Span {
    Span::call_site().located_at(of.span())
}

/// A name as it is written in texts: `type` for `r#type`.
fn unraw(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

/// Errors, of which all are shown.
#[derive(Default)]
struct Faults(Option<Error>);

impl Faults {
    fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    fn result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a block becomes, with this path for `procession-manager`, as text without spaces.
    fn expanded(block: &str) -> String {
        let item = block.parse().unwrap();
        expand(quote!(crate = home), item).to_string().replace(char::is_whitespace, "")
    }

    /// The message of the first error in what a block becomes.
    fn refusal(block: &str) -> Option<String> {
        let text = expand(quote!(crate = home), block.parse().unwrap()).to_string();
        let message = text.split_once("compile_error")?.1;
        Some(message.split('"').nth(1)?.to_owned())
    }

    #[track_caller]
    fn has(text: &str, code: &str) {
        let code = code.replace(char::is_whitespace, "");
        assert!(text.contains(&code), "{code}\nis not in\n{text}");
    }

    #[test]
    fn a_method_is_an_entry_and_a_call() {
        let text = expanded("impl Counter { pub fn incr(&mut self, by: i64) -> i64 { 0 } }");
        has(&text, "impl Counter { pub fn incr(&mut self, by: i64) -> i64 { 0 } }");
        has(&text, "pub struct CounterProxy(home::RawProxy);");
        has(&text, "impl home::Shared for Counter where i64: home::derived::Travels {");
        has(&text, "run: home::Run::Exclusive(|object, call|");
        has(&text, "let (argument_0,) = home::Call::arguments::<(i64,)>(call)?;");
        has(&text, "pub fn incr(&self, by: i64) -> ::core::result::Result<i64, home::CallError>");
        has(&text, "&(by,)");
        assert!(!text.contains("home::Construct"), "{text}");
    }

    #[test]
    fn an_object_as_a_result_is_a_proxy_at_the_caller_and_asks_nothing_of_its_type() {
        let text = expanded("impl Bank { pub fn open(&self) -> Result<Vec<Hosted<Account>>, Full> { todo() } }");
        has(&text, "::core::result::Result<Result<Vec<<Account as home::Shared>::Proxy>, Full>, home::CallError>");
        has(&text, "home::Call::answer(call, &result)");
        has(&text, "impl home::Shared for Bank {");
    }

    #[test]
    fn what_borrows_is_written_from_where_it_is_unless_it_is_read_as_a_vector() {
        let answers = [
            ("&Row", "answer(call, result)"),
            ("&str", "answer_lent(call, &result)"),
            ("Option<&Row>", "answer_lent(call, &result)"),
            ("(&str, u8)", "answer_lent(call, &result)"),
            ("Vec<u8>", "answer(call, &result)"),
            ("&[u8]", "answer(call, &::std::borrow::ToOwned::to_owned(result))"),
            ("Cow<'_, str>", "answer(call, &::std::borrow::Cow::into_owned(result))"),
        ];
        for (ty, answer) in answers {
            has(&expanded(&format!("impl Table {{ pub fn get(&self) -> {ty} {{ todo() }} }}")), answer);
        }
    }

    #[test]
    fn documentation_goes_to_the_proxy_and_its_links_go_on_working() {
        let block = "impl m::Table { /// Undoes [`Self::put`], or [`Self::LAST`].\n pub fn take(&self) {} pub fn put(&self) {} }";
        let text = expand(quote!(crate = home), block.parse().unwrap()).to_string();
        assert!(text.contains("Undoes [`Self::put`], or [`Self::LAST`]."), "{text}");
        assert!(text.contains("Undoes [`Self::put`], or [`m::Table::LAST`]."), "{text}");
        assert!(text.contains("# Errors"), "{text}");
        assert!(text.contains("Calls `put` of the object."), "{text}");
    }

    #[test]
    fn a_signature_is_of_what_callers_see() {
        let hash = |function: &str| signature::of(&syn::parse_str::<syn::ImplItemFn>(function).unwrap().sig);
        let one = hash("pub fn get(&self, key: &str) -> Option<u8> {}");
        let same = [
            "pub(crate) fn get<'a>(&'a self, k : & 'a str,) -> Option < u8 > { 1 }",
            "fn r#get(self: &Self, key: &str) -> Option<u8> {}",
        ];
        let other = [
            "fn get(&mut self, key: &str) -> Option<u8> {}",
            "fn got(&self, key: &str) -> Option<u8> {}",
            "fn get(&self, key: &[str]) -> Option<u8> {}",
            "fn get(&self, key: &str) -> Option<u16> {}",
            "fn get(&self, key: &str, default: u8) -> Option<u8> {}",
            "fn get(&self, key: &str) {}",
        ];
        assert!(same.iter().all(|function| hash(function) == one));
        let different: HashSet<_> = other.iter().map(|function| hash(function)).chain([one]).collect();
        assert_eq!(different.len(), other.len() + 1);
    }

    #[test]
    fn as_many_methods_are_shared_as_the_limit_says() {
        let methods = |count: usize| (0..count).map(|i| format!("pub fn m{i}(&self) {{}}")).collect::<String>();
        assert_eq!(refusal(&format!("impl T {{ {} }}", methods(METHODS_MAX))), None);
        let message = refusal(&format!("impl T {{ {} }}", methods(METHODS_MAX + 1))).unwrap();
        assert!(message.starts_with("this is method 256 of those that are shared, and 255 is the limit"), "{message}");
    }

    #[test]
    fn every_method_has_one_that_does_not_wait() {
        let text = expanded("impl T { #[cfg(unix)] pub fn r#type(&self, of: &str) -> u8 { 0 } }");
        has(&text, "#[cfg(unix)] #[doc = \"");
        has(&text, "pub fn type_later(&self, of: &str) -> ::core::result::Result<home::Pending<u8>, home::CallError>");
        let message = refusal("impl T { pub fn a(&self) {} pub fn a_later(&self) {} }").unwrap();
        assert!(message.starts_with("the proxy has a method `a_later` of its own"), "{message}");
    }

    #[test]
    fn a_method_that_callers_vouch_for_is_refused() {
        let message = refusal("impl T { pub unsafe fn unchecked(&self) {} }").unwrap();
        assert!(message.starts_with("clients cannot vouch for"), "{message}");
    }

    #[test]
    fn what_cannot_be_shared_stays_what_it_was() {
        let text = expanded("impl T { #[shared(skip)] pub fn a(self) {} #[shared(other)] #[inline] fn b(&self) {} }");
        has(&text, "impl T { pub fn a(self) {} #[inline] fn b(&self) {} }");
        has(&text, "compile_error!");
        has(&expanded("struct T;"), "struct T;");
    }
}
