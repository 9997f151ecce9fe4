//! The report of a stack overflow, for processes that begin before std installs its own.
//!
//! # Safety
//! The handler runs in signal context on a stack of its own. It reads two statics, calls `write`, `signal` and
//! `raise` (all async-signal-safe, signal-safety(7)) and nothing else.

#![expect(unsafe_code, reason = "installs a signal handler with a stack of its own")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The handler's stack: more than the largest processor state any machine saves on it.
const HANDLER_STACK_BYTES: usize = 64 << 10;

/// How far below the stack's limit a first touch may land: the kernel's guard gap and one large frame.
const OVERSHOOT_BYTES: usize = 4 << 20;

/// What counts as the stack where it has no limit.
const UNLIMITED_BYTES: usize = 1 << 30;

/// What std's own handler says in a process that std started.
const REPORT: &[u8] = b"\nthread 'main' has overflowed its stack\n";

static STACK_TOP: AtomicUsize = AtomicUsize::new(0);
static STACK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Makes an overflow of the main thread's stack say so on standard error before the process aborts.
///
/// `top` is an address near the top of that stack. Any other fault keeps the kernel's action.
///
/// # Errors
/// `ENOMEM`, and what `sigaltstack` and `sigaction` say.
pub fn report_stack_overflow(top: usize) -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
    let bytes = limit.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(UNLIMITED_BYTES);
    STACK_BYTES.store(bytes, Ordering::Relaxed);
    STACK_TOP.store(top, Ordering::Relaxed);
    install_stack()?;
    install_handler(libc::SIGSEGV)?;
    install_handler(libc::SIGBUS)
}

/// Gives the calling thread a second stack, for the handler. It stays as long as the process.
fn install_stack() -> io::Result<()> {
    let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
    // SAFETY: a new private mapping at an address of the kernel's choice touches no memory in use.
    let base = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            HANDLER_STACK_BYTES,
            protection,
            rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::NORESERVE,
        )
    }?;
    let stack = libc::stack_t { ss_sp: base, ss_flags: 0, ss_size: HANDLER_STACK_BYTES };
    // SAFETY: the stack is mapped, unused by anything else, and never unmapped.
    let result = unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Enters [`on_fault`] for a signal that nobody handles yet.
fn install_handler(signal: libc::c_int) -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    // SAFETY: all-zero is a valid `sigaction` (default action, empty mask).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the action is fully set; the handler is async-signal-safe (see the top of this file).
    let result = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A fault in the main thread's stack is reported; every fault then takes the kernel's action.
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid record to a handler with SA_SIGINFO.
    let info = unsafe { &*info };
    // SAFETY: for SIGSEGV and SIGBUS the record holds an address.
    let address = unsafe { info.si_addr() } as usize;
    let top = STACK_TOP.load(Ordering::Relaxed);
    let end = top.saturating_sub(STACK_BYTES.load(Ordering::Relaxed)).saturating_sub(OVERSHOOT_BYTES);
    let action = if (end..top).contains(&address) {
        // SAFETY: writes a static; that it may fail is nobody's concern any more.
        unsafe { libc::write(libc::STDERR_FILENO, REPORT.as_ptr().cast(), REPORT.len()) };
        libc::SIGABRT
    } else {
        signal
    };
    // SAFETY: takes numbers only. Back to the kernel's action for what follows.
    unsafe { libc::signal(action, libc::SIG_DFL) };
    if action == libc::SIGABRT {
        // SAFETY: takes a number only; the process ends here.
        unsafe { libc::raise(libc::SIGABRT) };
    }
    // Returning repeats the faulting instruction, now with the kernel's action.
}
