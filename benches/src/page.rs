//! The book's page on performance, from what was measured.
//!
//! The page names what it was made of and by which command. It holds no path and no host's name: nothing goes into it
//! but numbers, the names of contestants and [`Machine`].

use std::fmt::Write;
use std::slice;

use crate::contest::{Results, figures};
use crate::machine::Machine;
use crate::rounds::STOLEN_MAX;

/// Where the plot stands, as seen from the page.
pub const START_METHODS_PLOT: &str = "plots/start_methods.svg";
/// As well.
pub const LOCKS_PLOT: &str = "plots/locks.svg";

/// How the report was made.
#[derive(Debug)]
pub struct Origin {
    /// The command that made it.
    pub command: String,
    /// How many rounds were counted.
    pub rounds: usize,
    /// On what.
    pub machine: Machine,
}

/// What all groups gave.
#[derive(Debug)]
pub struct Report {
    /// Group `start_methods`.
    pub start_methods: Results,
    /// Group `shared_memory`, a table each.
    pub shared_memory: Vec<Results>,
    /// Group `locks`, a table each.
    pub locks: Vec<Results>,
    /// Group `channels`, a table each.
    pub channels: Vec<Results>,
    /// Group `strangers`, a table each.
    pub strangers: Vec<Results>,
    /// Group `pool`, a table each.
    pub pool: Vec<Results>,
    /// Group `managers`, a table each.
    pub managers: Vec<Results>,
}

