//! The tasks that a pool has not ended yet, by number.
//!
//! A number is a place and a generation, so that what comes late for a task that has ended finds nothing.

use crate::call::Call;
use crate::cell::Promise;
use crate::desk::Seq;
use crate::supervisor::{TaskId, WorkerId};

/// A task that has not ended.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) call: Call,
    pub(super) promise: Promise,
    /// Where it is being worked on.
    pub(super) offer: Option<(WorkerId, Seq)>,
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

    pub(super) fn get_mut(&mut self, task: TaskId) -> Option<&mut Entry> {
        let (at, generation) = parts(task);
        let place = self.places.get_mut(at)?;
        place.entry.as_mut().filter(|_| place.generation == generation)
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
    use procession_wire::Message;

    use super::*;
    use crate::call::name_single;

    fn entry() -> Entry {
        let function = name_single::<_, ()>(|| ()).unwrap();
        Entry { call: Call { function, arguments: Message::default() }, promise: Promise::default(), offer: None }
    }

    #[test]
    fn what_comes_late_finds_nothing() {
        let mut entries = Entries::default();
        let first = entries.insert(entry());
        assert!(entries.remove(first).is_some());
        let second = entries.insert(entry());
        assert_ne!(first, second);
        assert!(entries.get(first).is_none() && entries.remove(first).is_none());
        assert!(entries.get_mut(second).is_some());
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
