//! What a process may set for itself or for a thread by its number: processors, limits, niceness, group, session.
//!
//! Relies on `inherit.rs` for limits and affinities as plain numbers. What they should be is the caller's to say.

use std::io;

use rustix::fs::Mode;
use rustix::process::Pid;

use crate::ProcessRecord;
use crate::inherit::{AFFINITY_WORDS, LIMIT_KINDS, affinity, set_affinity, set_limit};

/// How many processors an affinity can name, numbered from 0.
pub const PROCESSORS_MAX: usize = AFFINITY_WORDS * u64::BITS as usize;

/// The processors that a thread, by its number, may run on; a process's number is that of its first thread.
///
/// # Errors
/// `ESRCH` when there is no such thread.
pub fn processors_of(thread: u32) -> io::Result<Vec<usize>> {
    let words = affinity(number(thread)?)?;
    let is_set = |&processor: &usize| words.get(processor / 64).is_some_and(|word| word >> (processor % 64) & 1 == 1);
    Ok((0..PROCESSORS_MAX).filter(is_set).collect())
}

/// How many files this process may have open (`RLIMIT_NOFILE`), which is also how many it can wait for at once; `None` for
/// any number.
#[must_use]
pub fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// How many processors the calling thread may run on. Nothing is allocated.
///
/// # Errors
/// `EPERM` where a filter forbids the question, `EINVAL` on a machine with more than 1,024 processors.
pub fn processor_count() -> io::Result<usize> {
    Ok(rustix::thread::sched_getaffinity(None)?.count() as usize)
}

/// Lets a thread, by its number, run on these processors only. Those that do not exist are passed over.
///
/// # Errors
/// `EINVAL` when it may run on none of them, `ESRCH` when there is no such thread, `EPERM` for another user's,
/// `InvalidInput` for a processor beyond [`PROCESSORS_MAX`].
pub fn set_processors_of(thread: u32, processors: &[usize]) -> io::Result<()> {
    let mut words = [0_u64; AFFINITY_WORDS];
    for &processor in processors {
        *words.get_mut(processor / 64).ok_or(io::ErrorKind::InvalidInput)? |= 1 << (processor % 64);
    }
    set_affinity(number(thread)?, &words)
}

/// Sets this process's soft and hard limit of a kind, both as the kernel counts them: `RLIMIT_CPU` is 0, and
/// `u64::MAX` is no limit.
///
/// # Errors
/// `EPERM` for a hard limit above the present one, `EINVAL` for a soft limit above the hard one or an unknown kind.
pub fn set_resource_limit(kind: usize, limits: [u64; 2]) -> io::Result<()> {
    if kind < LIMIT_KINDS { set_limit(kind, limits) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// How far this process stands back for others: -20 to 19, where 19 is the farthest.
///
/// # Errors
/// None that Linux knows.
pub fn niceness() -> io::Result<i32> {
    Ok(rustix::process::getpriority_process(None)?)
}

/// Sets it for this process, which has one thread: others would keep theirs.
///
/// # Errors
/// `EACCES` for a value below the present one, unless the process may raise its priority.
pub fn set_niceness(niceness: i32) -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, niceness)?)
}

/// Sets this process's file creation mask.
pub fn set_umask(mask: u32) {
    rustix::process::umask(Mode::from_raw_mode(mask));
}

/// This process's group and session; 0 for one whose leader is in an outer PID namespace, as a container's first
/// processes have them.
///
/// # Errors
/// As [`ProcessRecord::of`].
pub fn group_and_session() -> io::Result<(u32, u32)> {
    let own = ProcessRecord::of(crate::pid())?;
    Ok((own.group, own.session))
}

/// Puts this process into a process group; 0 is a new one with this process's own number.
///
/// # Errors
/// `EPERM` when there is no such group in this session, or this process leads its session.
pub fn enter_process_group(group: u32) -> io::Result<()> {
    let group = if group == 0 { None } else { Some(pid(group)?) };
    Ok(rustix::process::setpgid(None, group)?)
}

/// Makes this process the leader of a new session, which has no terminal, and of a new group.
///
/// # Errors
/// `EPERM` for the leader of a group.
pub fn enter_new_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Makes this process the parent of every descendant whose own parent ends.
///
/// Source: `PR_SET_CHILD_SUBREAPER` in prctl(2).
///
/// # Errors
/// `EINVAL` before Linux 3.4.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// A number of a process or thread as the kernel takes it.
fn number(thread: u32) -> io::Result<i32> {
    Ok(pid(thread)?.as_raw_nonzero().get())
}

/// The same for rustix.
fn pid(pid: u32) -> io::Result<Pid> {
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_beyond_the_last_and_an_unknown_limit_are_refused() {
        let me = crate::pid();
        assert_eq!(set_processors_of(me, &[PROCESSORS_MAX]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(set_resource_limit(LIMIT_KINDS, [0, 0]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(processors_of(0).is_err());
    }

    #[test]
    fn this_threads_processors_can_be_set_to_what_they_are() {
        let me = crate::pid();
        let processors = processors_of(me).unwrap();
        set_processors_of(me, &processors).unwrap();
        assert_eq!(processors_of(me).unwrap(), processors);
    }

    #[test]
    fn the_calling_threads_processors_are_counted() {
        let one = processors_of(crate::thread_id()).unwrap()[..1].to_vec();
        std::thread::spawn(move || {
            assert_eq!(processor_count().unwrap(), processors_of(crate::thread_id()).unwrap().len());
            set_processors_of(crate::thread_id(), &one).unwrap();
            assert_eq!(processor_count().unwrap(), 1);
        })
        .join()
        .unwrap();
    }
}
