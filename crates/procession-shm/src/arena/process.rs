//! This process's arenas: one view of each, however many slots it has of it.
//!
//! Relies on `books.rs` for what an arena says, and on `fork.rs` for what becomes of the views in a forked child. The
//! list of views is locked while an arena is created, opened or collected, and during a fork; handles of slots are
//! cloned and dropped without it.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use procession_sys::{Access, file_identity, pid, reopen};

use super::books::{Books, Found};
use super::error::ArenaError;
use super::fork;
use super::layout::SLOTS;
use super::owner::Owner;
use super::state::Tag;

/// One process's view of one arena.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) books: Books,
    /// The file's device and number.
    identity: (u64, u64),
    /// As which owner this process counts: the name in the lower half, and in the upper how many forks had been made
    /// when it became one. A copy of this word in a forked child is no name of the child's.
    seat: AtomicU64,
    /// As which owner a child counts that this process is forking: its number, or [`NOBODY`].
    pub(super) twin: AtomicU32,
}

/// No owner's number.
pub(super) const NOBODY: u32 = u32::MAX;

/// How many forks lie between the first process of this image and this one.
pub(super) static FORKS: AtomicU32 = AtomicU32::new(0);

const FORKS_SHIFT: u32 = 32;

impl Arena {
    /// A view through these books, which makes this process one of their owners.
    pub(super) fn over(books: Books) -> Result<Self, ArenaError> {
        let owner = books.take_seat(&books.file)?;
        Self::seated(books, owner)
    }

    /// A view of a process that is this owner already.
    pub(super) fn seated(books: Books, owner: u32) -> Result<Self, ArenaError> {
        let identity = file_identity(&books.file).map_err(ArenaError::system("look at"))?;
        let arena = Self { books, identity, seat: AtomicU64::new(0), twin: AtomicU32::new(NOBODY) };
        arena.sit(owner);
        arena.books.describe(owner);
        Ok(arena)
    }

    /// Says as which owner this process counts.
    pub(super) fn sit(&self, owner: u32) {
        self.books.enter(owner, pid());
        let name = self.books.name(owner).word();
        self.seat.store(u64::from(FORKS.load(Relaxed)) << FORKS_SHIFT | u64::from(name), Relaxed);
    }

    /// As which owner this process counts, by its number; none for a forked child that could not become one.
    #[inline]
    pub(super) fn owner(&self) -> Option<u32> {
        self.name().map(Owner::number)
    }

    /// As which owner this process counts; none for a forked child that could not become one.
    #[inline]
    pub(super) fn name(&self) -> Option<Owner> {
        let seat = self.seat.load(Relaxed);
        let is_own = seat >> FORKS_SHIFT == u64::from(FORKS.load(Relaxed));
        if is_own { Owner::from_word(seat as u32) } else { None } // The lower half.
    }

    /// Whether this process is called so: [`Arena::name`] with less to compare.
    #[inline]
    pub(super) fn is_called(&self, name: Owner) -> bool {
        self.seat.load(Relaxed) == u64::from(FORKS.load(Relaxed)) << FORKS_SHIFT | u64::from(name.word())
    }

    /// Whether a process is an owner still.
    pub(super) fn is_alive(&self, owner: Owner) -> bool {
        // A lock excludes others than who has it, so one's own cannot be asked for.
        self.name() == Some(owner) || self.books.is_alive(owner)
    }

    /// Whether a process is alive and not about to end, as far as that can be told.
    pub(super) fn goes_on(&self, owner: Owner) -> bool {
        // A forked child could not say when it began where it was made.
        if let Some(own) = self.owner() {
            self.books.describe(own);
        }
        self.is_alive(owner) && !self.books.is_exiting(owner)
    }

    /// Which file it is.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// A slot with one reference; `None` when the class has none that is free.
    pub(super) fn allocate(&self, class: usize, len: u32, kind: u64) -> Option<Found> {
        let found = self.books.allocate(self.owner()?, class, len, kind)?;
        self.add_for_twin(found.slot, found.generation);
        Some(found)
    }

