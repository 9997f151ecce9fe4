//! A task: what it does to its worker and what it gives back, and how it may end.

use std::process;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use procession_pool::TaskError;
use procession_sys::{fail_points, pid, send_signal};
use procession_testkit::Random;
use serde::{Deserialize, Serialize};

use crate::board::{Board, TASKS};

/// Where a worker may be killed: all steps of its side of a desk.
pub(crate) const PLACES: [&str; 8] = [
    "desk: begun",
    "desk: taken",
    "desk: skipped",
    "desk: written",
    "desk: sent",
    "desk: to finish",
    "desk: finished",
    "desk: sleeps",
];

/// How long a task with a timeout may take. Others may be late for it as well, on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(40);

const EXIT_CODE: i32 = 7;
const KILLED: i32 = 9;
const STOPPED: i32 = 19;

/// Visits of a place that a worker survives, at most.
const VISITS_MAX: u64 = 8;

/// What it does to its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    Nothing,
    Panics,
    Exits,
    Dies,
    /// Is stopped; it has a timeout.
    Stops,
    /// Has the worker die when it has passed a place so often; without one, any.
    Arms {
        place: Option<usize>,
        before: u32,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Its place on the board,
    pub(crate) place: usize,
    /// and its number.
    pub(crate) serial: u64,
    deed: Deed,
    takes: Duration,
    body: Vec<u8>,
    /// How many bytes it gives back.
    answer: usize,
}

/// What it gives back: its number, and bytes.
pub(crate) type Answer = (u64, Vec<u8>);

/// How a task is submitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) retries: u32,
    pub(crate) is_timed: bool,
    pub(crate) priority: i32,
}

impl Terms {
    /// How often it may be begun.
    pub(crate) fn begun_most(self) -> u64 {
        u64::from(self.retries) + 1
    }
}

/// What was done about a task after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    Cancel { is_done: bool },
    Kill { is_done: bool },
}

impl Job {
    pub(crate) fn draw(random: &mut Random, place: usize, serial: u64) -> (Self, Terms) {
        let deed = Deed::draw(random);
        let retries = if random.once_in(3) { 1 + random.below(3) as u32 } else { 0 };
        let is_timed = deed == Deed::Stops || random.once_in(8);
        let terms = Terms { retries, is_timed, priority: random.below(3) as i32 };
        let takes = if random.once_in(8) { random.time(Duration::from_micros(500)) } else { Duration::ZERO };
        let body = vec![serial as u8; length(random)];
        (Self { place, serial, deed, takes, body, answer: length(random) }, terms)
    }

    /// What a worker does.
    pub(crate) fn run(self) -> Answer {
        Board::get().begin(self.place, self.serial);
        assert!(self.body.iter().all(|&byte| byte == self.serial as u8), "its arguments are not what was sent");
        if !self.takes.is_zero() {
            thread::park_timeout(self.takes); // Something that takes as long.
        }
        self.deed.happen();
        (self.serial, vec![!self.serial as u8; self.answer])
    }

    /// What is wrong with how it ended, having begun so often.
    pub(crate) fn judge(
        &self,
        terms: Terms,
        asked: Asked,
        begun: u64,
        outcome: &Result<Answer, TaskError>,
    ) -> Result<(), String> {
        let most = terms.begun_most();
        if begun > most {
            return Err(format!("it was begun {begun} times, and may be {most} times"));
        }
        let objection = match outcome {
            Ok(result) => self.judge_result(result, begun),
            Err(TaskError::WorkerDied { attempts, .. } | TaskError::TimedOut { attempts, .. })
                if u64::from(*attempts) > most || begun > u64::from(*attempts) =>
            {
                Some(format!("it says {attempts} attempts, was begun {begun} times, and may be {most} times"))
            }
            Err(TaskError::WorkerDied { signal, exitcode, .. }) => self.judge_death(*signal, *exitcode),
            Err(TaskError::TimedOut { .. }) => (!terms.is_timed).then(|| "it has no timeout".to_owned()),
            Err(TaskError::Panicked { message, .. }) => {
                (self.deed != Deed::Panics || message != "planned").then(|| format!("it panicked: {message}"))
            }
            Err(TaskError::Cancelled) => judge_cancel(terms, asked, begun),
            Err(error) => Some(error.to_string()),
        };
        let is_cancelled = matches!(outcome, Err(TaskError::Cancelled));
        let is_ignored = asked == Asked::Cancel { is_done: true } && !is_cancelled;
        let objection = objection.or_else(|| is_ignored.then(|| format!("it was cancelled: {outcome:?}")));
        objection.map_or(Ok(()), Err)
    }

