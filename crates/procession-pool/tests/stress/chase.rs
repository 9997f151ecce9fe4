//! The loop: submits tasks, cancels some, and judges how each of them ends, while their workers die.
//!
//! Relies on forked workers, which start in a millisecond and find the board where it was.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::Duration;

use procession_launch::{Context, StartMethod};
use procession_pool::{Executor, ExecutorExt, Future, Pool, ProcessPoolExecutor, TaskError};
use procession_sys::{Deadline, pid, set_variable};
use procession_testkit::Random;
use procession_testkit::{children_of, open_descriptors};

use crate::board::{Board, TASKS};
use crate::job::{Answer, Asked, Job, TIMEOUT, Terms};
use crate::maps;
use crate::report::{Report, Verdict};
use crate::subject::Subject;

const WORKERS: usize = 4;

/// Kills until everything ends once, and the other one has its turn.
const ROUND: u64 = 250;

/// How many tasks there are at once, at most.
const WINDOW_MAX: u64 = 200;
const _: () = assert!((WINDOW_MAX as usize) < TASKS / 2);

/// How long a task may take in all. Those before it may be stopped now and then.
const HANG: Duration = Duration::from_secs(20);

/// How often a task that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) kills: u64,
    pub(crate) seed: u64,
}

/// A pool or an executor.
pub(crate) trait Front: Executor {
    fn pids(&self) -> Vec<u32>;

    /// Has all workers end when they have done what there is.
    fn finish(&self);

    /// Has them end at once.
    fn end(&self);
}

impl Front for Pool {
    fn pids(&self) -> Vec<u32> {
        self.worker_pids()
    }

    fn finish(&self) {
        self.close();
        self.join().expect("it was closed");
    }

    fn end(&self) {
        self.terminate();
    }
}

impl Front for ProcessPoolExecutor {
    fn pids(&self) -> Vec<u32> {
        self.worker_pids()
    }

    fn finish(&self) {
        self.shutdown();
    }

    fn end(&self) {
        self.kill_workers();
    }
}

/// A task that has not been judged.
struct Open {
    job: Job,
    terms: Terms,
    asked: Asked,
    future: Future<Answer>,
    /// How often it was told that it has ended.
    ends: Arc<AtomicU32>,
}

/// One run.
struct Chase<'a> {
    orders: Orders,
    random: Random,
    report: &'a mut Report,
    open: VecDeque<Open>,
    /// How often each of those that were judged was told that it has ended.
    ends: Vec<Arc<AtomicU32>>,
    serial: u64,
}

/// Kills as many workers as ordered.
pub(crate) fn run<S: Subject>(orders: Orders) -> Verdict {
    Board::open();
    // Where a panic names its frames, most that panic would be killed meanwhile.
    set_variable("RUST_BACKTRACE", "0").expect("a process of one thread");
    // What a process has once stays.
    Context::new(StartMethod::Fork).start(|| (), ()).expect("a child").join().expect("its end");
    let descriptors = open_descriptors().len();
    let children = children_of(pid()).len();
    let fronts = fronts(&Context::nursery().expect("a nursery"));
    let mut report = Report::default();
    while report.kills() < orders.kills && report.failures.is_empty() {
        report.rounds += 1;
        let front = &*fronts[(report.rounds % 2) as usize];
        let random = Random::new(orders.seed, 3 * report.rounds);
        let serial = report.rounds << 32;
        Chase { orders, random, report: &mut report, open: VecDeque::new(), ends: Vec::new(), serial }.round(front);
    }
    if report.failures.is_empty() {
        fronts.iter().for_each(|front| front.finish());
        drop(fronts);
        check_leaks(&mut report, descriptors, children);
    } else {
        fronts.iter().for_each(|front| front.end());
    }
    let verdict = report.finish(S::NAME, orders.seed);
    Board::close();
    verdict
}

fn fronts(context: &Context) -> [Box<dyn Front>; 2] {
    let pool = Pool::builder().processes(WORKERS).context(context.clone()).stderr_tail(false);
    let executor = ProcessPoolExecutor::builder().max_workers(WORKERS).context(context.clone()).stderr_tail(false);
    [Box::new(pool.build().expect("a pool")), Box::new(executor.build().expect("an executor"))]
}

/// Sees that there is no more than before.
fn check_leaks(report: &mut Report, descriptors: usize, children: usize) {
    let is_clean = || open_descriptors().len() <= descriptors && children_of(pid()).len() <= children;
    if !comes_true(is_clean) {
        let left = open_descriptors().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let now = children_of(pid()).len();
        report
            .failures
            .push(format!("of {descriptors} descriptors and {children} children {now} are left, and {left}"));
    }
}

