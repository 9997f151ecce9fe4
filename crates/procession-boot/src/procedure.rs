//! A function without arguments and without captures, as a value that goes from process to process.
//!
//! # Safety
//! A value of the function's type is made out of nothing. That is sound because a constant proves that the type has no
//! size, so there is nothing to make, and `Copy` lets values of it be repeated; whoever named it had one.

#![expect(unsafe_code, reason = "a function item is a type without data, which another process can only conjure")]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::BootError;
use crate::table::{Entry, FunctionId, function_id, resolve};

/// A function that takes nothing and returns nothing: good in every process of this image, as an argument and in messages.
///
/// # Examples
/// ```
/// use procession_boot::Procedure;
///
/// let greets = Procedure::of(|| println!("hello"))?; // Nothing is captured, which a constant checks.
/// greets.call();
/// # Ok::<_, procession_boot::BootError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Procedure {
    id: FunctionId,
    run: fn(Call),
}

/// What tells procedures from other functions in the table.
struct Call;

/// The function that stands for `F` in any process.
struct Calls<F>(PhantomData<fn() -> F>);

impl<F: Fn() + Copy + 'static> Entry for Calls<F> {
    type Input = Call;
    type Output = ();

    fn enter(_: Call) {
        let () = NoData::<F>::PROOF;
        // SAFETY: a dangling pointer is good for reading a type without size; the type is `Copy` and has values, since
        // `Procedure::of` was given one by whoever named this.
        let function = unsafe { NonNull::<F>::dangling().read() };
        function();
    }
}

/// The proof that a function's type has no data, checked when the program is built.
struct NoData<F>(PhantomData<F>);

impl<F> NoData<F> {
    const PROOF: () = assert!(
        size_of::<F>() == 0,
        "another process cannot get captured variables or a function pointer: name the function itself"
    );
}

impl Procedure {
    /// The procedure that a function is. One that captures is refused when the program is built.
    ///
    /// # Errors
    /// [`BootError::ForeignFunction`].
    pub fn of<F: Fn() + Copy + Send + 'static>(_: F) -> Result<Self, BootError> {
        let () = NoData::<F>::PROOF;
        Self::named(function_id::<Calls<F>>()?)
    }

    fn named(id: FunctionId) -> Result<Self, BootError> {
        Ok(Self { id, run: resolve::<Call, ()>(id)? })
    }

    /// Calls it.
    pub fn call(self) {
        (self.run)(Call);
    }
}

impl fmt::Debug for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Procedure").field(&self.id).finish()
    }
}

impl Serialize for Procedure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.id.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Procedure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(FunctionId::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    static CALLS: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn it_is_called_by_its_name_and_nothing_else_is() {
        let procedure = Procedure::of(|| _ = CALLS.fetch_add(1, SeqCst)).unwrap();
        procedure.call();
        Procedure::named(procedure.id).unwrap().call();
        assert_eq!(CALLS.load(SeqCst), 2);
        let other = FunctionId { offset: procedure.id.offset + 1, ..procedure.id };
        assert!(matches!(Procedure::named(other), Err(BootError::UnknownFunction(_))));
    }
}
