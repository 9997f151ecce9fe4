//! The system's processes as `/proc` lists them: whose child each is, since when it runs, whether it has come to rest.
//!
//! Relies on `/proc` being mounted. Nothing is kept: each record is of the moment it was read.

use std::fs;
use std::io;

use crate::ProcessIdentity;

/// Where things stand in `/proc/PID/stat`, counted from the field after the command's name.
const STATE_FIELD: usize = 0;
const PARENT_FIELD: usize = 1;
const GROUP_FIELD: usize = 2;
const SESSION_FIELD: usize = 3;
const FLAGS_FIELD: usize = 6;
const THREADS_FIELD: usize = 17;
const START_TIME_FIELD: usize = 19;

/// What stands for the group of one that was reaped between the opening of the file and the line.
const NO_GROUP: &str = "-1";

/// One process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRecord {
    /// Which process it is.
    pub identity: ProcessIdentity,
    /// Its parent's number; 0 for one whose parent cannot be seen from here.
    pub parent: u32,
    /// Its process group; 0 for one that comes from an outer PID namespace.
    pub group: u32,
    /// Its session; 0 likewise.
    pub session: u32,
    /// The kernel's letter for what its first thread does.
    state: char,
    /// How many threads it has.
    threads: u32,
    /// The kernel's flags of its first thread.
    flags: u32,
}

/// The flag of a thread that the kernel is ending: it never runs code of its program again. `PF_EXITING` of the kernel.
const EXITING: u32 = 0x4;

impl ProcessRecord {
    /// Who has the number `pid` now.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when nobody has, `InvalidData` when the kernel's answer is not understood.
    pub fn of(pid: u32) -> io::Result<Self> {
        parse(pid, &fs::read(format!("/proc/{pid}/stat"))?)
    }

    /// True for one that has ended and was not reaped. One whose first thread alone has ended goes on.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }

