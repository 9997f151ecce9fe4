//! What may run in a child: functions, methods, and closures that capture nothing.
//!
//! # Safety
//! A child makes its own value of the function's type out of nothing. That is sound because a constant proves that
//! the type has no size, so there is nothing to make, and `Copy` lets values of it be repeated; the parent had one,
//! so the type has values.

#![expect(unsafe_code, reason = "a function item is a type without data, which another process can only conjure")]

use std::marker::PhantomData;
use std::ptr::NonNull;

use procession_boot::{BootError, Entry, FunctionId, function_id};
use procession_wire::{Decoder, Encoder, Message};

use crate::passable::{Arguments, Passable};
use crate::protocol::Report;

/// A function or closure without captured values of its own, as far as its type tells: a `Copy` one. What it captures
/// by copy has a size, which a constant refuses when the program is built.
#[diagnostic::on_unimplemented(
    message = "a closure that captures variables cannot run in a child process",
    label = "captures a variable of this process",
    note = "pass the value as an argument instead: `Process::start(|value| .., (value,))`"
)]
pub trait Captureless: Copy + Send + 'static {}

#[diagnostic::do_not_recommend] // "Not `Copy`" is true, and helps nobody.
impl<F: Copy + Send + 'static> Captureless for F {}

/// A function that a child can run: any `fn` item, method or closure without captures, generic or not, that takes
/// the values of the tuple `A` one by one.
///
/// Python's `target=`; "subclassing `Process`" is a method as the target.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run in a child process with the arguments `{A}`",
    label = "needs a function or a capture-free closure that takes just these values",
    note = "a closure that captures variables is refused: pass their values as arguments, \
            `Process::start(|value| .., (value,))`",
    note = "its arguments and its result must be `Passable`"
)]
pub trait Target<A>: Captureless {
    /// What it returns.
    type Output: Passable;

    /// Calls it.
    #[doc(hidden)]
    fn call(self, arguments: A) -> Self::Output;
}

macro_rules! target {
    ($($name:ident)*) => {
        impl<Func, Output, $($name),*> Target<($($name,)*)> for Func
        where
            Func: Fn($($name),*) -> Output + Captureless,
            Output: Passable,
        {
            type Output = Output;

            fn call(self, ($($name,)*): ($($name,)*)) -> Output {
                self($($name),*)
            }
        }
    };
}

#[expect(non_snake_case, reason = "each variable is named like its type")]
mod arities {
    use super::{Captureless, Passable, Target};

    target!();
    target!(A);
    target!(A B);
    target!(A B C);
    target!(A B C D);
    target!(A B C D E);
    target!(A B C D E F);
    target!(A B C D E F G);
    target!(A B C D E F G H);
}

/// What is done with a function in another process: decodes arguments, calls it, encodes what it returns.
///
/// Not for users: whoever runs functions elsewhere has a way of its own to be told which, and where results go.
pub trait Caller<F, A>: 'static {
    /// What the other process has.
    type Input: 'static;
    /// What becomes of it.
    type Output: 'static;

    /// Does it, in the other process.
    fn call(function: F, input: Self::Input) -> Self::Output;
}

/// The function that stands for `C` with `F` and `A` in any process of this image.
struct Trampoline<C, F, A>(PhantomData<fn(C, F, A)>);

impl<C: Caller<F, A>, F: Target<A>, A: Arguments> Entry for Trampoline<C, F, A> {
    type Input = C::Input;
    type Output = C::Output;

    fn enter(input: C::Input) -> C::Output {
        C::call(conjure::<F>(), input)
    }
}

/// The name of what `C` does with a function, for another process of this image. Refuses at build time what captures.
///
/// # Errors
/// [`BootError::ForeignFunction`].
pub fn name_call<C: Caller<F, A>, F: Target<A>, A: Arguments>(_: F) -> Result<FunctionId, BootError> {
    let () = NoData::<F>::PROOF;
    function_id::<Trampoline<C, F, A>>()
}

/// Calls a child's target, once.
struct Once;

impl<F: Target<A>, A: Arguments> Caller<F, A> for Once {
    type Input = Decoder;
    type Output = Result<Message, Report>;

    fn call(function: F, mut decoder: Decoder) -> Result<Message, Report> {
        let arguments = A::decode(&mut decoder).and_then(|arguments| decoder.finish().map(|()| arguments));
        let arguments = arguments.map_err(|error| Report::BadArguments(error.to_string()))?;
        let output = procession_calls_target(function, arguments);
        returned(&output).map_err(|error| Report::BadResult(error.to_string()))
    }
}

/// Calls the target. Its name marks the place in a backtrace below which nothing is the target's own; in a release
/// build a frame may have nothing but the name, and no path.
#[inline(never)]
pub fn procession_calls_target<F: Target<A>, A>(target: F, arguments: A) -> F::Output {
    let output = target.call(arguments);
    std::hint::black_box(()); // Keeps the call from becoming a jump, which would leave no frame.
    output
}

/// Calls a closure that a copy of this process has in its memory.
pub(crate) fn call_closure<R: Passable>(closure: impl FnOnce() -> R) -> Result<Message, Report> {
    let output = procession_calls_target_closure(closure);
    returned(&output).map_err(|error| Report::BadResult(error.to_string()))
}

/// As [`procession_calls_target`].
#[inline(never)]
fn procession_calls_target_closure<R>(closure: impl FnOnce() -> R) -> R {
    let output = closure();
    std::hint::black_box(());
    output
}

/// The report that carries a result.
fn returned<T: Passable>(output: &T) -> Result<Message, procession_wire::EncodeError> {
    let mut encoder = Encoder::new();
    encoder.value(&Report::Returned)?;
    encoder.value(output)?;
    Ok(encoder.finish())
}

/// The proof that a function's type has no data, checked when the program is built.
struct NoData<F>(PhantomData<F>);

impl<F> NoData<F> {
    const PROOF: () = assert!(
        size_of::<F>() == 0,
        "a child process cannot get captured variables or a function pointer: name the function itself, \
         and pass captured values as arguments"
    );
}

/// The name of `F` called with `A` as a child's target.
pub(crate) fn name_target<F: Target<A>, A: Arguments>(function: F) -> Result<FunctionId, BootError> {
    name_call::<Once, F, A>(function)
}

/// A value of a type that has no data.
pub(crate) fn conjure<F: Copy>() -> F {
    let () = NoData::<F>::PROOF;
    // SAFETY: a dangling pointer is good for reading a type without size; the type is `Copy` and has values, since
    // `name_call` was given one by whoever named this trampoline.
    unsafe { NonNull::<F>::dangling().read() }
}
