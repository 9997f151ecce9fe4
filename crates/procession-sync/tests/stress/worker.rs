//! A worker: uses the object until it is killed, notes where, and looks for what must not be.
//!
//! Relies on the fail points, which tell it each step of the protocol. A panic here is a failure of the whole run.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use procession_sync::RECHECK;
use procession_sys::{fail_point, fail_points, monotonic_nanos};
use procession_testkit::Random;

use crate::board::{Board, Common, Own};
use crate::plan::Fate;
use crate::subject::{Place, Subject, Where};

/// Places of every subject: the worker's own, and those of a sleep.
const COMMON: [Place; 4] = [Place::inside(INSIDE), Place::outside(DONE), Place::outside(SLEEPS), Place::seldom(LOOKS)];

const INSIDE: &str = "worker: inside";
const DONE: &str = "worker: done";
const SLEEPS: &str = "park: sleeps";
const LOOKS: &str = "park: looks again";

/// How long a worker looks for the place that it is to die at. Then it dies at the next one.
const SEARCH_MAX: Duration = Duration::from_millis(100);

/// A sleep that ended so much later than by itself says nothing: meanwhile its processor was away, with who would have woken it.
const LATE: Duration = Duration::from_millis(10);

/// The longest pause between two turns, in rounds of a loop.
const PAUSE_MAX: u64 = 300;

/// One of so many turns takes long,
const LONG_IN: u64 = 16;

/// so that others fall asleep meanwhile.
const LONG: Duration = Duration::from_micros(60);

/// All places at which a worker may be killed.
pub(crate) fn places<S: Subject>() -> Vec<Place> {
    [S::PLACES.concat().as_slice(), &COMMON].concat()
}

/// How the last sleep of this turn ended, or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleep {
    None,
    Begun,
    LookedAgain,
}

/// One worker, in its own process.
pub(crate) struct Worker {
    pub(crate) board: Board,
    pub(crate) number: usize,
    places: Vec<Place>,
    passes_max: u64,
    strands: &'static [&'static str],
    random: RefCell<Random>,
    sleep: Cell<Sleep>,
    /// When it began.
    slept_at: Cell<u64>,
    /// What had happened when the sleep began,
    passes: Cell<u64>,
    strandings: Cell<u64>,
    /// and when the turn did.
    deaths: Cell<u64>,
    place: Cell<Option<Place>>,
    /// Whether its death now would be told to the next one, if it is inside.
    tells: Cell<bool>,
}

impl Worker {
    pub(crate) fn new<S: Subject>(board: &Board, number: usize, random: Random) -> Rc<Self> {
        Rc::new(Self {
            board: board.clone(),
            number,
            places: places::<S>(),
            passes_max: S::PASSES_MAX,
            strands: S::STRANDS,
            random: RefCell::new(random),
            sleep: Cell::new(Sleep::None),
            slept_at: Cell::new(0),
            passes: Cell::new(0),
            strandings: Cell::new(0),
            deaths: Cell::new(0),
            place: Cell::new(None),
            tells: Cell::new(true),
        })
    }

    /// Uses the object until it is told to stop, or killed.
    pub(crate) fn work<S: Subject>(self: &Rc<Self>, subject: &S, fate: Fate) {
        self.begin();
        self.watch();
        self.arm(fate);
        let begun = Instant::now();
        let mut searches = matches!(fate, Fate::At { .. } | Fate::Anywhere { .. });
        while self.board.get(Common::Stop) == 0 {
            self.begin();
            subject.turn(self);
            fail_point!(DONE);
            self.lives();
            if searches && begun.elapsed() > SEARCH_MAX {
                searches = false;
                self.arm(Fate::Anywhere { before: 0 });
            }
            self.pause(PAUSE_MAX);
        }
        fail_points::unwatch();
        fail_points::disarm();
    }

    /// Tells that it goes on, as every turn does: for a look at the object that takes long by itself.
    pub(crate) fn lives(&self) {
        self.board.own(self.number, Own::Turns).fetch_add(1, SeqCst);
    }

