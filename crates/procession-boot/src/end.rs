//! What is done last at a normal end of a process, after everything else that libc calls then.
//!
//! Relies on libc to call exit handlers newest first: ours is registered by the constructor, before all others. A forked
//! child may leave out the handlers that it has inherited, so it registers its own.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use procession_sys::{at_exit, pid};

static HOOK: OnceLock<fn()> = OnceLock::new();

/// The process that has registered our handler last.
static PREPARED: AtomicU32 = AtomicU32::new(0);

/// To be called before anybody else registers a handler. If it fails, [`at_very_end`] tries again.
pub(crate) fn prepare() {
    if PREPARED.load(Ordering::Relaxed) != pid() && at_exit(run).is_ok() {
        PREPARED.store(pid(), Ordering::Relaxed);
    }
}

/// Has `hook` called at a normal end of this process (`main` or a child's target returns, or `exit` is called), after
/// exit hooks and children. There is one such hook in a program.
///
/// A forked child has the hook as well, but is sure to run it only if it has called this, too. Where the constructor has
/// not run, as in a shared object that another program has loaded, the hook is called among the other exit handlers.
///
/// # Errors
/// `ENOMEM`; `AlreadyExists` when there is another hook.
pub fn at_very_end(hook: fn()) -> io::Result<()> {
    if !std::ptr::fn_addr_eq(*HOOK.get_or_init(|| hook), hook) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    prepare();
    if PREPARED.load(Ordering::Relaxed) == pid() { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
}

extern "C" fn run() {
    if let Some(hook) = HOOK.get() {
        hook();
    }
}
