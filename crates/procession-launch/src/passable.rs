//! What may be an argument or a result: anything that serde can take apart and put together again.

use procession_sys::SharedMap;
use procession_wire::bulk::RawNumbers;
use procession_wire::{DecodeError, Decoder, EncodeError, Encoder};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that can be passed to a child or come back from one: `Serialize + DeserializeOwned`, with no borrows.
///
/// Every such type has it; there is nothing to implement. Handles of this project (and files, through
/// `#[serde(with = "procession::fd")]`) are such types as well.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross a process boundary",
    label = "not `Serialize + DeserializeOwned + 'static`",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; an error type without serde converts into \
            `procession::Fault` with `?`; pass owned values instead of references",
    note = "a target that never returns is written with a result: `|| -> () {{ .. }}`"
)]
pub trait Passable: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend] // The note above says more than a list of what has serde.
impl<T: Serialize + DeserializeOwned + 'static> Passable for T {}

/// A tuple of up to eight [`Passable`] values: the arguments of a [`Target`](crate::Target).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tuple of up to eight arguments",
    label = "expected a tuple such as `(a, b)`; for one argument write `(a,)`, for none `()`"
)]
pub trait Arguments: Sized + 'static {
    /// Writes them, one value after the other.
    #[doc(hidden)]
    fn encode(&self, encoder: &mut Encoder) -> Result<(), EncodeError>;

    /// Reads them.
    #[doc(hidden)]
    fn decode(decoder: &mut Decoder) -> Result<Self, DecodeError>;

    /// Numbers of so many bytes at least, if that is all there is: they need not be copied to be sent.
    #[doc(hidden)]
    fn into_raw(self, _: usize) -> Result<RawNumbers, Self> {
        Err(self)
    }

    /// The same from so many bytes at the beginning of shared memory; `None` for what is not sent so.
    #[doc(hidden)]
    #[must_use]
    fn of_shared(_: &SharedMap, _: usize) -> Option<Result<Self, DecodeError>> {
        None
    }

    /// And from these bytes.
    #[doc(hidden)]
    #[must_use]
    fn of_raw(_: &[u8]) -> Option<Result<Self, DecodeError>> {
        None
    }

    /// How many bytes one number has, if that is all there is.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    fn number_width() -> Option<usize> {
        None
    }

    /// The memory of that number,
    #[doc(hidden)]
    #[inline]
    fn number(&self) -> Option<&[u8]> {
        None
    }

    /// and the number with that memory.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    fn of_number(_: &[u8]) -> Option<Self> {
        None
    }
}

macro_rules! arguments {
    ($($name:ident)* $(; $more:item)*) => {
        impl<$($name: Passable),*> Arguments for ($($name,)*) {
            $(#[inline] $more)*

            fn encode(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
                let ($($name,)*) = self;
                $(encoder.value($name)?;)*
                let _ = encoder;
                Ok(())
            }

            fn decode(decoder: &mut Decoder) -> Result<Self, DecodeError> {
                let _ = &decoder;
                Ok(($(decoder.value::<$name>()?,)*))
            }
        }
    };
}

#[expect(non_snake_case, reason = "each variable is named like its type")]
mod arities {
    use procession_wire::bulk;

    use super::{Arguments, DecodeError, Decoder, EncodeError, Encoder, Passable, RawNumbers, SharedMap};

    arguments!();
    arguments!(
        A;
        fn into_raw(self, least: usize) -> Result<RawNumbers, Self> {
            RawNumbers::of(self.0, least).map_err(|value| (value,))
        };
        fn of_shared(map: &SharedMap, bytes: usize) -> Option<Result<Self, DecodeError>> {
            bulk::copied_from(map, 0, bytes).map(|value| value.map(|value| (value,)))
        };
        fn of_raw(bytes: &[u8]) -> Option<Result<Self, DecodeError>> {
            bulk::copied_of(bytes).map(|value| value.map(|value| (value,)))
        };
        fn number_width() -> Option<usize> {
            bulk::is_number::<A>().then(size_of::<A>)
        };
        fn number(&self) -> Option<&[u8]> {
            bulk::number_bytes(&self.0)
        };
        fn of_number(bytes: &[u8]) -> Option<Self> {
            bulk::number_from(bytes).map(|number| (number,))
        }
    );
    arguments!(A B);
    arguments!(A B C);
    arguments!(A B C D);
    arguments!(A B C D E);
    arguments!(A B C D E F);
    arguments!(A B C D E F G);
    arguments!(A B C D E F G H);
}
