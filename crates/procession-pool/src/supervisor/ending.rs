//! How many workers there are: their starts and ends, and the end of all. And what is due at a time.

use super::vocabulary::{Action, Verdict, WorkerId};
use super::workers::{Phase, Worker};
use super::{Step, Supervisor};

impl Supervisor {
    /// Starts the workers that are missing, or asks to be woken when it may.
    pub(super) fn start_workers(&mut self, step: &mut Step<'_>) {
        let missing = self.missing();
        if missing == 0 {
            return;
        }
        let at = self.starts.not_before();
        if at > step.now {
            return self.alarm.want(at);
        }
        for _ in 0..missing {
            let worker = self.workers.insert();
            step.say(Action::Start { worker });
        }
    }

    /// How many more workers there should be.
    fn missing(&self) -> usize {
        let live = self.workers.live();
        let room = (self.config.size as usize).saturating_sub(live);
        if room == 0 || self.is_killed {
            return 0;
        }
        // What waits behind another task counts as well: that one may never end.
        let waiting = self.tasks.queued() + self.workers.ahead();
        // One that was not ready in time is not replaced before it has ended: whether there is to be another depends on that.
        let coming = self.workers.starting() + self.workers.iter().filter(|worker| worker.is_late).count();
        let in_demand = waiting.saturating_sub(coming + self.workers.idle());
        if self.starts.is_storm() {
            return in_demand.min(1 - coming.min(1));
        }
        if self.config.eager && !self.is_closed { room } else { room.min(in_demand) }
    }

    /// Ends the workers that have nothing left to do once nothing more comes, and says so when all have ended.
    pub(super) fn wind_up(&mut self, step: &mut Step<'_>) {
        let is_waiting = self.tasks.queued() + self.tasks.delayed() + self.workers.ahead() > 0;
        if !is_waiting {
            while let Some(worker) = self.workers.take_idle() {
                self.retire(worker, step);
            }
        }
        if self.tasks.is_empty() && self.workers.starting() > 0 {
            self.end_those_that_begin(step);
        }
        if self.workers.is_empty() && self.tasks.is_empty() && !self.is_ended {
            self.is_ended = true;
            step.say(Action::AllEnded);
        }
    }

    /// Kills the workers that are not ready, for whom there will never be anything to do: their initializer may take for ever.
    fn end_those_that_begin(&mut self, step: &mut Step<'_>) {
        for worker in self.workers.ids() {
            if self.workers.get(worker).is_some_and(|it| it.phase() == Phase::Initializing) {
                self.kill(worker, step);
            }
        }
    }

    pub(super) fn kill_all(&mut self, step: &mut Step<'_>) {
        self.is_closed = true;
        self.is_killed = true;
        for task in self.tasks.ids() {
            self.resolve(task, Verdict::Terminated, step);
        }
        for worker in self.workers.ids() {
            self.workers.clear_orders(worker);
            let phase = self.workers.get(worker).map(Worker::phase);
            // Who has no process yet is killed as soon as there is one.
            if !matches!(phase, Some(Phase::Starting | Phase::Overdue | Phase::Killed)) {
                self.kill(worker, step);
            }
        }
    }

    /// Does what is due, and asks to be woken for what is not.
    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        self.alarm.ring(step.now);
        while let Some((due, task)) = self.tasks.first_delayed() {
            if due > step.now {
                self.alarm.want(due);
                break;
            }
            self.tasks.hold(task);
            self.tasks.push_last(task);
        }
        for worker in self.workers.ids() {
            self.look_at_clock(worker, step);
        }
    }

    /// Kills a worker whose time is over, and looks anew at one whose desk was full.
    pub(super) fn look_at_clock(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        let Some(it) = self.workers.get_mut(worker) else { return };
        if it.stuffed_until.is_some_and(|until| until <= step.now) {
            it.stuffed_until = None;
            self.rest(worker, step);
        } else if let Some(until) = it.stuffed_until {
            self.alarm.want(until);
        }
        let Some(it) = self.workers.get_mut(worker) else { return };
        // While it is not known whether the task was taken back, there is nobody to kill; the answer leads here again.
        let is_unsure = it.orders().front().is_some_and(|order| order.asked.is_open());
        match it.deadline.filter(|_| !is_unsure) {
            Some(deadline) if deadline <= step.now && it.phase() == Phase::Initializing => {
                self.give_up(worker, step);
            }
            Some(deadline) if deadline <= step.now => {
                it.timed_out = it.orders().front().map(|order| order.task);
                self.kill(worker, step);
            }
            Some(deadline) => self.alarm.want(deadline),
            None => {}
        }
    }

    /// Kills a worker that was not ready in time. Its death counts as that of one that could not work.
    fn give_up(&mut self, worker: WorkerId, step: &mut Step<'_>) {
        let Some(it) = self.workers.get_mut(worker) else { return };
        (it.deadline, it.is_late) = (None, true);
        self.workers.set_phase(worker, Phase::Killed);
        step.say(Action::GiveUp { worker });
    }
}
