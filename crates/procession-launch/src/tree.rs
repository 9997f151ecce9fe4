//! Ending a child with everything below it.
//!
//! Relies on `/proc` for who is whose child. A process is stopped before its children are looked for, and the looking
//! goes on until nobody new is found and all are at rest, so nobody forks away. Nobody is signaled but through a pidfd
//! that was seen, after it was opened, to be of the process that was listed below a parent that was still there.
//!
//! Who does not stop in time, because others have the processors or continue it, is killed before the rest: the kernel
//! makes no child for a process that SIGKILL was sent to, also before it runs again. So once all processes were listed
//! after that, and it is still there, nobody of its children is unknown. They stay known wherever they hang when it has
//! ended.
//!
//! The kernel's own lists of children (`/proc/PID/task/TID/children`) are not used: they may leave one out while
//! another ends, and not every kernel has them. A list of all processes holds each that is there all the time.

use std::collections::{HashMap, HashSet};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use procession_sys::{
    Deadline, PidFd, ProcessIdentity, ProcessRecord, Signal, adopt_orphans, all_processes, is_exiting, pid,
};

use crate::builder::Builder;
use crate::child::Child;
use crate::error::ControlError;
use crate::hooks::at_exit_with_priority;

/// In how many lists of all processes somebody new may be found before a tree is killed as far as it was seen: one or
/// two are usual, and a tree that has outrun this many has outrun them all.
pub const TREE_PASSES_MAX: u32 = 200;

/// How long each process of a tree is given to stop, before it is killed ahead of the others. It stops when it next gets
/// a processor, which takes long when others want them all.
pub const TREE_REST_MAX: Duration = Duration::from_secs(10);

/// How long the pause between two such looks grows.
const TREE_PAUSE_MAX: Duration = Duration::from_millis(5);

/// How long a process that ends waits for those of its tree that it has killed: the kernel takes milliseconds, unless
/// one of them waits for a device.
pub const TREE_END_MAX: Duration = Duration::from_secs(1);

impl<F, A> Builder<F, A> {
    /// Keeps whatever descends from the child below it in the tree of processes, also when the parent in between has
    /// ended or has made itself a daemon, so that [`Child::kill_tree`] reaches it.
    ///
    /// When the child ends in an orderly way (its target returns or panics, or it calls `exit`), it kills what is left
    /// of its tree, after it has dealt with the children that it started by this library, and waits at most
    /// [`TREE_END_MAX`] for the end of what it has killed. When the child itself is killed, programs that it started
    /// go on, as they do without this, and so they do when it crashes or dies with its parent; kill the tree instead. An orphan that ends stays a zombie until the child ends,
    /// unless the child waits for any process.
    ///
    /// Source: `PR_SET_CHILD_SUBREAPER` in prctl(2).
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use procession_launch::Process;
    ///
    /// fn leave_somebody_behind() {
    ///     Command::new("sh").args(["-c", "sleep 60 &"]).status().unwrap();
    /// }
    ///
    /// let child = Process::builder(leave_somebody_behind, ()).own_tree().start()?;
    /// child.join()?; // The sleep has ended as well.
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn own_tree(mut self) -> Self {
        self.plan_mut().settings.own_tree = true;
        self
    }
}

impl Child {
    /// Ends the child and everything below it (SIGKILL), and returns how many processes that were; 0 for a child that
    /// has ended, below which there is nothing.
    ///
    /// A child that was killed otherwise, or has crashed, has left its tree to whoever the kernel gave it: with
    /// [`Builder::own_tree`] that is an error here, as there was a tree to be ended.
    ///
    /// First the child is stopped (SIGSTOP), then what is found below it, until nobody new is found. Then all are
    /// killed, children before their parents; none of them runs in between. Who has not stopped after
    /// [`TREE_REST_MAX`] is killed at once. It does not wait for their ends, and a process that is another tree's is
    /// never hit.
    ///
    /// Below the child is whatever it has started, by this library or not, with a session of its own or not, as long
    /// as each parent in between lives. A process whose parent has ended hangs elsewhere, unless the child was started
    /// with [`Builder::own_tree`].
    ///
    /// # Errors
    /// When a process of the tree is another user's, when no descriptor is left to hold one by, or when the tree
    /// outruns [`TREE_PASSES_MAX`] looks at it: a fork bomb, to be kept in bounds by
    /// [`Resource::Processes`](crate::Resource::Processes) or a cgroup. Also when one that did not stop in time, as it
    /// got no processor or others continued it, ended before its children were known, unless the child has a tree of
    /// its own. What was found by then has been killed all the same, the child too.
    ///
    /// ```
    /// use procession_launch::Process;
    ///
    /// fn start_a_program() {
    ///     let _ = std::process::Command::new("sleep").arg("60").status();
    /// }
    ///
    /// let child = Process::builder(start_a_program, ()).own_tree().start()?;
    /// assert!(child.kill_tree()? >= 1);
    /// assert_eq!(child.wait()?.signal(), Some(9));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn kill_tree(&self) -> Result<usize, ControlError> {
        let failed = |error| self.failed("kill the tree of", error);
        if self.pidfd().wait_ended(Deadline::NOW).map_err(failed)? {
            return if self.has_lost_its_tree() { Err(failed(io::Error::other(LOST))) } else { Ok(0) };
        }
        self.tree_is_ending();
        self.pidfd().send(Signal::STOP).map_err(failed)?;
        let mut tree = Tree::below(Root::Child(self));
        let stopped = tree.stop();
        let killed = tree.kill();
        let ended = self.pidfd().send(Signal::KILL);
        stopped.and(killed).and(ended).map_err(failed)?;
        Ok(tree.members.len() + 1)
    }
}