    /// One more reference beside one that this process has.
    #[inline]
    pub(super) fn add(&self, slot: u32, generation: u32) {
        if let Some(owner) = self.owner() {
            self.books.add(owner, slot);
            self.add_for_twin(slot, generation);
        }
    }

    /// A child that is being forked by another thread may get a copy of the handle that this reference is for.
    #[inline]
    fn add_for_twin(&self, slot: u32, generation: u32) {
        let twin = self.twin.load(SeqCst);
        if twin != NOBODY {
            self.books.add(twin, slot);
            self.books.secure(slot, generation);
        }
    }

    /// One reference less.
    pub(super) fn give_up(&self, slot: u32) {
        if let Some(owner) = self.owner() {
            self.books.give_up(owner, slot);
        }
    }

    /// Whether any other process, or a message, refers to a slot to which this process has a reference.
    pub(super) fn is_held_by_others(&self, slot: u32) -> bool {
        self.owner().is_none_or(|own| self.books.is_held_by_others(own, slot))
    }

    /// How many references to a slot this process has.
    pub(super) fn handles(&self, slot: u32) -> u32 {
        self.owner().map_or(0, |own| self.books.references(own, slot))
    }

    /// As if the process had been killed: what is dropped from now on is not given up.
    #[cfg(test)]
    pub(super) fn die(&self) {
        self.seat.store(u64::MAX, SeqCst);
    }

    /// A reference to what came in a message.
    pub(super) fn receive(&self, slot: u32, generation: u32) -> Result<Found, ArenaError> {
        let found = self.books.receive(self.owner().ok_or(ArenaError::NotCounted)?, slot, generation)?;
        self.add_for_twin(slot, generation);
        Ok(found)
    }

    /// An open description for a message to hold slots by.
    pub(super) fn open_for_message(&self) -> io::Result<OwnedFd> {
        reopen(&self.books.file, Access::ReadOnly)
    }
}

/// A view, known by its arena's file.
#[derive(Debug)]
struct View {
    identity: (u64, u64),
    arena: Weak<Arena>,
}

/// The views of this process.
#[derive(Debug)]
pub(super) struct Registry {
    views: Vec<View>,
    /// Where this process allocates.
    current: Weak<Arena>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { views: Vec::new(), current: Weak::new() });

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The list, locked.
pub(super) struct Locked(MutexGuard<'static, Registry>);

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = IS_INSIDE.try_with(|inside| inside.set(false));
    }
}

/// True when the calling thread itself has locked the list: it is a signal handler's, or about to end.
pub(super) fn is_inside() -> bool {
    IS_INSIDE.try_with(Cell::get).unwrap_or(true)
}

pub(super) fn lock() -> Locked {
    let guard = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = IS_INSIDE.try_with(|inside| inside.set(true));
    Locked(guard)
}

impl Locked {
    /// Every view that is in use.
    pub(super) fn views(&self) -> Vec<Arc<Arena>> {
        self.0.views.iter().filter_map(|view| view.arena.upgrade()).collect()
    }

    fn enter(&mut self, books: Books) -> Result<Arc<Arena>, ArenaError> {
        fork::hook().map_err(ArenaError::system("prepare for forks"))?;
        let arena = Arc::new(Arena::over(books)?);
        self.0.views.retain(|view| view.arena.strong_count() > 0);
        self.0.views.push(View { identity: arena.identity, arena: Arc::downgrade(&arena) });
        Ok(arena)
    }

    /// The arena in which this process allocates.
    fn current(&mut self) -> Result<Arc<Arena>, ArenaError> {
        match self.0.current.upgrade().filter(|arena| arena.owner().is_some()) {
            Some(arena) => Ok(arena),
            None => self.renew(),
        }
    }

    /// A new arena in which this process allocates from now on.
    fn renew(&mut self) -> Result<Arc<Arena>, ArenaError> {
        let arena = self.enter(Books::create()?)?;
        self.0.current = Arc::downgrade(&arena);
        Ok(arena)
    }
}