/// The whole page.
#[must_use]
pub fn page(origin: &Origin, report: &Report) -> String {
    let Origin { command, rounds, machine } = origin;
    let Machine { cpu, processors, memory_gib, kernel, huge_pages, rustc, python } = machine;
    let Report { start_methods, shared_memory, locks, channels, strangers, pool, managers } = report;
    let others = [shared_memory, locks, channels, strangers, pool, managers].into_iter().flatten();
    let measured = others.chain([start_methods]).flat_map(|results| &results.measured);
    let stolen_max = 100.0 * STOLEN_MAX;
    let stolen = 100.0 * measured.map(|measured| measured.stolen).fold(0.0, f64::max);
    let starting = figures(slice::from_ref(start_methods));
    let by_size = start_methods.all();
    let sharing = figures(shared_memory);
    let shared = tables(shared_memory);
    let locking = figures(locks);
    let locks = tables(locks);
    let messages = figures(channels);
    let channels = tables(channels);
    let meeting = figures(strangers);
    let strangers = tables(strangers);
    let working = figures(pool);
    let pool = tables(pool);
    let calling = figures(managers);
    let managers = tables(managers);
    format!(
        "# Performance

This page shows what was measured on one machine, beside the bare system calls and beside what else there is.
It is generated: `{command}` wrote it.

A ratio compares two contestants that ran in turn, round after round, and is the median of the {rounds} rounds' ratios; each turn begins with runs that do not count.
So it says something on a busy machine too; the times give the scale, nothing more.
A round in which the machine's host took more than {stolen_max} % of the processors' time for others is run anew, a few times as many rounds at most.

| measured on | |
|---|---|
| processor | {cpu}, {processors} of them |
| memory | {memory_gib} GiB, transparent huge pages: {huge_pages} |
| kernel | {kernel} |
| compiler | {rustc} |
| Python | {python} |
| taken by its host, at most | {stolen:.1} % of the rounds of a table that count |

## Start

A child with an empty target is started and joined, and its exit code or result is checked.
Every contestant runs in a process with one thread, which holds 1 MiB of its own unless the figure says otherwise.
Servers run before the first start that counts.

{starting}
## Start methods and the size of the parent

![Time to start and join a child against the parent's resident size]({START_METHODS_PLOT})

{by_size}
Names in bold are this project's start methods.
`fork + wait`, `posix_spawn + wait` and `std::process::Command` run no function and return no value: their children exit at once.
The last two execute the same image as the start methods do.

## Shared memory

An array is shared with a child by being its argument; the child looks at its last element, and is joined.
A segment is created, mapped and unmapped again; nothing is written to it.
The elements of an array are added up one after the other, and copied out of it, beside those of a plain `Vec` in the same process.

{sharing}
{shared}
Names in bold are this project's.
The system calls of the second table are `memfd_create`, `ftruncate`, `mmap`, `munmap` and `close`.
CPython's segments have a name, by which its children open them.
A name costs ours more than the file: room for all of it is set aside at once, and its owner is entered where a tracker finds it.

## Locks and shared state

A lock is taken and freed, and what it guards is increased; a number is increased by several processes at once; two processes wake each other in turn, both busy.
A time is that of all of them together divided by how often it was done; how often it was done is counted in what they share, and compared.

{locking}
![Time to take and free one lock against the number of processes]({LOCKS_PLOT})

{locks}
Names in bold are this project's.
The mutexes of Rust are not shared between processes, and none but ours and glibc's robust one survives its holder.
A cache line goes to and fro when one process writes and the other looks, without anything around it.

## Channels

A number goes to another process and comes back; numbers, or items of 1 MiB, go one after the other from a process that puts to one that takes.
What arrives is looked at: its number, which stands in sixteen places of what is large.

{messages}
{channels}
Names in bold are this project's.
Who is asleep has waited for at least 300 us; only the way of the message counts, not the pause before it.
`memcpy` copies a message once, in one process, to eight places in turn; as many are under way wherever that can be said.
Who takes items by value is given a clone of the producer's own; that is counted, and the row says so.
A number goes there and back through one pipe; a pipe's `send` looks at an item and leaves it where it is.
What nobody copies is written and looked at in its first and its last bytes alone.
iceoryx2 sends to whoever listens and has no queue that several take from; its subscribers look again and again.

## Strangers

A message of bytes goes to another process and comes back, by a connection that was made at an address; or one process makes connections to another, one after the other.
What comes back is looked at.

{meeting}
{strangers}
Names in bold are this project's.
`std sockets` are a `UnixStream` and a `TcpStream` with the same frames, a buffer for reading, and `TCP_NODELAY`; nobody proves anything there.
By a Unix socket, ours go on over shared memory after the hand-shake, unless one end is `stream_only`.

## Pool and executor

Workers are there and have done a task, but where a table says that they are made.
Every result is compared with what it must be; of an argument of 64 MiB, its length and a byte of each of sixteen parts are.

{working}
{pool}
Names in bold are this project's.
CPython's are used with its default start method where the name says no other; rayon has threads and no processes, and shows what a boundary between processes costs.
An argument that is copied is made before the clock runs; one in shared memory is written while it does, as `memcpy` is.
A worker is killed with SIGKILL when it says that its task has begun. CPython's Pool never tells of that, so it does not take part; its executor fails all tasks, and has to be made anew.
Where a number stands among the contestants, it is what is promised.

## Managers

A server process has a dictionary; its clients, each a process, set keys to numbers, one call after the other or many at once.
What a call returns, the number that the key had before, is compared with what this client has set; of CPython and Redis, which return none, what the key has in the end.

{calling}
{managers}
Names in bold are this project's.
By a Unix socket, ours go on over shared memory after the hand-shake.
A time with four clients is that of all of them together divided by how many keys were set.
Redis runs as its users have it on one machine, without a copy on disk; its client is a socket and the bytes of its protocol.
`16 at once` is a pipeline of 16 with Redis, and 16 `insert_later` whose results are collected then with ours; CPython's managers have nothing like it, and set one after the other.
"
    )
}

/// All tables of a group, one after the other.
fn tables(results: &[Results]) -> String {
    let tables: Vec<String> = results.iter().map(Results::all).collect();
    tables.join("\n")
}

/// A line of a table.
pub(crate) fn line(text: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        let _ = write!(text, "| {} ", cell.as_ref()); // Writing to a string does not fail.
    }
    text.push_str("|\n");
}

/// Seconds in the unit that suits them.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        0.1.. => format!("{:.0} ms", seconds * 1e3),
        0.01.. => format!("{:.1} ms", seconds * 1e3),
        0.001.. => format!("{:.2} ms", seconds * 1e3),
        1e-4.. => format!("{:.0} us", seconds * 1e6),
        1e-5.. => format!("{:.1} us", seconds * 1e6),
        1e-6.. => format!("{:.2} us", seconds * 1e6),
        1e-7.. => format!("{:.0} ns", seconds * 1e9),
        _ => format!("{:.1} ns", seconds * 1e9),
    }
}

