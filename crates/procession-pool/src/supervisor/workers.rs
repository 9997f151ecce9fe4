//! The workers, what each of them has, and which of them are idle.
//!
//! Relies on ids being counted up: the list is in their order, so that one is found by a guess or by halving.

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::Pace;
use super::vocabulary::{TaskId, WorkerId};

/// Where a worker is in its life; the table is in [`supervisor`](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Starting,
    Initializing,
    Ready,
    Retiring,
    Overdue,
    Killed,
}

/// What was asked about a task that a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    Nothing,
    /// To give it back, as another worker is to have it.
    ToMove,
    /// To give it back, as it is canceled; `kill`: if it has begun, it is to be killed.
    ToCancel {
        kill: bool,
    },
    /// It was asked to give it back, and had begun it; `kill`: it is to be killed.
    HasBegun {
        kill: bool,
    },
}

impl Asked {
    /// Whether the engine owes an answer.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::ToMove | Self::ToCancel { .. })
    }

    /// Whether the task is not wanted even if it has begun.
    pub(super) fn is_kill(self) -> bool {
        matches!(self, Self::ToCancel { kill: true } | Self::HasBegun { kill: true })
    }
}

/// A task that a worker has.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(super) struct Order {
    pub(super) task: TaskId,
    pub(super) asked: Asked,
}

/// One worker.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    phase: Phase,
    /// What it has, the one that it runs or will run first in front.
    orders: VecDeque<Order>,
    /// How many items it was given in all.
    pub(super) items: u64,
    pub(super) has_finished_any: bool,
    pub(super) pace: Pace,
    /// Since when it has had the task in front.
    pub(super) busy_since: Duration,
    /// When it is killed: for not being ready, for the task in front, or for not having ended.
    pub(super) deadline: Option<Duration>,
    /// Until when it is offered nothing, as its desk was full.
    pub(super) stuffed_until: Option<Duration>,
    /// The task for which it was killed, whose time was over.
    pub(super) timed_out: Option<TaskId>,
    /// It was killed since it was not ready in time.
    pub(super) is_late: bool,
}

impl Worker {
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn orders(&self) -> &VecDeque<Order> {
        &self.orders
    }

    /// Which of its orders that task is.
    pub(super) fn position(&self, task: TaskId) -> Option<usize> {
        self.orders.iter().position(|order| order.task == task)
    }

    /// How many tasks it has beyond the one in front.
    pub(super) fn ahead(&self) -> usize {
        self.orders.len().saturating_sub(1)
    }

    /// Whether nothing was asked about the one behind the front.
    pub(super) fn next_is_unasked(&self) -> bool {
        self.orders.get(1).is_some_and(|order| order.asked == Asked::Nothing)
    }

    /// Whether it takes a task behind those that it has: not while one of them is timed.
    pub(super) fn takes_more(&self) -> bool {
        self.phase == Phase::Ready && self.deadline.is_none() && self.stuffed_until.is_none()
    }
}

