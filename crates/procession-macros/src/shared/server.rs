//! What the server needs of a shared type: the traits `Shared` and `Construct`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ReturnType;

use super::method::{Function, Method};
use super::{Block, located, parameters_of, unraw};

/// Both implementations.
pub(super) fn implementations(block: &Block<'_>) -> TokenStream {
    let (home, attributes, proxy) = (&block.home, block.attributes_of_all(), block.proxy());
    let self_ty = &block.item.self_ty;
    let (_, arguments, _) = block.item.generics.split_for_impl();
    let generics = block.travelling(block.methods.iter().flat_map(Method::travellers));
    let (parameters, _, conditions) = generics.split_for_impl();
    let methods = block.methods.iter().map(|method| entry(block, method));
    let (label, described) = (block.label(), parameters_of(block.item));
    let constructors = block.constructors.iter().map(|function| constructor(block, function));
    quote! {
        #(#attributes)*
        #[automatically_derived]
        impl #parameters #home::Shared for #self_ty #conditions {
            type Proxy = #proxy #arguments;

            fn type_name() -> ::std::string::String {
                #home::derived::type_name(#label, &[#(#described),*])
            }

            fn methods() -> ::std::vec::Vec<#home::Method<Self>> {
                ::std::vec::Vec::from([#(#methods),*])
            }
        }
        #(#constructors)*
    }
}

/// A method as an entry of the list.
fn entry(block: &Block<'_>, method: &Method<'_>) -> TokenStream {
    let (home, own) = (&block.home, method.function.attributes());
    let (name, ident, signature) = (unraw(method.name()), method.name(), block.signature(method));
    let kind = if method.is_exclusive { quote!(Exclusive) } else { quote!(Shared) };
    let (names, types) = method.function.received();
    let handed = method.function.handed(&names);
    let [object, call, result] = ["object", "call", "result"].map(|name| Ident::new(name, Span::mixed_site()));
    let (answer, sent) = method.output.sent(&result);
    // Shown at what it returns, as that is what may be wrong.
    let answered = located(quote!(#home::Call::#answer(#call, #sent)), &method.output.ty);
    quote! {
        #(#own)*
        #home::Method {
            name: #name,
            signature: #signature,
            run: #home::Run::#kind(|#object, #call| {
                let (#(#names,)*) = #home::Call::arguments::<(#(#types,)*)>(#call)?;
                let #result = Self::#ident(#object, #(#handed),*);
                #answered
            }),
        }
    }
}

/// The implementation of `Construct`.
fn constructor(block: &Block<'_>, function: &Function<'_>) -> TokenStream {
    let (home, attributes, own) = (&block.home, block.attributes_of_all(), function.attributes());
    let self_ty = &block.item.self_ty;
    // What `Shared` asks for holds too, as that is what this trait builds on.
    let all = block.methods.iter().flat_map(Method::travellers).chain(function.travellers());
    let generics = block.travelling(all);
    let (parameters, _, bounds) = generics.split_for_impl();
    let ident = &function.item.sig.ident;
    let (names, types) = function.received();
    let handed = function.handed(&names);
    // Shown at what it returns, as that is what may be wrong.
    let made = quote!(#home::derived::Constructed::<Self>::constructed(Self::#ident(#(#handed),*)));
    let made = match &function.item.sig.output {
        ReturnType::Type(_, ty) => located(made, ty),
        ReturnType::Default => located(made, ident),
    };
    let given = Ident::new("given", Span::mixed_site());
    quote! {
        #(#attributes)*
        #(#own)*
        #[automatically_derived]
        impl #parameters #home::Construct for #self_ty #bounds {
            type Arguments = (#(#types,)*);

            fn construct(#given: Self::Arguments) -> ::core::result::Result<Self, #home::derived::Fault> {
                let (#(#names,)*) = #given;
                #made
            }
        }
    }
}
