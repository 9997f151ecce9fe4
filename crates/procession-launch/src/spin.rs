//! Waiting awake for a moment: what is about to come is taken sooner, and whoever sends it need not wake anybody.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::context::cpu_count;

/// How long a thread that waits for a child stays awake before it sleeps: about what a forkserver's child takes from its request to
/// its end. It gives way to whoever else wants the processor.
pub(crate) const CHILD_TIME: Duration = Duration::from_micros(300);

/// Asks again and again, for this time, whether something has come; tells whether it has. Where there is one processor
/// only, nothing can come meanwhile, and it asks once.
pub(crate) fn spin(time: Duration, mut has_come: impl FnMut() -> bool) -> bool {
    static IS_ALONE: OnceLock<bool> = OnceLock::new();
    if *IS_ALONE.get_or_init(|| cpu_count() == 1) {
        return has_come();
    }
    let began = Instant::now();
    while began.elapsed() < time {
        if has_come() {
            return true;
        }
        thread::yield_now();
    }
    false
}