/// A slot in this process's arena, or in a new one when that is full.
pub(super) fn allocate(class: usize, len: u32, kind: u64) -> Result<(Arc<Arena>, Found), ArenaError> {
    let arena = lock().current()?;
    if let Some(found) = arena.allocate(class, len, kind) {
        return Ok((arena, found));
    }
    let mut registry = lock();
    let arena = registry.current()?; // Another thread may have replaced it meanwhile.
    if let Some(owner) = arena.owner() {
        arena.books.collect(owner);
    }
    if let Some(found) = arena.allocate(class, len, kind) {
        return Ok((arena, found));
    }
    let arena = registry.renew()?;
    let found = arena.allocate(class, len, kind).ok_or(ArenaError::Foreign { reason: "a new arena has no slots" })?;
    Ok((arena, found))
}

/// A slot in an arena of its own, in which this process allocates no other.
pub(super) fn allocate_apart(class: usize, len: u32, kind: u64) -> Result<(Arc<Arena>, Found), ArenaError> {
    let arena = lock().enter(Books::create()?)?;
    let found = arena.allocate(class, len, kind).ok_or(ArenaError::Foreign { reason: "a new arena has no slots" })?;
    Ok((arena, found))
}

/// The view of the arena that came in a message; a new one if this process has none.
pub(super) fn arrive(file: impl AsFd) -> Result<Arc<Arena>, ArenaError> {
    let identity = file_identity(&file).map_err(ArenaError::system("look at"))?;
    let mut registry = lock();
    let mut known = registry.0.views.iter().filter(|view| view.identity == identity);
    match known.find_map(|view| view.arena.upgrade().filter(|arena| arena.owner().is_some())) {
        Some(arena) => Ok(arena),
        None => registry.enter(Books::open(file)?),
    }
}

/// What the books of some arenas say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Arenas that this process uses.
    pub arenas: u32,
    /// Processes that use them, counted once for each arena.
    pub owners: u32,
    /// Slots in them, of all sizes: the sum of the fields that follow.
    pub slots: u32,
    /// Slots that can be allocated.
    pub free: u32,
    /// Slots that somebody refers to, or that wait for [`collect`].
    pub live: u32,
    /// Slots that are being made ready or freed, or were when a process was killed.
    pub unsettled: u32,
    /// Slots whose generations are used up.
    pub retired: u32,
}

impl Statistics {
    fn add(&mut self, arena: &Arena) {
        self.arenas += 1;
        self.owners += arena.owner().and_then(|own| arena.books.owners(own).ok()).unwrap_or(0);
        self.slots += SLOTS;
        for state in (0..SLOTS).map(|slot| arena.books.load(slot)) {
            match state.tag() {
                Tag::Free if state.is_retired() => self.retired += 1,
                Tag::Free => self.free += 1,
                Tag::Live => self.live += 1,
                Tag::Claimed | Tag::Freeing => self.unsettled += 1,
            }
        }
    }
}

/// What the books of the arenas that this process uses say.
///
/// # Examples
/// ```
/// use procession_shm::arena::{Slot, statistics};
///
/// let slot = Slot::allocate(100, 1)?;
/// let with = statistics();
/// drop(slot); // The last of its arena.
/// assert_eq!((with.live, statistics().arenas), (1, with.arenas - 1));
/// # Ok::<(), procession_shm::arena::ArenaError>(())
/// ```
#[must_use]
pub fn statistics() -> Statistics {
    let mut statistics = Statistics::default();
    let views = lock().views();
    views.iter().for_each(|view| statistics.add(view));
    statistics
}

/// Frees what dead processes and messages that were thrown away have left in the arenas that this process uses.
///
/// That happens by itself when a process runs out of slots or begins to use an arena; nobody needs to call this but who
/// wants to see it.
pub fn collect() {
    // Dropped after the list is unlocked.
    let views = {
        let registry = lock();
        let views = registry.views();
        for view in &views {
            if let Some(owner) = view.owner() {
                view.books.collect(owner);
            }
        }
        views
    };
    drop(views);
}