/// A ratio with as many digits as it deserves.
pub(crate) fn digits(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;
    use crate::contest::{Contestant, Figure, Measured, Side, Unit};
    use crate::start_methods::{FORK, HEAD, POSIX_SPAWN, contestants, plot};

    /// Two sizes and three rounds; every time is 8 ms but those given by name: theirs at 1 MiB and at 1024 MiB.
    fn measured(given: &[(&str, [f64; 3], [f64; 3])]) -> Results {
        let contestants = contestants();
        let times = |contestant: &Contestant, large: bool| {
            let given = given.iter().find(|(name, ..)| contestant.name == *name);
            given.map_or([0.008; 3], |(_, at_small, at_large)| if large { *at_large } else { *at_small }).to_vec()
        };
        let at = |column: &str, large| Measured {
            column: column.to_owned(),
            times: contestants.iter().map(|one| times(one, large)).collect(),
            stolen: 0.001,
        };
        let figure = |title, ours, limit, column, at_most| Figure { title, ours, limit, column, at_most };
        Results {
            head: HEAD,
            measured: vec![at("1 MiB", false), at("1024 MiB", true)],
            contestants,
            figures: vec![
                figure("small", "forkserver", FORK, "1 MiB", 1.5),
                figure("large", "forkserver", FORK, "1024 MiB", 0.01),
                figure("image", "spawn", POSIX_SPAWN, "1 MiB", 1.15),
                figure("unmeasured", "spawn", POSIX_SPAWN, "64 MiB", 1.15),
            ],
            unit: Unit::Time,
        }
    }

    /// Two contestants in one column; theirs takes 2 us, ours 2.5 us.
    fn shared() -> Results {
        let contestant = |name: &str, is_ours| Contestant {
            name: name.to_owned(),
            is_ours,
            side: Side::Ours,
            method: String::new(),
        };
        Results {
            head: "elements",
            contestants: vec![contestant("mine", true), contestant("theirs", false)],
            figures: vec![Figure { title: "many", ours: "mine", limit: "theirs", column: "u8", at_most: 1.2 }],
            measured: bytes(2.5e-6, 2e-6),
            unit: Unit::Time,
        }
    }

    /// What both took in each of three rounds.
    fn bytes(mine: f64, theirs: f64) -> Vec<Measured> {
        vec![Measured { column: "u8".to_owned(), times: vec![vec![mine; 3], vec![theirs; 3]], stolen: 0.01 }]
    }

    /// The same of locks, in nanoseconds.
    fn locks() -> Results {
        let figures = vec![Figure { title: "fast", ours: "mine", limit: "theirs", column: "u8", at_most: 0.8 }];
        let measured = bytes(12.5e-9, 250e-9);
        Results { head: "locks", figures, measured, ..shared() }
    }

    /// The same of messages, in microseconds.
    fn channels() -> Results {
        let figures = vec![Figure { title: "often", ours: "mine", limit: "theirs", column: "u8", at_most: 0.5 }];
        let measured = bytes(4e-6, 16e-6);
        Results { head: "messages", figures, measured, ..shared() }
    }

    /// The same of strangers.
    fn strangers() -> Results {
        let figures = vec![Figure { title: "far", ours: "mine", limit: "theirs", column: "u8", at_most: 1.25 }];
        let measured = bytes(12e-6, 8e-6);
        Results { head: "by post", figures, measured, ..shared() }
    }

    /// The same of pools, in bytes.
    fn pool() -> Results {
        let figures = vec![Figure { title: "small", ours: "mine", limit: "theirs", column: "u8", at_most: 1.0 }];
        let measured = bytes(0.15, 0.2);
        Results { head: "tasks", figures, measured, unit: Unit::Bytes, ..shared() }
    }

    /// The same of managers.
    fn managers() -> Results {
        let figures = vec![Figure { title: "set", ours: "mine", limit: "theirs", column: "u8", at_most: 0.1 }];
        let measured = bytes(3e-6, 60e-6);
        Results { head: "keys", figures, measured, ..shared() }
    }

    fn shown(start_methods: Results) -> String {
        let machine = Machine {
            cpu: "A CPU".to_owned(),
            processors: 2,
            memory_gib: 24,
            kernel: "Linux 6.0".to_owned(),
            huge_pages: "madvise".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
            python: "CPython 3.13.0".to_owned(),
        };
        let origin = Origin { command: "cargo xtask bench-report".to_owned(), rounds: 3, machine };
        let (shared_memory, locks) = (vec![shared()], vec![locks()]);
        let (channels, strangers, pool) = (vec![channels()], vec![strangers()], vec![pool()]);
        let managers = vec![managers()];
        page(&origin, &Report { start_methods, shared_memory, locks, channels, strangers, pool, managers })
    }

    fn has_line(page: &str, line: &str) {
        assert!(page.lines().any(|there| there == line), "no line {line}\n{page}");
    }

    #[test]
    fn a_figure_is_the_median_of_the_rounds_ratios() {
        let page = shown(measured(&[
            ("forkserver", [0.0003, 0.004, 0.0003], [0.0004; 3]),
            (FORK, [0.0002, 0.002, 0.0009], [0.02, 0.04, 0.16]),
            ("spawn", [0.001; 3], [0.001; 3]),
            (POSIX_SPAWN, [0.0008; 3], [0.001; 3]),
        ]));
        // The rounds' ratios are 1.5, 2 and 0.33; 0.02, 0.01 and 0.0025; 1.25 each time.
        has_line(&page, "| small | ≤ 1.5 × fork + wait | 1.50 | yes | 300 us | 900 us |");
        has_line(&page, "| large | ≤ 0.01 × fork + wait | 0.0100 | yes | 400 us | 40.0 ms |");
        has_line(&page, "| image | ≤ 1.15 × posix_spawn + wait | 1.25 | no | 1.00 ms | 800 us |");
        assert!(!page.contains("unmeasured"));
    }

    #[test]
    fn every_contestant_has_its_times_at_every_size() {
        let page = shown(measured(&[("CPython spawn", [0.09, 0.1, 0.2], [0.3; 3])]));
        has_line(&page, "| resident in the starting process | 1 MiB | 1024 MiB |");
        has_line(&page, "|---|---|---|");
        has_line(&page, "| **forkserver** | 8.00 ms | 8.00 ms |");
        has_line(&page, "| CPython spawn | 100 ms | 300 ms |");
        for contestant in contestants() {
            assert!(page.lines().any(|line| line.contains(&contestant.name) && line.ends_with(" ms |")));
        }
    }

    #[test]
    fn the_tables_of_shared_memory_have_their_figures_and_times() {
        let page = shown(measured(&[]));
        has_line(&page, "| many | ≤ 1.2 × theirs | 1.25 | no | 2.50 us | 2.00 us |");
        has_line(&page, "| elements | u8 |");
        has_line(&page, "| **mine** | 2.50 us |");
        has_line(&page, "| theirs | 2.00 us |");
    }

    #[test]
    fn the_tables_of_locks_have_their_figures_and_times() {
        let page = shown(measured(&[]));
        has_line(&page, "| fast | ≤ 0.8 × theirs | 0.0500 | yes | 12.5 ns | 250 ns |");
        has_line(&page, "| locks | u8 |");
    }

    #[test]
    fn the_tables_of_channels_have_their_figures_and_times() {
        let page = shown(measured(&[]));
        has_line(&page, "| often | ≤ 0.5 × theirs | 0.25 | yes | 4.00 us | 16.0 us |");
        has_line(&page, "| messages | u8 |");
    }

    #[test]
    fn the_tables_of_strangers_have_their_figures_and_times() {
        let page = shown(measured(&[]));
        has_line(&page, "| far | ≤ 1.25 × theirs | 1.50 | no | 12.0 us | 8.00 us |");
        has_line(&page, "| by post | u8 |");
    }

    #[test]
    fn the_tables_of_managers_have_their_figures_and_times() {
        let page = shown(measured(&[]));
        has_line(&page, "| set | ≤ 0.1 × theirs | 0.0500 | yes | 3.00 us | 60.0 us |");
        has_line(&page, "| keys | u8 |");
    }

    #[test]
    fn what_is_counted_in_bytes_is_shown_in_bytes() {
        let page = shown(measured(&[]));
        has_line(&page, "| small | ≤ 1 × theirs | 0.75 | yes | 150 bytes | 200 bytes |");
        has_line(&page, "| **mine** | 150 bytes |");
    }

    #[test]
    fn the_page_says_what_made_it_and_names_no_path() {
        let page = shown(measured(&[]));
        for said in ["`cargo xtask bench-report` wrote it", "the 3 rounds'", "A CPU, 2 of them", "24 GiB"] {
            assert!(page.contains(said), "{said}");
        }
        for said in ["| kernel | Linux 6.0 |", "| compiler | rustc 1.95.0 |", "| Python | CPython 3.13.0 |"] {
            has_line(&page, said);
        }
        let slashes = page.matches('/').count();
        let plots = [START_METHODS_PLOT, LOCKS_PLOT].map(|plot| page.matches(plot).count());
        assert_eq!((slashes, plots), (2, [1, 1]), "a path in\n{page}");
    }

    #[test]
    fn the_plot_has_a_line_for_each_contestant() -> Result {
        let start_methods = measured(&[("CPython spawn", [0.09; 3], [0.3; 3])]);
        let svg = plot(&start_methods, &[1, 1024])?;
        for contestant in &start_methods.contestants {
            assert!(svg.lines().any(|line| line == contestant.name), "{}", contestant.name);
        }
        Ok(())
    }
}
