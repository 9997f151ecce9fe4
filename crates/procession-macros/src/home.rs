//! Under which path generated code finds our crates.
//!
//! Relies on `proc-macro-crate`, which reads the manifest of the package that is compiled.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// A crate that generated code calls.
struct Home {
    package: &'static str,
    /// What it is called in code.
    name: &'static str,
    /// What it is called within `procession`.
    module: &'static str,
    /// What names it where it cannot be found.
    attribute: &'static str,
}

const SHM: Home =
    Home { package: "procession-shm", name: "procession_shm", module: "shm", attribute: "#[shareable(crate = path)]" };
const MANAGER: Home = Home {
    package: "procession-manager",
    name: "procession_manager",
    module: "manager",
    attribute: "#[shared(crate = path)]",
};

/// The path of what `procession-shm` has, for the package that is compiled.
///
/// # Errors
/// The package depends on neither that nor `procession`.
pub(crate) fn shm() -> syn::Result<TokenStream> {
    SHM.find()
}

/// The path of what `procession-manager` has, for the package that is compiled.
///
/// # Errors
/// The package depends on neither that nor `procession`.
pub(crate) fn manager() -> syn::Result<TokenStream> {
    MANAGER.find()
}

impl Home {
    /// The narrow crate is looked for first: a package with both may have the other one for its tests alone.
    fn find(&self) -> syn::Result<TokenStream> {
        let found = [self.package, "procession"].map(|name| crate_name(name).ok());
        self.path(&found).ok_or_else(|| {
            let Self { package, attribute, .. } = self;
            let message = format!(
                "`{package}` is not among the dependencies of this package, nor is `procession`: add one, or say \
                 `{attribute}` with the path under which another crate re-exports it"
            );
            syn::Error::new(Span::call_site(), message)
        })
    }

    /// The path, by what was found of the crate and `procession`.
    fn path(&self, [narrow, facade]: &[Option<FoundCrate>; 2]) -> Option<TokenStream> {
        let name = |found: &FoundCrate, own: &str| match found {
            // Its examples and tests know it by its name, and so does it itself.
            FoundCrate::Itself => Ident::new(own, Span::call_site()),
            FoundCrate::Name(name) => Ident::new(name, Span::call_site()),
        };
        if let Some(found) = narrow {
            let name = name(found, self.name);
            return Some(quote!(::#name));
        }
        let name = name(facade.as_ref()?, "procession");
        let module = Ident::new(self.module, Span::call_site());
        Some(quote!(::#name::#module))
    }
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
            let path = SHM.path(&found).map(|path| path.to_string().replace(' ', ""));
            assert_eq!(path.as_deref(), expected, "{found:?}");
        }
        let path = MANAGER.path(&[None, named("mp")]).unwrap().to_string().replace(' ', "");
        assert_eq!(path, "::mp::manager");
    }
}
