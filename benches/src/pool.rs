//! Group `pool`: tasks that are handed to processes which are there already, by whoever keeps some.
//!
//! What the runners are asked for is told here and in `src/bin/pooler`.

use crate::contest::{Figure, Table, Unit, cpython, other, ours};

const EXECUTOR: &str = "ProcessPoolExecutor";
const POOL: &str = "Pool";
const THREADS: &str = "ThreadPoolExecutor";
const PROCSPAWN: &str = "procspawn: Pool";
const RAYON: &str = "rayon";
const CPYTHON_EXECUTOR: &str = "CPython: ProcessPoolExecutor";
const CPYTHON_POOL: &str = "CPython: Pool";

const ONE_PROCESS: &str = "a forkserver's child";
const SERIAL: &str = "one process";
const MEMCPY: &str = "memcpy";
const LENT: &str = "Pool, a SharedArray";

/// What is no contestant but a number, which a runner says when it is asked for it.
const MILLISECONDS_5: &str = "5 ms";
const MILLISECONDS_10: &str = "10 ms";
const BYTES_200: &str = "200 bytes";
const THOUSANDTH: &str = "a thousandth";

/// How many tasks are handed in before the first result is asked for.
pub const BATCH: u64 = 1000;

/// How many items a long map has.
pub const ITEMS: u64 = 1_000_000;

/// All tables.
#[must_use]
pub fn tables() -> Vec<Table> {
    let quick = [made(), round_trip(), batch(), single_items(), many_items(), large_argument()];
    let slow = [killed(), replaced(), waiting(), divided(), idle()];
    quick.into_iter().chain(slow).collect()
}

