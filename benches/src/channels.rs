//! Group `channels`: numbers and large messages from process to process, by whoever can.
//!
//! What the runners are asked for is told here and in `src/bin/messenger`.

use crate::contest::{Table, cpython, other};

const LINE: &str = "a cache line";
const FUTEX: &str = "futex";
const ICEORYX: &str = "iceoryx2";
const IPC_CHANNEL: &str = "ipc-channel";
const CROSSBEAM: &str = "crossbeam-channel: threads of one process";
const CPYTHON_PIPE: &str = "CPython: Pipe";
const CPYTHON_QUEUE: &str = "CPython: Queue";

const MEMCPY: &str = "memcpy";
const BLOCKS: &str = "memcpy in, by another process out";
const GIB_A_SECOND: &str = "1 GiB/s";

/// Items of 1 MiB, as what stands at the head of a column and what a runner is asked for.
const ITEMS: [(&str, &str); 3] = [("Vec&lt;u8>", "bytes"), ("Vec&lt;f64>", "numbers"), ("(u64, Vec&lt;u8>)", "nested")];

/// Messages that are lent: what a contestant is called, and bytes.
const LENT: [(&str, usize); 4] = [("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("16 MiB", 16 << 20), ("64 MiB", 64 << 20)];

/// All tables.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![busy(), asleep(), one_pair(), two_pairs(), copied(), items(), lent()]
}

fn busy() -> Table {
    Table {
        head: "a u64 to another process and back",
        columns: &["both busy"],
        contestants: |_| {
            vec![
                other(LINE, "round-trip line"),
                other(ICEORYX, "round-trip iceoryx2"),
                other(IPC_CHANNEL, "round-trip ipc-channel"),
                cpython(CPYTHON_PIPE, "round-trip pipe"),
            ]
        },
        figures: vec![],
        slots: 1,
    }
}

fn asleep() -> Table {
    Table {
        head: "a u64 to another process and back, each asleep",
        columns: &["both asleep"],
        contestants: |_| {
            vec![
                other(FUTEX, "asleep futex"),
                other(IPC_CHANNEL, "asleep ipc-channel"),
                cpython(CPYTHON_PIPE, "asleep pipe"),
            ]
        },
        figures: vec![],
        slots: 1,
    }
}

fn one_pair() -> Table {
    Table {
        head: "u64s, one after the other",
        columns: &["1 producer, 1 consumer"],
        contestants: |_| {
            vec![
                other(ICEORYX, "numbers iceoryx2"),
                other(IPC_CHANNEL, "numbers ipc-channel"),
                other(CROSSBEAM, "numbers threads 1"),
                cpython(CPYTHON_QUEUE, "numbers queue 1"),
            ]
        },
        figures: vec![],
        slots: 2,
    }
}

fn two_pairs() -> Table {
    Table {
        head: "u64s, through one queue",
        columns: &["2 producers, 2 consumers"],
        contestants: |_| vec![other(CROSSBEAM, "numbers threads 2"), cpython(CPYTHON_QUEUE, "numbers queue 2")],
        figures: vec![],
        slots: 2, // So that each process is on a processor several times.
    }
}

fn copied() -> Table {
    Table {
        head: "messages of 1 MiB",
        columns: &["copied in and out"],
        contestants: |_| {
            vec![
                other(MEMCPY, "copied memcpy"),
                other(BLOCKS, "copied blocks"),
                other(ICEORYX, "copied iceoryx2"),
                other(IPC_CHANNEL, "copied ipc-channel"),
                cpython("CPython: send_bytes, recv_bytes", "copied pipe"),
            ]
        },
        figures: vec![],
        slots: 1,
    }
}

fn items() -> Table {
    Table {
        head: "items of 1 MiB",
        columns: const { &[ITEMS[0].0, ITEMS[1].0, ITEMS[2].0] },
        contestants: |column| {
            let item = ITEMS.iter().find(|(name, _)| *name == column).map_or("", |(_, item)| *item);
            vec![
                other(MEMCPY, &format!("item memcpy {item}")),
                other(GIB_A_SECOND, &format!("item gib-a-second {item}")),
                other(IPC_CHANNEL, &format!("item ipc-channel {item}")),
                cpython(CPYTHON_QUEUE, &format!("item queue {item}")),
            ]
        },
        figures: vec![],
        slots: 1,
    }
}

fn lent() -> Table {
    Table {
        head: "messages that nobody copies",
        columns: &["iceoryx2"],
        contestants: |_| LENT.iter().map(|(name, bytes)| other(name, &format!("lent iceoryx2 {bytes}"))).collect(),
        figures: vec![],
        slots: 1,
    }
}
