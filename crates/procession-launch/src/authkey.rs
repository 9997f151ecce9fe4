//! The secret that the processes of one program share, and by which they know each other.
//!
//! Relies on the launcher to hand it to each child inside `Setup`. Nothing else sends it, and nothing prints it.

use std::sync::Arc;
use std::{fmt, hint, io};

use parking_lot::Mutex;
use procession_sys::random_bytes;

use crate::current::CurrentProcess;

/// How many bytes the key has that is made for a main process: as many as SHA-256 puts out, so nobody guesses it.
pub const AUTH_KEY_BYTES: usize = 32;

/// How many bytes a key may have at most. It goes with every start, and a longer one proves nothing more.
pub const AUTH_KEY_BYTES_MAX: usize = 4096;

/// A secret by which processes prove to each other that they belong together: some bytes, at least one.
///
/// `{:?}` does not show it, and it is not `Serialize`: only the launcher sends it, to a child that is being started.
/// Comparing two keys takes a time that depends on their lengths only. A copy is the same bytes in memory, and the
/// memory is not wiped when it is freed.
///
/// Python's `process.AuthenticationString`.
///
/// # Examples
/// ```
/// use procession_launch::{AuthKey, Process, current_process};
///
/// let mine = current_process().authkey();
/// let child = Process::start(|| current_process().authkey().as_bytes().to_vec(), ())?;
/// assert_eq!(AuthKey::new(child.join()?)?, mine);
/// assert_eq!(format!("{mine:?}"), "AuthKey(..)");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0277
/// use procession_launch::{AuthKey, Process, current_process};
///
/// let child = Process::start(|key: AuthKey| (), (current_process().authkey(),));
/// ```
#[derive(Clone)]
pub struct AuthKey(Arc<[u8]>);

/// Why some bytes cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthKeyError {
    /// There are none, so everybody would know the key.
    #[error("an authentication key must not be empty: give some bytes that only your processes know")]
    Empty,
    /// There are too many.
    #[error("an authentication key of {len} bytes is too long: {AUTH_KEY_BYTES_MAX} are allowed; use a hash of it")]
    TooLong {
        /// How many there are.
        len: usize,
    },
}

impl AuthKey {
    /// A key of these bytes, 1 to [`AUTH_KEY_BYTES_MAX`].
    ///
    /// # Errors
    /// [`AuthKeyError`] for none and for more.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, AuthKeyError> {
        match bytes.as_ref() {
            [] => Err(AuthKeyError::Empty),
            bytes if bytes.len() > AUTH_KEY_BYTES_MAX => Err(AuthKeyError::TooLong { len: bytes.len() }),
            bytes => Ok(Self(bytes.into())),
        }
    }

    /// The bytes themselves, for what computes with them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key that nobody else has.
    fn random() -> io::Result<Self> {
        Ok(Self(Arc::new(random_bytes::<AUTH_KEY_BYTES>()?)))
    }
}

impl PartialEq for AuthKey {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.as_bytes(), other.as_bytes());
        // Every byte is looked at, wherever the first difference is; the compiler must not see that it could stop.
        let difference = ours.iter().zip(theirs).fold(0, |seen, (a, b)| hint::black_box(seen | (a ^ b)));
        ours.len() == theirs.len() && difference == 0
    }
}

impl Eq for AuthKey {}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}

/// This process's key, once there is one. A forked child has its parent's, as every other child has.
static OWN: Mutex<Option<AuthKey>> = Mutex::new(None);

/// This process's key, made now if there is none.
pub(crate) fn own() -> io::Result<AuthKey> {
    let mut own = OWN.lock();
    match &*own {
        Some(key) => Ok(key.clone()),
        None => Ok(own.insert(AuthKey::random()?).clone()),
    }
}

/// Makes `key` this process's own, and that of the children that it starts from now on.
///
/// What was made with the old key before keeps it. Python's `current_process().authkey = key`.
///
/// # Examples
/// ```
/// use procession_launch::{AuthKey, current_process, set_authkey};
///
/// set_authkey(AuthKey::new("what both of two programs read from a file")?);
/// assert_eq!(current_process().authkey().as_bytes().len(), 42);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn set_authkey(key: AuthKey) {
    *OWN.lock() = Some(key);
}

impl CurrentProcess {
    /// The key by which this process and its relatives know each other: its parent's when it was started, or for a main
    /// process [`AUTH_KEY_BYTES`] bytes of the kernel's random numbers, made when first needed, unless
    /// [`set_authkey`] has set another.
    ///
    /// Python's `current_process().authkey`.
    ///
    /// # Panics
    /// When the system gives no random bytes (getrandom(2) is forbidden).
    #[must_use]
    pub fn authkey(&self) -> AuthKey {
        own().unwrap_or_else(|error| panic!("cannot make an authentication key: no random bytes: {error}"))
    }
}

/// How a key travels inside `Setup`, and nowhere else.
pub(crate) mod in_setup {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::AuthKey;

    pub(crate) fn serialize<S: Serializer>(key: &AuthKey, serializer: S) -> Result<S::Ok, S::Error> {
        key.as_bytes().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AuthKey, D::Error> {
        AuthKey::new(Vec::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_at_least_one_byte_and_at_most_the_limit() {
        assert_eq!(AuthKey::new(""), Err(AuthKeyError::Empty));
        assert_eq!(AuthKey::new([1]).unwrap().as_bytes(), [1]);
        let longest = vec![0; AUTH_KEY_BYTES_MAX];
        assert_eq!(AuthKey::new(&longest).unwrap().as_bytes(), longest);
        let too_long = AuthKey::new(vec![0; AUTH_KEY_BYTES_MAX + 1]);
        assert_eq!(too_long, Err(AuthKeyError::TooLong { len: AUTH_KEY_BYTES_MAX + 1 }));
    }

    #[test]
    fn keys_are_equal_when_all_their_bytes_are() {
        let key = |text: &str| AuthKey::new(text).unwrap();
        assert_eq!(key("secret"), key("secret"));
        for other in ["Secret", "secreT", "secre", "secrets", "x"] {
            assert_ne!(key("secret"), key(other), "{other}");
            assert_ne!(key(other), key("secret"), "{other}");
        }
    }

    #[test]
    fn a_random_key_is_not_the_one_before() {
        let (one, other) = (AuthKey::random().unwrap(), AuthKey::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_bytes().len(), AUTH_KEY_BYTES);
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let key = AuthKey::new("secret").unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "AuthKey(..) AuthKey(..)");
    }
}
