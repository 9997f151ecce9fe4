//! What a fork does to references: the child has copies of its parent's handles, and must count them.
//!
//! Before the fork the parent makes the child an owner of each of its arenas, through a new description, and counts for
//! it what it is going to have. So the references exist before the child does, and a child that is killed at any instant
//! drops them. The child lets go of its parent's description, for the parent's life as an owner must end with the
//! parent; the parent lets go of the child's. Where that cannot be done, for want of descriptors or owners, the child's
//! handles are inert: they refuse to be used, and count nothing.
//!
//! The list of arenas stays locked from the first hook to the last, so that none is created in between by another
//! thread; what other threads add to references meanwhile, they add for the child as well (`Arena::add_for_twin`).
//!
//! # Safety
//! The child's hook swaps atomics, makes system calls, unlocks a lock that its own thread has locked, and empties a list
//! without giving its memory back. Descriptors change what they refer to only in the child, before any of its code runs,
//! and only to another description of the same file. No hook unwinds: none of them indexes, unwraps or asserts.

#![expect(unsafe_code, reason = "is called by libc's fork, and replaces a description in the child")]

use std::cell::RefCell;
use std::io::{self, stderr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, OnceLock};

use procession_sys::{Access, around_fork, fail_point, reopen, replace};

use super::process::{Arena, FORKS, Locked, NOBODY, is_inside, lock};

/// A view, and what its child is to have instead of the parent's description.
struct Copied {
    arena: Arc<Arena>,
    twin: Option<(OwnedFd, u32)>,
}

/// What a thread that forks holds from the first hook to the last.
struct Held {
    copied: Vec<Copied>,
    _registry: Locked, // Dropped after the views.
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// Has the hooks run around every fork of this process and of its copies. Done before the first arena.
pub(super) fn hook() -> io::Result<()> {
    static HOOKED: OnceLock<Option<i32>> = OnceLock::new();
    let errno = HOOKED.get_or_init(|| {
        // SAFETY: no hook unwinds. The first waits for the list, unless its own thread has it; the third is
        // async-signal-safe (see the top of this file).
        let hooked = unsafe { around_fork(prepare, parent, child) };
        hooked.err().and_then(|error| error.raw_os_error())
    });
    errno.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
}

/// Makes the child an owner.
unsafe extern "C" fn prepare() {
    fail_point!("fork: begins");
    // A signal handler forks amid an allocation of its own thread: its child's handles are inert.
    if is_inside() {
        return;
    }
    let registry = lock();
    let copied = registry.views().into_iter().map(|arena| Copied { twin: make_twin(&arena), arena }).collect();
    let held = Held { copied, _registry: registry };
    let _ = HELD.try_with(|place| place.replace(Some(held)));
    fail_point!("fork: prepared");
}

/// An owner that counts what this process has of an arena.
pub(super) fn make_twin(arena: &Arena) -> Option<(OwnedFd, u32)> {
    let owner = arena.owner()?;
    let file = reopen(&arena.books.file, Access::ReadWrite).ok()?;
    let twin = arena.books.take_seat(&file).ok()?;
    // Before anything is copied: what another thread adds from now on is either seen or added by it.
    arena.twin.store(twin, SeqCst);
    arena.books.double(owner, twin);
    Some((file, twin))
}

/// Lets go of the child's description.
unsafe extern "C" fn parent() {
    fail_point!("fork: in parent");
    let held = HELD.try_with(RefCell::take).ok().flatten();
    let Some(held) = held else { return };
    held.copied.iter().for_each(|copied| copied.arena.twin.store(NOBODY, SeqCst));
}

/// Is the owner that was made for it.
unsafe extern "C" fn child() {
    // From here on no copied view counts for its parent.
    FORKS.fetch_add(1, Relaxed);
    fail_point!("fork: in child");
    let held = HELD.try_with(RefCell::take).ok().flatten();
    let Some(mut held) = held else { return };
    for Copied { arena, twin } in held.copied.drain(..) {
        arena.twin.store(NOBODY, SeqCst);
        let Some((file, owner)) = twin else {
            // Its parent's life must not be prolonged, so the description goes, for one that is open already.
            // SAFETY: the number is the view's, which has no use for it without an owner's number.
            let _ = unsafe { replace(arena.books.file.as_fd(), stderr()) };
            continue;
        };
        // SAFETY: the number is the view's, for which one description of the file is as good as the other.
        let replaced = unsafe { replace(arena.books.file.as_fd(), file) };
        if replaced.is_ok() {
            arena.sit(owner);
            fail_point!("fork: adopted");
        }
    }
}
