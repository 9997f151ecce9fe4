//! A thread that waits for a result takes reports in itself.

use std::thread;

use procession_sync::protocol::Spin;
use procession_sys::{Deadline, Interest, poll_one};

use super::core::Core;
use super::{Engine, RECHECK};
use crate::cell::{Backend, park};
use crate::desk::Listener;

/// After so many looks for ends a thread that spins looks for parts of reports, too, whose worker may be waiting for room.
const TURNS_BETWEEN_LOOKS: u32 = 64;

impl Backend for Engine {
    fn drive(&self, done: &mut dyn FnMut() -> bool, deadline: Deadline) {
        if !self.is_own() {
            return park(done, deadline);
        }
        let mut stood_in_line = false;
        while !done() && !deadline.has_passed() {
            if self.begin_to_drive() {
                // Whatever happens in here, as `done` may panic: the next one, or the background thread, takes over.
                Driver(self).run(done, deadline);
            } else {
                stood_in_line = true;
                // Whoever drives unparks this thread when its task ends, or when it is this one's turn to drive.
                match deadline.remaining() {
                    None => thread::park(),
                    Some(left) => thread::park_timeout(left),
                }
            }
        }
        if stood_in_line {
            self.core.lock().leave_line();
        }
    }

    fn cancel(&self, id: u64, kill: bool) -> bool {
        if !self.is_own() {
            return false;
        }
        let mut core = self.core.lock();
        let cancelled = core.cancel(id, kill);
        self.unlock(core);
        cancelled
    }

    fn is_running(&self, id: u64) -> bool {
        self.is_own() && self.core.lock().is_running(id)
    }

    fn attend(&self) {
        if self.is_own() && self.core.lock().attend() {
            self.bells.of(Listener::Background).ring();
        }
    }
}

/// The one thread that drives.
struct Driver<'e>(&'e Engine);

impl Driver<'_> {
    fn run(&self, done: &mut dyn FnMut() -> bool, deadline: Deadline) {
        let engine = self.0;
        while !done() && !deadline.has_passed() {
            if !self.take_in(Core::look) && !self.spin(done, deadline) {
                engine.await_bell(done, deadline);
            }
        }
    }

    /// Takes in what a look finds; true if there was anything.
    fn take_in(&self, look: fn(&mut Core) -> bool) -> bool {
        let mut core = self.0.core.lock();
        let any = look(&mut core);
        self.0.unlock(core);
        any
    }

    /// Looks for a while, if a processor is left for that; false when it is time to sleep.
    fn spin(&self, done: &mut dyn FnMut() -> bool, deadline: Deadline) -> bool {
        if !self.0.may_spin() {
            return false;
        }
        let spin = Spin::new(std::ptr::from_ref(self.0).addr());
        let mut turns = 0_u32;
        while spin.turn(deadline) {
            turns = turns.wrapping_add(1);
            let is_full = turns.is_multiple_of(TURNS_BETWEEN_LOOKS);
            if self.take_in(if is_full { Core::look } else { Core::look_for_ends }) || done() {
                return true;
            }
        }
        false
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        let mut core = self.0.core.lock();
        // What came before workers were asked to ring, the background thread is to look at.
        if core.stop_driving() {
            self.0.bells.of(Listener::Background).ring();
        }
        self.0.unlock(core);
    }
}

impl Engine {
    /// True for who drives from now on; who does not stands in line.
    fn begin_to_drive(&self) -> bool {
        let mut core = self.core.lock();
        if core.is_driven {
            core.stand_in_line();
            return false;
        }
        core.is_driven = true;
        core.listen(None);
        true
    }

    /// True if a processor is left beside those that workers use.
    fn may_spin(&self) -> bool {
        let busy = self.core.lock().members.values().filter(|member| !member.offers.is_empty()).count();
        busy < self.processors
    }

    /// Sleeps until a worker rings, or somebody has ended a task.
    fn await_bell(&self, done: &mut dyn FnMut() -> bool, deadline: Deadline) {
        let mut core = self.core.lock();
        core.listen(Some(Listener::Driver));
        let any = core.look();
        self.unlock(core);
        if !any && !done() {
            let _ = poll_one(self.bells.of(Listener::Driver), Interest::Read, deadline.min(Deadline::after(RECHECK)));
        }
        self.bells.of(Listener::Driver).reset();
        self.core.lock().listen(None);
    }
}
