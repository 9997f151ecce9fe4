//! Semaphores: never more permits than there are, and none lost with the dead.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use procession_sync::{BoundedSemaphore, LockError, Permit, Semaphore};

use crate::board::Own;
use crate::subject::{LEDGER, Place, Subject};
use crate::worker::Worker;

/// Permits: fewer than workers.
const PERMITS: u32 = 2;

/// How long a worker waits for a permit. If it gets none, those killed between taking and giving may have forgotten all.
const WAIT_MAX: Duration = Duration::from_millis(80);

const PLACES: &[Place] = &[
    Place::outside("semaphore: to take"),
    Place::inside("semaphore: taken"),
    Place::outside("semaphore: woken"),
    Place::inside("semaphore: to give"),
    Place::inside("semaphore: to forget"),
    Place::outside("semaphore: to release"),
    Place::outside("semaphore: given, not woken"),
    Place::outside("semaphore: woke"),
];

impl Subject for BoundedSemaphore {
    const NAME: &'static str = "bounded-semaphore";

    const PLACES: &'static [&'static [Place]] = &[PLACES, LEDGER];

    fn new() -> Self {
        Self::new(PERMITS).unwrap()
    }

    fn turn(&self, worker: &Worker) {
        worker.tells(false);
        let permit = match worker.below(8) {
            0 => self.try_acquire(),
            _ => self.acquire_timeout(WAIT_MAX),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(LockError::WouldBlock) => return,
            // Some may have been forgotten by workers that were then killed; nobody can give back what was not.
            Err(LockError::Timeout) => return give_back(self),
            Err(error) => panic!("{error}"),
        };
        worker.had();
        worker.board.set(worker.number, Own::Has, 1);
        let first = with_permits(worker);
        if first.len() > PERMITS as usize {
            // While these were looked at one by one, a permit may have gone from one to the next.
            let again = with_permits(worker);
            let have = first.iter().filter(|had| again.contains(had)).count();
            assert!(have <= PERMITS as usize, "{have} workers have permits of {PERMITS}");
        }
        worker.use_it();
        worker.board.set(worker.number, Own::Has, 0);
        if worker.below(4) == 0 {
            permit.forget();
        } else {
            drop(permit);
        }
        give_back(self);
        worker.passed();
    }

    fn is_quiet(&self, _: &Worker) {
        while self.release(1).is_ok() {}
        let permits: Vec<_> = (0..PERMITS).map(|_| self.try_acquire().unwrap()).collect();
        assert!(matches!(self.try_acquire(), Err(LockError::WouldBlock)));
        let held: u32 = self.holders().into_iter().map(|(_, count)| count).sum();
        assert_eq!((self.available(), held, self.waiters()), (0, PERMITS, 0));
        drop(permits);
        assert_eq!((self.available(), self.holders()), (PERMITS, vec![]));
    }
}

/// The workers that say they have a permit, each with the number of its turn.
fn with_permits(worker: &Worker) -> Vec<(usize, u64)> {
    let have = worker.board.of_the_living(Own::Has).filter(|&(_, has)| has != 0);
    have.map(|(number, _)| (number, worker.board.own(number, Own::Turns).load(SeqCst))).collect()
}

/// Gives back a permit if one is forgotten: this one's, or that of one that was killed.
fn give_back(semaphore: &BoundedSemaphore) {
    match semaphore.release(1) {
        Ok(()) | Err(LockError::OverRelease { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Words of the board: permits added and taken away for good, at the beginning and at the end of each.
const ADDS: usize = 0;
const ADDED: usize = 1;
const TAKES: usize = 2;
const TOOK: usize = 3;

impl Subject for Semaphore {
    const NAME: &'static str = "semaphore";

    const PLACES: &'static [&'static [Place]] = &[PLACES, LEDGER];

    fn new() -> Self {
        Self::new(PERMITS).unwrap()
    }

    fn turn(&self, worker: &Worker) {
        worker.tells(false);
        let permit = match worker.below(8) {
            0 => self.try_acquire(),
            _ => self.acquire_timeout(WAIT_MAX),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(LockError::WouldBlock) => return,
            Err(LockError::Timeout) => return add(self, worker),
            Err(error) => panic!("{error}"),
        };
        worker.had();
        worker.use_it();
        match worker.below(4) {
            0 if total(self) > PERMITS => {
                count(worker, TAKES);
                permit.forget();
                count(worker, TOOK);
            }
            choice => {
                drop(permit);
                worker.passed();
                if choice == 1 && total(self) <= PERMITS {
                    add(self, worker);
                }
            }
        }
    }

    fn is_quiet(&self, worker: &Worker) {
        let counted = |at| worker.board.spare(at).swap(0, SeqCst) as u32;
        let [adds, added, takes, took] = [ADDS, ADDED, TAKES, TOOK].map(counted);
        let mut permits = Vec::new();
        while let Ok(permit) = self.try_acquire() {
            permits.push(permit);
        }
        let total = permits.len() as u32;
        let (least, most) = ((PERMITS + added).saturating_sub(takes), PERMITS + adds - took);
        assert!((least..=most).contains(&total), "{total} permits, which should be {least} to {most}");
        assert_eq!((self.available(), self.waiters()), (0, 0));
        permits.into_iter().for_each(Permit::forget);
        assert_eq!(self.holders(), []);
        self.release(PERMITS).unwrap();
    }
}

fn count(worker: &Worker, at: usize) {
    worker.board.spare(at).fetch_add(1, SeqCst);
}

/// How many permits there are, about.
fn total(semaphore: &Semaphore) -> u32 {
    let held: u32 = semaphore.holders().into_iter().map(|(_, count)| count).sum();
    semaphore.available() + held
}

/// Adds a permit for good.
fn add(semaphore: &Semaphore, worker: &Worker) {
    count(worker, ADDS);
    semaphore.release(1).unwrap();
    count(worker, ADDED);
    worker.passed();
}
