//! Group `managers`: what a server process is asked by its clients, beside Redis and CPython's.
//!
//! What the runners are asked for is told here and in `src/bin/keeper`.

use crate::contest::{Figure, Table, Unit, cpython, other, ours};

const MANAGER: &str = "SyncManager";
const MANAGER_TCP: &str = "SyncManager, TCP";
const MANAGER_EXTEND: &str = "SyncManager, extend";
const REDIS: &str = "Redis, Unix socket";
const REDIS_TCP: &str = "Redis, TCP";
const CPYTHON: &str = "CPython: SyncManager";
const CPYTHON_TCP: &str = "CPython: SyncManager, TCP";

/// How many calls are on their way at once where there are many.
pub const AT_ONCE: u64 = 16;

/// All tables.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![one_client(), four_clients(), at_once(), others()]
}

fn one_client() -> Table {
    const COLUMN: &str = "one after the other";
    let figure = |title, ours, limit, at_most| Figure { title, ours, limit, column: COLUMN, at_most };
    Table {
        head: "a key of a dictionary is set by one client",
        columns: &[COLUMN],
        contestants: |_| {
            vec![
                ours(MANAGER, "set unix"),
                ours(MANAGER_TCP, "set tcp"),
                other(REDIS, "redis unix"),
                other(REDIS_TCP, "redis tcp"),
                cpython(CPYTHON, "set unix"),
                cpython(CPYTHON_TCP, "set tcp"),
            ]
        },
        figures: vec![
            figure("a key is set, beside CPython's", MANAGER, CPYTHON, 0.066),
            figure("a key is set, beside Redis", MANAGER, REDIS, 0.066),
            figure("a key is set by TCP, beside Redis", MANAGER_TCP, REDIS_TCP, 1.0),
        ],
        slots: 2.0,
        unit: Unit::Time,
    }
}

fn four_clients() -> Table {
    const COLUMN: &str = "each one after the other";
    Table {
        head: "keys of a dictionary are set by four clients",
        columns: &[COLUMN],
        contestants: |_| {
            vec![ours(MANAGER, "four unix"), other(REDIS, "redis-four unix"), cpython(CPYTHON, "four unix")]
        },
        figures: vec![Figure {
            title: "keys are set by four clients, beside CPython's",
            ours: MANAGER,
            limit: CPYTHON,
            column: COLUMN,
            at_most: 0.1,
        }],
        slots: 8.0,
        unit: Unit::Time,
    }
}

fn at_once() -> Table {
    const COLUMN: &str = "16 at once";
    let figure = |title, ours| Figure { title, ours, limit: REDIS, column: COLUMN, at_most: 0.5 };
    Table {
        head: "keys of a dictionary are set by one client",
        columns: &[COLUMN],
        contestants: |_| {
            vec![
                ours(MANAGER, "later unix"),
                ours(MANAGER_TCP, "later tcp"),
                ours(MANAGER_EXTEND, "extend unix"),
                other(REDIS, "redis-pipeline unix"),
                other(REDIS_TCP, "redis-pipeline tcp"),
                cpython(CPYTHON, "later unix"),
            ]
        },
        figures: vec![
            figure("many keys are on their way, beside Redis", MANAGER),
            figure("many keys are set by one call, beside Redis", MANAGER_EXTEND),
        ],
        slots: 2.0,
        unit: Unit::Time,
    }
}

fn others() -> Table {
    Table {
        head: "other objects, used by one client",
        columns: &["a queue: an item in and out", "a method of a type of one's own", "a lock: taken and freed"],
        contestants: |column| {
            let asked = match column.split_once(':') {
                Some(("a queue", _)) => "queue",
                Some(_) => "lock",
                None => "method",
            };
            vec![ours(MANAGER, asked), cpython(CPYTHON, asked)]
        },
        figures: Vec::new(),
        slots: 1.0,
        unit: Unit::Time,
    }
}
