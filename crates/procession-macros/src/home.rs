//! Under which path generated code finds `procession-shm`.
//!
//! Relies on `proc-macro-crate`, which reads the manifest of the package that is compiled.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// The path of what `procession-shm` has, for the package that is compiled.
///
/// The narrow crate is looked for first: a package with both may have the other one for its tests alone.
///
/// # Errors
/// The package depends on neither.
pub(crate) fn shm() -> syn::Result<TokenStream> {
    let found = ["procession-shm", "procession"].map(|name| crate_name(name).ok());
    path(&found).ok_or_else(|| {
        let message = "`procession-shm` is not among the dependencies of this package, nor is `procession`: add one, or \
                       say `#[shareable(crate = path)]` with the path under which another crate re-exports it";
        syn::Error::new(Span::call_site(), message)
    })
}

/// The path, by what was found of `procession-shm` and `procession`.
fn path([shm, facade]: &[Option<FoundCrate>; 2]) -> Option<TokenStream> {
    let name = |found: &FoundCrate, own: &str| match found {
        // Its examples and tests know it by its name, and so does it itself.
        FoundCrate::Itself => Ident::new(own, Span::call_site()),
        FoundCrate::Name(name) => Ident::new(name, Span::call_site()),
    };
    if let Some(found) = shm {
        let name = name(found, "procession_shm");
        return Some(quote!(::#name));
    }
    let name = name(facade.as_ref()?, "procession");
    Some(quote!(::#name::shm))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<FoundCrate> {
        Some(FoundCrate::Name(name.into()))
    }

    #[test]
    fn the_crate_that_the_package_depends_on_is_named_as_the_package_names_it() {
        let cases = [
            ([named("procession_shm"), None], Some("::procession_shm")),
            ([named("memory"), None], Some("::memory")),
            ([None, named("procession")], Some("::procession::shm")),
            ([None, named("mp")], Some("::mp::shm")),
            ([named("memory"), named("mp")], Some("::memory")),
            ([Some(FoundCrate::Itself), None], Some("::procession_shm")),
            ([None, Some(FoundCrate::Itself)], Some("::procession::shm")),
            ([None, None], None),
        ];
        for (found, expected) in cases {
            let path = path(&found).map(|path| path.to_string().replace(' ', ""));
            assert_eq!(path.as_deref(), expected, "{found:?}");
        }
    }
}
