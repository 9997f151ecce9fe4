//! Who waits for an object: two lines of tasks, one for each way, first come, first served.
//!
//! Relies on `reactor.rs` to be told. A task that was told tries, and then tells the next. One that was told and does not
//! try, because its executor is busy with another task, holds up nobody for long: the next in line is told at the second look
//! after it. The first may come at once, when it is the reactor that was late.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use procession_sys::Interest;

use super::own::Own;
use super::reactor::{Reactor, new_token};
use crate::channel::in_haste;

/// Which way things go that are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Messages, into this process.
    In,
    /// Room for messages, out of this process.
    Out,
}

/// The ways, in the order of an object's lines.
const WAYS: [Way; 2] = [Way::In, Way::Out];

/// How many descriptors an object has at most that tell of it.
pub(super) const BELLS: usize = 2;

/// How often a task tries at once what others are quicker to do, before it leaves that to the reactor. To make room takes
/// others longer.
const TRIES_MAX: [u32; WAYS.len()] = [4, 2];

/// So many times a bell may ring for nothing before it is not listened to until the next look.
const FUTILE_BORNE: u32 = 2;

/// What tells of an object.
#[derive(Debug)]
pub(crate) struct Bell<'a> {
    /// Which of the object's descriptors it is.
    pub(crate) position: usize,
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) interest: Interest,
}

/// What tasks wait for.
pub(crate) trait Awaited: fmt::Debug + Send + Sync + 'static {
    fn lines(&self) -> &Lines;
    /// What tells that something goes that way.
    fn bell(&self, way: Way) -> Bell<'_>;
    /// Asks for the bell, and says whether to try again, as whoever makes the object ready may not have known.
    fn arm(&self, way: Way) -> bool;
    /// Whether somebody may have made it ready and not rung, by what is cheap to look at.
    fn is_ready(&self, way: Way) -> bool;
    /// After the bell has rung: silences it.
    fn settle(&self, way: Way);
}

/// An object's lines, in each process its own; nothing before somebody waits.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    own: OnceLock<Box<Own<Mutex<State>>>>,
    /// How many wait in each, for who finds nobody: to ask which process this is takes longer than a message does. A forked
    /// child has its parent's numbers first, which costs it a look.
    waiting: [AtomicUsize; WAYS.len()],
}

#[derive(Debug)]
struct State {
    token: u64,
    is_listed: bool,
    lines: [Line; WAYS.len()],
    /// What each descriptor is watched for, until it was told of.
    watched: [Vec<Interest>; BELLS],
}

#[derive(Debug, Default)]
struct Line {
    /// By the order in which they have come.
    waiting: BTreeMap<u64, Waiter>,
    came: u64,
    /// Its bell has rung and was not silenced.
    has_rung: bool,
    /// How many times in a row it has rung for nothing.
    futile: u32,
}

#[derive(Debug)]
struct Waiter {
    waker: Waker,
    /// It may try, and has not.
    is_told: bool,
    /// It might at the last look already.
    is_late: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { token: new_token(), is_listed: false, lines: Default::default(), watched: Default::default() }
    }
}

impl Line {
    /// Lets the first try that was not told to.
    fn tell(&mut self) -> Option<Waker> {
        let waiter = self.waiting.values_mut().find(|waiter| !waiter.is_told)?;
        waiter.is_told = true;
        Some(waiter.waker.clone())
    }

    /// At a look: whether all that were told to try have had the time since the one before.
    fn have_had_time(&mut self) -> bool {
        let have_had_time = self.waiting.values().all(|waiter| waiter.is_late || !waiter.is_told);
        self.waiting.values_mut().for_each(|waiter| waiter.is_late = waiter.is_told);
        have_had_time
    }

    fn is_quiet(&self) -> bool {
        self.futile > FUTILE_BORNE
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.own.get_or_init(Box::default).lock()
    }