    fn judge_result(&self, (serial, answer): &Answer, begun: u64) -> Option<String> {
        let is_whole = answer.len() == self.answer && answer.iter().all(|&byte| byte == !self.serial as u8);
        if *serial != self.serial || !is_whole {
            return Some(format!("its result is not its own: {serial}, {} bytes", answer.len()));
        }
        let ends = matches!(self.deed, Deed::Panics | Deed::Exits | Deed::Dies);
        (begun == 0 || ends).then(|| format!("it has a result, having begun {begun} times"))
    }

    fn judge_death(&self, signal: Option<i32>, exitcode: i32) -> Option<String> {
        let has_exited = self.deed == Deed::Exits && signal.is_none() && exitcode == EXIT_CODE;
        (signal != Some(KILLED) && !has_exited).then(|| format!("its worker died of {signal:?}, code {exitcode}"))
    }
}

fn judge_cancel(terms: Terms, asked: Asked, begun: u64) -> Option<String> {
    match asked {
        Asked::Nothing => Some("nobody has cancelled it".to_owned()),
        Asked::Cancel { .. } => (terms.retries == 0 && begun > 0).then(|| "it had begun".to_owned()),
        Asked::Kill { .. } => None,
    }
}

/// An item of a map.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Its place behind those of tasks,
    pub(crate) at: u64,
    /// and its number.
    pub(crate) serial: u64,
}

impl Item {
    pub(crate) fn new(at: u64, serial: u64) -> Self {
        Self { at, serial }
    }

    pub(crate) fn panics(self) -> bool {
        self.serial % 37 == 5
    }

    pub(crate) fn dies(self) -> bool {
        self.serial % 41 == 5
    }
}

/// What a worker does with an item.
pub(crate) fn run_item(item: Item) -> u64 {
    Board::get().begin(TASKS + item.at as usize, item.serial);
    if item.panics() {
        Deed::Panics.happen();
    } else if item.dies() {
        Deed::Dies.happen();
    }
    !item.serial
}

impl Deed {
    fn draw(random: &mut Random) -> Self {
        match random.below(512) {
            0..16 => Self::Panics,
            16..20 => Self::Exits,
            20..28 => Self::Dies,
            28 => Self::Stops,
            29..120 => Self::Arms {
                place: Some(random.below(PLACES.len() as u64) as usize),
                before: random.below(VISITS_MAX) as u32,
            },
            120..132 => Self::Arms { place: None, before: random.below(VISITS_MAX) as u32 },
            _ => Self::Nothing,
        }
    }

    fn happen(self) {
        match self {
            Self::Nothing => {}
            Self::Panics => panic!("planned"),
            Self::Exits => {
                Board::get().kills(None).fetch_add(1, SeqCst);
                process::exit(EXIT_CODE);
            }
            Self::Dies => die(None),
            Self::Stops => send_signal(pid(), STOPPED).unwrap(),
            Self::Arms { place: None, before } => fail_points::arm_any(before, || die(None)),
            Self::Arms { place: Some(place), before } => {
                fail_points::arm(PLACES[place], before, move || die(Some(place)));
            }
        }
    }
}

fn die(place: Option<usize>) {
    Board::get().kills(place).fetch_add(1, SeqCst);
    fail_points::kill();
    thread::park();
}

/// Mostly a few bytes, sometimes more than is sent along, seldom much.
fn length(random: &mut Random) -> usize {
    let most = match random.below(32) {
        0 => 300_000,
        1..7 => 40_000,
        _ => 100,
    };
    random.below(most) as usize
}
