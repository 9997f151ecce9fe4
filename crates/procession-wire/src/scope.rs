//! The side table of the one message that this thread is encoding or decoding.
//!
//! Serde hands a `Serialize` implementation nothing but the serializer, so a handle finds the table of its
//! message here. A scope is entered for the length of one `value` call and restores what was there before
//! when it ends, also by a panic: tables of nested messages never mix, and nothing of a failed value stays.
//! Relies on a thread-local cell.

use crate::{Descriptor, DescriptorError};
use std::{
    cell::Cell,
    mem::{self, ManuallyDrop},
};

/// How many descriptors one message may carry.
///
/// Four times the usual limit of open files (1024), so that no honest message meets it, and little enough
/// that a table of hostile size costs nothing to hold.
pub const DESCRIPTORS_MAX: usize = 4096;

/// What several handles of one message call a descriptor that they have in common.
pub(crate) type Key = (u64, u64);

/// A descriptor that goes with a message.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) descriptor: Descriptor,
    /// Set for one that several handles of the message may have in common.
    key: Option<Key>,
}

/// Puts a descriptor into the table of the message that this thread is encoding; gives its position.
pub(crate) fn attach(descriptor: &Descriptor, key: Option<Key>) -> Result<u32, DescriptorError> {
    with_current(|table| match table {
        Table::Sending { attached, refused } => {
            if attached.len() >= DESCRIPTORS_MAX {
                *refused = Some(DescriptorError::TooMany);
                return Err(DescriptorError::TooMany);
            }
            let index = attached.len() as u32; // At most DESCRIPTORS_MAX.
            attached.push(Attached { descriptor: descriptor.clone(), key });
            Ok(index)
        }
        Table::None | Table::Receiving { .. } => Err(DescriptorError::OutsideMessage),
    })
}

/// What is attached under this key to the message that this thread is encoding, and its position.
pub(crate) fn attached(wanted: Key) -> Option<(u32, Descriptor)> {
    with_current(|table| match table {
        Table::Sending { attached, .. } => {
            let index = attached.iter().position(|one| one.key == Some(wanted))?;
            Some((index as u32, attached[index].descriptor.clone())) // At most DESCRIPTORS_MAX.
        }
        Table::None | Table::Receiving { .. } => None,
    })
}

/// Takes a descriptor out of the table of the message that this thread is decoding.
pub(crate) fn detach(index: u32) -> Result<Descriptor, DescriptorError> {
    take(index, Slot::take)
}

/// Gives out a descriptor of the message that this thread is decoding, which stays for others that ask the same way.
pub(crate) fn share(index: u32) -> Result<Descriptor, DescriptorError> {
    take(index, |slot, _| slot.share())
}

fn take(index: u32, how: impl FnOnce(&mut Slot, bool) -> Option<Descriptor>) -> Result<Descriptor, DescriptorError> {
    with_current(|table| match table {
        Table::Receiving { slots, refused, attempts } => {
            let taken = match slots.get_mut(index as usize) {
                None => Err(DescriptorError::Missing { index }),
                Some(slot) => how(slot, *attempts > 0).ok_or(DescriptorError::Taken { index }),
            };
            *refused = refused.or(taken.as_ref().err().copied());
            taken
        }
        Table::None | Table::Sending { .. } => Err(DescriptorError::OutsideMessage),
    })
}

/// One descriptor that arrived.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Nobody asked for it yet.
    Here(Descriptor),
    /// Given out inside a [`Described`](crate::Described) value, whose type may still throw it away and ask
    /// anew: `untagged` tries one variant after the other.
    Lent(Descriptor),
    /// Given out to handles that have it in common, and kept for the next one.
    Shared(Descriptor),
    /// Given out for good.
    Taken,
}

impl Slot {
    /// Gives the descriptor out, unless it is in someone's hands.
    fn take(&mut self, on_trial: bool) -> Option<Descriptor> {
        match mem::replace(self, Slot::Taken) {
            Slot::Here(descriptor) if !on_trial => Some(descriptor),
            Slot::Here(descriptor) => {
                *self = Slot::Lent(descriptor.clone());
                Some(descriptor)
            }
            Slot::Lent(descriptor) if descriptor.is_shared() => {
                *self = Slot::Lent(descriptor);
                None
            }
            Slot::Lent(descriptor) => {
                *self = Slot::Lent(descriptor.clone());
                Some(descriptor)
            }
            Slot::Shared(descriptor) => {
                *self = Slot::Shared(descriptor);
                None
            }
            Slot::Taken => None,
        }
    }

