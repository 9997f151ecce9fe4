//! An arena's books: what every slot is, and how many references each owner has to it.
//!
//! Relies on `state.rs` for what may become of a slot and on `layout.rs` for where everything stands. Holds nothing of
//! this process but a mapping and an open description of the file; `arena.rs` tells the protocol.
//!
//! All accesses are sequentially consistent, because the protocol rests on it: who adds a reference counts it and then
//! looks at the state, who frees changes the state and then looks at the counts, so that one of the two sees the other.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};

use procession_sys::{
    Access, MemoryFile, ProcessIdentity, RecordLock, SharedMap, fail_point, file_size, is_exiting, is_record_locked,
    memory_file, never_shrinks, pid, pid_namespace, reopen, try_lock_record, unlock_record,
};

use super::error::ArenaError;
use super::layout::{
    BEGAN_AT, CLASS, CLASSES, COUNTS_AT, COUNTS_STRIDE, FILE_BYTES, HINTS_AT, KIND_AT, LEN_AT, MAGIC, MAGIC_AT,
    OWNER_BYTES, OWNERS_AT, OWNERS_MAX, OWNERS_USED_AT, PID_AT, REACHES_AT, SENT_AT, SIZE_AT, SLOT_BYTES,
    SLOT_LOCKS_AT, SLOTS_AT, STATE_AT, TIMES_AT, VERSION, VERSION_AT, class_of, storage_of,
};
use super::owner::Owner;
use super::state::{State, Tag};

/// The name that `/proc/PID/maps` shows for arenas.
const LABEL: &str = "procession-arena";

/// How often an exchange is tried again because others have been faster. Among honest processes each of these is
/// somebody's progress; one that writes without end must not keep others busy.
const TURNS_MAX: u32 = 1000;

/// A count that is never changed again: more references than can be counted have been made, and nobody knows how many.
const COUNT_STUCK: u32 = u32::MAX;

/// One process's view of an arena.
#[derive(Debug)]
pub(super) struct Books {
    map: SharedMap,
    /// A description of this process's own, whose lock is its life as an owner.
    pub(super) file: OwnedFd,
}

/// A slot as who has a reference to it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) kind: u64,
    pub(super) len: u32,
}

impl Books {
    /// Those of a new arena.
    pub(super) fn create() -> Result<Self, ArenaError> {
        let file = memory_file(LABEL, &MemoryFile { bytes: FILE_BYTES as u64, huge_page_bits: None });
        let file = file.map_err(ArenaError::system("create"))?;
        let books = Self::over(file)?;
        books.double_word(MAGIC_AT).store(MAGIC, SeqCst);
        books.word(VERSION_AT).store(VERSION, SeqCst);
        books.double_word(SIZE_AT).store(FILE_BYTES as u64, SeqCst);
        Ok(books)
    }

    /// Those of an arena that came from another process, if it is one.
    pub(super) fn open(theirs: impl AsFd) -> Result<Self, ArenaError> {
        let foreign = |reason| ArenaError::Foreign { reason };
        if !never_shrinks(&theirs) {
            return Err(foreign("the descriptor is not of a memory file that is sealed against shrinking"));
        }
        if file_size(&theirs).map_err(ArenaError::system("look at"))? != FILE_BYTES as u64 {
            return Err(foreign("the file is not as long as an arena"));
        }
        let books = Self::over(reopen(theirs, Access::ReadWrite).map_err(ArenaError::system("open"))?)?;
        if books.double_word(MAGIC_AT).load(SeqCst) != MAGIC {
            return Err(foreign("the file does not begin as an arena does"));
        }
        let size = books.double_word(SIZE_AT).load(SeqCst);
        if books.word(VERSION_AT).load(SeqCst) != VERSION || size != FILE_BYTES as u64 {
            return Err(foreign("its layout is of another version of this library"));
        }
        Ok(books)
    }

    /// Those of a file that is as long as an arena.
    pub(super) fn over(file: OwnedFd) -> Result<Self, ArenaError> {
        // A mapping holds its description, and a forked child has a copy of the mapping: the locks of this one would
        // outlive this process.
        let for_mapping = reopen(&file, Access::ReadWrite).map_err(ArenaError::system("open"))?;
        let map = SharedMap::map(&for_mapping, FILE_BYTES, Access::ReadWrite).map_err(ArenaError::system("map"))?;
        Ok(Self { map, file })
    }

