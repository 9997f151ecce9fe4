//! Start methods, contexts, and the default of both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use crate::builder::Builder;
use crate::error::StartError;
use crate::forkserver::{self, Preload, PreloadResult, Source};
use crate::passable::Arguments;
use crate::process::Process;
use crate::target::{Captureless, Target};

/// How a child comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StartMethod {
    /// Executes this program anew. Inherits no memory; costs what an exec costs, whatever this process's size.
    Spawn,
    /// Asks a small server, executed once per process, to fork. Costs about a bare fork of a small process.
    ForkServer,
    /// Copies this process, with all its memory and descriptors. Refused unless it has one thread; a closure may capture
    /// ([`Context::fork`]). Costs more the more memory this process has touched.
    Fork,
}

impl StartMethod {
    /// Every start method, the default one first. Python's `get_all_start_methods`.
    pub const ALL: [Self; 3] = [Self::ForkServer, Self::Spawn, Self::Fork];

    /// Python's name for it: `spawn`, `forkserver` or `fork`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::ForkServer => "forkserver",
            Self::Fork => "fork",
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
/// None so far: each method works on every Linux. The result leaves room for methods that a system lacks.
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
    /// The servers of its own, if it preloads or is a nursery.
    source: Option<Arc<Source>>,
}

impl Context {
    /// A context that starts children by `method`.
    #[must_use]
    pub fn new(method: StartMethod) -> Self {
        Self { method: Some(method), executable: None, source: None }
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

    /// Runs `function` in this context's own forkserver when that is started, which is at the context's first start of a
    /// child; later children share the memory that it has built, until one of them writes to it.
    ///
    /// A context may preload several functions; they run in the order in which they were given. A function returns
    /// nothing, or a `Result<(), E>`. Its error or panic, and threads that it leaves running, are the error of the start
    /// that needed the server, and of every later one until it succeeds. While it runs, standard output and error are
    /// this process's own. A start waits for it for as long as it takes; those that a pool or a manager makes wait for its
    /// `start_timeout`, and are [`StartError::PreloadTimeout`] then.
    ///
    /// Children have what the functions built, and the files, sockets and pipes that they opened, which all of them share.
    ///
    /// The server belongs to the context and its clones; it ends when the last of them is dropped and its children have
    /// ended. What is preloaded is not seen by children of other contexts. Only a context that starts by forkserver can
    /// preload: any other refuses to start.
    ///
    /// Python's `set_forkserver_preload`, which swallows errors.
    ///
    /// # Examples
    /// ```
    /// use std::sync::OnceLock;
    /// use procession_launch::Context;
    ///
    /// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// let context = Context::forkserver().preload(|| { TABLE.get_or_init(|| (0..1000).collect()); });
    /// let child = context.start(|at: usize| TABLE.get().expect("it was preloaded")[at], (500,))?;
    /// assert_eq!(child.join()?, 500);
    /// assert!(TABLE.get().is_none(), "nothing was built here");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn preload<F, R>(mut self, function: F) -> Self
    where
        F: Fn() -> R + Captureless,
        R: PreloadResult,
    {
        let mut functions = self.source.as_deref().map(Source::preloaded).unwrap_or_default();
        functions.push(Preload::new(function));
        self.source = Some(Arc::new(Source::preloading(functions)));
        self
    }

    /// A context whose children are copies of this process as it is now, however many threads it starts later: it is
    /// forked once, here, and that copy, the nursery, forks the children.
    ///
    /// The children's start method is [`StartMethod::Fork`]. Their memory and descriptors are those of this moment, while
    /// directory, environment, streams and limits are those of each start. The nursery ends when the last clone of the
    /// context is dropped and its children have ended, and at the latest with this process. A nursery that is killed is
    /// not replaced: its children go on, and later starts are [`StartError::NurseryGone`].
    ///
    /// # Errors
    /// [`StartError::Threads`] unless this process has one thread; [`StartError::System`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use procession_launch::{Context, StartMethod};
    ///
    /// let nursery = Context::nursery()?;
    /// std::thread::spawn(move || {
    ///     let child = nursery.start(|x: u64| x + 1, (1,)).unwrap();
    ///     assert_eq!((child.start_method(), child.join().unwrap()), (StartMethod::Fork, 2));
    /// });
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn nursery() -> Result<Self, StartError> {
        let source = Some(Arc::new(forkserver::nursery()?));
        Ok(Self { method: Some(StartMethod::Fork), executable: None, source })
    }

    /// True for what [`Context::nursery`] gives.
    #[doc(hidden)]
    #[must_use]
    pub fn is_nursery(&self) -> bool {
        self.source.as_deref().is_some_and(Source::is_nursery)
    }

    /// The servers of its own.
    pub(crate) fn source(&self) -> Option<&Arc<Source>> {
        self.source.as_ref()
    }

    /// The executable, unless it is this process's own.
    pub(crate) fn executable_path(&self) -> Option<&Arc<Path>> {
        self.executable.as_ref()
    }
}
