//! Group `channels`: numbers and large messages from process to process, by whoever can.
//!
//! What the runners are asked for is told here and in `src/bin/messenger`.

use crate::contest::{Figure, Table, Unit, cpython, other, ours};

const PIPE: &str = "pipe";
const PIPE_BYTES: &str = "pipe_bytes";
const QUEUES: &str = "two Queues";
const QUEUE: &str = "Queue";
const BOUNDED: &str = "Queue, bounded";
const ONE_PAIR: &str = "Queue: 1 producer, 1 consumer";
const LINE: &str = "a cache line";
const FUTEX: &str = "futex";
const ICEORYX: &str = "iceoryx2";
const IPC_CHANNEL: &str = "ipc-channel";
const CROSSBEAM: &str = "crossbeam-channel: threads of one process";
const CPYTHON_PIPE: &str = "CPython: Pipe";
const CPYTHON_QUEUE: &str = "CPython: Queue";

/// What takes items by value, or keeps them until its thread has sent them: the producer's own is cloned for each.
const QUEUE_CLONE: &str = "Queue, with a clone";
const IPC_CHANNEL_CLONE: &str = "ipc-channel, with a clone";
const CPYTHON_QUEUE_CLONE: &str = "CPython: Queue, with a copy";

const MEMCPY: &str = "memcpy";
const BLOCKS: &str = "memcpy in, by another process out";
const GIB_A_SECOND: &str = "1 GiB/s";

/// Items of 1 MiB, as what stands at the head of a column and what a runner is asked for.
const ITEMS: [(&str, &str); 3] =
    [("Vec of u8", "bytes"), ("Vec of f64", "numbers"), ("Vec of u8 in a tuple", "nested")];

/// Messages that are lent: what our contestant is called, and the peer's, and bytes.
const LENT: [(&str, &str, usize); 3] = [
    ("Queue: 64 KiB", "iceoryx2: 64 KiB", 64 << 10),
    ("Queue: 1 MiB", "iceoryx2: 1 MiB", 1 << 20),
    ("Queue: 64 MiB", "iceoryx2: 64 MiB", 64 << 20),
];

/// All tables.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![busy(), asleep(), one_pair(), two_pairs(), copied(), items(), lent()]
}

