//! `cargo xtask tidy`: the rules of this repository that no compiler and no lint checks.
//!
//! This file holds the lists of exceptions, each entry with its reason; the rules stand in the
//! modules. A list may only shrink: an entry that nothing needs any more is an error as well.

mod manifests;
mod safety;
mod size;
mod tables;
mod text;
mod wording;
mod workflows;

use crate::lex::Source;
use crate::tree::{self, Finding, TextFile};
use crate::{Result, flags};

/// A file that may break a rule, and why.
type Exception = (&'static str, &'static str);

/// Where `unsafe` may stand. Everything else that needs it calls one of these.
const UNSAFE_FILES: &[Exception] = &[
    ("benches/src/bin/locker/robust.rs", "calls the C library's mutex, which the lock is measured against"),
    (
        "benches/src/bin/messenger/iceoryx.rs",
        "takes a peer's message as initialized that nobody writes from end to end",
    ),
    ("benches/src/bin/starter.rs", "times a bare fork beside the start methods"),
    ("benches/src/bin/sharer.rs", "times the bare system calls beside segments"),
    ("crates/procession-boot/src/constructor.rs", "the loader calls a raw function pointer in a link section"),
    ("crates/procession-boot/src/image.rs", "reads the image's own headers where the loader mapped them"),
    ("crates/procession-boot/src/lifeline.rs", "takes its parent's lifeline from a process that was forked"),
    (
        "crates/procession-boot/src/procedure.rs",
        "makes a value of a function's type, which has no data, out of nothing",
    ),
    ("crates/procession-boot/src/table.rs", "the linker collects the functions' addresses, which have no safe form"),
    ("crates/procession-ipc/src/lent.rs", "shows a block of a queue's memory as the numbers in it"),
    ("crates/procession-ipc/tests/asynchronous/costs.rs", "forks a process with a thread, vouching for it"),
    ("crates/procession-launch/src/body.rs", "replaces the streams and the environment of a child that has just begun"),
    ("crates/procession-launch/src/forkserver/server.rs", "forks, and closes in the child what is the server's"),
    (
        "crates/procession-launch/src/fork.rs",
        "forks this process, and replaces the streams and environment of the copy",
    ),
    ("crates/procession-launch/src/forkserver/nursery.rs", "forks a copy of this process that serves"),
    ("crates/procession-launch/tests/fork.rs", "forks a process with threads, vouching for them"),
    ("crates/procession-launch/tests/constructors.rs", "has a constructor of its own, to see when it runs"),
    ("crates/procession-launch/src/target.rs", "makes a value of a function's type, which has no data, out of nothing"),
    ("crates/procession-macros/src/shareable.rs", "implements an unsafe trait for a type whose layout it asserts"),
    (
        "crates/procession-pool/tests/matrix/ends.rs",
        "writes where no memory is, and closes what others own, to ruin a worker",
    ),
    ("crates/procession-pool/tests/matrix/fuse.rs", "has a constructor of its own, to be there before a worker starts"),
    ("crates/procession-sync/src/cells.rs", "knows where values stand in shared memory"),
    ("crates/procession-sync/src/locked.rs", "shows as references what a lock that is held guards"),
    ("crates/procession-sync/src/keep.rs", "says in the bit of an address whether a guard owns its object"),
    ("crates/procession-sys/src/packet.rs", "lets go of a socket that other threads may be using"),
    ("crates/procession-sys/src/auxv.rs", "asks libc for the auxiliary vector"),
    ("crates/procession-sys/src/environ.rs", "changes the environment, a global of libc"),
    ("crates/procession-sys/src/exec.rs", "calls posix_spawn, which takes raw pointers"),
    ("crates/procession-sys/src/exit.rs", "calls `_exit`, `atexit` and `pthread_self`"),
    ("crates/procession-sys/src/fd.rs", "adopts descriptors that a parent chose by number"),
    ("crates/procession-sys/src/fork.rs", "calls fork"),
    ("crates/procession-sys/src/futex.rs", "looks at half of an atomic, which the kernel's futexes are"),
    ("crates/procession-sys/src/harness.rs", "sets signal handlers and limits for the test kit"),
    ("crates/procession-sys/src/inherit.rs", "copies limits by number, for which rustix has no function"),
    ("crates/procession-sys/src/memfd.rs", "maps sealed files, which nobody can change"),
    ("crates/procession-sys/src/record_lock.rs", "locks bytes for an open file description, which rustix cannot"),
    ("crates/procession-sys/src/room.rs", "madvise takes an address"),
    ("crates/procession-sys/src/copying.rs", "copies memory that other processes change"),
    ("crates/procession-sys/src/shared.rs", "touches memory that other processes change"),
    ("crates/procession-sys/src/signal.rs", "sets masks and dispositions, which rustix leaves to libc"),
    ("crates/procession-sys/src/stack.rs", "installs the handler that reports a stack overflow"),
    ("crates/procession-sys/src/stream.rs", "lets a socket go that other threads may be using by its number"),
    ("crates/procession-sys/src/thread_id.rs", "forgets its parent's thread in a process that was forked"),
    ("crates/procession-sys/src/threads.rs", "asks by a refused unshare whether there is one thread"),
    ("crates/procession-sys/src/title.rs", "tells the kernel where the command line stands"),
    ("crates/procession-shm/src/arena/fork.rs", "is called by libc's fork, and replaces a description in the child"),
    ("crates/procession-sys/src/unshared.rs", "closes its parent's descriptors in a process that was forked"),
    ("crates/procession-shm/src/arena/slot.rs", "has at hand where a slot's words are"),
    ("crates/procession-shm/src/array/bits.rs", "makes values of bits that their type has declared valid"),
    ("crates/procession-shm/src/frozen.rs", "shows elements that nobody can change as a slice"),
    ("crates/procession-shm/src/names/tracker.rs", "forks a tracker that is nobody's child"),
    ("crates/procession-shm/tests/arena.rs", "forks a process with threads"),
    ("crates/procession-shm/tests/tracker.rs", "forks a process that outlives the one it is a copy of"),
    ("crates/procession-shm/src/shareable.rs", "vouches for the layout of the language's own types"),
    ("xtask/images/plugin/src/lib.rs", "exports a function that a C program can look up"),
    ("xtask/images/program/src/main.rs", "loads a plugin, and has a constructor of its own"),
];

