//! Tasks that are not wanted any more, and what workers answer when they are asked for one back.

use super::tasks::Place;
use super::vocabulary::{Action, TaskId, Verdict, WorkerId};
use super::workers::{Asked, Phase};
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
        let asked = it.orders()[position].asked;
        // Who is killed dies of this task, whose verdict alone can change.
        let is_dying = it.phase() != Phase::Ready;
        let kill_too = kill || asked.is_kill();
        match asked {
            Asked::Nothing if !is_dying => return self.revoke(worker, position, Asked::ToCancel { kill }, step),
            Asked::Nothing | Asked::HasBegun { .. } => {
                self.workers.ask(worker, position, Asked::HasBegun { kill: kill_too });
            }
            Asked::ToMove | Asked::ToCancel { .. } => {
                self.workers.ask(worker, position, Asked::ToCancel { kill: kill_too });
            }
        }
        self.press(worker, step);
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
        self.workers.ask(worker, position, Asked::HasBegun { kill: asked.is_kill() });
        self.press(worker, step);
        // Its time may be over since it was asked.
        self.look_at_clock(worker, step);
    }

    /// Goes on with a worker that is to be killed for the task in front, if it has begun: whatever else it has is taken back
    /// before. If the task has finished and its report is on its way, one of the others has begun, and nobody is killed.
    pub(super) fn press(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        let Some(it) = self.workers.get(worker).filter(|it| it.phase() == Phase::Ready) else { return };
        if it.orders().front().is_none_or(|order| order.asked != (Asked::HasBegun { kill: true })) {
            return;
        }
        if it.ahead() == 0 {
            return self.kill(worker, step);
        }
        // From the last on, so that they come back in their order.
        for position in (1..it.orders().len()).rev() {
            if self.workers.get(worker).is_some_and(|it| it.orders()[position].asked == Asked::Nothing) {
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
