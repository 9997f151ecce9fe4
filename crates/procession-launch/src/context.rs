//! Start methods, contexts, and the default of both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use crate::builder::Builder;
use crate::error::StartError;
use crate::passable::Arguments;
use crate::process::Process;
use crate::target::Target;

/// How a child comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StartMethod {
    /// Executes this program anew. Inherits no memory; costs what an exec costs, whatever this process's size.
    Spawn,
    /// Asks a small server, executed once per process, to fork. Costs about a bare fork of a small process.
    ForkServer,
}

impl StartMethod {
    /// Every start method, the default one first. Python's `get_all_start_methods`.
    pub const ALL: [Self; 2] = [Self::ForkServer, Self::Spawn];

    /// Python's name for it: `spawn` or `forkserver`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::ForkServer => "forkserver",
        }
    }
}

impl std::fmt::Display for StartMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The index in `StartMethod::ALL` of this process's default.
static DEFAULT: AtomicU8 = AtomicU8::new(0);

/// Makes `method` the default of this process and of the children that it starts from now on.
///
/// May be called at any time and any number of times: starting a child does not freeze the default.
/// Python's `set_start_method`.
///
/// # Errors
/// None so far: both methods work everywhere. The result leaves room for methods that a system lacks.
pub fn set_start_method(method: StartMethod) -> Result<(), StartError> {
    let index = StartMethod::ALL.iter().position(|&known| known == method).unwrap_or(0);
    DEFAULT.store(index as u8, Ordering::Relaxed);
    Ok(())
}

/// The start method of a child that is started without naming one. Asking does not freeze it.
#[must_use]
pub fn get_start_method() -> StartMethod {
    StartMethod::ALL[usize::from(DEFAULT.load(Ordering::Relaxed))]
}

/// How many processors this process may use at once, at least one: its affinity and its cgroup's quota respected.
///
/// Python's `os.process_cpu_count`, which knows no quotas.
#[must_use]
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A description of how children are to be started: cheap to clone, ends nothing when dropped.
///
/// Python's `get_context`.
///
/// # Examples
/// ```
/// use procession_launch::{Context, StartMethod};
///
/// let context = Context::new(StartMethod::Spawn);
/// assert_eq!(context.start(|x: u64| x + 1, (1,))?.join()?, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Context {
    method: Option<StartMethod>,
    executable: Option<Arc<Path>>,
}

impl Context {
    /// A context that starts children by `method`.
    #[must_use]
    pub fn new(method: StartMethod) -> Self {
        Self { method: Some(method), executable: None }
    }

    /// A context for [`StartMethod::Spawn`].
    #[must_use]
    pub fn spawn() -> Self {
        Self::new(StartMethod::Spawn)
    }

    /// A context for [`StartMethod::ForkServer`].
    #[must_use]
    pub fn forkserver() -> Self {
        Self::new(StartMethod::ForkServer)
    }

    /// Spawned children run the executable at `path`, which must be of this program's build, instead of this
    /// process's own. For a copy that other users may execute, or that outlives an upgrade. The forkserver runs this
    /// process's own executable in any case.
    ///
    /// Python's `set_executable`.
    #[must_use]
    pub fn executable(mut self, path: impl AsRef<Path>) -> Self {
        self.executable = Some(PathBuf::from(path.as_ref()).into());
        self
    }

    /// The context's start method; for `Context::default()` the process's default at this moment.
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.method.unwrap_or_else(get_start_method)
    }

    /// Starts a child, as [`Process::start`] does.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start<F, A>(&self, target: F, arguments: A) -> Result<Process<F::Output>, StartError>
    where
        F: Target<A>,
        A: Arguments,
    {
        self.builder(target, arguments).start()
    }

    /// A child to be described further, as with [`Process::builder`].
    pub fn builder<F, A>(&self, target: F, arguments: A) -> Builder<F, A>
    where
        F: Target<A>,
        A: Arguments,
    {
        Builder::new(target, arguments).context(self)
    }

    /// The executable, unless it is this process's own.
    pub(crate) fn executable_path(&self) -> Option<&Arc<Path>> {
        self.executable.as_ref()
    }
}