    /// Where the slots' bytes are.
    pub(super) fn map(&self) -> &SharedMap {
        &self.map
    }

    // Owners.

    /// Becomes an owner for as long as the description of `file` lives, and clears what the last one has left.
    pub(super) fn take_seat(&self, file: &OwnedFd) -> Result<u32, ArenaError> {
        let mut owners = 0..OWNERS_MAX;
        let owner = loop {
            let Some(owner) = owners.next() else { return Err(ArenaError::NoOwner) };
            let locked = try_lock_record(file, owner.into(), RecordLock::Exclusive);
            if locked.map_err(ArenaError::system("lock"))? {
                break owner;
            }
        };
        fail_point!("seat: locked");
        // Before anything else, so that no word that names the last owner of this number ever names this one.
        self.word(of_owner(owner, TIMES_AT)).fetch_add(1, SeqCst);
        if self.word(OWNERS_USED_AT).fetch_max(owner + 1, SeqCst) > owner {
            self.recover(owner);
        }
        fail_point!("seat: taken");
        Ok(owner)
    }

    /// Enters the number of the process that an owner is. When it began is for [`Books::describe`].
    pub(super) fn enter(&self, owner: u32, pid: u32) {
        self.double_word(of_owner(owner, BEGAN_AT)).store(0, SeqCst);
        self.word(of_owner(owner, PID_AT)).store(pid, SeqCst);
    }

    /// Enters when and where this process, which is the owner, began, unless that is known.
    pub(super) fn describe(&self, owner: u32) {
        let began = self.double_word(of_owner(owner, BEGAN_AT));
        if began.load(SeqCst) == 0 {
            let start_time = ProcessIdentity::of(pid()).map(|own| own.start_time);
            if let (Ok(start_time), Some(namespace)) = (start_time, namespace()) {
                began.store((start_time % STARTS_END) | namespace, SeqCst);
            }
        }
    }

    /// Whether the kernel is ending an owner's process; false when that cannot be told from here.
    pub(super) fn is_exiting(&self, owner: Owner) -> bool {
        let began = self.double_word(of_owner(owner.number().min(OWNERS_MAX - 1), BEGAN_AT)).load(SeqCst);
        let (Some(pid), Some(namespace)) = (self.pid(owner), namespace()) else { return false };
        let process = ProcessIdentity { pid, start_time: began % STARTS_END };
        began - process.start_time == namespace && is_exiting(process) && self.name(owner.number()) == owner
    }

    /// The name of who has this number now.
    pub(super) fn name(&self, owner: u32) -> Owner {
        Owner::new(owner, self.word(of_owner(owner, TIMES_AT)).load(SeqCst))
    }

    /// Whether a process is an owner still, which this one is not. When nobody can tell, it is.
    pub(super) fn is_alive(&self, owner: Owner) -> bool {
        let number = owner.number();
        // The number is not given away again while it is locked, so the name is compared last.
        number < OWNERS_MAX && is_record_locked(&self.file, number.into()).unwrap_or(true) && self.name(number) == owner
    }

    /// The process that an owner is, by its number in its own namespace.
    pub(super) fn pid(&self, owner: Owner) -> Option<u32> {
        let pid = self.word(of_owner(owner.number().min(OWNERS_MAX - 1), PID_AT)).load(SeqCst);
        (self.name(owner.number()) == owner).then_some(pid)
    }

    /// Owners that were ever used: all below this.
    fn owners_used(&self) -> u32 {
        self.word(OWNERS_USED_AT).load(SeqCst).min(OWNERS_MAX)
    }

    /// Gives up what an owner that is no more has left; who calls has its lock. Killed half-way, the next one goes on.
    fn recover(&self, owner: u32) {
        for slot in self.ever_used() {
            let left = self.count(owner, slot).swap(0, SeqCst);
            fail_point!("recover: cleared");
            let state = self.load(slot);
            if state.is_claimed_by(owner) {
                let _ = self.exchange(slot, state, state.freed());
                self.suggest(slot);
            } else if left > 0 {
                self.free(slot);
            }
        }
    }

