//! The supervisor: starts workers, kills some, replaces all that die, and sees that the others go on.
//!
//! Relies on forked workers, which start in a millisecond, and on their sentinels.

use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use procession_launch::{Context, JoinError, Process, StartMethod};
use procession_sys::{Deadline, monotonic_nanos, poll_readable};
use procession_testkit::Random;

use crate::board::{Board, Common, Own, WORKERS_MAX};
use crate::plan::Fate;
use crate::report::{Report, Verdict};
use crate::subject::Subject;
use crate::worker::{Worker, places};

/// Workers at once: more than most machines' idle processors, so that some always sleep.
const WORKERS: usize = 4;
const _: () = assert!(WORKERS < WORKERS_MAX);

/// Kills until everybody returns once and the object is looked at.
const ROUND: u64 = 250;

/// How often in each round one of [`FEW`] is killed and not replaced for [`CALM`].
const LONE_DEATHS: u32 = 4;

/// So few workers that when one dies, the others may never sleep at once: then nobody rescues a sleeper whose wake-up
/// died with the one that had it.
const FEW: usize = 3;

/// Longer than a sleep that nobody ends.
const CALM: Duration = Duration::from_millis(70);

/// How long a worker may be without a turn. What is promised is a tenth of a second.
const STUCK_MAX: Duration = Duration::from_secs(10);

/// How often the workers' turns are counted.
const LOOK: Duration = Duration::from_millis(20);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) kills: u64,
    pub(crate) seed: u64,
}

/// What a worker does.
type Job<S> = fn(&Rc<Worker>, &S, Fate);

/// A worker as the supervisor sees it.
struct Running {
    number: usize,
    process: Process<()>,
    fate: Fate,
    started: Instant,
    /// Whether it was killed from outside.
    killed: bool,
    turns: u64,
    turned: Instant,
}

/// One run.
struct Chase<'a, S> {
    subject: &'a S,
    board: Board,
    random: Random,
    orders: Orders,
    report: Report,
    /// Workers so far.
    serial: u64,
}

/// Kills as many workers as ordered.
pub(crate) fn run<S: Subject>(orders: Orders) -> Verdict {
    let board = Board::new();
    // Nobody is there yet.
    (0..WORKERS_MAX).for_each(|worker| board.set(worker, Own::Rests, 1));
    let subject = S::new();
    let report = Report::new(S::NAME, orders.seed, places::<S>());
    let random = Random::new(orders.seed, 0);
    let mut chase = Chase { subject: &subject, board, random, orders, report, serial: 0 };
    let outcome = chase.rounds();
    chase.report.finish(&chase.board, outcome)
}

