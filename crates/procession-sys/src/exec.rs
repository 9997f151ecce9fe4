//! Starting a program without copying this process: vfork and exec inside libc's `posix_spawn`.
//!
//! # Safety
//! Between the vfork and the exec only libc's own code runs. What it reads (paths, arguments, environment, the list
//! of descriptors) is owned by locals here that outlive the call, during which this thread stands still.

#![expect(unsafe_code, reason = "posix_spawn takes raw pointers")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::{SignalMask, dup};

/// Descriptors placed in a child must not be among 0, 1 and 2 unless they already stand where they belong.
pub const SPAWN_DESCRIPTOR_MIN: RawFd = 3;

/// A program to start: what it is, what it gets, and nothing else of ours.
#[derive(Debug)]
pub struct Exec<'fd> {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    streams: [Option<BorrowedFd<'fd>>; 3],
    keep: Vec<BorrowedFd<'fd>>,
    mask: Option<SignalMask>,
}

impl<'fd> Exec<'fd> {
    /// The program at `program`, with `args` (its own name first) and the whole environment `env` (`NAME=value`).
    #[must_use]
    pub fn new(program: CString, args: Vec<CString>, env: Vec<CString>) -> Self {
        Self { program, args, env, streams: [None; 3], keep: Vec::new(), mask: None }
    }

    /// Makes `fd` the child's descriptor 0, 1 or 2; without it the child shares ours.
    ///
    /// # Panics
    /// When `at` is above 2.
    #[must_use]
    pub fn stream(mut self, at: usize, fd: BorrowedFd<'fd>) -> Self {
        self.streams[at] = Some(fd);
        self
    }

    /// Leaves `fd` open in the child, under its own number.
    #[must_use]
    pub fn keep(mut self, fd: BorrowedFd<'fd>) -> Self {
        self.keep.push(fd);
        self
    }

    /// The child's signal mask; without it the child has the calling thread's.
    #[must_use]
    pub fn signal_mask(mut self, mask: SignalMask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Starts it and returns its number, this process's to reap.
    ///
    /// # Errors
    /// What exec says (`ENOENT`, `EACCES`, `ENOEXEC`, `E2BIG` …), or `EAGAIN`, `ENOMEM`.
    pub fn spawn(&self) -> io::Result<u32> {
        let streams = self.streams_out_of_the_way()?;
        let mut actions = FileActions::new()?;
        for (at, fd) in (0..).zip(&streams) {
            if let Some(fd) = fd {
                actions.dup2(fd.as_raw_fd(), at)?;
            }
        }
        for fd in &self.keep {
            // Onto itself: this clears the child's close-on-exec flag and nobody else's.
            actions.dup2(fd.as_raw_fd(), fd.as_raw_fd())?;
        }
        let mut attributes = Attributes::new()?;
        if let Some(mask) = self.mask {
            attributes.signal_mask(mask)?;
        }
        let args = pointers(&self.args);
        let env = pointers(&self.env);
        spawn(&self.program, &actions, &attributes, &args, &env)
    }

    /// The child's streams as descriptors that placing another one cannot overwrite.
    fn streams_out_of_the_way(&self) -> io::Result<[Option<OwnedFd>; 3]> {
        let mut streams = [None, None, None];
        for (stream, fd) in streams.iter_mut().zip(self.streams) {
            *stream = fd.map(|fd| dup(fd, SPAWN_DESCRIPTOR_MIN)).transpose()?;
        }
        Ok(streams)
    }
}

/// The call itself.
fn spawn(
    program: &CStr,
    actions: &FileActions,
    attributes: &Attributes,
    args: &[*mut libc::c_char],
    env: &[*mut libc::c_char],
) -> io::Result<u32> {
    let mut pid = 0;
    // SAFETY: every pointer is to a local of a caller that outlives the call; both arrays end with a null; libc
    // does not write through the pointers, whatever its signature says (POSIX, posix_spawn, rationale).
    let result = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            args.as_ptr(),
            env.as_ptr(),
        )
    };
    checked(result)?;
    Ok(pid.unsigned_abs())
}

/// The strings' addresses with the null that ends the list.
fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([std::ptr::null_mut()]).collect()
}

/// The posix_spawn family returns its error instead of setting errno.
fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// What the child does with descriptors before the exec.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the memory is of the right type, and the call initializes it.
        checked(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: initialized by the call above.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn dup2(&mut self, from: RawFd, to: RawFd) -> io::Result<()> {
        // SAFETY: the actions are initialized; the numbers are used in the child only.
        checked(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialized, and destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// What else the child sets before the exec.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the memory is of the right type, and the call initializes it.
        checked(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: initialized by the call above.
        Ok(Self(unsafe { attributes.assume_init() }))
    }

    fn signal_mask(&mut self, mask: SignalMask) -> io::Result<()> {
        let set = mask.to_set();
        // SAFETY: both are initialized; the set is copied.
        checked(unsafe { libc::posix_spawnattr_setsigmask(&raw mut self.0, &raw const set) })?;
        let flags = libc::POSIX_SPAWN_SETSIGMASK as libc::c_short;
        // SAFETY: the attributes are initialized.
        checked(unsafe { libc::posix_spawnattr_setflags(&raw mut self.0, flags) })
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialized, and destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;
    use crate::{Deadline, Ended, PidFd, pipe};

    fn shell(script: &str) -> Exec<'_> {
        let args = ["sh", "-c", script].map(|arg| CString::new(arg).unwrap()).to_vec();
        Exec::new(c"/bin/sh".to_owned(), args, vec![c"GREETING=hello".to_owned()])
    }

    #[test]
    fn a_program_gets_its_arguments_environment_streams_and_kept_descriptors() {
        let (read, write) = pipe().unwrap();
        let kept = crate::dev_null().unwrap();
        let script = format!("echo $GREETING; test -e /proc/self/fd/{} && exit 7", kept.as_raw_fd());
        let pid = shell(&script).stream(1, write.as_fd()).keep(kept.as_fd()).spawn().unwrap();
        let child = PidFd::open(pid).unwrap();
        drop(write);
        let mut said = String::new();
        std::fs::File::from(read).read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello\n");
        assert!(child.wait_ended(Deadline::NEVER).unwrap());
        assert_eq!(child.reap().unwrap(), Ended::Exited(7));
        assert!(child.try_reap().is_err(), "reaped once only");
    }

    #[test]
    fn a_missing_program_is_an_error_at_once() {
        let exec = Exec::new(c"/no/such/program".to_owned(), vec![], vec![]);
        assert_eq!(exec.spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
