//! The tasks that are not resolved, and the order in which they are to be run.
//!
//! | place | meaning | moves to |
//! |---|---|---|
//! | vacant | no task has this index | held |
//! | held | between two others, within one event | any |
//! | queued | waits for a worker, in the list of its priority | held |
//! | offered | a worker has it | held |
//! | delayed | waits for the time of its next attempt | held |
//!
//! The lists go through the tasks themselves, so that any of them is taken out at once and a queued task costs no more than
//! its slot. Priority 0, which nearly all tasks have, has a list apart from the map of the others.
//!
//! Relies on the engine's indices being dense.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use super::vocabulary::{TaskId, Terms, WorkerId};

/// Stands for no index.
const NONE: u32 = u32::MAX;

/// How many empty lists are kept for priorities that come again.
const EMPTY_LISTS_MAX: usize = 16;

/// So many slots are kept while there is no task; those of a large job are given back.
const SLOTS_KEPT: usize = 1 << 16;

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Vacant,
    Held,
    Queued { previous: u32, next: u32 },
    Offered { worker: WorkerId },
    Delayed,
}

/// One task; what most tasks have no need of is its [`Care`].
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
struct Slot {
    generation: u32,
    priority: i32,
    items: u32,
    care: u32,
    place: Place,
}

const VACANT: Slot = Slot { generation: 0, priority: 0, items: 0, care: NONE, place: Place::Vacant };

/// A queued task has a price that a million of them can be paid of.
const _: () = assert!(size_of::<Slot>() <= 28);

/// What is known of a task that has a timeout or retries.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(super) struct Care {
    pub(super) timeout: Option<Duration>,
    pub(super) backoff: Duration,
    /// How many attempts are left after the present one.
    pub(super) retries: u32,
    /// How many there were, with the present one.
    pub(super) attempts: u32,
    /// How many workers have died of it.
    pub(super) deaths: u32,
    /// When the next attempt is due, while it is delayed.
    due: Duration,
}

