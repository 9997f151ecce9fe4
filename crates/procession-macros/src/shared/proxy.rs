//! The proxy: a struct with the methods of the type, each of which is a call.

use proc_macro2::TokenStream;
use quote::quote;
use syn::visit_mut::VisitMut;
use syn::{
    Attribute, Expr, ExprLit, GenericParam, Generics, Lit, Meta, MetaNameValue, Type, TypeParamBound, WherePredicate,
    parse_quote,
};

use super::method::{Method, carried_over};
use super::types::{AsProxies, WithoutSelf, bare};
use super::{Block, parameters_of, unraw};

/// The struct and all that is implemented for it.
pub(super) fn definition(block: &Block<'_>) -> TokenStream {
    let (home, attributes, proxy) = (&block.home, block.attributes(), block.proxy());
    let visibility = &block.options.visibility;
    let about = about(block);
    let generics = without_self(block, &outliving(&block.item.generics));
    let (parameters, arguments, conditions) = generics.split_for_impl();
    let loose = loose(&generics);
    let (held, phantom) = phantom(&generics);
    let methods = block.methods.iter().map(|method| function(block, method));
    let attributes_of_all = block.attributes_of_all();
    let sending = block.travelling(block.methods.iter().flat_map(Method::travellers));
    let sending = without_self(block, &sending);
    let sending = sending.where_clause;
    let common = common(block, &loose, &phantom);
    let (label, described) = (block.label(), parameters_of(block.item));
    quote! {
        #(#attributes)*
        #[doc = #about]
        #visibility struct #proxy #loose (#home::RawProxy #held);

        #(#attributes_of_all)*
        #[automatically_derived]
        impl #parameters #proxy #arguments #sending {
            #(#methods)*
        }

        #(#attributes)*
        #[automatically_derived]
        impl #parameters #home::Proxy for #proxy #arguments #conditions {
            fn from_raw(raw: #home::RawProxy) -> Self {
                Self(raw #phantom)
            }

            fn as_raw(&self) -> &#home::RawProxy {
                &self.0
            }

            fn object_kind() -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(#home::derived::type_name(#label, &[#(#described),*]))
            }
        }

        #common
    }
}

/// What the proxy is, for its documentation.
fn about(block: &Block<'_>) -> String {
    let name = unraw(&block.name);
    format!(
        " A reference to a `{name}` in a server, which keeps it alive.\n\n Each method is a call of the method of `{name}` \
         with the same name, and waits for its result. A clone refers to the same object, as does what becomes of the proxy as \
         an argument, an item or a result."
    )
}

/// What asks nothing of the parameters.
fn common(block: &Block<'_>, loose: &Generics, phantom: &TokenStream) -> TokenStream {
    let (home, attributes, proxy) = (&block.home, block.attributes(), block.proxy());
    let name = unraw(&proxy);
    let (parameters, arguments, _) = loose.split_for_impl();
    let mut deserializing = loose.clone();
    deserializing.params.insert(0, parse_quote!('procession));
    let (deserializing, ..) = deserializing.split_for_impl();
    quote! {
        #(#attributes)*
        #[automatically_derived]
        impl #parameters ::core::clone::Clone for #proxy #arguments {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0) #phantom)
            }
        }

        #(#attributes)*
        #[automatically_derived]
        impl #parameters ::core::fmt::Debug for #proxy #arguments {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::DebugTuple::finish(::core::fmt::DebugTuple::field(
                    &mut ::core::fmt::Formatter::debug_tuple(f, #name),
                    &self.0,
                ))
            }
        }

        #(#attributes)*
        #[automatically_derived]
        impl #parameters ::core::cmp::PartialEq for #proxy #arguments {
            fn eq(&self, other: &Self) -> bool {
                ::core::cmp::PartialEq::eq(&self.0, &other.0)
            }
        }

        #(#attributes)*
        #[automatically_derived]
        impl #parameters ::core::cmp::Eq for #proxy #arguments {}

        #(#attributes)*
        #[automatically_derived]
        impl #parameters #home::derived::serde::Serialize for #proxy #arguments {
            fn serialize<__S: #home::derived::serde::Serializer>(
                &self,
                serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                #home::derived::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        #(#attributes)*
        #[automatically_derived]
        impl #deserializing #home::derived::serde::Deserialize<'procession> for #proxy #arguments {
            fn deserialize<__D: #home::derived::serde::Deserializer<'procession>>(
                deserializer: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                let raw = #home::derived::serde::Deserialize::deserialize(deserializer)?;
                ::core::result::Result::Ok(Self(raw #phantom))
            }
        }
    }
}

