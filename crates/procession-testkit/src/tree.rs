//! Processes as `/proc` shows them: who is whose child, in what state, and how to end all of them.

use std::fmt;
use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use procession_sys::{Deadline, PidFd, Signal, pid, reap_any};

/// One process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    /// The kernel's letter: `R` runs, `S` sleeps, `T` is stopped, `Z` is a zombie.
    pub state: char,
    /// What `ps` calls it, at most 15 bytes.
    pub name: String,
    /// In which function of the kernel it sleeps, where the kernel tells.
    pub wait_channel: String,
}

impl ProcessInfo {
    /// True for one that has ended and was not reaped.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

impl fmt::Display for ProcessInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, parent, state, name, wait_channel } = self;
        write!(f, "pid {pid}, parent {parent}, state {state}, {name:?}, in {wait_channel:?}")
    }
}

/// The process with this number; `None` when there is none.
#[must_use]
pub fn process(pid: u32) -> Option<ProcessInfo> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (name, state, parent) = parse_stat(&String::from_utf8_lossy(&stat))?;
    let wait_channel = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    Some(ProcessInfo { pid, parent, state, name, wait_channel })
}

/// Name, state and parent in a line of `/proc/PID/stat`, whose name may hold anything, brackets and blanks too.
fn parse_stat(stat: &str) -> Option<(String, char, u32)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((name.to_owned(), state, fields.next()?.parse().ok()?))
}

/// The processes whose parent is `parent`, zombies among them.
///
/// # Panics
/// When `/proc` is not mounted.
#[must_use]
pub fn children_of(parent: u32) -> Vec<ProcessInfo> {
    let mut children = all();
    children.retain(|process| process.parent == parent);
    children
}

/// The children of `ancestor`, their children, and so on, parents before their children.
///
/// # Panics
/// When `/proc` is not mounted.
#[must_use]
pub fn descendants_of(ancestor: u32) -> Vec<ProcessInfo> {
    let mut others = all();
    let mut found: Vec<ProcessInfo> = Vec::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        let (children, rest) = others.into_iter().partition(|process| process.parent == parent);
        let children: Vec<ProcessInfo> = children;
        parents.extend(children.iter().map(|child| child.pid));
        found.extend(children);
        others = rest;
    }
    found
}

/// Every process there is.
fn all() -> Vec<ProcessInfo> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(process).collect()
}

/// How long [`kill_tree`] goes on killing what is born while it kills.
const KILL_TREE_MAX: Duration = Duration::from_secs(5);

/// How long between two looks at a tree that is dying.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// Kills every descendant of this process, stopped ones and later ones too, and reaps those that become its children.
///
/// # Errors
/// `TimedOut` when some are still there after five seconds.
///
/// # Panics
/// When `/proc` is not mounted.
pub fn kill_tree() -> io::Result<()> {
    let deadline = Deadline::after(KILL_TREE_MAX);
    loop {
        while reap_any().is_some() {}
        let left = descendants_of(pid());
        if left.is_empty() {
            return Ok(());
        }
        if deadline.has_passed() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for process in left.iter().filter(|process| !process.is_zombie()) {
            // A number may have been freed since the look; only one of this very tree is hit.
            if let Ok(held) = PidFd::open(process.pid)
                && self::process(process.pid).is_some_and(|now| now.parent == process.parent)
            {
                let _ = held.send(Signal::KILL);
            }
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_is_read() {
        let stat = "12 (a) b (c) S 7 12 12 0";
        assert_eq!(parse_stat(stat), Some(("a) b (c".into(), 'S', 7)));
        assert_eq!(parse_stat("12 (a"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_is_a_child_of_its_parent() {
        let me = process(pid()).unwrap();
        assert_eq!(me.parent, procession_sys::parent_pid());
        assert!(children_of(me.parent).iter().any(|child| child.pid == me.pid));
    }
}