fn made() -> Table {
    Table {
        head: "two workers, from nothing to their end",
        columns: &["made, one task, ended"],
        contestants: |_| {
            vec![
                ours(POOL, "made pool"),
                ours(EXECUTOR, "made executor"),
                ours(ONE_PROCESS, "made child"),
                other(PROCSPAWN, "made procspawn"),
                cpython("CPython: Pool by fork", "made fork"),
                cpython("CPython: Pool by spawn", "made spawn"),
            ]
        },
        figures: vec![Figure {
            title: "a pool of two for one task",
            ours: POOL,
            limit: ONE_PROCESS,
            column: "made, one task, ended",
            at_most: 3.0,
        }],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn round_trip() -> Table {
    Table {
        head: "a task and its result, one after the other",
        columns: &["submitted, and waited for"],
        contestants: |_| {
            vec![
                ours(EXECUTOR, "round-trip executor"),
                ours(POOL, "round-trip pool"),
                ours(THREADS, "round-trip threads"),
                other(PROCSPAWN, "round-trip procspawn"),
                other(RAYON, "round-trip rayon"),
                cpython(CPYTHON_EXECUTOR, "round-trip executor"),
                cpython(CPYTHON_POOL, "round-trip pool"),
            ]
        },
        figures: vec![Figure {
            title: "a task and its result, a hundred times as often",
            ours: EXECUTOR,
            limit: CPYTHON_EXECUTOR,
            column: "submitted, and waited for",
            at_most: 0.01,
        }],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn batch() -> Table {
    Table {
        head: "1,000 tasks at once",
        columns: &["submitted, and taken as they complete"],
        contestants: |_| {
            vec![
                ours(EXECUTOR, "batch executor"),
                ours(THREADS, "batch threads"),
                other(PROCSPAWN, "batch procspawn"),
                cpython(CPYTHON_EXECUTOR, "batch executor"),
            ]
        },
        figures: vec![Figure {
            title: "tasks as they complete, fifty times as many",
            ours: EXECUTOR,
            limit: CPYTHON_EXECUTOR,
            column: "submitted, and taken as they complete",
            at_most: 0.02,
        }],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn single_items() -> Table {
    Table {
        head: "a map of 1,000 items",
        columns: &["in chunks of one"],
        contestants: |_| {
            vec![
                ours(POOL, "single pool"),
                ours(EXECUTOR, "single executor"),
                other(PROCSPAWN, "single procspawn"),
                cpython(CPYTHON_POOL, "single pool"),
                cpython(CPYTHON_EXECUTOR, "single executor"),
            ]
        },
        figures: vec![Figure {
            title: "a map in chunks of one, fifteen times as fast",
            ours: POOL,
            limit: CPYTHON_POOL,
            column: "in chunks of one",
            at_most: FIFTEENTH,
        }],
        slots: 1.0,
        unit: Unit::Time,
    }
}

/// Fifteen times as fast, and twelve times.
const FIFTEENTH: f64 = 0.067;
const TWELFTH: f64 = 0.083;

fn many_items() -> Table {
    let figure = |title, limit, column, at_most| Figure { title, ours: POOL, limit, column, at_most };
    Table {
        head: "a map of a million items",
        columns: &["squares", "calls of 100 ns"],
        contestants: |column| {
            let work = if column == "squares" { "squares" } else { "calls" };
            vec![
                ours(POOL, &format!("many pool {work}")),
                ours("Pool: map_results", &format!("many results {work}")),
                ours("Pool: imap", &format!("many imap {work}")),
                ours("ThreadPool", &format!("many threads {work}")),
                other(RAYON, &format!("many rayon {work}")),
                cpython(CPYTHON_POOL, &format!("many pool {work}")),
            ]
        },
        figures: vec![
            figure("a map of a million squares, twelve times as fast", CPYTHON_POOL, "squares", TWELFTH),
            figure("a map of a million short calls, beside threads", RAYON, "calls of 100 ns", 5.0),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn large_argument() -> Table {
    let column = "from the second on";
    Table {
        head: "an argument of 64 MiB",
        columns: &["from the second on"],
        contestants: |_| {
            vec![
                ours(POOL, "large pool"),
                ours(LENT, "large lent"),
                other(MEMCPY, "large memcpy"),
                other(PROCSPAWN, "large procspawn"),
                cpython(CPYTHON_POOL, "large pool"),
            ]
        },
        figures: vec![
            Figure { title: "an argument of 64 MiB", ours: POOL, limit: MEMCPY, column, at_most: 4.0 },
            Figure { title: "64 MiB in shared memory as an argument", ours: LENT, limit: MEMCPY, column, at_most: 2.0 },
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn killed() -> Table {
    Table {
        head: "a worker is killed",
        columns: &["until its task has the error"],
        contestants: |_| {
            vec![
                ours(EXECUTOR, "killed executor"),
                other(MILLISECONDS_5, "number 0.005"),
                other(PROCSPAWN, "killed procspawn"),
                cpython("CPython: ProcessPoolExecutor, all tasks", "killed executor"),
            ]
        },
        figures: vec![Figure {
            title: "a killed worker's error",
            ours: EXECUTOR,
            limit: MILLISECONDS_5,
            column: "until its task has the error",
            at_most: 1.0,
        }],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn replaced() -> Table {
    Table {
        head: "the only worker is killed",
        columns: &["until another has done a task"],
        contestants: |_| {
            vec![
                ours(EXECUTOR, "replaced executor"),
                ours(POOL, "replaced pool"),
                other(MILLISECONDS_10, "number 0.01"),
                other(PROCSPAWN, "replaced procspawn"),
                cpython("CPython: a new ProcessPoolExecutor", "replaced executor"),
            ]
        },
        figures: vec![Figure {
            title: "a killed worker's replacement",
            ours: EXECUTOR,
            limit: MILLISECONDS_10,
            column: "until another has done a task",
            at_most: 1.0,
        }],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn waiting() -> Table {
    Table {
        head: "memory of a task that waits, its argument of 8 bytes included",
        columns: &["each of many"],
        contestants: |_| {
            vec![
                ours("ProcessPoolExecutor: of a million", "waiting executor 1000000"),
                other(BYTES_200, "number 0.2"),
                cpython("CPython: ProcessPoolExecutor, of 20,000", "waiting executor 20000"),
            ]
        },
        figures: vec![Figure {
            title: "memory of a task that waits",
            ours: "ProcessPoolExecutor: of a million",
            limit: BYTES_200,
            column: "each of many",
            at_most: 1.04, // The argument's own 8 bytes.
        }],
        slots: 0.0,
        unit: Unit::Bytes,
    }
}

fn divided() -> Table {
    let column = "400 tasks of 100 us, by two";
    Table {
        head: "work for a processor",
        columns: &["400 tasks of 100 us, by two"],
        contestants: |_| {
            vec![
                ours(POOL, "divided pool"),
                other(SERIAL, "divided serial"),
                other(RAYON, "divided rayon"),
                other(PROCSPAWN, "divided procspawn"),
                cpython("CPython: Pool, tasks of its own", "divided pool"),
                cpython("CPython: one process, the same", "divided serial"),
            ]
        },
        figures: vec![Figure { title: "work divided by two", ours: POOL, limit: SERIAL, column, at_most: HALF }],
        slots: 4.0,
        unit: Unit::Time,
    }
}

/// 1.9 times as fast.
const HALF: f64 = 0.526;

fn idle() -> Table {
    let column = "a processor's time in 1,000 s";
    Table {
        head: "a pool of eight that has nothing to do",
        columns: &["a processor's time in 1,000 s"],
        contestants: |_| {
            vec![
                ours(POOL, "idle pool"),
                other(THOUSANDTH, "number 1"),
                other(PROCSPAWN, "idle procspawn"),
                cpython(CPYTHON_POOL, "idle pool"),
            ]
        },
        figures: vec![Figure { title: "eight idle workers", ours: POOL, limit: THOUSANDTH, column, at_most: 1.0 }],
        slots: 0.0,
        unit: Unit::Time,
    }
}
