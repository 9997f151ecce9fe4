//! Who has taken how many items and not said that they are done, in words that processes share.
//!
//! Relies on the ring: a taker notes its item while it has the consumers' lock and before the item counts as taken, so that
//! an item is either in the queue or in an account, whenever its taker is killed.
//!
//! | word | what it says | who writes it |
//! |---|---|---|
//! | done | times eight, how often all was done while somebody waited; `WAITERS` | whoever says that the last item is done |
//! | used | how many accounts were ever used | a taker, having the consumers' lock |
//! | account, name | the process: its number, and what the arena calls it | the same, of an account that is free |
//! | account, count | items in the upper 24 bits; in the lower 40 the number of the last one that was noted | see below |
//!
//! | an account's count from | to | by whom |
//! |---|---|---|
//! | c, any | c + 1, n | its process, having the consumers' lock, before item n counts as taken |
//! | c, n | c − 1, n − 1 | the heir of a taker that died with the lock, if item n does not count as taken |
//! | c, n | c − 1, n | whoever says that an item is done: for its own process, if that has any |
//! | c, n | 0, n | whoever waits for all, finds the process dead, and reports it |
//!
//! An account is free if its count is none and its process is dead.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use procession_shm::arena::{ArenaError, Owner, SLOT_BYTES_MAX, Slot};
use procession_sync::protocol::Kernel;
use procession_sys::{Deadline, fail_point, pid};

use crate::UnfinishedError;
use crate::channel::{CHANNEL_WORDS, Channel, Notes, Unreceived};
use crate::items::Items;
use crate::protocol::ring::{self, Paused, Position, WAITERS};
use crate::users::Patience;

/// Words of the accounts, after the channel's.
pub(crate) const ACCOUNT_WORDS: usize = FIRST - CHANNEL_WORDS + TAKERS_MAX * 2;

const DONE: usize = CHANNEL_WORDS;
const USED: usize = CHANNEL_WORDS + 1;
const FIRST: usize = CHANNEL_WORDS + 4;

/// So many processes may have items of a [`JoinableQueue`](crate::JoinableQueue) that they have taken and not done, dead
/// ones of which nobody was told included: as many as a slot of the arena has room for.
pub const TAKERS_MAX: usize = 238;

/// So many such items one process may have: a count of 24 bits.
pub const TAKEN_MAX: u64 = (1 << (u64::BITS - NUMBER_BITS)) - 1;

const _: () = assert!((CHANNEL_WORDS + ACCOUNT_WORDS) * size_of::<u64>() <= SLOT_BYTES_MAX);

const NUMBER_BITS: u32 = 40;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// How often the queue is looked at again because something was put meanwhile; then it counts as not empty.
const LOOKS_MAX: u32 = 1000;

/// A process's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    items: u64,
    /// The lower bits of the number of the item that was noted last.
    last: u64,
}

impl Count {
    fn of(word: u64) -> Self {
        Self { items: word >> NUMBER_BITS, last: word & NUMBER_MASK }
    }

    fn word(self) -> u64 {
        self.items << NUMBER_BITS | self.last & NUMBER_MASK
    }

    /// True if item `number` is the last that was noted.
    fn is_at(self, number: u64) -> bool {
        self.items > 0 && self.last == number & NUMBER_MASK
    }
}

/// An account's words.
#[derive(Clone, Copy, Debug)]
struct Account<'a> {
    name: &'a AtomicU64,
    count: &'a AtomicU64,
}

impl Account<'_> {
    fn count(self) -> Count {
        Count::of(self.count.load(Acquire))
    }

    fn owner(self) -> Option<Owner> {
        Owner::from_word(self.name.load(Acquire) as u32) // The lower half.
    }

    fn pid(self) -> u32 {
        (self.name.load(Acquire) >> u32::BITS) as u32
    }

    /// Changes the count, unless `change` finds nothing to do.
    fn change(self, change: impl Fn(Count) -> Option<Count>) -> Option<Count> {
        let change = |word| change(Count::of(word)).map(Count::word);
        self.count.fetch_update(AcqRel, Acquire, change).ok().map(Count::of)
    }

    fn take_one_off(self) -> bool {
        let less = |count: Count| Some(Count { items: count.items.checked_sub(1)?, ..count });
        self.change(less).is_some()
    }
}

/// A dead process, and how many items it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lost {
    pid: u32,
    items: u64,
}

/// The notes of a taker.
#[derive(Debug)]
pub(crate) struct Taking<'a>(pub(crate) &'a Accounts, pub(crate) &'a Slot);

impl Notes for Taking<'_> {
    fn repair(&self, from: Position) {
        take_back(self.1, from.count);
    }

    fn note(&self, from: Position) -> Result<(), Unreceived> {
        self.0.note(self.1, from.count)
    }
}

/// The accounts as one handle knows them.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// Where this process's account was last, plus one.
    own: AtomicU32,
}

