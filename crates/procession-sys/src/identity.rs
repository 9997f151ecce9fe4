//! Who a process is: its number and its start time, which together are never used twice.

use std::io;

use crate::ProcessRecord;

/// This process's number, asked anew each time: a cached one goes stale in a forked child.
#[must_use]
pub fn pid() -> u32 {
    std::process::id()
}

/// The number of the process that the kernel holds for this one's parent.
#[must_use]
pub fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// The name that `ps` and `top` show for this process.
///
/// # Errors
/// None that Linux knows.
pub fn command_name() -> io::Result<Vec<u8>> {
    Ok(rustix::thread::name()?.into_bytes())
}

/// Sets the name that `ps` and `top` show for this process; the kernel keeps 15 bytes of it.
///
/// # Errors
/// `InvalidInput` for a name with a NUL in it.
pub fn set_command_name(name: &[u8]) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    Ok(rustix::thread::set_name(&name)?)
}

/// The PID namespace that this process's number is of, by the number of its file.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn pid_namespace() -> io::Result<u64> {
    Ok(rustix::fs::stat("/proc/self/ns/pid")?.st_ino)
}

/// Whose rights this process has: its real and effective user and group, and its further groups.
///
/// # Errors
/// None that Linux knows.
pub fn credentials() -> io::Result<Vec<u32>> {
    use rustix::process::{getegid, geteuid, getgid, getgroups, getuid};
    let users = [getuid(), geteuid()].map(rustix::process::Uid::as_raw);
    let groups = [getgid(), getegid()].into_iter().chain(getgroups()?).map(rustix::process::Gid::as_raw);
    Ok(users.into_iter().chain(groups).collect())
}

/// The number of the user whose rights this process has.
#[must_use]
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// True while this process's effective user or group is not its real one: what it executes then gets rights of which
/// the kernel takes care, as with a set-user-id program.
#[must_use]
pub fn has_borrowed_rights() -> bool {
    rustix::process::getuid() != rustix::process::geteuid() || rustix::process::getgid() != rustix::process::getegid()
}

/// A process's number and its start time in clock ticks since boot.
///
/// ```
/// use procession_sys::{ProcessIdentity, pid};
///
/// let me = ProcessIdentity::of(pid())?;
/// assert!(me.is_running());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// The number.
    pub pid: u32,
    /// Clock ticks between boot and the process's start.
    pub start_time: u64,
}

impl ProcessIdentity {
    /// Who has the number `pid` now.
    ///
    /// # Errors
    /// `ENOENT` or `ESRCH` when nobody has, `InvalidData` when the kernel's answer is not understood.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(ProcessRecord::of(pid)?.identity)
    }

    /// True while that very process exists (a zombie does).
    #[must_use]
    pub fn is_running(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }
}
