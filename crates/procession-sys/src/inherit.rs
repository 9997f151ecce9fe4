//! What a process hands down to a child that the kernel did not make from it: umask, limits, affinity, signal mask.
//!
//! # Safety
//! The calls here read or set plain numbers of the calling process; each buffer is a local of the right type.

#![expect(unsafe_code, reason = "rustix names each limit; copying all of them by number needs libc")]

use std::io;

use crate::SignalMask;

/// How many kinds of limits Linux has (`RLIM_NLIMITS`).
pub(crate) const LIMIT_KINDS: usize = 16;

/// Words of 64 processors each that an affinity is copied in: 4,096 processors.
pub(crate) const AFFINITY_WORDS: usize = 64;

/// How many words precede the affinity in [`Inherited::to_words`].
const HEAD_WORDS: usize = 2 + 2 * LIMIT_KINDS;

/// The settings of the calling thread and its process that a fork would have handed down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// The file mode creation mask.
    umask: u32,
    /// The calling thread's blocked signals.
    mask: SignalMask,
    /// Soft and hard limit of each kind.
    limits: [[u64; 2]; LIMIT_KINDS],
    /// One bit per processor, without trailing zero words.
    affinity: Vec<u64>,
}

impl Inherited {
    /// Reads the calling thread's settings.
    ///
    /// # Errors
    /// `ENOENT` when `/proc` is not mounted: the umask can be asked for nowhere else without changing it.
    pub fn capture() -> io::Result<Self> {
        let mut limits = [[0; 2]; LIMIT_KINDS];
        for (kind, pair) in limits.iter_mut().enumerate() {
            *pair = limit(kind)?;
        }
        Ok(Self { umask: umask()?, mask: SignalMask::current(), limits, affinity: affinity(0)? })
    }

    /// Makes them the calling process's, which has one thread. Only what differs is set, so a filter that forbids
    /// a call matters only to who needs it.
    ///
    /// # Errors
    /// `EPERM` for a hard limit above this process's own, `EINVAL` when none of the processors exist.
    pub fn apply(&self) -> io::Result<()> {
        let umask = rustix::fs::Mode::from_raw_mode(self.umask);
        rustix::process::umask(umask);
        for (kind, &wanted) in self.limits.iter().enumerate() {
            if limit(kind)? != wanted {
                set_limit(kind, wanted)?;
            }
        }
        if affinity(0)? != self.affinity {
            set_affinity(0, &self.affinity)?;
        }
        self.mask.install();
        Ok(())
    }

    /// As plain numbers, for a message.
    #[must_use]
    pub fn to_words(&self) -> Vec<u64> {
        let mut words = vec![u64::from(self.umask), self.mask.bits()];
        words.extend(self.limits.iter().flatten());
        words.extend(&self.affinity);
        words
    }

    /// From [`Inherited::to_words`]; `None` for anything else.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Option<Self> {
        let (head, affinity) = words.split_at_checked(HEAD_WORDS)?;
        if affinity.len() > AFFINITY_WORDS {
            return None;
        }
        let (&[umask, mask], limits) = head.split_first_chunk()?;
        let (limits, _) = limits.as_chunks::<2>();
        Some(Self {
            umask: u32::try_from(umask).ok()?,
            mask: SignalMask::from_bits(mask),
            limits: limits.try_into().ok()?,
            affinity: affinity.to_vec(),
        })
    }
}

/// Raises this process's limit of open files as far as it may, and returns the soft and hard limit that it had.
///
/// # Errors
/// None for a process that may read its own limits.
pub fn raise_file_limit() -> io::Result<[u64; 2]> {
    let [soft, hard] = limit(libc::RLIMIT_NOFILE as usize)?;
    set_file_limit([hard, hard])?;
    Ok([soft, hard])
}

/// Sets this process's soft and hard limit of open files.
///
/// # Errors
/// `EPERM` for a hard limit above the present one.
pub fn set_file_limit(limits: [u64; 2]) -> io::Result<()> {
    set_limit(libc::RLIMIT_NOFILE as usize, limits)
}

/// The umask, from the only place that tells without changing it for a moment under the feet of other threads.
fn umask() -> io::Result<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Soft and hard limit of a kind.
fn limit(kind: usize) -> io::Result<[u64; 2]> {
    let mut pair = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a null new limit asks only, and the old one is written into a local of the right type.
    let result = unsafe { libc::prlimit64(0, kind as _, std::ptr::null(), &raw mut pair) };
    if result == 0 { Ok([pair.rlim_cur, pair.rlim_max]) } else { Err(io::Error::last_os_error()) }
}

/// Sets the limit of a kind for this process.
pub(crate) fn set_limit(kind: usize, [rlim_cur, rlim_max]: [u64; 2]) -> io::Result<()> {
    let pair = libc::rlimit64 { rlim_cur, rlim_max };
    // SAFETY: the new limit is a local of the right type; the old one is not asked for.
    let result = unsafe { libc::prlimit64(0, kind as _, &raw const pair, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A thread's processors, one bit each; 0 is the calling thread.
pub(crate) fn affinity(thread: i32) -> io::Result<Vec<u64>> {
    let mut words = [0_u64; AFFINITY_WORDS];
    // SAFETY: the kernel writes at most the size given, into a local of that size.
    let written =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread, size_of_val(&words), words.as_mut_ptr()) };
    if written < 0 {
        return Err(io::Error::last_os_error());
    }
    let used = words.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
    Ok(words[..used].to_vec())
}

/// Restricts a thread to these processors; 0 is the calling thread.
pub(crate) fn set_affinity(thread: i32, words: &[u64]) -> io::Result<()> {
    // SAFETY: the kernel reads the size given from a slice of that size.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, thread, size_of_val(words), words.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_captured_survives_a_message() {
        let inherited = Inherited::capture().unwrap();
        assert_eq!(Inherited::from_words(&inherited.to_words()), Some(inherited));
    }

    #[test]
    fn words_of_the_wrong_number_are_refused() {
        assert_eq!(Inherited::from_words(&[]), None);
        assert_eq!(Inherited::from_words(&[0; HEAD_WORDS - 1]), None);
        assert_eq!(Inherited::from_words(&[0; HEAD_WORDS + AFFINITY_WORDS + 1]), None);
    }
}
