//! Signals: numbers, masks, dispositions, and SIGCHLD as a descriptor.
//!
//! # Safety
//! Dispositions are changed only to "default" and "ignore", or back to what the program had, never to a handler of ours,
//! so no code of ours runs in signal context; masks are plain values that the kernel copies.

#![expect(unsafe_code, reason = "rustix leaves masks and dispositions to libc")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// A signal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGINT: what Ctrl-C sends.
    pub const INT: Self = Self(libc::SIGINT);
    /// SIGTERM: a request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// SIGKILL: the end.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// SIGSTOP: every thread stops until SIGCONT or the end; nothing in the process can prevent it.
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// SIGPIPE: a write to a pipe that nobody reads.
    pub const PIPE: Self = Self(libc::SIGPIPE);
    /// SIGCHLD: a child changed state.
    pub const CHLD: Self = Self(libc::SIGCHLD);

    /// The number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}

/// What happens to a process that gets a signal, as far as it crosses an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The kernel's own action.
    Default,
    /// Nothing.
    Ignore,
}

/// What this process does with `signal`; a handler counts as the default, which is what an exec makes of it.
#[must_use]
pub fn disposition(signal: Signal) -> Disposition {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action asks only; the old one is written into memory of the right type.
    let result = unsafe { libc::sigaction(signal.0, std::ptr::null(), action.as_mut_ptr()) };
    if result != 0 {
        return Disposition::Default;
    }
    // SAFETY: the call succeeded, so it filled the structure (and it was zeroed before).
    let action = unsafe { action.assume_init() };
    if action.sa_sigaction == libc::SIG_IGN { Disposition::Ignore } else { Disposition::Default }
}

/// Makes this process ignore `signal`, or take the kernel's action; no error exists for the signals named above.
pub fn set_disposition(signal: Signal, disposition: Disposition) {
    let action = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
    };
    // SAFETY: neither action is a function, so no code of ours will run in signal context.
    unsafe { libc::signal(signal.0, action) };
}

/// What this process did with a signal: its handler, if it had one, and its flags.
#[derive(Debug)]
pub struct FormerAction(Signal, libc::sigaction);

impl FormerAction {
    /// Has the process take the kernel's action for `signal`.
    ///
    /// # Errors
    /// None for the signals named above.
    pub fn replace_by_default(signal: Signal) -> io::Result<Self> {
        // SAFETY: all-zero is a valid `sigaction`: the default action, an empty mask, no flags.
        let default: libc::sigaction = unsafe { std::mem::zeroed() };
        let mut former = default;
        // SAFETY: both are fully set and of the right type.
        let result = unsafe { libc::sigaction(signal.0, &raw const default, &raw mut former) };
        if result == 0 { Ok(Self(signal, former)) } else { Err(io::Error::last_os_error()) }
    }

    /// Has it do so again.
    pub fn restore(&self) {
        // SAFETY: the kernel wrote the action in this process, or in the one that this was forked from.
        unsafe { libc::sigaction(self.0.0, &raw const self.1, std::ptr::null_mut()) };
    }
}

/// The signals that a thread blocks, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalMask(u64);

/// Signals are numbered from 1 to this.
const SIGNAL_MAX: i32 = 64;

impl SignalMask {
    /// No signal blocked.
    pub const EMPTY: Self = Self(0);

    /// The mask whose bit `n - 1` stands for signal `n`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Bit `n - 1` stands for signal `n`.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// This mask with `signal` blocked as well.
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << (signal.0 - 1))
    }

    /// The calling thread's mask.
    #[must_use]
    pub fn current() -> Self {
        Self::exchange(None)
    }

    /// Makes this the calling thread's mask.
    pub fn install(self) {
        Self::exchange(Some(self));
    }

    /// The call behind both.
    fn exchange(new: Option<Self>) -> Self {
        let new = new.map(Self::to_set);
        let mut old = MaybeUninit::<libc::sigset_t>::zeroed();
        let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `new` is null or a valid set that outlives the call; `old` is memory of the right type.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, new, old.as_mut_ptr()) };
        // SAFETY: zeroed is an empty set already, and the call fills it.
        Self::from_set(&unsafe { old.assume_init() })
    }

    /// In libc's form.
    pub(crate) fn to_set(self) -> libc::sigset_t {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the memory is of the right type.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        for signal in (1..=SIGNAL_MAX).filter(|signal| self.0 >> (signal - 1) & 1 == 1) {
            // SAFETY: the set was initialized above; a number libc keeps for itself is refused and changes nothing.
            unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
        }
        // SAFETY: initialized above.
        unsafe { set.assume_init() }
    }

    /// From libc's form.
    fn from_set(set: &libc::sigset_t) -> Self {
        let blocked = (1..=SIGNAL_MAX).filter(|&signal| {
            // SAFETY: the set is initialized, being a reference.
            unsafe { libc::sigismember(set, signal) == 1 }
        });
        Self(blocked.fold(0, |bits, signal| bits | 1 << (signal - 1)))
    }
}

/// SIGCHLD as a descriptor: readable after a child ended. The calling thread must have the signal blocked.
#[derive(Debug)]
pub struct ChildSignals(OwnedFd);

impl ChildSignals {
    /// Opens the descriptor.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when no descriptors are left.
    pub fn new() -> io::Result<Self> {
        let set = SignalMask::EMPTY.with(Signal::CHLD).to_set();
        // SAFETY: the set is valid for the call; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the number is a new descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Forgets the signals that came so far; the caller then reaps every child that has ended.
    pub fn clear(&self) {
        // One structure per pending signal, and SIGCHLD does not queue: one read empties it.
        let mut buffer = [0; size_of::<libc::signalfd_siginfo>()];
        let _ = rustix::io::read(&self.0, &mut buffer);
    }
}

impl AsFd for ChildSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_survives_the_kernels_form() {
        let mask = SignalMask::EMPTY.with(Signal::INT).with(Signal::CHLD).with(Signal(63));
        assert_eq!(SignalMask::from_set(&mask.to_set()), mask);
    }

    #[test]
    fn an_installed_mask_is_the_current_one() {
        let before = SignalMask::current();
        let with = before.with(Signal::TERM);
        with.install();
        assert_eq!(SignalMask::current(), with);
        before.install();
    }
}
