//! What a child sets for itself before its target: processors, limits, niceness, umask, title, group and session.
//!
//! Relies on `body.rs` to apply the settings after all that the child inherits, so they win, and before the target.

use std::io;

use procession_sys::{
    Deadline, PROCESSORS_MAX, enter_new_session, enter_process_group, pid, processors_of, set_command_line,
    set_command_name, set_niceness, set_processors_of, set_resource_limit, set_umask, threads_of,
};
use serde::{Deserialize, Serialize};

use crate::builder::Builder;
use crate::child::Child;
use crate::error::{ControlError, StartError};
use crate::resource::Resource;
use crate::tree;

/// The bytes of a title: what `ps` shows of a command line fits a page, and memory for it is never given back.
pub const TITLE_BYTES_MAX: usize = 4096;

/// How many times the threads of a child are listed before it is given up to reach all of them: each time some had
/// begun since the last. A program that starts threads that fast for that long never stops.
pub const AFFINITY_PASSES_MAX: u32 = 1000;

/// How far a process may stand back for others, and come forward.
const NICENESS: std::ops::RangeInclusive<i32> = -20..=19;

/// All bits of a file mode.
const UMASK_MAX: u32 = 0o777;

/// What a child is to set for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// To be the parent of its orphaned descendants, and to end them when it ends.
    pub(crate) own_tree: bool,
    new_session: bool,
    process_group: Option<u32>,
    title: Option<String>,
    umask: Option<u32>,
    niceness: Option<i32>,
    processors: Option<Vec<usize>>,
    limits: Vec<(Resource, u64, u64)>,
}

impl<F, A> Builder<F, A> {
    /// The processors that the child may run on, numbered from 0, instead of those of this process.
    ///
    /// Processors that do not exist are passed over as long as one does. What the child starts inherits them;
    /// [`cpu_count`](crate::cpu_count) in the child counts them. Python's `os.sched_setaffinity` at the start of a
    /// target. Source: sched_setaffinity(2).
    ///
    /// ```
    /// use procession_launch::{Process, cpu_count};
    ///
    /// let child = Process::builder(cpu_count, ()).cpu_affinity([0]).start()?;
    /// assert_eq!(child.join()?, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn cpu_affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.plan_mut().settings.processors = Some(processors.into_iter().collect());
        self
    }

    /// Limits what the child may use of a resource. The child may raise `soft`, which is what holds, up to `hard`;
    /// only root may raise `hard`. A limit that is not set is this process's own. What the child starts inherits it.
    ///
    /// Python's `resource.setrlimit` at the start of a target. Source: setrlimit(2).
    ///
    /// ```
    /// use procession_launch::{Process, Resource};
    ///
    /// fn open_all() -> usize {
    ///     (0..1000).map_while(|_| std::fs::File::open("/dev/null").ok()).collect::<Vec<_>>().len()
    /// }
    ///
    /// let child = Process::builder(open_all, ()).rlimit(Resource::OpenFiles, 64, 64).start()?;
    /// assert!(child.join()? < 64);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn rlimit(mut self, resource: Resource, soft: u64, hard: u64) -> Self {
        let limits = &mut self.plan_mut().settings.limits;
        limits.retain(|(limited, ..)| *limited != resource);
        limits.push((resource, soft, hard));
        self
    }

    /// The most private memory, in bytes, that the child may have: [`Resource::Data`], soft and hard.
    ///
    /// An allocation over it fails. In Rust that aborts the child, by SIGABRT and with a line on standard error.
    /// What counts is what could be written to and is the child's own: heap, static variables, stacks of threads,
    /// private mappings, touched or not. Shared memory does not count, nor do code and the main thread's stack.
    /// A child by fork, and one of a forkserver with `preload`, begins with what its parent has, all of which counts.
    ///
    /// ```
    /// use procession_launch::Process;
    ///
    /// fn can_allocate(bytes: usize) -> bool {
    ///     Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
    /// }
    ///
    /// let child = Process::builder(can_allocate, (1 << 30,)).memory_limit(256 << 20).start()?;
    /// assert!(!child.join()?);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory_limit(self, bytes: u64) -> Self {
        self.rlimit(Resource::Data, bytes, bytes)
    }

    /// How far the child stands back for others when processors are scarce: from -20 to 19, which is the farthest;
    /// 0 is usual. Only a process that may raise its priority (root) may ask for less than its own.
    ///
    /// Python's `os.setpriority` at the start of a target. Source: setpriority(2).
    pub fn niceness(mut self, niceness: i32) -> Self {
        self.plan_mut().settings.niceness = Some(niceness);
        self
    }

    /// The permissions that files made by the child do not get, such as `0o077`. Source: umask(2).
    pub fn umask(mut self, mask: u32) -> Self {
        self.plan_mut().settings.umask = Some(mask);
        self
    }

    /// What `ps` and `top` show for the child: the command's name, of which the kernel keeps 15 bytes, and the whole
    /// command line, at most [`TITLE_BYTES_MAX`].
    ///
    /// `std::env::args()` in the child stays as it was. On a kernel without checkpoint/restore, in a container that
    /// forbids the call, and in a child that has a second thread already, only the name changes.
    /// Source: `PR_SET_NAME` and `PR_SET_MM_MAP` in prctl(2).
    ///
    /// ```
    /// use procession_launch::Process;
    ///
    /// let name = || std::fs::read_to_string("/proc/self/comm").unwrap();
    /// let child = Process::builder(name, ()).title("resize: 3 of 10").start()?;
    /// assert_eq!(child.join()?, "resize: 3 of 10\n");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.plan_mut().settings.title = Some(title.into());
        self
    }

    /// The process group that the child enters; 0 is a new one with the child's own number. Ctrl-C in a terminal
    /// reaches the terminal's foreground group only.
    ///
    /// The child enters it before its target runs, which may be after `start` returns.
    /// As `std::os::unix::process::CommandExt::process_group`. Source: setpgid(2).
    pub fn process_group(mut self, group: u32) -> Self {
        self.plan_mut().settings.process_group = Some(group);
        self
    }

    /// Makes the child the leader of a session and group of its own, without a terminal. It still ends with its owner.
    ///
    /// Python's `os.setsid` at the start of a target. Source: setsid(2).
    pub fn new_session(mut self) -> Self {
        self.plan_mut().settings.new_session = true;
        self
    }
}