impl<S: Subject> Chase<'_, S> {
    fn rounds(&mut self) -> Result<(), String> {
        while self.report.kills() < self.orders.kills && self.report.failures(&self.board).is_empty() {
            self.report.begin_round();
            self.round().map_err(|error| format!("round {}: {error}", self.report.rounds()))?;
        }
        Ok(())
    }

    /// Many kills at once, some with a time to see what they lead to, and a look at the object after either.
    fn round(&mut self) -> Result<(), String> {
        self.crowd()?;
        self.is_quiet()?;
        self.few()?;
        self.is_quiet()
    }

    /// What must hold when no worker is there, which a worker of its own looks at: it might have to wait for ever.
    fn is_quiet(&mut self) -> Result<(), String> {
        let look: Job<S> = |worker, subject, _| subject.is_quiet(worker);
        let worker = self.start_with(0, Fate::Lives, look);
        self.dismiss(vec![worker]).map_err(|error| format!("with nobody at it: {error}"))
    }

    /// Each that dies is replaced at once.
    fn crowd(&mut self) -> Result<(), String> {
        let end = self.orders.kills.min(self.report.kills() + ROUND);
        let mut workers: Vec<_> = (0..WORKERS).map(|number| self.start_before(number, end)).collect();
        while workers.iter().any(|worker| !matches!(worker.fate, Fate::Lives)) {
            self.watch(&mut workers, LOOK)?;
            while let Some(number) = self.bury_one(&mut workers)? {
                workers.push(self.start_before(number, end));
            }
        }
        self.dismiss(workers)
    }

    /// One of them dies, and the others are alone for a while.
    fn few(&mut self) -> Result<(), String> {
        let mut workers: Vec<_> = (1..FEW).map(|number| self.start(number, Fate::Lives)).collect();
        for _ in 0..LONE_DEATHS {
            let fate = Fate::draw_lone(&mut self.random, &self.report.places);
            workers.push(self.start(0, fate));
            while self.bury_one(&mut workers)?.is_none() {
                self.watch(&mut workers, LOOK)?;
            }
            let calm = Instant::now();
            while calm.elapsed() < CALM {
                self.watch(&mut workers, LOOK)?;
                if let Some(number) = self.bury_one(&mut workers)? {
                    return Err(format!("worker {number} was not to die"));
                }
            }
        }
        self.dismiss(workers)
    }

    /// Starts a worker that dies, or one that lives when enough will have been killed.
    fn start_before(&mut self, number: usize, end: u64) -> Running {
        let is_last = self.report.kills() + WORKERS as u64 > end;
        let fate = if is_last {
            Fate::Lives
        } else {
            Fate::draw(&mut self.random, &self.report.places, self.report.kills_at())
        };
        self.start(number, fate)
    }

    fn start(&mut self, number: usize, fate: Fate) -> Running {
        self.start_with(number, fate, Worker::work)
    }

    fn start_with(&mut self, number: usize, fate: Fate, job: Job<S>) -> Running {
        self.serial += 1;
        let random = Random::new(self.orders.seed, self.serial);
        self.board.clear(number);
        let (board, subject) = (&self.board, self.subject);
        let work = || job(&Worker::new::<S>(board, number, random), subject, fate);
        // As daemons they end with this process when it has failed and they hang.
        let process = Context::new(StartMethod::Fork).fork_builder(work).daemon(true).start().expect("a worker");
        let now = Instant::now();
        Running { number, process, fate, started: now, killed: false, turns: 0, turned: now }
    }

    /// Waits until somebody dies, or for so long; kills whose time is over, and looks for those that do not get on.
    fn watch(&mut self, workers: &mut [Running], time: Duration) -> Result<(), String> {
        let mut wait = time;
        for worker in workers.iter_mut() {
            let Fate::FromOutside { after } = worker.fate else { continue };
            let left = after.saturating_sub(worker.started.elapsed());
            if left.is_zero() && !worker.killed {
                worker.killed = true;
                let now = monotonic_nanos();
                self.board.word(Common::OutsideAt).store(now, SeqCst);
                self.board.word(Common::NewsLostAt).store(now, SeqCst);
                self.board.set(worker.number, Own::Doomed, 1);
                self.board.add(Common::Vague);
                self.board.add(Common::Strandings);
                self.board.add(Common::Deaths);
                worker.process.kill().map_err(|error| error.to_string())?;
            } else if !worker.killed {
                wait = wait.min(left);
            }
        }
        let sentinels: Vec<_> = workers.iter().map(|worker| worker.process.sentinel()).collect();
        poll_readable(&sentinels, Deadline::after(wait)).map_err(|error| error.to_string())?;
        self.look_for_stuck(workers)
    }

    fn look_for_stuck(&self, workers: &mut [Running]) -> Result<(), String> {
        for worker in workers {
            let number = worker.number;
            let turns = self.board.own(number, Own::Turns).load(SeqCst);
            if turns != worker.turns {
                (worker.turns, worker.turned) = (turns, Instant::now());
            }
            if worker.turned.elapsed() > STUCK_MAX && worker.process.is_alive() {
                let place = self.report.place(self.board.own(number, Own::Place).load(SeqCst));
                return Err(format!(
                    "a hang: worker {number} had no turn for {STUCK_MAX:?}; it last came to {place:?}"
                ));
            }
        }
        Ok(())
    }

    /// Takes one that has died, if there is one, and says which.
    fn bury_one(&mut self, workers: &mut Vec<Running>) -> Result<Option<usize>, String> {
        let Some(at) = workers.iter().position(|worker| !worker.process.is_alive()) else { return Ok(None) };
        let died = workers.swap_remove(at);
        let number = died.number;
        self.bury(died)?;
        Ok(Some(number))
    }

    /// Notes how a worker died.
    fn bury(&mut self, worker: Running) -> Result<(), String> {
        let number = worker.number;
        let killed = self.board.own(number, Own::Killed).load(SeqCst);
        let is_inside = self.board.get(Common::Mark) == number as u64 + 1;
        self.board.add(Common::Deaths);
        self.board.set(number, Own::Rests, 1);
        match worker.process.join() {
            Err(JoinError::Signaled { signal: 9, .. }) if killed != 0 => self.report.killed_at(killed - 1),
            Err(JoinError::Signaled { signal: 9, .. }) if worker.killed => self.report.killed_outside(is_inside),
            Err(error) => return Err(format!("worker {number}: {error}")),
            Ok(()) => return Err(format!("worker {number} returned")),
        }
        Ok(())
    }

    /// Has all return.
    fn dismiss(&mut self, mut workers: Vec<Running>) -> Result<(), String> {
        self.board.word(Common::Stop).store(1, SeqCst);
        while workers.iter().any(|worker| worker.process.is_alive()) {
            self.watch(&mut workers, LOOK)?;
        }
        for worker in workers {
            worker.process.join().map_err(|error| error.to_string())?;
        }
        self.board.word(Common::Stop).store(0, SeqCst);
        Ok(())
    }
}
