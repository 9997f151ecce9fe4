//! The calling thread's number, without asking the kernel each time.
//!
//! # Safety
//! The hook runs in a process that was just forked, in its only thread, and writes to one local of that thread, which has
//! neither initializer nor destructor.

#![expect(unsafe_code, reason = "is called by libc's fork")]

use std::cell::Cell;
use std::sync::Once;

use crate::on_fork;

thread_local! {
    /// Zero when it is not known.
    static NUMBER: Cell<u32> = const { Cell::new(0) };
}

/// Threads have numbers below this, on every Linux: `PID_MAX_LIMIT` of the kernel, 2²².
pub const THREAD_IDS_END: u32 = 1 << 22;

/// The calling thread's number, as `ps -L` shows it; never zero. gettid(2).
#[inline]
#[must_use]
pub fn thread_id() -> u32 {
    match NUMBER.get() {
        0 => ask(),
        number => number,
    }
}

#[cold]
fn ask() -> u32 {
    static HOOKED: Once = Once::new();
    let mut forgets = true;
    HOOKED.call_once(|| {
        // SAFETY: the hook is async-signal-safe (see the top of this file).
        forgets = unsafe { on_fork(forget) }.is_ok();
    });
    let number = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
    if forgets {
        NUMBER.set(number);
    }
    number
}

/// In the child, whose thread has another number.
unsafe extern "C" fn forget() {
    NUMBER.set(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own() {
        let own = thread_id();
        assert_eq!(own, thread_id());
        assert!(own > 0 && own < THREAD_IDS_END);
        let other = std::thread::spawn(|| (thread_id(), rustix::thread::gettid())).join().unwrap();
        assert_eq!(other.0, other.1.as_raw_nonzero().get().unsigned_abs());
        assert_ne!(own, other.0);
    }
}
