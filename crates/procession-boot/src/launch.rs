//! The parent's side: starts a process of this image in a role.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use procession_sys::{Exec, PacketSocket, SignalMask};

use crate::image::{self, ImageId, OWN_EXECUTABLE};
use crate::mark::{Mark, VARIABLE};
use crate::{Boot, BootError, Entry, FunctionId, constructor, function_id, own_lifeline};

/// A process of this image that is to be started: the role it will play and what it gets.
#[derive(Debug)]
pub struct Launch<'a> {
    role: FunctionId,
    executable: Option<&'a Path>,
    env: Vec<(OsString, OsString)>,
    streams: [Option<BorrowedFd<'a>>; 3],
    mask: Option<SignalMask>,
}

impl<'a> Launch<'a> {
    /// A process that will play the role `R`: it runs `R::enter` and exits with the code that this returns.
    ///
    /// # Errors
    /// [`BootError::ForeignHost`], [`BootError::NotConstructed`] or [`BootError::ForeignFunction`] when a child would
    /// not reach the role: then nothing is started, because its `main` would run instead.
    pub fn role<R: Entry<Input = Boot, Output = i32>>() -> Result<Self, BootError> {
        constructor::check()?;
        let role = function_id::<R>()?;
        Ok(Self { role, executable: None, env: std::env::vars_os().collect(), streams: [None; 3], mask: None })
    }

    /// Runs this executable, which must be of the same build, instead of the one of this process.
    ///
    /// Python's `set_executable`.
    #[must_use]
    pub fn executable(mut self, path: Option<&'a Path>) -> Self {
        self.executable = path;
        self
    }

    /// The whole environment of the child; without it the child has this process's.
    #[must_use]
    pub fn env(mut self, env: Vec<(OsString, OsString)>) -> Self {
        self.env = env;
        self
    }

    /// Makes `fd` the child's descriptor 0, 1 or 2.
    ///
    /// # Panics
    /// When `at` is above 2.
    #[must_use]
    pub fn stream(mut self, at: usize, fd: BorrowedFd<'a>) -> Self {
        self.streams[at] = Some(fd);
        self
    }

    /// The signal mask that the child begins with; without it that of the calling thread.
    #[must_use]
    pub fn signal_mask(mut self, mask: SignalMask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Starts it, with `socket` as the child's end, and returns its number, this process's to reap.
    ///
    /// # Errors
    /// [`BootError::Executable`] when it cannot be run, [`BootError::OtherImage`] when it is another build,
    /// [`BootError::Lifeline`] when no descriptors are left.
    pub fn start(self, socket: &PacketSocket) -> Result<u32, BootError> {
        let path = self.executable.unwrap_or(OWN_EXECUTABLE.as_ref());
        let failed = |error| BootError::Executable { path: path.to_owned(), error };
        let stamp = match self.executable {
            None => image::stamp().map_err(failed)?,
            Some(path) => check_same_build(path)?,
        };
        let lifeline = own_lifeline()?;
        let mark = Mark {
            constructor: constructor::instance().ok_or(BootError::ForeignHost)?,
            role: self.role,
            socket: socket.as_fd().as_raw_fd(),
            lifeline: lifeline.as_raw_fd(),
            stamp,
        };
        let program = c_string(path.as_os_str().as_bytes()).map_err(failed)?;
        let args = std::env::args_os().map(|arg| c_string(arg.as_bytes())).collect::<io::Result<_>>();
        let env = self.environment(&mark).map_err(failed)?;
        let mut exec = Exec::new(program, args.map_err(failed)?, env).keep(socket.as_fd()).keep(lifeline);
        for (at, fd) in self.streams.into_iter().enumerate() {
            exec = fd.into_iter().fold(exec, |exec, fd| exec.stream(at, fd));
        }
        exec = self.mask.into_iter().fold(exec, Exec::signal_mask);
        exec.spawn().map_err(failed)
    }

    /// The environment as exec wants it, with the mark.
    fn environment(&self, mark: &Mark) -> io::Result<Vec<CString>> {
        let own = self.env.iter().filter(|(name, _)| name != VARIABLE);
        let own = own.map(|(name, value)| variable(name, value));
        own.chain([variable(VARIABLE.as_ref(), mark.encode().as_ref())]).collect()
    }
}

/// A line of the environment.
fn variable(name: &OsStr, value: &OsStr) -> io::Result<CString> {
    c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat())
}

/// Checks before the exec that the executable at `path` is this build; its stamp then.
fn check_same_build(path: &Path) -> Result<String, BootError> {
    let failed = |error| BootError::Executable { path: path.to_owned(), error };
    let own = ImageId::own().map_err(failed)?;
    let other = ImageId::of_file(path).map_err(failed)?;
    if *own != other {
        return Err(BootError::OtherImage { path: path.to_owned(), own: own.to_string(), other: other.to_string() });
    }
    image::stamp_of_copy(path).map_err(failed)
}

/// A string for exec; a NUL inside it is an error.
fn c_string(bytes: &[u8]) -> io::Result<CString> {
    Ok(CString::new(bytes)?)
}