impl Settings {
    /// Looks for what no child could do.
    pub(crate) fn check(&self, name: &str) -> Result<(), StartError> {
        let problem = |setting, problem| Err(StartError::Setting { name: name.to_owned(), setting, problem });
        if let Some(what) = self.processors.as_deref().and_then(problem_of_processors) {
            return problem("cpu_affinity", what);
        }
        if let Some((resource, soft, hard)) = self.limits.iter().find(|(_, soft, hard)| soft > hard) {
            return problem("rlimit", format!("the soft limit of {resource}, {soft}, is above the hard one, {hard}"));
        }
        if let Some(niceness) = self.niceness.filter(|niceness| !NICENESS.contains(niceness)) {
            return problem("niceness", format!("{niceness} is not from -20 to 19"));
        }
        if let Some(mask) = self.umask.filter(|mask| *mask > UMASK_MAX) {
            return problem("umask", format!("{mask:#o} is not from 0 to {UMASK_MAX:#o}"));
        }
        if let Some(what) = self.title.as_deref().and_then(problem_of_title) {
            return problem("title", what);
        }
        match self.process_group {
            Some(group) if i32::try_from(group).is_err() => {
                problem("process_group", format!("{group} is no number of a group"))
            }
            Some(group) if group != 0 && self.new_session => {
                problem("process_group", format!("a new session has a group of its own, and cannot enter {group}"))
            }
            _ => Ok(()),
        }
    }

    /// Nothing, if nothing is to be set.
    pub(crate) fn for_child(&self) -> Option<Self> {
        (*self != Self::default()).then(|| self.clone())
    }

    /// Sets all of it in the child, whose one thread this is. Limits come last, as they could forbid the others.
    pub(crate) fn apply(self) -> Result<(), String> {
        if self.own_tree {
            tree::own().map_err(|error| refused("own_tree", &error, ""))?;
        }
        if self.new_session {
            enter_new_session().map_err(|error| refused("new_session", &error, ""))?;
        }
        if let Some(group) = self.process_group.filter(|_| !self.new_session) {
            enter_process_group(group).map_err(|error| {
                refused("process_group", &error, "; the group must exist in this session, or be 0 for a new one")
            })?;
        }
        if let Some(title) = self.title {
            set_command_name(title.as_bytes()).map_err(|error| refused("title", &error, ""))?;
            let _ = set_command_line(title.as_bytes()); // Where it is refused, the name has to do.
        }
        if let Some(mask) = self.umask {
            set_umask(mask);
        }
        if let Some(niceness) = self.niceness {
            let remedy = "; a lower one than the parent's needs CAP_SYS_NICE or a raised RLIMIT_NICE";
            set_niceness(niceness).map_err(|error| refused("niceness", &error, remedy))?;
        }
        if let Some(processors) = self.processors {
            let remedy = "; name some that the machine has and this container (its cpuset) may use";
            set_processors_of(pid(), &processors).map_err(|error| refused("cpu_affinity", &error, remedy))?;
        }
        for (resource, soft, hard) in self.limits {
            set_resource_limit(resource.kind(), [soft, hard]).map_err(|error| {
                let remedy = "; a hard limit above the parent's needs CAP_SYS_RESOURCE";
                refused(&format!("limit of {resource}"), &error, remedy)
            })?;
        }
        Ok(())
    }
}