/// The ends of a list.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
struct List {
    first: u32,
    last: u32,
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };

    fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// All tasks.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(super) struct Tasks {
    slots: Vec<Slot>,
    cares: Vec<Care>,
    free_cares: Vec<u32>,
    usual: List,
    others: BTreeMap<i32, List>,
    /// How many tasks are in `others`.
    others_len: usize,
    delayed: BTreeSet<(Duration, TaskId)>,
    queued: usize,
    offered: usize,
    len: usize,
    /// The lowest priority of a task since there were none.
    least: i32,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            cares: Vec::new(),
            free_cares: Vec::new(),
            usual: List::EMPTY,
            others: BTreeMap::new(),
            others_len: 0,
            delayed: BTreeSet::new(),
            queued: 0,
            offered: 0,
            len: 0,
            least: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn offered(&self) -> usize {
        self.offered
    }

    pub(super) fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// Takes a new task, which is held; `false` if its index is in use.
    pub(super) fn insert(&mut self, task: TaskId, terms: &Terms) -> bool {
        let index = index_of(task);
        if index == NONE || self.slots.get(index as usize).is_some_and(|slot| slot.place != Place::Vacant) {
            return false;
        }
        self.make_room(index as usize);
        let care = if terms.timeout.is_some() || terms.retries > 0 { self.insert_care(terms) } else { NONE };
        self.slots[index as usize] = Slot {
            generation: generation_of(task),
            priority: terms.priority,
            items: terms.items,
            care,
            place: Place::Held,
        };
        self.least = if self.len == 0 { terms.priority } else { self.least.min(terms.priority) };
        self.len += 1;
        true
    }

    /// No task has a lower priority.
    pub(super) fn least_priority(&self) -> i32 {
        self.least
    }

    pub(super) fn priority(&self, task: TaskId) -> Option<i32> {
        self.slot(task).map(|slot| slot.priority)
    }

    fn make_room(&mut self, index: usize) {
        if index < self.slots.len() {
            return;
        }
        let wanted = index + 1 - self.slots.len();
        if self.slots.capacity() - self.slots.len() < wanted {
            // By half, as twice the memory is more than a task may cost.
            self.slots.reserve_exact(wanted.max(self.slots.len() / 2).max(64));
        }
        self.slots.resize(index + 1, VACANT);
    }

    fn insert_care(&mut self, terms: &Terms) -> u32 {
        let care = Care {
            timeout: terms.timeout,
            backoff: terms.backoff,
            retries: terms.retries,
            attempts: 1,
            deaths: 0,
            due: Duration::ZERO,
        };
        if let Some(free) = self.free_cares.pop() {
            self.cares[free as usize] = care;
            return free;
        }
        self.cares.push(care);
        // There are no more of them than tasks, whose indices are as wide.
        (self.cares.len() - 1) as u32
    }

    fn slot(&self, task: TaskId) -> Option<&Slot> {
        let slot = self.slots.get(index_of(task) as usize)?;
        (slot.place != Place::Vacant && slot.generation == generation_of(task)).then_some(slot)
    }

    /// Where a task is that is not resolved.
    pub(super) fn place(&self, task: TaskId) -> Option<Place> {
        self.slot(task).map(|slot| slot.place)
    }

    pub(super) fn items(&self, task: TaskId) -> u64 {
        self.slot(task).map_or(0, |slot| u64::from(slot.items))
    }

    pub(super) fn timeout(&self, task: TaskId) -> Option<Duration> {
        self.care(task)?.timeout
    }

    pub(super) fn care(&self, task: TaskId) -> Option<&Care> {
        self.cares.get(self.slot(task)?.care as usize)
    }

    pub(super) fn care_mut(&mut self, task: TaskId) -> Option<&mut Care> {
        let care = self.slot(task)?.care;
        self.cares.get_mut(care as usize)
    }

    /// How many attempts there were at a task, with the present one.
    pub(super) fn attempts(&self, task: TaskId) -> u32 {
        self.care(task).map_or(1, |care| care.attempts)
    }

    /// The task that is to be run first.
    pub(super) fn first(&self) -> Option<TaskId> {
        let (_, list) = self.first_list()?;
        Some(self.id(list.first))
    }

    fn first_list(&self) -> Option<(i32, List)> {
        let usual = (!self.usual.is_empty()).then_some((0, self.usual));
        if self.others_len == 0 {
            return usual;
        }
        let other = self.others.iter().rev().find(|(_, list)| !list.is_empty());
        other
            .map(|(&priority, &list)| (priority, list))
            .filter(|&(priority, _)| priority > 0 || usual.is_none())
            .or(usual)
    }

    fn id(&self, index: u32) -> TaskId {
        u64::from(self.slots[index as usize].generation) << 32 | u64::from(index)
    }

    /// Puts a task that is held behind those of its priority.
    pub(super) fn push_last(&mut self, task: TaskId) {
        let index = index_of(task);
        let priority = self.slots[index as usize].priority;
        let mut list = self.list(priority);
        self.slots[index as usize].place = Place::Queued { previous: list.last, next: NONE };
        if let Some((_, next)) = self.links(list.last) {
            *next = index;
        } else {
            list.first = index;
        }
        list.last = index;
        self.set_list(priority, list);
        self.count_queued(priority);
    }

    /// Puts a task that is held before those of its priority.
    pub(super) fn push_first(&mut self, task: TaskId) {
        let index = index_of(task);
        let priority = self.slots[index as usize].priority;
        let mut list = self.list(priority);
        self.slots[index as usize].place = Place::Queued { previous: NONE, next: list.first };
        if let Some((previous, _)) = self.links(list.first) {
            *previous = index;
        } else {
            list.last = index;
        }
        list.first = index;
        self.set_list(priority, list);
        self.count_queued(priority);
    }

    fn count_queued(&mut self, priority: i32) {
        self.queued += 1;
        self.others_len += usize::from(priority != 0);
    }

    /// The neighbors of a task that is queued.
    fn links(&mut self, index: u32) -> Option<(&mut u32, &mut u32)> {
        match &mut self.slots.get_mut(index as usize)?.place {
            Place::Queued { previous, next } => Some((previous, next)),
            _ => None,
        }
    }

    fn list(&self, priority: i32) -> List {
        match priority {
            0 => self.usual,
            _ => self.others.get(&priority).copied().unwrap_or(List::EMPTY),
        }
    }

    fn set_list(&mut self, priority: i32, list: List) {
        if priority == 0 {
            self.usual = list;
        } else if list.is_empty() && self.others.len() > EMPTY_LISTS_MAX {
            self.others.remove(&priority);
        } else {
            self.others.insert(priority, list);
        }
    }

    /// Takes a task out of where it is.
    pub(super) fn hold(&mut self, task: TaskId) {
        let index = index_of(task) as usize;
        match mem::replace(&mut self.slots[index].place, Place::Held) {
            Place::Queued { previous, next } => self.unlink(self.slots[index].priority, previous, next),
            Place::Offered { .. } => self.offered -= 1,
            Place::Delayed => {
                let due = self.care(task).map_or(Duration::ZERO, |care| care.due);
                self.delayed.remove(&(due, task));
            }
            Place::Vacant | Place::Held => {}
        }
    }

    fn unlink(&mut self, priority: i32, previous: u32, next: u32) {
        let mut list = self.list(priority);
        match self.links(previous) {
            Some((_, link)) => *link = next,
            None => list.first = next,
        }
        match self.links(next) {
            Some((link, _)) => *link = previous,
            None => list.last = previous,
        }
        self.set_list(priority, list);
        self.queued -= 1;
        self.others_len -= usize::from(priority != 0);
    }

    /// Notes that a worker has a task which was held.
    pub(super) fn offer(&mut self, task: TaskId, worker: WorkerId) {
        self.slots[index_of(task) as usize].place = Place::Offered { worker };
        self.offered += 1;
    }

    /// Lets a task that is held wait for a time.
    pub(super) fn delay(&mut self, task: TaskId, until: Duration) {
        let Some(care) = self.care_mut(task) else { return self.push_last(task) };
        care.due = until;
        self.slots[index_of(task) as usize].place = Place::Delayed;
        self.delayed.insert((until, task));
    }

    /// The delayed task whose time comes first, and that time.
    pub(super) fn first_delayed(&self) -> Option<(Duration, TaskId)> {
        self.delayed.first().copied()
    }

    /// Forgets a task, which is resolved.
    pub(super) fn remove(&mut self, task: TaskId) {
        self.hold(task);
        let slot = mem::replace(&mut self.slots[index_of(task) as usize], VACANT);
        if slot.care != NONE {
            self.free_cares.push(slot.care);
        }
        self.len -= 1;
        if self.len == 0 && self.slots.len() > SLOTS_KEPT {
            *self = Self::new();
        }
    }

    /// All tasks, in the order of their indices.
    pub(super) fn ids(&self) -> Vec<TaskId> {
        let used = (0u32..).zip(&self.slots).filter(|(_, slot)| slot.place != Place::Vacant);
        used.map(|(index, _)| self.id(index)).collect()
    }
}

