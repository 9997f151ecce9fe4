//! The barrier: all pass or none, and a party that is killed breaks the round.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use procession_sync::{Barrier, BarrierError};

use crate::board::Common;
use crate::subject::{Place, Subject};
use crate::worker::Worker;

/// So few that some workers come too early for a round.
const PARTIES: usize = 2;

/// How long a party waits for the other one, which may have been killed before it came.
const WAIT_MAX: Duration = Duration::from_millis(120);

/// Words of the board: who passed first and who last, since the barrier was at rest; and the deaths until then.
const FIRST: usize = 0;
const LAST: usize = 1;
const DEATHS: usize = 2;

const PLACES: &[Place] = &[
    Place::inside("barrier: to arrive"),
    Place::inside("barrier: arrived"),
    Place::inside("barrier: passed, not woken"),
    Place::inside("barrier: to park"),
    Place::inside("barrier: woken"),
    Place::outside("barrier: to leave"),
    Place::seldom("barrier: acted"), // Nothing is to be done here before all pass.
    Place::outside("barrier: broken, not woken").rare(),
    Place::outside("barrier: to reset").rare(),
    Place::outside("barrier: reset, not woken").rare(),
];

impl Subject for Barrier {
    const NAME: &'static str = "barrier";

    const PLACES: &'static [&'static [Place]] = &[PLACES];

    /// Everybody is woken at once. Each of the others may be about to say that it has passed.
    const PASSES_MAX: u64 = 4;

    const STRANDS: &'static [&'static str] =
        &["barrier: passed, not woken", "barrier: broken, not woken", "barrier: reset, not woken"];

    fn new() -> Self {
        Self::new(PARTIES).unwrap()
    }

    fn turn(&self, worker: &Worker) {
        worker.tells(false);
        match self.wait_timeout(WAIT_MAX) {
            Ok(turn) if turn.is_leader() => {
                worker.board.spare(LAST).fetch_add(1, SeqCst);
                worker.passed();
            }
            Ok(turn) => {
                assert_eq!(turn.index(), 0);
                worker.board.spare(FIRST).fetch_add(1, SeqCst);
                worker.had();
            }
            Err(BarrierError::Broken | BarrierError::Timeout) => {
                if self.is_broken() {
                    self.reset().unwrap();
                }
                return;
            }
            Err(error) => panic!("{error}"),
        }
        worker.use_it();
    }

    fn is_quiet(&self, worker: &Worker) {
        // What was killed in a pass is not in both counts.
        let [first, last] = [FIRST, LAST].map(|at| worker.board.spare(at).swap(0, SeqCst));
        let deaths = worker.board.get(Common::Deaths);
        let killed = deaths - worker.board.spare(DEATHS).swap(deaths, SeqCst);
        assert!(first.abs_diff(last) <= killed, "{first} passed as the first of a round, {last} as the last");
        self.reset().unwrap();
        assert!(matches!(self.try_wait(), Err(BarrierError::WouldBlock)));
        assert_eq!((self.n_waiting(), self.is_broken()), (0, false));
    }
}
