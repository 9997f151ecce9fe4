//! Group `strangers`: connections by an address, beside bare sockets and CPython's.
//!
//! What the runners are asked for is told here and in `src/bin/stranger`.

use crate::contest::{Figure, Table, Unit, cpython, other, ours};

/// What two processes of one machine get, unless they say otherwise.
const RING: &str = "Client and Listener";
const STREAM: &str = "Client and Listener, stream_only";
const TCP: &str = "Client and Listener";
const SOCKETS: &str = "std sockets";
const CPYTHON: &str = "CPython: Client and Listener";

const SMALL: &str = "64 bytes and back";
const LARGE: &str = "1 MiB and back";
const MEET: &str = "connect, both prove the key, close";

/// What stands at the head of a column and what a runner is asked for.
const COLUMNS: [(&str, &str); 3] = [(SMALL, "back 64"), (LARGE, "back 1048576"), (MEET, "meet")];

/// All tables.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![unix(), tcp()]
}

/// What a runner is asked for.
fn asked(column: &str) -> &'static str {
    COLUMNS.iter().find(|(name, _)| *name == column).map_or("", |(_, asked)| *asked)
}

fn unix() -> Table {
    let figure = |title, ours, limit, column, at_most| Figure { title, ours, limit, column, at_most };
    Table {
        head: "to another process, by a Unix socket",
        columns: const { &[COLUMNS[0].0, COLUMNS[1].0, COLUMNS[2].0] },
        contestants: |column| {
            let asked = asked(column);
            vec![
                ours(RING, &format!("unix ring {asked}")),
                ours(STREAM, &format!("unix stream {asked}")),
                other(SOCKETS, &format!("unix sockets {asked}")),
                cpython(CPYTHON, &format!("unix {asked}")),
            ]
        },
        figures: vec![
            figure("64 bytes and back, in memory", RING, SOCKETS, SMALL, 0.1),
            figure("64 bytes and back, by a Unix socket", STREAM, SOCKETS, SMALL, 1.5),
            figure("1 MiB and back, in memory", RING, SOCKETS, LARGE, 0.5),
            figure("1 MiB and back, by a Unix socket", STREAM, SOCKETS, LARGE, 1.25),
            figure("a hand-shake, by a Unix socket, beside CPython's", STREAM, CPYTHON, MEET, 0.75),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}

fn tcp() -> Table {
    let figure = |title, limit, column, at_most| Figure { title, ours: TCP, limit, column, at_most };
    Table {
        head: "to another process, by TCP",
        columns: const { &[COLUMNS[0].0, COLUMNS[1].0, COLUMNS[2].0] },
        contestants: |column| {
            let asked = asked(column);
            vec![
                ours(TCP, &format!("tcp ring {asked}")),
                other(SOCKETS, &format!("tcp sockets {asked}")),
                cpython(CPYTHON, &format!("tcp {asked}")),
            ]
        },
        figures: vec![
            figure("64 bytes and back, by TCP", SOCKETS, SMALL, 1.5),
            figure("1 MiB and back, by TCP", SOCKETS, LARGE, 1.25),
            figure("a hand-shake, by TCP, beside CPython's", CPYTHON, MEET, 0.75),
        ],
        slots: 1.0,
        unit: Unit::Time,
    }
}
