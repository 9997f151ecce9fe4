//! The children of this process: listed until they are reaped, dealt with when this process ends.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use procession_sys::{Deadline, pid};

use crate::child::{Child, Listed};
use crate::{ends, forkserver, pump};

/// How long a daemon child has to end after its SIGTERM at this process's normal end. Then the kernel ends it, with
/// its owner.
pub const DAEMON_GRACE: Duration = Duration::from_secs(5);

/// The children that may still run, and who they belong to.
struct Registry {
    /// The process whose children they are: a forked child has its parent's memory, not its children.
    owner: Option<u32>,
    /// By their serial numbers, so in the order of their starts.
    children: BTreeMap<u64, Listed>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { owner: None, children: BTreeMap::new() });

/// The children of this process that are running, and reaps those that have ended.
///
/// Python's `active_children`.
///
/// # Examples
/// ```
/// use procession_launch::{Process, active_children};
///
/// let child = Process::start(|| std::thread::park(), ())?;
/// assert!(active_children().iter().any(|active| active.pid() == child.pid()));
/// child.kill()?;
/// child.wait()?;
/// assert!(!active_children().iter().any(|active| active.pid() == child.pid()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn active_children() -> Vec<Child> {
    forkserver::reap();
    let active = running();
    forkserver::reap(); // Perhaps a server was there only for one that has ended.
    active
}

fn running() -> Vec<Child> {
    let mut registry = REGISTRY.lock();
    if registry.owner != Some(pid()) {
        return Vec::new();
    }
    registry.children.retain(|_, listed| !listed.child().has_ended());
    registry.children.values().map(Listed::child).collect()
}

/// The number of a new child.
pub(crate) fn next_serial() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Sees to it that this process's end will be noticed, before it has its first child.
pub(crate) fn prepare() -> io::Result<()> {
    let mut registry = REGISTRY.lock();
    if registry.owner != Some(pid()) {
        ends::prepare()?;
        registry.children.clear();
        registry.owner = Some(pid());
    }
    Ok(())
}

/// Enters a child that was just started.
pub(crate) fn enter(child: &Child) {
    REGISTRY.lock().children.insert(child.serial(), child.list());
}

/// Reaps the ended ones among the children that nobody has a handle to.
pub(crate) fn reap_abandoned() {
    forkserver::reap();
    REGISTRY.lock().children.retain(|_, listed| !listed.is_abandoned() || !listed.child().has_ended());
    forkserver::reap(); // Perhaps a server was there only for one of them.
}

/// Forgets a child that was reaped, so that its descriptors close with the last handle to it.
pub(crate) fn leave(serial: u64) {
    REGISTRY.lock().children.remove(&serial);
}

/// In a process that was just forked from one with children: they are not its own.
pub(crate) fn disown() {
    let mut registry = REGISTRY.lock();
    registry.children.values().for_each(|listed| listed.child().disown());
    registry.children.clear();
    registry.owner = None;
}

/// At this process's normal end: daemon children are terminated, the others are waited for.
pub(crate) fn end_children() {
    let children = {
        let mut registry = REGISTRY.lock();
        if registry.owner != Some(pid()) {
            return;
        }
        std::mem::take(&mut registry.children)
    };
    let (daemons, others): (Vec<_>, Vec<_>) = children.values().map(Listed::child).partition(Child::is_daemon);
    for daemon in &daemons {
        let _ = daemon.terminate();
    }
    for other in others {
        let _ = other.wait();
    }
    let deadline = Deadline::after(DAEMON_GRACE);
    for daemon in daemons {
        let _ = daemon.wait_timeout(deadline.remaining().unwrap_or_default());
    }
    pump::drain_all();
}