    /// Passes some time, as the seed says.
    pub(crate) fn pause(&self, max: u64) {
        for _ in 0..self.below(max) {
            std::hint::spin_loop();
        }
    }

    /// Has the object for a while.
    pub(crate) fn linger(&self) {
        if self.below(LONG_IN) != 0 {
            return self.pause(PAUSE_MAX / 4);
        }
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            std::hint::spin_loop();
        }
    }

    /// One of the first `end` numbers.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.random.borrow_mut().below(end)
    }

    /// Has every place told.
    fn watch(self: &Rc<Self>) {
        let worker = Rc::clone(self);
        fail_points::watch(move |name| worker.comes_to(name));
    }

    /// Has itself killed in time.
    fn arm(self: &Rc<Self>, fate: Fate) {
        let worker = Rc::clone(self);
        let die = move || worker.die();
        match fate {
            Fate::At { place, before } => fail_points::arm(place, before, die),
            Fate::Anywhere { before } => fail_points::arm_any(before, die),
            Fate::Lives | Fate::FromOutside { .. } => {}
        }
    }

    /// The first step of a turn, or what stands for one.
    fn begin(&self) {
        self.sleep.set(Sleep::None);
        self.deaths.set(self.board.get(Common::Deaths));
    }

    /// It has come to a place.
    fn comes_to(&self, name: &'static str) {
        let Some(at) = self.places.iter().position(|place| place.name == name) else { return self.is_foreign(name) };
        self.place.set(Some(self.places[at]));
        self.board.own(self.number, Own::Place).store(at as u64 + 1, SeqCst);
        match name {
            SLEEPS => {
                self.sleep.set(Sleep::Begun);
                self.slept_at.set(monotonic_nanos());
                self.passes.set(self.board.get(Common::Passes));
                self.strandings.set(self.board.get(Common::Strandings));
                self.board.add(Common::Sleeps);
            }
            LOOKS => self.looks_again(),
            _ => {}
        }
    }

    /// The arena has places, too. Those of the protocols must all be known.
    fn is_foreign(&self, name: &str) {
        let family = |name: &str| name.split(':').next().map(str::to_owned);
        let is_ours = self.places.iter().any(|place| family(place.name) == family(name));
        assert!(!is_ours, "the list of places lacks {name:?}");
        self.place.set(None);
        self.board.own(self.number, Own::Place).store(0, SeqCst);
    }

    /// A sleep has ended by itself.
    fn looks_again(&self) {
        self.board.add(Common::Looks);
        if Duration::from_nanos(monotonic_nanos() - self.slept_at.get()) > RECHECK + LATE {
            return;
        }
        self.sleep.set(Sleep::LookedAgain);
        let is_stranded = self.board.get(Common::Strandings) != self.strandings.get();
        if !is_stranded && self.board.get(Common::Passes) - self.passes.get() > self.passes_max {
            self.board.add(Common::Overslept);
        }
    }

    /// It has waited in vain, so that its last sleep says nothing.
    pub(crate) fn gave_up(&self) {
        self.sleep.set(Sleep::None);
    }

    /// What it waited for is there.
    pub(crate) fn had(&self) {
        if self.sleep.replace(Sleep::None) != Sleep::LookedAgain {
            return;
        }
        self.board.add(Common::Rescues);
        if self.board.get(Common::Deaths) == self.deaths.get() {
            self.board.add(Common::Unexplained);
        }
    }

    /// Whether others are up that may do what this one would wait for. It is said to rest if so.
    pub(crate) fn may_rest(&self) -> bool {
        let mut living = self.board.of_the_living(Own::Rests);
        let may = living.any(|(worker, rests)| worker != self.number && rests == 0);
        self.board.set(self.number, Own::Rests, may.into());
        may
    }

    /// It rests no longer.
    pub(crate) fn rises(&self) {
        self.board.set(self.number, Own::Rests, 0);
    }

    /// Something has happened that wakes a sleeper.
    pub(crate) fn passed(&self) {
        self.board.add(Common::Passes);
    }

    /// Whether its death, if it is inside, would be told to the next one.
    pub(crate) fn tells(&self, tells: bool) {
        self.tells.set(tells);
    }

    /// Ends this process at the place that it has come to.
    fn die(&self) {
        let place = self.place.get();
        match (place.map(|place| place.is), self.tells.get()) {
            (Some(Where::Inside), true) => self.board.word(Common::DiedAt).store(monotonic_nanos(), SeqCst),
            (Some(Where::Either), true) => drop(self.board.add(Common::Vague)),
            (Some(Where::Inside | Where::Either), false) => {
                self.board.word(Common::NewsLostAt).store(monotonic_nanos(), SeqCst);
            }
            _ => {}
        }
        if place.is_some_and(|place| self.strands.contains(&place.name)) {
            self.board.add(Common::Strandings);
        }
        let at = self.board.own(self.number, Own::Place).load(SeqCst);
        self.board.own(self.number, Own::Killed).store(at + 1, SeqCst);
        self.board.add(Common::Deaths);
        fail_points::kill();
    }

    /// Is where only one may be; `told` says whether its predecessor is said to have died here.
    pub(crate) fn inside(&self, told: bool) {
        self.had();
        let board = &self.board;
        let is_torn = self.compare(told);
        board.word(Common::Mark).store(self.mark(), SeqCst);
        let (before, after) = (board.get(Common::CountIn), board.get(Common::CountOut));
        assert!(is_torn || before == after, "a torn count: {before} and {after}");
        board.word(Common::CountIn).store(before + 1, SeqCst);
        fail_point!(INSIDE);
        self.linger();
        board.word(Common::CountOut).store(before + 1, SeqCst);
        let counts = (board.get(Common::CountIn), board.get(Common::CountOut));
        assert_eq!(counts, (before + 1, before + 1), "another one was inside");
        assert_eq!(board.word(Common::Mark).swap(0, SeqCst), self.mark(), "another one's mark");
    }

    /// Has what others may have at the same time.
    pub(crate) fn use_it(&self) {
        self.board.add(Common::CountOut);
        fail_point!(INSIDE);
        self.linger();
    }

    fn mark(&self) -> u64 {
        self.number as u64 + 1
    }

    /// Is where others may be as well that change nothing.
    pub(crate) fn beside(&self, told: bool) {
        self.had();
        let board = &self.board;
        if told {
            self.compare(true);
            // No other reader does this, and a writer waits.
            board.word(Common::Mark).store(0, SeqCst);
            board.word(Common::CountOut).store(board.get(Common::CountIn), SeqCst);
        }
        let before = board.get(Common::CountIn);
        fail_point!(INSIDE);
        self.linger();
        assert_eq!(board.get(Common::CountIn), before, "a writer was inside beside a reader");
    }

    /// Whether a predecessor has left things half done, which must agree with what was told.
    fn compare(&self, told: bool) -> bool {
        let board = &self.board;
        let died_at = board.word(Common::DiedAt).swap(0, SeqCst);
        let mark = board.get(Common::Mark);
        if !told {
            // Unless somebody was told who has died since, and whose death is no news.
            let since = if died_at == 0 { board.get(Common::OutsideAt) } else { died_at };
            let is_lost = board.get(Common::NewsLostAt) > since;
            assert!(is_lost || died_at == 0, "a worker died inside, and the next one was not told");
            assert!(is_lost || mark == 0, "worker {mark} is inside, or died there and the next one was not told");
            return is_lost;
        }
        board.add(Common::Told);
        if died_at != 0 {
            board.word(Common::Slowest).fetch_max(monotonic_nanos().saturating_sub(died_at), SeqCst);
        } else if mark == 0 {
            let vaguely = board.add(Common::ToldVaguely);
            assert!(vaguely < board.get(Common::Vague), "told of a death that never was");
        }
        true
    }
}