fn busy() -> Table {
    let figure = |title, limit, at_most| Figure { title, ours: PIPE, limit, column: "both busy", at_most };
    Table {
        head: "a u64 to another process and back",
        columns: &["both busy"],
        contestants: |_| {
            vec![
                ours(PIPE, "round-trip pipe"),
                ours(QUEUES, "round-trip queue"),
                other(LINE, "round-trip line"),
                other(ICEORYX, "round-trip iceoryx2"),
                other(IPC_CHANNEL, "round-trip ipc-channel"),
                cpython(CPYTHON_PIPE, "round-trip pipe"),
            ]
        },
        figures: vec![
            figure("round trip, both busy, beside a peer", ICEORYX, 0.5),
            figure("round trip, both busy, beside the limit", LINE, 3.5),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn asleep() -> Table {
    Table {
        head: "a u64 to another process and back, each asleep",
        columns: &["both asleep"],
        contestants: |_| {
            vec![
                ours(PIPE, "asleep pipe"),
                ours(QUEUES, "asleep queue"),
                other(FUTEX, "asleep futex"),
                other(IPC_CHANNEL, "asleep ipc-channel"),
                cpython(CPYTHON_PIPE, "asleep pipe"),
            ]
        },
        figures: vec![Figure {
            title: "round trip, both asleep",
            ours: PIPE,
            limit: FUTEX,
            column: "both asleep",
            at_most: 1.15,
        }],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn one_pair() -> Table {
    let figure =
        |title, limit, at_most| Figure { title, ours: QUEUE, limit, column: "1 producer, 1 consumer", at_most };
    Table {
        head: "u64s, one after the other",
        columns: &["1 producer, 1 consumer"],
        contestants: |_| {
            vec![
                ours(QUEUE, "numbers queue 1"),
                ours(BOUNDED, "numbers bounded 1"),
                other(ICEORYX, "numbers iceoryx2"),
                other(IPC_CHANNEL, "numbers ipc-channel"),
                other(CROSSBEAM, "numbers threads 1"),
                cpython(CPYTHON_QUEUE, "numbers queue 1"),
            ]
        },
        figures: vec![
            figure("u64s through a queue, five times as many", ICEORYX, 0.2),
            figure("u64s through a queue, twenty times as many", IPC_CHANNEL, 0.05),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn two_pairs() -> Table {
    Table {
        head: "u64s, through one queue",
        columns: &["2 producers, 2 consumers"],
        contestants: |_| {
            vec![
                ours(QUEUE, "numbers queue 2"),
                ours(ONE_PAIR, "numbers queue 1"),
                other(CROSSBEAM, "numbers threads 2"),
                cpython(CPYTHON_QUEUE, "numbers queue 2"),
            ]
        },
        figures: vec![Figure {
            title: "u64s through a queue, two at each side",
            ours: QUEUE,
            limit: ONE_PAIR,
            column: "2 producers, 2 consumers",
            at_most: SEVEN_TENTHS,
        }],
        slots: 2.0, // So that each process is on a processor several times.
        unit: Unit::Time,
    }
}

/// Seven tenths as many in the same time.
const SEVEN_TENTHS: f64 = 1.43;

fn copied() -> Table {
    Table {
        head: "messages of 1 MiB",
        columns: &["copied in and out"],
        contestants: |_| {
            vec![
                ours(PIPE_BYTES, "copied pipe-bytes"),
                ours(QUEUE_CLONE, "copied queue"),
                other(MEMCPY, "copied memcpy"),
                other(BLOCKS, "copied blocks"),
                other(ICEORYX, "copied iceoryx2"),
                other(IPC_CHANNEL, "copied ipc-channel"),
                cpython("CPython: send_bytes, recv_bytes", "copied pipe"),
            ]
        },
        figures: vec![Figure {
            title: "messages of 1 MiB, copied in and out",
            ours: PIPE_BYTES,
            limit: MEMCPY,
            column: "copied in and out",
            at_most: SEVEN_TENTHS,
        }],
        slots: 4.0, // So that memory is had once, and used again and again.
        unit: Unit::Time,
    }
}

fn items() -> Table {
    let figure =
        |title, ours, limit, (column, _): (&'static str, _), at_most| Figure { title, ours, limit, column, at_most };
    Table {
        head: "items of 1 MiB",
        columns: const { &[ITEMS[0].0, ITEMS[1].0, ITEMS[2].0] },
        contestants: |column| {
            let item = ITEMS.iter().find(|(name, _)| *name == column).map_or("", |(_, item)| *item);
            vec![
                ours(PIPE, &format!("item pipe {item}")),
                ours(QUEUE_CLONE, &format!("item queue {item}")),
                other(MEMCPY, &format!("item memcpy {item}")),
                other(GIB_A_SECOND, &format!("item gib-a-second {item}")),
                other(IPC_CHANNEL_CLONE, &format!("item ipc-channel {item}")),
                cpython(CPYTHON_QUEUE_CLONE, &format!("item queue {item}")),
            ]
        },
        figures: vec![
            figure("a Vec of bytes as an item", PIPE, MEMCPY, ITEMS[0], 2.0),
            figure("a Vec of f64 as an item", PIPE, MEMCPY, ITEMS[1], 2.0),
            figure("a Vec of bytes as a part of an item", QUEUE_CLONE, GIB_A_SECOND, ITEMS[2], 1.0),
        ],
        slots: 4.0, // As above.
        unit: Unit::Time,
    }
}

fn lent() -> Table {
    let [(small, ..), _, (large, ..)] = LENT;
    Table {
        head: "messages that nobody copies",
        columns: &["written and read at both ends"],
        contestants: |_| {
            let queues = LENT.iter().map(|(name, _, bytes)| ours(name, &format!("lent queue {bytes}")));
            let peers = LENT.iter().map(|(_, name, bytes)| other(name, &format!("lent iceoryx2 {bytes}")));
            queues.chain(peers).collect()
        },
        figures: vec![Figure {
            title: "messages that nobody copies, of 64 MiB beside 64 KiB",
            ours: large,
            limit: small,
            column: "written and read at both ends",
            at_most: 1.25,
        }],
        slots: 4.0, // As above.
        unit: Unit::Time,
    }
}