    /// Gives the descriptor out and keeps it, unless it is somebody's own.
    fn share(&mut self) -> Option<Descriptor> {
        match mem::replace(self, Slot::Taken) {
            Slot::Here(descriptor) | Slot::Shared(descriptor) => {
                *self = Slot::Shared(descriptor.clone());
                Some(descriptor)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// The trial is over: what somebody kept is theirs.
    fn settle(&mut self) {
        *self = match mem::replace(self, Slot::Taken) {
            Slot::Lent(descriptor) if descriptor.is_shared() => Slot::Taken,
            Slot::Lent(descriptor) => Slot::Here(descriptor),
            slot => slot,
        };
    }
}

/// While it lives, this thread's handles attach themselves to `owner`.
///
/// What they attached is dropped again with the scope unless it was kept.
pub(crate) struct SendScope<'o> {
    owner: &'o mut Vec<Attached>,
    before: usize,
    outer: Outer,
    keep: bool,
}

impl<'o> SendScope<'o> {
    #[inline]
    pub(crate) fn enter(owner: &'o mut Vec<Attached>) -> Self {
        let before = owner.len();
        let outer = Outer::suspend(Mode::Sending);
        if before > 0 {
            with_current(|table| *table = Table::Sending { attached: mem::take(owner), refused: None });
        }
        SendScope { owner, before, outer, keep: false }
    }

    /// Ends the scope and keeps what was attached.
    #[inline]
    pub(crate) fn keep(mut self) {
        self.keep = true;
    }

    /// The refusal that made a handle fail, if one did.
    pub(crate) fn refused(&self) -> Option<DescriptorError> {
        refused()
    }
}

impl Drop for SendScope<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(Table::Sending { attached, .. }) = self.outer.resume() {
            *self.owner = attached;
        }
        if !self.keep {
            self.owner.truncate(self.before);
        }
    }
}

/// While it lives, this thread's handles take their descriptors from `owner`.
pub(crate) struct ReceiveScope<'o> {
    owner: &'o mut Vec<Slot>,
    outer: Outer,
}

impl<'o> ReceiveScope<'o> {
    #[inline]
    pub(crate) fn enter(owner: &'o mut Vec<Slot>) -> Self {
        let outer = Outer::suspend(Mode::Receiving);
        if !owner.is_empty() {
            with_current(|table| *table = Table::Receiving { slots: mem::take(owner), refused: None, attempts: 0 });
        }
        ReceiveScope { owner, outer }
    }

    /// The refusal that made a handle fail, if one did.
    pub(crate) fn refused(&self) -> Option<DescriptorError> {
        refused()
    }
}

impl Drop for ReceiveScope<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(Table::Receiving { slots, .. }) = self.outer.resume() {
            *self.owner = slots;
        }
    }
}

/// While it lives, a descriptor that was given out and thrown away may be asked for again.
pub(crate) struct Trial(());

impl Trial {
    pub(crate) fn begin() -> Self {
        with_current(|table| {
            if let Table::Receiving { attempts, .. } = table {
                *attempts += 1;
            }
        });
        Trial(())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        with_current(|table| {
            if let Table::Receiving { attempts, slots, .. } = table {
                *attempts = attempts.saturating_sub(1);
                if *attempts == 0 {
                    slots.iter_mut().for_each(Slot::settle);
                }
            }
        });
    }
}

/// What this thread is doing.
///
/// Most values hold no descriptor. So the table itself is touched only by the first that does, and until then
/// a scope costs no more than this word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Neither; there is no table.
    Idle,
    /// Encoding, and the table is empty.
    Sending,
    /// Decoding, and the table is empty.
    Receiving,
    /// Either, and `TABLE` holds the table.
    Tabled,
}

/// The descriptors of the message in work.
enum Table {
    /// There is no message.
    None,
    Sending {
        attached: Vec<Attached>,
        refused: Option<DescriptorError>,
    },
    Receiving {
        slots: Vec<Slot>,
        refused: Option<DescriptorError>,
        /// How many `Described` values are being read around this point.
        attempts: u32,
    },
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::Idle) };
    /// Used while `MODE` is `Tabled`, otherwise `None`, so that there is nothing to drop when the thread ends;
    /// and without a destructor it can be used until then.
    static TABLE: Cell<ManuallyDrop<Table>> = const { Cell::new(ManuallyDrop::new(Table::None)) };
}

/// The message that was in work when a scope began, and goes on when it ends.
struct Outer {
    mode: Mode,
    /// Boxed, since most scopes are in no other.
    table: Option<Box<Table>>,
}

impl Outer {
    #[inline]
    fn suspend(inner: Mode) -> Self {
        let mode = MODE.replace(inner);
        let table = if mode == Mode::Tabled { Some(Box::new(replace(Table::None))) } else { None };
        Outer { mode, table }
    }

    /// Gives back the table of the scope that ends, if it has one.
    #[inline]
    fn resume(&mut self) -> Option<Table> {
        let inner = MODE.replace(self.mode);
        if inner != Mode::Tabled && self.mode != Mode::Tabled {
            return None;
        }
        Some(replace(self.table.take().map_or(Table::None, |table| *table)))
    }
}

/// Sets the thread's table and gives back the one before.
fn replace(table: Table) -> Table {
    ManuallyDrop::into_inner(TABLE.replace(ManuallyDrop::new(table)))
}

/// Runs `look` on the table of the message in work. Nothing that `look` calls may come back here.
fn with_current<R>(look: impl FnOnce(&mut Table) -> R) -> R {
    let mut table = match MODE.get() {
        Mode::Idle => Table::None,
        Mode::Sending => Table::Sending { attached: Vec::new(), refused: None },
        Mode::Receiving => Table::Receiving { slots: Vec::new(), refused: None, attempts: 0 },
        Mode::Tabled => replace(Table::None),
    };
    let result = look(&mut table);
    if !matches!(table, Table::None) {
        MODE.set(Mode::Tabled);
        replace(table);
    }
    result
}

fn refused() -> Option<DescriptorError> {
    with_current(|table| match table {
        Table::None => None,
        Table::Sending { refused, .. } | Table::Receiving { refused, .. } => *refused,
    })
}