    /// Recovers every owner that is no more, and frees the slots that nobody refers to, such as those whose last reference
    /// was a message that nobody has read. Not for two threads of a process at the same time, as they would share the
    /// locks.
    pub(super) fn collect(&self, own: u32) {
        for owner in (0..self.owners_used()).filter(|owner| *owner != own) {
            if try_lock_record(&self.file, owner.into(), RecordLock::Exclusive).unwrap_or(false) {
                fail_point!("collect: locked");
                self.recover(owner);
                let _ = unlock_record(&self.file, owner.into());
            }
        }
        self.ever_used().for_each(|slot| self.free(slot));
    }

    // References.

    /// Adds a reference of `owner`'s, who has one or is about to call [`Books::secure`].
    pub(super) fn add(&self, owner: u32, slot: u32) {
        self.add_many(owner, slot, 1);
    }

    fn add_many(&self, owner: u32, slot: u32, more: u32) {
        let _ = self.count(owner, slot).fetch_update(SeqCst, SeqCst, |count| Some(count.saturating_add(more)));
    }

    /// Gives up a reference of `owner`'s.
    pub(super) fn give_up(&self, owner: u32, slot: u32) {
        let less = |count: u32| if count == COUNT_STUCK { None } else { count.checked_sub(1) };
        let before = self.count(owner, slot).fetch_update(SeqCst, SeqCst, less);
        fail_point!("give up: uncounted");
        if before == Ok(1) {
            self.free(slot);
        }
    }

