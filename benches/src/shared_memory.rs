//! Group `shared_memory`: segments are shared with children, made and taken away, and arrays in them read, by whoever
//! can.
//!
//! What the runners are asked for is told here and in `src/bin/sharer.rs`.

use crate::contest::{Contestant, Figure, Table, Unit, cpython, other, ours};

/// What segments are made of: their names, and bytes.
const SIZES: [(&str, usize); 4] = [("4 KiB", 4 << 10), ("1 MiB", 1 << 20), ("1 GiB", 1 << 30), ("4 GiB", 4 << 30)];

const SMALL: &str = "an array of 4 KiB";
const LARGE: &str = "an array of 4 GiB";
const CREATE: &str = "SharedMemory";
const SYSTEM_CALLS: &str = "the system calls";
const CPYTHON_CREATE: &str = "CPython: create, close, unlink";
const NAME: &str = "SharedMemory: create, drop, unlink";
const OPEN: &str = "SharedMemory: open, drop";
const CPYTHON_OPEN: &str = "CPython: open, close";
const SUM: &str = "SharedArray: sum of all";
const SUM_OF_VEC: &str = "Vec: sum of all";
const COPY: &str = "SharedArray: copy_to";
const COPY_OF_VEC: &str = "Vec: copy_from_slice";

/// Arrays that are gone through, as what a runner is asked for: three that no processor's cache holds, and one that it
/// does, so that the copy from there to a block is seen.
const ARRAYS: [(&str, &str); 4] = [
    ("64 MiB of f64", "67108864 f64"),
    ("64 MiB of u64", "67108864 u64"),
    ("64 MiB of u8", "67108864 u8"),
    ("1 MiB of u64", "1048576 u64"),
];

/// All of them.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![sharing(), mapping(), naming(), reading()]
}

fn sharing() -> Table {
    let flat = |title, column| Figure { title, ours: LARGE, limit: SMALL, column, at_most: 1.2 };
    Table {
        head: "shared with a child that is started",
        columns: &["forkserver", "spawn", "fork"],
        contestants: |column| {
            let [small, large] = [SIZES[0].1, SIZES[3].1].map(|bytes| format!("share {bytes} {column}"));
            vec![
                ours(SMALL, &small),
                ours(LARGE, &large),
                cpython("CPython: SharedMemory of 4 KiB", &small),
                cpython("CPython: SharedMemory of 4 GiB", &large),
            ]
        },
        figures: vec![
            flat("4 GiB shared with a child, by forkserver", "forkserver"),
            flat("4 GiB shared with a child, by spawn", "spawn"),
            flat("4 GiB shared with a child, by fork", "fork"),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn mapping() -> Table {
    let figure = |title, column| Figure { title, ours: CREATE, limit: SYSTEM_CALLS, column, at_most: 1.5 };
    Table {
        head: "created, mapped and unmapped",
        columns: &["4 KiB", "1 MiB", "1 GiB"],
        contestants: |column| {
            let bytes = bytes(column);
            vec![
                ours(CREATE, &format!("create {bytes}")),
                other(SYSTEM_CALLS, &format!("calls {bytes}")),
                cpython(CPYTHON_CREATE, &format!("create {bytes}")),
            ]
        },
        figures: vec![figure("a segment of 4 KiB", "4 KiB"), figure("a segment of 1 GiB", "1 GiB")],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn naming() -> Table {
    let opened = "a named segment of 4 KiB, opened";
    Table {
        head: "segments that have a name",
        columns: &["4 KiB", "1 MiB"],
        contestants: |column| {
            let bytes = bytes(column);
            vec![
                ours(NAME, &format!("name {bytes}")),
                ours(OPEN, &format!("open {bytes}")),
                cpython(CPYTHON_CREATE, &format!("create {bytes}")),
                cpython(CPYTHON_OPEN, &format!("open {bytes}")),
            ]
        },
        figures: vec![Figure { title: opened, ours: OPEN, limit: CPYTHON_OPEN, column: "4 KiB", at_most: 1.0 }],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn reading() -> Table {
    let sum = |title, column| Figure { title, ours: SUM, limit: SUM_OF_VEC, column, at_most: 1.25 };
    let copy = |title, column| Figure { title, ours: COPY, limit: COPY_OF_VEC, column, at_most: 1.25 };
    Table {
        head: "elements read",
        columns: const { &[ARRAYS[0].0, ARRAYS[1].0, ARRAYS[2].0, ARRAYS[3].0] },
        // All in one runner: they are the same code over memory of two kinds.
        contestants: |column| {
            let array = ARRAYS.iter().find(|(name, _)| *name == column).map_or("", |(_, array)| *array);
            let asked = |what: &str| format!("{what} {array}");
            vec![
                ours(SUM, &asked("sum")),
                Contestant { is_ours: false, ..ours(SUM_OF_VEC, &asked("sum-vec")) },
                ours(COPY, &asked("copy")),
                Contestant { is_ours: false, ..ours(COPY_OF_VEC, &asked("copy-vec")) },
            ]
        },
        figures: vec![
            sum("sum of 64 MiB of f64", "64 MiB of f64"),
            sum("sum of 64 MiB of u64", "64 MiB of u64"),
            sum("sum of 64 MiB of u8", "64 MiB of u8"),
            copy("copy of 64 MiB of f64", "64 MiB of f64"),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

/// The bytes of one of the sizes.
fn bytes(size: &str) -> usize {
    SIZES.iter().find(|(name, _)| *name == size).map_or(0, |(_, bytes)| *bytes)
}
