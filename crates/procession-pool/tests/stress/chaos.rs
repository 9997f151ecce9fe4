//! A thread that kills workers, or stops them for a while, at any instruction.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::Duration;

use procession_sys::{PidFd, Signal, send_signal};
use procession_testkit::Random;

/// The longest time between two of its deeds.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// How long it stops a worker, at most.
const STOP_MAX: Duration = Duration::from_millis(3);

const CONTINUE: i32 = 18;

/// What it has done.
#[derive(Debug, Default)]
pub(crate) struct Chaos {
    pub(crate) kills: AtomicU64,
    pub(crate) stops: AtomicU64,
}

impl Chaos {
    /// Does it until it is to end.
    pub(crate) fn run(&self, mut random: Random, pids: impl Fn() -> Vec<u32>, ends: &AtomicBool) {
        while !ends.load(SeqCst) {
            thread::park_timeout(random.time(PAUSE_MAX)); // It is to happen at any time.
            let pids = pids();
            let Some(&pid) = random.choose(&pids) else { continue };
            // Whoever has died just now is reaped by its pool, and its number is not given anew so soon.
            let Ok(worker) = PidFd::open(pid) else { continue };
            if random.once_in(4) {
                self.stop(&worker, pid, &mut random);
            } else {
                self.kill(&worker);
            }
        }
    }

    fn kill(&self, worker: &PidFd) {
        self.kills.fetch_add(1, SeqCst);
        worker.send(Signal::KILL).unwrap();
    }

    /// Stops a worker, and lets it go on or kills it.
    fn stop(&self, worker: &PidFd, pid: u32, random: &mut Random) {
        self.stops.fetch_add(1, SeqCst);
        worker.send(Signal::STOP).unwrap();
        thread::park_timeout(random.time(STOP_MAX)); // For as long as it is stopped.
        if random.once_in(2) {
            self.kill(worker);
        } else {
            let _ = send_signal(pid, CONTINUE); // It has died of something else.
        }
    }
}