/// Makes this process, which has just begun, the parent of its orphaned descendants, and kills them at its end.
///
/// That is the last of its exit hooks, so the library's own children have ended by then.
pub(crate) fn own() -> io::Result<()> {
    adopt_orphans()?;
    at_exit_with_priority(i32::MIN, end_own);
    Ok(())
}

/// At this process's normal end: kills what is left of its tree.
fn end_own() {
    let mut tree = Tree::below(Root::This);
    // Nobody is left to be told that something went wrong.
    let _ = tree.stop();
    let _ = tree.kill();
    tree.wait(Deadline::after(TREE_END_MAX));
}

/// What became of the tree of a child that was killed.
const LOST: &str = "it was killed or has crashed, and the kernel has given what was below it to another process: end a \
                    child with a tree of its own by `kill_tree` while it runs";

/// At whose children a tree begins.
enum Root<'a> {
    Child(&'a Child),
    This,
}

impl Root<'_> {
    fn pid(&self) -> u32 {
        match self {
            Self::Child(child) => child.pid(),
            Self::This => pid(),
        }
    }

    /// True while its number is its own.
    fn is_running(&self) -> bool {
        match self {
            Self::Child(child) => !child.pidfd().wait_ended(Deadline::NOW).unwrap_or(true),
            Self::This => true,
        }
    }

    /// What is to come to rest with the tree. This process may fork in other threads, but it is ending.
    fn record<'a>(&self, all: &'a [ProcessRecord]) -> Option<&'a ProcessRecord> {
        match self {
            // Who has the number in the list is the child, if the child is still there.
            Self::Child(child) => {
                all.iter().find(|record| record.identity.pid == child.pid()).filter(|_| self.is_running())
            }
            Self::This => None,
        }
    }

    /// True if it becomes the parent of whose parent ends; it does not any more once it has begun to end.
    fn keeps_orphans(&self) -> bool {
        match self {
            Self::Child(child) => {
                let is_there = || ProcessRecord::of(child.pid()).is_ok_and(|now| has_its_children(now.identity));
                child.has_own_tree() && is_there() && self.is_running()
            }
            Self::This => true,
        }
    }
}

/// The processes below one, as far as they have been found.
struct Tree<'a> {
    root: Root<'a>,
    begun: Instant,
    /// Who was sent SIGSTOP, parents before their children,
    members: Vec<ProcessIdentity>,
    /// and when each was found.
    found: HashMap<ProcessIdentity, Instant>,
    /// Who had not come to rest in the last list, and since when it should have.
    restless: Vec<(ProcessIdentity, Instant)>,
    /// Who was killed for not stopping.
    doomed: HashSet<ProcessIdentity>,
    /// Why one of them could not be held or signaled.
    refused: Option<io::Error>,
}

impl<'a> Tree<'a> {
    fn below(root: Root<'a>) -> Self {
        let (members, found) = (Vec::new(), HashMap::new());
        let (restless, doomed) = (Vec::new(), HashSet::new());
        Self { root, begun: Instant::now(), members, found, restless, doomed, refused: None }
    }

    /// Stops everything below the root.
    fn stop(&mut self) -> io::Result<()> {
        until_settled(|| self.look())?;
        self.refused.take().map_or(Ok(()), Err)
    }

    fn look(&mut self) -> io::Result<Seen> {
        match self.pass()? {
            Seen::Unrest => self.force(),
            seen => Ok(seen),
        }
    }

