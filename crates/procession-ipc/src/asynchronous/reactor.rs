//! The thread that watches descriptors for the tasks of the process, and looks now and then where nobody may have rung.
//!
//! Relies on epoll(7), which holds what is watched; each descriptor until it was told of once. The thread begins with the
//! first wait and sleeps while nothing is waited for. A forked child has a reactor of its own.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{OnceLock, Weak};
use std::thread;

use parking_lot::{Condvar, Mutex};
use procession_sync::RECHECK;
use procession_sys::{Deadline, Epoll, Interest};

use super::line::{Awaited, BELLS};
use super::own::Own;

/// The name of the thread, as long as the kernel shows names.
const THREAD: &str = "tasks-watcher";

/// One process's.
#[derive(Debug)]
pub(super) struct Reactor {
    set: Epoll,
    state: Mutex<State>,
    /// Told when something is waited for again.
    begins: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What is waited for, by its token. An object that nobody waits for any more leaves with the next look.
    listed: HashMap<u64, Weak<dyn Awaited>>,
    is_asleep: bool,
}

/// What a process has before it has a reactor.
#[derive(Debug, Default)]
struct Process {
    reactor: OnceLock<Reactor>,
    beginning: Mutex<()>,
}

fn process() -> &'static Process {
    static PROCESS: OnceLock<Own<Process>> = OnceLock::new();
    PROCESS.get_or_init(Own::default)
}

/// A number that no other object has; from one on.
pub(super) fn new_token() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed) + 1
}

impl Reactor {
    /// This process's, which begins when it is first asked for.
    pub(super) fn get() -> io::Result<&'static Self> {
        let process = process();
        if let Some(reactor) = process.reactor.get() {
            return Ok(reactor);
        }
        let _only_one = process.beginning.lock();
        if process.reactor.get().is_none() {
            let reactor = Self { set: Epoll::new()?, state: Mutex::default(), begins: Condvar::new() };
            // Waits for what is to be there in a moment.
            thread::Builder::new().name(THREAD.to_owned()).spawn(|| process.reactor.wait().run())?;
            process.reactor.set(reactor).expect("only one begins at a time");
        }
        Ok(process.reactor.get().expect("it was made above"))
    }

    /// This process's, if it has begun.
    pub(super) fn get_begun() -> Option<&'static Self> {
        process().reactor.get()
    }

    /// Has the object looked at now and then, until nobody waits for it. `note` is run before anything can come of that.
    pub(super) fn list(&self, token: u64, object: Weak<dyn Awaited>, note: impl FnOnce()) {
        let mut state = self.state.lock();
        state.listed.insert(token, object);
        note();
        if std::mem::take(&mut state.is_asleep) {
            self.begins.notify_one();
        }
    }

    /// Tells of a descriptor once: of one of the object's.
    pub(super) fn watch(&self, token: u64, bell: usize, fd: BorrowedFd<'_>, for_what: &[Interest]) -> io::Result<()> {
        self.set.watch_once(fd, token * BELLS as u64 + bell as u64, for_what)
    }

    /// Forgets a descriptor, which is about to be closed.
    pub(super) fn forget(&self, fd: BorrowedFd<'_>) {
        // It may never have been watched.
        let _ = self.set.remove(fd);
    }

    fn run(&self) {
        let mut next_look = Deadline::after(RECHECK);
        loop {
            match self.set.wait(next_look) {
                Ok(events) => events.into_iter().for_each(|event| self.tell(event)),
                // No bell is heard then, but all looks are made.
                Err(_) => drop(self.begins.wait_for(&mut self.state.lock(), RECHECK)),
            }
            if next_look.has_passed() {
                self.look();
                next_look = Deadline::after(RECHECK);
            }
        }
    }

    /// Tells who waits by a descriptor.
    fn tell(&self, event: u64) {
        let (token, bell) = (event / BELLS as u64, (event % BELLS as u64) as usize);
        let object = self.state.lock().listed.get(&token).and_then(Weak::upgrade);
        if let Some(object) = object {
            object.lines().rung(&*object, bell);
        }
    }

    /// Looks at all that is waited for; while that is nothing, sleeps.
    fn look(&self) {
        let mut state = self.state.lock();
        state.listed.retain(|_, object| object.upgrade().is_some_and(|object| object.lines().look(&*object)));
        while state.listed.is_empty() {
            state.is_asleep = true;
            self.begins.wait(&mut state);
        }
    }
}
