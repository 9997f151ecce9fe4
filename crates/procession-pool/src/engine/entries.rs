//! The tasks that a pool has not ended yet, by number.
//!
//! A number is a place and a generation, so that what comes late for a task that has ended finds nothing.

use std::os::fd::BorrowedFd;

use procession_boot::FunctionId;
use procession_wire::Message;
use procession_wire::bulk::RawNumbers;

use crate::call::{Call, Load};
use crate::cell::Promise;
use crate::supervisor::TaskId;

/// A task that has not ended.
#[derive(Debug)]
pub(super) struct Entry {
    function: FunctionId,
    arguments: Arguments,
    pub(super) promise: Promise,
}

/// Arguments as they wait, of which there may be a million: most are short, and few have descriptors.
#[derive(Debug)]
enum Arguments {
    Short { len: u8, bytes: [u8; SHORT_MAX] },
    Long(Box<[u8]>),
    WithDescriptors(Box<Message>),
    Numbers(RawNumbers),
}

/// What fits beside the length, in the room that a box takes with what tells it from the others.
const SHORT_MAX: usize = 22;

const _: () = assert!(size_of::<Place>() <= 56);

impl Entry {
    pub(super) fn new(call: Call, promise: Promise) -> Self {
        let Call { function, arguments } = call;
        Self { function, arguments: Arguments::of(arguments), promise }
    }

    pub(super) fn function(&self) -> FunctionId {
        self.function
    }

    /// True if the arguments are numbers as they are.
    pub(super) fn has_numbers(&self) -> bool {
        matches!(self.arguments, Arguments::Numbers(_))
    }

    /// The arguments, and the descriptors that go with them.
    pub(super) fn arguments(&self) -> (&[u8], Vec<BorrowedFd<'_>>) {
        match &self.arguments {
            Arguments::Numbers(numbers) => (numbers.as_ref(), Vec::new()),
            Arguments::Short { len, bytes } => (&bytes[..usize::from(*len)], Vec::new()),
            Arguments::Long(bytes) => (bytes, Vec::new()),
            Arguments::WithDescriptors(message) => (message.bytes(), message.descriptors().collect()),
        }
    }

    /// The call as it was submitted, and who is to be told of its end.
    pub(super) fn into_parts(self) -> (Call, Promise) {
        let arguments = match self.arguments {
            Arguments::Numbers(numbers) => {
                return (Call { function: self.function, arguments: Load::Numbers(numbers) }, self.promise);
            }
            Arguments::Short { len, bytes } => Message::from_parts(bytes[..usize::from(len)].to_vec(), Vec::new()),
            Arguments::Long(bytes) => Message::from_parts(bytes.into_vec(), Vec::new()),
            Arguments::WithDescriptors(message) => *message,
        };
        (Call { function: self.function, arguments: Load::Encoded(arguments) }, self.promise)
    }
}

impl Arguments {
    fn of(arguments: Load) -> Self {
        let message = match arguments {
            Load::Encoded(message) => message,
            Load::Numbers(numbers) => return Self::Numbers(numbers),
        };
        if message.descriptor_count() > 0 {
            return Self::WithDescriptors(Box::new(message));
        }
        let (bytes, _) = message.into_parts();
        if bytes.len() > SHORT_MAX {
            return Self::Long(bytes.into_boxed_slice());
        }
        let mut short = [0; SHORT_MAX];
        short[..bytes.len()].copy_from_slice(&bytes);
        Self::Short { len: bytes.len() as u8, bytes: short }
    }
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    places: Vec<Place>,
    free: Vec<u32>,
    /// That of a place which is made.
    generation: u32,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    entry: Option<Entry>,
}

impl Entries {
    pub(super) fn insert(&mut self, entry: Entry) -> TaskId {
        if let Some(at) = self.free.pop() {
            let place = &mut self.places[at as usize];
            place.entry = Some(entry);
            return id(at, place.generation);
        }
        let at = self.places.len() as u32; // Memory ends before it does.
        self.places.push(Place { generation: self.generation, entry: Some(entry) });
        id(at, self.generation)
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Entry> {
        let (at, generation) = parts(task);
        let place = self.places.get(at)?;
        place.entry.as_ref().filter(|_| place.generation == generation)
    }

    pub(super) fn remove(&mut self, task: TaskId) -> Option<Entry> {
        let (at, generation) = parts(task);
        let place = self.places.get_mut(at)?;
        let entry = place.entry.take_if(|_| place.generation == generation)?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(at as u32);
        if self.free.len() == self.places.len() && self.places.len() > KEPT {
            // A million tasks have ended: their places need not stay. No number that was given is used again soon.
            self.generation = self.places.iter().map(|place| place.generation).max().unwrap_or_default();
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
        Some(entry)
    }
}

/// So many places stay when all are free.
const KEPT: usize = 1024;

fn id(at: u32, generation: u32) -> TaskId {
    u64::from(generation) << 32 | u64::from(at)
}

fn parts(task: TaskId) -> (usize, u32) {
    (task as u32 as usize, (task >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::name_single;

    fn entry() -> Entry {
        let function = name_single::<_, ()>(|| ()).unwrap();
        Entry::new(Call { function, arguments: Load::Encoded(Message::default()) }, Promise::default())
    }

    #[test]
    fn what_comes_late_finds_nothing() {
        let mut entries = Entries::default();
        let first = entries.insert(entry());
        assert!(entries.remove(first).is_some());
        let second = entries.insert(entry());
        assert_ne!(first, second);
        assert!(entries.get(first).is_none() && entries.remove(first).is_none());
        assert!(entries.get(second).is_some());
    }

    #[test]
    fn arguments_come_back_as_they_were() {
        let function = name_single::<_, ()>(|| ()).unwrap();
        for len in [0, 1, SHORT_MAX, SHORT_MAX + 1, 100] {
            let bytes: Vec<u8> = (0..len as u8).collect();
            let call = Call { function, arguments: Load::Encoded(Message::from_parts(bytes.clone(), Vec::new())) };
            let entry = Entry::new(call, Promise::default());
            assert_eq!(entry.arguments().0, bytes);
            assert_eq!(entry.into_parts().0.arguments.into_message().bytes(), bytes);
        }
    }

    #[test]
    fn places_are_given_up_when_all_are_free() {
        let mut entries = Entries::default();
        let all: Vec<TaskId> = (0..3 * KEPT).map(|_| entries.insert(entry())).collect();
        for &task in &all {
            assert!(entries.remove(task).is_some());
        }
        assert!(entries.places.is_empty());
        let again: Vec<TaskId> = (0..3 * KEPT).map(|_| entries.insert(entry())).collect();
        assert!(again.iter().all(|task| !all.contains(task)));
        assert!(all.iter().all(|&task| entries.get(task).is_none()));
    }
}