    /// After one of the descriptors has told of itself.
    pub(super) fn rung(&self, object: &dyn Awaited, bell: usize) {
        let mut state = self.lock();
        state.watched[bell].clear();
        let told = WAYS.map(|way| {
            let line = &mut state.lines[way as usize];
            if line.waiting.is_empty() || object.bell(way).position != bell {
                return None;
            }
            line.has_rung = true;
            line.tell()
        });
        drop(state);
        told.into_iter().flatten().for_each(Waker::wake);
    }

    /// A look that nothing has caused; false if nobody waits.
    pub(super) fn look(&self, object: &dyn Awaited) -> bool {
        let mut state = self.lock();
        state.is_listed = state.lines.iter().any(|line| !line.waiting.is_empty());
        let is_listed = state.is_listed;
        let told = WAYS.map(|way| {
            let line = &mut state.lines[way as usize];
            let is_worth_a_try = line.have_had_time()
                && !line.waiting.is_empty()
                && (line.is_quiet() || line.waiting.values().any(|waiter| waiter.is_told) || object.is_ready(way));
            if is_worth_a_try { line.tell() } else { None }
        });
        drop(state);
        told.into_iter().flatten().for_each(Waker::wake);
        is_listed
    }

    /// Forgets the descriptors, which are about to be closed.
    pub(crate) fn forget<'a>(&self, fds: impl IntoIterator<Item = BorrowedFd<'a>>) {
        if self.own.get().is_some()
            && let Some(reactor) = Reactor::get_begun()
        {
            fds.into_iter().for_each(|fd| reactor.forget(fd));
        }
    }

    /// Lets everybody try who waits, after the object was closed.
    pub(crate) fn tell_all(&self) {
        let Some(state) = self.own.get() else { return };
        let mut told = Vec::new();
        let mut state = state.lock();
        state.watched.iter_mut().for_each(Vec::clear);
        for line in &mut state.lines {
            told.extend(std::iter::from_fn(|| line.tell()));
        }
        drop(state);
        told.into_iter().for_each(Waker::wake);
    }
}

/// Waits until `attempt` is done, which it is not while it gives `None`. An error if there can be no reactor.
pub(crate) async fn when<A: Awaited, R>(
    object: &Arc<A>,
    way: Way,
    mut attempt: impl FnMut() -> Option<R>,
) -> io::Result<R> {
    let mut place = Place { object, way, number: None };
    poll_fn(|context| place.poll(context, &mut attempt)).await
}

/// A task's place in a line, if it stands there.
#[derive(Debug)]
struct Place<'a, A: Awaited> {
    object: &'a Arc<A>,
    way: Way,
    number: Option<u64>,
}