/// All workers whose end was not told.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(super) struct Workers {
    list: Vec<Worker>,
    /// Those that are ready and have nothing; the last one of them was busy last, and is warm.
    idle: Vec<WorkerId>,
    next: WorkerId,
    starting: usize,
    /// Those that were told to end.
    ending: usize,
    /// How many tasks they have beyond those in front.
    ahead: usize,
    /// Whose turn it is to be looked at when a task comes and nobody is idle.
    turn: usize,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), idle: Vec::new(), next: 0, starting: 0, ending: 0, ahead: 0, turn: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.list.iter()
    }

    pub(super) fn ids(&self) -> Vec<WorkerId> {
        self.list.iter().map(|worker| worker.id).collect()
    }

    /// How many there are apart from those that are told to end.
    pub(super) fn live(&self) -> usize {
        self.list.len() - self.ending
    }

    /// How many of them are not yet ready.
    pub(super) fn starting(&self) -> usize {
        self.starting
    }

    /// How many tasks they have beyond those in front.
    pub(super) fn ahead(&self) -> usize {
        self.ahead
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// A new one, which is to be started.
    pub(super) fn insert(&mut self) -> WorkerId {
        let id = self.next;
        self.next += 1;
        self.starting += 1;
        self.list.push(Worker {
            id,
            phase: Phase::Starting,
            orders: VecDeque::new(),
            items: 0,
            has_finished_any: false,
            pace: Pace::default(),
            busy_since: Duration::ZERO,
            deadline: None,
            stuffed_until: None,
            timed_out: None,
            is_late: false,
        });
        id
    }

    fn index_of(&self, id: WorkerId) -> Option<usize> {
        // Where nobody has died for long the ids have no gaps, and it is here.
        let guess = id.checked_sub(self.list.first()?.id)? as usize;
        if self.list.get(guess).is_some_and(|worker| worker.id == id) {
            return Some(guess);
        }
        self.list.binary_search_by_key(&id, |worker| worker.id).ok()
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.index_of(id).map(|index| &self.list[index])
    }

    pub(super) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.index_of(id).map(|index| &mut self.list[index])
    }

    /// Forgets one that has ended; what it had is for the caller to look after.
    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.list.remove(self.index_of(id)?);
        self.count_phase(worker.phase, usize::wrapping_sub);
        self.ahead -= worker.ahead();
        self.unrest(id);
        Some(worker)
    }

    pub(super) fn set_phase(&mut self, id: WorkerId, phase: Phase) {
        let Some(worker) = self.get_mut(id) else { return };
        let former = std::mem::replace(&mut worker.phase, phase);
        self.count_phase(former, usize::wrapping_sub);
        self.count_phase(phase, usize::wrapping_add);
        self.unrest(id);
    }

    fn count_phase(&mut self, phase: Phase, change: fn(usize, usize) -> usize) {
        match phase {
            Phase::Starting | Phase::Initializing => self.starting = change(self.starting, 1),
            Phase::Retiring | Phase::Overdue => self.ending = change(self.ending, 1),
            Phase::Ready | Phase::Killed => {}
        }
    }

    /// Gives a worker a task, behind those that it has.
    pub(super) fn push_order(&mut self, id: WorkerId, task: TaskId) {
        let Some(worker) = self.get_mut(id) else { return };
        worker.orders.push_back(Order { task, asked: Asked::Nothing });
        self.ahead += usize::from(worker.orders.len() > 1);
    }

    /// Takes a task from a worker.
    pub(super) fn remove_order(&mut self, id: WorkerId, position: usize) {
        let Some(worker) = self.get_mut(id) else { return };
        if worker.orders.remove(position).is_some() && !worker.orders.is_empty() {
            self.ahead -= 1;
        }
    }

    /// Takes all that a worker has.
    pub(super) fn clear_orders(&mut self, id: WorkerId) {
        let Some(worker) = self.get_mut(id) else { return };
        let ahead = worker.ahead();
        worker.orders.clear();
        self.ahead -= ahead;
    }

    /// Notes what was asked about a task, and says what had been.
    pub(super) fn ask(&mut self, id: WorkerId, position: usize, asked: Asked) -> Option<Asked> {
        let order = self.get_mut(id)?.orders.get_mut(position)?;
        Some(std::mem::replace(&mut order.asked, asked))
    }

    /// A worker has nothing to do.
    pub(super) fn rest(&mut self, id: WorkerId) {
        self.idle.push(id);
    }

    fn unrest(&mut self, id: WorkerId) {
        self.idle.retain(|&idle| idle != id);
    }

    /// The idle worker that was busy last.
    pub(super) fn take_idle(&mut self) -> Option<WorkerId> {
        self.idle.pop()
    }

    /// The next in turn.
    pub(super) fn next_in_turn(&mut self) -> Option<WorkerId> {
        self.turn = if self.turn + 1 < self.list.len() { self.turn + 1 } else { 0 };
        self.list.get(self.turn).map(|worker| worker.id)
    }
}
