//! Tasks that are not wanted any more, and what workers answer when they are asked for one back.

use super::tasks::Place;
use super::vocabulary::{Action, TaskId, Verdict, WorkerId};
use super::workers::{Asked, Doom, Phase};
use super::{Step, Supervisor};

impl Supervisor {
    pub(super) fn cancel_asked(&mut self, task: TaskId, kill: bool, step: &mut Step<'_>) {
        match self.tasks.place(task) {
            Some(Place::Offered { worker }) => self.cancel_offered(worker, task, kill, step),
            Some(_) => self.resolve(task, Verdict::Cancelled, step),
            None => {}
        }
    }

    /// Asks the worker for it, who may have begun it.
    fn cancel_offered(&mut self, worker: WorkerId, task: TaskId, kill: bool, step: &mut Step<'_>) {
        let Some(it) = self.workers.get_mut(worker) else { return };
        let Some(position) = it.position(task) else { return };
        if it.phase() != Phase::Ready {
            // It is dying of this task, whose verdict alone can change.
            it.doom = it.doom.map(|doom| if kill { Doom::Cancelled(task) } else { doom });
            return;
        }
        match it.orders()[position].asked {
            Asked::Nothing => self.revoke(worker, position, Asked::ToCancel { kill }, step),
            Asked::ToMove => {
                self.workers.ask(worker, position, Asked::ToCancel { kill });
            }
            Asked::ToCancel { kill: former } => {
                self.workers.ask(worker, position, Asked::ToCancel { kill: kill || former });
            }
            Asked::HasBegun if kill => self.doom(worker, task, step),
            Asked::HasBegun => {}
        }
    }

    pub(super) fn revoked(&mut self, worker: WorkerId, task: TaskId, is_revoked: bool, step: &mut Step<'_>) {
        let Some(it) = self.workers.get_mut(worker) else { return };
        let Some(position) = it.position(task) else { return };
        let asked = it.orders()[position].asked;
        if !asked.is_open() {
            return;
        }
        if is_revoked {
            it.stuffed_until = None;
            self.take_back(worker, position, step);
            match asked {
                Asked::ToCancel { .. } => self.resolve(task, Verdict::Cancelled, step),
                _ => self.tasks.push_first(task),
            }
            self.press(worker, step);
            self.rest(worker, step);
            return;
        }
        self.workers.ask(worker, position, Asked::HasBegun);
        if asked == (Asked::ToCancel { kill: true }) {
            self.doom(worker, task, step);
        }
        // Its time may be over since it was asked.
        self.look_at_clock(worker, step);
    }

    /// Kills a worker for the task that it has begun, as soon as it has nothing else.
    fn doom(&mut self, worker: WorkerId, task: TaskId, step: &mut Step<'_>) {
        if let Some(it) = self.workers.get_mut(worker) {
            it.doom = Some(Doom::Cancelled(task));
        }
        self.press(worker, step);
    }

    /// Goes on with a worker that is to be killed for a task: whatever else it has is taken back before.
    pub(super) fn press(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        let Some(it) = self.workers.get(worker) else { return };
        let Some(task) = it.doom.map(Doom::task).filter(|_| it.phase() == Phase::Ready) else { return };
        if it.orders().len() == 1 && it.position(task) == Some(0) {
            return self.kill(worker, step);
        }
        // From the last on, so that they come back in their order.
        for position in (0..it.orders().len()).rev() {
            let order = self.workers.get(worker).map(|it| it.orders()[position]);
            if order.is_some_and(|order| order.task != task && order.asked == Asked::Nothing) {
                self.revoke(worker, position, Asked::ToMove, step);
            }
        }
    }

    /// Kills a worker, which is told once.
    pub(super) fn kill(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        let Some(it) = self.workers.get_mut(worker) else { return };
        it.deadline = None;
        let was_retiring = it.phase() == Phase::Retiring;
        self.workers.set_phase(worker, if was_retiring { Phase::Overdue } else { Phase::Killed });
        step.say(Action::Kill { worker });
    }

    pub(super) fn cancel_all(&mut self, step: &mut Step<'_>) {
        for task in self.tasks.ids() {
            self.cancel_asked(task, false, step);
        }
    }
}