    /// Kills those that have not stopped in time, and lists all processes once more.
    fn force(&mut self) -> io::Result<Seen> {
        let late = self.late();
        if late.is_empty() {
            return Ok(Seen::Unrest);
        }
        late.iter().for_each(|&one| self.kill_one(one));
        self.doomed.extend(&late);
        let seen = self.pass()?;
        if late.iter().all(|&one| has_its_children(one)) {
            return Ok(seen);
        }
        // Somebody's children hang elsewhere now, and one of them may not have been in any list.
        if self.root.keeps_orphans() { Ok(Seen::Somebody) } else { Err(io::Error::other(ESCAPED)) }
    }

    /// Who should have stopped by now. The root is the last, as orphans may come to it.
    fn late(&self) -> Vec<ProcessIdentity> {
        let late = self.restless.iter().filter(|(_, since)| since.elapsed() > TREE_REST_MAX);
        let late = late.map(|&(one, _)| one).filter(|&one| living(one).is_some_and(|now| goes_on(&now)));
        let (root, others): (Vec<_>, Vec<_>) = late.partition(|one| one.pid == self.root.pid());
        if others.is_empty() { root } else { others }
    }

    /// Lists all processes once and stops those below the root that are not stopped yet.
    fn pass(&mut self) -> io::Result<Seen> {
        let all = all_processes()?;
        let mut somebody_is_new = somebody_moved(&all);
        let starts: HashMap<u32, u64> =
            all.iter().map(|record| (record.identity.pid, record.identity.start_time)).collect();
        let parents = self.take_stock(&all);
        for record in descendants(parents, &all) {
            if record.has_ended() || self.found.contains_key(&record.identity) {
                continue; // A zombie has no children.
            }
            if self.stop_one(record, starts.get(&record.parent).copied()) {
                self.members.push(record.identity);
                self.found.insert(record.identity, Instant::now());
                somebody_is_new = true;
            } else {
                somebody_is_new |= self.refused.is_none(); // What cannot be held now will hardly be later.
            }
        }
        Ok(match (somebody_is_new, self.restless.is_empty()) {
            (true, _) => Seen::Somebody,
            (false, false) => Seen::Unrest,
            (false, true) => Seen::Rest,
        })
    }

    /// Sees who of those that are known is there and who of these goes on, which is stopped again; the numbers of all that are
    /// there. Whose parent has ended hangs elsewhere, and is in the tree all the same.
    fn take_stock(&mut self, all: &[ProcessRecord]) -> Vec<u32> {
        let root = self.root.record(all).map(|record| (record, self.begun));
        let members = all.iter().filter_map(|record| Some((record, *self.found.get(&record.identity)?)));
        let there: Vec<_> = root.into_iter().chain(members).filter(|(record, _)| !record.has_ended()).collect();
        let restless = there.iter().filter(|(record, _)| !self.doomed.contains(&record.identity) && goes_on(record));
        let restless: Vec<_> = restless.map(|&(record, since)| (record.identity, since)).collect();
        for &(one, _) in &restless {
            if let Some(held) = self.hold(one) {
                self.signal(&held, Signal::STOP);
            }
        }
        self.restless = if self.refused.is_none() { restless } else { Vec::new() };
        let this = matches!(self.root, Root::This).then(pid);
        this.into_iter().chain(there.iter().map(|(record, _)| record.identity.pid)).collect()
    }

    /// Stops one process if it is still who it was in the list, and its parent, too.
    fn stop_one(&mut self, listed: &ProcessRecord, parent_start: Option<u64>) -> bool {
        let Some(held) = self.hold(listed.identity) else { return false };
        let same_parent = ProcessRecord::of(listed.identity.pid).is_ok_and(|now| now.parent == listed.parent);
        // A parent that is there after its child was seen to be its child was there all the time in between.
        let parent_is_there = if listed.parent == self.root.pid() {
            self.root.is_running()
        } else {
            parent_start.is_some_and(|start_time| ProcessIdentity { pid: listed.parent, start_time }.is_running())
        };
        let is_below = same_parent && parent_is_there;
        if is_below {
            self.signal(&held, Signal::STOP);
        }
        is_below
    }

    /// Kills all that were stopped, children first: the kernel continues some of those whose parents have ended.
    fn kill(&mut self) -> io::Result<()> {
        let members = self.members.clone();
        members.into_iter().rev().for_each(|member| self.kill_one(member));
        self.refused.take().map_or(Ok(()), Err)
    }

    fn kill_one(&mut self, process: ProcessIdentity) {
        if let Some(held) = self.hold(process) {
            self.signal(&held, Signal::KILL);
        }
    }

    /// Waits until all of them have ended.
    fn wait(&mut self, deadline: Deadline) {
        for member in self.members.clone() {
            if let Some(held) = self.hold(member) {
                let _ = held.wait_ended(deadline);
            }
        }
    }