impl Accounts {
    pub(crate) fn new() -> Self {
        Self { own: AtomicU32::new(0) }
    }

    /// Notes that this process is about to take item `number`. It has the consumers' lock.
    fn note(&self, slot: &Slot, number: u64) -> Result<(), Unreceived> {
        let system = |error| Unreceived::System("count what is taken and not done", error);
        let own = slot.own_name().map_err(|error| system(std::io::Error::other(error)))?;
        let account = self.find(slot, own).or_else(|| self.begin(slot, own));
        let account = account.ok_or_else(|| system(std::io::Error::other(TOO_MANY_TAKERS)))?;
        let more = |count: Count| (count.items < TAKEN_MAX).then(|| Count { items: count.items + 1, last: number });
        account.change(more).map(drop).ok_or_else(|| system(std::io::Error::other(TOO_MANY_TAKEN)))
    }

    /// This process's account.
    fn find<'a>(&self, slot: &'a Slot, own: Owner) -> Option<Account<'a>> {
        let at = self.own.load(Relaxed).checked_sub(1);
        if let Some(account) = at.and_then(|at| account(slot, at as usize)).filter(|found| found.owner() == Some(own)) {
            return Some(account);
        }
        let (at, account) = accounts(slot).enumerate().find(|(_, account)| account.owner() == Some(own))?;
        self.own.store(at as u32 + 1, Relaxed);
        Some(account)
    }

    /// An account for this process, which has the consumers' lock.
    fn begin<'a>(&self, slot: &'a Slot, own: Owner) -> Option<Account<'a>> {
        let used = used(slot);
        let is_free = |account: &Account<'_>| {
            account.count().items == 0 && account.owner().is_none_or(|owner| !slot.is_alive(owner))
        };
        let free = accounts(slot).position(|account| is_free(&account));
        let at = free.or_else(|| (used < TAKERS_MAX).then_some(used))?;
        let account = account(slot, at)?;
        account.count.store(0, Release);
        account.name.store(u64::from(pid()) << u32::BITS | u64::from(own.word()), Release);
        slot.words()[USED].store(used.max(at + 1) as u64, Release);
        self.own.store(at as u32 + 1, Relaxed);
        Some(account)
    }

    /// Takes one item off this process's account, or off another's if it has none.
    pub(crate) fn task_done(&self, channel: &Channel) -> Result<(), UnfinishedError> {
        let slot = channel.slot();
        let own = self.find(slot, slot.own_name()?);
        if !own.is_some_and(Account::take_one_off) && !accounts(slot).any(Account::take_one_off) {
            return Err(UnfinishedError::TooOften);
        }
        // Who has marked the word looks at the accounts after that: it or this sees the other.
        fence(SeqCst);
        let done = &slot.words()[DONE];
        if done.load(Relaxed) & WAITERS != 0 && unfinished(channel) == 0 {
            done.fetch_add(ring::ONE, AcqRel);
            ring::wake_all(&Kernel::at(slot, (&raw const *done).addr(), Deadline::NEVER), done);
        }
        Ok(())
    }

    /// Waits until all items are done.
    pub(crate) fn join(&self, items: &Arc<Items>, deadline: Deadline) -> Result<(), UnfinishedError> {
        let channel = &*items.channel;
        let slot = channel.slot();
        let done = &slot.words()[DONE];
        let world = Kernel::at(slot, (&raw const *done).addr(), deadline);
        let patience = Patience::new();
        let mut paused = Paused::Slept;
        loop {
            let seen = done.load(Acquire);
            let unfinished = unfinished(channel);
            if unfinished == 0 {
                return Ok(());
            }
            if paused != Paused::Spun
                && let Some(Lost { pid, items }) = report_lost(channel)
            {
                return Err(UnfinishedError::Lost { pid, items });
            }
            if paused == Paused::Over {
                return Err(match deadline {
                    Deadline::NOW => UnfinishedError::WouldBlock { unfinished },
                    _ => UnfinishedError::Timeout { unfinished },
                });
            }
            if paused == Paused::Slept && deadline == Deadline::NEVER && items.is_alone(1, &patience) {
                return Err(UnfinishedError::Disconnected { unfinished });
            }
            paused = ring::pause(&world, done, seen, WAITERS);
            fence(SeqCst); // The mark, then another look.
        }
    }
}

const TOO_MANY_TAKERS: &str = "too many processes have items that they have taken and not done, or have died with some: \
                               call `task_done`, and `join`, which reports the dead";
const TOO_MANY_TAKEN: &str = "this process has taken too many items that are not done: call `task_done`";

/// How many items were put and are not done. Never none while there always was one.
pub(crate) fn unfinished(channel: &Channel) -> u64 {
    for _ in 0..LOOKS_MAX {
        let put = channel.put_count();
        let queued = channel.len();
        fail_point!("accounts: queue looked at");
        let taken: u64 = accounts(channel.slot()).map(|account| account.count().items).sum();
        // An item that is done may have brought another one before that: then this looks again.
        if queued + taken > 0 || channel.put_count() == put {
            return queued.saturating_add(taken);
        }
    }
    1
}