/// The lower half.
fn index_of(task: TaskId) -> u32 {
    task as u32
}

/// The upper half.
fn generation_of(task: TaskId) -> u32 {
    (task >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(tasks: &mut Tasks, task: TaskId, priority: i32) {
        assert!(tasks.insert(task, &Terms { priority, ..Terms::default() }));
        tasks.push_last(task);
    }

    #[test]
    fn a_queued_task_takes_less_than_48_bytes_and_gives_them_back() {
        let mut tasks = Tasks::new();
        for task in 0..1_000_000 {
            insert(&mut tasks, task, 0);
            assert!(task < 1_000 || tasks.slots.capacity() * size_of::<Slot>() <= 48 * (task as usize + 1));
        }
        for task in (0..1_000_000).rev() {
            tasks.remove(task);
        }
        assert!(tasks.is_empty());
        assert_eq!(tasks.slots.capacity(), 0);
    }

    #[test]
    fn tasks_are_taken_from_any_place_in_their_order() {
        let mut tasks = Tasks::new();
        for task in 0..9 {
            insert(&mut tasks, task, 0);
        }
        // The first, the last, one in the middle and its neighbor.
        for task in [0, 8, 4, 5] {
            tasks.remove(task);
        }
        tasks.hold(6);
        tasks.push_first(6);
        let order: Vec<_> = std::iter::from_fn(|| tasks.first().inspect(|&task| tasks.remove(task))).collect();
        assert_eq!(order, [6, 1, 2, 3, 7]);
        assert_eq!((tasks.queued(), tasks.others_len), (0, 0));
    }

    #[test]
    fn priorities_that_come_once_leave_nothing_behind() {
        let mut tasks = Tasks::new();
        for task in 0..1_000u64 {
            insert(&mut tasks, task, task as i32 % 500 - 250);
        }
        let mut last = i32::MAX;
        while let Some(task) = tasks.first() {
            let priority = tasks.slots[task as usize].priority;
            assert!(priority <= last, "{priority} after {last}");
            last = priority;
            tasks.remove(task);
        }
        assert!(tasks.others.len() <= EMPTY_LISTS_MAX);
    }

    #[test]
    fn an_index_that_is_used_again_is_another_task() {
        let mut tasks = Tasks::new();
        insert(&mut tasks, 3, 0);
        assert!(!tasks.insert(3 | 1 << 32, &Terms::default()));
        tasks.remove(3);
        insert(&mut tasks, 3 | 1 << 32, 0);
        assert_eq!(tasks.place(3), None);
        assert_eq!(tasks.first(), Some(3 | 1 << 32));
    }
}