    /// Holds that very process; `None` when it is gone.
    fn hold(&mut self, process: ProcessIdentity) -> Option<PidFd> {
        match PidFd::open(process.pid) {
            // Who has the number now had it when it was opened, as it had been listed with it before.
            Ok(held) => process.is_running().then_some(held),
            Err(error) if error.raw_os_error() == Some(NO_SUCH_PROCESS) => None,
            Err(error) => {
                self.refused.get_or_insert(error);
                None
            }
        }
    }

    fn signal(&mut self, held: &PidFd, signal: Signal) {
        if let Err(error) = held.send(signal) {
            self.refused.get_or_insert(error);
        }
    }
}

/// The record of a process that is there and has not ended.
fn living(process: ProcessIdentity) -> Option<ProcessRecord> {
    ProcessRecord::of(process.pid).ok().filter(|now| now.identity == process && !now.has_ended())
}

/// True for one that may still make somebody: it has not stopped, and has not begun to end.
fn goes_on(record: &ProcessRecord) -> bool {
    !record.is_at_rest().unwrap_or(true) && !is_exiting(record.identity)
}

/// True while a process has not begun to end, and nobody else is the parent of its children.
fn has_its_children(process: ProcessIdentity) -> bool {
    !is_exiting(process) && living(process).is_some()
}

/// What a look at a tree has found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Somebody who was not known, or may hang elsewhere by now.
    Somebody,
    /// Nobody new, but one who could still make somebody.
    Unrest,
    /// Nobody new, and all have stopped.
    Rest,
}

/// Looks at a tree until there is nothing new.
fn until_settled(mut look: impl FnMut() -> io::Result<Seen>) -> io::Result<()> {
    let mut pause = Duration::from_micros(50);
    let mut passes = 0;
    loop {
        match look()? {
            Seen::Rest => return Ok(()),
            Seen::Somebody => passes += 1,
            Seen::Unrest => {
                thread::park_timeout(pause);
                pause = (2 * pause).min(TREE_PAUSE_MAX);
            }
        }
        if passes == TREE_PASSES_MAX {
            return Err(io::Error::other(OUTRUN));
        }
    }
}

/// What became of a tree that grows without bounds.
const OUTRUN: &str = "it grows faster than it can be stopped, and some of it may have escaped; bound it with \
                      rlimit(Resource::Processes, ..) or a cgroup's pids.max";

/// What became of a tree of which somebody had no time to stop, or was continued.
const ESCAPED: &str = "one of it did not stop in time, as it had no processor or others continued it, and ended before \
                       its children were known; some of them may have escaped: `own_tree()` keeps them";

/// `ESRCH`.
const NO_SUCH_PROCESS: i32 = 3;

/// The processes below these in a list, parents before their children.
fn descendants(mut parents: Vec<u32>, all: &[ProcessRecord]) -> Vec<&ProcessRecord> {
    let mut children: HashMap<u32, Vec<&ProcessRecord>> = HashMap::new();
    for record in all {
        children.entry(record.parent).or_default().push(record);
    }
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        for record in children.remove(&parent).unwrap_or_default() {
            parents.push(record.identity.pid);
            found.push(record);
        }
    }
    found
}

/// True if a parent ended while the list was made, so that somebody was listed below a process that is not in it, and
/// hangs elsewhere by now.
fn somebody_moved(all: &[ProcessRecord]) -> bool {
    let listed: HashSet<u32> = all.iter().map(|record| record.identity.pid).collect();
    let without_parent = all.iter().filter(|record| !listed.contains(&record.parent));
    // A parent that cannot be seen from here is never listed, and stays.
    without_parent
        .filter(|record| record.parent != 0)
        .any(|record| ProcessRecord::of(record.identity.pid).is_ok_and(|now| now.parent != record.parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_looking_ends_with_the_first_look_that_finds_nothing_new() {
        let mut looks = 0;
        until_settled(|| {
            looks += 1;
            Ok(if looks == TREE_PASSES_MAX { Seen::Rest } else { Seen::Somebody })
        })
        .unwrap();
        assert_eq!(looks, TREE_PASSES_MAX);
    }

    #[test]
    fn a_tree_that_comes_to_rest_late_is_waited_for() {
        let mut looks = 0;
        until_settled(|| {
            looks += 1;
            Ok(if looks > TREE_PASSES_MAX + 10 { Seen::Rest } else { Seen::Unrest })
        })
        .unwrap();
    }

    #[test]
    fn a_tree_that_outruns_the_looks_is_an_error_with_a_remedy() {
        let mut looks = 0;
        let error = until_settled(|| {
            looks += 1;
            Ok(Seen::Somebody)
        });
        assert_eq!(looks, TREE_PASSES_MAX);
        assert!(error.unwrap_err().to_string().contains("rlimit(Resource::Processes"));
    }
}