/// What the parent is told of a setting that the system refused.
fn refused(setting: &str, error: &io::Error, remedy: &str) -> String {
    format!("its {setting} cannot be set: {error}{remedy}")
}

/// What is wrong with processors to run on, as far as can be told without trying.
fn problem_of_processors(processors: &[usize]) -> Option<String> {
    if processors.is_empty() {
        return Some("it names no processor: the child could not run".to_owned());
    }
    let beyond = processors.iter().find(|processor| **processor >= PROCESSORS_MAX)?;
    Some(format!("there is no processor {beyond}: Linux numbers them from 0, to {} at most", PROCESSORS_MAX - 1))
}

/// What is wrong with a title.
fn problem_of_title(title: &str) -> Option<String> {
    match title.len() {
        0 => Some("it is empty".to_owned()),
        len if len > TITLE_BYTES_MAX => Some(format!("it has {len} bytes, and at most {TITLE_BYTES_MAX} are kept")),
        _ if title.contains('\0') => Some("it has a NUL byte in it, where it would end".to_owned()),
        _ => None,
    }
}

impl Child {
    /// The processors that the child's main thread may run on.
    ///
    /// Python's `os.sched_getaffinity(pid)`. Source: sched_getaffinity(2).
    ///
    /// # Errors
    /// When the child has ended.
    pub fn cpu_affinity(&self) -> Result<Vec<usize>, ControlError> {
        let read = processors_of(self.pid()).and_then(|processors| self.still_runs().map(|()| processors));
        read.map_err(|error| self.failed("read the processors of", self.end_or(error)))
    }

    /// Lets all threads of the child run on these processors only, and so the threads and processes that they start
    /// from now on; its present children keep theirs.
    ///
    /// Processors that do not exist are passed over as long as one does. Numbers are what the kernel takes here: the
    /// child is seen to run before and after, so they were its own; only one that ends in between, is reaped and has
    /// its number given away in these microseconds would leave another process with them, and is an error.
    ///
    /// Python's `os.sched_setaffinity(pid, ...)`, which reaches one thread. Source: sched_setaffinity(2).
    ///
    /// # Errors
    /// When the child has ended, none of the processors can be used, or the child has become another user's.
    ///
    /// ```
    /// use procession_launch::Process;
    ///
    /// let child = Process::start(|| std::thread::park(), ())?;
    /// child.set_cpu_affinity([0])?;
    /// assert_eq!(child.cpu_affinity()?, [0]);
    /// child.kill()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_cpu_affinity(&self, processors: impl IntoIterator<Item = usize>) -> Result<(), ControlError> {
        let processors: Vec<usize> = processors.into_iter().collect();
        let set = match problem_of_processors(&processors) {
            Some(problem) => Err(io::Error::new(io::ErrorKind::InvalidInput, problem)),
            None => self.set_affinity_of_threads(&processors).and_then(|()| self.still_runs()),
        };
        set.map_err(|error| self.failed("set the processors of", self.end_or(error)))
    }

    /// Goes over the threads until there is none that was not there before: those that were pass theirs on.
    fn set_affinity_of_threads(&self, processors: &[usize]) -> io::Result<()> {
        let mut done = Vec::new();
        for _ in 0..AFFINITY_PASSES_MAX {
            let mut threads = threads_of(self.pid())?;
            self.still_runs()?;
            threads.retain(|thread| !done.contains(thread));
            if threads.is_empty() {
                return Ok(());
            }
            for &thread in &threads {
                match set_processors_of(thread, processors) {
                    Err(error) if error.raw_os_error() == Some(NO_SUCH_PROCESS) => {} // It has ended.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                        let words = format!("it can run on none of the processors {processors:?}");
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
                    }
                    other => other?,
                }
            }
            done.extend(threads);
        }
        Err(io::Error::other("it starts threads faster than they can be listed"))
    }

    /// What is wrong with a child that something failed with: that it has ended, or else that.
    fn end_or(&self, error: io::Error) -> io::Error {
        self.still_runs().err().unwrap_or(error)
    }

    /// An error once the child has ended, when its number may be somebody else's.
    fn still_runs(&self) -> io::Result<()> {
        match self.pidfd().wait_ended(Deadline::NOW)? {
            true => Err(io::Error::other("it has ended")),
            false => Ok(()),
        }
    }
}

/// `ESRCH`.
const NO_SUCH_PROCESS: i32 = 3;
