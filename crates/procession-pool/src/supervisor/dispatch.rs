//! Tasks come and go to workers: those that are idle first, then ahead to those that are fast.

use std::time::Duration;

use super::vocabulary::{Action, TaskId, Terms, Verdict, WorkerId};
use super::workers::{Asked, Phase, Worker};
use super::{MOVE_AFTER, NO_ROOM_RETRY, Step, Supervisor};

impl Supervisor {
    pub(super) fn submitted(&mut self, task: TaskId, terms: &Terms, step: &mut Step<'_>) {
        if self.is_closed {
            step.say(Action::Resolve { task, verdict: Verdict::Terminated });
            return;
        }
        if !self.tasks.insert(task, terms) {
            return;
        }
        self.tasks.push_last(task);
        if self.workers.idle() == 0 {
            self.overtake(terms.priority, step);
            // Nobody will report while the caller goes on submitting, so who is fast is looked for here as well.
            let next = self.workers.next_in_turn();
            next.inspect(|&worker| self.top_up(worker, step));
        }
    }

    /// Takes back what waits behind running tasks and is less urgent than a task that has just come.
    fn overtake(&mut self, priority: i32, step: &mut Step<'_>) {
        if self.workers.ahead() == 0 || priority <= self.tasks.least_priority() {
            return;
        }
        for worker in self.workers.ids() {
            // From the last on, so that they come back in their order.
            for position in (1..self.workers.get(worker).map_or(0, |it| it.orders().len())).rev() {
                let order = self.workers.get(worker).and_then(|it| it.orders().get(position));
                let is_less = |task| self.tasks.priority(task).is_some_and(|its| its < priority);
                if order.is_some_and(|order| order.asked == Asked::Nothing && is_less(order.task)) {
                    self.revoke(worker, position, Asked::ToMove, step);
                }
            }
        }
    }

    /// Gives tasks to whoever is idle.
    pub(super) fn hand_out(&mut self, step: &mut Step<'_>) {
        while let Some(task) = self.tasks.first() {
            let Some(worker) = self.workers.take_idle() else { break };
            if self.fits(worker, task) {
                self.tasks.hold(task);
                self.offer(worker, task, step);
            } else {
                self.retire(worker, step);
            }
        }
    }

    /// Whether a worker may have a task without having more than its number of items. A new one may have any.
    fn fits(&self, worker: WorkerId, task: TaskId) -> bool {
        let Some(it) = self.workers.get(worker) else { return false };
        let items = it.items.saturating_add(self.tasks.items(task));
        it.items == 0 || self.config.tasks_per_child.is_none_or(|most| items <= most)
    }

    fn offer(&mut self, worker: WorkerId, task: TaskId, step: &mut Step<'_>) {
        let items = self.tasks.items(task);
        let deadline = self.tasks.timeout(task).and_then(|timeout| step.now.checked_add(timeout));
        self.tasks.offer(task, worker);
        self.workers.push_order(worker, task);
        if let Some(it) = self.workers.get_mut(worker) {
            it.items = it.items.saturating_add(items);
            if it.orders().len() == 1 {
                it.busy_since = step.now;
            }
            it.deadline = deadline.or(it.deadline);
        }
        deadline.inspect(|&at| self.alarm.want(at));
        step.say(Action::Offer { worker, task });
    }

    /// Gives a busy worker as many tasks ahead as it is fast enough for.
    pub(super) fn top_up(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        let Some(it) = self.workers.get(worker) else { return };
        let share = (self.tasks.queued() + self.workers.ahead()) / self.workers.live().max(1);
        let allowed = share.min(it.pace.ahead(self.config.prefetch_max) as usize);
        if it.orders().is_empty() || !it.takes_more() {
            return;
        }
        for _ in it.ahead()..allowed {
            let may_follow = |&task: &TaskId| self.fits(worker, task) && self.tasks.timeout(task).is_none();
            let Some(task) = self.tasks.first().filter(may_follow) else { break };
            self.tasks.hold(task);
            self.offer(worker, task, step);
        }
    }