    /// True while a signal has stopped its first thread; a debugger's stop is none.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    /// True when no thread of it runs: each is stopped, has ended, or sleeps so deeply that no signal wakes it, as
    /// one does that waits for its `vfork` child.
    ///
    /// # Errors
    /// Those of reading `/proc/PID/task` of a process with several threads.
    pub fn is_at_rest(&self) -> io::Result<bool> {
        if self.threads <= 1 {
            return Ok(rests(self.state));
        }
        let pid = self.identity.pid;
        for thread in threads_of(pid)? {
            // One that has ended since has come to rest for good.
            if thread_record(pid, thread).is_ok_and(|thread| !rests(thread.state)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// True for the letters of states that a thread leaves by a signal to continue, or never.
fn rests(state: char) -> bool {
    matches!(state, 'T' | 't' | 'Z' | 'X' | 'D')
}

/// Every process that can be seen, each as it was when it was read. One that is there all the time is in the list.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn all_processes() -> io::Result<Vec<ProcessRecord>> {
    Ok(numbers_in("/proc")?.into_iter().filter_map(|pid| ProcessRecord::of(pid).ok()).collect())
}

/// The numbers of a process's threads.
///
/// # Errors
/// `ENOENT` when there is no such process.
pub fn threads_of(pid: u32) -> io::Result<Vec<u32>> {
    numbers_in(&format!("/proc/{pid}/task"))
}

/// True when the kernel is ending every thread of a process, so that none of its code runs again, though its memory and
/// descriptors may be there for a while: a process of many gigabytes takes seconds to be freed. False when that cannot be
/// told.
#[must_use]
pub fn is_exiting(process: ProcessIdentity) -> bool {
    are_all_exiting(process).unwrap_or(false)
}

fn are_all_exiting(process: ProcessIdentity) -> io::Result<bool> {
    let pid = process.pid;
    let first = ProcessRecord::of(pid)?;
    if first.identity != process || first.flags & EXITING == 0 {
        return Ok(false);
    }
    let threads = threads_of(pid)?;
    for thread in &threads {
        if !is_thread_exiting(pid, *thread)? {
            return Ok(false);
        }
    }
    // One that began a thread while it was not looked at yet has begun one that is not in the list.
    Ok(threads_of(pid)?.iter().all(|thread| threads.contains(thread)))
}

/// True when the kernel is ending a thread of a process, or has ended it: it runs nothing of its program any more.
pub(crate) fn is_thread_exiting(pid: u32, thread: u32) -> io::Result<bool> {
    match thread_record(pid, thread) {
        Err(error) if is_gone(&error) => Ok(true),
        record => Ok(record?.flags & EXITING != 0),
    }
}

/// What is said of one thread of a process.
fn thread_record(pid: u32, thread: u32) -> io::Result<ProcessRecord> {
    parse(thread, &fs::read(format!("/proc/{pid}/task/{thread}/stat"))?)
}

/// True when there was nobody to read about: at the opening of the file, at its reading, or amid its line.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// The entries of a directory that are numbers.
fn numbers_in(directory: &str) -> io::Result<Vec<u32>> {
    let entries = fs::read_dir(directory)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The fields of a line of `/proc/PID/stat` that follow the second, which may hold anything, brackets and blanks too.
pub(crate) fn fields(stat: &[u8]) -> Option<Vec<&str>> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 2;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    Some(rest.split_ascii_whitespace().collect())
}

/// A record from a line of `/proc/PID/stat`.
///
/// # Errors
/// As [`ProcessRecord::of`].
fn parse(pid: u32, stat: &[u8]) -> io::Result<ProcessRecord> {
    let fields = fields(stat).ok_or(io::ErrorKind::InvalidData)?;
    if fields.get(GROUP_FIELD) == Some(&NO_GROUP) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    understand(pid, &fields).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The record that these fields make, if they are what they should be.
fn understand(pid: u32, fields: &[&str]) -> Option<ProcessRecord> {
    let start_time = fields.get(START_TIME_FIELD)?.parse().ok()?;
    Some(ProcessRecord {
        identity: ProcessIdentity { pid, start_time },
        parent: fields[PARENT_FIELD].parse().ok()?,
        group: fields[GROUP_FIELD].parse().ok()?,
        session: fields[SESSION_FIELD].parse().ok()?,
        state: fields[STATE_FIELD].chars().next()?,
        threads: fields[THREADS_FIELD].parse().ok()?,
        flags: fields[FLAGS_FIELD].parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{parent_pid, pid};

    #[test]
    fn a_name_with_brackets_and_blanks_is_passed_over() {
        let line = b"7 (a) b ( c) T 12 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 3 18 4242 20 21\n";
        let record = parse(7, line).unwrap();
        assert_eq!(record.identity, ProcessIdentity { pid: 7, start_time: 4242 });
        assert_eq!((record.parent, record.state, record.threads), (12, 'T', 3));
        assert_eq!((record.group, record.session), (2, 3));
    }

    #[test]
    fn a_process_whose_first_thread_alone_has_ended_goes_on() {
        let with_threads = |threads| format!("7 (a) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 {threads} 18 4242 20");
        assert!(parse(7, with_threads(1).as_bytes()).unwrap().has_ended());
        assert!(!parse(7, with_threads(2).as_bytes()).unwrap().has_ended());
    }

    #[test]
    fn a_process_that_runs_is_not_exiting_nor_is_one_that_had_its_number() {
        let own = ProcessIdentity::of(pid()).unwrap();
        assert!(!is_exiting(own));
        assert!(!is_exiting(ProcessIdentity { start_time: own.start_time + 1, ..own }));
        let line = b"7 (a) R 12 2 3 4 5 4194564 7 8 9 10 11 12 13 14 15 16 3 18 4242 20 21\n";
        assert_ne!(parse(7, line).unwrap().flags & EXITING, 0);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [&b""[..], b"1 (x)", b"1 (x) R 2", b"1 (x) R b c d e f g h i j k l m n o p q r s t u v"] {
            assert_eq!(parse(1, line).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn one_that_was_reaped_amid_its_line_is_gone() {
        let line = b"7 (a) X 0 -1 -1 0 -1 4194564 7 8 9 10 11 12 13 14 15 16 0 18 4242 20 21\n";
        assert!(is_gone(&parse(7, line).unwrap_err()));
    }

    #[test]
    fn this_process_is_listed_as_its_parents_child_and_is_not_at_rest() {
        let all = all_processes().unwrap();
        let me = all.iter().find(|record| record.identity.pid == pid()).unwrap();
        assert_eq!(me.parent, parent_pid());
        assert!(!me.has_ended());
        assert!(!me.is_at_rest().unwrap());
    }
}