/// Waits for a while until something is so.
fn comes_true(is_so: impl Fn() -> bool) -> bool {
    let deadline = Deadline::after(HANG);
    while !is_so() {
        if deadline.has_passed() {
            return false;
        }
        thread::park_timeout(Duration::from_millis(1)); // There is nothing to wait for.
    }
    true
}

impl Chase<'_> {
    /// Some kills, and until all tasks have ended.
    fn round(mut self, front: &dyn Front) {
        let end = self.orders.kills.min(self.report.kills() + ROUND);
        let chaos = Arc::clone(&self.report.chaos);
        let random = |which| Random::new(self.orders.seed, 3 * self.report.rounds + which);
        let (chance, choice) = (random(1), random(2));
        let maps_at = self.serial + (1 << 31);
        let ends = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            scope.spawn(|| chaos.run(chance, || front.pids(), &ends));
            let maps = scope.spawn(|| maps::run(front, choice, maps_at, &ends));
            while self.report.kills() < end && self.report.failures.is_empty() {
                self.submit_some(front);
                self.ask_for_some();
                self.judge_next();
            }
            ends.store(true, SeqCst);
            if !self.report.failures.is_empty() {
                front.end(); // What is mapped might never be.
            }
            maps.join().expect("it does not panic")
        });
        self.report.note_items(seen);
        while !self.open.is_empty() && self.report.failures.is_empty() {
            self.judge_next();
        }
        if self.report.failures.is_empty() && !comes_true(|| self.ends.iter().all(|ends| ends.load(SeqCst) == 1)) {
            let wrong = self.ends.iter().map(|ends| ends.load(SeqCst)).find(|&ends| ends != 1).unwrap_or_default();
            self.report.failures.push(format!("a task was told {wrong} times to have ended"));
        }
    }

    fn submit_some(&mut self, front: &dyn Front) {
        let wanted = 1 + self.random.below(WINDOW_MAX) as usize;
        while self.open.len() < wanted {
            self.serial += 1;
            let place = (self.serial % TASKS as u64) as usize;
            let (job, terms) = Job::draw(&mut self.random, place, self.serial);
            Board::get().enter(place, self.serial);
            let task = front.task(Job::run, (job.clone(),)).retries(terms.retries).priority(terms.priority);
            let task = if terms.is_timed { task.timeout(TIMEOUT) } else { task };
            let future = task.submit().expect("it takes tasks");
            let ends = Arc::new(AtomicU32::new(0));
            let told = Arc::clone(&ends);
            future.add_done_callback(move |_| {
                told.fetch_add(1, SeqCst);
            });
            self.open.push_back(Open { job, terms, asked: Asked::Nothing, future, ends });
        }
    }

    /// Cancels one now and then, wherever it is.
    fn ask_for_some(&mut self) {
        if !self.random.once_in(8) || self.open.is_empty() {
            return;
        }
        let at = self.random.below(self.open.len() as u64) as usize;
        let task = &mut self.open[at];
        if task.asked != Asked::Nothing {
            return;
        }
        task.asked = match self.random.once_in(3) {
            true => Asked::Kill { is_done: task.future.kill() },
            false => Asked::Cancel { is_done: task.future.cancel() },
        };
    }

    /// How a task ends; an objection if it does not, or if it or another one is begun more often than it may be.
    fn wait(&self, job: &Job, terms: Terms, future: &Future<Answer>) -> Result<Result<Answer, TaskError>, String> {
        let deadline = Deadline::after(HANG);
        loop {
            match future.result_timeout(LOOK) {
                Err(TaskError::Timeout) => {}
                outcome => return Ok(outcome),
            }
            for (job, terms) in self.open.iter().map(|open| (&open.job, open.terms)).chain([(job, terms)]) {
                let (begun, most) = (Board::get().begun(job.place), terms.begun_most());
                if begun > most {
                    return Err(format!("it, or one behind it, was begun {begun} times, and may be {most} times"));
                }
            }
            if deadline.has_passed() {
                return Err(format!("a hang: it has not ended for {HANG:?}"));
            }
        }
    }

    /// Waits for the first one, and judges it.
    fn judge_next(&mut self) {
        let Some(Open { job, terms, asked, future, ends }) = self.open.pop_front() else { return };
        let outcome = match self.wait(&job, terms, &future) {
            Ok(outcome) => outcome,
            Err(objection) => {
                return self.report.failures.push(format!("a task with {terms:?}, {asked:?}: {objection}"));
            }
        };
        let begun = Board::get().leave(job.place);
        self.report.note(&outcome);
        if let Err(objection) = job.judge(terms, asked, begun, &outcome) {
            self.report.failures.push(format!("a task with {terms:?}, {asked:?}: {objection}"));
        }
        self.ends.push(ends);
    }
}