impl<A: Awaited> Place<'_, A> {
    fn poll<R>(&mut self, context: &Context<'_>, attempt: &mut impl FnMut() -> Option<R>) -> Poll<io::Result<R>> {
        let Some(mut has_rung) = self.turn(context) else {
            self.have_looked_at()?;
            return Poll::Pending;
        };
        let tries_max = TRIES_MAX[self.way as usize];
        for tries in 1..=tries_max {
            if has_rung {
                self.object.settle(self.way);
            }
            if let Some(done) = in_haste(&mut *attempt) {
                // Who came meanwhile, to a line without anybody, has tried as well.
                if self.number.is_some() {
                    self.step_out(true);
                }
                return Poll::Ready(Ok(done));
            }
            has_rung = self.stand(context, has_rung);
            if self.object.arm(self.way) && tries < tries_max {
                continue;
            }
            self.have_looked_at()?;
            if let Err(error) = self.watch() {
                // It may have been closed meanwhile.
                let done = in_haste(attempt);
                self.step_out(done.is_some());
                return Poll::Ready(done.ok_or(error));
            }
            break;
        }
        Poll::Pending
    }

    /// Whether the bell has rung, if the task may try: it was told to, or nobody stands before it. If not, it is in line,
    /// and will be told.
    fn turn(&mut self, context: &Context<'_>) -> Option<bool> {
        // Relaxed: whoever comes at the same time may as well have come before.
        if self.number.is_none() && self.object.lines().waiting[self.way as usize].load(Relaxed) == 0 {
            return Some(false);
        }
        let mut state = self.object.lines().lock();
        let line = &mut state.lines[self.way as usize];
        match self.number {
            None if line.waiting.is_empty() => Some(mem::take(&mut line.has_rung)),
            None => {
                self.number = Some(self.enter(line, context));
                None
            }
            Some(number) => {
                let waiter = line.waiting.get_mut(&number).expect("who has a number stands in line");
                let has_rung = if waiter.is_told { Some(mem::take(&mut line.has_rung)) } else { None };
                let former = mem::replace(&mut waiter.waker, context.waker().clone());
                // Dropping one may drop a task that stands in this line.
                drop(state);
                drop(former);
                has_rung
            }
        }
    }

    /// Stands in line, after a try that was in vain; and says whether the bell has rung meanwhile.
    fn stand(&mut self, context: &Context<'_>, has_rung: bool) -> bool {
        let mut state = self.object.lines().lock();
        let line = &mut state.lines[self.way as usize];
        if has_rung {
            line.futile = line.futile.saturating_add(1);
        }
        match self.number {
            None => self.number = Some(self.enter(line, context)),
            Some(number) => {
                let waiter = line.waiting.get_mut(&number).expect("who has a number stands in line");
                (waiter.is_told, waiter.is_late) = (false, false);
            }
        }
        mem::take(&mut line.has_rung)
    }

    /// Takes a new place at the end.
    fn enter(&self, line: &mut Line, context: &Context<'_>) -> u64 {
        let number = line.came;
        line.came += 1;
        line.waiting.insert(number, Waiter { waker: context.waker().clone(), is_told: false, is_late: false });
        self.object.lines().waiting[self.way as usize].store(line.waiting.len(), Relaxed);
        number
    }

    /// Has the reactor look at the object now and then.
    fn have_looked_at(&self) -> io::Result<()> {
        let lines = self.object.lines();
        let (token, is_listed) = {
            let state = lines.lock();
            (state.token, state.is_listed)
        };
        if !is_listed {
            let object: Weak<A> = Arc::downgrade(self.object);
            Reactor::get()?.list(token, object, || lines.lock().is_listed = true);
        }
        Ok(())
    }

    /// Has the reactor watch the descriptor, for all who wait by it.
    fn watch(&self) -> io::Result<()> {
        let lines = self.object.lines();
        let mut state = lines.lock();
        if state.lines[self.way as usize].is_quiet() {
            return Ok(());
        }
        let bell = self.object.bell(self.way);
        let waits = |way: &Way| !state.lines[*way as usize].waiting.is_empty();
        let bells = WAYS.into_iter().filter(waits).map(|way| self.object.bell(way));
        let mut interests: Vec<Interest> =
            bells.filter(|other| other.position == bell.position).map(|bell| bell.interest).collect();
        interests.dedup();
        if state.watched[bell.position] == interests {
            return Ok(()); // It is told of in a moment, if it has rung.
        }
        Reactor::get()?.watch(state.token, bell.position, bell.fd, &interests)?;
        state.watched[bell.position] = interests;
        Ok(())
    }

    /// Leaves the line. Who was served may have left something for the next, and who was told and did not try has.
    fn step_out(&mut self, is_served: bool) {
        let mut state = self.object.lines().lock();
        let line = &mut state.lines[self.way as usize];
        if is_served {
            line.futile = 0;
        }
        let waiter = self.number.take().and_then(|number| line.waiting.remove(&number));
        self.object.lines().waiting[self.way as usize].store(line.waiting.len(), Relaxed);
        let is_told = waiter.as_ref().is_some_and(|waiter| waiter.is_told);
        let next = if is_served || is_told { line.tell() } else { None };
        drop(state);
        drop(waiter);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl<A: Awaited> Drop for Place<'_, A> {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.step_out(false);
        }
    }
}

#[cfg(test)]
mod tests;