    /// Has the slot stay, whose reference was just counted, though somebody may be about to free it. False when the slot
    /// is somebody else's by now.
    pub(super) fn secure(&self, slot: u32, generation: u32) -> bool {
        for _ in 0..TURNS_MAX {
            let seen = self.load(slot);
            if seen.generation() != generation {
                return false;
            }
            match seen.tag() {
                Tag::Live => return true,
                Tag::Free | Tag::Claimed => return false,
                Tag::Freeing => {
                    if self.exchange(slot, seen, seen.kept()).is_ok() {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Adds a reference to a slot that came in a message, which still holds it.
    pub(super) fn receive(&self, owner: u32, slot: u32, generation: u32) -> Result<Found, ArenaError> {
        let class = class_of(slot).ok_or(ArenaError::Foreign { reason: "it has no slot of that number" })?;
        let state = self.load(slot);
        if state.generation() != generation || !matches!(state.tag(), Tag::Live | Tag::Freeing) {
            return Err(ArenaError::Stale { slot });
        }
        fail_point!("receive: seen");
        self.add(owner, slot);
        fail_point!("receive: counted");
        if !self.secure(slot, generation) {
            self.give_up(owner, slot);
            return Err(ArenaError::Stale { slot });
        }
        fail_point!("receive: secured");
        let kind = self.double_word(self.of(slot, KIND_AT)).load(SeqCst);
        let len = self.word(self.of(slot, LEN_AT)).load(SeqCst);
        if len as usize > class.bytes {
            self.give_up(owner, slot);
            return Err(ArenaError::Foreign { reason: "a slot says that it is longer than it can be" });
        }
        Ok(Found { slot, generation, kind, len })
    }

    /// Has a message hold the slot, to which this process has a reference, for as long as the description of `message`
    /// lives.
    pub(super) fn send(&self, message: impl AsFd, slot: u32) -> Result<(), ArenaError> {
        self.word(self.of(slot, SENT_AT)).store(1, SeqCst);
        fail_point!("send: marked");
        let locked = try_lock_record(message, SLOT_LOCKS_AT + u64::from(slot), RecordLock::Shared);
        fail_point!("send: locked");
        match locked.map_err(ArenaError::system("lock"))? {
            true => Ok(()),
            false => Err(ArenaError::Foreign { reason: "another process has locked what is nobody's to lock" }),
        }
    }

    /// Counts for `twin` what `owner` has: a fork makes it have as much.
    pub(super) fn double(&self, owner: u32, twin: u32) {
        for slot in self.ever_used() {
            let count = self.count(owner, slot).load(SeqCst);
            if count > 0 {
                self.add_many(twin, slot, count);
                fail_point!("fork: counted");
                self.secure(slot, self.load(slot).generation());
            }
        }
    }

    // Slots.

    /// A slot of so many zeros, with one reference of `owner`'s; `None` when the class has none.
    pub(super) fn allocate(&self, owner: u32, class: usize, len: u32, kind: u64) -> Option<Found> {
        let (slot, claimed) = self.claim(owner, class)?;
        fail_point!("allocate: claimed");
        let at = storage_of(slot)?;
        self.map.zero(at..at + len as usize).ok()?;
        fail_point!("allocate: zeroed");
        self.double_word(self.of(slot, KIND_AT)).store(kind, SeqCst);
        self.word(self.of(slot, LEN_AT)).store(len, SeqCst);
        self.word(self.of(slot, SENT_AT)).store(0, SeqCst);
        self.add(owner, slot);
        fail_point!("allocate: counted");
        if self.exchange(slot, claimed, claimed.ready()).is_err() {
            // Nobody but a dead owner's recoverer may do that. The reference is taken back and the slot left alone.
            self.give_up(owner, slot);
            return None;
        }
        fail_point!("allocate: ready");
        Some(Found { slot, generation: claimed.generation(), kind, len })
    }

    /// Makes a free slot of the class `owner`'s to prepare.
    fn claim(&self, owner: u32, class_idx: usize) -> Option<(u32, State)> {
        let class = &CLASS[class_idx];
        let hint = self.word(HINTS_AT + 4 * class_idx);
        let before = hint.load(SeqCst);
        let start = before % class.slots;
        for step in 0..class.slots {
            let within = (start + step) % class.slots;
            let slot = class.first + within;
            let seen = self.load(slot);
            let Some(claimed) = seen.claimed_by(owner) else { continue };
            // Before the slot is claimed, so that a recoverer looks at it.
            self.word(REACHES_AT + 4 * class_idx).fetch_max(within + 1, SeqCst);
            fail_point!("claim: reached");
            if self.exchange(slot, seen, claimed).is_ok() {
                // Unless a slot before it has been freed meanwhile.
                let _ = hint.compare_exchange(before, within + 1, SeqCst, SeqCst);
                return Some((slot, claimed));
            }
        }
        None
    }

    /// Frees the slot if nobody refers to it. Who has given up a reference calls this; when several do, or one of them
    /// is killed or stopped in the middle, the others go on without it.
    pub(super) fn free(&self, slot: u32) {
        // Whoever counts it will come here when it gives it up.
        if self.is_counted(slot) {
            return;
        }
        fail_point!("free: not counted");
        for _ in 0..TURNS_MAX {
            let seen = self.load(slot);
            let Some(mine) = seen.freeing() else { return };
            if self.exchange(slot, seen, mine).is_err() {
                continue;
            }
            fail_point!("free: begun");
            // In this order: who sends a slot locks it before it gives up its own reference.
            let counted = self.is_counted(slot);
            fail_point!("free: between");
            let held = counted || self.is_in_flight(slot);
            fail_point!("free: looked");
            let next = if held { mine.kept() } else { mine.freed() };
            // If it fails, somebody has added a reference, or has taken over.
            if self.exchange(slot, mine, next).is_ok() && !held {
                self.suggest(slot);
            }
            return;
        }
    }

    /// Has the next allocation begin its search here at the latest, so that few slots are ever used.
    fn suggest(&self, slot: u32) {
        let class = CLASS.iter().enumerate().find(|(_, class)| class_of(slot) == Some(class));
        if let Some((class_idx, class)) = class {
            self.word(HINTS_AT + 4 * class_idx).fetch_min(slot - class.first, SeqCst);
        }
    }

    /// True when any owner counts a reference.
    fn is_counted(&self, slot: u32) -> bool {
        (0..self.owners_used()).any(|owner| {
            fail_point!("free: at an owner");
            self.count(owner, slot).load(SeqCst) > 0
        })
    }

    /// True when a message holds the slot, or nobody can tell.
    fn is_in_flight(&self, slot: u32) -> bool {
        let was_sent = self.word(self.of(slot, SENT_AT)).load(SeqCst) != 0;
        was_sent && is_record_locked(&self.file, SLOT_LOCKS_AT + u64::from(slot)).unwrap_or(true)
    }

    /// Whether an owner that is alive, beside `own`, or a message refers to the slot, to which `own` has a reference. True
    /// when nobody can tell.
    pub(super) fn is_held_by_others(&self, own: u32, slot: u32) -> bool {
        // Mostly somebody does, which takes no more than a look.
        if self.is_seen_elsewhere(own, slot) {
            return true;
        }
        // A reference that became a message, or came from one, in the middle of the look was seen as neither. So this
        // looks as who frees does: whoever adds a reference meanwhile changes the state.
        for _ in 0..TURNS_MAX {
            let seen = self.load(slot);
            let Some(mine) = seen.freeing() else { return self.is_seen_elsewhere(own, slot) };
            if self.exchange(slot, seen, mine).is_err() {
                continue;
            }
            fail_point!("others: begun");
            let held = self.is_seen_elsewhere(own, slot);
            if self.exchange(slot, mine, mine.kept()).is_ok() || held {
                return held;
            }
        }
        true
    }

    /// How many references an owner has to a slot.
    pub(super) fn references(&self, owner: u32, slot: u32) -> u32 {
        self.count(owner, slot).load(SeqCst)
    }

    /// One look at all counts and locks but `own`'s; in this order, as in [`Books::free`].
    fn is_seen_elsewhere(&self, own: u32, slot: u32) -> bool {
        let others = (0..self.owners_used()).filter(|owner| *owner != own);
        let mut counted = others.filter(|owner| self.count(*owner, slot).load(SeqCst) > 0);
        // What is left by a process that has died refers to nothing, though nobody has cleared it yet.
        let alive = counted.any(|owner| is_record_locked(&self.file, owner.into()).unwrap_or(true));
        fail_point!("others: between");
        alive || self.is_in_flight(slot)
    }

    /// The slots that were ever claimed.
    pub(super) fn ever_used(&self) -> impl Iterator<Item = u32> + '_ {
        (0..CLASSES).flat_map(|class_idx| {
            let class = &CLASS[class_idx];
            let reach = self.word(REACHES_AT + 4 * class_idx).load(SeqCst).min(class.slots);
            class.first..class.first + reach
        })
    }

    /// How many owners are alive, this description's own included.
    pub(super) fn owners(&self, own: u32) -> io::Result<u32> {
        let mut owners = 0;
        for owner in 0..self.owners_used() {
            owners += u32::from(owner == own || is_record_locked(&self.file, owner.into())?);
        }
        Ok(owners)
    }

    // Words.

    pub(super) fn load(&self, slot: u32) -> State {
        State::from_word(self.double_word(self.of(slot, STATE_AT)).load(SeqCst))
    }

    #[cfg(test)]
    pub(super) fn set(&self, slot: u32, state: State) {
        self.double_word(self.of(slot, STATE_AT)).store(state.word(), SeqCst);
    }

    fn exchange(&self, slot: u32, seen: State, next: State) -> Result<u64, u64> {
        let word = self.double_word(self.of(slot, STATE_AT));
        word.compare_exchange(seen.word(), next.word(), SeqCst, SeqCst)
    }

    /// Where a slot has a word of its own.
    fn of(&self, slot: u32, at: usize) -> usize {
        SLOTS_AT + SLOT_BYTES * slot as usize + at
    }

    pub(super) fn count(&self, owner: u32, slot: u32) -> &AtomicU32 {
        self.word(COUNTS_AT + COUNTS_STRIDE * owner as usize + 4 * slot as usize)
    }

    /// A word of the books. Numbers of slots and owners are below their limits wherever this is reached from.
    fn word(&self, at: usize) -> &AtomicU32 {
        self.map.atomic_u32(at).expect("the books are within the mapping")
    }

    fn double_word(&self, at: usize) -> &AtomicU64 {
        self.map.atomic_u64(at).expect("the books are within the mapping")
    }
}

/// Starts of processes are counted in ticks of a hundredth of a second since boot; this many are three centuries.
const STARTS_END: u64 = 1 << 40;

/// This process's namespace, where `describe` puts it: numbers of processes mean nothing elsewhere.
fn namespace() -> Option<u64> {
    pid_namespace().ok().map(|file| file << STARTS_END.trailing_zeros())
}

/// Where something is kept of an owner.
fn of_owner(owner: u32, at: usize) -> usize {
    OWNERS_AT + OWNER_BYTES * owner as usize + at
}