/// Files with more code than fits the head, and why they are not split.
const LONG_FILES: &[Exception] = &[];

/// Functions with more lines than fit a screen, as `path::name`, and why they are not split.
const LONG_FUNCTIONS: &[Exception] = &[];

/// Files with `#[test]` that call `fork` all the same, and why that is safe there.
const FORK_UNDER_LIBTEST: &[Exception] = &[];

/// Checks every rule, or with `--unsafe` lists where unsafe code stands.
///
/// # Errors
///
/// Says how many places break a rule, after printing each.
pub(crate) fn run(args: &[String]) -> Result {
    let [list_unsafe] = flags::only(args, ["--unsafe"])?;
    let files = tree::files()?;
    if list_unsafe {
        print!("{}", safety::table(&sources(&files)));
        return Ok(());
    }
    tree::report("tidy", check(&files))
}

/// What all rules find in these files.
fn check(files: &[TextFile]) -> Vec<Finding> {
    let sources = sources(files);
    let mut findings = Vec::new();
    findings.extend(files.iter().flat_map(text::check));
    findings.extend(wording::check(files, &sources, FORK_UNDER_LIBTEST));
    findings.extend(safety::check(&sources, UNSAFE_FILES));
    findings.extend(size::check(&sources, LONG_FILES, LONG_FUNCTIONS));
    findings.extend(manifests::check(files));
    findings.extend(workflows::check(files));
    findings.extend(tables::check(files));
    findings
}

/// The Rust files among these, told apart into code and comments.
fn sources(files: &[TextFile]) -> Vec<Source<'_>> {
    files.iter().filter(|file| file.is(&["rs"])).map(Source::new).collect()
}

/// True if one of the exceptions names this path or function.
fn excused(exceptions: &[Exception], name: &str) -> bool {
    exceptions.iter().any(|(excused, _)| *excused == name)
}

/// A finding for every exception that was not in `used`.
fn unused(list: &str, exceptions: &[Exception], used: &[String]) -> Vec<Finding> {
    let stale = exceptions.iter().filter(|(name, _)| !used.iter().any(|used| used == name));
    let finding = |(name, _): &Exception| {
        let message = format!("{list} has an entry for `{name}` that nothing needs: take it out");
        Finding::at("xtask/src/tidy.rs", 0, message)
    };
    stale.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that breaks one rule, made for one test.
    pub(super) fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_string(), text: text.to_string() }
    }

    #[test]
    fn a_planted_violation_of_each_kind_is_found_through_the_front_door() {
        let planted = [
            file("crates/a/src/tab.rs", "//! A.\nfn a() {\n\t\n}\n"),
            file("crates/a/src/word.rs", concat!("//! A.\n// TO", "DO\n")),
            file("crates/a/src/cell.rs", "//! A.\nfn a() { unsafe { b() } }\n"),
            file("crates/a/src/long.rs", &format!("//! A.\n{}", "use a::b;\n".repeat(501))),
            file("crates/a/Cargo.toml", "[dependencies]\nserde = \"1\"\n"),
            file(".github/workflows/a.yml", "jobs:\n  a:\n    steps:\n      - run: make\n"),
            file("docs/src/reference/python.md", "| a | |\n"),
        ];
        let findings = check(&planted);
        for TextFile { path, .. } in &planted {
            assert!(findings.iter().any(|finding| finding.path == *path), "{path}");
        }
    }

    #[test]
    fn an_exception_that_nothing_needs_is_found() {
        let list: &[Exception] = &[("a.rs", "why"), ("b.rs", "why")];
        let findings = unused("LIST", list, &["a.rs".to_string()]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("b.rs"));
    }
}
