//! Methods with qualifiers, attributes and names of every kind.

use procession_manager::shared;
use serde::{Deserialize, Serialize};

/// A value of which others may be arguments and results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kinds {
    sum: u32,
}

/// Something that nobody should use any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[deprecated]
pub(crate) struct Old;

#[shared(proxy = "KindsProxy", vis = "pub(crate)")]
impl Kinds {
    /// How long arrays are.
    pub(crate) const LEN: usize = 3;

    #[cfg(unix)]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[cfg(any())]
    pub(crate) fn new(missing: Missing) -> Self {
        Self::default()
    }

    /// One whose name is a word of the language, and arguments that are.
    pub(crate) fn r#type(&mut self, r#in: u32, mut r#fn: u32) -> u32 {
        r#fn += 1;
        self.sum += r#in + r#fn;
        self.sum
    }

    #[cfg(unix)]
    pub(crate) fn configured_in(&self) -> bool {
        true
    }

    #[cfg(any())]
    pub(crate) fn configured_out(&self, missing: Missing) -> bool {
        false
    }

    #[cfg_attr(unix, must_use, doc = "Documented.")]
    pub(crate) const fn constant(&self) -> u32 {
        self.sum
    }

    #[deprecated = "there is a better one"]
    pub(crate) fn deprecated(&self) -> u32 {
        1
    }

    #[must_use = "this is why it is called"]
    pub(crate) fn to_be_used(&self) -> u32 {
        2
    }

    #[expect(clippy::too_many_arguments, reason = "the proxy has as many")]
    #[rustfmt::skip]
    pub(crate) fn many(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8) -> u8 {
        a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p
    }

    #[expect(clippy::needless_arbitrary_self_type, reason = "some write it so")]
    pub(crate) fn typed_receiver(self: &Self) -> u32 {
        self.sum
    }

    #[expect(clippy::needless_arbitrary_self_type, reason = "some write it so")]
    pub(crate) fn typed_receiver_to_change(self: &mut Self, to: u32) {
        self.sum = to;
    }

    pub(crate) fn merge(&mut self, other: &Self, more: Vec<Self>, array: [u8; Self::LEN]) -> Option<Self> {
        let before = self.clone();
        self.sum += other.sum + more.iter().map(|kinds| kinds.sum).sum::<u32>();
        self.sum += array.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        Some(before)
    }

    #[expect(deprecated, reason = "the proxy's method mentions it too")]
    pub(crate) fn old(&self, old: Old) -> Old {
        old
    }

    pub(crate) fn nothing(&self) {}
}

/// Calls all of them.
pub(crate) fn check(proxy: &KindsProxy) {
    assert_eq!(proxy.r#type(1, 2).unwrap(), 4);
    assert!(proxy.configured_in().unwrap());
    assert_eq!((proxy.constant().unwrap(), proxy.typed_receiver().unwrap()), (4, 4));
    #[expect(deprecated, reason = "the proxy's method is, as the type's")]
    let deprecated = proxy.deprecated().unwrap();
    assert_eq!((deprecated, proxy.to_be_used().unwrap()), (1, 2));
    assert_eq!(proxy.many(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1).unwrap(), 16);
    proxy.typed_receiver_to_change(10).unwrap();
    let other = Kinds { sum: 5 };
    assert_eq!(proxy.merge(&other, vec![other.clone()], [1, 2, 3]).unwrap(), Some(Kinds { sum: 10 }));
    assert_eq!(proxy.constant().unwrap(), 26);
    #[expect(deprecated, reason = "the case is about it")]
    let old = proxy.old(Old).unwrap();
    #[expect(deprecated, reason = "the case is about it")]
    let expected = Old;
    assert_eq!(old, expected);
    let () = proxy.nothing().unwrap();
}
