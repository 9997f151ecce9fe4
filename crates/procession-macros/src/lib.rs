//! Derive and attribute macros of the Procession crates.
//!
//! Layer 0. Uses nothing of ours. Generated code names the crate that the user depends on, whichever that is, and
//! that crate re-exports the macro beside what the macro is about.
//!
//! **Invariant:** what a macro vouches for, the code that it writes asserts: layouts are checked by the compiler of the
//! program that has them, not believed from its text.

#![doc(test(attr(deny(warnings))))]

mod home; // Under which name our crates are known where the code goes.
mod shareable;
mod shared;

use proc_macro::TokenStream;

/// Makes a struct or an enum of plain bytes one whose values may live in shared memory.
///
/// A **struct** is `#[repr(C)]` or `#[repr(transparent)]`, so that two builds of a program agree on where its fields
/// are. Each field's type is `Shareable` itself. There is no padding: fields stand from the largest alignment to the
/// smallest, or a field of `u8`s fills the gap. `repr(C, align(N))` is fine as long as that holds. Packed structs,
/// unions, types with lifetimes, types without bytes, and alignments above `SHAREABLE_ALIGN_MAX` are refused.
///
/// An **enum** has variants without fields and says by `#[repr(u8)]`, or another integer, how large it is.
///
/// The type is `Copy` (shared memory holds copies, nothing there is ever dropped) and `'static`. Parameters are
/// allowed and get the bound `Shareable`; the layout of each instance is then checked where it is put into memory.
///
/// What is read is checked, as another process may have written anything: of an enum the value, of a struct each
/// field that asks for it. A type of which all bits are a value costs no check.
///
/// Where a rule is broken the compiler shows the place and the remedy, for padding too: that is asserted in constants.
///
/// The derived code finds `procession-shm` or `procession` among the dependencies of the package, also under another
/// name. Elsewhere, such as in the output of a macro, `#[shareable(crate = path::to::procession_shm)]` names it.
///
/// # Python
/// A `ctypes.Structure` as the type of a `multiprocessing.sharedctypes` array.
///
/// # Examples
/// ```
/// use procession_shm::{Shareable, SharedArray};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Shareable)]
/// #[repr(u8)]
/// enum State {
///     Idle,
///     Busy,
/// }
///
/// #[derive(Clone, Copy, Debug, PartialEq, Shareable)]
/// #[repr(C)]
/// struct Worker {
///     jobs: u64,
///     load: f32,
///     state: State,
///     filler: [u8; 3], // Without it three bytes of each value would have no meaning, and be refused.
/// }
///
/// let worker = Worker { jobs: 7, load: 0.5, state: State::Busy, filler: [0; 3] };
/// let workers = SharedArray::from_slice(&[worker])?;
/// assert_eq!(workers.get(0)?, worker);
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
#[proc_macro_derive(Shareable, attributes(shareable))]
pub fn shareable(item: TokenStream) -> TokenStream {
    let item = syn::parse_macro_input!(item as syn::DeriveInput);
    shareable::derive(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes the methods of a type ones that other processes may call.
#[proc_macro_attribute]
pub fn shared(arguments: TokenStream, item: TokenStream) -> TokenStream {
    shared::expand(arguments.into(), item.into()).into()
}