/// A method of the proxy, and the one that does not wait.
fn function(block: &Block<'_>, method: &Method<'_>) -> TokenStream {
    let (home, signature) = (&block.home, block.signature(method));
    let item = method.function.item;
    let visibility = &item.vis;
    let copied = item.attrs.iter().flat_map(|attr| copied(block, attr));
    let errors = errors(method);
    let full_name = format!("{}::{}", block.label(), unraw(method.name()));
    let ident = method.own_name();
    let resolved = |ty: &Type| {
        let mut ty = ty.clone();
        AsProxies(home).visit_type_mut(&mut ty);
        WithoutSelf(&block.item.self_ty).visit_type_mut(&mut ty);
        ty
    };
    let names: Vec<_> = method.function.arguments.iter().map(|argument| argument.name).collect();
    let types: Vec<_> = method.function.arguments.iter().map(|argument| resolved(&argument.ty.ty)).collect();
    let output = resolved(&method.output.owned);
    let later = method.later_name();
    let attributes = method.function.attributes();
    let about_later = format!(
        " [`{name}`](Self::{name}), without a wait for what becomes of it.\n\n # Errors\n `CallError`, when it could not be \
         sent.",
        name = unraw(method.name())
    );
    quote! {
        #(#copied)*
        #(#[doc = #errors])*
        #visibility fn #ident(&self, #(#names: #types),*) -> ::core::result::Result<#output, #home::CallError> {
            #home::RawProxy::call::<_, #output>(
                &self.0,
                #home::MethodName { name: #full_name, signature: #signature },
                &(#(#names,)*),
            )
        }

        #(#attributes)*
        #[doc = #about_later]
        #[inline]
        #visibility fn #later(
            &self,
            #(#names: #types),*
        ) -> ::core::result::Result<#home::Pending<#output>, #home::CallError> {
            #home::RawProxy::later::<_, #output>(
                &self.0,
                #home::MethodName { name: #full_name, signature: #signature },
                &(#(#names,)*),
            )
        }
    }
}

/// An attribute of a method as the proxy's method has it.
fn copied(block: &Block<'_>, attr: &Attribute) -> Vec<TokenStream> {
    if let Meta::NameValue(MetaNameValue { path, value: Expr::Lit(ExprLit { lit: Lit::Str(text), .. }), .. }) =
        &attr.meta
        && path.is_ident("doc")
    {
        let text = linked(block, &text.value());
        return vec![quote!(#[doc = #text])];
    }
    carried_over(std::slice::from_ref(attr), &["cfg", "doc", "deprecated", "must_use", "allow", "expect"])
}

/// Documentation in which `Self::` is the type where the proxy has no such method, so that links go on working.
fn linked(block: &Block<'_>, text: &str) -> String {
    let Type::Path(path) = bare(&block.item.self_ty) else { return text.to_owned() };
    let of: Vec<_> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let has = |name: &str| block.methods.iter().any(|method| unraw(method.name()) == name);
    let mut parts = text.split("Self::");
    let mut linked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len());
        linked += &if has(&part[..end]) { "Self".to_owned() } else { of.join("::") };
        linked += "::";
        linked += part;
    }
    linked
}

/// What the documentation of a proxy's method says beside that of the method.
fn errors(method: &Method<'_>) -> Vec<String> {
    let name = unraw(method.name());
    let docs = method.function.item.attrs.iter().filter(|attr| attr.path().is_ident("doc"));
    let docs: Vec<_> = docs.map(|doc| quote!(#doc).to_string()).collect();
    let has_section = docs.iter().any(|doc| doc.contains("# Errors"));
    let mut lines = Vec::new();
    if docs.is_empty() {
        lines.push(format!(" Calls `{name}` of the object."));
    }
    lines.push(String::new());
    if !has_section {
        lines.push(" # Errors".into());
    }
    lines.push(" `CallError`: the server is gone, or has not carried the call out.".into());
    lines
}

/// The parameters without what is asked of them, but for those without a known size.
fn loose(generics: &Generics) -> Generics {
    let mut loose = generics.clone();
    loose.where_clause = None;
    for param in loose.type_params_mut() {
        let kept = param.bounds.iter().filter(|bound| is_unsized(bound)).cloned().collect();
        param.bounds = kept;
        param.attrs.clear();
        if param.bounds.is_empty() {
            param.colon_token = None;
        }
    }
    loose
}

/// The parameters, each of which lives as long as a proxy may.
fn outliving(generics: &Generics) -> Generics {
    let mut outliving = generics.clone();
    let names: Vec<_> = generics.type_params().map(|param| &param.ident).collect();
    outliving
        .make_where_clause()
        .predicates
        .extend(names.into_iter().map(|name| -> WherePredicate { parse_quote!(#name: 'static) }));
    outliving
}

fn is_unsized(bound: &TypeParamBound) -> bool {
    quote!(#bound).to_string().replace(' ', "").starts_with('?')
}

/// What a proxy holds of its parameters: the type of a field, and its value.
fn phantom(generics: &Generics) -> (TokenStream, TokenStream) {
    if generics.params.is_empty() {
        return (TokenStream::new(), TokenStream::new());
    }
    let types = generics.params.iter().filter_map(|param| match param {
        GenericParam::Type(param) => {
            let name = &param.ident;
            Some(quote!(fn() -> #name))
        }
        _ => None,
    });
    (quote!(, ::core::marker::PhantomData<(#(#types,)*)>), quote!(, ::core::marker::PhantomData))
}

/// The parameters of the block, with its type written out.
fn without_self(block: &Block<'_>, generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    WithoutSelf(&block.item.self_ty).visit_generics_mut(&mut generics);
    generics
}
