//! What may be shared, in a crate that forbids unsafe code and warnings.

#![forbid(unsafe_code)]
#![deny(warnings, clippy::pedantic, missing_docs, unused_qualifications, unreachable_pub)]

use procession_shm::{Shareable, SharedArray};

/// An enum.
#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(i8)]
pub enum Sign {
    /// Below zero.
    Minus = -1,
    /// Above.
    Plus = 1,
}

/// A generic struct, in which nothing is in the way of the names that derived code uses.
#[derive(Clone, Copy, Debug, PartialEq, Shareable)]
#[repr(C)]
pub struct Pair<End: Copy, const N: usize = 2>
where
    End: PartialEq,
{
    /// A field whose name is a keyword.
    pub r#type: [End; N],
    bytes: [End; N],
}

/// What a user has under the names that derived code uses is another thing.
pub trait Misleading {
    /// Not what the trait is asked.
    const ANY_BITS: bool = true;
    /// Nor this.
    fn contains(&self, _: &i8) -> bool {
        true
    }
}

impl<T> Misleading for T {}

impl Sign {
    /// No signature.
    pub const SIGNATURE: u64 = 0;

    /// Not what the trait is asked either.
    #[must_use]
    pub fn is_valid(_: &[u8]) -> bool {
        true
    }
}

fn main() {
    #[derive(Clone, Copy, Debug, PartialEq, Shareable)]
    #[repr(transparent)]
    struct Local(Sign);

    #[derive(Clone, Copy, Shareable)]
    #[repr(C)]
    struct Name {
        text: [u8; Self::BYTES],
    }
    impl Name {
        const BYTES: usize = 16;
    }
    assert_eq!(SharedArray::<Name>::zeroed(1).unwrap().get(0).unwrap().text, [0; 16]);

    let pair = Pair { r#type: [Local(Sign::Plus); 2], bytes: [Local(Sign::Minus); 2] };
    let pairs = SharedArray::from_slice(&[pair]).unwrap();
    assert_eq!(pairs.get(0).unwrap(), pair);
    assert!(SharedArray::<Local>::zeroed(1).is_err());
    assert!(SharedArray::<Sign>::zeroed(1).is_err());
    assert!([0; 1].contains(&5) && Sign::is_valid(&[]) && <Sign as Misleading>::ANY_BITS && Sign::SIGNATURE == 0);
}
