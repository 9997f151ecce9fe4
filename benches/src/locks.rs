//! Group `locks`: locks, values, semaphores and events, alone, by two processes and in a crowd, by whoever has them.
//!
//! What the runners are asked for is told here and in `src/bin/locker`.

use crate::Result;
use crate::contest::{Contestant, Figure, Results, Table, Unit, cpython, other, ours};
use crate::plot::{self, Series};
use crate::rounds::median;

const LOCK: &str = "Lock";
const ROBUST: &str = "glibc: robust, shared";
const STD: &str = "std::sync::Mutex";
const PARKING_LOT: &str = "parking_lot::Mutex";
const CPYTHON_LOCK: &str = "CPython: Lock";

const VALUE: &str = "Value: lock, add";
const FETCH_ADD: &str = "RawValue: fetch_add";
const BARE_FETCH_ADD: &str = "fetch_add";
const CPYTHON_VALUE: &str = "CPython: Value";

const EVENT: &str = "Event";
const SEMAPHORE: &str = "Semaphore";
const LINE: &str = "a cache line";
const STORE: &str = "SeqCst store";
const CPYTHON_EVENT: &str = "CPython: Event";
const CPYTHON_SEMAPHORE: &str = "CPython: Semaphore";

/// How many processes are at one lock, as what stands at the head of the column.
const CROWDS: [(&str, u32); 4] = [("1 process", 1), ("2 processes", 2), ("4 processes", 4), ("8 processes", 8)];

const CROWD: &str = "taken and freed by all";

/// All tables.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![alone(), crowded(), counting(), to_and_fro(), setting()]
}

fn alone() -> Table {
    let figure = |title, limit, at_most| Figure { title, ours: LOCK, limit, column: "nobody else", at_most };
    Table {
        head: "taken and freed",
        columns: &["nobody else"],
        contestants: |_| {
            vec![
                ours(LOCK, "alone lock"),
                other(ROBUST, "alone robust"),
                other(STD, "alone std"),
                other(PARKING_LOT, "alone parking_lot"),
                cpython(CPYTHON_LOCK, "alone lock"),
            ]
        },
        figures: vec![
            figure("lock and unlock, beside what survives its holder", ROBUST, 0.8),
            figure("lock and unlock, beside what does not", STD, 1.15),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn crowded() -> Table {
    Table {
        head: CROWD,
        columns: const { &[CROWDS[0].0, CROWDS[1].0, CROWDS[2].0, CROWDS[3].0] },
        contestants: |column| {
            let count = CROWDS.iter().find(|(name, _)| *name == column).map_or(0, |(_, count)| *count);
            vec![
                ours(LOCK, &format!("crowd lock {count}")),
                other(ROBUST, &format!("crowd robust {count}")),
                cpython(CPYTHON_LOCK, &format!("crowd lock {count}")),
            ]
        },
        figures: vec![Figure {
            title: "one lock, eight processes at once",
            ours: LOCK,
            limit: ROBUST,
            column: CROWDS[3].0,
            at_most: 1.0,
        }],
        slots: 4.0, // So that each process of a crowd is on a processor several times.
        unit: Unit::Time,
    }
}

fn counting() -> Table {
    let figure = |title, ours, limit, at_most| Figure { title, ours, limit, column: CROWDS[1].0, at_most };
    Table {
        head: "a number is increased",
        columns: const { &[CROWDS[0].0, CROWDS[1].0] },
        contestants: |column| {
            let count = CROWDS.iter().find(|(name, _)| *name == column).map_or(0, |(_, count)| *count);
            vec![
                ours(VALUE, &format!("count value {count}")),
                ours(FETCH_ADD, &format!("count raw {count}")),
                other(BARE_FETCH_ADD, &format!("count bare {count}")),
                cpython(CPYTHON_VALUE, &format!("count value {count}")),
            ]
        },
        figures: vec![
            figure("Value increased by two processes at once", VALUE, CPYTHON_VALUE, THIRTIETH),
            figure("RawValue increased by two processes at once", FETCH_ADD, BARE_FETCH_ADD, 2.0),
        ],
        slots: 2.0,
        unit: Unit::Time,
    }
}

/// Thirty times as often in the same time.
const THIRTIETH: f64 = 0.0333;

fn to_and_fro() -> Table {
    let figure = |title, ours| Figure { title, ours, limit: LINE, column: "both busy", at_most: 5.0 };
    Table {
        head: "to another process and back",
        columns: &["both busy"],
        contestants: |_| {
            vec![
                ours(EVENT, "to-and-fro event"),
                ours(SEMAPHORE, "to-and-fro semaphore"),
                other(LINE, "to-and-fro line"),
                cpython(CPYTHON_EVENT, "to-and-fro event"),
                cpython(CPYTHON_SEMAPHORE, "to-and-fro semaphore"),
            ]
        },
        figures: vec![figure("event, to and fro", EVENT), figure("semaphore, to and fro", SEMAPHORE)],
        slots: 2.0,
        unit: Unit::Time,
    }
}

fn setting() -> Table {
    let figure = |title, column| Figure { title, ours: EVENT, limit: STORE, column, at_most: 1.5 };
    Table {
        head: "set, and nobody waits",
        columns: &["set", "set and cleared"],
        contestants: |column| {
            let what = if column == "set" { "set" } else { "set-clear" };
            vec![
                ours(EVENT, &format!("{what} event")),
                other(STORE, &format!("{what} store")),
                cpython(CPYTHON_EVENT, &format!("{what} event")),
            ]
        },
        figures: vec![
            figure("Event::set, nobody waits", "set"),
            figure("Event::set and clear, nobody waits, beside two stores", "set and cleared"),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

/// The plot of a visit's time against the crowd; nothing if there is no such table.
///
/// # Errors
/// Nothing was measured.
pub fn plot(results: &[Results]) -> Result<String> {
    let results = results.iter().find(|results| results.head == CROWD).ok_or("no crowd was measured")?;
    let ticks = CROWDS.map(|(_, count)| f64::from(count));
    let nanoseconds = |idx: usize| results.measured.iter().map(move |at| median(&at.times[idx]) * 1e9);
    let series = results.contestants.iter().enumerate().map(|(idx, Contestant { name, is_ours, .. })| Series {
        name: name.clone(),
        is_ours: *is_ours,
        points: ticks.into_iter().zip(nanoseconds(idx)).collect(),
    });
    plot::lines(
        "One lock: all processes take and free it",
        "processes",
        "nanoseconds for each time",
        &ticks,
        &series.collect::<Vec<_>>(),
    )
}
