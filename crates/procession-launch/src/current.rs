//! Who this process is: the main process, or somebody's child.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::RwLock;
use procession_sys::pid;

use crate::context::StartMethod;
use crate::protocol::Setup;

/// What Python calls the process that no other started.
const MAIN_NAME: &str = "MainProcess";

/// What a forkserver calls itself while it runs functions of the program's.
const SERVER_NAME: &str = "forkserver";

/// Set in a server that preloads.
static IS_SERVER: AtomicBool = AtomicBool::new(false);

/// To be called in such a server first.
pub(crate) fn become_server() {
    IS_SERVER.store(true, Ordering::Relaxed);
}

/// What a child was told about itself.
#[derive(Clone, Debug)]
struct Origin {
    name: String,
    lineage: Vec<u32>,
    daemon: bool,
    start_method: StartMethod,
    parent: ParentProcess,
}

static ORIGIN: RwLock<Option<Origin>> = RwLock::new(None);

/// The last number given to a child of this process.
static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// This process, as it was started.
#[derive(Clone, Debug)]
pub struct CurrentProcess {
    name: String,
    daemon: bool,
    start_method: Option<StartMethod>,
}

impl CurrentProcess {
    /// `MainProcess`, or the name that the child was started with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This process's number, asked of the kernel now.
    #[must_use]
    pub fn pid(&self) -> u32 {
        pid()
    }

    /// Whether the parent's normal end terminates this process.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }

    /// How this process was started; `None` for the main process.
    #[must_use]
    pub fn start_method(&self) -> Option<StartMethod> {
        self.start_method
    }

    /// True, as whoever asks is running.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        true
    }

    /// None, as whoever asks is running.
    #[must_use]
    pub fn exitcode(&self) -> Option<i32> {
        None
    }
}

/// The process that started this one. When it ends, so does this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentProcess {
    pid: u32,
    name: String,
}

impl ParentProcess {
    /// Its number. For a forkserver's child this is the process that asked for it, not the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// This process. Python's `current_process`.
///
/// ```
/// let me = procession_launch::current_process();
/// assert_eq!((me.name(), me.pid()), ("MainProcess", std::process::id()));
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    match &*ORIGIN.read() {
        None => {
            let name = if IS_SERVER.load(Ordering::Relaxed) { SERVER_NAME } else { MAIN_NAME };
            CurrentProcess { name: name.to_owned(), daemon: false, start_method: None }
        }
        Some(origin) => {
            CurrentProcess { name: origin.name.clone(), daemon: origin.daemon, start_method: Some(origin.start_method) }
        }
    }
}

/// The process that started this one with a start method of ours; `None` in the main process.
///
/// Python's `parent_process`.
#[must_use]
pub fn parent_process() -> Option<ParentProcess> {
    ORIGIN.read().as_ref().map(|origin| origin.parent.clone())
}

/// Set in a copy of a process of the program's, and so in copies of the copy.
static IS_COPY: AtomicBool = AtomicBool::new(false);

/// Whether this process was forked from one of the program's, whose exit handlers of libc it then has in its memory: it
/// must leave without running them. A served child is none: it is forked from a server that was executed.
pub(crate) fn is_copy() -> bool {
    IS_COPY.load(Ordering::Relaxed)
}

/// To be called in such a process first.
pub(crate) fn become_copy() {
    IS_COPY.store(true, Ordering::Relaxed);
}

/// Makes this process the child that its parent described.
pub(crate) fn become_child(setup: &Setup) {
    CHILDREN.store(0, Ordering::Relaxed);
    *ORIGIN.write() = Some(Origin {
        name: setup.name.clone(),
        lineage: setup.lineage.clone(),
        daemon: setup.daemon,
        start_method: setup.start_method,
        parent: ParentProcess { pid: setup.parent_pid, name: setup.parent_name.clone() },
    });
}

/// The numbers of this process's next child: those of this process, and one more.
pub(crate) fn next_lineage() -> Vec<u32> {
    let number = CHILDREN.fetch_add(1, Ordering::Relaxed) + 1;
    let mut lineage = ORIGIN.read().as_ref().map(|origin| origin.lineage.clone()).unwrap_or_default();
    lineage.push(number);
    lineage
}

/// `Process-N`, or `Process-N:M` for a child's child, as Python names them.
pub(crate) fn default_name(lineage: &[u32]) -> String {
    let numbers: Vec<String> = lineage.iter().map(u32::to_string).collect();
    format!("Process-{}", numbers.join(":"))
}
