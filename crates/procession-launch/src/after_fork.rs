//! What libraries do in a child that was forked from a process that they were used in.

use parking_lot::Mutex;

/// The hooks of this process, and of the one that it was forked from.
static HOOKS: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

/// Runs `hook` in every child that this process forks from now on, before its target: those of
/// [`StartMethod::Fork`](crate::StartMethod::Fork), and what a preloaded function registers in a forkserver, in all
/// children of that server. Spawned children begin without memory of this process and without its hooks.
///
/// Hooks run in the order in which they were registered, one after the other, once in each child. A function that is
/// registered again is not run twice, so generations of children do not add up. One that panics is reported on standard
/// error, and the next one runs.
///
/// Python's `multiprocessing.util.register_after_fork`.
///
/// # Examples
/// ```
/// use procession_launch::register_after_fork;
///
/// fn forget_connections() { /* They are the parent's. */ }
///
/// register_after_fork(forget_connections);
/// ```
pub fn register_after_fork(hook: fn()) {
    let mut hooks = HOOKS.lock();
    if !hooks.iter().any(|known| std::ptr::fn_addr_eq(*known, hook)) {
        hooks.push(hook);
    }
}

/// Runs the hooks that this process has from the one that it was forked from. A process that was executed has none.
pub(crate) fn run_hooks() {
    let hooks = HOOKS.lock().clone();
    for hook in hooks {
        // What panics has said so by the panic hook.
        let _ = std::panic::catch_unwind(hook);
    }
}