    /// Whether a worker has been given its number of items.
    fn is_full(&self, worker: &Worker) -> bool {
        self.config.tasks_per_child.is_some_and(|most| worker.items >= most)
    }

    /// What a worker does that has nothing: it waits, or ends if it was given its number.
    pub(super) fn rest(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        let Some(it) = self.workers.get(worker) else { return };
        if it.phase() != Phase::Ready || !it.orders().is_empty() || it.stuffed_until.is_some() {
            return;
        }
        if self.is_full(it) {
            self.retire(worker, step);
        } else {
            self.workers.rest(worker);
        }
    }

    /// Ends a worker that has nothing.
    pub(super) fn retire(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        self.workers.set_phase(worker, Phase::Retiring);
        let deadline = self.config.retire_grace.and_then(|grace| step.now.checked_add(grace));
        if let Some(it) = self.workers.get_mut(worker) {
            it.deadline = deadline;
        }
        deadline.inspect(|&at| self.alarm.want(at));
        step.say(Action::Retire { worker });
    }

    /// An offer could not be made: the task comes first again, and the worker is left alone for a while.
    pub(super) fn no_room(&mut self, worker: WorkerId, task: TaskId, step: &mut Step<'_>) {
        let Some(it) = self.workers.get(worker) else { return };
        let Some(position) = it.position(task) else { return };
        let is_unwanted = matches!(it.orders()[position].asked, Asked::ToCancel { .. });
        let until = step.now.saturating_add(NO_ROOM_RETRY);
        if let Some(it) = self.workers.get_mut(worker) {
            it.stuffed_until = Some(until);
        }
        self.alarm.want(until);
        self.take_back(worker, position, step);
        if is_unwanted {
            self.resolve(task, Verdict::Cancelled, step);
        } else {
            self.tasks.push_first(task);
        }
        self.press(worker, step);
    }

    /// Takes a task from a worker that has not begun it, and holds it.
    pub(super) fn take_back(&mut self, worker: WorkerId, position: usize, step: &mut Step<'_>) {
        let Some(task) = self.workers.get(worker).and_then(|it| it.orders().get(position)).map(|it| it.task) else {
            return;
        };
        let items = self.tasks.items(task);
        self.tasks.hold(task);
        self.workers.remove_order(worker, position);
        if let Some(it) = self.workers.get_mut(worker) {
            it.items = it.items.saturating_sub(items);
            if position == 0 {
                it.busy_since = step.now;
                it.deadline = None;
            }
        }
    }

    /// Moves what waits behind a long task to whoever is idle.
    pub(super) fn spread(&mut self, step: &mut Step<'_>) {
        if self.workers.ahead() == 0 || self.workers.idle() == 0 {
            return;
        }
        // One at a time: the answer comes at once, and tells whether there is still somebody idle.
        if self.workers.iter().any(|it| it.orders().iter().any(|order| order.asked == Asked::ToMove)) {
            return;
        }
        let can_move = |it: &&Worker| it.phase() == Phase::Ready && it.ahead() > 0 && it.next_is_unasked();
        let soonest = self.workers.iter().filter(can_move).map(|it| (worth_moving_at(it), it.id)).min();
        match soonest {
            Some((at, _)) if at > step.now => self.alarm.want(at),
            // The one that would begin next: tasks begin in their order.
            Some((_, worker)) => self.revoke(worker, 1, Asked::ToMove, step),
            None => {}
        }
    }

    /// Asks for a task back.
    pub(super) fn revoke(&mut self, worker: WorkerId, position: usize, asked: Asked, step: &mut Step<'_>) {
        let order = self.workers.get(worker).and_then(|it| it.orders().get(position));
        let Some(task) = order.map(|order| order.task) else { return };
        self.workers.ask(worker, position, asked);
        step.say(Action::Revoke { worker, task });
    }
}

/// From when on it is worth while to move a task of a worker that has several.
fn worth_moving_at(worker: &Worker) -> Duration {
    if worker.pace.time_of(worker.ahead()) >= MOVE_AFTER {
        return Duration::ZERO;
    }
    worker.busy_since.saturating_add(MOVE_AFTER)
}
