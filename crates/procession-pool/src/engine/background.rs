//! The thread of a pool: hears of workers' deaths, has workers started, keeps the time, and takes reports in while nobody
//! drives. Nothing here waits for anything but the bells.

use std::sync::Arc;
use std::time::Duration;

use procession_sys::Deadline;

use super::core::{BELL, Core, Rest};
use super::{Engine, RECHECK};
use crate::desk::Listener;
use crate::supervisor::{Event, WorkerId};

/// How long it dozes while threads come and go that submit and wait: they take reports in themselves, and a bell for each
/// would cost more than the tasks.
const DOZE: Duration = Duration::from_millis(1);

/// For how long memory for large arguments is kept after the last task.
const KEEPS_MEMORY: Duration = Duration::from_secs(1);

impl Engine {
    /// What the thread does until the pool has ended.
    pub(super) fn run(self: Arc<Self>) {
        while let Some(deadline) = self.next_deadline() {
            // Nothing that Linux knows goes wrong with it.
            let told = self.watched.wait(deadline).unwrap_or_default();
            if told.contains(&BELL) {
                self.bells.of(Listener::Background).reset();
            }
            let mut core = self.core.lock();
            for worker in told.into_iter().filter(|&token| token != BELL) {
                core.died(worker as WorkerId);
            }
            core.take_in_launched();
            if core.wake.is_some_and(|wake| wake <= core.now()) {
                core.wake = None;
                core.look(); // Whoever is done, or ready, by now is so in time.
                core.tell(Event::Tick);
            }
            if !core.is_driven {
                core.look();
            }
            self.unlock(core);
            self.start_wanted();
        }
        self.join_starter();
        self.ended.notify_all();
    }

    /// Until when it may sleep; `None` when the pool has ended.
    fn next_deadline(&self) -> Option<Deadline> {
        let mut core = self.core.lock();
        if core.has_ended {
            return None;
        }
        let mut deadline = match core.rest() {
            Rest::Driven => Deadline::NEVER,
            Rest::Doze => Deadline::after(DOZE),
            Rest::Sleep => {
                core.listen(Some(Listener::Background));
                let any = core.look();
                let is_expecting = core.is_expecting();
                match (any, is_expecting) {
                    (true, _) => Deadline::NOW,
                    (false, true) => Deadline::after(RECHECK),
                    (false, false) => self.idle_deadline(&mut core),
                }
            }
        };
        if let Some(wake) = core.wake {
            deadline = deadline.min(Deadline::after(wake.saturating_sub(core.now())));
        }
        core.background_wakes = core.wake;
        if core.wants_background() {
            deadline = Deadline::NOW;
        }
        self.unlock(core);
        Some(deadline)
    }

    /// Until when it sleeps while there is nothing to do. What workers keep for large arguments they give back meanwhile.
    fn idle_deadline(&self, core: &mut Core) -> Deadline {
        if !core.keeps_memory() {
            return Deadline::NEVER;
        }
        let now = core.now();
        let since = *core.idle_since.get_or_insert(now);
        if now.saturating_sub(since) >= KEEPS_MEMORY && !core.give_memory_back() {
            return Deadline::NEVER;
        }
        Deadline::after(KEEPS_MEMORY)
    }
}