/// Takes item `number` off the account of whoever died before it counted as taken.
fn take_back(slot: &Slot, number: u64) {
    for account in accounts(slot) {
        let less = |count: Count| {
            let before = Count { items: count.items.checked_sub(1)?, last: number.wrapping_sub(1) };
            count.is_at(number).then_some(before)
        };
        let _ = account.change(less);
    }
}

/// Closes the account of a dead process that has items, and says which.
fn report_lost(channel: &Channel) -> Option<Lost> {
    accounts(channel.slot()).find_map(|account| {
        let (owner, pid) = (account.owner()?, account.pid());
        if account.count().items == 0 || channel.slot().is_alive(owner) {
            return None;
        }
        // What it has noted and not taken is in the queue still.
        let noted = |count: Count| u64::from(count.is_at(channel.taken_count()));
        let before = account.change(|count| (count.items > 0).then_some(Count { items: 0, ..count }))?;
        let items = before.items.saturating_sub(noted(before));
        (items > 0).then_some(Lost { pid, items })
    })
}

fn used(slot: &Slot) -> usize {
    (slot.words()[USED].load(Acquire) as usize).min(TAKERS_MAX)
}

fn account(slot: &Slot, at: usize) -> Option<Account<'_>> {
    let [name, count] = slot.words().get(FIRST + at * 2..)?.first_chunk()?;
    Some(Account { name, count })
}

fn accounts(slot: &Slot) -> impl Iterator<Item = Account<'_>> {
    (0..used(slot)).filter_map(|at| account(slot, at))
}

impl From<ArenaError> for Unreceived {
    fn from(error: ArenaError) -> Self {
        Self::System("use the queue", std::io::Error::other(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no process is called.
    const NOBODY: u64 = 0xabcd_efc8;

    /// A process of that name with that count.
    fn enter(slot: &Slot, at: usize, name: u64, count: Count) {
        let account = account(slot, at).expect("there is room");
        account.name.store(name, Relaxed);
        account.count.store(count.word(), Relaxed);
        slot.words()[USED].fetch_max(at as u64 + 1, Relaxed);
    }

    fn slot() -> Slot {
        Slot::allocate((CHANNEL_WORDS + ACCOUNT_WORDS) * size_of::<u64>(), 0).unwrap()
    }

    #[test]
    fn an_heir_takes_back_what_was_noted_and_not_taken() {
        let slot = slot();
        let counts = [(2, 7), (1, 6), (0, 7)].map(|(items, last)| Count { items, last });
        for (at, count) in counts.into_iter().enumerate() {
            enter(&slot, at, NOBODY, count);
        }
        for _ in 0..2 {
            take_back(&slot, 7); // A heir may die as well, and have one.
            let items: Vec<_> = accounts(&slot).map(|account| account.count().items).collect();
            assert_eq!(items, [1, 1, 0]);
        }
    }

    #[test]
    fn what_a_count_says_is_what_it_was_made_of() {
        for count in [(0, 0), (1, NUMBER_MASK), (TAKEN_MAX, 1)].map(|(items, last)| Count { items, last }) {
            assert_eq!(Count::of(count.word()), count);
        }
        assert!(Count { items: 1, last: 3 }.is_at(NUMBER_MASK + 1 + 3), "the lower bits are enough to tell");
    }

    #[test]
    fn limits_of_takers_and_of_items_taken_are_errors() {
        let slot = slot();
        let accounts = Accounts::new();
        for at in 0..TAKERS_MAX {
            enter(&slot, at, NOBODY, Count { items: 1, last: 0 });
        }
        let error = |refused: Result<(), Unreceived>| match refused {
            Err(Unreceived::System(_, error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(error(accounts.note(&slot, 1)).contains("too many processes"));
        enter(&slot, 5, NOBODY, Count { items: 0, last: 0 });
        accounts.note(&slot, 1).unwrap();
        let own = account(&slot, 5).unwrap();
        assert_eq!((own.owner(), own.pid()), (slot.own_name().ok(), pid()));
        own.count.store(Count { items: TAKEN_MAX, last: 1 }.word(), Relaxed);
        assert!(error(accounts.note(&slot, 2)).contains("taken too many"));
        assert_eq!(own.count().items, TAKEN_MAX);
    }

    #[test]
    fn what_a_peer_writes_there_leads_nowhere_else() {
        let slot = slot();
        slot.words()[USED].store(u64::MAX, Relaxed);
        assert_eq!(accounts(&slot).count(), TAKERS_MAX);
        slot.words()[FIRST..].iter().for_each(|word| word.store(u64::MAX, Relaxed));
        take_back(&slot, 7);
        let _ = Accounts::new().note(&slot, 7);
    }
}
