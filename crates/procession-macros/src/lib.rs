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

/// Makes values of a type objects that live in a server, and writes the proxy that other processes call them through.
///
/// It goes on the `impl` block with the type's own methods, of which a type has one. The block stays as it is. For
/// `impl Counter` there is a struct `CounterProxy` beside it, with the methods that are marked `pub` (or `pub(crate)`, ..)
/// and take `&self` or `&mut self`. Each is a call: it sends the arguments, waits until the method has run in the server, and
/// returns `Result<R, CallError>` for a method that returns `R`. Calls of `&self` methods run at the same time as others of
/// these, a call of a `&mut self` method alone. The function `new`, if there is one that is `pub`, is what
/// `BaseManager::create` calls; it returns `Self`, or a `Result` of it with an error that converts into `Fault`.
///
/// # What travels
/// Arguments and results implement serde's traits. Parameters of the type need no bounds for that: what travels is asked
/// for where the type is used.
///
/// | the method takes or returns | the proxy's method takes or returns |
/// |---|---|
/// | `T` | `T` |
/// | takes `&T`, `&str`, `&[T]`, `&Path`, or an `Option` of one | the same; written without a copy, arrives as the owned form |
/// | returns `&T`, `&str`, `&[T]`, `&Path`, `Cow<'_, T>` | the owned form: `T`, `String`, `Vec<T>`, `PathBuf`, .. |
/// | returns an `Option`, `Result`, `Vec` or tuple of these | the same of the owned forms |
/// | returns `Result<T, E>` | `Result<Result<T, E>, CallError>`: the method's error, and that of the call |
/// | returns `Hosted<A>`, also inside of other types | `A`'s proxy |
///
/// A slice, a `Vec` of references and a `Cow` are copied in the server before they are sent, so their items are `Clone`;
/// other references are written from where they point.
///
/// # What is written
/// The proxy, its methods with the documentation, `#[deprecated]`, `#[must_use]`, lint levels and `#[cfg]`s of the type's;
/// `Clone`, `Debug`, `PartialEq` and `Eq` (the same object), serde's traits and `Proxy` for it; `Shared` for the type, and
/// `Construct` if there is a `new`. The proxy has no other name in it that could collide, and passes the lints of the crate
/// that it is in, `missing_docs` and `unsafe_code` too. A method is told from one of the same name in another version of
/// the program by a hash of its name, receiver, and the text of its types.
///
/// # Settings
/// On the block:
/// - `#[shared(proxy = "Remote")]`: the proxy's name instead of `CounterProxy`.
/// - `#[shared(vis = "pub(crate)")]`: who sees the proxy; otherwise it is `pub`.
/// - `#[shared(name = "counter")]`: what the type is called in messages and by clients of other languages.
/// - `#[shared(crate = path::to::procession_manager)]`: where the written code finds what it calls. Otherwise that is
///   `procession-manager` or `procession` among the dependencies of the package, also under another name.
///
/// On a method or `new`: `#[shared(skip)]` leaves it out. So are functions without `self`, and methods without `pub`.
///
/// # Errors
/// Where a method cannot be called from another process, the compiler shows the place and the remedy: `self` by value or in
/// a pointer, `async`, `unsafe`, a foreign calling convention, parameters of the method's own, `impl Trait`, `dyn Trait`,
/// `&mut` arguments and results, references inside of other arguments, patterns instead of names, more than 16 arguments, a
/// name that each proxy has (such as `clone`). The same for the block: one of a trait, a type with a lifetime, no method
/// to share, more than 255 of them.
///
/// # Crashes
/// A proxy's method returns `CallError::Disconnected` if the server has ended, and `CallError::Refused` if the method
/// panicked there.
///
/// # Python
/// `BaseManager.register` with `exposed`, `method_to_typeid` and a `proxytype`; `MakeProxyType`.
///
/// # Examples
/// ```
/// use procession_manager::{BaseManager, shared};
///
/// struct Counter(i64);
///
/// #[shared]
/// impl Counter {
///     pub fn new(start: i64) -> Self {
///         Self(start)
///     }
///
///     /// Adds to it, and returns the sum.
///     pub fn incr(&mut self, by: i64) -> i64 {
///         self.0 += by;
///         self.0
///     }
/// }
///
/// let manager = BaseManager::builder().register::<Counter>("Counter").start()?;
/// let counter: CounterProxy = manager.create::<Counter>((40,))?;
/// assert_eq!(counter.incr(2)?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// References and parameters:
/// ```
/// use procession_manager::{BaseManager, shared};
///
/// #[derive(Default)]
/// struct Table<V>(std::collections::BTreeMap<String, V>);
///
/// #[shared]
/// impl<V> Table<V> {
///     pub fn new() -> Self {
///         Self(Default::default())
///     }
///
///     pub fn insert(&mut self, key: &str, value: V) -> Option<V> {
///         self.0.insert(key.to_owned(), value)
///     }
///
///     pub fn get(&self, key: &str) -> Option<&V> {
///         self.0.get(key)
///     }
///
///     #[shared(skip)] // A function cannot be sent.
///     pub fn retain(&mut self, keep: impl Fn(&V) -> bool) {
///         self.0.retain(|_, value| keep(value));
///     }
/// }
///
/// # let _ = |mut table: Table<u32>| table.retain(|_| true);
/// let manager = BaseManager::builder().register::<Table<u32>>("Table").start()?;
/// let table: TableProxy<u32> = manager.create::<Table<u32>>(())?;
/// table.insert("a", 1)?;
/// let found: Option<u32> = table.get("a")?;
/// assert_eq!(found, Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_attribute]
pub fn shared(arguments: TokenStream, item: TokenStream) -> TokenStream {
    shared::expand(arguments.into(), item.into()).into()
}
