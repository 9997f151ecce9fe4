//! What the code calls that `#[shared]` writes.
//!
//! Relies on nothing of this crate but its traits.

use std::fmt::{self, Display, Write};

pub use procession_wire::Fault;
pub use serde;

use crate::shared::Shared;

/// What may be an argument or a result: `Serialize + DeserializeOwned`, with no borrows.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or a result of a shared method",
    label = "not `Serialize + DeserializeOwned + 'static`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, or mark the method with `#[shared(skip)]`; an error \
            type without serde converts into `Fault` with `?`"
)]
pub trait Travels: serde::Serialize + serde::de::DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend] // The note above says more than a list of what has serde.
impl<T: serde::Serialize + serde::de::DeserializeOwned + 'static> Travels for T {}

/// What a constructor may return.
#[diagnostic::on_unimplemented(
    message = "`new` returns `{Self}`, and not a `{T}`",
    label = "not `Self`, nor a `Result` of it with an error",
    note = "`new` is what clients make objects with: return `Self`, or `Result<Self, E>` with an `E` that converts into \
            `Fault`, or mark it with `#[shared(skip)]`"
)]
pub trait Constructed<T> {
    /// The object, or why there is none.
    ///
    /// # Errors
    /// What the constructor said.
    fn constructed(self) -> Result<T, Fault>;
}

impl<T: Shared> Constructed<T> for T {
    fn constructed(self) -> Result<T, Fault> {
        Ok(self)
    }
}

impl<T: Shared, E: Into<Fault>> Constructed<T> for Result<T, E> {
    fn constructed(self) -> Result<T, Fault> {
        self.map_err(Into::into)
    }
}

/// The signature of a method of a type with parameters: that of its text, mixed with what the parameters are.
#[must_use]
pub fn signature(of_text: u64, parameters: &[&dyn Display]) -> u64 {
    let mut hash = Fnv1a(of_text);
    for parameter in parameters {
        // What implements `Display` for numbers and texts cannot fail, nor can what it writes to.
        let _ = write!(hash, ",{parameter}");
    }
    hash.0
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits, going on from some hash.
struct Fnv1a(u64);

impl Write for Fnv1a {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = text.bytes().fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(())
    }
}

/// A type's name with that of its parameters: `Stack<i64>`.
#[must_use]
pub fn type_name(name: &str, parameters: &[&dyn Display]) -> String {
    let parameters: Vec<_> = parameters.iter().map(ToString::to_string).collect();
    if parameters.is_empty() { name.to_owned() } else { format!("{name}<{}>", parameters.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_counts_and_where_it_ends() {
        let of = |parameters: &[&dyn Display]| signature(7, parameters);
        let all = [of(&[]), of(&[&"i64"]), of(&[&"u64"]), of(&[&"i6", &"4"]), of(&[&"i64", &3]), of(&[&"i64", &4])];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(of(&[&"i64"]), of(&[&"i64"]));
    }

    #[test]
    fn a_types_name_has_its_parameters_if_there_are_any() {
        assert_eq!(type_name("Counter", &[]), "Counter");
        assert_eq!(type_name("Ring", &[&"i64", &3]), "Ring<i64, 3>");
    }
}
