//! Bequests: a few bytes under a key, which whoever starts a process hands down to it.
//!
//! Relies on the launcher to send [`bequests`] to each child that it starts, and on the child to call [`inherit`] before
//! anything of the program runs. A forked copy has them in its memory.

use std::sync::{Mutex, PoisonError};

/// How many bytes all bequests together may have, keys included. They go with every start, which is to stay fast.
pub const BEQUESTS_BYTES_MAX: usize = 1024;

/// A key and its bytes.
pub type Bequest = (String, Vec<u8>);

static OWN: Mutex<Vec<Bequest>> = Mutex::new(Vec::new());

/// Leaves `bytes` to the children that this process starts from now on, and through them to theirs, in place of what
/// was left under the same key before. False, and nothing is changed, when all together would have more than
/// [`BEQUESTS_BYTES_MAX`] bytes.
///
/// ```
/// use procession_boot::{bequeath, bequest};
///
/// assert!(bequeath("example/address", b"1234"));
/// assert_eq!(bequest("example/address").as_deref(), Some(&b"1234"[..]));
/// ```
#[must_use]
pub fn bequeath(key: &str, bytes: &[u8]) -> bool {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let others: usize = own.iter().filter(|(known, _)| known != key).map(size).sum();
    if others + key.len() + bytes.len() > BEQUESTS_BYTES_MAX {
        return false;
    }
    own.retain(|(known, _)| known != key);
    own.push((key.to_owned(), bytes.to_vec()));
    true
}

/// What this process, or one that it descends from, has left under `key`.
#[must_use]
pub fn bequest(key: &str) -> Option<Vec<u8>> {
    let own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    own.iter().find(|(known, _)| known == key).map(|(_, bytes)| bytes.clone())
}

/// All of them, for whoever starts a process.
#[must_use]
pub fn bequests() -> Vec<Bequest> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Takes over what the parent has sent, in place of what this process had under the same keys. What is too much is left
/// out.
pub fn inherit(bequests: &[Bequest]) {
    for (key, bytes) in bequests {
        let _ = bequeath(key, bytes);
    }
}

fn size((key, bytes): &Bequest) -> usize {
    key.len() + bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_bounded_and_replaced_by_key() {
        assert_eq!(bequest("k"), None);
        assert!(bequeath("k", b"1"));
        assert!(bequeath("k", &[2; BEQUESTS_BYTES_MAX - 1]));
        assert!(!bequeath("l", b""));
        assert!(!bequeath("k", &[3; BEQUESTS_BYTES_MAX]));
        assert_eq!(bequests(), [("k".to_owned(), vec![2; BEQUESTS_BYTES_MAX - 1])]);
        inherit(&[("k".into(), b"4".to_vec()), ("a".into(), b"b".to_vec()), ("c".into(), vec![0; BEQUESTS_BYTES_MAX])]);
        assert_eq!(bequests(), [("k".to_owned(), b"4".to_vec()), ("a".to_owned(), b"b".to_vec())]);
    }
}
