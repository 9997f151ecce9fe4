//! What workers tell: that they exist, are ready, have finished a task, or died.

use std::time::Duration;

use super::starts::{Omen, Outlook};
use super::vocabulary::{Action, TaskId, Verdict, WorkerId};
use super::workers::{Asked, Phase, Worker};
use super::{POISON_DEATHS_MAX, Step, Supervisor, pause_after};

impl Supervisor {
    pub(super) fn started(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        if !self.is_in(worker, &[Phase::Starting]) {
            return;
        }
        self.workers.set_phase(worker, Phase::Initializing);
        if self.is_killed {
            // Everything was killed while there was no process to be killed.
            return self.kill(worker, step);
        }
        let deadline = self.config.start_timeout.and_then(|timeout| step.now.checked_add(timeout));
        if let Some(it) = self.workers.get_mut(worker) {
            it.deadline = deadline;
        }
        deadline.inspect(|&at| self.alarm.want(at));
    }

    pub(super) fn not_started(&mut self, worker: WorkerId, outlook: Outlook, step: &mut Step<'_>) {
        if self.is_in(worker, &[Phase::Starting]) {
            self.workers.remove(worker);
            self.was_fruitless(outlook, step);
        }
    }

    pub(super) fn ready(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        if self.is_in(worker, &[Phase::Starting, Phase::Initializing]) {
            self.workers.set_phase(worker, Phase::Ready);
            if let Some(it) = self.workers.get_mut(worker) {
                it.deadline = None;
            }
            self.starts.ready();
            self.rest(worker, step);
        }
    }

    fn is_in(&self, worker: WorkerId, phases: &[Phase]) -> bool {
        self.workers.get(worker).is_some_and(|it| phases.contains(&it.phase()))
    }

    pub(super) fn finished(&mut self, worker: WorkerId, task: TaskId, failed: bool, step: &mut Step<'_>) {
        let Some(it) = self.workers.get_mut(worker) else { return };
        let Some(position) = it.position(task) else { return };
        it.pace.learn(step.now.saturating_sub(it.busy_since));
        it.busy_since = step.now;
        it.has_finished_any = true;
        it.stuffed_until = None;
        let is_unwanted = it.timed_out == Some(task) || it.orders()[position].asked.is_kill();
        if it.phase() == Phase::Ready {
            // Nobody is to be killed for what has finished.
            it.deadline = None;
        }
        self.workers.remove_order(worker, position);
        self.starts.finished();
        if is_unwanted || !failed || !self.try_anew(task, step) {
            let attempts = self.tasks.attempts(task);
            self.resolve(task, if failed { Verdict::Failed { attempts } } else { Verdict::Completed }, step);
        }
        self.press(worker, step);
        self.rest(worker, step);
        self.hand_out(step);
        self.top_up(worker, step);
    }

    pub(super) fn died(&mut self, worker: WorkerId, running: Option<TaskId>, step: &mut Step<'_>) {
        let Some(dead) = self.workers.remove(worker) else { return };
        // From the last on, as each comes first in the queue.
        for order in dead.orders().iter().rev() {
            let task = order.task;
            if order.asked.is_kill() {
                self.resolve(task, Verdict::Cancelled, step);
            } else if dead.timed_out == Some(task) {
                self.timed_out(task, step);
            } else if running == Some(task) {
                self.lost(task, step);
            } else if matches!(order.asked, Asked::ToCancel { .. }) {
                self.resolve(task, Verdict::Cancelled, step);
            } else {
                self.tasks.hold(task);
                self.tasks.push_first(task);
            }
        }
        self.take_omen(&dead, step);
    }

    /// A worker died of a task.
    fn lost(&mut self, task: TaskId, step: &mut Step<'_>) {
        let deaths = self.tasks.care_mut(task).map_or(1, |care| {
            care.deaths += 1;
            care.deaths
        });
        let is_poison = deaths >= POISON_DEATHS_MAX;
        if is_poison || !self.try_anew(task, step) {
            let attempts = self.tasks.attempts(task);
            let given_up = is_poison && self.tasks.care_mut(task).is_some_and(|care| care.retries > 0);
            self.resolve(task, Verdict::Died { attempts, given_up }, step);
        }
    }

    /// A worker was killed since a task took too long, whether or not it had begun it.
    fn timed_out(&mut self, task: TaskId, step: &mut Step<'_>) {
        if !self.try_anew(task, step) {
            let after = self.tasks.timeout(task).unwrap_or_default();
            let attempts = self.tasks.attempts(task);
            self.resolve(task, Verdict::TimedOut { after, attempts }, step);
        }
    }

    /// Lets a task be tried once more, if retries are left.
    fn try_anew(&mut self, task: TaskId, step: &mut Step<'_>) -> bool {
        let Some(care) = self.tasks.care_mut(task).filter(|care| care.retries > 0) else { return false };
        let backoff = pause_after(care.attempts, care.backoff);
        care.retries -= 1;
        care.attempts += 1;
        self.tasks.hold(task);
        if backoff == Duration::ZERO {
            // Behind the others: what has failed is likely to fail again.
            self.tasks.push_last(task);
        } else {
            let due = step.now.saturating_add(backoff);
            self.tasks.delay(task, due);
            self.alarm.want(due);
        }
        true
    }

    /// Takes from a death what it means for the next starts.
    fn take_omen(&mut self, dead: &Worker, step: &mut Step<'_>) {
        match dead.phase() {
            Phase::Starting | Phase::Initializing => self.was_fruitless(Outlook::Unknown, step),
            Phase::Killed if dead.is_late => self.was_fruitless(self.outlook_after_late(), step),
            Phase::Ready if !dead.has_finished_any => self.starts.barren(step.now),
            Phase::Ready | Phase::Retiring | Phase::Overdue | Phase::Killed => {}
        }
    }

    /// What hangs is likely to hang again, and tasks would wait for as long once more; unless there is a worker that did not.
    fn outlook_after_late(&self) -> Outlook {
        let is_any_ready = self.workers.iter().any(|worker| worker.phase() == Phase::Ready);
        if is_any_ready { Outlook::Unknown } else { Outlook::None }
    }

    /// A worker ended that was never ready.
    fn was_fruitless(&mut self, outlook: Outlook, step: &mut Step<'_>) {
        if !self.wants_workers() {
            return;
        }
        let omen = self.starts.fruitless(outlook, step.now);
        let deaths = self.starts.deaths();
        if omen == Omen::StormBegins {
            step.say(Action::Storm { deaths });
        }
        if omen == Omen::None || self.workers.live() > 0 {
            return;
        }
        while let Some(task) = self.tasks.first() {
            self.resolve(task, Verdict::NoWorkers { deaths }, step);
        }
    }
}
